"""Wi-Fi over HTTP: only while the car stands and nobody can start it, and no password in any word."""

import logging
import time
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.unit.test_webui import RecordingVehicle
from tests.unit.webui_visitors import signed_in, watcher
from tests.unit.wifi_radio import FIELD, FIELD_PASSWORD, HOME, HOME_PASSWORD, Radio
from vehicle.messages import DriveState, RequestKind
from webui import create_app
from webui.hosts import Hosts
from webui.wifi import HOLDER_NAME, Wifi

CHANGES: list[tuple[str, dict[str, object]]] = [
    ("join", {"ssid": FIELD, "password": FIELD_PASSWORD}),
    ("forget", {"ssid": FIELD}),
    ("radio", {}),
    ("hotspot/prepare", {}),
    ("hotspot", {"on": True}),
    ("hotspot", {"on": False}),
]


@pytest.fixture
def radio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Radio:
    radio = Radio(tmp_path, monkeypatch)
    radio.know(HOME, HOME_PASSWORD, joined=True)
    return radio


@pytest.fixture
def vehicle() -> RecordingVehicle:
    return RecordingVehicle()


@pytest.fixture
def app(vehicle: RecordingVehicle, radio: Radio, tmp_path: Path) -> Flask:
    config = tmp_path / "car.toml"
    config.write_text('name = "Blue No. 2"\n')
    hosts = Hosts(["blue-no-2.local"], lambda: frozenset({"192.168.4.7"}))
    return create_app(vehicle, config_file=config, hosts=hosts, wifi=Wifi(vehicle, answer_first_s=0.0))


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return signed_in(app)


def post(client: FlaskClient, what: str, body: dict[str, object]) -> Any:
    return client.post(f"/api/wifi/{what}", json=body, headers={"Origin": "http://localhost"})


def outcome(client: FlaskClient) -> tuple[str, str]:
    deadline_s = time.monotonic() + 20
    while (change := client.get("/api/wifi").json["change"])["state"] == "going on":
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
    return change["state"], change["words"]


def test_what_is_there_is_told_with_the_address_that_stays(client: FlaskClient) -> None:
    told = client.get("/api/wifi").json

    assert (told["problem"], told["change"]["state"]) == ("", "none")
    assert {one["ssid"] for one in told["sight"]["networks"]} >= {HOME, FIELD}
    assert told["sight"]["joined"] == HOME
    assert told["addresses"][0] == "http://blue-no-2.local:80/"
    assert b"<svg" in client.get("/api/wifi/address.svg").data


def test_a_network_is_joined_while_nobody_can_start_the_car(
    client: FlaskClient, vehicle: RecordingVehicle, radio: Radio
) -> None:
    radio.change(slow_s=0.6)

    assert post(client, "join", {"ssid": FIELD, "password": FIELD_PASSWORD}).status_code == 202
    assert vehicle.asked[0][1]["driver_name"] == HOLDER_NAME
    again = post(client, "join", {"ssid": HOME})
    assert (again.status_code, again.json["error"][:32]) == (409, "The network is being changed alr")
    assert post(client, "forget", {"ssid": HOME}).status_code == 409
    assert outcome(client) == ("done", f"The car is in {FIELD}.")

    assert radio.joined == FIELD
    assert {RequestKind.TAKE_LEASE, RequestKind.RENEW_LEASE} <= set(vehicle.kinds)
    assert (vehicle.kinds[-1], vehicle.driver) == (RequestKind.RELEASE_LEASE, "")
    assert len({fields["source"] for _, fields in vehicle.asked}) == 1


def test_a_wrong_password_is_told_to_whoever_finds_the_car_again(
    client: FlaskClient, radio: Radio, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        assert post(client, "join", {"ssid": FIELD, "password": "not this one"}).status_code == 202
        state, words = outcome(client)

    assert (state, radio.joined) == ("failed", HOME)
    assert "password is wrong" in words
    everything = caplog.text + client.get("/api/wifi").get_data(as_text=True) + str(radio.commands)
    assert "not this one" not in everything
    assert FIELD not in caplog.text


@pytest.mark.parametrize("state", DriveState)
def test_nothing_of_the_network_is_changed_while_the_car_is_armed_or_moves(
    client: FlaskClient, vehicle: RecordingVehicle, radio: Radio, state: DriveState
) -> None:
    if state in {DriveState.DISARMED, DriveState.FAILSAFE}:
        assert post(client, "radio", {}).status_code == 200
        return
    vehicle.state = state

    for what, body in CHANGES:
        answer = post(client, what, body)
        assert (answer.status_code, "stop it first" in answer.json["error"]) == (409, True), what
    assert radio.commands == []
    assert vehicle.kinds == []


def test_the_network_is_left_alone_while_somebody_else_has_the_car(
    client: FlaskClient, vehicle: RecordingVehicle, radio: Radio
) -> None:
    vehicle.driver = "Anna"

    answer = post(client, "hotspot", {"on": True})

    assert (answer.status_code, "Anna drives" in answer.json["error"]) == (409, True)
    assert radio.commands == []
    vehicle.driver = ""
    assert post(client, "hotspot/prepare", {}).status_code == 200  # nothing is held after a refusal


def test_a_car_that_is_armed_just_before_is_not_cut_off(
    client: FlaskClient, vehicle: RecordingVehicle, radio: Radio
) -> None:
    """Between the look at the state and the lease somebody may have started it."""
    ask = vehicle.request

    def start_first(kind: RequestKind, timeout_s: float = 1.0, **fields: Any) -> Any:
        reply = ask(kind, timeout_s, **fields)
        if kind is RequestKind.TAKE_LEASE:
            vehicle.state = DriveState.ARMING
        return reply

    vehicle.request = start_first  # type: ignore[method-assign]

    assert post(client, "hotspot", {"on": True}).status_code == 409
    assert (radio.commands, vehicle.driver) == ([], "")


def test_the_network_of_a_car_whose_vehicle_process_is_silent_can_be_put_right(
    client: FlaskClient, vehicle: RecordingVehicle, radio: Radio
) -> None:
    vehicle.silent = True

    assert post(client, "join", {"ssid": FIELD, "password": FIELD_PASSWORD}).status_code == 202
    assert outcome(client)[0] == "done"
    assert radio.joined == FIELD


def test_the_cars_own_network_is_told_before_it_is_switched(client: FlaskClient, radio: Radio) -> None:
    assert client.get("/api/wifi/hotspot.svg").status_code == 409
    own = post(client, "hotspot/prepare", {}).json
    assert (own["ssid"], own["address"]) == ("Lapwing blue-no-2", "http://10.42.0.1:80/")
    assert radio.joined == HOME
    assert b"<svg" in client.get("/api/wifi/hotspot.svg").data

    assert post(client, "hotspot", {"on": True}).status_code == 202
    assert outcome(client) == ("done", "The car makes its own network.")
    assert radio.joined == own["ssid"]
    assert post(client, "hotspot", {"on": False}).status_code == 202
    assert outcome(client)[0] == "done"
    assert radio.joined == HOME


def test_only_those_who_may_drive_see_or_change_the_network(app: Flask, radio: Radio) -> None:
    for what, body in CHANGES:
        assert post(app.test_client(), what, body).status_code == 401
        assert post(watcher(app), what, body).status_code == 403
    for address in ("/api/wifi", "/api/wifi/hotspot.svg", "/api/wifi/address.svg"):
        assert watcher(app).get(address).status_code == 403
    assert 'id="wifi"' not in watcher(app).get("/settings").get_data(as_text=True)
    assert radio.commands == []


@pytest.mark.parametrize(
    "body",
    [
        {"ssid": FIELD, "password": "short"},
        {"ssid": FIELD, "password": "two\nlines of it"},
        {"ssid": ""},
        {"ssid": "x" * 33},
        {"ssid": FIELD, "password": "y" * 65},
        {"ssid": FIELD, "more": 1},
    ],
)
def test_what_can_be_no_network_is_refused_before_anything_is_tried(
    client: FlaskClient, radio: Radio, body: dict[str, object]
) -> None:
    assert post(client, "join", body).status_code == 400
    assert radio.commands == []


def test_the_computer_of_a_simulated_car_is_left_alone(vehicle: RecordingVehicle, radio: Radio) -> None:
    client = signed_in(create_app(vehicle))

    told = client.get("/api/wifi").json
    assert (told["sight"], "left alone" in told["problem"]) == (None, True)
    for what, body in CHANGES:
        assert post(client, what, body).status_code == 409
    assert radio.commands == []


def test_a_mistake_of_ours_leaves_nothing_held(
    vehicle: RecordingVehicle, radio: Radio, monkeypatch: pytest.MonkeyPatch
) -> None:
    wifi = Wifi(vehicle, answer_first_s=0.0)
    monkeypatch.setattr("threading.excepthook", lambda _: None)

    wifi.begin("doing", "done", lambda _: 1 / 0)  # type: ignore[arg-type,return-value]

    deadline_s = time.monotonic() + 5
    while wifi.change.state == "going on":
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    assert (wifi.change.state, "mistake of ours" in wifi.change.words) == ("failed", True)
    assert vehicle.driver == ""
    wifi.now(lambda network: network.look())
