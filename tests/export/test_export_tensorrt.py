"""What is exported becomes real TensorRT engines, on a machine with or without a GPU."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tqdm import tqdm

from cymatic.cli import main
from engine.contract import GRAPHS
from engine.errors import RuntimeUnavailable
from engine.runtime import open_session
from engine.runtime.tensorrt import TensorRt
from export.bundle import export_graph
from export.graphs import GeneratorGraph, drawn_inputs
from training.networks.stylegan2 import Generator
from training.scales import SCALES

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
    network = Generator(SCALES["smoke"].generator).eval().requires_grad_(False)
    torch.nn.init.normal_(network.head.outer.weight, std=0.1)
    inputs = drawn_inputs(network, torch.Generator().manual_seed(0)) | {
        "fraction": torch.zeros(1, network.config.fields, 2)
    }
    path = tmp_path / "generator.onnx"
    export_graph(GeneratorGraph(network), inputs, ["rgba"], path)
    session = open_session(path, "onnxruntime", threads=1)
    rgba = session.run({name: value.numpy() for name, value in inputs.items()})["rgba"]
    session.close()
    still = inputs["fields"].float()[..., :-1, :-1] / 255.0
    cells = network.cells(network.mapping.settle(inputs["w_plus"]), still, inputs["detail"].permute(0, 3, 1, 2) / 255.0)
    grey = (cells * 127.5 + 128.0).clamp(0.0, 255.0)[0].unflatten(0, (3, -1)).permute(2, 3, 1, 0).byte().numpy()
    assert np.abs(rgba.reshape(*grey.shape[:3], 4)[..., :3].astype(int) - grey).max() <= 1
    assert (rgba[..., 3::4] == 255).all()
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
