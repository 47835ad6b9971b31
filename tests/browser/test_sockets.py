"""The page's two sockets against the real server, the real vehicle and the HIL car in paced lockstep."""

import contextlib
import http.client
import itertools
import json
import time
from collections.abc import Callable, Iterator

import msgspec
import pytest
from paced_car import PacedCar, paced_car, trusting
from simple_websocket import ConnectionClosed

from tests.unit.whole_client import Client
from vehicle.messages import DriveState

pytestmark = pytest.mark.browser  # alone on the machine, like the pages

PAGE = "0123456789abcdef" * 2
OTHER_PAGE = "f" * 32
LIMIT_S = 20.0
HAND_PERIOD_S = 0.05
OWN_ORIGIN = "http://127.0.0.1"  # this client names its host without the port


def connected(car: PacedCar, path: str) -> Client:
    """Open a WebSocket as somebody who has signed in."""
    scheme, _, rest = car.url.partition("://")
    headers = {**car.headers, "Origin": f"{scheme}://127.0.0.1"}
    trust = None if car.authority_file is None else trusting(car.authority_file)
    return Client(f"{scheme.replace('http', 'ws')}://{rest}{path}", headers=headers, ssl_context=trust)


class Socket:
    """A page's control socket: keeps what the server says and echoes its newest stamp."""

    def __init__(self, car: PacedCar, page: str = PAGE) -> None:
        self._client = connected(car, f"ws/control?page={page}")
        self._ids = itertools.count()
        self.echo_ns = 0
        self.status: dict = {}
        self.replies: dict[str, dict] = {}
        self.until(lambda: bool(self.status))

    def hear(self, timeout_s: float = 0.05) -> None:
        message = self._client.receive(timeout_s)
        if message is None:
            return
        document = json.loads(message)
        if document["kind"] == "status":
            self.status = document
            self.echo_ns = document["server_ns"]
        else:
            self.replies[document["id"]] = document

    def until(self, happened: Callable[[], bool], limit_s: float = LIMIT_S) -> None:
        deadline_s = time.monotonic() + limit_s
        while not happened():
            assert time.monotonic() < deadline_s, self.status
            self.hear()

    def tell(self, kind: str, **fields) -> str:
        message_id = f"{next(self._ids)}"
        self._client.send(json.dumps({"kind": kind, "id": message_id, "echo_ns": self.echo_ns, **fields}))
        return message_id

    def ask(self, kind: str, **fields) -> dict:
        message_id = self.tell(kind, **fields)
        self.until(lambda: message_id in self.replies)
        return self.replies[message_id]

    def drive_until(self, happened: Callable[[], bool], throttle_frac: float = 1.0) -> None:
        """Keep lease and hand alive, as a page does, until something is so."""
        due_s = 0.0

        def look() -> bool:
            nonlocal due_s
            if time.monotonic() >= due_s:
                due_s = time.monotonic() + HAND_PERIOD_S
                self.tell("renew_lease")
                self.tell("drive", steering_frac=0.0, throttle_frac=throttle_frac)
            return happened()

        self.until(look)

    def close(self) -> None:
        self._client.close()


@pytest.fixture(scope="module")
def car() -> Iterator[PacedCar]:
    with paced_car() as car:
        yield car


@pytest.fixture
def page(car: PacedCar) -> Iterator[Socket]:
    socket = Socket(car)
    assert socket.ask("stop")["ok"]
    socket.until(lambda: socket.status["car"] is not None)
    if socket.status["car"]["state"] == "failsafe":
        assert socket.ask("clear")["ok"]
    socket.until(lambda: bool(socket.status["car"]) and not socket.status["car"]["not_ready"])
    yield socket
    socket.ask("stop")
    socket.ask("release_lease")
    socket.close()


def by_hand(page: Socket, car: PacedCar) -> None:
    for wish in (
        {"kind": "take_lease", "name": "Anna"},
        {"kind": "speed_cap", "speed_cap_frac": 1.0},
        {"kind": "start", "target": "manual"},
    ):
        assert page.ask(**wish)["error"] == ""
    page.drive_until(lambda: page.status["car"]["state"] == "manual")
    page.drive_until(lambda: car.speed_mps > 0.1)


def test_a_page_hears_of_the_car_its_driver_the_laps_and_the_computer(page):
    assert page.ask("take_lease", name="Anna")["ok"]
    page.until(lambda: page.status["lease"]["mine"])

    assert page.status["lease"]["name"] == "Anna"
    assert page.status["car"]["state"] == "disarmed"
    assert page.status["world"]["track"] == "oval"
    assert page.status["laps"]["lap_count"] == 0
    assert 0 <= page.status["host"]["memory_frac"] <= 1


def test_another_page_asks_for_the_car_and_gets_it_from_its_driver(page, car):
    other = Socket(car, OTHER_PAGE)
    assert page.ask("take_lease", name="Anna")["ok"]
    refused = other.ask("take_lease", name="Ben")
    assert refused["error"] == "Anna drives; wait until they let go."
    assert other.ask("ask_lease", name="Ben")["ok"]
    page.until(lambda: bool(page.status["lease"]["asked_by"]))
    wish = page.status["lease"]["asked_by"][0]
    assert wish["name"] == "Ben"
    page.tell("renew_lease")

    assert page.ask("yield_lease", to=wish["source"])["ok"]
    other.until(lambda: other.status["lease"]["mine"])
    assert other.ask("release_lease")["ok"]
    other.close()


def test_commands_that_a_network_held_back_for_two_seconds_leave_the_car_in_neutral(page, car):
    by_hand(page, car)
    held_ns = page.echo_ns
    page.until(lambda: page.status["car"]["state"] == "failsafe")  # nothing comes: the lease is lost
    page.until(lambda: page.echo_ns - held_ns > 2_000_000_000)
    assert page.ask("clear")["ok"]
    page.until(lambda: not page.status["car"]["not_ready"])

    page.echo_ns, seen_ns = held_ns, page.echo_ns
    for kind, fields in (
        ("take_lease", {}),
        ("start", {"target": "manual"}),
        ("renew_lease", {}),
        ("drive", {"steering_frac": 0.0, "throttle_frac": 1.0}),
        ("clear", {}),
    ):
        refused = page.tell(kind, **fields)
        page.echo_ns = held_ns
        page.until(lambda refused=refused: refused in page.replies)
        assert "after the page last heard of the car" in page.replies[refused]["error"]
        page.echo_ns = held_ns
    page.until(lambda: page.echo_ns > seen_ns + 500_000_000)
    assert page.status["car"]["state"] == "disarmed"
    assert page.status["car"].get("driver", "") == ""
    assert page.status["car"]["throttle_frac"] == 0.0


def test_a_page_that_never_heard_of_the_car_commands_nothing_and_stops_all(page, car):
    by_hand(page, car)
    page.echo_ns = 0
    assert not page.ask("take_lease", echo_ns=0)["ok"]
    other = Socket(car, OTHER_PAGE)
    assert other.ask("emergency_stop", echo_ns=0)["ok"]
    other.until(lambda: other.status["car"]["state"] == "failsafe")
    other.close()


def test_a_drive_ends_at_its_time_limit_and_tells_its_target_of_laps(page, car):
    assert not page.ask("mark_lap")["ok"]
    assert page.ask("start", target="autonomous", target_laps=3, time_limit_s=1)["ok"]
    page.drive_until(lambda: page.status["car"]["state"] == "autonomous")
    assert page.status["laps"]["target_laps"] == 3
    page.drive_until(lambda: page.status["car"]["state"] == "disarmed")

    assert "time limit of 1 s" in page.status["car"]["sentence"]


def test_pictures_come_with_their_record_and_only_as_fast_as_they_are_acknowledged(car):
    viewer = connected(car, f"ws/video?page={PAGE}")

    def picture() -> dict | None:
        message = viewer.receive(1.0)
        if message is None:
            return None
        length = int.from_bytes(message[:4], "little")
        assert message[4 + length :][:2] == b"\xff\xd8"
        return msgspec.json.decode(message[4 : 4 + length])

    first, second, third = picture(), picture(), picture()
    assert third is None  # two are unacknowledged
    assert second["frame"] > first["frame"]
    time.sleep(0.5)
    viewer.send(json.dumps({"ack": second["frame"]}))
    fresh = picture()
    assert fresh["age_ms"] < 500
    assert fresh["record"]["frame_number"] == fresh["frame"]
    assert fresh["record"]["state"] == DriveState.DISARMED
    assert fresh["record"]["sent"] == {"steering_frac": 0.0, "throttle_frac": 0.0}
    assert fresh["input"] == {"width": 160, "height": 120, "channels": 1}
    viewer.close()


def test_a_stranger_is_closed_with_a_code_that_the_page_can_read(car):
    stranger = Client(
        f"{car.url.replace('http', 'ws')}ws/control?page={PAGE}", headers={"Origin": OWN_ORIGIN}
    )
    with pytest.raises(ConnectionClosed) as closed:
        stranger.receive(5.0)
    assert closed.value.reason == 4401


@pytest.mark.parametrize(
    ("changed", "code", "said"),
    [
        ({"Origin": "http://evil.example"}, 403, "may not change anything here"),
        ({"Sec-WebSocket-Key": None}, 400, "is for WebSockets"),
    ],
)
def test_what_may_open_no_socket_is_told_why_before_there_is_one(car, changed, code, said):
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
    headers = {**car.headers, **upgrade, "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==", **changed}
    sent = {name: value for name, value in headers.items() if value is not None}
    connection = http.client.HTTPConnection(car.url.removeprefix("http://").rstrip("/"), timeout=5)
    connection.request("GET", f"/ws/control?page={PAGE}", headers=sent)
    with contextlib.closing(connection), connection.getresponse() as response:
        assert response.status == code
        assert said in json.loads(response.read())["error"]
