"""The project's own board, emulated from `docs/board-protocol.md`; the rules cited are that page's."""

import binascii
import struct

from vehicle.hil.boards import AcceptedCommand, CarWiring, EmulatedBoard
from vehicle.hil.faults import NEVER_NS
from vehicle.hil.uart import SerialLine

BAUD = 115200
PROTOCOL_VERSION = 1
FIRMWARE = 3
BOARD_ID = b"LAPWING\x01"
CAPABILITIES = 0x07  # battery, wheel ticks, stop input
WATCHDOG_NS = 180_000_000
STEERING_HOLD_NS = 700_000_000
ARM_TOLERANCE_US = 2
PULSE_LIMITS_US = (800, 2200)
LONGEST_FRAME = 48  # decoded
LONGEST_ENCODED = LONGEST_FRAME + 1

_COMMAND, _HELLO, _STORE = 0x01, 0x02, 0x03
_STATUS, _HELLO_REPLY, _STORE_REPLY = 0x81, 0x82, 0x83
_PAYLOAD_LENGTHS = {_COMMAND: 7, _HELLO: 3, _STORE: 14}
_ARM = 0x01
_ARMED, _STORED, _STOP_INPUT, _WATCHDOG, _ARM_REFUSED = 0x01, 0x02, 0x04, 0x08, 0x10
_STORE_DONE, _STORE_WHILE_ARMED, _STORE_OUT_OF_BOUNDS, _STORE_MEMORY_BAD = 0, 1, 2, 3
_NOTHING_STORED = (0, 0, 0, 0, 0, 0)


class OwnBoard(EmulatedBoard):
    """The board as its host sees it. Memory and boot count outlive a boot; nothing else does."""

    HARDWARE_WATCHDOG_NS = 120_000_000

    def __init__(self, now_ns: int, *, stored: CarWiring | None, line: SerialLine | None = None) -> None:
        super().__init__(now_ns, line or SerialLine(BAUD))
        self.memory_is_bad = False
        """Whether the memory fails its check after the next STORE."""
        self._stored = stored
        self._version = PROTOCOL_VERSION
        self._boot(now_ns)

    @property
    def wiring(self) -> CarWiring | None:
        """What is stored."""
        return self._stored

    def set_wiring(self, wiring: CarWiring | None, now_ns: int) -> None:
        """Replace what is stored, and start from there as a boot does; none is counted."""
        self._run(now_ns - 1)
        self._stored = wiring
        self._begin_safe()

    def set_version(self, version: int | None) -> None:
        """Claim another version, and say no more than every version does; None is the true one."""
        self._version = PROTOCOL_VERSION if version is None else version

    # Rule 1: boot.

    def _boot(self, now_ns: int) -> None:  # noqa: ARG002 # a board's boot may depend on the time
        self._bad_frames = 0
        self._ticks_before_boot = self._wheel_ticks
        self._begin_safe()

    def _begin_safe(self) -> None:
        self._encoded = bytearray()
        self._is_armed = False
        self._is_ready_to_arm = False
        self._watchdog_tripped = False
        self._arm_refused = False
        self._watchdog_ns = NEVER_NS
        self._hold_until_ns = NEVER_NS
        self._center()

    def _center(self) -> None:
        stored = self._stored
        self._steering_us = stored.steering_center_us if stored else 0
        self._throttle_us = stored.throttle_neutral_us if stored else 0

    # Rule 2: pulses.

    def _outputs_us(self, now_ns: int) -> tuple[float, float]:  # noqa: ARG002 # widths change by events alone
        return float(self._steering_us), float(self._throttle_us)

    # Frames.

    def _take(self, data: bytes, now_ns: int) -> None:
        *ended, rest = data.split(b"\0")
        for piece in ended:
            self._encoded += piece
            encoded = bytes(self._encoded)
            self._encoded.clear()
            if encoded:
                self._handle(encoded, now_ns)
        # One byte over the longest is enough to know that it is too long.
        self._encoded += rest[: LONGEST_ENCODED + 1 - len(self._encoded)]

    def _handle(self, encoded: bytes, now_ns: int) -> None:
        payload = checked_payload(encoded)
        if payload is None or _PAYLOAD_LENGTHS.get(payload[0]) != len(payload):
            self._count_bad_frame()
        elif payload[0] == _COMMAND:
            _, sequence, flags, steering_us, throttle_us = struct.unpack("<BBBHH", payload)
            if flags & ~_ARM:
                self._count_bad_frame()
                return
            self._command(bool(flags & _ARM), steering_us, throttle_us, now_ns)
            self._send(self._status(sequence), now_ns)
        elif payload[0] == _HELLO:
            self._send(self._hello_reply(payload[1]), now_ns)
        else:
            _, sequence, *values = struct.unpack("<BB6H", payload)
            result = self._store(CarWiring(*values))
            self._send(struct.pack("<BBB6H", _STORE_REPLY, sequence, result, *self._values()), now_ns)

    def _count_bad_frame(self) -> None:
        self._bad_frames = min(self._bad_frames + 1, 0xFFFF)

    # Rules 3, 4, 5: commands.

    def _command(self, arm: bool, steering_us: int, throttle_us: int, now_ns: int) -> None:
        if not arm:
            self._leave_armed(now_ns)
            self._watchdog_tripped = False
            self._is_ready_to_arm = True
            self._arm_refused = False
        else:
            if not self._is_armed:
                self._is_armed = self._may_arm(throttle_us)
            self._arm_refused = not self._is_armed
            if self._is_armed:
                self._put_out(steering_us, throttle_us)
                self._watchdog_ns = now_ns + WATCHDOG_NS
                self._hold_until_ns = NEVER_NS
        self._accepted.append(AcceptedCommand(now_ns, self._is_armed, float(steering_us), float(throttle_us)))

    def _may_arm(self, throttle_us: int) -> bool:
        return (
            self._is_ready_to_arm
            and self._stored is not None
            and not self._stop_input
            and abs(throttle_us - self._stored.throttle_neutral_us) <= ARM_TOLERANCE_US
        )

    def _put_out(self, steering_us: int, throttle_us: int) -> None:
        stored = self._stored
        assert stored is not None, "nothing is put out without stored values"
        self._steering_us = min(max(steering_us, stored.steering_min_us), stored.steering_max_us)
        self._throttle_us = min(max(throttle_us, stored.throttle_min_us), stored.throttle_max_us)

    # Rules 6, 7, 8: the ways out of ARMED.

    def _leave_armed(self, now_ns: int) -> None:
        if not self._is_armed:
            return
        assert self._stored is not None, "armed without stored values"
        self._is_armed = False
        self._throttle_us = self._stored.throttle_neutral_us
        self._watchdog_ns = NEVER_NS
        self._hold_until_ns = now_ns + STEERING_HOLD_NS

    def _buffer_overflowed(self) -> None:
        """Do nothing: the frame that lost bytes fails its check."""

    def _stop_pressed(self, now_ns: int) -> None:
        self._leave_armed(now_ns)
        self._is_ready_to_arm = False

    def _next_timer_ns(self) -> int:
        return min(self._watchdog_ns, self._hold_until_ns)

    def _timer_due(self, now_ns: int) -> None:
        if self._watchdog_ns <= now_ns:
            self._leave_armed(self._watchdog_ns)
            self._watchdog_tripped = True
            self._is_ready_to_arm = False
        if self._hold_until_ns <= now_ns:
            self._hold_until_ns = NEVER_NS
            self._center()

    # What is stored.

    def _store(self, values: CarWiring) -> int:
        if self._is_armed:
            return _STORE_WHILE_ARMED
        if not wiring_is_in_bounds(values):
            return _STORE_OUT_OF_BOUNDS
        self._stored = None if self.memory_is_bad else values
        if self._stored is None or self._hold_until_ns == NEVER_NS:
            self._center()
        else:
            self._put_out(self._steering_us, values.throttle_neutral_us)
        return _STORE_DONE if self._stored else _STORE_MEMORY_BAD

    def _values(self) -> tuple[int, ...]:
        stored = self._stored
        if stored is None:
            return _NOTHING_STORED
        return (
            stored.steering_min_us,
            stored.steering_center_us,
            stored.steering_max_us,
            stored.throttle_min_us,
            stored.throttle_neutral_us,
            stored.throttle_max_us,
        )

    # Replies.

    def _flags(self) -> int:
        return (
            (_ARMED if self._is_armed else 0)
            | (_STORED if self._stored else 0)
            | (_STOP_INPUT if self._stop_input else 0)
            | (_WATCHDOG if self._watchdog_tripped else 0)
            | (_ARM_REFUSED if self._arm_refused else 0)
        )

    def _status(self, sequence: int) -> bytes:
        return struct.pack(
            "<BBBBHHHHH",
            _STATUS,
            sequence,
            self._flags(),
            self.boots,
            self._steering_us,
            self._throttle_us,
            min(round(self._battery_v * 1000.0), 0xFFFF),
            (self._wheel_ticks - self._ticks_before_boot) % 0x10000,
            self._bad_frames,
        )

    def _hello_reply(self, sequence: int) -> bytes:
        shared = struct.pack("<4B", _HELLO_REPLY, sequence, self._version, FIRMWARE)
        if self._version != PROTOCOL_VERSION:
            return shared
        watchdog_ms = WATCHDOG_NS // 1_000_000
        ours = struct.pack("<BBH8s6H", self._flags(), CAPABILITIES, watchdog_ms, BOARD_ID, *self._values())
        return shared + ours

    def _send(self, payload: bytes, now_ns: int) -> None:
        self._reply(framed(payload), now_ns)


def wiring_is_in_bounds(values: CarWiring) -> bool:
    """Whether a board may keep these values."""
    lowest, highest = PULSE_LIMITS_US
    return (
        lowest <= values.steering_min_us < values.steering_center_us < values.steering_max_us <= highest
        and lowest <= values.throttle_min_us < values.throttle_neutral_us < values.throttle_max_us <= highest
    )


def framed(payload: bytes) -> bytes:
    """Return the payload as it goes on the wire, with its CRC and both zeros."""
    data = payload + struct.pack("<H", binascii.crc_hqx(payload, 0xFFFF))
    encoded = bytearray()
    for block in data.split(b"\0"):  # shorter than 254 bytes, so that no block is ever full
        encoded.append(len(block) + 1)
        encoded += block
    return b"\0" + bytes(encoded) + b"\0"


def checked_payload(encoded: bytes) -> bytes | None:
    """Return the payload of what stood between two zeros, None when it is not a good frame."""
    if len(encoded) > LONGEST_ENCODED:
        return None
    blocks = []
    position = 0
    while position < len(encoded):
        end = position + encoded[position]
        if end > len(encoded):
            return None
        blocks.append(encoded[position + 1 : end])
        position = end
    data = b"\0".join(blocks)
    payload, crc = data[:-2], data[-2:]
    if not payload or struct.pack("<H", binascii.crc_hqx(payload, 0xFFFF)) != crc:
        return None
    return payload
