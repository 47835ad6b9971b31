"""The RPLIDAR's bytes, and its driver over a pseudo-terminal against an emulator."""

import math
import time
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vehicle.errors import LidarError
from vehicle.hil.rplidar_emulator import RplidarEmulator
from vehicle.lidar_rplidar import RplidarSource
from vehicle.lidar_source import RawScan
from vehicle.rplidar_protocol import (
    HEALTH_ANSWER,
    INFO_ANSWER,
    SCAN_ANSWER,
    ScanDecoder,
    decode_health,
    encode_request,
    find_descriptor,
)

PATIENCE_S = 6.0

# Written down by hand from the protocol's tables.
NODE_FIRST = bytes.fromhex("3d 01 00 a0 0f")  # quality 15, start; 0 degrees; 4000/4 mm = 1 m
NODE_90 = bytes.fromhex("3e 01 2d 40 1f")  # 90 degrees: 5760 = 0x1680 -> low 7 bits 0, high 0x2d; 2 m
NODE_NOTHING = bytes.fromhex("02 01 5a 00 00")  # 180 degrees, no answer


def node(angle_deg: float, distance_m: float, *, start: bool = False) -> bytes:
    q6, q2 = round(angle_deg * 64), round(distance_m * 4000)
    first = 0x3C | (1 if start else 2)
    return bytes((first, (q6 & 0x7F) << 1 | 1, q6 >> 7, q2 & 255, q2 >> 8))


def turn(distance_m: float, count: int = 60) -> bytes:
    return b"".join(node(i * 360 / count, distance_m, start=i == 0) for i in range(count))


def test_requests_and_descriptors_are_those_of_the_protocol() -> None:
    assert encode_request(0x20) == b"\xa5\x20"
    assert find_descriptor(bytes.fromhex("a5 5a 05 00 00 40 81 01")) == (SCAN_ANSWER, b"\x01")
    assert find_descriptor(bytes.fromhex("00 a5 5a 03 00 00 00 06")) == (HEALTH_ANSWER, b"")
    assert find_descriptor(bytes.fromhex("a5 5a 14 00 00 00 04")) == (INFO_ANSWER, b"")
    assert find_descriptor(b"noise\xa5") == (None, b"\xa5")
    assert find_descriptor(b"noise\xa5\x5a\x05") == (None, b"\xa5\x5a\x05")
    assert decode_health(b"\x02\x01\x80") == (2, 0x8001)


def test_nodes_written_by_hand_are_read_as_the_protocol_says() -> None:
    filler = b"".join(node(200 + i, 1.0) for i in range(40))
    (found,) = ScanDecoder().feed(NODE_FIRST + NODE_90 + NODE_NOTHING + filler + NODE_FIRST)

    assert found.angles_rad[:2] == pytest.approx([0.0, -math.pi / 2])  # clockwise: 90 degrees is right
    assert abs(found.angles_rad[2]) == pytest.approx(math.pi)
    assert found.ranges_m[:3].tolist() == [1.0, 2.0, math.inf]


@given(piece=st.integers(1, 700), turns=st.integers(1, 5))
def test_turns_are_whole_however_the_bytes_are_cut(piece: int, turns: int) -> None:
    data = b"".join(turn(1.0 + number) for number in range(turns)) + NODE_FIRST
    decoder, found = ScanDecoder(), []
    for start in range(0, len(data), piece):
        found += decoder.feed(data[start : start + piece])

    assert [one.ranges_m[0] for one in found] == [1.0 + number for number in range(turns)]
    assert all(len(one.ranges_m) == 60 for one in found)
    assert decoder.bad_bytes == 0


@settings(max_examples=200)
@given(junk=st.binary(max_size=300), at=st.integers(0, 300), cut=st.integers(0, 40))
def test_junk_and_lost_bytes_cost_a_turn_or_two(junk: bytes, at: int, cut: int) -> None:
    clean = turn(2.0)
    broken = clean[:at] + junk + clean[at + cut :]
    found = ScanDecoder().feed(clean + broken + clean + clean + clean + NODE_FIRST)

    assert [one.ranges_m.tolist() for one in found[-2:]] == [[2.0] * 60] * 2
    assert len(found) <= 6
    assert all(len(one.ranges_m) >= 30 for one in found)


def test_a_lost_mark_of_the_start_costs_both_turns() -> None:
    unmarked = bytes((0x3E,)) + turn(2.0)[1:]
    found = ScanDecoder().feed(turn(1.0) + turn(2.0) + unmarked + turn(3.0) + NODE_FIRST)

    assert [one.ranges_m[0] for one in found] == [1.0, 3.0]


def test_a_turn_may_begin_a_little_before_zero_and_tremble() -> None:
    nodes = [node(359.5, 1.0, start=True)] + [node(i * 6 + (2 if i % 2 else 0), 1.0) for i in range(59)]
    (found,) = ScanDecoder().feed(b"".join(nodes) + NODE_FIRST)

    assert len(found.ranges_m) == 60


@given(st.binary(max_size=4000))
def test_anything_at_all_is_survived(data: bytes) -> None:
    for one in ScanDecoder().feed(data):
        assert (one.ranges_m >= 0).all()
        assert (np.abs(one.angles_rad) <= np.float32(math.pi)).all()


def test_noise_costs_the_process_that_drives_little() -> None:
    """Looking at every byte by itself took 17 s of processor time for the line of a test."""
    decoder, noise = (
        ScanDecoder(),
        np.random.default_rng(1).bytes(115_200 // 10 * 10),
    )  # ten seconds of a line
    began_s = time.process_time()
    found = [turn for i in range(0, len(noise), 600) for turn in decoder.feed(noise[i : i + 600])]

    assert found == []
    assert len(noise) - 200 < decoder.bad_bytes <= len(noise)
    assert time.process_time() - began_s < 0.5  # 0.02 s where nothing else runs
    (last,) = decoder.feed(turn(1.0) + turn(3.0) + NODE_FIRST)[-1:]
    assert last.ranges_m.tolist() == [3.0] * 60


def room_m(angle_deg: float) -> float:
    """Something at 1 m ahead, 0.5 m right (clockwise 90 degrees), nothing behind, 2 m elsewhere."""
    if angle_deg < 10 or angle_deg > 350:
        return 1.0
    if 80 < angle_deg < 100:
        return 0.5
    return math.inf if 170 < angle_deg < 190 else 2.0


@pytest.fixture
def lidar() -> Iterator[tuple[RplidarEmulator, RplidarSource]]:
    emulator = RplidarEmulator(room_m, turns_per_s=20.0)
    source = RplidarSource(emulator.device, 115200)
    yield emulator, source
    source.close()
    emulator.close()


def next_scan(source: RplidarSource, timeout_s: float = PATIENCE_S) -> RawScan:
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        scan = source.read(0.1)
        if scan is not None:
            return scan
    raise AssertionError("no scan came")


def test_the_driver_measures_what_stands_around(lidar) -> None:
    emulator, source = lidar
    source.open()
    scan = next_scan(source)
    following = next_scan(source)

    degrees = np.rad2deg(scan.angles_rad)
    assert len(degrees) == 360
    assert scan.ranges_m[np.argmin(np.abs(degrees))] == 1.0
    assert scan.ranges_m[np.argmin(np.abs(degrees + 90))] == 0.5  # to the right is negative
    assert scan.ranges_m[np.argmin(np.abs(degrees - 90))] == 2.0
    assert np.isinf(scan.ranges_m[np.argmax(np.abs(degrees))])
    assert following.number == scan.number + 1
    assert following.stamp_ns > scan.stamp_ns

    source.close()
    time.sleep(0.1)
    assert emulator.requests == [0x25, 0x52, 0x20, 0x25]  # stop, health, scan; and stop at the end


def test_it_can_be_opened_again_while_it_still_streams(lidar) -> None:
    emulator, source = lidar
    source.open()
    next_scan(source)
    second = RplidarSource(emulator.device, 115200)
    with pytest.raises(LidarError, match="cannot be used"):
        second.open()
    source._port.close()  # as after a crash: nobody told it to stop
    source._port = None
    second.open()
    assert next_scan(second).ranges_m[0] == 1.0
    second.close()


@pytest.mark.parametrize(("what", "share"), [("garbage_share", 0.002), ("lost_share", 0.002)])
def test_a_noisy_line_still_gives_turns(lidar, what: str, share: float) -> None:
    emulator, source = lidar
    source.open()
    setattr(emulator, what, share)
    assert len(next_scan(source).ranges_m) >= 30


@pytest.mark.parametrize("what", ["garbage_share", "is_silent"])
def test_a_line_that_gives_nothing_readable_gives_no_scan(lidar, what: str) -> None:
    emulator, source = lidar
    source.open()
    next_scan(source)
    setattr(emulator, what, 1.0)
    end_s = time.monotonic() + 0.6
    late = []
    while time.monotonic() < end_s:
        scan = source.read(0.05)
        if scan is not None and time.monotonic() > end_s - 0.3:
            late.append(scan)
    assert late == []


def test_a_silent_lidar_is_refused_in_words(lidar) -> None:
    emulator, source = lidar
    emulator.is_silent = True
    with pytest.raises(LidarError, match="does not answer"):
        source.open()


def test_an_error_is_reset_once(lidar) -> None:
    emulator, source = lidar
    emulator.health = 2
    source.open()

    assert next_scan(source).ranges_m[0] == 1.0
    assert 0x40 in emulator.requests


def test_an_error_that_stays_is_told(lidar) -> None:
    emulator, source = lidar
    emulator.health, emulator.heals_by_reset = 2, False
    with pytest.raises(LidarError, match="0x8001"):
        source.open()


def test_a_device_that_is_not_there_is_named() -> None:
    with pytest.raises(LidarError, match="/dev/nowhere"):
        RplidarSource("/dev/nowhere", 115200).open()
