"""Recordings and stills of a stage: the very pictures that were shown, with fade, blackout, freeze and test card."""

from __future__ import annotations

import itertools
import re
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from conftest import wait_until
from film_reader import read_film
from PIL import Image

from cymatic.stage import EngineOptions, Stage
from engine.bundle import load_bundle
from engine.finish import Finish, Shown
from engine.look import Look
from engine.present import draw_test_card
from presets.schema import Preset, Seed
from presets.store import PresetStore


@pytest.fixture
def films(tmp_path) -> Path:
    return tmp_path / "films"


@pytest.fixture
def stage(tiny_bundle, noise, tmp_path, films, monkeypatch, tmp_path_factory):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
    store = PresetStore([tmp_path])
    store.save(Preset(name="moving", base=Seed(seed=1), controls={"speed": 4.0, "gain/fine": 2.0}, fade_s=0.0))
    options = EngineOptions(str(noise), runtime="onnxruntime", fps=30.0, threads=1)
    lines = []
    stage = Stage(load_bundle(tiny_bundle), store, options, "moving", osc_port=0, record_to=films, say=lines.append)
    stage.lines = lines
    stage.start()
    wait_until(lambda: (stage.tick(), stage.newest_frame())[1], 60, "the first picture")
    yield stage
    stage.stop()


def go_on(stage: Stage, condition, what: str, shown: list | None = None) -> None:
    """Runs the stage as the headless loop does; notes what is shown."""

    def look() -> bool:
        stage.tick()
        if stage.newest_frame() is not None and shown is not None:
            shown.append((time.perf_counter(), stage.present()))
        return bool(condition())

    wait_until(look, 60, what)


def a_new_picture(stage: Stage) -> None:
    shown: list = []
    go_on(stage, lambda: shown, "a new picture", shown)


def recorded(stage: Stage) -> float:
    return stage.recording["seconds"] if stage.recording else 0.0


def in_order(distance: np.ndarray) -> np.ndarray:
    """For each row the column that it stands for, none before that of the row above it, with the least sum of all such
    choices. Pictures that are far apart may look alike, so the nearest one of all would not do."""
    total, ways = distance[0], []
    for row in distance[1:]:
        least = np.minimum.accumulate(total)
        ways.append(np.maximum.accumulate(np.where(total == least, np.arange(len(total)), 0)))
        total = least + row
    chosen = [int(total.argmin())]
    for way in reversed(ways):
        chosen.append(int(way[chosen[-1]]))
    return np.array(chosen[::-1])


def test_the_film_holds_the_pictures_that_were_shown(stage, films):
    shown: list[tuple[float, np.ndarray]] = []
    stage.desk.set("record", True, "test")
    go_on(stage, lambda: recorded(stage) > 2.0, "two seconds of film", shown)
    assert stage.recording["path"].startswith(str(films))
    stage.desk.set("record", False, "test")
    go_on(stage, lambda: stage.lines[-1].startswith("recorded "), "the end of the film", shown)
    assert stage.recording is None
    [path] = films.iterdir()
    assert f" to {path}" in stage.lines[-1]
    told = re.search(r"(\d+) pictures? dropped", stage.lines[-1])  # on a busy machine
    dropped = int(told.group(1)) if told else 0
    film = read_film(path)
    # Each picture of the film is one that was shown, they come in the order and at the distances of the show.
    flat = np.stack([picture[..., :3] for _, picture in shown]).astype(np.float32)
    distance = np.stack([np.abs(flat - picture).mean((1, 2, 3)) for picture in film.pictures.astype(np.float32)])
    best = in_order(distance)
    assert distance[np.arange(len(best)), best][1:-1].max() < 6.0
    assert best[-2] - best[1] <= len(film.pictures) - 3 + dropped + 1, "none is missing but those that were counted"
    at = np.array([at for at, _ in shown])[best]
    late = np.abs((film.times[1:-1] - film.times[1]) - (at[1:-1] - at[1]))
    assert np.median(late) < 0.02, "the film's times are those of the show, as closely as this test can look"


def test_fade_blackout_freeze_and_test_card_are_in_the_film(stage, films):
    stage.desk.set("record", True, "test")
    for name, value in (("freeze", 0), ("blackout", 1), ("blackout", 0), ("testcard", 1), ("testcard", 0),
                        ("master", 0.0), ("master", 1.0)):  # fmt: skip
        stage.desk.set(name, value, "test")
        a_new_picture(stage)
        until = recorded(stage) + 1.2  # more than a recorder may lag behind
        go_on(stage, lambda until=until: recorded(stage) > until, f"a film of {name} {value}")
    stage.desk.set("freeze", 1, "test")
    a_new_picture(stage)
    until = recorded(stage) + 1.5
    go_on(stage, lambda: recorded(stage) > until, "a picture that stands")
    stage.desk.set("record", False, "test")
    go_on(stage, lambda: "recorded " in stage.lines[-1], "the end of the film")
    film = read_film(next(films.iterdir()))
    card = draw_test_card(*stage.image_size)[..., :3].astype(int)

    def seen(picture: np.ndarray) -> str:
        if picture.max() < 6:
            return "black"
        return "card" if np.abs(picture - card).mean() < 12 else "picture"

    runs = [name for name, _ in itertools.groupby(map(seen, film.pictures.astype(int)))]
    assert runs == ["picture", "black", "picture", "card", "picture", "black", "picture"]
    frozen = film.pictures[film.times > film.times[-1] - 0.6].astype(int)
    assert len(frozen) >= 2
    assert np.abs(frozen - frozen[0]).mean() < 2


def test_a_recorder_that_dies_is_one_line_and_the_next_recording_is_another_file(stage, films):
    stage.desk.set("record", True, "test")
    go_on(stage, lambda: recorded(stage) > 2.5, "some film")
    [child] = [c for c in psutil.Process().children() if "engine.recording" in c.cmdline()]
    child.kill()
    go_on(stage, lambda: not stage.desk.get("record"), "the stage to notice")
    [first] = films.iterdir()
    assert f"the recording ended (signal 9); {first} plays up to about " in stage.lines[-1]
    a_new_picture(stage)
    assert read_film(first).times[-1] > 0.5
    stage.desk.set("record", True, "test")
    go_on(stage, lambda: recorded(stage) > 0.5, "another film")
    assert len(list(films.iterdir())) == 2
    stage.stop()
    assert stage.lines[-1].startswith("recorded "), "the end of the show is an end of the film like any other"
    assert all(read_film(path).times[-1] > 0.4 for path in films.iterdir())


def test_where_nothing_can_be_written_a_line_says_so_and_the_show_goes_on(stage, films):
    films.write_text("a file in the way")
    stage.desk.set("record", True, "test")
    go_on(stage, lambda: not stage.desk.get("record"), "the refusal")
    assert stage.lines[-1].startswith(f"nothing can be written to {films}: ")
    stage.desk.set("still", True, "test")
    go_on(stage, lambda: "no still" in stage.lines[-1], "the refusal of the still")
    a_new_picture(stage)


def test_a_still_is_what_is_shown(stage, films):
    stage.desk.set("freeze", True, "test")
    stage.desk.set("master", 0.5, "test")
    a_new_picture(stage)
    shown = stage.present()
    for number in (1, 2):
        stage.desk.set("still", True, "test")
        go_on(stage, lambda number=number: sum("still: " in line for line in stage.lines) == number, "the still")
    first, second = sorted(films.iterdir())
    assert first != second
    with Image.open(first) as still:
        assert np.array_equal(np.asarray(still), shown)
        assert still.info["srgb"] == 0


def test_film_and_still_have_the_look(stage, films):
    stage.desk.set("freeze", True, "test")
    a_new_picture(stage)
    painted = stage.present()
    for name, value in (("look/saturation", 0.0), ("look/mirror", "horizontal"), ("look/vignette", 0.8)):
        stage.desk.set(name, value, "test")
    assert (stage.present() == painted).all(), "what the report looks at is as painted"
    stage.desk.set("record", True, "test")
    go_on(stage, lambda: recorded(stage) > 1.0, "a film of the look")
    stage.desk.set("look/saturation", 1.0, "test")
    until = recorded(stage) + 1.2
    go_on(stage, lambda: recorded(stage) > until, "a film of the other look")
    stage.desk.set("record", False, "test")
    go_on(stage, lambda: "recorded " in stage.lines[-1], "the end of the film")
    stage.desk.set("still", True, "test")
    go_on(stage, lambda: "still: " in stage.lines[-1], "the still")

    def under(**look) -> np.ndarray:
        return Finish().show(Shown(painted, 0.0, look=Look(**look)))[..., :3].astype(int)

    film = read_film(next(films.glob("*.mp4"))).pictures.astype(int)
    assert np.abs(film[0] - under(saturation=0.0, mirror="horizontal", vignette=0.8)).mean() < 4
    last = under(mirror="horizontal", vignette=0.8)
    assert np.abs(film[-1] - last).mean() < 4
    assert np.abs(last - painted[..., :3]).mean() > 10
    with Image.open(next(films.glob("*.png"))) as still:
        assert np.array_equal(np.asarray(still)[..., :3], last)
