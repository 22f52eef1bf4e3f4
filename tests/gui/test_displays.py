"""The output on several displays of a private X server: by name, remembered, unplugged and back, moved by keys."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import Display as XDisplay
from conftest import wait_until
from shown import Show, shows
from virtual_monitors import Monitors, monitors

from gui.displays import Display, Place, PlaceFile

pytestmark = pytest.mark.display

LAPTOP, PROJECTOR = slice(0, 640), slice(640, 1280)


@pytest.fixture
def show(xvfb: XDisplay, tmp_path: Path) -> Iterator[Callable[..., Show]]:
    with shows(xvfb, tmp_path) as start:
        yield start


@pytest.fixture
def room(xvfb: XDisplay) -> Iterator[Monitors]:
    with monitors(xvfb.name) as found:
        yield found


def covers(where: slice) -> Callable[[np.ndarray], bool]:
    """Whether the test card, which has a white border, covers exactly that part of the screen."""

    def seen(shot: np.ndarray) -> bool:
        half = shot[:, where]
        edges = (half[0], half[-1], half[:, 0], half[:, -1])
        return all((edge == 255).all() for edge in edges) and half.mean() < 200

    return seen


def neither(shot: np.ndarray) -> bool:
    """Whether there are windows, and the test card covers no display."""
    return bool(shot.max() > 100) and not covers(LAPTOP)(shot) and not covers(PROJECTOR)(shot)


def begin(show: Callable[..., Show], *arguments: str) -> Show:
    play = show("--still", *arguments)
    play.move("testcard", 1)
    return play


def told(play: Show) -> list[str]:
    return [line.partition("told: ")[2] for line in play.log.splitlines() if "told: " in line]


def wait_told(play: Show, words: str) -> None:
    wait_until(lambda: any(words in line for line in told(play)), 30, f"the line {words!r}")


def test_a_display_by_part_of_its_name_which_is_remembered(room, show, tmp_path: Path):
    place = tmp_path / "not yet there" / "output.json"
    play = begin(show, "--fullscreen", "--place", str(place), "--display", "edp")
    play.wait_for(covers(LAPTOP), "the test card on the laptop")
    assert play.end(signal.SIGTERM) == 0
    assert not place.exists(), "what was asked for once is not what the performer chose"

    play = begin(show, "--place", str(place), "--display", "edp")
    play.wait_for(neither, "a window")
    room.point(320, 360)
    room.press("f")
    play.wait_for(covers(LAPTOP), "the test card on the laptop, by the key F")
    room.press("s")
    wait_until(lambda: json.loads(place.read_text())["sizing"] == "fill", 30, "the sizing in the file")
    assert play.end(signal.SIGTERM) == 0
    assert json.loads(place.read_text())["display"]["socket"] == "eDP-1"

    play = begin(show, "--fullscreen", "--place", str(place))
    play.wait_for(covers(LAPTOP), "the test card where it was; a new show would take the projector")
    assert play.end(signal.SIGTERM) == 0
    assert told(play) == []


def test_a_remembered_display_that_is_gone_costs_one_line(room, show, tmp_path: Path):
    place = tmp_path / "output.json"
    place.write_text('{"display": {"socket": "DP-9", "maker": "EPSON", "model": "PJ"}, "sizing": "stretch"}')
    before = place.read_text()
    play = begin(show, "--fullscreen", "--place", str(place))
    play.wait_for(covers(PROJECTOR), "the test card on the projector")
    assert play.end(signal.SIGTERM) == 0
    assert told(play) == ["display EPSON PJ (DP-9) is not there: the output opens on HDMI-1"]
    assert place.read_text() == before


@pytest.mark.parametrize("content", ['{"sizing": 3}', "{", '{"display": null, "colour": 1}', "\0" * 40])
def test_a_broken_file_costs_the_memory_and_not_the_show(tmp_path: Path, caplog, content):
    path = tmp_path / "output.json"
    path.write_text(content)
    places = PlaceFile(path)
    assert places.place == Place()
    assert f"{path} is not used" in caplog.text
    places.keep(sizing="fill")
    assert PlaceFile(path).place == Place(sizing="fill")


def test_a_place_that_cannot_be_written_costs_a_line(tmp_path: Path, caplog):
    (tmp_path / "file").touch()
    PlaceFile(tmp_path / "file" / "output.json").keep(sizing="fill")
    assert "not remembered" in caplog.text


class Plugged:
    """What `Display.of` asks a QScreen; no virtual monitor states maker, model and serial number."""

    def __init__(self, *said: str) -> None:
        self.name, self.manufacturer, self.model, self.serialNumber = (lambda word=word: word for word in said)


def test_a_display_is_known_again_in_another_socket():
    laptop, projector = Plugged("eDP-1", "", "", ""), Plugged("HDMI-2", "EPSON", "PJ", "7")
    left, right = Plugged("DP-1", "Acer", "K", ""), Plugged("DP-2", "Acer", "K", "")
    screens = [laptop, projector, left, right]
    for screen in screens:
        assert Display.of(screen).found(screens) is screen
    assert Display(socket="HDMI-1", maker="EPSON", model="PJ", serial="7").found(screens) is projector
    assert Display(socket="HDMI-2", maker="BenQ", model="X").found(screens) is projector, "another one in its socket"
    assert Display(socket="HDMI-1", maker="EPSON", model="PJ", serial="8").found(screens) is None
    assert Display(socket="DP-9", maker="Acer", model="K").found(screens) is None, "one of two, and who knows which"
    assert Display.of(projector).label == "EPSON PJ (HDMI-2)"
    assert Display.of(laptop).label == "eDP-1"


def test_an_unknown_display_is_one_line_that_lists_them(room, show):
    play = show("--display", "VGA")
    assert play.process.wait(60) != 0
    assert "no display is called 'VGA': choose 1 (eDP-1, 640×720), 2 (HDMI-1, 640×720)" in play.log


def test_unplugged_it_is_a_window_until_the_display_is_back(room, show):
    play = begin(show, "--fullscreen")
    play.wait_for(covers(PROJECTOR), "the test card on the projector")
    room.unplug("HDMI-1")
    wait_told(play, "display HDMI-1 is gone: the output is a window on eDP-1 until it is back")
    play.wait_for(neither, "a window")
    room.plug("HDMI-1", 640, 0, 640, 720)
    wait_told(play, "display HDMI-1 is back: the output covers it again")
    play.wait_for(covers(PROJECTOR), "the test card on the projector again")
    room.unplug("HDMI-1")
    play.wait_for(neither, "a window again")
    room.point(320, 360)
    room.press("Escape")  # the performer has another plan
    room.press("d")
    wait_told(play, "there is only one display, eDP-1")
    room.plug("HDMI-1", 640, 0, 640, 720)
    room.press("d")
    wait_told(play, "the output is on HDMI-1")
    assert neither(play.screenshot()), "it stays a window"
    assert play.end(signal.SIGTERM) == 0


def test_keys_cover_leave_and_move_on(room, show):
    play = begin(show, "--fullscreen")
    play.wait_for(covers(PROJECTOR), "the test card on the projector")
    room.point(960, 360)
    room.press("d")
    play.wait_for(covers(LAPTOP), "the test card on the laptop")
    room.point(320, 360)
    room.press("Escape")
    play.wait_for(neither, "a window")
    assert play.end(signal.SIGTERM) == 0


def test_a_display_that_comes_back_smaller_is_covered(room, show):
    play = begin(show, "--fullscreen")
    play.wait_for(covers(PROJECTOR), "the test card on the projector")
    room.unplug("HDMI-1")
    wait_told(play, "display HDMI-1 is gone")  # Qt looks for new names: one back before it looked would not be seen
    room.plug("HDMI-1", 800, 0, 480, 720)
    play.wait_for(covers(slice(800, 1280)), "the test card on the smaller picture")
    assert play.end(signal.SIGTERM) == 0
