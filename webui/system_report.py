"""One file for a bug report: what this car is, how it is, what it said, without its secrets."""

import io
import json
import platform
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from vehicle.messages import Status
from vehicle.version import version
from webui.car_logs import CarLogs
from webui.redaction import redacted

DOCTOR_TIMEOUT_S = 30.0
FILE_LIMIT_BYTES = 1 << 20
ABOUT = """\
A report of a car that runs Lapwing, for the people who look into a problem.

report.json       software, computer (by lapwing doctor), the car's newest status
car.toml          its settings
calibration.json  its numbers
log-*.txt         the last of what its processes said

Passwords, links, keys, codes, names of people and networks were removed. Read it before you pass it on.
"""


def make_report(status: Status | None, config_file: Path | None, logs: CarLogs) -> bytes:
    """Return the report as a zip archive; takes some seconds."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in _contents(status, config_file, logs):
            archive.writestr(name, redacted(content))
    return packed.getvalue()


def file_name(now_s: float) -> str:
    """Return what a browser saves the report as."""
    return f"lapwing-report-{time.strftime('%Y-%m-%d-%H%M%S', time.localtime(now_s))}.zip"


def _contents(status: Status | None, config_file: Path | None, logs: CarLogs) -> Iterator[tuple[str, str]]:
    yield "READ-ME.txt", ABOUT
    document = {
        "made_at": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "version": version(),
        "python": sys.version,
        "platform": platform.platform(),
        "uptime_s": time.monotonic(),
        "status": None if status is None else _without_people(status),
        "doctor": _doctor(),
    }
    yield "report.json", json.dumps(document, indent=2)
    if config_file is not None:
        yield "car.toml", _text_of(config_file)
    if status is not None and status.calibration_file:
        yield "calibration.json", _text_of(Path(status.calibration_file))
    for part in logs.parts():
        yield f"log-{part}.txt", logs.tail(part)


def _without_people(status: Status) -> Any:
    nameless = msgspec.structs.replace(
        status, driver="[removed]" if status.driver else "", driver_name="", lease_asked_by=()
    )
    return json.loads(msgspec.json.encode(nameless))


def _doctor() -> Any:
    """Return what `lapwing doctor` says, from a process of its own: this one opens no hardware."""
    command = (sys.executable, "-m", "vehicle.cli", "doctor", "--json")
    try:
        done = subprocess.run(
            command, capture_output=True, stdin=subprocess.DEVNULL, timeout=DOCTOR_TIMEOUT_S, check=False
        )
        return json.loads(done.stdout)
    except (OSError, subprocess.TimeoutExpired, ValueError) as error:
        return f"lapwing doctor did not say: {error}"


def _text_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(FILE_LIMIT_BYTES).decode(errors="replace")
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}\n"
