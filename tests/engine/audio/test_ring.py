"""The ring: whatever the sizes, a read is the newest of what was written, in order, and says what it missed."""

from __future__ import annotations

import threading

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.audio.ring import Ring


@given(
    st.integers(1, 20),
    st.integers(1, 3),
    st.lists(st.one_of(st.integers(0, 70), st.just("read")), max_size=40),
)
def test_reads_give_the_newest_frames_in_order(frames: int, channels: int, steps: list[int | str]) -> None:
    ring = Ring(frames, channels)
    written = seen = lost = 0
    for stamp, step in enumerate([*steps, "read"], start=1):
        if isinstance(step, int):
            block = np.arange(written, written + step, dtype=np.float32)[:, None].repeat(channels, 1)
            ring.write(block, float(stamp))
            written += step
            newest = float(stamp)
            assert ring.stamp == newest
            continue
        block, stamped = ring.read()
        first = max(seen, written - frames)
        lost += first - seen
        assert block.shape == (written - first, channels)
        assert (block == np.arange(first, written)[:, None]).all()
        assert ring.lost == lost
        assert stamped == ring.stamp
        seen = written


def test_a_read_is_a_copy() -> None:
    ring = Ring(8, 1)
    ring.write(np.ones((4, 1), np.float32), 1.0)
    block, _ = ring.read()
    ring.write(np.zeros((16, 1), np.float32), 2.0)
    assert (block == 1).all()


def test_a_reader_beside_a_writer_sees_every_frame_once_or_knows_it_missed_it() -> None:
    ring, total = Ring(4_000, 2), 400_000
    sizes = np.random.default_rng(0).integers(1, 900, 2_000)

    def write() -> None:
        position = 0
        for size in sizes.tolist() * 2:
            size = min(size, total - position)
            ring.write(np.arange(position, position + size, dtype=np.float32)[:, None].repeat(2, 1), float(position))
            position += size

    writer = threading.Thread(target=write)
    writer.start()
    seen, last = 0, -1.0
    while writer.is_alive() or seen + ring.lost < total:
        block, _ = ring.read()
        if len(block):
            assert block[0, 0] > last
            assert (np.diff(block[:, 0]) == 1).all()
            assert (block[:, 0] == block[:, 1]).all()
            last = block[-1, 0]
            seen += len(block)
    writer.join()
    assert seen + ring.lost == total
    assert last == total - 1
