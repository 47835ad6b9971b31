"""The interface for scripts, and that its description says what it does."""

import json
import re
import time

import msgspec
import pytest
from test_webui import RecordingVehicle, StillWorld

from tests.unit.test_webui_simulator import RecordingSimulator
from tests.unit.webui_visitors import script, signed_in, watcher
from webui import create_app
from webui.api import COMMANDS, path_of
from webui.describing import undescribed

NOW_NS = 50_000_000_000
PAGE = "0123456789abcdef" * 2


CAR = RecordingVehicle()


@pytest.fixture(scope="module")
def app():
    return create_app(CAR, StillWorld(), lambda: NOW_NS, simulator=RecordingSimulator())


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


PAGES = {"/", "/models", "/calibrate", "/access", "/setup", "/login", "/sign-in", "/watch"}
"""Pages for people, which another concern may add to; no address of data or of a change may be among them."""


def test_every_address_is_described_or_is_a_page(app, client):
    described = client.get("/api/openapi.json").json["paths"]
    told = {(path, method) for path, methods in described.items() for method in methods}
    routes = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in app.url_map.iter_rules()
        if rule.endpoint != "static" and not rule.websocket
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }

    assert undescribed(app) == []
    assert told <= routes
    pages = routes - told
    assert {path for path, _ in pages} >= PAGES
    assert {method for _, method in pages} == {"get"}
    assert not [path for path, _ in pages if path.startswith("/api/")]


def test_a_page_is_one(app):
    owner = signed_in(app)
    for path in PAGES:
        assert owner.get(path, follow_redirects=True).mimetype == "text/html"


def test_a_view_that_says_nothing_of_itself_is_found():
    bare = create_app(CAR)
    bare.add_url_rule("/api/new", "new", lambda: "x")

    assert undescribed(bare) == ["/api/new"]


def test_every_description_says_in_words_what_is_done(client):
    document = client.get("/api/openapi.json").json
    operations = [each for path in document["paths"].values() for each in path.values()]

    assert len({each["operationId"] for each in operations}) == len(operations) > 40
    for operation in operations:
        assert re.fullmatch(r"[A-Z].{9,}[.:;,\w]", operation["summary"])
        assert {"401", "403", "503"} <= set(operation["responses"])


def test_what_is_described_is_what_is_checked(client):
    """The types of the description are those that refuse: no second list that could differ."""
    document = client.get("/api/openapi.json").json
    start = document["paths"]["/api/drive/start"]["post"]["requestBody"]["content"]["application/json"]
    assert "kind" not in start["schema"]["properties"]
    assert start["schema"]["properties"]["target_laps"]["anyOf"][0]["maximum"] == 1000
    told = document["paths"]["/api/status"]["get"]["responses"]["200"]["content"]["application/json"]
    assert told["schema"] == {"$ref": "#/components/schemas/StatusDocument"}
    latency = document["components"]["schemas"]["Status"]["properties"]["frame_to_wire_p99_ms"]
    assert latency["type"] == ["number", "null"]  # JSON has no NaN


def test_every_reference_of_the_description_leads_somewhere(client):
    text = client.get("/api/openapi.json").text
    document = json.loads(text)
    for kind, name in set(re.findall(r'"#/components/(\w+)/([^"]+)"', text)):
        assert name in document["components"][kind]


def test_only_an_owner_reads_or_changes_who_has_access_and_anybody_stops(client):
    paths = client.get("/api/openapi.json").json["paths"]
    assert paths["/access/keys"]["post"]["security"] == [{"session": [], "token": []}]
    assert paths["/emergency-stop"]["post"]["security"] == [{}, {"key": []}, {"session": []}]
    assert paths["/api/drive/start"]["post"]["security"] == [{"key": []}, {"session": [], "token": []}]


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
