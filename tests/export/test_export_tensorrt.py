"""What is exported becomes real TensorRT engines, on a machine with or without a GPU."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tqdm import tqdm

from cymatic.cli import main
from engine.bundle import GRAPHS
from engine.errors import RuntimeUnavailable
from engine.runtime import open_session
from engine.runtime.tensorrt import TensorRt
from export.bundle import export_graph
from export.graphs import GeneratorGraph
from training.networks.stylegan2 import Generator
from training.scales import SCALES
from training.world import factors

pytestmark = pytest.mark.timeout(900)  # exporting and building take minutes on a busy machine
SMS = (86, 89, 120)


@pytest.fixture(scope="module")
def trt() -> TensorRt:
    try:
        found = TensorRt()
    except RuntimeUnavailable as error:
        pytest.skip(str(error))
    if not found.portable:
        pytest.skip("the classic TensorRT builds for the GPU here only")
    return found


def test_a_generator_is_exported_as_tensorrt_takes_it(
    trt: TensorRt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a rewrite: this is what a show on a GPU opens. And the picture is the network's own, opaque."""
    monkeypatch.setattr(tqdm, "monitor_interval", 0)  # the exporter's bar would be watched from a thread that stays
    torch.manual_seed(1)
    config = SCALES["smoke"].generator
    network = Generator(config).eval().requires_grad_(False)
    draws = torch.Generator().manual_seed(0)
    height, width = config.size

    def tiles(count: int, h: int, w: int) -> torch.Tensor:
        return torch.randint(0, 256, (1, count, h + 1, w + 1), generator=draws).to(torch.uint8)

    inputs = {
        "w_plus": network.broadcast(network.mapping(factors.draw(1, draws))).contiguous(),
        "fields": tiles(config.fields, height // 2, width // 2),
        "fraction": torch.zeros(1, config.fields, 2),
        "detail": tiles(len(config.detail), height, width),
        "detail_fraction": torch.zeros(1, len(config.detail), 2),
    }
    path = tmp_path / "generator.onnx"
    export_graph(GeneratorGraph(network), inputs, ["rgba"], path)
    session = open_session(path, "onnxruntime", threads=1)
    rgba = session.run({name: value.numpy() for name, value in inputs.items()})["rgba"]
    session.close()
    still = [inputs[name].float()[..., :-1, :-1] / 255.0 for name in ("fields", "detail")]
    picture = network(network.mapping.settle(inputs["w_plus"]), still[0], detail=still[1])
    grey = (picture * 127.5 + 128.0).clamp(0.0, 255.0)[0].permute(1, 2, 0).byte().numpy()
    assert np.abs(rgba[..., :3].astype(int) - grey).max() <= 1
    assert (rgba[..., 3] == 255).all()
    assert len(trt.build(path.read_bytes(), SMS)) > 10_000


def test_the_shipped_bundle_becomes_engines_in_fp16(
    trt: TensorRt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))  # so that they are built, not found
    out = tmp_path / "out"
    command = ["export", "landscape", "--to", "tensorrt", "--precision", "fp16", "--out", str(out)]
    assert main([*command, "--sm", ",".join(map(str, SMS))]) == 0
    record = json.loads((out / "export.json").read_text())
    assert record["made_with"][trt.name] == trt.version
    assert record["made_with"]["for"] == "SM 86, SM 89, SM 120"
    for graph in GRAPHS:
        assert (out / f"{graph}.engine").stat().st_size > 100_000
        assert max(row["mean"] for row in record["graphs"][graph]["parity"].values()) < 1.0
