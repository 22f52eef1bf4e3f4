"""The recording process: `python -m engine.recording`, started by `engine.outlet` and by nobody else.

One line of JSON on standard input says what to record (`Options`); the end of that input ends the take. How it goes is
told on a status channel: `{"state": "recording" | "done" | "error", "path", "seconds", "pictures", "dropped", "gaps",
"mib", "error"}`.
"""

from __future__ import annotations

import sys
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

from engine.channel import LatestValue
from engine.errors import CymaticError
from engine.outlet import begin, stand_back
from engine.reel import Reel

if TYPE_CHECKING:
    from engine.recording.session import Session

PAUSE_S = 0.004
STATUS_S = 0.1
FINISH_S = 60.0
"""A file that cannot be finished within this time is left as it is, which plays too."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the stage asks for. `pictures`, `sound`, `status`: names of the shared memory; `sample_rate` of the sound,
    as far as it is known."""

    pictures: str
    sound: str
    status: str
    folder: str
    height: int
    width: int
    sample_rate: int


def main() -> int:
    """Records until the input ends. Exit code 2 after an error that the status channel tells in one line."""
    fields, stop = begin(FINISH_S)
    options = Options(**fields)
    stand_back()
    try:
        pictures, sound = Reel.attach(options.pictures), Reel.attach(options.sound)
        status = LatestValue.attach(options.status)
    except FileNotFoundError:
        return 0  # the stage has gone already
    with closing(pictures), closing(sound), closing(status):
        told: dict[str, Any] = {"path": "", "seconds": 0.0, "pictures": 0, "dropped": 0, "gaps": 0, "mib": 0.0}
        try:
            _record(options, pictures, sound, status, told, stop)
        except CymaticError as error:
            status.put({**told, "state": "error", "error": str(error)})
            return 2
    return 0


def _record(
    options: Options, pictures: Reel, sound: Reel, status: LatestValue, told: dict[str, Any], stop: Event
) -> None:
    try:
        from engine.codec import aac_rate
        from engine.recording.folder import new_file
        from engine.recording.session import DiskFull, Session
    except ModuleNotFoundError as error:
        if error.name != "av":
            raise
        raise CymaticError("recording needs PyAV: pip install 'cymatic[record]'") from None
    path = new_file(Path(options.folder), ".mp4")
    told["path"] = str(path)
    try:
        session = Session(path, pictures, sound, options.height, options.width, aac_rate(options.sample_rate))
        told_at = 0.0
        try:
            while not stop.is_set():
                busy = session.step()
                now = time.monotonic()
                if now - told_at > STATUS_S:
                    told_at = now
                    told.update(_describe(session))
                    status.put({**told, "state": "recording"})
                if not busy:
                    stop.wait(PAUSE_S)
            session.finish()
        except DiskFull:
            session.finish()
            told.update(_describe(session))
            raise CymaticError(f"the disk is all but full: the recording ended, whole, in {path}") from None
    except OSError as error:
        raise CymaticError(f"the recording ended: {path} cannot be written: {error.strerror or error}") from None
    finally:
        if path.exists() and not path.stat().st_size:  # of no use to anybody
            path.unlink()
    told.update(_describe(session))
    status.put({**told, "state": "done"})


def _describe(session: Session) -> dict[str, Any]:
    return {
        "seconds": round(session.seconds, 3),
        "pictures": session.pictures,
        "dropped": session.dropped,
        "gaps": session.gaps,
        "mib": round(session.path.stat().st_size / 2**20, 3),
    }


if __name__ == "__main__":
    sys.exit(main())
