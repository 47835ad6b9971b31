"""What a camera source is: the contract between the camera thread and the things that make pictures."""

from typing import Protocol, runtime_checkable

import msgspec
import numpy as np
import numpy.typing as npt

from vehicle.messages import CameraLocks


class RawFrame(msgspec.Struct, frozen=True, eq=False):
    """One picture as the source hands it over: compressed, or already in pixels."""

    number: int
    """The source's own count; a gap means dropped frames, a smaller one that it began anew."""
    stamp_ns: int
    """When the driver handed it over, before any decoding."""
    jpeg: bytes = b""
    image: npt.NDArray[np.uint8] | None = None
    """Height x width x 3, BGR; None: decode `jpeg`."""


class Granted(msgspec.Struct, frozen=True):
    """What the source gives, which may differ from what it was asked for."""

    rate_hz: float
    width_px: int = 0
    """0: not known before the first picture."""
    height_px: int = 0
    note: str = ""
    """What differs from the wish or could not be set, in words."""


class CameraSource(Protocol):
    """Something that makes pictures; used by one thread, closed and opened again after a failure."""

    @property
    def description(self) -> str:
        """For people: what it is and where."""

    @property
    def is_static(self) -> bool:
        """Whether it shows a recording: it may repeat itself and must not drive a real car."""

    @property
    def granted(self) -> Granted:
        """What it gives; valid once open."""

    @property
    def silence_limit_s(self) -> float | None:
        """How long without a picture until it is worth opening again; None: never."""

    def open(self) -> None:
        """Open and start; may block for a few seconds; raises CameraError."""

    def read(self, timeout_s: float) -> RawFrame | None:
        """Return the next picture, or None after the time-out; raises CameraError when it is gone.

        With a time-out of 0 only a picture that is already waiting is returned.
        """

    def close(self) -> None:
        """Close; open again works afterwards. Never raises, and a second call does nothing."""


@runtime_checkable
class TunableSource(Protocol):
    """A source whose exposure, gain and white balance can be set while it gives pictures."""

    def tune(self, locks: CameraLocks) -> None:
        """Lock these from now on, also when it is opened again; what it cannot do, `granted.note` says."""
