"""A watched show tells of every picture that must not be, and passes those that are only dark."""

from __future__ import annotations

import json
import time
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import wait_until

from cymatic.trial.show import Show
from cymatic.trial.traffic import Traffic, free_port
from cymatic.trial.watched import FRAME, Watch, blank, points_of
from engine.control.desk import Desk
from engine.errors import CymaticError
from engine.slot import STAGES, Frame, checksum


def night(brightest: int = 8) -> np.ndarray:
    """A sky without light, in which texture is all there is."""
    return np.random.default_rng(0).integers(0, brightest, (72, 128, 4), np.uint8)


def plain(value: int) -> np.ndarray:
    return np.full((72, 128, 4), value, np.uint8)


@pytest.mark.parametrize(
    ("picture", "what"),
    [
        (plain(0), "black"),
        (plain(1), "black"),
        (plain(255), "white"),
        (plain(90), None),
        (night(), None),
        (255 - night(), None),
        (night(3), "black"),
    ],
)
def test_black_and_white_are_told_from_dark_and_bright(picture, what):
    assert blank(points_of(picture)) == what


def test_a_dark_picture_with_one_light_in_it_is_not_black():
    picture = plain(0)
    picture[30:40, 60:70] = 255
    assert blank(points_of(picture)) is None


def frame(index: int, rgba: np.ndarray, published_at: float | None = None) -> Frame:
    at = float(index) if published_at is None else published_at
    return Frame(index, rgba, at - 0.3, at - 0.2, at - 0.1, at, (1.0,) * len(STAGES), checksum(rgba))


def stage(**told: object) -> SimpleNamespace:
    defaults = {
        "status": {"state": "playing", "audio": {"state": "running"}, "rms_db": -20.0}, "engine_pid": 7,
        "late_frames": 2, "controls_received": 3, "present": lambda: None,
    }  # fmt: skip
    return SimpleNamespace(**{**defaults, **told})


def watch(*frames: Frame, shown: np.ndarray | None = None) -> dict:
    """The row of these frames."""
    rows: list[str] = []
    watch = Watch(rows.append)
    for taken in frames:
        watch.note(taken)
    watch.tick(stage(present=lambda: shown))
    [row] = rows
    return json.loads(row)


def test_a_row_tells_of_every_picture_and_of_the_show():
    row = watch(frame(1, night()), frame(2, night() + 10))
    assert [told[0] for told in row["frames"]] == [1, 2]
    assert len(row["frames"][0]) == len(FRAME) + len(STAGES)
    assert row["frames"][1][FRAME.index("change")] == pytest.approx(10)
    assert row["bad"] == []
    assert (row["pid"], row["state"], row["audio"], row["late"], row["received"]) == (7, "playing", "running", 2, 3)


def test_a_torn_picture_is_told():
    torn = frame(1, night())
    torn.rgba[36:] = 200
    assert [bad["what"] for bad in watch(torn)["bad"]] == ["torn"]


def test_a_picture_that_goes_back_is_told():
    assert [bad["what"] for bad in watch(frame(2, night()), frame(1, night()))["bad"]] == ["backwards"]
    assert [bad["what"] for bad in watch(frame(2, night()), frame(3, night(), 1.5))["bad"]] == ["backwards"]


def test_what_the_audience_sees_counts_and_not_what_was_painted():
    row = watch(frame(1, night()), shown=plain(0))
    assert [(bad["what"], bad["index"], bad["mean"]) for bad in row["bad"]] == [("black", 1, 0.0)]


def test_what_stays_while_nothing_new_comes_is_looked_at():
    rows: list[str] = []
    watch = Watch(rows.append)
    watch.note(frame(1, night()))
    watch.tick(stage())
    wait_until(lambda: watch.tick(stage(present=lambda: plain(255))) or len(rows) > 1, 5)
    assert [bad["what"] for bad in json.loads(rows[1])["bad"]] == ["white"]


def test_a_swap_tells_of_the_picture_that_was_drawn(qapp, qtbot, monkeypatch):
    """And not of the next one, which the output takes as its answer to the swap."""
    from cymatic.trial.swaps import Swaps
    from gui import surface
    from gui.output import OutputWindow

    taken, drawn, told = [0], [], []

    def another() -> Frame:
        taken.append(taken[-1] + 1)
        return frame(taken[-1], plain(taken[-1] % 256))

    def draw(rgba: np.ndarray, really=surface.as_image):
        drawn.append(int(rgba[0, 0, 0]))
        return really(rgba)

    monkeypatch.setattr(surface, "as_image", draw)
    show = SimpleNamespace(
        desk=Desk(), image_size=(72, 128), status={}, newest_frame=another, tick=lambda: None, tell=print
    )
    output = OutputWindow(show)
    swaps = Swaps(output.surface, lambda: taken[-1], lambda at, index: told.append(index))
    output.start(fullscreen=False)
    qtbot.waitUntil(lambda: len(set(told)) > 5, timeout=20_000)
    output.stop()
    swaps.deleteLater()
    first_told, first_drawn = list(dict.fromkeys(told)), list(dict.fromkeys(drawn))
    assert first_told == first_drawn[: len(first_told)]


def test_a_blackout_is_seen_from_outside(tiny_bundle, clean_env, noise, tmp_path):
    """The whole way: a real show, watched in a process of its own, that is told to go black."""
    arguments = ["--headless", "--source", str(noise), "--bundle", str(tiny_bundle), "--fps", "30"]
    show = Show([*arguments, "--runtime", "onnxruntime"], free_port(), clean_env, tmp_path / "show.log")
    traffic = Traffic(show.port)
    try:
        rows = show.wait_for_pictures()
        time.sleep(0.5)
        rows += show.rows()
        assert [bad for row in rows for bad in row["bad"]] == []
        traffic.send("blackout", True)
        wait_until(lambda: rows.extend(show.rows()) or any(row["bad"] for row in rows), 20, "a black picture")
        assert {bad["what"] for row in rows for bad in row["bad"]} == {"black"}
    finally:
        traffic.close()
        assert show.stop() == 0


def test_a_show_that_cannot_begin_says_why(clean_env, tmp_path):
    show = Show(["--headless", "--bundle", str(tmp_path / "none")], free_port(), clean_env, tmp_path / "show.log")
    try:
        with pytest.raises(CymaticError, match=r"did not begin.*none"):
            show.wait_for_pictures()
    finally:
        assert show.stop() == 2
