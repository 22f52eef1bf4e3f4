"""Programs that performers really use send to a real server: liblo, Pure Data, SuperCollider."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from osc_client import until

from engine.control.desk import Desk
from engine.control.osc import OscServer

PATIENCE_S = 120.0


def program(*names: str) -> str:
    """The first of these programs that is installed; skips the test when none is."""
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        pytest.skip(f"not installed: {names[0]}")
    return found


def run(command: list[str], folder: Path, env: dict[str, str] | None = None) -> None:
    done = subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, timeout=PATIENCE_S, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def sent_what_was_asked(desk: Desk, server: OscServer) -> None:
    """What every one of them sends: master, crossfader, the words' weight, a preset by position with a fade, next."""
    assert desk.get("master") == 0.25
    assert desk.get("crossfader") == 0.75
    assert desk.get("text/weight") == 0.5
    events = [(event.name, event.value, event.fade_s) for event in desk.take_triggers()]
    assert events == [("preset/go", "gorge", 2.5), ("preset/next", True, None)]
    counters = server.counters
    assert (counters["malformed"], counters["refused"], counters["unknown"], counters["errors"]) == (0, 0, 0, 0)


def test_oscsend_and_oscsendfile(desk: Desk, server: OscServer, tmp_path: Path):
    send = [program("oscsend"), "127.0.0.1", str(server.port)]
    run([*send, "/cymatic/master", "f", "0.25"], tmp_path)
    run([*send, "/cymatic/crossfader", "f", "0.75"], tmp_path)
    run([*send, "/cymatic/text/weight", "d", "0.5"], tmp_path)
    run([*send, "/cymatic/preset/go", "if", "3", "2.5"], tmp_path)
    run([*send, "/cymatic/preset/next", "T"], tmp_path)
    run([*send, "/cymatic/ping"], tmp_path)
    _settle(server, 6)
    sent_what_was_asked(desk, server)


PATCH = """#N canvas 0 0 700 400 10;
#X obj 10 10 loadbang;
#X obj 10 40 t b b b b b b;
#X msg 10 340 connect 127.0.0.1 {port};
#X msg 110 100 0.25;
#X msg 210 100 0.5;
#X msg 310 100 3 2.5;
#X msg 410 100 1;
#X obj 110 130 oscformat cymatic master;
#X obj 210 130 oscformat cymatic text weight;
#X obj 310 130 oscformat cymatic preset go;
#X obj 410 130 oscformat cymatic preset next;
#X obj 110 200 list prepend send;
#X obj 110 230 list trim;
#X obj 10 370 netsend -u -b;
#X obj 510 60 delay 500;
#X msg 510 100 \\; pd quit;
#X msg 610 100 0.75;
#X obj 610 130 oscformat cymatic crossfader;
#X connect 0 0 1 0;
#X connect 1 5 2 0;
#X connect 1 4 3 0;
#X connect 1 3 4 0;
#X connect 1 2 5 0;
#X connect 1 1 6 0;
#X connect 1 0 14 0;
#X connect 2 0 13 0;
#X connect 3 0 7 0;
#X connect 4 0 8 0;
#X connect 5 0 9 0;
#X connect 6 0 10 0;
#X connect 7 0 11 0;
#X connect 8 0 11 0;
#X connect 9 0 11 0;
#X connect 10 0 11 0;
#X connect 11 0 12 0;
#X connect 12 0 13 0;
#X connect 14 0 15 0;
#X connect 1 4 16 0;
#X connect 16 0 17 0;
#X connect 17 0 11 0;
"""


def test_pure_data_whose_numbers_are_all_floats(desk: Desk, server: OscServer, tmp_path: Path):
    pd = program("pd", "puredata")
    patch = tmp_path / "control.pd"
    patch.write_text(PATCH.format(port=server.port))
    run([pd, "-nogui", "-noaudio", "-nomidi", "-noprefs", "-nrt", str(patch)], tmp_path)
    _settle(server, 5)
    sent_what_was_asked(desk, server)


SCRIPT = """
{{
    var stage = NetAddr("127.0.0.1", {port});
    stage.sendMsg("/cymatic/master", 0.25);
    stage.sendMsg("/cymatic/crossfader", 0.75);
    stage.sendBundle(0.2, ["/cymatic/text/weight", 0.5], ["/cymatic/preset/go", 3, 2.5]);
    stage.sendMsg("/cymatic/preset/next", 1);
    0.5.wait;
    0.exit;
}}.fork;
"""


@pytest.mark.slow
def test_supercollider_with_bundles_that_are_stamped_ahead(desk: Desk, server: OscServer, tmp_path: Path):
    sclang = program("sclang")
    script = tmp_path / "control.scd"
    script.write_text(SCRIPT.format(port=server.port))
    env = os.environ | {
        "HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path),
        "QT_QPA_PLATFORM": "offscreen",
        "QTWEBENGINE_DISABLE_SANDBOX": "1",
    }
    run([sclang, str(script)], tmp_path, env)
    _settle(server, 5)
    sent_what_was_asked(desk, server)
    assert 0.0 < desk.clock_offsets["127.0.0.1"] <= 0.2
    assert server.take_notes() == [], "that is latency, no wrong clock"


def _settle(server: OscServer, messages: int) -> None:
    until(lambda: server.counters["messages"] >= messages)
