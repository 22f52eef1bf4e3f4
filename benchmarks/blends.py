"""Words of one scene blended with the sound of another, 0.5 each: does the judge see both?

    python benchmarks/blends.py [--bundle landscape] [--pairs 20] [--seed 1] [--ways 5] [--no-refine] [--report FILE]

Each pair is a preset of a held-out wording and a held-out clip over which nothing sounds, painted as a show paints it:
as the two offsets add up (`plain`), in balance as `cymatic presets new` makes it, and refined. "Both" is both scenes
among the two, or three, that the judge of `cymatic evaluate` sees most of. Pairs, clips and landscapes are drawn from
the seed. After that, the way from one preset to another, through blends of them and through a show's own crossfade: the
largest of `STEPS` steps in medians, in W+, in the picture as the fields flow and in one whose fields stand still; also
the largest step in grey levels. Needs the extra `train`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from itertools import count, pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from engine.bundle import Bundle, find_bundle, load_bundle
from engine.offline import open_sessions, paint
from engine.painter import Painter
from engine.runtime.session import Session, open_graph
from presets.balance import Sketch, balance
from presets.blend import blend, seed_place
from presets.compose import compose, pulls
from presets.recipe import anchor
from presets.schema import Preset, Seed
from presets.sound import hear
from presets.text import Encoded, text_encoder
from training.evaluation.held_out import draw_clip
from training.evaluation.judge import Judges, for_picture, load_judges
from training.evaluation.wordings import WORDINGS
from training.refine import Part, Refiner
from training.world.factors import SCENES
from training.world.sound import SAMPLE_RATE

CLIPS, CLIP_S = 5000, 3.6  # numbers of held-out clips that no other figure hears
STEPS = 120
SETTLED_S, SHOWN_S = 0.4, 1.0


def rank(image: Sequence[NDArray[np.uint8]], judges: Judges, scenes: Sequence[int]) -> list[int]:
    """At which place, from 1, the judge sees each of these scenes."""
    pictures = torch.stack([torch.from_numpy(one[..., :3].copy()) for one in image]).permute(0, 3, 1, 2).float() / 255
    order = torch.sigmoid(judges.look(for_picture(pictures)).scenes).mean(0).argsort(descending=True).tolist()
    return [order.index(scene) + 1 for scene in scenes]


def shown(preset: Preset, bundle: Bundle, sessions: Mapping[str, Session]) -> list[NDArray[np.uint8]]:
    """What a show would paint of it in silence, ten times a second, once it has settled."""
    silence, told = np.zeros(round((SETTLED_S + SHOWN_S) * SAMPLE_RATE), np.float32), compose(preset, bundle, 0)
    frames = paint(silence, SAMPLE_RATE, bundle, sessions, told, fps=10.0)
    return [frame.image.copy() for frame in frames if frame.seconds >= SETTLED_S]


def steps(first: Preset, second: Preset, bundle: Bundle, sessions: Mapping[str, Session]) -> dict[str, float]:
    """The largest step from one to the other, of presets between them and of a show's own crossfade."""
    place = seed_place(sessions["mapping"], bundle.manifest.z_dim)
    found = {}
    for name, speed in product(("blend", "fade"), (1.0, 0.0)):
        painter = Painter(bundle, sessions, SAMPLE_RATE)
        painter.controls |= {"sound/weight": 0.0, "speed": speed}
        painter.go(compose(first, bundle, 1), 0.0)
        painter.move(0.0)
        if name == "fade":
            painter.go(compose(second, bundle, 2, STEPS / 30), 0.0)
        ways: tuple[list[Any], list[Any]] = ([], [])
        for step in range(STEPS + 1):
            now = step / 30
            if name == "blend":
                painter.go(compose(blend(first, second, step / STEPS, "mix", place), bundle, step, 0.0), now)
            ways[0].append(painter.move(now))
            ways[1].append(painter.picture()[..., :3].astype(np.float32))
        latent, picture = (np.array([np.abs(b - a).mean() for a, b in pairwise(way)]) for way in ways)
        kind = "flowing" if speed else "still"
        found[f"{name}, latent"] = round(float(latent.max() / np.median(latent[latent > 0])), 2)
        found[f"{name}, {kind} picture"] = round(float(picture.max() / np.median(picture[picture > 0])), 2)
        found[f"{name}, {kind} picture, grey levels"] = round(float(picture.max()), 2)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--bundle", default="landscape")
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--ways", type=int, default=5, help="from one preset to another")
    parser.add_argument("--no-refine", action="store_true")
    parser.add_argument("--report", type=Path, help="write the figures here as JSON")
    args = parser.parse_args()
    torch.set_num_threads(1)
    bundle, judges = load_bundle(find_bundle(args.bundle)), load_judges()
    graphs = bundle.manifest.graphs
    draws = np.random.default_rng(args.seed)
    rows, presets = [], []
    with open_sessions(bundle) as sessions, closing(open_graph(bundle, "text", "onnxruntime")) as words:
        encode = text_encoder(words, bundle.manifest.text)
        refiner = None if args.no_refine else Refiner(bundle, sessions, encode)
        for number in range(args.pairs):
            said, sounded = (int(scene) for scene in draws.choice(len(SCENES), 2, replace=False))
            text = WORDINGS[SCENES[said]][int(draws.integers(len(WORDINGS[SCENES[said]])))]
            clips = (
                draw_clip(sounded, CLIPS + 100 * args.seed + number + 10_000 * again, 10**9, CLIP_S).sound
                for again in count()
            )
            heard = next(found for clip in clips if (found := hear(sessions, bundle, clip, SAMPLE_RATE)))
            base = Seed(seed=int(draws.integers(2**31)))
            anchors = (
                anchor("text", text, 0.5, encode(text), graphs["text"].sha256),
                anchor("sound", SCENES[sounded], 0.5, heard, graphs["encoder"].sha256),
            )
            parts = [Part(a.weight, np.float32(a.embedding), np.float32(a.offset)) for a in anchors]
            sketch = Sketch(bundle, sessions, base.model_dump())
            factors = balance(sketch.paint, [part.offset for part in parts], pulls([0.5, 0.5])).factors
            offsets = {
                "plain": [part.offset for part in parts],
                "balanced": [np.float32(factor) * part.offset for factor, part in zip(factors, parts, strict=True)],
            }
            row: dict[str, Any] = {"words": text, "scenes": [SCENES[said], SCENES[sounded]]}
            if refiner is not None:
                found = refiner.refine(base.model_dump(), parts)
                row["cosines"] = {"before": found.before, "after": found.after}
                offsets["refined"] = [part.offset for part in found.parts]
            row["ranks"] = {}
            for name, moved in offsets.items():
                made = tuple(
                    anchor(old.kind, old.source, old.weight, Encoded(offset, np.float32(old.embedding), ()), old.bundle)
                    for old, offset in zip(anchors, moved, strict=True)
                )
                preset = Preset(name=f"pair-{number}", base=base, anchors=made)
                row["ranks"][name] = rank(shown(preset, bundle, sessions), judges, (said, sounded))
            presets.append(preset)
            rows.append(row)
            print(json.dumps(row), flush=True)
        ways = list(zip(presets[::4], presets[1::4], strict=False))[: args.ways]
        jumps = [steps(a, b, bundle, sessions) for a, b in ways]
    figures: dict[str, Any] = {"pairs": len(rows)}
    for name in rows[0]["ranks"]:
        figures[name] = {f"both in {top}": sum(max(row["ranks"][name]) <= top for row in rows) for top in (2, 3)}
    if jumps:
        figures["largest step"] = {name: max(jump[name] for jump in jumps) for name in jumps[0]}
    print(json.dumps(figures, indent=1))
    if args.report:
        args.report.write_text(json.dumps({"rows": rows, "jumps": jumps, **figures}, indent=1) + "\n")


if __name__ == "__main__":
    main()
