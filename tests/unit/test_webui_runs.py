"""Recorded runs over HTTP: what is listed, drawn, shown, kept and removed, and by whom."""

import contextlib
import csv
import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
import zmq
from flask import Flask
from flask.testing import FlaskClient

from tests.unit.run_files import WALL_NS, StatedRecorder, make_run, shelf_of, steering_at
from tests.unit.still_car import status_with
from tests.unit.test_webui import ORIGIN, RecordingVehicle
from tests.unit.webui_visitors import signed_in, watcher
from vehicle.messages import DriveState, Status
from vehicle.recorder_status import STATUS, RecorderStatus
from vehicle.runs import KEPT_AWAY_S, RunShelf
from webui import create_app
from webui.recording import (
    DEAF_S,
    Recorder,
    RecorderFollower,
    Recording,
    RecordingDocument,
    WatchedRecorder,
    document_of,
)
from webui.run_films import FilmState, RunFilms

FROM_HERE = {"Origin": ORIGIN}
HOUR_NS = 3600 * 10**9


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recorded")
    make_run(folder, 7.0)
    make_run(folder, 7.0, wall_ns=WALL_NS + HOUR_NS, fault_s=5.0)
    make_run(folder, 2.0, wall_ns=WALL_NS + 2 * HOUR_NS, truth=False, pictures=False)
    return folder


@pytest.fixture
def shelf(recorded: Path, tmp_path: Path) -> RunShelf:
    """A shelf of three runs, whose files this test may remove."""
    return shelf_of(recorded, tmp_path / "runs")


@pytest.fixture
def app(shelf: RunShelf) -> Flask:
    return create_app(RecordingVehicle(), shelf=shelf, recorder=StatedRecorder())


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return signed_in(app)


def names(client: FlaskClient) -> list[str]:
    return [run["name"] for run in client.get("/api/runs").json["runs"]]


def test_the_list_tells_each_run_newest_first(client: FlaskClient) -> None:
    document = client.get("/api/runs").json
    last, second, first = document["runs"]
    assert first["laps_s"] == [3.0, 3.0]
    assert first["best_lap_s"] == 3.0
    assert first["modes"] == ["autonomous"]
    assert second["latched_fault"] == "board silent"
    assert last["best_lap_s"] is None
    assert document["used_bytes"] == sum(run["size_bytes"] for run in document["runs"])
    assert document["recorder"]["state"] == "ready"


def test_the_list_is_sent_only_when_it_has_changed(client: FlaskClient) -> None:
    etag = client.get("/api/runs").headers["ETag"]
    assert client.get("/api/runs", headers={"If-None-Match": etag}).status_code == 304
    name = names(client)[0]
    client.post(f"/api/runs/{name}/star", json={"starred": True}, headers=FROM_HERE)
    again = client.get("/api/runs", headers={"If-None-Match": etag})
    assert again.status_code == 200
    assert again.json["runs"][0]["starred"]


def test_a_run_tells_its_laps_faults_and_states_with_their_times(client: FlaskClient) -> None:
    document = client.get(f"/api/runs/{names(client)[1]}").json
    assert [(lap["since_s"], lap["until_s"]) for lap in document["laps"]] == [
        (pytest.approx(0.0, abs=0.05), pytest.approx(3.0, abs=0.05)),
        (pytest.approx(3.0, abs=0.05), pytest.approx(6.0, abs=0.05)),
    ]
    faults = [event for event in document["events"] if event["kind"] == "fault"]
    assert [(event["words"], event["t_s"]) for event in faults] == [("board silent", pytest.approx(5.0))]
    assert [span["state"] for span in document["states"]][:3] == ["arming", "autonomous", "failsafe"]
    assert document["has_truth"]
    assert document["has_pictures"]
    assert document["track"]["outer"][0] == pytest.approx([1.2, 0.0])
    assert client.get(f"/api/runs/{names(client)[0]}").json["track"] is None


def test_curves_are_drawn_for_the_part_that_is_asked_for(client: FlaskClient) -> None:
    path = f"/api/runs/{names(client)[2]}/curves"
    part = client.get(path, query_string={"since_s": 2, "until_s": 3, "buckets": 10}).json
    assert part["curves"]["t_s"] == pytest.approx([2.05 + 0.1 * number for number in range(10)])
    assert part["curves"]["steering"]["low"][4] == pytest.approx(steering_at(2.45), abs=0.04)
    assert 2.0 <= min(part["line"]["t_s"]) <= max(part["line"]["t_s"]) <= 3.03
    assert np.hypot(part["line"]["x_m"], part["line"]["y_m"]) == pytest.approx(1.0, abs=0.002)
    for query in ({"buckets": 0}, {"buckets": 2001}, {"since_s": "nan"}, {"until_s": -1}):
        assert client.get(path, query_string=query).status_code == 400
    without = client.get(f"/api/runs/{names(client)[0]}/curves").json
    assert without["line"] is None
    assert without["curves"]["speed_mps"] is None


def test_a_picture_comes_with_what_the_car_did_then(client: FlaskClient) -> None:
    path = f"/api/runs/{names(client)[2]}/picture"
    seen = {}
    for t_s in (1.0, 4.0, 1e6):
        answer = client.get(path, query_string={"t_s": t_s})
        assert answer.mimetype == "image/jpeg"
        moment = msgspec.json.decode(answer.headers["Lapwing-Moment"])
        image = cv2.imdecode(np.frombuffer(answer.data, np.uint8), cv2.IMREAD_GRAYSCALE)
        seen[t_s] = (image.mean(), moment["steering_frac"])
    assert seen[4.0][0] - seen[1.0][0] == pytest.approx(150, abs=3)
    assert seen[4.0][1] == pytest.approx(steering_at(4.0), abs=1e-6)
    blind = client.get(f"/api/runs/{names(client)[0]}/picture", query_string={"t_s": 1})
    assert blind.status_code == 204
    assert msgspec.json.decode(blind.headers["Lapwing-Moment"])["state"] == "autonomous"
    assert client.get(path, query_string={"t_s": "inf"}).status_code == 400


def test_a_run_is_taken_along_as_file_and_as_table(client: FlaskClient, shelf: RunShelf) -> None:
    name = names(client)[2]
    whole = shelf.find(name).read_bytes()
    with client.get(f"/api/runs/{name}/run.mcap") as answer:
        assert answer.data == whole
    with client.get(f"/api/runs/{name}/run.mcap", headers={"Range": "bytes=10-19"}) as part:
        assert (part.status_code, part.data) == (206, whole[10:20])
    table = client.get(f"/api/runs/{name}/run.csv")
    assert f'filename="{name}.csv"' in table.headers["Content-Disposition"]
    lines = list(csv.DictReader(io.StringIO(table.text)))
    assert len(lines) == shelf.summary(name).ticks
    assert {line["state"] for line in lines} == {"arming", "autonomous", "disarmed"}


def test_a_removed_run_can_be_put_back_for_ten_minutes(client: FlaskClient, shelf: RunShelf) -> None:
    name = names(client)[2]
    client.post(f"/api/runs/{name}/star", json={"starred": True}, headers=FROM_HERE)
    assert client.delete(f"/api/runs/{name}", headers=FROM_HERE).status_code == 200
    assert name not in names(client)
    assert client.get(f"/api/runs/{name}").status_code == 404
    assert client.get("/api/runs").json["removed"] == [name]
    assert client.post(f"/api/runs/{name}/restore", headers=FROM_HERE).status_code == 200
    assert shelf.is_starred(name)
    assert client.get(f"/api/runs/{name}").status_code == 200

    client.delete(f"/api/runs/{name}", headers=FROM_HERE)
    with _ten_minutes_later():
        assert client.get("/api/runs").json["removed"] == []
    assert client.post(f"/api/runs/{name}/restore", headers=FROM_HERE).status_code == 404
    assert not list(shelf.folder.rglob(f"{name}*"))


@contextlib.contextmanager
def _ten_minutes_later() -> Iterator[None]:
    now_s = time.time
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vehicle.runs.time.time", lambda: now_s() + KEPT_AWAY_S + 1)
        yield


def test_a_watcher_looks_and_changes_nothing(app: Flask, shelf: RunShelf) -> None:
    watching = watcher(app)
    name = names(watching)[2]
    for path in ("", "/curves", "/picture", "/run.mcap", "/run.csv"):
        with watching.get(f"/api/runs/{name}{path}") as answer:
            assert answer.status_code == 200
    assert watching.delete(f"/api/runs/{name}", headers=FROM_HERE).status_code == 403
    for path in ("star", "restore"):
        refused = watching.post(f"/api/runs/{name}/{path}", json={"starred": True}, headers=FROM_HERE)
        assert refused.status_code == 403
    assert len(shelf.runs()) == 3
    assert not shelf.is_starred(name)
    assert b"Discard" not in watching.get("/runs").data


def test_a_film_is_made_in_a_process_of_its_own_and_taken_along(
    app: Flask, client: FlaskClient, shelf: RunShelf
) -> None:
    name = make_run(shelf.folder, 1.0, wall_ns=WALL_NS - HOUR_NS).name
    path = f"/api/runs/{name}"
    assert client.get(f"{path}/run.webm").status_code == 404
    assert watcher(app).post(f"{path}/film", headers=FROM_HERE).status_code == 403
    assert client.post(f"{path}/film", headers=FROM_HERE).json["state"] == "making"
    other = client.post(f"/api/runs/{names(client)[1]}/film", headers=FROM_HERE)
    assert other.status_code == 409
    film = _film_when_done(client, path)
    assert film["state"] == "ready", film["error"]
    with client.get(f"{path}/run.webm") as answer:
        assert answer.data[:4] == b"\x1a\x45\xdf\xa3"  # of Matroska and WebM
    blind = f"/api/runs/{names(client)[0]}"
    client.post(f"{blind}/film", headers=FROM_HERE)
    assert "has no pictures" in _film_when_done(client, blind)["error"]
    client.delete(path, headers=FROM_HERE)
    assert not list(shelf.folder.glob(f"{name}*"))


def _film_when_done(client: FlaskClient, path: str) -> dict[str, str]:
    deadline_s = time.monotonic() + 60
    while time.monotonic() < deadline_s:
        film = client.get(f"{path}/film").json
        if film["state"] != "making":
            return dict(film)
        time.sleep(0.1)
    raise AssertionError("the film was not made in a minute")


def test_a_film_rests_while_the_car_moves(shelf: RunShelf) -> None:
    vehicle = RecordingVehicle()
    vehicle.state = DriveState.AUTONOMOUS
    films = RunFilms(vehicle)
    run = shelf.find(make_run(shelf.folder, 1.0, wall_ns=WALL_NS - HOUR_NS).name)
    films.begin(run)
    _until(lambda: films.document(run).rests)
    time.sleep(0.3)
    assert films.document(run).state is FilmState.MAKING
    vehicle.state = DriveState.DISARMED
    _until(lambda: films.document(run).state is not FilmState.MAKING)
    assert films.document(run).state is FilmState.READY


def _until(fact: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 60
    while not fact() and time.monotonic() < deadline_s:
        time.sleep(0.05)
    assert fact()


def test_a_name_is_never_a_path(client: FlaskClient, shelf: RunShelf) -> None:
    (shelf.folder.parent / "secret.mcap").write_bytes(b"secret")
    for name in ("..%2fsecret", "secret", "%2e%2e", "2026-01-01_00-00-00", "last%00"):
        for path in ("", "/picture", "/run.mcap", "/curves"):
            assert client.get(f"/api/runs/{name}{path}").status_code in {404, 308}
        assert client.delete(f"/api/runs/{name}", headers=FROM_HERE).status_code in {404, 405}
    assert len(shelf.runs()) == 3


def test_a_damaged_run_is_told_and_the_others_stay(client: FlaskClient, shelf: RunShelf) -> None:
    name = names(client)[1]
    data = shelf.find(name).read_bytes()
    shelf.find(name).unlink()
    (shelf.folder / f"{name}.mcap").write_bytes(data[: len(data) // 2])
    assert len(names(client)) == 3
    answer = client.get(f"/api/runs/{name}")
    assert answer.status_code == 404
    assert "not a whole run" in answer.json["error"]
    assert client.get(f"/api/runs/{names(client)[2]}").status_code == 200


def test_a_run_that_was_cut_off_is_listed_at_once_and_made_whole_by_whoever_looks(
    client: FlaskClient, shelf: RunShelf
) -> None:
    """No recorder runs here: the one that wrote it was killed and does not come back."""
    name = names(client)[1]
    path = shelf.find(name)
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    for file in (path, path.with_suffix(".json")):
        file.unlink()

    row = client.get("/api/runs").json["runs"][1]
    assert (row["name"], row["is_mending"], row["is_complete"]) == (name, True, False)
    assert row["started_wall_ns"] == WALL_NS + HOUR_NS
    assert client.get(f"/api/runs/{name}").status_code == 404
    _until(lambda: not client.get("/api/runs").json["runs"][1]["is_mending"])
    row = client.get("/api/runs").json["runs"][1]
    assert row["note"].startswith("cut off")
    assert row["laps_s"] == [3.0]
    assert row["modes"] == ["autonomous"]
    run = client.get(f"/api/runs/{name}").json
    assert 3.0 < run["seconds"] < 7.0
    assert run["track"] is not None


def test_what_the_recorder_says_is_passed_on_loudly_or_quietly() -> None:
    assert document_of(RecorderStatus("", 0, "")).state is Recording.READY
    recording = document_of(RecorderStatus("2026-01-01_00-00-00", 5, ""))
    assert (recording.state, recording.size_bytes) == (Recording.RECORDING, 5)
    full = document_of(RecorderStatus("", 0, "not recording: the disk is nearly full; remove some runs"))
    assert full.state is Recording.NOT_RECORDING
    assert full.problem == "The disk is nearly full; remove some runs."


def test_a_recorder_that_falls_silent_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("webui.recording.AGE_LIMIT_S", 0.3)
    run_dir = tmp_path / "r"
    run_dir.mkdir()
    with zmq.Context() as context, context.socket(zmq.PUB) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        socket.bind(f"ipc://{run_dir / STATUS}")
        follower = RecorderFollower(run_dir)
        assert follower.document().state is Recording.STARTING
        deadline_s = time.monotonic() + 10
        while follower.document().state is Recording.STARTING and time.monotonic() < deadline_s:
            socket.send(b"of another version")
            socket.send(msgspec.msgpack.encode(RecorderStatus("", 0, "")))
            time.sleep(0.02)
        assert _reaches(follower, Recording.NOT_RECORDING)
        follower.close()


def test_a_drive_of_which_the_recorder_hears_nothing_is_told() -> None:
    """Its records are of another version, say: it drops them all, and is ready for the next drive."""
    stated, now_s = StatedRecorder(), 0.0
    car: list[Status | None] = [status_with(state=DriveState.AUTONOMOUS)]
    watched = WatchedRecorder(stated, lambda: car[0], lambda: now_s)

    def looked(seconds: float) -> list[Recording]:
        nonlocal now_s
        shown = []
        for _ in range(round(seconds * 4)):
            now_s += 0.25
            shown.append(watched.document().state)
        return shown

    assert set(looked(DEAF_S + 0.25)) == {Recording.READY}  # the drive has just begun
    assert set(looked(1.0)) == {Recording.NOT_RECORDING}
    assert "the recorder hears nothing of it" in watched.document().problem
    stated.said = RecordingDocument(Recording.RECORDING, "2026-01-01_00-00-00", 5)
    assert set(looked(5.0)) == {Recording.RECORDING}
    stated.said = RecordingDocument(Recording.READY)
    for state in (DriveState.DISARMED, DriveState.FAILSAFE, None):  # what follows a run that was closed
        car[0] = status_with(state=state) if state else None
        assert set(looked(5.0)) == {Recording.READY}
    car[0] = status_with(state=DriveState.MANUAL)
    looked(2.0)
    now_s += 60.0  # nobody looked: two drives may have begun and ended
    assert watched.document().state is Recording.READY


def test_the_pages_compare_the_recorder_with_the_car(
    shelf: RunShelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    vehicle = RecordingVehicle()
    client = signed_in(create_app(vehicle, shelf=shelf, recorder=StatedRecorder()))
    assert client.get("/api/runs").json["recorder"]["state"] == "ready"
    monkeypatch.setattr("webui.recording.DEAF_S", -1.0)
    vehicle.state = DriveState.AUTONOMOUS
    for document in (client.get("/api/runs").json, client.get("/api/status").json):
        assert document["recorder"]["state"] == "not recording"


def _reaches(recorder: Recorder, state: Recording) -> bool:
    deadline_s = time.monotonic() + 10
    while recorder.document().state is not state and time.monotonic() < deadline_s:
        time.sleep(0.02)
    return recorder.document().state is state
