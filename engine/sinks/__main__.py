"""The process of one sink: `python -m engine.sinks`, started by `engine.outlet` and by nobody else.

One line of JSON on standard input says what to share and how (`Options`); the end of that input ends it. How it goes is
told on a status channel: `{"state": "sharing" | "error", "where", "pictures", "error"}`.
"""

from __future__ import annotations

import sys
import time
from contextlib import closing
from dataclasses import dataclass
from threading import Event

from engine.channel import LatestValue
from engine.errors import CymaticError
from engine.finish import Finish
from engine.outlet import begin
from engine.reel import Follower, Reel
from engine.sinks import SinkName, open_sink

PAUSE_S = 0.002
STATUS_S = 0.5
STANDING_S = 0.5
"""A picture that stands is sent again after so long, for those who come to it late."""
GLOW_S = 1 / 30
"""And so soon while it is held back, for it is still on its way."""
FINISH_S = 1.0


@dataclass(frozen=True, slots=True)
class Options:
    """What the stage asks for. `pictures`, `status`: names of the shared memory."""

    sink: SinkName
    pictures: str
    status: str
    height: int
    width: int
    fps: float


def main() -> int:
    """Shares until the input ends. Exit code 2 after an error that the status channel tells in one line."""
    fields, stop = begin(FINISH_S)
    options = Options(**fields)
    try:
        pictures, status = Reel.attach(options.pictures), LatestValue.attach(options.status)
    except FileNotFoundError:
        return 0  # the stage has gone already
    with closing(pictures), closing(status):
        try:
            _share(options, pictures, status, stop)
        except CymaticError as error:
            status.put({"state": "error", "error": str(error)})
            return 2
        except Exception as error:  # noqa: BLE001 - whatever a driver says, the performer hears it in one line
            why = " ".join(str(error).split())[:300] or type(error).__name__
            status.put({"state": "error", "error": f"{options.sink} ended: {why}"})
            return 2
    return 0


def _share(options: Options, pictures: Reel, status: LatestValue, stop: Event) -> None:
    follower, sent, sent_at, told_at = Follower(pictures), 0, 0.0, 0.0
    finish = Finish()
    with closing(open_sink(options.sink, options.height, options.width, options.fps)) as sink:
        while not stop.is_set():
            now = time.monotonic()
            record = follower.newest()
            picture = None
            if record is not None:
                picture = finish.of(record, (options.height, options.width))
            elif sent and now - sent_at > (GLOW_S if finish.limiting else STANDING_S):
                picture = finish.again(time.perf_counter())
            if picture is not None:
                sink.send(picture)
                sent, sent_at = sent + 1, now
            if now - told_at > STATUS_S:
                told_at = now
                status.put({"state": "sharing", "where": sink.name, "pictures": sent})
            if record is None:
                stop.wait(PAUSE_S)


if __name__ == "__main__":
    sys.exit(main())
