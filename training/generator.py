"""Stage: the generator. Taught by the world's factors and fields, growing in size, adversarial last for crispness."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from tqdm import tqdm

from engine.errors import CymaticError
from training.losses import discriminator_loss, generator_loss, r1_penalty, teach_loss
from training.networks.discriminators import ImageDiscriminator
from training.networks.places import Part
from training.networks.stylegan2 import Generator, cut
from training.pictures import FieldTiles, WorldPictures
from training.run import Ema, Run, grad_norm, seeded
from training.scales import Phase, Scale
from training.world import factors
from training.world import fields as textures
from training.world.picture import render

LEARNING_RATE, PLACES_RATE = 5e-3, 2e-4
FLOOR = 0.05  # the cosine ends at this share of the start
EMA_DECAY = 0.998
SAVE_EVERY_S = 90.0
R1_EVERY, R1_WEIGHT = 16, 5.0
ADVERSARIAL_WEIGHT = 0.05


def train(run: Run, scale: Scale, *, progress: bool = True) -> Generator:
    """Run or resume the stage; returns the averaged generator with `w_avg` set."""
    torch.manual_seed(scale.seed)
    generator = Generator(scale.generator).to(memory_format=torch.channels_last)
    place(generator)
    optimiser = optimiser_of(generator)
    ema = Ema(generator, EMA_DECAY)
    done = 0
    if state := run.restore("generator", generator=generator, optimiser=optimiser):
        ema.shadow = state["ema"]
        done = int(state["step"])
    total = sum(phase.images // phase.batch for phase in scale.phases)

    def save(step: int) -> None:
        run.save(
            "generator",
            {"generator": generator.state_dict(), "ema": ema.shadow, "optimiser": optimiser.state_dict(), "step": step},
        )

    tiles = FieldTiles(scale.generator.size)
    first = 0
    with tqdm(total=total, initial=min(done, total), desc="generator", disable=not progress) as bar:
        for number, phase in enumerate(scale.phases):
            last = first + phase.images // phase.batch
            if done < last:
                steps = range(max(done, first), last)
                _phase(run, scale, phase, generator, optimiser, ema, tiles, steps, first, total, bar, save)
            if number + 1 == scale.settled and done <= last:
                save_early(run, ema)
            first = last
    if scale.adversarial_steps:
        _adversarial(run, scale, generator, optimiser, ema, tiles, max(0, done - total), total, progress, save)
    generator.load_state_dict(ema.shadow)
    return settle(generator, scale)


# Where the world puts things (training.world.picture), in the generator's coordinates −1..1. Each line: which place,
# what of it, by which field or column, the bias, and the slope for each component of W: a factor as a uniform number of
# unit variance, a scene's intensity, or "+scene" for whether it is there.
# Rows: the top of a fall, horizon, sun, foot of a fall, ridge, hills, trees, crest of a wave, volcano, sea bed.
# Columns: a bolt, the event, the sun, a bolt's branch, a plume.
Known = tuple[int, str, str | int, float, dict[str, float]]
HORIZON = {"horizon": 0.15, "mud": -0.46, "splash": -0.25}
KNOWN_ROWS: tuple[Known, ...] = (
    (0, "at", 0, -0.60, {"reach": -0.058}),
    (0, "bend", "hills", 0.20, {}),
    (0, "size", 0, -4.0, {}),
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
    (8, "at", 0, 0.14, HORIZON),
    (8, "lift", 0, 0.0, {"+explosion": -0.50}),
    (8, "size", 0, -4.0, {}),
    (9, "at", 0, 0.77, {}),
    (9, "bend", "hills", -0.18, {"depth": 0.035}),
    (9, "size", 0, -3.0, {}),
)
KNOWN_COLUMNS: tuple[Known, ...] = (
    (0, "at", 0, 0.0, {"event_x": 0.416}),
    (0, "bend", "wander", 0.0, {"+thunder": 0.37}),
    (0, "spread", 0, -1.8, {}),
    (0, "size", 0, -4.3, {}),
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
    (4, "size", 0, -1.8, {}),
)


def place(generator: Generator) -> None:
    """Start places where the world has things: left alone, a network does not find them."""
    places, index = generator.places, dict(factors.INDEX)
    index |= {f"+{name}": factors.COUNT + i for i, name in enumerate(factors.SCENES)}
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
    generator = Generator(scale.generator).to(memory_format=torch.channels_last)
    if run.restore("generator-early", generator=generator) is None:
        raise CymaticError(f"{run.checkpoint('generator-early')} is missing; choose another --run folder")
    return settle(generator, scale)


def settle(generator: Generator, scale: Scale) -> Generator:
    """Freeze, and set `w_avg` to the mean of W over calm landscapes."""
    with torch.no_grad():
        sample = factors.draw(4096, seeded(scale.seed, 21), calm=1.0)
        sample[:, factors.INDEX["flash"]] = factors.REST
        generator.w_avg.copy_(generator.mapping(sample).mean(0))
    return generator.eval().requires_grad_(False)


def freeze_mapping(generator: Generator, ema: Ema) -> None:
    """Fix W at its average: the space that the inversion encoders learn stays what it is while the picture grows."""
    generator.mapping.load_state_dict({name[8:]: v for name, v in ema.shadow.items() if name.startswith("mapping.")})
    generator.mapping.requires_grad_(False)


def _phase(
    run: Run, scale: Scale, phase: Phase, generator: Generator, optimiser: torch.optim.Optimizer, ema: Ema,
    tiles: FieldTiles, steps: range, first: int, total: int, bar: tqdm, save: Callable[[int], None],
) -> None:  # fmt: skip
    """Steps of one growth phase, counted over all phases; `first` is the phase's first one."""
    height = generator.size_at(phase.depth)[0]
    pictures = WorldPictures(tiles, height, batch=phase.batch, reuse=phase.reuse, seed=scale.seed * 1000 + phase.depth)
    if scale.phases.index(phase) >= scale.settled:
        freeze_mapping(generator, ema)
    saved, smooth = time.monotonic(), None
    for step in steps:
        rate = FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * step / total))
        for group in optimiser.param_groups:
            group["lr"] = group["base"] * rate * min(1.0, (step + 1) / 100)
        vectors, fields, real = pictures.step(step - first)
        fields = fields.contiguous(memory_format=torch.channels_last)
        part = quarter(generator, scale.seed, step) if phase.quarters else None
        fake = generator(generator.broadcast(generator.mapping(vectors)), fields, phase.depth, part=part)
        loss = teach_loss(
            inside(fake, part), inside(cut(real, part, real.shape[2] // generator.config.grids[-2][0]), part)
        )
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        grad_norm(generator.parameters(), 1.0)
        optimiser.step()
        ema.update(generator, step)
        value = loss.item()
        smooth = value if smooth is None else 0.98 * smooth + 0.02 * value
        bar.set_postfix(depth=phase.depth, loss=f"{smooth:.4f}", refresh=False)
        bar.update()
        if step % 50 == 0:
            run.log("generator", step=step, depth=phase.depth, loss=smooth, lr=optimiser.param_groups[0]["lr"])
        if time.monotonic() - saved > SAVE_EVERY_S or step == steps.stop - 1:
            save(step + 1)
            sheet(run, generator, ema, tiles, phase.depth, scale.seed, f"generator-{step + 1:06d}")
            saved = time.monotonic()


def quarter(generator: Generator, seed: int, step: int) -> Part:
    """Half the rows and half the columns of the last grid but one, anywhere."""
    part = []
    for axis, size in enumerate(generator.config.grids[-2]):
        first = int(torch.randint(size - size // 2 + 1, (1,), generator=seeded(seed, 17 + axis, step)))
        part.append(slice(first, first + size // 2))
    return part[0], part[1]


def inside(image: Tensor, part: Part | None) -> Tensor:
    """What the cut's edge did not reach; whole pictures stay whole."""
    return image if part is None else image[..., 4:-4, 4:-4]


def _adversarial(
    run: Run, scale: Scale, generator: Generator, optimiser: torch.optim.Optimizer, ema: Ema, tiles: FieldTiles,
    start: int, taught: int, progress: bool, save: Callable[[int], None],
) -> None:  # fmt: skip
    """Non-saturating loss with R1 beside the teaching loss, at the last phase's size; only texture is left to win."""
    freeze_mapping(generator, ema)
    phase = scale.phases[-1]
    pictures = WorldPictures(
        tiles, generator.size_at(phase.depth)[0], batch=phase.batch, reuse=phase.reuse, seed=scale.seed * 1000 + 99
    )
    critic = ImageDiscriminator()
    critic_optimiser = torch.optim.Adam(critic.parameters(), lr=1e-3, betas=(0.0, 0.99))
    run.restore("generator-critic", critic=critic, optimiser=critic_optimiser)
    for group in optimiser.param_groups:
        group["lr"] = group["base"] * FLOOR
    for step in tqdm(range(start, scale.adversarial_steps), desc="adversarial", disable=not progress):
        vectors, fields, real = pictures.step(step)
        fake = generator(generator.broadcast(generator.mapping(vectors)), fields, phase.depth)
        penalise = step % R1_EVERY == 0
        real.requires_grad_(penalise)
        scores = critic(real)
        critic_loss = discriminator_loss(scores, critic(fake.detach()))
        total = critic_loss + (R1_EVERY * 0.5 * R1_WEIGHT * r1_penalty(scores, real) if penalise else 0.0)
        critic_optimiser.zero_grad(set_to_none=True)
        total.backward()
        critic_optimiser.step()
        critic.requires_grad_(False)
        loss = teach_loss(fake, real.detach()) + ADVERSARIAL_WEIGHT * generator_loss(critic(fake))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        grad_norm(generator.parameters(), 1.0)
        optimiser.step()
        critic.requires_grad_(True)
        ema.update(generator, taught + step)
        if step % 25 == 0 or step == scale.adversarial_steps - 1:
            run.log("adversarial", step=step, loss=loss.item(), critic=critic_loss.item())
            save(taught + step + 1)
            run.save("generator-critic", {"critic": critic.state_dict(), "optimiser": critic_optimiser.state_dict()})
    sheet(run, generator, ema, tiles, phase.depth, scale.seed, "generator-adversarial")


@torch.no_grad()
def sheet(run: Run, network: nn.Module, ema: Ema, tiles: FieldTiles, depth: int, seed: int, name: str) -> None:
    """Odd rows the world, even rows the generator (averaged weights), the nine scenes and a calm one, unseen draws."""
    averaged = Generator(network.config)
    averaged.load_state_dict(ema.shadow)
    averaged.eval()
    height = averaged.size_at(depth)[0]
    pictures = WorldPictures(tiles, height, batch=1, reuse=1, seed=seed + 5_000_000, capacity=1)
    rows: list[torch.Tensor] = []
    for row in range(2):
        real, fake = [], []
        for column in range(5):
            vector, fields, _ = pictures.step(row * 5 + column)
            vector[:, factors.SCENE_SLICE] = 0
            if (scene := row * 5 + column) < len(factors.SCENES):
                vector[:, factors.SCENE_SLICE.start + scene] = 0.85
                vector[:, factors.INDEX["flash"]] = 1.2
            real.append(render(vector, fields)[0])
            fake.append(averaged(averaged.broadcast(averaged.mapping(vector)), fields, depth)[0] / 2 + 0.5)
        rows += real + fake
    run.sheet(name, torch.stack(rows), 5)
