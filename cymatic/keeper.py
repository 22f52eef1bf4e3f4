"""Keeps an engine playing: its process, what it tells of itself, and what is done when it fails.

A picture that was shown stays until the next one is there. The engine that follows is told all that the last one knew:
bundle, preset and controls lie in the links, the microphone that was heard is waited for, and it paints as often as the
last one could, so that a machine on its edge is not late until that is found once more. After the third failure
within a minute it plays with less at stake: the shipped bundle, and no graphics card's runtime.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from engine.bundle import Bundle, find_bundle, load_bundle
from engine.errors import CymaticError
from engine.links import Links
from engine.supervisor import Failure, Supervisor

DEFAULT_BUNDLE = "landscape"


class Keeper:
    """Belongs to the stage's thread. `start`, then `tick` while the stage goes round, `stop`.

    `options` are those of `engine.__main__.Options`. `tell` hears a line and the perf_counter time of it (None: now).
    `change_bundle` is called when another bundle takes over, before the engine that plays it begins.

    Attributes
    ----------
    status : newest status of the engine; `{"state": "loading"}` until the first one came.
    fatal : why there is no picture and never will be, one line; else None.
    bundle : what plays.
    """

    def __init__(
        self,
        options: Mapping[str, Any],
        links: Links,
        bundle: Bundle,
        tell: Callable[[str, float | None], None],
        change_bundle: Callable[[Bundle], None],
    ) -> None:
        self._supervisor = Supervisor({"links": links.names, "bundle": str(bundle.folder.absolute()), **options})
        self._links, self._tell, self._change_bundle = links, tell, change_bundle
        self.bundle = bundle
        self.status: Mapping[str, Any] = {"state": "loading"}
        self.fatal: str | None = None
        self._status_index = 0
        self._heard_until = 0.0
        self._late_before = self._late_now = 0
        self._restarts = 0
        self._before: tuple[dict[str, Any], Callable[[], None]] | None = None
        """The options of the engine before, until one plays what was chosen to be heard; and what to undo else."""
        self._out_since: tuple[float, int] | None = None
        """When the engine failed and the index of its last picture, until a new one paints."""

    @property
    def pid(self) -> int | None:
        """Process id of the engine, None while there is none."""
        return self._supervisor.pid

    @property
    def late_frames(self) -> int:
        """Late pictures of the whole show, over all restarts."""
        return self._late_before + self._late_now

    def start(self) -> None:
        """Starts the engine. OSError when the operating system refuses."""
        self._supervisor.start()

    def stop(self) -> None:
        """Ends the engine; within two seconds. Safe to call twice."""
        self._supervisor.stop()

    def listen(self, device: str, channel: int = 0, undo: Callable[[], None] = lambda: None) -> None:
        """Hear this input, or "demo", with a new engine, and have this channel of it; where that cannot be, the one
        before comes back, and `undo` is called."""
        before = dict(self._supervisor.options)
        source = {"source": "demo", "device": None} if device == "demo" else {"source": "mic", "device": device}
        self._tell(f"changing to {device}, the last picture stays meanwhile", None)
        self._supervisor.replace({**before, **source, "channel": channel, "heard": None})
        self._before = self._before or (before, undo)  # what was chosen a moment ago was never heard
        self._late_before += self._late_now
        self._late_now = 0
        self.status = {**self.status, "state": "loading"}

    def tick(self, now: float) -> None:
        """Reads the status and looks after the engine's health; `now` is perf_counter time. Never waits for it."""
        self._read_status()
        if self.fatal is not None:
            return
        shown = self._links.slot.newest_index
        failure = self._supervisor.poll(self._status_index, loading=self.status.get("state") == "loading")
        if failure is not None:
            self._recover(failure, now, shown)
        elif self._out_since is not None and shown > self._out_since[1]:
            self._tell(f"the engine plays again, after {now - self._out_since[0]:.1f} s", None)
            self._out_since = None
        if self._supervisor.restarts != self._restarts:
            self._restarts = self._supervisor.restarts
            self.status = {**self.status, "state": "loading"}

    def _read_status(self) -> None:
        newest = self._links.status.get(self._status_index)
        if newest is None:
            return
        self._status_index, status = newest
        for at, line in status.get("events", ()):
            if at > self._heard_until:
                self._heard_until = at
                self._tell(line, at)
        if self._supervisor.replacing:  # the rest is true of an engine that is on its way out
            return
        # What an earlier engine told of its sound and speed stays to be seen while a new one loads.
        self.status = {**self.status, **status} if status["state"] != "playing" else status
        if status["state"] == "playing":
            self._before = None
        self._late_now = status.get("late_frames", self._late_now)
        if status.get("fatal") and not self._links.slot.newest_index:
            self.fatal = str(status["error"])

    def _recover(self, failure: Failure, now: float, shown: int) -> None:
        if self._before is not None:  # the input that was chosen cannot be heard
            (before, undo), self._before = self._before, None
            undo()
            self._tell(f"{failure.what}; going back to what was heard before", None)
            self._supervisor.start_over(before)
            return
        options = self._supervisor.options
        heard = self.status.get("audio")
        if options.get("source") == "mic" and heard is not None and heard["device"] != "demo":
            options["heard"] = {key: heard[key] for key in ("device", "sample_rate", "channels")}
        options["held"], options["small"] = self.status.get("fps"), bool(self.status.get("small"))
        then = "starting it again, the last picture stays meanwhile"
        if failure.repeated:
            options["accelerate"], options["held"], options["small"] = False, None, False
            safe = self._safe_bundle()
            if safe is not None:
                self.bundle = safe
                self._change_bundle(safe)
                self._supervisor.start_over({**options, "bundle": str(safe.folder.absolute())})
                then = f"the third time in a minute: going on with the bundle {safe.manifest.name}"
            elif shown:
                then = f"the third time in a minute: trying again in {failure.pause_s:g} s, the last picture stays"
            else:
                self.fatal = f"{failure.what}; the third time in a minute"
                return
        line = f"{failure.what}; {then}"
        self._tell(line, None)
        self.status = {**self.status, "state": "error", "error": line}
        self._late_before += self._late_now
        self._late_now = 0
        if self._out_since is None:
            self._out_since = (now, shown)

    def _safe_bundle(self) -> Bundle | None:
        """The shipped bundle, unless it plays already or cannot be read."""
        try:
            folder = find_bundle(DEFAULT_BUNDLE)
            return None if folder.resolve() == self.bundle.folder.resolve() else load_bundle(folder)
        except (CymaticError, OSError) as error:
            self._tell(str(error), None)
            return None
