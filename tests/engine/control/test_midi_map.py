"""What MIDI has learned: kept, found again, and taken in while a show plays."""

from __future__ import annotations

from pathlib import Path

import pytest
from midi_box import Box

from engine.control.desk import Desk
from engine.control.midi_map import LOOK_S, Binding, MidiMap, read_map
from engine.errors import ControlError


@pytest.fixture
def desk() -> Desk:
    desk = Desk()
    desk.set_options("preset/go", ("open-sky", "ember", "gorge"))
    return desk


def test_what_was_learned_is_found_again(desk: Desk, tmp_path: Path):
    path = tmp_path / "data" / "midi.json"
    box = Box(desk, path)
    box.learn("preset/go", "ember")
    box.pad(40)
    box.learn("gain/fine", 2.0)
    box.knob(7, 127)
    again = Box(Desk(), path)
    assert again.midi.bindings == box.midi.bindings
    again.knob(7, 70, 60)
    assert again.desk.get("gain/fine") == pytest.approx(2 * 60 / 127)


@pytest.mark.parametrize(
    "text", ["", "[]", '{"bindings": [{"control": "master"}]}', '{"schema_version": 2}', '{"extra": 1}', "\udcff"]
)
def test_a_map_that_cannot_be_used_is_one_line(tmp_path: Path, text: str):
    path = tmp_path / "midi.json"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ControlError, match=r"midi\.json cannot be used") as refused:
        read_map(path)
    assert "\n" not in str(refused.value)


def test_a_map_that_is_taken_in_during_the_show_holds_and_is_learned_on(desk: Desk, tmp_path: Path, monkeypatch):
    path, now = tmp_path / "midi.json", [0.0]
    monkeypatch.setattr("engine.control.midi_map.time.monotonic", lambda: now[0])
    box = Box(desk, path)
    box.learn("speed", 1.5)
    box.knob(20, 64)
    taken = MidiMap(bindings=(Binding(control="master", kind="cc", channel=0, number=7),))
    path.write_text(taken.model_dump_json())
    box.midi.tick()
    assert box.midi.bound("master") == [], "it is not looked at in every frame"
    now[0] += LOOK_S
    box.midi.tick()
    assert box.lines[-1] == "MIDI: midi.json was changed, and what it says holds now: 1 bound"
    assert (box.midi.bound("speed"), len(box.midi.bound("master"))) == ([], 1)
    assert [message.control for message in box.told][-1] == 7, "the motor is told"
    box.learn("sound/gain", 3.0)
    box.knob(21, 64)
    assert {binding.control for binding in read_map(path).bindings} == {"master", "sound/gain"}
    path.write_bytes(b"{")
    for _ in range(3):
        now[0] += LOOK_S
        box.midi.tick()
    assert sum("cannot be used" in line and "holds" in line for line in box.lines) == 1
    path.unlink()
    now[0] += LOOK_S
    box.midi.tick()
    assert len(box.midi.bindings) == 2


def test_what_is_told_anew_was_touched_by_nobody(desk: Desk, tmp_path: Path, monkeypatch):
    path, now = tmp_path / "midi.json", [0.0]
    monkeypatch.setattr("engine.control.midi_map.time.monotonic", lambda: now[0])
    box = Box(desk, path)
    desk.set("master", 0.5, "window")
    box.midi.tick()
    box.midi.learn()
    path.write_text(MidiMap().model_dump_json())
    now[0] += LOOK_S
    box.midi.tick()
    box.knob(20, 64)
    assert box.midi.bindings == ()
