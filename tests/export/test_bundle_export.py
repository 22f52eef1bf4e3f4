"""From nothing to a bundle: what `cymatic train --scale smoke` leaves is what the engine plays.

One whole smoke training serves every test here, in a process of its own, as a user would start it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from tqdm import tqdm

from engine.bundle import Bundle, load_bundle
from engine.cells import colours
from engine.contract import GRAPHS
from engine.errors import BundleError, RuntimeUnavailable
from engine.runtime.session import Session, open_graph
from export import bundle as exporter
from export.graphs import Z_DIM, MappingGraph
from training import generator as generator_stage
from training.embedding import JointEmbedding
from training.inversion import Inverters
from training.networks.recurrent import RecurrentStep
from training.networks.stylegan2 import Generator
from training.pictures import FieldTiles
from training.run import Ema, Run
from training.scales import SCALES
from training.world import captions, factors, fields

pytestmark = pytest.mark.timeout(1800)  # the first test waits for the smoke training
SCALE = SCALES["smoke"]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Sums in one order; neighbours keep their cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def no_monitor(monkeypatch: pytest.MonkeyPatch) -> None:
    """tqdm watches its bars from a thread that nobody ends; the exporter has such a bar."""
    monkeypatch.setattr(tqdm, "monitor_interval", 0)


@pytest.fixture(scope="module")
def smoke_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a finished `cymatic train --scale smoke`; a minute or two. Not to be changed."""
    folder = tmp_path_factory.mktemp("smoke") / "run"
    command = [sys.executable, "-m", "cymatic", "train", "--scale", "smoke", "--quiet", "--threads", "2"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_WAIT_POLICY": "PASSIVE"}  # spinning threads starve neighbours
    done = subprocess.run(
        [*command, "--run", str(folder)], env=env, cwd=folder.parent, capture_output=True, text=True, timeout=1500
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"bundle: {folder / 'bundle'}\n"
    return folder


@pytest.fixture(scope="module")
def bundle(smoke_run: Path) -> Bundle:
    return load_bundle(smoke_run / "bundle")


def open_or_skip(bundle: Bundle, graph: str, runtime: str) -> Session:
    try:
        return open_graph(bundle, graph, runtime, threads=1)
    except RuntimeUnavailable as error:
        pytest.skip(str(error))


def feeds(bundle: Bundle, graph: str) -> dict[str, np.ndarray]:
    """Plausible inputs: normal floats, a caption, bytes, fractions of a pixel."""
    draws = np.random.default_rng(1)
    found: dict[str, np.ndarray] = {}
    for name, spec in bundle.manifest.graphs[graph].inputs.items():
        if name == "tokens":
            found[name] = np.array([captions.encode("heavy rain at night")[0]], np.int64)
        elif spec.dtype == "uint8":
            found[name] = draws.integers(0, 256, spec.shape, dtype=np.uint8)
        elif name == "fraction":
            found[name] = draws.random(spec.shape, dtype=np.float32)
        else:
            found[name] = draws.standard_normal(spec.shape, dtype=np.float32)
    return found


def test_the_bundle_is_what_the_scale_says(bundle: Bundle) -> None:
    manifest = bundle.manifest
    assert manifest.name == "smoke"
    assert (manifest.image.height, manifest.image.width) == SCALE.generator.size
    assert manifest.latents.layers == SCALE.generator.layers
    assert tuple(manifest.scenes) == factors.SCENES
    assert tuple(field.name for field in manifest.fields) == fields.NAMES
    assert tuple(manifest.text.words) == captions.WORDS
    assert manifest.provenance["scale"] == "smoke"
    assert set(manifest.provenance["parity"]) == set(GRAPHS)
    assert {"generator", "embedding", "looking", "inversion", "reading", "recurrent"} <= set(
        manifest.provenance["metrics"]
    )


def test_the_bundle_holds_the_worlds_fields_and_unit_scenes(bundle: Bundle) -> None:
    tiles, (height, _) = FieldTiles(SCALE.generator.size), SCALE.generator.size
    assert np.array_equal(
        bundle.tensors["fields"], (tiles.at(height // SCALE.generator.cell) * 255).round().byte().numpy()
    )
    fine = [field.detail for field in bundle.manifest.fields]
    assert np.array_equal(bundle.tensors["detail"], (tiles.full[fine] * 255).round().byte().numpy())
    assert np.abs(bundle.tensors["stroke"]).max() > 0.0, "a stroke changes something"
    assert np.allclose(np.linalg.norm(bundle.tensors["scene_embeddings"], axis=1), 1.0, atol=1e-4)
    assert np.ptp(bundle.tensors["w_avg"], axis=0).max() == 0.0, "one mean for every layer"


def test_it_paints_on_a_coarser_grid_too(bundle: Bundle) -> None:
    small = bundle.manifest.image.small
    assert small is not None
    assert (small.rows, small.columns, small.cell) == (24, 44, 6)
    assert bundle.manifest.graphs["small"].int8 is not None
    assert {"small", "small_int8"} <= set(bundle.manifest.provenance)


@pytest.mark.parametrize("graph", [*GRAPHS, "small"])
def test_both_runtimes_open_every_graph_and_agree(bundle: Bundle, graph: str) -> None:
    inputs, answers = feeds(bundle, graph), []
    for runtime in ("onnxruntime", "openvino"):
        session = open_or_skip(bundle, graph, runtime)
        answers.append({name: np.array(value) for name, value in session.run(inputs).items()})
        session.close()
    one, two = answers
    assert one.keys() == two.keys() == bundle.manifest.graphs[graph].outputs.keys()
    for name, value in one.items():
        difference = np.abs(value.astype(np.float64) - two[name].astype(np.float64))
        if value.dtype == np.uint8:
            assert difference.mean() < 0.5
            assert colours(value).std() > 1.0, "a picture, not a wall"
            assert (value[..., 3::4] == 255).all()
        else:
            assert np.isfinite(value).all()
            assert difference.max() < 2e-3


def test_a_whole_fraction_is_the_next_place(bundle: Bundle) -> None:
    session = open_or_skip(bundle, "generator", "onnxruntime")
    inputs = feeds(bundle, "generator")
    ones, zeros = np.ones_like(inputs["fraction"]), np.zeros_like(inputs["fraction"])
    moved = np.zeros_like(inputs["fields"])
    moved[:, :, :-1, :-1] = inputs["fields"][:, :, 1:, 1:]
    by_fraction = np.array(session.run({**inputs, "fraction": ones})["rgba"], np.int16)
    by_pixel = np.array(session.run({**inputs, "fields": moved, "fraction": zeros})["rgba"], np.int16)
    still = np.array(session.run({**inputs, "fraction": zeros})["rgba"], np.int16)
    session.close()
    assert np.abs(by_fraction - by_pixel).max() <= 1
    assert np.abs(still - by_pixel).max() > 1


def test_a_seed_is_a_calm_landscape_of_the_trained_mapping(bundle: Bundle, smoke_run: Path) -> None:
    network = Generator(SCALE.generator)
    state = Run(smoke_run).load("generator")
    assert state is not None
    network.load_state_dict(state["ema"])
    network = generator_stage.settle(network, SCALE)
    assert np.allclose(bundle.tensors["w_avg"][0], network.w_avg.numpy(), atol=1e-5)
    z = torch.randn(1, Z_DIM, generator=torch.Generator().manual_seed(2))
    vector = torch.zeros(1, factors.COUNT)
    vector[:, :Z_DIM] = z
    vector[:, factors.INDEX["flash"]] = factors.REST
    session = open_or_skip(bundle, "mapping", "onnxruntime")
    found = session.run({"z": z.numpy()})["w"]
    expected = network.broadcast(network.mapping(vector)).numpy()
    session.close()
    assert np.allclose(found, expected, atol=1e-4)


def test_every_stage_left_its_checkpoint_metrics_and_sheet(smoke_run: Path) -> None:
    run = Run(smoke_run)
    for name in ("generator", "generator-early", "embedding", "looking", "inversion", "reading", "recurrent"):
        assert run.load(name) is not None, name
    assert sorted(json.loads((smoke_run / "metrics.json").read_text())) == [
        "adversarial", "embedding", "generator", "inversion", "looking", "reading", "recurrent",
    ]  # fmt: skip
    assert list((smoke_run / "samples").glob("generator-*.png"))
    assert not list(smoke_run.rglob("*.tmp"))
    assert not list(smoke_run.glob(".bundle-*")), "nothing of the export is left beside the bundle"


def test_the_early_generator_has_the_final_mapping(smoke_run: Path) -> None:
    run = Run(smoke_run)
    early, final = run.load("generator-early"), run.load("generator")
    assert early is not None
    assert final is not None
    for name, value in early["generator"].items():
        if name.startswith("mapping."):
            assert torch.equal(value, final["ema"][name]), name


def test_the_average_follows_the_network() -> None:
    network = torch.nn.Linear(2, 2)
    ema = Ema(network, 0.9)
    torch.nn.init.ones_(network.weight)
    for step in range(200):
        ema.update(network, step)
    assert torch.allclose(ema.shadow["weight"], torch.ones(2, 2), atol=1e-3)


def test_tensorrt_builds_the_generator(bundle: Bundle) -> None:
    """TensorRT-RTX parses and builds with no GPU in the machine."""
    trt = pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed")
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, logger)
    parsed = parser.parse(bundle.graph_path("generator").read_bytes())
    assert parsed, [str(parser.get_error(i)) for i in range(parser.num_errors)]
    assert builder.build_serialized_network(network, builder.create_builder_config()) is not None


# What must not be shipped


@pytest.fixture(scope="module")
def untrained() -> exporter.Trained:
    torch.manual_seed(1)
    step = RecurrentStep(SCALE.generator.groups, SCALE.generator.dim, SCALE.hidden)
    joint, inverters = JointEmbedding.create(SCALE).freeze(), Inverters.create(SCALE).freeze()
    return exporter.Trained(Generator(SCALE.generator).eval(), joint, inverters, step.eval())


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_that_is_no_bundle_is_left_alone(tmp_path: Path, untrained: exporter.Trained) -> None:
    target = tmp_path / "holiday"
    target.mkdir()
    (target / "photo.jpg").write_bytes(b"sea")
    with pytest.raises(BundleError, match="is not a bundle and is not empty"):
        exporter.write_bundle(target, "x", untrained, {})
    assert contents(tmp_path) == {"holiday/photo.jpg": b"sea"}
    file = tmp_path / "file"
    file.write_bytes(b"land")
    with pytest.raises(BundleError, match="is not a bundle"):
        exporter.write_bundle(file, "x", untrained, {})
    assert file.read_bytes() == b"land"


def test_a_graph_that_answers_otherwise_is_not_shipped(
    tmp_path: Path, untrained: exporter.Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mapping.onnx"
    graph, inputs = MappingGraph(untrained.generator), {"z": torch.randn(1, Z_DIM)}
    exporter.export_graph(graph, inputs, ["w"], path)
    assert exporter.prove(path, graph, inputs, ["w"])["max"] < exporter.PARITY_FLOAT
    with monkeypatch.context() as patch:
        patch.setattr(untrained.generator.mapping.bend[4].bias, "data", untrained.generator.mapping.bend[4].bias + 0.01)
        with pytest.raises(BundleError, match=r"mapping\.onnx: exported graph differs .* not shipped"):
            exporter.prove(path, graph, inputs, ["w"])


def test_an_older_bundle_stays_until_a_whole_new_one_is_there(
    tmp_path: Path, smoke_run: Path, untrained: exporter.Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "bundle"
    shutil.copytree(smoke_run / "bundle", target)
    before = contents(target)

    def export_trained(module: object, inputs: object, outputs: object, path: Path) -> None:
        shutil.copy(smoke_run / "bundle" / path.name, path)  # graphs of the trained networks, not of these

    monkeypatch.setattr(exporter, "export_graph", export_trained)
    with pytest.raises(BundleError, match="exported graph differs"):
        exporter.write_bundle(target, "untrained", untrained, {})
    assert contents(tmp_path) == {f"bundle/{name}": data for name, data in before.items()}

    monkeypatch.setattr(exporter, "prove", lambda *arguments: {"mean": 0.0, "max": 0.0})
    assert exporter.write_bundle(target, "untrained", untrained, {"note": "replaced"}) == target
    assert load_bundle(target).manifest.provenance["note"] == "replaced"
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]
