"""Splits of the world's clips, and retrieval among held-out ones."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest
import torch
from one_thread import one_thread  # noqa: F401
from tiny_stages import TINY
from torch import Tensor, nn
from tqdm import tqdm

from engine.audio.mel import MelConfig
from training.clips import SPLITS, WINDOWS, SoundWindows, clips_of, make_clip, windows_of
from training.embedding import POOL, JointEmbedding, evaluate, ranks_in
from training.networks.encoders import TextEncoder
from training.run import Run, seeded
from training.world import captions, factors


def test_no_clip_is_in_two_splits() -> None:
    assert list(SPLITS) == ["train", "validation", "test"]
    for a, b in combinations(SPLITS.values(), 2):
        assert max(a.start, b.start) >= min(a.stop, b.stop)
    assert all(len(numbers) >= 1_000_000 for numbers in SPLITS.values())
    used = [clips_of(split, TINY) for split in SPLITS]
    assert [len(numbers) for numbers in used] == [16, 16, 16]
    assert [numbers.start for numbers in used] == [numbers.start for numbers in SPLITS.values()]


def test_a_clip_is_a_function_of_its_number() -> None:
    config = MelConfig()
    first = [make_clip(SPLITS[split].start, 1, config) for split in SPLITS]
    again = make_clip(SPLITS["test"].start, 1, config)
    assert torch.equal(again[0], first[2][0])
    assert torch.equal(again[1], first[2][1])
    for a, b in combinations(first, 2):
        assert not torch.equal(a[1], b[1])
    assert first[0][0].shape == (WINDOWS, 1, config.bands, config.columns)


def test_windows_of_a_split_are_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tqdm, "monitor_interval", 0)  # its thread would outlive the test
    run = Run(tmp_path)
    monkeypatch.setitem(SPLITS, "test", range(20_000_000, 20_000_002))
    made = windows_of(run, TINY, "test")
    assert len(made) == 2 * WINDOWS
    written = (tmp_path / "sounds-test.safetensors").stat().st_mtime_ns
    again = windows_of(run, TINY, "test")
    assert torch.equal(made.mels, again.mels)
    assert (tmp_path / "sounds-test.safetensors").stat().st_mtime_ns == written


def test_ranks_count_what_is_at_least_as_like() -> None:
    likeness = torch.tensor([[0.9, 0.1, 0.2], [0.8, 0.1, 0.5], [0.7, 0.9, 0.8]])
    assert ranks_in(likeness).tolist() == [0, 2, 1]
    assert ranks_in(torch.zeros(4, 4)).tolist() == [3, 3, 3, 3], "a tower that says nothing finds nothing"


class Code(nn.Module):
    """A tower that reads the code `[32]` which stands at the head of its input."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.normalize(x.flatten(1)[:, :32].float(), dim=1)


def test_retrieval_says_its_pool_and_finds_what_agrees() -> None:
    clips = 2 * POOL + 5
    code = torch.randn(clips * WINDOWS, 32, generator=seeded(1))
    mels = torch.zeros(len(code), 1, 32, 2)
    mels.view(len(code), -1)[:, :32] = code
    pictures = torch.zeros(len(code), 3, 4, 8)
    pictures.view(len(code), -1)[:, :32] = code
    windows = SoundWindows(
        mels, factors.draw(len(code), seeded(2)), torch.randint(-1, 9, (len(code),), generator=seeded(3)), pictures
    )
    joint = JointEmbedding(Code(), Code(), TextEncoder(len(captions.WORDS), 32)).freeze()
    object.__setattr__(windows, "pictures", (pictures + 1) * 127.5)  # `seen` undoes this
    found = evaluate(joint, windows)
    assert (found["pool"], found["pools"]) == (POOL, 2 * WINDOWS)
    assert found["retrieval_sound_image"] == found["retrieval5_image_sound"] == 1.0
    names = [f"{a}_{b}" for a in ("sound", "image", "text") for b in ("sound", "image", "text") if a != b]
    assert {f"retrieval{k}_{name}" for k in ("", "5") for name in names} <= set(found)
    for name in names:
        assert found[f"retrieval_{name}"] <= found[f"retrieval5_{name}"]
        if "text" in name:  # untrained: at chance, 1 and 5 in 64
            assert found[f"retrieval_{name}"] < 0.06
            assert 0.02 < found[f"retrieval5_{name}"] < 0.16


def test_few_clips_make_one_small_pool() -> None:
    count = 10 * WINDOWS
    windows = SoundWindows(
        torch.randn(count, 1, 8, 8, generator=seeded(1)),
        factors.draw(count, seeded(2)),
        torch.zeros(count, dtype=torch.long),
        torch.zeros(count, 3, 4, 8),
    )
    found = evaluate(JointEmbedding(Code(), Code(), TextEncoder(len(captions.WORDS), 32)).freeze(), windows)
    assert (found["pool"], found["pools"]) == (10, WINDOWS)
