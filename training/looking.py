"""Stage: F_v looks on. Pictures of two scenes at once are what clips have few of, and what a blend shows.

The joint embedding learns from clips, with pictures drawn from fields that were averaged down. Here F_v alone goes on
with pictures that are drawn large and averaged then, as those of a bundle are, half of them of two scenes, of which one
may be faint. Each is to lie where F_t puts what is said of it, the mean of `CAPTIONS` sentences; F_a and F_t stay as
they are. Some are made softer, all are recoloured and grained a little: what it will look at is painted, not drawn.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as nnf
from torch import Tensor
from tqdm import tqdm

from training import distributed
from training.clips import PICTURE, tokens_for
from training.device import mixed, pick
from training.embedding import JointEmbedding
from training.losses import cosine_distance, symmetric_contrastive
from training.pictures import FieldTiles
from training.run import Run, seeded, streams
from training.scales import Scale
from training.world import factors, fields
from training.world.picture import render

LEARNING_RATE, WARM_UP = 1e-3, 100
BATCHES, CAPTIONS = 2, 4  # pictures a step, in batches of the scale; sentences a picture
PAIRED, FAINTEST = 0.5, 0.08  # of the pictures: with two scenes; of two scenes
BETWEEN_STROKES = 0.5  # of all pictures
TEMPERATURE = 20.0
SIZE = (4 * PICTURE[0], 4 * PICTURE[1])  # of the tiles at most, of which every second point is drawn
DRAWN = 16  # pictures at a time
LOG_EVERY, SAVE_EVERY = 50, 250


def train(run: Run, scale: Scale, joint: JointEmbedding, *, progress: bool = True) -> None:
    """Run or resume it: `joint.image` looks on in its place, and is frozen again."""
    device, total = pick(), scale.looking_steps
    torch.manual_seed(scale.seed + 5)
    eye = joint.image.to(device).train().requires_grad_(True)
    optimiser = torch.optim.AdamW(eye.parameters(), lr=LEARNING_RATE, weight_decay=0.02)
    state = run.restore("looking", image=eye, optimiser=optimiser)
    done = int(state["step"]) if state else 0
    if done < total:
        run.rewind("looking", done)
        pictures, goals = lessons(scale, joint, progress)

    def save(step: int) -> None:
        run.save("looking", {"image": eye.state_dict(), "optimiser": optimiser.state_dict(), "step": step})

    for step in tqdm(range(done, total), desc="looking", disable=not progress):
        rate = LEARNING_RATE * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / total)))
        for group in optimiser.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / WARM_UP)
        draws = streams(BATCHES * scale.batch, scale.seed, 56, step)
        rows = torch.cat([torch.randint(len(pictures), (1,), generator=each) for each in draws])
        shown = retouched(pictures[rows].float() / 255, draws)
        with mixed(device):
            seen = eye((2.0 * shown - 1.0).to(device, memory_format=torch.channels_last))
        seen, wanted = distributed.gather(seen.float()), distributed.gather(goals[rows].to(device))
        loss = symmetric_contrastive(seen, wanted, torch.tensor(TEMPERATURE, device=device))
        loss = loss + 4.0 * cosine_distance(seen, wanted)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        distributed.average_gradients(list(eye.parameters()))
        optimiser.step()
        if step % LOG_EVERY == 0:
            run.log("looking", step=step, loss=loss.item(), cos=(seen * wanted).sum(1).mean().item())
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == total:
            save(step + 1)
    joint.freeze()


@torch.no_grad()
def lessons(scale: Scale, joint: JointEmbedding, progress: bool) -> tuple[Tensor, Tensor]:
    """World pictures `[N, 3, 72, 128]` in bytes, and where F_t puts what is said of each, `[N, E]` of unit length."""
    size = min(SIZE, scale.generator.size)
    every = max(1, 2 * size[0] // SIZE[0])
    # Points, not means: these would lose bubbles, leaves and drops.
    tiles = FieldTiles(size).full[:, every // 2 :: every, every // 2 :: every]
    device = next(joint.text.parameters()).device
    pictures, goals = [], []
    for first in tqdm(range(0, scale.looking_pictures, DRAWN), desc="pictures to look at", disable=not progress):
        draws = [seeded(scale.seed, 55, first + i) for i in range(min(DRAWN, scale.looking_pictures - first))]
        vectors = torch.cat([draw_factors(each) for each in draws])
        offsets = torch.stack([torch.rand(fields.COUNT, 2, generator=each) for each in draws])
        large = render(vectors, fields.scroll(tiles, offsets)).clamp(0.0, 1.0)
        pictures.append((nnf.interpolate(large, PICTURE, mode="area") * 255).round().byte())
        said = [joint.text(tokens_for(vectors, draws).to(device)) for _ in range(CAPTIONS)]
        goals.append(nnf.normalize(torch.stack(said).mean(0), dim=1).float().cpu())
    return torch.cat(pictures), torch.cat(goals)


def draw_factors(draws: torch.Generator) -> Tensor:
    """Factors `[1, COUNT]` of one still picture. What hides another scene is seen beside it only while it is faint."""
    vector = factors.draw(1, draws, pair=PAIRED)
    scenes = vector[:, factors.SCENE_SLICE]
    if int((scenes > 0).sum()) > 1:
        scenes[:] = torch.where(scenes > 0, FAINTEST ** torch.rand(scenes.shape, generator=draws), 0.0)
    if float(torch.rand(1, generator=draws)) < BETWEEN_STROKES:
        vector[:, factors.INDEX["flash"]] = factors.REST
    return vector


def retouched(pictures: Tensor, draws: Sequence[torch.Generator]) -> Tensor:
    """Pictures `[B, 3, H, W]` in 0..1, some softer, all a little recoloured and grained."""
    height, width = pictures.shape[2:]
    small = nnf.interpolate(pictures, (height * 3 // 5, width * 3 // 5), mode="area")
    soft = nnf.interpolate(small, (height, width), mode="bilinear", align_corners=False)
    numbers = torch.stack([torch.rand(8, generator=each) for each in draws])
    mix = ((numbers[:, 0] - 0.4) / 0.6).clamp(min=0.0).view(-1, 1, 1, 1)
    gain, lift = (numbers[:, part, None, None] - 0.5 for part in (slice(1, 4), slice(4, 7)))
    grain = torch.stack([torch.randn(pictures.shape[1:], generator=each) for each in draws])
    grain = 0.03 * numbers[:, 7].view(-1, 1, 1, 1) * grain
    return (torch.lerp(pictures, soft, mix) * (1 + 0.2 * gain) + 0.06 * lift + grain).clamp(0.0, 1.0)
