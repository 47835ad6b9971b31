"""The interface for scripts, and that its description says what it does."""

import time

import msgspec
import pytest
from test_webui import RecordingVehicle

from tests.unit.webui_visitors import script, watcher
from webui import create_app
from webui.api import COMMANDS, path_of

NOW_NS = 50_000_000_000
PAGE = "0123456789abcdef" * 2


CAR = RecordingVehicle()


@pytest.fixture(scope="module")
def app():
    return create_app(CAR, clock_ns=lambda: NOW_NS)


@pytest.fixture(scope="module")
def client(app):
    return script(app)  # one: there are only so many keys


@pytest.fixture
def vehicle() -> RecordingVehicle:
    CAR.asked.clear()
    CAR.driver = ""
    return CAR


def test_a_script_drives_as_a_page_does(vehicle, client):
    done = client.post(f"/api/drive/start?page={PAGE}", json={"echo_ns": NOW_NS, "target": "manual"})

    assert done.json == {"ok": True, "server_ns": NOW_NS}
    assert [kind.value for kind in vehicle.kinds[-2:]] == ["take lease", "start"]
    assert client.get(f"/api/status?page={PAGE}").json["server_ns"] == NOW_NS


def test_every_route_is_described_and_every_description_has_its_route(app, client):
    described = client.get("/api/openapi.json").json["paths"]
    routes = {
        rule.rule
        for rule in app.url_map.iter_rules()
        if rule.endpoint.startswith("api.") and rule.rule != "/api/openapi.json"
    }

    assert set(described) == routes
    assert all(set(path) <= {"get", "post"} for path in described.values())


@pytest.mark.parametrize("kind", COMMANDS)
@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"echo_ns": "x"}', b'{"kind": "no"}', b"\xff"])
def test_a_bad_body_is_a_sentence(client, vehicle, kind, body):
    answer = client.post(f"{path_of(kind)}?page={PAGE}", data=body, content_type="application/json")

    assert answer.status_code == 400
    assert answer.json["error"].startswith("The body is not what is expected")
    assert vehicle.kinds == []


@pytest.mark.parametrize("page", ["", "?page=", "?page=x", f"?page={PAGE}0"])
def test_whoever_asks_says_who_they_are(client, vehicle, page):
    answer = client.post(f"/api/drive/stop{page}", json={})

    assert answer.status_code == 400
    assert "32 hexadecimal digits" in answer.json["error"]
    assert vehicle.kinds == []


def test_a_late_or_blind_script_starts_nothing(client, vehicle):
    for echo_ns in (0, NOW_NS - 301_000_000):
        answer = client.post(f"/api/drive/start?page={PAGE}", json={"echo_ns": echo_ns})
        assert answer.status_code == 409
    assert vehicle.kinds == []


def test_who_only_watches_drives_nothing(app, vehicle):
    answer = watcher(app).post(
        f"/api/drive/start?page={PAGE}", json={"echo_ns": NOW_NS}, headers={"Origin": "http://localhost"}
    )

    assert answer.status_code == 403
    assert vehicle.kinds == []


def test_the_description_is_made_in_no_time_and_is_plain_json(client):
    began_s = time.monotonic()
    document = client.get("/api/openapi.json").json

    assert document["openapi"] == "3.1.0"
    assert time.monotonic() - began_s < 1.0
    assert msgspec.json.encode(document)
