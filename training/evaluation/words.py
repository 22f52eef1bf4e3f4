"""Words, painted: do they bring their scene, and do words and sound together bring both?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from presets.balance import Sketch, balance
from presets.compose import pulls
from presets.sound import hear
from presets.text import TextEncoder
from training.evaluation import metrics
from training.evaluation.held_out import SEED, draw_clip
from training.evaluation.judge import Judges
from training.evaluation.painting import LOOK_FPS, Easel, Shown
from training.evaluation.sounds import pooled
from training.evaluation.wordings import WORDINGS
from training.run import seeded
from training.world import captions, factors
from training.world.factors import SCENES
from training.world.sound import SAMPLE_RATE

SETTLED_S = 0.4
SILENCE = np.zeros(round(0.8 * SAMPLE_RATE), np.float32)
BLEND_S = 3.6
BLEND_CLIP = 1000  # numbers from here on: sounds that no other figure hears
WORLD_ITSELF = (
    "mixture_accuracy", "mixture_accuracy_in_three", "seen_mixture_accuracy", "seen_mixture_accuracy_in_three",
)  # fmt: skip
SEEDS = 10_000  # of the landscapes, apart from those of other figures


def text_figures(
    easel: Easel, encode: TextEncoder, judges: Judges, count: int, tick: Callable[[], None]
) -> dict[str, Any]:
    """Scene accuracy for `count` wordings a scene that the grammar cannot say, and for as many captions that it can.

    The captions are drawn from held-out factors of one scene. Nothing sounds meanwhile.
    """
    wordings, drawn = [], []
    for scene, name in enumerate(SCENES):
        draws = seeded(SEED, 6, scene)
        vectors = factors.draw(count, draws, calm=1.0)
        vectors[:, factors.SCENE_SLICE.start + scene] = 0.25 + 0.75 * torch.rand(count, generator=draws)
        for number in range(count):
            seed = SEEDS + 100 * scene + number
            if number < len(WORDINGS[name]):
                wordings.append((scene, _read(easel, encode, judges, WORDINGS[name][number], seed)))
            drawn.append((scene, _read(easel, encode, judges, captions.caption(vectors[number], draws), seed)))
            tick()
    said = np.array([answer == scene for scene, answer in wordings])
    return {
        "accuracy": metrics.share(said),
        "by_scene": {
            name: metrics.share([answer == scene for scene, answer in wordings if scene == i])
            for i, name in enumerate(SCENES)
        },
        "confusion": {
            "rows": "said",
            "columns": "seen",
            "table": metrics.confusion([a for _, a in wordings], [s for s, _ in wordings], len(SCENES)),
        },
        "captions": metrics.share([answer == scene for scene, answer in drawn]),
    }


def _read(easel: Easel, encode: TextEncoder, judges: Judges, text: str, seed: int) -> int:
    shown = easel.paint(SILENCE, seed, fps=LOOK_FPS, offset=encode(text).delta, warm_s=SETTLED_S)
    return pooled(judges.look(shown.looks))


def blend_figures(
    easel: Easel, encode: TextEncoder, judges: Judges, count: int, tick: Callable[[], None]
) -> dict[str, Any]:
    """Words of one scene with the sound of another: is each among the two, and the three, that the judge sees most of?

    The first `count` of all 72 ordered pairs. Words and sound have their default weights; `at_half`: a preset of the
    words and of the clip, both at weight 0.5, over which nothing sounds, in balance as `cymatic presets new` makes it.
    """
    live, still = [], []
    pairs = [(scene, stride) for stride in range(1, len(SCENES)) for scene in range(len(SCENES))]
    for scene, stride in pairs[:count]:
        name, other = SCENES[scene], (scene + stride) % len(SCENES)
        sound = draw_clip(other, BLEND_CLIP + stride, 10 * BLEND_CLIP).sound[: round(BLEND_S * SAMPLE_RATE)]
        words = encode(WORDINGS[name][stride % len(WORDINGS[name])]).delta
        seed = SEEDS + 1000 + 10 * stride + scene
        shown = easel.paint(sound, seed, fps=LOOK_FPS, offset=words)
        live.append(_ranks(judges, shown, scene, other))
        heard = hear(easel.sessions, easel.bundle, sound, SAMPLE_RATE)
        parts = (words, np.zeros_like(words) if heard is None else heard.delta)
        pulled = pulls((0.5, 0.5))
        sketch = Sketch(easel.bundle, easel.sessions, {"seed": seed})
        factors = balance(sketch.paint, parts, pulled).factors
        both = sum(np.float32(f * p) * part for f, p, part in zip(factors, pulled, parts, strict=True))
        shown = easel.paint(SILENCE, seed, fps=LOOK_FPS, offset=both, warm_s=SETTLED_S)
        still.append(_ranks(judges, shown, scene, other))
        tick()
    return {
        **_found(live),
        "at_half": _found(still),
        "chance": {"both": round(1 / 36, 4), "each": round(2 / 9, 4), "both_in_three": round(1 / 12, 4)},
        "world_itself": {name: judges.about.get(name) for name in WORLD_ITSELF},
    }


def _ranks(judges: Judges, shown: Shown, words: int, sound: int) -> tuple[int, int]:
    """At which place, from 0, the judge sees the scene of the words and that of the sound."""
    order = torch.sigmoid(judges.look(shown.looks).scenes).mean(0).argsort(descending=True).tolist()
    return order.index(words), order.index(sound)


def _found(ranks: list[tuple[int, int]]) -> dict[str, Any]:
    words, sounds = np.array(ranks).T
    return {
        "both": metrics.share((words < 2) & (sounds < 2)),
        "words": metrics.share(words < 2),
        "sound": metrics.share(sounds < 2),
        "both_in_three": metrics.share((words < 3) & (sounds < 3)),
    }
