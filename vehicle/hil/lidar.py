"""The HIL car's LIDAR, serving side: a turn measured at one instant, and how it goes through the socket.

On the socket, per scan, little-endian: `<4sIQqff` = magic `LWL1`, count of rays, scan number, stamp in ns,
angle of the first ray and of the last in rad (0 straight ahead, positive left, evenly spaced between);
then the distances in m as float32, inf where nothing came back. The stamp is when the driver would hand
the scan over. That a real LIDAR takes a whole turn for it, while the car moves on, is left out.
"""

import struct
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from vehicle.hil.faults import FaultSchedule, Part
from vehicle.hil.lidar_rays import spread_rad
from vehicle.hil.sensor import HilSensor, Timing
from vehicle.hil.settings import LidarSettings

MAGIC = b"LWL1"
HEADER = struct.Struct("<4sIQqff")
RANGE_BYTES = 4

Floats = npt.NDArray[np.float64]


class HilLidar(HilSensor):
    """Measures on the grid of its rate, hands over later, and can be broken; in the time it is told.

    `measure` gets this moment and returns the true distances at `spread_rad`'s angles, inf for none.
    """

    def __init__(
        self,
        settings: LidarSettings,
        measure: Callable[[int], Floats],
        faults: FaultSchedule,
        *,
        seed: int,
        start_ns: int,
    ) -> None:
        timing = Timing(settings.rate_hz, settings.delay_s)
        super().__init__(Part.LIDAR, timing, faults, seed=seed, start_ns=start_ns)
        self._settings = settings
        self._measure = measure
        self._seed = seed
        self._angles_rad = spread_rad(settings.rays, settings.field_deg)

    def _look(self, number: int, exposed_ns: int) -> bytes:
        ranges_m = self._with_limits(self._measure(exposed_ns), number)
        if self._faults.is_on(self.part, "covered"):
            ranges_m = np.full_like(ranges_m, np.inf)
        if self._faults.is_on(self.part, "wrong"):
            ranges_m = ranges_m[::-1]
        return ranges_m.astype("<f4").tobytes()

    def _head(self, number: int, stamp_ns: int, content: bytes) -> bytes:
        first_rad, last_rad = float(self._angles_rad[0]), float(self._angles_rad[-1])
        return HEADER.pack(MAGIC, len(content) // RANGE_BYTES, number, stamp_ns, first_rad, last_rad)

    def _with_limits(self, true_m: Floats, number: int) -> Floats:
        """Return what the LIDAR makes of the true distances; its noise depends on seed and scan alone."""
        settings = self._settings
        noise_m = np.random.default_rng([self._seed, number]).normal(0.0, 1.0, true_m.shape)
        measured_m = true_m + settings.noise_m * noise_m
        is_seen = (measured_m >= settings.min_m) & (measured_m <= settings.max_m)
        return np.where(is_seen, measured_m, np.inf)
