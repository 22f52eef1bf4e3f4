"""Every stage at a size that trains in seconds, for tests of what happens to a run: kills, and several processes.

    python tests/training/tiny_stages.py RUN STAGE,STAGE [MOMENT NAME NUMBER]     under torchrun, too

Each stage starts from untrained networks, since only the way matters here, and from windows of noise.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from tqdm import tqdm

from training import distributed, embedding, generator, inversion, looking, reading, recurrent
from training.clips import SPLITS, WINDOWS, clips_of
from training.embedding import JointEmbedding
from training.inversion import Inverters
from training.networks.generators import create
from training.run import Run, seeded
from training.scales import SCALES, Phase, Scale
from training.world import factors

STAGES = ("generator", "embedding", "looking", "inversion", "reading", "recurrent")
TINY = dataclasses.replace(
    SCALES["smoke"],
    name="tiny",
    generator=dataclasses.replace(SCALES["smoke"].generator, channels=(8,), fine=4, head=4),
    phases=(Phase(depth=1, images=4 * 8, batch=4), Phase(depth=2, images=4 * 8, batch=4)),
    settled=1,
    adversarial_steps=4,
    embedding_clips=16,
    embedding_steps=8,
    looking_pictures=16,
    looking_steps=8,
    inversion_steps=8,
    reading_steps=8,
    recurrent_steps=8,
    frames=2,
    batch=8,
)


def noise(run: Run, scale: Scale) -> None:
    """Windows of noise where a stage looks for the sounds of the world, which take long to make."""
    for split in SPLITS:
        clips = clips_of(split, scale)
        count, draws = len(clips) * WINDOWS, seeded(5, clips.start)
        windows = {
            "mels": torch.randn(count, 1, 128, 128, generator=draws).half(),
            "factors": factors.draw(count, draws),
            "scenes": torch.randint(-1, len(factors.SCENES), (count,), generator=draws),
            "pictures": torch.randint(256, (count, 3, 72, 128), generator=draws, dtype=torch.uint8),
        }
        save_file(windows, run.folder / f"sounds-{split}.safetensors")


def train(run: Run, stage: str, scale: Scale = TINY) -> None:
    """One stage, begun or resumed, that logs every step and saves every third (the generator every one)."""
    for module in (generator, embedding, looking, inversion, reading, recurrent):
        module.LOG_EVERY, module.SAVE_EVERY = 1, 3
    generator.SAVE_EVERY_S, generator.sheet = -1.0, lambda *lesson: None
    if stage == "generator":
        generator.train(run, scale, progress=False)
    elif stage == "embedding":
        embedding.train(run, scale, progress=False)
    else:
        torch.manual_seed(9)
        painter = generator.settle(create(scale.generator), scale)
        joint, inverters = JointEmbedding.create(scale).freeze(), Inverters.create(scale)
        if stage == "inversion":
            inversion.train(run, scale, painter, joint, progress=False)
        elif stage == "looking":
            looking.train(run, scale, joint, progress=False)
        elif stage == "reading":
            reading.train(run, scale, painter, inverters.freeze(), progress=False)
        else:
            recurrent.train(run, scale, painter, joint, inverters.freeze(), progress=False)


class Doomed(Run):
    """Kills this process right after it has logged a step, or half-way through writing its n-th checkpoint."""

    moment, name, number = "row", "", 0

    def log(self, stage: str, **metrics: float | int | str) -> None:
        super().log(stage, **metrics)
        if self.moment == "row" and (stage, metrics["step"]) == (self.name, self.number):
            os.kill(os.getpid(), signal.SIGKILL)

    def write(self, path: Path, data: bytes) -> None:
        if self.moment == "checkpoint" and path == self.checkpoint(self.name):
            self.number -= 1
            if self.number == 0:
                path.with_name(path.name + ".tmp").write_bytes(data[: len(data) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
        super().write(path, data)


if __name__ == "__main__":
    torch.set_num_threads(1)
    tqdm.monitor_interval = 0
    folder, stages, *doom = sys.argv[1:]
    with distributed.processes():
        run = Doomed(Path(folder))
        if doom:
            run.moment, run.name, run.number = doom[0], doom[1], int(doom[2])
        for name in stages.split(","):
            train(run, name)
