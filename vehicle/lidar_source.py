"""What a LIDAR is to the vehicle: the contract between the LIDAR's thread and the things that measure."""

from typing import Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from models.lidar import Scan

Floats = npt.NDArray[np.float32]


class RawScan(msgspec.Struct, frozen=True, eq=False):
    """One turn as the LIDAR hands it over, in its own frame."""

    number: int
    """The source's own count; a gap means lost turns, a smaller one that it began anew."""
    stamp_ns: int
    """When the turn was complete."""
    angles_rad: Floats
    """(N,), in any order; 0 is the LIDAR's own zero, positive is left as seen from above."""
    ranges_m: Floats
    """(N,); inf where nothing came back."""


class TimedScan(msgspec.Struct, frozen=True, eq=False):
    """One turn of the LIDAR, in the car's frame."""

    number: int
    stamp_ns: int
    """When the turn was complete."""
    scan: Scan


class LidarSource(Protocol):
    """Something that measures distances; used by one thread, closed and opened again after a failure."""

    @property
    def description(self) -> str:
        """For people: what it is and where."""

    @property
    def silence_limit_s(self) -> float | None:
        """How long without a scan until it is worth opening again; None: never."""

    def open(self) -> None:
        """Open and start; may block for a few seconds; raises LidarError."""

    def read(self, timeout_s: float) -> RawScan | None:
        """Return the next scan, or None after the time-out; raises LidarError when it is gone.

        With a time-out of 0 only a scan that is already waiting is returned.
        """

    def close(self) -> None:
        """Close; open again works afterwards. Never raises, and a second call does nothing."""
