"""Stage: the joint embedding. Sound, picture and caption of one moment fall together on a unit sphere."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from tqdm import tqdm

from training.clips import (
    SoundWindows,
    held_out_windows,
    label_tokens,
    spec_augment,
    tokens_for,
    training_windows,
)
from training.losses import symmetric_contrastive
from training.networks.encoders import ImageEncoder, SoundEncoder, TextEncoder
from training.run import Run, seeded
from training.scales import Scale
from training.world import captions, factors

LEARNING_RATE = 1.5e-3
SAVE_EVERY = 100


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
        prompts = [label_tokens(torch.full((8,), s), seeded(77, s)) for s in range(len(factors.SCENES))]
        return nn.functional.normalize(torch.stack([self.text(p).mean(0) for p in prompts]), dim=1)

    def freeze(self) -> JointEmbedding:
        """Stop learning; returns itself."""
        for network in self.networks().values():
            network.eval().requires_grad_(False)
        return self


def train(run: Run, scale: Scale, *, progress: bool = True) -> JointEmbedding:
    """Run or resume the stage; logs retrieval on held-out clips at the end."""
    torch.manual_seed(scale.seed + 1)
    windows = training_windows(run, scale, progress)
    held = held_out_windows(run, scale, progress)
    joint = JointEmbedding.create(scale)
    heat = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
    parameters = [p for network in joint.networks().values() for p in network.parameters()]
    optimiser = torch.optim.AdamW(
        [{"params": parameters, "weight_decay": 0.02}, {"params": [heat], "weight_decay": 0.0}], lr=LEARNING_RATE
    )
    done = 0
    if state := run.restore("embedding", **joint.networks(), optimiser=optimiser):
        heat.data.copy_(state["heat"])
        done = int(state["step"])
    smooth = None
    for step in tqdm(range(done, scale.embedding_steps), desc="embedding", disable=not progress):
        for group in optimiser.param_groups:
            group["lr"] = LEARNING_RATE * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * step / scale.embedding_steps)))
        generator = seeded(scale.seed, 41, step)
        rows = torch.randint(len(windows), (scale.batch,), generator=generator)
        mels, vectors, _ = windows.batch(rows)
        sound = joint.sound(spec_augment(mels, generator))
        image = joint.image(windows.seen(rows))
        text = joint.text(tokens_for(vectors, generator))
        temperature = heat.clamp(max=math.log(60.0)).exp()
        pairs = ((sound, image), (sound, text), (image, text))
        loss = sum(symmetric_contrastive(a, b, temperature) for a, b in pairs) / 3
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        smooth = loss.item() if smooth is None else 0.98 * smooth + 0.02 * loss.item()
        if step % 50 == 0:
            run.log("embedding", step=step, loss=smooth, temperature=temperature.item())
        if (step + 1) % SAVE_EVERY == 0 or step == scale.embedding_steps - 1:
            state = {name: network.state_dict() for name, network in joint.networks().items()}
            run.save("embedding", {**state, "heat": heat.data, "optimiser": optimiser.state_dict(), "step": step + 1})
    joint.freeze()
    if done < scale.embedding_steps:
        run.log("embedding", step=scale.embedding_steps, **evaluate(joint, held))
    return joint


@torch.no_grad()
def evaluate(joint: JointEmbedding, held: SoundWindows) -> dict[str, float]:
    """Held-out clips: retrieval@1 among 64 in all six directions, and the scene each tower reads (nine labels)."""
    generator = seeded(5, 42)
    rows = torch.randperm(len(held), generator=generator)[: 64 * (len(held) // 64) or len(held)]
    mels, vectors, scenes = held.batch(rows)
    vectors_of = {
        "sound": torch.cat([joint.sound(m) for m in mels.split(64)]),
        "image": torch.cat([joint.image(held.seen(r)) for r in rows.split(64)]),
        "text": joint.text(tokens_for(vectors, generator, unknown=0.0)),
    }
    result: dict[str, float] = {}
    for a, left in vectors_of.items():
        for b, right in vectors_of.items():
            if a != b:
                hits = [
                    (x @ y.t()).argmax(1) == torch.arange(len(x))
                    for x, y in zip(left.split(64), right.split(64), strict=True)
                ]
                result[f"retrieval_{a}_{b}"] = float(torch.cat(hits).float().mean())
    known = scenes >= 0
    for name, value in vectors_of.items():
        result[f"scene_{name}"] = float(((value[known] @ joint.scenes().t()).argmax(1) == scenes[known]).float().mean())
    return result
