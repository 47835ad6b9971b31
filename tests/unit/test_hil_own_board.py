"""The emulated board keeps the ten rules of docs/board-protocol.md; its frames are literal or hand-made."""

import struct

import pytest
from crccheck.crc import Crc16Ibm3740
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from vehicle.hil.boards import WIRINGS, CarWiring, PulseEvent
from vehicle.hil.own_board import LONGEST_ENCODED, OwnBoard, checked_payload, framed, wiring_is_in_bounds
from vehicle.hil.uart import SerialLine

MS = 1_000_000
START_NS = 1_000 * MS
AWS = WIRINGS["aws"]

# The document's vectors: (payload, on the wire).
VECTORS = {
    "command armed": ("01 07 01 DC 05 DC 05", "00 0A 01 07 01 DC 05 DC 05 91 27 00"),
    "command disarmed": ("01 00 00 AA 05 A6 05", "00 02 01 01 07 AA 05 A6 05 FF C7 00"),
    "command last sequence": ("01 FF 01 A4 06 1F 05", "00 0A 01 FF 01 A4 06 1F 05 8E 66 00"),
    "hello": ("02 01 01", "00 06 02 01 01 EC 81 00"),
    "store aws": (
        "03 02 B0 04 AA 05 A4 06 1F 05 A6 05 44 06",
        "00 11 03 02 B0 04 AA 05 A4 06 1F 05 A6 05 44 06 8D 61 00",
    ),
    "store 1500/1900": (
        "03 03 4C 04 DC 05 6C 07 4C 04 DC 05 6C 07",
        "00 11 03 03 4C 04 DC 05 6C 07 4C 04 DC 05 6C 07 C2 BC 00",
    ),
    "status armed": (
        "81 07 03 00 DC 05 DC 05 E8 1C D2 04 00 00",
        "00 04 81 07 03 09 DC 05 DC 05 E8 1C D2 04 01 03 BD 16 00",
    ),
    "status watchdog": (
        "81 08 0A 01 AA 05 A6 05 00 00 00 00 05 00",
        "00 09 81 08 0A 01 AA 05 A6 05 01 01 01 02 05 03 60 F5 00",
    ),
    "hello reply stored": (
        "82 01 01 03 02 07 B4 00 4C 41 50 57 49 4E 47 01 B0 04 AA 05 A4 06 1F 05 A6 05 44 06",
        "00 08 82 01 01 03 02 07 B4 17 4C 41 50 57 49 4E 47 01 B0 04 AA 05 A4 06 1F 05 A6 05 44 06 78 8E 00",
    ),
    "hello reply fresh": (
        "82 01 01 03 00 07 B4 00 4C 41 50 57 49 4E 47 01 00 00 00 00 00 00 00 00 00 00 00 00",
        "00 05 82 01 01 03 03 07 B4 09 4C 41 50 57 49 4E 47 01 01 01 01 01 01 01 01 01 01 01 01 03 FC 2F 00",
    ),
    "store reply": (
        "83 02 00 B0 04 AA 05 A4 06 1F 05 A6 05 44 06",
        "00 03 83 02 0F B0 04 AA 05 A4 06 1F 05 A6 05 44 06 B4 C0 00",
    ),
    "store reply armed": (
        "83 03 01 B0 04 AA 05 A4 06 1F 05 A6 05 44 06",
        "00 12 83 03 01 B0 04 AA 05 A4 06 1F 05 A6 05 44 06 B6 FE 00",
    ),
}


def wire(payload: bytes) -> bytes:
    """Frame a payload by hand: an encoder that shares nothing with the board's."""
    data = payload + struct.pack("<H", Crc16Ibm3740.calc(payload))
    encoded = bytearray(b"\x00")
    pending = bytearray()
    for byte in data:
        if byte:
            pending.append(byte)
        else:
            encoded += bytes((len(pending) + 1,)) + pending
            pending.clear()
    return bytes(encoded) + bytes((len(pending) + 1,)) + bytes(pending) + b"\x00"


def unwire(data: bytes) -> list[bytes]:
    """Take frames apart by hand, checking each."""
    payloads = []
    for frame in filter(None, data.split(b"\0")):
        decoded, position = bytearray(), 0
        while position < len(frame):
            end = position + frame[position]
            decoded += frame[position + 1 : end] + (b"\0" if end < len(frame) else b"")
            position = end
        assert struct.pack("<H", Crc16Ibm3740.calc(bytes(decoded[:-2]))) == decoded[-2:]
        payloads.append(bytes(decoded[:-2]))
    return payloads


def command(arm: bool, steering_us: int, throttle_us: int, sequence: int = 0) -> bytes:
    return wire(struct.pack("<BBBHH", 1, sequence, int(arm), steering_us, throttle_us))


class Status:
    def __init__(self, payload: bytes) -> None:
        names = (
            "type",
            "sequence",
            "flags",
            "boots",
            "steering_us",
            "throttle_us",
            "battery_mv",
            "ticks",
            "bad",
        )
        self.__dict__.update(zip(names, struct.unpack("<BBBBHHHHH", payload), strict=True))
        self.armed, self.stored, self.stop, self.watchdog, self.refused = (
            bool(self.flags >> bit & 1) for bit in range(5)
        )


class Bench:
    """A board, a clock, and everything that came out."""

    def __init__(self, stored=AWS) -> None:
        self.now_ns = START_NS
        self.board = OwnBoard(START_NS, stored=stored)
        self.pulses: list[PulseEvent] = []
        self.sequence = 0

    def wait_ms(self, ms: float) -> list[PulseEvent]:
        self.now_ns += round(ms * MS)
        pulses = self.board.advance(self.now_ns)
        self.pulses += pulses
        return pulses

    def ask(self, data: bytes) -> list[bytes]:
        """Deliver bytes now, and return the replies, which take 5 ms here."""
        self.board.receive(data, self.now_ns)
        self.wait_ms(5)
        return unwire(self.board.transmit(self.now_ns))

    def command(self, arm: bool, steering_us: int = 1450, throttle_us: int = 1446) -> Status:
        self.sequence = (self.sequence + 1) % 256
        (reply,) = self.ask(command(arm, steering_us, throttle_us, self.sequence))
        status = Status(reply)
        assert (status.type, status.sequence) == (0x81, self.sequence)
        return status

    def drive(self, steering_us: int = 1700, throttle_us: int = 1350) -> Status:
        """Arm and drive."""
        self.command(False)
        assert self.command(True).armed
        return self.command(True, steering_us, throttle_us)

    def store(self, payload: str) -> tuple[int, ...]:
        (reply,) = self.ask(wire(bytes.fromhex(payload)))
        return struct.unpack("<BBB6H", reply)


@pytest.mark.parametrize(("payload", "on_wire"), VECTORS.values(), ids=VECTORS.keys())
def test_frames_are_the_documents_vectors(payload, on_wire):
    payload, on_wire = bytes.fromhex(payload), bytes.fromhex(on_wire)

    assert framed(payload) == on_wire
    assert checked_payload(on_wire[1:-1]) == payload
    assert wire(payload) == on_wire


def test_a_hello_is_answered_with_the_documents_bytes():
    for stored, name in ((AWS, "hello reply stored"), (None, "hello reply fresh")):
        bench = Bench(stored)
        bench.board.receive(bytes.fromhex(VECTORS["hello"][1]), bench.now_ns)

        assert bench.board.transmit(bench.now_ns + 5 * MS) == bytes.fromhex(VECTORS[name][1])


def test_a_hello_of_another_version_is_answered_all_the_same():
    (reply,) = Bench().ask(wire(b"\x02\x09\x63"))

    assert reply[:4] == b"\x82\x09\x01\x03"


def test_the_store_vectors_are_answered_with_the_documents_bytes():
    bench = Bench(stored=None)
    bench.board.receive(bytes.fromhex(VECTORS["store aws"][1]), bench.now_ns)

    assert bench.board.transmit(bench.now_ns + 5 * MS) == bytes.fromhex(VECTORS["store reply"][1])


def test_storing_while_armed_is_refused_with_the_documents_bytes():
    bench = Bench()
    bench.drive()
    bench.board.receive(bytes.fromhex(VECTORS["store 1500/1900"][1]), bench.now_ns)

    assert bench.board.transmit(bench.now_ns + 5 * MS) == bytes.fromhex(VECTORS["store reply armed"][1])


def test_after_boot_there_is_neutral_and_center_every_20_ms():
    pulses = Bench().wait_ms(100)

    assert [pulse.t_ns - START_NS for pulse in pulses] == [0, 20 * MS, 40 * MS, 60 * MS, 80 * MS, 100 * MS]
    assert {(pulse.steering_us, pulse.throttle_us) for pulse in pulses} == {(1450.0, 1446.0)}


def test_a_board_without_stored_values_makes_no_pulses_and_never_arms():
    bench = Bench(stored=None)
    bench.command(False)
    status = bench.command(True)

    assert status.refused
    assert not status.armed
    assert (status.steering_us, status.throttle_us) == (0, 0)
    assert {(pulse.steering_us, pulse.throttle_us) for pulse in bench.wait_ms(100)} == {(0.0, 0.0)}


def test_arming_takes_a_disarmed_command_first_and_neutral_throttle():
    bench = Bench()
    assert bench.command(True).refused  # nothing disarmed came since boot

    bench.command(False)
    assert bench.command(True, throttle_us=1443).refused  # 3 us from neutral
    status = bench.command(True, throttle_us=1444)  # 2 us

    assert status.armed
    assert not status.refused


def test_a_refused_arm_moves_nothing():
    bench = Bench()
    bench.command(True, 1700, 1311)

    assert {pulse[1:] for pulse in bench.wait_ms(100)} == {(1450.0, 1446.0)}


def test_targets_of_a_disarmed_command_are_ignored():
    bench = Bench()
    status = bench.command(False, 1700, 1311)

    assert (status.steering_us, status.throttle_us) == (1450, 1446)


def test_targets_are_clamped_to_what_is_stored():
    bench = Bench()
    bench.drive()

    status = bench.command(True, 2200, 800)
    assert (status.steering_us, status.throttle_us) == (1700, 1311)
    status = bench.command(True, 800, 2200)
    assert (status.steering_us, status.throttle_us) == (1200, 1604)


def test_a_command_that_arrives_as_a_pulse_starts_is_in_that_pulse():
    bench = Bench()
    bench.drive()
    edge_ns = bench.board.next_event_ns()
    bench.board.receive(command(True, 1600, 1400), edge_ns)

    assert bench.board.advance(edge_ns)[-1] == PulseEvent(edge_ns, 1600.0, 1400.0)


def test_the_watchdog_trips_180_ms_after_the_last_command_and_not_before():
    bench = Bench()
    bench.drive()
    bench.wait_ms(100)
    bench.board.receive(command(True, 1700, 1350), bench.now_ns)
    last_ns = bench.now_ns
    pulses = bench.wait_ms(400)

    driven = [pulse.t_ns for pulse in pulses if pulse.throttle_us != 1446.0]
    assert last_ns + 160 * MS < max(driven) < last_ns + 180 * MS
    assert [pulse.t_ns for pulse in pulses] == list(range(pulses[0].t_ns, pulses[-1].t_ns + 1, 20 * MS))


def test_the_watchdog_is_latched_until_a_disarmed_command():
    bench = Bench()
    bench.drive()
    bench.wait_ms(200)

    status = bench.command(True)
    assert (status.armed, status.refused, status.watchdog) == (False, True, True)
    status = bench.command(False)
    assert not status.watchdog
    assert bench.command(True).armed


def test_hello_and_store_do_not_feed_the_watchdog():
    bench = Bench()
    bench.drive()
    bench.wait_ms(150)
    bench.ask(bytes.fromhex(VECTORS["hello"][1]))
    bench.ask(bytes.fromhex(VECTORS["store aws"][1]))
    bench.wait_ms(20)

    assert bench.command(True).watchdog


def test_the_watchdog_needs_no_link_to_trip_nor_does_garbage_feed_it():
    bench = Bench()
    bench.drive()
    for _ in range(20):
        bench.board.receive(b"\x00\x0a\x01\x07\x01\xdc\x05\xdc\x05\x91\x28\x00", bench.now_ns)  # wrong CRC
        bench.wait_ms(10)

    assert bench.pulses[-1].throttle_us == 1446.0


def test_steering_is_held_for_700_ms_on_every_way_out_and_then_centered():
    ways_out = {
        "disarmed": lambda bench: bench.board.receive(command(False, 1450, 1446), bench.now_ns),
        "watchdog": lambda bench: bench.wait_ms(180 - 5),
        "stop input": lambda bench: bench.board.set_inputs(7.4, 0, True, bench.now_ns),
    }
    for name, leave in ways_out.items():
        bench = Bench()
        bench.drive(steering_us=1250)
        leave(bench)
        out_ns = bench.now_ns
        pulses = [pulse for pulse in bench.wait_ms(1000) if pulse.t_ns > out_ns]

        assert {pulse.throttle_us for pulse in pulses} == {1446.0}, name
        assert {p.steering_us for p in pulses if p.t_ns < out_ns + 700 * MS} == {1250.0}, name
        assert {p.steering_us for p in pulses if p.t_ns >= out_ns + 700 * MS} == {1450.0}, name


def test_a_new_drive_ends_the_steering_hold():
    bench = Bench()
    bench.drive(steering_us=1250)
    bench.command(False)
    bench.command(True, 1300, 1446)
    bench.wait_ms(100)

    assert bench.pulses[-1].steering_us == 1300.0


def test_the_stop_input_stops_and_does_not_resume_when_released():
    bench = Bench()
    bench.drive()
    bench.board.set_inputs(7.4, 0, True, bench.now_ns)
    status = bench.command(True, 1700, 1350)
    assert (status.armed, status.stop, status.refused, status.throttle_us) == (False, True, True, 1446)

    bench.board.set_inputs(7.4, 0, False, bench.now_ns)
    assert bench.command(True).refused
    bench.command(False)
    assert bench.command(True).armed


def test_a_held_stop_input_refuses_even_after_a_disarmed_command():
    bench = Bench()
    bench.board.set_inputs(7.4, 0, True, bench.now_ns)
    bench.command(False)

    assert bench.command(True).refused


def test_a_hang_is_a_boot_after_120_ms():
    bench = Bench()
    bench.drive()
    bench.board.hang(bench.now_ns)
    hung_ns = bench.now_ns
    assert bench.ask(command(True, 1450, 1350)) == []
    pulses = bench.wait_ms(200)

    assert all(p.throttle_us == 1350.0 for p in pulses if p.t_ns < hung_ns + 120 * MS)
    assert all(p[1:] == (1450.0, 1446.0) for p in pulses if p.t_ns > hung_ns + 120 * MS)
    status = bench.command(True)
    assert (status.boots, status.armed, status.refused) == (1, False, True)


def test_a_board_that_hangs_after_every_boot_never_drives():
    bench = Bench()
    bench.drive()
    bench.board.set_stuck(True, bench.now_ns)
    bench.wait_ms(130)
    pulses = bench.wait_ms(1000)

    assert {pulse.throttle_us for pulse in pulses} == {1446.0}
    bench.board.set_stuck(False, bench.now_ns)
    assert bench.command(False).boots == 10


def test_a_reset_through_a_bootloader_makes_no_pulses_and_loses_what_comes():
    bench = Bench()
    bench.drive()
    bench.wait_ms(20)
    bench.board.reset(bench.now_ns, bootloader_s=1.0)

    assert {pulse[1:] for pulse in bench.wait_ms(990)} == {(0.0, 0.0)}
    assert bench.ask(command(False, 1450, 1446)) == []
    bench.wait_ms(20)
    status = bench.command(True)
    assert (status.boots, status.refused) == (1, True)
    assert bench.pulses[-1][1:] == (1450.0, 1446.0)


def test_without_power_there_is_nothing_and_its_return_is_a_boot():
    bench = Bench()
    bench.drive()
    bench.board.set_power(False, bench.now_ns)

    assert {pulse[1:] for pulse in bench.wait_ms(100)} == {(0.0, 0.0)}
    assert bench.ask(command(False, 1450, 1446)) == []
    bench.board.set_power(True, bench.now_ns)
    assert bench.command(True).boots == 1


def test_store_keeps_values_over_a_boot_and_out_of_bounds_is_refused():
    bench = Bench()
    assert bench.store("03 03 4C 04 DC 05 6C 07 4C 04 DC 05 6C 07")[2:] == (
        0,
        1100,
        1500,
        1900,
        1100,
        1500,
        1900,
    )
    bench.board.reset(bench.now_ns)
    status = bench.command(False)
    assert (status.steering_us, status.throttle_us, status.stored) == (1500, 1500, True)

    out_of_order = struct.pack("<BB6H", 3, 9, 1700, 1450, 1200, 1311, 1446, 1604).hex()
    too_long = struct.pack("<BB6H", 3, 9, 1200, 1450, 2201, 1311, 1446, 1604).hex()
    equal = struct.pack("<BB6H", 3, 9, 1200, 1450, 1700, 1446, 1446, 1604).hex()
    for payload in (out_of_order, too_long, equal):
        assert bench.store(payload)[2:] == (2, 1100, 1500, 1900, 1100, 1500, 1900)


def test_bad_memory_is_told_and_leaves_a_board_that_will_not_arm():
    bench = Bench()
    bench.board.memory_is_bad = True

    assert bench.store("03 02 B0 04 AA 05 A4 06 1F 05 A6 05 44 06")[2:] == (3, 0, 0, 0, 0, 0, 0)
    bench.command(False)
    assert bench.command(True).refused


def test_battery_ticks_and_boots_are_reported():
    bench = Bench()
    bench.board.set_inputs(7.4, 65536 + 1234, False, bench.now_ns)
    status = bench.command(False)

    assert (status.battery_mv, status.ticks, status.boots, status.bad) == (7400, 1234, 0, 0)


def test_ticks_and_bad_frames_begin_at_0_with_every_boot_and_the_count_of_boots_outlives_power():
    bench = Bench()
    bench.board.set_inputs(7.4, 1234, False, bench.now_ns)
    bench.ask(b"\0noise\0")
    before = bench.command(False)
    bench.board.set_power(False, bench.now_ns)
    bench.wait_ms(100)
    bench.board.set_power(True, bench.now_ns)
    bench.board.set_inputs(7.4, 1239, False, bench.now_ns)
    after = bench.command(False)
    bench.board.set_inputs(7.4, 1230, False, bench.now_ns)

    assert (before.ticks, before.bad, before.boots) == (1234, 1, 0)
    assert (after.ticks, after.bad, after.boots) == (5, 0, 1)
    assert bench.command(False).ticks == 65536 - 4


@pytest.mark.parametrize(
    "payload",
    [
        struct.pack("<BBBHH", 1, 5, 3, 1450, 1446),  # a reserved flag
        struct.pack("<BBBHH", 1, 5, 128, 1450, 1446),
        b"\x01\x05\x00\xaa\x05\xa6",  # one byte short
        b"\x01\x05\x00\xaa\x05\xa6\x05\x00",  # one byte long
        b"\x04\x05\x00",  # unknown type
        b"\x02\x05",
        b"\x81\x07\x03\x00\xdc\x05\xdc\x05\xe8\x1c\xd2\x04\x00\x00",  # a board's own frame
        bytes(60),  # longer than any frame
    ],
)
def test_a_bad_frame_is_counted_and_never_answered(payload):
    bench = Bench()

    assert bench.ask(wire(payload)) == []
    assert bench.command(False).bad == 1


def test_empty_frames_are_ignored_and_a_good_frame_after_noise_is_not_lost():
    bench = Bench()
    assert bench.ask(bytes(7)) == []
    bench.ask(b"\x37\xff\x12" + command(False, 1450, 1446))
    assert bench.command(False).bad == 1


def test_an_unterminated_flood_costs_one_bad_frame():
    bench = Bench()
    for _ in range(50):
        bench.board.receive(b"\xa5" * 100, bench.now_ns)
    (reply,) = bench.ask(command(False, 1450, 1446, sequence=9))

    assert (Status(reply).sequence, Status(reply).bad) == (9, 1)


def test_the_bad_frame_count_stays_at_its_end():
    bench = Bench()
    bench.board.receive(b"\x01\x00" * 70_000, bench.now_ns)

    assert bench.command(False).bad == 65535


def test_frames_may_come_in_any_pieces():
    frame = bytes.fromhex(VECTORS["command disarmed"][1])
    for size in range(1, len(frame)):
        bench = Bench()
        for at in range(0, len(frame), size):
            bench.board.receive(frame[at : at + size], bench.now_ns)
        bench.wait_ms(5)

        assert [Status(reply).sequence for reply in unwire(bench.board.transmit(bench.now_ns))] == [0]


def test_every_flip_of_one_bit_is_noticed():
    good = bytes.fromhex(VECTORS["command disarmed"][1])
    for bit in range(8, 8 * (len(good) - 1)):  # the outer zeros carry nothing
        damaged = bytearray(good)
        damaged[bit // 8] ^= 1 << bit % 8

        assert Bench().ask(bytes(damaged)) == []


def test_a_reply_takes_its_time_on_the_line():
    bench = Bench()
    bench.board.receive(bytes.fromhex(VECTORS["command disarmed"][1]), START_NS)
    status_ns = 19 * 10 * 10**9 // 115200

    assert bench.board.next_transmit_ns() == START_NS + status_ns
    early = bench.board.transmit(START_NS + status_ns - 1)
    late = bench.board.transmit(START_NS + status_ns)
    assert (len(early), len(late)) == (18, 1)


def test_what_does_not_fit_into_the_send_buffer_is_lost_whole():
    bench = Bench()
    for sequence in range(10):
        bench.board.receive(command(False, 1450, 1446, sequence), bench.now_ns)
    replies = unwire(bench.board.transmit(bench.now_ns + 100 * MS))

    assert [reply[1] for reply in replies] == [0, 1, 2]  # 3 x 19 of 64 bytes


def test_a_slow_board_keeps_64_bytes_and_loses_the_rest():
    bench = Bench()
    bench.board.set_slow(0.05, bench.now_ns)
    for sequence in range(10):
        bench.board.receive(command(False, 1450, 1446, sequence), bench.now_ns)
    bench.wait_ms(49)
    assert bench.board.transmit(bench.now_ns) == b""
    bench.wait_ms(1)
    accepted = bench.board.take_accepted()

    assert len(accepted) == 5  # 5 x 12 of 64 bytes
    assert accepted[0].t_ns == START_NS + 50 * MS


def test_a_board_of_another_version_says_so_in_what_all_versions_share():
    bench = Bench()
    bench.board.set_version(99)
    (reply,) = bench.ask(bytes.fromhex(VECTORS["hello"][1]))

    assert reply == b"\x82\x01\x63\x03"


def test_a_board_that_claimed_another_version_tells_the_true_one_again():
    bench = Bench()
    bench.board.set_version(99)
    bench.board.set_version(None)

    assert bench.ask(bytes.fromhex(VECTORS["hello"][1])) == [bytes.fromhex(VECTORS["hello reply stored"][0])]


@pytest.mark.parametrize(
    ("first", "is_allowed"),
    [
        ((800, 801, 802), True),
        ((2198, 2199, 2200), True),
        ((800, 1500, 2200), True),
        ((799, 1500, 2200), False),
        ((800, 1500, 2201), False),
        ((1500, 1500, 1600), False),
        ((1400, 1500, 1500), False),
        ((1500, 1400, 1600), False),
    ],
)
def test_bounds_of_what_may_be_stored_are_strict(first, is_allowed):
    assert all(wiring_is_in_bounds(wiring) for wiring in WIRINGS.values())
    second = (1311, 1446, 1604)
    assert wiring_is_in_bounds(CarWiring(*first, *second)) is is_allowed
    assert wiring_is_in_bounds(CarWiring(*second, *first)) is is_allowed


def test_a_frame_may_be_as_long_as_the_document_says_and_no_longer():
    longest = bytes(range(1, 47))
    assert checked_payload(framed(longest)[1:-1]) == longest
    assert checked_payload(framed(longest + b"\x2f")[1:-1]) is None


def test_a_flood_in_pieces_takes_no_more_memory_than_one_frame():
    bench = Bench()
    for _ in range(100):
        bench.board.receive(b"\xa5" * 40, bench.now_ns)

    assert len(bench.board._encoded) == LONGEST_ENCODED + 1


def test_a_hang_ends_to_the_nanosecond():
    bench = Bench()
    bench.board.hang(bench.now_ns)
    bench.board.advance(bench.now_ns + 120 * MS - 1)
    assert bench.board.boots == 0
    bench.board.advance(bench.now_ns + 120 * MS)

    assert bench.board.boots == 1


def test_a_disarmed_command_forgives_a_refused_arm():
    bench = Bench()
    assert bench.command(True).refused

    assert not bench.command(False).refused


def test_a_new_drive_ends_the_steering_hold_for_good():
    bench = Bench()
    bench.drive(steering_us=1250)
    bench.command(False)
    bench.command(True, 1300, 1446)
    bench.wait_ms(20)
    bench.pulses.clear()
    for _ in range(12):
        bench.command(True, 1300, 1446)
        bench.wait_ms(95)

    assert {pulse.steering_us for pulse in bench.pulses} == {1300.0}


def test_the_end_of_the_steering_hold_is_no_watchdog():
    bench = Bench()
    bench.drive()
    bench.command(False)
    bench.wait_ms(1000)

    status = bench.command(True)
    assert status.armed
    assert not status.watchdog


def test_a_store_at_rest_centers_by_the_new_values():
    bench = Bench()
    bench.store("03 03 4C 04 DC 05 6C 07 4C 04 DC 05 6C 07")
    bench.wait_ms(40)

    assert bench.pulses[-1][1:] == (1500.0, 1500.0)


def test_a_store_that_fails_while_the_steering_is_held_ends_the_pulses():
    bench = Bench()
    bench.drive(steering_us=1250)
    bench.command(False)
    bench.board.memory_is_bad = True
    bench.store("03 02 B0 04 AA 05 A4 06 1F 05 A6 05 44 06")
    bench.wait_ms(40)

    assert bench.pulses[-1][1:] == (0.0, 0.0)


def test_a_battery_of_many_volts_is_reported_as_the_most_that_can_be_said():
    bench = Bench()
    bench.board.set_inputs(70.0, 0, False, bench.now_ns)

    assert bench.command(False).battery_mv == 65535


@pytest.mark.parametrize(("after_ns", "throttle_us"), [(0, 1500.0), (1, 1350.0), (50 * MS, 1350.0)])
def test_other_values_count_from_the_pulse_that_begins_then(after_ns, throttle_us):
    bench = Bench()
    bench.drive()
    edge_ns = bench.board.next_event_ns()
    bench.board.set_wiring(WIRINGS["standard"], edge_ns + after_ns)
    pulses = bench.board.advance(edge_ns + after_ns)

    assert (pulses[0].t_ns, pulses[0].throttle_us) == (edge_ns, throttle_us)


class AnyHost(RuleBasedStateMachine):
    """Whatever a host does, throttle stays neutral without an arm edge, and for long without commands."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench()
        self.last_armed_ns = self.hung_ns = -(10**12)
        self.disarmed_since_trouble = False
        self.may_drive = False
        self.checked = 0

    def note(self) -> None:
        for accepted in self.bench.board.take_accepted():
            if accepted.armed:
                if not self.may_drive:
                    assert self.disarmed_since_trouble, "armed without a disarmed command before"
                    assert abs(accepted.throttle_us - 1446) <= 2, "armed away from neutral"
                self.may_drive = True
                self.last_armed_ns = accepted.t_ns
            else:
                self.may_drive = False

    @rule(ms=st.floats(0.0, 30.0))
    def wait(self, ms: float) -> None:
        self.bench.wait_ms(ms)
        if self.may_drive and self.bench.now_ns >= self.last_armed_ns + 180 * MS:
            self.may_drive = self.disarmed_since_trouble = False  # the watchdog

    @rule(ms=st.sampled_from([150.0, 179.9, 180.0, 180.1, 200.0, 220.0, 800.0]))
    def be_silent(self, ms: float) -> None:
        self.wait(ms)

    @rule(ms=st.sampled_from([100.0, 180.0, 200.0]))
    def drive_stall_and_go_on(self, ms: float) -> None:
        self.drive_as_one_should(1311)
        self.wait(ms)
        self.arm(1446)

    @rule(throttle_us=st.sampled_from([1311, 1604]))
    def drive_as_one_should(self, throttle_us: int) -> None:
        self.disarm(1450, 1446)
        self.arm(1446)
        self.arm(throttle_us)

    @rule(steering_us=st.integers(0, 65535), throttle_us=st.integers(0, 65535))
    def disarm(self, steering_us: int, throttle_us: int) -> None:
        self.bench.board.receive(command(False, steering_us, throttle_us), self.bench.now_ns)
        self.disarmed_since_trouble = True
        self.note()

    @rule(throttle_us=st.sampled_from([1311, 1443, 1444, 1446, 1448, 1449, 1604, 65535]))
    def arm(self, throttle_us: int) -> None:
        self.bench.board.receive(command(True, 1700, throttle_us), self.bench.now_ns)
        self.note()

    @rule(data=st.binary(max_size=80))
    def garbage(self, data: bytes) -> None:
        self.bench.board.receive(data + b"\0", self.bench.now_ns)

    @rule(cut=st.integers(1, 10))
    def part_of_an_armed_command(self, cut: int) -> None:
        self.bench.board.receive(command(True, 1700, 1311)[:cut] + b"\0", self.bench.now_ns)

    @rule(bootloader_s=st.sampled_from([0.0, 0.05]))
    def reset(self, bootloader_s: float) -> None:
        self.bench.board.reset(self.bench.now_ns, bootloader_s)
        self.may_drive = self.disarmed_since_trouble = False
        self.bench.wait_ms(60)

    @rule()
    def hang(self) -> None:
        self.bench.board.hang(self.bench.now_ns)
        self.hung_ns = self.bench.now_ns
        self.bench.wait_ms(141)
        self.may_drive = self.disarmed_since_trouble = False

    @rule()
    def press_stop(self) -> None:
        self.bench.board.set_inputs(7.4, 0, True, self.bench.now_ns)
        self.may_drive = self.disarmed_since_trouble = False
        self.bench.board.set_inputs(7.4, 0, False, self.bench.now_ns)

    @precondition(lambda self: self.bench.pulses)
    @invariant()
    def throttle_is_never_driven_late(self) -> None:
        for pulse in self.bench.pulses[self.checked :]:
            if pulse.throttle_us not in {0.0, 1446.0}:
                # A hang takes its own watchdog with it; the hardware's ends it after 120 ms (rule 9).
                assert pulse.t_ns < max(self.last_armed_ns + 200 * MS, self.hung_ns + 120 * MS)
                assert 1311.0 <= pulse.throttle_us <= 1604.0
        self.checked = len(self.bench.pulses)


TestAnyHost = AnyHost.TestCase
TestAnyHost.settings = settings(max_examples=150, stateful_step_count=40, deadline=None, derandomize=True)


def test_a_store_while_the_steering_is_held_holds_it_within_the_new_bounds():
    bench = Bench()
    bench.drive(steering_us=1250)
    bench.command(False)
    bench.store(struct.pack("<BB6H", 3, 9, 1300, 1450, 1600, 1311, 1440, 1604).hex())
    pulses = bench.wait_ms(60)
    assert {(pulse.steering_us, pulse.throttle_us) for pulse in pulses[1:]} == {(1300.0, 1440.0)}

    pulses = bench.wait_ms(1000)
    assert (pulses[-1].steering_us, pulses[-1].throttle_us) == (1450.0, 1440.0)


def test_other_values_put_in_the_board_begin_as_a_boot_does_and_count_none():
    bench = Bench()
    assert bench.board.wiring == WIRINGS["aws"]
    bench.drive(steering_us=1250)
    boots = bench.board.boots
    bench.board.set_wiring(WIRINGS["standard"], bench.now_ns)
    assert bench.board.wiring == WIRINGS["standard"]
    status = bench.command(True, 1500, 1500)
    assert (status.armed, status.refused, status.boots) == (False, True, boots)
    assert (bench.pulses[-1].steering_us, bench.pulses[-1].throttle_us) == (1500.0, 1500.0)


def test_a_frame_with_nothing_but_a_good_crc_is_no_message():
    assert checked_payload(b"\x03\xff\xff") is None


def test_a_board_is_behind_the_line_that_it_is_given():
    line = SerialLine(9600)
    assert OwnBoard(START_NS, stored=None, line=line)._line is line
