"""Refining: a preset's offsets in W+ are moved until its picture says what its anchors say.

An inversion encoder answers for one sound or one sentence, on any landscape. How two of them come out together, on this
one, is seen in the picture only. So L_enc's cosines (Eqs. 2-3) are searched for their least through the generator:

    dᵢ = 1 − sign(weightᵢ) · cos(F_v(G(base + Σ pullᵢ·offsetᵢ)), embeddingᵢ)
    loss = log(Σ shareᵢ · exp(SHARP·dᵢ)) / SHARP + λ‖x‖²

SHARP makes the anchor that is seen least count most: no scene is given up for another. First, on a grid, over the
strengths of the offsets, for what hides another does so within a tenth of its strength: of the offsets as they were
given, and of those on which each anchor's own scene is made to stand clearly on its axis of W. Then over `x`, which is
how strong each offset is and how far the picture goes along the principal directions of what the bundle's words do in
W+; what lies off these is no picture, however it may please F_v. That search is a separable CMA-ES (Ros & Hansen, PPSN
2008), for a bundle's generator gives bytes and no gradient. Nothing is kept that hides an anchor more than
`presets.balance` does, which looks at pictures alone and so is right where F_v is mistaken: what does is gone back
from, a quarter of the way at a time. A picture has no inversion encoder: its offset is found in the same way, from
nothing.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from engine.bundle import Bundle
from engine.errors import PresetError
from engine.runtime.session import Session
from presets.balance import ENOUGH, Sight, Sketch, balance, scaled, small, weigh
from presets.compose import pulls
from presets.text import TextEncoder
from training.towers import Towers, own_towers
from training.world.factors import INDEX, SCENE_SLICE

DIRECTIONS = 24
TRIES, TRIES_FROM_NOTHING = 360, 600
SHARP = 8.0
LAMBDA, LAMBDA_FROM_NOTHING = 0.005, 0.001
STRENGTHS = -np.linspace(0.0, 2.4, 33)  # logarithms of an offset's strength: the grid
STRENGTH = 0.2  # of the logarithm of an offset's strength, for one deviation of the search
SPREAD = 0.5  # of the search at first, in deviations of the words
FORMATS = ("JPEG", "PNG", "WEBP")
HIDING = 0.4  # of what balance shows of the anchor that is seen least: what shows less of any is not kept
BACK = (1.0, 0.75, 0.5, 0.25)  # of the way that the search has found: as far as nothing is hidden
SHOWN = 4  # pictures that a score is the mean of, a tenth of a second apart
TRACE, CLEAR = 0.12, 0.35  # on the axis of a scene: not there yet, and no trace any more
UNLIKELY, TEMPERATURE = 0.03, 0.1  # what an embedding hardly means, of a softmax over the scenes

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Part:
    """One anchor: how much it weighs, its unit vector in the joint embedding `[E]`, its offset `[L, D]`."""

    weight: float
    embedding: Float32
    offset: Float32


@dataclass(frozen=True, slots=True)
class Refined:
    """`parts` with new offsets, and each one's cosine to the picture `before` and `after`."""

    parts: tuple[Part, ...]
    before: tuple[float, ...]
    after: tuple[float, ...]


class Refiner:
    """Looks at what a bundle paints through the eyes of its joint embedding. One thread.

    `sessions`: the bundle's opened graphs that painting needs; `encode`: its text encoder. `PresetError`, one line, for
    a bundle that is not of the joint embedding whose towers come with the project.
    """

    def __init__(
        self, bundle: Bundle, sessions: Mapping[str, Session], encode: TextEncoder, towers: Towers | None = None
    ) -> None:
        self._towers = towers or own_towers(torch.device("cpu"))
        scenes = bundle.tensors.get("scene_embeddings")
        mine = self._towers.joint.scenes().detach().numpy()
        if scenes is None or scenes.shape != mine.shape or (scenes * mine).sum(1).min() < 0.98:
            raise PresetError(
                f"nothing can be refined for the bundle {bundle.manifest.name!r}: the image tower that comes with the "
                "project was trained with another one"
            )
        self._bundle, self._sessions, self._scenes = bundle, sessions, scenes
        self._has_axes = _has_axes(sessions["mapping"], bundle.manifest.z_dim)
        offsets = np.stack([encode(word).delta.ravel() for word in bundle.manifest.text.words])
        _, sizes, directions = np.linalg.svd(offsets, full_matrices=False)
        self._directions = directions[:DIRECTIONS] * (sizes[:DIRECTIONS, None] / math.sqrt(len(offsets)))

    def look(self, picture: NDArray[np.uint8]) -> Float32:
        """The unit vector `[E]` of a picture, bytes `[H, W, 3]`; what is not 16:9 loses its edges."""
        rows, columns = picture.shape[:2]
        height, width = self._bundle.manifest.image.height, self._bundle.manifest.image.width
        tall, wide = min(rows, columns * height // width), min(columns, rows * width // height)
        top, left = (rows - tall) // 2, (columns - wide) // 2
        cut = picture[top : top + tall, left : left + wide].copy()
        with torch.no_grad():
            rgb = torch.from_numpy(cut).permute(2, 0, 1)[None].float() / 127.5 - 1.0
            return self._towers.look(rgb)[0].numpy()

    def refine(
        self,
        base: Mapping[str, Any],
        parts: Sequence[Part],
        controls: Mapping[str, float] | None = None,
        *,
        tries: int | None = None,
        progress: bool = True,
    ) -> Refined:
        """Search for offsets with which a preset of this `base` and these `controls` shows all of its parts.

        `base` as `Painter.go` takes it. Nothing that weighs 0 is moved. The offsets it was given stay where no better
        ones are found.
        """
        return self._search(base, parts, controls or {}, tries or TRIES, LAMBDA, progress)

    def see(
        self, base: Mapping[str, Any], picture: NDArray[np.uint8], *, tries: int | None = None,
        progress: bool = True,
    ) -> Refined:  # fmt: skip
        """The one part of a picture `[H, W, 3]`: the offset from `base` with which the bundle paints most like it."""
        shape = self._bundle.tensors["w_avg"].shape
        part = Part(1.0, self.look(picture), np.zeros(shape, np.float32))
        return self._search(base, (part,), {}, tries or TRIES_FROM_NOTHING, LAMBDA_FROM_NOTHING, progress)

    def _search(
        self, base: Mapping[str, Any], parts: Sequence[Part], controls: Mapping[str, float], tries: int, penalty: float,
        progress: bool,
    ) -> Refined:  # fmt: skip
        sketch = Sketch(self._bundle, self._sessions, base, controls)
        weights = [part.weight for part in parts]
        pulled = np.array(pulls(weights))
        if not pulled.any():
            raise PresetError("nothing can be refined: no anchor has a weight")
        shares, signs = np.abs(pulled) / np.abs(pulled).sum(), np.sign(pulled)
        goals = np.stack([part.embedding for part in parts])
        back = pulled / np.square(pulled).sum()  # each part's share of what the directions add

        def moved(x: Float64) -> list[Float32]:
            strengths, along = np.exp(STRENGTH * x[: len(parts)]), x[len(parts) :] @ self._directions
            return [
                (strength * offset + share * along.reshape(offset.shape)).astype(np.float32)
                for offset, strength, share in zip(begun, strengths, back, strict=True)
            ]

        def cosines(offsets: Sequence[Float32], shown: int) -> Float64:
            total = sum(np.float32(pull) * offset for pull, offset in zip(pulled, offsets, strict=True))
            pictures = [sketch.paint(total, 0.1 * (number > 0)) for number in range(shown)]
            return np.mean([goals @ self.look(picture) for picture in pictures], axis=0)

        def missed(found: Float64) -> float:
            return math.log(float(shares @ np.exp(SHARP * (1.0 - signs * found)))) / SHARP

        def loss(x: Float64) -> float:
            return missed(cosines(moved(x), 1)) + penalty * float(x @ x)

        def weighed(offsets: Sequence[Float32], grid: Sequence[float]) -> list[Float32]:
            if len(parts) < 2:
                return list(offsets)
            found = weigh(lambda logarithms: missed(cosines(scaled(offsets, logarithms), 1)), pulled > 0.0, grid)
            return scaled(offsets, found)

        given = [part.offset for part in parts]
        before = cosines(given, SHOWN)
        sight = Sight(lambda offset: small(sketch.paint(offset)), given, pulled.tolist())
        balanced = balance(sketch.paint, given, pulled.tolist())
        wanted = HIDING * min(ENOUGH, balanced.seen)

        def hides(offsets: Sequence[Float32]) -> bool:
            return len(sight.which) > 1 and float(sight.of(offsets).min()) < wanted

        begun, first = given, before
        if hides(given):
            begun = scaled(given, np.log(balanced.factors))
            first = cosines(begun, SHOWN)
        for offsets in (given, [self._cleared(part) for part in parts]):
            candidate = weighed(offsets, STRENGTHS)
            if all(np.array_equal(one, other) for one, other in zip(candidate, begun, strict=True)):
                continue
            seen = cosines(candidate, SHOWN)
            if missed(seen) < missed(first) and not hides(candidate):
                begun, first = candidate, seen
        found = minimise(loss, len(parts) + len(self._directions), tries, np.random.default_rng(0), progress)
        best, after = begun, first
        for share in BACK:
            candidate = weighed(moved(share * found), ())
            seen = cosines(candidate, SHOWN)
            if missed(seen) < missed(first) and not hides(candidate):
                best, after = candidate, seen
                break
        refined = tuple(replace(part, offset=offset) for part, offset in zip(parts, best, strict=True))
        return Refined(refined, tuple(map(float, before)), tuple(map(float, after)))

    def _cleared(self, part: Part) -> Float32:
        """Its offset with the scene that it means standing clearly, and without those that it hardly means.

        Inversion encoder and tower have read the same anchor; what it means most is what both say.
        """
        if not self._has_axes or part.weight <= 0.0:
            return part.offset
        scenes = part.offset[:, SCENE_SLICE].mean(0)
        likeness = np.exp(self._scenes @ part.embedding / TEMPERATURE)
        likeness /= likeness.sum()
        meant = int((likeness * scenes.clip(0.0, 1.0)).argmax())
        if scenes[meant] < TRACE:
            return part.offset
        wanted = np.where((likeness < UNLIKELY) & (scenes > TRACE), 0.0, scenes)
        wanted[meant] = max(scenes[meant], CLEAR)
        cleared = part.offset.copy()
        cleared[:, SCENE_SLICE] += wanted - scenes
        return cleared


def _has_axes(mapping: Session, z_dim: int) -> bool:
    """Whether W begins with the world's factors, each on an axis of its own (`training.networks.stylegan2.Mapping`)."""
    if z_dim != INDEX["flash"]:
        return False
    z = np.linspace(-1.5, 1.5, z_dim, dtype=np.float32)
    w = mapping.run({"z": z[np.newaxis]})["w"][0]
    known = [math.sqrt(3.0) * math.erf(value * math.sqrt(0.5)) for value in z.tolist()]
    return bool(np.abs(w[:, :z_dim] - known).max() < 1e-3 and np.abs(w[:, SCENE_SLICE]).max() < 1e-3)


def read_picture(path: Path) -> NDArray[np.uint8]:
    """A picture file as bytes `[H, W, 3]`. `PresetError`, one line, for a file that is none or far too large."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as image:
                return np.asarray(image.convert("RGB"))
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise PresetError(f"image {path} has too many pixels: make it smaller") from None
    except OSError as error:
        reason = error.strerror or f"it is none of {', '.join(FORMATS)}, or damaged"
        raise PresetError(f"image {path} cannot be read: {reason}") from None
    except (ValueError, SyntaxError):  # what its parsers raise for a damaged file
        raise PresetError(f"image {path} cannot be read: it is damaged") from None


def minimise(
    loss: Callable[[Float64], float], size: int, tries: int, draws: np.random.Generator, progress: bool = False
) -> Float64:
    """Where `loss` of a vector `[size]` is least, near 0, after about `tries` looks: separable CMA-ES."""
    count = 4 + int(3 * math.log(size))
    half = count // 2
    weights = math.log(half + 0.5) - np.log(np.arange(1, half + 1))
    weights /= weights.sum()
    mass = 1.0 / float(np.square(weights).sum())
    learn_path, learn_size = 4 / (size + 4), (mass + 2) / (size + mass + 5)
    damping = 1 + learn_size + 2 * max(0.0, math.sqrt((mass - 1) / (size + 1)) - 1)
    faster = (size + 2) / 3  # a diagonal is learned so much faster than a whole matrix
    learn_one = min(1.0, faster * 2 / ((size + 1.3) ** 2 + mass))
    learn_rest = min(1 - learn_one, faster * 2 * (mass - 2 + 1 / mass) / ((size + 2) ** 2 + mass))
    usual = math.sqrt(size) * (1 - 1 / (4 * size) + 1 / (21 * size * size))  # length of a standard normal vector
    mean, variances, spread = np.zeros(size), np.ones(size), SPREAD
    path, size_path = np.zeros(size), np.zeros(size)
    rounds = max(1, tries // count)
    for number in tqdm(range(1, rounds + 1), desc="refine", disable=not progress):
        drawn = draws.standard_normal((count, size))
        steps = drawn * np.sqrt(variances)
        best = np.argsort([loss(mean + spread * step) for step in steps])[:half]
        step = weights @ steps[best]
        mean = mean + spread * step
        size_path = (1 - learn_size) * size_path
        size_path += math.sqrt(learn_size * (2 - learn_size) * mass) * (weights @ drawn[best])
        length = float(np.linalg.norm(size_path))
        even = length / math.sqrt(1 - (1 - learn_size) ** (2 * number)) < (1.4 + 2 / (size + 1)) * usual
        path = (1 - learn_path) * path + even * math.sqrt(learn_path * (2 - learn_path) * mass) * step
        variances = (1 - learn_one - learn_rest) * variances + learn_one * np.square(path)
        variances += learn_rest * (weights @ np.square(steps[best]))
        spread *= math.exp(learn_size / damping * (length / usual - 1))
    return mean
