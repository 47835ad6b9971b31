"""When the second camera or the LIDAR stops the car: ages, pairs, scans that repeat or show nothing."""

import msgspec
import numpy as np
import pytest

from models.lidar import Scan
from tests.unit.test_safety import HEALTHY, LIMITS, NOW_NS, PICTURE, frame_of, striped
from vehicle.camera import decode_jpeg
from vehicle.lidar_source import TimedScan
from vehicle.messages import POLICY_SENSOR_FAULTS, Fault
from vehicle.safety import LidarSenses, Monitor, RightEyeSenses, Senses

PERIOD_S = 1 / 30
SCAN_S = 0.1
OVERDUE_S = 0.075
MS = 1_000_000


def scan(number: int = 0, stamp_ns: int = NOW_NS, ranges_m: np.ndarray | None = None) -> TimedScan:
    angles_rad = np.linspace(-3, 3, 50, dtype=np.float32)
    if ranges_m is None:
        ranges_m = np.random.default_rng(number).uniform(0.5, 3.0, 50)
    return TimedScan(number, stamp_ns, Scan(angles_rad, ranges_m.astype(np.float32)))


def right_eye(age_s: float = 0.0, **changes) -> RightEyeSenses:
    healthy = RightEyeSenses(frame_of(PICTURE, stamp_ns=NOW_NS - round(age_s * 1e9)), False, False, NOW_NS)
    return msgspec.structs.replace(healthy, **changes)


def lidar(age_s: float = 0.0, **changes) -> LidarSenses:
    healthy = LidarSenses(scan(stamp_ns=NOW_NS - round(age_s * 1e9)), SCAN_S, False)
    return msgspec.structs.replace(healthy, **changes)


def faults(**changes) -> tuple[Fault, ...]:
    senses: Senses = msgspec.structs.replace(HEALTHY, **changes)
    return Monitor(LIMITS, decode_jpeg).check(senses)


def test_healthy_sensors_give_no_fault() -> None:
    assert faults(right_eye=right_eye(), lidar=lidar()) == ()


@pytest.mark.parametrize(("over_ms", "found"), [(-1, ()), (1, (Fault.RIGHT_CAMERA_OVERDUE,))])
def test_the_right_camera_is_overdue_when_the_left_would_be(over_ms: int, found: tuple) -> None:
    assert faults(right_eye=right_eye(PERIOD_S + OVERDUE_S + over_ms / 1e3)) == found


@pytest.mark.parametrize(("over_ms", "found"), [(-1, ()), (1, (Fault.LIDAR_OVERDUE,))])
def test_a_scan_is_overdue_after_its_own_period_and_the_same_patience(over_ms: int, found: tuple) -> None:
    assert faults(lidar=lidar(SCAN_S + OVERDUE_S + over_ms / 1e3)) == found


def test_a_lidar_that_slows_down_to_a_crawl_does_not_stretch_what_is_borne() -> None:
    assert faults(lidar=lidar(0.2 + OVERDUE_S + 0.001, period_s=2.0)) == (Fault.LIDAR_OVERDUE,)


def test_before_the_first_reading_a_sensor_is_overdue_and_a_lost_one_is_lost_alone() -> None:
    assert faults(right_eye=right_eye(frame=None)) == (Fault.RIGHT_CAMERA_OVERDUE,)
    assert faults(right_eye=right_eye(frame=None, lost=True)) == (Fault.RIGHT_CAMERA_LOST,)
    assert faults(lidar=lidar(scan=None)) == (Fault.LIDAR_OVERDUE,)
    assert faults(lidar=lidar(scan=None, lost=True)) == (Fault.LIDAR_LOST,)


def test_a_reading_from_the_future_is_a_fault_of_any_sensor() -> None:
    assert faults(right_eye=right_eye(-0.04)) == (Fault.FRAME_FROM_FUTURE,)
    assert faults(lidar=lidar(-0.04)) == (Fault.FRAME_FROM_FUTURE,)


def test_a_recording_as_the_right_eye_cannot_drive_a_real_car() -> None:
    assert faults(right_eye=right_eye(is_static=True)) == (Fault.CAMERA_STATIC,)
    assert faults(right_eye=right_eye(is_static=True), board_is_real=False) == ()


@pytest.mark.parametrize(("over_ms", "found"), [(-1, ()), (1, (Fault.STEREO_APART,))])
def test_eyes_that_see_at_different_times_are_apart_once_a_pair_is_overdue(
    over_ms: int, found: tuple
) -> None:
    paired_ns = NOW_NS - round((PERIOD_S + OVERDUE_S) * 1e9) - over_ms * MS
    assert faults(right_eye=right_eye(paired_ns=paired_ns)) == found


def test_a_missing_pair_is_not_named_where_an_eye_itself_is_at_fault() -> None:
    late_ns = NOW_NS - 200 * MS
    assert faults(right_eye=right_eye(0.2, paired_ns=late_ns)) == (Fault.RIGHT_CAMERA_OVERDUE,)
    late_left = frame_of(PICTURE, stamp_ns=late_ns)
    assert faults(frame=late_left, right_eye=right_eye(paired_ns=late_ns)) == (Fault.CAMERA_OVERDUE,)


def looked(monitor: Monitor, **seen) -> set[Fault]:
    monitor.look(
        frame_of(striped(99), seen.pop("number", 0)), is_static=False, **{"policy_drives": True, **seen}
    )
    return set(monitor.check(HEALTHY))


def test_the_fifth_equal_or_blank_picture_of_the_right_eye_is_a_fault_of_its_own() -> None:
    monitor = Monitor(LIMITS, decode_jpeg)
    frozen = [looked(monitor, right=frame_of(PICTURE, number)) for number in range(5)]
    assert frozen == [set()] * 4 + [{Fault.RIGHT_CAMERA_FROZEN}]

    blank = [np.full((120, 160, 3), 9 + number, np.uint8) for number in range(5)]
    covered = [looked(monitor, right=frame_of(image, 10 + number)) for number, image in enumerate(blank)]
    assert covered == [set()] * 4 + [{Fault.RIGHT_CAMERA_COVERED}]


def test_the_third_equal_scan_is_frozen_and_one_seen_twice_counts_once() -> None:
    monitor, same = Monitor(LIMITS, decode_jpeg), scan(1).scan.ranges_m
    seen = [0, 0, 1, 1, 1, 2]
    found = [looked(monitor, scan=scan(number, ranges_m=same)) for number in seen]
    assert found == [set()] * 5 + [{Fault.LIDAR_FROZEN}]
    assert looked(monitor, scan=scan(3)) == set()


@pytest.mark.parametrize("level_m", [np.inf, 0.2])
def test_the_third_scan_without_any_difference_is_blind(level_m: float) -> None:
    monitor = Monitor(LIMITS, decode_jpeg)
    found = [looked(monitor, scan=scan(n, ranges_m=np.full(50, level_m))) for n in range(3)]
    assert found[:2] == [set()] * 2
    assert Fault.LIDAR_BLIND in found[2]
    assert monitor.check(HEALTHY)[0] is Fault.LIDAR_BLIND  # the cause stands before what follows from it


def test_a_scan_with_something_in_it_ends_a_row_of_blind_ones() -> None:
    monitor, blind = Monitor(LIMITS, decode_jpeg), [np.full(50, 1.0 + number) for number in range(4)]
    scans = [scan(0, ranges_m=blind[0]), scan(1), scan(2, ranges_m=blind[2]), scan(3, ranges_m=blind[3])]

    assert [looked(monitor, scan=one) for one in scans] == [set()] * 4


def test_one_ray_that_comes_back_is_not_blind() -> None:
    monitor = Monitor(LIMITS, decode_jpeg)
    for number in range(6):
        ranges_m = np.full(50, np.inf)
        ranges_m[number] = 2.0
        assert looked(monitor, scan=scan(number, ranges_m=ranges_m)) == set()


def test_what_nobody_drives_by_is_forgotten() -> None:
    monitor = Monitor(LIMITS, decode_jpeg)
    for number in range(4):
        looked(monitor, right=frame_of(PICTURE, number), scan=scan(number, ranges_m=np.ones(50)))
    assert looked(monitor, right=None, scan=None, policy_drives=False) == set()
    assert looked(monitor, right=frame_of(PICTURE, 5), scan=scan(5, ranges_m=np.ones(50))) == set()


def test_every_fault_of_these_sensors_is_one_that_a_hand_bears() -> None:
    named = {fault for fault in Fault if fault.value.startswith(("right camera", "stereo", "lidar"))}
    assert named == POLICY_SENSOR_FAULTS


def test_a_right_eye_beside_a_left_one_that_has_seen_nothing_yet_blames_the_left_alone() -> None:
    assert faults(frame=None, right_eye=right_eye()) == (Fault.CAMERA_OVERDUE,)


def test_without_a_policy_neither_eye_nor_lidar_is_looked_at_and_before_a_first_picture_none_is() -> None:
    monitor, same = Monitor(LIMITS, decode_jpeg), np.full(50, 1.5)
    for _ in range(30):
        monitor.look(None, policy_drives=True, is_static=False)
        assert monitor.check(HEALTHY) == ()
    for number in range(30):
        frame = frame_of(PICTURE, number, NOW_NS + number * 33 * MS)
        monitor.look(
            frame, policy_drives=False, is_static=False, right=frame, scan=scan(number, ranges_m=same)
        )
        assert monitor.check(HEALTHY) == ()
