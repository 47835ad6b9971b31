"""The real server, attacked from loopback: a stop gets through, nothing breaks, nobody slips a limit.

Its constants are shorter here, so that no test waits long for them; everything else is as on a car. What
answers behind it is the real border of a vehicle process with a loop of three lines.
"""

import contextlib
import http.client
import json
import re
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlencode

import pytest
from simple_websocket import ConnectionClosed
from wsproto.utilities import LocalProtocolError

from tests.unit.still_car import status_with
from tests.unit.test_remote import Vehicle
from tests.unit.webui_visitors import PASSWORD, PASSWORD_HASH
from tests.unit.whole_client import Client
from vehicle.messages import RequestKind
from webui.access import COOKIE, CSRF_HEADER
from webui.access_store import AccessStore
from webui.sockets import SOCKET_LIMIT, SOCKETS_OF_ONE_COMPUTER
from webui.worker import COMPUTER_LIMIT

SERVER = """
import webui.sockets, webui.tls_context, webui.worker
webui.worker.REQUEST_LIMIT_S = 0.5
webui.worker.UNHEARD_LIMIT_MS = 500
webui.tls_context.LOOKED_AT_EVERY_S = 0.2
webui.sockets.PING_S = webui.sockets.OPTIONS["ping_interval"] = 0.3
from vehicle.cli import main
main()
"""
PAGE = "0123456789abcdef" * 2
REQUEST_LIMIT_S, PING_S, BEAT_S = 0.5, 0.3, 1.0  # the first two as above, the last gunicorn's own
STOP_S = 3.0  # of a busy computer; unmended, these attacks held a stop up for ten seconds, or for ever
START_LIMIT_S = 30.0
UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}
ESTABLISHED, CLOSE_WAIT = "01", "08"  # as /proc/net/tcp writes them
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class Server:
    """A page that is served, and what its processes know."""

    def __init__(self, folder: Path, vehicle: Vehicle, *, secure: bool, has_password: bool) -> None:
        self.vehicle = vehicle
        self.lines: list[socket.socket] = []
        """All that was connected, closed after each test."""
        self.store = AccessStore(folder / "access")
        if has_password:
            self.store.set_password(PASSWORD_HASH)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.secure = secure
        self.origin = f"http{'s' if secure else ''}://localhost:{self.port}"
        self.authority_file = folder / "access" / "ca.crt"
        options = ["--port", str(self.port), "--access-dir", str(folder / "access"), "--name", "blue.local"]
        options.append("--https" if secure else "--http")
        self.words = (folder / "words").open("w")
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER, "web", "--run-dir", str(folder / "run"), *options],
            stdout=subprocess.PIPE,
            stderr=self.words,
            text=True,
        )

    def signed_in(self) -> dict[str, str]:
        """Return the headers of a browser that has come in."""
        token = self.store.open_session("owner", "A test")
        cookie = f"{'__Host-' if self.secure else ''}{COOKIE}={token}"
        return {"Cookie": cookie, CSRF_HEADER: self.store.csrf_token(token), "Origin": self.origin}

    def connect(self, address: str = "127.0.0.1") -> socket.socket:
        """Connect from an address of loopback."""
        end = socket.socket()
        self.lines.append(end)
        end.settimeout(10)
        end.bind((address, 0))
        end.connect(("127.0.0.1", self.port))
        return end

    def ask(
        self, method: str, path: str, body: str = "", address: str = "127.0.0.1", **headers: str
    ) -> tuple[int, dict[str, str], str]:
        """Send one request on a connection of its own; return status, headers and body."""
        own = {"Host": f"localhost:{self.port}", "Connection": "close"} | headers
        connection = http.client.HTTPConnection("localhost", self.port)
        connection.sock = self.connect(address)
        if self.secure:
            trust = ssl.create_default_context(cafile=self.authority_file)
            connection.sock = trust.wrap_socket(connection.sock, server_hostname="localhost")
        with contextlib.closing(connection):
            connection.request(method, path, body or None, own)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read().decode()

    def send(self, path: str, address: str = "127.0.0.1", **fields: str) -> tuple[int, dict[str, str], str]:
        """Send a form as a stranger's browser does."""
        return self.ask("POST", path, urlencode(fields), address, Origin=self.origin, **FORM)

    def stop_takes_s(self, address: str = "127.0.0.1") -> float:
        """Press the emergency stop by POST, as a stranger; return how long until it was in the vehicle.

        Pressed again until it is confirmed, as the page does: on a busy computer the vehicle may be late.
        """
        pressed = len(self.stops)
        began_s = time.monotonic()
        while self.ask("POST", "/emergency-stop", address=address, Origin=self.origin)[0] != HTTPStatus.OK:
            assert time.monotonic() - began_s < START_LIMIT_S
        assert len(self.stops) > pressed
        return time.monotonic() - began_s

    @property
    def stops(self) -> list[object]:
        """The emergency stops that the vehicle was asked for."""
        return [one for one in self.vehicle.requests if one.kind is RequestKind.EMERGENCY_STOP]

    def websocket(self, path: str, headers: dict[str, str] | None = None) -> Client:
        """Open a WebSocket."""
        trust = ssl.create_default_context(cafile=self.authority_file) if self.secure else None
        scheme = "wss" if self.secure else "ws"
        given = self.signed_in() if headers is None else headers
        own = {**given, "Origin": f"http{'s' if self.secure else ''}://localhost"}  # it names no port
        return Client(f"{scheme}://localhost:{self.port}{path}", headers=own, ssl_context=trust)

    def raw_websocket(self, path: str, address: str = "127.0.0.1") -> tuple[socket.socket, bytes]:
        """Ask for a WebSocket and never speak again; return the line and the first bytes of the answer."""
        headers = {"Host": f"localhost:{self.port}", **UPGRADE, **self.signed_in()}
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        line = self.connect(address)
        line.sendall(f"GET {path} HTTP/1.1\r\n{head}\r\n".encode())
        return line, line.recv(16384)

    def listening(self, address: str) -> socket.socket:
        """Listen to the events of races, for ever."""
        headers = {"Host": f"localhost:{self.port}", **self.signed_in()}
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        line = self.connect(address)
        line.sendall(f"GET /api/race/events HTTP/1.1\r\n{head}\r\n".encode())
        assert line.recv(12) == b"HTTP/1.1 200"
        return line

    def close_lines(self) -> None:
        """Hang up everything."""
        while self.lines:
            self.lines.pop().close()

    def close(self) -> None:
        """End it; nothing that was done to it may have been a surprise to its code."""
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=START_LIMIT_S)
        words = self.log()
        assert self.process.returncode == 0
        assert "Traceback" not in words, words

    def log(self) -> str:
        """Return what it has said."""
        return Path(self.words.name).read_text()

    def end_while_pages_are_open(self) -> None:
        """End it within its grace, whoever is there."""
        _, answer = self.raw_websocket(f"/ws/control?page={PAGE}")
        assert answer.startswith(b"HTTP/1.1 101 ")
        self.listening("127.0.0.2")
        self.connect().sendall(b"POST /login HTTP/1.1\r\nHost: ")

        began_s = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(10) == 0
        assert time.monotonic() - began_s < 1.0 + STOP_S  # its grace, and a busy computer
        self.close_lines()


class PublishingVehicle(Vehicle):
    """Says ten times a second how it is."""

    def __init__(self, run_dir: Path) -> None:
        super().__init__(run_dir)
        self._due_s = 0.0
        self.before_tick = self._say

    def _say(self) -> None:
        if time.monotonic() >= self._due_s:
            self._due_s = time.monotonic() + 0.1
            self.server.publish_status(status_with(now_ns=time.monotonic_ns()))


@contextlib.contextmanager
def serving(*, secure: bool, has_password: bool = True) -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="lw", dir="/tmp") as name:
        vehicle = PublishingVehicle(Path(name) / "run")
        server = Server(Path(name), vehicle, secure=secure, has_password=has_password)
        try:
            assert server.process.stdout is not None
            vehicle.run()
            assert server.process.stdout.readline().startswith("http")
            server.stop_takes_s()  # the line to the vehicle is up
            yield server
            server.close()
        finally:
            server.process.kill()
            server.process.communicate()
            server.words.close()
            server.close_lines()
            vehicle.close()


@pytest.fixture(scope="module")
def plain_server() -> Iterator[Server]:
    with serving(secure=False) as server:
        yield server


@pytest.fixture(scope="module")
def secure_server() -> Iterator[Server]:
    with serving(secure=True) as server:
        yield server


@pytest.fixture
def page(plain_server: Server) -> Iterator[Server]:
    yield plain_server
    leave(plain_server)


@pytest.fixture
def secure(secure_server: Server) -> Iterator[Server]:
    yield secure_server
    leave(secure_server)


def leave(server: Server) -> None:
    """Hang up, and wait until the next test finds every place and thread free."""
    server.close_lines()
    until(lambda: not servers_ends(server.port))


def servers_ends(port: int) -> list[str]:
    """Return who is at the other end of each connection that the server still holds (/proc/net/tcp)."""
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [row[2] for row in rows if row[1].endswith(f":{port:04X}") and row[3] in {ESTABLISHED, CLOSE_WAIT}]


def until(is_so: Callable[[], object], limit_s: float = 10.0) -> None:
    deadline_s = time.monotonic() + limit_s
    while not is_so():
        assert time.monotonic() < deadline_s, "it never came to be"
        time.sleep(0.01)


def has_ended(line: socket.socket, limit_s: float) -> bool:
    """Whether the other side hangs up in time, whatever it says before."""
    deadline_s = time.monotonic() + limit_s
    with contextlib.suppress(ConnectionError):
        while (left_s := deadline_s - time.monotonic()) > 0:
            line.settimeout(left_s)
            try:
                if not line.recv(65536):
                    return True
            except TimeoutError:
                return False
        return False
    return True


def closed_with(line: Client) -> int | None:
    """Read to the end of a WebSocket; return its code."""
    try:
        while line.receive(5.0) is not None:
            pass
    except ConnectionClosed as closed:
        return int(closed.reason)
    return None  # it is open, and silent


def hang_up(line: Client) -> None:
    with contextlib.suppress(ConnectionClosed, OSError):
        line.close()


# ---- threads ----


def test_who_does_not_hang_up_holds_nobody_up(page: Server) -> None:
    """Each of them would have kept the one thread that accepts connections for two seconds."""
    lazy = [page.connect() for _ in range(6)]
    for line in lazy:
        head = f"GET /login HTTP/1.1\r\nHost: localhost:{page.port}\r\nConnection: close\r\n\r\n"
        line.sendall(head.encode())
    for line in lazy:
        assert line.recv(12) == b"HTTP/1.1 200"

    assert page.stop_takes_s() < STOP_S
    for line in lazy:
        assert has_ended(line, 5.0)


@pytest.mark.parametrize(
    "begun",
    [
        "",
        "POST /login HTTP/1.1\r\nHost: ",
        "POST /login HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 99\r\n\r\npassword=",
        "POST /setup HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n\r\n50\r\npass",
    ],
    ids=["nothing", "half a head", "half a body", "half a chunk"],
)
def test_requests_that_never_end_leave_a_thread_for_a_stop_and_lose_their_own(
    page: Server, begun: str
) -> None:
    """Three computers, which together could hold every thread."""
    addresses = [f"127.0.0.{last}" for last in (2, 3, 4)]
    lines = [page.connect(address) for address in addresses for _ in range(COMPUTER_LIMIT)]
    for line in lines:
        with contextlib.suppress(ConnectionError):  # one that had to give way already
            line.sendall(begun.format(host=f"localhost:{page.port}", origin=page.origin).encode())

    assert page.stop_takes_s() < STOP_S
    if begun:  # who has said nothing at all loses the thread to gunicorn's own five seconds
        for line in lines:
            assert has_ended(line, REQUEST_LIMIT_S + 2 * BEAT_S + STOP_S)


def test_who_takes_no_answer_loses_the_thread(page: Server) -> None:
    """Judged at the server's end: the other hears of it when it next speaks, which may be minutes later."""
    line = socket.socket()
    page.lines.append(line)
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    line.connect(("127.0.0.1", page.port))
    line.settimeout(0.1)
    address, port = line.getsockname()
    ours = f"{int.from_bytes(socket.inet_aton(address), sys.byteorder):08X}:{port:04X}"
    assert ours in servers_ends(page.port)
    with contextlib.suppress(OSError):  # at some point it takes no more
        for _ in range(1000):
            line.sendall(f"GET /static/page.css HTTP/1.1\r\nHost: localhost:{page.port}\r\n\r\n".encode())

    until(lambda: ours not in servers_ends(page.port))


def test_an_upload_may_take_longer_than_other_bodies(page: Server) -> None:
    headers = page.signed_in() | {"Host": f"localhost:{page.port}", "Content-Length": "8"}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    with page.connect() as line:
        line.sendall(f"PUT /api/models?name=a.zip&wait=9 HTTP/1.1\r\n{head}\r\n".encode())
        for byte in b"no model":
            line.sendall(bytes((byte,)))
            time.sleep((REQUEST_LIMIT_S + 1.2 * BEAT_S) / 8)
        answer = line.recv(4096)
    assert answer.startswith(b"HTTP/1.1 422 ")


def test_forty_long_lived_connections_and_then_a_sentence_and_the_stop_goes_on(page: Server) -> None:
    first, second, third = "127.0.0.2", "127.0.0.3", "127.0.0.4"
    control = page.websocket(f"/ws/control?page={PAGE}")
    ears = [page.listening(first) for _ in range(SOCKETS_OF_ONE_COMPUTER)]
    status, _, words = page.ask("GET", "/api/race/events", address=first, **page.signed_in())
    assert (status, words.startswith('{"error":"24 connections of 127.0.0.2')) == (503, True)
    ears += [page.listening(second) for _ in range(SOCKET_LIMIT - SOCKETS_OF_ONE_COMPUTER - 1)]

    status, _, words = page.ask("GET", f"/ws/video?page={PAGE}", "", third, **UPGRADE, **page.signed_in())
    assert status == 503
    assert json.loads(words)["error"] == "40 connections are open already; close a page, then try again."
    assert page.stop_takes_s(third) < STOP_S
    pressed = len(page.stops)
    control.send('{"kind": "emergency_stop"}')
    until(lambda: len(page.stops) > pressed)

    hang_up(control)
    until(lambda: page.raw_websocket(f"/ws/control?page={PAGE}", third)[1].startswith(b"HTTP/1.1 101 "))


def test_a_page_that_is_there_no_more_loses_its_place_though_its_line_stays_open(page: Server) -> None:
    line, answer = page.raw_websocket(f"/ws/control?page={PAGE}")
    assert answer.startswith(b"HTTP/1.1 101 ")
    assert has_ended(line, 2 * PING_S + STOP_S)  # it hears the pings and answers none


# ---- what is sent ----


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x00" * 100,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\nHost: localhost\n\n",
        b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        b"GET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost, evil.example\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: \xff\xfe\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 1000 + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
        b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1e9\r\n\r\n",
        b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
        b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /login HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: x\r\n\r\n",
        b"PUT /login HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /login HTTP/1.1\r\nHost: localhost\r\nOrigin: null\r\nContent-Length: 0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"CONNECT evil.example:443 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"TRACE / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
)
def test_garbage_is_refused_and_hurts_nobody(page: Server, request_bytes: bytes) -> None:
    with page.connect() as line, contextlib.suppress(OSError):  # it may hang up before all is sent
        line.sendall(request_bytes)
        line.shutdown(socket.SHUT_WR)
        answer = line.recv(4096)
        assert re.match(rb"HTTP/1\.[01] (4\d\d|501) |$", answer), answer
    assert page.stop_takes_s() < STOP_S


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-Proto": "https", "Origin": "https://localhost:{port}"},
        {"X-Forwarded-Host": "evil.example", "Origin": "http://evil.example"},
        {"Forwarded": "host=evil.example;proto=https", "Origin": "https://evil.example"},
        {"Origin": "http://localhost:{port}.evil.example"},
        {"Origin": "http://localhost"},
        {"Origin": "http://localhost:{port}", "Sec-Fetch-Site": "cross-site"},
        {"SCRIPT_NAME": "/static", "Origin": "null"},
        {},
    ],
)
def test_who_poses_as_our_page_or_a_proxy_stops_nothing_and_changes_nothing(
    page: Server, headers: dict[str, str]
) -> None:
    asked = len(page.vehicle.requests)
    sent = {name: value.format(port=page.port) for name, value in headers.items()}
    for path in ("/emergency-stop", f"/api/drive/stop?page={PAGE}", "/login"):
        status, _, words = page.ask("POST", path, **sent)
        assert (status, "error" in json.loads(words)) == (403, True)
    assert len(page.vehicle.requests) == asked


@pytest.mark.parametrize("path", [f"/api/drive/stop?page={PAGE}", "/login", "/api/calibration/draft"])
@pytest.mark.parametrize("framing", ["Content-Length: 10000000000", "Transfer-Encoding: chunked"])
def test_a_huge_body_is_refused_before_it_has_come(page: Server, path: str, framing: str) -> None:
    headers = page.signed_in() | {"Host": f"localhost:{page.port}", "Content-Type": "application/json"}
    if path == "/login":
        headers |= FORM
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    block = b"2000\r\n" + bytes(0x2000) + b"\r\n" if "chunked" in framing else bytes(0x2000)
    with page.connect() as line:
        line.sendall(f"POST {path} HTTP/1.1\r\n{head}{framing}\r\n\r\n".encode())
        sent = 0
        with contextlib.suppress(ConnectionError):
            while sent < 50_000_000 and not _is_answered(line):
                sent += line.send(block)
        assert sent < 50_000_000
        assert line.recv(12) in {b"HTTP/1.1 413", b"HTTP/1.1 400", b"HTTP/1.1 401"}


def _is_answered(line: socket.socket) -> bool:
    line.setblocking(False)
    try:
        return bool(line.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False
    finally:
        line.settimeout(10)


def test_a_message_of_more_than_4096_bytes_ends_its_socket_and_is_not_obeyed(page: Server) -> None:
    control = page.websocket(f"/ws/control?page={PAGE}")
    pressed, command = len(page.stops), '{"kind": "emergency_stop"}'
    control.send(command.ljust(4096))
    until(lambda: len(page.stops) == pressed + 1)
    control.send(command.ljust(4097))
    assert closed_with(control) == 1009
    assert len(page.stops) == pressed + 1


STOP_UNMASKED = b'{"kind": "emergency_stop"}'


@pytest.mark.parametrize(
    "frames",
    [
        bytes((0x81, len(STOP_UNMASKED))) + STOP_UNMASKED,  # a browser masks what it sends
        b"\xf1\x80\x00\x00\x00\x00",  # bits that mean nothing here
        b"\x83\x80\x00\x00\x00\x00",  # a kind of frame that there is not
        b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00",  # longer than anything
        b"\x89\xfe\x01\x00\x00\x00\x00\x00" + bytes(256),  # a ping that is too long
        b"\x80\x80\x00\x00\x00\x00",  # goes on with nothing
        b"\x81\x82\x00\x00\x00\x00\xff\xfe",  # no text
        b"\x01\x81\x00\x00\x00\x00{\x81\x81\x00\x00\x00\x00{",  # one message inside another
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\x00" * 10_000,
    ],
)
def test_frames_that_are_none_end_their_socket_and_command_nothing(page: Server, frames: bytes) -> None:
    asked = len(page.vehicle.requests)
    line, answer = page.raw_websocket(f"/ws/control?page={PAGE}")
    assert answer.startswith(b"HTTP/1.1 101 ")
    line.sendall(frames)
    assert has_ended(line, 2 * PING_S + STOP_S)
    assert len(page.vehicle.requests) == asked


def test_a_flood_of_messages_ends_its_socket_and_another_pages_stop_comes_through(page: Server) -> None:
    flood = page.websocket(f"/ws/control?page={PAGE}")
    over = threading.Event()

    def pour() -> None:
        # The library says either, as its reader was told of the end before or while this sends.
        with contextlib.suppress(ConnectionClosed, LocalProtocolError, OSError):
            while not over.is_set():
                flood.send('{"kind": "mark_lap"}')

    thread = threading.Thread(target=pour)
    thread.start()
    try:
        with contextlib.closing(page.websocket(f"/ws/control?page={'f' * 32}")) as other:
            pressed, began_s = len(page.stops), time.monotonic()
            other.send('{"kind": "emergency_stop"}')
            until(lambda: len(page.stops) > pressed)
            assert time.monotonic() - began_s < STOP_S
        assert page.stop_takes_s() < STOP_S
    finally:
        over.set()
        thread.join()
        hang_up(flood)


# ---- who comes in, through the whole server ----


def test_of_two_first_visits_one_sets_the_password_and_open_pages_hold_up_no_end() -> None:
    with serving(secure=False, has_password=False) as server:
        assert server.ask("GET", "/", Accept="text/html")[1]["Location"] == "/setup"
        drive = f"/api/drive/stop?page={PAGE}"
        assert server.ask("POST", drive, "{}", Origin=server.origin)[0] == 401
        code, chosen = server.store.setup_code(), {"password": PASSWORD, "again": PASSWORD}
        assert server.send("/setup", code="ABCD-EFGH", **chosen)[0] == 401

        statuses: list[int] = []
        visits = [
            threading.Thread(target=lambda: statuses.append(server.send("/setup", code=code, **chosen)[0]))
            for _ in range(2)
        ]
        for visit in visits:
            visit.start()
        for visit in visits:
            visit.join()
        assert sorted(statuses) == [303, 409]
        assert server.send("/login", password=PASSWORD)[0] == 303
        server.end_while_pages_are_open()


def test_every_emergency_stop_is_logged_with_its_address(page: Server) -> None:
    page.stop_takes_s("127.0.0.7")
    until(lambda: "emergency stop from 127.0.0.7" in page.log())
    control = page.websocket(f"/ws/control?page={PAGE}")
    told = page.log().count("emergency stop from 127.0.0.1")
    control.send('{"kind": "emergency_stop"}')
    until(lambda: page.log().count("emergency stop from 127.0.0.1") == told + 1)
    hang_up(control)


def test_a_lock_out_keeps_the_owner_from_guessing_and_from_no_stop(page: Server) -> None:
    guesser = "127.0.0.9"
    codes = [page.send("/login", guesser, password=f"wrong {k}")[0] for k in range(6)]
    assert codes == [401] * 5 + [429]
    status, _, words = page.send("/login", guesser, password=PASSWORD)
    assert status == 429
    assert "the emergency stop works all the while" in words
    assert page.stop_takes_s(guesser) < STOP_S
    assert page.send("/login", password=PASSWORD)[0] == 303  # the owner's own address is not kept out


def test_a_key_lets_a_script_in_until_it_is_revoked(secure: Server) -> None:
    key = secure.store.make_key("lap timer")
    bearer = {"Authorization": f"Bearer {key}"}
    drive = {"Content-Type": "application/json", **bearer}
    assert secure.ask("GET", "/api/status", **bearer)[0] == 200
    assert secure.ask("POST", f"/api/drive/stop?page={PAGE}", "{}", **drive)[0] == 200
    line = secure.websocket(f"/ws/control?page={PAGE}", bearer)

    secure.store.revoke_key(secure.store.state().keys[-1].id)
    assert secure.ask("GET", "/api/status", **bearer)[0] == 401
    assert closed_with(line) == 4401


def test_a_view_only_link_opens_and_is_revoked_for_all_it_let_in(secure: Server) -> None:
    link = secure.store.make_view_link("Ben")
    status, headers, _ = secure.send("/watch", link=link)
    assert status == 303
    cookie = {"Cookie": headers["Set-Cookie"].partition(";")[0]}
    assert cookie["Cookie"].startswith("__Host-lapwing=")
    assert secure.ask("GET", "/api/status", **cookie)[0] == 200
    line = secure.websocket(f"/ws/control?page={PAGE}", cookie)
    line.send('{"kind": "take_lease", "id": "mine"}')
    replies = (json.loads(line.receive(5.0)) for _ in range(50))
    reply = next(one for one in replies if one["kind"] == "reply")
    assert reply["error"] == "This link is for watching only; sign in to drive."

    (view_link,) = secure.store.state().view_links
    secure.store.revoke_view_link(view_link.id)
    assert secure.ask("GET", "/api/status", **cookie)[0] == 401
    assert secure.send("/watch", link=link)[0] == 401
    assert closed_with(line) == 4401


def test_a_one_time_link_signs_in_once(secure: Server) -> None:
    link = secure.store.make_sign_in_link()
    assert secure.ask("GET", f"/sign-in?link={link}")[0] == 200  # as a preview does, and spends nothing
    status, headers, _ = secure.send("/sign-in", link=link)
    assert status == 303
    cookie = headers["Set-Cookie"].partition(";")[0]
    assert secure.ask("GET", "/access", Cookie=cookie)[0] == 200
    assert secure.send("/sign-in", link=link)[0] == 401


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("blue.local", 200),
        ("127.0.0.1", 200),
        ("evil.example", 403),
        ("blue.evil.example", 403),
    ],
)
def test_only_the_cars_own_names_are_answered(secure: Server, host: str, status: int) -> None:
    assert secure.ask("GET", "/login", Host=f"{host}:{secure.port}")[0] == status


def test_the_certificate_is_made_anew_while_the_page_is_up(secure: Server) -> None:
    def served() -> bytes | None:
        trust = ssl.create_default_context(cafile=secure.authority_file)
        with secure.connect() as raw, trust.wrap_socket(raw, server_hostname="blue.local") as line:
            return line.getpeercert(binary_form=True)

    first = served()
    assert served() == first
    (secure.store.root / "server.pem").unlink()  # as good as one that lacks an address
    until(lambda: served() != first)


def test_a_handshake_that_stops_half_way_holds_nobody_up(secure: Server) -> None:
    lines = [secure.connect(f"127.0.0.{last}") for last in (2, 3, 4) for _ in range(COMPUTER_LIMIT)]
    for line in lines:
        with contextlib.suppress(ConnectionError):
            line.sendall(b"\x16\x03\x01\x02\x00\x01")
    assert secure.stop_takes_s() < STOP_S
    for line in lines:
        assert has_ended(line, REQUEST_LIMIT_S + 2 * BEAT_S + STOP_S)
