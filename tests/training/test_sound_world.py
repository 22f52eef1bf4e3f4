"""The world's sound: it follows the tracks, keeps its levels, and no scene sounds like another."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from engine.audio.features import FastFeatures
from training.world.demo import demo_soundscape
from training.world.dsp import Take, band, filtered, soft_limit
from training.world.factors import COUNT, INDEX, SCENES, Tracks, draw_tracks
from training.world.music import STYLES, Song, synthesise_any, synthesise_music
from training.world.sound import VOICES, synthesise

RATE = 16_000
STRUCK = ("explosion", "thunder")  # their loudness sits in the strokes


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Many short operations: on a busy machine a second thread costs more than it gives."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def still(scene: str, intensity: float, seconds: float = 2.0, flash: float = -1.5) -> Tracks:
    values = torch.zeros(round(seconds * 30), COUNT)
    values[:, INDEX["flash"]] = flash
    values[:, INDEX[scene]] = intensity
    return Tracks(values, 30.0, SCENES.index(scene))


def struck(scene: str, at_s: float = 1.0, seconds: float = 3.0) -> Tracks:
    tracks = still(scene, 0.8, seconds)
    since = torch.arange(tracks.values.shape[0]) / tracks.rate - at_s
    fall = torch.exp(-since.clamp(min=0) / 0.3)
    tracks.values[:, INDEX["flash"]] = -1.5 + 3.0 * torch.where(since < -1e-4, 0.0, fall)
    return tracks


def decibels(signal: Tensor) -> float:
    return float(10 * signal.square().mean().clamp(min=1e-18).log10())


def voice(scene: str, tracks: Tracks, rate: int = RATE, seed: int = 0) -> Tensor:
    take = Take(tracks, seeded(seed), rate)
    return VOICES[scene](take, take.factor(scene))


def style(scene: str, tracks: Tracks, seed: int = 0) -> Tensor:
    take = Take(tracks, seeded(seed), RATE)
    return STYLES[scene](Song(take), take.factor(scene))


@pytest.mark.parametrize("make", [synthesise, synthesise_music, synthesise_any])
@pytest.mark.parametrize("scene", range(-1, 9))
def test_clip_is_mono_float32_and_never_over(make, scene: int) -> None:
    tracks = draw_tracks(1.7, seeded(scene + 1), scene=scene)
    sound = make(tracks, seeded(), RATE)
    assert sound.dtype == torch.float32
    assert sound.shape == (round(tracks.seconds * RATE),)
    assert torch.isfinite(sound).all()
    assert float(sound.abs().max()) <= 0.981
    assert torch.equal(sound, make(tracks, seeded(), RATE))
    if scene >= 0:
        assert float(sound.abs().max()) > 1e-3
        assert not torch.equal(sound, make(tracks, seeded(1), RATE))


@pytest.mark.parametrize("rate", [22_050, 48_000])
def test_any_rate_gives_the_same_seconds(rate: int) -> None:
    assert synthesise(still("fire", 0.8, 1.0), seeded(), rate).shape == (rate,)


def test_calm_is_a_quiet_room_and_sometimes_exactly_nothing() -> None:
    calm = draw_tracks(0.5, seeded(), scene=-1)
    levels = [decibels(synthesise(calm, seeded(i), RATE)) for i in range(40)]
    assert max(levels) < -59
    assert min(levels) == -180
    assert sum(level > -76 for level in levels) > 20


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("make", [voice, style])
def test_intensity_is_heard(make, scene: str) -> None:
    flash = {"flash": 1.5} if scene in STRUCK else {}
    assert decibels(make(scene, still(scene, 0.0, **flash))) < -120 or scene == "mud"
    faint, full = (decibels(make(scene, still(scene, v, 3.0, **flash))) for v in (0.25, 1.0))
    assert full - faint > 6


def test_intensity_moves_within_a_clip() -> None:
    tracks = still("rain", 0.2, 4.0)
    tracks.values[60:, INDEX["rain"]] = 1.0
    sound = voice("rain", tracks)
    assert decibels(sound[RATE * 5 // 2 :]) - decibels(sound[: RATE * 3 // 2]) > 10


def rank_correlation(a: Tensor, b: Tensor) -> float:
    a, b = (x.argsort().argsort().double() for x in (a, b))
    return float(torch.corrcoef(torch.stack([a, b]))[0, 1])


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("make", [synthesise, synthesise_music])
def test_loudness_follows_intensity_within_clips(make, scene: str) -> None:
    """Spearman of level and intensity over 0.6 s, the median of clips, through room and microphone."""
    found = []
    for seed in range(3):
        generator = seeded(seed)
        tracks = draw_tracks(8.0, generator, scene=SCENES.index(scene))
        level = make(tracks, generator, RATE).square().unfold(0, RATE * 6 // 10, RATE // 10).mean(1)
        intensity = tracks.values[:, INDEX[scene]].unfold(0, 18, 3).mean(1)
        found.append(rank_correlation(level, intensity[: len(level)]))
    assert sorted(found)[1] > 0.5


def test_near_thunder_is_an_onset_and_far_thunder_hardly() -> None:
    def onset(depth: float) -> float:
        heard = []
        for seed in range(3):
            tracks = struck("thunder")
            tracks.values[:, INDEX["depth"]] = depth
            features, envelope = FastFeatures(32_000), []
            for block in synthesise(tracks, seeded(seed), 32_000).split(320):
                features.push(block.numpy())
                envelope.append(features.onset)
            heard.append(max(envelope[50:]))  # past the first half second, where the sound begins
        return sorted(heard)[1]

    assert onset(-2.0) > 0.6
    assert onset(2.0) < 0.5


def test_a_hum_is_mains_and_overtones() -> None:
    take = Take(still("fire", 0.5, 2.0), seeded(4), RATE)
    hum = take.hum()
    power = torch.fft.rfft(hum).abs().square()
    hertz = torch.arange(len(power)) / 2
    mains = 50.0 if float(power[(hertz % 50 == 0) & (hertz % 60 > 0)].sum()) > 0.1 * float(power.sum()) else 60.0
    assert float(power[hertz % mains == 0].sum()) == pytest.approx(float(power.sum()), rel=1e-3)
    assert float(hum.square().mean()) == pytest.approx(1.0, rel=0.01)


def test_rooms_differ_and_their_treble_dies_first() -> None:
    rooms = [Take(still("fire", 0.5, 2.0), seeded(i), RATE).room() for i in range(12)]
    assert len({len(room) for room in rooms}) == 12
    assert max(len(room) for room in rooms) > 4 * min(len(room) for room in rooms)
    hall = max(rooms, key=len)
    late = hall[len(hall) // 4 :]

    def tilt(part: Tensor) -> float:
        return decibels(filtered(part, band(2500, 7000), RATE)) - decibels(filtered(part, band(60, 800), RATE))

    assert tilt(late) < tilt(hall[1 : len(hall) // 8]) - 1.0


def test_explosion_booms_at_the_stroke_to_the_sample() -> None:
    sound = filtered(voice("explosion", struck("explosion")), band(150, 7000), RATE)
    before, after = sound[RATE - 800 : RATE], sound[RATE + 200 : RATE + 1000]
    assert decibels(after) - decibels(before) > 10


def test_thunder_comes_after_the_stroke_by_its_distance() -> None:
    def onset(depth: float) -> float:
        tracks = struck("thunder")
        tracks.values[:, INDEX["depth"]] = depth
        clap = filtered(voice("thunder", tracks), band(200, 1000, 4), RATE)
        blocks = clap.unfold(0, 320, 320).square().mean(1)
        return float((blocks > 5 * blocks[: RATE // 320].max()).nonzero()[0]) * 0.02

    near, far = onset(-4.0), onset(4.0)
    assert 1.0 <= near <= 1.12
    assert 1.78 <= far <= 1.95


def test_fire_crackles_more_with_reach() -> None:
    def peaks(reach: float) -> int:
        tracks = still("fire", 0.7, 3.0)
        tracks.values[:, INDEX["reach"]] = reach
        high = filtered(voice("fire", tracks), band(2000, 7000), RATE).abs()
        return int((high.unfold(0, 160, 160).amax(1) > 0.03).sum())

    assert peaks(2.0) > 1.3 * peaks(-2.0)


def test_scenes_lie_where_they_should_in_the_spectrum() -> None:
    def centroid(scene: str) -> float:
        tracks = struck(scene) if scene in STRUCK else still(scene, 0.7, 3.0)
        power = torch.fft.rfft(voice(scene, tracks, 32_000)).abs().square()
        return float((power * torch.linspace(0, 16_000, power.shape[0])).sum() / power.sum())

    heard = {scene: centroid(scene) for scene in SCENES}
    assert max(heard[scene] for scene in ("explosion", "thunder", "underwater", "wind")) < 1200
    assert max(heard, key=heard.__getitem__) == "rain"
    assert 1200 < heard["waterfall"] < heard["rain"]
    assert heard["mud"] < heard["splash"]


def test_a_pair_holds_both_scenes() -> None:
    tracks = still("rain", 0.8, 2.0)
    tracks.values[:, INDEX["underwater"]] = 0.8
    sound = synthesise(tracks, seeded(3), 32_000)
    alone = synthesise(still("rain", 0.8, 2.0), seeded(3), 32_000)
    low, high = band(60, 500), band(4000, 12_000)

    def share(signal: Tensor) -> float:
        return decibels(filtered(signal, low, 32_000)) - decibels(filtered(signal, high, 32_000))

    assert share(sound) > share(alone) + 8
    assert decibels(filtered(sound, high, 32_000)) > -70


def test_soft_limit_leaves_quiet_sound_alone() -> None:
    ramp = torch.linspace(-4, 4, 801)
    limited = soft_limit(ramp)
    assert float(limited.abs().max()) <= 0.981
    assert torch.equal(limited[ramp.abs() < 0.6], ramp[ramp.abs() < 0.6])
    assert (limited.diff() >= 0).all()


def test_factor_curves_meet_the_track_at_its_points() -> None:
    tracks = draw_tracks(2.0, seeded(), scene=1)
    take = Take(tracks, seeded(), 30_000)
    assert torch.allclose(take.factor("fire")[::1000], tracks.values[:, INDEX["fire"]], atol=1e-5)


def test_demo_travels_and_comes_round() -> None:
    demo = demo_soundscape(9.0, 0, 8000)
    assert demo.shape == (72_000,)
    assert float(demo.abs().max()) <= 0.981
    assert decibels(demo) > -40
    assert torch.equal(demo, demo_soundscape(9.0, 0, 8000))
