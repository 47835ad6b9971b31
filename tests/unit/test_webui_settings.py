"""Settings over HTTP: one truth of their bounds, nothing weaker by accident, nothing while the car drives."""

import io
import re
import zipfile
from collections.abc import Iterator
from importlib import metadata
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import msgspec
import pytest
from flask import Flask
from flask.testing import FlaskClient
from test_webui import RecordingVehicle

from tests.unit.webui_visitors import PASSWORD_HASH, script, signed_in, store_of, watcher
from vehicle.config import (
    CarConfig,
    FailsafeConfig,
    config_digest,
    field_bounds,
    followed_quota,
    read_config,
)
from vehicle.messages import CameraLocks, DriveState, RequestKind, Status
from vehicle.runs import RunShelf
from webui import create_app, system_report
from webui.car_logs import CarLogs
from webui.describing import undescribed
from webui.settings import suggestions
from webui.settings_words import FIELDS
from webui.webhook import Webhook

PAGE = "0123456789abcdef" * 2
WRITTEN = """\
# Blue. token = "b1ue-is-secret"
name = "blue"

[failsafe]
lease_autonomous_s = 2.0  # a long hall
"""
LOG = """\
INFO sign in by http://127.0.0.1:8080/sign-in?link=Sup3rS3cret
INFO set-up code ABCD-EF12
"""


class DigestingVehicle(RecordingVehicle):
    """Was started with settings that a test names."""

    digest = ""
    locks = CameraLocks()

    def status(self) -> Status | None:
        status = super().status()
        return status and msgspec.structs.replace(
            status, camera_locks=self.locks, config_digest=self.digest, driver="page 1234", driver_name="Anna"
        )


@pytest.fixture
def vehicle() -> DigestingVehicle:
    return DigestingVehicle()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "car.toml"
    path.write_text(WRITTEN)
    return path


@pytest.fixture
def app(vehicle: DigestingVehicle, path: Path) -> Flask:
    logs = path.parent / "log"
    logs.mkdir()
    (logs / "vehicle.log").write_text(LOG)
    return create_app(vehicle, config_file=path, logs=CarLogs(logs))


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return signed_in(app)


def post(client: FlaskClient, path: str, body: dict[str, object]) -> Any:
    return client.post(path, json=body, headers={"Origin": "http://localhost"})


def save(client: FlaskClient, changes: dict[str, object], **fields: object) -> Any:
    revision = client.get("/api/settings").json["revision"]
    return post(client, "/api/settings", {"changes": changes, "revision": revision, **fields})


def test_what_may_be_is_what_the_file_is_checked_by(client: FlaskClient) -> None:
    page = client.get("/settings").get_data(as_text=True)
    told = {field["name"]: field for field in client.get("/api/settings").json["fields"]}

    assert set(told) == set(FIELDS)
    for name, field in FIELDS.items():
        bounds = field_bounds(name)
        assert told[name]["bounds"]["lowest"] == bounds.lowest
        if bounds.lowest is not None:
            assert bounds.highest is not None
            lowest, highest = bounds.lowest * field.scale, bounds.highest * field.scale
            assert re.search(f'name="{name}"[^>]*min="{lowest:g}" max="{highest:g}"', page), name
    assert told["failsafe.lease_autonomous_s"]["value"] == 2.0
    assert not told["failsafe.lease_autonomous_s"]["is_shipped"]
    assert told["failsafe.host_stall_s"]["is_shipped"]


def test_every_failsafe_time_is_there_and_says_what_a_weaker_one_would_mean() -> None:
    names = {f"failsafe.{name}" for name in FailsafeConfig.__struct_fields__}
    assert names <= set(FIELDS)
    for name in names:
        field, bounds = FIELDS[name], field_bounds(name)
        weakest, strongest = bounds.highest, bounds.lowest
        if field.weaker == "lower":
            weakest, strongest = strongest, weakest
        assert len(field.weakens(weakest, bounds.default)) > 40, name
        assert field.weakens(strongest, bounds.default) == "", name
        assert field.weakens(bounds.default, bounds.default) == "", name


def test_what_is_saved_keeps_the_comments_and_is_in_the_file(client: FlaskClient, path: Path) -> None:
    answer = save(client, {"control.rate_hz": 20.0, "failsafe.lease_autonomous_s": None})

    assert answer.status_code == 200
    config = read_config(path)
    assert (config.control.rate_hz, config.failsafe) == (20.0, FailsafeConfig())
    assert "# Blue" in path.read_text()
    assert client.get("/api/settings").json["revision"] == answer.json["revision"]


def test_a_weaker_failsafe_is_saved_only_by_somebody_who_was_told_what_it_means(
    client: FlaskClient, path: Path
) -> None:
    changes: dict[str, object] = {"failsafe.lease_autonomous_s": 2.5, "name": "navy"}
    weighed = post(client, "/api/settings/weigh", {"changes": changes, "revision": ""}).json["weaker"]
    assert [each["name"] for each in weighed] == ["failsafe.lease_autonomous_s"]
    assert "2.5 s, not 2 s: 1.00 m farther" in weighed[0]["meaning"]

    refused = save(client, changes)
    assert (refused.status_code, refused.json["error"]) == (409, weighed[0]["meaning"])
    assert path.read_text() == WRITTEN

    assert save(client, changes, accepted=["failsafe.lease_autonomous_s"]).status_code == 200
    assert read_config(path).failsafe.lease_autonomous_s == 2.5


def test_going_back_to_the_shipped_value_may_be_weaker_too(client: FlaskClient, path: Path) -> None:
    assert save(client, {"failsafe.frame_overdue_s": 0.05}).status_code == 200

    assert save(client, {"failsafe.frame_overdue_s": None}).status_code == 409


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({"failsafe.frame_overdue_s": 0.5}, 409, "0.02 to 0.2"),
        ({"control.rate_hz": 500}, 409, "5 to 120"),
        ({"name": ""}, 409, "1 to 40 characters"),
        ({"page.http": True}, 400, "no setting 'page.http'"),
        ({"nothing": 1}, 400, "no setting 'nothing'"),
        ({}, 400, "length"),
        ({"board.driver": ["a"]}, 400, "not what is expected"),
    ],
)
def test_what_may_not_be_changes_nothing(
    client: FlaskClient, path: Path, changes: dict[str, object], status: int, words: str
) -> None:
    answer = save(client, changes, accepted=["failsafe.frame_overdue_s"])

    assert answer.status_code == status
    assert words in answer.json["error"]
    assert path.read_text() == WRITTEN


def test_a_file_changed_by_hand_meanwhile_is_not_overwritten(client: FlaskClient, path: Path) -> None:
    body = {"changes": {"name": "navy"}, "revision": client.get("/api/settings").json["revision"]}
    path.write_text(WRITTEN + "# by hand\n")

    answer = post(client, "/api/settings", body)

    assert answer.status_code == 409
    assert "meanwhile" in answer.json["error"]
    assert path.read_text().endswith("# by hand\n")


@pytest.mark.parametrize("state", DriveState)
def test_settings_are_saved_only_while_the_car_stands(
    client: FlaskClient, vehicle: DigestingVehicle, path: Path, state: DriveState
) -> None:
    vehicle.state = state

    saved = save(client, {"name": "navy"}).status_code == 200

    assert saved == (state in {DriveState.DISARMED, DriveState.FAILSAFE})
    assert saved == (path.read_text() != WRITTEN)


def test_the_settings_of_a_vehicle_that_does_not_start_can_be_put_right(
    client: FlaskClient, vehicle: DigestingVehicle, path: Path
) -> None:
    vehicle.silent = True

    assert save(client, {"name": "navy"}).status_code == 200
    assert client.get("/api/settings").json["needs_restart"] is None


def test_a_file_that_cannot_be_understood_is_named_and_left_alone(client: FlaskClient, path: Path) -> None:
    path.write_text("[failsafe]\nframe_overdue_s = 9\n")

    document = client.get("/api/settings").json

    assert "line 2" in document["problem"]
    assert save(client, {"name": "navy"}).status_code == 409
    assert path.read_text() == "[failsafe]\nframe_overdue_s = 9\n"


def test_a_car_without_a_file_of_settings_says_so(vehicle: DigestingVehicle) -> None:
    client = signed_in(create_app(vehicle))

    document = client.get("/api/settings").json
    assert (document["file"], document["needs_restart"]) == ("", False)  # nothing waits to be in effect
    assert 'id="no-file"' in client.get("/settings").text
    answer = save(client, {"name": "navy"})
    assert (answer.status_code, "--config car.toml" in answer.json["error"]) == (409, True)


def test_it_is_told_whether_the_car_goes_by_the_file(
    client: FlaskClient, vehicle: DigestingVehicle, path: Path
) -> None:
    vehicle.digest = config_digest(read_config(path))
    assert client.get("/api/settings").json["needs_restart"] is False

    save(client, {"control.rate_hz": 20.0})
    assert client.get("/api/settings").json["needs_restart"] is True


def test_a_restart_is_asked_for_as_the_driver_and_granted_by_the_vehicle(
    client: FlaskClient, vehicle: DigestingVehicle
) -> None:
    assert post(client, "/api/settings/restart", {"page": PAGE}).status_code == 200
    assert vehicle.kinds == [RequestKind.TAKE_LEASE, RequestKind.RESTART]

    vehicle.asked.clear()
    vehicle.refusals[RequestKind.RESTART] = "the car is autonomous; disarm first"
    answer = post(client, "/api/settings/restart", {"page": PAGE})
    assert (answer.status_code, answer.json["error"]) == (409, "The car is autonomous; disarm first.")
    assert vehicle.kinds[-1] is RequestKind.RELEASE_LEASE


def test_a_vehicle_that_could_not_start_again_is_left_running(
    client: FlaskClient, vehicle: DigestingVehicle, path: Path
) -> None:
    path.write_text("name = 3\n")

    assert post(client, "/api/settings/restart", {"page": PAGE}).status_code == 409
    assert vehicle.kinds == []


def tune(client: FlaskClient, **locks: object) -> Any:
    return post(client, "/api/camera/tune", {"page": PAGE, **locks})


def test_the_camera_is_tuned_at_once_and_nothing_is_saved_by_it(
    client: FlaskClient, vehicle: DigestingVehicle, path: Path
) -> None:
    assert tune(client, exposure_ms=2.5, gain=7).status_code == 200

    assert vehicle.kinds == [RequestKind.TAKE_LEASE, RequestKind.TUNE_CAMERA, RequestKind.RELEASE_LEASE]
    assert vehicle.asked[1][1]["camera"] == CameraLocks(2.5, 7, None)
    assert path.read_text() == WRITTEN


def test_a_refusal_of_the_vehicle_is_told_and_the_lease_is_let_go(
    client: FlaskClient, vehicle: DigestingVehicle
) -> None:
    vehicle.refusals[RequestKind.TUNE_CAMERA] = "the car is autonomous; disarm first"
    answer = tune(client)
    assert (answer.status_code, answer.json["error"]) == (409, "The car is autonomous; disarm first.")
    assert vehicle.kinds[-1] is RequestKind.RELEASE_LEASE

    vehicle.driver = "Anna"
    assert tune(client).status_code == 409
    assert vehicle.driver == "Anna"


@pytest.mark.parametrize(
    "locks",
    [{"exposure_ms": 0.05}, {"exposure_ms": 200}, {"gain": -1}, {"gain": 2.5}, {"white_balance_k": 99}],
)
def test_a_camera_is_tuned_within_the_bounds_of_its_settings(
    client: FlaskClient, vehicle: DigestingVehicle, locks: dict[str, object]
) -> None:
    assert tune(client, **locks).status_code == 400
    assert vehicle.kinds == []


def test_what_was_tried_and_not_saved_is_told(
    client: FlaskClient, vehicle: DigestingVehicle, path: Path
) -> None:
    assert client.get("/api/settings").json["is_camera_saved"]
    vehicle.locks = CameraLocks(2.5)
    document = client.get("/api/settings").json
    assert (document["camera"]["exposure_ms"], document["is_camera_saved"]) == (2.5, False)
    vehicle.digest = config_digest(read_config(path))

    assert save(client, {"camera.exposure_ms": 2.5}).status_code == 200
    document = client.get("/api/settings").json
    assert (document["is_camera_saved"], document["needs_restart"]) == (True, False)


CHANGES: list[tuple[str, dict[str, object]]] = [
    ("/api/settings", {"changes": {"name": "navy"}, "revision": ""}),
    ("/api/settings/restart", {"page": PAGE}),
    ("/api/camera/tune", {"page": PAGE, "gain": 3}),
]


@pytest.mark.parametrize(("address", "body"), CHANGES)
def test_only_those_who_may_drive_change_settings(
    app: Flask, vehicle: DigestingVehicle, path: Path, address: str, body: dict[str, object]
) -> None:
    assert post(app.test_client(), address, body).status_code == 401
    assert post(watcher(app), address, body).status_code == 403
    without_token = signed_in(app)
    del without_token.environ_base["HTTP_X_LAPWING_TOKEN"]
    assert post(without_token, address, body).status_code == 403
    assert (vehicle.kinds, path.read_text()) == ([], WRITTEN)


def test_watchers_see_the_settings_and_neither_log_nor_report(app: Flask) -> None:
    client = watcher(app)

    assert 'data-watching="yes"' in client.get("/settings").get_data(as_text=True)
    assert client.get("/api/log?part=vehicle").status_code == 403
    assert client.get("/api/report").status_code == 403


def test_the_log_is_told_without_its_secrets(client: FlaskClient) -> None:
    answer = client.get("/api/log?part=vehicle")

    assert answer.mimetype == "text/plain"
    text = answer.get_data(as_text=True)
    assert "sign in by" in text
    assert "Sup3rS3cret" not in text
    assert "ABCD-EF12" not in text
    assert client.get("/api/log?part=../car").status_code == 404
    assert client.get("/api/log").status_code == 400


def test_a_long_log_is_told_from_its_end(tmp_path: Path) -> None:
    (tmp_path / "web.log").write_text("".join(f"line {k}\n" for k in range(50_000)))

    said = CarLogs(tmp_path).tail("web").splitlines()

    assert said[-1] == "line 49999"
    assert re.fullmatch(r"line \d+", said[0])
    assert 1000 < len(said) < 50_000


def test_a_report_is_one_file_without_secrets_and_names(
    app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system_report, "_doctor", lambda: {"fit": True})

    answer = client.get("/api/report")

    assert answer.mimetype == "application/zip"
    assert re.search(r'filename="lapwing-report-[\d-]+\.zip"', answer.headers["Content-Disposition"])
    with zipfile.ZipFile(io.BytesIO(answer.get_data())) as archive:
        content = {name: archive.read(name).decode() for name in archive.namelist()}
    assert set(content) == {"READ-ME.txt", "report.json", "car.toml", "log-vehicle.txt"}
    report = msgspec.json.decode(content["report.json"])
    assert report["doctor"] == {"fit": True}
    assert "driver_name" not in report["status"]
    everything = "\n".join(content.values())
    for secret in ("Sup3rS3cret", "ABCD-EF12", "b1ue-is-secret", "Anna", "page 1234"):
        assert secret not in everything
    assert 'name = "blue"' in content["car.toml"]


def test_nothing_that_lets_somebody_in_reaches_a_report(
    app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(system_report, "_doctor", lambda: {"fit": True})
    store = store_of(app)
    cookie = client.environ_base["HTTP_COOKIE"].partition("=")[2]
    secrets = {
        "password": PASSWORD_HASH,
        "session": cookie,
        "link": store.make_view_link("a friend"),
        "key": store.make_key("a script"),
        "Wi-Fi": "old horse: staple",
    }
    said = "".join(f"WARNING web: {what} {secret} was refused\n" for what, secret in secrets.items())
    said = said.replace("Wi-Fi ", "psk: ")
    (tmp_path / "log" / "web.log").write_text(said)

    archive = zipfile.ZipFile(io.BytesIO(client.get("/api/report").get_data()))
    everything = "\n".join(archive.read(name).decode() for name in archive.namelist())

    assert "WARNING web: session [removed] was refused" in everything
    for what, secret in secrets.items():
        assert secret not in everything, what
    assert "horse" not in everything


def test_the_doctor_in_a_report_runs_apart() -> None:
    assert isinstance(system_report._doctor()["findings"], list)


def test_what_is_plugged_in_is_offered_without_opening_it(tmp_path: Path) -> None:
    by_id = "v4l/by-id/usb-Cam-video-index"
    for name in (f"{by_id}0", f"{by_id}1", "serial/by-id/usb-Board"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()

    offered = suggestions(tmp_path)

    assert offered["camera.source"] == [f"v4l2:{tmp_path}/v4l/by-id/usb-Cam-video-index0"]
    assert offered["board.port"] == [f"{tmp_path}/serial/by-id/usb-Board"]


def test_every_address_of_the_settings_is_described(app: Flask) -> None:
    assert undescribed(app) == []
    script(app)


def test_settings_begin_as_shipped() -> None:
    assert field_bounds("control.speed_cap_frac").default == CarConfig().control.speed_cap_frac


def test_the_page_says_which_version_runs(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(_: str) -> str:
        raise PackageNotFoundError

    installed = client.get("/settings").get_data(as_text=True)
    assert f"<dt>Lapwing</dt><dd>{metadata.version('lapwing')}</dd>" in installed
    monkeypatch.setattr("vehicle.version.importlib.metadata.version", unknown)
    assert "<dt>Lapwing</dt><dd>not installed</dd>" in client.get("/settings").get_data(as_text=True)


def test_how_much_the_runs_may_take_is_chosen_on_the_page_and_obeyed_at_once(
    app: Flask, client: FlaskClient, vehicle: DigestingVehicle, path: Path
) -> None:
    vehicle.digest = config_digest(read_config(path))
    shelf = RunShelf(path.parent / "runs", followed_quota(path))
    assert shelf.quota_bytes == 4 * 10**9
    for refused in (0.05, 20_000, "much"):
        assert save(client, {"runs.quota_gb": refused}).status_code == 409
    assert save(client, {"runs.quota_gb": 12}).status_code == 200
    assert shelf.quota_bytes == 12 * 10**9
    assert client.get("/api/settings").json["needs_restart"] is False
    path.write_text('[runs]\nquota_gb = "much"\n')
    assert shelf.quota_bytes == 12 * 10**9  # a file that cannot be used removes nothing
    path.unlink()
    assert shelf.quota_bytes == 12 * 10**9


SECRET_ADDRESS = "https://timing.example/T0/s3cret?with=more"


@pytest.fixture
def hooked(vehicle: DigestingVehicle, path: Path) -> Iterator[tuple[FlaskClient, Webhook]]:
    """A driver's browser, and the webhook of the car."""
    webhook = Webhook("", lambda: b"signing-k3y", post=lambda *_: 200)
    logs = path.parent / "log"
    logs.mkdir()
    app = create_app(vehicle, config_file=path, logs=CarLogs(logs), webhook=webhook)
    yield signed_in(app), webhook
    webhook.close()


def test_the_webhook_is_pointed_elsewhere_from_the_page_at_once_and_for_good(
    hooked: tuple[FlaskClient, Webhook], vehicle: DigestingVehicle, path: Path
) -> None:
    client, webhook = hooked
    vehicle.digest = config_digest(read_config(path))
    assert client.get("/api/race/webhook").json == {"status": None, "is_fixed": False}
    pointed = post(client, "/api/race/webhook", {"address": f" {SECRET_ADDRESS} "})
    assert pointed.json["status"]["host"] == "timing.example"
    assert read_config(path).page.webhook == SECRET_ADDRESS
    assert "# Blue." in path.read_text()
    assert webhook._url == SECRET_ADDRESS
    assert client.get("/api/settings").json["needs_restart"] is False
    for refused in ("ftp://timing.example", "https://ann:pw@timing.example/", "nonsense", "x" * 2001):
        told = post(client, "/api/race/webhook", {"address": refused})
        assert told.status_code in {400, 409}
        assert refused not in told.get_data(as_text=True)
    vehicle.state = DriveState.MANUAL
    assert "The car drives" in post(client, "/api/race/webhook", {"address": ""}).json["error"]
    assert webhook._url == SECRET_ADDRESS
    vehicle.state = DriveState.DISARMED
    assert post(client, "/api/race/webhook", {"address": ""}).json["status"] is None
    assert read_config(path).page.webhook == ""
    webhook.is_fixed = True
    assert "--webhook" in post(client, "/api/race/webhook", {"address": SECRET_ADDRESS}).json["error"]


def test_neither_the_webhooks_address_nor_its_key_is_ever_shown(
    hooked: tuple[FlaskClient, Webhook], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, _ = hooked
    monkeypatch.setattr(system_report, "_doctor", list)
    answers = [post(client, "/api/race/webhook", {"address": SECRET_ADDRESS})]
    answers += [client.get(where) for where in ("/settings", "/api/settings", "/api/race/webhook", "/race")]
    report = zipfile.ZipFile(io.BytesIO(client.get("/api/report").get_data()))
    texts = [each.get_data(as_text=True) for each in answers]
    texts += [report.read(name).decode() for name in report.namelist()]
    assert all(each.status_code == 200 for each in answers)
    assert any("webhook" in text for text in texts)
    for text in texts:
        assert "s3cret" not in text
        assert "signing-k3y" not in text


def test_watchers_and_a_car_without_a_file_change_no_webhook(app: Flask, vehicle: DigestingVehicle) -> None:
    body = {"address": SECRET_ADDRESS}
    assert post(watcher(app), "/api/race/webhook", body).status_code == 403
    bare = signed_in(create_app(vehicle))
    assert "--config" in post(bare, "/api/race/webhook", body).json["error"]
    assert 'id="webhook-form"' not in bare.get("/settings").get_data(as_text=True)
