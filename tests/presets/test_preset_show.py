"""Shows in one file: what goes in comes out, and what others have packed does no harm."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
import zipfile
from pathlib import Path

import pytest
from tiny_bundle import make_tiny_bundle

from engine.bundle import Bundle, describe_file, load_bundle, write_manifest
from engine.control.midi_map import Binding, MidiMap
from engine.errors import CymaticError, PresetError
from presets import show as show_module
from presets.schema import Preset, Seed
from presets.show import export_show, import_show, reference
from presets.store import PresetStore

EMBER, GORGE = (Preset(name=name, base=Seed(seed=seed)) for name, seed in (("ember", 1), ("gorge", 2)))


@pytest.fixture(scope="module")
def bundle(tiny_bundle) -> Bundle:
    return load_bundle(tiny_bundle)


@pytest.fixture
def store(tmp_path: Path) -> PresetStore:
    return PresetStore([tmp_path / "mine"])


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def packed(path: Path, members: dict[str, bytes | str], manifest: dict | None = None, **changes: object) -> Path:
    """A show written by hand: `members` beside a show.json that states `changes`."""
    stated = {"presets": ["ember"], "bundle": {"name": "tiny", "sha256": "ab" * 32}} | changes
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("show.json", json.dumps(stated if manifest is None else manifest))
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def good() -> str:
    return json.dumps({"name": "ember", "base": {"seed": 1}})


def refused(path: Path, store: PresetStore, tmp_path: Path) -> str:
    """The one line with which a show is refused; nothing may have been written."""
    before = everything(tmp_path)
    with pytest.raises(CymaticError) as error:
        import_show(path, store, tmp_path / "bundles")
    assert everything(tmp_path) == before
    assert store.own_names() == []
    line = str(error.value)
    assert "\n" not in line
    return line


def test_what_goes_in_comes_out(tmp_path: Path, store: PresetStore, bundle: Bundle):
    path, again = tmp_path / "a.cymatic", tmp_path / "b.cymatic"
    midi = MidiMap(bindings=(Binding(control="master", kind="cc14", channel=0, number=7),))
    for target in (path, again):
        export_show(target, [GORGE, EMBER], bundle, midi)
    assert path.read_bytes() == again.read_bytes(), "the same show is the same file"
    done = import_show(path, store, tmp_path / "bundles")
    assert (done.written, done.kept, done.bundle, done.midi) == (("gorge", "ember"), (), None, midi)
    assert done.reference == reference(bundle)
    assert (store.load("ember"), store.load("gorge")) == (EMBER, GORGE)
    assert not (tmp_path / "bundles").exists()


def test_what_is_there_stays_unless_told_otherwise(tmp_path: Path, store: PresetStore, bundle: Bundle):
    path = tmp_path / "a.cymatic"
    export_show(path, [GORGE, EMBER], bundle)
    mine = EMBER.model_copy(update={"description": "my own"})
    store.save(mine)
    done = import_show(path, store, tmp_path)
    assert (done.written, done.kept) == (("gorge",), ("ember",))
    assert store.load("ember") == mine
    assert import_show(path, store, tmp_path, replace=True).kept == ()
    assert store.load("ember") == EMBER
    assert "my own" in (tmp_path / "mine" / "ember.json.bak").read_text()


def test_a_bundle_travels_inside(tmp_path: Path, store: PresetStore, bundle: Bundle):
    path = tmp_path / "a.cymatic"
    export_show(path, [EMBER], bundle, with_bundle=True)
    done = import_show(path, store, tmp_path / "bundles")
    assert done.bundle is not None
    assert everything(done.bundle) == {
        name: data for name, data in everything(bundle.folder).items() if name in everything(done.bundle)
    }
    assert load_bundle(done.bundle).manifest == bundle.manifest
    assert [entry.name for entry in (tmp_path / "bundles").iterdir()] == [done.bundle.name], "nothing temporary stays"
    assert import_show(path, store, tmp_path / "bundles").bundle == done.bundle


def test_a_bundle_travels_with_all_that_it_paints_with(tmp_path: Path, store: PresetStore):
    folder = make_tiny_bundle(tmp_path / "whole", small=True)
    before = load_bundle(folder).manifest
    twin = folder / "generator.int8.onnx"
    shutil.copyfile(folder / "generator.onnx", twin)
    row = before.graphs["generator"].model_copy(update={"int8": describe_file(twin)})
    write_manifest(folder, before.model_copy(update={"graphs": {**before.graphs, "generator": row}}))
    path = tmp_path / "a.cymatic"
    export_show(path, [EMBER], load_bundle(folder), with_bundle=True)
    done = import_show(path, store, tmp_path / "bundles")
    assert done.bundle is not None
    assert {"generator.int8.onnx", "small.onnx"} <= set(everything(done.bundle))
    assert everything(done.bundle) == everything(folder)


@pytest.mark.parametrize("name", ["show.zip", "show"])
def test_an_export_that_cannot_be(tmp_path: Path, bundle: Bundle, name: str):
    with pytest.raises(PresetError, match=r"ends in \.cymatic"):
        export_show(tmp_path / name, [EMBER], bundle)
    with pytest.raises(PresetError, match="1 to 512"):
        export_show(tmp_path / "a.cymatic", [], bundle)
    with pytest.raises(PresetError, match="cannot write"):
        export_show(tmp_path / "nowhere" / "a.cymatic", [EMBER], bundle)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "name",
    ["../ember.json", "/ember.json", "presets/../../ember.json", "presets/ember.json/x", "C:\\ember.json", "x",
     "midi.json", "bundle/../../x", "bundle/generator.onnx", "presets/gorge.json"],
)  # fmt: skip
def test_a_member_that_nothing_leads_to_expect(tmp_path: Path, store: PresetStore, name: str):
    path = packed(tmp_path / "a.cymatic", {"presets/ember.json": good(), name: "x"})
    assert "nothing says what" in refused(path, store, tmp_path)


@pytest.mark.parametrize("name", ["../ember", "..", "/ember", "con", "Ember", ""])
def test_a_show_cannot_name_a_path(tmp_path: Path, store: PresetStore, name: str):
    path = packed(tmp_path / "a.cymatic", {f"presets/{name}.json": good()}, presets=[name])
    assert "show.json: presets" in refused(path, store, tmp_path)


@pytest.mark.parametrize(
    ("members", "changes", "words"),
    [
        ({}, {}, "incomplete"),
        ({"presets/ember.json": "{"}, {}, "presets/ember.json cannot be used"),
        ({"presets/ember.json": good().replace("ember", "gorge")}, {}, "calls itself 'gorge'"),
        ({"presets/ember.json": good()}, {"schema_version": 2}, "schema_version"),
        ({"presets/ember.json": good()}, {"colour": 1}, "unknown key 'colour'"),
        ({"presets/ember.json": good(), "midi.json": "[" * 100_000}, {"midi": True}, "midi.json"),
        ({"presets/ember.json": good(), "midi.json": '{"knobs": 3}'}, {"midi": True}, "midi.json: unknown key 'knobs'"),
        ({"presets/ember.json": good()}, {"bundle": {"name": "../x", "sha256": "ab" * 32}}, "bundle.name"),
        ({"presets/ember.json": good()}, {"bundle_inside": True}, "no bundle/bundle.json"),
        ({"presets/ember.json": good(), "bundle/bundle.json": "{}"}, {"bundle_inside": True}, "the hash that the show"),
    ],
)
def test_a_show_that_is_wrong_inside(tmp_path: Path, store: PresetStore, members: dict, changes: dict, words: str):
    (tmp_path / "bundles").mkdir()
    assert words in refused(packed(tmp_path / "a.cymatic", members, **changes), store, tmp_path)
    assert os.listdir(tmp_path / "bundles") == []


def test_a_bundle_inside_cannot_bring_files_of_its_own(tmp_path: Path, store: PresetStore, bundle: Bundle):
    path = tmp_path / "a.cymatic"
    export_show(path, [EMBER], bundle, with_bundle=True)
    for name, words in (("bundle/../../evil", "does not name"), ("bundle/more.bin", "does not name")):
        evil = tmp_path / "evil.cymatic"
        evil.write_bytes(path.read_bytes())
        with zipfile.ZipFile(evil, "a") as archive:
            archive.writestr(name, "x")
        assert words in refused(evil, store, tmp_path)
        evil.unlink()


def test_a_bundle_whose_bytes_were_changed_is_refused(tmp_path: Path, store: PresetStore, bundle: Bundle):
    path, evil = tmp_path / "a.cymatic", tmp_path / "evil.cymatic"
    export_show(path, [EMBER], bundle, with_bundle=True)
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(evil, "w") as target:
        for member in source.infolist():
            data = source.read(member)
            target.writestr(member, data[:-1] + b"!" if member.filename.endswith("generator.onnx") else data)
    refused(evil, store, tmp_path)
    assert not list(tmp_path.glob("bundles/*"))


def test_a_bomb_is_not_unpacked(tmp_path: Path, store: PresetStore, monkeypatch):
    bomb = packed(tmp_path / "a.cymatic", {"presets/ember.json": b" " * (64 << 20)})
    assert bomb.stat().st_size < 1 << 20
    assert "larger than" in refused(bomb, store, tmp_path)
    # And one whose header lies about it.
    data = bytearray(bomb.read_bytes())
    real, lie = (64 << 20).to_bytes(4, "little"), (100).to_bytes(4, "little")
    bomb.write_bytes(bytes(data).replace(real, lie))
    refused(bomb, store, tmp_path)
    monkeypatch.setattr(show_module, "MAX_PRESETS_BYTES", 60)
    many = {f"presets/p{n}.json": json.dumps({"name": f"p{n}", "base": {"seed": 1}}) for n in range(3)}
    assert "larger than" in refused(packed(tmp_path / "b.cymatic", many, presets=["p0", "p1", "p2"]), store, tmp_path)


def test_endless_members_are_refused_before_they_are_read(tmp_path: Path, store: PresetStore):
    with zipfile.ZipFile(tmp_path / "a.cymatic", "w") as archive:
        for number in range(600):
            archive.writestr(f"presets/p{number}.json", "")
    assert "more than" in refused(tmp_path / "a.cymatic", store, tmp_path)


def test_a_link_in_an_archive_is_no_link(tmp_path: Path, store: PresetStore):
    link = zipfile.ZipInfo("presets/ember.json")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(packed(tmp_path / "a.cymatic", {}), "a") as archive:
        archive.writestr(link, "/etc/passwd")
    assert "cannot be used" in refused(tmp_path / "a.cymatic", store, tmp_path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_is_there_twice(tmp_path: Path, store: PresetStore):
    path = packed(tmp_path / "a.cymatic", {"presets/ember.json": good()})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("presets/ember.json", good())
    assert "twice" in refused(path, store, tmp_path)


@pytest.mark.parametrize("cut", [0, 1, 21, 60, -1, -30])
def test_a_damaged_file(tmp_path: Path, store: PresetStore, bundle: Bundle, cut: int):
    whole, hurt = tmp_path / "a.cymatic", tmp_path / "hurt.cymatic"
    export_show(whole, [EMBER], bundle)
    hurt.write_bytes(whole.read_bytes()[:cut])
    refused(hurt, store, tmp_path)
    flipped = bytearray(whole.read_bytes())
    for place in range(0, len(flipped), 37):
        data = bytearray(flipped)
        data[place] ^= 0xFF
        hurt.write_bytes(data)
        with contextlib.suppress(CymaticError):  # and nothing else; a bit that does not matter may go unnoticed
            import_show(hurt, PresetStore([tmp_path / "other"]), tmp_path / "bundles")


def test_what_is_not_there(tmp_path: Path, store: PresetStore):
    assert "cannot be taken in" in refused(tmp_path / "none.cymatic", store, tmp_path)
