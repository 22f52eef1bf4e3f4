"""The reel: everything in order, what was overwritten is counted, nothing is torn, and another process reads along."""

from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np
import pytest

from engine import memory
from engine.reel import SOUND_BYTES, Follower, Reel


@pytest.fixture
def reel():
    reel = Reel.create(8, 4096)
    yield reel
    reel.close()


def test_everything_is_read_once_and_in_order(reel):
    reel.write(np.zeros(1, np.uint8), 0.0, 0.0)
    follower = Follower(reel)
    for number in range(1, 6):
        reel.write(np.full((2, number), number, np.uint8), 10.0 + number, number / 10)
    records = [follower.next() for _ in range(6)]
    assert [record.index for record in records] == [1, 2, 3, 4, 5, 6], "the newest before it came, then the rest"
    assert [record.at for record in records[1:]] == [11.0, 12.0, 13.0, 14.0, 15.0]
    assert [record.data.tolist() for record in records[1:3]] == [[1, 1], [2, 2, 2, 2]]
    assert follower.next() is None
    assert (follower.behind, follower.lost) == (0, 0)


def test_a_reader_that_sleeps_loses_the_oldest_and_knows_how_many(reel):
    follower = Follower(reel)
    for number in range(1, 21):
        reel.write(np.array([number], np.uint8), number, 0.0)
    read = []
    while (record := follower.next()) is not None:
        read.append(int(record.data[0]))
    assert read == list(range(14, 21)), "all but the record that a writer may be about to overwrite"
    assert follower.lost == 13


def test_skipping_is_not_losing(reel):
    follower = Follower(reel)
    for number in range(1, 6):
        reel.write(np.array([number], np.uint8), number, 0.0)
    follower.skip(3)
    assert follower.next().index == 4
    assert follower.newest().index == 5
    assert follower.newest() is None
    follower.skip(100)
    assert (follower.next(), follower.lost) == (None, 0)


def test_sound_is_cut_into_records_that_keep_their_times(reel):
    follower = Follower(reel)
    sound = np.arange(2500, dtype=np.float32)
    with pytest.raises(ValueError, match="do not fit"):
        reel.write(sound, 1.0, 1000.0)
    big = Reel.create(8, SOUND_BYTES)
    try:
        follower = Follower(big)
        long = np.arange(10_000, dtype=np.float32)
        big.write_sound(long, 20.0, 1000.0)
        records = [follower.next() for _ in range(5)]
        expected = [20.0 - 7.952, 20.0 - 5.904, 20.0 - 3.856, 20.0 - 1.808, 20.0]
        assert [record.at for record in records] == pytest.approx(expected)
        kept = np.concatenate([record.sound for record in records])
        assert np.array_equal(kept, np.stack([long, long], axis=1)), "mono is on both sides"
        assert {record.value for record in records} == {1000.0}
        for sound, heard in (([[1, 2], [3, 4]], [[1, 2], [3, 4]]), ([[1, 2, 6]], [[3, 3]]), ([[5]], [[5, 5]])):
            big.write_sound(np.array(sound, np.float32), 21.0, 1000.0)
            assert follower.next().sound.tolist() == heard
    finally:
        big.close()


def test_no_record_is_torn_while_the_writer_runs(reel):
    follower, stop = Follower(reel), threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            reel.write(np.full(4096, number % 251, np.uint8), number, number)

    writer = threading.Thread(target=write)
    writer.start()
    seen = 0
    try:
        while seen < 300:
            record = follower.next()
            if record is not None:
                seen += 1
                assert (record.data == record.index % 251).all()
                assert record.at == record.index
    finally:
        stop.set()
        writer.join()
    assert follower.lost + seen + follower.behind >= reel.newest_index - 1


def test_another_process_reads_along(reel):
    reel.write(np.frombuffer(b"shown", np.uint8), 5.0, 0.5)
    code = (
        "import sys; from engine.reel import Reel, Follower; reel = Reel.attach(sys.argv[1])\n"
        "r = Follower(reel).next()\n"
        "print(r.data.tobytes().decode(), r.at, r.value, reel.records, reel.capacity); reel.close()"
    )
    done = subprocess.run([sys.executable, "-c", code, reel.name], capture_output=True, text=True, timeout=60)
    assert (done.stdout.split(), done.stderr) == (["shown", "5.0", "0.5", "8", "4096"], "")


def test_what_is_no_reel_and_what_has_no_room_is_refused(monkeypatch):
    other = memory.create(4096)
    try:
        with pytest.raises(ValueError, match="not a reel"):
            Reel.attach(other.name)
    finally:
        other.close()
        other.unlink()
    if memory.SHM.is_dir():
        with pytest.raises(OSError, match="shared memory is full"):
            Reel.create(4, 1 << 44)
