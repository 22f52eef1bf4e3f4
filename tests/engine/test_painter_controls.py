"""Controls that act in the painter do what their descriptions say, in pictures of a tiny bundle."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from engine.bundle import Bundle, load_bundle
from engine.offline import CALM, open_sessions, paint
from engine.painter import Painter
from engine.runtime.session import Session

RATE = 16_000
FPS = 10.0


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Path) -> Bundle:
    return load_bundle(tiny_bundle)


@pytest.fixture(scope="module")
def sessions(bundle: Bundle) -> Iterator[dict[str, Session]]:
    with open_sessions(bundle, "onnxruntime", threads=1) as sessions:
        yield sessions


@pytest.fixture
def painted(bundle: Bundle, sessions: dict[str, Session]):
    hiss = 0.02 * np.random.default_rng(0).standard_normal(2 * RATE).astype(np.float32)

    def painted(sound: np.ndarray = hiss, **controls: float) -> np.ndarray:
        """The latents of all frames, `[frames, L, D]`."""
        named = {name.replace("_", "/"): value for name, value in controls.items()}
        frames = paint(sound, RATE, bundle, sessions, CALM, controls=named, fps=FPS)
        return np.stack([frame.w_plus for frame in frames])

    return painted


def test_a_seed_puts_another_land_beneath(painted):
    own, first, second = painted(sound_weight=0), painted(sound_weight=0, seed=1), painted(sound_weight=0, seed=2)
    assert own == pytest.approx(first), "the calm preset's own seed is 1"
    assert np.abs(own - second).max() > 0.01


def test_noise_makes_the_picture_wander(painted):
    still, learned, wild = painted(noise=0.0), painted(), painted(noise=3.0)
    assert (painted(noise=0.0) == still).all()
    assert 0.0 < np.abs(learned - still).mean() < np.abs(wild - still).mean()


def test_what_the_gate_holds_back_is_silence(painted):
    silence = painted(np.zeros(2 * RATE, np.float32))
    assert (painted(sound_gate=0.0) == silence).all()
    assert (painted(sound_gate=-60.0) != silence).any()


def test_the_picture_waits(painted):
    now, later = painted(noise=0.0), painted(noise=0.0, latency_offset=500.0)
    assert later.shape == now.shape
    assert (later[:5] == painted(np.zeros(RATE // 2, np.float32), noise=0.0)).all(), "nothing has been heard yet"
    assert np.abs(later[5:] - now[:-5]).mean() < np.abs(later[5:] - now[5:]).mean()


class Counted:
    """A session that counts its runs."""

    def __init__(self, session: Session) -> None:
        self._session, self.runs = session, 0
        self.runtime, self.precision = session.runtime, session.precision
        self.inputs, self.outputs = session.inputs, session.outputs

    def run(self, feeds):
        self.runs += 1
        return self._session.run(feeds)


def heard(bundle: Bundle, sessions: dict[str, Session], struck: set[int]) -> dict[str, list[int]]:
    """Pictures of 12, at the rate of the latent, which waited for the encoder, for the sound's scene to be read, and
    after which the encoder heard; in some an onset is new."""
    encoder, reader = Counted(sessions["encoder"]), Counted(sessions["reader"])
    painter, rng = Painter(bundle, {**sessions, "encoder": encoder, "reader": reader}, RATE), np.random.default_rng(0)
    painter.go(CALM, 0.0)
    found: dict[str, list[int]] = {"encoder": [], "reader": [], "after": []}
    period = 1.0 / bundle.manifest.latents.rate_hz
    for number in range(12):
        sound = np.zeros(round(RATE * period), np.float32)
        if number in struck:
            sound[-RATE // 100 :] = 0.5 * rng.standard_normal(RATE // 100)
        painter.hear(sound)
        assert painter.struck == (number in struck)
        before = encoder.runs, reader.runs
        painter.move(number * period)
        assert not painter.struck, "this picture answers it"
        painter.picture()
        found["encoder"] += [number] * (encoder.runs - before[0])
        found["reader"] += [number] * (reader.runs - before[1])
        painter.catch_up()
        assert encoder.runs == number + 1, "what is heard moves every one of them"
        if number not in found["encoder"]:
            found["after"].append(number)
    return found


def test_a_picture_that_answers_an_onset_waits_for_no_network_that_hears(bundle, sessions):
    every = list(range(12))
    assert heard(bundle, sessions, set()) == {"encoder": every, "reader": [0, 3, 6, 9], "after": []}
    found = heard(bundle, sessions, {3, 9})
    assert found["after"] == [3, 9]
    assert found["encoder"] == [number for number in every if number not in (3, 9)]
    assert found["reader"][1:3] == [4, 6]


def test_what_was_put_off_and_not_caught_up_with_is_done_before_the_next_picture(bundle, sessions):
    encoder = Counted(sessions["encoder"])
    painter = Painter(bundle, {**sessions, "encoder": encoder}, RATE)
    painter.go(CALM, 0.0)
    painter.hear(np.zeros(RATE // 10, np.float32))
    painter.hear(0.5 * np.random.default_rng(0).standard_normal(RATE // 100).astype(np.float32))
    assert painter.struck
    painter.move(0.0)
    assert encoder.runs == 0
    painter.move(0.001)  # before the next turn
    assert encoder.runs == 1


def test_a_picture_is_given_up_only_where_that_is_asked_and_possible(bundle, sessions):
    painter = Painter(bundle, sessions, RATE)
    painter.go(CALM, 0.0)
    painter.move(0.0)
    expected = painter.picture().copy()
    painter.move(0.0)
    assert (painter.picture_unless(lambda: True) == expected).all(), "this runtime cannot be interrupted"


def test_two_moves_at_one_time_both_follow_what_the_painter_was_told(bundle, sessions):
    painter = Painter(bundle, sessions, RATE)
    painter.go(CALM, 0.0)
    first = painter.move(0.0).copy()
    painter.go({"base": {"seed": 7}, "offset": None}, 0.0)
    assert np.abs(painter.move(0.0) - first).max() > 0.01


def test_a_seed_leaves_the_crossfader_where_it_is(bundle, sessions):
    painter = Painter(bundle, sessions, RATE)
    painter.controls |= {"sound/weight": 0.0, "noise": 0.0, "fade": 1.0}
    frames = iter(range(1000))

    def moved(**controls: float) -> np.ndarray:
        painter.controls |= controls
        return [painter.move(next(frames) / FPS).copy() for _ in range(20)][-1]

    painter.go(CALM, 0.0)
    before = moved()
    painter.go({"base": {"seed": 7}, "offset": None}, next(frames) / FPS)
    after = moved()
    between = moved(crossfader=0.5)
    other = moved(seed=9.0)
    assert moved(crossfader=0.0) == pytest.approx(other), "one land lies under both ends"
    assert np.abs(other - before).max() > 0.01
    assert moved(seed=0.0) == pytest.approx(before)
    assert moved(crossfader=0.5) == pytest.approx(between)
    assert (moved(crossfader=1.0) == after).all()
