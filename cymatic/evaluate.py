"""`cymatic evaluate`: does the picture mean the sound? Independent judges look at what a bundle paints."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from engine.errors import CymaticError


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """Register the subcommand."""
    parser = subparsers.add_parser(
        "evaluate",
        help="measure a bundle with independent judges",
        description="Paint held-out sounds, music and words with a bundle's graphs, and let judges look that no bundle "
        "was trained with. docs/evaluation.md explains the figures.",
    )
    parser.add_argument(
        "bundle",
        nargs="?",
        default="landscape",
        metavar="BUNDLE",
        help="a folder or a shipped name (default: landscape)",
    )
    parser.add_argument("--report", type=Path, metavar="FILE.json", help="write every figure there")
    parser.add_argument("--record", action="store_true", help="write the bars' figures into the bundle's own manifest")
    parser.add_argument("--quick", action="store_true", help="one clip a scene, no music: a trial in half a minute")
    parser.add_argument("--strict", action="store_true", help="exit with 1 when a bar is missed")
    parser.add_argument(
        "--features", type=Path, metavar="FILE.onnx", help="a feature network of your own for KID and FID"
    )
    parser.add_argument("--runtime", choices=("openvino", "onnxruntime"), default="openvino", help="default: openvino")
    parser.add_argument("--threads", type=_count, metavar="N", help="CPU threads (default: all physical cores)")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    return parser


def run(args: argparse.Namespace) -> int:
    """Evaluate, print the table, write the report. Returns 1 with `--strict` when a bar is missed, else 0."""
    try:
        import torch
    except ImportError as error:
        raise CymaticError("evaluation needs torch: pip install 'cymatic[train]'") from error
    from engine.bundle import find_bundle, load_bundle
    from engine.files import replace_file
    from export.bundle import machine, record_evaluation
    from training.evaluation.suite import FULL, QUICK, evaluate

    report = args.report
    if report is not None and (not report.parent.is_dir() or report.is_dir()):
        raise CymaticError(f"{report} cannot be written: name a file in a folder that exists")
    if args.record and args.quick:
        raise CymaticError("--record and --quick: a trial's figures are not worth keeping; leave one of them out")
    bundle = load_bundle(find_bundle(args.bundle))
    if args.threads:
        torch.set_num_threads(args.threads)
    found = evaluate(
        bundle,
        QUICK if args.quick else FULL,
        runtime=args.runtime,
        threads=args.threads,
        features=args.features,
        progress=not args.quiet,
    )
    found["machine"] = machine()
    for line in table(found):
        sys.stdout.write(line + "\n")
    if report is not None:
        try:
            replace_file(report, (json.dumps(found, indent=1, ensure_ascii=False) + "\n").encode())
        except OSError as error:
            raise CymaticError(f"{report} cannot be written: {error.strerror}") from error
        sys.stdout.write(f"report: {report}\n")
    if args.record:
        record_evaluation(bundle.folder, found)
        sys.stdout.write(f"figures written into {bundle.folder}\n")
    return int(args.strict and any(bar["met"] is False for bar in found["bars"]))


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1024:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of threads")
    return int(text)


def table(found: dict[str, Any]) -> list[str]:
    """The report's main figures as lines of text: the figure, its controls beside it, then the bars."""
    scenes, onsets, music = (found[key] for key in ("scenes", "onsets", "music"))
    text, blends, quality, controls = (found[key] for key in ("text", "blends", "quality", "controls"))
    untrained = controls["untrained_recurrent_step"]
    rows = [
        ("scene accuracy", scenes["accuracy"], f"chance {found['method']['chance']:.3f}"),
        ("  natural sound", scenes["natural"], ""),
        ("  with music", scenes["with_music"], ""),
        ("  the world's own films", scenes["world_itself"], "the judge's own limit"),
        ("  shuffled sound", controls["shuffled_sound"], ""),
        (
            "  untrained recurrent step",
            untrained["accuracy"],
            f"trained {_figure(untrained['trained_on_the_same_clips']['accuracy'])}",
        ),
        ("no sound looks calm", controls["no_sound"]["looks_calm"], ""),
        ("AV-Align", onsets["painted"], f"shuffled {_figure(onsets['painted_shuffled'])}"),
        ("  the world's own films", onsets["world"], f"shuffled {_figure(onsets['world_shuffled'])}"),
    ]
    sweeps = found["intensity"]["sweeps"]
    if sweeps:
        own = sweeps["world_itself"]
        rows += [
            ("intensity, Spearman", sweeps["track"], f"the world's own films {_figure(own['track'])}"),
            ("  with loudness", sweeps["loudness"], f"the world's own films {_figure(own['loudness'])}"),
        ]
    if music:
        rows += [
            ("music, scene of a section", music["accuracy"], f"largest share {music['largest_share']:.2f}"),
            ("  a new section is seen", music["change_seen"], f"rightly {_figure(music['change_right'])}"),
            ("  AV-Align", music["onsets"], f"shuffled {_figure(music['onsets_shuffled'])}"),
        ]
    rows += [
        ("text, held-out wordings", text["accuracy"], f"captions {_figure(text['captions'])}"),
        (
            "text + sound, both seen",
            blends["both"],
            f"words {_figure(blends['words'])}, sound {_figure(blends['sound'])}",
        ),
        (
            "  a preset of both at 0.5",
            blends["at_half"]["both"],
            f"both among three {_figure(blends['at_half']['both_in_three'])}",
        ),
    ]
    for name, eye in quality.items():
        if name != "films":
            rows.append(
                (
                    f"KID, {name}",
                    eye["kid"],
                    f"FID {_figure(eye['fid'])}, the world in halves {_figure(eye['fid_world_halves'])}",
                )
            )
    films = quality["films"]
    rows.append(("FVD", films["fvd"], f"the world in halves {_figure(films['fvd_world_halves'])}"))
    lines = [f"{name:<30} {_figure(row):>16}   {beside}".rstrip() for name, row, beside in rows]
    weak = {name: row["value"] for name, row in scenes["by_scene"].items() if (row["value"] or 0.0) < 0.75}
    lines.append("weak scenes: " + (", ".join(f"{name} {value:.2f}" for name, value in weak.items()) or "none"))
    for bar in found["bars"]:
        met = {True: "met", False: "MISSED", None: "not measured"}[bar["met"]]
        value = "" if bar["value"] is None else f"{bar['value']:.3f}"
        lines.append(f"{bar['name']:<46} {value:>8}  {bar['bar']:<8} {met}")
    lines.append(
        f"{found['bundle']['name']} {found['bundle']['sha256'][:12]}, {found['seconds']:.0f} s on {found['machine']}"
    )
    return lines


def _figure(row: dict[str, Any]) -> str:
    """A row of the report in a few characters: `0.93 ±0.02`, or `-` when nothing was measured."""
    if row["value"] is None:
        return "-"
    error = row.get("error") or row.get("deviation")
    if error is None and "low" in row:
        error = (row["high"] - row["low"]) / 4
    return f"{row['value']:.3f}" + (f" ±{error:.3f}" if error is not None else "")
