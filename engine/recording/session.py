"""One recording: follows what is shown and heard, and writes it down until it is told to end.

Pictures are taken one by one as the stage showed them, at the size in which they were painted; the look and the level
of the master fade are applied here, not on the stage. When more wait than half the reel holds, every other one is left
out: an even half of the pictures looks better than all of them and then none. What is left out or lost is counted.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.finish import Finish
from engine.recording.soundtrack import Soundtrack
from engine.recording.take import Take
from engine.reel import CHANNELS, Follower, Reel

HOLD_S = 0.5
"""A picture that stands is written again after so long, so that the file is whole up to now."""
GLOW_S = 1 / 30
"""And so soon while it is held back, for it is still on its way."""
AT_ONCE = 4
"""Pictures written before the sound gets its turn."""
RESERVE = 64 << 20
"""Bytes of the disk that are left free: a full one would take the show's machine with it."""
LOOK_AT_DISK_S = 2.0


class DiskFull(Exception):
    """There is no room left for more than what has been written."""


class Session:
    """Writes two reels into one take. One thread calls `step` again and again, and `finish` in the end.

    `pictures`: of `height` × `width`, RGBA. `sample_rate`: of the track. `clock` is the one of the reels. All methods
    raise OSError when the file cannot be written; `step` raises `DiskFull` before the disk is.
    """

    def __init__(
        self,
        path: Path,
        pictures: Reel,
        sound: Reel,
        height: int,
        width: int,
        sample_rate: int,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.path = path
        self._clock = clock
        self._shape = (height, width)
        self._take = Take(path, height, width, sample_rate)
        self._pictures, self._heard = Follower(pictures), Follower(sound)
        self._half_full = pictures.records // 2
        self._began_at = clock()
        self._soundtrack = Soundtrack(sample_rate, self._began_at, CHANNELS)
        self._finish = Finish()
        self._shown: NDArray[np.uint8] | None = None
        self._written_at = 0.0
        self._disk_seen_at = 0.0
        self._left_out = 0
        self.pictures = 0

    @property
    def seconds(self) -> float:
        """How long the take is."""
        return self._take.seconds

    @property
    def dropped(self) -> int:
        """Pictures that were shown and are not in the file."""
        return self._left_out + self._pictures.lost

    @property
    def gaps(self) -> int:
        """How often silence stands for sound that was lost."""
        return self._soundtrack.gaps

    def step(self) -> bool:
        """Writes what is new; False when there was nothing."""
        now = self._clock()
        if now - self._disk_seen_at > LOOK_AT_DISK_S:
            self._disk_seen_at = now
            if shutil.disk_usage(self.path.parent).free < RESERVE:
                raise DiskFull
        busy = self._follow_pictures()
        pause = GLOW_S if self._finish.limiting else HOLD_S
        if not busy and self._shown is not None and now - self._written_at > pause:
            self._shown = self._finish.again(now)
            self._write(self._shown, now)
        return self._follow_sound(now) or busy

    def finish(self) -> None:
        """Writes the rest, up to now, and closes the file."""
        now = self._clock()
        while self._follow_pictures(now):
            pass
        self._follow_sound(now)
        self._take.sound(self._soundtrack.finish(now))
        if self._shown is not None:  # it was seen until now
            self._write(self._shown, now)
        self._take.close()

    def _follow_pictures(self, until: float = math.inf) -> bool:
        """Writes some of the pictures that were shown before `until`; False when there is none left."""
        for count in range(AT_ONCE):
            if self._pictures.behind > self._half_full:
                self._pictures.skip(1)
                self._left_out += 1
            record = self._pictures.next()
            if record is None or record.at > until:
                return record is None and count > 0
            self._shown = self._finish.of(record, self._shape)
            self._write(self._shown, record.at)
            self.pictures += 1
        return True

    def _write(self, shown: NDArray[np.uint8], at: float) -> None:
        self._written_at = at
        self._take.picture(shown, max(at - self._began_at, 0.0))

    def _follow_sound(self, now: float) -> bool:
        track = []
        while (record := self._heard.next()) is not None:
            track.append(self._soundtrack.push(record.sound, record.at, record.value))
        track.append(self._soundtrack.wait(now))
        self._take.sound(np.concatenate(track))
        return len(track) > 1
