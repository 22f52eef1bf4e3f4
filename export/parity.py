"""How far a graph's answers are from those of the network it stands for, in grey levels of 255.

The reference is eager torch on the bundle's own graphs, or ONNX Runtime in f32 where there is no torch. A graph that
gives no picture is judged by the one that follows from its answer: an encoder's or the recurrent step's `W+` is painted
by the reference's generator, once as the reference found it and once as the other did.
"""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from engine.audio.mel import MelAnalyser
from engine.audio.sources import DEMO
from engine.bundle import Bundle
from engine.cells import colours
from engine.contract import GROUPS
from engine.fields import FieldFlow
from engine.runtime import Session, Tensors, open_graph
from engine.runtime.choose import random_feeds

RANDOM_FEEDS = TRAINED_FEEDS = 3
STEPS = 20
"""Recurrent steps that the trained hidden states come from."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Of pictures, in grey levels; `value` is the greatest of the numbers that the graph itself gives out, if any."""

    mean: float
    max: float
    value: float | None = None


class Reference:
    """The bundle's graphs, opened, and what to feed them. `name` says what computes them."""

    def __init__(self, bundle: Bundle, sessions: Mapping[str, Session], name: str) -> None:
        self.bundle, self.name = bundle, name
        self._sessions = sessions
        rng = np.random.default_rng(0)
        self._trained = list(_trained_feeds(bundle, sessions, rng))
        self._random = {
            graph: [random_feeds(session.inputs, rng) for _ in range(RANDOM_FEEDS)]
            for graph, session in sessions.items()
        }

    def feeds(self, graph: str) -> Tensors:
        """What the graph meets on stage."""
        return self._trained[0][graph]

    def compare(self, graph: str, candidate: Session) -> dict[str, Difference]:
        """`candidate` against the reference, on random and on trained inputs."""
        trained = [feeds[graph] for feeds in self._trained]
        return {
            "random": self._difference(graph, candidate, self._random[graph]),
            "trained": self._difference(graph, candidate, trained),
        }

    def _difference(self, graph: str, candidate: Session, feeds: list[Tensors]) -> Difference:
        means, greatest, values = [], [], []
        for each in feeds:
            expected = {name: np.array(value) for name, value in self._sessions[graph].run(each).items()}
            found = candidate.run(each)
            apart = np.abs(self._picture(expected) - self._picture(found))
            means.append(float(apart.mean()))
            greatest.append(float(apart.max()))
            if "rgba" not in expected:
                values += [float(np.abs(expected[name] - found[name]).max()) for name in expected]
        return Difference(float(np.mean(means)), max(greatest), max(values) if values else None)

    def _picture(self, answer: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """RGB of a graph's answer. An embedding moves no picture; it counts as if −1..1 were black to white."""
        if set(answer) == {"embedding"}:
            return 127.5 * answer["embedding"].astype(np.float64)
        if "rgba" not in answer:
            w_avg = self.bundle.tensors["w_avg"][np.newaxis]
            w_plus = answer["delta"] + w_avg if "delta" in answer else answer.get("w_next", answer.get("w"))
            assert w_plus is not None, "every graph gives a picture, a delta, or a w"
            answer = self._sessions["generator"].run(self._trained[0]["generator"] | {"w_plus": w_plus})
        return colours(answer["rgba"])


@contextlib.contextmanager
def open_reference(bundle: Bundle, threads: int | None = None) -> Iterator[Reference]:
    """The reference of a bundle: eager torch if torch is installed, else ONNX Runtime."""
    with contextlib.ExitStack() as opened:
        sessions: dict[str, Session] = {}
        eager = all(importlib.util.find_spec(name) for name in ("torch", "onnx"))
        for graph in bundle.manifest.graphs:
            if eager:
                session = open_eager(bundle.graph_path(graph))
            else:
                session = open_graph(bundle, graph, "onnxruntime", threads=threads)
            opened.callback(session.close)
            sessions[graph] = session
        yield Reference(bundle, sessions, "eager torch, f32" if eager else "ONNX Runtime, f32")


def open_eager(path: Path) -> Session:
    """A graph file in eager torch on the CPU; `torch.set_num_threads` says on how many cores."""
    from engine.runtime.torch_cuda import TorchSession

    return TorchSession(path, "f32", "cpu")


def worst(found: Mapping[str, Difference]) -> float:
    """The greater mean of random and trained inputs."""
    return max(difference.mean for difference in found.values())


def as_rows(found: Mapping[str, Difference]) -> dict[str, dict[str, float]]:
    """For a manifest: six digits, nothing that is not there."""
    return {
        kind: {key: float(f"{value:.6g}") for key, value in asdict(difference).items() if value is not None}
        for kind, difference in found.items()
    }


def _trained_feeds(
    bundle: Bundle, sessions: Mapping[str, Session], rng: np.random.Generator
) -> Iterator[dict[str, Tensors]]:
    """What each graph meets on stage: the built-in demo's sound, words, presets' places, the bundle's own fields."""
    manifest = bundle.manifest
    sound, rate = soundfile.read(DEMO, dtype="float32", always_2d=True)
    analyser = MelAnalyser(rate, manifest.mel)
    textures: dict[str, Tensors] = {"generator": {}}
    if manifest.fields:
        painters = [graph for graph in ("generator", "small") if graph in sessions]
        textures = {graph: FieldFlow.of(bundle, small=graph == "small").sample() for graph in painters}
    for number, part in enumerate(np.array_split(sound.mean(1), TRAINED_FEEDS)):
        analyser.push(part)
        window = analyser.window().copy()
        feeds: dict[str, Tensors] = {"encoder": {"mel": window}, "reader": {"mel": window}}
        feeds["mapping"] = random_feeds(sessions["mapping"].inputs, rng)
        base = sessions["mapping"].run(feeds["mapping"])["w"].copy()
        delta = sessions["encoder"].run(feeds["encoder"])["delta"].copy()
        step: Tensors = {"w": base, "base": base, "delta": delta, "noise": np.zeros_like(base)}
        step |= {f"h_{group}": np.zeros((1, manifest.hidden), np.float32) for group in GROUPS}
        for _ in range(STEPS):
            after = sessions["recurrent"].run(step)
            step = step | {name.removesuffix("_next"): value.copy() for name, value in after.items()}
        feeds["recurrent"] = step
        if manifest.text is not None:
            words = manifest.text.words
            feeds["text"] = {"tokens": manifest.text.tokens(" ".join(words[number::TRAINED_FEEDS]))}
        for graph, texture in textures.items():
            feeds[graph] = random_feeds(sessions[graph].inputs, rng) | texture | {"w_plus": step["w"]}
        yield feeds
