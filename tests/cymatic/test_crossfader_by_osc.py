"""Another program's crossfader moves a show: `oscsend` of liblo to a stage whose engine is never started."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import wait_until

from cymatic.stage import EngineOptions, Stage
from engine.bundle import load_bundle
from presets.schema import Preset, Seed
from presets.store import PresetStore


@pytest.fixture
def stage(tiny_bundle: Path, tmp_path: Path) -> Iterator[Stage]:
    store = PresetStore([tmp_path])
    for name, speed in (("alpha", 1.0), ("beta", 2.0)):
        store.save(Preset(name=name, base=Seed(seed=1), controls={"speed": speed}, fade_s=0.0))
    stage = Stage(load_bundle(tiny_bundle), store, EngineOptions("demo"), "alpha", osc_port=0)
    stage._osc.start()
    yield stage
    stage.stop()


def test_oscsend_moves_the_crossfader_between_two_presets(stage: Stage):
    if shutil.which("oscsend") is None:
        pytest.skip("not installed: oscsend (liblo-tools)")

    def oscsend(address: str, kind: str, value: object) -> None:
        command = ["oscsend", "127.0.0.1", str(stage.osc_port), f"/cymatic/{address}", kind, str(value)]
        subprocess.run(command, check=True, timeout=60)

    def stands(preset: str, speed: float) -> bool:
        stage.tick()
        told = stage._links.controls.get()[1]["controls"]
        return stage.preset == preset and told["speed"] == pytest.approx(speed)

    oscsend("preset/go", "s", "beta")
    wait_until(lambda: stands("beta", 2.0), what="the other preset")
    for at, speed in ((0.5, 1.5), (0.0, 1.0), (1.0, 2.0)):
        oscsend("crossfader", "f", at)
        wait_until(lambda speed=speed: stands("beta", speed), what=f"the crossfader at {at}")
        assert stage._links.controls.get()[1]["controls"]["crossfader"] == at, "by which the engine moves in W+"
