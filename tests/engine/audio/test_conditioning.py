"""Gain, gate and delay: what comes out is the stream's own affair, not that of its blocks."""

from __future__ import annotations

import numpy as np
import pytest

from engine.audio.conditioning import CLOSE_S, GATE_OPEN_DB, HOLD_S, Conditioner

RATE = 48_000


def run(sound: np.ndarray, block: int, gain_db: float = 0.0, gate_db: float = GATE_OPEN_DB, delay_s: float = 0.0):
    conditioner = Conditioner(RATE)
    blocks = (sound[at : at + block] for at in range(0, len(sound), block))
    return np.concatenate([conditioner.push(piece, gain_db, gate_db, delay_s) for piece in blocks])


@pytest.fixture
def burst() -> np.ndarray:
    """A second of hiss at −60 dBFS with 0.1 s of noise at −20 in it."""
    sound = np.random.default_rng(0).uniform(-0.001, 0.001, RATE).astype(np.float32)
    sound[RATE // 4 : RATE // 4 + RATE // 10] *= 100.0
    return sound


def test_at_rest_it_changes_nothing(burst: np.ndarray):
    assert (run(burst, 777) == burst).all()
    assert run(burst, 777, gain_db=6.0) == pytest.approx(burst * 1.9953, rel=1e-4)


def test_the_gate_lets_the_note_and_its_tail_through_and_nothing_else(burst: np.ndarray):
    heard = run(burst, 480, gate_db=-40.0)
    begins, ends = RATE // 4, RATE // 4 + RATE // 10
    assert not heard[: begins - 1].any()
    tail = int(HOLD_S * RATE) - 100  # the last samples of a burst may happen to be soft
    assert (heard[begins + 100 : ends + tail] == burst[begins + 100 : ends + tail]).all()
    assert not heard[ends + int((HOLD_S + CLOSE_S) * RATE) + 1 :].any()
    closing = np.abs(heard[ends + tail + 200 : ends + int((HOLD_S + CLOSE_S) * RATE)])
    assert 0.0 < closing.max() < 0.001, "it fades, it does not click"


def test_the_gate_stands_behind_the_gain(burst: np.ndarray):
    assert not run(burst * 0.01, 480, gate_db=-40.0).any()
    assert run(burst * 0.01, 480, gain_db=24.0, gate_db=-40.0).any()


def test_a_delay_moves_the_sound(burst: np.ndarray):
    held = RATE // 10
    heard = run(burst, 333, delay_s=0.1)
    assert len(heard) == len(burst) - held
    assert (heard == burst[:-held]).all()


def test_a_delay_that_is_turned_down_catches_up(burst: np.ndarray):
    conditioner = Conditioner(RATE)
    first = conditioner.push(burst[:9600], 0.0, GATE_OPEN_DB, 0.1)
    then = conditioner.push(burst[9600:9700], 0.0, GATE_OPEN_DB, 0.0)
    assert (np.concatenate([first, then]) == burst[:9700]).all()
    assert (conditioner.push(burst[9700:9800], 0.0, GATE_OPEN_DB, 0.0) == burst[9700:9800]).all()


@pytest.mark.parametrize("block", [1, 37, 480, 48_000])
def test_blocks_make_no_difference(burst: np.ndarray, block: int):
    sound = burst[: RATE // 2 if block > 1 else RATE // 20]
    settings = {"gain_db": 3.0, "gate_db": -45.0, "delay_s": 0.02}
    assert (run(sound, block, **settings) == run(sound, 1000, **settings)).all()


def test_empty_blocks_are_taken():
    conditioner = Conditioner(RATE)
    assert len(conditioner.push(np.empty(0, np.float32), 0.0, -30.0, 0.05)) == 0
