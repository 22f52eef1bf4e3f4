"""The file of a take: true times, whole up to its last seconds whatever happens, errors where it cannot be written."""

from __future__ import annotations

import errno
import time
from pathlib import Path

import numpy as np
import pytest
from film_reader import number_of, numbered, read_film

from engine.errors import CymaticError
from engine.recording.folder import new_file
from engine.recording.take import Take

RATE = 16_000


def write(path: Path, times: np.ndarray) -> None:
    """Numbered pictures at these times, and a sweep as long as they last."""
    seconds = np.arange(round(times[-1] * RATE)) / RATE
    sound = (0.4 * np.sin(2 * np.pi * (200 + 300 * seconds) * seconds)).astype(np.float32)
    sound = np.stack([sound, np.zeros_like(sound)], axis=1)
    with Take(path, 32, 64, RATE) as take:
        heard = 0
        for number, shown_at in enumerate(times):
            take.picture(numbered(number), shown_at)
            take.sound(sound[heard : round(shown_at * RATE)])
            heard = round(shown_at * RATE)


def test_pictures_stand_at_the_very_times_at_which_they_were_shown(tmp_path):
    rng = np.random.default_rng(3)
    times = np.cumsum(rng.choice([0.008, 0.0167, 0.0333, 0.25], 200))
    times -= times[0]
    path = tmp_path / "film.mp4"
    write(path, times)
    film = read_film(path)
    assert film.times == pytest.approx(times, abs=1 / 90_000)
    assert [number_of(picture) for picture in film.pictures] == list(range(200))
    assert len(film.sound) / RATE == pytest.approx(times[-1], abs=1024 / RATE)


@pytest.mark.parametrize("part", [0.35, 0.6, 0.97])
def test_a_film_that_breaks_off_plays_up_to_there(tmp_path, part):
    path = tmp_path / "film.mp4"
    write(path, np.arange(600) / 60)
    data = path.read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(data[: round(part * len(data))])
    film = read_film(cut)
    assert 10 * part - 2.5 < film.times[-1] < 10 * part + 0.5
    assert [number_of(picture) for picture in film.pictures] == list(range(len(film.pictures)))
    assert len(film.sound) / RATE == pytest.approx(film.times[-1], abs=1.1)


def test_two_pictures_at_one_time_both_stay(tmp_path):
    path = tmp_path / "film.mp4"
    write(path, np.array([0.0, 0.5, 0.5, 0.4, 1.0]))
    film = read_film(path)
    assert len(film.pictures) == 5
    assert (np.diff(film.times) > 0).all()


def test_a_disk_that_is_full_is_an_error_with_its_reason():
    with pytest.raises(OSError, match="No space left") as caught:
        write(Path("/dev/full"), np.arange(300) / 60)
    assert caught.value.errno == errno.ENOSPC


def test_new_files_never_take_the_place_of_others(tmp_path):
    now = time.strptime("2026-11-23 21:04:05", "%Y-%m-%d %H:%M:%S")
    folder = tmp_path / "films" / "tonight"
    first, second = new_file(folder, ".mp4", now), new_file(folder, ".mp4", now)
    assert first == folder / "cymatic 2026-11-23 21-04-05.mp4"
    assert second == folder / "cymatic 2026-11-23 21-04-05 (2).mp4"
    (folder / "cymatic 2026-11-23 21-04-05 (3).mp4").symlink_to(tmp_path / "elsewhere")
    assert new_file(folder, ".mp4", now).name.endswith("(4).mp4")
    assert not (tmp_path / "elsewhere").exists()


def test_a_folder_that_cannot_be_had_is_one_line(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CymaticError, match=r"nothing can be written to .*file: "):
        new_file(tmp_path / "file", ".mp4")
