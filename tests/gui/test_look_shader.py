"""The look as the real surface draws it, read back from a private display, against the same in numpy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, Display
from flash_rule import most_flashes_a_second

from engine.finish import Finish, Shown
from engine.look import TRAIL_S, Look, looked_at

pytestmark = pytest.mark.display

HERE = Path(__file__).parent
HEIGHT, WIDTH = 144, 256
LOOKS: dict[str, dict[str, Any]] = {
    "hue": {"hue": 120.0},
    "hue back": {"hue": -47.0},
    "grey": {"saturation": 0.0},
    "vivid": {"saturation": 2.0},
    "soft": {"contrast": 0.4},
    "hard": {"contrast": 1.9},
    "flat": {"contrast": 0.0},
    "horizontal": {"mirror": "horizontal"},
    "vertical": {"mirror": "vertical"},
    "all": {"hue": 75.0, "saturation": 1.4, "contrast": 1.3, "mirror": "horizontal"},
}
EVERYTHING = {"trails": 0.6, "hue": 40.0, "contrast": 1.3, "saturation": 1.2, "vignette": 0.5, "mirror": "kaleidoscope"}

Shots = np.ndarray
Draw = Callable[[list[dict[str, Any]], Mapping[str, np.ndarray]], tuple[Shots, np.ndarray]]


@pytest.fixture
def draw(xvfb: Display, tmp_path: Path) -> Draw:
    """Draws cases one after another in one window; what stood on the display, uint8 [cases, H, W, 3], and whether the
    limiter held each back."""

    def run(cases: list[dict[str, Any]], pictures: Mapping[str, np.ndarray]) -> tuple[Shots, np.ndarray]:
        told, given, drawn = (tmp_path / name for name in ("cases.json", "pictures.npz", "shots.npz"))
        told.write_text(json.dumps([{"window": [WIDTH, HEIGHT]} | cases[0], *cases[1:]]))
        np.savez(given, **pictures)
        env = {**os.environ, **xvfb.env, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"}
        command = [sys.executable, str(HERE / "draw_looks.py"), *map(str, (told, given, drawn))]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        with np.load(drawn, allow_pickle=False) as result:
            return result["shots"], result["limiting"]

    return run


@pytest.fixture(scope="module")
def noise() -> np.ndarray:
    """Every value beside every other: nothing could hide."""
    rgba = np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 4), dtype=np.uint8)
    rgba[..., 3] = 255
    return rgba


def flat(*rgb: int) -> np.ndarray:
    return np.broadcast_to(np.array([*rgb, 255], np.uint8), (HEIGHT, WIDTH, 4)).copy()


def shows(at: float, picture: str, **more: Any) -> dict[str, Any]:
    """A case at one pixel of the picture for one of the window."""
    return {"at": at, "picture": picture, "sizing": "1:1", "limit": False} | more


@pytest.mark.parametrize("opengl", ["", "core", "es"], ids=["any", "core", "es"])
@pytest.mark.parametrize("bicubic", [False, True], ids=["bilinear", "bicubic"])
def test_a_neutral_look_changes_no_bit_before_and_after_another(draw, noise, bicubic, opengl):
    cases = [
        shows(0.0, "noise", bicubic=bicubic, opengl=opengl),
        shows(0.1, "noise", look={"hue": 90.0, "trails": 0.5, "contrast": 1.5}),
        shows(0.2, "noise"),
    ]
    shots, _ = draw(cases, {"noise": noise})
    assert np.abs(shots[1].astype(int) - noise[..., :3]).mean() > 20
    for shot in shots[[0, 2]]:
        assert (shot == noise[..., :3]).all()


@pytest.mark.parametrize("opengl", ["", "core", "es"], ids=["any", "core", "es"])
def test_colours_and_mirrors_are_what_numpy_says(draw, noise, opengl):
    cases = [shows(i, "noise", look=look) for i, look in enumerate(LOOKS.values())]
    shots, _ = draw([cases[0] | {"opengl": opengl}, *cases[1:]], {"noise": noise})
    for (name, look), shot in zip(LOOKS.items(), shots, strict=True):
        wanted = looked_at(noise, Look(**look), (HEIGHT, WIDTH)).astype(int)
        assert np.abs(wanted - noise[..., :3]).mean() > 10, name
        assert np.abs(shot - wanted).max() <= 2, name  # the dither is one


def test_the_kaleidoscope_has_six_equal_sectors(draw):
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    smooth = np.full((HEIGHT, WIDTH, 4), 255, np.uint8)
    smooth[..., 0], smooth[..., 1], smooth[..., 2] = x * 255 // WIDTH, y * 255 // HEIGHT, (x + y) * 255 // 400
    (shot,), _ = draw([shows(0.0, "smooth", look={"mirror": "kaleidoscope"})], {"smooth": smooth})
    wanted = looked_at(smooth, Look(mirror="kaleidoscope"), (HEIGHT, WIDTH)).astype(int)
    assert np.abs(shot - wanted).mean() < 2
    angles = np.arange(6) * np.pi / 3 + 0.2
    rows, columns = (HEIGHT / 2 + 50 * np.sin(angles)).astype(int), (WIDTH / 2 + 50 * np.cos(angles)).astype(int)
    assert np.ptp(shot[rows, columns].astype(int), axis=0).max() <= 8


@pytest.mark.parametrize("coarse", [False, True], ids=["half floats", "bytes"])
def test_trails_linger_for_their_time_drift_outwards_and_are_gone(draw, coarse):
    light = flat(0, 0, 0)
    light[60:84, 116:140, :3] = 200
    look = {"trails": 1.0}
    cases = [shows(0.0, "light", look=look, bytes=coarse)]
    cases += [shows(0.05 * i, "black", look=look) for i in range(1, 281)]
    shots, _ = draw(cases, {"light": light, "black": flat(0, 0, 0)})
    middle = shots[:, HEIGHT // 2, WIDTH // 2, 0].astype(float)
    assert middle[0] == pytest.approx(200, abs=1)
    rest = 200 * np.exp(-1.0 / TRAIL_S)
    assert (0.8 if coarse else 0.95) * rest < middle[20] < 1.05 * rest
    assert (np.diff(middle) <= 1).all()  # never brighter again, but for the dither
    assert (shots[20] > 20).sum() > 1.2 * (shots[0] > 20).sum(), "they grow"
    assert shots[-1].max() <= 1, "nothing burns in"


def test_light_outshines_its_trail_at_once(draw):
    cases = [shows(0.0, "dim", look={"trails": 0.8}), shows(0.02, "bright", look={"trails": 0.8})]
    shots, _ = draw(cases, {"dim": flat(60, 60, 60), "bright": flat(230, 230, 230)})
    assert np.abs(shots[1].astype(int) - 230).max() <= 1


def test_the_vignette_darkens_the_corners_and_leaves_the_middle(draw):
    grey = flat(180, 180, 180)
    shots, _ = draw([shows(0.0, "grey", look={"vignette": v}) for v in (0.5, 1.0)], {"grey": grey})
    for half, full in (shots[..., 0].astype(int),):
        assert abs(half[72, 128] - 180) <= 1
        assert abs(full[72, 128] - 180) <= 1
        assert full[0, 0] < 10 < half[0, 0] < 110
        assert np.abs(half[0, 0] - half[-1, -1]) <= 2


def test_master_and_blackout_come_after_the_look(draw, noise):
    look = {"hue": 120.0, "vignette": 0.3}
    cases = [shows(0.0, "noise", look=look), shows(0.02, "noise", look=look, level=0.5)]
    cases += [shows(0.04, "noise", look=look, level=0.0)]
    full, half, black = draw(cases, {"noise": noise})[0].astype(int)
    assert half.mean() == pytest.approx(full.mean() / 2, rel=0.05)
    assert black.max() == 0


@pytest.mark.parametrize(
    ("name", "looks"),
    [
        ("contrast", ({"contrast": 0.0}, {"contrast": 2.0})),
        ("switched on and off", ({}, {"contrast": 0.0})),
        ("hue", ({"hue": 0.1}, {"hue": 180.0})),
    ],
)
def test_what_a_hand_flashes_with_the_look_is_held_back(draw, name, looks):
    fps = 30.0
    split = flat(20, 0, 0)
    split[:, : WIDTH // 2, :3] = (250, 20, 20)

    def strobe(limit: bool) -> tuple[Shots, np.ndarray]:
        cases = [shows(i / fps, "split", look=looks[i // 2 % 2], limit=limit) for i in range(90)]
        return draw(cases, {"split": split})

    free, limiting = strobe(False)
    assert most_flashes_a_second(list(free), fps) > 3
    assert not limiting.any()
    held, limiting = strobe(True)
    assert most_flashes_a_second(list(held), fps) <= 3
    assert limiting.any()
    assert (held[-1] > 0).any()


def test_below_the_rule_the_limiter_touches_nothing(draw, noise):
    looks = [{"hue": 2.0 * i} for i in range(40)]
    free = draw([shows(i / 30, "noise", look=look) for i, look in enumerate(looks)], {"noise": noise})[0]
    held, limiting = draw(
        [shows(i / 30, "noise", look=look, limit=True) for i, look in enumerate(looks)], {"noise": noise}
    )
    assert (free == held).all()
    assert not limiting.any()


@pytest.fixture(scope="module")
def wandering() -> dict[str, np.ndarray]:
    """A light that wanders over a landscape of soft colours, uint8 [H, W, 4] by number."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    ground = np.stack([90 + 60 * np.sin(x / 19), 80 + 70 * np.sin(y / 23 + 1), 90 + 80 * np.cos((x + y) / 31)], -1)
    pictures = {}
    for number in range(24):
        light = 160 * np.exp(-((x - 30 - 8 * number) ** 2 + (y - 70) ** 2) / 300.0)
        rgba = np.full((HEIGHT, WIDTH, 4), 255, np.uint8)
        rgba[..., :3] = np.clip(ground + light[..., None], 0, 255)
        pictures[str(number)] = rgba
    return pictures


def finished(cases: list[dict[str, Any]], pictures: Mapping[str, np.ndarray]) -> Shots:
    """The same cases on the processor."""
    finish = Finish()
    shown = (
        Shown(pictures[case["picture"]], case["at"], case.get("level", 1.0), Look(**case["look"]), case["limit"])
        for case in cases
    )
    return np.stack([finish.show(each)[..., :3] for each in shown])


@pytest.mark.parametrize(
    "looks",
    [
        [*LOOKS.values(), {"mirror": "kaleidoscope"}, {"vignette": 0.8}, {}],
        [{"trails": 0.3}] * 24,
        [{"trails": 1.0}] * 24,
        [EVERYTHING] * 24,
    ],
    ids=["colours", "short trails", "long trails", "all"],
)
def test_a_film_has_the_picture_of_the_window(draw, wandering, looks):
    cases = [shows(i / 20, str(i), look=look) for i, look in enumerate(looks)]
    cases += [shows(len(looks) / 20, "0", look=looks[0], level=0.6), shows((len(looks) + 1) / 20, "1", look={})]
    drawn, made = draw(cases, wandering)[0].astype(int), finished(cases, wandering).astype(int)
    assert np.abs(drawn - made).max() <= 3
    assert np.abs(drawn - made).mean() < 0.5
    untouched = np.stack([wandering[case["picture"]][..., :3] for case in cases]).astype(int)
    seen = np.abs(made - untouched).mean((1, 2, 3)) > 0.5
    assert [bool(look) for look in looks[1:]] == seen[1 : len(looks)].tolist(), "they are looks that one sees"


def test_a_film_is_held_back_as_the_window_is(draw):
    fps = 30.0
    split = flat(20, 0, 0)
    split[:, : WIDTH // 2, :3] = (250, 20, 20)
    looks = ({"contrast": 0.0}, {"contrast": 2.0})
    cases = [shows(i / fps, "split", look=looks[i // 2 % 2], limit=True) for i in range(60)]
    drawn, limiting = draw(cases, {"split": split})
    made = finished(cases, {"split": split})
    assert limiting.any()
    assert np.abs(drawn.astype(int) - made.astype(int)).max() <= 3
    assert most_flashes_a_second(list(made), fps) <= 3


@pytest.mark.parametrize("opengl", ["", "core", "es"], ids=["any", "core", "es"])
def test_a_fader_that_flashes_is_held_back_on_the_display_as_in_a_film(draw, wandering, opengl):
    fps = 30.0
    cases = [shows(i / fps, "0", look={}, level=(1.0, 0.1)[i // 2 % 2], limit=True) for i in range(75)]
    cases += [shows((75 + i) / fps, "0", look={}, level=1.0, limit=True) for i in range(60)]
    drawn, limiting = draw([cases[0] | {"opengl": opengl}, *cases[1:]], wandering)
    assert most_flashes_a_second(list(finished([case | {"limit": False} for case in cases], wandering)), fps) > 3
    assert most_flashes_a_second(list(drawn), fps) <= 3
    assert limiting[40]
    assert np.abs(drawn.astype(int) - finished(cases, wandering).astype(int)).max() <= 6
    assert not limiting[-1]
    assert (drawn[-1] == wandering["0"][..., :3]).all(), "and then it is whole again"


@pytest.mark.parametrize(("sizing", "window"), [("fill", (81, 144)), ("1:1", (90, 100)), ("fit", (81, 144))])
def test_what_a_crop_makes_large_is_watched_as_it_is_seen(draw, sizing, window):
    strip = flat(10, 10, 10)
    strip[:, 121:135, :3] = 240  # less than a quarter of a third of the picture
    pictures = {"dark": flat(10, 10, 10), "strip": strip}
    cases = [
        shows(i / 30, ("dark", "strip")[i // 2 % 2], sizing=sizing, window=list(window), limit=True) for i in range(75)
    ]
    for case in cases[1:]:
        del case["window"]
    shots, limiting = draw(cases, pictures)
    assert most_flashes_a_second(list(shots), 30.0) <= 3
    assert limiting.any() == (sizing != "fit")
    assert (shots[-1].max() > 0) & (shots[40:].min(axis=0) < 200).all()


@pytest.mark.parametrize(
    ("sizing", "window", "rows", "columns"),
    [
        ("fit", (400, 144), (0, 144), (72, 328)),
        ("fill", (256, 200), (0, 200), (0, 256)),
        ("stretch", (400, 100), (0, 100), (0, 400)),
        ("1:1", (301, 201), (28, 172), (22, 278)),
    ],
)
def test_sizings_cover_what_they_should_and_no_more(draw, sizing, window, rows, columns):
    case = {"at": 0.0, "picture": "white", "sizing": sizing, "window": list(window)}
    (shot,), _ = draw([case], {"white": flat(255, 255, 255)})
    wanted = np.zeros((window[1], window[0]), int)
    wanted[slice(*rows), slice(*columns)] = 255
    assert (shot == wanted[..., None]).all()
