"""What the loop needs of a board, whichever it is."""

from typing import NamedTuple, Protocol

from calibration.car import CarCalibration
from vehicle.messages import BoardPulses, BoardStatus, DriveCommand

MATCH_US = 2.0  # a stored or applied pulse this near is the same pulse
NEUTRAL_GAP_S = 0.250  # a board silent for longer may have stopped its pulses meanwhile


class BoardCapabilities(NamedTuple):
    """What the board can tell beside its pulses."""

    battery: bool = False
    wheel_ticks: bool = False
    stop_input: bool = False


def pulses_of(calibration: CarCalibration) -> BoardPulses:
    """Return what a board keeps of a calibrated car."""
    steering, throttle = calibration.steering, calibration.throttle
    return BoardPulses(
        min(steering.left_us, steering.right_us),
        steering.center_us,
        max(steering.left_us, steering.right_us),
        min(throttle.forward_us, throttle.reverse_us),
        throttle.neutral_us,
        max(throttle.forward_us, throttle.reverse_us),
    )


class Board(Protocol):
    """Turns commands into pulses, and says which of them it has acknowledged.

    One thread uses it. `write` and `poll` never wait and never raise for trouble with the hardware:
    `BoardStatus` tells it. `open`, `close` and `store_calibration` wait, for a bounded time.
    """

    bytes_written: int
    """Handed to the port since the driver was made."""
    bytes_read: int
    """Received since the driver was made."""
    description: str
    """What it is and where, for people."""
    capabilities: BoardCapabilities

    @property
    def bytes_arrived(self) -> int:
        """As `bytes_read`, with what has arrived and `poll` has still to read."""

    @property
    def is_open(self) -> bool:
        """Whether there is a port to read from."""

    def open(self) -> None:
        """Open the port and shake hands, within 2.5 s; raises a BoardError that says what to do."""

    def write(self, command: DriveCommand, now_ns: int) -> None:
        """Send one command; disarmed and neutral instead when it is not finite or arming is refused."""

    def poll(self, now_ns: int) -> BoardStatus:
        """Read what has arrived and return the newest status."""

    def close(self) -> None:
        """Send three disarmed commands if possible, and close the port."""

    def allow_reopen(self, allowed: bool) -> None:
        """Say whether a lost port may be opened again: only while the car is disarmed."""

    def use_calibration(self, calibration: CarCalibration) -> None:
        """Drive with these numbers from now on; only while disarmed."""

    def begin_store(self, pulses: BoardPulses, now_ns: int) -> None:
        """Use these pulses from now on and make the board keep them, without waiting; only while disarmed.

        `poll` goes on with it. Until the board has them `BoardStatus.ready_to_arm` is False; when it will
        not have them, `BoardStatus.problem` says why.
        """

    def store_calibration(self, calibration: CarCalibration | None = None) -> None:
        """Make the board keep this car's numbers (or new ones), only while disarmed; raises BoardError."""


class NeutralSpan:
    """Since when the board has acknowledged nothing but neutral throttle."""

    def __init__(self) -> None:
        self.since_ns = 0
        """0 when the newest acknowledgement was not neutral, or there is none."""
        self._newest_ns = 0

    def acknowledged(self, *, neutral: bool, now_ns: int) -> None:
        """Note an acknowledgement that was read now."""
        gap_ns = now_ns - self._newest_ns
        self._newest_ns = now_ns
        if not neutral:
            self.since_ns = 0
        elif self.since_ns == 0 or gap_ns > NEUTRAL_GAP_S * 1e9:
            self.since_ns = now_ns

    def restart(self) -> None:
        """Forget: the board was reset or lost, and nobody knows what its outputs did."""
        self.since_ns = 0
