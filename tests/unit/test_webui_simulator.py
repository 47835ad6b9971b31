"""The panel of a HIL car over HTTP: what it offers, to whom an order goes, and what is refused."""

import re
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from test_webui import RecordingVehicle

from tests.unit.webui_visitors import script, signed_in, watcher
from vehicle.errors import HilError
from vehicle.hil.faults import FAULTS, MOMENTARY
from vehicle.hil.track import TRACKS
from vehicle.messages import DriveState
from vehicle.truth import WorldTruth
from webui import create_app
from webui.car import Trail
from webui.describing import undescribed

CHANGES: list[tuple[str, dict[str, object]]] = [
    ("/api/simulator/fault", {"part": "camera", "fault": "off"}),
    ("/api/simulator/mend", {}),
    ("/api/simulator/track", {"track": "oval"}),
    ("/api/simulator/reset", {}),
]


class RecordingSimulator:
    """A world and a vehicle process that obey; each can be silent."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict[str, object]]] = []
        self.faults: dict[str, float] = {}
        self.host_faults: dict[str, float] = {}
        self.is_world_silent = False
        self.is_host_silent = False
        self.refusal = ""

    def ask_world(self, op: str, **fields: object) -> dict[str, Any]:
        if self.is_world_silent:
            raise HilError("the simulated world did not answer")
        return self._answer("world", op, fields, self.faults)

    def ask_host(self, op: str, **fields: object) -> dict[str, Any]:
        if self.is_host_silent:
            raise HilError("the vehicle process did not answer")
        return self._answer("host", op, fields, self.host_faults)

    def _answer(
        self, whom: str, op: str, fields: dict[str, object], faults: dict[str, float]
    ) -> dict[str, Any]:
        if op not in {"ping", "layout"}:
            if self.refusal:
                raise HilError(self.refusal)
            self.asked.append((whom, op, fields))
        return {"ok": True, "faults": faults, "track": "oval", "preparing": "", "problem": ""}


class StillWorld:
    """Says nothing, and counts how often its line began anew."""

    def __init__(self) -> None:
        self.lines_begun = 0

    def truth(self) -> WorldTruth | None:
        return None

    def trail(self, after: int) -> Trail:
        return Trail([], after)

    def forget_trail(self) -> None:
        self.lines_begun += 1


@pytest.fixture
def vehicle() -> RecordingVehicle:
    return RecordingVehicle()


@pytest.fixture
def simulator() -> RecordingSimulator:
    return RecordingSimulator()


@pytest.fixture
def world() -> StillWorld:
    return StillWorld()


@pytest.fixture
def app(vehicle: RecordingVehicle, world: StillWorld, simulator: RecordingSimulator) -> Flask:
    return create_app(vehicle, world, simulator=simulator)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return signed_in(app)


def post(client: FlaskClient, path: str, body: dict[str, object]) -> Any:
    return client.post(path, json=body, headers={"Origin": "http://localhost"})


def test_a_real_car_has_no_such_page_and_no_way_to_it(vehicle: RecordingVehicle) -> None:
    client = signed_in(create_app(vehicle))

    assert client.get("/simulator").status_code == 404
    assert "Simulator" not in client.get("/models").get_data(as_text=True)
    assert client.get("/api/simulator").status_code == 404
    for path, body in CHANGES:
        assert post(client, path, body).status_code == 404


def test_every_fault_there_is_can_be_switched_and_says_what_it_does(client: FlaskClient) -> None:
    page = client.get("/simulator").get_data(as_text=True)

    offered = set(re.findall(r'class="fault" data-part="(\w+)" data-fault="(\w+)"', page))
    assert offered == {(str(part), fault) for part, faults in FAULTS.items() for fault in faults}
    assert page.count('role="switch"') == len(offered) - len(MOMENTARY)
    assert page.count(">Once</button>") == len(MOMENTARY)
    amounts = sum(kind.takes_amount for faults in FAULTS.values() for kind in faults.values())
    assert page.count('class="amount"') == amounts
    assert "This car is simulated" in page
    assert 'href="/simulator" aria-current="page"' in page
    assert all(f'value="{track}"' in page for track in TRACKS)


def test_an_order_goes_to_the_side_that_makes_the_fault(
    client: FlaskClient, simulator: RecordingSimulator
) -> None:
    post(client, "/api/simulator/fault", {"part": "camera", "fault": "delayed", "amount": 0.2})
    post(client, "/api/simulator/fault", {"part": "disk", "fault": "full", "on": False})

    assert simulator.asked == [
        ("world", "fault", {"part": "camera", "fault": "delayed", "on": True, "amount": 0.2}),
        ("host", "fault", {"part": "disk", "fault": "full", "on": False, "amount": None}),
    ]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"part": "engine", "fault": "off"}, "no part 'engine'"),
        ({"part": "camera", "fault": "sulks"}, "has no fault 'sulks'"),
        ({"part": "camera", "fault": "slow", "amount": 7.0}, "allowed 0.01 to 1.0"),
        ({"part": "camera", "fault": "off", "amount": 1.0}, "takes no amount"),
        ({"part": "camera"}, "missing required field"),
        ({"part": "camera", "fault": "off", "at_s": 3}, "unknown field"),
    ],
)
def test_a_fault_that_there_is_not_is_a_bad_request(
    client: FlaskClient, simulator: RecordingSimulator, body: dict[str, object], words: str
) -> None:
    answer = post(client, "/api/simulator/fault", body)

    assert answer.status_code == 400
    assert words in answer.json["error"]
    assert simulator.asked == []


def test_what_the_world_refuses_is_a_conflict_in_its_words(
    client: FlaskClient, simulator: RecordingSimulator
) -> None:
    simulator.refusal = "the board's process is gone"

    answer = post(client, "/api/simulator/fault", {"part": "board", "fault": "off"})

    assert (answer.status_code, answer.json["error"]) == (409, "The board's process is gone.")


def test_mending_switches_off_what_is_on_on_both_sides(
    client: FlaskClient, simulator: RecordingSimulator
) -> None:
    simulator.faults = {"camera=stuck": 0.0, "board=slow": 0.05}
    simulator.host_faults = {"policy=slow": 0.15}

    answer = post(client, "/api/simulator/mend", {})

    assert answer.json == {"ok": True, "mended": ["camera=stuck", "board=slow", "policy=slow"]}
    assert [(whom, fields["part"], fields["on"]) for whom, _, fields in simulator.asked] == [
        ("world", "camera", False),
        ("world", "board", False),
        ("host", "policy", False),
    ]


def test_a_silent_vehicle_process_is_told_and_the_world_is_still_mended(
    client: FlaskClient, simulator: RecordingSimulator
) -> None:
    simulator.is_host_silent = True
    simulator.faults = {"camera=off": 0.0}

    document = client.get("/api/simulator").json
    assert (document["faults"], document["host_faults"]) == ({"camera=off": 0.0}, None)
    assert document["host_silence"] == "The vehicle process did not answer."
    assert post(client, "/api/simulator/mend", {}).json["mended"] == ["camera=off"]


def test_a_silent_world_is_unavailable(client: FlaskClient, simulator: RecordingSimulator) -> None:
    simulator.is_world_silent = True

    assert client.get("/api/simulator").status_code == 503
    assert client.get("/api/simulator/layout").status_code == 503
    assert post(client, "/api/simulator/reset", {}).status_code == 409


@pytest.mark.parametrize("track", ["oval", "wide-reversed", "random-7", "random-7-reversed"])
def test_the_car_is_carried_to_a_track_of_ours(
    client: FlaskClient, simulator: RecordingSimulator, track: str
) -> None:
    assert post(client, "/api/simulator/track", {"track": track}).status_code == 200
    assert simulator.asked == [("world", "track", {"track": track})]


@pytest.mark.parametrize(
    "track", ["/etc/passwd", "../route.npy", "route.npy", "oval-reversed-reversed", "random-", ""]
)
def test_no_file_of_this_computer_is_read_from_the_page(
    client: FlaskClient, simulator: RecordingSimulator, track: str
) -> None:
    assert post(client, "/api/simulator/track", {"track": track}).status_code == 400
    assert simulator.asked == []


@pytest.mark.parametrize("state", sorted(set(DriveState) - {DriveState.DISARMED, DriveState.FAILSAFE}))
def test_a_car_that_drives_or_is_about_to_stays_on_its_track(
    client: FlaskClient, vehicle: RecordingVehicle, simulator: RecordingSimulator, state: DriveState
) -> None:
    vehicle.state = state

    answer = post(client, "/api/simulator/track", {"track": "oval"})

    assert answer.status_code == 409
    assert "stop it first" in answer.json["error"]
    assert simulator.asked == []


def test_back_at_the_start_the_driven_line_begins_anew(
    client: FlaskClient, simulator: RecordingSimulator, world: StillWorld
) -> None:
    assert post(client, "/api/simulator/reset", {}).status_code == 200
    assert simulator.asked == [("world", "reset", {})]
    assert world.lines_begun == 1


@pytest.mark.parametrize(("path", "body"), CHANGES)
def test_only_those_who_may_drive_change_the_world(
    app: Flask, simulator: RecordingSimulator, path: str, body: dict[str, object]
) -> None:
    stranger = app.test_client()
    assert post(stranger, path, body).status_code == 401
    assert post(watcher(app), path, body).status_code == 403
    assert simulator.asked == []
    without_token = signed_in(app)
    del without_token.environ_base["HTTP_X_LAPWING_TOKEN"]
    assert post(without_token, path, body).status_code == 403
    assert simulator.asked == []
    assert script(app).post(path, json=body).status_code == 200


def test_a_watcher_sees_the_panel_and_cannot_switch(app: Flask) -> None:
    page = watcher(app).get("/simulator")

    assert page.status_code == 200
    assert 'data-watching="yes"' in page.get_data(as_text=True)


def test_every_address_of_the_panel_is_described(app: Flask) -> None:
    assert undescribed(app) == []
    paths = signed_in(app).get("/api/openapi.json").json["paths"]
    assert {path for path, _ in CHANGES} <= set(paths)
