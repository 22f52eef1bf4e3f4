"""Anchors in balance: what hides the others gives way, what hardly shows is raised, and all else stays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cymatic.cli import main
from engine.bundle import find_bundle, load_bundle
from engine.offline import open_sessions
from engine.runtime.session import open_graph
from presets.balance import CLEAR, ENOUGH, Sketch, balance, small
from presets.store import PresetStore
from presets.text import text_encoder

FLAMES, RAIN, WATER = np.eye(3, dtype=np.float32)[:, None]  # offsets [1, 3]


class Layers:
    """Flames in the left half, drops in every fourth column, and water before all, which comes in steeply."""

    def __init__(self) -> None:
        self.painted = 0

    def __call__(self, offset):
        self.painted += 1
        flames, rain, water = offset[0].clip(0.0, 1.0)
        picture = np.full((144, 256, 3), 90.0)
        picture[:, :128, 0] += 120.0 * flames
        picture[:, ::4] += 100.0 * rain
        cover = np.clip((water - 0.15) / 0.15, 0.0, 1.0)
        picture += cover * (np.array([10.0, 60.0, 160.0]) - picture)
        return picture.clip(0, 255).astype(np.uint8)


def test_what_hides_everything_gives_way_until_each_is_seen():
    paint = Layers()
    found = balance(paint, [FLAMES, 0.8 * WATER], [1.0, 1.0])
    assert found.factors[0] == 1.0
    assert 0.18 < found.factors[1] * 0.8 < 0.22  # a third of it covers: it is the larger
    assert found.seen > 0.35
    assert paint.painted < 90


def test_three_of_which_one_hides_two():
    found = balance(Layers(), [FLAMES, RAIN, WATER], [1.0, 1.0, 1.0])
    assert found.seen > 0.3
    assert found.factors[2] < 0.3 < min(found.factors[:2])


def test_what_is_seen_anyway_stays():
    paint = Layers()
    found = balance(paint, [FLAMES, RAIN], [1.0, 0.67])
    assert found.factors == (1.0, 1.0)
    assert found.seen >= ENOUGH
    assert paint.painted == 5


def test_what_hardly_shows_is_raised_until_it_does():
    faint = 0.12 * FLAMES  # 2.4 of 255 grey levels in the mean of three colours, half of the picture
    layers = Layers()

    def change(offset):
        return float(np.abs(small(layers(offset)) - small(layers(0.0 * offset))).sum(2).mean())

    offset = next(share * FLAMES for share in np.linspace(1.0, 0.1, 91, dtype=np.float32)
                  if change(share * FLAMES) < 0.75 * CLEAR)  # fmt: skip
    for others in ([], [RAIN]):
        found = balance(Layers(), [offset, *others], [1.0] * (1 + len(others)))
        assert CLEAR <= change(np.float32(found.factors[0]) * offset) < 1.2 * CLEAR
        assert found.factors[1:] == (1.0,) * len(others)
    assert balance(Layers(), [offset], [0.2]).factors == pytest.approx(found.factors[:1]), "a small weight is meant"
    assert balance(Layers(), [faint], [1.0]).factors == (1.0,), "what twice of does not show means nothing"
    assert balance(Layers(), [offset], [-1.0]).factors == (1.0,)


def test_what_pushes_away_or_shows_nothing_is_left_alone():
    assert balance(Layers(), [FLAMES, WATER], [1.0, -1.0]).factors == (1.0, 1.0)
    assert balance(Layers(), [0.01 * FLAMES, WATER], [1.0, 1.0]).factors == (1.0, 1.0)  # nobody would miss it
    assert balance(Layers(), [FLAMES], [1.0]).factors == (1.0,)
    three = balance(Layers(), [FLAMES, WATER, RAIN], [1.0, 1.0, -0.5])
    assert three.factors[2] == 1.0
    assert three.factors[1] < 0.3


def test_water_of_the_shipped_bundle_lets_flames_be_seen():
    bundle = load_bundle(find_bundle("landscape"))
    words = open_graph(bundle, "text", "onnxruntime", threads=1)
    encode = text_encoder(words, bundle.manifest.text)
    offsets = [encode(text).delta for text in ("bubbles rising under water", "a wildfire, high flames")]
    words.close()
    with open_sessions(bundle, threads=1) as sessions:
        sketch = Sketch(bundle, sessions, {"seed": 7})

        def flames_change(pulled):
            both, water = (sketch.paint(sum(some)).astype(np.float32) for some in (pulled, pulled[:1]))
            return float(np.abs(both - water).mean())

        found = balance(sketch.paint, offsets, [1.0, 1.0])
        assert found.factors[0] < 0.7
        assert found.factors[1] == 1.0
        assert found.seen > 0.25
        balanced = [np.float32(factor) * offset for factor, offset in zip(found.factors, offsets, strict=True)]
        assert flames_change(balanced) > 1.5 * flames_change(offsets)


@pytest.mark.parametrize("weights", [("0.5", "0.5"), ("0.5", "-0.5")])
def test_new_says_what_gives_way(weights: tuple[str, str], tmp_path: Path, capfd):
    water, flames = "bubbles rising under water", "a wildfire, high flames"
    words = ["--text", water, weights[0], "--text", flames, weights[1]]
    assert main(["presets", "new", "steam", "--seed", "7", "--folder", str(tmp_path), *words]) == 0
    said = capfd.readouterr().out
    made = PresetStore([tmp_path]).load("steam")
    assert [anchor.weight for anchor in made.anchors] == [float(weight) for weight in weights]
    assert (f"text {water!r} would hide the rest: its pull is 0." in said) == (weights[1] == "0.5")
