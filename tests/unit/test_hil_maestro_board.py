"""The emulated Maestro speaks its maker's protocol; the check bytes are those of the maker's own library."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vehicle.hil.boards import WIRINGS
from vehicle.hil.maestro_board import (
    ChannelSettings,
    Home,
    MaestroBoard,
    MaestroSettings,
    crc7,
    factory_maestro,
    prepared_maestro,
)

MS = 1_000_000
START_NS = 1_000 * MS
PREPARED = prepared_maestro(WIRINGS["aws"])
PLAIN = msgspec.structs.replace(PREPARED, crc=False)

CRC, PROTOCOL, TIMEOUT = 1 << 3, 1 << 4, 1 << 5


class Bench:
    def __init__(self, maestro: MaestroSettings = PLAIN) -> None:
        self.now_ns = START_NS
        self.board = MaestroBoard(START_NS, settings=maestro)

    def wait_ms(self, ms: float):
        self.now_ns += round(ms * MS)
        return self.board.advance(self.now_ns)

    def ask(self, data: bytes) -> bytes:
        self.board.receive(data, self.now_ns)
        self.wait_ms(1)
        return self.board.transmit(self.now_ns)

    def target(self, channel: int, us: float) -> None:
        quarters = round(us * 4)
        self.ask(bytes((0x84, channel, quarters & 0x7F, quarters >> 7)))

    def position_us(self, channel: int) -> float:
        return int.from_bytes(self.ask(bytes((0x90, channel))), "little") / 4

    def errors(self) -> int:
        return int.from_bytes(self.ask(b"\xa1"), "little")

    def widths(self) -> tuple[float, float]:
        return self.wait_ms(20)[-1][1:]


@pytest.mark.parametrize(
    ("frame", "check"),
    [
        ("83 01", 0x17),
        ("84 00 70 2E", 0x2B),
        ("AA 0C 04 01 70 2E", 0x73),
        ("9F 02 00 70 2E 70 2E", 0x2B),
        ("A1", 0x1B),
        ("A2", 0x49),
    ],
)
def test_the_crc_is_the_makers(frame, check):
    assert crc7(bytes.fromhex(frame)) == check


def test_a_prepared_one_starts_at_this_cars_neutral():
    assert Bench().widths() == (1450.0, 1446.0)
    assert Bench(prepared_maestro(WIRINGS["standard"])).widths() == (1500.0, 1500.0)


def test_one_from_the_factory_makes_no_pulses_until_told():
    bench = Bench(factory_maestro())
    assert bench.widths() == (0.0, 0.0)
    bench.target(1, 1500)

    assert bench.widths() == (0.0, 1500.0)
    bench.wait_ms(10_000)
    assert bench.position_us(1) == 1500.0  # no timeout: it drives for ever


@pytest.mark.parametrize("prefix", [b"\x84", b"\xaa\x0c\x04"])
def test_a_target_moves_a_channel_in_both_forms(prefix):
    bench = Bench()
    bench.ask(prefix + b"\x01\x70\x2c")  # 1428 us

    assert bench.widths()[1] == ((0x2C << 7) + 0x70) / 4
    assert bench.position_us(1) == ((0x2C << 7) + 0x70) / 4


def test_another_devices_packets_are_passed_over():
    bench = Bench()
    bench.ask(b"\xaa\x0d\x04\x01\x70\x2c")

    assert bench.position_us(1) == 1446.0
    assert bench.errors() == 0


def test_several_targets_come_in_one_packet_except_on_a_micro():
    packet = b"\x9f\x02\x00" + bytes((1600 * 4 & 0x7F, 1600 * 4 >> 7, 1400 * 4 & 0x7F, 1400 * 4 >> 7))
    bench = Bench()
    bench.ask(packet)
    assert bench.widths() == (1600.0, 1400.0)

    micro = Bench(msgspec.structs.replace(PLAIN, channels=6))
    micro.ask(packet)
    assert micro.widths() == (1450.0, 1446.0)
    assert micro.errors() & PROTOCOL


def test_targets_are_clamped_by_the_channels_limits_and_0_is_off():
    bench = Bench()
    bench.target(1, 2500)
    assert bench.position_us(1) == 1604.0
    bench.target(1, 100)
    assert bench.position_us(1) == 1311.0
    bench.target(1, 0)
    assert bench.position_us(1) == 0.0


def test_silence_sends_the_channels_home_and_sets_the_error():
    bench = Bench()
    bench.target(1, 1350)
    pulses = bench.wait_ms(200)

    driven = [pulse.t_ns for pulse in pulses if pulse.throttle_us == 1350.0]
    assert max(driven) <= START_NS + 100 * MS
    assert pulses[-1].throttle_us == 1446.0
    assert bench.errors() == TIMEOUT
    assert bench.errors() == 0  # reading clears


def test_any_valid_command_keeps_a_dead_control_loop_alive():
    bench = Bench()
    bench.target(1, 1350)
    for _ in range(10):
        bench.wait_ms(50)
        bench.errors()

    assert bench.position_us(1) == 1350.0


@pytest.mark.parametrize(
    ("home", "throttle_us"),
    [(Home.OFF, 0.0), (Home.IGNORE, 1350.0), (Home.GO_TO, 1446.0)],
)
def test_homes_differ_in_what_an_error_does(home, throttle_us):
    channel = msgspec.structs.replace(PLAIN.throttle, home=home)
    bench = Bench(msgspec.structs.replace(PLAIN, throttle=channel))
    bench.target(1, 1350)
    bench.wait_ms(200)

    assert bench.position_us(1) == throttle_us


def test_a_wrong_crc_is_an_error_and_a_missing_one_eats_the_next_byte():
    bench = Bench(PREPARED)
    bench.ask(b"\x84\x01\x18\x2a" + bytes((crc7(b"\x84\x01\x18\x2a"),)))
    assert int.from_bytes(bench.ask(b"\x90\x01" + bytes((crc7(b"\x90\x01"),))), "little") == 0x1518
    bench.ask(b"\x84\x01\x18\x2a\x00")

    assert int.from_bytes(bench.ask(b"\xa1\x1b"), "little") == CRC
    assert int.from_bytes(bench.ask(b"\x90\x01" + bytes((crc7(b"\x90\x01"),))), "little") == 4 * 1446
    bench.ask(b"\x84\x01\x18\x2a")
    assert int.from_bytes(bench.ask(b"\xa1\x1b\xa1\x1b"), "little") == PROTOCOL


@pytest.mark.parametrize("data", [b"\x84\x01\x84\x01\x18\x2a", b"\xb0", b"\x84\x7f\x18\x2a"])
def test_cut_or_unknown_commands_are_protocol_errors(data):
    bench = Bench()
    bench.target(1, 1350)
    bench.ask(data)

    assert bench.errors() == PROTOCOL


def test_data_bytes_that_belong_to_nothing_are_ignored():
    bench = Bench()
    bench.ask(b"\x01\x02\x7f")

    assert bench.errors() == 0


def test_go_home_sends_every_channel_home():
    bench = Bench()
    bench.target(0, 1600)
    bench.target(1, 1350)
    bench.ask(b"\xa2")

    assert bench.widths() == (1450.0, 1446.0)


def test_mini_ssc_moves_a_channel_without_any_check():
    bench = Bench(PREPARED)
    bench.ask(b"\xff\x01\xfe")

    assert bench.widths()[1] == 1604.0


def test_a_speed_limit_lets_it_move_over_time():
    bench = Bench()
    bench.ask(b"\x87\x00\x28\x00")  # 40: 10 us in 10 ms
    bench.target(0, 1510)
    assert bench.ask(b"\x93") == b"\x01"
    steps = [pulse.steering_us for pulse in bench.wait_ms(95)]

    assert steps == [1470.0, 1490.0, 1510.0, 1510.0]
    assert bench.ask(b"\x93") == b"\x00"


def test_a_running_script_fights_the_host_until_it_is_stopped():
    bench = Bench(msgspec.structs.replace(PLAIN, script_is_running=True, script_throttle_us=1400.0))
    assert bench.ask(b"\xae") == b"\x00"
    bench.target(1, 1350)
    bench.wait_ms(98.5)
    assert bench.position_us(1) == 1400.0

    bench.ask(b"\xa4")
    assert bench.ask(b"\xae") == b"\x01"


def test_in_another_serial_mode_it_says_nothing():
    bench = Bench(msgspec.structs.replace(PLAIN, usb_dual_port=False))

    assert bench.ask(b"\xa1") == b""


def test_packets_may_come_byte_by_byte():
    bench = Bench()
    for byte in b"\x84\x01\x18\x2a":
        bench.ask(bytes((byte,)))

    assert bench.position_us(1) == 0x1518 / 4


def test_a_reset_goes_home_and_forgets_errors():
    bench = Bench()
    bench.target(1, 1350)
    bench.ask(b"\xb0")
    bench.board.reset(bench.now_ns)

    assert bench.widths() == (1450.0, 1446.0)
    assert bench.errors() == 0


def test_a_hang_lasts_because_no_watchdog_is_documented():
    bench = Bench()
    bench.target(1, 1350)
    bench.board.hang(bench.now_ns)

    assert {pulse.throttle_us for pulse in bench.wait_ms(5000)[1:]} == {1350.0}


def test_too_much_at_once_is_an_error_on_a_slow_one():
    bench = Bench()
    bench.board.set_slow(0.02, bench.now_ns)
    bench.ask(b"\x84\x01\x18\x2a" * 20)
    bench.wait_ms(30)
    bench.board.set_slow(None, bench.now_ns)

    assert bench.errors() & 1 << 2


def test_wiring_is_what_the_channels_say():
    bench = Bench()
    assert bench.board.wiring == WIRINGS["aws"]
    bench.board.set_wiring(WIRINGS["standard"], bench.now_ns)
    assert bench.widths() == (1500.0, 1500.0)
    bench.board.set_wiring(None, bench.now_ns)
    assert bench.board.wiring is None
    assert bench.board.settings.throttle == ChannelSettings()


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.binary(max_size=300))
def test_no_bytes_whatever_drive_it_outside_its_limits_nor_for_long(data):
    bench = Bench(PREPARED)
    bench.ask(data)
    pulses = bench.wait_ms(400)

    assert all(pulse.throttle_us == 0.0 or 1311.0 <= pulse.throttle_us <= 1604.0 for pulse in pulses)
    assert pulses[-1].throttle_us == 1446.0
