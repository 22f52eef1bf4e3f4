"""All stages in order: world → generator → joint embedding, looking on → inversion encoders, reading on → recurrent
step.

Each stage is a checkpoint in the run folder; what is finished is not done again. Under torchrun every stage runs in all
processes (`training.distributed`).
"""

from __future__ import annotations

import json
from typing import Any

from training import distributed, embedding, generator, inversion, looking, reading, recurrent
from training.device import pick
from training.embedding import JointEmbedding
from training.inversion import Inverters
from training.networks.generators import Generator
from training.networks.recurrent import RecurrentStep
from training.run import Run, keep_memory
from training.scales import Scale

STAGES = ("generator", "embedding", "looking", "inversion", "reading", "recurrent")


def train(
    run: Run, scale: Scale, *, progress: bool = True
) -> tuple[Generator, JointEmbedding, Inverters, RecurrentStep]:
    """Run or resume every stage; returns the four trained parts, on the CPU and without gradients."""
    keep_memory()
    progress = progress and distributed.rank() == 0
    painted = generator.train(run, scale, progress=progress)
    joint = embedding.train(run, scale, progress=progress)
    looking.train(run, scale, joint, progress=progress)
    early = generator.load_early(run, scale).to(pick())
    inverters = inversion.train(run, scale, early, joint, progress=progress)
    reading.train(run, scale, early, inverters, progress=progress)
    step = recurrent.train(run, scale, early, joint, inverters, progress=progress)
    return painted.cpu(), joint.to("cpu"), inverters.to("cpu"), step.cpu()


def metrics(run: Run) -> dict[str, Any]:
    """The last line that each stage logged."""
    result: dict[str, Any] = {}
    for path in sorted((run.folder / "metrics").glob("*.jsonl")):
        if rows := run.rows(path.stem):
            result[path.stem] = {key: value for key, value in rows[-1].items() if key != "time"}
    return result


def write_metrics(run: Run) -> dict[str, Any]:
    """`metrics` into `RUN/metrics.json`, and back."""
    found = metrics(run)
    (run.folder / "metrics.json").write_text(json.dumps(found, indent=2) + "\n")
    return found
