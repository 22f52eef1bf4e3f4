"""The towers that a foreign generator is adapted with: what sound, picture and sentence say on one unit sphere.

The project's own come with it (`towers.safetensors`): the joint embedding of the run that made the default bundle.
`python -m training.towers RUN` writes them anew from a run folder. With `training.clip_towers` CLIP and CLAP take their
place.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as nnf
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from engine.audio.mel import mel_windows
from engine.errors import CymaticError
from training.clips import PICTURE
from training.embedding import JointEmbedding
from training.run import Run
from training.scales import SCALES
from training.world import captions

FILE = Path(__file__).with_name("towers.safetensors")

Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Towers:
    """F_a, F_v and F_t, frozen. `name` and `sha256` say which. Everything they answer is of unit length.

    `hear(sound [n], sample_rate, ends_s [N])` → `[N, E]`: the sound up to each of these times; no gradients.
    `look(pictures [B, 3, H, W] in −1..1)` → `[B, E]`: gradients pass through it.
    `read(sentences)` → `[N, E]`; no gradients.
    `joint`: the project's own networks, with which the bundle's begin; they are these very towers if `own`.
    """

    name: str
    sha256: str
    dim: int
    hear: Callable[[Float32, int, Float32], Tensor]
    look: Callable[[Tensor], Tensor]
    read: Callable[[Sequence[str]], Tensor]
    joint: JointEmbedding
    own: bool


def own_towers(device: torch.device, path: Path = FILE) -> Towers:
    """The project's own. Raises CymaticError, one line, when their file cannot be used."""
    joint = load_joint(path).to(device)

    @torch.no_grad()
    def hear(sound: Float32, sample_rate: int, ends_s: Float32) -> Tensor:
        mels = torch.from_numpy(mel_windows(sound, sample_rate, ends_s))
        return torch.cat([joint.sound(part.to(device)) for part in mels.split(64)])

    def look(pictures: Tensor) -> Tensor:
        return joint.image(nnf.interpolate(pictures, PICTURE, mode="bilinear", antialias=True))

    @torch.no_grad()
    def read(sentences: Sequence[str]) -> Tensor:
        return joint.text(torch.tensor([captions.encode(sentence)[0] for sentence in sentences]).to(device))

    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Towers("cymatic", digest, SCALES["landscape"].embedding_dim, hear, look, read, joint, own=True)


def load_joint(path: Path = FILE) -> JointEmbedding:
    """The joint embedding in a file of `save_joint`, frozen. CymaticError, one line, when it holds none."""
    joint = JointEmbedding.create(SCALES["landscape"])
    try:
        tensors = {name: tensor.float() for name, tensor in load_file(path).items()}
        for name, network in joint.networks().items():
            mine = {key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")}
            network.load_state_dict(mine)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise CymaticError(
            f"{path} does not hold the towers; make them with `python -m training.towers RUN`"
        ) from error
    return joint.freeze()


def save_joint(run: Path, path: Path = FILE) -> None:
    """Write the joint embedding of a finished run at half precision. CymaticError when the run has none."""
    joint = JointEmbedding.create(SCALES["landscape"])
    state = Run(run).restore("embedding", **joint.networks())
    if state is None or int(state["step"]) < SCALES["landscape"].embedding_steps:
        raise CymaticError(f"{run} holds no finished joint embedding")
    Run(run).restore("looking", image=joint.image)
    parts = {
        f"{name}.{key}": value.half().contiguous()
        for name, network in joint.networks().items()
        for key, value in network.state_dict().items()
    }
    save_file(parts, path)


if __name__ == "__main__":
    save_joint(Path(sys.argv[1]))
