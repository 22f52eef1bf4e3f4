"""Sinks: the picture that arrives is the one that was shown; one that is missing or fails is one line."""

from __future__ import annotations

import ast
import importlib
import json
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, wait_until

from engine.errors import RuntimeUnavailable
from engine.outlet import Outlet
from engine.reel import Reel
from engine.sinks import NAME, SINKS, missing, open_sink

HEIGHT, WIDTH = 36, 64


@pytest.fixture
def pictures():
    pictures = Reel.create(8, HEIGHT * WIDTH * 4)
    yield pictures
    pictures.close()


@pytest.fixture
def share(pictures):
    opened = []

    def share(sink: str) -> Outlet:
        options = {"sink": sink, "pictures": pictures.name, "height": HEIGHT, "width": WIDTH, "fps": 60.0}
        outlet = Outlet("engine.sinks", options)
        opened.append(outlet)
        outlet.start()
        return outlet

    yield share
    for outlet in opened:
        outlet.stop(5.0)


def sent(log: Path) -> list:
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def picture(*rgb: int) -> np.ndarray:
    rgba = np.full((HEIGHT, WIDTH, 4), 255, np.uint8)
    rgba[..., :3] = rgb
    return rgba


def test_a_camera_shows_what_is_shown_with_its_fade_and_closes(pictures, share, camera_log):
    pictures.write(picture(200, 100, 50), time.perf_counter(), 1.0)
    outlet = share("camera")
    wait_until(lambda: sent(camera_log), 30, "the first picture")
    assert sent(camera_log)[0] == [200, 100, 50]
    pictures.write(picture(200, 100, 50), time.perf_counter(), 0.5)
    wait_until(lambda: sent(camera_log)[-1] == [100, 50, 25], 30, "the faded picture")
    pictures.write(picture(200, 100, 50), time.perf_counter(), 0.0)
    wait_until(lambda: sent(camera_log)[-1] == [0, 0, 0], 30, "black")
    count, began = len(sent(camera_log)), time.monotonic()
    wait_until(lambda: len(sent(camera_log)) > count + 1, 30, "the standing picture again, for those who come late")
    assert len(sent(camera_log)) - count <= 2 + 3 * (time.monotonic() - began), "but not all the time"
    wait_until(lambda: outlet.poll() is None and outlet.status.get("state") == "sharing", 30, "the status")
    assert outlet.status["where"] == "the camera /dev/video9"
    outlet.finish()
    wait_until(lambda: outlet.poll() == 0, 30, "the end")
    assert sent(camera_log)[-1] == "closed"


def test_a_strobe_is_shared_as_a_glow_whose_end_comes_by_and_by(pictures, share, camera_log):
    share("camera")
    for pressed in range(80):
        pictures.write(picture(200, 200, 200), time.perf_counter(), float(pressed % 2 == 0))
        time.sleep(1 / 30)
    wait_until(lambda: sent(camera_log)[-1] == [0, 0, 0], 30, "black")
    glow = [row[0] for row in sent(camera_log)[-30:]]
    assert len(set(glow)) > 10, "it came there in many steps"


def test_a_camera_that_fails_ends_in_one_line_and_is_closed(pictures, share, camera_log, monkeypatch):
    monkeypatch.setenv("CAMERA_FAILS_AT", "3")
    outlet = share("camera")
    for number in range(400):
        pictures.write(picture(number % 250, 0, 0), time.perf_counter(), 1.0)
        time.sleep(0.02)
        if outlet.poll() is not None:
            break
    assert outlet.poll() == 2
    assert outlet.status["error"] == "camera ended: the device was unplugged"
    assert sent(camera_log)[-1] == "closed"


def test_without_a_camera_the_reason_of_the_library_is_one_line(share, camera_log, monkeypatch):
    monkeypatch.setenv("NO_CAMERA", "1")
    outlet = share("camera")
    wait_until(lambda: outlet.poll() is not None, 30, "the end")
    assert outlet.status["error"] == (
        "camera ended: 'v4l2loopback' backend: No v4l2 loopback device found. Did you run 'modprobe'?"
    )


def test_the_camera_of_the_library_itself_refuses_a_machine_that_has_none():
    pytest.importorskip("pyvirtualcam")
    if sys.platform != "linux" or list(Path("/dev").glob("video*")):
        pytest.skip("this machine may have one")
    with pytest.raises(RuntimeError, match="v4l2loopback"):
        open_sink("camera", HEIGHT, WIDTH, 30.0)


def test_an_ndi_receiver_on_this_machine_gets_the_picture(pictures, share, tmp_path, monkeypatch):
    pytest.importorskip("cyndilib")
    # Asked for directly: no machine's multicast is needed, nor heard by others.
    (tmp_path / "ndi-config.v1.json").write_text(json.dumps({"ndi": {"networks": {"ips": "127.0.0.1"}}}))
    monkeypatch.setenv("NDI_CONFIG_DIR", str(tmp_path))
    from cyndilib.finder import Finder
    from cyndilib.receiver import Receiver
    from cyndilib.video_frame import VideoFrameSync
    from cyndilib.wrapper.ndi_recv import RecvBandwidth, RecvColorFormat

    half = picture(200, 30, 30)
    half[HEIGHT // 2 :, :, :3] = (30, 30, 200)  # red above, blue below
    pictures.write(half, time.perf_counter(), 1.0)
    share("ndi")
    finder = Finder()
    finder.open()
    try:

        def names() -> list[str]:
            return [name for name in finder.get_source_names() if name.endswith(f"({NAME})")]

        wait_until(lambda: finder.wait_for_sources(0.2) or names(), 30, "the source")
        receiver = Receiver(color_format=RecvColorFormat.RGBX_RGBA, bandwidth=RecvBandwidth.highest)
        frame = VideoFrameSync()
        receiver.frame_sync.set_video_frame(frame)
        receiver.set_source(finder.get_source(names()[0]))

        def received() -> bool:
            time.sleep(0.05)
            if receiver.is_connected():
                receiver.frame_sync.capture_video()
            return min(frame.xres, frame.yres) > 0

        wait_until(received, 30, "a picture")
        assert (frame.yres, frame.xres) == (HEIGHT, WIDTH)
        got = np.array(frame.get_array()).reshape(HEIGHT, WIDTH, 4)[..., :3].astype(int)
        assert np.abs(got[4, 10] - (200, 30, 30)).max() < 12
        assert np.abs(got[-4, 10] - (30, 30, 200)).max() < 12
        receiver.disconnect()
    finally:
        finder.close()


def test_what_is_missing_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(sys, "platform", "linux")
    assert missing("camera") == "camera needs pyvirtualcam: pip install 'cymatic[camera]'"
    assert missing("ndi") == "ndi needs cyndilib: pip install 'cymatic[ndi]'"
    assert missing("spout") == "spout is a part of Windows: share by camera or ndi on this system"
    assert missing("syphon") == "syphon is a part of macOS: share by camera or ndi on this system"
    monkeypatch.setattr(sys, "platform", "win32")
    assert missing("spout") == "spout needs SpoutGL: pip install 'cymatic[spout]'"
    with pytest.raises(RuntimeUnavailable, match="spout needs SpoutGL"):
        open_sink("spout", HEIGHT, WIDTH, 60.0)


@pytest.mark.parametrize("sink", SINKS)
def test_every_sink_has_its_module_and_its_parts(sink):
    """Read, not imported: two of the libraries exist on other systems only."""
    tree = ast.parse((ROOT / "engine" / "sinks" / f"{sink}.py").read_text(encoding="utf-8"))
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert [argument.arg for argument in functions["open_sink"].args.args] == ["height", "width", "fps"]
    [body] = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    assert {"send", "close"} <= {node.name for node in body.body if isinstance(node, ast.FunctionDef)}
