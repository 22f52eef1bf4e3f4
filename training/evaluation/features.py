"""What KID, FID and FVD compare: features of the project's own judges, or of a network that somebody brings as a file.

No ImageNet weights come with the project. A standard network (Inception, for figures that compare with other work) can
be given as an ONNX file with one float32 input `[1, 3, H, W]`, RGB in 0..1, and the features as its first output; it is
opened by ONNX Runtime, nothing in it is ever unpickled.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as nnf
from numpy.typing import NDArray
from torch import Tensor

from engine.errors import CymaticError
from engine.runtime.session import open_session
from training.evaluation.judge import Judges, for_picture

Float64 = NDArray[np.float64]


class Eye(Protocol):
    """Something that turns full-size pictures, bytes `[N, 3, H, W]`, into features `[N, D]`.

    `name` says for the report what it is; `standardise`: compare its features in deviations of the reference set.
    """

    name: str
    standardise: bool

    def __call__(self, pictures: Tensor) -> Float64: ...


class JudgeEye:
    """The picture judge's last hidden layer: what stands in the picture, at 72×128."""

    name = "the project's picture judge, last hidden layer, 128 features of 72×128 pictures"
    standardise = True

    def __init__(self, judges: Judges) -> None:
        self._judges = judges

    def __call__(self, pictures: Tensor) -> Float64:
        return self._judges.look(for_picture(pictures.float() / 255)).features.double().numpy()


class TextureEye:
    """Mean and deviation of the picture judge's first maps over the whole picture at its full size: how crisp it is."""

    name = "the project's picture judge, mean and deviation of its first 72 maps over the 288×512 picture"
    standardise = True

    def __init__(self, judges: Judges) -> None:
        self._stem, self._stage = judges.picture.stem, judges.picture.stages[0]

    @torch.no_grad()
    def __call__(self, pictures: Tensor) -> Float64:
        found = []
        for picture in pictures.split(4):
            first = self._stem(picture.float() / 255 * 4 - 2)
            maps = [part.flatten(2) for part in (first, self._stage(first))]
            found.append(torch.cat([part.mean(2) for part in maps] + [part.std(2) for part in maps], 1))
        return torch.cat(found).double().numpy()


class FileEye:
    """A feature network from an ONNX file. Raises CymaticError, one line, when the file is no such network."""

    standardise = False  # as the literature compares them

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise CymaticError(f"no feature network at {path}: give an ONNX file")
        self._session = open_session(path, "onnxruntime")
        inputs = list(self._session.inputs.items())
        shape = inputs[0][1].shape if len(inputs) == 1 else ()
        if len(shape) != 4 or shape[:2] != (1, 3) or inputs[0][1].dtype != "float32":
            self._session.close()
            raise CymaticError(f"{path} takes {dict(self._session.inputs)}, not one float32 [1, 3, height, width]")
        self._input, self._size = inputs[0][0], shape[2:]
        self.name = f"{path.name}, {self._size[0]}×{self._size[1]} pictures in 0..1"

    def __call__(self, pictures: Tensor) -> Float64:
        found = []
        for picture in pictures.split(1):
            rgb = picture.float() / 255
            mode = "area" if rgb.shape[2] >= self._size[0] and rgb.shape[3] >= self._size[1] else "bilinear"
            fed = nnf.interpolate(rgb, self._size, mode=mode).contiguous().numpy()
            found.append(next(iter(self._session.run({self._input: fed}).values())).ravel().astype(np.float64))
        return np.stack(found)

    def close(self) -> None:
        """Free the network."""
        self._session.close()
