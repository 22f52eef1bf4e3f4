"""Painting a whole sound by its own clock: the same again every time, the same as a show, in bounded memory."""

from __future__ import annotations

import itertools
import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest
import soundfile

from engine.audio.sources import FileSource
from engine.bundle import load_bundle
from engine.errors import AudioError
from engine.links import Links
from engine.offline import frame_count, open_sessions, paint
from engine.player import Player

RATE = 16_000


@pytest.fixture(scope="module")
def bundle(tiny_bundle):
    return load_bundle(tiny_bundle)


@pytest.fixture(scope="module", params=["openvino", "onnxruntime"])
def sessions(bundle, request):
    with open_sessions(bundle, request.param, threads=1) as opened:
        yield opened


@pytest.fixture(scope="module")
def sound() -> np.ndarray:
    """Two seconds and a bit: silence, then noise that swells, with a click in it."""
    noise = 0.2 * np.random.default_rng(1).standard_normal(round(2.01 * RATE)).astype(np.float32)
    noise *= np.clip(np.linspace(-0.5, 1.0, len(noise), dtype=np.float32), 0.0, 1.0)
    noise[RATE] = 0.9
    return noise


def painted(*arguments, **options) -> tuple[np.ndarray, np.ndarray]:
    """All pictures and all latents of a sound."""
    frames = [(frame.image.copy(), frame.w_plus) for frame in paint(*arguments, **options)]
    return np.array([image for image, _ in frames]), np.array([w_plus for _, w_plus in frames])


def test_a_sound_gives_the_same_pictures_again_and_another_seed_others(bundle, sessions, sound):
    first, again, other = (painted(sound, RATE, bundle, sessions, seed=seed)[0] for seed in (4, 4, 5))
    np.testing.assert_array_equal(first, again)
    assert all((one != two).any() for one, two in zip(first, other, strict=True))


def test_new_sessions_give_the_same_pictures(bundle, sessions, sound):
    runtime = sessions["generator"].runtime
    with open_sessions(bundle, runtime, threads=1) as fresh:
        pictures = painted(sound, RATE, bundle, fresh)[0]
    np.testing.assert_array_equal(pictures, painted(sound, RATE, bundle, sessions)[0])


def test_how_the_sound_comes_in_blocks_does_not_matter(bundle, sessions, sound):
    def ragged() -> Iterator[np.ndarray]:
        rng, at = np.random.default_rng(2), 0
        while at < len(sound):
            length = int(rng.integers(0, 3000))
            yield sound[at : at + length]
            at += length

    whole, pieces = (painted(given, RATE, bundle, sessions)[0] for given in (sound, ragged()))
    np.testing.assert_array_equal(whole, pieces)


@pytest.mark.parametrize(
    ("samples", "fps", "seconds", "frames"),
    [
        (0, 30.0, None, 0),
        (1, 30.0, None, 1),
        (RATE, 30.0, None, 30),
        (RATE + 1, 30.0, None, 31),
        (RATE, 30.0, 0.5, 15),
        (RATE, 30.0, 9.0, 30),
        (RATE, 25.0, 0.0, 0),
        (RATE, 60.0, None, 60),
        (RATE, 29.97, None, 30),
        (2 * RATE, 0.4, None, 1),
    ],
)
def test_frames_stand_at_their_times_until_the_sound_ends(bundle, sessions, samples, fps, seconds, frames):
    times = [
        frame.seconds
        for frame in paint(np.zeros(samples, np.float32), RATE, bundle, sessions, fps=fps, seconds=seconds)
    ]
    np.testing.assert_allclose(times, np.arange(frames) / fps, rtol=1e-12)
    assert len(times) == frame_count(samples / RATE, fps, seconds) == frames


def test_fewer_frames_are_some_of_the_same_pictures(bundle, sessions, sound):
    pictures, latents = painted(sound, RATE, bundle, sessions, fps=30.0)
    fewer, their_latents = painted(sound, RATE, bundle, sessions, fps=10.0)
    np.testing.assert_array_equal(fewer, pictures[::3])
    np.testing.assert_array_equal(their_latents, latents[::3])


@pytest.mark.parametrize("fps", [30.0, 60.0])
def test_a_show_with_the_same_sound_shows_the_same_pictures(bundle, sessions, sound, tmp_path, fps):
    path = tmp_path / "sound.wav"
    soundfile.write(path, np.stack([sound, 0.5 * sound], 1), RATE, subtype="FLOAT")
    maps = [
        {"feature": "level", "control": "gain/fine", "amount": 0.8, "attack_s": 0.05},
        {"feature": "treble", "control": "speed", "amount": 0.3, "curve": 2.0},
        {"feature": "beat", "control": "truncation", "amount": -0.2},
    ]
    preset = {"base": {"seed": 3}, "offset": np.full(bundle.tensors["w_avg"].shape, 0.1).tolist(), "maps": maps}
    controls = {"smoothing": 0.2, "sound/gain": 3.0}
    offline = painted(
        soundfile.read(path, dtype="float32")[0].mean(axis=1),
        RATE,
        bundle,
        sessions,
        preset,
        controls=controls,
        fps=fps,
    )[0]

    now = 0.0
    source = FileSource(path, clock=lambda: now)
    image = bundle.manifest.image
    links = Links.create(image.height, image.width)
    try:
        player = Player(bundle, sessions, source, links, fps)
        links.controls.put({"controls": controls})
        links.preset.put(preset | {"serial": 1, "name": "", "fade_s": 0.0})
        source.start()
        for number, expected in enumerate(offline):
            now = number / fps
            player._frame(now)
            np.testing.assert_array_equal(links.slot.newest().rgba, expected)
    finally:
        source.stop()
        links.close()


def test_the_picture_means_the_sound_up_to_its_time_and_not_a_sample_more(bundle, sessions, sound):
    silent = painted(np.zeros_like(sound), RATE, bundle, sessions)[0].astype(int)
    heard = painted(sound, RATE, bundle, sessions)[0].astype(int)
    begins = int(np.flatnonzero(sound)[0])
    moved = np.abs(heard - silent).reshape(len(heard), -1).max(axis=1)
    before = frame_count(begins / RATE, 30.0)  # frames that stand before the first sample that sounds
    assert (moved[: before - 1] == 0).all()
    assert (moved[before + 10 :] > 5).all()


def test_level_onset_and_scenes_belong_to_the_frame(bundle, sessions):
    sound = np.zeros(RATE, np.float32)
    sound[RATE // 2 : RATE // 2 + 400] = 0.5 * np.random.default_rng(0).standard_normal(400)
    frames = list(paint(sound, RATE, bundle, sessions))
    assert max(frame.level for frame in frames[:15]) == 0.0
    assert frames[16].level > 0.5
    assert frames[16].onset > 0.3
    assert frames[29].onset < 0.01
    assert all(frame.scenes.shape == (9,) and abs(frame.scenes.sum() - 1.0) < 1e-5 for frame in frames)
    assert frames[-1].resets == 0


def test_no_more_is_read_than_is_painted_and_nothing_is_kept(bundle, sessions):
    taken = 0

    def endless() -> Iterator[np.ndarray]:
        nonlocal taken
        rng = np.random.default_rng(0)
        for taken in itertools.count(1):  # noqa: B007 - looked at outside
            yield rng.standard_normal(RATE // 10).astype(np.float32)

    frames = paint(endless(), RATE, bundle, sessions, fps=5.0)
    tracemalloc.start()
    try:
        for number, frame in enumerate(itertools.islice(frames, 50)):
            assert taken <= 10 * frame.seconds + 1
            if number == 10:
                before = tracemalloc.get_traced_memory()[0]
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 50_000, "8 s of this sound are 512 kB, 40 pictures 369 kB"


def test_what_is_no_mono_sound_is_refused(bundle, sessions):
    with pytest.raises(ValueError, match="mono"):
        next(paint(np.zeros((RATE, 2), np.float32), RATE, bundle, sessions))
    with pytest.raises(AudioError, match="4000 Hz"):
        next(paint(np.zeros(RATE, np.float32), 4000, bundle, sessions))
