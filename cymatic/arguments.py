"""Numbers on the command line, refused where they make no sense."""

from __future__ import annotations

import argparse

from engine.control.registry import MOST_CHANNELS


def frame_rate(text: str) -> float:
    """Frames a second, 1 to 240."""
    return _number(text, 1.0, 240.0)


def seconds(text: str) -> float:
    """A length of time, from nothing to more than anyone waits."""
    return _number(text, 0.0, 1e9)


def channel(text: str) -> int:
    """A channel of an input, from 1."""
    number = _number(text, 1, MOST_CHANNELS)
    if not number.is_integer():
        raise argparse.ArgumentTypeError(f"{text} is not a whole number")
    return int(number)


def _number(text: str, lowest: float, highest: float) -> float:
    value = float(text)
    if not lowest <= value <= highest:
        raise argparse.ArgumentTypeError(f"{text} is not between {lowest:g} and {highest:g}")
    return value
