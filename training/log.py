"""The log of a run: one tidy table and one plot of what its stages told (`RUN/metrics/*.jsonl`).

python -m training.log runs/landscape docs/runs/landscape     writes landscape.csv and landscape.svg there
"""

from __future__ import annotations

import argparse
import csv
import math
from collections.abc import Iterator
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from training.run import read_rows

ORDER = ("generator", "adversarial", "embedding", "looking", "inversion", "reading", "recurrent")
SETTINGS = {"images", "depth", "lr", "temperature"}  # told beside the results; in the table, not in the plot
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # Okabe and Ito 2008
PANEL, GAP, LEFT, HEAD, HEIGHT = 300, 190, 50, 40, 170  # pixels


class Entry(NamedTuple):
    """One line of the table; `elapsed_s` counts the seconds of work since the stage began."""

    stage: str
    step: int
    elapsed_s: float
    metric: str
    value: float


def table(folder: Path) -> list[Entry]:
    """All numbers of a run folder, stage by stage, step by step. A step that was done again counts once."""
    paths = {path.stem: path for path in (folder / "metrics").glob("*.jsonl")}
    entries = []
    for stage in sorted(paths, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name)):
        steps = {int(row["step"]): row for row in read_rows(paths[stage])}
        for step in sorted(steps):
            row, began = steps[step], steps[min(steps)]["time"]
            elapsed = float(row.get("elapsed_s", row["time"] - began))
            told = {k: v for k, v in row.items() if k not in ("step", "time", "elapsed_s") and not isinstance(v, str)}
            entries += [Entry(stage, step, round(elapsed, 1), metric, float(value)) for metric, value in told.items()]
    return entries


def write_log(folder: Path, out: Path) -> list[Path]:
    """Table and plot of a run folder as `OUT.csv` and `OUT.svg`."""
    out.parent.mkdir(parents=True, exist_ok=True)
    entries = table(folder)
    paths = [out.with_name(out.name + ending) for ending in (".csv", ".svg")]
    with paths[0].open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(Entry._fields)
        writer.writerows((*entry[:4], f"{entry.value:g}") for entry in entries)
    paths[1].write_text(plot(entries))
    return paths


def plot(entries: list[Entry]) -> str:
    """An SVG: a row for each stage; its losses, its cosines, and as bars what was measured once, at the end."""
    parts: list[str] = []
    top = 0
    for stage in dict.fromkeys(entry.stage for entry in entries):
        told: dict[str, list[Entry]] = {}
        for entry in entries:
            if entry.stage == stage:
                told.setdefault(entry.metric, []).append(entry)
        last = max((line[-1] for line in told.values()), key=lambda entry: entry.step)
        parts.append(text(LEFT, top + 24, f"{stage}: {last.step} steps, {last.elapsed_s / 3600:.1f} h", size=15))
        curves = {name: line for name, line in told.items() if len(line) > 1 and name not in SETTINGS}
        bars = {name: line[0].value for name, line in told.items() if len(line) == 1 and 0 <= line[0].value <= 1}
        cosines = {name: line for name, line in curves.items() if name.endswith("_cos")}
        losses = {name: line for name, line in curves.items() if name not in cosines}
        panels = [chart(losses, LEFT, top + HEAD, told.get("depth", []), logarithmic=True)] if losses else []
        place = LEFT + PANEL + GAP
        if cosines:
            panels.append(chart(cosines, place, top + HEAD, [], logarithmic=False))
            place += PANEL + GAP
        if bars:
            panels.append(bar_chart(bars, place + 90, top + HEAD))
        parts += panels
        top += HEAD + max(HEIGHT, 14 * len(bars)) + 40
    width = LEFT + 3 * (PANEL + GAP)
    style = "font-family:sans-serif;font-size:11px;fill:#333"
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {top}" width="{width}" height="{top}" '
        f'style="{style}">\n<rect width="{width}" height="{top}" fill="#fff"/>\n{body}\n</svg>\n'
    )


def text(x: float, y: float, content: str, *, size: int = 11, colour: str = "#333", anchor: str = "start") -> str:
    style = f'font-size="{size}" fill="{colour}" text-anchor="{anchor}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(content)}</text>'


def chart(curves: dict[str, list[Entry]], x: int, y: int, depths: list[Entry], *, logarithmic: bool) -> str:
    """Curves over steps, named at their right ends; a dashed line, with the new depth, where the generator grows."""
    values = [e.value for line in curves.values() for e in line if math.isfinite(e.value)]
    values = [value for value in values if value > 0] if logarithmic else [*values, 0.0, 1.0]
    scale = math.log if logarithmic else float
    low, high = (scale(bound) for bound in (min(values, default=1), max(values, default=1)))
    first, last = (bound(e.step for line in curves.values() for e in line) for bound in (min, max))

    def across(step: int) -> float:
        return x + PANEL * (step - first) / max(1, last - first)

    def down(value: float) -> float:
        return y + HEIGHT * (1 - (scale(value) - low) / ((high - low) or 1))

    parts = [f'<rect x="{x}" y="{y}" width="{PANEL}" height="{HEIGHT}" fill="none" stroke="#bbb"/>']
    for tick in ticks(min(values, default=1), max(values, default=1)) if logarithmic else (0, 0.25, 0.5, 0.75, 1):
        line = f'x1="{x}" x2="{x + PANEL}" y1="{down(tick):.1f}" y2="{down(tick):.1f}"'
        parts += [f'<line {line} stroke="#eee"/>', text(x - 5, down(tick) + 4, f"{tick:g}", anchor="end")]
    parts += [text(x, y + HEIGHT + 14, str(first)), text(x + PANEL, y + HEIGHT + 14, f"step {last}", anchor="end")]
    for before, after in pairwise(depths):
        if after.value != before.value:
            at = across(after.step)
            line = f'x1="{at:.1f}" x2="{at:.1f}" y1="{y}" y2="{y + HEIGHT}"'
            parts += [f'<line {line} stroke="#999" stroke-dasharray="3 3"/>']
            parts.append(text(at + 3, y + 11, f"{after.value:g}", colour="#777"))
    names: list[tuple[float, str, str]] = []
    for (name, line), colour in zip(curves.items(), COLOURS * len(curves), strict=False):
        drawn = [e for e in line if math.isfinite(e.value) and (e.value > 0 or not logarithmic)]
        points = " ".join(f"{across(e.step):.1f},{down(e.value):.1f}" for e in drawn)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        if drawn:
            names.append((down(drawn[-1].value), f"{name} {drawn[-1].value:.3g}", colour))
    below = -math.inf
    for height, name, colour in sorted(names):
        below = max(height, below + 13)
        parts.append(text(x + PANEL + 6, below + 4, name, colour=colour))
    return "\n".join(parts)


def ticks(low: float, high: float) -> Iterator[float]:
    """1, 2, 5, 10, … between two positive numbers."""
    for exponent in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1):
        yield from (m * 10**exponent for m in (1, 2, 5) if low <= m * 10**exponent <= high)


def bar_chart(bars: dict[str, float], x: int, y: int) -> str:
    """Shares of 1, one bar a line."""
    parts = []
    for i, (name, value) in enumerate(bars.items()):
        at = y + 14 * i
        parts.append(text(x - 6, at + 10, name, anchor="end"))
        parts.append(f'<rect x="{x}" y="{at + 1}" width="180" height="11" fill="#eee"/>')
        parts.append(f'<rect x="{x}" y="{at + 1}" width="{180 * value:.1f}" height="11" fill="{COLOURS[0]}"/>')
        parts.append(text(x + 186, at + 10, f"{value:.3f}"))
    return "\n".join(parts)


def main(arguments: list[str] | None = None) -> None:
    """The command above."""
    parser = argparse.ArgumentParser(description="Write a run's log as a table and a plot.")
    parser.add_argument("run", type=Path, help="run folder, such as runs/landscape")
    parser.add_argument("out", type=Path, help="where to, without ending: OUT.csv and OUT.svg")
    given = parser.parse_args(arguments)
    if not (given.run / "metrics").is_dir():
        parser.error(f"{given.run} is no run folder: it has no metrics")
    write_log(given.run, given.out)


if __name__ == "__main__":
    main()
