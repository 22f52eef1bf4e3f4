"""What the shipped graphs paint of a sound, as the judges look at it: `engine.offline.paint`, made small."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as nnf
from numpy.typing import NDArray
from torch import Tensor

from engine.bundle import Bundle
from engine.contract import GROUPS, TensorSpec
from engine.offline import paint
from engine.runtime.session import Precision, Runtime, Session, Tensors
from training.evaluation.held_out import FULL_SIZE
from training.evaluation.judge import FILM_FPS, for_picture
from training.networks.recurrent import RecurrentStep
from training.world.sound import SAMPLE_RATE

LOOK_FPS = 5.0  # pictures a second that the picture judge is shown
WARM_S = 1.5  # the show has then heard one whole mel window


@dataclass(frozen=True, slots=True)
class Shown:
    """A film painted at `fps`, in bytes.

    `looks [N, 3, 72, 128]` at `look_times [N]` (s), all of them after the first `WARM_S`; `frames [T, 3, 36, 64]`, all;
    `stills [K, 3, 288, 512]` at the times that were asked for.
    """

    fps: float
    looks: Tensor
    look_times: NDArray[np.float64]
    frames: Tensor
    stills: Tensor


@dataclass(frozen=True, slots=True)
class Easel:
    """A bundle with its graphs open."""

    bundle: Bundle
    sessions: Mapping[str, Session]

    def paint(
        self,
        sound: NDArray[np.float32],
        seed: int,
        *,
        fps: float = FILM_FPS,
        offset: NDArray[np.float32] | None = None,
        stills_s: Iterable[float] = (),
        warm_s: float = WARM_S,
    ) -> Shown:
        """Paint a sound (mono at `SAMPLE_RATE`) over the calm landscape that `seed` draws.

        Every control stands at its default. `offset [L, D]`: what text adds. `fps`: a multiple of `LOOK_FPS`.
        """
        every = round(fps / LOOK_FPS)
        wanted = {round(second * fps) for second in stills_s}
        looks, times, frames, stills = [], [], [], []
        preset: dict[str, Any] = {"base": {"seed": seed}, "offset": offset}
        painted = paint(sound, SAMPLE_RATE, self.bundle, self.sessions, preset, fps=fps, seed=seed)
        for number, frame in enumerate(painted):
            rgb = torch.from_numpy(frame.image[..., :3]).permute(2, 0, 1)[None].float() / 255
            small = for_picture(rgb)
            frames.append(nnf.avg_pool2d(small.float(), 2).round().byte())
            if number % every == 0 and frame.seconds >= warm_s - 1e-6:
                looks.append(small)
                times.append(frame.seconds)
            if number in wanted:
                stills.append((nnf.interpolate(rgb, FULL_SIZE, mode="area") * 255).round().byte())
        return Shown(fps, _joined(looks), np.array(times), _joined(frames), _joined(stills))

    def without_training(self) -> Easel:
        """The same easel with a recurrent step that has learned nothing in the place of the bundle's."""
        return Easel(self.bundle, {**self.sessions, "recurrent": _Untrained(self.bundle)})


def _joined(parts: list[Tensor]) -> Tensor:
    return torch.cat(parts) if parts else torch.empty(0, 3, 1, 1, dtype=torch.uint8)


class _Untrained:
    """A new `RecurrentStep` behind the interface of a session.

    Its heads begin at zero, as in training, so it is a leak towards what the encoder says and nothing more.
    """

    runtime: Runtime = "onnxruntime"
    precision: Precision = "f32"
    inputs: dict[str, TensorSpec]
    outputs: dict[str, TensorSpec]

    def __init__(self, bundle: Bundle) -> None:
        manifest = bundle.manifest
        self.inputs, self.outputs = manifest.graphs["recurrent"].inputs, manifest.graphs["recurrent"].outputs
        groups = {name: getattr(manifest.latents.groups, name) for name in GROUPS}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self._step = RecurrentStep(groups, manifest.latents.dim, manifest.hidden).requires_grad_(False)

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> Tensors:
        w, base, delta, noise = (torch.from_numpy(feeds[name]) for name in ("w", "base", "delta", "noise"))
        hidden = {name: torch.from_numpy(feeds[f"h_{name}"]) for name in GROUPS}
        after, hidden = self._step(w, base, delta, noise, hidden)
        return {"w_next": after.numpy()} | {f"h_{name}_next": hidden[name].numpy() for name in GROUPS}

    def close(self) -> None:
        """Nothing to free."""
