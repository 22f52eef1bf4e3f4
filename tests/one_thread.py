"""A fixture for tests that run networks: one torch thread, so sums have one order and neighbours keep their cores."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    yield from _one_thread()


@pytest.fixture(autouse=True, scope="module")
def one_thread_throughout() -> Iterator[None]:
    """The same for the fixtures that a whole module shares."""
    yield from _one_thread()


def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
