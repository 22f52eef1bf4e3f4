"""Stage: the joint embedding. Sound, picture and caption of one moment fall together on a unit sphere."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import permutations

import torch
from torch import Tensor, nn
from tqdm import tqdm

from training import distributed
from training.clips import (
    WINDOWS,
    SoundWindows,
    label_tokens,
    spec_augment,
    tokens_for,
    windows_of,
)
from training.device import mixed, pick
from training.losses import symmetric_contrastive
from training.networks.encoders import ImageEncoder, SoundEncoder, TextEncoder
from training.run import Run, seeded, streams
from training.scales import Scale
from training.world import captions, factors

LEARNING_RATE = 1.5e-3
LOG_EVERY, SAVE_EVERY = 50, 100
POOL = 64  # items that retrieval chooses among


@dataclass(slots=True)
class JointEmbedding:
    """F_a, F_v and F_t, which share one unit sphere."""

    sound: SoundEncoder
    image: ImageEncoder
    text: TextEncoder

    @classmethod
    def create(cls, scale: Scale) -> JointEmbedding:
        """Three untrained towers."""
        e = scale.embedding_dim
        return cls(SoundEncoder(e), ImageEncoder(e), TextEncoder(len(captions.WORDS), e))

    def networks(self) -> dict[str, nn.Module]:
        """The towers by the names they have in a checkpoint."""
        return {"sound": self.sound, "image": self.image, "text": self.text}

    def scenes(self) -> Tensor:
        """What each scene is called, as unit vectors `[9, E]`."""
        # Eight label prompts a scene through F_t, averaged and normalised.
        prompts = [label_tokens(torch.full((8,), s), [seeded(77, s)] * 8) for s in range(len(factors.SCENES))]
        device = next(self.text.parameters()).device
        return nn.functional.normalize(torch.stack([self.text(p.to(device)).mean(0) for p in prompts]), dim=1)

    def to(self, device: torch.device | str) -> JointEmbedding:
        """Move there, channels last (a third faster on a CPU); returns itself."""
        for network in self.networks().values():
            network.to(device, memory_format=torch.channels_last)
        return self

    def freeze(self) -> JointEmbedding:
        """Stop learning; returns itself."""
        for network in self.networks().values():
            network.eval().requires_grad_(False)
        return self


def train(run: Run, scale: Scale, *, progress: bool = True) -> JointEmbedding:
    """Run or resume the stage; logs retrieval on the test clips at the end."""
    device, total = pick(), scale.embedding_steps
    torch.manual_seed(scale.seed + 1)
    joint = JointEmbedding.create(scale).to(device)
    heat = nn.Parameter(torch.tensor(math.log(1 / 0.07), device=device))
    weights = [p for network in joint.networks().values() for p in network.parameters()]
    optimiser = torch.optim.AdamW(
        [{"params": weights, "weight_decay": 0.02}, {"params": [heat], "weight_decay": 0.0}], lr=LEARNING_RATE
    )
    done, smooth = 0, None
    if state := run.restore("embedding", **joint.networks(), optimiser=optimiser):
        heat.data.copy_(state["heat"])
        done, smooth = int(state["step"]), state.get("smooth")
    if done == total:
        return joint.freeze()
    run.rewind("embedding", done)
    windows, held = (windows_of(run, scale, split, progress) for split in ("train", "test"))

    def save(step: int) -> None:
        state = {name: network.state_dict() for name, network in joint.networks().items()}
        state |= {"heat": heat.data, "optimiser": optimiser.state_dict(), "smooth": smooth, "step": step}
        run.save("embedding", state)

    for step in tqdm(range(done, total), desc="embedding", disable=not progress):
        for group in optimiser.param_groups:
            group["lr"] = LEARNING_RATE * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * step / total)))
        draws = streams(scale.batch, scale.seed, 41, step)
        rows = torch.cat([torch.randint(len(windows), (1,), generator=generator) for generator in draws])
        mels, vectors, _ = windows.batch(rows)
        with mixed(device):
            sound = joint.sound(spec_augment(mels, draws).to(device))
            image = joint.image(windows.seen(rows).to(device))
            text = joint.text(tokens_for(vectors, draws).to(device))
        # Each sample is set against all samples, so every process computes the loss of the whole batch.
        sound, image, text = (distributed.gather(tower.float()) for tower in (sound, image, text))
        temperature = heat.clamp(max=math.log(60.0)).exp()
        pairs = ((sound, image), (sound, text), (image, text))
        loss = sum(symmetric_contrastive(a, b, temperature) for a, b in pairs) / 3
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        distributed.average_gradients([*weights, heat])
        optimiser.step()
        smooth = loss.item() if smooth is None else 0.98 * smooth + 0.02 * loss.item()
        if step % LOG_EVERY == 0:
            run.log("embedding", step=step, loss=smooth, temperature=temperature.item())
        if (step + 1) % SAVE_EVERY == 0 and step + 1 < total:
            save(step + 1)
    joint.freeze()
    if distributed.rank() == 0:
        run.log("embedding", step=total, **evaluate(joint, held))
    save(total)
    return joint


@torch.no_grad()
def evaluate(joint: JointEmbedding, held: SoundWindows) -> dict[str, float]:
    """Test clips: retrieval@1 and @5 in all six directions, and the scene each tower reads (nine labels).

    A pool holds one window of each of up to `POOL` clips, so that every other item in it is another clip; by chance an
    item is found first in 1 of `pool`, and among the first five in 5. What cannot be heard (the hour, the hills) does
    not help to tell one clip of a scene from another, so no tower can reach 1.
    """
    generator, device = seeded(5, 42), next(joint.sound.parameters()).device
    clips = len(held) // WINDOWS
    pool = min(POOL, clips)
    order = torch.randperm(clips, generator=generator)[: pool * (clips // pool)]
    rows = (order * WINDOWS + torch.arange(WINDOWS)[:, None]).flatten()  # a pool after the other
    mels, vectors, scenes = held.batch(rows)
    tokens = tokens_for(vectors, [generator] * len(rows), unknown=0.0, loose=0.0)
    found = {
        "sound": torch.cat([joint.sound(m.to(device)).cpu() for m in mels.split(64)]),
        "image": torch.cat([joint.image(held.seen(r).to(device)).cpu() for r in rows.split(64)]),
        "text": joint.text(tokens.to(device)).cpu(),
    }
    result: dict[str, float] = {"pool": pool, "pools": len(rows) // pool}
    for (a, left), (b, right) in permutations(found.items(), 2):
        ranks = torch.cat([ranks_in(x @ y.t()) for x, y in zip(left.split(pool), right.split(pool), strict=True)])
        result[f"retrieval_{a}_{b}"] = float((ranks < 1).float().mean())
        result[f"retrieval5_{a}_{b}"] = float((ranks < 5).float().mean())
    known = scenes >= 0
    names = joint.scenes().cpu()
    for name, value in found.items():
        result[f"scene_{name}"] = float(((value[known] @ names.t()).argmax(1) == scenes[known]).float().mean())
    return result


def ranks_in(likeness: Tensor) -> Tensor:
    """How many items are at least as like as the true one, which is on the diagonal: `[B, B]` → `[B]`, 0 is best."""
    return (likeness >= likeness.diagonal()[:, None]).sum(1) - 1
