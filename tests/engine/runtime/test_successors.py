"""A faster session takes over while the show goes on; two CPU runtimes stand for the old one and the new one."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from conftest import wait_until

from engine.audio.sources import Block, SourceState
from engine.bundle import Bundle, load_bundle
from engine.links import Links
from engine.painter import GRAPHS
from engine.player import Player
from engine.runtime import open_graph, successors
from engine.runtime.session import Session, can_run
from engine.runtime.successors import Successors, plays_at_once

PRESET = {"serial": 1, "name": "", "base": {"seed": 3}, "offset": None, "fade_s": 0.0}
STILL = {"speed": 0.0, "sound/weight": 0.0}


class Silence:
    """A source that runs and gives nothing."""

    name, sample_rate, channels, state, error = "silence", 48_000, 1, SourceState.RUNNING, None
    gaps, frames, silent_fraction = 0, 0, 1.0

    def start(self) -> None: ...
    def stop(self) -> None: ...

    def read(self) -> Block:
        return Block(np.zeros(0, np.float32), time.perf_counter())


class Closing:
    """A session that remembers that it was closed, and refuses to run then."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.closed = False
        self.runtime, self.precision = session.runtime, session.precision
        self.inputs, self.outputs = session.inputs, session.outputs

    def run(self, feeds: Any) -> Any:
        assert not self.closed, "a closed session was run"
        return self._session.run(feeds)

    def close(self) -> None:
        self.closed = True
        self._session.close()


class Show:
    """A player on a thread that plays still pictures with ONNX Runtime, and the stage's ends of its links."""

    def __init__(self, bundle: Bundle, coming: Successors) -> None:
        self.coming = coming
        self.sessions = {name: Closing(open_graph(bundle, name, "onnxruntime", threads=1)) for name in GRAPHS}
        self.links = Links.create(bundle.manifest.image.height, bundle.manifest.image.width)
        self._engine_links = Links.attach(self.links.names)
        player = Player(bundle, self.sessions, Silence(), self._engine_links, 60.0, (), coming)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=player.run, args=(self._stop,), name="player")
        self._status: dict[str, Any] = {}
        self._index = 0
        self.links.controls.put({"controls": STILL})
        self.links.preset.put(PRESET)
        self._thread.start()

    @property
    def status(self) -> dict[str, Any]:
        if (newest := self.links.status.get(self._index)) is not None:
            self._index, self._status = newest
        return self._status

    def frame(self) -> Any:
        """A picture made from now on."""
        after = self.links.slot.newest_index
        wait_until(lambda: self.links.slot.newest_index > after, what="a new picture")
        return self.links.slot.newest(after)

    def told(self, words: str) -> bool:
        return any(words in line for _, line in self.status.get("events", ()))

    def close(self) -> None:
        self._stop.set()
        self._thread.join(20)
        assert self.coming.stop(20)
        self._engine_links.close()
        self.links.close()
        for session in self.sessions.values():
            session.close()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    from tiny_bundle import make_tiny_bundle

    return load_bundle(make_tiny_bundle(tmp_path_factory.mktemp("successors") / "tiny"))


@pytest.fixture
def built() -> threading.Event:
    """Until it is set, nothing that takes over gets opened."""
    return threading.Event()


@pytest.fixture
def show(bundle: Bundle, built: threading.Event, monkeypatch: pytest.MonkeyPatch) -> Iterator[Show]:
    def build(*arguments: Any, **more: Any) -> Session:
        built.wait(30)
        return open_graph(*arguments, **more)

    monkeypatch.setattr(successors, "open_graph", build)
    coming = Successors(bundle, dict.fromkeys(GRAPHS, 1.0), "openvino", threads=1)
    show = Show(bundle, coming)
    coming.start()
    yield show
    built.set()
    show.close()


def test_the_show_goes_on_while_the_new_session_is_built_then_it_takes_over(show: Show, built: threading.Event) -> None:
    before = show.frame()
    wait_until(lambda: show.told("openvino is getting ready"), what="the line about it")
    for _ in range(10):
        assert (show.frame().rgba == before.rgba).all()
    assert show.status["runtime"]["generator"]["name"] == "onnxruntime"
    built.set()
    wait_until(
        lambda: all(
            show.status.get("runtime", {}).get(name, {}).get("name") == "openvino" for name in successors.GRAPHS
        ),
        what="the new sessions",
    )
    after = show.frame()
    assert after.index > before.index
    assert np.abs(after.rgba.astype(int) - before.rgba).max() <= 1, "the same picture from the other runtime"
    assert show.status["errors"] == 0
    assert show.status["runtime"]["mapping"]["name"] == "onnxruntime", "it runs once a preset"
    assert show.told("generator: openvino is ready after")
    wait_until(lambda: all(show.sessions[name].closed for name in successors.GRAPHS), what="the old ones closed")
    assert not show.sessions["mapping"].closed


def test_a_show_that_ends_before_the_build_does_leaves_it_behind(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    building = threading.Event()

    def build(*arguments: Any, **more: Any) -> Session:
        building.wait(30)
        return open_graph(*arguments, **more)

    monkeypatch.setattr(successors, "open_graph", build)
    coming = Successors(bundle, dict.fromkeys(GRAPHS, 1.0), "openvino", threads=1)
    coming.start()
    begun_at = time.monotonic()
    assert not coming.stop(0.2)
    assert time.monotonic() - begun_at < 10
    building.set()
    wait_until(lambda: coming.stop(0.1), what="the end of the build")
    assert set(coming.take()) <= {"generator"}


@pytest.mark.parametrize(("playing_ms", "takes_over"), [(1e9, True), (0.0, False)])
def test_who_did_not_ask_for_it_gets_it_only_if_it_is_faster(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, playing_ms: float, takes_over: bool
) -> None:
    monkeypatch.setattr(successors, "ACCELERATED", ("openvino",))
    coming = Successors(bundle, dict.fromkeys(GRAPHS, playing_ms), "auto", threads=1)
    coming.start()
    lines: list[str] = []

    def tried_all() -> bool:
        lines.extend(coming.lines())
        return sum("reader" in line for line in lines) == 1

    wait_until(tried_all, what="the last graph")
    assert set(coming.take()) == (set(successors.GRAPHS) if takes_over else set())
    assert sum("stays" in line for line in lines) == (0 if takes_over else len(successors.GRAPHS))
    assert coming.stop(20)


@pytest.mark.skipif(can_run("tensorrt"), reason="TensorRT can run here")
def test_a_runtime_that_cannot_start_leaves_everything_as_it_is(bundle: Bundle) -> None:
    coming = Successors(bundle, dict.fromkeys(GRAPHS, 1.0), "tensorrt")
    show = Show(bundle, coming)
    try:
        show.frame()
        coming.start()
        wait_until(lambda: show.told("tensorrt does not take over: "), what="the line about it")
        assert show.frame().index
        assert show.status["runtime"]["generator"]["name"] == "onnxruntime"
    finally:
        show.close()


def test_what_must_be_built_first_does_not_begin_a_show() -> None:
    assert plays_at_once("tensorrt") == plays_at_once("torch-cuda") == plays_at_once("auto") == "auto"
    assert plays_at_once("openvino") == "openvino"
