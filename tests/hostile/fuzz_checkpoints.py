"""Mutated checkpoints: each is refused, or is a generator that paints. `python fuzz_checkpoints.py --count 100000`.

True files of every layout, as small as they come, have a few bytes changed, cut out, doubled or swapped, mostly outside
of the numbers of their tensors, where nearly every byte means something. Prints one line of JSON; fails if anything
else than `CheckpointRefused` came, or if a file took longer or more memory than it may.

The files that are mutated differ from process to process, for torch writes the addresses of storages into them: what
goes wrong is kept.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1])]

from checkpoint_files import (  # noqa: E402
    rosinality_tensors,
    stylegan2_tensors,
    stylegan3_tensors,
    write_nvidia,
    write_safetensors,
    write_torch,
)

from engine.errors import CheckpointRefused  # noqa: E402
from export.foreign.checkpoint import open_checkpoint  # noqa: E402
from export.foreign.layouts import build  # noqa: E402

LONGEST_S = 5.0  # of processor time
MOST_MIB = 2048
ODD = (b"\x00", b"\xff", b"\x7f", b"\x80", b"(", b")", b"R", b"c", b"h\x00", b"\xff\xff\xff\xff", b"\x8e" + b"\xff" * 8)


def seeds(folder: Path) -> list[bytes]:
    """Small true files of all layouts and formats."""
    two = stylegan2_tensors(8, 8, 64, 8, 8)
    three = stylegan3_tensors("T", 16, 4, 32, 8, 8, layers=5)
    written = [
        write_nvidia(folder / "2", two, protocol=2),
        write_nvidia(folder / "4", two, protocol=4),
        write_nvidia(folder / "t", three),
        write_nvidia(folder / "r", stylegan3_tensors("R", 16, 4, 32, 8, 8, layers=5)),
        write_torch(folder / "z", rosinality_tensors(8, 8, 64, 8)),
        write_torch(folder / "l", rosinality_tensors(8, 8, 64, 8), legacy=True),
        write_safetensors(folder / "s", two),
    ]
    return [path.read_bytes() for path in written]


def mutated(data: bytes, draws: random.Random) -> bytes:
    """A file with one to four changes."""
    found = bytearray(data)
    for _ in range(draws.choice((1, 1, 1, 2, 3, 4))):
        at = draws.randrange(len(found))
        for _ in range(8):  # runs of numbers look random; structure has small bytes and letters
            if all(byte < 0x80 for byte in found[at : at + 4]):
                break
            at = draws.randrange(len(found))
        length = draws.choice((1, 1, 2, 4, 8, 32))
        match draws.randrange(7):
            case 0:
                found[at] ^= 1 << draws.randrange(8)
            case 1:
                found[at] = draws.randrange(256)
            case 2:
                odd = draws.choice(ODD)
                found[at : at + len(odd)] = odd
            case 3:
                del found[at : at + length]
            case 4:
                found[at:at] = found[at : at + length]
            case 5:
                other = draws.randrange(len(found))
                found[at : at + length] = found[other : other + length]
            case 6:
                if draws.random() < 0.1:
                    del found[at:]
        if not found:
            break
    return bytes(found)


def fuzz(count: int, seed: int, say: Callable[[str], None] = lambda line: None) -> dict[str, float]:
    """Read `count` mutated files: how many were refused and accepted, the slowest, and the memory at the end.

    Raises AssertionError, after all of them, for files that neither are refused nor paint, with where they are kept.
    """
    torch.set_num_threads(1)
    draws = random.Random(seed)
    refused = accepted = 0
    slowest = 0.0
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as scratch:
        originals = seeds(Path(scratch))
        path = Path(scratch) / "mutated"
        for number in range(count):
            path.unlink(missing_ok=True)  # a new file: the old one may still be mapped
            path.write_bytes(mutated(originals[number % len(originals)], draws))
            begun, fault = time.process_time(), ""
            try:
                with open_checkpoint(path) as checkpoint:
                    build(checkpoint)  # which paints, and refuses what paints nothing finite
                accepted += 1
            except CheckpointRefused as error:
                refused += 1
                if "\n" in str(error):
                    fault = "a refusal of several lines"
            except Exception as error:  # noqa: BLE001 - it is what is looked for
                fault = f"{type(error).__name__}: {error}"
            took = time.process_time() - begun
            slowest = max(slowest, took)
            if took >= LONGEST_S:
                fault = f"it took {took:.1f} s"
            if fault:
                kept = Path(tempfile.gettempdir()) / f"mutated-{os.getpid()}-{number}"
                kept.write_bytes(path.read_bytes())
                wrong.append(f"{kept}: {fault}")
                say(wrong[-1])
            if number % 1000 == 999:
                say(f"{number + 1}: {refused} refused, {accepted} paint, slowest {slowest:.2f} s")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    assert not wrong, f"{len(wrong)} files went wrong, such as {wrong[0]}"
    assert memory < MOST_MIB
    return {"files": count, "refused": refused, "accepted": accepted, "slowest_s": slowest, "memory_mib": memory}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    found = fuzz(options.count, options.seed, lambda line: print(line, file=sys.stderr, flush=True))  # noqa: T201
    print(json.dumps(found))  # noqa: T201
