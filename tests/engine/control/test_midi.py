"""MIDI by mido's own messages: learning, 7 and 14 bits, soft take-over, lamps and motors, ports."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import wait_until
from midi_box import Box, cc

from engine.control import midi_ports
from engine.control.desk import Desk
from engine.control.midi import Midi
from engine.control.midi_map import Binding, MidiMap
from engine.control.midi_ports import open_midi
from engine.errors import ControlError

mido = pytest.importorskip("mido")
PRESETS = ("open-sky", "ember", "gorge")


@pytest.fixture
def desk() -> Desk:
    desk = Desk()
    desk.set_options("preset/go", PRESETS)
    return desk


@pytest.fixture
def box(desk: Desk) -> Box:
    return Box(desk)


def test_a_knob_is_learned_and_moves_the_control_in_its_own_unit(box: Box, desk: Desk):
    box.learn("sound/gain", 24.0)
    box.knob(7, 127)
    assert box.midi.bindings == (Binding(control="sound/gain", kind="cc", channel=0, number=7),)
    assert "controller 7 on channel 1 moves sound/gain" in box.lines[-1]
    box.knob(7, 0)
    assert desk.get("sound/gain") == -24.0
    box.knob(7, 127, channel=1)
    assert desk.get("sound/gain") == -24.0, "another channel is another knob"


def test_soft_take_over_waits_until_the_fader_passes(box: Box, desk: Desk):
    box.learn("master", 0.5)
    box.knob(7, 0)
    assert desk.get("master") == 0.5, "it stands elsewhere and moves nothing"
    box.knob(7, 30)
    assert desk.get("master") == 0.5
    box.knob(7, 100)
    assert desk.get("master") == pytest.approx(100 / 127), "it has passed"
    desk.set("master", 0.1, "osc:10.0.0.1:5")
    box.knob(7, 101)
    assert desk.get("master") == 0.1, "somebody else has it now"
    box.knob(7, 60, 12)
    assert desk.get("master") == pytest.approx(12 / 127)


def test_a_preset_takes_the_control_away_and_the_fader_picks_it_up(box: Box, desk: Desk):
    box.learn("speed", 4.0)
    box.knob(7, 127)
    desk.set("speed", 1.0, "preset")
    box.knob(7, 126)
    assert desk.get("speed") == 1.0
    box.knob(7, 33)
    box.knob(7, 32)
    assert desk.get("speed") == pytest.approx(4 * 32 / 127)


def test_seven_more_bits_right_behind_are_noticed_and_used(box: Box, desk: Desk):
    box.learn("master", 0.0)
    box.knob(1, 0)
    box.knob(33, 0)
    assert box.midi.bindings[0].kind == "cc14"
    box.knob(1, 64)
    assert desk.get("master") == 0.0, "half a value is none"
    box.knob(33, 5)
    assert desk.get("master") == pytest.approx((64 << 7 | 5) / 16383)
    desk.set("master", 0.1, "window")
    box.say(cc(1, 64), cc(33, 6))
    assert desk.get("master") == 0.1, "soft take-over"
    box.say(cc(1, 10), cc(33, 0))
    assert desk.get("master") == pytest.approx((10 << 7) / 16383)


def test_a_controller_32_higher_much_later_is_one_of_its_own(box: Box, desk: Desk, monkeypatch):
    box.learn("master", 0.0)
    box.knob(1, 0)
    later = time.perf_counter() + 60
    monkeypatch.setattr("engine.control.midi.time.perf_counter", lambda: later)
    box.knob(33, 64)
    assert box.midi.bindings[0].kind == "cc"


def test_pads_press_toggle_and_choose(box: Box, desk: Desk):
    box.learn("preset/next", True)
    box.pad(36)
    box.learn("blackout", True)
    box.pad(37)
    box.learn("preset/go", "gorge")
    box.pad(38)
    assert desk.take_triggers() == [], "the press that taught it fires nothing"
    box.pad(36)
    box.pad(36, velocity=0)  # a release, as many send it
    box.say(mido.Message("note_off", note=36))
    assert [event.name for event in desk.take_triggers()] == ["preset/next"]
    box.pad(37)
    assert desk.get("blackout") is False
    box.pad(37)
    assert desk.get("blackout") is True
    box.pad(38)
    assert [(event.name, event.value) for event in desk.take_triggers()] == [("preset/go", "gorge")]
    desk.set_options("preset/go", ("open-sky",))
    box.pad(38)
    assert "nothing is called 'gorge'" in box.lines[-1]


def test_a_knob_on_a_button_is_pressed_at_half_its_travel(box: Box, desk: Desk):
    box.learn("preset/next", True)
    box.knob(20, 127)
    desk.take_triggers()
    box.knob(20, 0, 60, 70, 127, 90, 10, 127)
    assert len(desk.take_triggers()) == 2
    box.learn("freeze", True)
    box.knob(21, 127)
    box.knob(21, 0)
    assert desk.get("freeze") is False


def test_a_pad_cannot_move_a_fader_and_a_second_call_thinks_better_of_it(box: Box, desk: Desk):
    box.learn("master", 0.5)
    box.pad(36)
    assert box.midi.bindings == ()
    box.midi.learn()
    assert "nothing was learned" in box.lines[-1]
    box.knob(7, 64)
    assert box.midi.bindings == ()


def test_what_is_learned_anew_replaces_what_was(box: Box, desk: Desk):
    for name in ("master", "speed"):
        box.learn(name, 0.7)
        box.knob(7, 64)
    assert [binding.control for binding in box.midi.bindings] == ["speed"]
    box.midi.forget()
    desk.set("speed", 0.2, "window")
    box.midi.tick()
    assert box.midi.bindings == ()


def test_what_a_preset_or_a_knob_moves_is_not_touched(box: Box, desk: Desk):
    box.learn("master", 0.9)
    box.knob(7, 127)
    box.midi.learn()
    desk.set("speed", 2.0, "preset")
    box.knob(7, 120)
    assert "touch what" in box.lines[-1]
    desk.set("reactivity", 0.2, "osc:127.0.0.1:1")
    box.midi.tick()
    assert "reactivity" in box.lines[-1]


def test_a_choice_that_was_made_before_learning_is_not_touched(box: Box, desk: Desk):
    desk.set("preset/go", "ember", "osc:127.0.0.1:1")
    for event in desk.take_triggers():
        box.midi.touched(event)
    desk.show("preset/go", "ember")
    box.midi.learn()
    box.midi.tick()
    assert "touch what" in box.lines[-1]


def test_motors_follow_but_are_not_told_what_they_said(box: Box, desk: Desk):
    box.learn("master", 0.9)
    box.knob(7, 127)
    box.told.clear()
    box.knob(7, 100)
    assert desk.get("master") == pytest.approx(100 / 127)
    assert box.told == []
    desk.set("master", 0.5, "window")
    box.midi.tick()
    assert box.told == [cc(7, 64)]


def test_a_fine_motor_gets_both_halves(desk: Desk, tmp_path: Path):
    path = tmp_path / "midi.json"
    path.write_text(MidiMap(bindings=(Binding(control="master", kind="cc14", channel=2, number=4),)).model_dump_json())
    box = Box(desk, path)
    desk.set("master", 10_000 / 16383, "window")
    box.midi.tick()
    assert box.told == [cc(4, 10_000 >> 7, 2), cc(36, 10_000 & 127, 2)]


def test_lamps_show_switches_and_the_preset_that_plays(box: Box, desk: Desk):
    box.learn("blackout", True)
    box.pad(37)
    box.learn("preset/go", "gorge")
    box.pad(38)
    box.told.clear()
    box.pad(37)
    assert [(m.note, m.velocity) for m in box.told] == [(37, 0)], "a pad knows only what it is told"
    desk.set("preset/go", "ember", "window")
    box.midi.tick()
    assert [(m.note, m.velocity) for m in box.told[1:]] == [(38, 0)]
    desk.show("preset/go", "gorge")
    box.midi.tick()
    assert [(m.note, m.velocity) for m in box.told[2:]] == [(38, 127)]


def test_lamps_of_pads_that_are_controllers_show_the_option_that_was_chosen(box: Box, desk: Desk):
    for number, name in ((20, "ember"), (21, "gorge")):
        box.learn("preset/go", name)
        box.knob(number, 127, 0)

    def lit(*pressed: int) -> dict[int, int]:
        box.told.clear()
        box.knob(*pressed)
        return {message.control: message.value for message in box.told}

    assert lit(20, 127, 0) == {20: 127, 21: 0}, "the pad that was pressed knows only what it is told"
    assert lit(21, 127, 0) == {20: 0, 21: 127}
    desk.set("preset/go", "open-sky", "window")
    assert lit(20) == {20: 0, 21: 0}


def test_a_controller_that_hears_no_more_costs_only_its_lamps(desk: Desk):
    def broken(message) -> None:
        raise OSError("unplugged")

    lines: list[str] = []
    midi = Midi(desk, send=broken, tell=lines.append)
    midi._bindings[(False, 0, 7)] = Binding(control="master", kind="cc", channel=0, number=7)
    desk.set("master", 0.5, "window")
    midi.tick()
    assert "unplugged" in lines[0]
    midi.hear(cc(7, 64))
    midi.hear(cc(7, 127))
    midi.tick()
    assert desk.get("master") == 1.0


def test_midi_clock_is_counted(box: Box):
    box.say(mido.Message("start"))
    began = time.perf_counter()
    for pulse in range(48):
        box.midi._heard.append((mido.Message("clock"), began + pulse * 60 / 120 / 24))
    box.midi.tick()
    beat = box.clock.beat_at(began + 47 * 60 / 120 / 24)
    assert beat.bpm == pytest.approx(120.0)
    assert beat.count == pytest.approx(47 / 24, abs=0.05)
    box.say(mido.Message("stop"))
    assert box.clock.beat_at(began + 1.0) is None
    box.say(mido.Message("songpos", pos=32))
    box.say(mido.Message("continue"))
    for pulse in range(25):
        box.midi._heard.append((mido.Message("clock"), began + 2.0 + pulse * 60 / 120 / 24))
    box.midi.tick()
    assert box.clock.beat_at(began + 2.5).count == pytest.approx(9.0, abs=0.05)


def test_what_no_control_wants_is_passed_over(box: Box, desk: Desk):
    before = desk.snapshot()
    box.say(mido.Message("pitchwheel"), mido.Message("sysex", data=(1, 2)), mido.Message("active_sensing"), cc(99, 1))
    assert desk.snapshot() == before


# ---- Ports, by a backend that needs no MIDI


@pytest.fixture
def backend() -> Iterator[object]:
    before = mido.backend
    mido.set_backend("fake_mido_backend")
    import fake_mido_backend

    fake_mido_backend.sent.clear()
    fake_mido_backend.inputs.clear()
    yield fake_mido_backend
    mido.set_backend(before)


@pytest.mark.parametrize("name", ["", "fader"])
def test_a_controller_is_found_by_a_part_of_its_name(backend, desk: Desk, tmp_path: Path, name: str):
    path = tmp_path / "midi.json"
    path.write_text(MidiMap(bindings=(Binding(control="master", kind="cc", channel=0, number=7),)).model_dump_json())
    midi = open_midi(name, desk, path)
    midi.tick()
    assert backend.sent == [cc(7, 127)], "its fader goes to where the control stands"
    backend.inputs[0].callback(cc(7, 127))
    backend.inputs[0].callback(cc(7, 0))
    midi.tick()
    assert desk.get("master") == 0.0
    ports = midi.ports
    midi.stop()
    midi.stop()
    assert [port.closed for port in ports] == [True, True]


def test_a_controller_that_is_plugged_in_again_goes_on(backend, desk: Desk, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(midi_ports, "LOOK_S", 0.01)
    path, lines = tmp_path / "midi.json", []
    path.write_text(MidiMap(bindings=(Binding(control="master", kind="cc", channel=0, number=7),)).model_dump_json())
    midi = open_midi("fader", desk, path, tell=lines.append)

    def ticked() -> bool:
        midi.tick()
        return bool(midi.ports)

    try:
        assert ticked()
        backend.inputs[0].callback(cc(7, 127))
        monkeypatch.setattr(backend, "plugged", False)
        wait_until(lambda: not ticked(), what="the controller to be missed")
        assert lines == ["MIDI: Faderbox 8 is gone; it is waited for"]
        assert backend.inputs[0].closed
        desk.set("master", 0.5, "window")  # nobody is told
        midi.tick()
        backend.sent.clear()
        monkeypatch.setattr(backend, "NAME", "Faderbox 8 24:0")  # as ALSA numbers it anew
        monkeypatch.setattr(backend, "plugged", True)
        wait_until(ticked, what="the controller to be back")
        assert lines[1:] == ["MIDI: Faderbox 8 24:0 is back"]
        assert backend.sent == [cc(7, 64)], "its motor goes to where the control stands"
        backend.inputs[-1].callback(cc(7, 100))
        midi.tick()
        assert desk.get("master") == 0.5, "a fader that was moved meanwhile has to pass first"
        backend.inputs[-1].callback(cc(7, 0))
        midi.tick()
        assert desk.get("master") == 0.0
    finally:
        midi.stop()


def test_one_that_cannot_be_opened_is_one_line(backend, desk: Desk, monkeypatch):
    def busy(*_: object, **__: object) -> None:
        raise OSError("it is busy")

    monkeypatch.setattr(mido, "open_input", busy)
    with pytest.raises(ControlError, match="'Faderbox 8' cannot be opened: it is busy"):
        open_midi("", desk)


def test_one_that_is_not_there_is_one_line(backend, desk: Desk):
    with pytest.raises(ControlError, match="no MIDI controller is called 'keys'; there are 'Faderbox 8'"):
        open_midi("keys", desk)


def test_a_system_without_midi_is_one_line(desk: Desk, monkeypatch):
    def broken(**_: object) -> None:
        raise SystemError("no sequencer")

    monkeypatch.setattr(mido, "get_input_names", broken)
    with pytest.raises(ControlError, match="no MIDI: no sequencer"):
        open_midi("", desk)


def test_a_control_that_is_pointed_at_is_bound_without_being_moved(box: Box, desk: Desk):
    before = desk.snapshot()
    box.midi.learn_for("reactivity")
    assert "reactivity" in box.lines[-1]
    box.knob(9, 5)
    box.midi.learn_for("preset/go", "gorge")
    box.pad(40)
    assert desk.snapshot() == before
    assert box.midi.bound("reactivity") == ["controller 9 on channel 1"]
    assert box.midi.bound("preset/go") == ["note 40 on channel 1: gorge"]
    with pytest.raises(ControlError, match="cannot move text"):
        box.midi.learn_for("text")


def test_without_a_controller_learning_says_how_to_begin(box: Box):
    box.midi.obey("midi/learn")
    assert "--midi" in box.lines[-1]
    assert box.midi.names == []
