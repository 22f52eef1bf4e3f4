"""The OSC server over a real loopback socket: controllers, questions, and datagrams that mean harm."""

from __future__ import annotations

import logging
import math
import shutil
import struct
import subprocess
import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from osc_client import DEADLINE_S, Client, bundle, message, until

from engine.control.desk import Desk
from engine.control.osc import OscServer
from engine.control.packet import MAX_ARGUMENTS, MAX_DEPTH, Malformed, unpack
from engine.control.registry import REGISTRY
from engine.control.throttle import Throttle
from engine.errors import ControlError


@pytest.fixture
def client(server: OscServer) -> Iterator[Client]:
    client = Client(server.port)
    yield client
    client.socket.close()


# ---- What a performer does


def test_messages_move_the_desk(desk: Desk, client: Client):
    client.send("/cymatic/master", 0.25)
    client.send("/cymatic/blackout", 1)
    client.send("/cymatic/freeze", True)
    client.send("/cymatic/sound/gain", 99)
    client.send("/cymatic/preset/go", "ember", 2.5)
    client.send("/cymatic/preset/go", 3.0)
    client.send("/cymatic/preset/next")
    client.send("/cymatic/preset/prev", 0.0)
    client.send("/cymatic/preset/go/ember", 1)
    client.send("/cymatic/preset/go/ember", 0)
    client.send("/cymatic/preset/go/1")
    client.send("/cymatic/preset/go/3", 1, 4)
    client.send("/cymatic/preset/go/3", 0, 4)
    client.settle()
    seen = desk.snapshot()
    assert (seen["master"], seen["blackout"], seen["freeze"], seen["sound/gain"]) == (0.25, True, True, 24.0)
    assert [(e.name, e.value, e.fade_s) for e in desk.take_triggers()] == [
        ("preset/go", "ember", 2.5),
        ("preset/go", "gorge", None),
        ("preset/next", True, None),
        ("preset/go", "ember", None),
        ("preset/go", "open-sky", None),
        ("preset/go", "gorge", 4.0),
    ]


def test_a_second_argument_is_a_fade(client: Client):
    clock = [0.0]
    desk = Desk(clock=lambda: clock[0])
    server = OscServer(desk, port=0)
    server.start()
    faded = Client(server.port)
    try:
        faded.send("/cymatic/master", 0.0, 10)
        faded.settle()
        clock[0] = 5.0
        assert desk.get("master") == pytest.approx(0.5)
    finally:
        faded.socket.close()
        server.stop()
        assert server.join(DEADLINE_S)


@pytest.mark.parametrize(
    ("name", "sent", "told"), [("master", 0.5, 0.5), ("blackout", True, 1), ("preset/go", 2, "ember")]
)
def test_a_question_is_answered_at_the_port_that_asked(client: Client, name: str, sent: object, told: object):
    client.send(f"/cymatic/{name}", sent)
    client.send(f"/cymatic/{name}", "?")
    assert client.hear() == (f"/cymatic/{name}", [told])


def test_ping_and_sync(client: Client):
    client.send("/cymatic/ping")
    address, arguments = client.hear()
    assert address == "/cymatic/pong"
    assert arguments
    assert isinstance(arguments[0], str)
    client.send("/cymatic/master", 0.5)
    client.send("/cymatic/sync")
    told = dict(client.hear() for _ in REGISTRY)
    assert set(told) == {control.address() for control in REGISTRY}
    assert told["/cymatic/master"] == [0.5]
    assert told["/cymatic/freeze"] == [0]


def test_a_bundle_is_applied_at_once_whatever_its_time(desk: Desk, client: Client):
    inner = bundle(message("/cymatic/speed", 2.0), when=time.time() + 3600)
    client.send_packet(bundle(message("/cymatic/master", 0.5), inner, when=time.time() + 3600))
    client.settle()
    assert desk.get("master") == 0.5
    assert desk.get("speed") == 2.0


def test_an_impulse_presses_a_button(desk: Desk, client: Client):
    client.send_packet(b"/cymatic/preset/next\0\0\0\0,I\0\0")
    client.settle()
    assert [event.name for event in desk.take_triggers()] == ["preset/next"]


@pytest.mark.skipif(shutil.which("oscsend") is None, reason="needs oscsend from liblo-tools")
def test_oscsend_blacks_out(desk: Desk, server: OscServer):
    def oscsend(*arguments: str) -> None:
        subprocess.run(["oscsend", "127.0.0.1", str(server.port), *arguments], check=True, timeout=DEADLINE_S)

    oscsend("/cymatic/blackout", "T")
    until(lambda: desk.get("blackout") is True)
    oscsend("/cymatic/blackout", "i", "0")
    until(lambda: desk.get("blackout") is False)
    oscsend("/cymatic/preset/go", "sf", "gorge", "1.5")
    until(lambda: desk.get("preset/go") == "gorge")


# ---- What is wrong is said, counted, and changes nothing


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((math.nan,), "finite"),
        ((math.inf,), "finite"),
        (("loud",), "a number"),
        ((0.5, "slowly"), "fade"),
        ((0.5, 1.0, 2.0), "at most a fade"),
        ((), "wants a value"),
        ((None,), "a number, not nothing"),
    ],
)
def test_a_value_that_cannot_be_used(desk: Desk, server: OscServer, client: Client, arguments: tuple, words: str):
    client.send("/cymatic/master", *arguments)
    address, (text,) = client.hear()
    assert address == "/cymatic/error"
    assert words in text
    assert desk.get("master") == 1.0
    assert server.counters["refused"] == 1


def test_an_address_means_only_itself(desk: Desk, server: OscServer, client: Client):
    for address in ("/cymatic/*", "/cymatic/mast?r", "/cymatic/{master,speed}", "/cymatic/" + "*" * 20, "/", "/master"):
        client.send(address, 0.0)
    client.settle()
    assert desk.get("master") == 1.0
    assert server.counters["unknown"] == 6


@pytest.mark.parametrize(("arguments", "words"), [((1, "slowly"), "fade"), ((1, 4, 5), "at most a fade")])
def test_a_press_that_cannot_be_used(desk: Desk, client: Client, arguments: tuple, words: str):
    client.send("/cymatic/preset/go/3", *arguments)
    assert words in client.hear_address("/cymatic/error")[0]
    assert desk.take_triggers() == []


@pytest.mark.parametrize("option", ["4", "0", "99999999999999999999", "unheard-of", "..", "²"])
def test_an_option_that_is_not_there_is_refused(desk: Desk, client: Client, option: str):
    if option.isascii():
        client.send(f"/cymatic/preset/go/{option}", 1)
        assert client.hear_address("/cymatic/error")
    client.settle()
    assert desk.take_triggers() == []


def test_complaints_are_throttled_and_so_is_the_log(server: OscServer, client: Client, caplog):
    with caplog.at_level(logging.WARNING):
        for _ in range(300):
            client.send("/cymatic/nowhere", 1)
        client.settle()
    counters = server.counters
    assert counters["unknown"] == 300
    assert counters["unanswered"] > 200
    assert 1 <= len(caplog.records) < 50
    assert "/cymatic/nowhere" in caplog.text


def test_an_answer_is_worth_no_more_than_its_budget():
    now = [0.0]
    throttle = Throttle(rate=4, burst=8, clock=lambda: now[0])
    assert sum(throttle.passes() for _ in range(100)) == 8
    now[0] += 0.5
    assert sum(throttle.passes() for _ in range(100)) == 2
    now[0] += 3600
    assert sum(throttle.passes() for _ in range(100)) == 8


def test_a_port_in_use_is_one_line(server: OscServer, desk: Desk):
    second = OscServer(desk, port=server.port)
    with pytest.raises(ControlError, match=rf"port {server.port} is in use .*--osc-port") as refused:
        second.start()
    assert "\n" not in str(refused.value)
    second.stop()
    assert second.join(0.0), "what never ran has ended"


@pytest.mark.parametrize(("host", "port", "words"), [("127.0.0.1", 70000, "65535"), ("192.0.2.1", 0, "cannot listen")])
def test_a_place_that_cannot_be_had(desk: Desk, host: str, port: int, words: str):
    with pytest.raises(ControlError, match=words):
        OscServer(desk, host=host, port=port).start()


def test_stop_frees_thread_and_port(desk: Desk):
    server = OscServer(desk, port=0)
    server.start()
    assert "osc" in {thread.name for thread in threading.enumerate()}
    server.stop()
    assert server.join(DEADLINE_S)
    assert "osc" not in {thread.name for thread in threading.enumerate()}
    again = OscServer(desk, port=server.port)
    again.start()
    again.stop()
    assert again.join(DEADLINE_S)


# ---- What means harm


def nested(depth: int) -> bytes:
    datagram = message("/cymatic/master", 0.0)
    for _ in range(depth):
        datagram = bundle(datagram)
    return datagram


HOSTILE = {
    "empty": b"",
    "junk": b"\xff\x00junk!!",
    "odd length": b"/cymatic/master\0,f\0\0\0\0\0",
    "negative size": bundle() + struct.pack(">i", -16) + message("/cymatic/master", 0.0),
    "size beyond the end": bundle() + struct.pack(">i", 1 << 30) + message("/cymatic/master", 0.0),
    "size zero": bundle() + struct.pack(">i", 0) * 8,
    "size cut off": bundle(message("/cymatic/master", 0.0)) + b"\0\0",
    "bundle without time": b"#bundle\0",
    "too deep": nested(MAX_DEPTH + 1),
    "400 deep": nested(400),
    "good, then bad": bundle(message("/cymatic/master", 0.0), b"junk"),
    "no address": b"\0\0\0\0,f\0\0\0\0\0\0",
    "address without end": b"/cymatic",
    "address not printable": b"/cymatic/\x07\0\0",
    "long address": message("/" + "a" * 5000, 0.0),
    "tags without comma": b"/cymatic/master\0f\0\0\0\0\0\0\0",
    "arrays": b"/cymatic/master\0,[[[[[\0\0",
    "many tags": b"/cymatic/master\0," + b"N" * 999 + b"\0\0\0\0",
    "strange tags": b"/cymatic/master\0,zq\0\0\0\0\0",
    "argument cut off": b"/cymatic/master\0,f\0\0",
    "blob of 1 GiB": b"/cymatic/master\0,b\0\0" + struct.pack(">i", 1 << 30),
    "bad UTF-8": b"/cymatic/master\0,s\0\0\xff\xfe\xfd\0",
    "string without end": b"/cymatic/master\0,s\0\0aaaa",
}


@pytest.mark.parametrize("datagram", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_datagram_is_counted_and_the_next_is_served(
    desk: Desk, server: OscServer, client: Client, datagram: bytes
):
    client.send_packet(datagram)
    client.send("/cymatic/speed", 2.0)
    client.settle()
    assert desk.get("master") == 1.0
    assert desk.get("speed") == 2.0
    assert server.counters["malformed"] == 1
    assert server.counters["errors"] == 0


def test_as_much_as_is_allowed_is_taken():
    assert [m.address for m in unpack(nested(MAX_DEPTH)).messages] == ["/cymatic/master"]
    assert unpack(message("/cymatic/master", *[1] * MAX_ARGUMENTS)).messages[0].arguments == (1,) * MAX_ARGUMENTS
    with pytest.raises(Malformed):
        unpack(message("/cymatic/master", *[1] * (MAX_ARGUMENTS + 1)))


def test_a_burst_in_the_largest_datagram_ends_at_its_last_value(desk: Desk, client: Client):
    fader = message("/cymatic/master", 0.5)
    count = (65507 - 16) // (4 + len(fader)) - 1
    client.send_packet(bundle(*[fader] * count, message("/cymatic/master", 0.25)))
    client.settle()
    assert desk.get("master") == 0.25
    assert desk.counters["received"] == count + 1


def test_an_unforeseen_error_does_not_end_the_thread(desk: Desk, server: OscServer, client: Client, monkeypatch):
    def broken(*_: object) -> None:
        raise RuntimeError("unforeseen")

    with monkeypatch.context() as patch:
        patch.setattr(desk, "set", broken)
        client.send("/cymatic/master", 0.5)
        client.settle()
    assert server.counters["errors"] == 1
    client.send("/cymatic/master", 0.5)
    client.settle()
    assert desk.get("master") == 0.5


SEEDS = [*HOSTILE.values(), message("/cymatic/master", 0.5), message("/cymatic/preset/go", "ember", 1.0), nested(2)]


@st.composite
def datagrams(draw: st.DrawFn) -> bytes:
    """Real datagrams with bytes exchanged, cut and inserted; or bytes without sense."""
    data = bytearray(draw(st.sampled_from(SEEDS) | st.binary(max_size=200)))
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 8))] = draw(st.binary(max_size=8))
    return bytes(data)


@given(datagrams())
@settings(max_examples=400, deadline=None)
def test_unpack_says_malformed_or_gives_messages(data: bytes):
    try:
        packet = unpack(data)
    except Malformed:
        return
    assert all(m.address.startswith("/") and len(m.arguments) <= MAX_ARGUMENTS for m in packet.messages)


@given(st.lists(datagrams(), max_size=30))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_server_still_answers_after_anything(server: OscServer, client: Client, sent: list[bytes]):
    before = server.counters["datagrams"]
    for data in sent:
        client.send_packet(data)
    client.send("/cymatic/reactivity", 0.75)
    client.settle()
    client.send("/cymatic/reactivity", "?")
    assert client.hear_address("/cymatic/reactivity") == [0.75]
    assert server.counters["datagrams"] == before + len(sent) + 3
    assert server.counters["errors"] == 0
