"""The HIL world's LIDAR: numbers, stamps and distances over a Unix stream socket.

offset  type       meaning
0       4s         magic, b"LWL1"
4       uint32     count of rays, little-endian as all below
8       uint64     scan number, from 0
16      int64      stamp in ns of the world's clock
24      float32    angle of the first ray in rad; 0 is straight ahead, positive is left
28      float32    angle of the last ray; those between are evenly spaced
32      float32[]  the distances in m; inf where nothing came back
"""

import struct
from pathlib import Path

import numpy as np

from vehicle.errors import LidarError
from vehicle.hil_stream import HilStream
from vehicle.lidar_source import RawScan

HEADER = struct.Struct("<4sIQqff")
MAGIC = b"LWL1"
MAX_RAYS = 8192  # the finest LIDARs have some thousands in a turn


def split_scans(data: bytes) -> tuple[list[RawScan], bytes]:
    """Return the whole scans at the start of `data` and the unread tail; raises LidarError on garbage."""
    scans: list[RawScan] = []
    start = 0
    while len(data) - start >= HEADER.size:
        magic, count, number, stamp_ns, first_rad, last_rad = HEADER.unpack_from(data, start)
        if magic != MAGIC or count > MAX_RAYS:
            raise LidarError(
                f"the HIL LIDAR sent {magic!r} and a count of {count}, expected {MAGIC!r} and at most "
                f"{MAX_RAYS}; both sides must be of one version"
            )
        end = start + HEADER.size + 4 * count
        if end > len(data):
            break
        ranges_m = np.frombuffer(data, "<f4", count, start + HEADER.size).astype(np.float32)
        angles_rad = np.linspace(first_rad, last_rad, count, dtype=np.float32)
        scans.append(RawScan(number, stamp_ns, angles_rad, ranges_m))
        start = end
    return scans, data[start:]


class HilLidar(HilStream[RawScan]):
    """The LIDAR of a HIL car, at its end of the wire."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "LIDAR", split_scans, LidarError)
