"""The registry: complete as published, and every kind of value parsed or refused."""

from __future__ import annotations

import math

import pytest

from engine.control.registry import CONTROLS, REGISTRY, TEXT_LIMIT, Control, find
from engine.errors import ControlError

# Controllers, templates and saved presets out there rely on these names and ranges.
PUBLISHED = {
    "master": (0.0, 1.0),
    "sound/weight": (0.0, 1.0),
    "text/weight": (0.0, 1.0),
    "sound/gain": (-24.0, 24.0),
    "reactivity": (0.0, 1.0),
    "truncation": (0.0, 1.5),
    "speed": (0.0, 4.0),
    "gain/coarse": (0.0, 2.0),
    "gain/mid": (0.0, 2.0),
    "gain/fine": (0.0, 2.0),
    "smoothing": (0.0, 1.0),
    "fade": (0.0, 30.0),
    "sound/gate": (-90.0, 0.0),
    "sound/channel": (0.0, 64.0),
    "latency/offset": (0.0, 500.0),
    "noise": (0.0, 3.0),
    "seed": (0.0, 999.0),
    "tempo/bpm": (0.0, 240.0),
    "crossfader": (0.0, 1.0),
    "look/hue": (-180.0, 180.0),
    "look/saturation": (0.0, 2.0),
    "look/contrast": (0.0, 2.0),
    "look/trails": (0.0, 1.0),
    "look/vignette": (0.0, 1.0),
}
PUBLISHED_KINDS = {
    "blackout": "bool",
    "flash/limit": "bool",
    "freeze": "bool",
    "testcard": "bool",
    "preset/go": "choice",
    "preset/next": "trigger",
    "preset/prev": "trigger",
    "preset/bank": "choice",
    "preset/lock": "bool",
    "preset/undo": "trigger",
    "record": "bool",
    "still": "trigger",
    "panic": "trigger",
    "text": "text",
    "quantise": "choice",
    "look/mirror": "choice",
    "tempo/tap": "trigger",
    "midi/learn": "trigger",
    "midi/forget": "trigger",
    "tempo/resync": "trigger",
    "tempo/nudge/earlier": "trigger",
    "tempo/nudge/later": "trigger",
}


def test_published_controls_are_all_there_and_no_others():
    floats = {c.name: (c.minimum, c.maximum) for c in REGISTRY if c.kind == "float"}
    others = {c.name: c.kind for c in REGISTRY if c.kind != "float"}
    assert floats == PUBLISHED
    assert others == PUBLISHED_KINDS
    assert len(CONTROLS) == len(REGISTRY)


@pytest.mark.parametrize("control", REGISTRY, ids=lambda c: c.name)
def test_rows_are_fit_to_be_printed(control: Control):
    assert control.address() == "/cymatic/" + control.name
    assert control.description
    assert len(control.description) <= 90
    assert "\n" not in control.description
    assert not control.description.endswith(".")
    if control.kind == "float":
        assert isinstance(control.default, float)
        assert control.parse(control.default) == control.default, "the default is inside the range"
        assert control.at(control.fraction(control.default)) == pytest.approx(control.default)


def test_what_must_work_while_the_engine_is_dead_belongs_to_the_stage():
    assert {c.name for c in REGISTRY if c.scope == "stage"} == {
        "master", "blackout", "freeze", "testcard", "fade", "preset/go", "preset/next", "preset/prev", "panic",
        "record", "still",
        "text", "midi/learn", "midi/forget", "preset/bank", "preset/lock", "preset/undo", "crossfader",
        "quantise", "tempo/bpm", "tempo/tap", "tempo/resync", "tempo/nudge/earlier", "tempo/nudge/later",
    }  # fmt: skip


GAIN, BLACKOUT, NEXT, GO = (CONTROLS[name] for name in ("sound/gain", "blackout", "preset/next", "preset/go"))
TITLE = Control("title", "text", "")
NAMES = ("open-sky", "ember", "gorge")


@pytest.mark.parametrize(
    ("control", "sent", "taken"),
    [
        (GAIN, -6.5, -6.5),
        (GAIN, 3, 3.0),
        (GAIN, True, 1.0),
        (GAIN, 99.0, 24.0),
        (GAIN, -(10**30), -24.0),
        (BLACKOUT, True, True),
        (BLACKOUT, 1.0, True),
        (BLACKOUT, 0.51, True),
        (BLACKOUT, 0.5, False),
        (BLACKOUT, 0, False),
        (BLACKOUT, -7, False),
        (NEXT, None, True),
        (NEXT, 1.0, True),
        (NEXT, 0.0, False),
        (GO, "ember", "ember"),
        (GO, 1, "open-sky"),
        (GO, 3.0, "gorge"),
        (TITLE, "dusk over the lake", "dusk over the lake"),
    ],
)
def test_parse_takes(control: Control, sent: object, taken: object):
    parsed = control.parse(sent, NAMES)
    assert parsed == taken
    assert type(parsed) is type(taken)


@pytest.mark.parametrize(
    ("control", "sent", "words"),
    [
        (GAIN, math.nan, "finite"),
        (GAIN, math.inf, "finite"),
        (GAIN, -math.inf, "finite"),
        (GAIN, 10**400, "finite"),
        (GAIN, "loud", "a number, not a text"),
        (GAIN, None, "a number, not nothing"),
        (GAIN, [0.5], "a number, not list"),
        (GAIN, 1j, "a number, not complex"),
        (BLACKOUT, math.nan, "finite"),
        (BLACKOUT, "on", "a number, not a text"),
        (BLACKOUT, None, "a number"),
        (NEXT, "now", "a number"),
        (NEXT, math.nan, "finite"),
        (GO, "../../etc/passwd", "known are open-sky, ember, gorge"),
        (GO, "", "nothing is called"),
        (GO, 0, "between 1 and 3"),
        (GO, 4, "between 1 and 3"),
        (GO, 1.5, "between 1 and 3"),
        (GO, -1.0, "between 1 and 3"),
        (GO, math.nan, "finite"),
        (GO, True, "a name or a position"),
        (GO, b"ember", "a number, not bytes"),
        (TITLE, 4.0, "wants a text, not a number"),
        (TITLE, "two\nlines", "one line"),
        (TITLE, "x" * (TEXT_LIMIT + 1), "one line"),
    ],
)
def test_parse_refuses(control: Control, sent: object, words: str):
    with pytest.raises(ControlError, match=words) as refused:
        control.parse(sent, NAMES)
    assert control.name in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_choice_without_options_refuses_everything():
    with pytest.raises(ControlError, match="known are none"):
        GO.parse("ember")


def test_a_square_fader_has_more_room_at_the_low_end():
    fade = CONTROLS["fade"]
    assert fade.at(0.0) == 0.0
    assert fade.at(1.0) == fade.at(2.0) == 30.0
    assert fade.at(0.5) == pytest.approx(7.5)
    assert fade.fraction(7.5) == pytest.approx(0.5)
    assert GAIN.at(0.5) == pytest.approx(0.0)
    assert GAIN.fraction(-24.0) == 0.0


def test_find_names_the_unknown_and_the_known():
    assert find("master") is CONTROLS["master"]
    with pytest.raises(ControlError, match=r"'mastr'.*master, blackout"):
        find("mastr")
