"""The judges: two small networks that look at pictures and at short films and say what they see.

They have learned from pictures of the world alone (`training.evaluation.train_judge`), under seeds that no bundle is
trained with, and no bundle is ever trained through them. They look at 72×128 and at 36×64 pixels: they judge meaning,
not sharpness. Both have batch norm and ReLU, the towers that train a bundle have neither.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as nnf
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from engine.errors import CymaticError
from training.world.factors import COUNT, SCENE_SLICE, SCENES

FILE = Path(__file__).with_name("judge.safetensors")
PICTURE = (72, 128)
FILM = (36, 64)
FILM_FRAMES, FILM_FPS = 16, 10.0  # 1.6 s, as films of the Landscape data set are compared in the literature
FEATURES, FILM_FEATURES = 128, 32
ORDERS = ("forward", "backward", "shuffled", "frozen", "twice as fast")
"""What the film judge tells apart beside the scene."""


class Seen(NamedTuple):
    """What the picture judge says. `scenes` logits `[B, 9]`, above 0 = present; `factors [B, COUNT]` all as 0..1, the
    scenes among them intensities; `features [B, 128]` standardised over world pictures."""

    scenes: Tensor
    factors: Tensor
    features: Tensor

    @property
    def intensity(self) -> Tensor:
        """How intense each scene would be if it were there, `[B, 9]`, 0..1."""
        return self.factors[:, SCENE_SLICE]


class _Residual(nn.Module):
    """Half the size: two convolutions beside a pooled way round."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.past = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(outputs) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        y = nnf.relu(self.norms[0](self.first(x)))
        return nnf.relu(self.norms[1](self.second(y)) + self.norms[2](self.past(nnf.avg_pool2d(x, 2, ceil_mode=True))))


class PictureJudge(nn.Module):
    """Picture `[B, 3, 72, 128]` in 0..1 → `Seen`."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 24, 5, 2, 2, bias=False), nn.BatchNorm2d(24), nn.ReLU())
        self.stages = nn.Sequential(_Residual(24, 48), _Residual(48, 96), _Residual(96, 112))
        self.mix = nn.Linear(112 * 12, FEATURES)
        self.scenes = nn.Linear(FEATURES, len(SCENES))
        self.factors = nn.Linear(FEATURES, COUNT)
        self.register_buffer("mean", torch.zeros(FEATURES))
        self.register_buffer("deviation", torch.ones(FEATURES))

    def forward(self, picture: Tensor) -> Seen:
        x = self.stages(self.stem(picture * 4 - 2))
        x = nnf.relu(self.mix(nnf.adaptive_avg_pool2d(x, (3, 4)).flatten(1)))
        return Seen(self.scenes(x), torch.sigmoid(self.factors(x)), (x - self.mean) / self.deviation)


class FilmSeen(NamedTuple):
    """What the film judge says: logits `scenes [B, 9]` and `order [B, 5]`, and standardised `features [B, 32]`."""

    scenes: Tensor
    order: Tensor
    features: Tensor


class FilmJudge(nn.Module):
    """Film `[B, 16, 3, 36, 64]` in 0..1 at 10 frames/s → `FilmSeen`."""

    def __init__(self) -> None:
        super().__init__()
        self.frames = nn.Sequential(
            nn.Conv2d(6, 16, 5, 2, 2, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
            nn.Conv2d(16, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
            nn.Conv2d(32, 48, 3, 2, 1, bias=False), nn.BatchNorm2d(48), nn.ReLU(),
        )  # fmt: skip
        self.time = nn.Sequential(
            nn.Conv1d(48 * 8, 64, 3, 1, 1, bias=False), nn.BatchNorm1d(64), nn.ReLU(),
            nn.Conv1d(64, 64, 3, 2, 1, bias=False), nn.BatchNorm1d(64), nn.ReLU(),
        )  # fmt: skip
        self.mix = nn.Linear(128, FILM_FEATURES)
        self.scenes = nn.Linear(FILM_FEATURES, len(SCENES))
        self.order = nn.Linear(FILM_FEATURES, len(ORDERS))
        self.register_buffer("mean", torch.zeros(FILM_FEATURES))
        self.register_buffer("deviation", torch.ones(FILM_FEATURES))

    def forward(self, film: Tensor) -> FilmSeen:
        count = film.shape[0]
        # Each frame beside its change to the next: motion is what a pooled look at single frames loses.
        pairs = torch.cat([film[:, :-1] * 4 - 2, 8 * (film[:, 1:] - film[:, :-1])], 2)
        x = nnf.adaptive_avg_pool2d(self.frames(pairs.flatten(0, 1)), (2, 4)).flatten(1)
        x = self.time(x.unflatten(0, (count, -1)).transpose(1, 2))
        x = nnf.relu(self.mix(torch.cat([x.mean(2), x.amax(2)], 1)))
        return FilmSeen(self.scenes(x), self.order(x), (x - self.mean) / self.deviation)


@dataclass(frozen=True, slots=True)
class Judges:
    """Both judges, ready to look, and what their file says of them (`about`, `sha256`)."""

    picture: PictureJudge
    film: FilmJudge
    about: dict[str, str]
    sha256: str

    @torch.no_grad()
    def look(self, pictures: Tensor) -> Seen:
        """Judge pictures `[N, 3, 72, 128]`, bytes."""
        parts = [self.picture(part.float() / 255) for part in pictures.split(64)]
        return Seen(*(torch.cat(column) for column in zip(*parts, strict=True)))

    @torch.no_grad()
    def watch(self, films: Tensor) -> FilmSeen:
        """Judge films `[N, 16, 3, 36, 64]`, bytes."""
        parts = [self.film(part.float() / 255) for part in films.split(16)]
        return FilmSeen(*(torch.cat(column) for column in zip(*parts, strict=True)))


def load_judges(path: Path = FILE) -> Judges:
    """The judges that come with the project. Raises CymaticError, one line, when their file cannot be used."""
    picture, film = PictureJudge(), FilmJudge()
    try:
        with safe_open(path, "pt") as file:
            about = file.metadata() or {}
            stored = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
        for name, network in (("picture", picture), ("film", film)):
            prefix = name + "."
            network.load_state_dict(
                {key.removeprefix(prefix): value for key, value in stored.items() if key.startswith(prefix)},
            )
    except (OSError, SafetensorError, RuntimeError) as error:
        raise CymaticError(
            f"{path} does not hold the judges; make them with `python -m training.evaluation.train_judge`"
        ) from error
    for network in (picture, film):
        network.eval().requires_grad_(False)
    return Judges(picture, film, about, hashlib.sha256(path.read_bytes()).hexdigest())


def for_picture(rgb: Tensor) -> Tensor:
    """Pictures `[N, 3, H, W]` in 0..1 → bytes `[N, 3, 72, 128]`, by area."""
    return _resized(rgb, PICTURE)


def for_film(frames: Tensor) -> Tensor:
    """Frames `[T, 3, H, W]` in 0..1 → bytes `[T, 3, 36, 64]`, by area."""
    return _resized(frames, FILM)


def _resized(rgb: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(rgb.shape[2:]) != size:
        rgb = nnf.interpolate(rgb, size, mode="area")
    return (rgb * 255).round().clamp(0, 255).byte()


def windows(frames: Tensor, starts: Iterable[int], every: int = 1) -> Tensor:
    """Films `[N, 16, 3, 36, 64]` cut from frames `[T, 3, 36, 64]`: from each start on, every `every`-th frame."""
    return torch.stack([frames[start : start + every * FILM_FRAMES : every] for start in starts])
