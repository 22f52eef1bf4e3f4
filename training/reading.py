"""Stage: E_t reads on. A sentence costs nothing to make, so it reads many more than there are clips.

The inversion encoders learn side by side from the same clips, thousands of them; but what a performer writes is any
words in any order. Here E_t alone goes on with captions of landscapes that nobody has heard, half of them in no order
(`captions.loose`), towards the same teacher: where the mapping network says that ŵ should be (`training.inversion`).
What an unsure reader answers is the mean of what it thinks of, a scene that hardly stands; reading more makes it sure.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from tqdm import tqdm

from training import distributed
from training.clips import tokens_for
from training.device import mixed, pick
from training.inversion import LAMBDA_W, Inverters, calm, deviations
from training.networks.generators import Generator
from training.run import Run, streams
from training.scales import Scale
from training.world import factors

LEARNING_RATE, WARM_UP = 1e-3, 50
BATCHES, LOOSE = 2, 0.5  # sentences a step, in batches of the scale; how many of them are in no order
LOG_EVERY, SAVE_EVERY = 50, 500


def train(run: Run, scale: Scale, generator: Generator, inverters: Inverters, *, progress: bool = True) -> None:
    """Run or resume it: `inverters.text` reads on in its place, and is frozen again."""
    device, total = pick(), scale.reading_steps
    torch.manual_seed(scale.seed + 4)
    reader = inverters.text.to(device).train().requires_grad_(True)
    optimiser = torch.optim.AdamW(reader.parameters(), lr=LEARNING_RATE, weight_decay=0.01)
    state = run.restore("reading", text=reader, optimiser=optimiser)
    done = int(state["step"]) if state else 0
    if done < total:
        run.rewind("reading", done)
    mapping, deviation = generator.mapping, deviations(generator.mapping, scale.seed)

    def save(step: int) -> None:
        run.save("reading", {"text": reader.state_dict(), "optimiser": optimiser.state_dict(), "step": step})

    for step in tqdm(range(done, total), desc="reading", disable=not progress):
        rate = LEARNING_RATE * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / total)))
        for group in optimiser.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / WARM_UP)
        draws = streams(BATCHES * scale.batch, scale.seed, 53, step)
        vectors = torch.cat([draw_factors(each) for each in draws])
        tokens, base, vectors = (x.to(device) for x in (tokens_for(vectors, draws, loose=LOOSE), calm(draws), vectors))
        with mixed(device):
            delta = reader(tokens)
        latent = generator.broadcast(mapping(base)) + delta.float()
        off = ((latent - generator.broadcast(mapping(vectors))) / deviation)[..., : mapping.factors]
        teacher = off.square().mean()
        optimiser.zero_grad(set_to_none=True)
        (LAMBDA_W * teacher).backward()
        distributed.average_gradients(list(reader.parameters()))
        torch.nn.utils.clip_grad_norm_(reader.parameters(), 1.0)
        optimiser.step()
        if step % LOG_EVERY == 0:
            run.log("reading", step=step, **distributed.mean({"text_teacher": teacher}))
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == total:
            save(step + 1)
    inverters.freeze()


def draw_factors(draws: torch.Generator) -> Tensor:
    """Factors `[1, COUNT]` of what a sentence says, which holds: an eruption goes on, but lightning is the sound's."""
    vector = factors.draw(1, draws)
    if float(factors.factor(vector[0], "explosion")) == 0.0:
        vector[:, factors.INDEX["flash"]] = factors.REST
    return vector
