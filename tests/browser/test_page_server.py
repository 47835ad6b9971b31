"""The server of these tests, where it has to do as gunicorn does."""

import socket

import pytest
from conftest import PageServer

from tests.unit.webui_visitors import browser_cookies

pytestmark = pytest.mark.browser

CLOSE = b"\x88\x82\0\0\0\0\x03\xe8"
"""A client's close frame: masked by nothing, status 1000."""


def ask(server: PageServer, path: str, *headers: str) -> socket.socket:
    (cookie,) = browser_cookies(server.app, server.url)
    host = server.url.removeprefix("http://").rstrip("/")
    lines = [f"GET {path} HTTP/1.1", f"Host: {host}", f"Origin: http://{host}"]
    lines += [f"Cookie: {cookie['name']}={cookie['value']}", *headers]
    connection = socket.create_connection(("127.0.0.1", int(host.partition(":")[2])), 20.0)
    connection.sendall("".join(f"{line}\r\n" for line in [*lines, ""]).encode())
    return connection


def heard(connection: socket.socket) -> bytes:
    said = b""
    with connection:
        while part := connection.recv(65536):
            said += part
    return said


UPGRADE = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13")
KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="


def test_behind_the_end_of_a_websocket_comes_nothing(server: PageServer) -> None:
    connection = ask(server, f"/ws/control?page={'0' * 32}", *UPGRADE, KEY)
    assert connection.recv(65536, socket.MSG_PEEK).startswith(b"HTTP/1.1 101 ")
    connection.sendall(CLOSE)
    assert heard(connection).count(b"HTTP/1.1") == 1


def test_what_is_refused_as_a_websocket_is_answered(server: PageServer) -> None:
    assert heard(ask(server, "/ws/nothing", *UPGRADE, KEY)).startswith(b"HTTP/1.1 404 ")
    server.wire.refuses_sockets = True
    assert heard(ask(server, f"/ws/control?page={'0' * 32}", *UPGRADE, KEY)).startswith(b"HTTP/1.1 503 ")
