"""Refined presets: the search, what it finds through a real generator, and the command line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tqdm import tqdm

from cymatic.cli import main
from engine.bundle import find_bundle, load_bundle
from engine.errors import PresetError
from engine.offline import open_sessions
from engine.runtime.session import open_graph
from presets.compose import compose
from presets.store import PresetStore
from presets.text import text_encoder
from training import refine
from training.refine import CLEAR, Part, Refiner, minimise, read_picture
from training.world.factors import SCENE_SLICE, SCENES

BASE = {"seed": 7}


@pytest.fixture(autouse=True)
def unwatched(monkeypatch):
    monkeypatch.setattr(tqdm, "monitor_interval", 0)  # its thread would outlive the test


@pytest.fixture(scope="module")
def bundle():
    return load_bundle(find_bundle("landscape"))


@pytest.fixture(scope="module")
def encode(bundle):
    session = open_graph(bundle, "text", "onnxruntime", threads=1)
    yield text_encoder(session, bundle.manifest.text)
    session.close()


@pytest.fixture(scope="module")
def refiner(bundle, encode):
    with open_sessions(bundle, threads=1) as sessions:
        yield Refiner(bundle, sessions, encode)


def part(encode, words: str, weight: float = 0.5) -> Part:
    encoded = encode(words)
    return Part(weight, encoded.embedding, encoded.delta)


def test_the_search_finds_the_bottom_of_a_bent_bowl():
    goal, bent = np.linspace(-1.0, 1.0, 12), np.geomspace(0.1, 10.0, 12)

    def loss(x):
        return float((bent * np.square(x - goal)).sum())

    found = minimise(loss, 12, 1500, np.random.default_rng(3))
    assert loss(found) < 0.01 * loss(np.zeros(12))
    assert np.array_equal(found, minimise(loss, 12, 1500, np.random.default_rng(3)))


def test_what_was_seen_least_is_seen_more(refiner, encode):
    """Rain hides behind the flames until it is looked for."""
    parts = (part(encode, "a wildfire, high flames"), part(encode, "soft rain"))
    found = refiner.refine(BASE, parts, tries=70, progress=False)
    assert min(found.after) > min(found.before) + 0.05
    assert [p.weight for p in found.parts] == [0.5, 0.5]
    assert any(np.abs(new.offset - old.offset).max() > 0.01 for new, old in zip(found.parts, parts, strict=True))
    assert all(np.array_equal(new.embedding, old.embedding) for new, old in zip(found.parts, parts, strict=True))


def test_what_cannot_be_bettered_stays(refiner, encode, monkeypatch):
    def lost(loss, size, *_):
        return np.full(size, -20.0)  # without any of its strength, and far off

    monkeypatch.setattr(refine, "minimise", lost)
    parts = (part(encode, "an erupting volcano", 1.0),)
    found = refiner.refine(BASE, parts, progress=False)
    assert np.array_equal(found.parts[0].offset, parts[0].offset)
    assert found.after == found.before


def test_the_scene_that_is_meant_stands_clearly(refiner, bundle, encode):
    """What encoder and tower both say is meant; what only the encoder says goes."""
    rain, wind, mud = (SCENE_SLICE.start + SCENES.index(name) for name in ("rain", "wind", "mud"))
    clear = part(encode, "heavy rain")
    clear.offset[:, SCENE_SLICE] = 0.0
    clear.offset[:, rain] = 0.8
    assert np.array_equal(refiner._cleared(clear), clear.offset)
    unsure = replace(clear, offset=clear.offset.copy())
    unsure.offset[:, rain], unsure.offset[:, wind], unsure.offset[:, mud] = 0.16, 0.4, 0.05
    cleared = refiner._cleared(unsure)
    assert cleared[:, rain] == pytest.approx(CLEAR)
    assert cleared[:, wind] == pytest.approx(0.0, abs=1e-6)
    assert cleared[:, mud] == pytest.approx(0.05)  # a trace, which shows nothing
    rest = [axis for axis in range(cleared.shape[1]) if axis not in (rain, wind)]
    assert np.array_equal(cleared[:, rest], unsure.offset[:, rest])
    for same in (replace(unsure, weight=-0.5), replace(unsure, offset=np.zeros_like(unsure.offset))):
        assert np.array_equal(refiner._cleared(same), same.offset)


def test_a_weight_of_nothing_is_refused(refiner, encode):
    with pytest.raises(PresetError, match="no anchor has a weight"):
        refiner.refine(BASE, (part(encode, "fire", 0.0),), progress=False)


def test_another_bundles_sphere_is_refused(tiny_bundle, encode):
    with pytest.raises(PresetError, match="the image tower that comes with the project was trained with another one"):
        Refiner(load_bundle(tiny_bundle), {}, encode)


def test_a_picture_is_looked_at_through_its_middle(refiner):
    wide = np.random.default_rng(0).integers(0, 255, (72, 128, 3), np.uint8)
    tall = np.concatenate([np.zeros_like(wide), wide, np.zeros_like(wide)])
    assert np.array_equal(refiner.look(tall), refiner.look(wide))
    assert np.linalg.norm(refiner.look(wide)) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
def test_files_that_are_no_pictures(tmp_path: Path, content: bytes):
    file = tmp_path / "a.png"
    file.write_bytes(content)
    with pytest.raises(PresetError, match=r"image .*a\.png cannot be read") as refused:
        read_picture(file)
    assert "\n" not in str(refused.value)


def test_pictures_that_are_not_there_or_too_large(tmp_path: Path, monkeypatch):
    with pytest.raises(PresetError, match="No such file"):
        read_picture(tmp_path / "none.png")
    Image.new("RGB", (64, 64)).save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(PresetError, match="too many pixels"):
        read_picture(tmp_path / "large.png")


def test_new_takes_a_picture_and_refines(bundle, tmp_path: Path, monkeypatch, capfd):
    monkeypatch.setattr(refine, "TRIES", 20)
    monkeypatch.setattr(refine, "TRIES_FROM_NOTHING", 30)
    red = np.zeros((90, 160, 3), np.uint8)
    red[40:] = (230, 90, 20)
    Image.fromarray(red).save(tmp_path / "glow.png")
    words = ["presets", "new", "seen", "--folder", str(tmp_path / "mine"), "--text", "storm", "0.5"]
    assert main([*words, "--image", str(tmp_path / "glow.png"), "0.5", "--refine"]) == 0
    printed = capfd.readouterr()
    assert printed.out.count("like it before") == 3
    made = PresetStore([tmp_path / "mine"]).load("seen")
    assert [(a.kind, a.source, a.weight) for a in made.anchors] == [("text", "storm", 0.5), ("image", "glow.png", 0.5)]
    assert np.abs(compose(made, bundle, 1)["offset"]).max() > 0.01
    assert "fade_s" not in made.model_fields_set
