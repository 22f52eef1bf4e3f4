"""What a recording costs the show: late pictures with and without one, in turns in one run.

    python benchmarks/recording.py [--bundle landscape] [--fps 60] [--turns 6] [--seconds 20] [--report recording.json]

One headless show on the demo soundscape. Stretches without and with a recording take turns, so that whatever else the
machine does meets both alike; the first `SETTLE_S` of each do not count. For each: the part of the pictures that were
late, and how long the engine's work on one took. For the recorder: pictures dropped, processor time as a part of one
core, memory at the beginning and in the end. `points` is the difference in late pictures, in points of a per cent.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from cymatic.stage import EngineOptions, Stage
from engine.bundle import find_bundle, load_bundle
from engine.errors import CymaticError
from presets.store import PresetStore

SETTLE_S = 3.0
LOOK_S = 0.004


def go_on(stage: Stage, seconds: float, times: list[float] | None = None) -> None:
    """Runs the stage as the headless loop does; `times` takes the engine's milliseconds on each picture."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        stage.tick()
        frame = stage.newest_frame()
        if frame is not None and times is not None:
            times.append(1000.0 * (frame.published_at - frame.started_at))
        if stage.fatal is not None:
            raise CymaticError(stage.fatal)
        time.sleep(LOOK_S)


def wait_for(stage: Stage, condition: Any, what: str) -> None:
    deadline = time.perf_counter() + 120.0
    while not condition():
        go_on(stage, 0.05)
        if time.perf_counter() > deadline:
            raise CymaticError(f"{what} did not come true within two minutes: {stage.errors[-1:]}")


def stretch(stage: Stage, seconds: float) -> dict[str, float]:
    """One stretch as it is: late pictures in per cent, milliseconds a picture."""
    go_on(stage, SETTLE_S)
    status, late = stage.status, stage.late_frames
    times: list[float] = []
    go_on(stage, seconds, times)
    painted = stage.status["frames"] - status["frames"]
    p50, p95 = np.percentile(times, (50, 95))
    return {
        "pictures": painted,
        "late_percent": round(100.0 * (stage.late_frames - late) / painted, 3),
        "frame_ms_p50": round(float(p50), 3),
        "frame_ms_p95": round(float(p95), 3),
    }


def measure(stage: Stage, turns: int, seconds: float) -> dict[str, Any]:
    """Stretches without and with a recording, in turns, and how they differ."""
    wait_for(stage, lambda: stage.status["state"] == "playing" and stage.status["frames"] > 300, "a warm engine")
    without, recording, recorder = [], [], []
    for _ in range(turns):
        without.append(stretch(stage, seconds))
        stage.desk.set("record", True, "benchmark")
        wait_for(stage, lambda: stage.recording and stage.recording["pictures"] > 10, "a recording")
        [process] = [c for c in psutil.Process().children() if "engine.recording" in c.cmdline()]
        began, used, memory = time.perf_counter(), sum(process.cpu_times()[:2]), process.memory_info().rss
        recording.append(stretch(stage, seconds))
        used = sum(process.cpu_times()[:2]) - used
        recorder.append(
            {
                "core_percent": round(100.0 * used / (time.perf_counter() - began), 1),
                "dropped": stage.recording["dropped"] if stage.recording else None,
                "mib_a_minute": round(60.0 * stage.recording["mib"] / stage.recording["seconds"], 2),
                "rss_mib": [round(size / 2**20, 1) for size in (memory, process.memory_info().rss)],
            }
        )
        stage.desk.set("record", False, "benchmark")
        wait_for(stage, lambda: stage.errors[-1].startswith("recorded "), "the end of the film")
    late = [statistics.mean(turn["late_percent"] for turn in half) for half in (without, recording)]
    return {
        "late_percent": {"without": round(late[0], 3), "recording": round(late[1], 3)},
        "points": round(late[1] - late[0], 3),
        "without": without,
        "recording": recording,
        "recorder": recorder,
        "image": list(stage.image_size),
        "fps": stage.status["fps"],
    }


def main() -> int:
    """Prints the report as JSON; 2 when it cannot be measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", default="landscape")
    parser.add_argument("--fps", type=float, default=60.0)
    parser.add_argument("--turns", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--report", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as films:
        try:
            stage = Stage(
                load_bundle(find_bundle(args.bundle)),
                PresetStore.standard(),
                EngineOptions("demo", fps=args.fps),
                osc_port=0,
                record_to=Path(films),
                say=lambda line: print(line, file=sys.stderr),
            )
            try:
                stage.start()
                report = measure(stage, args.turns, args.seconds)
            finally:
                stage.stop()
        except CymaticError as error:
            print(f"recording: {error}", file=sys.stderr)
            return 2
    text = json.dumps(report, indent=1)
    print(text)
    if args.report:
        args.report.write_text(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
