"""Presets are read and composed before they are called, on a thread of their own."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from conftest import wait_until

from cymatic import prepared
from cymatic.prepared import Prepared
from engine.bundle import Bundle, load_bundle
from engine.errors import PresetError
from presets.recipe import anchor
from presets.schema import Preset, Seed
from presets.store import PresetStore
from presets.text import Encoded


class Watched(PresetStore):
    """A store that remembers on which thread each preset was read."""

    def __init__(self, folder: Path) -> None:
        super().__init__([folder])
        self.read: list[tuple[str, str]] = []

    def load(self, name: str) -> Preset:
        self.read.append((threading.current_thread().name, name))
        return super().load(name)


def never(text: str) -> Encoded:
    raise AssertionError(f"{text!r} was read when the pad was pressed")


@pytest.fixture
def bundle(tiny_bundle: Path) -> Bundle:
    return load_bundle(tiny_bundle)


@pytest.fixture
def store(tmp_path: Path, bundle: Bundle) -> Watched:
    store = Watched(tmp_path)
    offset = Encoded(np.zeros_like(bundle.tensors["w_avg"]), np.float32([1.0]), ())
    elsewhere = anchor("text", "fire zebra", 1.0, offset, "f" * 64)
    for name, anchors in (("alpha", ()), ("beta", (elsewhere,))):
        store.save(Preset(name=name, base=Seed(seed=1), anchors=anchors))
    return store


@pytest.fixture
def ready(store: Watched, bundle: Bundle, monkeypatch):
    monkeypatch.setattr(prepared, "LOOK_S", 0.02)
    ready = Prepared(store, lambda: ["alpha", "beta"], bundle)
    yield ready
    ready.stop()


def test_a_call_reads_nothing_once_all_is_prepared(ready: Prepared, store: Watched):
    ready.start()
    wait_until(lambda: len(store.read) == 2, what="both to be read")
    wait_until(lambda: len(ready._ready) == 2, what="both to be ready")
    beta = ready.get("beta", never)
    assert np.abs(beta.told["offset"]).max() > 0.01, "words of another bundle have been read by this one"
    assert "zebra" in "".join(beta.lines), "and whoever calls it is told which did not count"
    assert ready.get("alpha", never).told["offset"] is None
    assert store.read == [("pads", "alpha"), ("pads", "beta")]


def test_a_file_that_changes_is_prepared_again(ready: Prepared, store: Watched):
    ready.start()
    wait_until(lambda: "alpha" in ready._ready, what="the preset to be ready")
    store.save(Preset(name="alpha", base=Seed(seed=5)))
    assert ready.get("alpha", never).told["base"] == {"seed": 5}, "never the old one, prepared or not"
    store.save(Preset(name="alpha", base=Seed(seed=6)))
    wait_until(lambda: ready._ready["alpha"].told["base"] == {"seed": 6}, what="the new one to be ready")


def test_without_the_thread_a_call_reads_for_itself(ready: Prepared, store: Watched):
    assert ready.get("alpha", never).preset.name == "alpha"
    assert store.read == [("MainThread", "alpha")]
    with pytest.raises(PresetError, match="there is no preset 'none'"):
        ready.get("none", never)


def test_another_bundle_means_anew(ready: Prepared, store: Watched, tiny_bundle: Path):
    ready.start()
    wait_until(lambda: len(ready._ready) == 2, what="both to be ready")
    other = load_bundle(tiny_bundle)
    ready.change_bundle(other)
    wait_until(lambda: all(one.bundle is other for one in ready._ready.values()), what="both to be ready again")


def test_a_stamp_tells_files_apart(tmp_path: Path):
    store = PresetStore([tmp_path / "shipped", tmp_path / "own"])
    assert store.stamp("alpha") == store.stamp("../alpha") == ()
    PresetStore([tmp_path / "shipped"]).save(Preset(name="alpha", base=Seed(seed=1)))
    shipped = store.stamp("alpha")
    store.save(Preset(name="alpha", base=Seed(seed=2)))
    assert len({(), shipped, store.stamp("alpha")}) == 3
