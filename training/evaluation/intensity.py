"""Sounds whose intensity goes through its whole range: does the picture's go with it?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.evaluation import metrics, onsets
from training.evaluation.held_out import Clip, World, draw_sweep
from training.evaluation.judge import Judges, for_picture
from training.evaluation.painting import LOOK_FPS, Easel
from training.world.factors import SCENE_SLICE, SCENES
from training.world.sound import SAMPLE_RATE

SEEDS = 40_000  # of the landscapes
Float64 = NDArray[np.float64]


class Followed(NamedTuple):
    """Spearman's correlation of what the judge sees with a clip's track of intensity, and with its loudness."""

    track: float
    loudness: float


def followed(clip: Clip, told: Float64, times: Float64) -> Followed:
    """`told [N]`: the judge's intensity of the scene that sounds, at `times [N]` (s)."""
    track = clip.tracks.at(torch.from_numpy(times).float())[:, SCENE_SLICE.start + clip.scene].double().numpy()
    return Followed(
        metrics.spearman(told, track), metrics.spearman(told, onsets.loudness(clip.sound, SAMPLE_RATE, times))
    )


def rows(found: Sequence[Followed]) -> dict[str, Any]:
    """Means over clips, as rows of the report."""
    return {name: metrics.mean([getattr(one, name) for one in found]) for name in Followed._fields}


def sweep_figures(easel: Easel, world: World, judges: Judges, count: int, tick: Callable[[], None]) -> dict[str, Any]:
    """`count` sweeps a scene, painted and as the world itself shows them."""
    painted: list[list[Followed]] = [[] for _ in SCENES]
    own: list[list[Followed]] = [[] for _ in SCENES]

    def follow(clip: Clip, looks: Tensor, times: Float64) -> Followed:
        return followed(clip, judges.look(looks).intensity[:, clip.scene].double().numpy(), times)

    for number in range(count):
        for scene in range(len(SCENES)):
            clip = draw_sweep(scene, number)
            shown = easel.paint(clip.sound, SEEDS + 100 * scene + number, fps=LOOK_FPS)
            painted[scene].append(follow(clip, shown.looks, shown.look_times))
            film = for_picture(world.film(clip, torch.from_numpy(shown.look_times).float(), 144))
            own[scene].append(follow(clip, film, shown.look_times))
            tick()
    return {
        **rows(list(chain.from_iterable(painted))),
        "by_scene": {
            name: {"painted": rows(painted[i]), "world_itself": rows(own[i])} for i, name in enumerate(SCENES)
        },
        "world_itself": rows(list(chain.from_iterable(own))),
    }
