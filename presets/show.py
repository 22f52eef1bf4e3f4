"""A show in one file: `NAME.cymatic`, a zip of presets, MIDI map and a reference to the bundle, or the bundle itself.

    show.json              what is inside, and the bundle by name and hash
    presets/NAME.json      as `presets.store` writes them
    midi.json              what was learned, where there is any
    bundle/...             the files that its bundle.json names, where it was asked for

An archive comes from anywhere. It is read member by member, never unpacked by the names in it: each name must be one
that `show.json` or the bundle's manifest leads to expect, and no member may give more bytes than its kind allows,
whatever its header says. Everything is read and checked before the first preset is written.
"""

from __future__ import annotations

import os
import shutil
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from engine.bundle import MANIFEST, Bundle, BundleManifest, load_bundle, sha256_file
from engine.control.midi_map import MidiMap
from engine.errors import BundleError, PresetError
from engine.files import replacing
from presets.schema import Name, Preset, describe
from presets.store import MAX_BYTES, PresetStore, parse_preset, to_json

__all__ = ["BundleReference", "Imported", "export_show", "import_show", "reference"]

SUFFIX = ".cymatic"
MAX_PRESETS = 512
MAX_JSON_BYTES = 1 << 20  # of show.json and midi.json
MAX_PRESETS_BYTES = 256 << 20  # of all presets together
MAX_BUNDLE_BYTES = 2 << 30
MAX_MEMBERS = MAX_PRESETS + 32
CHUNK = 1 << 20
_WHEN = (1980, 1, 1, 0, 0, 0)  # of every member, so that the same show is the same file

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class BundleReference(_Model):
    """The bundle that the presets were made with. `sha256`: of its `bundle.json`, which names the hash of all else."""

    name: Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    sha256: Sha256


class ShowManifest(_Model):
    """The content of `show.json`."""

    schema_version: Literal[1] = 1
    presets: Annotated[tuple[Name, ...], Field(max_length=MAX_PRESETS)]
    bundle: BundleReference
    bundle_inside: bool = False
    midi: bool = False


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import has done. `bundle`: the folder of the one that was inside; `kept`: presets that were there."""

    written: tuple[str, ...]
    kept: tuple[str, ...]
    reference: BundleReference
    bundle: Path | None = None
    midi: MidiMap | None = None


def reference(bundle: Bundle) -> BundleReference:
    """How a show names this bundle."""
    return BundleReference(name=bundle.manifest.name, sha256=sha256_file(bundle.folder / MANIFEST))


def export_show(
    path: Path,
    presets: Sequence[Preset],
    bundle: Bundle,
    midi: MidiMap | None = None,
    with_bundle: bool = False,
) -> None:
    """Write a show, whole or not at all. Raises `PresetError`, one line."""
    if path.suffix != SUFFIX:
        raise PresetError(f"cannot write {path}: a show's name ends in {SUFFIX}")
    if not 0 < len(presets) <= MAX_PRESETS:
        raise PresetError(f"a show holds 1 to {MAX_PRESETS} presets, not {len(presets)}")
    manifest = ShowManifest(
        presets=tuple(preset.name for preset in presets),
        bundle=reference(bundle),
        bundle_inside=with_bundle,
        midi=midi is not None,
    )
    try:
        with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
            _put(archive, "show.json", manifest.model_dump_json(indent=1).encode())
            for preset in presets:
                _put(archive, f"presets/{preset.name}.json", to_json(preset))
            if midi is not None:
                _put(archive, "midi.json", midi.model_dump_json(indent=1).encode())
            for file in (MANIFEST, *_bundle_files(bundle)) if with_bundle else ():
                info = zipfile.ZipInfo(f"bundle/{file}", _WHEN)
                with (bundle.folder / file).open("rb") as source, archive.open(info, "w", force_zip64=True) as target:
                    shutil.copyfileobj(source, target, CHUNK)
    except OSError as error:
        raise PresetError(f"cannot write {path}: {error.strerror or error}") from None


def import_show(path: Path, store: PresetStore, bundles: Path, replace: bool = False) -> Imported:
    """Take a show's presets into a store, and the bundle inside it, if there is one, into the folder `bundles`.

    A preset that is there already stays as it is unless `replace` says so, and then its old file stays as `.bak`. A
    bundle goes to `bundles/NAME-HASH` and is complete when it is there. Raises `PresetError` or `BundleError`, one
    line, for a file that is no show or asks for what it must not; then nothing was written.
    """
    try:
        _check_directory(path)
        with zipfile.ZipFile(path) as archive:
            show = _Show(archive, path)
            manifest = show.manifest()
            presets = show.presets(manifest)
            midi = show.midi() if manifest.midi else None
            show.expect_no_more(manifest)
            folder = _take_bundle(show, manifest.bundle, bundles) if manifest.bundle_inside else None
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError) as error:
        raise PresetError(f"{path} is no show, or damaged: {error}") from None
    except OSError as error:
        raise PresetError(f"show {path} cannot be taken in: {error.strerror or error}") from None
    there = set(store.own_names())
    written = [preset for preset in presets if replace or preset.name not in there]
    for preset in written:
        store.save(preset)
    kept = tuple(preset.name for preset in presets if preset not in written)
    return Imported(tuple(preset.name for preset in written), kept, manifest.bundle, folder, midi)


def _check_directory(path: Path) -> None:
    """Refuse an endless directory before `zipfile` reads it into memory. Ours need no zip64 and no comment."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(end - 42, 0))
        tail = file.read()
    if len(tail) < 22 or tail[-22:-18] != b"PK\5\6":
        raise PresetError(f"{path} is no show: shows are made by `cymatic presets export`")
    members, size = struct.unpack("<HI", tail[-12:-6])
    if members > MAX_MEMBERS or size > MAX_JSON_BYTES or tail[:4] == b"PK\6\7":
        raise PresetError(f"{path} is no show: it has more than {MAX_MEMBERS} members")


class _Show:
    """An archive that is not trusted."""

    def __init__(self, archive: zipfile.ZipFile, path: Path) -> None:
        self._archive, self._path = archive, path
        members = archive.infolist()
        self._members = {member.filename: member for member in members}
        if len(self._members) != len(members):
            raise PresetError(f"{path} is no show: a name is in it twice")
        for member in members:
            if member.flag_bits & 0x1:
                raise PresetError(f"{path} is no show: {member.filename[:60]!r} is encrypted")
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise PresetError(f"{path} is no show: {member.filename[:60]!r} is packed in an unknown way")

    def manifest(self) -> ShowManifest:
        """What the show says is inside."""
        try:
            return ShowManifest.model_validate_json(self.read("show.json", MAX_JSON_BYTES))
        except ValidationError as error:
            raise PresetError(f"show {self._path}: show.json: {describe(error)}") from None

    def presets(self, manifest: ShowManifest) -> list[Preset]:
        """All presets, in the order of the show."""
        found, left = [], MAX_PRESETS_BYTES
        for name in manifest.presets:
            data = self.read(f"presets/{name}.json", min(MAX_BYTES, left))
            left -= len(data)
            preset = parse_preset(data, f"show {self._path}: presets/{name}.json")
            if preset.name != name:
                raise PresetError(f"show {self._path}: presets/{name}.json calls itself {preset.name!r}")
            found.append(preset)
        return found

    def midi(self) -> MidiMap:
        """What was learned."""
        try:
            return MidiMap.model_validate_json(self.read("midi.json", MAX_JSON_BYTES))
        except ValidationError as error:
            raise PresetError(f"show {self._path}: midi.json: {describe(error)}") from None

    def expect_no_more(self, manifest: ShowManifest) -> None:
        """Raise for members that nothing leads to expect."""
        expected = {"show.json", *(f"presets/{name}.json" for name in manifest.presets)}
        expected |= {"midi.json"} if manifest.midi else set()
        for name in sorted(self._members.keys() - expected):
            if not manifest.bundle_inside or not name.startswith("bundle/"):
                raise PresetError(f"{self._path} is no show: nothing says what {name[:60]!r} is")

    def bundle_files(self) -> list[str]:
        """Names of the members under `bundle/`, without it."""
        return [name.removeprefix("bundle/") for name in self._members if name.startswith("bundle/")]

    def read(self, name: str, limit: int) -> bytes:
        """A member of at most `limit` bytes."""
        return b"".join(self.chunks(name, limit))

    def chunks(self, name: str, limit: int) -> Iterator[bytes]:
        """The same piece by piece; it ends with `PresetError` as soon as there is more."""
        if name not in self._members:
            raise PresetError(f"show {self._path} is incomplete: it has no {name}")
        with self._archive.open(self._members[name]) as member:
            passed = 0
            while chunk := member.read(CHUNK):
                passed += len(chunk)
                if passed > limit:
                    raise PresetError(f"show {self._path}: {name} is larger than {max(limit, 0)} bytes")
                yield chunk


def _take_bundle(show: _Show, named: BundleReference, bundles: Path) -> Path:
    """Write the bundle inside to its folder, if it is not there, and give the folder. Every hash is checked."""
    folder = bundles / f"{named.name}-{named.sha256[:12]}"
    if folder.is_dir():
        return folder
    bundles.mkdir(parents=True, exist_ok=True)
    with _new_folder(bundles) as new:
        (new / MANIFEST).write_bytes(show.read(f"bundle/{MANIFEST}", MAX_JSON_BYTES))
        if sha256_file(new / MANIFEST) != named.sha256:
            raise BundleError(f"the bundle inside is not {named.name!r} with the hash that the show names")
        left, expected = MAX_BUNDLE_BYTES, _files_of(new)
        for file in show.bundle_files():
            if file == MANIFEST:
                continue
            if file not in expected:
                raise BundleError(f"the bundle inside has a file that its {MANIFEST} does not name: {file[:60]!r}")
            with (new / file).open("wb") as target:
                for chunk in show.chunks(f"bundle/{file}", left):
                    left -= len(chunk)
                    target.write(chunk)
        load_bundle(new)
        os.rename(new, folder)
    return folder


@contextmanager
def _new_folder(parent: Path) -> Iterator[Path]:
    """A folder that is gone afterwards, unless it was given another name."""
    new = Path(tempfile.mkdtemp(dir=parent, prefix=".new-"))
    try:
        yield new
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _bundle_files(bundle: Bundle) -> list[str]:
    return sorted(bundle.manifest.files)


def _files_of(folder: Path) -> set[str]:
    """The files that a bundle's manifest names; each is a plain file name, or the manifest is refused."""
    try:
        manifest = BundleManifest.model_validate_json((folder / MANIFEST).read_bytes())
    except ValidationError as error:
        raise BundleError(f"the bundle inside: {MANIFEST}: {describe(error)}") from None
    return set(manifest.files)


def _put(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    archive.writestr(zipfile.ZipInfo(name, _WHEN), data, zipfile.ZIP_DEFLATED)
