"""`lapwing board`: keep a calibration in the board, prove a Maestro's failsafe. No vehicle may be running."""

from pathlib import Path

from calibration import store
from calibration.car import CarCalibration
from vehicle.board import open_board, proofs_beside
from vehicle.board.base import Board
from vehicle.board.maestro import MaestroBoard
from vehicle.config import CarConfig, read_config
from vehicle.errors import BoardError, ConfigError


def store_in_board(config_path: Path) -> str:
    """Store the calibration that `car.toml` names in its board; return a sentence that says so.

    Raises:
        LapwingError: configuration, port or board cannot be used.
        CalibrationError: the calibration file cannot be used.

    """
    config = read_config(config_path)
    calibration = store.load(config.calibration_file())
    board = _board(config, calibration)
    board.open()
    try:
        board.store_calibration()
    finally:
        board.close()
    return f"{board.description} now holds version {calibration.version} of {calibration.name}'s calibration."


def prove_failsafe(config_path: Path, *, wheels_up: bool) -> str:
    """Let a Maestro run into its time-out once and check that this car's neutral comes of it.

    Raises:
        BoardError: the wheels are not said to be up, the board is no Maestro, or its failsafe failed.

    """
    if not wheels_up:
        raise BoardError("the proof moves pulses; put the car on a stand and add --wheels-up")
    config = read_config(config_path)
    calibration = store.load(config.calibration_file())
    board = _board(config, calibration)
    if not isinstance(board, MaestroBoard):
        raise BoardError(
            f"board.driver is {config.board.driver!r}, and only 'maestro' needs a proof: "
            "the Lapwing board's watchdog cannot be switched off"
        )
    board.open()
    try:
        proof = board.prove_failsafe()
    finally:
        board.close()
    return f"{board.description}: its failsafe leads to {proof.neutral_us:g} us, this car's neutral."


def _port(config: CarConfig) -> str:
    if not config.board.port:
        raise ConfigError("board.port is not set in car.toml; lapwing doctor lists the ports that are there")
    return config.board.port


def _board(config: CarConfig, calibration: CarCalibration) -> Board:
    return open_board(
        config.board.driver,
        _port(config),
        calibration,
        proofs=proofs_beside(config.calibration_file()),
        steering_channel=config.board.steering_channel,
        throttle_channel=config.board.throttle_channel,
    )
