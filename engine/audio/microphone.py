"""The live microphone: PortAudio through sounddevice, watched by a heartbeat.

The driver's callback only copies. A watcher thread opens the stream, notices when it dies or stops giving blocks, and
opens it again; what may hang in the driver (closing a stream whose sound server is frozen) happens on a thread that can
be left behind. A dead microphone reads as silence at the true speed, so the picture comes to rest instead of freezing.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from engine.audio.deadline import OPEN_DEADLINE_S, answer, leave_behind
from engine.audio.devices import Away, InputDevice, find_again, find_input, portaudio
from engine.audio.loopback import SYSTEM, is_system, monitors, record_from
from engine.audio.mel import Float32
from engine.audio.ring import Ring
from engine.audio.route import Route
from engine.audio.sources import LONGEST_READ_S, Block, SourceState
from engine.errors import AudioError

__all__ = ["Microphone"]

log = logging.getLogger(__name__)

MOST_CHANNELS = 8  # more may be a virtual device that names its limit, not its microphones: two, unless asked for more
STALL_S = 0.5  # no callback for so long, or for ten blocks: STALLED
REOPEN_S = 3.0  # a stall of this length is a dead stream; bursty virtual sources pause for 2 s
SILENT_S = 3.0  # exact zeros for so long: SILENT (a denied permission, a muted source)
SERVED = 6  # every so many attempts there is a new list of devices for what a sound server gave
BACK_OFF_S = (0.5, 1.5)  # first and longest pause between two attempts to open
CLOSE_DEADLINE_S = 0.7  # closing a stream; then it is left behind
STOP_DEADLINE_S = 1.5  # all of stop()
BEAT_S = 0.1  # how often the watcher looks
SILENT_HINT = "is it muted, or is this program not allowed to hear it?" + (
    " See System Settings, Privacy & Security, Microphone" if sys.platform == "darwin" else ""
)
STALLED_HINT = "is it suspended, or does its sound server hang?"
SYSTEM_HINT = "does anything play there?"

_streams = threading.Lock()
_open_streams = 0  # in this process; PortAudio may only be initialised again when there is none


class Capture:
    """What one opened stream delivers. Its own ring, so a stream left behind can never write into its successor's."""

    def __init__(self, sample_rate: int, channels: int, clock: Callable[[], float]) -> None:
        self.sample_rate = sample_rate
        self.ring = Ring(round(LONGEST_READ_S * sample_rate), channels)
        self.overflows = 0
        self.block = 0  # frames of the newest block
        self.opened_at = clock()
        self.finished = threading.Event()
        self._clock = clock

    def callback(self, indata: Float32, frames: int, _time: object, status: object) -> None:
        """PortAudio's thread: copy, count, stamp; nothing else."""
        if status:
            self.overflows += 1
        self.block = frames
        self.ring.write(indata, self._clock())

    @property
    def heard(self) -> bool:
        return self.ring.stamp > 0

    def quiet_s(self, now: float) -> float:
        """Seconds since the last block, or since the opening if none has come yet."""
        return now - (self.ring.stamp if self.heard else self.opened_at)

    def stalled(self, now: float) -> bool:
        """No callback for too long. An idle sound server may take 2 s to the first one; that is no fault."""
        limit = max(STALL_S, 10 * self.block / self.sample_rate) if self.heard else REOPEN_S
        return self.quiet_s(now) > limit


class Microphone:
    """A `Source` that hears an input device and brings it back when it goes away.

    Parameters
    ----------
    device : part of the device's name; None is the system's default input, "system" what this computer plays.
    heard : `{"device", "sample_rate", "channels"}` of a microphone that was heard before and may be away now: it is
        neither looked for nor waited for, but opened as soon as it is there.
    channel : one that is to be among those that are opened, from 1; 0 for any.
    clock : seconds; only tests give another one than `perf_counter`.

    A microphone that was opened once is only ever opened again under the same name: another one in its place would
    paint what nobody plays. When the sound server puts another one there, a device that was asked for counts as lost;
    the default is whatever the server gives. "system" is no device but what is played, and follows the default output.

    `AudioError` for an unknown device, a machine without one and a sound system that does not answer. The device's own
    sample rate is used, and all its channels (of a device with dozens the first two, or as many as `channel` needs);
    `read` gives their mean.
    """

    def __init__(
        self,
        device: str | None = None,
        heard: Mapping[str, Any] | None = None,
        clock: Callable[[], float] = time.perf_counter,
        channel: int = 0,
    ) -> None:
        self._clock = clock
        self._awaited = heard is not None
        if heard is None:
            found = answer(lambda: find_input(device))
            heard = {"device": found.name, "sample_rate": found.sample_rate, "channels": found.channels}
        self._wanted = device
        self._follows = device is not None and device.strip().casefold() == SYSTEM
        self.name = str(heard["device"])
        self.sample_rate = int(heard["sample_rate"])
        there = int(heard["channels"])
        self.channels = there if there <= MOST_CHANNELS else min(max(2, channel), there)
        self._trouble = SourceState.LOST  # what it was that ended the last stream
        self._fault = "it was not there when this began"
        self._listed = True  # when it was last looked for, it was in PortAudio's list
        self._fed_by: str | None = None  # the sound server's name for the microphone, as far as that is known
        self._instead: str | None = None  # the same of what it gives in its place
        self.latency_s: float | None = None  # the driver's own claim, known once open
        self.frames = 0
        self.reopened = 0
        self._gaps = 0
        self._past_overflows = 0
        self._counted = 0  # frames given out, heard or filled in
        self._silent = 0  # those of them in blocks of exact zeros
        self._sound_at = clock()
        self._filled_to: float | None = None  # while stalled: silence has been given up to here
        self._capture: Capture | None = None
        self._first = True  # the stream that is open is the first one
        self._stopping = threading.Event()
        self._answered = threading.Event()  # the first attempt to open is over
        self._watcher: threading.Thread | None = None

    # -- what the engine's thread sees

    @property
    def gaps(self) -> int:
        capture = self._capture
        return self._gaps + self._past_overflows + (capture.overflows if capture else 0)

    @property
    def silent_fraction(self) -> float:
        return self._silent / self._counted if self._counted else 0.0

    @property
    def error(self) -> str | None:
        state, it, played = self.state, self._it, is_system(self.name)
        if state is SourceState.LOST:
            return f"{it} is gone; it is opened again as soon as it is back ({self._fault})"
        if state is SourceState.STALLED:
            return f"{it} gives nothing: {SYSTEM_HINT if played else STALLED_HINT}"
        if state is SourceState.SILENT:
            return f"{it} gives nothing but zeros: {SYSTEM_HINT if played else SILENT_HINT}"
        if state is SourceState.MOVED and self._follows:
            return "what this computer plays goes to another output now, and is followed there"
        if state is SourceState.MOVED:
            return f"the microphone {self._fed_by!r} is gone; the sound server gives {self._instead!r} in its place"
        return None

    @property
    def state(self) -> SourceState:
        capture, now = self._capture, self._clock()
        if capture is not None and capture.finished.is_set():
            return SourceState.LOST
        # One that was opened again is not trusted before it is heard: a suspended device opens, too.
        if capture is None or not (capture.heard or self._first):
            return self._trouble
        if capture.stalled(now):
            return SourceState.STALLED
        if self._instead is not None:
            return SourceState.MOVED if self._wanted is None or self._follows else SourceState.LOST
        return SourceState.SILENT if now - self._sound_at > SILENT_S else SourceState.RUNNING

    @property
    def _it(self) -> str:
        return repr(self.name) if is_system(self.name) else f"the microphone {self.name!r}"

    def start(self) -> None:
        """Open the device. `AudioError` if it cannot be opened within some seconds; nothing is left running then."""
        if self._watcher is not None:
            return
        # New events for every start: a watcher that an earlier stop left behind keeps its own.
        self._stopping, self._answered = threading.Event(), threading.Event()
        self._sound_at = self._clock()
        if self._awaited:
            self._answered.set()
        self._watcher = threading.Thread(
            target=self._watch, args=(self._stopping, self._answered), name="microphone", daemon=True
        )
        self._watcher.start()
        answered = self._answered.wait(OPEN_DEADLINE_S)
        if self._capture is None and not self._awaited:
            error = self._fault if answered else "the sound system does not answer"
            self.stop()
            raise AudioError(f"cannot open {self._it}: {error}")

    def stop(self) -> None:
        """Close the device; returns within `STOP_DEADLINE_S` even if the driver hangs."""
        watcher, self._watcher = self._watcher, None
        if watcher is None:
            return
        self._stopping.set()
        watcher.join(STOP_DEADLINE_S)
        if watcher.is_alive():
            leave_behind(watcher)
        self._capture = None

    def read(self) -> Block:
        capture, now = self._capture, self._clock()
        if self._watcher is None:
            return Block(np.empty(0, np.float32), now)
        if capture is None:
            return self._silence(now, now)
        lost = capture.ring.lost
        block, stamp = capture.ring.read()
        self._gaps += capture.ring.lost > lost
        if not len(block):
            if self.state in (SourceState.STALLED, SourceState.LOST):
                return self._silence(now, now - capture.quiet_s(now))
            return Block(np.empty(0, np.float32), now)
        self._filled_to = None
        self.frames += len(block)
        self._count(block)
        return Block(block.mean(axis=1), stamp, block)

    def _silence(self, now: float, since: float) -> Block:
        """What a dead microphone sounds like: zeros, as many as time has passed."""
        if self._filled_to is None:
            self._gaps += 1
            self._filled_to = since
        count = int(min(now - self._filled_to, LONGEST_READ_S) * self.sample_rate)
        zeros = np.zeros(max(count, 0), np.float32)
        if count > 0:
            self._filled_to = now
            self._count(zeros)
        return Block(zeros, now)

    def _count(self, block: Float32) -> None:
        self._counted += len(block)
        if block.any():
            self._sound_at = self._clock()
        else:
            self._silent += len(block)

    # -- the watcher's thread

    def _watch(self, stopping: threading.Event, answered: threading.Event) -> None:
        pause, tries = BACK_OFF_S[0], 0
        while not stopping.is_set():
            try:
                # A new list of devices costs 30 ms and leaves 13 KiB behind in PortAudio: every other time will do.
                # What a sound server gives keeps its place in the list while it is away, unless it is listed anew then.
                tries += 1
                every = SERVED if self._fed_by is not None and self._listed else 2
                stream, capture = self._open(again=answered.is_set(), listed=tries % every != 0)
            except AudioError as error:
                if self._fault != str(error):
                    log.warning("microphone: %s", error)
                self._fault, self._trouble = str(error), SourceState.LOST
                if not answered.is_set():
                    answered.set()
                    return
                stopping.wait(pause)
                pause = min(2 * pause, BACK_OFF_S[1])
                continue
            if not stopping.is_set():
                self._guard(capture, stopping, answered)
            _close(stream)
            pause = BACK_OFF_S[0] if capture.heard else min(2 * pause, BACK_OFF_S[1])
            tries = 0 if capture.heard else tries
            if self._trouble is not SourceState.MOVED:
                stopping.wait(pause)

    def _guard(self, capture: Capture, stopping: threading.Event, answered: threading.Event) -> None:
        """Put a fresh stream to use and stay with it until it has to be given up."""
        self._first, counted = not answered.is_set(), False
        self._sound_at = self._clock()
        self._fault = "its stream ended"  # what is said the moment it does
        route = Route()
        moved = self._moved(route)
        if not moved:
            self._capture = capture
        answered.set()
        while not (stopping.is_set() or moved or capture.finished.is_set()):
            if capture.quiet_s(self._clock()) > REOPEN_S:
                break
            stopping.wait(BEAT_S)
            moved = self._moved(route)
            if capture.heard and not (counted or self._first):
                counted = True
                self.reopened += 1
                log.warning("microphone: %s is back", self.name)
        if not stopping.is_set():
            ended = moved or capture.finished.is_set()
            self._trouble = SourceState.LOST if ended else SourceState.STALLED
            if moved and self._follows and capture.heard:  # or else there is no end of it
                self._trouble = SourceState.MOVED
            if moved:
                self._fault = f"the sound server gives {self._instead!r} in its place"
            elif not ended:
                self._fault = "it gave nothing"
            log.warning("microphone: %s: %s; opening it again", self.name, self._fault)
        self._capture = None
        self._past_overflows += capture.overflows
        route.close()

    def _moved(self, route: Route) -> bool:
        """Whether the sound server has put another source in the place of a device that was asked for, or plays to
        another output than the one that is followed."""
        source = route.source()
        if source is None:
            return False
        self._fed_by = self._fed_by or source
        self._instead = None if source == self._fed_by else source
        if self._follows and self._instead is None and route.default_news():
            played = next((monitor.source for monitor in monitors()), self._fed_by)
            self._instead = None if played == self._fed_by else played
        return self._instead is not None and self._wanted is not None

    def _open(self, again: bool, listed: bool) -> tuple[Any, Capture]:
        """`again`: the device of the same name, no other, or what is played now. `listed`: as PortAudio has listed it
        before."""
        global _open_streams
        sd = portaudio()
        if again and not listed:
            _initialise_again(sd)
        self._listed = False
        try:
            device: InputDevice = find_again(self.name) if again and not self._follows else find_input(self._wanted)
        except Away:
            self._listed = True
            raise
        self._listed = True
        self._fed_by = device.source or self._fed_by
        record_from(device.source)
        capture = Capture(self.sample_rate, self.channels, self._clock)
        with _streams:
            _open_streams += 1
        try:
            stream = sd.InputStream(
                device=device.index,
                samplerate=self.sample_rate,
                channels=self.channels,
                dtype="float32",
                blocksize=0,
                latency="low",
                callback=_weakly(capture),
                finished_callback=capture.finished.set,
            )
        except (sd.PortAudioError, ValueError) as error:
            with _streams:
                _open_streams -= 1
            raise AudioError(_one_line(error)) from error
        try:
            stream.start()
        except sd.PortAudioError as error:
            _close(stream)
            raise AudioError(_one_line(error)) from error
        self.name = device.name
        self.latency_s = float(stream.latency)
        capture.opened_at = self._clock()
        return stream, capture


def _weakly(capture: Capture) -> Callable[..., None]:
    """Its callback, which does not keep it: a stream of sounddevice holds on to itself by its callbacks, so what they
    keep is there until all of Python's garbage is collected, in a show hours later."""
    kept = weakref.ref(capture)

    def callback(*block: Any) -> None:
        if (capture := kept()) is not None:
            capture.callback(*block)

    return callback


def _close(stream: Any) -> None:
    """Abort and close on a thread of its own: with a frozen sound server `abort` never comes back."""

    def close() -> None:
        global _open_streams
        stream.abort(ignore_errors=True)
        stream.close(ignore_errors=True)
        with _streams:
            _open_streams -= 1

    closer = threading.Thread(target=close, name="microphone-close", daemon=True)
    closer.start()
    closer.join(CLOSE_DEADLINE_S)
    if closer.is_alive():
        log.warning("microphone: the driver does not close its stream; leaving it behind")
        leave_behind(stream)


def _initialise_again(sd: Any) -> None:
    """PortAudio lists its devices once, at initialisation; a device that was plugged in again needs a new list."""
    with _streams:
        if _open_streams:
            return
        try:
            if sd._initialized:  # an earlier attempt may have got no further than this
                sd._terminate()
            sd._initialize()
        except sd.PortAudioError as error:
            raise AudioError(_one_line(error)) from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
