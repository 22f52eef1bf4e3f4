"""Latest-value channels: the newest dictionary, whole, or none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from engine.channel import LatestValue

ROOT = Path(__file__).resolve().parents[2]

WRITER = """
import sys
from engine.channel import LatestValue
channel = LatestValue.attach(sys.argv[1])
for number in range(1, 5001):
    channel.put({"number": number, "filling": [number] * (number % 300)})
channel.close()
"""


@pytest.fixture
def channel():
    channel = LatestValue.create(4096)
    yield channel
    channel.close()


def test_an_empty_channel_has_no_value(channel):
    assert channel.get() is None


def test_the_newest_value_wins_and_is_given_once(channel):
    other = LatestValue.attach(channel.name)
    for number in range(5):
        channel.put({"number": number, "text": "ü"})
    assert other.get() == (5, {"number": 4, "text": "ü"})
    assert other.get(after=5) is None
    other.close()


def test_a_value_that_does_not_fit_is_refused_and_the_last_one_stays(channel):
    channel.put({"a": 1})
    with pytest.raises(ValueError, match="do not fit"):
        channel.put({"a": "x" * 5000})
    assert channel.get() == (1, {"a": 1})


def test_a_torn_value_is_not_given(channel):
    channel.put({"a": 1})
    _, at = channel._half(1)
    channel._block.buf[at + 1] ^= 0xFF
    assert channel.get() is None
    channel.put({"a": 2})
    assert channel.get() == (2, {"a": 2})


def test_every_value_is_whole_while_another_process_writes_as_fast_as_it_can(channel):
    writer = subprocess.Popen([sys.executable, "-c", WRITER, channel.name], cwd=ROOT, stderr=subprocess.PIPE)
    last, seen = 0, 0
    while writer.poll() is None or last < 5000:
        newest = channel.get(last)
        if newest is None:
            assert writer.poll() in (None, 0)
            continue
        index, value = newest
        assert index > last
        assert value == {"number": index, "filling": [index] * (index % 300)}
        last, seen = index, seen + 1
    assert writer.communicate()[1] == b""
    assert seen > 10


def test_the_creator_unlinks(channel):
    other = LatestValue.create()
    LatestValue.attach(other.name).close()
    other.close()
    other.close()
    with pytest.raises(FileNotFoundError):
        LatestValue.attach(other.name)
