"""Figures: distances between sets of features, rank correlation, shares with their uncertainty. numpy alone.

KID: Bińkowski, Sutherland, Arbel, Gretton, "Demystifying MMD GANs", ICLR 2018. FID: Heusel et al., "GANs trained by a
two time-scale update rule", NeurIPS 2017. FVD is the same distance between features of films: Unterthiner et al., 2019.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float64 = NDArray[np.float64]

SUBSETS = 100
CONFIDENCE = 1.959964  # standard errors to either side that hold 95 %
PERMUTATIONS = 400


def share(right: ArrayLike) -> dict[str, Any]:
    """The share of True and its 95 % interval (Wilson's), as a row of the report."""
    values = np.asarray(right, bool).ravel()
    n = len(values)
    if not n:
        return {"value": None, "n": 0}
    p, z2 = float(values.mean()), CONFIDENCE**2
    middle, half = (p + z2 / (2 * n)) / (1 + z2 / n), math.sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    low, high = middle - CONFIDENCE * half, middle + CONFIDENCE * half
    return {"value": round(p, 4), "n": n, "low": round(max(0.0, low), 4), "high": round(min(1.0, high), 4)}


def mean(values: ArrayLike) -> dict[str, Any]:
    """The mean of the values that are numbers and its standard error, as a row of the report."""
    kept = np.asarray(values, np.float64).ravel()
    kept = kept[np.isfinite(kept)]
    if not len(kept):
        return {"value": None, "n": 0}
    error = float(kept.std(ddof=1) / math.sqrt(len(kept))) if len(kept) > 1 else None
    return {"value": round(float(kept.mean()), 4), "n": len(kept), "error": None if error is None else round(error, 4)}


def shuffled_share(said: ArrayLike, true: ArrayLike, rng: np.random.Generator) -> dict[str, Any]:
    """How often `said[i]` is right about another one, drawn at random: mean and deviation over `PERMUTATIONS`."""
    said, true = np.asarray(said), np.asarray(true)
    found = []
    for _ in range(PERMUTATIONS):
        other = rng.permutation(len(true))
        moved = other != np.arange(len(true))
        found.append(float((said == true[other])[moved].mean()) if moved.any() else math.nan)
    return {
        "value": round(float(np.nanmean(found)), 4),
        "n": len(true),
        "permutations": PERMUTATIONS,
        "deviation": round(float(np.nanstd(found)), 4),
    }


def spearman(a: ArrayLike, b: ArrayLike) -> float:
    """Rank correlation of two series of one length, ties sharing their mean rank; 0 where one of them never moves."""
    ranks = [_ranks(np.asarray(series, np.float64)) for series in (a, b)]
    x, y = (rank - rank.mean() for rank in ranks)
    length = math.sqrt(float(x @ x) * float(y @ y))
    return float(x @ y) / length if length > 0 else 0.0


def _ranks(values: Float64) -> Float64:
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    ranks: Float64 = (last - 0.5 * (count - 1))[place]
    return ranks


def mmd2(x: Float64, y: Float64) -> float:
    """Unbiased squared MMD of features `[N, D]` and `[M, D]` under the kernel (x·y / D + 1)³; below 0 by chance."""
    n, m, d = len(x), len(y), x.shape[1]
    xx, yy, xy = ((a @ b.T / d + 1) ** 3 for a, b in ((x, x), (y, y), (x, y)))
    within = (xx.sum() - np.trace(xx)) / (n * (n - 1)) + (yy.sum() - np.trace(yy)) / (m * (m - 1))
    return float(within - 2 * xy.mean())


def kid(x: Float64, y: Float64, rng: np.random.Generator, subsets: int = SUBSETS) -> dict[str, Any]:
    """KID of features `[clips, frames, D]`: `mmd2` over subsets, as a row of the report.

    A subset takes one frame of each of nine clips in ten, on both sides: frames of one clip are alike, and two of them
    in one set would make it look closer to itself than it is. `deviation` is that over the subsets.
    """
    found = []
    for _ in range(subsets):
        parts = []
        for side in (x, y):
            clips = rng.permutation(len(side))[: max(2, round(0.9 * len(side)))]
            parts.append(side[clips, rng.integers(side.shape[1], size=len(clips))])
        found.append(mmd2(*parts))
    return {
        "value": round(float(np.mean(found)), 5),
        "n": len(x),
        "reference": len(y),
        "subsets": subsets,
        "deviation": round(float(np.std(found)), 5),
    }


def frechet(mean_x: Float64, cov_x: Float64, mean_y: Float64, cov_y: Float64) -> float:
    """Squared Fréchet distance of two normal distributions: |Δmean|² + tr(A + B − 2 (A^½ B A^½)^½)."""
    root = _root(cov_x)
    inner = np.linalg.eigvalsh(root @ cov_y @ root).clip(min=0)
    return float(np.square(mean_x - mean_y).sum() + np.trace(cov_x) + np.trace(cov_y) - 2 * np.sqrt(inner).sum())


def _root(matrix: Float64) -> Float64:
    values, vectors = np.linalg.eigh(matrix)
    root: Float64 = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    return root


def fid(x: Float64, y: Float64) -> dict[str, Any]:
    """Fréchet distance of the normal distributions fitted to features `[N, D]` and `[M, D]`, as a row of the report.

    Biased upwards by small sets: compare it only between sets of one size, and with what the reference gives in halves.
    """
    value = frechet(x.mean(0), np.cov(x, rowvar=False), y.mean(0), np.cov(y, rowvar=False))
    return {"value": round(value, 3), "n": len(x), "reference": len(y)}


def halves(x: Float64, rng: np.random.Generator) -> dict[str, Any]:
    """`fid` of a set's own halves: what is left of the distance when nothing differs, with half the number."""
    order = rng.permutation(len(x))
    return fid(x[order[: len(x) // 2]], x[order[len(x) // 2 :]])


def confusion(said: ArrayLike, true: ArrayLike, count: int) -> list[list[int]]:
    """`[true][said]`: how often."""
    table = np.zeros((count, count), int)
    np.add.at(table, (np.asarray(true), np.asarray(said)), 1)
    return table.tolist()


def shares(said: ArrayLike, names: Sequence[str]) -> dict[str, float]:
    """How large a part of `said` (indices) each name has."""
    values = np.asarray(said).ravel()
    return {name: round(float((values == i).mean()), 4) for i, name in enumerate(names)}
