"""Those on the other side: subscribers, TCP clients, strangers, and clocks that are wrong."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator

import pytest
from osc_client import DEADLINE_S, Client, TcpClient, bundle, message, until

from engine.control.desk import Desk
from engine.control.osc import CONNECTIONS, OscServer
from engine.control.packet import MAX_PACKET, Deframer, Malformed, frame, pack, unpack
from engine.control.registry import REGISTRY
from engine.control.subscribers import SUBSCRIBERS
from engine.control.throttle import PEERS, Budgets
from engine.control.transport import TcpPeer, UdpPeer, gate
from engine.errors import ControlError


@pytest.fixture(params=[Client, TcpClient], ids=["udp", "tcp"])
def client(server: OscServer, request: pytest.FixtureRequest) -> Iterator[Client]:
    client = request.param(server.port)
    yield client
    client.close()


@pytest.fixture
def other(server: OscServer) -> Iterator[Client]:
    other = Client(server.port)
    yield other
    other.close()


def subscribe(client: Client, *arguments: object) -> dict[str, list[object]]:
    client.send("/cymatic/subscribe", *arguments)
    return dict(client.hear() for _ in REGISTRY)


# ---- Subscribers


def test_a_subscriber_is_told_what_others_move_but_not_what_it_moves_itself(desk: Desk, client: Client, other: Client):
    assert set(subscribe(client)) == {control.address() for control in REGISTRY}
    client.send("/cymatic/master", 0.25)
    client.settle()
    other.send("/cymatic/speed", 2.5)
    assert client.hear() == ("/cymatic/speed", [2.5])
    desk.set("blackout", True, "window")
    assert client.hear() == ("/cymatic/blackout", [1])
    other.send("/cymatic/master", 0.75)
    assert client.hear() == ("/cymatic/master", [0.75])
    assert other.silent(), "it has not subscribed"
    client.send("/cymatic/unsubscribe")
    client.settle()
    other.send("/cymatic/speed", 1.0)
    other.settle()
    assert client.silent()


def test_what_follows_from_an_own_move_is_told(desk: Desk, client: Client):
    client.send("/cymatic/master", 0.25)
    subscribe(client)
    client.send("/cymatic/panic", 1)
    assert client.hear() == ("/cymatic/master", [1.0])


def test_a_preset_that_is_called_and_comes_is_not_told_to_its_caller(desk: Desk, client: Client):
    subscribe(client)
    caller = f"{'tcp:' if isinstance(client, TcpClient) else ''}127.0.0.1:{client.port}"
    with desk.together():  # the stage is mostly quicker than the next telling
        desk.set("preset/go", "ember", f"osc:{caller}")
        desk.show("preset/go", "ember")
    assert client.silent()
    desk.show("preset/go", "gorge")
    assert client.hear() == ("/cymatic/preset/go", ["gorge"])


def test_a_storm_of_moves_is_told_as_a_few(desk: Desk, client: Client, server: OscServer):
    subscribe(client)
    time.sleep(0.1)
    before = server.counters["replies"]
    for step in range(2000):
        desk.set("master", step / 2000, "window")
    desk.set("master", 0.5, "window")
    while client.hear_address("/cymatic/master") != [0.5]:
        pass
    assert server.counters["replies"] - before < 100


def test_a_subscriber_may_listen_at_another_port(desk: Desk, server: OscServer, other: Client):
    listener = Client(server.port)
    sender = Client(server.port)
    try:
        sender.send("/cymatic/subscribe", float(listener.port))
        assert len([listener.hear() for _ in REGISTRY]) == len(REGISTRY)
        other.send("/cymatic/master", 0.5)
        assert listener.hear() == ("/cymatic/master", [0.5])
        sender.send("/cymatic/ping")
        assert listener.hear()[0] == "/cymatic/pong"
        sender.send("/cymatic/speed", 3.0)
        assert listener.silent(), "nobody is told of their own moves"
    finally:
        listener.close()
        sender.close()


def test_one_that_begins_anew_is_told_once_and_never_its_own_moves(desk: Desk, server: OscServer, other: Client):
    listener = Client(server.port)
    try:
        for _ in range(SUBSCRIBERS + 1):  # each time from another port, as its system gives it one
            sender = Client(server.port)
            sender.send("/cymatic/subscribe", listener.port)
            assert [listener.hear() for _ in REGISTRY]
            sender.send("/cymatic/speed", desk.get("speed") + 0.125)
            sender.send("/cymatic/ping")
            assert listener.hear()[0] == "/cymatic/pong"
            sender.close()
        assert listener.silent(), "nobody is told of their own moves"
        other.send("/cymatic/master", 0.5)
        assert listener.hear() == ("/cymatic/master", [0.5])
        assert listener.silent()
        assert server.take_notes() == []
    finally:
        listener.close()


def test_status_goes_to_subscribers_when_it_has_changed(server: OscServer, client: Client):
    subscribe(client)
    server.publish({"fps": 59.5, "late": 3, "error": ""})
    told = dict(client.hear() for _ in range(3))
    assert told == {"/cymatic/status/fps": [59.5], "/cymatic/status/late": [3], "/cymatic/status/error": [""]}
    server.publish({"fps": 59.5, "late": 4, "error": ""})
    assert client.hear() == ("/cymatic/status/late", [4])
    assert client.silent()


def test_status_comes_at_most_ten_times_a_second(server: OscServer, client: Client):
    subscribe(client)
    count, end = 0, time.monotonic() + 1.0
    while time.monotonic() < end:
        server.publish({"late": count})
        count += 1
        time.sleep(0.001)
    server.publish({"late": -1})
    heard = 1
    while client.hear_address("/cymatic/status/late") != [-1]:
        heard += 1
    assert heard <= 12, "ten in a second, and one at either end"


@pytest.mark.parametrize("port", [0, -1, 70000, 12.5, "home"])
def test_a_port_that_is_none_is_refused(server: OscServer, other: Client, port: object):
    other.send("/cymatic/subscribe", port)
    assert other.hear_address("/cymatic/error")
    assert server.counters["refused"] == 1


def test_of_too_many_subscribers_the_one_unheard_for_longest_gives_way(desk: Desk, server: OscServer):
    clients = [Client(server.port) for _ in range(SUBSCRIBERS + 1)]
    try:
        for client in clients[:-1]:
            subscribe(client)
        clients[0].settle()
        subscribe(clients[-1])
        [note] = server.take_notes()
        assert f"127.0.0.1:{clients[1].port}" in note
        desk.set("master", 0.5, "window")
        for client in (clients[0], *clients[2:]):
            assert client.hear() == ("/cymatic/master", [0.5])
        assert clients[1].silent()
    finally:
        for client in clients:
            client.close()


def test_a_connection_gives_way_to_nobody(server: OscServer, other: Client):
    clients = [TcpClient(server.port) for _ in range(SUBSCRIBERS)]
    try:
        for client in clients:
            subscribe(client)
        other.send("/cymatic/subscribe")
        assert "are subscribed already" in str(other.hear_address("/cymatic/error"))
    finally:
        for client in clients:
            client.close()


def test_one_that_asks_too_much_leaves_the_others_their_answers(server: OscServer, other: Client):
    greedy = Client(server.port)
    try:
        for _ in range(100):
            greedy.send("/cymatic/sync")
        other.send("/cymatic/ping")
        assert other.hear()[0] == "/cymatic/pong"
        assert server.counters["unanswered"] > 0
    finally:
        greedy.close()


def test_there_are_only_so_many_budgets_and_those_at_rest_are_given_up():
    sock = socket.socket()
    budgets = Budgets(rate=1e-9, burst=2.0)
    peers = [UdpPeer(sock, (f"10.0.0.{number}", port), port) for number in range(PEERS) for port in (1, 2)]
    assert sum(budgets.of(peer).passes() for peer in peers for _ in range(3)) == 2 * PEERS, "a budget a host"
    late = [UdpPeer(sock, (f"10.0.1.{number}", 1), 1) for number in range(5)]
    assert sum(budgets.of(peer).passes() for peer in late) == 2, "newcomers share"
    quick = Budgets(rate=1e9, burst=2.0)
    for peer in peers:
        quick.of(peer).passes()
    assert quick.of(late[0]) is not quick.of(late[1]), "the others have rested"
    sock.close()


# ---- TCP


def test_a_thousand_numbered_triggers_arrive_in_order(desk: Desk, server: OscServer):
    client = TcpClient(server.port)
    try:
        stream = b"".join(frame(pack("/cymatic/preset/go", "ember", number / 10)) for number in range(1000))
        for at in range(0, len(stream), 777):  # pieces that keep to no message
            client.socket.sendall(stream[at : at + 777])
        client.settle()
        assert [event.fade_s for event in desk.take_triggers()] == pytest.approx(
            [number / 10 for number in range(1000)]
        )
    finally:
        client.close()


def test_one_that_speaks_no_slip_is_hung_up_on(server: OscServer, other: Client):
    client = TcpClient(server.port)
    try:
        with contextlib.suppress(OSError):  # reset by peer
            client.socket.sendall(b"GET / HTTP/1.1\r\n" * 20_000)
        until(lambda: server.counters["malformed"] == 1)
        with contextlib.suppress(OSError):
            assert client.socket.recv(1) == b""
        other.settle()
    finally:
        client.close()


def test_one_that_never_listens_is_hung_up_on(desk: Desk, server: OscServer, other: Client):
    client = TcpClient(server.port)
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    try:
        client.send("/cymatic/subscribe")
        text, names = "x" * 60_000, [f"n{number}" for number in range(3)]

        def tell() -> bool:
            server.publish({name: text + str(time.monotonic()) for name in names})
            return server.counters["errors"] > 0

        until(tell)
        other.settle()
    finally:
        client.close()


def test_there_are_only_so_many_connections(server: OscServer):
    clients = [TcpClient(server.port) for _ in range(CONNECTIONS)]
    try:
        for client in clients:
            client.settle()
        for _ in range(2):
            extra = TcpClient(server.port)
            assert "16 are connected already" in str(extra.hear_address("/cymatic/error"))
            assert extra.socket.recv(1) == b""
            extra.close()
        [note] = server.take_notes()
        assert "127.0.0.1" in note
        assert "16 are connected already" in note
        clients.pop().close()
        until(lambda: _answers(server.port))
    finally:
        for client in clients:
            client.close()


@pytest.mark.skipif(not hasattr(socket, "TCP_KEEPIDLE"), reason="this platform does not say when it asks")
def test_one_that_fell_asleep_is_asked_for_and_gives_its_place_back():
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.create_connection(listening.getsockname()):
        sock, sender = listening.accept()
        with sock:
            TcpPeer(sock, sender)
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            idle, every, times = (
                sock.getsockopt(socket.IPPROTO_TCP, option)
                for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
            )
            assert idle + every * times <= 60
            if hasattr(socket, "TCP_USER_TIMEOUT"):  # for one that is told things meanwhile, which are not acknowledged
                assert 0 < sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) <= 60_000


def _answers(port: int) -> bool:
    client = TcpClient(port)
    try:
        client.settle()
    except (AssertionError, OSError):
        return False
    finally:
        client.close()
    return True


@pytest.mark.parametrize("piece", [1, 2, 3, 5, 1000])
def test_slip_gives_back_what_was_framed(piece: int):
    packets = [b"\xc0\xdb\xdc\xdd" * 8, b"\xdb\xdb\xc0\xc0", pack("/a", "ß", 1.5)]
    stream = b"".join(map(frame, packets))
    deframer = Deframer()
    assert [p for at in range(0, len(stream), piece) for p in deframer.feed(stream[at : at + piece])] == packets


def test_slip_does_not_grow_without_end():
    deframer = Deframer()
    assert deframer.feed(b"a" * 2 * MAX_PACKET) == []
    with pytest.raises(Malformed):
        deframer.feed(b"a")


# ---- Who is let in, and what time it is there


def test_a_stranger_is_not_heard_and_named_once(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    server = OscServer(desk, port=0, allow=["10.1.2.0/24"])
    monkeypatch.setattr(server, "admits", lambda host: False)  # loopback is the only network a test can count on
    server.start()
    client = Client(server.port)
    try:
        for _ in range(3):
            client.send("/cymatic/master", 0.0)
        until(lambda: server.counters["strangers"] == 3)
        assert not _answers(server.port)
        assert desk.get("master") == 1.0
        assert server.take_notes() == ["OSC from 127.0.0.1 is not listened to: it is not in --osc-allow"]
        assert server.take_notes() == []
    finally:
        client.close()
        server.stop()
        assert server.join(DEADLINE_S)


def test_the_gate():
    admits = gate(["10.1.2.0/24", "192.168.0.7"])
    let_in = ["10.1.2.3", "192.168.0.7", "127.0.0.1", "127.3.3.3"]
    assert [host for host in (*let_in, "10.1.3.1", "192.168.0.8", "8.8.8.8") if admits(host)] == let_in
    assert gate(())("8.8.8.8")
    with pytest.raises(ControlError, match=r"--osc-allow venue\.local"):
        gate(["venue.local"])


@pytest.mark.parametrize(("ahead", "words"), [(3600.0, "3600 s ahead"), (-3600.0, "3600 s behind")])
def test_a_clock_that_is_wrong_is_told_once_and_its_bundles_count_at_once(
    desk: Desk, server: OscServer, other: Client, ahead: float, words: str
):
    for value in (0.25, 0.5):
        other.send_packet(bundle(message("/cymatic/master", value), when=time.time() + ahead))
    other.settle()
    assert desk.get("master") == 0.5
    assert desk.clock_offsets["127.0.0.1"] == pytest.approx(ahead, abs=DEADLINE_S)
    [note] = server.take_notes()
    assert words in note
    assert "127.0.0.1" in note


def test_a_small_latency_in_a_stamp_is_no_wrong_clock(desk: Desk, server: OscServer, other: Client):
    other.send_packet(bundle(message("/cymatic/master", 0.5), when=time.time() + 0.2))
    other.send_packet(bundle(message("/cymatic/master", 0.5)))
    other.settle()
    assert server.take_notes() == []
    assert 0.0 < desk.clock_offsets["127.0.0.1"] <= 0.2


def test_what_is_packed_can_be_unpacked():
    packet = unpack(pack("/a/b", 1.5, True, 7, "ß" * 3, False))
    assert packet.messages[0].arguments == (1.5, 1, 7, "ß" * 3, 0)
    assert packet.stamped is None
