"""What a window may ask of the stage: the whole wall between `gui` and the rest.

The stage (`cymatic.stage.Stage`) owns everything; a window reads this view from the Qt thread, never blocks on it and
keeps no state of its own that matters to the show.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from engine.control.desk import Desk
    from engine.control.midi import Midi
    from engine.slot import Frame


class StageView(Protocol):
    """The stage as a window sees it. Every method belongs to the thread that runs the stage (here the Qt thread)."""

    @property
    def desk(self) -> Desk:
        """The one registry of control values; faders and buttons read and write it."""

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) of every frame in pixels."""

    @property
    def status(self) -> Mapping[str, Any]:
        """Newest engine status (keys in docs/architecture.md); `{"state": "loading"}` until the first one came."""

    @property
    def errors(self) -> Sequence[str]:
        """Newest lines a performer should read, oldest first; bounded."""

    @property
    def preset(self) -> str:
        """Name of the preset that plays now or is being faded to."""

    @property
    def fps(self) -> float:
        """Pictures a second that reached the slot during the last second."""

    @property
    def tempo(self) -> Mapping[str, Any]:
        """`beat` 1..4 in the bar (0 without one), `bpm`, and whose `clock` counts ("" without one)."""

    @property
    def midi(self) -> Midi:
        """The MIDI controller, which a window may ask to learn; one without ports where none is open."""

    @property
    def inputs(self) -> Sequence[str]:
        """What it can be steered by besides the windows, a line each: "OSC 127.0.0.1:9123", "MIDI nanoKONTROL2"."""

    def listen(self, device: str, channel: int = 0) -> None:
        """Hears another input from now on, by its name, or "demo", and of its channels this one, from 1, or the mean of
        all. The engine begins anew, unless it hears that input already; the last picture stays."""

    def banks(self) -> Sequence[tuple[str, Sequence[str]]]:
        """(name, its presets) of every bank; `preset/bank` chooses one of them."""

    @property
    def recording(self) -> Mapping[str, Any] | None:
        """`path`, `seconds`, `pictures`, `dropped`, `gaps` and `mib` of the recording that runs, or None."""

    def preset_names(self) -> Sequence[str]:
        """Names in the order of `preset/next` and of the 1-based `preset/go`."""

    def tick(self) -> None:
        """Moves the stage on: triggers, snapshot to the engine, status, restarts. Call it 30 to 120 times a second;
        it never blocks and never raises."""

    def tell(self, line: str) -> None:
        """Notes a line for the performer; it joins `errors`."""

    def newest_frame(self) -> Frame | None:
        """The newest picture since the last call, or None when there is no newer one (keep showing the last)."""
