"""What can go wrong outside the loop, named for what happened.

Every message carries the value seen, the value allowed and what to do next. Inside the loop a
hardware fault is a `vehicle.messages.Fault`, never an exception.
"""

import msgspec


class LapwingError(Exception):
    """Base of every error that a person can act on; the command line prints it without a traceback."""


class ConfigError(LapwingError):
    """`car.toml` has a field that is missing, unknown or out of bounds."""


class BoardError(LapwingError):
    """The actuator board cannot be used."""


class BoardNotFoundError(BoardError):
    """The named serial port does not exist or cannot be opened."""


class BoardBusyError(BoardError):
    """Another process holds the serial port."""


class BoardSilentError(BoardError):
    """The board did not answer the handshake in time."""


class BoardVersionError(BoardError):
    """The board speaks another version of the protocol."""


class BoardConfigError(BoardError):
    """What the board has stored differs from this car's calibration, or is missing."""


class SensorError(LapwingError):
    """What a sensor's readings come from cannot be used."""


class CameraError(SensorError):
    """The camera source cannot be used."""


class LidarError(SensorError):
    """The LIDAR cannot be used."""


class VehicleBusyError(LapwingError):
    """Another vehicle process owns the run directory."""


class VehicleSilentError(LapwingError):
    """The vehicle process did not answer a request in time."""


class HilError(LapwingError):
    """The HIL world or a board emulator cannot be used."""


UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding bytes that come from outside may raise: not the format, not UTF-8, nested without an end."""
