"""Figures against what they must be in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from training.evaluation import metrics


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_spearman_is_the_correlation_of_ranks_and_ties_share_theirs():
    # 1 − 6 Σd² / (n (n² − 1)) without ties
    assert metrics.spearman([10, 20, 30, 40, 50], [1, 3, 2, 5, 4]) == pytest.approx(1 - 6 * 4 / (5 * 24))
    # ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4
    assert metrics.spearman([0, 7, 7, 9], [1, 2, 3, 4]) == pytest.approx(4.5 / np.sqrt(4.5 * 5))
    a, b = rng(1).normal(size=(2, 50))
    assert metrics.spearman(a, b) == pytest.approx(metrics.spearman(np.exp(a), b**3))


def test_spearman_of_a_series_that_never_moves_is_zero():
    assert metrics.spearman(np.ones(9), np.arange(9)) == 0.0
    assert metrics.spearman(np.arange(9), np.arange(9) ** 3) == pytest.approx(1.0)
    assert metrics.spearman(np.arange(9), -np.arange(9)) == pytest.approx(-1.0)


def test_frechet_of_normals_with_commuting_covariances():
    a, b = np.array([1.0, 4.0, 9.0]), np.array([4.0, 4.0, 1.0])
    expected = 3.0**2 + ((np.sqrt(a) - np.sqrt(b)) ** 2).sum()
    assert metrics.frechet(np.zeros(3), np.diag(a), np.array([3.0, 0, 0]), np.diag(b)) == pytest.approx(expected)


def test_frechet_does_not_mind_a_turn_of_the_space():
    draws = rng(3)
    turn, _ = np.linalg.qr(draws.normal(size=(5, 5)))
    roots = draws.normal(size=(2, 5, 5))
    a, b = (root @ root.T for root in roots)
    plain = metrics.frechet(np.zeros(5), a, np.ones(5), b)
    turned = metrics.frechet(np.zeros(5), turn @ a @ turn.T, turn @ np.ones(5), turn @ b @ turn.T)
    assert plain == pytest.approx(turned)
    assert plain > 5.0


def test_fid_of_samples_comes_near_the_distance_of_their_normals():
    draws = rng(1)
    x, y = draws.normal(size=(4000, 4)), 2.0 * draws.normal(size=(4000, 4)) + 1.0
    assert metrics.fid(x, y)["value"] == pytest.approx(4 + 4 * (2 - 1) ** 2, rel=0.1)
    assert metrics.fid(x, x)["value"] == pytest.approx(0, abs=1e-6)
    assert 0 < metrics.halves(x, rng())["value"] < 0.1


def test_mmd_of_two_points_is_the_kernel_itself():
    x, y = np.full((5, 3), 1.0), np.full((7, 3), -1.0)
    # k(x, x) = (3/3 + 1)³ = 8, k(y, y) = 8, k(x, y) = (−3/3 + 1)³ = 0
    assert metrics.mmd2(x, y) == pytest.approx(16.0)
    assert metrics.mmd2(x, x) == pytest.approx(0.0)


def test_mmd_is_unbiased_and_kid_sees_a_shift():
    draws = rng(2)
    same = [metrics.mmd2(draws.normal(size=(40, 8)), draws.normal(size=(40, 8))) for _ in range(300)]
    assert abs(np.mean(same)) < 3 * np.std(same) / np.sqrt(300)
    x, y = draws.normal(size=(2, 60, 2, 8))
    near, far = metrics.kid(x, y, rng()), metrics.kid(x, y + 0.7, rng())
    assert abs(near["value"]) < 0.1 < far["value"]
    assert (near["n"], near["reference"], near["subsets"]) == (60, 60, metrics.SUBSETS)


def test_kid_takes_one_frame_of_a_clip_so_that_twins_do_not_count():
    draws = rng(4)
    clips, own = draws.normal(size=(2, 80, 1, 6))
    twins = np.repeat(clips, 5, axis=1)
    flat = metrics.mmd2(twins.reshape(-1, 6), own.reshape(-1, 6))
    assert abs(metrics.kid(twins, own, rng())["value"] - metrics.kid(clips, own, rng())["value"]) < 0.02
    assert flat > metrics.kid(twins, own, rng())["value"] + 0.05


def test_share_has_wilsons_interval():
    row = metrics.share([True] * 9 + [False])
    assert (row["value"], row["n"]) == (0.9, 10)
    # The two p at which |0.9 − p| is 1.96 standard errors of p.
    for p in (row["low"], row["high"]):
        assert abs(0.9 - p) == pytest.approx(1.96 * np.sqrt(p * (1 - p) / 10), abs=1e-3)
    assert metrics.share([])["value"] is None


def test_mean_leaves_out_what_is_no_number():
    row = metrics.mean([1.0, 3.0, np.nan])
    assert (row["value"], row["n"], row["error"]) == (2.0, 2, 1.0)
    assert metrics.mean([np.nan])["value"] is None


def test_shuffled_labels_fall_to_chance():
    true = np.tile(np.arange(9), 12)
    row = metrics.shuffled_share(true, true, rng())
    assert row["value"] == pytest.approx(11 / 107, abs=0.01)
    always = metrics.shuffled_share(np.zeros(108, int), true, rng())
    assert always["value"] == pytest.approx(1 / 9, abs=0.01)


def test_confusion_and_shares_count():
    assert metrics.confusion([0, 1, 1], [0, 0, 1], 2) == [[1, 1], [0, 1]]
    assert metrics.shares([0, 0, 1, 1], ("a", "b", "c")) == {"a": 0.5, "b": 0.5, "c": 0.0}
