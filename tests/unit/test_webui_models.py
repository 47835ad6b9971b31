"""Policies over HTTP: real uploads through the real check, into a store of the test's own."""

import io
import json
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from flask.testing import FlaskClient

from models.store import PolicyStore
from models.store_intake import UPLOAD_LIMIT_BYTES
from tests.unit.store_files import add_one
from tests.unit.test_webui import ORIGIN, RecordingVehicle
from tests.unit.test_webui_server import run_dir, serving  # noqa: F401 - a fixture
from tests.unit.upload_files import BAD, good
from vehicle.messages import DriveState, RequestKind, Status
from webui import create_app

FROM_HERE = {"Origin": ORIGIN}


class LoadingVehicle(RecordingVehicle):
    """Loads what it is asked to, or says why not."""

    def __init__(self) -> None:
        super().__init__()
        self.fails = ""
        self.ticks = 0

    def wait_status(self, accept: Callable[[Status], bool], timeout_s: float) -> Status | None:
        for _ in range(3):
            status = self.status()
            if status is None:
                return None
            self.ticks += 1
            loaded = [fields["policy"] for kind, fields in self.asked if kind is RequestKind.ACTIVATE_POLICY]
            is_store = bool(loaded) and len(Path(loaded[-1]).name) == 64
            fields = {"now_ns": self.ticks, "policy_note": self.fails}
            if loaded and not self.fails:
                fields |= {"policy": Path(loaded[-1]).name}
                fields |= {"policy_hash": Path(loaded[-1]).name if is_store else "f" * 64}
            status = msgspec.structs.replace(status, **fields)
            if accept(status):
                return status
        return None


@pytest.fixture
def vehicle() -> LoadingVehicle:
    return LoadingVehicle()


@pytest.fixture
def store(tmp_path: Path) -> PolicyStore:
    return PolicyStore(tmp_path / "models")


@pytest.fixture
def browser(vehicle: LoadingVehicle, store: PolicyStore) -> FlaskClient:
    return create_app(vehicle, store=store).test_client()


def put(browser: FlaskClient, name: str, content: bytes, **query: Any) -> Any:
    answer = browser.put(
        "/api/models", query_string={"name": name, "wait": 20, **query}, data=content, headers=FROM_HERE
    )
    assert answer.is_json
    return answer


def uploaded(browser: FlaskClient) -> list[str]:
    return [model["name"] for model in browser.get("/api/models").json["models"] if not model["built_in"]]


def left_over(store: PolicyStore) -> list[Path]:
    return list((store.root / "incoming").iterdir())


def test_an_upload_is_checked_listed_shown_and_comes_back(browser: FlaskClient, store: PolicyStore) -> None:
    content = good()
    answer = put(browser, "../my swift.tar.gz", content)
    assert answer.status_code == 201
    model = answer.json["model"]
    assert model["name"] == "my swift"
    assert uploaded(browser) == ["my swift"]
    assert browser.get(f"/api/models/{model['key']}").json["report"]["layers"]
    with browser.get(f"/api/models/{model['key']}/original") as original:
        assert original.data == content
        assert "my swift.tar.gz" in original.headers["Content-Disposition"]
    assert left_over(store) == []


@pytest.mark.parametrize("sort", sorted(BAD))
def test_a_bad_upload_is_a_sentence_and_leaves_nothing(
    browser: FlaskClient, store: PolicyStore, sort: str
) -> None:
    answer = put(browser, *BAD[sort])
    assert answer.status_code in {400, 422}
    assert len(answer.json["error"]) > 30
    assert "mistake of ours" not in answer.json["error"]
    assert uploaded(browser) == []
    assert left_over(store) == []


def test_while_the_car_is_armed_uploads_wait_and_can_be_taken_back(
    browser: FlaskClient, vehicle: LoadingVehicle, store: PolicyStore
) -> None:
    vehicle.state = DriveState.AUTONOMOUS
    answer = put(browser, "swift.tar.gz", good(), wait=0.5)
    assert answer.status_code == 202
    upload = answer.json["id"]
    assert answer.json["stage"] == "the check starts when the car stops"
    assert browser.delete(f"/api/uploads/{upload}", headers=FROM_HERE).status_code == 200
    ended = browser.get(f"/api/uploads/{upload}?wait=5").json
    assert ended["state"] == "cancelled"
    assert left_over(store) == []

    waiting = put(browser, "swift.tar.gz", good(), wait=0.3).json["id"]
    vehicle.state = DriveState.DISARMED
    assert browser.get(f"/api/uploads/{waiting}?wait=20").json["state"] == "done"


@pytest.mark.parametrize(
    ("query", "status"),
    [({"name": ""}, 400), ({"name": "x", "input_range": "0..7"}, 400)],
)
def test_a_bad_question_is_refused(browser: FlaskClient, query: dict[str, str], status: int) -> None:
    answer = browser.put("/api/models", query_string=query, data=b"x", headers=FROM_HERE)
    assert answer.status_code == status
    assert answer.json["error"].endswith(".")


def test_too_large_is_refused_before_it_comes(browser: FlaskClient, store: PolicyStore) -> None:
    answer = browser.put(
        "/api/models?name=x.zip",
        input_stream=io.BytesIO(b""),
        headers=FROM_HERE,
        environ_overrides={"CONTENT_LENGTH": str(UPLOAD_LIMIT_BYTES + 1)},
    )
    assert answer.status_code == 413
    assert "allowed 315 MB" in answer.json["error"]
    assert not store.root.exists()


def test_a_connection_that_closes_early_leaves_nothing(browser: FlaskClient, store: PolicyStore) -> None:
    answer = browser.put(
        "/api/models?name=x.zip",
        input_stream=io.BytesIO(b"abc"),
        headers=FROM_HERE,
        environ_overrides={"CONTENT_LENGTH": "1000"},
    )
    assert answer.status_code == 400
    assert left_over(store) == []


def test_a_full_disk_is_told_before_the_upload(
    browser: FlaskClient, store: PolicyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_free_bytes", lambda: 1000)
    answer = put(browser, "swift.tar.gz", good())
    assert answer.status_code == 507
    assert "free" in answer.json["error"]
    assert left_over(store) == []


def test_activation_is_remembered_only_after_the_vehicle_has_loaded_it(
    browser: FlaskClient, vehicle: LoadingVehicle, store: PolicyStore
) -> None:
    first, second = add_one(store, "a"), add_one(store, "b")
    answer = browser.post(f"/api/models/{first.key}/activate", headers=FROM_HERE)
    assert answer.status_code == 200
    assert answer.json["loaded"]
    assert vehicle.asked[-1][1]["policy"] == str(first.folder)

    vehicle.fails = "b has no network"
    answer = browser.post(f"/api/models/{second.key}/activate", headers=FROM_HERE)
    assert answer.status_code == 409
    assert "b has no network" in answer.json["error"]

    vehicle.fails = ""
    vehicle.refusals[RequestKind.ACTIVATE_POLICY] = "the car is autonomous; disarm first"
    answer = browser.post(f"/api/models/{second.key}/activate", headers=FROM_HERE)
    assert answer.status_code == 409
    active = store.active()
    assert active is not None
    assert active.key == first.key


def test_rename_remove_and_undo(browser: FlaskClient, vehicle: LoadingVehicle, store: PolicyStore) -> None:
    key = add_one(store, "a").key
    renamed = browser.patch(f"/api/models/{key}", json={"name": "b\n<script>"}, headers=FROM_HERE)
    assert renamed.json["name"] == "b <script>"
    removed = browser.delete(f"/api/models/{key}", headers=FROM_HERE).json["removed"]
    assert uploaded(browser) == []
    assert browser.post(f"/api/models/{removed}/restore", headers=FROM_HERE).status_code == 200
    assert uploaded(browser) == ["b <script>"]
    assert browser.delete("/api/models/plover", headers=FROM_HERE).status_code == 409


@pytest.mark.parametrize("key", ["nobody", "f" * 64, ".."])
def test_unknown_policies_are_404(browser: FlaskClient, key: str) -> None:
    assert browser.get(f"/api/models/{key}").status_code == 404
    assert browser.post(f"/api/models/{key}/activate", headers=FROM_HERE).status_code in {404, 405}


def test_a_change_from_elsewhere_is_refused(browser: FlaskClient, store: PolicyStore) -> None:
    key = add_one(store).key
    for method, path in [
        ("PUT", ""),
        ("DELETE", f"/{key}"),
        ("PATCH", f"/{key}"),
        ("POST", f"/{key}/activate"),
    ]:
        answer = browser.open("/api/models" + path, method=method, headers={"Origin": "http://evil.example"})
        assert answer.status_code == 403
    assert uploaded(browser) == ["swift"]


def test_the_real_server_takes_a_good_and_a_bad_upload(
    run_dir: Path,  # noqa: F811 - the fixture
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LAPWING_HOME", str(tmp_path))
    with serving(run_dir) as (_, address):
        origin = address.rstrip("/")

        def send(name: str, content: bytes) -> tuple[int, Any]:
            request = urllib.request.Request(
                f"{address}api/models?name={name}&wait=20",
                data=content,
                method="PUT",
                headers={"Origin": origin, "Content-Type": "application/octet-stream"},
            )
            try:
                with urllib.request.urlopen(request, timeout=60) as answer:
                    return answer.status, json.loads(answer.read())
            except urllib.error.HTTPError as error:
                with error:
                    return error.code, json.loads(error.read())

        assert send("swift.tar.gz", good())[0] == 201
        status, document = send("swift.onnx", BAD["GIF"][1])
        assert status == 422
        assert len(document["error"]) > 30
    assert list((tmp_path / "models" / "incoming").iterdir()) == []
