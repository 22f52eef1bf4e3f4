"""Reads every file of a folder as a checkpoint while Python itself tells what is run: `python read_watched.py FOLDER`.

For each file one line of JSON: the refusal, and every import, execution, process, connection or writing that happened
meanwhile. A process of its own, since an audit hook cannot be taken off again.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from engine.errors import CheckpointRefused
from export.foreign.checkpoint import open_checkpoint
from export.foreign.layouts import build

RUNS = (
    "import",
    "exec",
    "compile",
    "marshal",
    "pickle",
    "ctypes",
    "subprocess",
    "socket",
    "pty",
    "webbrowser",
    "shutil",
)
events: list[str] = []


def watch(event: str, arguments: tuple) -> None:
    family = event.split(".")[0]
    writes = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
    if writes or family in RUNS or (family == "os" and event not in ("os.listdir", "os.scandir", "os.fwalk")):
        events.append(f"{event} {arguments!r:.120}")


def main(folder: Path) -> None:
    files = sorted(folder.iterdir())
    for path in files[:1]:  # what torch and safetensors import when they are first used is theirs
        with open_checkpoint(path) as checkpoint:
            build(checkpoint)
    sys.addaudithook(watch)
    for path in files:
        events.clear()
        told = None
        try:
            with open_checkpoint(path) as checkpoint:
                build(checkpoint)
        except CheckpointRefused as error:
            told = str(error)
        seen = list(events)
        sys.stdout.write(json.dumps({"file": path.name, "refused": told, "events": seen}) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
