"""The load, temperature, memory and disk of the car's computer, read at most once a second."""

import contextlib
import shutil
import threading
import time
from pathlib import Path

import msgspec

KEPT_S = 1.0


class Host(msgspec.Struct, frozen=True):
    """A computer at a glance; None where it does not say."""

    cpu_frac: float | None
    """Busy share of all processors since the last look."""
    temperature_c: float | None
    """Of the warmest sensor."""
    memory_frac: float | None
    """Used."""
    disk_free_bytes: int | None


class HostHealth:
    """Reads it when somebody asks; safe in any thread."""

    def __init__(self, proc: Path = Path("/proc"), sys: Path = Path("/sys"), disk: Path = Path("/")) -> None:
        self._proc, self._sys, self._disk = proc, sys, disk
        self._lock = threading.Lock()
        self._read_s = float("-inf")
        self._host = Host(None, None, None, None)
        self._ticks: tuple[int, int] | None = None

    def look(self, now_s: float | None = None) -> Host:
        """Return the newest reading."""
        now_s = time.monotonic() if now_s is None else now_s
        with self._lock:
            if now_s - self._read_s >= KEPT_S:
                self._read_s = now_s
                self._host = Host(self._cpu_frac(), self._temperature_c(), self._memory_frac(), self._free())
            return self._host

    def _cpu_frac(self) -> float | None:
        before = self._ticks
        try:
            fields = [
                int(field) for field in (self._proc / "stat").read_text().split("\n", 1)[0].split()[1:9]
            ]
        except (OSError, ValueError):
            return None
        idle, total = fields[3] + fields[4], sum(fields)
        self._ticks = (idle, total)
        if before is None or total <= before[1]:
            return None
        return min(1.0, max(0.0, 1.0 - (idle - before[0]) / (total - before[1])))

    def _temperature_c(self) -> float | None:
        found = []
        for zone in (self._sys / "class/thermal").glob("thermal_zone*/temp"):
            with contextlib.suppress(OSError, ValueError):
                found.append(int(zone.read_text()) / 1000)
        plausible = [degrees for degrees in found if -40.0 < degrees < 150.0]
        return max(plausible, default=None)

    def _memory_frac(self) -> float | None:
        try:
            lines = (self._proc / "meminfo").read_text().splitlines()
            sizes = {name: int(rest.split()[0]) for name, rest in (line.split(":", 1) for line in lines)}
            return 1.0 - sizes["MemAvailable"] / sizes["MemTotal"]
        except (OSError, ValueError, KeyError, IndexError, ZeroDivisionError):
            return None

    def _free(self) -> int | None:
        try:
            return shutil.disk_usage(self._disk).free
        except OSError:
            return None
