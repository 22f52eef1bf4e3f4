"""The latent loop on the tiny bundle and on sessions made to misbehave."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tiny_bundle import DIM, HIDDEN, LAYERS, make_tiny_bundle

from engine.audio.tempo import Beat
from engine.bundle import Bundle, load_bundle
from engine.contract import GROUPS
from engine.latents import LatentLoop
from engine.latents.loop import SWAY_LEAD_S
from engine.runtime import Session, open_graph

LOUD = np.ones((1, 1, 128, 128), np.float32)
QUIET = -LOUD
BASE = np.zeros((LAYERS, DIM), np.float32)


class Scripted:
    """A session whose outputs a function gives."""

    runtime: Any = "openvino"
    precision: Any = "f32"
    inputs: Any = None
    outputs: Any = None

    def __init__(self, answer: Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]) -> None:
        self.run = answer

    def close(self) -> None:
        pass


def hears(delta: float) -> Session:
    return Scripted(lambda feeds: {"delta": np.full((1, LAYERS, DIM), delta, np.float32)})


def moves(w_next: Callable[[Mapping[str, np.ndarray]], np.ndarray], hidden: float = 0.5) -> Session:
    memory = {f"h_{group}_next": np.full((1, HIDDEN), hidden, np.float32) for group in GROUPS}
    return Scripted(lambda feeds: {"w_next": w_next(feeds).astype(np.float32)} | memory)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return load_bundle(make_tiny_bundle(tmp_path_factory.mktemp("loop") / "tiny"))


@pytest.fixture(scope="module", params=["openvino", "onnxruntime"])
def sessions(bundle: Bundle, request: pytest.FixtureRequest) -> Iterator[tuple[Session, Session]]:
    opened = [open_graph(bundle, name, request.param, threads=1) for name in ("encoder", "recurrent")]
    yield opened[0], opened[1]
    for session in opened:
        session.close()


def test_ten_thousand_steps_stay_finite_and_bounded(bundle: Bundle) -> None:
    encoder, recurrent = (open_graph(bundle, name, "onnxruntime", threads=1) for name in ("encoder", "recurrent"))
    loop = LatentLoop(bundle, encoder, recurrent)
    rng = np.random.default_rng(3)
    windows = [rng.uniform(-2, 2, LOUD.shape).astype(np.float32) for _ in range(8)] + [2 * LOUD, 2 * QUIET]
    farthest = 0.0
    for number in range(10_000):
        base = BASE + np.float32(np.sin(number / 500))
        loop.step(windows[number // 7 % len(windows)], base)
        farthest = max(farthest, float(np.abs(loop.w - base).max()))
    assert loop.resets == 0
    assert 0.1 < farthest < 10  # it moves, and within the size of the deltas
    assert np.isfinite(loop.glide(0.01, 0.5, BASE)).all()


def test_what_is_heard_moves_the_latent(bundle: Bundle, sessions: tuple[Session, Session]) -> None:
    ends = []
    for window in (LOUD, QUIET):
        loop = LatentLoop(bundle, *sessions)
        for _ in range(60):
            loop.step(window, BASE)
        ends.append(loop.w.copy())
        np.testing.assert_allclose(loop.w, loop.delta, atol=0.2)
    assert np.abs(ends[0] - ends[1]).mean() > 0.5


def test_the_same_seed_repeats_and_another_does_not(bundle: Bundle, sessions: tuple[Session, Session]) -> None:
    def end(seed: int) -> np.ndarray:
        loop = LatentLoop(bundle, *sessions, seed=seed)
        for _ in range(20):
            loop.step(LOUD, BASE)
        return loop.w.copy()

    np.testing.assert_array_equal(end(1), end(1))
    assert not np.array_equal(end(1), end(2))


def test_hidden_states_are_carried(bundle: Bundle) -> None:
    seen = []

    def answer(feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        seen.append(float(feeds["h_mid"].mean()))
        memory = {f"h_{group}_next": feeds[f"h_{group}"] + np.float32(1) for group in GROUPS}
        return {"w_next": feeds["w"].copy()} | memory

    loop = LatentLoop(bundle, hears(0.0), Scripted(answer))
    for _ in range(4):
        loop.step(LOUD, BASE)
    assert seen == [0.0, 1.0, 2.0, 3.0]


@pytest.mark.parametrize("broken", [np.nan, np.inf, 1e6])
def test_a_broken_step_puts_the_latent_on_its_base_and_is_counted(bundle: Bundle, broken: float) -> None:
    values = iter([1.0, broken, 1.0])
    loop = LatentLoop(bundle, hears(0.5), moves(lambda feeds: np.full((1, LAYERS, DIM), next(values))))
    base = BASE + np.float32(0.25)
    loop.step(LOUD, base)
    assert loop.resets == 0
    loop.step(LOUD, base)
    assert loop.resets == 1
    np.testing.assert_array_equal(loop.w, base)
    loop.step(LOUD, base)
    assert loop.resets == 1
    np.testing.assert_array_equal(loop.w, np.ones((LAYERS, DIM), np.float32))


def test_broken_memory_or_hearing_is_a_broken_step(bundle: Bundle) -> None:
    memory = LatentLoop(bundle, hears(0.0), moves(lambda feeds: feeds["w"], hidden=np.nan))
    memory.step(LOUD, BASE)
    assert memory.resets == 1
    deaf = LatentLoop(bundle, hears(np.nan), moves(lambda feeds: feeds["w"] + feeds["delta"]))
    deaf.step(LOUD, BASE)
    assert deaf.resets == 1
    assert np.isfinite(deaf.delta).all()


def test_a_moved_base_carries_the_latent_along(bundle: Bundle) -> None:
    loop = LatentLoop(bundle, hears(0.0), moves(lambda feeds: feeds["base"] + 0.9 * (feeds["w"] - feeds["base"])))
    loop.step(LOUD, BASE)
    away = loop.w.copy()
    loop.step(LOUD, BASE + np.float32(5))
    np.testing.assert_allclose(loop.w, 5 + 0.9 * away, atol=1e-5)


def test_a_bundle_with_a_sway_swings_with_the_beat(bundle: Bundle) -> None:
    sway = np.full((LAYERS, DIM), 0.5, np.float32)
    swinging = replace(bundle, tensors={**bundle.tensors, "sway": sway})

    def delta(of: Bundle, beat: Beat | None) -> np.ndarray:
        loop = LatentLoop(of, hears(0.25), moves(lambda feeds: feeds["w"]))
        loop.step(LOUD, BASE, beat=beat)
        return loop.delta

    on_the_beat = Beat(7.0 - SWAY_LEAD_S * 2.0, 120.0)  # as far before it as the swing comes late
    np.testing.assert_allclose(delta(swinging, on_the_beat), 0.75, rtol=1e-5)
    np.testing.assert_allclose(delta(swinging, on_the_beat.after(0.25)), -0.25, rtol=1e-4)
    np.testing.assert_allclose(delta(swinging, replace(on_the_beat, confidence=0.5)), 0.5, rtol=1e-5)
    np.testing.assert_array_equal(delta(swinging, None), 0.25)
    np.testing.assert_array_equal(delta(bundle, on_the_beat), 0.25)


def test_glide_reaches_the_newest_latent_in_its_time(bundle: Bundle) -> None:
    loop = LatentLoop(bundle, hears(0.0), moves(lambda feeds: np.ones((1, LAYERS, DIM))))
    loop.step(LOUD, BASE)
    np.testing.assert_allclose(loop.glide(0.010, 0.0, BASE), 1 - np.exp(-1), rtol=1e-5)
    slow = LatentLoop(bundle, hears(0.0), moves(lambda feeds: np.ones((1, LAYERS, DIM))))
    slow.step(LOUD, BASE)
    for _ in range(40):
        last = slow.glide(0.010, 1.0, BASE)
    np.testing.assert_allclose(last, 1 - np.exp(-1), rtol=1e-4)
    np.testing.assert_allclose(slow.glide(60.0, 1.0, BASE), 1.0, rtol=1e-6)


def test_glide_follows_the_base_at_once(bundle: Bundle) -> None:
    loop = LatentLoop(bundle, hears(0.0), moves(lambda feeds: feeds["base"]))
    loop.step(LOUD, BASE)
    elsewhere = BASE + np.float32(3)
    np.testing.assert_array_equal(loop.glide(0.001, 1.0, elsewhere), elsewhere)


def test_due_keeps_the_rate_and_does_not_make_up_for_a_stall(bundle: Bundle) -> None:
    loop = LatentLoop(bundle, hears(0.0), moves(lambda feeds: feeds["w"]))
    steps = sum(loop.due(100 + frame / 60) for frame in range(600))
    assert 299 <= steps <= 301  # ten seconds at 30 Hz
    assert [loop.due(200.0), loop.due(200.0), loop.due(200.001)] == [True, False, False]
