"""Whether a set of hours drifts: two hours of mixed sound through the encoder and the recurrent step of a bundle.

    python benchmarks/drift.py [--bundle landscape] [--minutes 120] [--report drift.json]

Silence, then held-out clips of all nine scenes, natural and musical, five minutes in all, again and again: each ten
minutes hear the same, so that whatever tells the last ten from the first is drift, or noise. The first five minutes are
not counted: the silence they begin with follows nothing, every later one follows sound. The sound goes by its own
clock through `engine.offline.paint`, every latent step is taken with its noise, and a picture is painted every two
seconds. What a stretch of ten minutes is measured by:

- `norm`: root mean square of the latent's distance from the average one,
- `accuracy`: how often the picture judge (`training.evaluation`), which no bundle is trained with, sees the scene that
  is heard; the first `SETTLE_S` of a clip, in which the picture is under way, do not count,
- `colourfulness`: Hasler & Süsstrunk, "Measuring colourfulness in natural images", SPIE 2003.

Noise is read from the steps between neighbouring stretches, which a slow drift hardly touches. The last stretch equals
the first when they differ by no more than `SURE` times the noise of a difference. Exit code 1 when one does not.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from engine.bundle import Bundle, find_bundle, load_bundle
from engine.errors import CymaticError
from engine.offline import CALM, frame_count, open_sessions, paint
from engine.runtime.session import Session, Tensors
from training.evaluation.held_out import draw_clip
from training.evaluation.judge import Judges, for_picture, load_judges
from training.world.factors import SCENES
from training.world.sound import SAMPLE_RATE

SILENCE_S, CLIP_S, SETTLE_S = 30.0, 10.0, 3.0
TAKES = 3  # of each scene; the last is music
LOOP_S = SILENCE_S + TAKES * len(SCENES) * CLIP_S
STRETCH_S = 600.0
PICTURE_FPS = 0.5
SURE = 3.0
METRICS = ("norm", "accuracy", "colourfulness")


class Remembering:
    """An encoder, which has no state: what it has heard before, bit for bit, it need not hear again."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._known: dict[bytes, Tensors] = {}
        self.runtime, self.precision = session.runtime, session.precision
        self.inputs, self.outputs = session.inputs, session.outputs
        self.runs = 0

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> Tensors:
        key = hashlib.blake2b(feeds["mel"].tobytes(), digest_size=16).digest()
        if key not in self._known:
            self.runs += 1
            self._known[key] = {name: tensor.copy() for name, tensor in self._session.run(feeds).items()}
        return self._known[key]

    def close(self) -> None:
        self._session.close()


def mixed_sound() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """One loop, mono at `SAMPLE_RATE`, and the scene heard in each of its seconds; −1: none that counts."""
    parts = [np.zeros(round(SILENCE_S * SAMPLE_RATE), np.float32)]
    heard = [np.full(round(SILENCE_S), -1)]
    for take in range(TAKES):
        for scene in np.random.default_rng(take).permutation(len(SCENES)).tolist():
            parts.append(draw_clip(scene, take, TAKES, CLIP_S).sound[: round(CLIP_S * SAMPLE_RATE)])
            second = np.arange(round(CLIP_S))
            heard.append(np.where(second < SETTLE_S, -1, scene))
    return np.concatenate(parts), np.concatenate(heard)


def colourfulness(rgb: NDArray[np.uint8]) -> float:
    """M3 of Hasler & Süsstrunk of a picture `[H, W, 3]`: 0 for grey, about 60 quite colourful, 110 extremely so."""
    red, green, blue = np.moveaxis(rgb.astype(np.float32), -1, 0)
    first, second = red - green, 0.5 * (red + green) - blue
    return float(math.hypot(first.std(), second.std()) + 0.3 * math.hypot(first.mean(), second.mean()))


def compare(stretches: NDArray[np.float64], resolution: float = 0.0) -> dict[str, Any]:
    """Whether the last of at least three stretches equals the first within noise; all the figures behind it.

    `resolution`: the smallest step that the measure can take.
    """
    noise = float(np.sqrt(np.mean(np.diff(stretches) ** 2) / 2.0))  # von Neumann: half the mean square step
    difference = float(stretches[-1] - stretches[0])
    allowed = SURE * math.sqrt(2.0) * noise + resolution
    return {
        "first": float(stretches[0]),
        "last": float(stretches[-1]),
        "standard_error": noise,
        "difference": difference,
        "allowed": allowed,
        "equal_within_noise": bool(np.isfinite(stretches).all() and abs(difference) <= allowed),
        "stretches": stretches.tolist(),
    }


def drift(bundle: Bundle, sessions: Mapping[str, Session], judges: Judges, minutes: float, seed: int) -> dict[str, Any]:
    """Listen and paint for so many minutes of sound; the report."""
    begun_at = time.perf_counter()
    loop, heard = mixed_sound()
    total_s = 60.0 * minutes

    def again_and_again() -> Iterator[NDArray[np.float32]]:
        for _ in range(math.ceil(total_s / LOOP_S) + 1):
            yield from np.split(loop, range(SAMPLE_RATE, len(loop), SAMPLE_RATE))

    remembering = {name: Remembering(sessions[name]) for name in ("encoder", "reader")}
    w_avg = bundle.tensors["w_avg"]
    rows: dict[str, list[list[float]]] = {metric: [[] for _ in range(int(total_s // STRETCH_S))] for metric in METRICS}
    largest, resets = 0.0, 0
    frames = paint(
        again_and_again(),
        SAMPLE_RATE,
        bundle,
        {**sessions, **remembering},
        CALM,
        fps=PICTURE_FPS,
        seed=seed,
        seconds=LOOP_S + total_s,
    )
    for frame in tqdm(frames, total=frame_count(LOOP_S + total_s, PICTURE_FPS), unit="picture", disable=None):
        rgb = frame.image[..., :3]
        norm = float(np.sqrt(np.mean((frame.w_plus - w_avg) ** 2)))
        largest, resets = max(largest, norm), frame.resets
        stretch = int((frame.seconds - LOOP_S) // STRETCH_S)
        if stretch < 0:
            continue
        rows["norm"][stretch].append(norm)
        rows["colourfulness"][stretch].append(colourfulness(rgb))
        scene = int(heard[int(frame.seconds % LOOP_S)])
        if scene >= 0:
            picture = for_picture(torch.from_numpy(rgb.copy()).permute(2, 0, 1)[None].float() / 255)
            rows["accuracy"][stretch].append(float(judges.look(picture).scenes.argmax() == scene))
    compared = {
        metric: compare(
            np.array([np.mean(row) for row in stretches]),
            1.0 / len(stretches[0]) if metric == "accuracy" else 0.0,
        )
        for metric, stretches in rows.items()
    }
    return {
        "bundle": bundle.manifest.name,
        "recurrent_sha256": bundle.manifest.graphs["recurrent"].sha256,
        "judge_sha256": judges.sha256,
        "runtime": sessions["recurrent"].runtime,
        "seed": seed,
        "minutes": minutes,
        "latent_steps": round((LOOP_S + total_s) * bundle.manifest.latents.rate_hz),
        "pictures": sum(map(len, rows["norm"])),
        "encoder_runs": remembering["encoder"].runs,
        "broken_steps": resets,
        "largest_norm": largest,
        "took_s": round(time.perf_counter() - begun_at, 1),
        **compared,
        "no_drift": resets == 0 and all(row["equal_within_noise"] for row in compared.values()),
    }


def show(report: dict[str, Any]) -> None:
    print(f"bundle {report['bundle']}, {report['minutes']:g} minutes in {report['took_s']:g} s")
    print(f"{'':<14} {'first':>9} {'last':>9} {'±':>9} {'differ':>9} {'may':>9}")
    for metric in METRICS:
        row = report[metric]
        numbers = (row[key] for key in ("first", "last", "standard_error", "difference", "allowed"))
        verdict = "equal" if row["equal_within_noise"] else "DRIFT"
        print(f"{metric:<14} " + " ".join(f"{number:9.4f}" for number in numbers) + f"  {verdict}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", default="landscape", help="name or path of a bundle")
    parser.add_argument("--minutes", type=int, default=120, help="a multiple of 10, at least 30 (default: 120)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runtime", default="openvino")
    parser.add_argument("--threads", type=int, help="default: all physical cores")
    parser.add_argument("--report", type=Path, metavar="FILE.json")
    options = parser.parse_args()
    if options.minutes < 30 or options.minutes % 10:
        parser.error("--minutes: a multiple of 10, at least 30")
    try:
        bundle = load_bundle(find_bundle(options.bundle))
        with open_sessions(bundle, options.runtime, options.threads) as sessions:
            report = drift(bundle, sessions, load_judges(), options.minutes, options.seed)
    except CymaticError as error:
        print(f"drift: {error}", file=sys.stderr)
        return 2
    show(report)
    if options.report is not None:
        options.report.write_text(json.dumps(report, indent=1) + "\n")
    return 0 if report["no_drift"] else 1


if __name__ == "__main__":
    sys.exit(main())
