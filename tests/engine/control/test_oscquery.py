"""OSCQuery over real HTTP, read by curl where there is one, and its announcement on loopback."""

from __future__ import annotations

import contextlib
import http.client
import json
import queue
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import wait_until

from engine.control import oscquery
from engine.control.desk import Desk
from engine.control.oscquery import ATTRIBUTES, CLIENT_S, CLIENTS, Advertisement, OscQuery, own_addresses
from engine.control.registry import REGISTRY
from engine.errors import ControlError

NAMES = ("open-sky", "ember", "gorge")


@pytest.fixture
def desk() -> Desk:
    desk = Desk()
    desk.set_options("preset/go", NAMES)
    return desk


@pytest.fixture
def query(desk: Desk) -> Iterator[OscQuery]:
    query = OscQuery(desk, "127.0.0.1", 0, osc_port=9123)
    query.start()
    yield query
    query.stop()


def get(query: OscQuery, path: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", query.port, timeout=20)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
        return response.status, json.loads(body) if body else None
    finally:
        connection.close()


def leaves(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "TYPE" in node:
        yield node
    for child in node.get("CONTENTS", {}).values():
        yield from leaves(child)


def test_curl_reads_every_row_of_the_registry(query: OscQuery, desk: Desk):
    if shutil.which("curl") is None:
        pytest.skip("not installed: curl")
    desk.set("sound/gain", -6.0, "test")
    command = ["curl", "--silent", "--fail", "--noproxy", "*", f"http://127.0.0.1:{query.port}/"]
    told = json.loads(subprocess.run(command, check=True, capture_output=True, timeout=60).stdout)
    found = {leaf["FULL_PATH"]: leaf for leaf in leaves(told)}
    assert set(found) == {control.address() for control in REGISTRY}
    for control in REGISTRY:
        leaf = found[control.address()]
        assert leaf["DESCRIPTION"] == control.description
        if control.kind == "float":
            assert leaf["RANGE"] == [{"MIN": control.minimum, "MAX": control.maximum}]
            assert leaf["TYPE"] == "f"
        if control.kind == "trigger":
            assert (leaf["ACCESS"], "VALUE" in leaf) == (2, False)
    assert found["/cymatic/sound/gain"]["VALUE"] == [-6.0]
    assert found["/cymatic/preset/go"]["RANGE"] == [{"VALS": list(NAMES)}]
    assert found["/cymatic/blackout"]["VALUE"] == [False]


def test_one_node_and_one_attribute(query: OscQuery, desk: Desk):
    desk.set("master", 0.25, "test")
    assert get(query, "/cymatic/master?VALUE") == (200, {"VALUE": [0.25]})
    assert get(query, "/cymatic/master/")[1]["FULL_PATH"] == "/cymatic/master"
    assert get(query, "/cymatic/sound/gain?UNIT") == (200, {"UNIT": ["gain.db"]})
    assert set(get(query, "/cymatic/sound")[1]["CONTENTS"]) == {"weight", "gain", "gate", "channel"}
    assert "weight" in get(query, "/cymatic/text")[1]["CONTENTS"], "a control may have others under it"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/cymatic/nowhere", 404),
        ("/cymatic/mast", 404),
        ("/cymatic/../../etc/passwd", 404),
        ("/%2e%2e/etc/passwd", 404),
        ("/cymatic/master?LISTEN", 400),
        ("/cymatic/panic?VALUE", 204),
        ("/cymatic?RANGE", 204),
    ],
)
def test_what_is_not_there(query: OscQuery, path: str, status: int):
    assert get(query, path) == (status, None)


def test_host_info_says_where_osc_is_heard_and_only_what_is_kept(query: OscQuery):
    status, info = get(query, "/?HOST_INFO")
    assert status == 200
    assert (info["OSC_IP"], info["OSC_PORT"], info["OSC_TRANSPORT"]) == ("127.0.0.1", 9123, "UDP")
    assert set(info["EXTENSIONS"]) <= set(ATTRIBUTES)


def test_nothing_can_be_set_and_junk_does_not_end_it(query: OscQuery, desk: Desk, capfd):
    connection = http.client.HTTPConnection("127.0.0.1", query.port, timeout=20)
    connection.request("PUT", "/cymatic/master", body="0")
    assert connection.getresponse().status == 501
    connection.close()
    for junk in (b"\xff\x00\r\n\r\n", b"GET /" + b"a" * 100_000, b""):
        with socket.create_connection(("127.0.0.1", query.port), 20) as client:
            client.sendall(junk)
    assert get(query, "/cymatic/master?VALUE") == (200, {"VALUE": [1.0]})
    assert "Traceback" not in capfd.readouterr().err


@pytest.fixture
def dawdler(query: OscQuery) -> Iterator[socket.socket]:
    """A client that sends a byte now and then, so that it is never silent for long."""
    slow, stopped = socket.create_connection(("127.0.0.1", query.port), 20), threading.Event()

    def drip() -> None:
        while not stopped.wait(CLIENT_S / 5):
            with contextlib.suppress(OSError):
                slow.sendall(b"x")

    thread = threading.Thread(target=drip)
    thread.start()
    yield slow
    stopped.set()
    thread.join()
    slow.close()


def test_a_client_that_dawdles_keeps_nobody_waiting_and_is_hung_up_on(query: OscQuery, dawdler: socket.socket):
    for _ in range(3):
        assert get(query, "/cymatic/master")[0] == 200
    with contextlib.suppress(ConnectionError):  # reset by peer
        assert dawdler.recv(1) == b""


def test_a_client_that_dawdles_does_not_keep_the_show_from_its_end(query: OscQuery, dawdler: socket.socket):
    query.stop()
    assert "oscquery" not in {thread.name for thread in threading.enumerate()}
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", query.port), 20).close()
    with contextlib.suppress(ConnectionError):
        assert dawdler.recv(1) == b""


def test_there_are_only_so_many_at_a_time(query: OscQuery, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(oscquery, "CLIENT_S", 600.0)
    monkeypatch.setattr(oscquery._Handler, "timeout", 600.0)
    with contextlib.ExitStack() as stack:
        for _ in range(CLIENTS):
            stack.enter_context(socket.create_connection(("127.0.0.1", query.port), 20))
        assert _hung_up_on(query)
    wait_until(lambda: not _hung_up_on(query), what="the others to be gone")


def _hung_up_on(query: OscQuery) -> bool:
    try:
        return get(query, "/cymatic/master")[0] != 200
    except (OSError, http.client.HTTPException):
        return True


def test_a_stranger_is_told_nothing(desk: Desk):
    asked = []
    query = OscQuery(desk, "127.0.0.1", 0, osc_port=9123, admits=lambda host: bool(asked.append(host)))
    query.start()
    try:
        assert _hung_up_on(query)
        assert asked == ["127.0.0.1"]
    finally:
        query.stop()


def test_a_port_in_use_is_one_line(query: OscQuery, desk: Desk):
    second = OscQuery(desk, "127.0.0.1", query.port, osc_port=9123)
    with pytest.raises(ControlError, match="--oscquery-port"):
        second.start()
    second.stop()
    with pytest.raises(ControlError):
        OscQuery(desk, "127.0.0.1", 70_000, osc_port=9123).start()


def hears_itself(address: str) -> bool:
    """Whether a multicast that is sent from an address comes back to this machine, as zeroconf needs it."""
    group, port = "224.0.0.251", 5353
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.settimeout(1.0)
        try:
            listener.bind(("", port))
            member = socket.inet_aton(group) + socket.inet_aton(address)
            listener.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(address))
            sender.sendto(b"cymatic", (group, port))
            return listener.recv(64) == b"cymatic"
        except OSError:
            return False


def test_zeroconf_tells_where_both_are():
    zeroconf = pytest.importorskip("zeroconf")
    address = next((a for a in ("127.0.0.1", *own_addresses()) if hears_itself(a)), None)
    if address is None:
        pytest.skip("no network of this machine carries multicast")
    told = Advertisement(address, 9123, 9124)
    told.start()
    seeker = zeroconf.Zeroconf(interfaces=[address])
    ports = {"_osc._udp.local.": 9123, "_oscjson._tcp.local.": 9124}
    seen: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
    try:
        browsed = [lambda service_type, name, **_: seen.put((service_type, name))]
        browser = zeroconf.ServiceBrowser(seeker, list(ports), handlers=browsed)
        for kind, name in sorted(seen.get(timeout=20) for _ in ports):
            assert name == f"cymatic on {socket.gethostname().partition('.')[0]}.{kind}"
            info = seeker.get_service_info(kind, name, timeout=10_000)
            assert info is not None
            assert (info.port, info.parsed_addresses()) == (ports.pop(kind), [address])
        browser.cancel()
        browser.join()
    finally:
        seeker.close()
        told.stop()
        told.stop()
