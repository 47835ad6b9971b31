"""What is known of a policy in int8, read from its report without opening a network."""

from pathlib import Path
from typing import Any

import msgspec

from models.errors import PolicyError
from models.int8_accept import Speed
from models.processor import processor_name

REPORT_NAME = "int8.json"
REPORT_BYTES_MAX = 1 << 20


class _Machine(msgspec.Struct, frozen=True):
    processor: str


class _Trial(msgspec.Struct, frozen=True):
    speed: Speed
    objections: tuple[str, ...]


class _Report(msgspec.Struct, frozen=True):
    """The part of models.int8.Int8Report that is shown in a list."""

    accepted: bool
    policy_sha256: str
    machine: _Machine
    trials: tuple[_Trial, ...]
    chosen: bool = False


def int8_document(folder: Path, policy_sha256: str) -> dict[str, Any] | None:
    """Return whether int8 is accepted and chosen here, its times and objections; None where it was not made.

    Raises PolicyError for a damaged report.
    """
    path = folder / REPORT_NAME
    try:
        with path.open("rb") as file:
            report = msgspec.json.decode(file.read(REPORT_BYTES_MAX), type=_Report)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise PolicyError(f"{path} cannot be used ({error}); make int8 again") from error
    last = report.trials[-1] if report.trials else None
    is_from_here = report.machine.processor == processor_name() and report.policy_sha256 == policy_sha256
    return {
        "accepted": report.accepted,
        "chosen": report.chosen,
        "made_here": is_from_here,
        "float_ms": None if last is None else last.speed.float_p50_ms,
        "int8_ms": None if last is None else last.speed.int8_p50_ms,
        "objections": () if last is None else last.objections,
    }
