"""Projections of sentence models: applied as they were trained, read back as written, refused where they do not fit."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from tiny_bundle import make_tiny_bundle

from engine.bundle import Bundle, load_bundle
from engine.errors import PresetError
from presets.projection import Projection, ProjectionCard, projected, read_projection, write_projection

SENTENCE = 24


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return load_bundle(make_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny"))


@pytest.fixture
def projection(bundle: Bundle) -> Projection:
    spec = bundle.manifest.graphs["text"]
    sizes = {
        "hidden": (16, SENTENCE),
        "embedding": (spec.outputs["embedding"].shape[1], 16),
        "delta": (int(np.prod(spec.outputs["delta"].shape)), 16),
    }
    rng, weights = np.random.default_rng(0), {}
    for name, (rows, columns) in sizes.items():
        weights[f"{name}.weight"] = rng.normal(0, 0.5, (rows, columns)).astype(np.float32)
        weights[f"{name}.bias"] = rng.normal(0, 0.1, rows).astype(np.float32)
    card = ProjectionCard(
        model="mine", fingerprint="0" * 64, bundle=bundle.manifest.name, text_graph=spec.sha256, limit=4.0,
        fit={"cosine": 0.5},
    )  # fmt: skip
    return Projection(card, weights)


def embed(text: str) -> np.ndarray:
    vector = np.random.default_rng(len(text)).normal(size=SENTENCE).astype(np.float32)
    return vector / np.linalg.norm(vector)


def test_it_reads_for_the_bundle_and_knows_every_word(bundle: Bundle, projection: Projection) -> None:
    encode = projected(projection, bundle, embed)
    found, other = encode("zebras at a bonfire party"), encode("rain")
    assert found.ignored == ()
    assert (1, *found.delta.shape) == bundle.manifest.graphs["text"].outputs["delta"].shape
    assert found.delta.dtype == found.embedding.dtype == np.float32
    assert np.linalg.norm(found.embedding) == pytest.approx(1.0, abs=1e-5)
    assert np.abs(found.delta).max() <= projection.card.limit
    assert not np.allclose(found.embedding, other.embedding)


def test_numpy_applies_what_torch_has_trained(projection: Projection) -> None:
    torch = pytest.importorskip("torch")
    from training.sentences import LIMIT, Network

    weights = projection.weights
    network = Network(SENTENCE, len(weights["embedding.bias"]), len(weights["delta.bias"]))
    trained = {name: value.detach().numpy() * 3 for name, value in network.state_dict().items()}
    network.load_state_dict({name: torch.from_numpy(value) for name, value in trained.items()})
    card = projection.card.model_copy(update={"limit": LIMIT})
    sentence = embed("fire")
    delta, embedding = Projection(card, trained)(sentence)
    with torch.no_grad():
        expected = network(torch.from_numpy(sentence)[None])
    np.testing.assert_allclose(delta, expected[0][0].numpy(), atol=1e-5)
    np.testing.assert_allclose(embedding, expected[1][0].numpy(), atol=1e-5)
    extreme = Projection(card, {name: value * 1e4 for name, value in trained.items()})(sentence)
    assert all(np.isfinite(part).all() for part in extreme)


def test_a_file_gives_back_what_was_written(tmp_path: Path, projection: Projection) -> None:
    write_projection(tmp_path / "p.safetensors", projection)
    again = read_projection(tmp_path / "p.safetensors")
    assert again.card == projection.card
    assert again.sentence_dim == SENTENCE
    assert {name: w.tolist() for name, w in again.weights.items()} == {
        name: w.tolist() for name, w in projection.weights.items()
    }


def test_it_stands_between_one_bundle_and_one_model(bundle: Bundle, projection: Projection) -> None:
    card = projection.card.model_copy(update={"text_graph": "f" * 64, "bundle": "another"})
    with pytest.raises(PresetError, match="made for the bundle 'another', not for this"):
        projected(dataclasses.replace(projection, card=card), bundle, embed)
    with pytest.raises(PresetError, match="there is no word"):
        projected(projection, bundle, embed)("?! ...")
    with pytest.raises(PresetError, match="takes 24"):
        projected(projection, bundle, lambda text: embed(text)[:8])("fire")
    wider = {**projection.weights, "delta.bias": np.zeros(3, np.float32)}
    with pytest.raises(PresetError, match="another layout"):
        projected(dataclasses.replace(projection, weights=wider), bundle, embed)


def test_a_file_that_is_none_is_one_line(tmp_path: Path, projection: Projection) -> None:
    path, good = tmp_path / "p.safetensors", dict(projection.weights)
    (tmp_path / "noise").write_bytes(bytes(range(256)) * 20)
    (tmp_path / "empty").write_bytes(b"")
    save_file(good, tmp_path / "no-card")
    save_file(good, tmp_path / "bad-card", {"cymatic.projection": "{}"})
    save_file(good, tmp_path / "no-json", {"cymatic.projection": "{"})
    unknown = projection.card.model_dump_json().replace('"limit"', '"limits"')
    save_file(good, tmp_path / "other-key", {"cymatic.projection": unknown})
    names = ["missing", "noise", "empty", "no-card", "bad-card", "no-json", "other-key", "."]
    changed = {
        "less": {name: w for name, w in good.items() if name != "delta.bias"},
        "narrow": {**good, "delta.weight": good["delta.weight"][:, :3].copy()},
        "nan": {**good, "hidden.bias": np.full_like(good["hidden.bias"], np.nan)},
        "half": {**good, "hidden.bias": good["hidden.bias"].astype(np.float16)},
        "flat": {**good, "hidden.weight": good["hidden.weight"].reshape(-1)},
    }
    for name, weights in changed.items():
        write_projection(tmp_path / name, Projection(projection.card, weights))
    for name in (*names, *changed):
        with pytest.raises(PresetError) as refused:
            read_projection(tmp_path / name)
        assert "\n" not in str(refused.value)
        assert str(tmp_path) in str(refused.value)
    write_projection(path, projection)
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(PresetError, match="is no projection"):
        read_projection(path)
