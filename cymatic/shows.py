"""Whole shows, put into one file and taken out again, with what MIDI has learned: `cymatic presets export|import`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from engine.errors import PresetError

if TYPE_CHECKING:
    from engine.bundle import Bundle
    from engine.control.midi_map import MidiMap
    from presets.schema import Preset

__all__ = ["midi_file", "pack", "take"]


def midi_file() -> Path:
    """Where a show keeps what MIDI has learned: in the platform's data folder, beside the presets."""
    return platformdirs.user_data_path("cymatic", appauthor=False) / "midi.json"


def pack(
    file: Path, presets: Sequence[Preset], bundle: Bundle, midi: Path | None, inside: bool, say: Callable[[str], None]
) -> None:
    """Write a show, with the user's own MIDI map or the one in the file `midi`; with the bundle `inside`.

    Raises `PresetError` or `ControlError`, one line.
    """
    from engine.control.midi_map import read_map
    from presets.show import export_show

    if midi is not None and not midi.exists():
        raise PresetError(f"--midi {midi}: there is no such file")
    learned = read_map(midi or midi_file())
    export_show(file, presets, bundle, learned if learned.bindings else None, inside)
    count = len(learned.bindings)
    also = f", and {count} knob{'s' * (count > 1)} or pad{'s' * (count > 1)} that MIDI has learned" if count else ""
    say(f"wrote {file}: {len(presets)} presets{also}")


def take(file: Path, folder: Path | None, replace: bool, midi: Path | None, say: Callable[[str], None]) -> None:
    """Take a show in: presets to `folder` or the user's own, the bundle beside those, the MIDI map to the file `midi`
    or where a show keeps it. What is there stays unless `replace` says so, and then what was replaced is kept.

    Raises `PresetError` or `BundleError`, one line.
    """
    from presets.show import import_show
    from presets.store import PresetStore, user_folder

    done = import_show(file, PresetStore([folder or user_folder()]), user_folder().parent / "bundles", replace)
    for name in done.written:
        say(f"took {name}")
    if done.kept:
        say(f"kept what was there, since --replace was not given: {', '.join(done.kept)}")
    if done.bundle is not None:
        say(f"its bundle: --bundle {done.bundle}")
    else:
        say(f"made for the bundle {done.reference.name!r}, {done.reference.sha256[:12]}")
    if done.midi is not None:
        _take_map(done.midi, midi or midi_file(), replace, say)


def _take_map(learned: MidiMap, path: Path, replace: bool, say: Callable[[str], None]) -> None:
    from engine.files import replace_file

    there = path.exists()
    if there and not replace:
        say(f"kept the MIDI map that was there, since --replace was not given: {path}")
        return
    backup = path.with_name(path.name + ".bak")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if there:
            replace_file(backup, path.read_bytes())
        replace_file(path, learned.model_dump_json(indent=1).encode() + b"\n")
    except OSError as error:
        raise PresetError(f"{path} cannot be written: {error.strerror or error}") from None
    say(f"took what MIDI had learned, to {path}" + (f"; what was there is {backup.name} beside it" if there else ""))
