"""`cymatic export`: real conversions, proven, refused over the limit, and written whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from tiny_bundle import make_tiny_bundle

from cymatic.cli import main
from engine.bundle import load_bundle, sha256_file
from engine.contract import GRAPHS
from engine.errors import BundleError, RuntimeUnavailable
from engine.runtime import open_graph, open_session
from engine.runtime.choose import random_feeds
from export import deploy
from export.deploy import export_bundle
from export.parity import open_reference, worst


@pytest.fixture
def bundle_folder(tmp_path: Path) -> Path:
    return make_tiny_bundle(tmp_path / "tiny", height=18, width=32)


def contents(folder: Path) -> dict[str, str]:
    return {path.name: sha256_file(path) for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_an_onnx_export_is_a_bundle_that_plays(
    bundle_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], precision: str
) -> None:
    out = tmp_path / "made" / "here"
    assert main(["export", str(bundle_folder), "--to", "onnx", "--precision", precision, "--out", str(out)]) == 0
    assert capsys.readouterr().out.endswith(f"export: {out}\n")
    record = json.loads((out / "export.json").read_text())
    assert set(record["graphs"]) == set(GRAPHS)
    for graph, row in record["graphs"].items():
        for inputs in ("random", "trained"):
            assert 0 <= row["parity"][inputs]["mean"] <= record["limit_grey"]
            assert row["parity"][inputs]["max"] >= row["parity"][inputs]["mean"]
        assert row["files"] == {f"{graph}.onnx": sha256_file(out / f"{graph}.onnx")}
    exported = load_bundle(out)
    assert exported.manifest.provenance["export"] == record
    for graph in GRAPHS:
        if precision != "bf16":  # which no CPU runtime computes in
            session = open_graph(exported, graph, "onnxruntime", threads=1)
            session.run(random_feeds(session.inputs, np.random.default_rng(0)))
            session.close()


def test_openvino_gets_its_own_files(bundle_folder: Path, tmp_path: Path) -> None:
    bundle = load_bundle(bundle_folder)
    record = export_bundle(bundle, "openvino", "fp16", tmp_path / "out")
    names = {f"{graph}.{suffix}" for graph in GRAPHS for suffix in ("xml", "bin")}
    assert set(contents(tmp_path / "out")) == names | {"export.json"}
    assert set(record["graphs"]["generator"]["files"]) == {"generator.xml", "generator.bin"}
    session = open_session(tmp_path / "out" / "generator.xml", "openvino", threads=1)
    original = open_graph(bundle, "generator", "onnxruntime", threads=1)
    assert (session.inputs, session.outputs) == (original.inputs, original.outputs)
    feeds = random_feeds(original.inputs, np.random.default_rng(0))
    apart = session.run(feeds)["rgba"].astype(int) - original.run(feeds)["rgba"]
    assert np.abs(apart).max() <= 1
    session.close()
    original.close()


def test_a_graph_that_answers_otherwise_is_refused_and_nothing_is_left(
    bundle_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exported encoder's largest weight goes astray, by which the picture becomes another."""
    real = deploy.cast_last

    def astray(model: onnx.ModelProto) -> onnx.ModelProto:
        copy = real(model)
        for tensor in copy.graph.initializer:
            if tensor.name == "direction":
                tensor.CopyFrom(numpy_helper.from_array(-3 * numpy_helper.to_array(tensor), tensor.name))
        return copy

    monkeypatch.setattr(deploy, "cast_last", astray)
    out = tmp_path / "out"
    assert main(["export", str(bundle_folder), "--to", "onnx", "--out", str(out)]) == 2
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("cymatic: ")]
    assert "encoder in fp32 differs from" in line
    assert "the limit is 0.5" in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny"]


def test_an_older_export_is_replaced_and_anything_else_left_alone(bundle_folder: Path, tmp_path: Path) -> None:
    bundle = load_bundle(bundle_folder)
    out = tmp_path / "out"
    export_bundle(bundle, "openvino", "fp32", out)
    export_bundle(bundle, "onnx", "fp32", out)
    assert not (out / "generator.xml").exists()
    before = contents(bundle_folder)
    with pytest.raises(BundleError, match=r"a bundle that was not exported.*--out"):
        export_bundle(bundle, "onnx", "fp16", bundle_folder)
    assert contents(bundle_folder) == before
    (tmp_path / "file").write_text("mine")
    with pytest.raises(BundleError, match="no export and not empty"):
        export_bundle(bundle, "onnx", "fp16", tmp_path / "file")
    with pytest.raises(BundleError, match="cannot be written"):
        export_bundle(bundle, "onnx", "fp32", tmp_path / "file" / "below")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere", "--to", "onnx"], "no bundle 'nowhere'"),
        (["BUNDLE", "--to", "onnx", "--sm", "89"], "--sm is for TensorRT"),
        (["BUNDLE", "--to", "tensorrt", "--sm", "90"], "SM 90"),
    ],
)
def test_bad_input_is_one_line(
    bundle_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    if "tensorrt" in arguments:
        pytest.importorskip("tensorrt_rtx")
    arguments = [str(bundle_folder) if argument == "BUNDLE" else argument for argument in arguments]
    assert main(["export", *arguments, "--out", str(tmp_path / "out")]) == 2
    assert said in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "out").exists()
    for wrong in ("x", "8.9", "", "89,,90", "1"):
        with pytest.raises(SystemExit):
            main(["export", str(bundle_folder), "--to", "tensorrt", "--sm", wrong])


def test_parity_sees_a_difference_that_only_the_picture_shows(bundle_folder: Path) -> None:
    """The mapping of one bundle against that of another: no picture of its own, and yet grey levels."""
    bundle = load_bundle(bundle_folder)
    with open_reference(bundle) as reference:
        same = open_graph(bundle, "mapping", "openvino", threads=1)
        found = reference.compare("mapping", same)
        assert worst(found) < 0.1
        assert found["random"].value is not None
        same.close()

        class Elsewhere:
            def run(self, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
                return {"w": np.ones((1, 10, 16), np.float32)}

        assert worst(reference.compare("mapping", Elsewhere())) > 1.0


def test_without_a_library_the_line_says_what_to_install(
    bundle_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(RuntimeUnavailable, match=r"pip install 'cymatic\[tensorrt\]'"):
        export_bundle(load_bundle(bundle_folder), "tensorrt", "fp16", tmp_path / "out")
