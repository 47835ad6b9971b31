"""Tabs, two browsers, a broken network and a reload, over HTTPS, against the real server and the HIL car.

Paced lockstep: world and vehicle step together, so that a busy computer slows time instead of causing
faults. Bounds are on the car's own clock, by the board's own diary of its pulses. Who is at the
other end steps with nothing: to be in time by themselves they need the computer alone.
"""

import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from urllib.parse import urlsplit

import msgspec
import pytest
from network import Network
from paced_car import PacedCar, paced_car, trusting
from playwright.sync_api import Browser, BrowserContext, Page, expect
from test_sockets import OTHER_PAGE, Socket, connected

from vehicle.messages import DriveState

pytestmark = [pytest.mark.browser, pytest.mark.realtime]

NEUTRAL_US = 1446.0  # of the AWS wiring
LEASE_S = 1.5  # while the policy drives
REACTION_S = 0.3  # from a look at the clock to the cut, and a tick or two of the car
STOP_S = 1.0  # on the car's clock, which goes on while a busy computer lets the page wait
WAIT_MS = 20_000


@pytest.fixture(scope="module")
def car() -> Iterator[PacedCar]:
    with paced_car(scheme="https") as car:
        yield car


@pytest.fixture(autouse=True)
def at_rest(car: PacedCar) -> None:
    """Begin with a car at the start that anybody may start."""
    with closing(Socket(car)) as page:
        page.ask("stop")
        page.until(lambda: page.status["car"] is not None)
        if page.status["car"]["state"] == "failsafe":
            assert page.ask("clear")["ok"]
        car.hil.client.control("reset")
        ready = lambda: bool(page.status["car"]) and not page.status["car"]["not_ready"]  # noqa: E731
        page.until(lambda: ready() and not page.status["lease"]["driver"])


@pytest.fixture
def browsers(chromium: Browser, car: PacedCar) -> Iterator[Callable[..., Page]]:
    """Open the page in a browser of its own each time; whatever its scripts complain of fails the test."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def open_page(name: str, url: str = car.url) -> Page:
        context = chromium.new_context(ignore_https_errors=True)  # no browser here trusts the authority
        contexts.append(context)
        context.set_default_timeout(WAIT_MS)
        context.add_cookies([{**cookie, "url": url} for cookie in car.cookies])
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(url)
        expect(page.locator("#state")).to_have_text("Ready", timeout=WAIT_MS)
        page.fill("#name", name)
        page.locator("#name").blur()
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


def start(page: Page, car: PacedCar) -> None:
    page.click("#start")
    page.click("#start-now")
    expect(page.locator("#state")).to_have_text("Driving by itself", timeout=WAIT_MS)
    deadline_s = time.monotonic() + 20
    while car.speed_mps < 0.05:
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def drives(page: Socket, car: PacedCar) -> None:
    """Let the policy drive: its lease bears a client that a busy computer lets wait."""
    assert page.ask("start", name="Anna")["error"] == ""
    page.drive_until(lambda: car.speed_mps > 0.05)


def last_driving_pulse_ns(car: PacedCar) -> int:
    return car.hil.pulse_log().driven(NEUTRAL_US)[-1].t_ns


class Viewer:
    """Looks at pictures in a thread and acknowledges each."""

    def __init__(self, car: PacedCar) -> None:
        self.ages_ms: list[float] = []
        self._client = connected(car, f"ws/video?page={OTHER_PAGE}")
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._over = threading.Event()
        self._thread.start()

    def _look(self) -> None:
        while not self._over.is_set():
            message = self._client.receive(0.2)
            if message is not None:
                length = int.from_bytes(message[:4], "little")
                header = msgspec.json.decode(message[4 : 4 + length])
                assert message[4 + length :][:2] == b"\xff\xd8"
                self.ages_ms.append(header["age_ms"])
                self._client.send(json.dumps({"ack": header["frame"]}))

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        self._client.close()


def stalled(car: PacedCar, path: str) -> ssl.SSLSocket:
    """Open a WebSocket and read nothing from it, ever."""
    assert car.authority_file is not None
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.connect(("127.0.0.1", urlsplit(car.url).port))
    secure = trusting(car.authority_file).wrap_socket(raw, server_hostname="127.0.0.1")
    headers = {
        "Host": urlsplit(car.url).netloc,
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
        **car.headers,
    }
    lines = [f"GET /{path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    secure.sendall("\r\n".join([*lines, "", ""]).encode())
    assert secure.recv(12) == b"HTTP/1.1 101"
    return secure


def test_who_does_not_know_the_authority_is_warned(car: PacedCar) -> None:
    stranger = ssl.create_default_context()
    with (
        socket.create_connection(("127.0.0.1", urlsplit(car.url).port)) as raw,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        stranger.wrap_socket(raw, server_hostname="127.0.0.1")


def test_a_page_drives_over_https_while_pictures_come_the_other_way(car: PacedCar) -> None:
    with closing(Viewer(car)) as viewer, closing(Socket(car)) as page:
        drives(page, car)
        seen = len(viewer.ages_ms)
        page.drive_until(lambda: len(viewer.ages_ms) > seen + 20)
        assert page.ask("stop")["ok"]
        page.until(lambda: page.status["car"]["state"] == "disarmed")

        assert sorted(viewer.ages_ms)[len(viewer.ages_ms) // 2] < 500
        page.tell("release_lease")


def test_tabs_that_read_nothing_hold_up_neither_the_others_nor_a_stop(car: PacedCar) -> None:
    stuck = [stalled(car, f"ws/{kind}?page={OTHER_PAGE}") for kind in ("video", "control", "video")]
    with closing(Viewer(car)) as viewer, closing(Socket(car)) as page:
        drives(page, car)
        seen, heard_ns = len(viewer.ages_ms), page.echo_ns
        page.drive_until(lambda: len(viewer.ages_ms) > seen + 20 and page.echo_ns > heard_ns + 2_000_000_000)

        asked_ns = page.echo_ns
        page.tell("emergency_stop")
        page.until(lambda: page.status["car"]["state"] == "failsafe")
        assert (last_driving_pulse_ns(car) - asked_ns) / 1e9 < STOP_S
    for line in stuck:
        line.close()


def test_two_browsers_hand_the_wheel_over(car: PacedCar, browsers: Callable[..., Page]) -> None:
    anna, ben = browsers("Anna"), browsers("Ben")
    start(anna, car)
    expect(ben.locator("#wheel-words")).to_have_text("Anna has the wheel.")
    expect(ben.locator("#start")).to_be_disabled()
    ben.click("#wheel-ask")
    expect(anna.locator("#request-words")).to_contain_text("Ben asks for the wheel")
    assert car.client.status().state is DriveState.AUTONOMOUS  # asking stops nobody

    anna.click("#request-yes")
    car.wait(lambda status: status.state is DriveState.DISARMED and status.driver_name == "Ben")
    expect(anna.locator("#note")).to_be_empty()
    start(ben, car)
    assert car.client.status().driver_name == "Ben"
    expect(anna.locator("#wheel-words")).to_have_text("Ben has the wheel.")
    ben.click("#stop")
    car.wait(lambda status: status.state is DriveState.DISARMED and not status.driver)


def test_a_car_whose_drivers_network_breaks_stops_within_its_lease_and_the_page_comes_back_and_says_so(
    car: PacedCar, browsers: Callable[..., Page]
) -> None:
    network = Network(car.url)
    page = browsers("Anna", network.url)
    start(page, car)

    seen_ns = car.client.now_ns()
    network.cut()
    expect(page.locator("#state")).to_have_text("No connection")
    car.wait(lambda status: status.state is DriveState.FAILSAFE)
    drove_s = (last_driving_pulse_ns(car) - seen_ns) / 1e9
    assert 0 < drove_s < LEASE_S + REACTION_S

    network.mend()
    expect(page.locator("#state")).to_have_text("Stopped", timeout=WAIT_MS)
    expect(page.locator("#sentence")).to_contain_text("went silent")
    expect(page.locator("#age")).to_contain_text("Live", timeout=WAIT_MS)
    page.click("#clear")
    expect(page.locator("#state")).to_have_text("Ready", timeout=WAIT_MS)
    start(page, car)
    page.click("#stop")
    car.wait(lambda status: status.state is DriveState.DISARMED)
    network.close()


def test_a_reload_while_driving_stops_the_car_and_the_new_page_may_start_at_once(
    car: PacedCar, browsers: Callable[..., Page]
) -> None:
    page = browsers("Anna")
    start(page, car)
    seen_ns = car.client.now_ns()
    page.reload()
    car.wait(lambda status: status.state is DriveState.DISARMED and not status.driver)
    assert (last_driving_pulse_ns(car) - seen_ns) / 1e9 < STOP_S

    expect(page.locator("#state")).to_have_text("Ready", timeout=WAIT_MS)
    start(page, car)
    page.click("#stop")
    car.wait(lambda status: status.state is DriveState.DISARMED)
