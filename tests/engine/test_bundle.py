"""The bundle: what is accepted, and one clear line for everything that is not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file
from tiny_bundle import CELL, DIM, EMBEDDING, FIELDS, LAYERS, make_tiny_bundle

import engine.bundle
from engine.bundle import BundleManifest, find_bundle, load_bundle, sha256_file, write_manifest
from engine.contract import GRAPHS, graph_contract
from engine.errors import BundleError


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny")


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(original, tmp_path / "spoilt"))


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    manifest = json.loads((folder / "bundle.json").read_text())
    change(manifest)
    (folder / "bundle.json").write_text(json.dumps(manifest))


def replace_weights(folder: Path, **tensors: np.ndarray) -> None:
    weights = folder / "weights.safetensors"
    save_file(dict(load_bundle(folder).tensors) | tensors, weights)
    edit(folder, lambda m: m["weights"].update(sha256=sha256_file(weights)))


def refusal(folder: Path) -> str:
    with pytest.raises(BundleError) as caught:
        load_bundle(folder)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 400
    return message


def test_a_whole_bundle_loads(original: Path) -> None:
    bundle = load_bundle(original)
    assert bundle.manifest.name == "tiny"
    assert bundle.tensors["w_avg"].shape == (LAYERS, DIM)
    assert bundle.tensors["fields"].shape == (len(FIELDS), 18, 32)
    assert bundle.tensors["fields"].dtype == np.uint8
    assert bundle.tensors["scene_embeddings"].shape == (9, EMBEDDING)
    assert all(bundle.graph_path(name).is_file() for name in GRAPHS)
    assert bundle.manifest.latents.groups.slices()["fine"] == slice(4, LAYERS)


def test_another_size(tmp_path: Path) -> None:
    bundle = load_bundle(make_tiny_bundle(tmp_path / "b", height=18, width=20))
    assert bundle.tensors["fields"].shape == (len(FIELDS), 9, 10)
    assert bundle.manifest.graphs["generator"].outputs["rgba"].shape == (9, 10, 16)


def test_a_picture_of_whole_cells_only(folder: Path) -> None:
    edit(folder, lambda m: m["image"].update(cell=5))
    assert "36x64 is not made of whole cells of 5x5" in refusal(folder)


@pytest.fixture(scope="module")
def with_small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_bundle(tmp_path_factory.mktemp("bundles") / "small", small=True)


def test_a_coarser_grid_has_a_graph_of_its_own(with_small: Path, original: Path) -> None:
    bundle = load_bundle(with_small)
    small, graph = bundle.manifest.image.small, bundle.manifest.graphs["small"]
    assert small is not None
    assert bundle.manifest.dimensions.small == (small.rows, small.columns, small.cell) == (12, 23, 3)
    assert graph.outputs["rgba"].shape == (12, 23, 3 * 3 * 4)
    assert graph.inputs["fields"].shape == (1, len(FIELDS), 13, 24)
    assert graph.inputs["detail"].shape == (1, 12, 23, 2 * CELL**2), "as many pixels of the fine fields as ever"
    assert list(graph_contract(bundle.manifest.dimensions)) == [*GRAPHS, "small"]
    assert list(graph_contract(load_bundle(original).manifest.dimensions)) == list(GRAPHS)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda m: m["image"]["small"].update(rows=11), "33x69 does not cover 36x64"),
        (lambda m: m["image"]["small"].update(columns=21), "36x63 does not cover 36x64"),
        (lambda m: m["image"]["small"].update(cell=0), "image.small.cell"),
        (lambda m: m["image"]["small"].update(columns=24), "graph small, input fields"),
        (lambda m: m["image"].pop("small"), "graphs must be"),
        (lambda m: m["graphs"].pop("small"), "graphs must be"),
    ],
)
def test_a_coarser_grid_that_does_not_fit_is_refused(
    with_small: Path, tmp_path: Path, change: Callable[[dict[str, Any]], object], named: str
) -> None:
    folder = Path(shutil.copytree(with_small, tmp_path / "spoilt"))
    edit(folder, change)
    assert named in refusal(folder)


def test_all_files_are_known_by_their_hash(folder: Path) -> None:
    twin = folder / "generator.int8.onnx"
    shutil.copyfile(folder / "generator.onnx", twin)
    edit(folder, lambda m: m["graphs"]["generator"].update(int8={"file": twin.name, "sha256": sha256_file(twin)}))
    files = load_bundle(folder).manifest.files
    assert files == {path.name: sha256_file(path) for path in folder.iterdir() if path.name != "bundle.json"}


def test_half_precision_weights_are_read_as_float32(folder: Path) -> None:
    before = load_bundle(folder).tensors["w_avg"]
    replace_weights(folder, w_avg=before.astype(np.float16))
    after = load_bundle(folder).tensors["w_avg"]
    assert after.dtype == np.float32
    np.testing.assert_allclose(after, before, atol=2e-3)


@pytest.mark.parametrize("file", ["bundle.json", "encoder.onnx", "mapping.onnx", "weights.safetensors"])
def test_a_missing_file_is_named(folder: Path, file: str) -> None:
    (folder / file).unlink()
    assert file in refusal(folder)


@pytest.mark.parametrize("file", ["generator.onnx", "weights.safetensors"])
def test_a_wrong_hash_is_refused(folder: Path, file: str) -> None:
    content = bytearray((folder / file).read_bytes())
    content[-1] ^= 1
    (folder / file).write_bytes(content)
    message = refusal(folder)
    assert file in message
    assert "damaged" in message


def test_not_json(folder: Path) -> None:
    (folder / "bundle.json").write_text("{ name: tiny")
    assert "not JSON" in refusal(folder)


def test_a_folder_in_place_of_a_file(folder: Path) -> None:
    (folder / "text.onnx").unlink()
    (folder / "text.onnx").mkdir()
    assert "text.onnx" in refusal(folder)


@pytest.mark.parametrize(
    "name", ["../x.onnx", "/etc/passwd", "sub/x.onnx", "..", ".hidden", "a\\b.onnx", "bundle.json", ""]
)
def test_a_file_name_cannot_leave_the_folder(folder: Path, name: str) -> None:
    edit(folder, lambda m: m["graphs"]["encoder"].update(file=name))
    message = refusal(folder)
    assert "graphs.encoder.file" in message
    assert "inside the bundle" in message


CHANGES: list[tuple[str, Callable[[dict[str, Any]], object], str]] = [
    ("unknown key", lambda m: m.update(colour="red"), "colour"),
    ("unknown key in mel", lambda m: m["mel"].update(colour=1), "mel.colour"),
    ("schema version", lambda m: m.update(schema_version=2), "schema_version"),
    ("missing key", lambda m: m.pop("latents"), "latents"),
    ("missing graph", lambda m: m["graphs"].pop("text"), "text"),
    ("extra graph", lambda m: m["graphs"].update(other=m["graphs"]["text"]), "other"),
    ("layers against graphs", lambda m: m["latents"].update(layers=11, groups=_groups(11)), "encoder"),
    ("dim against graphs", lambda m: m["latents"].update(dim=32), "delta"),
    ("image against generator", lambda m: m["image"].update(height=72), "generator"),
    ("mel against encoder", lambda m: m["mel"].update(columns=64), "mel"),
    ("fields against generator", lambda m: m["fields"].pop(), "fields"),
    ("hidden against recurrent", lambda m: m.update(hidden=9), "h_coarse"),
    ("text length", lambda m: m["text"].update(length=9), "tokens"),
    ("type of an input", lambda m: m["graphs"]["text"]["inputs"]["tokens"].update(dtype="float32"), "tokens"),
    ("renamed output", lambda m: _rename(m["graphs"]["mapping"]["outputs"], "w", "v"), "mapping"),
    ("groups with a gap", lambda m: m["latents"]["groups"].update(mid=[3, 4]), "groups"),
    ("groups that end early", lambda m: m["latents"]["groups"].update(fine=[4, 9]), "groups"),
    ("eight scenes", lambda m: m["scenes"].pop(), "scenes"),
    ("a scene twice", lambda m: m["scenes"].__setitem__(1, m["scenes"][0]), "scene"),
    ("a word twice", lambda m: m["text"]["words"].append(m["text"]["words"][0]), "word"),
    ("not a hash", lambda m: m["weights"].update(sha256="f00"), "sha256"),
    ("endless velocity", lambda m: m["fields"][0].update(velocity=[float("inf"), 0]), "velocity"),
]


def _groups(layers: int) -> dict[str, list[int]]:
    return {"coarse": [0, 2], "mid": [2, 4], "fine": [4, layers]}


def _rename(table: dict[str, Any], old: str, new: str) -> None:
    table[new] = table.pop(old)


@pytest.mark.parametrize(("change", "named"), [row[1:] for row in CHANGES], ids=[row[0] for row in CHANGES])
def test_a_manifest_that_contradicts_itself_is_refused(
    folder: Path, change: Callable[[dict[str, Any]], object], named: str
) -> None:
    edit(folder, change)
    assert named in refusal(folder)


def test_weights_of_another_shape(folder: Path) -> None:
    replace_weights(folder, w_avg=np.zeros((LAYERS, DIM + 1), np.float32))
    assert "w_avg" in refusal(folder)


def test_weights_with_a_tensor_too_many(folder: Path) -> None:
    replace_weights(folder, other=np.zeros(3, np.float32))
    assert "other" in refusal(folder)


def test_weights_that_are_not_finite(folder: Path) -> None:
    replace_weights(folder, w_avg=np.full((LAYERS, DIM), np.nan, np.float32))
    assert "not finite" in refusal(folder)


def test_scene_embeddings_that_are_not_unit(folder: Path) -> None:
    replace_weights(folder, scene_embeddings=np.ones((9, EMBEDDING), np.float32))
    assert "unit length" in refusal(folder)


def test_weights_that_are_not_safetensors(folder: Path) -> None:
    weights = folder / "weights.safetensors"
    weights.write_bytes(b"\x80\x04K\x01.")  # a pickle
    edit(folder, lambda m: m["weights"].update(sha256=sha256_file(weights)))
    assert "not a safetensors file" in refusal(folder)


def test_find_by_path_and_by_name(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_bundle(original) == original
    assert find_bundle(str(original)) == original
    monkeypatch.setattr(engine.bundle, "SHIPPED", original.parent)
    monkeypatch.chdir(tmp_path)
    assert find_bundle("tiny") == original


def test_find_unknown_lists_what_there_is(original: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.bundle, "SHIPPED", original.parent)
    with pytest.raises(BundleError, match=r"'nowhere'.*tiny"):
        find_bundle("nowhere")


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b", "~nobody-here/x"])
def test_find_takes_any_text(name: str) -> None:
    with pytest.raises(BundleError):
        find_bundle(name)


def test_find_refuses_a_folder_without_manifest(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"holds no bundle\.json"):
        find_bundle(tmp_path)


def test_manifest_round_trip_leaves_no_temporary_file(original: Path, tmp_path: Path) -> None:
    manifest = load_bundle(original).manifest
    written = write_manifest(tmp_path, manifest)
    assert BundleManifest.model_validate_json(written.read_bytes()) == manifest
    assert [path.name for path in tmp_path.iterdir()] == ["bundle.json"]


def test_tokens(original: Path) -> None:
    text = load_bundle(original).manifest.text
    fire, night = text.words.index("fire") + 2, text.words.index("night") + 2
    assert text.tokens("Fire, at NIGHT!").tolist() == [[fire, 1, night, 0, 0, 0, 0, 0]]
    assert text.tokens("").tolist() == [[0] * 8]
    assert text.tokens("fire " * 50).tolist() == [[fire] * 8]
