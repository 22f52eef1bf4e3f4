"""A generator on a coarser grid: the same weights, the same pictures, softer."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from one_thread import one_thread_throughout  # noqa: F401
from onnx import numpy_helper
from safetensors.numpy import save_file
from tiny_bundle import CELL as TINY_CELL
from tiny_bundle import DIM, FIELDS, make_tiny_bundle
from tqdm import tqdm

from cymatic.cli import main
from engine.bundle import (
    Bundle,
    BundleManifest,
    ImageSpec,
    describe_file,
    describe_graph,
    find_bundle,
    load_bundle,
    write_manifest,
)
from engine.cells import Cells
from engine.contract import graph_contract
from engine.errors import BundleError
from engine.fields import FieldFlow
from engine.runtime import CPU_RUNTIMES, open_graph
from engine.runtime.choose import random_feeds
from export import small
from export.bundle import export_graph
from export.graphs import GeneratorGraph
from export.parity import open_reference, worst
from export.quantise import LIMIT_GREY, add_int8, places
from training.networks.stylegan2 import CELL, Generator, GeneratorConfig

pytestmark = pytest.mark.timeout(600)  # the first test waits for the exporter
CONFIG = GeneratorConfig(
    start=(3, 4), channels=(12, 12, 12, 12), fine=8, head=16, dim=DIM, fields=len(FIELDS),
    detail=tuple(index for index, field in enumerate(FIELDS) if field.detail),
    factors=4, normals=3, rows=4, columns=2, mapping=8,
)  # fmt: skip
HEIGHT, WIDTH = CONFIG.size
ROWS, COLUMNS = 32, 48
"""Of the small grid: of three rows two stay, of four columns three, for two and two thirds would not be whole ones."""


def drawn() -> Generator:
    """Untrained, but smooth where a trained one is, and with a head that paints."""
    torch.manual_seed(1)
    generator = Generator(CONFIG)
    y, x = torch.linspace(-1, 1, CONFIG.start[0])[:, None], torch.linspace(-1, 1, CONFIG.start[1])
    with torch.no_grad():
        generator.constant.copy_(torch.randn(1, CONFIG.channels[0], 1, 1) * (1 + y + 0.5 * x))
        generator.head.outer.weight.normal_(std=0.05)
    return generator.eval().requires_grad_(False)


def feeds(manifest: BundleManifest, seed: int) -> dict[str, np.ndarray]:
    inputs, _ = graph_contract(manifest.dimensions)["generator"]
    return random_feeds(inputs, np.random.default_rng(seed))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny bundle with a real generator in the place of its own. Not to be changed."""
    folder = make_tiny_bundle(tmp_path_factory.mktemp("small") / "plain", HEIGHT, WIDTH)
    tiny = load_bundle(folder)
    manifest = tiny.manifest.model_copy(update={"image": ImageSpec(height=HEIGHT, width=WIDTH, cell=CELL)})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tqdm, "monitor_interval", 0)  # the exporter's bar would be watched from a thread that stays
        inputs = {name: torch.from_numpy(value) for name, value in feeds(manifest, 2).items()}
        export_graph(GeneratorGraph(drawn()), inputs, ["rgba"], folder / "generator.onnx")
    times = CELL // TINY_CELL
    fields = tiny.tensors["fields"].reshape(len(FIELDS), HEIGHT // CELL, times, WIDTH // CELL, times).mean((2, 4))
    save_file(tiny.tensors | {"fields": fields.astype(np.uint8)}, folder / "weights.safetensors")
    graph = describe_graph(folder / "generator.onnx", "generator", manifest.dimensions)
    changed = {
        "graphs": {**manifest.graphs, "generator": graph},
        "weights": describe_file(folder / "weights.safetensors"),
    }
    write_manifest(folder, manifest.model_copy(update=changed))
    return folder


@pytest.fixture(scope="module")
def folder(plain: Path) -> Path:
    """The same with the graph `small` and its twin in integers. Not to be changed."""
    folder = Path(shutil.copytree(plain, plain.with_name("small")))
    found = small.add_small(folder)
    assert found is not None
    assert 0 < found["mean"] <= found["worst_place"]
    assert found["places"] >= 8
    assert load_bundle(folder).manifest.provenance["small"] == found
    add_int8(folder, "small")
    return folder


@pytest.fixture(scope="module")
def bundle(folder: Path) -> Bundle:
    return load_bundle(folder)


@pytest.fixture(scope="module")
def shipped() -> Bundle:
    return load_bundle(find_bundle("landscape"))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_manifest_tells_of_it_and_of_nothing_else(plain: Path, bundle: Bundle) -> None:
    before, after = load_bundle(plain).manifest, bundle.manifest
    assert after.image.small is not None
    assert after.image.small.model_dump() == {"rows": ROWS, "columns": COLUMNS, "cell": 6}
    graph = after.graphs["small"]
    assert graph.outputs["rgba"].shape == (ROWS, COLUMNS, 6 * 6 * 4)
    assert graph.inputs["detail"].shape == (1, ROWS, COLUMNS, len(CONFIG.detail) * CELL**2)
    assert graph.int8 is not None
    assert set(after.files) - set(before.files) == {"small.onnx", "small.int8.onnx"}
    assert set(contents(bundle.folder)) == {*after.files, "bundle.json"}
    provenance = {key: value for key, value in after.provenance.items() if not key.startswith("small")}
    without = {
        "image": after.image.model_copy(update={"small": None}),
        "graphs": {name: row for name, row in after.graphs.items() if name != "small"},
        "provenance": provenance,
    }
    assert after.model_copy(update=without) == before


@pytest.mark.parametrize("runtime", CPU_RUNTIMES)
def test_the_shipped_one_paints_the_same_softer(shipped: Bundle, runtime: str) -> None:
    image = shipped.manifest.image
    assert image.small is not None
    sessions = [open_graph(shipped, name, runtime, threads=1) for name in ("generator", "small")]
    flows = FieldFlow.of(shipped), FieldFlow.of(shipped, small=True)
    cells = (
        Cells(image.height, image.width, image.cell),
        Cells(image.height, image.width, image.small.cell, (image.small.rows, image.small.columns)),
    )
    rng = np.random.default_rng(3)
    pairs = []
    for w_plus in places(shipped, rng)[6:10]:
        pair = []
        offsets = rng.random((len(shipped.manifest.fields), 2))
        for session, flow, shown in zip(sessions, flows, cells, strict=True):
            flow.seek(offsets)
            picture = shown.picture(session.run({"w_plus": w_plus} | flow.sample())["rgba"])
            assert (picture[..., 3] == 255).all()
            pair.append((small._squares(picture, 16), np.abs(np.diff(picture[..., :3].astype(int), axis=1)).mean()))
        pairs.append(pair)
    for session in sessions:
        session.close()
    for number, ((whole, sharp), (other, soft)) in enumerate(pairs):
        foreign = np.abs(whole - pairs[number - 1][1][0]).mean()
        assert np.abs(whole - other).mean() < min(small.LIMIT_GREY, foreign / 4), "its own picture, not just any"
        assert soft < sharp


def test_the_shipped_one_is_made_of_its_generator(shipped: Bundle) -> None:
    model, manifest = onnx.load(shipped.graph_path("generator")), shipped.manifest
    grids = small._grids(model, manifest.image)
    assert grids is not None
    assert grids.finest == (96, 176)
    made = small._rewritten(model, grids, manifest.dimensions)
    assert made == onnx.load(shipped.graph_path("small"))
    assert manifest.graphs["small"].int8 is not None


def test_cells_are_enlarged_within_themselves(plain: Path) -> None:
    """A cell of its own is what a bilinear enlargement makes of it, pixels clamped at its border."""
    matrix = small._interpolation(4, 6)
    np.testing.assert_allclose(matrix.sum(1), 1.0)
    np.testing.assert_allclose(matrix @ np.arange(4.0), [0.0, 0.5, 7 / 6, 11 / 6, 2.5, 3.0])
    model = onnx.load(plain / "generator.onnx")
    given = feeds(load_bundle(plain).manifest, 5)
    before = run_of(model, given).reshape(HEIGHT // CELL, WIDTH // CELL, 4, 4, 4)
    small._to_larger_cells(model, 4, 6)
    del model.graph.output[0].type.tensor_type.shape.dim[:]
    del model.graph.value_info[:]
    after = run_of(model, given).reshape(HEIGHT // CELL, WIDTH // CELL, 6, 6, 4)
    expected = np.einsum("ai,bj,rcijk->rcabk", matrix, matrix, before.astype(np.float64))
    inner = (before > 0).all((2, 3)) & (before < 255).all((2, 3))  # what is not limited
    apart = np.abs(after - expected)[np.broadcast_to(inner[:, :, None, None], after.shape)]
    assert apart.max() < 2.0, "bytes are cut off before and after"


def run_of(model: onnx.ModelProto, given: dict[str, np.ndarray]) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, given)[0])


def test_coordinates_are_those_of_the_new_grids(bundle: Bundle) -> None:
    held = [numpy_helper.to_array(tensor) for tensor in onnx.load(bundle.graph_path("small")).graph.initializer]
    for axis, coarsest in ((2, 2), (3, 3)):
        lines = [value for value in held if value.ndim == 4 and value.size == value.shape[axis] > 1]
        assert sorted(value.size for value in lines) == [coarsest << level for level in range(5)]
        for value in lines:
            edge = 1.0 - 1.0 / value.size
            np.testing.assert_allclose(value.ravel(), np.linspace(-edge, edge, value.size), atol=1e-6)


def test_in_integers_it_paints_what_it_paints(bundle: Bundle) -> None:
    with open_reference(bundle) as reference:
        session = open_graph(bundle, "small", "openvino", "int8", threads=1)
        assert worst(reference.compare("small", session)) < LIMIT_GREY
        session.close()
    stored = onnx.load(bundle.graph_path("small", int8=True)).graph.initializer
    assert any(tensor.data_type == onnx.TensorProto.INT8 and len(tensor.dims) == 4 for tensor in stored)


def test_it_is_written_anew_byte_for_byte(folder: Path, tmp_path: Path) -> None:
    again = Path(shutil.copytree(folder, tmp_path / "again"))
    small.add_small(again)
    add_int8(again, "small")
    assert contents(again) == contents(folder)


def test_what_paints_otherwise_is_refused_and_leaves_the_bundle_alone(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(plain, tmp_path / "b"))
    monkeypatch.setattr(small, "LIMIT_GREY", 0.1)
    with pytest.raises(BundleError, match=r"on a coarser grid differs by .* the limit is 0\.1"):
        small.add_small(folder)
    assert contents(folder) == contents(plain)


def test_other_generators_stay_as_they_are(tiny_bundle: Path, plain: Path) -> None:
    before = contents(tiny_bundle)
    assert small.add_small(tiny_bundle) is None
    assert contents(tiny_bundle) == before
    model, image = onnx.load(plain / "generator.onnx"), ImageSpec(height=HEIGHT, width=WIDTH, cell=CELL)
    assert small._grids(model, image) is not None
    assert small._grids(model, ImageSpec(height=HEIGHT // 4, width=WIDTH // 4)) is None, "cells of one pixel"
    assert small._grids(model, ImageSpec(height=HEIGHT, width=2 * WIDTH, cell=CELL)) is None


def test_one_whose_picture_is_made_otherwise_is_refused(plain: Path) -> None:
    model = onnx.load(plain / "generator.onnx")
    [node for node in model.graph.node if node.op_type == "Clip"][-1].op_type = "Sigmoid"
    with pytest.raises(BundleError, match="is not made by Clip, so it cannot be painted on a coarser grid"):
        small._to_larger_cells(model, 4, 6)


@pytest.mark.parametrize(("to", "precision"), [("onnx", "int8"), ("openvino", "int8")])
def test_it_is_exported_like_any_other_graph(folder: Path, tmp_path: Path, to: str, precision: str) -> None:
    out = tmp_path / "out"
    assert main(["export", str(folder), "--to", to, "--precision", precision, "--out", str(out)]) == 0
    if to == "openvino":
        assert (out / "small.xml").is_file()
        return
    bundle = load_bundle(out)
    assert bundle.manifest.image.small is not None
    assert (bundle.manifest.graphs["small"].int8 is not None) == (precision == "int8")
