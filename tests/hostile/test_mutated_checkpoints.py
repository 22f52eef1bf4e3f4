"""A few hundred mutated checkpoints; `fuzz_checkpoints.py` reads as many as one likes."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from fuzz_checkpoints import fuzz, mutated, seeds

from export.foreign.checkpoint import open_checkpoint
from export.foreign.layouts import build


@pytest.mark.timeout(600)
def test_mutated_files_are_refused_or_paint() -> None:
    found = fuzz(350, seed=7)
    assert found["refused"] > 50
    assert found["accepted"] > 20
    assert found["refused"] + found["accepted"] == 350


def test_what_is_mutated_are_true_files(tmp_path: Path) -> None:
    originals = seeds(tmp_path)
    kinds = []
    for number, data in enumerate(originals):
        path = tmp_path / f"seed-{number}"
        path.write_bytes(data)
        with open_checkpoint(path) as checkpoint:
            kinds.append(build(checkpoint).kind)
    assert kinds == ["StyleGAN2", "StyleGAN2", "StyleGAN3-T", "StyleGAN3-R", "StyleGAN2", "StyleGAN2", "StyleGAN2"]
    draws = random.Random(1)
    assert sum(mutated(originals[1], draws) != originals[1] for _ in range(50)) > 40
