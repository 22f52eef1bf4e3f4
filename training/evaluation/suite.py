"""Everything that is measured of one bundle, as one report, and the bars that it should clear."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from engine.bundle import MANIFEST, Bundle
from engine.errors import BundleError
from engine.offline import open_sessions
from engine.runtime.session import open_graph
from presets.text import TextEncoder, text_encoder
from training.evaluation import intensity, metrics, onsets
from training.evaluation.features import Eye, FileEye, JudgeEye, TextureEye
from training.evaluation.held_out import SECONDS, SEED, World, draw_clip
from training.evaluation.judge import Judges, load_judges
from training.evaluation.music import music_figures
from training.evaluation.painting import LOOK_FPS, WARM_S, Easel
from training.evaluation.sounds import (
    FINE_FPS,
    Judged,
    Painted,
    film_distance,
    judge_shown,
    onset_figures,
    paint_all,
    quality_figures,
    scene_figures,
)
from training.evaluation.words import blend_figures, text_figures
from training.world.factors import SCENES
from training.world.sound import SAMPLE_RATE

SCHEMA = 1
FIRST_KID = 0.04241
"""KID under picture features of the first bundle that was shipped, measured with earlier judges and pictures of an
earlier world: its graphs do not run in today's engine."""
SEEDS = 30_000  # of the silent landscapes
CHANCE = 1 / len(SCENES)


@dataclass(frozen=True, slots=True)
class Extent:
    """How much is measured. Of each scene: `clips` of `seconds`, `sweeps`, `wordings`. In all: `fine` clips painted at
    every latent step, `controls` clips once more without training, `silent` landscapes, `tracks` of music, `blends`."""

    clips: int
    seconds: float
    sweeps: int
    wordings: int
    fine: int
    controls: int
    silent: int
    tracks: int
    blends: int


FULL = Extent(clips=12, seconds=SECONDS, sweeps=4, wordings=12, fine=27, controls=27, silent=18, tracks=3, blends=72)
QUICK = Extent(clips=1, seconds=3.5, sweeps=0, wordings=1, fine=2, controls=2, silent=3, tracks=0, blends=3)


def evaluate(
    bundle: Bundle,
    extent: Extent = FULL,
    *,
    runtime: str = "openvino",
    threads: int | None = None,
    features: Path | None = None,
    judges: Judges | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Measure a bundle; returns the report, plain JSON values.

    Raises BundleError when the bundle's scenes are not the world's, RuntimeUnavailable as `open_graph` does, and
    CymaticError for a feature network that cannot be used.
    """
    if tuple(bundle.manifest.scenes) != SCENES:
        raise BundleError(f"bundle {bundle.folder} has scenes of its own; only the world's nine can be judged")
    judges = judges or load_judges()
    began = time.monotonic()
    with contextlib.ExitStack() as opened:
        sessions = opened.enter_context(open_sessions(bundle, runtime, threads))
        precision = sessions["generator"].precision
        words = open_graph(bundle, "text", runtime, threads=threads)
        opened.callback(words.close)
        eyes: dict[str, Eye] = {"picture": JudgeEye(judges), "texture": TextureEye(judges)}
        if features is not None:
            eye = FileEye(features)
            opened.callback(eye.close)
            eyes["file"] = eye
        bar = opened.enter_context(tqdm(total=_steps(extent), desc="evaluate", disable=not progress))
        encode = text_encoder(words, bundle.manifest.text)
        figures = _figures(Easel(bundle, sessions), encode, judges, eyes, extent, lambda: bar.update() and None)
    return {
        "schema": SCHEMA,
        "bundle": {
            "name": bundle.manifest.name,
            "sha256": hashlib.sha256((bundle.folder / MANIFEST).read_bytes()).hexdigest(),
            "image": [bundle.manifest.image.height, bundle.manifest.image.width],
        },
        "judges": {"sha256": judges.sha256, **judges.about},
        "method": {
            "seed": SEED,
            "extent": asdict(extent),
            "looks_per_s": LOOK_FPS,
            "looks_after_s": WARM_S,
            "onset_fps": FINE_FPS,
            "onset_window_s": onsets.WITHIN_S,
            "runtime": runtime,
            "precision": precision,
            "chance": round(CHANCE, 4),
        },
        **figures,
        "bars": bars(figures),
        "seconds": round(time.monotonic() - began, 1),
    }


def _steps(extent: Extent) -> int:
    a_scene = extent.clips + extent.sweeps + extent.wordings
    return len(SCENES) * a_scene + extent.controls + extent.silent + extent.tracks + extent.blends


def _figures(
    easel: Easel, encode: TextEncoder, judges: Judges, eyes: dict[str, Eye], extent: Extent, tick: Callable[[], None]
) -> dict[str, Any]:
    rng = np.random.default_rng(SEED)
    clips = [
        draw_clip(scene, number, extent.clips, extent.seconds)
        for number in range(extent.clips)
        for scene in range(len(SCENES))
    ]
    world = World()
    painted = paint_all(easel, clips, extent.fine, world, judges, eyes, tick)
    scenes = scene_figures(painted, rng)
    return {
        "scenes": scenes,
        "intensity": {
            "sweeps": intensity.sweep_figures(easel, world, judges, extent.sweeps, tick) if extent.sweeps else None,
            "clips": intensity.rows([judged.followed for judged in painted.judged]),
            "clips_world_itself": intensity.rows([judged.followed for judged in painted.own]),
        },
        "onsets": onset_figures(painted.aligned),
        "quality": quality_figures(painted, eyes, rng),
        "music": music_figures(easel, judges, extent.tracks, rng, tick) if extent.tracks else None,
        "text": text_figures(easel, encode, judges, extent.wordings, tick),
        "blends": blend_figures(easel, encode, judges, extent.blends, tick),
        "controls": {
            "shuffled_sound": scenes.pop("shuffled_sound"),
            "no_sound": _silence(easel, judges, extent.silent, tick),
            "untrained_recurrent_step": _untrained(easel, judges, painted, extent.controls, tick),
        },
    }


def _silence(easel: Easel, judges: Judges, count: int, tick: Callable[[], None]) -> dict[str, Any]:
    """Calm landscapes that hear nothing: how many look calm, and what the others are taken for."""
    sound = np.zeros(round((WARM_S + 1.5) * SAMPLE_RATE), np.float32)
    calm, said = [], []
    for number in range(count):
        presence = judges.look(easel.paint(sound, SEEDS + number, fps=LOOK_FPS).looks).scenes.mean(0)
        calm.append(bool((presence < 0).all()))
        said.append(int(presence.argmax()))
        tick()
    taken_for = [scene for scene, quiet in zip(said, calm, strict=True) if not quiet]
    return {"looks_calm": metrics.share(calm), "else_taken_for": [SCENES[scene] for scene in taken_for]}


def _untrained(easel: Easel, judges: Judges, painted: Painted, count: int, tick: Callable[[], None]) -> dict[str, Any]:
    """The first `count` clips once more, over the same landscapes, by a step that has learned nothing."""
    fresh = easel.without_training()
    trained, own, again = painted.judged[:count], painted.own[:count], []
    for number, clip in enumerate(judged.clip for judged in trained):
        again.append(judge_shown(clip, fresh.paint(clip.sound, number), judges))
        tick()

    def of(judged: Sequence[Judged]) -> dict[str, Any]:
        return {
            "accuracy": metrics.share([j.said == j.clip.scene for j in judged]),
            "intensity": intensity.rows([j.followed for j in judged])["track"],
            "fvd": film_distance(judged, own),
        }

    return {**of(again), "trained_on_the_same_clips": of(trained)}


def bars(figures: dict[str, Any]) -> list[dict[str, Any]]:
    """What a shipped bundle should reach: rows of `name`, `value`, `bar`, `met` (None where nothing was measured)."""
    music, sweeps = figures["music"] or {}, figures["intensity"]["sweeps"] or {}
    rows: list[tuple[str, float | None, str, float]] = [
        ("scene accuracy", figures["scenes"]["accuracy"]["value"], ">=", 0.85),
        ("shuffled sound, points from chance", _off_chance(figures["controls"]["shuffled_sound"]["value"]), "<=", 0.05),
        ("intensity, Spearman", (sweeps.get("track") or {}).get("value"), ">=", 0.6),
        ("AV-Align over shuffled, less half the world's", _over_half(figures["onsets"]), ">=", 0.0),
        ("text accuracy, held-out wordings", figures["text"]["accuracy"]["value"], ">=", 0.85),
        ("music, largest share of one scene", music.get("largest_share"), "<=", 0.6),
        ("music, AV-Align over shuffled", (music.get("onset_gain") or {}).get("value"), ">", 0.0),
        ("KID, share of the first bundle's", _of_first(figures["quality"]["picture"]["kid"]["value"]), "<=", 0.25),
    ]
    return [
        {"name": name, "value": value, "bar": f"{sign} {bar:g}", "met": _meets(value, sign, bar)}
        for name, value, sign, bar in rows
    ]


def _off_chance(value: float | None) -> float | None:
    return None if value is None else round(abs(value - CHANCE), 4)


def _over_half(onsets: dict[str, Any]) -> float | None:
    """A difference and no share, for the world's own films may stand no higher than shuffled ones."""
    ours, theirs = onsets["painted_gain"]["value"], onsets["world_gain"]["value"]
    return None if ours is None or theirs is None else round(ours - 0.5 * theirs, 4)


def _of_first(kid: float) -> float:
    """The estimate is unbiased: where nothing is left to improve it falls below zero as often as above."""
    return round(max(kid, 0.0) / FIRST_KID, 4)


def _meets(value: float | None, sign: str, bar: float) -> bool | None:
    if value is None:
        return None
    return {">=": value >= bar, "<=": value <= bar, ">": value > bar}[sign]
