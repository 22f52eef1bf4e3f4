"""`cymatic presets`, with a real bundle's text graph."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tiny_bundle import make_tiny_bundle

from cymatic.cli import main
from engine.bundle import load_bundle
from engine.control.midi_map import Binding, MidiMap, read_map
from presets import shipped
from presets.compose import compose
from presets.recipe import Recipe
from presets.schema import Preset, Seed
from presets.store import PresetStore


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    return make_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture
def presets(tmp_path: Path, tiny: Path, capfd):
    """Runs `cymatic presets` on a folder of its own; (exit code, standard output, standard error)."""

    def run(*arguments: str, bundle: bool = False) -> tuple[int, str, str]:
        words = ["presets", *arguments, "--folder", str(tmp_path), *(["--bundle", str(tiny)] if bundle else [])]
        code = main(words)
        printed = capfd.readouterr()
        return code, printed.out, printed.err

    return run


def test_new_embeds_its_words_and_names_those_it_does_not_know(presets, tmp_path: Path, tiny: Path):
    code, out, err = presets(
        "new", "hot", "--text", "fire zebra night", "0.8", "--text", "rain", "-0.5", "--seed", "9",
        "--set", "speed=2", "--set", "gain/fine=0.5", "--set", "look/mirror=vertical",
        "--description", "Warm", "--fade", "1.5", bundle=True,
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert "zebra" in out
    assert "rain" not in out
    made = PresetStore([tmp_path]).load("hot")
    assert made.controls == {"speed": 2.0, "gain/fine": 0.5, "look/mirror": "vertical"}
    assert [(a.source, a.weight) for a in made.anchors] == [("fire zebra night", 0.8), ("rain", -0.5)]
    told = compose(made, load_bundle(tiny), serial=1)
    assert np.abs(told["offset"]).max() > 0.01, "the words pull"

    assert presets("list")[1] == "  1  hot  Warm\n"
    shown = presets("show", "hot")[1]
    for part in ("seed 9", "+0.80  fire zebra night", "-0.50  rain", "speed 2", "look/mirror vertical", "1.5 s"):
        assert part in shown
    assert presets("check", bundle=True)[:2] == (0, "good: hot\n")


def test_without_an_action_it_lists(monkeypatch, tmp_path: Path, capsys):
    monkeypatch.setattr(PresetStore, "standard", lambda: PresetStore([tmp_path]))
    PresetStore([tmp_path]).save(Preset(name="ember", description="A campfire", base=Seed(seed=1)))
    assert main(["presets"]) == 0
    bare = capsys.readouterr().out
    assert main(["presets", "list"]) == 0
    assert bare == capsys.readouterr().out == "  1  ember  A campfire\n"


def test_a_preset_that_states_no_fade_leaves_it_to_the_control(presets, tmp_path: Path):
    presets("new", "calm", bundle=True)
    presets("new", "slow", "--fade", "3", bundle=True)
    store = PresetStore([tmp_path])
    assert "fade_s" not in store.load("calm").model_fields_set
    assert "fade_s" in store.load("slow").model_fields_set, "also when it states the default"
    assert "as the control says" in presets("show", "calm")[1]


def test_new_replaces_only_when_told_to(presets, tmp_path: Path):
    assert presets("new", "calm", "--seed", "1", bundle=True)[0] == 0
    before = (tmp_path / "calm.json").read_bytes()
    code, _, err = presets("new", "calm", "--seed", "2", bundle=True)
    assert code == 2
    assert "--replace" in err
    assert (tmp_path / "calm.json").read_bytes() == before
    assert presets("new", "calm", "--seed", "2", "--replace", bundle=True)[0] == 0
    assert (tmp_path / "calm.json.bak").read_bytes() == before


def test_what_cannot_be_read_is_replaced_only_when_told_to_and_kept(presets, tmp_path: Path):
    for name in ("one", "two"):
        assert presets("new", name, bundle=True)[0] == 0
    newer = b'{"name": "calm", "schema_version": 9, "base": {"seed": 1}}'
    (tmp_path / "calm.json").write_bytes(newer)
    for arguments in (("new", "calm"), ("blend", "one", "two", "0.5", "calm")):
        code, _, err = presets(*arguments, bundle=True)
        assert (code, "--replace" in err) == (2, True)
        assert (tmp_path / "calm.json").read_bytes() == newer
    assert presets("new", "calm", "--replace", bundle=True)[0] == 0
    assert (tmp_path / "calm.json.v9.bak").read_bytes() == newer


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("new", "../x"), "a preset's name"),
        (("new", "x", "--text", "zebra", "1"), "none of the words"),
        (("new", "x", "--text", "fire", "hard"), "wants a number"),
        (("new", "x", "--text", "fire", "99"), "weight"),
        (("new", "x", "--set", "speed"), "CONTROL=VALUE"),
        (("new", "x", "--set", "speed=fast"), "wants a number"),
        (("new", "x", "--set", "speed=nan"), "finite"),
        (("new", "x", "--set", "speed=9"), "between 0 and 4"),
        (("new", "x", "--set", "spede=1"), "no control is called"),
        (("new", "x", "--set", "look/mirror=sideways"), "known are off, horizontal"),
        (("new", "x", "--set", "master=0"), "no control of the picture's look"),
        (("new", "x", "--seed", "-1"), "seed"),
        (("new", "x", "--fade", "-1"), "fade_s"),
    ],
)
def test_what_cannot_be_made_is_one_line_and_writes_nothing(presets, tmp_path: Path, arguments, words: str):
    code, out, err = presets(*arguments, bundle=True)
    assert (code, out) == (2, "")
    assert words in err
    assert err.startswith("cymatic: ")
    assert err.count("\n") == 1
    assert os.listdir(tmp_path) == []


def test_show_and_list_of_what_is_not_there(presets, tmp_path: Path, capfd):
    assert presets("show", "nothing")[0] == 2
    assert "no preset found" in presets("list")[1]
    assert main(["presets", "list", "--folder", str(tmp_path / "nowhere")]) == 2
    assert "is not a folder" in capfd.readouterr().err


def test_check_tells_of_every_bad_file(presets, tmp_path: Path):
    presets("new", "good", bundle=True)
    (tmp_path / "bad.json").write_text('{"name": "bad", "base": {"seed": 1}, "colour": 3}')
    code, out, err = presets("check")
    assert code == 2
    assert "unknown key 'colour'" in out
    assert "good: good" in out
    assert "1 of 2" in err


def test_check_tells_that_words_come_from_another_bundle(presets, tmp_path: Path):
    presets("new", "hot", "--text", "fire", "1", bundle=True)
    path = tmp_path / "hot.json"
    made = PresetStore([tmp_path]).load("hot")
    path.write_text(path.read_text().replace(made.anchors[0].bundle, "0" * 64))
    code, out, _ = presets("check", bundle=True)
    assert code == 0
    assert "embedded again" in out


def test_build_library_writes_all_or_nothing(presets, tmp_path: Path, monkeypatch):
    recipes = (Recipe("one", texts=(("fire", 1.0),)), Recipe("two", texts=(("rain", 1.0),)))
    monkeypatch.setattr(shipped, "LIBRARY", (*recipes, Recipe("three", texts=(("zebra", 1.0),))))
    assert presets("build-library", bundle=True)[0] == 2
    assert os.listdir(tmp_path) == []
    monkeypatch.setattr(shipped, "LIBRARY", recipes)
    for _ in range(2):
        assert presets("build-library", bundle=True)[0] == 0
    assert sorted(os.listdir(tmp_path)) == ["one.json", "two.json"], "no backups in the library"


def rain(path: Path) -> Path:
    soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal(32_000), 16_000)
    return path


def test_new_hears_clips_and_takes_maps_and_a_bank(presets, tmp_path: Path, tmp_path_factory, tiny: Path):
    file = rain(tmp_path_factory.mktemp("clips") / "rain.wav")
    code, _, err = presets(
        "new", "wet", "--text", "storm sea", "0.6", "--sound", str(file), "0.4", "--bank", "weather",
        "--map", "bass", "gain/fine", "0.5", "--map", "onset", "speed", "-0.25", "0.01", "0.4", "2", bundle=True,
    )  # fmt: skip
    assert (code, err) == (0, "")
    made = PresetStore([tmp_path]).load("wet")
    assert [(a.kind, a.source, a.weight) for a in made.anchors] == [
        ("text", "storm sea", 0.6),
        ("sound", "rain.wav", 0.4),
    ]
    assert [(m.feature, m.control, m.amount, m.attack_s, m.release_s, m.curve) for m in made.maps] == [
        ("bass", "gain/fine", 0.5, 0.0, 0.2, 1.0),
        ("onset", "speed", -0.25, 0.01, 0.4, 2.0),
    ]
    assert compose(made, load_bundle(tiny), serial=1)["offset"] is not None
    assert "weather" in presets("list")[1]
    shown = presets("show", "wet")[1]
    assert "sound     +0.40  rain.wav" in shown
    assert "map       bass +0.5 on gain/fine" in shown
    assert presets("check", bundle=True)[0] == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--sound", "nowhere.wav", "0.4"), "nowhere.wav"),
        (("--map", "bass", "speed"), "wants FEATURE CONTROL AMOUNT"),
        (("--map", "smell", "speed", "1"), "feature: Input should be"),
        (("--map", "bass", "master", "1"), "sound cannot move"),
        (("--map", "bass", "speed", "loud"), "wants a number"),
    ],
)
def test_a_clip_or_map_that_cannot_be(presets, tmp_path: Path, arguments, words: str):
    code, _, err = presets("new", "x", *arguments, bundle=True)
    assert code == 2
    assert words in err
    assert err.count("\n") == 1
    assert os.listdir(tmp_path) == []


@pytest.fixture
def data(tmp_path_factory, monkeypatch) -> Path:
    """The user's data folder, empty."""
    folder = tmp_path_factory.mktemp("home") / "cymatic"
    monkeypatch.setenv("XDG_DATA_HOME", str(folder.parent))
    return folder


def test_blend_export_and_import(presets, tmp_path: Path, tmp_path_factory, tiny: Path, data: Path, capfd):
    presets("new", "hot", "--text", "fire", "1", "--set", "speed=2", bundle=True)
    presets("new", "wet", "--text", "rain", "1", "--set", "speed=1", bundle=True)
    assert presets("blend", "hot", "wet", "0.25", "both", bundle=True)[0] == 0
    store = PresetStore([tmp_path])
    assert store.load("both").controls == {"speed": 1.75}
    assert [a.weight for a in store.load("both").anchors] == pytest.approx([2 / 3, 1 / 3])
    assert "--replace" in presets("blend", "hot", "wet", "0.5", "both", bundle=True)[2]

    elsewhere = tmp_path_factory.mktemp("show")
    file, folder = elsewhere / "a.cymatic", elsewhere / "mine"
    folder.mkdir()
    assert presets("export", str(file), "--with-bundle", bundle=True)[0] == 0
    assert main(["presets", "import", str(file), "--folder", str(folder)]) == 0
    out = capfd.readouterr().out
    assert PresetStore([folder]).names() == ["both", "hot", "wet"]
    taken = out.partition("--bundle ")[2].strip()
    assert load_bundle(taken).manifest.name == "tiny"
    assert main(["presets", "import", str(file), "--folder", str(folder)]) == 0
    assert "kept what was there" in capfd.readouterr().out


def learned(path: Path, number: int) -> bytes:
    """A map of MIDI, as a show writes it, in this file."""
    bound = MidiMap(bindings=(Binding(control="speed", kind="cc", channel=0, number=number),))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(bound.model_dump_json())
    return path.read_bytes()


def test_a_show_carries_what_midi_has_learned_both_ways(presets, tmp_path: Path, tmp_path_factory, data: Path):
    presets("new", "calm", bundle=True)
    show, own = tmp_path_factory.mktemp("show") / "a.cymatic", data / "midi.json"
    assert "MIDI" not in presets("export", str(show), bundle=True)[1], "nothing has been learned yet"
    assert "MIDI" not in presets("import", str(show))[1]
    assert not own.exists()

    learned(own, 7)
    assert "1 knob or pad that MIDI has learned" in presets("export", str(show), bundle=True)[1]
    own.unlink()
    code, out, _ = presets("import", str(show))
    assert (code, f"took what MIDI had learned, to {own}" in out) == (0, True)
    assert [binding.number for binding in read_map(own).bindings] == [7]

    mine = learned(own, 8)
    assert f"kept the MIDI map that was there, since --replace was not given: {own}" in presets("import", str(show))[1]
    assert own.read_bytes() == mine
    assert presets("import", str(show), "--replace")[0] == 0
    assert [binding.number for binding in read_map(own).bindings] == [7]
    assert (data / "midi.json.bak").read_bytes() == mine

    other = tmp_path / "other" / "map"
    learned(other, 9)
    presets("export", str(show), "--midi", str(other), bundle=True)
    other.unlink()
    presets("import", str(show), "--midi", str(other))
    assert [read_map(path).bindings[0].number for path in (own, other)] == [7, 9]


@pytest.mark.parametrize("content", [None, "{", '{"bindings": [{"control": 7}]}', "[]"])
def test_a_midi_map_that_is_none_is_not_exported(presets, tmp_path: Path, data: Path, content: str | None):
    presets("new", "calm", bundle=True)
    file, show = tmp_path / "map", tmp_path / "a.cymatic"
    if content is not None:
        file.write_text(content)
    code, _, err = presets("export", str(show), "--midi", str(file), bundle=True)
    assert (code, err.count("\n"), str(file) in err) == (2, 1, True)
    assert not show.exists()
