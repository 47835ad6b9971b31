"""The examples of docs/api.md, run as they stand there, against a page that is served."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from werkzeug.serving import make_server

from tests.unit.calibrating_car import CalibratingCar
from tests.unit.test_webui import NOW_NS, RecordingVehicle, StillWorld
from tests.unit.test_webui_simulator import RecordingSimulator
from tests.unit.webui_visitors import script
from vehicle.config import read_config
from vehicle.messages import RequestKind
from webui import create_app

GUIDE = Path(__file__).parents[2] / "docs" / "api.md"
LOOK, NAMES, COMMANDS, STOP, CALIBRATE, UPLOAD, SETTINGS, SIMULATOR, RACE = re.findall(
    r"^```sh\n(.*?)^```", GUIDE.read_text(), re.DOTALL | re.MULTILINE
)
Shell = dict[str, str]
STAND_IN = Path(__file__).with_name("curl.py")


@pytest.fixture
def vehicle() -> RecordingVehicle:
    return RecordingVehicle()


@pytest.fixture
def simulator() -> RecordingSimulator:
    return RecordingSimulator()


@pytest.fixture
def shell(vehicle: RecordingVehicle, simulator: RecordingSimulator, tmp_path: Path) -> Iterator[Shell]:
    (tmp_path / "car.toml").write_text('name = "blue"\n')
    app = create_app(
        vehicle,
        StillWorld(),
        lambda: NOW_NS,  # a busy computer is not late
        simulator=simulator,
        config_file=tmp_path / "car.toml",
    )
    with served(app, tmp_path) as environment:
        yield environment


@contextlib.contextmanager
def served(app: Flask, home: Path) -> Iterator[Shell]:
    """Yield the environment of a shell that knows the car and the key."""
    key = script(app).environ_base["HTTP_AUTHORIZATION"].removeprefix("Bearer ")
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    if shutil.which("curl") is None:  # a small computer may have none
        (home / "curl").symlink_to(STAND_IN)
    path = f"{os.environ['PATH']}:{home}"
    (home / "swift.tar.gz").write_bytes(b"no archive")
    yield {"PATH": path, "CAR": f"http://127.0.0.1:{server.port}", "KEY": key, "HOME": str(home)}
    server.shutdown()
    thread.join()
    server.server_close()


def run(example: str, shell: Shell) -> str:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", example],
        env=shell,
        cwd=shell["HOME"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def documents(text: str) -> list[dict]:
    """Return the JSON documents that stand in it one after the other."""
    found, decoder = [], json.JSONDecoder()
    while text:
        document, end = decoder.raw_decode(text)
        found.append(document)
        text = text[end:]
    return found


def test_looking_at_the_car(shell: Shell) -> None:
    status, description, models = documents(run(LOOK, shell))
    assert status["car"]["state"] == "disarmed"
    assert "/api/status" in description["paths"]
    assert "models" in models


def test_commands_with_their_echo(vehicle: RecordingVehicle, shell: Shell) -> None:
    answers = documents(run(NAMES + COMMANDS, shell))
    assert [answer.get("ok") for answer in answers] == [True, True, True], answers
    assert vehicle.kinds == [RequestKind.TAKE_LEASE, RequestKind.SET_SPEED_CAP, RequestKind.RELEASE_LEASE]
    assert vehicle.asked[0][1]["driver_name"] == "lap timer"


def test_the_emergency_stop_of_somebody_without_a_key(vehicle: RecordingVehicle, shell: Shell) -> None:
    assert documents(run(STOP, {**shell, "KEY": ""}))[0]["ok"]
    assert vehicle.stops == 1


def test_calibrating(tmp_path: Path) -> None:
    car = CalibratingCar(tmp_path / "cars" / "blue.json")
    car.lease_s = car.silence_s = 30.0  # the computer may be busy
    began_ns = time.monotonic_ns()
    with served(create_app(car, clock_ns=lambda: began_ns), tmp_path) as shell:
        answers = documents(run(NAMES + CALIBRATE, shell))
    assert all(answer["ok"] for answer in answers), answers
    assert car.asked[-3][1]["steering_us"] == 1475.0
    assert car.kinds[-2:] == [RequestKind.DISARM, RequestKind.RELEASE_LEASE]


def test_an_upload_with_its_outcome(shell: Shell) -> None:
    (outcome,) = documents(run(UPLOAD, shell))
    assert outcome["state"] == "refused"
    assert outcome["error"].endswith(".")


def test_a_setting(shell: Shell) -> None:
    (saved,) = documents(run(SETTINGS, shell))
    assert "error" not in saved
    assert read_config(Path(shell["HOME"]) / "car.toml").control.rate_hz == 20.0


def test_a_simulated_car_is_broken(simulator: RecordingSimulator, shell: Shell) -> None:
    assert "error" not in documents(run(SIMULATOR, shell))[0]
    (order,) = simulator.asked
    assert order[:2] == ("world", "fault")
    assert (order[2]["part"], order[2]["fault"], order[2]["amount"]) == ("camera", "slow", 0.2)


def test_the_events_of_a_race_and_its_results(shell: Shell) -> None:
    listen, results = RACE.strip().splitlines()
    with subprocess.Popen(
        ["bash", "-euo", "pipefail", "-c", f"exec {listen}"], env=shell, stdout=subprocess.PIPE, text=True
    ) as ear:  # it would listen for ever
        assert ear.stdout is not None
        told = [ear.stdout.readline() for _ in range(4)]
        ear.kill()
    assert told[2] == "event: race\n"
    assert json.loads(told[3].removeprefix("data: "))["state"] == "disarmed"
    assert run(results, shell).startswith("drive,")
