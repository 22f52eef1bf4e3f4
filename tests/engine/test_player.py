"""The streaming loop, with real graphs and a sound of the test's own."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from conftest import wait_until
from tiny_bundle import make_tiny_bundle

from engine import governor, player
from engine.audio.sources import Block, SourceState
from engine.bundle import load_bundle
from engine.canvas import Canvas
from engine.errors import BundleError, CymaticError
from engine.links import Links
from engine.painter import GRAPHS
from engine.player import Player
from engine.runtime.session import open_graph
from engine.runtime.spare import Spare
from engine.runtime.timed import Timed

RATE = 48_000
SEED = {"serial": 1, "name": "", "base": {"seed": 3}, "offset": None, "fade_s": 0.0}


class Sound:
    """A source that gives noise of a loudness that can be changed, in real time."""

    name, sample_rate, channels, state, error = "noise", RATE, 1, SourceState.RUNNING, None
    gaps, silent_fraction = 0, 0.0

    def __init__(self) -> None:
        self.amplitude = 0.0
        self.frames = 0
        self.broken = False
        self._rng = np.random.default_rng(0)
        self._at = time.perf_counter()

    def start(self) -> None: ...
    def stop(self) -> None: ...

    def read(self) -> Block:
        if self.broken:
            raise OSError("the cable is out")
        now = time.perf_counter()
        count = min(int((now - self._at) * RATE), RATE)
        self._at += count / RATE
        self.frames += count
        return Block((self.amplitude * self._rng.standard_normal(count)).astype(np.float32), self._at)


class Broken:
    """A session that fails, or takes longer, when it is told to."""

    def __init__(self, session) -> None:
        self._session = session
        self.fails = False
        self.takes_s = 0.0
        self.runtime, self.precision = session.runtime, session.precision
        self.inputs, self.outputs = session.inputs, session.outputs

    def run(self, feeds):
        if self.fails:
            raise self.fails() if callable(self.fails) else RuntimeError("the driver has gone")
        time.sleep(self.takes_s)
        return self._session.run(feeds)

    def close(self) -> None:
        self._session.close()


class Show:
    """A player on a thread, and the stage's ends of its links."""

    def __init__(self, folder, fps=60.0, size=None, small=None) -> None:
        """`small`: opens the graph of that name."""
        self.bundle = load_bundle(folder)
        self.sound = Sound()
        names = GRAPHS
        self.sessions = {name: Broken(open_graph(self.bundle, name, "onnxruntime", threads=1)) for name in names}
        image = self.bundle.manifest.image
        self.links = Links.create(*(size or (image.height, image.width)))
        self.engine_links = Links.attach(self.links.names)
        self.spare = Spare(lambda: Canvas(self.bundle, Timed(small(self.bundle)), small=True), lambda canvas: None)
        spare = self.spare if small else None
        self.player = Player(self.bundle, self.sessions, self.sound, self.engine_links, fps, ("hello",), spare=spare)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="player")
        self.ended = None
        self._status = {}
        self._index = 0
        self._thread.start()

    def _run(self) -> None:
        try:
            self.player.run(self._stop)
        except CymaticError as error:
            self.ended = error

    def close(self) -> None:
        self._stop.set()
        self._thread.join(20)
        self.spare.stop()
        self.engine_links.close()
        self.links.close()
        for session in self.sessions.values():
            session.close()

    @property
    def status(self):
        if (newest := self.links.status.get(self._index)) is not None:
            self._index, self._status = newest
        return self._status

    def frame(self, later=0):
        """A picture made from now on."""
        after = self.links.slot.newest_index + later
        wait_until(lambda: self.links.slot.newest_index > after, what="a new picture")
        return self.links.slot.newest(after)


@pytest.fixture
def show(tiny_bundle):
    show = Show(tiny_bundle)
    yield show
    show.close()


def test_no_picture_before_the_preset_is_known(show):
    wait_until(lambda: show.status.get("state") == "playing", what="the first status")
    assert show.links.slot.newest() is None
    show.links.preset.put(SEED)
    assert show.frame().index >= 1


def test_the_picture_follows_the_sound_and_returns_to_its_rest(show):
    show.links.controls.put({"controls": {"speed": 0.0, "smoothing": 0.0, "sound/weight": 0.0}})
    show.links.preset.put(SEED)
    rest = show.frame(later=5).rgba
    show.links.controls.put({"controls": {"sound/weight": 1.0}})
    quiet = show.frame(later=60).rgba.astype(int)
    show.sound.amplitude = 0.5
    wait_until(lambda: np.abs(show.frame().rgba - quiet).mean() > 2.0, what="a picture that is moved by the sound")
    show.links.controls.put({"controls": {"sound/weight": 0.0}})
    wait_until(lambda: (show.frame().rgba == rest).all(), what="the picture at rest")


def test_without_sound_weight_nothing_moves(show):
    show.links.controls.put({"controls": {"speed": 0.0, "sound/weight": 0.0}})
    show.links.preset.put(SEED)
    before = show.frame(later=5).rgba
    show.sound.amplitude = 0.5
    wait_until(lambda: show.status.get("level", 0) > 0.5, what="the sound being heard")
    assert (show.frame(later=5).rgba == before).all()


def test_a_picture_brings_how_far_the_sound_moves_its_look(show):
    moved = {"feature": "level", "control": "look/vignette", "amount": 0.5, "attack_s": 0.0, "release_s": 0.0}
    show.links.preset.put({**SEED, "maps": [moved]})
    assert show.frame().look == (0.0,) * 5
    show.sound.amplitude = 0.5
    wait_until(lambda: show.frame().look[4] > 0.3, what="a vignette that the sound moves")
    assert show.frame().look[:4] == (0.0,) * 4


def test_times_and_stages_are_those_of_the_picture(show):
    show.links.preset.put(SEED)
    frames = [show.frame() for _ in range(12)]
    for frame in frames:
        assert frame.captured_at <= frame.written_at
        assert frame.started_at < frame.written_at <= frame.published_at
    stats = np.array([frame.stats for frame in frames])
    assert (stats[:, [0, 3, 4]] > 0).all(), "mel, blend and generator run for every picture"
    assert np.isnan(stats[:, 1]).any(), "the encoder runs at the latent rate only"
    assert (stats[~np.isnan(stats)] > 0).all()


def test_the_status_tells_everything_a_window_shows(show):
    show.links.preset.put(SEED)
    show.frame()
    wait_until(lambda: show.status.get("frames", 0) > 0, what="a status")
    status = show.status
    assert status["audio"]["device"] == "noise"
    assert status["audio"]["sample_rate"] == RATE
    assert set(status["runtime"]) == set(GRAPHS)
    assert status["runtime"]["generator"] == {"name": "onnxruntime", "precision": "f32"}
    assert len(status["scenes"]) == 9
    assert sum(status["scenes"]) == pytest.approx(1, abs=0.01)
    assert len(status["mel"]) == show.bundle.manifest.mel.bands
    assert status["rss_mib"] > 10
    assert [line for _, line in status["events"]] == ["hello"]


def test_a_preset_is_faded_to(show):
    layout = show.bundle.manifest.latents
    show.links.controls.put({"controls": {"speed": 0.0, "sound/weight": 0.0, "text/weight": 1.0}})
    zero = np.zeros((layout.layers, layout.dim)).tolist()
    one = np.ones((layout.layers, layout.dim)).tolist()
    show.links.preset.put(SEED | {"base": {"w_plus": zero}})
    before = show.frame(later=3).rgba.astype(int)
    show.links.preset.put(SEED | {"serial": 2, "base": {"w_plus": zero}, "offset": one, "fade_s": 1.0})
    steps, last = [], before
    for _ in range(400):
        now = show.frame().rgba.astype(int)
        steps.append(np.abs(now - last).max())
        last = now
        if len(steps) > 30 and not any(steps[-10:]):
            break
    whole = np.abs(last - before).max()
    assert whole > 10
    assert sum(step > 0 for step in steps) >= 5, "it must have been a fade, not a cut"
    show.links.preset.put(SEED | {"serial": 3, "base": {"w_plus": one}, "offset": None})
    assert np.abs(show.frame(later=3).rgba - last).max() <= 1, "the same place in W+ is the same picture"


def test_a_crossfader_that_stood_elsewhere_before_a_call_does_not_hold_its_fade(show):
    """Controls and presets come by channels of their own: a frame may see a call before the fader that it moved."""
    layout = show.bundle.manifest.latents
    zero, one = (np.full((layout.layers, layout.dim), value).tolist() for value in (0.0, 1.0))

    def stands(position: float, preset: int) -> None:
        show.links.controls.put({"controls": {"crossfader": position}, "preset": preset})
        show.frame(later=5)

    show.links.preset.put(SEED | {"base": {"w_plus": zero}})
    stands(0.4, preset=1)
    show.links.preset.put(SEED | {"serial": 2, "base": {"w_plus": one}, "fade_s": 600.0, "crossfader": 1.0})
    show.frame(later=5)
    stands(0.4, preset=1)
    stands(1.0, preset=2)
    assert 0.0 < show.player._painter._base.mean() < 0.01, "it has begun, and takes its ten minutes"
    stands(0.4, preset=2)
    show.frame(later=5)
    assert show.player._painter._base.mean() == pytest.approx(0.375), "and what comes after the call counts again"


def test_words_that_are_new_do_not_call_the_preset_again(show):
    layout = show.bundle.manifest.latents
    zero, one = (np.full((layout.layers, layout.dim), value).tolist() for value in (0.0, 1.0))
    show.links.preset.put(SEED | {"base": {"w_plus": zero}})
    show.frame(later=5)
    called = SEED | {"serial": 2, "base": {"w_plus": one}, "fade_s": 600.0, "crossfader": 1.0}
    show.links.preset.put(called)
    show.frame(later=5)
    show.links.preset.put(called | {"words": one, "words_fade_s": 0.0})
    show.frame(later=5)
    painter = show.player._painter
    assert (painter._base.mean(), painter._offset.mean()) == (pytest.approx(0.0, abs=0.01), 1.0)
    show.links.preset.put(called | {"serial": 3, "fade_s": 0.0, "words": one})
    show.frame(later=5)
    assert (painter._base.mean(), painter._offset.mean()) == (1.0, 1.0), "undo brings a place with its words"


def test_a_failing_frame_keeps_the_last_picture_is_told_once_and_ends_when_it_can(show):
    show.links.preset.put(SEED)
    good = show.frame(later=3)
    show.sessions["generator"].fails = True
    wait_until(lambda: show.status.get("error"), what="the error in the status")
    wait_until(lambda: show.status["errors"] > 5, what="more failing frames")
    held = show.links.slot.newest()
    assert held.index >= good.index
    assert show.status["error"] == "RuntimeError: the driver has gone"
    told = [line for _, line in show.status["events"] if "the driver has gone" in line]
    assert len(told) == 1
    show.sessions["generator"].fails = False
    assert show.frame().index > held.index
    wait_until(lambda: show.status["error"] is None, what="the error to be over")


def test_a_source_that_raises_does_not_end_the_show(show):
    show.links.preset.put(SEED)
    show.frame()
    show.sound.broken = True
    wait_until(lambda: "cable" in str(show.status.get("error")), what="the error in the status")
    show.sound.broken = False
    assert show.frame().index > 0


def test_the_rate_is_chosen_and_told(tiny_bundle):
    show = Show(tiny_bundle, fps=None)
    try:
        show.links.preset.put(SEED)
        wait_until(lambda: show.status.get("fps") in (30.0, 60.0), what="the choice of a rate")
        wait_until(lambda: any("frames/s" in line for _, line in show.status["events"]), what="the line about it")
    finally:
        show.close()


def test_when_nothing_but_failures_comes_the_engine_gives_up_for_another_to_begin(show, monkeypatch):
    monkeypatch.setattr(player, "FAILING_S", 0.3)
    show.links.preset.put(SEED)
    show.frame()
    show.sessions["generator"].fails = True
    wait_until(lambda: show.ended is not None, what="the player's end")
    assert isinstance(show.ended, CymaticError)
    assert "no picture could be made" in str(show.ended)
    assert "the driver has gone" in str(show.ended)


def test_memory_that_has_run_out_is_told_once(show):
    show.links.preset.put(SEED)
    show.frame()
    texts = (f"Unable to allocate {n} KiB" for n in range(10**6))
    show.sessions["generator"].fails = lambda: MemoryError(next(texts))
    wait_until(lambda: show.status.get("errors", 0) > 5, what="failing frames")
    show.sessions["generator"].fails = False
    show.frame()
    wait_until(lambda: show.status["error"] is None, what="the error to be over")
    assert [line for _, line in show.status["events"] if "memory" in line] == [
        "a frame failed, the last picture stays: memory has run out"
    ]


def test_a_source_in_trouble_is_told_and_so_is_its_end(show):
    show.links.preset.put(SEED)
    show.frame()
    show.sound.state, show.sound.error = SourceState.LOST, "the microphone 'noise' is gone"
    wait_until(lambda: show.status["error"] == "the microphone 'noise' is gone", what="the error in the status")
    show.sound.state, show.sound.error = SourceState.RUNNING, None
    wait_until(lambda: show.status["error"] is None, what="the error to be over")
    lines = [line for _, line in show.status["events"]]
    assert lines == ["hello", "the microphone 'noise' is gone", "noise is heard again"]


def test_a_source_that_comes_and_goes_does_not_talk_without_end(show):
    show.links.preset.put(SEED)
    for _ in range(12):
        for state in (SourceState.STALLED, SourceState.RUNNING):
            show.sound.state = state
            wait_until(lambda state=state: show.status.get("audio", {}).get("state") == state, what="the state")
    lines = [line for _, line in show.status["events"] if "heard again" in line]
    assert 2 <= len(lines) < 12


def test_a_bundle_that_steps_in_for_another_paints_in_the_size_of_the_show(tiny_bundle):
    show = Show(tiny_bundle, size=(50, 40))
    try:
        show.links.preset.put(SEED)
        picture = show.frame(later=3).rgba
        assert picture.shape == (50, 40, 4)
        assert (picture[..., 3] == 255).all()
        assert picture[..., :3].std() > 1
    finally:
        show.close()


def test_the_rate_gives_way_to_slow_frames_and_comes_back(tiny_bundle, monkeypatch):
    """By the real clock, with the governor's times made short."""
    monkeypatch.setattr(governor, "WINDOW_S", 0.5)
    monkeypatch.setattr(governor, "PATIENCE_S", (1.0, 4.0))
    show = Show(tiny_bundle, fps=None)
    try:
        show.sessions["generator"].takes_s = 0.045
        show.links.preset.put(SEED)
        wait_until(lambda: show.status.get("fps") in (15.0, 20.0), what="a lower rate")
        assert f"{show.status['fps']:g} of 60 frames/s" in show.status["quality"]
        lower = show.status["fps"]
        show.sessions["generator"].takes_s = 0.0
        wait_until(lambda: show.status["fps"] > lower, what="a higher rate")
        assert any("frames/s again" in line for _, line in show.status["events"])
    finally:
        show.close()


def open_small(bundle):
    return open_graph(bundle, "small", "onnxruntime", threads=1)


@pytest.fixture(scope="module")
def two_sizes(tmp_path_factory):
    return make_tiny_bundle(tmp_path_factory.mktemp("small") / "tiny", small=True)


def test_a_rate_that_is_not_held_is_held_with_small_pictures_and_whole_ones_come_back(two_sizes, monkeypatch):
    monkeypatch.setattr(governor, "WINDOW_S", 0.5)
    monkeypatch.setattr(governor, "PATIENCE_S", (1.0, 4.0))
    show = Show(two_sizes, fps=30.0, small=open_small)
    try:
        show.links.preset.put(SEED)
        show.links.controls.put({"controls": {"speed": 0.0, "sound/weight": 0.0}})
        whole = show.frame(later=3).rgba
        assert show.status["small"] is False
        show.sessions["generator"].takes_s = 0.050
        wait_until(lambda: show.status["small"], what="small pictures")
        assert show.status["fps"] == 30.0
        assert show.status["quality"].startswith("30 frames/s, painted in 43x24: a frame took ")
        small = show.frame(later=3).rgba
        assert small.shape == whole.shape
        means = [picture.reshape(4, 9, 4, 16, 4).mean((1, 3)) for picture in (whole, small)]
        np.testing.assert_allclose(means[1], means[0], atol=12.0, err_msg="the same picture, in fewer pixels")
        late = show.status["late_frames"]
        show.frame(later=30)
        assert show.status["late_frames"] - late < 10
        show.sessions["generator"].takes_s = 0.0
        wait_until(lambda: not show.status["small"], what="whole pictures")
        assert any("in full size again" in line for _, line in show.status["events"])
        np.testing.assert_array_equal(show.frame(later=3).rgba, whole, "nothing has moved meanwhile")
    finally:
        show.close()


def test_small_pictures_that_cannot_be_painted_are_told_and_the_rate_gives_way(two_sizes, monkeypatch):
    monkeypatch.setattr(governor, "WINDOW_S", 0.5)

    def fails(bundle):
        raise BundleError("graph small is damaged")

    show = Show(two_sizes, fps=None, small=fails)
    try:
        show.sessions["generator"].takes_s = 0.045
        show.links.preset.put(SEED)
        wait_until(lambda: show.status.get("fps") in (15.0, 20.0), what="a lower rate")
        told = "pictures cannot be painted small: graph small is damaged"
        wait_until(lambda: any(line == told for _, line in show.status["events"]), what="the line")
        assert show.frame(later=5).rgba[..., :3].std() > 1
        assert sum(line == told for _, line in show.status["events"]) == 1
    finally:
        show.close()
