"""The page, the layout and the JSON of the controls say what the registry says, and the page in docs is today's."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zlib
from pathlib import Path
from xml.etree import ElementTree

import pytest

from engine.control import osc
from engine.control.reference import as_html, as_json, as_markdown
from engine.control.registry import CONTROLS, REGISTRY
from engine.control.touchosc import HEIGHT, PADS, WIDTH, as_touchosc

ROOT = Path(__file__).resolve().parents[3]
ADDRESSES = {control.address() for control in REGISTRY}


def osc_map(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "cymatic", "osc-map", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, timeout=120, stdin=subprocess.DEVNULL)


def test_the_page_in_docs_is_what_osc_map_prints():
    page = (ROOT / "docs" / "osc.md").read_bytes()
    printed = osc_map()
    assert printed.returncode == 0
    assert page == printed.stdout, "run: cymatic osc-map --out docs/osc.md"


def test_every_control_has_its_row():
    rows = re.findall(r"^\| `(/cymatic/[^`]+)` \|(.*)\|$", as_markdown(), re.MULTILINE)
    told = dict(rows)
    assert set(told) >= ADDRESSES
    assert {address for address in told if not address.startswith(osc.STATUS)} == ADDRESSES | set(osc.METHODS)
    for control in REGISTRY:
        assert control.description in told[control.address()]
    assert "-24..24 dB" in told["/cymatic/sound/gain"]
    assert "whole numbers 0..999" in told["/cymatic/seed"]


def test_the_methods_that_are_described_are_those_that_are_heard():
    assert set(osc.METHODS) == set(osc._HANDLERS)


def test_the_html_page_is_whole_and_fetches_nothing():
    page = as_html()
    assert set(re.findall(r"<code>(/cymatic/[^<]+)</code>", page)) == ADDRESSES
    assert not re.search(r"<script|<img|<link|https?:", page)


def test_the_json_is_the_registry():
    told = json.loads(as_json())
    assert told["port"] == osc.DEFAULT_PORT
    rows = {row["name"]: row for row in told["controls"]}
    assert set(rows) == set(CONTROLS)
    gain = rows["sound/gain"]
    assert (gain["minimum"], gain["maximum"], gain["default"], gain["unit"]) == (-24.0, 24.0, 0.0, "dB")
    assert (gain["live"]["parameter_mmin"], gain["live"]["parameter_mmax"]) == (-24.0, 24.0)
    assert rows["blackout"]["live"]["parameter_enum"] == ["off", "on"]
    assert rows["text"]["live"] is None


@pytest.fixture(scope="module")
def nodes() -> list[ElementTree.Element]:
    document = ElementTree.fromstring(zlib.decompress(as_touchosc()))
    assert document.tag == "lexml"
    [root] = document
    assert root.get("type") == "GROUP"
    return root.findall("children/node")


def test_the_touchosc_layout_moves_every_control_that_a_finger_can_move(nodes):
    sent = {
        node.findtext("messages/osc/path/partial/value"): node for node in nodes if node.find("messages") is not None
    }
    open_ended = [control for control in REGISTRY if control.kind == "choice" and not control.options]
    pads = {f"{control.address()}/{number}" for control in open_ended for number in range(1, PADS + 1)}
    pads |= {f"{control.address()}/{option}" for control in REGISTRY for option in control.options}
    touchable = {c.address() for c in REGISTRY if c.kind in ("float", "bool", "trigger")}
    assert set(sent) == touchable | pads
    for control in REGISTRY:
        if control.kind == "float":
            argument = sent[control.address()].find("messages/osc/arguments/partial")
            scale = float(argument.findtext("scaleMin")), float(argument.findtext("scaleMax"))
            assert scale == (control.minimum, control.maximum)
            assert sent[control.address()].findtext("messages/osc/receive") == "1"


def test_nothing_in_the_layout_lies_on_another_or_outside(nodes):
    rooms = []
    for node in nodes:
        frame = node.find("properties/property[@type='r']/value")
        x, y, width, height = (float(frame.findtext(key)) for key in "xywh")
        assert 0 <= x <= x + width <= WIDTH
        assert 0 <= y <= y + height <= HEIGHT
        rooms.append((x, y, x + width, y + height))
    for number, one in enumerate(rooms):
        for other in rooms[:number]:
            apart = one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
            assert apart, (one, other)
    assert len({node.get("ID") for node in nodes}) == len(nodes)


def test_osc_map_writes_files_and_says_where_it_cannot(tmp_path: Path):
    path = tmp_path / "cymatic.tosc"
    assert osc_map("--format", "touchosc", "--out", str(path)).returncode == 0
    assert path.read_bytes() == as_touchosc()
    refused = osc_map("--out", str(tmp_path / "nowhere" / "osc.md"))
    assert refused.returncode == 2
    assert refused.stderr.count(b"\n") == 1
    assert b"cannot write" in refused.stderr
