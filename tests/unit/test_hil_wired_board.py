"""Every fault of the board and its cable does what its word says, in virtual time."""

import struct
from pathlib import Path

import pytest
from crccheck.crc import Crc16Ibm3740

from vehicle.hil.faults import FAULTS, FaultSchedule, Part, parse_fault
from vehicle.hil.maestro_board import crc7
from vehicle.hil.settings import HilSettings, MaestroDefects
from vehicle.hil.wired_board import WiredBoard

MS = 1_000_000
START_NS = 1_000 * MS
ACK_LIMIT_S = 0.080


def framed(payload: bytes) -> bytes:
    blocks = (payload + struct.pack("<H", Crc16Ibm3740.calc(payload))).split(b"\0")
    return b"\0" + b"".join(bytes((len(block) + 1,)) + block for block in blocks) + b"\0"


def decoded(data: bytes) -> list[bytes]:
    """Return the payloads of the good frames in there."""
    payloads = []
    for frame in filter(None, data.split(b"\0")):
        plain, position = bytearray(), 0
        while position < len(frame):
            end = position + frame[position]
            plain += frame[position + 1 : end] + (b"\0" if end < len(frame) else b"")
            position = end
        if len(plain) > 2 and struct.pack("<H", Crc16Ibm3740.calc(bytes(plain[:-2]))) == plain[-2:]:
            payloads.append(bytes(plain[:-2]))
    return payloads


class Host:
    """Commands a car 60 times a second, armed and driving once it may, and listens."""

    def __init__(self, *faults: str, **settings) -> None:
        self.faults = FaultSchedule([parse_fault(text) for text in faults], start_ns=START_NS)
        self.wired = WiredBoard(HilSettings(Path("unused"), **settings), self.faults, START_NS)
        self.now_ns = START_NS
        self.pulses = []
        self.received = b""
        self.sequence = 0
        self.sent_ns: dict[int, int] = {}
        self.ack_ages_s: list[tuple[float, float]] = []
        self._newest_acked_ns = START_NS

    def pass_to(self, to_ns: int) -> None:
        while True:
            due_ns = min(self.wired.next_event_ns(), self.wired.next_read_ns(), self.faults.next_change_ns)
            self.now_ns = min(due_ns, to_ns)
            for change in self.faults.advance(self.now_ns):
                self.wired.apply(change, self.now_ns)
            self.pulses += self.wired.advance(self.now_ns)
            self.received += self.wired.read(self.now_ns)
            if due_ns > to_ns:
                return

    def drive(self, seconds: float, throttle_us: int = 1350) -> None:
        start_ns, ticks = self.now_ns, round(seconds * 60)
        for tick in range(ticks):
            at_s = (self.now_ns - START_NS) / 1e9
            width_us = throttle_us if at_s > 0.1 else 1446
            self.sequence = (self.sequence + 1) % 256
            self.sent_ns[self.sequence] = self.now_ns
            payload = struct.pack("<BBBHH", 1, self.sequence, int(at_s > 0.05), 1500, width_us)
            self.wired.write(framed(payload), self.now_ns)
            self.pass_to(start_ns + (tick + 1) * 10**9 // 60)
            for reply in decoded(self.received):
                self._newest_acked_ns = max(self._newest_acked_ns, self.sent_ns.get(reply[1], 0))
            self.received = b""
            age_s = (self.now_ns - self._newest_acked_ns) / 1e9
            self.ack_ages_s.append(((self.now_ns - START_NS) / 1e9, age_s))

    def driven(self, since_s: float, until_s: float = 1e9) -> list:
        return [
            pulse
            for pulse in self.pulses
            if pulse.throttle_us not in {0.0, 1446.0} and since_s <= (pulse.t_ns - START_NS) / 1e9 < until_s
        ]

    def worst_ack_age_s(self, since_s: float) -> float:
        return max(age_s for at_s, age_s in self.ack_ages_s if at_s >= since_s)


def test_a_sound_board_drives_and_acknowledges_within_two_ticks():
    host = Host()
    host.drive(2.0)

    assert len(host.driven(0.2, 2.0)) == 90
    assert host.worst_ack_age_s(0.1) < 0.034


# What a host that goes on driving blindly would see: whether pulses end, and whether it can know.
OUTCOMES = {
    "serial_out=off": ("stops", "noticed"),
    "serial_out=stuck": ("stops", "noticed"),
    "serial_out=garbage": ("stops", "noticed"),
    "serial_out=slow:0.01": ("drives", "noticed"),
    "serial_out=delayed:0.2": ("stops for a while", "noticed"),
    "serial_out=wrong:0.01": ("drives", "fine"),
    "serial_out=intermittent:0.1": ("drives", "fine"),
    "serial_in=off": ("drives", "noticed"),
    "serial_in=stuck": ("drives", "noticed"),
    "serial_in=garbage": ("drives", "noticed"),
    "serial_in=slow:0.05": ("drives", "noticed"),
    "serial_in=delayed:0.1": ("drives", "noticed"),
    "serial_in=wrong:0.01": ("drives", "fine"),
    "serial_in=intermittent:0.1": ("drives", "fine"),
    "board=off": ("stops", "noticed"),
    "board=stuck": ("stops", "noticed"),
    "board=garbage": ("drives", "noticed"),
    "board=delayed:0.1": ("drives", "noticed"),
    "board=reset:1.0": ("stops", "noticed"),
    "board=reset": ("stops", "fine"),
    "board=hang": ("stops", "noticed"),
    "board=stop_input": ("stops", "fine"),
    "board=not_stored": ("stops", "fine"),
    "board=unplugged": ("stops", "noticed"),
    "board=intermittent": ("stops", "fine"),
    "board=slow:0.02": ("drives", "fine"),
    "board=watchdog_slow": ("drives", "fine"),
    "board=watchdog_off": ("drives", "fine"),
    "board=latched": ("stops", "fine"),
    "board=script": ("drives", "fine"),
    "board=second_opener:0.1": ("drives", "fine"),
    "board=second_opener:1": ("drives", "noticed"),
    "board=another_device": ("stops", "noticed"),
    "board=rc_takeover": ("stops", "fine"),
}


@pytest.mark.parametrize("text", OUTCOMES, ids=str)
def test_each_fault_does_what_it_says(text):
    drives, knows = OUTCOMES[text]
    host = Host(f"{text}@1")
    host.drive(3.0)

    assert host.driven(0.5, 1.0)
    if drives == "drives":
        assert len(host.driven(2.5, 3.0)) == 25
    elif drives == "stops":
        assert host.driven(2.5) == []
    else:
        assert len(host.driven(1.0)) < 100 - 2
    assert (host.worst_ack_age_s(1.0) > ACK_LIMIT_S) == (knows == "noticed")


def test_every_word_for_board_and_lines_is_carried_out_and_mended():
    for part in (Part.SERIAL_OUT, Part.SERIAL_IN, Part.BOARD):
        for fault in FAULTS[part]:
            host = Host(f"{part}={fault}@1..2")
            host.drive(3.0)
            assert host.worst_ack_age_s(2.8) < 0.034, (part, fault)


def test_a_held_back_burst_after_a_stuck_line_does_not_start_a_stopped_car():
    host = Host("serial_out=stuck@1..1.5")
    host.drive(3.0)

    assert host.driven(1.0, 1.2)
    assert host.driven(1.2) == []


@pytest.mark.parametrize("host_is_there", [True, False])
def test_the_bytes_of_a_drive_said_again_to_a_stopped_board_drive_nothing(host_is_there):
    host, said = Host(), []
    write = host.wired.write
    host.wired.write = lambda data, now_ns: (said.append(data), write(data, now_ns))
    host.drive(2.0)
    assert host.driven(1.0)
    host.wired.write = write
    old, begun_s = said[-90:], (host.now_ns - START_NS) / 1e9 + 0.3
    host.pass_to(host.now_ns + 300 * MS)
    for place, frame in enumerate(old):  # all armed, and none neutral
        if host_is_there:
            write(framed(struct.pack("<BBBHH", 1, place, 0, 1450, 1446)), host.now_ns)
        write(frame, host.now_ns)
        host.pass_to(host.now_ns + 17 * MS)

    assert host.driven(begun_s) == []


def test_another_cars_values_show_in_the_handshake():
    host = Host("board=wrong:40@0.5")
    host.drive(1.0)
    host.wired.write(framed(b"\x02\x07\x01"), host.now_ns)
    host.received = b""
    host.pass_to(host.now_ns + 20 * MS)
    (reply,) = [payload for payload in decoded(host.received) if payload[0] == 0x82]

    assert struct.unpack("<6H", reply[-12:]) == (1240, 1490, 1740, 1351, 1486, 1644)


def test_another_version_is_told_in_the_handshake():
    host = Host("board=version@0")
    host.pass_to(START_NS)
    assert decoded(host.wired.converse(framed(b"\x02\x01\x01"), START_NS))[0][2] == 99


def last_driven_s(host: Host) -> float:
    """Return how long after the last command the last driven pulse began."""
    silent_ns = host.now_ns
    host.pass_to(silent_ns + 3_000 * MS)
    return (host.driven(0.0)[-1].t_ns - silent_ns) / 1e9


def told_watchdog_ms(host: Host) -> int:
    (reply,) = decoded(host.wired.converse(framed(b"\x02\x01\x01"), host.now_ns))
    return struct.unpack_from("<H", reply, 6)[0]


@pytest.mark.parametrize(
    ("fault", "told_ms", "least_s", "most_s"),
    [
        ("board=watchdog_slow@9", 180, 0.14, 0.2),
        ("board=watchdog_slow:1", 1000, 0.96, 1.02),
        ("board=watchdog_slow:1@0..0.5", 180, 0.14, 0.2),
        ("board=watchdog_off", 180, 2.95, 3.0),
    ],
)
def test_a_watchdog_that_is_set_up_wrong_waits_as_long_as_it_is_said_to(fault, told_ms, least_s, most_s):
    host = Host(fault)
    host.drive(1.0)
    assert least_s <= last_driven_s(host) <= most_s
    assert told_watchdog_ms(host) == told_ms


def test_a_maestros_watchdog_can_be_long_or_off_as_well():
    waits_s = []
    for faults in ((), ("board=watchdog_slow:0.5@0",), ("board=watchdog_off@0",)):
        host = Host(*faults, board="maestro")
        host.pass_to(START_NS + MS)
        host.wired.write(bytes.fromhex("84 01 60 2b 10"), host.now_ns)
        host.pass_to(host.now_ns + 2_000 * MS)
        waits_s.append(sum(pulse.throttle_us == 1400.0 for pulse in host.pulses) * 0.02)

    assert waits_s == pytest.approx([0.1, 0.5, 2.0], abs=0.021)


@pytest.mark.parametrize("bit", [3, 4, 5])
def test_a_maestros_latched_error_sends_it_home_and_is_told_once(bit):
    host = Host(f"board=latched:{bit}@0.06", board="maestro")
    host.wired.write(bytes.fromhex("84 01 60 2b 10"), host.now_ns)
    host.pass_to(START_NS + 90 * MS)
    assert [pulse.throttle_us for pulse in host.pulses][-3:] == [1400.0, 1446.0, 1446.0]
    words = [host.wired.converse(bytes.fromhex("a1 1b"), host.now_ns) for _ in range(2)]

    assert words == [(1 << bit).to_bytes(2, "little"), b"\0\0"]


def test_a_maestros_script_moves_the_throttle_until_it_is_stopped():
    host = Host("board=script@0", board="maestro", maestro=MaestroDefects(timeout_s=0.0))
    host.pass_to(START_NS + 300 * MS)
    assert host.pulses[-1].throttle_us == 1311.0
    stop_script = bytes((0xA4, crc7(b"\xa4")))
    host.wired.write(stop_script + bytes.fromhex("84 01 60 2b 10"), host.now_ns)
    host.pass_to(host.now_ns + 300 * MS)

    assert host.pulses[-1].throttle_us == 1400.0


def test_another_device_under_the_old_name_answers_in_its_own_language_and_not_for_the_board():
    host = Host("board=another_device@0.5..1.5")
    host.drive(1.0)
    assert set(host.wired.converse(framed(b"\x02\x01\x01"), host.now_ns).split()) == {b"ERROR"}
    host.drive(1.0)

    assert host.driven(0.3, 0.5)
    assert host.driven(0.71) == []  # the board is itself again, and nobody has disarmed it


def test_a_conversation_while_time_stands_still_leaves_no_trace_in_time():
    host = Host()
    for _ in range(50):
        assert len(decoded(host.wired.converse(framed(b"\x02\x01\x01"), START_NS))) == 1
    host.drive(1.0)
    assert host.worst_ack_age_s(0.0) < 0.034

    assert Host("serial_out=off").wired.next_event_ns() == START_NS
    silent = Host("serial_out=off")
    silent.pass_to(START_NS)
    assert silent.wired.converse(framed(b"\x02\x01\x01"), START_NS) == b""


@pytest.mark.parametrize(
    ("defects", "neutral_us", "silent_us"),
    [
        (MaestroDefects(), 1446.0, 1446.0),
        (MaestroDefects(timeout_s=0.0), 1446.0, 1400.0),
        (MaestroDefects(factory_settings=True, crc=True), 0.0, 1400.0),
        (MaestroDefects(script_is_running=True), 1446.0, 1446.0),
    ],
)
def test_a_maestro_is_as_it_was_prepared(defects, neutral_us, silent_us):
    host = Host(board="maestro", maestro=defects)
    host.pass_to(START_NS + 50 * MS)
    assert host.pulses[-1].throttle_us == neutral_us
    host.wired.write(bytes.fromhex("84 01 60 2b 10"), host.now_ns)
    host.pass_to(host.now_ns + 25 * MS)
    assert host.pulses[-1].throttle_us == 1400.0
    host.pass_to(START_NS + 195 * MS)

    assert host.pulses[-1].throttle_us == silent_us
