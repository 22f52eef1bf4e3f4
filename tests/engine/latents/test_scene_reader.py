"""Which scene is heard, read from the tiny bundle and from sessions made to misbehave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tiny_bundle import EMBEDDING, make_tiny_bundle

from engine.bundle import Bundle, load_bundle
from engine.latents import SceneReader
from engine.runtime import open_graph

LOUD = np.ones((1, 1, 128, 128), np.float32)


class Says:
    """A session that reads the same in everything."""

    runtime: Any = "openvino"
    precision: Any = "f32"
    inputs: Any = None
    outputs: Any = None

    def __init__(self, embedding: np.ndarray) -> None:
        self.embedding = embedding.astype(np.float32)

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {"embedding": self.embedding[None]}

    def close(self) -> None:
        pass


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return load_bundle(make_tiny_bundle(tmp_path_factory.mktemp("reader") / "tiny"))


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_a_reading_is_of_unit_length_and_its_likeness_sums_to_one(bundle: Bundle, runtime: str) -> None:
    session = open_graph(bundle, "reader", runtime, threads=1)
    reader = SceneReader(bundle, session)
    reader.read(LOUD)
    session.close()
    assert float(np.linalg.norm(reader.embedding)) == pytest.approx(1.0, abs=1e-4)
    assert reader.likeness.shape == (9,)
    assert reader.likeness.sum() == pytest.approx(1.0, abs=1e-5)


def test_the_nearest_scene_is_named(bundle: Bundle) -> None:
    reader = SceneReader(bundle, Says(bundle.tensors["scene_embeddings"][6]))
    reader.read(LOUD)
    assert int(reader.likeness.argmax()) == 6


def test_a_broken_reading_leaves_the_last_one(bundle: Bundle) -> None:
    session = Says(bundle.tensors["scene_embeddings"][2])
    reader = SceneReader(bundle, session)
    reader.read(LOUD)
    session.embedding = np.full(EMBEDDING, np.nan, np.float32)
    reader.read(LOUD)
    assert int(reader.likeness.argmax()) == 2


def test_it_reads_ten_times_a_second_and_never_without_scenes(bundle: Bundle) -> None:
    reader = SceneReader(bundle, Says(np.zeros(EMBEDDING)))
    assert 99 <= sum(reader.due(frame / 30) for frame in range(300)) <= 101
    tensors = {name: tensor for name, tensor in bundle.tensors.items() if name != "scene_embeddings"}
    foreign = SceneReader(replace(bundle, tensors=tensors), Says(np.zeros(EMBEDDING)))
    assert not any(foreign.due(frame / 30) for frame in range(300))
    assert foreign.likeness.size == 0
