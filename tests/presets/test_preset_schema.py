"""What a preset file may hold, and how it is told what it may not."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
from pydantic import ValidationError

from engine.control.registry import CONTROLS
from presets.schema import (
    MAX_ANCHORS,
    MAX_DIM,
    MAX_LAYERS,
    MAX_MAPS,
    Preset,
    as_array,
    describe,
    is_name,
    latent,
    numbers,
)

GOOD = {
    "schema_version": 2,
    "name": "ember",
    "bank": "nights",
    "description": "A campfire",
    "base": {"seed": 7},
    "controls": {"speed": 2.0, "sound/gain": -6, "look/mirror": "kaleidoscope"},
    "maps": [{"feature": "bass", "control": "gain/fine", "amount": 0.5, "attack_s": 0.01}],
    "fade_s": 4,
    "anchors": [
        {
            "kind": "text",
            "source": "fire at night",
            "weight": 0.8,
            "embedding": [0.6, 0.8],
            "offset": [[0.1, -0.2], [0.3, 0.4]],
            "bundle": "ab" * 32,
        }
    ],
}


def with_(path: str, value: object) -> str:
    """GOOD as JSON with one value exchanged; `path` such as "anchors.0.kind"."""
    data = copy.deepcopy(GOOD)
    *parents, last = path.split(".")
    place = data
    for part in parents:
        place = place[int(part)] if isinstance(place, list) else place[part]
    place[last] = value
    return json.dumps(data)


def test_a_good_preset_survives_the_round_trip():
    preset = Preset.model_validate_json(json.dumps(GOOD))
    assert preset.controls == {"speed": 2.0, "sound/gain": -6.0, "look/mirror": "kaleidoscope"}
    assert preset.anchors[0].offset == ((0.1, -0.2), (0.3, 0.4))
    assert Preset.model_validate_json(preset.model_dump_json()) == preset


def test_a_base_may_be_a_latent():
    preset = Preset.model_validate_json(with_("base", {"w_plus": [[1.0, 2.0], [3.0, 4.0]]}))
    np.testing.assert_array_equal(as_array(preset.base.w_plus), np.float32([[1, 2], [3, 4]]))


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("colour", "red", "unknown key 'colour'"),
        ("anchors.0.wieght", 1.0, "unknown key 'anchors.0.wieght'"),
        ("schema_version", 3, "schema_version"),
        ("name", "../ember", "lower-case"),
        ("name", "Ember", "lower-case"),
        ("description", "two\nlines", "one line"),
        ("description", "x" * 201, "at most 200"),
        ("base", {}, "base.seed: Field required"),
        ("base", {"seed": -1}, "base.seed: Input should be greater"),
        ("base", {"seed": 2**32}, "base.seed"),
        ("base", {"seed": "7"}, "integer"),
        ("base", {"seed": 7, "w_plus": [[1.0]]}, "unknown key 'base.w_plus.seed'"),
        ("base", 7, "base"),
        ("base", {"w_plus": [[1.0, 2.0], [3.0]]}, "base.w_plus: rows differ"),
        ("base", {"w_plus": [[0.0]] * (MAX_LAYERS + 1)}, "at most 32"),
        ("base", {"w_plus": [[0.0] * (MAX_DIM + 1)]}, "at most 1024"),
        ("base", {"w_plus": [[float("nan")]]}, "finite"),
        ("anchors.0.kind", "smell", "'text', 'sound' or 'image'"),
        ("anchors.0.source", "", "at least 1"),
        ("anchors.0.weight", 99.0, "less than or equal to 2"),
        ("anchors.0.weight", "1", "number"),
        ("anchors.0.weight", True, "number"),
        ("anchors.0.offset", [], "at least 1"),
        ("anchors.0.offset", [[0.1], [float("inf")]], "finite"),
        ("anchors.0.bundle", "latest", "anchors.0.bundle"),
        ("anchors", [GOOD["anchors"][0]] * (MAX_ANCHORS + 1), "at most 8"),
        ("controls", {"spede": 1.0}, "no control is called 'spede'"),
        ("controls", {"speed": 9.0}, "speed: 9 is not between 0 and 4"),
        ("controls", {"speed": float("nan")}, "controls.speed: Input should be a finite number"),
        ("controls", {"speed": "fast"}, "speed: wants a number"),
        ("controls", {"look/mirror": 2}, "look/mirror: wants one of off, horizontal, vertical, kaleidoscope"),
        ("controls", {"look/mirror": "sideways"}, "look/mirror: nothing is called 'sideways'; known are off"),
        ("bank", "x" * 33, "at most 32"),
        ("maps.0.feature", "smell", "'level', 'bass'"),
        ("maps.0.control", "master", "sound cannot move 'master'"),
        ("maps.0.control", "sound/gain", "sound cannot move 'sound/gain'"),
        ("maps.0.amount", 2.0, "less than or equal to 1"),
        ("maps.0.curve", 0.0, "greater than or equal to 0.1"),
        ("maps.0.release", 1.0, "unknown key 'maps.0.release'"),
        ("maps", [GOOD["maps"][0]] * (MAX_MAPS + 1), "at most 16"),
        ("fade_s", -1.0, "greater than or equal to 0"),
        ("fade_s", 1e9, "less than or equal to 600"),
    ],
)
def test_what_is_wrong_is_named_in_one_line(path: str, value: object, words: str):
    with pytest.raises(ValidationError) as refused:
        Preset.model_validate_json(with_(path, value))
    line = describe(refused.value)
    assert words in line
    assert "\n" not in line


@pytest.mark.parametrize(
    "name",
    [c.name for c in CONTROLS.values() if c.scope in ("stage", "room") or c.kind not in ("float", "choice")],
    ids=str,
)
def test_a_preset_cannot_move_what_belongs_to_the_stage(name: str):
    with pytest.raises(ValidationError, match="no control of the picture's look"):
        Preset.model_validate_json(with_("controls", {name: 1.0}))


@pytest.mark.parametrize(
    "name",
    [c.name for c in CONTROLS.values() if c.scope in ("engine", "look") and c.kind in ("float", "choice")],
    ids=str,
)
def test_a_preset_can_hold_everything_else_over_the_whole_of_its_range(name: str):
    control = CONTROLS[name]
    for value in control.options or (control.minimum, control.at(0.5), control.maximum):
        preset = Preset.model_validate_json(with_("controls", {name: value}))
        assert preset.controls == {name: pytest.approx(value) if control.kind == "float" else value}


@pytest.mark.parametrize("name", ["ember", "open-sky", "take-2", "x", "9", "a" * 48])
def test_names(name: str):
    assert is_name(name)


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../x", "x/y", "x\\y", "/x", "C:x", "x.json", "-x", "x-", "x--y", "Ember", "ember ", "ember\n", "é",
     "x\0", "con", "nul", "com1", "a" * 49, "~", "$HOME", "%41"],
)  # fmt: skip
def test_hostile_names(name: str):
    assert not is_name(name)


def test_stored_numbers_keep_five_digits():
    values = np.float32([[1.23456789, -0.000123456789], [1e-9, 12345.678]])
    stored = latent(values)
    assert stored == ((1.2346, -0.00012346), (1e-9, 12346.0))
    np.testing.assert_allclose(as_array(stored), values, rtol=5e-5)
    assert numbers(values[0]) == stored[0]
