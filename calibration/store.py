"""One car's numbers on disk: written whole or not at all, with every earlier version beside them.

`cars/blue.json` is the calibration in force, `cars/blue.json.history/0007.json` one that was saved
before. A kill or a power cut at any moment leaves the old file or the new one, never half of one.
"""

import contextlib
import datetime
import fcntl
import json
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from calibration.car import AWS_DEFAULTS, REMEDY, CarCalibration
from calibration.errors import CalibrationError

MAX_FILE_BYTES = 65_536  # a full calibration is below 4 kB
HISTORY_LENGTH = 100  # saved versions kept; each is about 1 kB
_HISTORY_NAME = re.compile(r"(\d{4,10})\.(json|undone)")


def load(path: Path) -> CarCalibration:
    """Return the calibration in this file; CalibrationError names what is wrong with it."""
    return _decode(_read(path), path)


def save(path: Path, cal: CarCalibration, *, saved_by: str = "", saved_at: str = "") -> CarCalibration:
    """Write the calibration as the next version, keep it in the history, and return it as written.

    `saved_by` is who asked for it; `saved_at` is ISO 8601, and now unless it is given.
    """
    saved_at = saved_at or datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    with _locked(path):
        versions = [version for version, _ in _numbered_files(path)]
        if path.exists():
            with contextlib.suppress(CalibrationError):  # a broken file must not stop its own repair
                versions.append(load(path).version)
        version = max(versions, default=0) + 1
        saved = msgspec.structs.replace(cal, version=version, saved_by=saved_by, saved_at=saved_at)
        data = encode(saved)
        # History first: a kill between the two leaves the old calibration in force and the new one to find.
        write_atomically(_history_dir(path) / f"{saved.version:04d}.json", data)
        write_atomically(path, data)
        for _, old in _numbered_files(path)[HISTORY_LENGTH:]:
            old.unlink(missing_ok=True)
    return saved


def history(path: Path) -> list[CarCalibration]:
    """Return the saved versions, newest first; one that cannot be read any more is left out."""
    versions = []
    for _, file in _history_files(path):
        with contextlib.suppress(CalibrationError):
            versions.append(load(file))
    return versions


def undo(path: Path) -> CarCalibration:
    """Put the version before the one in force back, and return it; CalibrationError if there is none.

    The version that was undone leaves the history; its number is not given again.
    """
    with _locked(path):
        current = load(path)
        earlier = [cal for cal in history(path) if cal.version < current.version]
        if not earlier:
            message = (
                f"{path} has no version before {current.version}, so there is nothing to undo; "
                "calibrate the car again instead"
            )
            raise CalibrationError(message)
        write_atomically(path, encode(earlier[0]))
        undone = _history_dir(path) / f"{current.version:04d}.json"
        if undone.exists():
            undone.rename(undone.with_suffix(".undone"))
            _sync_directory(undone.parent)
    return earlier[0]


def read_aws(path: Path, name: str = "deepracer") -> CarCalibration:
    """Return what an AWS car's `calibration.json` says; see `from_aws`."""
    return from_aws(_parse(_read(path), path), path, name)


def read_any(data: bytes, where: str, name: str) -> CarCalibration:
    """Return what a file says that is ours or an AWS car's; CalibrationError names what is wrong with it.

    An AWS car's becomes a calibration of this name.
    """
    if len(data) > MAX_FILE_BYTES:
        message = f"{where} has more than {MAX_FILE_BYTES} bytes, which no calibration has; name another file"
        raise CalibrationError(message)
    document = _parse(data, where)
    if isinstance(document, dict) and "Calibration" in document:
        return from_aws(document, where, name)
    return from_document(document, where)


def from_document(document: Any, where: str | Path) -> CarCalibration:
    """Return a JSON document as a calibration; CalibrationError names the field that is wrong."""
    try:
        return msgspec.convert(document, CarCalibration)
    except msgspec.ValidationError as error:
        cause = error.__cause__
        reason = cause if isinstance(cause, CalibrationError) else f"{error}; {REMEDY}"
        message = f"{where}: {reason}"
        raise CalibrationError(message) from error


def from_aws(document: Any, where: str | Path, name: str) -> CarCalibration:
    """Return what an AWS car's document says: ns and polarities become named ends in us.

    It knows no wheel angles, dead bands or ESC habits; those are the AWS defaults.
    """
    servo = _aws_channel(document, "Servo", where)
    motor = _aws_channel(document, "Motor", where)
    steering = AWS_DEFAULTS.steering
    throttle = AWS_DEFAULTS.throttle
    try:
        return CarCalibration(
            name=name,
            version=0,
            steering=msgspec.structs.replace(
                steering, left_us=servo["positive"], center_us=servo["mid"], right_us=servo["negative"]
            ),
            throttle=msgspec.structs.replace(
                throttle, forward_us=motor["positive"], neutral_us=motor["mid"], reverse_us=motor["negative"]
            ),
            speed_table=None,
            measured_at="",
        )
    except CalibrationError as error:
        message = f"{where}: {error}"
        raise CalibrationError(message) from error


def write_atomically(path: Path, data: bytes) -> None:
    """Replace the file's content: after a kill or a power cut it is the old or the new, whole."""
    temporary = path.with_name(f"{path.name}.tmp")  # one name: what a kill leaves behind is overwritten
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_directory(path.parent)
    except OSError as error:
        message = (
            f"{path} could not be saved ({error.strerror}), the old one stays in force; "
            "check free space and permissions, then save again"
        )
        raise CalibrationError(message) from error


def _sync_directory(directory: Path) -> None:
    """Make a rename in this directory survive a power cut."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keep a second saver out until the first is done."""
    directory = _history_dir(path)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = (directory / ".lock").open("wb")
    except OSError as error:
        message = f"{directory} cannot be used ({error.strerror}); check its permissions, then save again"
        raise CalibrationError(message) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _history_dir(path: Path) -> Path:
    return path.with_name(f"{path.name}.history")


def _history_files(path: Path) -> list[tuple[int, Path]]:
    """Return version and file of each saved version that was not undone, newest first."""
    return [(version, file) for version, file in _numbered_files(path) if file.suffix == ".json"]


def _numbered_files(path: Path) -> list[tuple[int, Path]]:
    """Return version and file of each saved version, undone ones too, newest first."""
    directory = _history_dir(path)
    if not directory.is_dir():
        return []
    numbered = [(_HISTORY_NAME.fullmatch(file.name), file) for file in directory.iterdir()]
    return sorted(((int(match[1]), file) for match, file in numbered if match), reverse=True)


def encode(cal: CarCalibration) -> bytes:
    """Return the calibration as its file has it."""
    return msgspec.json.format(msgspec.json.encode(cal), indent=2) + b"\n"


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError as error:
        message = f"{path} does not exist; calibrate the car on the calibration page first"
        raise CalibrationError(message) from error
    except OSError as error:
        message = f"{path} cannot be read ({error.strerror}); check that it is a file and its permissions"
        raise CalibrationError(message) from error
    if len(data) > MAX_FILE_BYTES:
        message = f"{path} has more than {MAX_FILE_BYTES} bytes, which no calibration has; name another file"
        raise CalibrationError(message)
    return data


def _parse(data: bytes, path: Path | str) -> Any:  # JSON is whatever it is
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        message = f"{path} is not JSON ({error}); undo the last change or calibrate again"
        raise CalibrationError(message) from error


def _decode(data: bytes, path: Path) -> CarCalibration:
    return from_document(_parse(data, path), path)


def _aws_channel(document: Any, channel: str, path: Path | str) -> dict[str, float]:
    """Return one channel's pulses in us, named by the sign of the command that gives them.

    A command of the car's software is multiplied by the polarity; above zero it then goes toward `max`.
    """
    try:
        fields = {name: document["Calibration"][channel][name] for name in ("min", "mid", "max", "polarity")}
    except (KeyError, TypeError, IndexError) as error:
        message = (
            f"{path}: Calibration.{channel} needs min, mid, max and polarity; "
            "is it an AWS car's calibration.json?"
        )
        raise CalibrationError(message) from error
    for name, value in fields.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            message = f"{path}: {channel}.{name} is {value!r}, allowed a number; calibrate the AWS car again"
            raise CalibrationError(message)
    if fields["polarity"] not in (1, -1):
        message = (
            f"{path}: {channel}.polarity is {fields['polarity']}, allowed 1 or -1; "
            "calibrate the AWS car again"
        )
        raise CalibrationError(message)
    if not fields["min"] < fields["mid"] < fields["max"]:
        message = (
            f"{path}: {channel}.mid is {fields['mid']} ns, allowed only between min {fields['min']} "
            f"and max {fields['max']}; calibrate the AWS car again"
        )
        raise CalibrationError(message)
    ends = ("max", "min") if fields["polarity"] == 1 else ("min", "max")
    positive, negative = ends
    return {
        "positive": fields[positive] / 1000.0,
        "mid": fields["mid"] / 1000.0,
        "negative": fields[negative] / 1000.0,
    }
