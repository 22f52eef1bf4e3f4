"""A whole recording in compressed time: reels, soundtrack and file, driven by a clock of the test's own."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from film_reader import FREE, number_of, numbered, read_film
from flash_rule import most_flashes_a_second

from engine.recording.session import HOLD_S, DiskFull, Session
from engine.reel import SOUND_BYTES, Reel

RATE = 8_000
FRAME_S = 1 / 60
HEIGHT, WIDTH = 32, 64


class Clock:
    now = 5_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def reels():
    reels = Reel.create(8, HEIGHT * WIDTH * 4), Reel.create(64, SOUND_BYTES)
    yield reels
    for reel in reels:
        reel.close()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def session(reels, clock, tmp_path):
    return Session(tmp_path / "film.mp4", *reels, HEIGHT, WIDTH, RATE, clock)


def test_half_an_hour_with_a_drifting_sound_card_ends_in_sync(session, reels, clock):
    """Flash and click together every twenty seconds; the card is 150 ppm fast, a third of a second in half an hour.

    Sound comes in blocks whose stamps are up to some milliseconds late, pictures come unevenly, and once three seconds
    of sound are lost, as when an engine is replaced.
    """
    pictures, sound = reels
    rng, began, ppm = np.random.default_rng(0), clock.now, 150e-6
    card_rate, position = RATE * (1 + ppm), 0
    bright, dark = numbered(0xFFFF), numbered(0)
    events = np.arange(20.0, 1790.0, 20.0)
    lit = 0
    while clock.now < began + 1800.0:
        clock.now += rng.uniform(0.3, 0.45)
        passed = clock.now - began
        due = round(passed * card_rate) - position
        samples = np.zeros(due, np.float32)
        at = np.round(events * card_rate).astype(int) - position
        samples[at[(at >= 0) & (at < due)]] = 0.9
        position += due
        if not 1003.0 < passed < 1006.0:
            sound.write_sound(samples, clock.now + 0.003 * rng.exponential(), RATE)
        if lit < len(events) and passed >= events[lit]:  # shown when it happens, to the millisecond
            pictures.write(bright, began + events[lit], 1.0)
            pictures.write(dark, began + events[lit] + 0.05, 1.0)
            lit += 1
        else:
            pictures.write(dark, clock.now, 1.0)
        session.step()
    session.finish()
    film = read_film(session.path)
    assert film.times[-1] == pytest.approx(1800.0, abs=0.2)
    assert len(film.sound) / RATE == pytest.approx(1800.0, abs=0.2)
    bright_at = film.pictures.mean(axis=(1, 2, 3)) > 125
    flashes = film.times[bright_at & ~np.roll(bright_at, 1)]
    loud = np.flatnonzero(np.abs(film.sound) > 0.2)
    clicks = loud[np.diff(loud, prepend=-RATE) > RATE] / RATE
    assert len(flashes) == len(clicks) == len(events)
    offset = clicks - flashes
    assert np.abs(offset).max() < FRAME_S, offset
    assert abs(offset[-1] - offset[0]) < 0.5 * FRAME_S, "and it does not grow"
    assert (session.dropped, session.gaps) == (0, 1)


def test_what_is_shown_is_in_the_film_with_its_fade_and_nothing_twice(session, reels, clock):
    pictures, _ = reels
    for number, level in enumerate((1.0, 0.5, 0.0, 1.0)):
        clock.now += 0.1
        pictures.write(numbered(number + 5), clock.now, level)
        session.step()
    clock.now += 0.1
    session.finish()
    film = read_film(session.path)
    assert film.times == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5], abs=1e-3)
    assert [number_of(film.pictures[i]) for i in (0, 3, 4)] == [5, 8, 8], "the last one was seen until the end"
    assert film.pictures[1].max() == pytest.approx(110, abs=6)
    assert film.pictures[2].max() < 6
    assert session.pictures == 4


def test_a_picture_that_stands_is_written_again(session, reels, clock):
    pictures, _ = reels
    pictures.write(numbered(1), clock.now - 60.0, 1.0)  # held since long before
    for _ in range(40):
        clock.now += 0.1
        session.step()
    session.finish()
    film = read_film(session.path)
    assert film.times[0] == 0.0
    assert film.times[-1] == pytest.approx(4.0, abs=0.01)
    assert np.diff(film.times).max() < HOLD_S + 0.15
    assert session.pictures == 1


def test_a_film_of_a_strobe_glows_and_ends_as_the_display_does(session, reels, clock):
    pictures, _ = reels
    fps = 30
    for pressed in range(2 * fps):
        clock.now += 1 / fps
        pictures.write(numbered(0xFFFF), clock.now, float(pressed % 2 == 0))
        session.step()
    for _ in range(3 * fps):  # nothing new is shown from then on
        clock.now += 1 / fps
        session.step()
    session.finish()
    film = read_film(session.path)
    shown = [film.pictures[np.searchsorted(film.times, at, "right") - 1] for at in np.arange(0.1, 5.0, 1 / fps)]
    assert most_flashes_a_second(shown, fps) <= 3
    light = film.pictures.mean((1, 2, 3))
    assert np.abs(np.diff(light[film.times > 1.0])).max() < 70, "it glows"
    assert light[-1] < 6


def test_when_it_cannot_keep_up_every_other_picture_is_left_out_and_all_are_counted(session, reels, clock):
    pictures, _ = reels
    shown = itertools.count(1)
    for _ in range(30):  # seven pictures in the time of one step, which writes four
        for _ in range(7):
            clock.now += FRAME_S
            pictures.write(numbered(next(shown)), clock.now, 1.0, FREE)
        session.step()
    session.finish()
    film = read_film(session.path)
    numbers = [number_of(picture) for picture in film.pictures][:-1]
    assert session.dropped > 20
    assert session.pictures + session.dropped == next(shown) - 1
    assert numbers == sorted(set(numbers))
    assert np.diff(numbers).max() <= 8, "no long hole"
    assert film.times[:-1] == pytest.approx(np.array(numbers) * FRAME_S, abs=1e-3), "what is there is in its place"


def test_what_is_shown_after_the_end_was_asked_for_does_not_hold_the_film_up(session, reels, clock):
    pictures, _ = reels
    for number in (1, 2):
        clock.now += 0.1
        pictures.write(numbered(number), clock.now, 1.0)
    for number in (3, 4):  # the show goes on while the film is finished
        pictures.write(numbered(number), clock.now + 0.1 * number, 1.0)
    session.finish()
    film = read_film(session.path)
    assert [number_of(picture) for picture in film.pictures] == [1, 2, 2]
    assert film.times[-1] == pytest.approx(0.2, abs=1e-3)
    assert session.dropped == 0


def test_a_recording_that_saw_nothing_ends_without_a_fuss(session, clock):
    session.step()
    clock.now += 0.2
    session.finish()
    assert (session.seconds, session.pictures) == (0.0, 0)


def test_a_disk_that_runs_full_is_left_with_room(session, reels, clock, monkeypatch):
    pictures, _ = reels
    pictures.write(numbered(1), clock.now, 1.0)
    session.step()
    monkeypatch.setattr("engine.recording.session.RESERVE", 1 << 62)
    clock.now += 1.0
    session.step()
    clock.now += 2.0
    with pytest.raises(DiskFull):
        session.step()
    session.finish()
    assert read_film(session.path).times[-1] == pytest.approx(3.0, abs=0.01)
