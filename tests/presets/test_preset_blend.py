"""Presets between presets, and clips that pull."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from engine.bundle import Bundle, load_bundle
from engine.errors import AudioError, PresetError
from engine.offline import open_sessions
from engine.painter import Painter
from presets.blend import blend, seed_place
from presets.compose import compose
from presets.recipe import anchor
from presets.schema import Preset, Seed, SoundMap, Vector, as_array, latent
from presets.sound import sound_anchor, sound_encoder
from presets.text import Encoded

RATE = 16_000


@pytest.fixture(scope="module")
def bundle(tiny_bundle) -> Bundle:
    return load_bundle(tiny_bundle)


@pytest.fixture(scope="module")
def sessions(bundle):
    with open_sessions(bundle, "onnxruntime", threads=1) as opened:
        yield opened


@pytest.fixture(scope="module")
def place(bundle, sessions):
    return seed_place(sessions["mapping"], bundle.manifest.z_dim)


def pull(bundle: Bundle, fill: float, source: str = "fire", weight: float = 1.0):
    shape = bundle.tensors["w_avg"].shape
    encoded = Encoded(np.full(shape, fill, np.float32), np.float32([1.0]), ())
    return anchor("text", source, weight, encoded, bundle.manifest.graphs["text"].sha256)


@pytest.fixture
def pair(bundle) -> tuple[Preset, Preset]:
    first = Preset(
        name="first", base=Seed(seed=3), fade_s=2.0,
        controls={"speed": 1.0, "truncation": 0.5, "look/mirror": "vertical"},
        anchors=(pull(bundle, 1.0), pull(bundle, 4.0, "night", 0.5)),
        maps=(SoundMap(feature="bass", control="speed", amount=0.5),),
    )  # fmt: skip
    second = Preset(
        name="second", base=Seed(seed=8), controls={"speed": 3.0, "seed": 7.0, "look/mirror": "off"}, fade_s=4.0,
        anchors=(pull(bundle, 1.0, weight=0.2), pull(bundle, -2.0, "sea")),
        maps=(
            SoundMap(feature="bass", control="speed", amount=-0.1),
            SoundMap(feature="onset", control="noise", amount=1.0),
        ),
    )  # fmt: skip
    return first, second


def test_the_ends_are_the_presets_themselves(pair, place):
    first, second = pair
    assert blend(first, second, 0.0, "mix", place) == first.model_copy(update={"name": "mix"})
    assert blend(first, second, 1.0, "mix", place) == second.model_copy(update={"name": "mix"})


def test_in_between_everything_has_its_part(pair, place):
    mixed = blend(*pair, 0.25, "mix", place)
    assert as_array(mixed.base.w_plus) == pytest.approx(0.75 * place(3) + 0.25 * place(8), abs=1e-3)
    assert mixed.controls == {"speed": 1.5, "truncation": 0.5, "seed": 7.0, "look/mirror": "vertical"}
    assert blend(*pair, 0.5, "mixed", place).controls["look/mirror"] == "off", "a choice changes in the middle"
    thirds = {"fire": 2 / 3 + 0.2 / 3, "night": 1 / 3, "sea": 1 / 3}  # so that the second pulls half as much
    assert {a.source: a.weight for a in mixed.anchors} == pytest.approx(thirds)
    assert {(m.feature, m.control): round(m.amount, 6) for m in mixed.maps} == {
        ("bass", "speed"): 0.35,
        ("onset", "noise"): 0.25,
    }
    assert mixed.fade_s == 2.5
    assert Preset.model_validate_json(mixed.model_dump_json()) == mixed


def test_the_way_from_one_to_the_other_has_no_jump(bundle, sessions, place):
    """Neither in W+ nor in the picture is a step of a hundred over three times the median one."""
    pair = [
        Preset(name=name, base=Seed(seed=seed), anchors=(pull(bundle, fill, name),))
        for name, seed, fill in (("fire", 3, 1.0), ("sea", 8, -1.5))
    ]
    told = [compose(blend(*pair, share, "mix", place), bundle, 1) for share in np.linspace(0, 1, 101)]
    latents, pictures = [], []
    painter = Painter(bundle, sessions, RATE)
    painter.controls |= {"sound/weight": 0.0, "speed": 0.0, "flash/limit": 0.0}
    for at, preset in enumerate(told):
        painter.go({**preset, "fade_s": 0.0}, float(at))
        latents.append(painter.move(float(at)))
        pictures.append(painter.picture()[..., :3].astype(float))
    for way in (latents, pictures):
        steps = np.abs(np.diff(way, axis=0)).mean(axis=tuple(range(1, np.ndim(way))))
        assert np.median(steps) > 0
        assert steps.max() < 3 * np.median(steps)


def test_the_offset_moves_evenly_on_the_way(pair, place, bundle):
    """The second comes evenly, then the first goes evenly: no step of W+ is larger than another."""
    first, second = (
        preset.model_copy(update={"base": Seed(seed=3), "anchors": (pull(bundle, fill, "night"),)})
        for preset, fill in zip(pair, (4.0, -4.0), strict=True)
    )
    way = [compose(blend(first, second, at, "mix", place), bundle, 1)["offset"] for at in np.linspace(0, 1, 21)]
    steps = np.abs(np.diff(way, axis=0)).mean(axis=(1, 2))
    assert steps == pytest.approx(np.full(20, 0.4), rel=1e-3)


def test_halfway_both_pull_whole(pair, place, bundle):
    first, second = (preset.model_copy(update={"anchors": preset.anchors[-1:]}) for preset in pair)
    first = first.model_copy(update={"anchors": (pull(bundle, 4.0, "night"),)})
    told = compose(blend(first, second, 0.5, "mix", place), bundle, 1)
    assert np.array(told["offset"]) == pytest.approx(4.0 - 2.0)


def test_a_seeds_place_is_that_of_a_show(bundle, sessions, place):
    painter = Painter(bundle, sessions, RATE)
    painter.controls |= {"sound/weight": 0.0}
    painter.go({"base": {"seed": 5}, "offset": None}, 0.0)
    np.testing.assert_allclose(painter.move(0.0)[0], place(5), atol=1e-5)


def test_what_cannot_be_blended(pair, place, bundle):
    first, second = pair
    with pytest.raises(PresetError, match="between 0 and 1"):
        blend(first, second, 1.5, "mix", place)
    other = Preset(name="other", base=Vector(w_plus=latent(np.ones((2, 3)))))
    with pytest.raises(PresetError, match="different layouts"):
        blend(first, other, 0.5, "mix", place)
    many = first.model_copy(update={"anchors": tuple(pull(bundle, n, f"word {n}") for n in range(8))})
    with pytest.raises(PresetError, match="10 anchors together"):
        blend(many, second, 0.5, "mix", place)


# ---- Clips


def clip(path: Path, loudness: float, seconds: float = 3.0) -> Path:
    sound = loudness * np.random.default_rng(2).standard_normal((int(seconds * RATE), 2))
    soundfile.write(path, sound, RATE)
    return path


def test_a_clip_is_heard_and_pulls(bundle, sessions, tmp_path: Path):
    encode = sound_encoder(sessions, bundle)
    encoded = encode(clip(tmp_path / "rain.wav", 0.1))
    assert encoded.delta.shape == bundle.tensors["w_avg"].shape
    assert np.linalg.norm(encoded.embedding) == pytest.approx(1.0, abs=1e-5)
    made = sound_anchor(tmp_path / "rain.wav", 0.4, encoded, bundle.manifest.graphs["encoder"].sha256)
    assert (made.kind, made.source, made.weight) == ("sound", "rain.wav", 0.4), "a file's name is no path"
    told = compose(Preset(name="wet", base=Seed(seed=1), anchors=(made,)), bundle, 1)
    assert np.array(told["offset"]) == pytest.approx(0.4 * encoded.delta, rel=1e-3, abs=1e-6)
    short = encode(clip(tmp_path / "short.wav", 0.1, seconds=0.2))
    assert np.isfinite(short.delta).all()


def test_silence_before_and_after_does_not_count(bundle, sessions, tmp_path: Path):
    heard, sound = [], 0.1 * np.random.default_rng(2).standard_normal(4 * RATE)

    class Session:
        def run(self, feeds):
            heard.append(feeds["mel"])
            return sessions["encoder"].run(feeds)

    soundfile.write(tmp_path / "a.wav", np.concatenate([sound, np.zeros(10 * RATE)]), RATE)
    sound_encoder({**sessions, "encoder": Session()}, bundle)(tmp_path / "a.wav")
    assert 4 <= len(heard) <= 8


def test_clips_in_which_there_is_nothing(bundle, sessions, tmp_path: Path):
    encode = sound_encoder(sessions, bundle)
    with pytest.raises(PresetError, match="nothing to hear"):
        encode(clip(tmp_path / "silent.wav", 0.0))
    (tmp_path / "text.wav").write_text("no sound")
    with pytest.raises(AudioError):
        encode(tmp_path / "text.wav")
    with pytest.raises(AudioError):
        encode(tmp_path / "none.wav")
