"""The frame slot: newest wins, nothing is torn, whoever creates it takes it away."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from engine.slot import FrameSlot

ROOT = Path(__file__).resolve().parents[2]
STATS = (1.0, 2.0, 3.0, 4.0, 5.0)

WRITER = """
import sys
import numpy as np
from engine.slot import FrameSlot
slot = FrameSlot.attach(sys.argv[1])
picture = np.empty((slot.height, slot.width, 4), np.uint8)
for index in range(slot.newest_index + 1, slot.newest_index + 1 + int(sys.argv[2])):
    picture[...] = index % 251
    slot.publish(picture, index / 8, (index, 0, 0, 0, 0), index / 4)
slot.close()
"""


def plain(value: int, height: int = 9, width: int = 16) -> np.ndarray:
    return np.full((height, width, 4), value, np.uint8)


@pytest.fixture
def slot():
    slot = FrameSlot.create(9, 16)
    yield slot
    slot.close()


def test_an_empty_slot_has_no_picture(slot):
    assert slot.newest() is None
    assert slot.newest_index == 0


def test_the_newest_picture_wins_and_is_given_once(slot):
    writer = FrameSlot.attach(slot.name)
    for value in (10, 20, 30, 40):
        writer.publish(plain(value), 1.5, STATS, 1.25, 0.75)
    frame = slot.newest()
    assert frame is not None
    assert frame.index == 4
    assert (frame.rgba == 40).all()
    assert (frame.captured_at, frame.started_at, frame.onset_at, frame.stats) == (1.5, 1.25, 0.75, STATS)
    assert frame.written_at <= frame.published_at <= time.perf_counter()
    assert slot.newest(after_index=4) is None
    writer.close()


def test_the_readers_picture_is_its_own(slot):
    slot.publish(plain(1), 0.0, STATS)
    frame = slot.newest()
    for value in range(2, 8):
        slot.publish(plain(value), 0.0, STATS)
    assert (frame.rgba == 1).all()


def test_a_picture_that_is_being_written_is_not_given(slot):
    slot.publish(plain(1), 0.0, STATS)
    head = slot._heads[1]
    head["sequence"] += 1  # as if the writer were in the middle of it
    assert slot.newest() is None
    head["sequence"] += 1
    assert slot.newest().index == 1


def test_a_writer_that_died_in_the_middle_is_followed_by_another(slot):
    slot.publish(plain(1), 0.0, STATS)
    slot._heads[2]["sequence"] |= 1  # the buffer of picture 2 was begun and never finished
    slot._pixels[2][: slot.height // 2] = 99
    assert slot.newest().index == 1
    writer = FrameSlot.attach(slot.name)
    writer.publish(plain(2), 0.0, STATS)
    frame = slot.newest(1)
    assert frame.index == 2
    assert (frame.rgba == 2).all()
    writer.close()


def test_nothing_is_torn_while_another_process_writes_as_fast_as_it_can():
    slot = FrameSlot.create(180, 320)  # large enough that a copy takes a while
    try:
        command = [sys.executable, "-c", WRITER, slot.name, "4000"]
        writer = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE)
        last, seen = 0, 0
        while writer.poll() is None or slot.newest_index > last:
            frame = slot.newest(last)
            if frame is None:
                continue
            assert frame.index > last
            assert (frame.rgba == frame.index % 251).all()
            assert (frame.captured_at, frame.started_at) == (frame.index / 8, frame.index / 4)
            assert frame.stats[0] == frame.index
            assert frame.whole
            last, seen = frame.index, seen + 1
        assert writer.communicate()[1] == b"", "the writer complained, perhaps of shared memory that is not its own"
        assert writer.returncode == 0
        assert last == 4000
        assert seen > 10
    finally:
        slot.close()


def test_another_process_counts_on_where_the_first_one_stopped(slot):
    for _ in range(2):
        subprocess.run([sys.executable, "-c", WRITER, slot.name, "5"], cwd=ROOT, check=True, timeout=60)
    assert slot.newest().index == 10


def test_the_creator_unlinks_and_closing_twice_is_harmless():
    slot = FrameSlot.create(9, 16)
    writer = FrameSlot.attach(slot.name)
    writer.close()
    assert FrameSlot.attach(slot.name).close() is None, "the other side closing must not take the memory away"
    slot.close()
    slot.close()
    with pytest.raises(FileNotFoundError):
        FrameSlot.attach(slot.name)


def test_a_block_tells_who_created_it(slot):
    from engine import memory

    assert memory.creator(slot.name) == os.getpid()
    assert len(slot.name) < 30, "macOS takes no longer names, and the slash before it counts"
    assert memory.creator("cymatic-nonsense") == memory.creator("psm_1234") == 0


def test_something_else_is_refused():
    from engine import memory

    block = memory.create(4096)
    with pytest.raises(ValueError, match="not a frame slot"):
        FrameSlot.attach(block.name)
    block.close()
    block.unlink()


def test_a_picture_of_two_halves_is_not_whole(slot):
    rng = np.random.default_rng(0)
    one, two = rng.integers(0, 256, (2, slot.height, slot.width, 4), np.uint8)
    slot.publish(one, 0.0, STATS)
    frame = slot.newest()
    assert frame.whole
    frame.rgba[slot.height // 2 :] = two[slot.height // 2 :]
    assert not frame.whole
