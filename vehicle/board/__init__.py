"""Drivers for the boards that turn serial bytes into servo and ESC pulses."""

import time
from collections.abc import Callable
from pathlib import Path

from calibration.car import CarCalibration
from vehicle.board.base import Board
from vehicle.board.maestro import MaestroBoard
from vehicle.board.own import OwnBoard
from vehicle.errors import BoardConfigError

DEFAULT_PROOFS = Path("cars/failsafe_proofs.json")


def proofs_beside(file: Path) -> Path:
    """Return where proofs are kept for a car whose calibration is this file."""
    return file.parent / DEFAULT_PROOFS.name


def open_board(
    driver: str,
    port: str,
    calibration: CarCalibration,
    *,
    proofs: Path = DEFAULT_PROOFS,
    steering_channel: int = 0,
    throttle_channel: int = 1,
    now_ns: Callable[[], int] = time.monotonic_ns,
    wait: Callable[[float], None] | None = None,
) -> Board:
    """Return the driver of this name for this port; its `open` is the caller's to call.

    `proofs` is where a Maestro's proved failsafe is remembered, and the channels are those of a Maestro
    that drive the car. No port is ever guessed.
    """
    if driver == "board":
        return OwnBoard(port, calibration, now_ns=now_ns, wait=wait)
    if driver == "maestro":
        return MaestroBoard(
            port,
            calibration,
            proofs=proofs,
            steering_channel=steering_channel,
            throttle_channel=throttle_channel,
            now_ns=now_ns,
            wait=wait,
        )
    raise BoardConfigError(
        f"board.driver is {driver!r}, allowed 'board' or 'maestro'; correct it in the configuration"
    )
