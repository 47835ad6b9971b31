"""A served page, a simulated car behind it, and a real Chromium in front of it."""

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import chromium as pinned
import pytest
from flask import Flask
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright
from simulated_page_car import SimulatedPageCar
from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

from tests.unit.webui_visitors import browser_cookies
from webui import calibrate, commands, create_app

CHROMIUM_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP blue.local 127.0.0.1",  # a name that is not loopback, as on a car
]
PATIENCE_S = 5.0
WAIT_MS = 20_000
"""For a page to load or to come to show something; what has to be quick is measured."""
expect.set_options(timeout=WAIT_MS)

PHONE = {"width": 390, "height": 844}
LAPTOP = {"width": 1280, "height": 800}


class QuietHandler(WSGIRequestHandler):
    """Keeps connections open, as gunicorn does, and prints nothing."""

    protocol_version = "HTTP/1.1"

    def connection_dropped(self, error: BaseException, environ: Any = None) -> None:
        self.close_connection = True

    def log(self, kind: str, message: str, *args: object) -> None:
        pass


class Wire:
    """Lies between browser and application; can refuse sockets, and keep requests waiting.

    A request waits whose address has `held` in its query. Behind the end of a WebSocket comes nothing, as
    with gunicorn; Werkzeug's server would write an HTTP answer there, which a browser takes for a bad frame.
    """

    def __init__(self, app: Flask) -> None:
        self._app = app
        self.refuses_sockets = False
        self.held = 0
        self.released = threading.Event()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        if self.refuses_sockets and environ["PATH_INFO"].startswith("/ws/"):
            start_response("503 Service Unavailable", [("Content-Length", "0")])
            return [b""]
        if "held" in environ["QUERY_STRING"]:
            self.held += 1
            self.released.wait(20)
        statuses: list[str] = []

        def start(status: str, *rest: Any) -> Any:
            statuses.append(status)
            return start_response(status, *rest)

        answer = self._app(environ, start)
        if environ.get("HTTP_UPGRADE") == "websocket" and statuses == ["200 OK"]:  # it was one, and is over
            answer.close()
            raise ConnectionAbortedError
        return answer


class DroppingServer(ThreadedWSGIServer):
    """Knows its open connections, so that it can end them as a computer does that loses its power.

    A server that only closes its listening socket leaves its WebSockets and kept connections to their
    threads, which go on answering.
    """

    def __init__(self, app: Wire, port: int) -> None:
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        super().__init__("127.0.0.1", port, app, handler=QuietHandler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def drop_connections(self) -> None:
        """End them under whoever reads or writes them; their threads close them."""
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):  # the browser has ended it already
                    connection.shutdown(socket.SHUT_RDWR)


class PageServer:
    """Serves an application on loopback until stopped; can be started again on the same port."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self.wire = Wire(app)
        self._port = 0
        self.start()

    @property
    def app(self) -> Flask:
        return self._app

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/"

    def start(self) -> None:
        self._server = DroppingServer(self.wire, self._port)
        self._port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def drop_connections(self) -> None:
        """End every connection; new ones are taken."""
        self._server.drop_connections()

    def stop(self) -> None:
        self.wire.released.set()
        self._server.shutdown()
        self._thread.join()
        self._server.drop_connections()
        self._server.server_close()


@dataclass
class OpenPage:
    """One tab, and what it complained of."""

    page: Page
    complaints: list[str] = field(default_factory=list)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    path = pinned.find_chromium() or pytest.fail(
        "Chromium is missing; fetch it with: make .venv/.ready-chromium"
    )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=CHROMIUM_FLAGS, env={**os.environ, **pinned.environment()}
        )
        yield browser
        browser.close()


@pytest.fixture(autouse=True)
def a_starved_computer_is_not_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """How old a command may be has tests of its own, without a browser that shares two cores with others."""
    monkeypatch.setattr(commands, "ECHO_LIMIT_S", PATIENCE_S)
    monkeypatch.setattr(calibrate, "LATENESS_LIMIT_S", PATIENCE_S)


@pytest.fixture
def car() -> Iterator[SimulatedPageCar]:
    car = SimulatedPageCar()
    yield car
    car.stalled.set()


@pytest.fixture
def server(car: SimulatedPageCar) -> Iterator[PageServer]:
    server = PageServer(create_app(car, car))
    yield server
    car.stalled.set()
    server.stop()


def is_complaint(message: ConsoleMessage) -> bool:
    """Whether a page has said an error."""
    return message.type == "error"


@pytest.fixture
def complaints() -> list[str]:
    """Errors of the console and of scripts; a test that provokes one clears the list."""
    return []


@pytest.fixture
def page(
    chromium: Browser, server: PageServer, complaints: list[str], request: pytest.FixtureRequest
) -> Iterator[Page]:
    """A tab with the page open and connected; parametrise indirectly with options of `new_context`."""
    options = {"viewport": LAPTOP, **getattr(request, "param", {})}
    context = chromium.new_context(**options)
    context.set_default_timeout(WAIT_MS)
    context.add_cookies(browser_cookies(server.app, server.url))
    page = context.new_page()
    page.on("console", lambda message: complaints.append(message.text) if is_complaint(message) else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(server.url)
    page.wait_for_selector("body:not([data-mood=unknown])")
    yield page
    context.close()
    assert complaints == []
