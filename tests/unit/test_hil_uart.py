"""Bytes arrive at line rate, and a broken line breaks them as its fault says."""

import itertools

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


def test_wrong_bytes_are_flipped_lost_doubled_or_behind_a_strange_one():
    line, _ = broken("serial_out=wrong:1")
    kinds = set()
    for place in range(200):
        came = through(line, b"U", place * 10**12)
        is_flipped = len(came) == 1 and (came[0] ^ ord("U")).bit_count() == 1
        is_behind = len(came) == 2 and came[0] != ord("U") and came[1] == ord("U")
        assert came in {b"", b"UU"} or is_flipped or is_behind
        kinds.add("flipped" if is_flipped else "behind" if is_behind else came)

    assert kinds == {"flipped", "behind", b"", b"UU"}


def test_split_bytes_come_alone_and_each_is_an_event():
    line, _ = broken("serial_in=split:0.002", part=Part.SERIAL_IN)
    line.push(b"ab", 0)
    line.push(b"c", 0)
    came = []
    while (at_ns := line.next_arrival_ns()) != NEVER_NS:
        came.append((at_ns - BYTE_NS, line.pop(at_ns)))

    assert [data for _, data in came] == [b"a", b"b", b"c"]
    assert all(late[0] - early[0] >= 2_000_000 for early, late in itertools.pairwise(came))


def test_an_adapter_that_batches_hands_over_all_at_once_at_its_own_times():
    line, _ = broken("serial_in=batched:0.016", part=Part.SERIAL_IN)
    line.push(b"ab", 1_000_000)
    line.push(b"cd", 9_000_000)
    line.push(b"ef", 17_000_000)

    assert line.pop(15_999_999) == b""
    assert line.pop(16_001_000) == b"abcd"
    assert line.pop(31_999_999) == b""
    assert line.pop(32_001_000) == b"ef"


def test_a_stall_holds_back_what_is_handed_over_from_then_on_and_bursts():
    line = SerialLine(115200)
    line.push(b"a", 0)
    line.stall(10_000_000)
    line.push(b"b", 1_000_000)
    line.push(b"c", 9_000_000)

    assert line.pop(10_000_000) == b"a"
    assert line.pop(10_000_000 + 3 * BYTE_NS) == b"bc"
    line.push(b"d", 20_000_000)
    assert line.pop(20_000_000 + 2 * BYTE_NS) == b"d"


def test_reordered_replies_come_in_groups_backwards_and_none_is_lost():
    line, faults = broken("serial_in=reordered:3@0..1", part=Part.SERIAL_IN)

    assert [through(line, data) for data in (b"a", b"b", b"c", b"d")] == [b"", b"", b"cba", b""]
    faults.advance(10**9)
    assert through(line, b"e", 10**9) == b"de"
