"""Stage: the recurrent step. Short films, one critic for frames and one for motion, L_enc on every frame (Eqs. 5-8)."""

from __future__ import annotations

import torch
import torch.nn.functional as nnf
from torch import Tensor
from tqdm import tqdm

from engine.audio.mel import MelConfig, mel_windows
from training.clips import PICTURE, label_tokens
from training.embedding import JointEmbedding
from training.inversion import Inverters, calm, heard
from training.losses import cosine_distance, discriminator_loss, generator_loss, r1_penalty
from training.networks.discriminators import ImageDiscriminator, VideoDiscriminator, films
from training.networks.recurrent import RecurrentStep
from training.networks.stylegan2 import Generator
from training.pictures import FieldTiles
from training.run import Run, seeded
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
SAVE_EVERY = 25


def train(
    run: Run, scale: Scale, generator: Generator, joint: JointEmbedding, inverters: Inverters, *, progress: bool = True
) -> RecurrentStep:
    """Run or resume the stage. `generator`, `joint` and `inverters` are frozen."""
    torch.manual_seed(scale.seed + 3)
    step_network = RecurrentStep(scale.generator.groups, scale.generator.dim, scale.hidden)
    with torch.no_grad():
        step_network.deviation.copy_(generator.mapping(factors.draw(4096, seeded(scale.seed, 61))).std(0))
    frame_critic, film_critic = ImageDiscriminator(24), VideoDiscriminator(12)
    optimiser = torch.optim.AdamW(step_network.parameters(), lr=LEARNING_RATE, betas=(0.5, 0.99))
    critics = [*frame_critic.parameters(), *film_critic.parameters()]
    critic_optimiser = torch.optim.AdamW(critics, lr=CRITIC_RATE, betas=(0.5, 0.99))
    parts = {"step": step_network, "frames": frame_critic, "films": film_critic}
    done = 0
    if state := run.restore("recurrent", **parts, optimiser=optimiser, critic_optimiser=critic_optimiser):
        done = int(state["number"])
    depth = scale.phases[scale.settled - 1].depth
    tiles = FieldTiles(scale.generator.size).at(generator.size_at(depth)[0])
    for number in tqdm(range(done, scale.recurrent_steps), desc="recurrent", disable=not progress):
        draws = seeded(scale.seed, 62, number)
        clips = [_clip(draws, scale.frames) for _ in range(FILMS)]
        vectors, mels = torch.stack([c[0] for c in clips], 1), torch.stack([c[1] for c in clips], 1)
        scenes = torch.tensor([c[2] for c in clips])
        base = calm(FILMS, draws)
        flows = _flow(scale.frames, FILMS, draws)

        moments = zip(vectors[WARM::STRIDE], flows, strict=True)
        real = torch.stack([render(heard(base, v), fields.scroll(tiles, offsets)) for v, offsets in moments], 1)
        real = real * 2 - 1
        fake, codes = unroll(step_network, generator, inverters, mels, base, flows, tiles, depth, draws)

        penalise = number % R1_EVERY == 0
        real.requires_grad_(penalise)
        scores_frames, scores_films = frame_critic(real.flatten(0, 1)), film_critic(films(real))
        critic_loss = discriminator_loss(scores_frames, frame_critic(fake.detach().flatten(0, 1)))
        critic_loss = critic_loss + discriminator_loss(scores_films, film_critic(films(fake.detach())))
        total = critic_loss
        if penalise:
            total = total + R1_EVERY * 0.5 * R1_WEIGHT * r1_penalty(scores_films.mean((1, 2, 3, 4)), real)
        critic_optimiser.zero_grad(set_to_none=True)
        total.backward()
        critic_optimiser.step()

        for parameter in critics:
            parameter.requires_grad_(False)
        adversarial = generator_loss(frame_critic(fake.flatten(0, 1))) + generator_loss(film_critic(films(fake)))
        with torch.no_grad():
            anchor = joint.sound(mels[WARM::STRIDE].flatten(0, 1))
            label = joint.text(label_tokens(scenes, draws)).repeat(scale.frames, 1)
            target = torch.stack([generator.mapping(heard(base, v)) for v in vectors[WARM::STRIDE]])
        seen = joint.image(_for_eye(fake.transpose(0, 1).flatten(0, 1)))
        close, named = cosine_distance(seen, anchor), cosine_distance(seen, label)
        teacher = (codes - target.unsqueeze(2)).square().mean()
        loss = adversarial + LAMBDA_ENC * (close + named) + LAMBDA_W * teacher
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(step_network.parameters(), 1.0)
        optimiser.step()
        for parameter in critics:
            parameter.requires_grad_(True)
        if number % 10 == 0 or number == scale.recurrent_steps - 1:
            run.log(
                "recurrent", step=number, adversarial=adversarial.item(), critic=critic_loss.item(),
                sound_cos=1 - close.item(), label_cos=1 - named.item(), teacher=teacher.item(),
            )  # fmt: skip
        if (number + 1) % SAVE_EVERY == 0 or number == scale.recurrent_steps - 1:
            trained = {**parts, "optimiser": optimiser, "critic_optimiser": critic_optimiser}
            states = {name: part.state_dict() for name, part in trained.items()}
            run.save("recurrent", {**states, "number": number + 1})
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


def _flow(frames: int, count: int, draws: torch.Generator) -> Tensor:
    """Field offsets `[frames, count, F, 2]`: random starts that scroll with the fields' own velocities."""
    start = torch.rand(count, fields.COUNT, 2, generator=draws)
    time = torch.arange(frames).view(-1, 1, 1, 1) * (STRIDE / RATE_HZ)
    return start + time * fields.VELOCITIES


def unroll(
    network: RecurrentStep, generator: Generator, inverters: Inverters, mels: Tensor, base: Tensor, flows: Tensor,
    tiles: Tensor, depth: int, draws: torch.Generator,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Mels `[steps, B, 1, bands, columns]` → frames `[B, T, 3, h, w]` and their codes `[T, B, L, D]`.

    Every film starts at a random latent around its base.
    """
    start = generator.broadcast(generator.mapping(base))
    with torch.no_grad():
        deltas = inverters.sound(mels.flatten(0, 1)).unflatten(0, mels.shape[:2])
        w = start + 0.5 * network.deviation * torch.randn(start.shape, generator=draws)
    hidden, codes = network.start(len(base)), []
    for t in range(len(mels)):
        noise = 0.1 * torch.randn(w.shape, generator=draws)
        w, hidden = network(w, start, deltas[t], noise, hidden)
        if t >= WARM and (t - WARM) % STRIDE == 0:
            codes.append(w)
    frames = [
        generator(code, fields.scroll(tiles, flow), depth).clamp(-1.2, 1.2)
        for code, flow in zip(codes, flows, strict=True)
    ]
    return torch.stack(frames, 1), torch.stack(codes)


def _for_eye(pictures: Tensor) -> Tensor:
    """Pictures at the size that F_v looks at."""
    if tuple(pictures.shape[2:]) == PICTURE:
        return pictures
    return nnf.interpolate(pictures, PICTURE, mode="bilinear", align_corners=False)
