"""Held-out music, painted: does the picture follow the sections, and the beat?"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from training.evaluation import metrics, onsets
from training.evaluation.held_out import SECTIONS, Music, draw_music
from training.evaluation.judge import Judges
from training.evaluation.painting import Easel, Shown
from training.evaluation.sounds import FINE_FPS
from training.world.factors import SCENES
from training.world.sound import SAMPLE_RATE

HEARD_S = 1.5  # after a section's start: the encoder's window then holds nothing of the one before
SHIFTS = 40
SEEDS = 20_000  # of the landscapes


def music_figures(
    easel: Easel, judges: Judges, tracks: int, rng: np.random.Generator, tick: Callable[[], None]
) -> dict[str, Any]:
    """Shares of time, what a new section does to the picture, and onsets and beats against the same ones shifted."""
    looked: list[int] = []
    sections: list[list[tuple[int, int]]] = []
    delays: list[float] = []
    rows: dict[str, list[float]] = {"onsets": [], "onsets_shuffled": [], "beats": [], "beats_shuffled": []}
    for number in range(tracks):
        music = draw_music(number)
        shown = easel.paint(music.sound, SEEDS + number, fps=FINE_FPS)
        presence = torch.sigmoid(judges.look(shown.looks).scenes).numpy()
        looked += presence.argmax(1).tolist()
        heard = []
        for scene, begin, end in music.sections:
            times = shown.look_times
            said = int(presence[(times >= begin + HEARD_S) & (times < end)].mean(0).argmax())
            heard.append((scene, said))
            if begin > 0 and said == scene:
                inside = (times >= begin) & (times < end)
                delays.append(float((times[inside] - begin)[presence[inside].argmax(1) == scene][0]))
        sections.append(heard)
        _align(music, shown, rng, rows)
        tick()
    pairs = [(before, after) for heard in sections for before, after in pairwise(heard)]
    shares = metrics.shares(looked, SCENES)
    gains = np.subtract(rows["onsets"], rows["onsets_shuffled"])
    return {
        "tracks": tracks,
        "sections": SECTIONS * tracks,
        "accuracy": metrics.share([said == scene for heard in sections for scene, said in heard]),
        "share_of_time": shares,
        "largest_share": max(shares.values()),
        "change_seen": metrics.share([before[1] != after[1] for before, after in pairs]),
        "change_right": metrics.share([before[1] != after[1] == after[0] for before, after in pairs]),
        "delay_s": {"median": round(float(np.median(delays)), 2) if delays else None, "n": len(delays)},
        **{name: metrics.mean(values) for name, values in rows.items()},
        "onset_gain": metrics.mean(gains),
        "beat_gain": metrics.mean(np.subtract(rows["beats"], rows["beats_shuffled"])),
    }


def _align(music: Music, shown: Shown, rng: np.random.Generator, rows: dict[str, list[float]]) -> None:
    """AV-Align of the film with the track's onsets and with its beats; shuffled: the same times shifted, wrapping."""
    film = onsets.picture_onsets(shown.frames.numpy(), FINE_FPS)
    length = len(music.sound) / SAMPLE_RATE
    for name, times in (("onsets", onsets.sound_onsets(music.sound, SAMPLE_RATE)), ("beats", music.beats)):
        rows[name].append(onsets.av_align(times, film))
        shifts = rng.uniform(1.0, length - 1.0, SHIFTS)
        rows[f"{name}_shuffled"].append(float(np.mean([onsets.av_align((times + s) % length, film) for s in shifts])))
