"""Stage: the recurrent step. Short films, one critic for frames and one for motion, L_enc on every frame (Eqs. 5-8)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as nnf
from torch import Tensor
from tqdm import tqdm

from engine.audio.mel import MelConfig, mel_windows
from training import distributed
from training.clips import PICTURE, label_tokens
from training.device import mixed, pick
from training.embedding import JointEmbedding
from training.inversion import Inverters, calm, deviations, heard
from training.losses import cosine_distance, discriminator_loss, generator_loss, r1_penalty
from training.networks.discriminators import ImageDiscriminator, VideoDiscriminator, films
from training.networks.generators import Generator
from training.networks.recurrent import RecurrentStep
from training.pictures import FieldTiles
from training.run import Run, streams
from training.scales import Scale
from training.world import factors, fields
from training.world.music import synthesise_any
from training.world.picture import render
from training.world.sound import SAMPLE_RATE

LEARNING_RATE, CRITIC_RATE = 6e-4, 4e-4
RATE_HZ = 30.0
STRIDE = 3  # latent steps between two shown frames: films at 10 Hz show motion, the recurrent step still runs at 30
WARM = 12  # latent steps before the first shown frame
FILMS = 3  # a batch
LAMBDA_ENC, LAMBDA_W = 1.0, 4.0
R1_EVERY, R1_WEIGHT = 8, 1.0
LOG_EVERY, SAVE_EVERY = 10, 25


def train(
    run: Run, scale: Scale, generator: Generator, joint: JointEmbedding, inverters: Inverters, *, progress: bool = True
) -> RecurrentStep:
    """Run or resume the stage. `generator`, `joint` and `inverters` are frozen."""
    device, total = pick(), scale.recurrent_steps
    torch.manual_seed(scale.seed + 3)
    step_network = RecurrentStep(scale.generator.groups, scale.generator.dim, scale.hidden).to(device)
    step_network.deviation.copy_(deviations(generator.mapping, scale.seed))
    frame_critic = ImageDiscriminator(24).to(device, memory_format=torch.channels_last)
    film_critic = VideoDiscriminator(12).to(device)
    optimiser = torch.optim.AdamW(step_network.parameters(), lr=LEARNING_RATE, betas=(0.5, 0.99))
    critics = [*frame_critic.parameters(), *film_critic.parameters()]
    critic_optimiser = torch.optim.AdamW(critics, lr=CRITIC_RATE, betas=(0.5, 0.99))
    parts = {"step": step_network, "frames": frame_critic, "films": film_critic}
    done = 0
    if state := run.restore("recurrent", **parts, optimiser=optimiser, critic_optimiser=critic_optimiser):
        done = int(state["number"])
    if done < total:
        run.rewind("recurrent", done)
    depth = scale.phases[scale.settled - 1].depth
    tiles = FieldTiles(scale.generator.size, device=device).at(generator.size_at(depth)[0])

    def judge(shown: Tensor) -> tuple[Tensor, Tensor]:  # in float32, since R1 looks at the scores' own slopes
        return frame_critic(shown.flatten(0, 1)), film_critic(films(shown))

    for number in tqdm(range(done, total), desc="recurrent", disable=not progress):
        draws = streams(FILMS, scale.seed, 62, number)
        clips = [_clip(generator, scale.frames) for generator in draws]
        vectors = torch.stack([c[0] for c in clips], 1).to(device)
        mels = torch.stack([c[1] for c in clips], 1).to(device)
        labels = label_tokens(torch.tensor([c[2] for c in clips]), draws).to(device)
        base, flows = calm(draws).to(device), _flow(scale.frames, draws).to(device)

        with torch.no_grad():
            moments = zip(vectors[WARM::STRIDE], flows, strict=True)
            real = torch.stack([render(heard(base, v), fields.scroll(tiles, offsets)) for v, offsets in moments], 1)
            real = real * 2 - 1
            target = torch.stack([generator.mapping(heard(base, v)) for v in vectors[WARM::STRIDE]])
        fake, codes = unroll(step_network, generator, inverters, mels, base, flows, tiles, depth, draws)

        penalise = number % R1_EVERY == 0
        real.requires_grad_(penalise)
        scores_frames, scores_films = judge(real)
        fake_frames, fake_films = judge(fake.detach())
        critic_loss = discriminator_loss(scores_frames, fake_frames) + discriminator_loss(scores_films, fake_films)
        loss = critic_loss
        if penalise:
            loss = loss + R1_EVERY * 0.5 * R1_WEIGHT * r1_penalty(scores_films.mean((1, 2, 3, 4)), real)
        critic_optimiser.zero_grad(set_to_none=True)
        loss.backward()
        distributed.average_gradients(critics)
        critic_optimiser.step()

        for parameter in critics:
            parameter.requires_grad_(False)
        scores_frames, scores_films = judge(fake)
        adversarial = generator_loss(scores_frames) + generator_loss(scores_films)
        with mixed(device):
            with torch.no_grad():
                anchor = joint.sound(mels[WARM::STRIDE].flatten(0, 1)).float()
                label = joint.text(labels).float().repeat(scale.frames, 1)
            seen = joint.image(_for_eye(fake.transpose(0, 1).flatten(0, 1))).float()
        close, named = cosine_distance(seen, anchor), cosine_distance(seen, label)
        off = (codes - target.unsqueeze(2)) / step_network.deviation
        teacher = off[..., : generator.mapping.factors].square().mean()
        loss = adversarial + LAMBDA_ENC * (close + named) + LAMBDA_W * teacher
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        distributed.average_gradients(step_network.parameters())
        torch.nn.utils.clip_grad_norm_(step_network.parameters(), 1.0)
        optimiser.step()
        for parameter in critics:
            parameter.requires_grad_(True)
        if number % LOG_EVERY == 0 or number == total - 1:
            said = {"adversarial": adversarial, "critic": critic_loss, "teacher": teacher}
            said |= {"sound_cos": 1 - close, "label_cos": 1 - named}
            run.log("recurrent", step=number, **distributed.mean(said))
        if (number + 1) % SAVE_EVERY == 0 or number == total - 1:
            trained = {**parts, "optimiser": optimiser, "critic_optimiser": critic_optimiser}
            run.save("recurrent", {name: part.state_dict() for name, part in trained.items()} | {"number": number + 1})
            shown = torch.cat([torch.stack([real[i], fake[i]]).flatten(0, 1).detach() for i in range(FILMS)])
            run.sheet("recurrent", shown / 2 + 0.5, scale.frames)
    return step_network.eval().requires_grad_(False)


def _clip(draws: torch.Generator, frames: int) -> tuple[Tensor, Tensor, int]:
    """Factors `[steps, COUNT]` and mels `[steps, 1, bands, columns]` at the latent rate, and the scene."""
    steps = WARM + STRIDE * (frames - 1) + 1
    start_s = 1.3
    tracks = factors.draw_tracks(start_s + steps / RATE_HZ + 0.1, draws)
    sound = synthesise_any(tracks, draws, SAMPLE_RATE)
    times = start_s + torch.arange(steps) / RATE_HZ
    mels = torch.from_numpy(mel_windows(sound.numpy(), SAMPLE_RATE, times.numpy(), MelConfig()))
    return tracks.at(times), mels, tracks.scene


def _flow(frames: int, draws: Sequence[torch.Generator]) -> Tensor:
    """Field offsets `[frames, B, F, 2]`: random starts that scroll with the fields' own velocities."""
    start = torch.stack([torch.rand(fields.COUNT, 2, generator=generator) for generator in draws])
    time = torch.arange(frames).view(-1, 1, 1, 1) * (STRIDE / RATE_HZ)
    return start + time * fields.VELOCITIES


def unroll(
    network: RecurrentStep, generator: Generator, inverters: Inverters, mels: Tensor, base: Tensor, flows: Tensor,
    tiles: Tensor, depth: int, draws: Sequence[torch.Generator],
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Mels `[steps, B, 1, bands, columns]` → frames `[B, T, 3, h, w]` and their codes `[T, B, L, D]`.

    Every film starts at a random latent around its base.
    """
    start = generator.broadcast(generator.mapping(base))
    noise = torch.stack([torch.randn(len(mels) + 1, *start.shape[1:], generator=one) for one in draws], 1)
    noise = noise.to(mels.device)
    with torch.no_grad():
        with mixed(mels.device):
            deltas = inverters.sound(mels.flatten(0, 1)).float().unflatten(0, mels.shape[:2])
        w = start + 0.5 * network.deviation * noise[0]
    hidden, codes = network.start(len(base)), []
    for t in range(len(mels)):
        w, hidden = network(w, start, deltas[t], 0.1 * noise[t + 1], hidden)
        if t >= WARM and (t - WARM) % STRIDE == 0:
            codes.append(w)
    with mixed(mels.device):
        settled = [generator.mapping.settle(code) for code in codes]
        seen = [generator(w, fields.scroll(tiles, flow), depth) for w, flow in zip(settled, flows, strict=True)]
    return torch.stack(seen, 1).float().clamp(-1.2, 1.2), torch.stack(codes)


def _for_eye(pictures: Tensor) -> Tensor:
    """Pictures at the size that F_v looks at."""
    if tuple(pictures.shape[2:]) == PICTURE:
        return pictures
    return nnf.interpolate(pictures, PICTURE, mode="bilinear", align_corners=False)
