"""What becomes of a call: which preset is gone to and when, and what desk and engine are told of it; undo, typed words.

    pad, name, neighbour ─► its beat ─► made ready ─► controls to the desk, place in W+ and maps to the engine
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from cymatic.pads import Fader, Pads
from cymatic.prepared import Prepared
from cymatic.tempo import Tempo
from cymatic.words import Reader
from engine.bundle import Bundle
from engine.control.desk import Desk, Trigger
from engine.control.registry import Value
from engine.errors import CymaticError

if TYPE_CHECKING:
    from presets.schema import Preset
    from presets.store import Bank, PresetStore

DEFAULT_PRESET = "open-sky"
CALM: Mapping[str, Any] = {"serial": 0, "name": "", "base": {"seed": 1}, "offset": None, "fade_s": 0.0}
"""What the engine is told where no preset is."""


class Calls:
    """The presets of a show, as the triggers `preset/...` call them, and the control `text`. The stage's thread.

    The show begins at `preset`; None takes `DEFAULT_PRESET`, or a calm picture when the store has none or the bundle
    knows no words. Between `start` and `stop` presets are made ready before they are called. `tell` hears lines for
    the performer. The constructor raises `PresetError` when the preset cannot be played.

    Attributes
    ----------
    preset : name of the preset that plays or is being faded to; "" without one.
    told : what the engine is to be told (`engine.links`), another object whenever it has changed.
    """

    def __init__(
        self,
        desk: Desk,
        store: PresetStore,
        bundle: Bundle,
        preset: str | None,
        tempo: Tempo,
        tell: Callable[[str], None],
    ) -> None:
        self._desk, self._tempo, self._tell = desk, tempo, tell
        self._pads, self._fader = Pads(desk, store.by_bank()), Fader(desk)
        self._read = Reader(bundle, tell)
        self._prepared = Prepared(store, lambda: self._pads.names, bundle)
        self._serial = 0
        self._words = ""
        self._called: tuple[str, float | None] | None = None
        """Which preset waits for its beat, and in how many seconds it is then faded to."""
        self.preset = ""
        self.told = dict(CALM)
        if preset is None and bundle.manifest.text is not None and DEFAULT_PRESET in self._pads.names:
            preset = DEFAULT_PRESET
        if preset is not None:
            self._go_to(*self._compose(preset, 0.0))

    def start(self) -> None:
        """Begin to make presets ready."""
        self._prepared.start()

    def stop(self) -> None:
        """End that, within two seconds. Safe to call twice."""
        self._prepared.stop()
        self._read.close()

    @property
    def names(self) -> list[str]:
        """Names in the order of `preset/next` and of the 1-based `preset/go`."""
        return self._pads.names

    @property
    def banks(self) -> list[Bank]:
        """All banks, in their own order."""
        return self._pads.banks

    def obey(self, trigger: Trigger, now: float) -> None:
        """Do what a trigger `preset/...` asks for, at perf_counter time `now`, or when its beat has come."""
        if trigger.name == "preset/bank":
            self._pads.choose(str(trigger.value))
        elif self._desk.get("preset/lock"):
            self._desk.show("preset/go", self.preset)
            self._tell("presets are locked: preset/lock 0 lets them go")
        elif trigger.name == "preset/undo":
            self._go_back(trigger.fade_s)
        else:
            name = self._pads.wanted(trigger, self.preset if self._called is None else self._called[0])
            if name is None:
                self._tell("there is no preset to go to")
            else:  # the newest call is the one that counts
                self._called = (name, trigger.fade_s)
                self._tempo.wait()
                self._go_when_due(now)

    def panic(self) -> None:
        """Every control was put back: call off what waits, and let nothing move them again."""
        self._call_off()
        self._fader.forget()

    def tick(self, now: float) -> None:
        """Move on what was called, to perf_counter time `now`, and follow the crossfader and the typed words."""
        for name in self._pads.join(self._prepared.found):
            self._tell(f"a new preset: {name}")
        self._go_when_due(now)
        self._follow_words()
        self._fader.follow()

    def change_bundle(self, bundle: Bundle) -> None:
        """The same preset and words, as far as they mean anything to another bundle."""
        self._read.close()
        self._read = Reader(bundle, self._tell)
        self._prepared.change_bundle(bundle)
        self._pads.forget()  # places in the other bundle's W+
        self._serial += 1
        told = {**CALM, "serial": self._serial}
        try:
            if self.preset:
                _, told = self._compose(self.preset, 0.0)
        except CymaticError as error:
            self._tell(f"a calm picture instead of the preset {self.preset}: {error}")
        self.told, self._words = told, ""  # typed words are read again

    # -- inside

    def _go_when_due(self, now: float) -> None:
        if self._called is None or not self._tempo.is_time(now):
            return
        (name, fade_s), self._called = self._called, None
        try:
            preset, told = self._compose(name, fade_s)
        except CymaticError as error:
            self._tell(str(error))
        else:
            self._pads.remember(self.preset, self.told, self._words)
            self._go_to(preset, told)

    def _call_off(self) -> bool:
        """Go on with the preset that plays; True if another one waited for its beat."""
        waited, self._called = self._called is not None, None
        self._desk.show("preset/go", self.preset)
        return waited

    def _go_back(self, fade_s: float | None) -> None:
        """Undo the newest call: preset, words and look as they stood before it; one that still waits is called off."""
        if self._call_off():
            return
        place = self._pads.back()
        if place is None:
            self._tell("there is no preset to go back to")
            return
        fade_s = float(self._desk.get("fade")) if fade_s is None else fade_s
        self._serial += 1
        told = {**place.told, "serial": self._serial, "fade_s": fade_s}
        self._move_to(place.preset, told, place.controls, place.words, fade_s)

    def _compose(self, name: str, fade_s: float | None) -> tuple[Preset, dict[str, Any]]:
        """The preset and what the engine is told of it; `fade_s` None: as it says, or the desk. Raises `CymaticError`
        when it cannot be played."""
        ready = self._prepared.get(name, self._read)
        for line in ready.lines:
            self._tell(line)
        if fade_s is None:
            stated = "fade_s" in ready.preset.model_fields_set
            fade_s = ready.preset.fade_s if stated else float(self._desk.get("fade"))
        self._serial += 1
        return ready.preset, {**ready.told, "serial": self._serial, "fade_s": fade_s}

    def _go_to(self, preset: Preset, told: dict[str, Any]) -> None:
        self._move_to(preset.name, told, preset.controls, "", told["fade_s"])

    def _move_to(
        self, preset: str, told: dict[str, Any], controls: Mapping[str, Value], words: str, fade_s: float
    ) -> None:
        """Put a preset's controls on the desk and its place before the engine."""
        with self._desk.together():
            self._fader.go(controls, fade_s)
            told["crossfader"] = self._desk.get("crossfader")
            self._desk.show("preset/go", preset)
            self._desk.show("text", words)
        self.preset, self.told, self._words = preset, told, words

    def _follow_words(self) -> None:
        """Words that were typed in pull the picture besides the preset's own, with the fade time of the desk."""
        words = str(self._desk.get("text"))
        if words == self._words:
            return
        self._words = words
        try:
            pull = self._read(words).delta.tolist() if words else None
        except CymaticError as error:
            self._tell(str(error))
        else:
            self.told = {**self.told, "words": pull, "words_fade_s": float(self._desk.get("fade"))}
