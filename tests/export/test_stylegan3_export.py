"""StyleGAN3 as a graph: what the engine feeds any generator, it answers as eager torch does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from one_thread import one_thread_throughout  # noqa: F401
from tqdm import tqdm

from engine.bundle import ImageSpec
from engine.cells import Cells
from engine.errors import RuntimeUnavailable
from engine.runtime import open_session
from export.bundle import PARITY_GREY, export_graph, prove
from export.graphs import GeneratorGraph, drawn_inputs
from export.small import _grids
from training.networks.generators import create
from training.networks.stylegan3 import Normalise
from training.scales import SCALES

pytestmark = pytest.mark.timeout(900)  # the first test waits for the exporter
CONFIG = SCALES["smoke-3"].generator
Inputs = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def network() -> GeneratorGraph:
    """Untrained, but with magnitudes that are not 1 and an RGB that shows something."""
    torch.manual_seed(1)
    generator = create(CONFIG)
    with torch.no_grad():
        for block in generator.blocks:
            block.rgb.weight.normal_(std=0.1)
        for module in generator.modules():
            if isinstance(module, Normalise):
                module.magnitude.fill_(0.4)
    return GeneratorGraph(generator.eval().requires_grad_(False))


def inputs(network: GeneratorGraph, seed: int) -> Inputs:
    return drawn_inputs(network.generator, torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def path(network: GeneratorGraph, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The exported graph; exporting may not change what the network answers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tqdm, "monitor_interval", 0)  # the exporter's bar would be watched from a thread that stays
        found = tmp_path_factory.mktemp("stylegan3") / "generator.onnx"
        export_graph(network, inputs(network, 1), ["rgba"], found)
    return found


def test_the_exported_graph_is_the_network(network: GeneratorGraph, path: Path) -> None:
    assert prove(path, network, inputs(network, 1), ["rgba"])["mean"] < 0.01


def test_it_is_not_painted_on_a_coarser_grid(path: Path) -> None:
    height, width = CONFIG.size
    assert _grids(onnx.load(path), ImageSpec(height=height, width=width, cell=CONFIG.cell)) is None


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_frame_after_frame_is_what_torch_paints(network: GeneratorGraph, path: Path, runtime: str) -> None:
    try:
        session = open_session(path, runtime, threads=1)
    except RuntimeUnavailable as error:
        pytest.skip(str(error))
    pictures, cells = [], Cells(*CONFIG.size, CONFIG.cell)
    try:
        for seed in (1, 2, 3):
            fed = inputs(network, seed)
            expected = network(*fed.values()).numpy()
            found = np.array(session.run({name: value.numpy() for name, value in fed.items()})["rgba"])
            assert found.shape == expected.shape
            assert np.abs(found.astype(int) - expected.astype(int)).mean() < PARITY_GREY
            pictures.append(cells.picture(found)[..., :3].astype(int))
    finally:
        session.close()
    assert all(picture.std() > 5.0 for picture in pictures), "pictures, not walls"
    assert np.abs(pictures[0] - pictures[1]).mean() > 5.0, "another style, another picture"
