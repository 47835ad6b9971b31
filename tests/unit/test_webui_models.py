"""Policies over HTTP: real uploads through the real check, into a store of the test's own."""

import contextlib
import io
import json
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from flask.testing import FlaskClient
from werkzeug.exceptions import BadRequest, Conflict

from models.bundle import load_bundle
from models.store import PolicyStore
from models.store_intake import UPLOAD_LIMIT_BYTES
from tests.unit.store_files import add_one
from tests.unit.test_webui import ORIGIN, RecordingVehicle
from tests.unit.test_webui_server import run_dir, serving  # noqa: F401 - a fixture
from tests.unit.upload_files import BAD, METADATA, good
from tests.unit.webui_visitors import signed_in, signed_in_headers
from vehicle.messages import DriveState, RequestKind, Status
from webui import create_app
from webui.models import CLOCK_STEP_NS
from webui.uploads import Uploads, UploadState

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
    return signed_in(create_app(vehicle, store=store))


def put(browser: FlaskClient, name: str, content: bytes, **query: Any) -> Any:
    answer = browser.put(
        "/api/models", query_string={"name": name, "wait": 20, **query}, data=content, headers=FROM_HERE
    )
    assert answer.is_json
    return answer


def uploaded(browser: FlaskClient) -> list[str]:
    return [model["name"] for model in browser.get("/api/models").json["models"] if not model["built_in"]]


def until(fact: Callable[[], bool], timeout_s: float = 20.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not fact():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


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
    assert "allowed 300 MB" in answer.json["error"]
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
    kinds = [kind for kind, _ in vehicle.asked]
    assert kinds == [RequestKind.TAKE_LEASE, RequestKind.ACTIVATE_POLICY, RequestKind.RELEASE_LEASE]
    assert vehicle.asked[1][1]["policy"] == str(first.folder)

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


def test_what_was_removed_is_listed_until_it_is_put_back(browser: FlaskClient, store: PolicyStore) -> None:
    """After a reload, and in another tab, an undo is still there."""
    key = add_one(store, "a").key
    removed = browser.delete(f"/api/models/{key}", headers=FROM_HERE).json["removed"]
    listed = browser.get("/api/models").json["removed"]
    assert [(entry["removed"], entry["name"]) for entry in listed] == [(removed, "a")]
    browser.post(f"/api/models/{removed}/restore", headers=FROM_HERE)
    assert browser.get("/api/models").json["removed"] == []


def test_a_list_that_is_known_is_not_sent_again(
    browser: FlaskClient, store: PolicyStore, vehicle: LoadingVehicle, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = add_one(store, "a").key
    time.sleep(2 * CLOCK_STEP_NS / 1e9)  # so that the change is certainly seen
    reads: list[None] = []
    read_all = store.list
    monkeypatch.setattr(store, "list", lambda: reads.append(None) or read_all())

    def etag(known: str = "") -> str:
        answer = browser.get("/api/models", headers={"If-None-Match": known} if known else {})
        assert (answer.status_code == 304) is (answer.headers["ETag"] == known)
        return answer.headers["ETag"]

    first = etag()
    assert etag(first) == first
    assert len(reads) == 1
    PolicyStore(store.root).rename(key, "b")  # another process
    second = etag(first)
    assert second != first
    vehicle.state = DriveState.AUTONOMOUS
    assert etag(second) != second


def test_a_change_right_after_another_is_not_overlooked(browser: FlaskClient, store: PolicyStore) -> None:
    """The file system's clock has steps in which two changes look alike."""
    key = add_one(store, "a").key
    for name in ("b", "c", "d"):
        store.rename(key, name)
        assert uploaded(browser) == [name]


def test_the_list_has_what_its_drawings_need(browser: FlaskClient, store: PolicyStore) -> None:
    add_one(store, "a")
    models = {model["name"]: model for model in browser.get("/api/models").json["models"]}
    assert models["a"]["action_space"]["points"][0] == {"steering_deg": 30.0, "speed_mps": 1.0}
    assert models["plover"]["action_space"]["points"]
    assert models["straight"]["calibration_drive"]
    assert not models["plover"]["calibration_drive"]


def test_sixty_policies_are_listed_quickly(browser: FlaskClient, store: PolicyStore) -> None:
    for index in range(60):
        add_one(store, f"policy {index}")
    time.sleep(2 * CLOCK_STEP_NS / 1e9)
    assert len(uploaded(browser)) == 60
    started_s = time.process_time()
    for _ in range(10):
        browser.get("/api/models")
    took_s = (time.process_time() - started_s) / 10
    print(f"a list of 60 policies takes {took_s * 1e3:.1f} ms of processor time")
    assert took_s < 0.05


def test_the_sender_may_name_an_upload_to_follow_it(browser: FlaskClient) -> None:
    upload = "0123456789abcdef"
    assert put(browser, "a.zip", BAD["GIF"][1], id=upload).json["id"] == upload
    assert put(browser, "a.zip", BAD["GIF"][1], id=upload).status_code == 409
    assert put(browser, "a.zip", BAD["GIF"][1], id="../x").status_code == 400
    assert browser.get(f"/api/uploads/{upload}").json["file_name"] == "a.zip"
    assert browser.delete(f"/api/uploads/{upload}", headers=FROM_HERE).status_code == 200
    assert browser.get(f"/api/uploads/{upload}").status_code == 404  # forgotten: it was over


def test_whether_an_upload_fits_is_told_before_it(
    browser: FlaskClient, store: PolicyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert browser.get("/api/uploads/room?size_bytes=1000").json == {"error": "", "crowded": False}
    assert not store.root.exists()
    too_large = browser.get(f"/api/uploads/room?size_bytes={UPLOAD_LIMIT_BYTES + 1}").json
    assert "allowed 300 MB" in too_large["error"]
    monkeypatch.setattr(store, "_free_bytes", lambda: 1000)
    assert "free" in browser.get("/api/uploads/room?size_bytes=1000").json["error"]


def test_an_unknown_range_waits_for_its_owner_and_is_then_kept(
    browser: FlaskClient, store: PolicyStore
) -> None:
    content = good(metadata=METADATA.replace(b', "input": {"range": "0..255"}', b""))
    refused = put(browser, "bare.tar.gz", content).json
    assert refused["state"] == "refused"
    assert left_over(store) == []

    asked = put(browser, "bare.tar.gz", content, ask=1).json
    assert asked["state"] == "asking"
    assert set(asked["responses"]) == {"0..1", "0..255"}
    assert len(left_over(store)) == 1
    place = f"/api/uploads/{asked['id']}"
    assert (
        browser.post(f"{place}/input-range", json={"input_range": "0..7"}, headers=FROM_HERE).status_code
        == 400
    )
    chosen = {"json": {"input_range": "0..255"}, "headers": FROM_HERE}
    assert browser.post(f"{place}/input-range", **chosen).status_code == 200
    assert browser.get(f"{place}?wait=20").json["state"] == "done"
    assert browser.post(f"{place}/input-range", **chosen).status_code == 409
    assert left_over(store) == []


def test_a_question_that_is_taken_back_or_not_answered_leaves_nothing(store: PolicyStore) -> None:
    uploads = Uploads(store, LoadingVehicle(), choice_limit_s=0.3)
    content = good(metadata=METADATA.replace(b', "input": {"range": "0..255"}', b""))

    def ask() -> UploadState:
        with contextlib.ExitStack() as place:
            state = uploads.begin("bare.tar.gz", len(content))
            incoming = place.enter_context(store.begin())
            uploads.receive(state, incoming, io.BytesIO(content), None)
            uploads.start_check(state, incoming, place.pop_all(), input_range="", may_ask=True)
        return uploads.wait(state.id, 20.0)

    state = ask()
    assert state.state == "asking"
    uploads.take_back(state.id)
    until(lambda: state.state == "cancelled")
    assert left_over(store) == []

    state = ask()
    until(lambda: state.state == "refused")
    assert "which values its input" in state.error
    assert left_over(store) == []


def test_an_upload_taken_back_while_it_comes_is_cancelled(store: PolicyStore) -> None:
    uploads = Uploads(store, LoadingVehicle())
    state = uploads.begin("swift.zip", 1000)
    uploads.take_back(state.id)
    with store.begin() as incoming, pytest.raises(Conflict):
        uploads.receive(state, incoming, io.BytesIO(bytes(1000)), None)
    assert state.state == "cancelled"
    assert left_over(store) == []


def test_a_sender_who_falls_silent_loses_the_place(
    store: PolicyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webui.uploads.SILENCE_LIMIT_S", 0.05)
    uploads = Uploads(store, LoadingVehicle())
    near, far = socket.socketpair()
    with near, far, near.makefile("rb") as stream, store.begin() as incoming:
        far.sendall(b"half")
        state = uploads.begin("swift.zip", 1000)
        with pytest.raises(BadRequest):
            uploads.receive(state, incoming, stream, near)
        assert near.gettimeout() is None
    assert state.state == "refused"


def test_a_policy_that_ships_is_measured_when_somebody_asks(
    browser: FlaskClient, vehicle: LoadingVehicle, store: PolicyStore
) -> None:
    assert browser.get("/api/models/straight").json["measuring"] is None
    vehicle.state = DriveState.AUTONOMOUS
    assert browser.post("/api/models/straight/measure", headers=FROM_HERE).status_code == 200
    until(lambda: "car stops" in browser.get("/api/models/straight").json["measuring"]["stage"])
    vehicle.state = DriveState.DISARMED
    until(lambda: browser.get("/api/models/straight").json["report"] is not None)
    report = browser.get("/api/models/straight").json["report"]
    assert report["infer_p99_ms"] > 0
    assert report["responses"]
    listed = next(model for model in browser.get("/api/models").json["models"] if model["key"] == "straight")
    assert listed["policy_hash"] == load_bundle("straight").sha256
    assert left_over(store) == []


def test_the_pictures_of_the_check_are_sent(browser: FlaskClient) -> None:
    picture = browser.get("/api/check-pictures/0.jpg")
    assert picture.data.startswith(b"\xff\xd8")
    assert browser.get("/api/check-pictures/15.jpg").data != picture.data
    assert browser.get("/api/check-pictures/16.jpg").status_code == 404


def test_int8_is_shown_where_it_was_made(browser: FlaskClient, store: PolicyStore) -> None:
    entry = add_one(store)
    assert browser.get(f"/api/models/{entry.key}").json["int8"] is None
    speed = {"float_p50_ms": 2.2, "float_p99_ms": 3.0, "int8_p50_ms": 1.0, "int8_p99_ms": 1.5}
    report = {
        "accepted": True,
        "chosen": True,
        "policy_sha256": entry.key,
        "machine": {"processor": "another", "cores": 2, "onnxruntime": "1"},
        "trials": [{"recipe": "x", "speed": speed, "objections": []}],
    }
    (entry.folder / "int8.json").write_text(json.dumps(report))
    assert browser.get(f"/api/models/{entry.key}").json["int8"] == {
        "accepted": True,
        "chosen": True,
        "made_here": False,
        "float_ms": 2.2,
        "int8_ms": 1.0,
        "objections": [],
    }


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
        origin, visitor = address.rstrip("/"), signed_in_headers()

        def send(name: str, content: bytes) -> tuple[int, Any]:
            request = urllib.request.Request(
                f"{address}api/models?name={name}&wait=20",
                data=content,
                method="PUT",
                headers={"Origin": origin, "Content-Type": "application/octet-stream", **visitor},
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
