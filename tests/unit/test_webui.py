"""The page's server: who may speak, what is passed on, and what is said when the car does not answer."""

import json
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.unit.still_car import status_with
from tests.unit.webui_visitors import signed_in
from vehicle.errors import VehicleSilentError
from vehicle.messages import DriveState, Fault, Reply, RequestKind, Status
from vehicle.truth import Crossing, WorldTruth
from webui import create_app
from webui.car import Trail, TrailPoint
from webui.drive import source_of
from webui.page_scripts import KEPT, static_path

NOW_NS = 50_000_000_000
PAGE = "0123456789abcdef" * 2
OTHER_PAGE = "f" * 32
ORIGIN = "http://localhost"
DRIVING = [
    f"/api/drive/{command}?page={PAGE}" for command in ("start", "stop", "clear", "renew-lease", "speed-cap")
]
START, STOP, CLEAR, RENEW, SPEED_CAP = DRIVING
CHANGES = ["/emergency-stop", *DRIVING]
DRIVERS_KINDS = frozenset(
    {RequestKind.START, RequestKind.RENEW_LEASE, RequestKind.RELEASE_LEASE, RequestKind.SET_SPEED_CAP}
)


class RecordingVehicle:
    """Records what it is asked and answers what it is told to."""

    version_note = ""

    def __init__(self) -> None:
        self.asked: list[tuple[RequestKind, dict[str, Any]]] = []
        self.stops = 0
        self.refusals: dict[RequestKind, str] = {}
        self.silent = False
        self.state = DriveState.DISARMED
        self.driver = ""

    @property
    def kinds(self) -> list[RequestKind]:
        return [kind for kind, _ in self.asked]

    def status(self) -> Status | None:
        if self.silent:
            return None
        return status_with(
            now_ns=7_000_000_000,
            state=self.state,
            latched_fault=Fault.LEASE_LOST if self.state is DriveState.FAILSAFE else None,
            not_ready=("no policy is loaded",),
            driver=self.driver,
            frame_to_wire_p50_ms=float("nan"),
            frame_to_wire_p99_ms=float("nan"),
        )

    def status_age_s(self) -> float:
        return float("inf") if self.silent else 0.25

    def request(self, kind: RequestKind, timeout_s: float = 1.0, **fields: Any) -> Reply:
        if self.silent:
            raise VehicleSilentError("the vehicle did not answer in time; is it running?")
        self.asked.append((kind, fields))
        source = fields["source"]
        reason = self.refusals.get(kind, "")
        if kind in DRIVERS_KINDS and source != self.driver:
            reason = reason or f"{self.driver or 'nobody'} drives; take the lease first"
        elif kind is RequestKind.TAKE_LEASE and self.driver not in {"", source}:
            reason = reason or f"{self.driver} drives; wait until they let go"
        elif kind is RequestKind.TAKE_LEASE and not reason:
            self.driver = source
        elif kind is RequestKind.RELEASE_LEASE:
            self.driver = ""
        return Reply("1", ok=not reason, reason=reason)

    def emergency_stop(self, timeout_s: float = 0.5) -> Reply:
        if self.silent:
            raise VehicleSilentError("the vehicle did not answer in time; is it running?")
        self.stops += 1
        return Reply("1", ok=True)


class StillWorld:
    """A world that tells one truth."""

    def __init__(self) -> None:
        self.newest: WorldTruth | None = WorldTruth(
            now_ns=9_500_000_000,
            frame_number=3,
            track="oval",
            x_m=1.0,
            y_m=2.0,
            heading_rad=0.0,
            speed_mps=1.5,
            steering_rad=0.0,
            progress_frac=0.5,
            offset_m=0.0,
            off_track=False,
            crashed=False,
            laps=(Crossing(1, 9.0), Crossing(2, 8.2), Crossing(3, 8.7)),
            lap_started_ns=8_000_000_000,
            servo_pulse_us=1450.0,
            esc_pulse_us=1446.0,
        )

    def truth(self) -> WorldTruth | None:
        return self.newest

    def trail(self, after: int) -> Trail:
        return Trail([TrailPoint(0.1 * k, 0.0, 1.5) for k in range(after, 3)], 3)


@pytest.fixture
def vehicle() -> RecordingVehicle:
    return RecordingVehicle()


@pytest.fixture
def world() -> StillWorld:
    return StillWorld()


@pytest.fixture
def browser(vehicle: RecordingVehicle, world: StillWorld) -> FlaskClient:
    return signed_in(create_app(vehicle, world, clock_ns=lambda: NOW_NS))


def post(
    browser: FlaskClient, path: str, headers: dict[str, str] | None = None, **fields: Any
) -> TestResponse:
    return browser.post(path, json=fields, headers={"Origin": ORIGIN} if headers is None else headers)


def fresh(**fields: Any) -> dict[str, Any]:
    return {"echo_ns": NOW_NS - 200_000_000, **fields}


def test_the_page_carries_a_secret_of_its_own_each_time(browser: FlaskClient) -> None:
    first, second = browser.get("/").text, browser.get("/").text
    assert first != second


def test_every_answer_carries_the_security_headers(browser: FlaskClient) -> None:
    for path in ["/", "/api/status", f"{static_path()}/drive.js", "/nowhere"]:
        with browser.get(path) as answer:
            headers = answer.headers
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["Cache-Control"] == (KEPT if "/static/" in path else "no-store")
        assert headers["X-Content-Type-Options"] == "nosniff"


def test_the_page_has_no_inline_script_or_style(browser: FlaskClient) -> None:
    text = browser.get("/").text
    assert "<style" not in text
    assert " style=" not in text
    assert text.count("<script") == text.count('<script type="module" src=')


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "192.168.1.5:8080", "127.0.0.1.nip.io", ""]
)
def test_a_host_that_is_not_loopback_is_refused(browser: FlaskClient, host: str) -> None:
    for path in ["/", "/api/status", "/ca.crt", f"{static_path()}/drive.js"]:
        assert browser.get(path, headers={"Host": host}).status_code == 403


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8080", "127.0.0.1:8080", "[::1]:8080", "LOCALHOST:1"]
)
def test_loopback_hosts_are_served(browser: FlaskClient, host: str) -> None:
    assert browser.get("/api/status", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("path", CHANGES)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "null"},
        {"Origin": "http://evil.example"},
        {"Origin": "http://localhost:9999"},
        {"Origin": "https://localhost"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": ORIGIN, "Sec-Fetch-Site": "cross-site"},
    ],
)
def test_a_change_from_elsewhere_is_refused(
    browser: FlaskClient, vehicle: RecordingVehicle, path: str, headers: dict[str, str]
) -> None:
    answer = post(browser, path, headers, **fresh(), speed_cap_frac=0.5)
    assert answer.status_code == 403
    assert answer.json["error"].endswith(".")
    assert vehicle.asked == []
    assert vehicle.stops == 0


@pytest.mark.parametrize("headers", [{"Origin": ORIGIN}, {"Sec-Fetch-Site": "same-origin"}])
def test_a_change_from_this_page_is_passed_on(
    browser: FlaskClient, vehicle: RecordingVehicle, headers: dict[str, str]
) -> None:
    assert post(browser, "/emergency-stop", headers).status_code == 200
    assert vehicle.stops == 1


@pytest.mark.parametrize("path", CHANGES)
def test_nothing_changes_by_get(browser: FlaskClient, vehicle: RecordingVehicle, path: str) -> None:
    tells = path == "/emergency-stop"  # whether the car may move, to anybody
    assert browser.get(path).status_code == (200 if tells else 405)
    assert vehicle.asked == []
    assert vehicle.stops == 0


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff",
        b'{"echo_ns": "now"}',
        b'{"echo_ns": 1.5}',
        b'{"echo_ns": 1, "id": 7}',
        json.dumps({"echo_ns": 1, "id": "x" * 65}).encode(),
    ],
)
def test_a_bad_body_is_refused_with_a_sentence(
    browser: FlaskClient, vehicle: RecordingVehicle, body: bytes
) -> None:
    for path in DRIVING:
        answer = browser.post(path, data=body, content_type="application/json", headers={"Origin": ORIGIN})
        assert answer.status_code == 400
        assert answer.json["error"]
    assert vehicle.asked == []


def test_a_body_must_say_that_it_is_json(browser: FlaskClient) -> None:
    body = json.dumps(fresh())
    answer = browser.post(STOP, data=body, content_type="text/plain", headers={"Origin": ORIGIN})
    assert answer.status_code == 400


def test_a_body_nested_without_an_end_is_refused(browser: FlaskClient, vehicle: RecordingVehicle) -> None:
    body = b'{"x": ' + b"[" * 4000
    answer = browser.post(START, data=body, content_type="application/json", headers={"Origin": ORIGIN})
    assert answer.status_code == 400
    assert vehicle.asked == []


def test_a_large_body_is_refused(browser: FlaskClient, vehicle: RecordingVehicle) -> None:
    answer = browser.post(
        START, data=b" " * 5000, content_type="application/json", headers={"Origin": ORIGIN}
    )
    assert answer.status_code == 413
    assert vehicle.asked == []


@pytest.mark.parametrize("cap", [-0.1, 1.1, 1e400, "fast", None])
def test_a_speed_cap_out_of_range_is_refused(
    browser: FlaskClient, vehicle: RecordingVehicle, cap: object
) -> None:
    body = json.dumps(fresh(speed_cap_frac=cap))
    answer = browser.post(SPEED_CAP, data=body, content_type="application/json", headers={"Origin": ORIGIN})
    assert answer.status_code == 400
    assert vehicle.asked == []


def test_the_emergency_stop_needs_no_lease_and_no_body(
    browser: FlaskClient, vehicle: RecordingVehicle
) -> None:
    vehicle.driver = source_of(OTHER_PAGE)
    assert browser.post("/emergency-stop", headers={"Origin": ORIGIN}).status_code == 200
    assert vehicle.stops == 1
    assert vehicle.asked == []


def test_start_takes_the_lease_and_starts_in_the_pages_name(
    browser: FlaskClient, vehicle: RecordingVehicle
) -> None:
    answer = post(browser, START, **fresh())
    assert answer.status_code == 200
    assert answer.json["server_ns"] == NOW_NS
    assert vehicle.driver == source_of(PAGE)
    assert {fields["source"] for _, fields in vehicle.asked} == {source_of(PAGE)}
    assert {fields["echo_ns"] for _, fields in vehicle.asked} == {NOW_NS - 200_000_000}
    assert vehicle.asked[-1][1]["target"] is DriveState.AUTONOMOUS


def test_a_refused_start_gives_the_reason_and_lets_go_of_the_lease(
    browser: FlaskClient, vehicle: RecordingVehicle
) -> None:
    vehicle.refusals[RequestKind.START] = "no policy is loaded"
    answer = post(browser, START, **fresh())
    assert answer.status_code == 409
    assert answer.json["error"] == "No policy is loaded."
    assert vehicle.kinds[-3:] == [RequestKind.TAKE_LEASE, RequestKind.START, RequestKind.RELEASE_LEASE]
    assert vehicle.driver == ""


def test_a_start_while_another_drives_takes_nothing_from_them(
    browser: FlaskClient, vehicle: RecordingVehicle
) -> None:
    vehicle.driver = "laps"
    answer = post(browser, START, **fresh())
    assert (answer.status_code, answer.json["error"]) == (409, "Laps drives; wait until they let go.")
    assert vehicle.driver == "laps"


@pytest.mark.parametrize(("path", "limit_s"), [(START, 0.3), (CLEAR, 0.3), (RENEW, 1.5)])
def test_what_waited_on_the_way_is_refused(
    browser: FlaskClient, vehicle: RecordingVehicle, path: str, limit_s: float
) -> None:
    vehicle.driver = source_of(PAGE)
    late_ns = NOW_NS - int((limit_s + 0.001) * 1e9)
    for seen_ns in [late_ns, 0, NOW_NS + 1]:
        answer = post(browser, path, echo_ns=seen_ns)
        assert answer.status_code == 409
    assert vehicle.asked == []

    in_time_ns = NOW_NS - int(limit_s * 1e9)
    assert post(browser, path, echo_ns=in_time_ns).status_code == 200


def test_a_renewal_is_forwarded_once_and_under_the_pages_name(
    browser: FlaskClient, vehicle: RecordingVehicle
) -> None:
    vehicle.driver = source_of(PAGE)
    assert post(browser, RENEW, **fresh()).status_code == 200
    assert vehicle.kinds == [RequestKind.RENEW_LEASE]
    assert vehicle.asked[0][1]["source"] == source_of(PAGE)


def test_anybody_may_stop(browser: FlaskClient, vehicle: RecordingVehicle) -> None:
    vehicle.state, vehicle.driver = DriveState.AUTONOMOUS, source_of(OTHER_PAGE)
    assert post(browser, STOP).status_code == 200
    assert vehicle.kinds == [RequestKind.DISARM]


def test_stop_does_not_clear_a_failsafe(browser: FlaskClient, vehicle: RecordingVehicle) -> None:
    vehicle.state = DriveState.FAILSAFE
    assert post(browser, STOP, **fresh()).status_code == 200
    assert vehicle.asked == []


def test_a_failsafe_is_cleared_on_purpose(browser: FlaskClient, vehicle: RecordingVehicle) -> None:
    vehicle.state = DriveState.FAILSAFE
    assert post(browser, CLEAR, **fresh()).status_code == 200
    assert vehicle.kinds == [RequestKind.DISARM]


def test_the_source_does_not_give_the_secret_away() -> None:
    assert PAGE[:8] not in source_of(PAGE)
    assert source_of(PAGE) != source_of(OTHER_PAGE)


@pytest.mark.parametrize("path", CHANGES)
def test_requests_to_a_silent_vehicle_are_503_with_a_sentence(
    browser: FlaskClient, vehicle: RecordingVehicle, path: str
) -> None:
    vehicle.silent = True
    answer = post(browser, path, **fresh(speed_cap_frac=0.5))
    assert answer.status_code == 503
    assert answer.json["error"] == "The vehicle did not answer in time; is it running?"


def test_the_status_says_that_the_vehicle_is_silent(browser: FlaskClient, vehicle: RecordingVehicle) -> None:
    vehicle.silent = True
    document = browser.get("/api/status").json
    assert document["car"] is None
    assert "lapwing run" in document["silence"]


def test_a_vehicle_of_another_release_is_named_as_such(
    browser: FlaskClient, vehicle: RecordingVehicle
) -> None:
    vehicle.silent, vehicle.version_note = True, "the vehicle process speaks version 2"

    assert browser.get("/api/status").json["silence"] == "The vehicle process speaks version 2."


def test_the_status_shows_the_car_and_the_world(browser: FlaskClient) -> None:
    document = browser.get("/api/status").json
    assert document["server_ns"] == NOW_NS
    assert document["car"]["state"] == "disarmed"
    assert document["car"]["frame_to_wire_p99_ms"] is None  # JSON has no NaN
    assert document["world"]["lap_time_s"] == 1.5
    assert document["world"]["lap_count"] == 3
    assert document["world"]["best"] == {"lap": 2, "time_s": 8.2}
    assert len(document["world"]["trail"]["points"]) == 3


def test_the_driven_line_is_told_from_where_the_page_has_it(browser: FlaskClient) -> None:
    assert browser.get("/api/status?trail=2").json["world"]["trail"] == {
        "points": [[0.2, 0.0, 1.5]],
        "end": 3,
    }
    for nonsense in ("yesterday", "-1", "9" * 30):
        answer = browser.get(f"/api/status?trail={nonsense}")
        assert answer.status_code == 400
        assert "$.trail" in answer.json["error"]


def test_the_status_does_without_a_world(
    browser: FlaskClient, vehicle: RecordingVehicle, world: StillWorld
) -> None:
    world.newest = None
    assert browser.get("/api/status").json["world"] is None
    assert signed_in(create_app(vehicle)).get("/api/status").json["world"] is None


@pytest.mark.parametrize("state", list(DriveState))
def test_anybody_learns_whether_the_car_may_move_and_nothing_else(
    vehicle: RecordingVehicle, state: DriveState
) -> None:
    vehicle.state = state
    answer = create_app(vehicle).test_client().get("/emergency-stop")
    assert answer.json == {"may_move": state not in {DriveState.DISARMED, DriveState.FAILSAFE}}
