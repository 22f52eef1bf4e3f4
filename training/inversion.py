"""Stage: the inversion encoders. Sound (E_a) and text (E_t) answer with an offset in W+: ŵ = w + Δ (Eq. 1).

The loss is the paper's L_enc (Eqs. 2-4) with a teacher beside it:

    [1 − cos(F_v(G(ŵ)), F_a(x))] + [1 − cos(F_v(G(ŵ)), F_t(label))] + λ_b ‖ŵ − w̄‖²
        + λ_w ‖ŵ − w(factors)‖² + λ_d ‖(ŵ − ŵ′) − (w − w′)(factors)‖²

`w` is the latent of a random calm landscape (the random start code of Eq. 1), `w̄` the mean of the encoder's latents,
kept as a running average. The last two terms are ours. The world knows the factors behind every sound, so the mapping
network says where ŵ should be; without it, a cosine through the generator finds pictures that please F_v more than the
eye. Both are taken in deviations of the world along the axes of W that the factors have for their own; the rest of W
follows from these (`Mapping.settle`). ŵ and ŵ′ are two moments of one clip: how much louder one is than the other says
little about the loudness of the world, for nobody knows how the microphone was set, but much about which of them is the
more intense.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm

from training import distributed
from training.clips import (
    PICTURE,
    WINDOWS,
    SoundWindows,
    label_tokens,
    other_microphone,
    tokens_for,
    windows_of,
)
from training.device import mixed, pick
from training.embedding import JointEmbedding
from training.losses import cosine_distance
from training.networks.encoders import Inversion, SoundTrunk, TextTrunk
from training.networks.generators import Generator
from training.networks.stylegan2 import Mapping
from training.pictures import FieldTiles
from training.run import Run, seeded, streams
from training.scales import Scale
from training.world import captions, factors, fields

LEARNING_RATE = 1.5e-3
LAMBDA_B, LAMBDA_W, LAMBDA_D = 0.002, 6.0, 12.0
LOOK_EVERY = 3
LOG_EVERY, SAVE_EVERY = 24, 100


@dataclass(slots=True)
class Inverters:
    """E_a and E_t."""

    sound: Inversion
    text: Inversion

    @classmethod
    def create(cls, scale: Scale) -> Inverters:
        """Two untrained encoders for the scale's generator."""
        groups, dim = scale.generator.groups, scale.generator.dim
        return cls(
            Inversion(SoundTrunk(), 192, groups, dim), Inversion(TextTrunk(len(captions.WORDS)), 128, groups, dim)
        )

    def start_from(self, joint: JointEmbedding) -> None:
        """Begin with what the joint embedding has learned to hear and read; only the heads start from nothing."""
        self.sound.trunk.load_state_dict(joint.sound.trunk.state_dict())
        self.text.trunk.load_state_dict(joint.text.trunk.state_dict())

    def freeze(self) -> Inverters:
        """Stop learning; returns itself."""
        self.sound.eval().requires_grad_(False)
        self.text.eval().requires_grad_(False)
        return self

    def to(self, device: torch.device | str) -> Inverters:
        """Move there, channels last; returns itself."""
        self.sound.to(device, memory_format=torch.channels_last)
        self.text.to(device)
        return self


def calm(draws: Sequence[torch.Generator]) -> Tensor:
    """Factors `[B, COUNT]` of random calm landscapes, one a generator: what a preset's seed gives."""
    vector = torch.zeros(len(draws), factors.COUNT)
    width = factors.SCENE_SLICE.start
    vector[:, :width] = torch.stack([torch.randn(width, generator=generator) for generator in draws])
    vector[:, factors.INDEX["flash"]] = factors.REST
    return vector


def heard(base: Tensor, vectors: Tensor) -> Tensor:
    """The calm landscape `base` with what can be heard of `vectors` in it: scenes, reach, lean, depth and flash."""
    mixed = base.clone()
    mixed[:, factors.SCENE_SLICE] = vectors[:, factors.SCENE_SLICE]
    for name in ("reach", "lean", "depth", "flash"):
        mixed[:, factors.INDEX[name]] = vectors[:, factors.INDEX[name]]
    return mixed


@torch.no_grad()
def deviations(mapping: Mapping, seed: int) -> Tensor:
    """Standard deviation of the world's landscapes along each axis of W, `[D]`."""
    device = next(mapping.parameters()).device
    return mapping(factors.draw(4096, seeded(seed, 61)).to(device)).std(0)


def two_moments(windows: int, generator: torch.Generator) -> Tensor:
    """Rows of two different windows of one clip, drawn from `windows` rows, `WINDOWS` a clip."""
    clip = int(torch.randint(windows // WINDOWS, (1,), generator=generator))
    return clip * WINDOWS + torch.randperm(WINDOWS, generator=generator)[:2]


def train(run: Run, scale: Scale, generator: Generator, joint: JointEmbedding, *, progress: bool = True) -> Inverters:
    """Run or resume both encoders; `generator` is only looked through, at the size it had when W settled."""
    device, total = pick(), scale.inversion_steps
    torch.manual_seed(scale.seed + 2)
    inverters = Inverters.create(scale).to(device)
    inverters.start_from(joint)
    parameters = [*inverters.sound.parameters(), *inverters.text.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=LEARNING_RATE, weight_decay=0.01)
    means = {"sound": torch.zeros(scale.generator.dim), "text": torch.zeros(scale.generator.dim)}
    done = 0
    if state := run.restore("inversion", sound=inverters.sound, text=inverters.text, optimiser=optimiser):
        means, done = state["means"], int(state["step"])
    if done == total:
        return inverters.freeze()
    run.rewind("inversion", done)
    windows, held = (windows_of(run, scale, split, progress) for split in ("train", "validation"))
    means = {name: w.to(device) for name, w in means.items()}
    depth = scale.phases[scale.settled - 1].depth
    tiles = FieldTiles(scale.generator.size, device=device).at(generator.size_at(depth)[0])

    mapping, deviation = generator.mapping, deviations(generator.mapping, scale.seed)

    def save(step: int) -> None:
        networks = {"sound": inverters.sound.state_dict(), "text": inverters.text.state_dict()}
        run.save("inversion", {**networks, "optimiser": optimiser.state_dict(), "means": means, "step": step})

    def step_loss(
        name: str, encoder: Callable[[Tensor], Tensor], x: Tensor, target: Tensor, base: Tensor,
        draws: Sequence[torch.Generator], anchors: tuple[Tensor, Tensor] | None,
    ) -> tuple[Tensor, dict[str, Tensor]]:  # fmt: skip
        with mixed(device):
            delta = encoder(x)
        latent = generator.broadcast(generator.mapping(base)) + delta.float()
        off = ((latent - generator.broadcast(mapping(target))) / deviation)[..., : mapping.factors]
        teacher, moved = off.square().mean(), (off[::2] - off[1::2])[..., mapping.normals :].square().mean()
        means[name].lerp_(distributed.average(latent.detach().mean((0, 1))), 0.02)
        spread = (latent - means[name]).square().mean()
        loss = LAMBDA_B * spread + LAMBDA_W * teacher + LAMBDA_D * moved
        said = {"teacher": teacher, "moved": moved}
        if anchors:
            look = len(anchors[0])
            with mixed(device):
                seen = joint.image(paint(generator, latent[:look], tiles, depth, draws[:look])).float()
            close, named = (cosine_distance(seen, anchor.float()) for anchor in anchors)
            loss = loss + close + named
            said |= {"cos": 1 - close, "label_cos": 1 - named}
        return loss, {f"{name}_{key}": value for key, value in said.items()}

    for step in tqdm(range(done, total), desc="inversion", disable=not progress):
        for group in optimiser.param_groups:
            group["lr"] = LEARNING_RATE * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * step / total)))
        pairs = streams(scale.batch // 2, scale.seed, 51, step)
        rows = torch.cat([two_moments(len(windows), generator) for generator in pairs])
        draws = [generator for generator in pairs for _ in range(2)]
        mels, vectors, scenes = windows.batch(rows)
        base = calm(draws)
        mels, target, tokens = other_microphone(mels, pairs), heard(base, vectors), tokens_for(vectors, draws)
        labels = label_tokens(scenes, draws)
        mels, vectors, base, target, tokens, labels = (
            x.to(device) for x in (mels, vectors, base, target, tokens, labels)
        )
        heard_as = read_as = None
        if step % LOOK_EVERY == 0:  # looking through the generator is the dear part, so a part of the batch is enough
            look = max(4, scale.batch // 8)
            with torch.no_grad(), mixed(device):
                sound, text, label = joint.sound(mels[:look]), joint.text(tokens[:look]), joint.text(labels[:look])
            heard_as, read_as = (sound, label), (text, label)
        loss_a, said_a = step_loss("sound", inverters.sound, mels, target, base, draws, heard_as)
        loss_t, said_t = step_loss("text", inverters.text, tokens, vectors, base, draws, read_as)
        optimiser.zero_grad(set_to_none=True)
        (loss_a + loss_t).backward()
        distributed.average_gradients(parameters)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        if step % LOG_EVERY == 0:
            run.log("inversion", step=step, **distributed.mean({**said_a, **said_t}))
        if (step + 1) % SAVE_EVERY == 0 and step + 1 < total:
            save(step + 1)
    inverters.freeze()
    if distributed.rank() == 0:
        run.log("inversion", step=total, **evaluate(run, inverters, generator, joint, held, tiles, depth))
    save(total)
    return inverters


def paint(generator: Generator, w_plus: Tensor, tiles: Tensor, depth: int, draws: Sequence[torch.Generator]) -> Tensor:
    """Pictures `[B, 3, 72, 128]` in −1..1 at random field offsets, resized for F_v where the generator is smaller."""
    offsets = torch.stack([torch.rand(fields.COUNT, 2, generator=one) for one in draws]).to(tiles.device)
    picture = generator(generator.mapping.settle(w_plus), fields.scroll(tiles, offsets), depth).clamp(-1.2, 1.2)
    if tuple(picture.shape[2:]) != PICTURE:
        picture = torch.nn.functional.interpolate(picture, PICTURE, mode="bilinear", align_corners=False)
    return picture


@torch.no_grad()
def evaluate(
    run: Run, inverters: Inverters, generator: Generator, joint: JointEmbedding, held: SoundWindows, tiles: Tensor,
    depth: int,
) -> dict[str, float]:  # fmt: skip
    """Held-out sounds painted onto calm landscapes: does F_v read the scene that sounded? Shuffled sounds beside it."""
    draws, device = seeded(6, 52), tiles.device
    rows = (held.scenes >= 0).nonzero()[:, 0]
    rows = rows[torch.randperm(len(rows), generator=draws)[:128]]
    mels, vectors, scenes = held.batch(rows)
    base = generator.broadcast(generator.mapping(calm([draws] * len(rows)).to(device)))
    tokens = tokens_for(vectors, [draws] * len(rows), unknown=0.0, loose=0.0)
    delta_a, delta_t = inverters.sound(mels.to(device)), inverters.text(tokens.to(device))
    result = {}
    for name, delta in (("sound", delta_a), ("text", delta_t), ("shuffled", delta_a.roll(1, 0))):
        codes = (base + delta).split(16)
        pictures = torch.cat([paint(generator, w, tiles, depth, [draws] * len(w)) for w in codes])
        read = (joint.image(pictures) @ joint.scenes().t()).argmax(1).cpu()
        result[f"scene_painted_{name}"] = float((read == scenes).float().mean())
        if name != "shuffled":
            order = scenes.argsort(stable=True)[:: max(1, len(scenes) // 36)][:36]
            run.sheet(f"inversion-{name}", pictures[order] / 2 + 0.5, 6)
    return result
