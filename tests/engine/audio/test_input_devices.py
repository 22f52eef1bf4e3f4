"""Finding an input by a part of its name, and the list that `cymatic devices` prints."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from cymatic import devices as command
from engine.audio import devices, loopback
from engine.audio.devices import Away, InputDevice, find_again, find_input, input_devices
from engine.audio.loopback import Monitor
from engine.errors import AudioError

MIXER = InputDevice(0, "Mixer (USB Audio)", "Windows WASAPI", 2, 48_000, is_default=False)
MIXER_MME = InputDevice(4, "Mixer (USB Audio)", "MME", 2, 44_100, is_default=False)
ROOM = InputDevice(1, "Room", "Windows WASAPI", 1, 44_100, is_default=False)
ROOM_TWO = InputDevice(2, "Room two", "Windows WASAPI", 1, 96_000, is_default=True)
ALL = [MIXER, ROOM, ROOM_TWO, MIXER_MME]


class PortAudioError(Exception):
    pass


def driver(apis: list[dict], rows: list[dict], default: int = -1) -> SimpleNamespace:
    return SimpleNamespace(
        query_hostapis=lambda: [{"default_input_device": -1, "default_output_device": -1, **api} for api in apis],
        query_devices=lambda: rows,
        default=SimpleNamespace(device=(default, -1)),
        PortAudioError=PortAudioError,
    )


def row(index: int, name: str, hostapi: int, channels: int, rate: float) -> dict:
    return {
        "index": index,
        "name": name,
        "hostapi": hostapi,
        "max_input_channels": channels,
        "default_samplerate": rate,
    }


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("mixer", MIXER),
        ("ROOM", ROOM),
        ("room t", ROOM_TWO),
        ("oo", ROOM_TWO),
        ("  room \n two ", ROOM_TWO),
        (None, ROOM_TWO),
    ],
)
def test_a_name_an_exact_one_first_then_the_default_then_the_better_host_api(
    name: str | None, found: InputDevice
) -> None:
    assert find_input(name, ALL) is found


@pytest.mark.parametrize("name", ["Nokia", "0", "", "  "])
def test_an_unknown_name_lists_what_exists_once_each(name: str) -> None:
    with pytest.raises(AudioError) as raised:
        find_input(name, ALL)
    assert str(raised.value).endswith("there are: Mixer (USB Audio), Room, Room two")


def test_without_any_input_it_says_what_to_do() -> None:
    for there in ([], [PLAYED]):
        with pytest.raises(AudioError, match=r"no microphone found.*demo"):
            find_input(None, there)


PLAYED = InputDevice(0, "System sound: Mixer", "PulseAudio", 2, 48_000, is_default=False, source="mixer.monitor")
HEADPHONES = InputDevice(0, "System sound: Phones", "PulseAudio", 2, 48_000, is_default=False, source="phones.monitor")


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("System", PLAYED),
        ("system sound", PLAYED),
        ("system  sound: ph", HEADPHONES),
        ("System sound: Phones", HEADPHONES),
        ("mixer", MIXER),
        (None, ROOM_TWO),
    ],
)
def test_what_an_output_plays_is_only_taken_by_its_own_name(name: str | None, found: InputDevice) -> None:
    assert find_input(name, [*ALL, PLAYED, HEADPHONES]) is found


def test_an_output_is_not_taken_for_a_microphone_that_is_away() -> None:
    with pytest.raises(AudioError, match="no input device has 'phones'"):
        find_input("phones", [*ALL, HEADPHONES])


def test_an_input_that_is_called_system_is_what_it_always_was() -> None:
    jack = InputDevice(0, "system", "JACK", 2, 48_000, is_default=True)
    assert find_input("system", [jack, PLAYED]) is jack


@pytest.mark.parametrize(
    ("platform", "words"), [("darwin", "BlackHole"), ("win32", "VB-CABLE"), ("linux", "pulseaudio-utils")]
)
def test_where_the_system_cannot_be_heard_it_says_what_to_install(
    platform: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loopback.sys, "platform", platform)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(AudioError, match=f"what this computer plays cannot be heard: .*{words}"):
        find_input("system", ALL)


@pytest.mark.parametrize("name", ["BlackHole 2ch", "CABLE Output (VB-Audio Virtual Cable)"])
def test_a_virtual_cable_is_the_system_too_and_keeps_its_name(name: str) -> None:
    cable = InputDevice(3, name, "Core Audio", 2, 48_000, is_default=False)
    assert find_input("system", [*ALL, cable]) is find_input(name[:9], [*ALL, cable]) is cable
    chosen = replace(cable, is_default=True)
    assert find_input(None, [MIXER, chosen]) is chosen, "where it is the system's own choice"


def test_what_portaudio_lists_as_loopback_is_called_as_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    apis = [{"name": "Windows WASAPI", "default_input_device": 0, "default_output_device": 2}]
    rows = [row(0, "Mic", 0, 2, 48_000.0), row(1, "TV", 0, 0, 48_000.0), row(2, "Speakers", 0, 0, 48_000.0)]
    rows += [row(3, "TV [Loopback]", 0, 2, 48_000.0), row(4, "Speakers [Loopback]", 0, 2, 48_000.0)]
    monkeypatch.setattr(devices, "portaudio", lambda: driver(apis, rows))
    assert [device.name for device in input_devices()] == ["Mic", "System sound: Speakers", "System sound: TV"]
    assert find_input("system").index == 4


def test_monitors_are_heard_by_way_of_the_server_and_missed_as_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    apis = [{"name": "ALSA", "default_input_device": 1}]
    rows = [row(1, "default", 0, 32, 44_100.0), row(2, "pulse", 0, 32, 44_100.0)]
    served = [Monitor("mixer.monitor", "Mixer", 2, 48_000)]
    monkeypatch.setattr(devices, "portaudio", lambda: driver(apis, rows))
    monkeypatch.setattr(devices, "monitors", lambda: served)
    heard = find_input("system")
    assert (heard.index, heard.name, heard.source, heard.sample_rate) == (2, PLAYED.name, PLAYED.source, 48_000)
    assert find_again(PLAYED.name) == heard
    served.clear()
    with pytest.raises(Away):
        find_again(PLAYED.name)
    del rows[1]  # of a server that has ended
    with pytest.raises(AudioError) as raised:
        find_again(PLAYED.name)
    assert not isinstance(raised.value, Away)


@pytest.mark.parametrize("number", [0, 3])
def test_a_device_that_was_plugged_in_again_may_have_another_card_number_and_nothing_else(number: int) -> None:
    def card(name: str) -> InputDevice:
        return InputDevice(0, name, "ALSA", 2, 48_000, is_default=True)

    back = card(f"Field: USB Audio (hw:{number},0)")
    others = [card("Field: USB Audio two (hw:2,0)"), card("Built-in (hw:2,0)"), card("USB Audio (hw:2,0)")]
    assert find_again("Field: USB Audio (hw:2,0)", [*others, back]) is back
    with pytest.raises(AudioError, match="no input device"):
        find_again("Field: USB Audio (hw:2,0)", others)


def test_of_two_alike_the_one_in_its_old_place_is_taken() -> None:
    one, two = (InputDevice(n, f"Field (hw:{n},0)", "ALSA", 2, 48_000, is_default=False) for n in (1, 2))
    assert find_again("Field (hw:2,0)", [one, two]) is two


def test_only_inputs_are_listed_the_better_host_api_first(monkeypatch: pytest.MonkeyPatch) -> None:
    apis = [{"name": "MME", "default_input_device": 0}, {"name": "Windows WASAPI", "default_input_device": 2}]
    rows = [row(0, "Mic  \n array", 0, 2, 44_100.0), row(1, "Speaker", 1, 0, 48_000.0), row(2, "Mic", 1, 4, 47_999.9)]
    monkeypatch.setattr(devices, "portaudio", lambda: driver(apis, rows))
    assert input_devices() == [
        InputDevice(2, "Mic", "Windows WASAPI", 4, 48_000, is_default=False),
        InputDevice(0, "Mic array", "MME", 2, 44_100, is_default=True),
    ]
    monkeypatch.setattr(devices, "portaudio", lambda: driver(apis, rows, default=2))
    assert find_input().name == "Mic"


def test_a_driver_that_cannot_list_is_an_audio_error(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = driver([], [])

    def refuse() -> list[dict]:
        raise PortAudioError("PortAudio not initialized")

    broken.query_devices = refuse
    monkeypatch.setattr(devices, "portaudio", lambda: broken)
    with pytest.raises(AudioError, match="not initialized"):
        input_devices()


def test_without_portaudio_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(AudioError, match="libportaudio2"):
        input_devices()
    with pytest.raises(AudioError, match="libportaudio2"):
        find_input("x")


def test_a_missing_library_says_the_same(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    with pytest.raises(AudioError, match="libportaudio2"):
        input_devices()


def test_the_command_prints_a_line_each_and_marks_the_default(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers())
    args = parser.parse_args(["devices"])
    monkeypatch.setattr(devices, "input_devices", lambda: ALL)
    assert args.run(args) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert [line[0] for line in lines] == [" ", " ", "*", " "]
    assert lines[2].split() == ["*", "Room", "two", "Windows", "WASAPI", "1", "ch", "96000", "Hz"]
    monkeypatch.setattr(devices, "input_devices", list)
    assert command.run(args) == 0
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert "no input device" in out
