"""Trains both judges from world pictures: `python -m training.evaluation.train_judge`, some minutes on one core.

Every picture comes from `SEED` or `PICTURE_SEED`, streams that no bundle is trained with, and half of those that the
picture judge learns from show two scenes. The judges' own accuracy is measured on further pictures; it stands in the
file's metadata.

A picture of the world is worked out point by point, so every second point of every second row of a full-size picture
can be had without the others (`thinned`). Tiles averaged down instead would lose bubbles, leaves and drops.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as nnf
from safetensors.torch import save
from torch import Tensor, nn
from tqdm import tqdm, trange

from engine.files import replace_file
from training.evaluation.judge import (
    FILE,
    FILM_FPS,
    FILM_FRAMES,
    ORDERS,
    PICTURE,
    FilmJudge,
    PictureJudge,
    for_film,
    for_picture,
)
from training.pictures import FieldTiles
from training.run import keep_memory, seeded
from training.world import factors, fields
from training.world.film import Film
from training.world.picture import render

SEED, PICTURE_SEED = 8_150_117, 4_242  # of the judges alone; of the pictures that the picture judge learns from
SIZE = (288, 512)  # the field tiles are drawn at this size
PICTURES, PICTURE_ROWS = 7200, 144
CALM, PAIRED = 0.1, 0.5  # of the pictures: without a scene, with two
FAINTEST = 0.08  # of two scenes
FILMS, FILM_ROWS = 180, 72
TESTED, TESTED_MIXTURES, TESTED_FILMS = 100, 120, 54
SEEN = 0.5  # of a scene, for it to be seen in a mixture
PICTURE_STEPS, FILM_STEPS, BATCH = 4500, 400, 16
LEARNING_RATE = 2.5e-3
BETWEEN_STROKES = 0.5  # of all pictures


def train(path: Path = FILE, *, scale: float = 1.0, progress: bool = True) -> dict[str, str]:
    """Train both judges, measure them and write their file; returns its metadata. `scale` < 1 shortens everything."""
    began = time.monotonic()
    tiles = FieldTiles(SIZE)

    def some(number: int) -> int:
        return max(2, round(scale * number))

    halves = [
        world_pictures(thinned(tiles, PICTURE_ROWS), 2 * max(1, some(PICTURES) // 4), seeded(PICTURE_SEED, half))
        for half in range(2)
    ]
    vectors, pictures = (torch.cat(part) for part in zip(*halves, strict=True))
    picture = train_picture_judge(vectors, pictures, some(PICTURE_STEPS), progress)
    film = train_film_judge(tiles, some(FILMS), some(FILM_STEPS), progress)
    about = {
        "data": f"the synthetic world, seeds {SEED} and {PICTURE_SEED}: {len(pictures)} pictures, {some(FILMS)} films",
        **measure(picture, film, tiles, some(TESTED), some(TESTED_MIXTURES), some(TESTED_FILMS)),
        "seconds": str(round(time.monotonic() - began)),
        "torch": torch.__version__,
    }
    write(path, picture, film, about)
    return about


def train_picture_judge(vectors: Tensor, pictures: Tensor, steps: int, progress: bool) -> PictureJudge:
    """A picture judge that has learned from these pictures (bytes)."""
    torch.manual_seed(SEED)
    judge = PictureJudge().to(memory_format=torch.channels_last)
    bar = trange(steps, desc="picture judge", disable=not progress)
    fit(judge, bar, lambda draws: picture_loss(judge, pictures, vectors, draws))
    standardise(judge, pictures)
    return judge


def train_film_judge(tiles: FieldTiles, count: int, steps: int, progress: bool) -> FilmJudge:
    """A film judge that has learned from `count` films of the world."""
    sparse = thinned(tiles, FILM_ROWS)
    films = [world_film(sparse, seeded(SEED, 3, number)) for number in range(count)]
    scenes, frames = torch.stack([film[0] for film in films]), torch.stack([film[1] for film in films])
    torch.manual_seed(SEED)
    judge = FilmJudge()
    bar = trange(steps, desc="film judge", disable=not progress)
    fit(judge, bar, lambda draws: film_loss(judge, frames, scenes, draws))
    standardise(judge, frames[:, :FILM_FRAMES])
    return judge


def write(path: Path, picture: PictureJudge, film: FilmJudge, about: dict[str, str]) -> None:
    """Both judges in half precision, whole or not at all."""
    state = {
        f"{name}.{key}": value.half().contiguous() if value.is_floating_point() else value
        for name, network in (("picture", picture), ("film", film))
        for key, value in network.state_dict().items()
    }
    replace_file(path, save(state, about))


def thinned(tiles: FieldTiles, rows: int) -> Tensor:
    """The field tiles at so many rows, not averaged: each point is one of the full size."""
    every = tiles.full.shape[1] // rows
    return tiles.full[:, every // 2 :: every, every // 2 :: every]


def draw_factors(count: int, draws: torch.Generator) -> Tensor:
    """Factors `[count, COUNT]` of still pictures, calm ones and mixtures of two scenes among them.

    Two neighbours, 2i and 2i + 1, are one landscape at two intensities; half of all are between strokes. Of two scenes
    one may be very faint the second time: most of what hides another is seen beside it only so.
    """
    vectors = factors.draw(-(-count // 2), draws, calm=CALM, pair=PAIRED).repeat_interleave(2, 0)[:count]
    again = vectors[1::2]
    scenes = again[:, factors.SCENE_SLICE]
    strength, paired = torch.rand(scenes.shape, generator=draws), (scenes > 0).sum(1, keepdim=True) > 1
    intensity = torch.where(paired, FAINTEST ** (1 - strength), 0.12 + 0.88 * strength)
    scenes[:] = torch.where(scenes > 0, intensity, 0.0)
    again[:, factors.INDEX["flash"]] = torch.randn(len(again), generator=draws)
    resting = torch.rand(count, generator=draws) < BETWEEN_STROKES
    vectors[resting, factors.INDEX["flash"]] = factors.REST
    return vectors


@torch.no_grad()
def world_pictures(tiles: Tensor, count: int, draws: torch.Generator) -> tuple[Tensor, Tensor]:
    """Factors `[count, COUNT]` and their pictures `[count, 3, 72, 128]` in bytes, drawn at the size of `tiles`."""
    vectors = draw_factors(count, draws)
    offsets = torch.rand(count, fields.COUNT, 2, generator=draws)
    batches = zip(vectors.split(8), offsets.split(8), strict=True)
    pictures = [for_picture(render(vector, fields.scroll(tiles, offset))) for vector, offset in batches]
    return vectors, torch.cat(pictures)


def world_film(tiles: Tensor, draws: torch.Generator, scene: int | None = None) -> tuple[Tensor, Tensor]:
    """Presence of the scenes `[9]` and `2 · FILM_FRAMES` frames `[T, 3, 36, 64]` in bytes at `FILM_FPS`."""
    count = 2 * FILM_FRAMES
    film = Film.draw(count / FILM_FPS + 0.1, draws, scene)
    frames = torch.stack(list(film.pictures(torch.arange(count) / FILM_FPS, tiles)))
    return (film.tracks.values[:, factors.SCENE_SLICE].amax(0) > 0).float(), for_film(frames)


def fit(network: nn.Module, steps: tqdm[int], loss_of: Callable[[torch.Generator], Tensor]) -> None:
    """Train a judge for so many steps and leave it ready to look."""
    optimiser = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=0.02)
    count = len(steps)
    for step in steps:
        cosine = 0.02 + 0.49 * (1 + math.cos(math.pi * step / count))
        for group in optimiser.param_groups:
            group["lr"] = LEARNING_RATE * min(1.0, (step + 1) / 20) * cosine
        loss = loss_of(seeded(SEED, 4, count, step))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
    network.eval()


def picture_loss(judge: PictureJudge, pictures: Tensor, vectors: Tensor, draws: torch.Generator) -> Tensor:
    """Which scenes are there, how intense they are, and every other factor that shows."""
    first = 2 * torch.randint(len(pictures) // 2, (BATCH // 2,), generator=draws)
    rows = torch.stack([first, first + 1], 1).flatten()  # landscapes, each at two intensities
    shown, vectors = mirrored(pictures[rows].float() / 255, vectors[rows], draws)
    seen = judge(augment(shown, draws).contiguous(memory_format=torch.channels_last))
    intensity = vectors[:, factors.SCENE_SLICE]
    present = (intensity > 0).float()
    # A faint second scene is hard to see; a missed one costs by how intense it is.
    weight = torch.where(present > 0, 0.5 + intensity, 1.0)
    found = nnf.binary_cross_entropy_with_logits(seen.scenes, present, weight=weight)
    error, weight = seen.intensity - intensity, present + 0.05
    how_intense = (error.square() * weight).sum() / weight.sum()
    more = ((error[::2] - error[1::2]).square() * present[::2]).sum() / present[::2].sum().clamp(min=1)
    rest = factors.squash(vectors[:, : factors.SCENE_SLICE.start])
    others = (seen.factors[:, : factors.SCENE_SLICE.start] - rest).square().mean()
    return 4.0 * found + 6.0 * how_intense + 6.0 * more + 2.0 * others


def mirrored(pictures: Tensor, vectors: Tensor, draws: torch.Generator) -> tuple[Tensor, Tensor]:
    """Half of the pictures left to right, with the factors that have a side."""
    turned = torch.rand(len(pictures), generator=draws) < 0.5
    vectors = vectors.clone()
    for name in ("sun_x", "event_x", "lean"):
        column = vectors[:, factors.INDEX[name]]
        vectors[:, factors.INDEX[name]] = torch.where(turned, -column, column)
    return torch.where(turned.view(-1, 1, 1, 1), pictures.flip(3), pictures), vectors


def film_loss(judge: FilmJudge, films: Tensor, present: Tensor, draws: torch.Generator) -> Tensor:
    """Which scenes are there, and in which order the frames run."""
    rows = torch.randint(len(films), (BATCH,), generator=draws)
    order = torch.randint(len(ORDERS), (BATCH,), generator=draws)
    chosen = zip(films[rows].float() / 255, order.tolist(), strict=True)
    shown = torch.stack([ordered(film, kind, draws) for film, kind in chosen])
    gain = 1 + 0.15 * (torch.rand(BATCH, 1, 3, 1, 1, generator=draws) - 0.5)
    seen = judge((shown * gain).clamp(0, 1))
    found = nnf.binary_cross_entropy_with_logits(seen.scenes, present[rows])
    return 4.0 * found + nnf.cross_entropy(seen.order, order)


def ordered(film: Tensor, kind: int, draws: torch.Generator) -> Tensor:
    """`FILM_FRAMES` of the twice as many frames of `film`, in one of `ORDERS`."""
    start = int(torch.randint(FILM_FRAMES, (1,), generator=draws))
    steps = torch.arange(start, start + FILM_FRAMES)
    match ORDERS[kind]:
        case "backward":
            steps = steps.flip(0)
        case "shuffled":
            steps = steps[torch.randperm(FILM_FRAMES, generator=draws)]
        case "frozen":
            steps = steps[:1].expand(FILM_FRAMES)
        case "twice as fast":
            steps = 2 * torch.arange(FILM_FRAMES)
    return film[steps]


def augment(pictures: Tensor, draws: torch.Generator) -> Tensor:
    """A little softer, shifted, coloured, noisy: what a judge of meaning must not mind. `[B, 3, 72, 128]` in 0..1."""
    height, width = PICTURE
    soft = 1.2 + 1.6 * float(torch.rand(1, generator=draws))
    small = nnf.interpolate(pictures, (round(height / soft), round(width / soft)), mode="area")
    blurred = nnf.interpolate(small, PICTURE, mode="bilinear", align_corners=False)
    chosen = (torch.rand(len(pictures), 1, 1, 1, generator=draws) < 0.4).float()
    pictures = torch.lerp(pictures, blurred, chosen)
    part = 0.92 + 0.08 * torch.rand(2, generator=draws)
    h, w = round(height * float(part[0])), round(width * float(part[1]))
    y, x = (int(torch.randint(room + 1, (1,), generator=draws)) for room in (height - h, width - w))
    pictures = nnf.interpolate(pictures[:, :, y : y + h, x : x + w], PICTURE, mode="bilinear", align_corners=False)
    gain, lift = torch.rand(2, len(pictures), 3, 1, 1, generator=draws) - 0.5
    grain = 0.03 * torch.rand(len(pictures), 1, 1, 1, generator=draws)
    pictures = pictures * (1 + 0.2 * gain) + 0.06 * lift + grain * torch.randn(pictures.shape, generator=draws)
    return pictures.clamp(0, 1)


@torch.no_grad()
def standardise(judge: PictureJudge | FilmJudge, inputs: Tensor) -> None:
    """Set the mean and deviation of the features over the inputs (bytes)."""
    seen = torch.cat([judge(part.float() / 255).features for part in inputs.split(64)])
    judge.mean.copy_(seen.mean(0))
    spread = seen.std(0)
    judge.deviation.copy_(spread.clamp(min=0.25 * float(spread.mean())))


@torch.no_grad()
def mixtures(tiles: Tensor, count: int, draws: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Pictures of two scenes `[count, 3, 72, 128]` in bytes, which two `[count, 2]`, how much of each is seen.

    Seen of a scene: how much the picture changes when it is taken out, as a part of what it changes when it is alone.
    """
    vectors = factors.draw(count, draws, calm=0.0, pair=1.0)
    vectors[torch.rand(count, generator=draws) < BETWEEN_STROKES, factors.INDEX["flash"]] = factors.REST
    offsets = torch.rand(count, fields.COUNT, 2, generator=draws)
    which = vectors[:, factors.SCENE_SLICE].topk(2, 1).indices.sort(1).values
    sides = []
    for out in (which[:, :0], which[:, :1], which[:, 1:], which):
        left = vectors.clone()
        left[:, factors.SCENE_SLICE].scatter_(1, out, 0.0)
        batches = zip(left.split(8), offsets.split(8), strict=True)
        sides.append(torch.cat([for_picture(render(v, fields.scroll(tiles, o))) for v, o in batches]))
    both, second, first, none = (side.float() for side in sides)
    changes = [(a - b).abs().mean((1, 2, 3)) for a, b in ((both, second), (first, none), (both, first), (second, none))]
    seen = torch.stack([taken / alone.clamp(min=1e-3) for taken, alone in (changes[:2], changes[2:])], 1)
    return sides[0], which, seen


@torch.no_grad()
def measure(
    picture: PictureJudge, film: FilmJudge, tiles: FieldTiles, pictures: int, pairs: int, films: int
) -> dict[str, str]:
    """How right the judges are about world pictures and films that they have not learned from.

    Single scenes at full size, the rest as the judges learned it: mixtures, and which of two pictures of one landscape
    is the more intense.
    """

    def right(answers: Tensor) -> str:
        return f"{float(answers.float().mean()):.3f}" if len(answers) else "none"

    draws, thin = seeded(SEED, 5), thinned(tiles, PICTURE_ROWS)
    vectors = factors.draw(pictures, draws, pair=0.0)
    vectors[torch.rand(pictures, generator=draws) < BETWEEN_STROKES, factors.INDEX["flash"]] = factors.REST
    offsets = torch.rand(pictures, fields.COUNT, 2, generator=draws)
    batches = zip(vectors.split(8), offsets.split(8), strict=True)
    shown = torch.cat([for_picture(render(v, fields.scroll(tiles.full, o))) for v, o in batches])
    scenes, intensity = picture(shown.float() / 255).scenes, vectors[:, factors.SCENE_SLICE]
    calm = (intensity == 0).all(1)

    mixed, which, seen = mixtures(thin, pairs, seeded(SEED, 9))
    order = picture(mixed.float() / 255).scenes.argsort(1, descending=True).argsort(1)
    worse = order.gather(1, which).amax(1)
    there = (seen >= SEEN).all(1)

    vectors, shown = world_pictures(thin, 3 * pictures, seeded(SEED, 8))
    intensities = vectors[:, factors.SCENE_SLICE]
    leading = intensities.argmax(1, keepdim=True)
    told = torch.cat([picture(part.float() / 255).intensity for part in shown.split(64)]).gather(1, leading)[:, 0]
    true = intensities.gather(1, leading)[:, 0]
    further = ((intensities[::2] > 0).sum(1) == 1) & ((true[::2] - true[1::2]).abs() > 0.1)

    draws = seeded(SEED, 6)
    sparse = thinned(tiles, FILM_ROWS)
    drawn = [world_film(sparse, seeded(SEED, 7, number), scene=number % 9) for number in range(films)]
    order = torch.randint(len(ORDERS), (films,), generator=draws)
    cut = [ordered(f.float() / 255, k, draws) for (_, f), k in zip(drawn, order.tolist(), strict=True)]
    watched = film(torch.stack(cut))
    return {
        "tested": f"{int((~calm).sum())} pictures of one scene, {int(calm.sum())} calm, {pairs} mixtures, in "
        f"{int(there.sum())} of which at least half of each scene is seen; {int(further.sum())} pairs of intensities; "
        f"{films} films",
        "scene_accuracy": right(scenes.argmax(1)[~calm] == intensity.argmax(1)[~calm]),
        "calm_accuracy": right((scenes[calm] < 0).all(1)),
        "mixture_accuracy": right(worse < 2),
        "mixture_accuracy_in_three": right(worse < 3),
        "seen_mixture_accuracy": right(worse[there] < 2),
        "seen_mixture_accuracy_in_three": right(worse[there] < 3),
        "intensity_order_accuracy": right(((told[::2] > told[1::2]) == (true[::2] > true[1::2]))[further]),
        "film_scene_accuracy": right(watched.scenes.argmax(1) == torch.stack([s for s, _ in drawn]).argmax(1)),
        "film_order_accuracy": right(watched.order.argmax(1) == order),
    }


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=FILE, help="file to write (default: the one that is shipped)")
    parser.add_argument("--scale", type=float, default=1.0, help="less than 1 trains shorter (default: 1)")
    args = parser.parse_args()
    keep_memory()
    train(args.out, scale=args.scale)


if __name__ == "__main__":
    main()
