"""Held-out sounds, painted: is it their scene, how intense, at the right instant, as good as the world's pictures?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.evaluation import metrics, onsets
from training.evaluation.features import Eye
from training.evaluation.held_out import Clip, World
from training.evaluation.intensity import Followed, followed
from training.evaluation.judge import FILM_FPS, FILM_FRAMES, Judges, Seen, for_film, for_picture, windows
from training.evaluation.painting import WARM_S, Easel, Shown
from training.world.factors import SCENES
from training.world.sound import SAMPLE_RATE

STILLS_S = (2.0, 3.6, 5.2)
FINE_FPS = 30.0  # for instants: every latent step is shown
FILMS = 2  # a clip, one after the other, from `WARM_S` on
LEAST_SPREAD = 0.25  # of the mean deviation: less, and a feature that never fires in the world would drown the rest
Float64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Judged:
    """One clip after the judges have looked: its pooled scene and what every figure needs of it."""

    clip: Clip
    said: int
    calm: float
    followed: Followed
    films: Float64


def judge(clip: Clip, looks: Tensor, times: Float64, frames: Tensor, start: int, every: int, judges: Judges) -> Judged:
    """Judge a film of a clip: `looks` at `times`, and films cut from `frames` from index `start` on.

    The scene of a clip is that with the highest mean of presence over its looks.
    """
    seen = judges.look(looks)
    told = seen.intensity[:, clip.scene].double().numpy()
    step = every * FILM_FRAMES
    count = min(FILMS, (len(frames) - start) // step)
    films = judges.watch(windows(frames, [start + i * step for i in range(count)], every)).features
    return Judged(
        clip,
        pooled(seen),
        float((seen.scenes < 0).all(1).float().mean()),
        followed(clip, told, times),
        films.double().numpy(),
    )


def pooled(seen: Seen) -> int:
    """The scene of several looks: the highest mean presence."""
    return int(torch.sigmoid(seen.scenes).mean(0).argmax())


def judge_shown(clip: Clip, shown: Shown, judges: Judges) -> Judged:
    """Judge what a bundle painted of a clip."""
    start, every = round(WARM_S * shown.fps), round(shown.fps / FILM_FPS)
    return judge(clip, shown.looks, shown.look_times, shown.frames, start, every, judges)


def judge_world(clip: Clip, world: World, judges: Judges) -> Judged:
    """Judge the world's own film of a clip: what the figures would be if the painter were the world."""
    count = min(FILMS, int((clip.tracks.seconds - WARM_S) * FILM_FPS) // FILM_FRAMES)
    times = WARM_S + torch.arange(count * FILM_FRAMES) / FILM_FPS
    frames, looked = for_film(world.film(clip, times, 72)), times[::2]
    looks = for_picture(world.film(clip, looked, 144))
    return judge(clip, looks, looked.double().numpy(), frames, 0, 1, judges)


@dataclass(frozen=True, slots=True)
class Aligned:
    """Onsets (s) of a clip's sound, of what was painted of it, and of the world's own film."""

    clip: Clip
    sound: Float64
    painted: Float64
    world: Float64


def align(clip: Clip, shown: Shown, world: World) -> Aligned:
    """Find the onsets of a clip that was painted at `FINE_FPS`."""
    times = torch.arange(len(shown.frames)) / FINE_FPS
    own = for_film(world.film(clip, times, 36, smooth=True))
    return Aligned(
        clip,
        onsets.sound_onsets(clip.sound, SAMPLE_RATE),
        onsets.picture_onsets(shown.frames.numpy(), FINE_FPS),
        onsets.picture_onsets(own.numpy(), FINE_FPS),
    )


@dataclass(slots=True)
class Painted:
    """All held-out clips, painted and judged; `stills` are features `{eye: [clips, frames, D]}` of both sides."""

    judged: list[Judged]
    own: list[Judged]
    aligned: list[Aligned]
    stills: dict[str, tuple[Float64, Float64]]


def paint_all(
    easel: Easel, clips: Sequence[Clip], fine: int, world: World, judges: Judges, eyes: Mapping[str, Eye],
    tick: Callable[[], None],
) -> Painted:  # fmt: skip
    """Paint and judge every clip; the first `fine` of them at `FINE_FPS`, for their instants."""
    result = Painted([], [], [], {})
    stills_s = [second for second in STILLS_S if second < clips[0].tracks.seconds - 0.1]
    features: dict[str, tuple[list[Float64], list[Float64]]] = {name: ([], []) for name in eyes}
    for number, clip in enumerate(clips):
        instants = number < fine
        shown = easel.paint(clip.sound, number, fps=FINE_FPS if instants else FILM_FPS, stills_s=stills_s)
        result.judged.append(judge_shown(clip, shown, judges))
        result.own.append(judge_world(clip, world, judges))
        if instants:
            result.aligned.append(align(clip, shown, world))
        true = (world.pictures(clip, torch.tensor(stills_s)) * 255).round().byte()
        for name, eye in eyes.items():
            features[name][0].append(eye(shown.stills))
            features[name][1].append(eye(true))
        tick()
    result.stills = {name: (np.stack(painted), np.stack(true)) for name, (painted, true) in features.items()}
    return result


def scene_figures(painted: Painted, rng: np.random.Generator) -> dict[str, Any]:
    """Scene accuracy, its parts, its confusions; the judge's own on the world's films of the same clips."""
    said, true = (np.array(values) for values in zip(*((j.said, j.clip.scene) for j in painted.judged), strict=True))
    music = np.array([j.clip.music for j in painted.judged])
    right = said == true
    return {
        "accuracy": metrics.share(right),
        "natural": metrics.share(right[~music]),
        "with_music": metrics.share(right[music]),
        "by_scene": {name: metrics.share(right[true == i]) for i, name in enumerate(SCENES)},
        "confusion": {"rows": "sounded", "columns": "seen", "table": metrics.confusion(said, true, len(SCENES))},
        "looks_calm": metrics.mean([j.calm for j in painted.judged]),
        "world_itself": metrics.share([j.said == j.clip.scene for j in painted.own]),
        "shuffled_sound": metrics.shuffled_share(said, true, rng),
    }


def onset_figures(aligned: Sequence[Aligned]) -> dict[str, Any]:
    """AV-Align with the clip's own sound and with those of the other clips of its scene, which are as dense.

    Where a scene has one clip only, those of the other scenes take their place.
    `gain` is how much the first is above the second, for each clip; `share_of_world` the painter's in the world's.
    """
    rows: dict[str, list[float]] = {
        name: [] for name in ("painted", "painted_shuffled", "painted_gain", "world", "world_shuffled", "world_gain")
    }
    for one in aligned:
        rest = [other for other in aligned if other is not one]
        others = [other.sound for other in rest if other.clip.scene == one.clip.scene] or [o.sound for o in rest]
        for side, film in (("painted", one.painted), ("world", one.world)):
            own = onsets.av_align(one.sound, film)
            shuffled = [onsets.av_align(other, film) for other in others]
            mean = float(np.nanmean(shuffled)) if np.isfinite(shuffled).any() else np.nan
            rows[side].append(own)
            rows[f"{side}_shuffled"].append(mean)
            rows[f"{side}_gain"].append(own - mean)
    figures: dict[str, Any] = {name: metrics.mean(values) for name, values in rows.items()}
    ours, theirs = figures["painted_gain"]["value"], figures["world_gain"]["value"]
    figures["share_of_world"] = round(ours / theirs, 3) if ours is not None and theirs and theirs > 0 else None
    scenes = np.array([one.clip.scene for one in aligned])
    figures["gain_by_scene"] = {
        name: {side: metrics.mean(np.array(rows[f"{side}_gain"])[scenes == i]) for side in ("painted", "world")}
        for i, name in enumerate(SCENES)
    }
    return figures


def quality_figures(painted: Painted, eyes: Mapping[str, Eye], rng: np.random.Generator) -> dict[str, Any]:
    """KID and FID of the stills under every eye, FVD of the films; the world in halves shows what is left at zero."""
    found: dict[str, Any] = {}
    for name, (ours, true) in painted.stills.items():
        if eyes[name].standardise:
            ours, true = in_deviations(ours, true)
        flat, flat_true = ours.reshape(-1, ours.shape[2]), true.reshape(-1, true.shape[2])
        found[name] = {
            "features": eyes[name].name,
            "kid": metrics.kid(ours, true, rng),
            "fid": metrics.fid(flat, flat_true),
            "fid_world_halves": metrics.halves(flat_true, rng),
        }
    own = np.concatenate([j.films for j in painted.own])
    found["films"] = {
        "features": "the project's film judge, last hidden layer, 32 features of 16 frames 36×64 at 10 frames/s",
        "fvd": film_distance(painted.judged, painted.own),
        "fvd_world_halves": metrics.halves(own, rng),
    }
    return found


def in_deviations(features: Float64, reference: Float64) -> tuple[Float64, Float64]:
    """Both in deviations of the reference from its mean; a feature that hardly moves there counts for little."""
    middle, spread = reference.mean((0, 1)), reference.std((0, 1))
    spread = spread.clip(min=LEAST_SPREAD * spread.mean())
    return (features - middle) / spread, (reference - middle) / spread


def film_distance(painted: Sequence[Judged], own: Sequence[Judged]) -> dict[str, Any]:
    """FVD between what was painted of some clips and the world's own films of them."""
    return metrics.fid(*(np.concatenate([j.films for j in side]) for side in (painted, own)))
