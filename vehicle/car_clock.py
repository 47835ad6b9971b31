"""The time of day: whether this computer's clock was set by anything, and what somebody has told it.

Nothing that drives looks at the time of day. Runs keep the boot's id and its monotonic clock, which are right
whatever the time of day is; so a time that is told later dates what was recorded before.
"""

import ctypes
import time
from pathlib import Path

import msgspec

from calibration.store import write_atomically

TIME_ERROR = 5  # <sys/timex.h>: what adjtimex answers for a clock that nothing has set
TIMEX_BYTES = 512  # more than its structure needs anywhere
FILE = "clock.json"


class ToldTime(msgspec.Struct, frozen=True):
    """The time of day at one moment of one boot."""

    boot_id: str
    monotonic_ns: int
    wall_ns: int
    zone: str
    """Where it was told, such as `Europe/Berlin`."""

    def wall_of(self, monotonic_ns: int) -> int:
        """Return the time of day at another moment of the same boot."""
        return self.wall_ns + monotonic_ns - self.monotonic_ns


class CarClock:
    """This computer's clocks, and the file in which a told time is kept beside the runs."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / FILE

    def is_synchronised(self) -> bool:
        """Whether the network, or a clock with a battery that it has set, keeps the time of day."""
        state = int(ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(TIMEX_BYTES)))
        return state not in {TIME_ERROR, -1}

    def boot_id(self) -> str:
        """Return what names this boot, or an empty string where the system does not say."""
        try:
            return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        except OSError:
            return ""

    def told(self) -> ToldTime | None:
        """Return what was told in this boot, None before."""
        try:
            told = msgspec.json.decode(self._file.read_bytes(), type=ToldTime)
        except (OSError, msgspec.MsgspecError):
            return None
        return told if told.boot_id and told.boot_id == self.boot_id() else None

    def tell(self, wall_ns: int, zone: str) -> ToldTime:
        """Keep what the time of day is now; raises CalibrationError where it cannot be written."""
        told = ToldTime(self.boot_id(), time.monotonic_ns(), wall_ns, zone)
        self._file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self._file, msgspec.json.encode(told))
        return told

    def needs_time(self) -> bool:
        """Whether nothing has set the clock in this boot, and nobody has told it the time."""
        return not self.is_synchronised() and self.told() is None

    def now(self) -> tuple[int, bool]:
        """Return the time of day in ns, and whether it is more than a guess."""
        if self.is_synchronised():
            return time.time_ns(), True
        told = self.told()
        return (time.time_ns(), False) if told is None else (told.wall_of(time.monotonic_ns()), True)
