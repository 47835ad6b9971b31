"""What the loop needs of the parts around it: contracts, no code; a test puts its own in their place."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import msgspec

from calibration.car import CarCalibration
from calibration.errors import CalibrationError
from models.policy import Policy
from models.runtime import Feeds
from vehicle.clock import Bell
from vehicle.lidar_source import TimedScan
from vehicle.memory import RunBegin
from vehicle.messages import (
    BoardPulses,
    BoardStatus,
    CameraLocks,
    DriveCommand,
    Frame,
    OperatorRequest,
    Reply,
    Status,
    TickRecord,
)


class CameraView(Protocol):
    """What the loop needs of a camera."""

    def latest(self) -> Frame | None:
        """Return the newest frame, or None before the first."""
        ...

    def fit(self, width_px: int, height_px: int) -> None:
        """Say how small a picture may be."""
        ...

    def tune(self, locks: CameraLocks) -> None:
        """Lock exposure, gain and white balance, without waiting."""
        ...

    def want(self, wanted: bool) -> None:
        """Say whether its pictures are needed; the front camera's always are."""
        ...

    def wait_newer(self, number: int, timeout_s: float) -> bool:
        """Return True as soon as a picture with a higher number is there, False after the time-out."""
        ...

    def wait_stamped(self, stamp_ns: int, timeout_s: float) -> bool:
        """Return True as soon as a picture of this moment or later is there, False after the time-out."""
        ...

    @property
    def bell(self) -> Bell:
        """What rings whenever a picture has come."""
        ...

    @property
    def lost(self) -> bool:
        """Whether the source is gone or has ended."""
        ...

    @property
    def is_static(self) -> bool:
        """Whether equal pictures are the source's nature."""
        ...

    @property
    def rate_hz(self) -> float:
        """What the source says it delivers."""
        ...

    @property
    def note(self) -> str:
        """What its owner should know, or empty."""
        ...


class LidarView(Protocol):
    """What the loop needs of a LIDAR."""

    def latest(self) -> TimedScan | None:
        """Return the newest scan, or None before the first."""
        ...

    def want(self, wanted: bool) -> None:
        """Say whether its scans are needed."""
        ...

    @property
    def lost(self) -> bool:
        """Whether it is gone."""
        ...

    @property
    def period_s(self) -> float:
        """Between two scans."""
        ...

    @property
    def note(self) -> str:
        """What its owner should know, or empty."""
        ...


class BoardLink(Protocol):
    """What the loop needs of a board."""

    def poll(self, now_ns: int) -> BoardStatus:
        """Return the newest status after reading what has arrived."""
        ...

    def write(self, command: DriveCommand, now_ns: int) -> None:
        """Send without blocking; trouble shows in the status."""
        ...

    def begin_store(self, pulses: BoardPulses, now_ns: int) -> None:
        """Use these pulses from now on and make the board keep them, without waiting; only while disarmed."""
        ...

    def allow_reopen(self, allowed: bool) -> None:
        """Tell whether a port that was lost may be opened again now."""
        ...

    def close(self) -> None:
        """Send neutral and let the port go."""
        ...


class PolicySource(Protocol):
    """Loads policies off the loop's thread."""

    @property
    def note(self) -> str:
        """That one is being loaded or why that failed; else empty."""
        ...

    @property
    def is_loading(self) -> bool:
        """Whether a policy is being loaded now."""
        ...

    def begin(self, source: str) -> None:
        """Start loading a policy; the newest wish counts."""
        ...

    @property
    def activation(self) -> tuple[str, str]:
        """What became of the newest wish, and the wish: `loading`, `loaded`, `failed` or empty."""
        ...

    def take(self) -> Policy | None:
        """Return a policy that has just become ready, once."""
        ...


class CalibrationSource(Protocol):
    """Reads this car's numbers again, off the loop's thread."""

    path: Path
    """Of the car's file."""

    @property
    def is_reading(self) -> bool:
        """Whether the file is being read now."""
        ...

    def begin(self) -> None:
        """Start reading."""
        ...

    def take(self) -> CarCalibration | CalibrationError | None:
        """Return what has just been read, or why it could not be, once."""
        ...


class Publisher(Protocol):
    """What the loop needs of the vehicle's border."""

    def drain(self, answer: Callable[[OperatorRequest], Reply]) -> None:
        """Give each waiting request to `answer` and send its reply."""
        ...

    def publish_status(self, status: Status) -> None:
        """Send the car at a glance."""
        ...

    def publish_record(self, record: TickRecord) -> None:
        """Send one tick's record."""
        ...


class RunTeller(Protocol):
    """Tells a recorder what it needs to repeat a run; `vehicle.run_stream.RunStream` is one."""

    @property
    def is_heard(self) -> bool:
        """Whether anybody records."""
        ...

    def started(self, start: RunBegin) -> None:
        """Tell how a run began."""
        ...

    def showed(self, sequence: int, frame_number: int, inputs: Feeds) -> None:
        """Tell what the network was shown in one decision."""
        ...


class CarSetup(msgspec.Struct, frozen=True):
    """What the loop must know of this car."""

    calibration: CarCalibration
    is_calibrated: bool
    """False: the numbers are defaults, and a real board may only be calibrated."""
    is_hil: bool
    control_rate_hz: float | None
    """None: the rate the policy was trained at."""
    is_lockstep: bool = False
    """Whether the clock is a HIL world's that steps with the car."""
    config_digest: str = ""
    """Of the settings that this process was started with."""
    camera_locks: CameraLocks = CameraLocks()
    """What the camera was told at its start."""
