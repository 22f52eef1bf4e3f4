"""Clicks into the microphone against changes of the picture: how long sound takes to be seen, and where the time goes.

While it is measured the picture answers to onsets alone: no flow, no wandering, no answer to *what* is heard, and no
flash limiter, which would hold back a picture that flashes with every click. At rest it then stands still to the last
grey level, and the first picture that differs shows the click. All else is the show as it is: the same microphone,
networks, slot and window.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cymatic.trial.show import Show
from cymatic.trial.traffic import Traffic
from cymatic.trial.watched import FRAME, Row, points_of
from engine.audio.devices import portaudio
from engine.errors import AudioError, CymaticError
from engine.slot import STAGES

CONTROLS = {
    "speed": 0.0, "noise": 0.0, "gain/coarse": 0.0, "gain/mid": 0.0, "gain/fine": 0.0, "reactivity": 1.0,
    "smoothing": 0.0, "sound/weight": 1.0, "text/weight": 0.0, "sound/gate": -45.0, "flash/limit": False,
}  # fmt: skip
REST_S = 1.0
"""Until the picture stands still after the controls were moved."""
BETWEEN_S = (0.45, 0.6)
"""From the answer to the next click, drawn anew each time: the picture has come to rest, and a click may fall anywhere
between two pictures."""
WAIT_S = 1.5
"""What is not seen by then is not seen."""
POLL_S = 0.001
CHANGED = 0.1
"""Mean of absolute differences in grey levels; at rest it is 0."""
MOST_LOST = 0.2
SPEAKER_LATENCY_S = 0.1
"""Long enough to be even: the driver says when the click leaves."""
ADDED_MS = 200.0
"""What `--check` lets the picture wait."""
BUDGET = ("capture", "wait", "blend", "generator", "other", "copy", "present")
"""capture    from the click to the sound by which it is known: sound server, driver, the window of the onset detector
wait       until the engine begins a picture: it paints the one before, or runs encoder and recurrent step
blend      the latent and the fields
generator  the picture
other      the rest of the engine's work on it: the newest sound's mel columns and features, flash limiter
copy       into the slot
present    stage, window, and its pixels on the display"""

_STARTED, _CHANGE = FRAME.index("started_at"), FRAME.index("change")


@dataclass(frozen=True)
class Click:
    """One click: when it was asked for, when it left, and when the display was seen to change, if somebody looked;
    perf_counter times."""

    asked_at: float
    at: float
    seen_at: float | None
    added_ms: float = 0.0


class Speaker:
    """Clicks from a loudspeaker of this machine. `AudioError` when there is none. One thread and the driver's."""

    def __init__(self, device: str | None = None) -> None:
        sd = portaudio()
        self._wanted, self._played = threading.Event(), threading.Event()
        self._left_at = 0.0
        try:
            self._stream = sd.OutputStream(
                device=device, channels=1, dtype="float32", latency=SPEAKER_LATENCY_S, callback=self._fill
            )
            self._stream.start()
        except (sd.PortAudioError, ValueError) as error:
            raise AudioError(f"no loudspeaker to click with: {' '.join(str(error).split())}") from error
        length = round(0.010 * self._stream.samplerate)
        self._sound = np.random.default_rng(0).uniform(-0.7, 0.7, length).astype(np.float32)

    def click(self) -> float:
        """Plays a click; the perf_counter time at which it leaves the machine, by the word of its driver."""
        self._played.clear()
        self._wanted.set()
        if not self._played.wait(2.0):
            raise AudioError("the loudspeaker takes no sound: is its server running?")
        return self._left_at

    def stop(self) -> None:
        """Lets go of the loudspeaker."""
        self._stream.abort(ignore_errors=True)
        self._stream.close(ignore_errors=True)

    def _fill(self, out: NDArray[np.float32], frames: int, when: Any, status: object) -> None:
        out.fill(0.0)
        if self._wanted.is_set():
            self._wanted.clear()
            length = min(frames, len(self._sound))
            out[:length, 0] = self._sound[:length]
            self._left_at = time.perf_counter() + max(0.0, when.outputBufferDacTime - when.currentTime)
            self._played.set()


class Clicks:
    """A run of clicks. `click` plays one and returns its time; `pixels` is the memory of the display, where it can be
    read, else the window's own word counts. One thread."""

    def __init__(
        self, show: Show, traffic: Traffic, click: Callable[[], float], pixels: NDArray[np.uint8] | None
    ) -> None:
        self._show, self._traffic, self._click, self._pixels = show, traffic, click, pixels
        self._random = random.Random(0)
        self.clicks: list[Click] = []
        self.rows: list[Row] = []

    def run(self, seconds: float, added_ms: float = 0.0) -> None:
        """Clicks for so many seconds, while the engine lets the picture wait `added_ms` longer."""
        for name, value in {**CONTROLS, "latency/offset": added_ms}.items():
            self._traffic.send(name, value)
        self._wait(time.perf_counter() + REST_S + added_ms / 1000.0)
        ends_at = time.perf_counter() + seconds
        while time.perf_counter() < ends_at:
            self._one(added_ms)

    def _one(self, added_ms: float) -> None:
        before = None if self._pixels is None else points_of(self._pixels)
        asked_at = time.perf_counter()
        at, seen_at = self._click(), None
        while time.perf_counter() < at + WAIT_S:
            if before is None or self._pixels is None:
                if self._answered(asked_at):
                    break
            elif np.abs(points_of(self._pixels) - before).mean() > CHANGED:
                seen_at = time.perf_counter()
                break
            time.sleep(POLL_S)
        self.clicks.append(Click(asked_at, at, seen_at, added_ms))
        self._wait(time.perf_counter() + self._random.uniform(*BETWEEN_S))

    def _answered(self, at: float) -> bool:
        """Whether a picture that was begun after this time has changed."""
        fresh = self._show.rows()
        self.rows += fresh
        return any(frame[_STARTED] > at and frame[_CHANGE] > CHANGED for row in fresh for frame in row["frames"])

    def _wait(self, until: float) -> None:
        while time.perf_counter() < until:
            self.rows += self._show.rows()
            if self._show.exit_code is not None:
                raise CymaticError(f"the show ended: {self._show.last_words()}")
            time.sleep(0.01)


def budgets(clicks: Sequence[Click], rows: Sequence[Row]) -> list[dict[str, float]]:
    """For every click that was seen: `total` and its parts, `BUDGET`, in milliseconds, and what was `added`.

    `CymaticError` when too many clicks were not seen.
    """
    frames = np.array([frame for row in rows for frame in row["frames"]]).reshape(-1, len(FRAME) + len(STAGES))
    swaps = np.array([swap for row in rows for swap in row["swaps"]]).reshape(-1, 2)
    asked = [*(click.asked_at for click in clicks[1:]), np.inf]
    until = [min(click.at + WAIT_S, after) for click, after in zip(clicks, asked, strict=False)]
    found = []
    for click, end in zip(clicks, until, strict=True):
        if (budget := _budget(click, end, frames, swaps)) is not None:
            found.append(budget)
    if len(found) < (1.0 - MOST_LOST) * len(clicks) or not clicks:
        raise CymaticError(
            f"{len(found)} of {len(clicks)} clicks were seen in the picture: does the microphone hear the loudspeaker "
            "loudly enough (over -45 dBFS), and is the room quiet?"
        )
    return found


def _budget(
    click: Click, until: float, frames: NDArray[np.float64], swaps: NDArray[np.float64]
) -> dict[str, float] | None:
    index, captured, started, written, published, _, change, onset = frames[:, : len(FRAME)].T
    candidates = np.flatnonzero((started > click.asked_at) & (started < until) & (change > CHANGED))
    if not len(candidates):
        return None
    first = candidates[0]
    if first == 0 or change[first - 1] > CHANGED:
        return None  # the picture was not at rest: this may be the answer to something else
    seen_at = click.seen_at
    if seen_at is None:
        shown = swaps[(swaps[:, 1] >= index[first]) & (swaps[:, 0] > published[first])]
        if not len(shown):
            return None
        seen_at = shown[0, 0]
    stages = dict(zip(STAGES, np.nan_to_num(frames[first, len(FRAME) :]) / 1000.0, strict=True))
    # What came while the encoder ran is in the picture that was begun before it: it waited for nothing.
    heard = min(onset[first], written[first]) if onset[first] > click.asked_at else captured[first]
    begun = max(started[first], heard)
    parts = {
        "capture": heard - click.at,
        "wait": begun - heard,
        "blend": stages["blend"],
        "generator": stages["generator"],
        "other": written[first] - begun - stages["blend"] - stages["generator"],
        "copy": published[first] - written[first],
        "present": seen_at - published[first],
    }
    told = {name: 1000.0 * float(value) for name, value in parts.items()}
    return {"added": click.added_ms, "total": 1000.0 * (seen_at - click.at), **told}


def found_more(found: Sequence[dict[str, float]]) -> float:
    """How many milliseconds longer clicks with an added wait took: between the quickest of each kind, for what is added
    to every click spares none, and what else holds some of them up is left out. `CymaticError` when one is missing."""
    totals = [[budget["total"] for budget in found if bool(budget["added"]) is added] for added in (False, True)]
    if not all(totals):
        raise CymaticError("there were too few clicks to compare: give it more seconds")
    plain, waited = map(min, totals)
    return waited - plain


def summary(found: Sequence[dict[str, float]]) -> dict[str, dict[str, float]]:
    """p50, p95 and greatest of `total` and each part, milliseconds."""
    told = {}
    for name in ("total", *BUDGET):
        values = [budget[name] for budget in found]
        p50, p95, most = np.percentile(values, (50, 95, 100))
        told[name] = {"p50": round(float(p50), 2), "p95": round(float(p95), 2), "max": round(float(most), 2)}
    return told
