"""Presets as files: found, saved whole or not at all, and never outside their folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import PresetError
from presets import store as store_module
from presets.migrations import STEPS
from presets.schema import SCHEMA, Preset, Seed
from presets.store import MAX_BYTES, SHIPPED, PresetStore, read_preset, user_folder


def preset(name: str = "ember", seed: int = 1, **fields: object) -> Preset:
    return Preset(name=name, base=Seed(seed=seed), **fields)


@pytest.fixture
def shipped(tmp_path: Path) -> Path:
    folder = tmp_path / "shipped"
    PresetStore([folder]).save(preset("gorge", seed=1))
    PresetStore([folder]).save(preset("ember", seed=1))
    return folder


@pytest.fixture
def store(shipped: Path, tmp_path: Path) -> PresetStore:
    return PresetStore([shipped, tmp_path / "mine"])


def test_save_and_load(store: PresetStore, tmp_path: Path):
    saved = preset("take-2", description="Ä café “at” night", controls={"speed": 0.1}, fade_s=2.5)
    path = store.save(saved)
    assert path == tmp_path / "mine" / "take-2.json"
    assert store.load("take-2") == saved
    assert "café" in path.read_text(encoding="utf-8")
    assert [p.name for p in path.parent.iterdir()] == ["take-2.json"], "nothing temporary stays behind"


def test_names_are_sorted_over_all_folders_and_the_users_own_wins(store: PresetStore):
    store.save(preset("deep-water"))
    store.save(preset("ember", seed=99))
    assert store.names() == ["deep-water", "ember", "gorge"]
    assert store.load("ember").base == Seed(seed=99)
    assert store.load("gorge").base == Seed(seed=1)


def test_banks_have_sixteen_pads_and_those_without_one_come_last(tmp_path: Path):
    store = PresetStore([tmp_path])
    for number in range(18):
        store.save(preset(f"p{number:02d}", bank="nights"))
    store.save(preset("a-day", bank="days"))
    store.save(preset("a-stray"))
    banks = store.banks()
    assert [bank.name for bank in banks] == ["days", "nights", "nights 2", "others"]
    assert [len(bank.names) for bank in banks] == [1, 16, 2, 1]
    assert store.names() == ["a-day", *(f"p{number:02d}" for number in range(18)), "a-stray"]


def test_a_folder_that_does_not_exist_holds_nothing(tmp_path: Path):
    empty = PresetStore([tmp_path / "nowhere"])
    assert empty.names() == []
    with pytest.raises(PresetError, match=r"no preset 'x'; there are none"):
        empty.load("x")


def test_a_store_over_no_folders_has_no_presets():
    store = PresetStore([])
    assert store.names() == store.own_names() == store.banks() == []


def test_the_standard_store_is_the_library_and_the_users_data_folder(monkeypatch, tmp_path: Path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    store = PresetStore.standard()
    assert store._folders == (SHIPPED, user_folder())
    assert SHIPPED.is_dir()
    assert user_folder().name == "presets"
    assert user_folder().parent.name == "cymatic"


@pytest.mark.parametrize(
    "name", ["../secret", "..", "", "/etc/passwd", "mine/ember", "ember.json", "ember\0", "EMBER", "con"]
)
def test_a_hostile_name_is_no_path(store: PresetStore, tmp_path: Path, name: str):
    PresetStore([tmp_path]).save(preset("secret"))
    with pytest.raises(PresetError, match="there is no preset") as refused:
        store.load(name)
    assert "ember, gorge" in str(refused.value)
    bad = preset().model_copy(update={"name": name})
    with pytest.raises(PresetError, match="lower-case"):
        store.save(bad)
    assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "EOF"),
        (b"\xff\xfe\x00", "cannot be used"),
        (b"[]", "object"),
        (b'{"name": "hurt"', "EOF"),
        (b'{"name": "hurt", "base": {"seed": 1}, "colour": "red"}', "unknown key 'colour'"),
        (b'{"name": "other", "base": {"seed": 1}}', "calls itself 'other'"),
        (b'{"name": "hurt", "base": {"seed": NaN}}', "cannot be used"),
        (b"[" * 100_000, "cannot be used"),
        (b'{"name": "hurt", "base": {"seed": 1}}' + b" " * MAX_BYTES, "larger than 8 MiB"),
    ],
)
def test_a_file_that_cannot_be_used_is_skipped_in_the_list_and_named_on_load(
    store: PresetStore, shipped: Path, content: bytes, words: str
):
    path = shipped / "hurt.json"
    path.write_bytes(content)
    assert store.names() == ["ember", "gorge"]
    with pytest.raises(PresetError) as refused:
        store.load("hurt")
    assert words in str(refused.value)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)
    assert dict(store.check())[path] == str(refused.value)


def test_a_folder_in_place_of_a_file(store: PresetStore, shipped: Path):
    (shipped / "hurt.json").mkdir()
    assert store.names() == ["ember", "gorge"]
    with pytest.raises(PresetError, match="cannot be read"):
        store.load("hurt")


def test_saving_keeps_the_last_good_one(store: PresetStore, tmp_path: Path):
    for seed in (1, 2, 3):
        store.save(preset("ember", seed=seed))
    backup = tmp_path / "mine" / "ember.json.bak"
    assert Preset.model_validate_json(backup.read_bytes()).base == Seed(seed=2)
    assert "ember.json.bak" not in store.names()
    path = tmp_path / "mine" / "ember.json"
    path.write_bytes(b"{half")
    with pytest.raises(PresetError, match=r"the last good one is ember\.json\.bak"):
        store.load("ember")
    store.save(preset("ember", seed=4))
    assert Preset.model_validate_json(backup.read_bytes()).base == Seed(seed=2), "a broken file is no good one"


@pytest.mark.parametrize(
    ("content", "kept"),
    [
        (b'{"name": "ember", "schema_version": 9, "base": {"seed": 1}, "sky": "red"}', "ember.json.v9.bak"),
        (b'{"name": "ember", "schema_version": 1, "base": {"sead": 1}}', "ember.json.damaged"),
        (b'{"name": "ember", "base": {"seed": 1}, "colour": "red"}', "ember.json.damaged"),
        (b"{half", "ember.json.damaged"),
        (b"", "ember.json.damaged"),
    ],
)
def test_a_file_that_cannot_be_read_here_is_kept_when_a_save_replaces_it(tmp_path: Path, content: bytes, kept: str):
    store = PresetStore([tmp_path])
    for name in ("ember.json.bak", "ember.json.v1.bak"):
        (tmp_path / name).write_bytes(b"the last good one")
    (tmp_path / "ember.json").write_bytes(content)
    store.save(preset("ember", seed=4))
    assert store.load("ember").base == Seed(seed=4)
    assert (tmp_path / kept).read_bytes() == content
    for name in {"ember.json.bak", "ember.json.v1.bak"}:
        assert (tmp_path / name).read_bytes() == b"the last good one"


@pytest.mark.parametrize("broken", ["replace", "fsync"])
def test_a_save_that_fails_leaves_the_old_one(store: PresetStore, tmp_path: Path, monkeypatch, broken: str):
    store.save(preset("ember", seed=1))
    before = {p.name: p.read_bytes() for p in (tmp_path / "mine").iterdir()}

    def fails(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store_module.os, broken, fails)
    with pytest.raises(PresetError, match="No space left on device"):
        store.save(preset("ember", seed=2))
    monkeypatch.undo()
    assert {p.name: p.read_bytes() for p in (tmp_path / "mine").iterdir()} == before


def test_an_interrupt_during_a_save_leaves_no_litter(store: PresetStore, tmp_path: Path, monkeypatch):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(store_module.os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.save(preset("ember", seed=2))
    assert list((tmp_path / "mine").iterdir()) == []


def test_a_folder_that_cannot_be_written(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(PresetError, match="cannot save preset 'ember'"):
        PresetStore([tmp_path / "file"]).save(preset())


def test_a_saved_file_may_be_read_by_others(store: PresetStore):
    path = store.save(preset())
    if os.name == "posix":
        assert path.stat().st_mode & 0o777 == 0o644


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text('aé\0\n"/.', max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["seed", "w_plus", "x"]), inner),
    max_leaves=9,
)


@given(st.sampled_from([*Preset.model_fields, "x"]), JSON_VALUES)
@settings(max_examples=60, deadline=None)
def test_any_value_anywhere_gives_a_preset_or_one_line(tmp_path_factory, key: str, value: object):
    folder = tmp_path_factory.getbasetemp() / "fuzz"
    folder.mkdir(exist_ok=True)
    path = folder / "fuzz.json"
    path.write_text(json.dumps({"name": "fuzz", "base": {"seed": 1}} | {key: value}))
    [(_, problem)] = PresetStore([folder]).check()
    if problem is None:
        loaded = read_preset(path)
        assert Preset.model_validate_json(loaded.model_dump_json()) == loaded
    else:
        assert "\n" not in problem


# ---- Older files, and saves that are killed


def old_file(folder: Path, name: str = "ember") -> Path:
    path = folder / f"{name}.json"
    folder.mkdir(exist_ok=True)
    path.write_text(json.dumps({"schema_version": 1, "name": name, "base": {"seed": 3}, "controls": {"speed": 2.0}}))
    return path


def test_an_older_file_is_read_and_only_a_save_rewrites_it(tmp_path: Path):
    path = old_file(tmp_path)
    before, store = path.read_bytes(), PresetStore([tmp_path])
    loaded = store.load("ember")
    assert (loaded.schema_version, loaded.base, loaded.controls) == (SCHEMA, Seed(seed=3), {"speed": 2.0})
    assert path.read_bytes() == before
    store.save(loaded)
    assert json.loads(path.read_bytes())["schema_version"] == SCHEMA
    assert (tmp_path / "ember.json.v1.bak").read_bytes() == before
    store.save(loaded)
    assert (tmp_path / "ember.json.v1.bak").read_bytes() == before
    assert store.load("ember") == loaded


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"schema_version": 3}, "a newer cymatic (schema 3, this one reads up to 2)"),
        ({"schema_version": 1, "colour": "red"}, "unknown key 'colour'"),
        ({"schema_version": 0}, "schema_version"),
        ({"schema_version": -7}, "schema_version"),
        ({"schema_version": True}, "schema_version"),
        ({"schema_version": "1"}, "schema_version"),
    ],
)
def test_a_file_of_an_unknown_version_or_with_unknown_keys_is_refused(tmp_path: Path, fields: dict, words: str):
    path = tmp_path / "ember.json"
    path.write_text(json.dumps({"name": "ember", "base": {"seed": 3}} | fields))
    with pytest.raises(PresetError) as refused:
        read_preset(path)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_every_step_leads_to_the_next_version():
    assert sorted(STEPS) == list(range(1, SCHEMA))


SAVES = """
import sys
from pathlib import Path
from presets.schema import Preset, Seed
from presets.store import PresetStore
store = PresetStore([Path(sys.argv[1])])
for number in range(10_000):
    store.save(Preset(name=f"p{number % 50}", base=Seed(seed=number), description="x" * 150))
    sys.stdout.write("s")
    sys.stdout.flush()
"""


def test_kills_in_the_middle_of_500_saves_leave_every_file_whole(tmp_path: Path):
    """The file under every name is the old or the new one; what the killed save was writing is swept up one day."""
    root = Path(__file__).parents[2]
    for saves in (60, 97, 130, 96, 121):
        process = subprocess.Popen([sys.executable, "-c", SAVES, str(tmp_path)], cwd=root, stdout=subprocess.PIPE)
        with process:
            assert process.stdout.read(saves) == b"s" * saves
            process.kill()
        assert process.returncode == -signal.SIGKILL
        checked = PresetStore([tmp_path]).check()
        assert [problem for _, problem in checked if problem] == []
        assert len(checked) == 50
    for path in tmp_path.glob("*.bak"):
        Preset.model_validate_json(path.read_bytes())
    litter = [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    for path in litter:
        os.utime(path, (0, 0))
    for number in range(50):
        PresetStore([tmp_path]).save(preset(f"p{number}"))
    assert [path for path in litter if path.exists()] == []
