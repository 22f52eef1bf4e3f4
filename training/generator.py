"""Stage: the generator. Taught by the world's factors and fields, growing in size, adversarial last for crispness."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as nnf
from torch import Tensor
from tqdm import tqdm

from engine.errors import CymaticError
from training import distributed
from training.device import mixed, pick
from training.losses import PathLength, discriminator_loss, generator_loss, r1_penalty, teach_loss
from training.networks import stylegan2, stylegan3
from training.networks.discriminators import ImageDiscriminator
from training.networks.generators import Generator, create
from training.networks.places import Part
from training.networks.stylegan2 import CELL, cut, finer
from training.pictures import Batch, FieldTiles, WorldPictures
from training.run import Ema, Run, grad_norm, seeded, streams
from training.scales import Phase, Scale
from training.world import factors
from training.world import fields as textures
from training.world.picture import render

LEARNING_RATE, PLACES_RATE = 5e-3, 2e-4
FLOOR = 0.05  # the cosine ends at this share of the start
EMA_DECAY = 0.998
LOG_EVERY, SAVE_EVERY_S = 50, 240.0
SAVE_EVERY = 25  # steps of the adversarial stretch
REACH = 8  # pixels of a part that lack what is beyond its cut
R1_EVERY, R1_WEIGHT = 16, 5.0
PATH_EVERY, PATH_WEIGHT, PATH_STEP = 8, 2.0, 1.0
ADVERSARIAL_WEIGHT = 0.05


@dataclass(slots=True)
class Lesson:
    """What every step works on, and what its checkpoint holds."""

    run: Run
    scale: Scale
    generator: Generator
    optimiser: torch.optim.Adam
    ema: Ema
    tiles: FieldTiles
    images: int = 0  # that the generator has painted, in all processes
    smooth: float | None = None  # the loss, averaged over the last steps of this phase

    def save(self, step: int, **more: Any) -> None:
        state = {"generator": self.generator.state_dict(), "ema": self.ema.shadow, "step": step}
        state |= {"optimiser": self.optimiser.state_dict(), "images": self.images, "smooth": self.smooth}
        self.run.save("generator", state | more)

    def pictures(self, phase: Phase, seed: int) -> WorldPictures:
        """The world's pictures at the phase's size, this process's part of each batch."""
        height = self.generator.size_at(phase.depth)[0]
        share = distributed.rank(), distributed.size()
        return WorldPictures(self.tiles, height, batch=phase.batch, reuse=phase.reuse, seed=seed, share=share)

    def step(self, loss: Tensor, number: int) -> None:
        """One step down the loss; `number` counts over all phases."""
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        distributed.average_gradients(self.generator.parameters())
        grad_norm(self.generator.parameters(), 1.0)
        self.optimiser.step()
        self.ema.update(self.generator, number)


def train(run: Run, scale: Scale, *, progress: bool = True) -> Generator:
    """Run or resume the stage; returns the averaged generator with `w_avg` set."""
    device = pick()
    torch.manual_seed(scale.seed)
    generator = create(scale.generator)
    place(generator)
    generator.to(device, memory_format=torch.channels_last)
    tiles = FieldTiles(scale.generator.size, device=device)
    lesson = Lesson(run, scale, generator, optimiser_of(generator), Ema(generator, EMA_DECAY), tiles)
    done, total = 0, sum(phase.images // phase.batch for phase in scale.phases)
    if state := run.restore("generator", generator=generator, optimiser=lesson.optimiser):
        lesson.ema.shadow = {name: value.to(device) for name, value in state["ema"].items()}
        done = int(state["step"])
        lesson.images, lesson.smooth = state.get("images", images_until(scale, done)), state.get("smooth")
    if done < total:
        run.rewind("generator", done)
    first = 0
    with tqdm(total=total, initial=min(done, total), desc="generator", disable=not progress) as bar:
        for number, phase in enumerate(scale.phases):
            last = first + phase.images // phase.batch
            if done < last:
                _phase(lesson, phase, range(max(done, first), last), first, total, bar)
            if number + 1 == scale.settled and done <= last:
                save_early(run, lesson.ema)
            first = last
    if max(done, total) < total + scale.adversarial_steps:
        _adversarial(lesson, max(0, done - total), total, progress)
    generator.load_state_dict(lesson.ema.shadow)
    return settle(generator, scale)


def images_until(scale: Scale, step: int) -> int:
    """How many pictures one process has painted before `step`; for checkpoints that do not say."""
    images = 0
    for phase in scale.phases:
        taught = min(step, phase.images // phase.batch)
        images, step = images + taught * phase.batch, step - taught
    return images + step * scale.phases[-1].batch


# Where the world puts things (training.world.picture), in the generator's coordinates −1..1. Each line: which place,
# what of it, by which field or column, the bias, and the slope for each component of W: a factor as a uniform number of
# unit variance, a scene's intensity, or "+scene" for whether it is there.
# Rows: the top of a fall, horizon, sun, foot of a fall, ridge, hills, trees, crest of a wave, volcano, sea bed, the
# level of risen water.
# Columns: a bolt, the event, the sun, a bolt's branch, a plume.
Known = tuple[int, str, str | int, float, dict[str, float]]
HORIZON = {"horizon": 0.15, "mud": -0.46, "splash": -0.25}
KNOWN_ROWS: tuple[Known, ...] = (
    (0, "at", 0, -0.60, {"reach": -0.058, "+explosion": 0.56}),
    (0, "bend", "hills", 0.20, {}),
    # Flat where nothing falls: then its pair with the first column is a bolt, or lava.
    (0, "size", 0, -4.0, {"+explosion": 5.0, "+thunder": 5.0, "+waterfall": -5.0}),
    (1, "at", 0, 0.10, HORIZON),
    (1, "size", 0, -4.0, {}),
    (2, "at", 0, -0.34, {"time_of_day": -0.304, "horizon": 0.09}),
    (2, "size", 0, -2.5, {}),
    (3, "at", 0, 0.54, HORIZON),
    (3, "size", 0, -2.5, {}),
    (4, "at", 0, -0.05, {**HORIZON, "ridge": -0.07}),
    (4, "bend", "ridge", -0.30, {"ridge": -0.14}),
    (4, "size", 0, -4.5, {}),
    (5, "at", 0, 0.03, {**HORIZON, "hills": -0.035}),
    (5, "bend", "hills", -0.14, {"hills": -0.07}),
    (5, "size", 0, -4.5, {}),
    (6, "at", 0, 0.03, {**HORIZON, "trees": -0.0375}),
    (6, "bend", "trees", -0.17, {"trees": -0.075}),
    (6, "size", 0, -4.5, {}),
    (7, "at", 0, 0.55, {}),
    (7, "bend", "hills", -0.20, {}),
    (7, "bend", "trees", -0.10, {}),
    (7, "lift", 1, -0.12, {"splash": -0.80}),
    (7, "size", 0, -4.0, {}),
    (8, "at", 0, 0.18, HORIZON),
    (8, "lift", 0, 0.0, {"+explosion": -0.53, "reach": -0.029, "underwater": -0.60}),
    (8, "bend", "ridge", -0.08, {}),
    (8, "size", 0, -4.5, {}),
    (9, "at", 0, 0.77, {}),
    (9, "bend", "hills", -0.18, {"depth": 0.035}),
    (9, "size", 0, -3.0, {}),
    (10, "at", 0, 1.12, {"underwater": -3.60}),
    (10, "bend", "swell", -0.10, {}),
    (10, "size", 0, -4.5, {}),
)
KNOWN_COLUMNS: tuple[Known, ...] = (
    (0, "at", 0, 0.0, {"event_x": 0.416}),
    (0, "bend", "wander", 0.0, {"+thunder": 0.37, "+explosion": 0.124}),
    (0, "spread", 0, -1.54, {}),
    (0, "size", 0, -4.3, {"+explosion": 0.7}),
    (1, "at", 0, 0.0, {"event_x": 0.416}),
    (1, "spread", 0, -1.1, {}),
    (1, "size", 0, -1.4, {}),
    (2, "at", 0, 0.0, {"sun_x": 0.462}),
    (2, "size", 0, -3.1, {}),
    (3, "at", 0, 0.0, {"event_x": 0.416, "lean": 0.187}),
    (3, "bend", "wander", 0.0, {"+thunder": 0.37}),
    (3, "shear", 0, 0.0, {"lean": 0.26}),
    (3, "size", 0, -4.5, {}),
    (4, "at", 0, 0.0, {"event_x": 0.416, "lean": -0.03}),
    (4, "shear", 0, 0.0, {"lean": -0.16}),
    (4, "size", 0, -1.8, {"+explosion": -1.2}),
)
# StyleGAN3's planes, down (0) or right (1): the land, the sun, the event; the last one stays.
KNOWN_PLANES: tuple[tuple[int, int, dict[str, float]], ...] = (
    (0, 0, HORIZON),
    (1, 0, {"time_of_day": -0.304, "horizon": 0.09}),
    (1, 1, {"sun_x": 0.462}),
    (2, 1, {"event_x": 0.416}),
)


def place(generator: Generator) -> None:
    """Start places where the world has things: left alone, a network does not find them."""
    index = factors.INDEX | {f"+{name}": factors.COUNT + i for i, name in enumerate(factors.SCENES)}
    if isinstance(generator, stylegan3.Generator):
        for plane, axis, slopes in KNOWN_PLANES:
            if plane < generator.places.planes:
                generator.places.know(plane, axis, {index[name]: slope for name, slope in slopes.items()})
        return
    places = generator.places
    for known, first, count in ((KNOWN_ROWS, 0, places.rows), (KNOWN_COLUMNS, places.rows, places.columns)):
        for number, what, by, bias, slopes in known:
            if number < count:
                weights = {index[name]: slope for name, slope in slopes.items()}
                places.know(first + number, what, bias, weights, textures.INDEX[by] if isinstance(by, str) else by)


def optimiser_of(generator: Generator) -> torch.optim.Adam:
    """Adam. Places learn slowly: at the rate of the rest each step would throw every edge about by many pixels."""
    slow = {id(p) for p in generator.places.parameters()}
    groups = [
        {"params": [p for p in generator.parameters() if id(p) not in slow], "base": LEARNING_RATE},
        {"params": list(generator.places.parameters()), "base": PLACES_RATE},
    ]
    return torch.optim.Adam(groups, lr=LEARNING_RATE, betas=(0.9, 0.99))


def save_early(run: Run, ema: Ema) -> None:
    """Keep the generator as it was when W settled: the inversion encoders look through it, at its small size."""
    run.save("generator-early", {"generator": ema.shadow, "step": 0})


def load_early(run: Run, scale: Scale) -> Generator:
    """The averaged generator as it was when W settled, frozen, `w_avg` set. Its mapping is the final one."""
    generator = create(scale.generator).to(pick(), memory_format=torch.channels_last)
    if run.restore("generator-early", generator=generator) is None:
        raise CymaticError(f"{run.checkpoint('generator-early')} is missing; choose another --run folder")
    return settle(generator, scale)


def settle(generator: Generator, scale: Scale) -> Generator:
    """Freeze, and set `w_avg` to the mean of W over calm landscapes."""
    with torch.no_grad():
        sample = factors.draw(4096, seeded(scale.seed, 21), calm=1.0)
        sample[:, factors.INDEX["flash"]] = factors.REST
        generator.w_avg.copy_(generator.mapping(sample.to(generator.w_avg.device)).mean(0))
    return generator.eval().requires_grad_(False)


def freeze_mapping(generator: Generator, ema: Ema) -> None:
    """Fix W at its average: the space that the inversion encoders learn stays what it is while the picture grows."""
    generator.mapping.load_state_dict({name[8:]: v for name, v in ema.shadow.items() if name.startswith("mapping.")})
    generator.mapping.requires_grad_(False)


def _phase(lesson: Lesson, phase: Phase, steps: range, first: int, total: int, bar: tqdm) -> None:
    """Steps of one growth phase, counted over all phases; `first` is the phase's first one."""
    run, generator, optimiser, seed = lesson.run, lesson.generator, lesson.optimiser, lesson.scale.seed
    pictures = lesson.pictures(phase, seed * 1000 + phase.depth)
    if lesson.scale.phases.index(phase) >= lesson.scale.settled:
        freeze_mapping(generator, lesson.ema)
    if steps.start == first:
        lesson.smooth = None
    saved = time.monotonic()
    for step in steps:
        rate = FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * step / total))
        for group in optimiser.param_groups:
            group["lr"] = group["base"] * rate * min(1.0, (step + 1) / 100)
        part = quarter(generator, seed, step) if phase.quarters else None
        batch = lesson_of(generator, pictures, step - first, phase.depth, part)
        w_plus = generator.broadcast(generator.mapping(batch.vectors))
        with mixed(batch.fields.device):
            fake = generator(w_plus, batch.fields, phase.depth, batch.detail, part).float()
        shown = (inside(image, part, generator.config.parted) for image in (fake, batch.pictures))
        loss = teach_loss(*shown)
        lesson.step(loss, step)
        lesson.images += phase.batch * distributed.size()
        value = distributed.mean({"loss": loss})["loss"]
        lesson.smooth = value if lesson.smooth is None else 0.98 * lesson.smooth + 0.02 * value
        bar.set_postfix(depth=phase.depth, loss=f"{lesson.smooth:.4f}", refresh=False)
        bar.update()
        if step % LOG_EVERY == 0:
            said = {"loss": lesson.smooth, "lr": optimiser.param_groups[0]["lr"]}
            run.log("generator", step=step, images=lesson.images, depth=phase.depth, **said)
        if time.monotonic() - saved > SAVE_EVERY_S or step == steps.stop - 1:
            lesson.save(step + 1)
            sheet(lesson, phase.depth, f"generator-{step + 1:06d}")
            saved = time.monotonic()


def quarter(generator: Generator, seed: int, step: int) -> Part:
    """Half the rows and half the columns of the grid on which parts are counted, anywhere; often at a border, which a
    fair draw would seldom touch."""
    part = []
    for axis, size in enumerate(generator.config.parted):
        room, often = size - size // 2, size // 8
        first = int(torch.randint(room + 1 + 2 * often, (1,), generator=seeded(seed, 17 + axis, step))) - often
        first = min(max(first, 0), room)
        part.append(slice(first, first + size // 2))
    return part[0], part[1]


def lesson_of(
    generator: Generator, pictures: WorldPictures, number: int, depth: int, part: Part | None = None
) -> Batch:
    """What step `number` of these pictures teaches at `depth`, or `part` of it."""
    if depth == generator.max_depth and isinstance(generator, stylegan2.Generator):
        return pictures.step(number, CELL, part and finer(part, 2))
    batch = pictures.step(number)
    return batch._replace(pictures=cut(batch.pictures, part, 2))


def inside(image: Tensor, part: Part | None, grid: tuple[int, int]) -> Tensor:
    """What the cuts of a part of `grid` did not reach. The picture's own borders stay: they are to be learned."""
    if part is None:
        return image
    (top, bottom), (left, right) = (
        (REACH if s.start > 0 else 0, REACH if s.stop < size else 0) for s, size in zip(part, grid, strict=True)
    )
    return image[..., top : image.shape[2] - bottom, left : image.shape[3] - right]


def _adversarial(lesson: Lesson, start: int, taught: int, progress: bool) -> None:
    """Non-saturating loss, R1 and path length beside the teaching loss, at the last phase's size: for texture alone."""
    run, scale, generator, optimiser = lesson.run, lesson.scale, lesson.generator, lesson.optimiser
    freeze_mapping(generator, lesson.ema)
    phase = scale.phases[-1]
    pictures = lesson.pictures(phase, scale.seed * 1000 + 99)
    critic = ImageDiscriminator().to(pick(), memory_format=torch.channels_last)
    critic_optimiser = torch.optim.Adam(critic.parameters(), lr=1e-3, betas=(0.0, 0.99))
    path_length = PathLength().to(pick())
    if start:
        run.restore("generator", critic=critic, critic_optimiser=critic_optimiser, path_length=path_length)
    run.rewind("adversarial", start)
    for group in optimiser.param_groups:
        group["lr"] = group["base"] * FLOOR

    def paint(w_plus: Tensor, batch: Batch) -> Tensor:
        with mixed(batch.fields.device):
            return generator(w_plus, batch.fields, phase.depth, batch.detail).float()

    for step in tqdm(range(start, scale.adversarial_steps), desc="adversarial", disable=not progress):
        batch = lesson_of(generator, pictures, step, phase.depth)
        real, w_plus = batch.pictures, generator.broadcast(generator.mapping(batch.vectors))
        fake = paint(w_plus, batch)
        penalise = step % R1_EVERY == 0
        real.requires_grad_(penalise)
        scores = critic(real)  # in float32, since R1 looks at its slopes
        critic_loss = discriminator_loss(scores, critic(fake.detach()))
        total = critic_loss + (R1_EVERY * 0.5 * R1_WEIGHT * r1_penalty(scores, real) if penalise else 0.0)
        critic_optimiser.zero_grad(set_to_none=True)
        total.backward()
        distributed.average_gradients(critic.parameters())
        critic_optimiser.step()
        critic.requires_grad_(False)
        loss = teach_loss(fake, real.detach()) + ADVERSARIAL_WEIGHT * generator_loss(critic(fake))
        if step % PATH_EVERY == 0:
            way = directions(generator, streams(phase.batch, scale.seed, 23, step)).to(fake.device)
            far = paint(w_plus + PATH_STEP * way, batch)
            loss = loss + PATH_EVERY * PATH_WEIGHT * path_length(fake, far, PATH_STEP)
        lesson.step(loss, taught + step)
        critic.requires_grad_(True)
        lesson.images += phase.batch * distributed.size()
        if step % SAVE_EVERY == 0 or step == scale.adversarial_steps - 1:
            said = distributed.mean({"loss": loss, "critic": critic_loss, "path_length": path_length.mean})
            run.log("adversarial", step=step, images=lesson.images, **said)
            beside = {"critic": critic, "critic_optimiser": critic_optimiser, "path_length": path_length}
            lesson.save(taught + step + 1, **{name: part.state_dict() for name, part in beside.items()})
    sheet(lesson, phase.depth, "generator-adversarial")


def directions(generator: Generator, draws: list[torch.Generator]) -> Tensor:
    """`[B, L, D]`, one generator a sample: for each layer a direction of its own, of length 1."""
    shape = generator.config.layers, generator.config.dim
    return nnf.normalize(torch.stack([torch.randn(shape, generator=one) for one in draws]), dim=2)


@torch.no_grad()
def sheet(lesson: Lesson, depth: int, name: str) -> None:
    """Odd rows the world, even rows the generator (averaged weights), the nine scenes and a calm one, unseen draws."""
    if not lesson.run.writes:
        return
    averaged = create(lesson.generator.config).to(pick())
    averaged.load_state_dict(lesson.ema.shadow)
    averaged.eval()
    height, seed = averaged.size_at(depth)[0], lesson.scale.seed + 5_000_000
    pictures = WorldPictures(lesson.tiles, height, batch=1, reuse=1, seed=seed, capacity=1)
    rows: list[torch.Tensor] = []
    for row in range(2):
        real, fake = [], []
        for column in range(5):
            vector, fields, _, _ = pictures.step(row * 5 + column)
            vector[:, factors.SCENE_SLICE] = 0
            if (scene := row * 5 + column) < len(factors.SCENES):
                vector[:, factors.SCENE_SLICE.start + scene] = 0.85
                vector[:, factors.INDEX["flash"]] = 1.2
            real.append(render(vector, fields)[0])
            fake.append(averaged(averaged.broadcast(averaged.mapping(vector)), fields, depth)[0] / 2 + 0.5)
        rows += real + fake
    lesson.run.sheet(name, torch.stack(rows), 5)
