"""Every address, sent what it asks for and what it does not: answered as it says of itself, never by 5xx.

Schemathesis draws the requests from the description that the car serves; the same ones each time.
"""

import gc
import json
import random
import re
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.config import GenerationConfig, ProjectConfig, ProjectsConfig, SchemathesisConfig
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from calibration import store
from calibration.car import AWS_DEFAULTS
from models.bundle import zoo_names
from models.store import PolicyStore
from tests.unit.run_files import make_run
from tests.unit.stick_files import FakeComputer
from tests.unit.test_webui import NOW_NS, ORIGIN, PAGE, RecordingVehicle, StillWorld
from tests.unit.test_webui_simulator import RecordingSimulator
from tests.unit.webui_visitors import script, signed_in
from vehicle.messages import DriveState, Status
from vehicle.runs import RunShelf
from webui import create_app
from webui.access_store import AccessStore
from webui.network_manager import NetworkManager
from webui.nmcli import NetworkError
from webui.sticks import Sticks
from webui.wifi import Wifi

EXAMPLES = 6
AS_DESCRIBED = [status_code_conformance, content_type_conformance, response_schema_conformance]
UPLOAD = "PUT /api/models"
STREAM = "GET /api/race/events"  # lasts for as long as it is asked to
KNOWN_MODEL = {"path_parameters": {"key": zoo_names()[0]}}
KNOWN_RUN = {"path_parameters": {"name": "2026-11-26_13-33-20"}}  # of `make_run`
KNOWN = {
    "GET /api/models/{key}": KNOWN_MODEL,
    "GET /api/models/{key}/original": KNOWN_MODEL,
    "PATCH /api/models/{key}": KNOWN_MODEL,
    "GET /api/runs/{name}": KNOWN_RUN,
    "GET /api/runs/{name}/curves": KNOWN_RUN,
    "GET /api/runs/{name}/picture": KNOWN_RUN,
    "GET /api/runs/{name}/film": KNOWN_RUN,
    "POST /api/runs/{name}/star": KNOWN_RUN,
    UPLOAD: {"query": {"name": "swift.tar.gz", "wait": 0}},
    STREAM: {"query": {"for_s": 0.01}},
}
"""What chance would not find."""
SLOW = {"POST /login": 3, "POST /access/password": 3, "GET /api/report": 1}
"""Each try of a password takes its time on purpose; a report asks the doctor."""
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=5,
)
SAME_EACH_TIME = {
    "derandomize": True,
    "database": None,
    "deadline": None,
    "suppress_health_check": list(HealthCheck),
}


class WholeVehicle(RecordingVehicle):
    """A vehicle with a calibration in a file, and a status for whoever waits for one."""

    def __init__(self, calibration_file: Path) -> None:
        super().__init__()
        self.file = calibration_file

    def status(self) -> Status | None:
        status = super().status()
        return status and msgspec.structs.replace(status, calibration_file=str(self.file), now_ns=NOW_NS)

    def wait_status(self, accept: Any, timeout_s: float) -> Status | None:
        return self.status()


class WholeWorld(StillWorld):
    """A world whose line may begin anew."""

    def forget_trail(self) -> None:
        pass


class WholeSimulator(RecordingSimulator):
    """A simulator that knows the lines of its track."""

    def ask_world(self, op: str, **fields: object) -> dict[str, Any]:
        lines = {"length_m": 11.2, "center": [[0.0, 0.0]], "inner": [[0.1, 0.0]], "outer": [[-0.1, 0.0]]}
        return {**super().ask_world(op, **fields), **lines}


@pytest.fixture
def vehicle(tmp_path: Path) -> WholeVehicle:
    path = tmp_path / "blue.json"
    store.save(path, AWS_DEFAULTS, saved_by="Anna")
    return WholeVehicle(path)


@pytest.fixture
def app(vehicle: WholeVehicle, tmp_path: Path) -> Flask:
    make_run(tmp_path / "runs", 1.0)
    computer = FakeComputer(tmp_path / "computer")
    (computer.mount(computer.plug_stick(), "/media/car/BLUE") / "swift.zip").write_bytes(b"no archive")
    return create_app(
        vehicle,
        WholeWorld(),
        lambda: NOW_NS,
        PolicyStore(tmp_path / "models"),
        access_store=AccessStore(tmp_path / "access"),
        simulator=WholeSimulator(),
        shelf=RunShelf(tmp_path / "runs"),
        config_file=tmp_path / "car.toml",
        wifi=Wifi(vehicle, NoNetworkManager(), answer_first_s=0.0),
        sticks=Sticks(computer.root),
    )


class NoNetworkManager(NetworkManager):
    """Of a computer without NetworkManager: what it would do has tests of its own, and takes its time."""

    def _run(self, *words: str, typed: str = "", timeout_s: float = 1.0) -> str:
        raise NetworkError("NetworkManager is not installed on this computer")


class Visitors:
    """What a script sends along, or where none is let in a browser, each time of a session of its own."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self.key = {"headers": {"Authorization": script(app).environ_base["HTTP_AUTHORIZATION"]}}

    def at(self, path: str) -> dict[str, dict[str, str]]:
        if path.startswith("/api/"):
            return self.key
        environ = signed_in(self._app).environ_base
        name, _, value = environ["HTTP_COOKIE"].partition("=")
        headers = {"X-Lapwing-Token": environ["HTTP_X_LAPWING_TOKEN"], "Origin": ORIGIN}
        return {"headers": headers, "cookies": {name: value}}


def operations_of(app: Flask, visitors: Visitors) -> dict[str, Any]:
    generation = GenerationConfig(with_security_parameters=False, deterministic=True)
    config = SchemathesisConfig(projects=ProjectsConfig(default=ProjectConfig(generation=generation)))
    schema = schemathesis.openapi.from_wsgi("/api/openapi.json", app, config=config, **visitors.key)
    return {found.ok().label: found.ok() for found in schema.get_all_operations()}


def send_all(operation: Any, mode: GenerationMode, examples: int, send: Any) -> None:
    """Draw requests, send each; whatever a check finds fails with the request as a curl command."""
    known = KNOWN.get(operation.label, {}) if mode is GenerationMode.POSITIVE else {}

    @settings(max_examples=examples, phases=[Phase.generate], **SAME_EACH_TIME)
    @given(case=operation.as_strategy(mode, **known), is_fresh=st.booleans())
    def one(case: Any, is_fresh: bool) -> None:
        if is_fresh and mode is GenerationMode.POSITIVE and isinstance(case.body, dict):
            if operation.path.startswith("/api/drive/"):
                case.body["echo_ns"] = NOW_NS
            elif "seen_ns" in case.body:
                case.body["seen_ns"] = NOW_NS
        send(case)

    one()


def takes_what_can_be_wrong(operation: Any) -> bool:
    """Whether it could be sent anything wrong; a form's fields are text, whatever is in them."""
    media = {body.media_type for body in operation.body}
    if operation.label == STREAM:
        return False
    return media == {"application/json"} or bool(operation.query)


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_whatever_is_sent_is_answered_as_described_and_never_by_a_mistake(
    app: Flask, vehicle: WholeVehicle, mode: GenerationMode
) -> None:
    answered: Counter[int] = Counter()
    client = script(app)

    def send(case: Any) -> None:
        response = case.call(**visitor)
        answered[response.status_code] += 1
        case.validate_response(response, checks=[not_a_server_error, *AS_DESCRIBED])

    visitors = Visitors(app)
    operations = operations_of(app, visitors)
    assert len(operations) > 45
    for label, operation in operations.items():
        if mode is GenerationMode.NEGATIVE and not takes_what_can_be_wrong(operation):
            continue
        vehicle.driver = ""
        vehicle.state = DriveState.AUTONOMOUS if label == UPLOAD else DriveState.DISARMED  # a check waits
        visitor = visitors.at(operation.path)
        send_all(operation, mode, SLOW.get(label, EXAMPLES), send)

    print(sorted(answered.items()))
    for upload in client.get("/api/uploads").json["uploads"]:
        client.delete(f"/api/uploads/{upload['id']}")
    expected = {200: 60, 400: 30, 404: 60, 409: 60} if mode is GenerationMode.POSITIVE else {400: 200}
    assert [status for status, least in expected.items() if answered[status] < least] == []


BODIES = (
    b"",
    b"{}",
    b"[" * 3000,
    b"\xff\xfe",
    b'{"page": "x", "echo_ns": 1, "seen_ns": NaN}',
    b'{"x": "' + b"y" * 5000,
)


def test_requests_to_every_address_again_and_again_leave_no_memory_behind(
    app: Flask, vehicle: WholeVehicle
) -> None:
    rng, client = random.Random(5), script(app)
    rules = [rule for rule in app.url_map.iter_rules() if "static" not in rule.rule]
    addresses = [
        (method, re.sub("<[^>]*>", "x", rule.rule))
        for rule in rules
        for method in sorted(rule.methods or set())
        if f"{method} {rule.rule}" not in {STREAM, *SLOW} and not rule.rule.startswith("/setup")
    ]
    assert len(addresses) > 60

    def after(rounds: int) -> int:
        """Return the bytes in use after so many more rounds."""
        for _ in range(rounds):
            for method, path in addresses:
                vehicle.driver, vehicle.state = "", DriveState.DISARMED
                body = rng.choice(BODIES) + rng.randbytes(rng.randrange(3))
                client.open(path, method=method, data=body, content_type="application/json").close()
        vehicle.asked.clear()
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    after(1)  # what is imported, compiled and kept once
    tracemalloc.start()
    try:
        before = after(1)
        grown = after(2) - before
    finally:
        tracemalloc.stop()
    print(f"{2 * len(addresses)} requests left {grown} bytes behind")
    assert grown < 80_000


def test_a_silent_vehicle_is_said_as_described(app: Flask, vehicle: WholeVehicle) -> None:
    vehicle.silent = True
    answered: Counter[int] = Counter()

    def send(case: Any) -> None:
        response = case.call(**visitor)
        answered[response.status_code] += 1
        assert response.status_code in {503, *range(500)}
        case.validate_response(response, checks=AS_DESCRIBED)

    visitors = Visitors(app)
    for label, operation in operations_of(app, visitors).items():
        if label not in {*SLOW, UPLOAD}:
            visitor = visitors.at(operation.path)
            send_all(operation, GenerationMode.POSITIVE, 2, send)

    assert answered[503] > 15


def places_of(document: Any) -> list[tuple[str, ...]]:
    """Return the way to everything inside a document of JSON."""
    if not isinstance(document, dict):
        return [()]
    return [(), *((name, *way) for name, inner in document.items() for way in places_of(inner))]


def with_instead(document: Any, way: tuple[str, ...], value: Any) -> Any:
    if not way:
        return value
    return {**document, way[0]: with_instead(document[way[0]], way[1:], value)}


@pytest.mark.parametrize("path", ["answer", "draft", "save", "import"])
def test_a_draft_that_is_damaged_anywhere_is_a_sentence_and_changes_nothing(
    app: Flask, vehicle: WholeVehicle, path: str
) -> None:
    client = script(app)
    at_rest = client.get("/api/calibration").json
    draft, steps = at_rest["draft"]["calibration"], [step["id"] for step in at_rest["steps"] if step["field"]]
    before = store.load(vehicle.file)

    @settings(max_examples=60, **SAME_EACH_TIME)
    @given(
        way=st.sampled_from(places_of(draft)),
        value=ANY_JSON,
        step=st.sampled_from(steps),
        given=st.floats() | ANY_JSON,
    )
    def damage(way: tuple[str, ...], value: Any, step: str, given: Any) -> None:
        damaged = with_instead(draft, way, value)
        body = {
            "answer": {"draft": damaged, "step": step, "value": given},
            "draft": {"draft": damaged},
            "save": {"page": PAGE, "draft": damaged, "by": "Ben"},
            "import": {"text": json.dumps(damaged)},
        }[path]
        answer = client.post(
            f"/api/calibration/{path}", data=json.dumps(body), content_type="application/json"
        )
        assert answer.status_code in {200, 400, 413}
        if answer.status_code != 200:
            assert answer.json["error"].endswith((".", "?"))

    damage()
    if path != "save":
        assert store.load(vehicle.file) == before
