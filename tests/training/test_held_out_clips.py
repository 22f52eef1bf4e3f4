"""What bundles are judged by: the same every time, met by no training, music on the beat."""

from __future__ import annotations

import numpy as np
import torch
from one_thread import one_thread  # noqa: F401

from training.evaluation import held_out, onsets
from training.evaluation.held_out import SECTIONS, World, draw_clip, draw_music
from training.world.factors import AMBIENT_SLICE, SCENE_SLICE, SCENES
from training.world.sound import SAMPLE_RATE


def test_a_clip_is_the_same_clip_every_time_and_another_number_another() -> None:
    first, again, other = draw_clip(3, 1, 12), draw_clip(3, 1, 12), draw_clip(3, 2, 12)
    assert np.array_equal(first.sound, again.sound)
    assert not np.array_equal(first.sound, other.sound)
    assert len(first.sound) == round(held_out.SECONDS * SAMPLE_RATE)
    scenes = first.tracks.values[:, SCENE_SLICE]
    assert (scenes[:, 3] > 0).all()
    assert int((scenes > 0).any(0).sum()) == 1


def test_a_third_of_the_clips_holds_music() -> None:
    assert [draw_clip(0, number, 3).music for number in range(3)] == [False, False, True]


def test_tracks_have_sections_on_the_bar_and_all_scenes_take_turns() -> None:
    tracks = [draw_music(number) for number in range(3)]
    scenes = [scene for music in tracks for scene, _, _ in music.sections]
    assert sorted(scenes) == sorted(2 * list(range(len(SCENES))))
    for music in tracks:
        assert len(music.sections) == SECTIONS
        assert all(before[0] != after[0] for before, after in zip(music.sections, music.sections[1:], strict=False))
        beat = music.beats[1] - music.beats[0]
        assert 0.4 <= beat <= 60 / 84
        for _, begin, end in music.sections:
            assert np.abs(music.beats - begin).min() < 1e-6
            assert end - begin == np.float64(16 * beat) or abs(end - begin - 16 * beat) < 1e-9
        assert abs(len(music.sound) / SAMPLE_RATE - music.sections[-1][2]) < 0.2
        assert np.abs(music.sound).max() <= 0.99
    heard = [onsets.sound_onsets(music.sound, SAMPLE_RATE) for music in tracks]
    own = np.mean([onsets.av_align(m.beats, h, 0.05) for m, h in zip(tracks, heard, strict=True)])
    shifted = np.mean([onsets.av_align(m.beats + 0.17, h, 0.05) for m, h in zip(tracks, heard, strict=True)])
    assert own > shifted + 0.1


def test_the_world_paints_its_own_films_and_pictures() -> None:
    world, clip = World(), draw_clip(SCENES.index("fire"), 0, 3)
    film = world.film(clip, torch.arange(4) / 10, 36)
    assert film.shape == (4, 3, 36, 64)
    assert torch.equal(film, world.film(clip, torch.arange(4) / 10, 36))
    assert float((film[1:] - film[:-1]).abs().mean()) > 1e-3
    before = clip.tracks.values.clone()
    pictures = world.pictures(clip, torch.tensor([2.0, 4.0]))
    assert pictures.shape == (2, 3, *held_out.FULL_SIZE)
    assert torch.equal(clip.tracks.values, before)
    assert AMBIENT_SLICE.stop == 12
