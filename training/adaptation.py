"""Inversion encoders for a generator of somebody else's (`cymatic adapt`): sound and words find their way in its W.

Nothing is known of such a generator but what it paints, so the loss is the paper's L_enc (Eqs. 2-4) alone, with one
term beside it:

    [1 − cos(F_v(G(ŵ)), F_a(x))] + [1 − cos(F_v(G(ŵ)), F_t(label))] + λ_b ‖ŵ − w̄‖²
        + λ_c · contrastive(F_v(G(ŵ)), F_a(x))

The towers have never seen pictures of its kind, and to them all of these look much alike: the contrastive term only
asks which of a batch's sounds a picture was painted for. A sound's label is the name of its folder, if it lies in one.
For words, captions of the world's grammar stand in the place of the sounds. ŵ = w + Δ begins at a random w, and Δ is a
sum of W's principal directions, each within two of its deviations: what lies off them is no picture, however it may
please F_v.
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from tqdm import tqdm

from engine.audio.mel import MelConfig, mel_windows
from engine.audio.sources import SoundFile
from engine.bundle import split_words
from engine.errors import CymaticError
from training.inversion import LAMBDA_B, LEARNING_RATE
from training.losses import cosine_distance, symmetric_contrastive
from training.networks.encoders import Inversion, SoundEncoder, SoundTrunk, TextEncoder, TextTrunk
from training.run import Run, seeded, streams
from training.towers import Towers
from training.world import captions, factors

SOUNDS = (".wav", ".flac", ".ogg", ".mp3", ".aif", ".aiff")
LONGEST_S, EVERY_S = 60.0, 0.5  # of a file that is heard, and from window to window
FAINT = 10.0 ** (-55.0 / 20.0)  # of half a second's root mean square; what is fainter says nothing
DIRECTIONS, FARTHEST = 48, 2.0
TRUNCATION = 0.7
LAMBDA_C, HEAT = 0.5, 10.0
READ_EVERY = 3
LOG_EVERY, SAVE_EVERY = 10, 25
LOOKED_AT = 24  # sounds by which an adaptation is measured
SEED = 1


@dataclass(frozen=True, slots=True)
class Easel:
    """A generator. `paint(w_plus [1, L, D])` → `[1, 3, H, W]` in −1..1, which gradients pass through; `places
    [P, L, D]`: random latents; `w_avg [L, D]`; `groups`: layers from and to."""

    paint: Callable[[Tensor], Tensor]
    places: Tensor
    w_avg: Tensor
    groups: dict[str, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Clips:
    """Windows of sound files. `mels [N, 1, bands, columns]`, half precision; `heard [N, E]`: what F_a says of each;
    `rows`: the windows of each file; `labels [files, E]`: F_t of its folder's name, zeros without one; `sha256` of
    all."""

    mels: Tensor
    heard: Tensor
    rows: tuple[range, ...]
    labels: Tensor
    sha256: str


class Principal(nn.Module):
    """An inversion encoder that answers in W's principal directions: → `delta [B, L, D]`."""

    def __init__(self, trunk: nn.Module, width: int, groups: dict[str, tuple[int, int]], basis: Tensor) -> None:
        """`basis [K, D]`: directions, each one deviation long."""
        super().__init__()
        self.inversion = Inversion(trunk, width, groups, len(basis), limit=FARTHEST)
        self.register_buffer("basis", basis)

    def forward(self, x: Tensor) -> Tensor:
        return self.inversion(x) @ self.basis


@dataclass(slots=True)
class Adapted:
    """E_a and E_t for the generator; F_a and F_t as the bundle is to have them."""

    sound: Principal
    text: Principal
    hears: SoundEncoder
    reads: TextEncoder

    @classmethod
    def create(cls, easel: Easel, towers: Towers) -> Adapted:
        """Encoders that begin with what the joint embedding hears and reads, and lead nowhere yet."""
        joint, basis = towers.joint, principal(easel.places)
        sound = Principal(SoundTrunk(), 192, easel.groups, basis)
        text = Principal(TextTrunk(len(captions.WORDS)), 128, easel.groups, basis)
        hears, reads = joint.sound, joint.text
        if not towers.own:  # which are too slow for a show: small ones learn to say what they say
            hears, reads = SoundEncoder(towers.dim), TextEncoder(len(captions.WORDS), towers.dim)
        for part, trunk in ((sound.inversion, joint.sound), (text.inversion, joint.text), (hears, joint.sound),
                            (reads, joint.text)):  # fmt: skip
            part.trunk.load_state_dict(trunk.trunk.state_dict())
        return cls(sound, text, hears, reads)

    def networks(self) -> dict[str, nn.Module]:
        """By the names they have in a checkpoint."""
        return {"sound": self.sound, "text": self.text, "hears": self.hears, "reads": self.reads}

    @torch.no_grad()
    def scenes(self) -> Tensor:
        """What each of the world's scenes is called, as unit vectors `[9, E]`."""
        device = next(self.reads.parameters()).device
        labels = [[captions.label(scene, seeded(77, s, i)) for i in range(8)] for s, scene in enumerate(factors.SCENES)]
        said = [self.reads(tokens(sentences).to(device)).mean(0) for sentences in labels]
        return nn.functional.normalize(torch.stack(said), dim=1).cpu()


def principal(places: Tensor) -> Tensor:
    """`[K, D]`: the directions in which W is widest, each one deviation long."""
    w = places.mean(1)
    _, widths, directions = torch.linalg.svd(w - w.mean(0), full_matrices=False)
    return (widths[:DIRECTIONS, None] / math.sqrt(len(w) - 1)) * directions[:DIRECTIONS]


def tokens(sentences: list[str]) -> Tensor:
    """`[N, LENGTH]`."""
    return torch.tensor([captions.encode(sentence)[0] for sentence in sentences])


def read_clips(folder: Path, towers: Towers, config: MelConfig, progress: bool = False) -> Clips:
    """Every sound file in a folder and those below it.

    Raises CymaticError when there are fewer than two in which anything can be heard, AudioError for a damaged one.
    """
    if not folder.is_dir():
        raise CymaticError(f"{folder} is no folder: --sounds wants one with sound files in it")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SOUNDS and path.is_file())
    mels, heard, rows, labels, digest, count = [], [], [], [], hashlib.sha256(), 0
    for path in tqdm(paths, desc="sounds", disable=not progress):
        sound, rate = _read(path)
        digest.update(f"{path.relative_to(folder)} {rate}".encode() + sound.tobytes())
        ends = np.arange(min(1.0, len(sound) / rate), len(sound) / rate + 1e-6, EVERY_S, np.float32)
        ends = ends[[_loud(sound[max(0, int((end - EVERY_S) * rate)) : int(end * rate)]) for end in ends]]
        if not len(ends):
            continue
        mels.append(torch.from_numpy(mel_windows(sound, rate, ends, config)).half())
        heard.append(towers.hear(sound, rate, ends).cpu())
        rows.append(range(count, count + len(ends)))
        count += len(ends)
        labels.append(_label(path.parent.name if path.parent != folder else "", towers))
    if len(rows) < 2:
        raise CymaticError(f"{folder} holds {len(rows)} sounds; at least two (WAV, FLAC, OGG, MP3, AIFF) are needed")
    return Clips(torch.cat(mels), torch.cat(heard), tuple(rows), torch.stack(labels), digest.hexdigest())


def _read(path: Path) -> tuple[NDArray[np.float32], int]:
    clip = SoundFile(path)
    parts, left = [], int(LONGEST_S * clip.sample_rate)
    for block in clip.mono():
        parts.append(block[:left])
        left -= len(parts[-1])
        if left == 0:
            break
    return np.concatenate(parts), clip.sample_rate


def _loud(sound: NDArray[np.float32]) -> bool:
    return len(sound) > 0 and float(np.sqrt(np.square(sound, dtype=np.float64).mean())) > FAINT


def _label(name: str, towers: Towers) -> Tensor:
    """F_t of a folder's name, zeros if it says nothing."""
    sentence = " ".join(split_words(name.replace("_", " ")))
    known = sentence and not (towers.own and len(captions.encode(sentence)[1]) == len(sentence.split()))
    return towers.read([sentence])[0].cpu() if known else torch.zeros(towers.dim)


def train(
    run: Run, easel: Easel, clips: Clips, towers: Towers, steps: int, batch: int, of: Mapping[str, str | int],
    *, device: torch.device, progress: bool = True,
) -> Adapted:  # fmt: skip
    """Run or resume; `of` is what the run folder must have been begun with. Logs `evaluate` before and after."""
    torch.manual_seed(SEED)
    adapted = Adapted.create(easel, towers)
    learns = [adapted.sound, adapted.text, *(() if towers.own else (adapted.hears, adapted.reads))]
    for network in adapted.networks().values():
        network.requires_grad_(network in learns).to(device)
    parameters = [parameter for network in learns for parameter in network.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=LEARNING_RATE, weight_decay=0.01)
    begun = {**of, "sounds": clips.sha256, "towers": towers.sha256, "steps": steps, "batch": batch}
    means, done = torch.zeros(2, len(easel.w_avg[0])), 0
    if (state := run.load("adaptation")) and state.get("begun") != begun:
        raise CymaticError(f"{run.folder} was begun with other sounds or settings; name another folder with --run")
    if state := run.restore("adaptation", **adapted.networks(), optimiser=optimiser):
        means, done = state["means"], int(state["step"])
    measure = functools.partial(evaluate, easel, clips, towers, adapted, device)
    if done < steps:
        run.rewind("adaptation", done)
    if done == 0:
        run.log("adaptation", step=0, **measure())
    width = float((easel.places - easel.places.mean(0)).square().mean().sqrt())
    means = means.to(device)

    def save(step: int) -> None:
        parts = {name: network.state_dict() for name, network in adapted.networks().items()}
        run.save("adaptation", {**parts, "optimiser": optimiser.state_dict(), "means": means.cpu(), "step": step,
                                "begun": begun})  # fmt: skip

    def look(w_plus: Tensor) -> Tensor:
        # Painted once more on the way back: the features of one picture are kept at a time, not of all.
        return checkpoint(lambda w: towers.look(easel.paint(w)), w_plus, use_reentrant=False)

    def step_loss(number: int) -> tuple[Tensor, dict[str, Tensor]]:
        draws = streams(min(batch, len(clips.rows)), SEED, 71, number)
        reading = number % READ_EVERY == READ_EVERY - 1
        which = torch.randint(len(easel.places), (len(draws),), generator=draws[0])
        places = (easel.w_avg + TRUNCATION * (easel.places[which] - easel.w_avg)).to(device)
        if reading:
            sentences = [captions.caption(factors.draw(1, generator)[0], generator) for generator in draws]
            given, target, labels = tokens(sentences).to(device), towers.read(sentences), None
            encoder, student = adapted.text, adapted.reads
        else:
            chosen = torch.randperm(len(clips.rows), generator=draws[0])[: len(draws)].tolist()
            rows = [_one_of(clips.rows[clip], generator) for clip, generator in zip(chosen, draws, strict=True)]
            given, target = clips.mels[rows].float().to(device), clips.heard[rows].to(device)
            labels = clips.labels[chosen].to(device)
            encoder, student = adapted.sound, adapted.hears
        latent = places + encoder(given)
        mean = means[int(reading)]
        mean.lerp_(latent.detach().mean((0, 1)), 0.02)
        seen = torch.cat([look(w[None]) for w in latent])
        close = cosine_distance(seen, target)
        apart = symmetric_contrastive(seen, target, torch.tensor(HEAT, device=device))
        loss = close + LAMBDA_C * apart + LAMBDA_B * ((latent - mean) / width).square().mean()
        said = {"loss": loss, "cos": 1 - close, "apart": apart}
        if labels is not None and (named := labels.any(1)).any():
            loss = loss + named.float().mean() * cosine_distance(seen[named], labels[named])
        if not towers.own:
            loss = loss + cosine_distance(student(given), target)
        name = "text" if reading else "sound"
        return loss, {f"{name}_{key}": value for key, value in said.items()}

    for number in tqdm(range(done, steps), desc="adaptation", disable=not progress):
        for group in optimiser.param_groups:
            group["lr"] = LEARNING_RATE * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * number / steps)))
        loss, said = step_loss(number)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        if number % LOG_EVERY < READ_EVERY:
            run.log("adaptation", step=number, **{name: value.item() for name, value in said.items()})
        if (number + 1) % SAVE_EVERY == 0 and number + 1 < steps:
            save(number + 1)
    for network in adapted.networks().values():
        network.eval().requires_grad_(False)
    if done < steps:
        run.log("adaptation", step=steps, **measure())
        save(steps)
    return adapted


def _one_of(rows: range, generator: torch.Generator) -> int:
    return rows[int(torch.randint(len(rows), (1,), generator=generator))]


@torch.no_grad()
def evaluate(easel: Easel, clips: Clips, towers: Towers, adapted: Adapted, device: torch.device) -> dict[str, float]:
    """The middle of each sound, all painted onto one place.

    `cos`: how close a picture is to its sound; `shuffled_cos`: to the others; `found`: the share of sounds that are
    closest to their own picture; `apart`: how far pictures of two sounds are apart, in grey levels.
    """
    rows = [clip[len(clip) // 2] for clip in clips.rows[:LOOKED_AT]]
    place = (easel.w_avg + TRUNCATION * (easel.places[0] - easel.w_avg)).to(device)
    latents = place + adapted.sound(clips.mels[rows].float().to(device))
    pictures = torch.cat([easel.paint(w[None]).float() for w in latents])
    likeness = clips.heard[rows].to(device) @ towers.look(pictures).t()
    count = len(rows)
    apart = sum(float((pictures[i] - pictures[j]).abs().mean()) for i in range(count) for j in range(i))
    own = likeness.diagonal()
    return {
        "cos": float(own.mean()),
        "shuffled_cos": float((likeness.sum() - own.sum()) / (count * (count - 1))),
        "found": float((likeness.argmax(1) == torch.arange(count, device=device)).float().mean()),
        "apart": 127.5 * apart / (count * (count - 1) / 2),
    }
