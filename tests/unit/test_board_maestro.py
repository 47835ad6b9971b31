"""The `maestro` driver against a scripted peer behind a pseudo-terminal, byte for byte."""

import math
import time

import msgspec
import pytest
from crccheck.crc import Crc
from serial_peer import SerialBench, SerialPeer

from calibration.car import AWS_DEFAULTS, STANDARD_1500
from vehicle.board import open_board
from vehicle.board.failsafe_proof import FailsafeProof, identity_of, load_proof, save_proof
from vehicle.board.maestro import MaestroBoard
from vehicle.board.own import OwnBoard
from vehicle.errors import BoardConfigError, BoardNotFoundError, BoardSilentError
from vehicle.messages import DriveCommand

MS = 1_000_000
CRC_ERROR, PROTOCOL_ERROR, TIMEOUT_ERROR = 0x08, 0x10, 0x20
LENGTHS = {0x84: 3, 0x87: 3, 0x89: 3, 0x90: 1, 0xA1: 0, 0xA4: 0}
NEUTRAL = DriveCommand(armed=False, steering_us=1450.0, throttle_us=1446.0)
FORWARD = DriveCommand(armed=True, steering_us=1600.0, throttle_us=1400.0)
CENTER_Q, NEUTRAL_Q, FORWARD_Q = 5800, 5784, 5600


def crc7(data):
    return Crc(7, 0x09, initvalue=0, reflect_input=True, reflect_output=True).process(data).final()


class Peer(SerialPeer):
    """A Maestro with two servo channels and the settings that its owner should have made."""

    def __init__(self, path):
        super().__init__(path)
        self.timeout_ns = 180 * MS
        self.homes = {0: CENTER_Q, 1: NEUTRAL_Q}
        """Where a channel goes on an error; None leaves it."""
        self.limits = (3968, 8000)
        self.checks_crc = True
        self.stumbles_over_crc = False
        self.wrong_crcs = 0
        self.mute = False
        self.commands = []
        """(command byte, data) in order of arrival."""
        self.errors = 0
        self.heard_ns = 0

    def plug_in(self):
        super().plug_in()
        self.positions = {0: 0, 1: 0}

    def fail(self, bit):
        self.errors |= bit
        for channel, home in self.homes.items():
            if home is not None:
                self.positions[channel] = home

    def pass_time(self, now_ns):
        if self.timeout_ns and self.heard_ns and now_ns - self.heard_ns > self.timeout_ns:
            self.fail(TIMEOUT_ERROR)

    def obey(self, data, now_ns):
        """Take whole commands; return what a Maestro answers."""
        replies = b""
        while data:
            command, count = data[0], LENGTHS[data[0]]
            body, data = data[: 1 + count], data[1 + count :]
            crc, data = data[0], data[1:]
            if crc != crc7(body):
                self.wrong_crcs += 1
                if self.checks_crc:
                    self.fail(CRC_ERROR)
                    continue
            if self.stumbles_over_crc:
                self.fail(PROTOCOL_ERROR)
            self.heard_ns = now_ns
            self.commands.append((command, body[1:]))
            if command == 0x84:
                low, high = self.limits
                target = body[2] + (body[3] << 7)
                self.positions[body[1]] = min(max(target, low), high)
            elif command == 0x90:
                replies += self.positions[body[1]].to_bytes(2, "little")
            elif command == 0xA1:
                replies += self.errors.to_bytes(2, "little")
                self.errors = 0
        return b"" if self.mute else replies


class Bench(SerialBench):
    """The driver and a Maestro that answers."""

    def __init__(self, tmp_path, calibration=AWS_DEFAULTS):
        super().__init__(Peer(tmp_path / "board"))
        self.proofs = tmp_path / "proofs.json"
        self.late_s = 0.0
        self.board = self.driver(calibration)

    def driver(self, calibration=AWS_DEFAULTS):
        return MaestroBoard(
            str(self.peer.path),
            calibration,
            proofs=self.proofs,
            now_ns=lambda: self.now_ns,
            wait=self.let_time_pass,
        )

    def let_time_pass(self, seconds):
        self.serve()
        self.now_ns += int((seconds + self.late_s) * 1e9)
        self.peer.pass_time(self.now_ns)
        self.serve()

    def serve(self):
        if self.peer.master is None:
            return
        data = self.peer.receive(self.board.bytes_written - self.plugged_at)
        replies = self.peer.obey(data, self.now_ns)
        if replies:
            self.peer.say(replies)

    def tick(self, command=NEUTRAL, ms=20):
        self.now_ns += ms * MS
        self.peer.pass_time(self.now_ns)
        self.board.write(command, self.now_ns)
        self.serve()
        return self.poll()

    def prove(self):
        save_proof(
            self.proofs,
            str(self.peer.path),
            FailsafeProof(neutral_us=1446.0, steering_channel=0, throttle_channel=1, proved_at="2026-01-01"),
        )
        self.board.use_calibration(AWS_DEFAULTS)


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    yield bench
    bench.board.close()
    if bench.peer.master is not None:
        bench.unplug()


@pytest.fixture
def proved(bench):
    bench.prove()
    bench.board.open()
    bench.tick()
    return bench


def positions(bench):
    return bench.peer.positions[0], bench.peer.positions[1]


def test_open_stops_the_script_and_lifts_speed_limits_before_anything_else(bench):
    bench.board.open()
    assert bench.peer.commands[:5] == [
        (0xA4, b""),
        (0x87, b"\x00\x00\x00"),
        (0x89, b"\x00\x00\x00"),
        (0x87, b"\x01\x00\x00"),
        (0x89, b"\x01\x00\x00"),
    ]
    assert positions(bench) == (CENTER_Q, NEUTRAL_Q)
    assert bench.board.description.startswith("Pololu Maestro")


def test_a_tick_sets_both_targets_and_asks_for_errors_in_fourteen_bytes(proved):
    written = proved.board.bytes_written
    del proved.peer.commands[:]
    status = proved.tick(FORWARD)
    assert proved.board.bytes_written - written == 14
    assert [command for command, _ in proved.peer.commands] == [0xA4, 0x84, 0x84, 0xA1]
    assert positions(proved) == (6400, FORWARD_Q)
    assert status.acked_armed
    assert status.acked_sent_ns == proved.now_ns
    assert (status.applied_steering_us, status.applied_throttle_us) == (1600.0, 1400.0)
    assert status.neutral_acked_since_ns == 0
    assert proved.peer.wrong_crcs == 0


def test_disarmed_is_neutral_with_the_steering_held_and_then_centred(proved):
    proved.tick(FORWARD)
    status = proved.tick(DriveCommand(armed=False, steering_us=1700.0, throttle_us=1311.0))
    assert positions(proved) == (6400, NEUTRAL_Q)
    assert not status.acked_armed
    for _ in range(33):
        proved.tick(NEUTRAL)
    assert positions(proved) == (6400, NEUTRAL_Q)
    proved.tick(NEUTRAL)
    assert positions(proved) == (CENTER_Q, NEUTRAL_Q)


def test_pulses_beyond_the_calibration_are_clamped_before_they_are_sent(proved):
    proved.tick(DriveCommand(armed=True, steering_us=2100.0, throttle_us=900.0))
    assert positions(proved) == (6800, 5244)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("field", ["steering_us", "throttle_us"])
def test_a_command_that_is_not_finite_goes_out_neutral(proved, field, value):
    status = proved.tick(msgspec.structs.replace(FORWARD, **{field: value}))
    assert positions(proved) == (CENTER_Q, NEUTRAL_Q)
    assert not status.acked_armed
    assert "allowed are finite pulses" in status.problem


def test_a_maestro_whose_failsafe_was_never_proved_is_not_armed(bench):
    bench.board.open()
    bench.tick()
    status = bench.tick(FORWARD)
    assert positions(bench) == (CENTER_Q, NEUTRAL_Q)
    assert status.connected
    assert not status.acked_armed
    assert not status.ready_to_arm
    assert "never proved" in status.problem
    assert "lapwing board prove" in status.problem


def test_a_proof_at_another_neutral_or_channel_no_longer_counts(proved):
    assert proved.tick().ready_to_arm
    proved.board.use_calibration(STANDARD_1500)
    status = proved.tick()
    assert not status.ready_to_arm
    assert "proved at 1446 us on channel 1, this car's neutral is 1500 us" in status.problem
    proved.board.use_calibration(AWS_DEFAULTS)
    assert proved.tick().ready_to_arm


def test_proving_the_failsafe_once_lets_it_be_armed_for_good(bench):
    bench.board.open()
    proof = bench.board.prove_failsafe()
    assert proof.neutral_us == 1446.0
    assert load_proof(bench.proofs, str(bench.peer.path)) == proof
    assert positions(bench) == (CENTER_Q, NEUTRAL_Q)
    bench.tick()
    status = bench.tick(FORWARD)
    assert status.ready_to_arm
    assert status.acked_armed
    bench.board.close()
    assert bench.driver().poll(bench.now_ns).problem == ""


@pytest.mark.parametrize(
    ("settings", "seen"),
    [
        ({"checks_crc": False}, "takes commands with a wrong CRC"),
        ({"timeout_ns": 0}, "did not notice"),
        ({"timeout_ns": 250 * MS}, "did not notice"),
        ({"homes": {0: CENTER_Q, 1: 0}}, "stopped its pulses"),
        ({"homes": {0: CENTER_Q, 1: None}}, "kept the last pulse"),
        ({"homes": {0: CENTER_Q, 1: 6000}}, "went to 1500 us, allowed is this car's neutral of 1446 us"),
    ],
)
def test_a_maestro_that_would_not_stop_by_itself_proves_nothing(bench, settings, seen):
    for name, value in settings.items():
        setattr(bench.peer, name, value)
    bench.board.open()
    with pytest.raises(BoardConfigError, match=seen) as error:
        bench.board.prove_failsafe()
    assert "Control Center" in str(error.value)
    assert load_proof(bench.proofs, str(bench.peer.path)) is None
    assert bench.peer.positions[1] == NEUTRAL_Q
    assert not bench.tick().ready_to_arm


def test_a_proof_by_a_computer_that_was_late_is_not_taken(bench):
    bench.peer.timeout_ns = 230 * MS
    bench.board.open()
    bench.late_s = 0.040
    with pytest.raises(BoardConfigError, match="too busy to be silent"):
        bench.board.prove_failsafe()


def test_a_proof_needs_an_open_and_disarmed_car(bench):
    with pytest.raises(BoardSilentError, match="open it first"):
        bench.board.prove_failsafe()
    bench.prove()
    bench.board.open()
    bench.tick()
    bench.tick(FORWARD)
    with pytest.raises(BoardConfigError, match="allowed only disarmed"):
        bench.board.prove_failsafe()


@pytest.mark.parametrize(
    ("bit", "seen"),
    [
        (CRC_ERROR, "a wrong CRC"),
        (PROTOCOL_ERROR, "a wrong command"),
        (TIMEOUT_ERROR, "no command for longer"),
    ],
)
def test_an_error_stops_the_car_until_it_is_disarmed(proved, bit, seen):
    proved.tick(FORWARD)
    proved.peer.fail(bit)
    status = proved.tick(FORWARD)
    assert not status.acked_armed
    assert not status.ready_to_arm
    assert seen in status.problem
    assert status.watchdog_tripped == (bit == TIMEOUT_ERROR)
    for _ in range(3):
        status = proved.tick(FORWARD)
        assert proved.peer.positions[1] == NEUTRAL_Q
        assert not status.acked_armed
        assert seen in status.problem
    proved.tick(NEUTRAL)
    status = proved.tick(FORWARD)
    assert status.acked_armed
    assert status.problem == ""


def test_a_host_that_was_stopped_finds_the_car_stopped(proved):
    proved.tick(FORWARD)
    status = proved.tick(FORWARD, ms=400)
    assert proved.peer.positions[1] == NEUTRAL_Q
    assert not status.acked_armed
    assert status.watchdog_tripped
    proved.tick(FORWARD)
    assert proved.peer.positions[1] == NEUTRAL_Q


def test_health_is_when_the_newest_acknowledged_command_was_sent(proved):
    first_ns = proved.now_ns
    proved.peer.mute = True
    for _ in range(3):
        status = proved.tick()
    assert status.acked_sent_ns == first_ns
    proved.peer.say(b"\x00\x00")
    status = proved.poll()
    assert status.acked_sent_ns == first_ns + 20 * MS
    assert status.received_ns == first_ns + 60 * MS


def test_an_answer_may_come_byte_by_byte(proved):
    acked_ns = proved.now_ns
    proved.peer.mute = True
    proved.tick()
    proved.peer.say(b"\x00")
    assert proved.poll().acked_sent_ns == acked_ns
    proved.peer.say(b"\x00")
    assert proved.poll().acked_sent_ns == proved.now_ns


@pytest.mark.parametrize("noise", [b"\x00\x00", b"\xff\xff"])
def test_an_answer_to_nothing_makes_the_driver_begin_anew(proved, noise):
    proved.peer.say(noise)
    status = proved.poll()
    assert status.bad_packets == 1
    assert not status.ready_to_arm
    for _ in range(10):
        status = proved.tick()
    assert status.ready_to_arm
    assert status.acked_sent_ns == proved.now_ns
    assert status.boots == 0


def test_a_word_that_is_no_error_word_is_not_an_acknowledgement(proved):
    acked_ns = proved.now_ns
    proved.peer.mute = True
    proved.tick()
    proved.peer.say(b"\x98\x16")
    status = proved.poll()
    assert status.acked_sent_ns == acked_ns
    assert status.bad_packets == 1


def test_a_maestro_that_was_greeted_again_must_be_disarmed_before_it_is_armed(proved):
    proved.tick(FORWARD)
    proved.peer.say(b"\x00\x00")
    proved.poll()
    for _ in range(10):
        status = proved.tick(FORWARD)
        assert proved.peer.positions[1] == NEUTRAL_Q
    assert status.acked_sent_ns == proved.now_ns
    assert not status.acked_armed
    proved.tick(NEUTRAL)
    assert proved.tick(FORWARD).acked_armed


def test_neutral_with_an_error_is_not_acknowledged_neutral(proved):
    since_ns = proved.tick().neutral_acked_since_ns
    assert 0 < since_ns < proved.now_ns
    proved.peer.fail(CRC_ERROR)
    assert proved.tick().neutral_acked_since_ns == 0
    assert proved.tick().neutral_acked_since_ns == proved.now_ns


def test_answers_that_come_too_late_acknowledge_no_newer_command(proved):
    acked_ns = proved.now_ns
    proved.peer.mute = True
    for _ in range(52):
        status = proved.tick()
    assert status.acked_sent_ns == acked_ns
    proved.peer.say(b"\x00\x00" * 51)
    proved.peer.mute = False
    for _ in range(40):
        status = proved.tick()
    assert status.acked_sent_ns == proved.now_ns
    assert len(proved.board._unanswered) == 0


def test_a_silent_maestro_is_an_error_that_names_the_settings(bench):
    bench.peer.mute = True
    started_ns = bench.now_ns
    with pytest.raises(BoardSilentError, match=r"sent 0 bytes in 2\.5 s.*USB Dual Port.*if00"):
        bench.board.open()
    assert 2_500 * MS <= bench.now_ns - started_ns <= 2_520 * MS


def test_a_channel_that_gives_no_pulse_is_an_error(bench):
    bench.peer.limits = (0, 0)
    with pytest.raises(BoardSilentError, match="not the pulse of throttle channel 1"):
        bench.board.open()


def test_a_channel_whose_limits_exclude_neutral_is_never_armed(bench):
    bench.peer.limits = (5900, 8000)
    bench.prove()
    bench.board.open()
    status = bench.tick(FORWARD)
    assert not status.ready_to_arm
    assert "gives 1475 us when asked for 1446" in status.problem


def test_a_maestro_without_crc_is_never_armed_and_says_so(bench):
    bench.peer.stumbles_over_crc = True
    bench.prove()
    bench.board.open()
    status = bench.tick()
    assert not status.ready_to_arm
    assert "wrong command" in status.problem


def test_an_unplugged_maestro_is_opened_again_when_allowed_and_must_be_disarmed_first(proved):
    proved.tick(FORWARD)
    proved.unplug()
    status = proved.tick(FORWARD)
    assert not status.connected
    assert "is gone" in status.problem
    proved.plug_in()
    proved.board.allow_reopen(True)
    deadline = time.monotonic() + 5.0
    while status.acked_sent_ns != proved.now_ns:
        assert time.monotonic() < deadline
        status = proved.tick(FORWARD)
        assert proved.peer.positions[1] in (0, NEUTRAL_Q)
    assert not status.acked_armed
    assert status.boots == 1
    proved.tick(NEUTRAL)
    assert proved.tick(FORWARD).acked_armed


def test_close_leaves_the_car_in_neutral(proved):
    proved.tick(FORWARD)
    del proved.peer.commands[:]
    proved.board.close()
    proved.serve()
    assert [command for command, _ in proved.peer.commands] == [0xA4, 0x84, 0x84, 0xA1] * 3
    assert proved.peer.positions[1] == NEUTRAL_Q


def test_a_missing_port_says_what_to_do(tmp_path):
    board = open_board("maestro", str(tmp_path / "nothing"), AWS_DEFAULTS, proofs=tmp_path / "proofs.json")
    with pytest.raises(BoardNotFoundError, match="plug the board in"):
        board.open()


def test_the_car_is_driven_by_the_channels_that_it_is_wired_to(bench):
    bench.board = open_board(
        "maestro",
        str(bench.peer.path),
        AWS_DEFAULTS,
        proofs=bench.proofs,
        steering_channel=1,
        throttle_channel=0,
        now_ns=lambda: bench.now_ns,
        wait=bench.let_time_pass,
    )
    bench.peer.homes = {0: NEUTRAL_Q, 1: CENTER_Q}
    bench.board.open()
    bench.board.prove_failsafe()
    bench.tick()
    assert bench.tick(FORWARD).acked_armed
    assert positions(bench) == (FORWARD_Q, 6400)


def test_one_channel_cannot_steer_and_drive(tmp_path):
    with pytest.raises(BoardConfigError, match="are both 3, allowed are two channels"):
        open_board("maestro", str(tmp_path), AWS_DEFAULTS, steering_channel=3, throttle_channel=3)


def test_the_driver_is_picked_by_its_name_and_opens_nothing(tmp_path):
    assert isinstance(open_board("board", "/dev/nothing", AWS_DEFAULTS), OwnBoard)
    with pytest.raises(BoardConfigError, match="allowed 'board' or 'maestro'"):
        open_board("pwm", "/dev/nothing", AWS_DEFAULTS)


BY_ID = "/dev/serial/by-id/usb-Pololu_Corporation_Pololu_Micro_Maestro_6-Servo_Controller_00022544"


def test_a_maestro_is_known_by_its_serial_number():
    assert identity_of(f"{BY_ID}-if00") == "00022544"


@pytest.mark.parametrize(
    ("path", "seen"),
    [(f"{BY_ID}-if02", "name the one that ends in -if00"), ("/dev/ttyACM0", "may be another device")],
)
def test_the_wrong_port_and_a_name_that_moves_are_refused(path, seen):
    with pytest.raises(BoardConfigError, match=seen):
        identity_of(path)


def test_the_lasting_name_of_a_port_is_offered(tmp_path):
    (tmp_path / "usb-Pololu_Maestro_00022544-if00").symlink_to("/dev/ttyACM7")
    with pytest.raises(BoardConfigError, match="usb-Pololu_Maestro_00022544-if00"):
        identity_of("/dev/ttyACM7", by_id=tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"a": {"neutral_us": "x"}}'])
def test_a_broken_file_of_proofs_proves_nothing(tmp_path, content):
    file = tmp_path / "proofs.json"
    file.write_bytes(content)
    assert load_proof(file, "a") is None
