"""The streaming loop: sound in, picture out, once a frame, on the engine's main thread.

    source ─► painter ─► slot

What a picture is made of is in `engine.painter`; here is when it is made: on a steady beat, but what is heard between
two pictures is taken in as it comes, and an onset gets its picture at once, if need be instead of one that is not yet
done. Nothing queues and nothing raises: a frame that fails leaves the last picture standing, is counted and told once.
Only when nothing but failures comes for `FAILING_S` does the player give up, for a new process can cure what this one
cannot: a driver that has gone, memory that ran out.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from itertools import groupby
from threading import Event
from typing import Any

import numpy as np
import psutil

from engine.audio.sources import Block, Source, SourceState
from engine.audio.tempo import Beat
from engine.bundle import Bundle
from engine.canvas import Canvas
from engine.control.throttle import Throttle
from engine.errors import CymaticError
from engine.fit import Fit
from engine.links import Links
from engine.pacing import Pacer
from engine.painter import Painter
from engine.runtime.session import Session
from engine.runtime.spare import Spare
from engine.runtime.successors import Successors

STATUS_S = 0.1
WORTH = 0.75
"""Share of the time that a picture takes up to which it is given up for one with an onset that was heard meanwhile."""
ROOM = 1.5
"""So many times that time must be left then: an onset makes no picture late."""
SAVED = 0.75
"""Of the time that cells take which a small picture does not have: its pixels are as many, and each is copied."""
FAILING_S = 5.0
SOURCE_LINES = (1 / 15.0, 6.0)
"""Lines a second, and at once, about a source that comes and goes."""
EVENTS_KEPT = 20


class Player:
    """Plays one source through one bundle into one slot. Everything runs on the thread that calls `run`.

    `source` has been started. `sessions`: the opened graphs `encoder`, `recurrent`, `generator`, `mapping`. `fps` None:
    60 frames a second, or what this machine holds of them. `events` are lines to begin with, such as a microphone that
    was not found. `successors` have been started: sessions that take over between two frames once they are warm.
    `held` and `small`: as for `Pacer`. `spare`: what small pictures are painted on, once they are needed.
    """

    def __init__(
        self,
        bundle: Bundle,
        sessions: Mapping[str, Session],
        source: Source,
        links: Links,
        fps: float | None = None,
        events: tuple[str, ...] = (),
        successors: Successors | None = None,
        held: float | None = None,
        spare: Spare[Canvas] | None = None,
        small: bool = False,
    ) -> None:
        self._successors = successors
        self._spare = spare
        self._source = source
        self._links = links
        self._painter = Painter(bundle, sessions, source.sample_rate)
        image = bundle.manifest.image
        self._fit = Fit((image.height, image.width), (links.slot.height, links.slot.width))
        self._scene_names = list(bundle.manifest.scenes)
        self._image = image
        self._pacer = Pacer(fps, held=held, small=small and spare is not None)
        self._captured_at = time.perf_counter()
        self._heard: list[Block] = []  # and not handed on yet
        self._painting_s = 0.0  # the newest picture took, from the latent to its bytes
        self._controls_index = self._preset_index = 0
        self._called = -1  # the preset's serial
        self._process = psutil.Process()
        self._status_at = 0.0
        self._events: deque[tuple[float, str]] = deque(maxlen=EVENTS_KEPT)
        self._told: set[str] = set()
        self._errors = 0
        self._error: str | None = None
        self._source_state, self._source_name = SourceState.RUNNING, source.name
        self._may_tell = Throttle(*SOURCE_LINES)
        for line in events:
            self._tell(line)

    def run(self, stop: Event) -> None:
        """Plays until `stop` is set. `CymaticError` after `FAILING_S` without a frame that did not fail."""
        good_at = time.perf_counter()
        while not stop.is_set():
            started_at = self._pacer.begin()
            try:
                self._frame(started_at)
                self._error, good_at = None, started_at
            except Exception as error:  # the audience sees the last picture, never a traceback
                self._errors += 1
                out = isinstance(error, MemoryError)  # whose text is another each time
                self._error = "memory has run out" if out else f"{type(error).__name__}: {error}"
                self._tell_once(f"a frame failed, the last picture stays: {self._error}")
                if started_at - good_at > FAILING_S:
                    raise CymaticError(f"no picture could be made for {FAILING_S:g} s: {self._error}") from error
            chosen = self._pacer.end()
            if chosen is not None:
                self._tell(chosen)
            if started_at - self._status_at >= STATUS_S:
                self._status_at = started_at
                self._listen()
                self._spare_work()
                self._links.status.put(self._status())
            self._succeed()
            self._pacer.wait(self._struck)

    def _listen(self) -> None:
        """Tells when the source falls into trouble and when it is out of it, maybe under another name."""
        state, name = self._source.state, self._source.name
        renamed = state is SourceState.RUNNING and name != self._source_name
        if (renamed or state is not self._source_state) and self._may_tell.passes():
            self._tell(self._source.error or f"{name} is heard{'' if renamed else ' again'}")
            self._source_state = state
            self._source_name = name if state is SourceState.RUNNING else self._source_name

    def _succeed(self) -> None:
        """Between two frames: let warm sessions take over."""
        if self._successors is None:
            return
        for name, session in self._successors.take().items():
            self._successors.retire(self._painter.swap(name, session))
            if name == "generator":  # on a graphics card the whole picture takes less than a small one does here
                self._spare = None
                self._pacer.withdraw_small()
        for line in self._successors.lines():
            self._tell(line)

    def _spare_work(self) -> None:
        """Lets pictures be painted small where the governor would have it."""
        spare, small = self._spare, self._image.small
        if spare is None or small is None or self._pacer.fps is None or not self._painter.stages_ms["generator"]:
            return  # nothing to compare with yet
        if self._pacer.wants_small:
            spare.ask()
        if spare.failure is not None:
            self._tell(f"pictures cannot be painted small: {spare.failure}")
            self._spare = None
            self._pacer.withdraw_small()
        elif (canvas := spare.take()) is not None:
            self._painter.add_small(canvas)
            height, width, cell = self._image.height, self._image.width, self._image.cell
            rows = small.rows * cell  # so many are painted, and made larger
            fewer = 1.0 - small.rows * small.columns * cell**2 / (height * width)
            stages_ms = self._painter.stages_ms
            saved = SAVED * fewer * stages_ms["generator"] / sum(stages_ms.values())
            self._pacer.offer_small(1.0 - saved, f"{round(rows * width / height)}x{rows}")

    def _frame(self, now: float) -> None:
        """One picture, from the sound that is there now to the slot."""
        painter = self._painter
        self._take_snapshots(now)
        self._hear()
        self._hand_on()
        if not painter.ready:
            return  # the stage has not named the preset yet
        painter.paint_small(self._pacer.small)
        painter.step(now)
        self._hear()  # *when* it happens counts to the last
        while True:
            painter.move(now)
            captured_at = self._captured_at
            onset_at = max(captured_at - painter.features.since_onset_s, 0.0)
            begun_s = self._pacer.passed
            rgba = painter.picture_unless(partial(self._overtaken, begun_s))
            if rgba is not None:
                break
            now = self._pacer.again()
        self._painting_s = self._pacer.passed - begun_s
        self._links.slot.publish(self._fit(rgba), captured_at, painter.stats, now, onset_at, painter.look)
        painter.catch_up()

    def _overtaken(self, begun_s: float) -> bool:
        """Whether the picture that was begun `begun_s` into its frame is better begun once more: an onset was heard,
        it is not nearly done, and all of the work can be done in time."""
        pacer, usual_s = self._pacer, self._painting_s
        # Asked last: to hear in small pieces takes the generator's cores.
        return pacer.passed - begun_s < WORTH * usual_s and pacer.left > ROOM * usual_s and self._struck()

    def _struck(self) -> bool:
        """While the next frame waits for its turn: takes in what is heard; whether an onset wants its picture now."""
        try:
            self._hear()
        except Exception:  # noqa: BLE001 - the next frame meets the same, and tells it
            return False
        return self._painter.ready and self._painter.struck

    def _hear(self) -> None:
        """The sound that is there now."""
        block = self._source.read().only(round(self._painter.controls["sound/channel"]))
        self._painter.hear(block.samples)
        if len(block.samples):
            self._heard.append(block)
            self._captured_at = block.captured_at - self._painter.controls["latency/offset"] / 1000.0

    def _hand_on(self) -> None:
        """What was heard since the last picture, to those who record: in one piece, however it came."""
        for _, blocks in groupby(self._heard, lambda block: 1 if block.channels is None else block.channels.shape[1]):
            alike = list(blocks)
            parts = [block.samples[:, None] if block.channels is None else block.channels for block in alike]
            self._links.sound.write_sound(np.concatenate(parts), alike[-1].captured_at, self._source.sample_rate)
        self._heard.clear()

    def _take_snapshots(self, now: float) -> None:
        """Newest controls and preset from the stage."""
        if (newest := self._links.controls.get(self._controls_index)) is not None:
            self._controls_index, snapshot = newest
            controls = snapshot["controls"]
            if snapshot.get("preset", self._called) < self._called:  # sent before the call, read after it
                controls.pop("crossfader", None)
            self._painter.controls.update(controls)
            clock = snapshot.get("clock")
            self._painter.clock = None if clock is None else (Beat(clock["count"], clock["bpm"]), clock["at"])
        if (newest := self._links.preset.get(self._preset_index)) is not None:
            self._preset_index, preset = newest
            if preset["serial"] == self._called:  # only the words are new
                self._painter.say(preset["words"], preset["words_fade_s"], now)
            else:
                self._painter.go(preset, now)
                self._called = preset["serial"]

    def _status(self) -> dict[str, Any]:
        source, painter, features = self._source, self._painter, self._painter.features
        heard = features.tempo.beat
        return {
            "state": "playing",
            "error": self._error or source.error,
            "errors": self._errors + painter.latents.resets,
            "audio": {
                "device": source.name,
                "sample_rate": source.sample_rate,
                "channels": source.channels,
                "frames": source.frames,
                "gaps": source.gaps,
                "silent_fraction": round(source.silent_fraction, 6),
                "state": str(source.state),
            },
            "stages_ms": {name: round(ms, 3) for name, ms in painter.stages_ms.items()},
            "late_frames": self._pacer.late_frames,
            "frames": self._links.slot.newest_index,
            "fps": self._pacer.fps,
            "small": self._pacer.small,
            "quality": self._pacer.note,
            "flashes_limited": painter.limiter.limited,
            "rms_db": round(features.rms_db, 2),
            "level": round(features.level, 4),
            "onset": round(features.onset, 4),
            "clip": features.clip,
            "beat": None if heard is None else {**asdict(heard), "at": self._captured_at},
            "scenes": [round(float(s), 4) for s in painter.scenes.likeness],
            "scene_names": self._scene_names,
            "mel": [round(float(m), 3) for m in painter.mel[0, 0, :, -1]],
            "runtime": {name: {"name": r, "precision": p} for name, (r, p) in painter.runtimes.items()},
            "rss_mib": round(self._process.memory_info().rss / 2**20, 1),
            "events": list(self._events),
        }

    def _tell(self, line: str) -> None:
        self._events.append((time.perf_counter(), line))

    def _tell_once(self, line: str) -> None:
        if line not in self._told and len(self._told) < EVENTS_KEPT:
            self._told.add(line)
            self._tell(line)
