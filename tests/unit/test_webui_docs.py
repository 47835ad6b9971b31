"""The examples of docs/api.md, run as they stand there, against a page that is served."""

import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from werkzeug.serving import make_server

from tests.unit.test_webui import NOW_NS, RecordingVehicle, StillWorld
from tests.unit.webui_visitors import script
from vehicle.messages import RequestKind
from webui import create_app

GUIDE = Path(__file__).parents[2] / "docs" / "api.md"
EXAMPLES = re.findall(r"^```sh\n(.*?)^```", GUIDE.read_text(), re.DOTALL | re.MULTILINE)
STAND_IN = Path(__file__).with_name("curl.py")


@pytest.fixture
def vehicle() -> RecordingVehicle:
    return RecordingVehicle()


@pytest.fixture
def shell(vehicle: RecordingVehicle, tmp_path: Path) -> Iterator[dict[str, str]]:
    """Environment of a shell that knows the car and the key."""
    app = create_app(vehicle, StillWorld(), lambda: NOW_NS)  # a busy computer is not late
    key = script(app).environ_base["HTTP_AUTHORIZATION"].removeprefix("Bearer ")
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    if shutil.which("curl") is None:  # a small computer may have none
        (tmp_path / "curl").symlink_to(STAND_IN)
    path = f"{os.environ['PATH']}:{tmp_path}"
    (tmp_path / "swift.tar.gz").write_bytes(b"no archive")
    yield {"PATH": path, "CAR": f"http://127.0.0.1:{server.port}", "KEY": key, "HOME": str(tmp_path)}
    server.shutdown()
    thread.join()
    server.server_close()


def run(example: str, shell: dict[str, str]) -> str:
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


def test_the_guide_has_the_examples_that_are_run_here() -> None:
    """Four run here; the last three need a car.toml, a simulated car and a stream without an end."""
    assert len(EXAMPLES) == 4 + 3


def test_looking_at_the_car(shell: dict[str, str]) -> None:
    status, description, models = documents(run(EXAMPLES[0], shell))
    assert status["car"]["state"] == "disarmed"
    assert "/api/status" in description["paths"]
    assert "models" in models


def test_commands_with_their_echo(vehicle: RecordingVehicle, shell: dict[str, str]) -> None:
    answers = documents(run(EXAMPLES[1], shell))
    assert [answer.get("ok") for answer in answers] == [True, True, True], answers
    assert vehicle.kinds == [RequestKind.TAKE_LEASE, RequestKind.SET_SPEED_CAP, RequestKind.RELEASE_LEASE]
    assert vehicle.asked[0][1]["driver_name"] == "lap timer"


def test_the_emergency_stop_of_somebody_without_a_key(
    vehicle: RecordingVehicle, shell: dict[str, str]
) -> None:
    assert documents(run(EXAMPLES[2], {**shell, "KEY": ""}))[0]["ok"]
    assert vehicle.stops == 1


def test_an_upload_with_its_outcome(shell: dict[str, str]) -> None:
    (outcome,) = documents(run(EXAMPLES[3], shell))
    assert outcome["state"] == "refused"
    assert outcome["error"].endswith(".")
