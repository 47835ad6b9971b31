"""From a LIDAR's bytes to a scan in the car's frame: the HIL world's socket, and how a LIDAR is mounted."""

import math
import struct
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vehicle.config import LidarMount
from vehicle.errors import LidarError
from vehicle.lidar import Lidar, in_car_frame, open_lidar_source
from vehicle.lidar_hil import MAX_RAYS, split_scans
from vehicle.lidar_source import RawScan

PATIENCE_S = 5.0


def packed(number: int, ranges_m: list[float], *, magic: bytes = b"LWL1", stamp_ns: int = 7) -> bytes:
    """One scan as the world sends it, from the description; all around."""
    head = struct.pack("<4sIQqff", magic, len(ranges_m), number, stamp_ns, -1.0, 1.0)
    return head + struct.pack(f"<{len(ranges_m)}f", *ranges_m)


def raw(angles_deg: list[float], ranges_m: list[float]) -> RawScan:
    angles_rad = np.deg2rad(np.array(angles_deg, np.float32))
    return RawScan(0, 0, angles_rad, np.array(ranges_m, np.float32))


@given(st.lists(st.integers(1, 40), max_size=6), st.integers(1, 50))
def test_scans_are_found_in_bytes_cut_anywhere(counts: list[int], piece: int) -> None:
    data = b"".join(packed(number, [float(number)] * count) for number, count in enumerate(counts))
    scans, tail = [], b""
    for start in range(0, len(data), piece):
        found, tail = split_scans(tail + data[start : start + piece])
        scans += found

    assert tail == b""
    assert [(scan.number, len(scan.ranges_m)) for scan in scans] == list(enumerate(counts))
    assert all((scan.ranges_m == scan.number).all() for scan in scans)


def test_angles_are_evenly_spaced_between_the_two_of_the_header() -> None:
    (scan,), _ = split_scans(packed(3, [1.0, 2.0, math.inf]))

    assert scan.angles_rad.tolist() == [-1.0, 0.0, 1.0]
    assert scan.ranges_m.tolist() == [1.0, 2.0, math.inf]
    assert (scan.number, scan.stamp_ns) == (3, 7)


@pytest.mark.parametrize(
    "data", [packed(0, [1.0], magic=b"LWF1"), struct.pack("<4sIQqff", b"LWL1", MAX_RAYS + 1, 0, 0, 0, 0)]
)
def test_what_is_no_scan_is_refused_in_words(data: bytes) -> None:
    with pytest.raises(LidarError, match="one version"):
        split_scans(data)


def test_a_lidar_that_points_backwards_is_turned_and_sorted() -> None:
    scan = in_car_frame(raw([-90, 0, 90, 170], [1, 2, 3, 4]), LidarMount(zero_points_deg=180.0))

    assert np.rad2deg(scan.angles_rad) == pytest.approx([-180, -90, -10, 90], abs=1e-4)
    assert scan.ranges_m.tolist() == [2, 3, 4, 1]


def test_a_lidar_upside_down_has_left_and_right_the_other_way() -> None:
    scan = in_car_frame(raw([-90, 0, 45], [1, 2, 3]), LidarMount(upside_down=True))

    assert np.rad2deg(scan.angles_rad) == pytest.approx([-45, 0, 90], abs=1e-4)
    assert scan.ranges_m.tolist() == [3, 2, 1]


def test_of_rays_at_one_angle_the_nearest_counts() -> None:
    scan = in_car_frame(raw([10, 10, -10, 10], [3, 1, 5, math.inf]), LidarMount())

    assert scan.ranges_m.tolist() == [5, 1]


@pytest.mark.parametrize("bad", [math.nan, -1.0])
def test_a_distance_that_is_none_makes_no_scan(bad: float) -> None:
    with pytest.raises(ValueError, match="range"):
        in_car_frame(raw([0, 1, 2], [1, bad, 1]), LidarMount())


def test_an_angle_that_is_none_makes_no_scan() -> None:
    with pytest.raises(ValueError, match="angle"):
        in_car_frame(raw([0, math.inf, 2], [1, 1, 1]), LidarMount())


@pytest.mark.parametrize("spec", ["", "rplidar:", "sick:/dev/x", "hil"])
def test_a_source_that_is_none_is_refused_with_what_is_allowed(spec: str) -> None:
    with pytest.raises(LidarError, match="rplidar:DEVICE or hil:SOCKET"):
        open_lidar_source(spec, LidarMount())


@pytest.mark.parametrize(("spec", "words"), [("hil:/x/y", "HIL LIDAR at /x/y"), ("rplidar:/dev/z", "/dev/z")])
def test_a_source_is_named_and_not_opened(spec: str, words: str) -> None:
    assert words in open_lidar_source(spec, LidarMount()).description


class ScriptedLidar:
    """Hands over the scans that a test gives it."""

    description = "scripted LIDAR"
    silence_limit_s = None

    def __init__(self, *scans: RawScan) -> None:
        self.scans = list(scans)
        self.opened = self.closed = 0

    def open(self) -> None:
        self.opened += 1

    def read(self, timeout_s: float) -> RawScan | None:
        if self.scans and timeout_s:
            return self.scans.pop(0)
        time.sleep(timeout_s / 10)
        return None

    def close(self) -> None:
        self.closed += 1


def test_a_scan_that_cannot_be_read_is_counted_and_the_last_good_one_stays() -> None:
    bad = RawScan(1, 2, np.zeros(2, np.float32), np.array([1, math.nan], np.float32))
    lidar = Lidar(ScriptedLidar(raw([0, 1], [2, 3]), bad), LidarMount())
    lidar.start()
    try:
        assert lidar.await_number(1, PATIENCE_S)
        assert lidar.latest().number == 0
        assert lidar.bad_readings == 1
        assert "could not be read" in lidar.note
    finally:
        lidar.stop()


def test_a_lidar_that_nobody_wants_is_not_opened_and_one_no_longer_wanted_is_closed_and_forgotten() -> None:
    source = ScriptedLidar(raw([0, 1], [2, 3]))
    lidar = Lidar(source, LidarMount(), wanted=False)
    lidar.start()
    try:
        time.sleep(0.05)
        assert source.opened == 0
        lidar.want(True)
        assert lidar.await_number(0, PATIENCE_S)
        lidar.want(False)
        deadline_s = time.monotonic() + PATIENCE_S
        while not source.closed and time.monotonic() < deadline_s:
            time.sleep(0.01)
        time.sleep(0.05)
        assert (source.opened, source.closed) == (1, 1)
        assert lidar.latest() is None
        assert not lidar.lost
    finally:
        lidar.stop()


def test_a_lidar_without_a_world_is_lost_in_words(tmp_path: Path) -> None:
    lidar = Lidar(open_lidar_source(f"hil:{tmp_path / 'lidar.sock'}", LidarMount()), LidarMount())
    lidar.start()
    try:
        deadline_s = time.monotonic() + PATIENCE_S
        while not lidar.lost and time.monotonic() < deadline_s:
            time.sleep(0.01)
        assert "start the HIL world" in lidar.note
    finally:
        lidar.stop()


def test_the_period_is_the_owners_until_it_is_measured() -> None:
    assert Lidar(ScriptedLidar(), LidarMount(rate_hz=8.0)).period_s == 0.125
