"""Calibrating over HTTP: who may move what, drafts and files, and what a save leaves behind."""

import json
import time

import msgspec
import pytest
from calibrating_car import LEASE_S, CalibratingCar
from flask.testing import FlaskClient
from test_calibration_store import AWS_FILE

from calibration import store
from calibration.car import AWS_DEFAULTS, HIL_AWS, HIL_STANDARD
from calibration.errors import CalibrationError
from calibration.procedure import STEPS
from tests.unit.webui_visitors import signed_in
from vehicle.messages import Actuator, DriveState, RequestKind
from webui import create_app
from webui.drive import source_of

PAGE = "0123456789abcdef" * 2
OTHER = "f" * 32
ORIGIN = "http://localhost"
START = {"actuator": "throttle", "center_us": 1450.0, "neutral_us": 1446.0}


@pytest.fixture
def car(tmp_path) -> CalibratingCar:
    car = CalibratingCar(tmp_path / "cars" / "blue.json")
    car.lease_s = car.silence_s = 30.0  # no test but one is about the lease, and the computer may be busy
    return car


@pytest.fixture
def client(car) -> FlaskClient:
    return signed_in(create_app(car))


def post(client: FlaskClient, what: str, *, page: str | None = PAGE, seen_ns: int | None = None, **body):
    if page is not None:
        body["page"] = page
    if what in {"start", "drive"}:
        body["seen_ns"] = time.monotonic_ns() if seen_ns is None else seen_ns
    return client.post(f"/api/calibration/{what}", json=body, headers={"Origin": ORIGIN})


def tell(client: FlaskClient, what: str, *, page: str = PAGE, seen_ns: int | None = None, **fields):
    """Give a command that is not of calibrating alone, as walk and test drive do without a socket."""
    echo_ns = time.monotonic_ns() if seen_ns is None else seen_ns
    body = {"echo_ns": echo_ns, **fields}
    return client.post(f"/api/drive/{what}?page={page}", json=body, headers={"Origin": ORIGIN})


def pulse(client: FlaskClient, pulse_us: float, **fields):
    return tell(client, "calibration-pulse", actuator="throttle", pulse_us=pulse_us, **fields)


def error_of(response) -> str:
    return response.json["error"]


def begin(client, car, **fields):
    assert post(client, "start", **(START | fields)).status_code == 200
    assert car.wait_status(lambda status: status.state is DriveState.CALIBRATING, 1.0)


# --- moving


def test_a_start_tells_the_board_first_and_waits_until_it_knows(client, car):
    begin(client, car)
    assert car.kinds[:2] == [RequestKind.TAKE_LEASE, RequestKind.PREPARE_CALIBRATION]
    assert set(car.kinds[2:]) == {RequestKind.START}
    _, prepared = car.asked[1]
    assert prepared.pop("echo_ns") > 0  # the vehicle judges again how old the page's view is
    assert prepared == {
        "source": source_of(PAGE), "actuator": Actuator.THROTTLE, "steering_us": 1450.0, "throttle_us": 1446.0
    }  # fmt: skip
    assert car.asked[-1][1]["target"] is DriveState.CALIBRATING


def test_a_start_that_is_refused_says_why_and_lets_the_car_go(client, car):
    car.refusals[RequestKind.START] = "the board's stop switch is pressed"
    response = post(client, "start", **START)
    assert response.status_code == 409
    assert error_of(response) == "The board's stop switch is pressed."
    assert car.driver == ""


def test_who_does_not_drive_cannot_calibrate(client, car):
    begin(client, car)
    assert "drives; wait until they let go" in error_of(post(client, "start", page=OTHER, **START))
    assert pulse(client, 1400.0, page=OTHER).status_code == 409
    assert car.asked_us == (0.0, 0.0)


def test_a_pulse_moves_the_one_actuator_it_names(client, car):
    begin(client, car)
    assert pulse(client, 1400.0).status_code == 200
    assert car.asked_us == (0.0, 1400.0)
    assert car.asked[-1][1]["echo_ns"] > 0  # the vehicle judges again how old the page's view is
    assert pulse(client, 0.0).status_code == 200
    assert car.asked_us == (0.0, 0.0)


@pytest.mark.parametrize(
    "held",
    [
        (post, "start", START, 300),
        (post, "drive", {"share": 0.1}, 300),
        (tell, "calibration-pulse", {"actuator": "throttle", "pulse_us": 1400.0}, 300),
        (tell, "drive", {"steering_frac": 1.0, "throttle_frac": 1.0}, 300),
        (tell, "renew-lease", {}, 1500),
        (tell, "clear", {}, 300),
    ],
)
@pytest.mark.parametrize("is_of_the_past", [True, False])
def test_what_was_held_back_on_the_way_moves_nothing_and_renews_nothing(client, car, held, is_of_the_past):
    ask, what, body, limit_ms = held
    late_ms = limit_ms + 1 if is_of_the_past else -5000
    response = ask(client, what, seen_ns=time.monotonic_ns() - late_ms * 1_000_000, **body)
    assert response.status_code == 409
    assert "after the page last heard of the car" in error_of(response)
    assert car.asked == []


@pytest.mark.parametrize(
    ("what", "body"),
    [
        ("start", START | {"actuator": "horn"}),
        ("start", START | {"center_us": 9999.0}),
        ("start", {"actuator": "steering"}),
        ("drive", {"share": 0.51}),
        ("drive", {"share": 0.0}),
        ("stop", {"page": "me"}),
        ("answer", {"draft": {}, "step": "center", "value": 1.0}),
        ("answer", {"draft": msgspec.to_builtins(HIL_AWS), "step": "stand", "value": 1.0}),
        ("answer", {"draft": msgspec.to_builtins(HIL_AWS), "step": "center", "value": {}}),
        ("answer", {"draft": msgspec.to_builtins(HIL_AWS), "step": "esc", "value": 1.0}),
        ("draft", {"draft": {"steering": {}}}),
        ("save", {"draft": {}, "by": "x" * 41}),
    ],
)
def test_a_body_without_sense_is_a_400_with_a_sentence(client, car, what, body):
    page = None if what in {"answer", "draft"} else PAGE
    response = post(client, what, **{"page": page, **body})
    assert response.status_code == 400
    assert error_of(response).endswith(".")
    assert car.asked == []


@pytest.mark.parametrize(
    "fields",
    [
        {"actuator": "steering", "pulse_us": "1400"},
        {"actuator": "steering", "pulse_us": -1.0},
        {"pulse_us": 0},
    ],
)
def test_a_pulse_without_sense_is_a_400_with_a_sentence(client, car, fields):
    response = tell(client, "calibration-pulse", **fields)
    assert response.status_code == 400
    assert error_of(response).endswith(".")
    assert car.asked == []


def test_the_status_tells_what_moves(client, car):
    begin(client, car)
    pulse(client, 1400.0)
    assert tell(client, "renew-lease").status_code == 200
    live = client.get("/api/status").json["car"]
    assert car.asked[-1][0] is RequestKind.RENEW_LEASE
    assert car.asked[-1][1]["echo_ns"] > 0
    assert live["state"] == "calibrating"
    assert live["throttle_us"] == 1400.0
    assert live["calibrating"] == "throttle"


def test_a_script_that_falls_silent_has_everything_at_rest(client, car):
    begin(client, car)
    pulse(client, 1400.0)
    car.lease_s = car.silence_s = LEASE_S
    time.sleep(LEASE_S + 0.02)
    live = client.get("/api/status").json["car"]
    assert live["throttle_us"] == 1446.0
    assert live["state"] == "failsafe"


def test_stopping_lets_the_car_go(client, car):
    begin(client, car)
    assert post(client, "stop").status_code == 200
    assert car.state is DriveState.DISARMED
    assert car.driver == ""


def test_a_car_that_failed_safe_is_cleared_on_purpose_alone(client, car):
    car.emergency_stop()
    assert post(client, "stop").status_code == 200
    assert car.state is DriveState.FAILSAFE
    assert tell(client, "clear").status_code == 200
    assert car.state is DriveState.DISARMED


# --- test drives


def test_a_test_drive_gives_the_share_that_was_chosen_under_the_cap(client, car):
    assert post(client, "drive", share=0.15).json["throttle_frac"] == pytest.approx(0.5)
    assert car.speed_cap_frac == 0.3
    assert car.wait_status(lambda status: status.state is DriveState.MANUAL, 1.0)
    assert car.asked[-1][1]["echo_ns"] > 0
    assert tell(client, "drive", steering_frac=-1.0, throttle_frac=0.5).status_code == 200
    assert car.hand == (-1.0, 0.5)


def test_a_share_above_the_cap_raises_it_to_that_share(client, car):
    assert post(client, "drive", share=0.5).json["throttle_frac"] == pytest.approx(1.0)
    assert car.speed_cap_frac == 0.5


# --- drafts


def test_every_step_is_answered_by_the_server_as_the_procedure_says(client):
    draft = msgspec.to_builtins(AWS_DEFAULTS)
    answers = {"left": 1710.0, "neutral": 1450.0, "forward_dead_band": 1440.0, "forward": 1300.0}
    for step, value in answers.items():
        fields = {"angle_deg": 28.0} if step == "left" else {}
        body = {"draft": draft, "step": step, "value": value, **fields}
        answer = post(client, "answer", page=None, **body).json
        draft = answer["calibration"]
    assert draft["steering"]["left_us"] == 1710.0
    assert draft["steering"]["left_rad"] == pytest.approx(0.48869, abs=1e-5)
    assert draft["throttle"]["forward_dead_band_us"] == 10.0
    assert answer["mark_us"]["reverse_dead_band"] == 1460.0
    assert answer["trial_us"] == {"forward": 1360.0, "back": 1540.0}
    assert answer["reach_us"]["neutral"] == [1300.0, 1600.0]
    assert answer["problem"] == ""


def test_a_draft_that_no_car_has_says_which_number(client):
    draft = msgspec.to_builtins(AWS_DEFAULTS)
    answer = post(client, "answer", page=None, draft=draft, step="center", value=1705.0).json
    assert "steering.center_us is 1705, allowed at least 10 above right_us 1200" in answer["problem"]


def test_the_page_gets_the_steps_that_this_car_needs(client, car):
    document = client.get("/api/calibration").json
    assert [step["id"] for step in document["steps"]] == [step.id for step in STEPS]
    assert document["walks"]["steering"] == ["stand", "center", "left", "right", "review"]
    assert document["draft"]["calibration"]["name"] == "hil-aws"
    car.is_calibrated, car.calibration = False, AWS_DEFAULTS
    document = client.get("/api/calibration").json
    assert document["walks"]["all"][:3] == ["kind", "stand", "esc_off"]
    assert document["fresh"]


# --- saving


def save(client, calibration=HIL_STANDARD, **fields):
    return post(client, "save", draft=msgspec.to_builtins(calibration), **fields)


def test_a_save_is_written_taken_over_and_remembers_who_and_when(client, car):
    response = save(client, by="  Anna ")
    assert response.status_code == 200
    assert response.json["note"] == ""
    saved = store.load(car.path)
    assert saved.steering == HIL_STANDARD.steering
    assert (saved.name, saved.version, saved.saved_by) == ("blue", 1, "Anna")
    assert saved.measured_at
    assert car.calibration == saved
    assert response.json["history"][0]["saved_by"] == "Anna"
    assert car.driver == ""  # the lease was taken for a moment


def test_undo_and_telling_the_board_again(client, car):
    save(client, HIL_STANDARD)
    save(client, HIL_AWS)
    answer = post(client, "undo").json
    assert answer["saved"]["version"] == 1
    assert car.calibration.throttle == HIL_STANDARD.throttle
    car.kinds.clear()
    assert post(client, "store").json["ok"]
    assert car.kinds[-2:] == [RequestKind.RELOAD_CALIBRATION, RequestKind.RELEASE_LEASE]
    assert "no version before 1" in error_of(post(client, "undo"))


def test_a_broken_draft_writes_nothing(client, car):
    off = msgspec.to_builtins(HIL_AWS)
    off["throttle"]["neutral_us"] = 1300.0
    response = post(client, "save", draft=off)
    assert response.status_code == 400
    assert "throttle.neutral_us is 1300" in error_of(response)
    assert not car.path.exists()


@pytest.mark.parametrize("state", [DriveState.AUTONOMOUS, DriveState.CALIBRATING, DriveState.FAILSAFE])
def test_nothing_is_saved_while_the_car_may_move(client, car, state):
    car.state, car.renewed_s, car.driver = state, time.monotonic() + 60.0, source_of(PAGE)
    response = save(client)
    assert response.status_code == 409
    assert f"is {state.value}; stop it first" in error_of(response)
    assert not car.path.exists()


def test_nothing_is_saved_while_another_holds_the_car(client, car):
    car.driver, car.renewed_s = "lapwing laps", time.monotonic()
    assert "Lapwing laps drives" in error_of(save(client))
    assert not car.path.exists()


def test_a_save_by_the_driver_leaves_them_the_wheel_whatever_the_status_says(client, car, monkeypatch):
    car.driver, car.renewed_s = source_of(PAGE), time.monotonic() + 60.0
    newest = car.status
    monkeypatch.setattr(car, "status", lambda: msgspec.structs.replace(newest(), driver=""))  # an old one
    assert save(client).status_code == 200
    assert car.driver == source_of(PAGE)
    assert RequestKind.TAKE_LEASE not in car.kinds


def test_a_full_disk_is_said_and_the_old_numbers_stay(client, car, monkeypatch):
    save(client, HIL_STANDARD)

    def full(path, data):
        raise CalibrationError(f"{path} could not be saved (No space left on device), the old one stays")

    monkeypatch.setattr(store, "write_atomically", full)
    response = save(client, HIL_AWS)
    assert response.status_code == 409
    assert "No space left on device" in error_of(response)
    assert car.calibration.throttle == HIL_STANDARD.throttle
    assert car.driver == ""


def test_a_board_that_does_not_take_it_is_said_although_the_file_is_saved(client, car):
    car.board_note = "the board did not store, memory failed"
    response = save(client)
    assert response.json["note"] == "Saved, but: The board did not store, memory failed."
    assert store.load(car.path).version == 1


def test_a_broken_file_is_said_and_can_be_calibrated_over(client, car):
    car.path.parent.mkdir(parents=True)
    car.path.write_text("{")
    assert "is not JSON" in client.get("/api/calibration").json["problem"]
    assert "is not JSON" in error_of(client.get("/api/calibration/export"))
    assert save(client).status_code == 200
    assert client.get("/api/calibration").json["problem"] == ""


def test_a_silent_car_saves_nothing_and_says_so(client, car):
    car.silent = True
    assert save(client).status_code == 503
    assert client.get("/api/calibration").status_code == 503
    assert not car.path.exists()


# --- files in and out


def test_what_is_exported_can_be_imported_again(client, car):
    assert "Nothing is saved" in error_of(client.get("/api/calibration/export"))
    save(client, HIL_STANDARD)
    response = client.get("/api/calibration/export")
    assert response.headers["Content-Disposition"] == 'attachment; filename="blue-v1.json"'
    imported = post(client, "import", page=None, text=response.text).json
    assert imported["calibration"] == json.loads(response.text)
    assert imported["problem"] == ""


def test_an_aws_cars_file_becomes_named_ends(client, car):
    imported = post(client, "import", page=None, text=json.dumps(AWS_FILE)).json["calibration"]
    assert imported["throttle"]["forward_us"] == 1311.0
    assert imported["steering"]["left_us"] == 1700.0
    assert imported["name"] == "blue"
    assert not car.path.exists()  # looked at, not saved


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("", "The file is not JSON"),
        ("null", "Expected `object`"),
        ("[" * 100_000, "The file"),
        ('{"Calibration": {}}', "Calibration.Servo needs min, mid, max and polarity"),
        (json.dumps(AWS_FILE).replace("1450000", "9e99"), "Servo.mid is 9e+99"),
        (json.dumps(AWS_FILE).replace("1450000", "NaN"), "Servo.mid is nan"),
        ("x" * 70_000, "more than 65536 bytes"),
        ('{"name": "\\ud800"}', "The file"),
    ],
)
def test_a_file_that_is_none_says_what_is_wrong_with_it(client, text, seen):
    response = post(client, "import", page=None, text=text)
    assert response.status_code == 400
    assert seen in error_of(response)


def test_the_page_is_served_with_its_own_secret(client):
    first, second = client.get("/calibrate").text, client.get("/calibrate").text
    assert 'data-page="' in first
    assert first != second
    assert 'aria-current="page">Calibrate' in first
