"""OSCQuery: the controls as JSON over HTTP, so that a surface can build itself (github.com/Vidvox/OSCQueryProposal).

    GET /cymatic/sound/gain           the node: FULL_PATH, TYPE, ACCESS, RANGE, CLIPMODE, DESCRIPTION, VALUE
    GET /cymatic                      a container: FULL_PATH and CONTENTS, all the way down
    GET /cymatic/sound/gain?VALUE     one attribute; 204 where the node has none such, 400 for one that is unknown
    GET /?HOST_INFO                   where OSC is heard

It only tells: nothing can be set over HTTP. A path is compared with the names of controls and leads to no file.
"""

from __future__ import annotations

import http.server
import ipaddress
import json
import logging
import math
import os
import socket
import socketserver
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

from engine.control.desk import Desk
from engine.control.registry import Control
from engine.errors import ControlError

__all__ = ["Advertisement", "OscQuery", "node"]

ATTRIBUTES = ("FULL_PATH", "CONTENTS", "TYPE", "ACCESS", "RANGE", "CLIPMODE", "UNIT", "DESCRIPTION", "VALUE")
EXTENSIONS = {"ACCESS": True, "VALUE": True, "RANGE": True, "DESCRIPTION": True, "CLIPMODE": True, "UNIT": True}
TYPES = {"float": "f", "bool": "T", "trigger": "I", "choice": "s", "text": "s"}
UNITS = {"dB": "gain.db", "s": "time.second", "ms": "time.millisecond", "bpm": "tempo.bpm"}
READ, WRITE = 1, 2
CLIENT_S, CLIENTS = 1.0, 16  # how long one may take from its first byte to its last, and how many at a time
POLL_S = 0.1

logger = logging.getLogger(__name__)


def node(desk: Desk, path: str) -> dict[str, Any] | None:
    """The node of an OSC address with all that lies under it; None when there is none.

    A control may have others under it: /cymatic/text and /cymatic/text/weight.
    """
    path = "/" + path.strip("/")
    under = path.rstrip("/") + "/"
    controls = {control.address(): control for control in desk.controls}
    names = {address[len(under) :].partition("/")[0]: None for address in controls if address.startswith(under)}
    if path not in controls and not names:
        return None
    told = _describe(desk, controls[path]) if path in controls else {"FULL_PATH": path, "ACCESS": 0}
    if names:
        told["CONTENTS"] = {name: node(desk, under + name) for name in names}
    return told


def _describe(desk: Desk, control: Control) -> dict[str, Any]:
    told: dict[str, Any] = {
        "FULL_PATH": control.address(),
        "TYPE": TYPES[control.kind],
        "ACCESS": WRITE if control.kind == "trigger" else READ | WRITE,
        "DESCRIPTION": control.description,
    }
    if control.kind == "float":
        told |= {"RANGE": [{"MIN": control.minimum, "MAX": control.maximum}], "CLIPMODE": ["both"]}
        if control.unit in UNITS:
            told["UNIT"] = [UNITS[control.unit]]
    if control.kind == "choice":
        told["RANGE"] = [{"VALS": list(desk.options(control.name))}]
    if control.kind != "trigger":
        told["VALUE"] = [desk.get(control.name)]
    return told


class OscQuery:
    """Serves the desk's controls on one HTTP port: on its own thread "oscquery", and one for each client.

    `osc_port`: where OSC is heard. `port` 0 takes any free one; `self.port` then tells which. `admits`: whether an
    address is listened to, as `OscServer.admits`.
    """

    def __init__(
        self, desk: Desk, host: str, port: int, osc_port: int, admits: Callable[[str], bool] = lambda host: True
    ) -> None:
        self.host, self.port, self.osc_port = host, port, osc_port
        self._desk, self._admits = desk, admits
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Open the port and serve. `ControlError`, one line, if it cannot be had."""
        handler = type("Handler", (_Handler,), {"query": self})
        try:
            self._server = _Server((self.host, self.port), handler, self._admits)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ControlError(
                f"OSCQuery cannot have port {self.port}: {reason}; choose another with --oscquery-port"
            ) from None
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(POLL_S,), name="oscquery", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread, hang up on clients and free the port; within `POLL_S`. Safe to call twice."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        if self._thread is not None:
            self._thread.join(2.0)
            self._thread = None

    def answer(self, path: str, attribute: str) -> tuple[HTTPStatus, Any]:
        """Status and JSON value for a path and the attribute that was asked for, "" for all."""
        if attribute == "HOST_INFO":
            return HTTPStatus.OK, self._host_info()
        if attribute and attribute not in ATTRIBUTES:
            return HTTPStatus.BAD_REQUEST, None
        found = node(self._desk, path)
        if found is None:
            return HTTPStatus.NOT_FOUND, None
        if not attribute:
            return HTTPStatus.OK, found
        if attribute not in found:
            return HTTPStatus.NO_CONTENT, None
        return HTTPStatus.OK, {attribute: found[attribute]}

    def _host_info(self) -> dict[str, Any]:
        info: dict[str, Any] = {"NAME": "cymatic", "OSC_PORT": self.osc_port, "OSC_TRANSPORT": "UDP"}
        if self.host not in ("", "0.0.0.0"):  # else it is the address that was asked
            info["OSC_IP"] = self.host
        return info | {"EXTENSIONS": EXTENSIONS}


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    # Not HTTPServer, which asks a name server for its own name before it begins.
    allow_reuse_address = os.name == "posix"  # elsewhere it would let two programs have one port
    request_queue_size = CLIENTS
    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: type[_Handler], admits: Callable[[str], bool]) -> None:
        self._admits = admits
        self._since: dict[Any, float] = {}
        super().__init__(address, handler)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether this client is answered."""
        return len(self._since) < CLIENTS and self._admits(client_address[0])

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer on a thread of its own."""
        self._since[request] = time.perf_counter()
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Answered, hung up on or turned away."""
        self._since.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Hang up on those who take too long: a timeout of the socket begins anew with every byte."""
        self._hang_up(time.perf_counter() - CLIENT_S)

    def server_close(self) -> None:
        """Free the port, and hang up on everyone."""
        super().server_close()
        self._hang_up(math.inf)

    def _hang_up(self, before: float) -> None:
        for request in [request for request, since in self._since.copy().items() if since <= before]:
            with suppress(OSError):
                request.shutdown(socket.SHUT_RDWR)  # its thread reads an end, and closes it

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up is no event; the base class would print a traceback."""


class _Handler(http.server.BaseHTTPRequestHandler):
    query: OscQuery
    timeout = CLIENT_S  # of silence; `_Server.service_actions` ends those that are never silent
    server_version, sys_version = "cymatic", ""

    def do_GET(self) -> None:
        path, _, attribute = self.path.partition("?")
        status, value = self.query.answer(unquote(path), attribute)
        body = b"" if value is None else json.dumps(value, ensure_ascii=False).encode()
        self.send_response(status)
        if status is HTTPStatus.OK:
            self.send_header("Content-Type", "application/json; charset=utf-8")
        if status is not HTTPStatus.NO_CONTENT:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        logger.debug(format, *args)


class Advertisement:
    """Announces OSC and OSCQuery by zeroconf. Needs the extra `oscquery`.

    On loopback nobody but this machine is told.
    """

    def __init__(self, host: str, osc_port: int, query_port: int) -> None:
        self._host, self._ports = host, {"_osc._udp.local.": osc_port, "_oscjson._tcp.local.": query_port}
        self._zeroconf: Any = None

    def start(self) -> None:
        """Announce. `ControlError`, one line, where zeroconf is not installed or the network does not let it."""
        try:
            from zeroconf import InterfaceChoice, ServiceInfo, Zeroconf
        except ImportError:
            raise ControlError(
                "nobody is told by zeroconf: it is not installed; pip install 'cymatic[oscquery]'"
            ) from None
        everywhere = self._host in ("", "0.0.0.0")
        addresses = own_addresses() if everywhere else [self._host]
        try:
            self._zeroconf = Zeroconf(interfaces=InterfaceChoice.All if everywhere else addresses)
            for kind, port in self._ports.items():
                name = f"cymatic on {socket.gethostname().partition('.')[0]}.{kind}"
                self._zeroconf.register_service(
                    ServiceInfo(kind, name, port, parsed_addresses=addresses), allow_name_change=True
                )
        except Exception as error:  # noqa: BLE001 - whatever a network does, the show goes on
            self.stop()
            raise ControlError(f"nobody is told by zeroconf: {error or type(error).__name__}") from None

    def stop(self) -> None:
        """Take it back. Safe to call twice."""
        if self._zeroconf is not None:
            self._zeroconf.close()
            self._zeroconf = None


def own_addresses() -> list[str]:
    """The IPv4 addresses of this machine that others may reach."""
    import psutil

    found = [a.address for each in psutil.net_if_addrs().values() for a in each if a.family is socket.AF_INET]
    return [address for address in found if not ipaddress.ip_address(address).is_loopback] or ["127.0.0.1"]
