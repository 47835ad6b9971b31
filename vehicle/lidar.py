"""The LIDAR's thread: the newest turn in the car's own frame, however the LIDAR is mounted."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

from models.lidar import Scan
from vehicle.config import LidarMount
from vehicle.errors import LidarError
from vehicle.lidar_hil import HilLidar
from vehicle.lidar_source import LidarSource, RawScan, TimedScan
from vehicle.sensor_thread import SensorThread

SOURCE_KINDS = "rplidar:DEVICE or hil:SOCKET"


def open_lidar_source(spec: str, mount: LidarMount) -> LidarSource:
    """Return the source that `lidar.source` names, not yet open; raises LidarError for a wrong name."""
    kind, _, rest = spec.partition(":")
    if rest and kind == "hil":
        return HilLidar(Path(rest))
    if rest and kind == "rplidar":
        from vehicle.lidar_rplidar import RplidarSource  # noqa: PLC0415 - most cars have none

        return RplidarSource(rest, mount.baud)
    raise LidarError(f"lidar.source is {spec!r}; allowed is {SOURCE_KINDS}; correct it in car.toml")


class Lidar(SensorThread[RawScan, TimedScan]):
    """The newest scan of one LIDAR, kept by a thread of its own."""

    sensor = "LIDAR"
    reading = "scan"

    def __init__(
        self,
        source: LidarSource,
        mount: LidarMount,
        *,
        wanted: bool = True,
        on_start: Callable[[], object] | None = None,
        on_scan: Callable[[TimedScan], object] | None = None,
    ) -> None:
        """Nothing is opened before `start`, nor while it is not `wanted`; `on_scan` gets every scan."""
        super().__init__(source, wanted=wanted, on_start=on_start)
        self._mount = mount
        self._on_scan = on_scan

    @property
    def period_s(self) -> float:
        """Between two scans: as measured, else as the owner says."""
        return 1.0 / (self.measured_rate_hz or self._mount.rate_hz)

    @property
    def note(self) -> str:
        """What its owner should know, in words, or empty."""
        if self._problem:
            return self._problem
        if self.bad_readings:
            return f"{self.bad_readings} scans could not be read; check the LIDAR's cable"
        return ""

    def _after(self, reading: TimedScan) -> None:
        if self._on_scan is not None:
            self._on_scan(reading)

    def _interpret(self, number: int, raw: RawScan) -> TimedScan | None:
        try:
            return TimedScan(number, raw.stamp_ns, in_car_frame(raw, self._mount))
        except ValueError:
            return None


def in_car_frame(raw: RawScan, mount: LidarMount) -> Scan:
    """Return the scan as seen from the car: 0 straight ahead, ascending from -pi to pi.

    Rays at one angle become one, the nearest. Raises ValueError for distances or angles that are none.
    """
    if not np.isfinite(raw.angles_rad).all():
        raise ValueError("a scan has an angle that is not a number")
    if not (raw.ranges_m >= 0.0).all():
        raise ValueError("a scan has a range that is negative or not a number")
    turned_rad = -raw.angles_rad if mount.upside_down else raw.angles_rad
    if mount.zero_points_deg:
        turned_rad = turned_rad + np.float32(math.radians(mount.zero_points_deg))
        turned_rad = (turned_rad + math.pi) % (2.0 * math.pi) - math.pi
    order = np.lexsort((raw.ranges_m, turned_rad))
    angles_rad = turned_rad[order].astype(np.float32)
    first = np.concatenate(([True], np.diff(angles_rad) > 0.0))
    return Scan(angles_rad[first], raw.ranges_m[order][first])
