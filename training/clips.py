"""Sound windows for training: clips of the world's sound, cut into mel windows with the factors that sounded.

Clip i is always the same clip, and `SPLITS` says which clips are for what. Windows are kept on disk in the run folder
(safetensors), so a resumed run starts at once. What is drawn for a batch takes one generator a row
(`training.run.streams`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as nnf
from safetensors.torch import load, save
from torch import Tensor
from tqdm import tqdm

from engine.audio.mel import CLIP as LOUDEST
from engine.audio.mel import MelConfig, mel_windows
from training import distributed
from training.device import pick
from training.pictures import FieldTiles
from training.run import Run, seeded
from training.scales import Scale
from training.world import captions, factors, fields
from training.world.music import synthesise_any
from training.world.picture import render
from training.world.sound import SAMPLE_RATE

CLIP_S = 5.0
PICTURE = (72, 128)  # what F_v looks at
WINDOWS = 6  # cut from each clip
HEARD_S = 0.3  # factors are averaged over this long before the window's end: what a listener would call "now"
# Clips by number: to learn from, to look at while choosing, and to report on. No clip is in two of them.
SPLITS = {
    "train": range(10_000_000),
    "validation": range(10_000_000, 20_000_000),
    "test": range(20_000_000, 30_000_000),
}


@dataclass(frozen=True, slots=True)
class SoundWindows:
    """`mels [N, 1, bands, columns]` (half precision), `factors [N, COUNT]`, `scenes [N]` (−1 calm), and
    `pictures [N, 3, 72, 128]` (bytes): what the world looked like at the windows' ends."""

    mels: Tensor
    factors: Tensor
    scenes: Tensor
    pictures: Tensor

    def __len__(self) -> int:
        return len(self.mels)

    def batch(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mels, factors and scenes of some rows."""
        return self.mels[rows].float(), self.factors[rows], self.scenes[rows]

    def seen(self, rows: Tensor) -> Tensor:
        """Pictures of some rows, `[B, 3, 72, 128]` in −1..1."""
        return self.pictures[rows].float() / 127.5 - 1


def make_clip(number: int, seed: int, config: MelConfig) -> tuple[Tensor, Tensor, int]:
    """Clip `number`: mels `[WINDOWS, 1, bands, columns]`, factors `[WINDOWS, COUNT]`, scene."""
    generator = seeded(seed, 31, number)
    tracks = factors.draw_tracks(CLIP_S, generator)
    sound = synthesise_any(tracks, generator, SAMPLE_RATE)
    ends = 0.5 + (CLIP_S - 0.5) * torch.rand(WINDOWS, generator=generator)
    mels = torch.from_numpy(mel_windows(sound.numpy(), SAMPLE_RATE, ends.numpy(), config))
    moments = (ends[:, None] - torch.linspace(0, HEARD_S, 5)).clamp(min=0)
    heard = tracks.at(moments.flatten()).view(WINDOWS, 5, -1).mean(1)
    return mels, heard, tracks.scene


def clips_of(split: str, scale: Scale) -> range:
    """The clips of a split that a run of this scale uses: a twelfth as many are held out as are learned from."""
    count = scale.embedding_clips if split == "train" else max(16, scale.embedding_clips // 12)
    return SPLITS[split][:count]


def windows_of(run: Run, scale: Scale, split: str, progress: bool = False) -> SoundWindows:
    """Windows of a split, `WINDOWS` of each clip in a row; made once, each process its part, then read back."""
    clips, name = clips_of(split, scale), f"sounds-{split}"
    path = run.folder / f"{name}.safetensors"
    if (content := run.read(path)) is not None:
        stored = load(content)
        if len(stored["scenes"]) == len(clips) * WINDOWS:
            return SoundWindows(**stored)
    mels, heard, scenes, pictures = [], [], [], []
    tiles = FieldTiles(scale.generator.size, device=pick())
    for number in tqdm(clips[distributed.rank() :: distributed.size()], desc=name, disable=not progress):
        clip_mels, clip_factors, scene = make_clip(number, scale.seed, MelConfig())
        mels.append(clip_mels.half())
        heard.append(clip_factors)
        scenes.append(torch.full((WINDOWS,), scene))
        pictures.append(world_pictures(clip_factors, tiles, seeded(scale.seed, 32, number)))
    made = {"mels": mels, "factors": heard, "scenes": scenes, "pictures": pictures}
    stored = _all_clips({name: torch.stack(parts) for name, parts in made.items()}, len(clips))
    run.write(path, save(stored))
    return SoundWindows(**stored)


def _all_clips(mine: dict[str, Tensor], count: int) -> dict[str, Tensor]:
    """Tensors `[clips, WINDOWS, …]` of every process → `[count · WINDOWS, …]` in the order of the clips."""
    whole = {name: part.new_empty(count, *part.shape[1:]) for name, part in mine.items()}
    for source in range(distributed.size()):
        content = distributed.share(save(mine) if source == distributed.rank() else None, source)
        for name, part in load(content or b"").items():
            whole[name][source :: distributed.size()] = part
    return {name: parts.flatten(0, 1) for name, parts in whole.items()}


def world_pictures(vectors: Tensor, tiles: FieldTiles, generator: torch.Generator) -> Tensor:
    """World pictures `[B, 3, 72, 128]` (bytes) of factor vectors, at random field offsets."""
    tile = tiles.at(PICTURE[0]) if tiles.full.shape[1] >= PICTURE[0] else tiles.full
    offsets = torch.rand(len(vectors), fields.COUNT, 2, generator=generator).to(tile.device)
    picture = render(vectors.to(tile.device), fields.scroll(tile, offsets))
    if tuple(picture.shape[2:]) != PICTURE:
        picture = nnf.interpolate(picture, PICTURE, mode="bilinear", align_corners=False)
    return (picture * 255).round().byte().cpu()


def tokens_for(vectors: Tensor, draws: Sequence[torch.Generator], unknown: float = 0.04, loose: float = 0.35) -> Tensor:
    """A fresh caption for each factor vector as tokens `[B, LENGTH]`.

    The share `unknown` of the words becomes unknown, so that a performer's own words do not confuse the encoder; the
    share `loose` of the captions are words in no order.
    """
    rows = []
    for vector, generator in zip(vectors, draws, strict=True):
        say = captions.loose if float(torch.rand(1, generator=generator)) < loose else captions.caption
        tokens = torch.tensor(captions.encode(say(vector, generator))[0])
        lost = (torch.rand(tokens.shape, generator=generator) < unknown) & (tokens > captions.UNKNOWN)
        rows.append(tokens.masked_fill(lost, captions.UNKNOWN))
    return torch.stack(rows)


def label_tokens(scenes: Tensor, draws: Sequence[torch.Generator]) -> Tensor:
    """Short prompts for scenes `[B]` (−1 calm) as tokens `[B, LENGTH]`."""
    prompts = zip(scenes.tolist(), draws, strict=True)
    return torch.tensor([captions.encode(captions.label(scene, generator))[0] for scene, generator in prompts])


def spec_augment(mels: Tensor, draws: Sequence[torch.Generator]) -> Tensor:
    """SpecAugment (Park et al. 2019) on `mels [B, 1, bands, columns]`, a copy.

    A band of frequencies (at most 15 %) and one of times (at most 30 %) become the window's mean, then a gain of ±0.1.
    """
    mels = mels.clone()
    _, _, bands, columns = mels.shape
    for row, generator in zip(mels, draws, strict=True):
        f, t, f0, t0, gain = torch.rand(5, generator=generator).tolist()
        mean = row.mean()
        height, width = int(f * 0.15 * bands), int(t * 0.3 * columns)
        row[:, int(f0 * (bands - height)) :][:, :height] = mean
        row[:, :, int(t0 * (columns - width)) :][:, :, :width] = mean
        row += 0.2 * (gain - 0.5)
    return mels


def other_microphone(mels: Tensor, draws: Sequence[torch.Generator]) -> Tensor:
    """What another microphone would have heard of each clip, on `mels [B, 1, bands, columns]`, a copy.

    One generator a clip, whose moments follow each other: all of them get one gain, one tilt and one ripple over the
    bands, so that how loudness and colour move within the clip stays as it was. Silence stays silent.
    """
    per_clip, bands = len(mels) // len(draws), mels.shape[2]
    across = torch.linspace(-1.0, 1.0, bands)
    curves = []
    for generator in draws:
        gain, tilt, ripple = (2 * torch.rand(3, generator=generator) - 1) * torch.tensor([0.25, 0.2, 0.12])
        period, phase = torch.rand(2, generator=generator)
        curve = gain + tilt * across + ripple * torch.cos(math.tau * (phase + (0.5 + 1.5 * period) * across))
        curves += [curve] * per_clip
    audible = ((mels + LOUDEST) * 2.0).clamp(0.0, 1.0)
    return (mels + audible * torch.stack(curves)[:, None, :, None]).clamp(-LOUDEST, LOUDEST)
