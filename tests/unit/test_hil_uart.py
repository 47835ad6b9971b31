"""Bytes arrive at line rate, and a broken line breaks them as its fault says."""

import pytest

from vehicle.hil.faults import NEVER_NS, FaultSchedule, Part, parse_fault
from vehicle.hil.uart import FaultyLine, SerialLine

BYTE_NS = 10 * 10**9 // 115200
DATA = bytes(range(1, 101))


def broken(*texts: str, part: Part = Part.SERIAL_OUT) -> tuple[SerialLine, FaultSchedule]:
    faults = FaultSchedule([parse_fault(text) for text in texts], seed=7)
    faults.advance(0)
    return SerialLine(115200, damage=FaultyLine(part, faults)), faults


def through(line: SerialLine, data: bytes = DATA, now_ns: int = 0) -> bytes:
    line.push(data, now_ns)
    return line.pop(now_ns + 10**12)


def test_twelve_bytes_take_1041_microseconds():
    line = SerialLine(115200)
    line.push(bytes(12), 5_000)

    assert line.next_arrival_ns() == 5_000 + 12 * 10 * 10**9 // 115200
    assert len(line.pop(line.next_arrival_ns() - 1)) == 11
    assert len(line.pop(line.next_arrival_ns())) == 1
    assert line.next_arrival_ns() == NEVER_NS


@pytest.mark.parametrize("baud", [9600, 115200, 640_000, 1_234_567])
def test_a_byte_is_there_exactly_from_its_last_bit_on(baud):
    for index in range(20):
        line = SerialLine(baud)
        line.push(bytes(20), 17)
        arrival_ns = 17 + (index + 1) * 10 * 10**9 // baud

        assert len(line.pop(arrival_ns - 1)) == index
        assert len(line.pop(arrival_ns)) == 1


def test_bytes_wait_for_those_before_them():
    line = SerialLine(115200)
    line.push(b"ab", 0)
    line.push(b"c", 0)

    assert line.pop(2 * BYTE_NS + 1) == b"ab"
    assert line.pending == 1
    assert line.pop(3 * BYTE_NS + 1) == b"c"


def test_an_event_is_at_every_delimiter_that_can_end_a_frame():
    line = SerialLine(115200, delimiter=0)
    line.push(b"\x00ab\x00\x00cd\x00", 0)
    seen = []
    while (at_ns := line.next_arrival_ns()) != NEVER_NS:
        seen.append(line.pop(at_ns))

    assert seen == [b"\x00", b"ab\x00", b"\x00cd\x00"]


def test_a_sound_line_changes_nothing():
    for part in (Part.SERIAL_OUT, Part.SERIAL_IN):
        assert through(broken("camera=off", part=part)[0]) == DATA


def test_off_loses_everything():
    assert through(broken("serial_out=off")[0]) == b""


def test_a_stuck_host_line_bursts_when_it_is_free_again():
    line, faults = broken("serial_out=stuck@0..1")
    assert through(line, b"ab") == b""
    faults.advance(10**9)

    assert through(line, b"c", 10**9) == b"abc"


def test_a_stuck_board_line_repeats_the_last_good_reply():
    line, faults = broken("serial_in=stuck@1", part=Part.SERIAL_IN)
    assert through(line, b"first") == b"first"
    faults.advance(10**9)

    assert through(line, b"second", 10**9) == b"first"


def test_garbage_is_random_bytes_of_the_same_number():
    garbled = through(broken("serial_out=garbage")[0])

    assert len(garbled) == len(DATA)
    assert sum(a == b for a, b in zip(garbled, DATA, strict=True)) < 5


def test_wrong_touches_only_its_share():
    damaged = through(broken("serial_out=wrong:0.1")[0])

    assert damaged != DATA
    assert 90 <= len(damaged) <= 110


def test_slow_and_delayed_change_the_times_alone():
    line, _ = broken("serial_out=slow:0.5")
    line.push(b"ab", 0)
    assert line.next_arrival_ns() == 2 * 10 * 10**9 // 57600
    line, _ = broken("serial_out=delayed:0.25")
    line.push(b"a", 0)
    assert line.next_arrival_ns() == 250_000_000 + BYTE_NS


def test_intermittent_loses_its_share_of_writes_whole():
    line, _ = broken("serial_out=intermittent:0.3")
    arrived = sum(through(line, b"abc", at * 10**12) == b"abc" for at in range(1000))

    assert 650 < arrived < 750


def test_what_a_board_garbles_or_delays_shows_on_its_line():
    assert through(broken("board=garbage", part=Part.SERIAL_IN)[0]) != DATA
    line, _ = broken("board=delayed:0.25", part=Part.SERIAL_IN)
    line.push(b"a", 0)
    assert line.next_arrival_ns() == 250_000_000 + BYTE_NS


def test_a_line_can_hold_only_so_much():
    line = SerialLine(115200)
    for _ in range(10):
        line.push(bytes(10_000), 0)

    assert line.pending == 60_000


def test_the_same_seed_breaks_it_in_the_same_way():
    assert through(broken("serial_out=wrong:0.5")[0]) == through(broken("serial_out=wrong:0.5")[0])
