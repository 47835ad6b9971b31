"""The `board` driver against a scripted peer behind a pseudo-terminal, byte for byte."""

import math
import os
import select
import subprocess
import sys
import termios
import time

import msgspec
import pytest
from crccheck.crc import Crc16Ibm3740
from serial_peer import SerialBench, SerialPeer

from calibration.car import AWS_DEFAULTS, HIL_AWS, STANDARD_1500
from vehicle.board.base import pulses_of
from vehicle.board.own import OwnBoard
from vehicle.board.port import SerialPort
from vehicle.calibrating import Preparation
from vehicle.errors import (
    BoardBusyError,
    BoardConfigError,
    BoardNotFoundError,
    BoardSilentError,
    BoardVersionError,
)
from vehicle.messages import Actuator, DriveCommand

MS = 1_000_000
AWS_STORED = bytes.fromhex("B0 04 AA 05 A4 06 1F 05 A6 05 44 06")
STANDARD_STORED = bytes.fromhex("4C 04 DC 05 6C 07 4C 04 DC 05 6C 07")
BOARD_ID = bytes.fromhex("4C 41 50 57 49 4E 47 01")
ARMED, STORED, STOP_INPUT, WATCHDOG, ARM_REFUSED = 1, 2, 4, 8, 16
NEUTRAL = DriveCommand(armed=False, steering_us=1450.0, throttle_us=1446.0)
FORWARD = DriveCommand(armed=True, steering_us=1600.0, throttle_us=1400.0)


def framed(payload):
    data = payload + Crc16Ibm3740.calc(payload).to_bytes(2, "little")
    return b"\0" + b"".join(bytes([len(run) + 1]) + run for run in data.split(b"\0")) + b"\0"


def unframed(data):
    """Return the payloads between the zeros, by our own plain COBS, each with a CRC that is right."""
    payloads = []
    for frame in filter(None, data.split(b"\0")):
        runs, place = [], 0
        while place < len(frame):
            runs.append(frame[place + 1 : place + frame[place]])
            place += frame[place]
        decoded = b"\0".join(runs)
        assert Crc16Ibm3740.calc(decoded[:-2]) == int.from_bytes(decoded[-2:], "little")
        payloads.append(decoded[:-2])
    return payloads


class Peer(SerialPeer):
    """A board of the simplest kind: applies every command, answers every frame, unless told otherwise."""

    def __init__(self, path):
        super().__init__(path)
        self.heard = []
        """Payloads in order of arrival."""
        self.mute = False
        self.version = 1
        self.stored = AWS_STORED
        self.watchdog_ms = 180
        self.capabilities = 7
        self.extra_flags = STORED
        self.boots = 3
        self.battery_mv = 7400
        self.ticks = 0
        self.bad_frames = 0
        self.store_result = 0

    def hear(self, total):
        """Read until `total` bytes have come since the plug went in; return the new payloads."""
        payloads = unframed(self.receive(total))
        self.heard += payloads
        return payloads

    def answer(self, payload):
        """Return the reply that the document says, or nothing for what this peer ignores."""
        kind, sequence = payload[0], payload[1]
        if kind == 1:
            armed, targets = payload[2] & 1, payload[3:7]
            if not armed:
                targets = self.stored[2:4] + self.stored[8:10]
            flags = self.extra_flags | (ARMED if armed else 0)
            numbers = (self.battery_mv, self.ticks, self.bad_frames)
            body = bytes([0x81, sequence, flags, self.boots]) + targets
            return framed(body + b"".join(number.to_bytes(2, "little") for number in numbers))
        if kind == 2:
            body = bytes([0x82, sequence, self.version, 3, self.extra_flags & STORED, self.capabilities])
            return framed(body + self.watchdog_ms.to_bytes(2, "little") + BOARD_ID + self.stored)
        if self.store_result == 0:
            self.stored, self.extra_flags = payload[2:], self.extra_flags | STORED
        return framed(bytes([0x83, sequence, self.store_result]) + self.stored)


class Bench(SerialBench):
    """The driver and a board that answers."""

    def __init__(self, tmp_path, calibration=AWS_DEFAULTS):
        super().__init__(Peer(tmp_path / "board"))
        self.board = OwnBoard(
            str(tmp_path / "board"), calibration, now_ns=lambda: self.now_ns, wait=self.let_time_pass
        )

    def let_time_pass(self, seconds):
        self.now_ns += int(seconds * 1e9)
        self.serve()

    def serve(self):
        """Let the peer hear everything that was sent, answer it, and wait until that can be read."""
        if self.peer.master is None:
            return []
        payloads = self.peer.hear(self.board.bytes_written - self.plugged_at)
        if not self.peer.mute:
            for payload in payloads:
                self.peer.say(self.peer.answer(payload))
        return payloads

    def tick(self, command=NEUTRAL, ms=20):
        """Let time pass, send one command, have it answered, and return the payloads heard and the status."""
        self.now_ns += ms * MS
        self.board.write(command, self.now_ns)
        payloads = self.serve()
        return payloads, self.poll()


@pytest.fixture
def make_bench(tmp_path):
    benches = []

    def make(**settings):
        calibration = settings.pop("calibration", AWS_DEFAULTS)
        benches.append(Bench(tmp_path, calibration))
        for name, value in settings.items():
            setattr(benches[-1].peer, name, value)
        return benches[-1]

    yield make
    for bench in benches:
        bench.board.close()
        if bench.peer.master is not None:
            bench.unplug()


@pytest.fixture
def bench(make_bench):
    bench = make_bench()
    bench.board.open()
    return bench


def test_open_says_hello_and_knows_the_board(bench):
    assert bench.peer.heard[0] == bytes.fromhex("02 00 01")
    assert "4C4157494E" not in bench.board.description
    assert "4C415057494E4701, firmware 3" in bench.board.description
    assert bench.board.capabilities == (True, True, True)


def test_a_command_crosses_the_wire_as_the_document_says(bench):
    payloads, status = bench.tick(FORWARD)
    assert payloads == [bytes([1, 1, 1]) + (1600).to_bytes(2, "little") + (1400).to_bytes(2, "little")]
    assert status.connected
    assert status.acked_armed
    assert (status.applied_steering_us, status.applied_throttle_us) == (1600.0, 1400.0)
    assert status.acked_sent_ns == status.received_ns == bench.now_ns


def test_pulses_beyond_the_calibration_are_clamped_before_they_are_sent(bench):
    payloads, _ = bench.tick(DriveCommand(armed=True, steering_us=2100.0, throttle_us=900.0))
    assert payloads[0][3:] == (1700).to_bytes(2, "little") + (1311).to_bytes(2, "little")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("field", ["steering_us", "throttle_us"])
def test_a_command_that_is_not_finite_goes_out_neutral_and_disarmed(bench, field, value):
    payloads, status = bench.tick(msgspec.structs.replace(FORWARD, **{field: value}))
    assert payloads[0][2:] == bytes([0]) + (1450).to_bytes(2, "little") + (1446).to_bytes(2, "little")
    assert not status.acked_armed
    assert "allowed are finite pulses" in status.problem


def test_health_is_when_the_newest_acknowledged_command_was_sent_not_when_bytes_came(bench):
    bench.tick()
    first_ns = bench.now_ns
    answers = []
    bench.peer.mute = True
    for _ in range(3):
        payloads, _ = bench.tick()
        answers += [bench.peer.answer(payload) for payload in payloads]
    bench.peer.say(answers[0])
    status = bench.poll()
    assert status.acked_sent_ns == first_ns + 20 * MS
    assert status.received_ns == first_ns + 60 * MS


def test_an_acknowledgement_that_was_overtaken_changes_nothing(bench):
    bench.peer.mute = True
    (old,), _ = bench.tick(FORWARD)
    (new,), _ = bench.tick(NEUTRAL)
    bench.peer.say(bench.peer.answer(new))
    newest = bench.poll()
    bench.peer.say(bench.peer.answer(old))
    assert bench.poll() == newest
    assert not newest.acked_armed


def test_an_answer_to_no_command_of_ours_counts_for_nothing(bench):
    bench.tick()
    acked_ns = bench.now_ns
    bench.now_ns += 20 * MS
    bench.peer.say(bench.peer.answer(bytes([1, 200, 0, 0, 0, 0, 0])))
    assert bench.poll().acked_sent_ns == acked_ns


def test_sequences_wrap_and_go_on_being_acknowledged(bench):
    for _ in range(600):
        _, status = bench.tick()
        assert status.acked_sent_ns == bench.now_ns
    assert [payload[1] for payload in bench.peer.heard] == [count % 256 for count in range(601)]


def test_neutral_counts_from_the_first_neutral_acknowledgement_without_a_gap(bench):
    _, status = bench.tick(NEUTRAL)
    since_ns = bench.now_ns
    for _ in range(5):
        _, status = bench.tick(DriveCommand(armed=True, steering_us=1600.0, throttle_us=1446.0))
    assert status.neutral_acked_since_ns == since_ns
    _, status = bench.tick(FORWARD)
    assert status.neutral_acked_since_ns == 0
    _, status = bench.tick(NEUTRAL)
    assert status.neutral_acked_since_ns == bench.now_ns
    _, status = bench.tick(NEUTRAL, ms=300)
    assert status.neutral_acked_since_ns == bench.now_ns


def test_a_board_without_pulses_is_not_neutral(bench):
    bench.peer.stored = bytes(12)
    _, status = bench.tick(NEUTRAL)
    assert status.neutral_acked_since_ns == 0


def test_boots_are_counted_and_neutral_begins_again(bench):
    bench.tick()
    bench.tick()
    bench.peer.boots = 5
    _, status = bench.tick()
    assert status.boots == 2
    assert status.neutral_acked_since_ns == bench.now_ns
    bench.peer.boots = 255
    bench.tick()
    bench.peer.boots = 0
    _, status = bench.tick()
    assert status.boots == 253


def test_wheel_ticks_are_unwrapped_both_ways_and_survive_a_boot(bench):
    bench.peer.ticks = 65_530
    _, status = bench.tick()
    assert status.wheel_ticks == 0
    bench.peer.ticks = 4
    _, status = bench.tick()
    assert status.wheel_ticks == 10
    bench.peer.ticks = 65_534
    _, status = bench.tick()
    assert status.wheel_ticks == 4
    bench.peer.boots, bench.peer.ticks = 4, 100  # since the boot
    _, status = bench.tick()
    assert status.wheel_ticks == 104
    bench.peer.boots, bench.peer.ticks = 5, 65_535
    _, status = bench.tick()
    assert status.wheel_ticks == 103


def test_battery_stop_input_watchdog_and_bad_frames_are_passed_on(bench):
    bench.tick()
    bench.peer.battery_mv, bench.peer.bad_frames = 6900, 4
    bench.peer.extra_flags = STORED | STOP_INPUT | WATCHDOG
    _, status = bench.tick()
    assert status.battery_v == 6.9
    assert status.stop_input
    assert status.watchdog_tripped
    assert status.bad_packets == 4
    assert not status.ready_to_arm
    assert "release it" in status.problem


def test_bad_frames_of_the_board_are_counted_through_a_boot_and_stop_at_their_end(bench):
    bench.peer.bad_frames = 65_530
    _, status = bench.tick()
    assert status.bad_packets == 0
    bench.peer.bad_frames = 65_535
    bench.tick()
    _, status = bench.tick()
    assert status.bad_packets == 5
    bench.peer.boots, bench.peer.bad_frames = 4, 3
    bench.tick()
    _, status = bench.tick()
    assert status.bad_packets == 8


def test_bits_that_the_document_does_not_name_are_ignored(make_bench):
    bench = make_bench(capabilities=0b11111010, extra_flags=STORED | 0b11100000)
    honest = bench.peer.answer

    def answer_with_unnamed_bits(payload):
        if payload[0] != 2:
            return honest(payload)
        (reply,) = unframed(honest(payload))
        return framed(reply[:4] + bytes([reply[4] | 0b11100000]) + reply[5:])

    bench.peer.answer = answer_with_unnamed_bits
    bench.board.open()
    bench.tick()
    _, status = bench.tick(FORWARD)
    assert bench.board.capabilities == (False, True, False)
    assert status.acked_armed
    assert status.ready_to_arm
    assert not status.stop_input
    assert not status.watchdog_tripped
    assert status.problem == ""


def test_what_the_board_cannot_measure_is_none(make_bench):
    bench = make_bench(capabilities=0, battery_mv=0)
    bench.board.open()
    _, status = bench.tick()
    assert status.battery_v is None
    assert status.wheel_ticks is None


def test_noise_on_the_line_is_counted_and_nothing_else(bench):
    bench.tick()
    bench.peer.say(b"\x55\x02\xff\x00\x13\x37\x00")
    _, status = bench.tick()
    assert status.bad_packets == 2
    assert status.acked_sent_ns == bench.now_ns


def test_a_refused_arm_is_not_armed_and_says_what_to_do(bench):
    bench.peer.extra_flags = STORED | ARM_REFUSED
    bench.peer.answer, honest = (
        (
            lambda payload: (
                honest(payload[:2] + bytes([0]) + payload[3:]) if payload[0] == 1 else honest(payload)
            )
        ),
        bench.peer.answer,
    )
    _, status = bench.tick(FORWARD)
    assert not status.acked_armed
    assert "refused to arm; disarm" in status.problem


def stubborn(peer, *, until_told=None):
    """Have a board acknowledge all, and go on with full throttle, armed; until told this many us."""
    honest = peer.answer

    def answer(payload):
        if payload[0] == 1 and int.from_bytes(payload[5:7], "little") != until_told:
            return honest(payload[:2] + bytes([ARMED]) + payload[3:5] + (1311).to_bytes(2, "little"))
        return honest(payload)

    peer.answer = answer


def test_a_board_that_acknowledges_and_does_something_else_is_stopped_and_named(bench):
    bench.tick(NEUTRAL)
    bench.tick(FORWARD)
    _, status = bench.tick(FORWARD)
    assert status.problem == ""
    stubborn(bench.peer, until_told=1446)
    _, status = bench.tick(FORWARD)
    assert "acknowledged 1400 us armed and puts out 1311 us armed; if a wheel turns" in status.problem
    heard, status = bench.tick(FORWARD)

    assert heard[0][2] == 0  # it is told to stop, whatever the loop would still want
    assert not status.acked_armed
    assert status.problem == ""  # and has obeyed


def test_a_board_that_will_not_stop_is_named_for_as_long_and_never_counts_as_neutral(bench):
    bench.tick(NEUTRAL)
    stubborn(bench.peer)
    for _ in range(3):
        _, status = bench.tick(NEUTRAL)
        assert "acknowledged 1446 us disarmed and puts out 1311 us armed; if a wheel turns" in status.problem
        assert status.neutral_acked_since_ns == 0
    del bench.peer.answer
    _, status = bench.tick(NEUTRAL)
    assert status.problem == ""
    _, status = bench.tick(FORWARD)
    assert status.acked_armed


@pytest.mark.parametrize(
    ("settings", "seen"),
    [
        ({"stored": STANDARD_STORED}, "steering_min_us is 1100, allowed 1200 +-2"),
        (
            {"stored": AWS_STORED[:8] + b"\xa9\x05" + AWS_STORED[10:]},
            "throttle_neutral_us is 1449, allowed 1446",
        ),
        ({"stored": bytes(12), "extra_flags": 0}, "no pulses stored"),
        ({"watchdog_ms": 1000}, "watchdog is 1000 ms, allowed 50 to 200"),
        ({"watchdog_ms": 0}, "watchdog is 0 ms, allowed 50 to 200"),
    ],
)
def test_a_board_that_does_not_hold_this_cars_numbers_opens_but_is_never_armed(make_bench, settings, seen):
    bench = make_bench(**settings)
    bench.board.open()
    payloads, status = bench.tick(FORWARD)
    assert payloads[0][2] == 0
    assert status.connected
    assert not status.ready_to_arm
    assert seen in status.problem


def test_two_microseconds_of_difference_are_the_same_pulse(make_bench):
    bench = make_bench(stored=AWS_STORED[:8] + b"\xa8\x05" + AWS_STORED[10:])
    bench.board.open()
    _, status = bench.tick()
    assert status.ready_to_arm
    assert status.problem == ""


def test_a_board_whose_memory_fails_while_it_runs_is_not_ready_any_more(bench):
    bench.peer.extra_flags = 0
    _, status = bench.tick()
    assert not status.ready_to_arm
    payloads, _ = bench.tick(FORWARD)
    assert payloads[0][2] == 0


def test_storing_the_calibration_makes_the_board_ready(make_bench):
    bench = make_bench(stored=bytes(12), extra_flags=0)
    bench.board.open()
    assert not bench.tick()[1].ready_to_arm
    bench.board.store_calibration()
    assert bench.peer.heard[-1][2:] == AWS_STORED
    payloads, status = bench.tick(FORWARD)
    assert status.ready_to_arm
    assert payloads[0][2] == 1


def test_another_calibration_can_be_stored_and_is_driven_with(bench):
    bench.board.store_calibration(STANDARD_1500)
    assert bench.peer.stored == STANDARD_STORED
    payloads, status = bench.tick(DriveCommand(armed=True, steering_us=1900.0, throttle_us=1100.0))
    assert payloads[0][2:] == bytes([1]) + (1900).to_bytes(2, "little") + (1100).to_bytes(2, "little")
    assert status.ready_to_arm


@pytest.mark.parametrize(
    ("result", "seen"), [(1, "armed"), (2, "out of bounds"), (3, "memory"), (9, "result 9")]
)
def test_a_board_that_will_not_store_gives_its_reason(bench, result, seen):
    bench.peer.store_result = result
    with pytest.raises(BoardConfigError, match=seen):
        bench.board.store_calibration()


def test_storing_while_armed_is_refused_before_anything_is_sent(bench):
    bench.tick(FORWARD)
    heard = len(bench.peer.heard)
    with pytest.raises(BoardConfigError, match="armed, storing is allowed only disarmed"):
        bench.board.store_calibration()
    assert len(bench.peer.heard) == heard


def of_calibrating(actuator, neutral_us):
    pulses = Preparation(actuator, 1450.0, neutral_us, 0).board_pulses()
    return b"".join(round(one).to_bytes(2, "little") for one in pulses)


@pytest.mark.parametrize("actuator", Actuator)
@pytest.mark.parametrize(("neutral_us", "moves_no_wheel"), [(1444.0, True), (1449.0, False)])
def test_a_board_that_was_left_calibrating_is_known_and_whether_its_motor_rests(
    make_bench, actuator, neutral_us, moves_no_wheel
):
    bench = make_bench(stored=of_calibrating(actuator, neutral_us))
    bench.board.open()
    _, status = bench.tick()
    assert status.was_cut_off is moves_no_wheel
    assert not status.ready_to_arm
    assert (
        f"cut off while the board's neutral was {neutral_us:.0f} us, and this car's is 1446" in status.problem
    )

    bench.board.begin_store(pulses_of(AWS_DEFAULTS), bench.now_ns)
    assert not bench.board.poll(bench.now_ns).was_cut_off  # or it would be told again and again
    status = until(lambda status: status.ready_to_arm, bench)
    assert bench.peer.stored == AWS_STORED
    assert not status.was_cut_off


def test_a_board_that_calibrates_now_was_not_cut_off(bench):
    bench.board.begin_store(Preparation(Actuator.THROTTLE, 1450.0, 1446.0, 0).board_pulses(), bench.now_ns)
    status = until(lambda status: not status.is_storing, bench)
    assert not status.was_cut_off
    assert status.ready_to_arm


def test_a_store_that_is_begun_never_waits_and_is_ready_with_its_answer(make_bench):
    bench = make_bench(stored=bytes(12), extra_flags=0)
    bench.board.open()
    bench.tick()
    bench.board.begin_store(pulses_of(STANDARD_1500), bench.now_ns)
    status = bench.board.poll(bench.now_ns)  # sent here, answered when the peer is served
    assert status.is_storing
    assert not status.ready_to_arm
    assert "being told this car's pulses" in status.problem
    bench.tick()
    _, status = bench.tick()
    assert bench.peer.stored == STANDARD_STORED
    assert not status.is_storing
    assert status.ready_to_arm


def test_of_two_stores_the_newest_counts(bench):
    bench.tick()
    bench.board.begin_store(pulses_of(STANDARD_1500), bench.now_ns)
    bench.board.poll(bench.now_ns)
    bench.board.begin_store(pulses_of(AWS_DEFAULTS), bench.now_ns)
    for _ in range(3):
        _, status = bench.tick()
    assert bench.peer.stored == AWS_STORED
    assert status.ready_to_arm


def test_a_board_that_is_still_armed_is_asked_again_once_it_is_not(bench):
    bench.tick(FORWARD)
    bench.peer.store_result = 1
    bench.board.begin_store(pulses_of(STANDARD_1500), bench.now_ns)
    for _ in range(3):
        _, status = bench.tick()
    assert status.is_storing
    bench.peer.store_result = 0
    status = until(lambda status: not status.is_storing, bench)
    assert bench.peer.stored == STANDARD_STORED
    assert status.ready_to_arm


def test_a_store_that_comes_to_nothing_is_said_and_forbids_arming(bench):
    bench.peer.store_result = 3
    bench.board.begin_store(pulses_of(STANDARD_1500), bench.now_ns)
    status = until(lambda status: not status.is_storing, bench)
    assert "did not store" in status.problem
    assert "memory" in status.problem
    assert not status.ready_to_arm
    payloads, _ = bench.tick(FORWARD)
    assert payloads[0][2] == 0


def test_a_store_waits_for_a_board_that_was_unplugged_meanwhile(bench):
    bench.tick()
    bench.unplug()
    bench.tick()
    bench.board.begin_store(pulses_of(STANDARD_1500), bench.now_ns)
    for _ in range(100):
        _, status = bench.tick()
    assert status.is_storing
    bench.plug_in()
    bench.board.allow_reopen(True)
    status = until(lambda status: status.connected and not status.is_storing, bench)
    assert bench.peer.stored == STANDARD_STORED


def test_a_store_without_an_answer_is_an_error_after_three_attempts(bench):
    bench.peer.mute = True
    with pytest.raises(BoardSilentError, match="did not answer STORE in 3 attempts"):
        bench.board.store_calibration()
    assert [payload[0] for payload in bench.peer.heard].count(3) == 3


def test_a_board_that_was_deaf_to_a_store_is_told_again_until_it_hears(bench):
    answer = bench.peer.answer
    bench.peer.answer = lambda payload: b"" if payload[0] == 3 else answer(payload)
    bench.board.begin_store(pulses_of(STANDARD_1500), bench.now_ns)
    status = until(lambda status: not status.is_storing, bench)
    assert "did not answer STORE" in status.problem
    assert not status.ready_to_arm

    bench.peer.answer = answer
    status = until(lambda status: status.ready_to_arm, bench)
    assert bench.peer.stored == STANDARD_STORED
    assert not status.problem


def test_a_silent_board_is_an_error_after_hellos_every_100_ms_for_two_and_a_half_seconds(make_bench):
    bench = make_bench(mute=True)
    started_ns = bench.now_ns
    with pytest.raises(BoardSilentError, match=r"sent nothing in 2\.5 s.*check the board's power"):
        bench.board.open()
    assert bench.now_ns - started_ns == 2_500 * MS
    assert [payload[0] for payload in bench.peer.heard] == [2] * 25


def test_a_port_that_talks_garbage_is_not_called_silent(make_bench):
    bench = make_bench()
    bench.peer.answer = lambda payload: b"\x55" * 30 + b"\0" + b"AT\r\n\0" * 5
    with pytest.raises(BoardSilentError, match=r"sent 1400 bytes in 2\.5 s, none of them.*115200 baud"):
        bench.board.open()


def test_a_board_with_another_protocol_is_refused_with_the_remedy(make_bench):
    bench = make_bench(version=2)
    with pytest.raises(BoardVersionError, match=r"version 2.*firmware 3.*allowed is version 1; install"):
        bench.board.open()


@pytest.mark.parametrize("length", [4, 5, 27, 29, 46])
@pytest.mark.parametrize("version", [0, 2, 255])
def test_another_protocol_is_named_however_long_its_answer_is(make_bench, version, length):
    bench = make_bench()
    bench.peer.answer = lambda payload: framed(
        (bytes([0x82, payload[1], version, 9]) + b"\xa5" * 42)[:length]
    )
    with pytest.raises(
        BoardVersionError, match=rf"version {version} .*firmware 9.*allowed is version 1; install"
    ):
        bench.board.open()
    assert f"version {version} " in bench.board.poll(bench.now_ns).problem


def test_another_protocols_answer_to_no_hello_of_ours_refuses_nothing(make_bench):
    bench = make_bench(mute=True)
    bench.peer.say(framed(bytes([0x82, 200, 2, 9])))
    with pytest.raises(BoardSilentError):
        bench.board.open()


def test_a_board_that_comes_back_with_another_protocol_is_refused_again(bench):
    bench.tick()
    bench.unplug()
    bench.tick()
    bench.peer.version = 2
    bench.plug_in()
    bench.board.allow_reopen(True)
    status = until(lambda status: "version 2" in status.problem, bench)
    assert not status.connected
    assert not status.ready_to_arm


def test_a_bootloaders_noise_and_a_late_answer_are_waited_for(make_bench):
    bench = make_bench()
    honest = bench.peer.answer

    def wake_up_late(payload):
        return b"\x14\x10\x00\xff optiboot" if bench.now_ns < 3_000_000_000 else honest(payload)

    bench.peer.answer = wake_up_late
    bench.board.open()
    assert bench.now_ns >= 3_000_000_000
    _, status = bench.tick()
    assert status.connected
    assert status.bad_packets == 0


def test_a_missing_port_says_what_to_do(tmp_path):
    board = OwnBoard(str(tmp_path / "nothing"), AWS_DEFAULTS)
    with pytest.raises(BoardNotFoundError, match="does not exist; plug the board in"):
        board.open()
    assert "does not exist" in board.poll(1).problem


def test_a_file_is_not_a_port(tmp_path):
    (tmp_path / "board").write_bytes(b"")
    with pytest.raises(BoardNotFoundError, match="is not a serial port"):
        OwnBoard(str(tmp_path / "board"), AWS_DEFAULTS).open()


def test_nothing_is_opened_before_open(make_bench):
    bench = make_bench()
    bench.board.allow_reopen(True)
    for _ in range(10):
        _, status = bench.tick(FORWARD, ms=1000)
        assert not status.connected
    assert bench.peer.heard == []


def test_a_second_process_cannot_open_the_port(bench):
    code = (
        "import sys; from calibration.car import AWS_DEFAULTS; from vehicle.board.own import OwnBoard;"
        "from vehicle.errors import BoardBusyError\n"
        "try: OwnBoard(sys.argv[1], AWS_DEFAULTS).open()\n"
        "except BoardBusyError as error: print(error)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code, str(bench.peer.path)], capture_output=True, text=True, check=True
    )
    assert "held by another process" in answer.stdout


def test_a_second_driver_in_this_process_cannot_open_it_either_until_the_first_closes(bench):
    with pytest.raises(BoardBusyError, match="held by another process, allowed is one"):
        SerialPort(str(bench.peer.path))
    bench.board.close()
    SerialPort(str(bench.peer.path)).close()


def test_the_line_does_not_hang_up_on_close(make_bench):
    bench = make_bench()
    attributes = termios.tcgetattr(bench.peer._slave)
    attributes[2] |= termios.HUPCL
    termios.tcsetattr(bench.peer._slave, termios.TCSANOW, attributes)
    bench.board.open()
    attributes = termios.tcgetattr(bench.peer._slave)
    assert not attributes[2] & termios.HUPCL
    assert attributes[4] == termios.B115200


def test_close_sends_three_disarmed_commands(bench):
    bench.tick(FORWARD)
    bench.board.close()
    payloads = bench.peer.hear(bench.board.bytes_written)
    assert [payload[0] for payload in payloads] == [1, 1, 1]
    assert {payload[2] for payload in payloads} == {0}
    bench.board.close()


def test_a_write_that_does_not_fit_is_named_counts_as_not_sent_and_never_waits(bench):
    bench.tick()
    acked_ns = bench.now_ns
    started = time.monotonic()
    for _ in range(20_000):
        bench.now_ns += 1
        bench.board.write(NEUTRAL, bench.now_ns)
        status = bench.board.poll(bench.now_ns)
        if status.problem:
            break
    assert time.monotonic() - started < 5.0
    assert "has stopped reading" in status.problem
    assert status.acked_sent_ns == acked_ns
    last_sequence = (bench.board._sequence - 1) % 256
    bench.peer.say(bench.peer.answer(bytes([1, last_sequence, 0, 0, 0, 0, 0])))
    assert bench.poll().acked_sent_ns == acked_ns


def test_a_line_on_which_nothing_waits_is_not_read(bench, monkeypatch):
    """The kernel would make the loop wait for bytes that are on their way to this end: 0.1 s under load."""
    bench.tick()

    line = bench.board._port._descriptor

    def read_what_waits(descriptor, size, read=os.read):
        data = read(descriptor, size)
        assert data or descriptor != line
        return data

    monkeypatch.setattr(os, "read", read_what_waits)
    polled_ns = bench.board.poll(bench.now_ns).acked_sent_ns
    assert bench.tick()[1].acked_sent_ns > polled_ns


def test_an_unplugged_board_is_a_status_not_an_exception(bench):
    bench.tick(FORWARD)
    bench.unplug()
    _, status = bench.tick(FORWARD)
    assert not status.connected
    assert not status.ready_to_arm
    assert not status.acked_armed
    assert status.neutral_acked_since_ns == 0
    assert "is gone" in status.problem
    assert "check the board's plug" in status.problem


def test_what_has_arrived_is_counted_before_it_is_read_and_outlives_the_plug(bench):
    bench.tick()
    bench.board.write(NEUTRAL, bench.now_ns + 20 * MS)
    bench.serve()
    deadline = time.monotonic() + 2.0
    while bench.board.bytes_arrived < bench.peer.bytes_said:
        assert time.monotonic() < deadline
    assert bench.board.bytes_read < bench.peer.bytes_said
    bench.unplug()
    bytes_said = bench.board.bytes_arrived
    assert bench.board.poll(bench.now_ns).acked_sent_ns == bench.now_ns + 20 * MS
    assert bench.board.bytes_read == bytes_said
    bench.board.write(NEUTRAL, bench.now_ns)
    assert not bench.board.poll(bench.now_ns).connected
    assert not bench.board.is_open


def until(condition, bench, ms=20):
    """Tick until the condition holds of the status; on the real clock because a thread is waited for."""
    deadline = time.monotonic() + 5.0
    while time.monotonic() < deadline:
        _, status = bench.tick(ms=ms)
        if condition(status):
            return status
    raise AssertionError(status)


def test_a_lost_board_is_opened_again_only_when_allowed_and_counts_as_booted(bench):
    _, before = bench.tick()
    assert before.neutral_acked_since_ns == bench.now_ns
    bench.unplug()
    assert bench.tick()[1].neutral_acked_since_ns == 0
    bench.plug_in()
    for _ in range(200):
        _, status = bench.tick()
    assert not status.connected
    bench.board.allow_reopen(True)
    status = until(lambda status: status.connected and status.acked_sent_ns == bench.now_ns, bench)
    assert status.boots == before.boots + 1
    assert status.ready_to_arm
    assert status.problem == ""


def test_opening_again_never_makes_the_loop_wait(bench, monkeypatch):
    bench.tick()
    bench.unplug()
    bench.tick()
    opening = time.monotonic() + 0.3

    def slow(path):
        time.sleep(max(0.0, opening - time.monotonic()))
        raise BoardNotFoundError(f"{path} does not exist; plug it in")

    bench.board._reopener._open_port = lambda: slow("x")
    bench.board.allow_reopen(True)
    longest = 0.0
    for _ in range(100):
        started = time.monotonic()
        bench.tick()
        longest = max(longest, time.monotonic() - started)
    assert longest < 0.2
    assert time.monotonic() < opening


def test_after_coming_back_the_calibration_is_compared_again(bench):
    bench.tick()
    bench.unplug()
    bench.tick()
    bench.peer.stored = STANDARD_STORED
    bench.plug_in()
    bench.board.allow_reopen(True)
    status = until(lambda status: status.connected and status.acked_sent_ns == bench.now_ns, bench)
    assert not status.ready_to_arm
    assert "allowed 1200" in status.problem


def test_a_board_that_was_absent_at_the_start_is_found_later(make_bench):
    bench = make_bench()
    bench.unplug()
    with pytest.raises(BoardNotFoundError):
        bench.board.open()
    bench.plug_in()
    bench.board.allow_reopen(True)
    status = until(lambda status: status.connected and status.acked_sent_ns == bench.now_ns, bench)
    assert status.boots == 0


def test_a_board_that_never_answered_is_called_silent_while_it_is_greeted_again(make_bench):
    bench = make_bench(mute=True)
    with pytest.raises(BoardSilentError):
        bench.board.open()
    bench.board.allow_reopen(True)
    written = bench.board.bytes_written
    deadline = time.monotonic() + 5.0
    while bench.board.bytes_written == written:
        assert time.monotonic() < deadline
        _, status = bench.tick()
        assert "sent nothing in 2.5 s" in status.problem
    assert "sent nothing in 2.5 s" in bench.tick()[1].problem
    bench.peer.mute = False
    assert until(lambda status: status.connected, bench).problem == ""


def test_after_a_second_of_silence_the_board_is_greeted_again_before_it_is_believed(bench):
    bench.tick()
    acked_ns = bench.now_ns
    bench.peer.mute = True
    late = []
    for _ in range(60):
        payloads, status = bench.tick()
        late += payloads
    assert status.acked_sent_ns == acked_ns
    assert late[-1][0] == 2
    bench.peer.mute = False
    for payload in late[:50]:
        bench.peer.say(bench.peer.answer(payload))
    assert bench.poll().acked_sent_ns == acked_ns
    status = until(lambda status: status.acked_sent_ns == bench.now_ns, bench)
    assert status.ready_to_arm
    assert status.boots == 0


def test_a_write_and_a_poll_take_little_of_a_tick(bench):
    spent = []
    for _ in range(300):
        bench.now_ns += 20 * MS
        started = time.perf_counter()
        bench.board.write(FORWARD, bench.now_ns)
        written = time.perf_counter()
        bench.serve()
        deadline = time.monotonic() + 1.0
        while not select.select([bench.board._port._descriptor], [], [], 0.1)[0]:
            assert time.monotonic() < deadline
        polling = time.perf_counter()
        bench.board.poll(bench.now_ns)
        spent.append(written - started + time.perf_counter() - polling)
    median_us = sorted(spent)[len(spent) // 2] * 1e6
    print(f"write + poll: median {median_us:.0f} us, p99 {sorted(spent)[-3] * 1e6:.0f} us")
    assert median_us < 400.0  # about 40 measured on a quiet machine


def test_the_hil_cars_board_holds_the_same_pulses_as_the_aws_cars(make_bench):
    bench = make_bench(calibration=HIL_AWS)
    bench.board.open()
    assert bench.tick()[1].ready_to_arm
