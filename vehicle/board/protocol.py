"""The board protocol, version 1, as bytes: `docs/board-protocol.md`. Opens nothing, waits for nothing."""

import binascii
import math
import struct
from typing import NamedTuple

from cobs import cobs

PROTOCOL_VERSION = 1
MAX_DECODED_BYTES = 48  # of a frame between its zeros, with its CRC
MAX_ENCODED_BYTES = MAX_DECODED_BYTES + 1  # COBS adds one byte below 254
PULSE_MIN_US = 800.0
PULSE_MAX_US = 2200.0

_CRC_START = 0xFFFF
_COMMAND = struct.Struct("<BBBHH")
_HELLO = struct.Struct("<BBB")
_STORE = struct.Struct("<BB6H")
_STATUS = struct.Struct("<BBBBHHHHH")
_HELLO_REPLY = struct.Struct("<BBBBBBH8s6H")
_STORE_REPLY = struct.Struct("<BBB6H")
_CRC = struct.Struct("<H")
_HELLO_REPLY_HEAD_BYTES = 4  # which mean the same in every version

FLAG_ARMED = 1 << 0
FLAG_STORED = 1 << 1
FLAG_STOP_INPUT = 1 << 2
FLAG_WATCHDOG = 1 << 3
FLAG_ARM_REFUSED = 1 << 4

CAPABILITY_BATTERY = 1 << 0
CAPABILITY_WHEEL_TICKS = 1 << 1
CAPABILITY_STOP_INPUT = 1 << 2


class StoredPulses(NamedTuple):
    """The six pulse widths that a board keeps of one car, in the protocol's order."""

    steering_min_us: int
    steering_center_us: int
    steering_max_us: int
    throttle_min_us: int
    throttle_neutral_us: int
    throttle_max_us: int


class Status(NamedTuple):
    """STATUS: the answer to a command."""

    sequence: int
    flags: int
    boots: int
    steering_us: int
    throttle_us: int
    battery_mv: int
    wheel_ticks: int
    bad_frames: int


class HelloReply(NamedTuple):
    """HELLO_REPLY: what the board is."""

    sequence: int
    version: int
    firmware: int
    flags: int
    capabilities: int
    watchdog_ms: int
    board_id: bytes
    stored: StoredPulses


class OtherVersion(NamedTuple):
    """HELLO_REPLY of another version of the protocol, as far as all versions agree."""

    sequence: int
    version: int
    firmware: int


class StoreReply(NamedTuple):
    """STORE_REPLY: whether the board keeps the new pulses."""

    sequence: int
    result: int
    in_force: StoredPulses


STORE_RESULTS = {
    0: "stored",
    1: "refused: armed",
    2: "refused: out of bounds",
    3: "refused: its memory failed the check after writing",
}

Reply = Status | HelloReply | OtherVersion | StoreReply


class Decoded(NamedTuple):
    """What a stretch of received bytes held."""

    replies: list[Reply]
    bad_frames: int
    """Frames dropped: wrong CRC, wrong length, unknown type, too long, or noise between zeros."""
    rest: bytes
    """The unfinished frame at the end, to be put before the next bytes; never more than 50 bytes."""


def encode_command(sequence: int, *, armed: bool, steering_us: float, throttle_us: float) -> bytes:
    """Return COMMAND with both pulses rounded to 1 us; ValueError if one is not finite or no pulse at all."""
    return _frame(_COMMAND.pack(0x01, sequence, int(armed), _pulse(steering_us), _pulse(throttle_us)))


def encode_hello(sequence: int, version: int = PROTOCOL_VERSION) -> bytes:
    """Return HELLO, which asks the board what it is."""
    return _frame(_HELLO.pack(0x02, sequence, version))


def encode_store(sequence: int, pulses: StoredPulses) -> bytes:
    """Return STORE, which makes the board keep these pulses."""
    return _frame(_STORE.pack(0x03, sequence, *pulses))


def decode(data: bytes) -> Decoded:
    """Return every reply in these bytes, how many frames were bad, and the unread tail."""
    *frames, rest = data.split(b"\0")
    replies: list[Reply] = []
    bad_frames = 0
    for frame in frames:
        if not frame:
            continue
        reply = _decode_frame(frame)
        if reply is None:
            bad_frames += 1
        else:
            replies.append(reply)
    # One byte more than a frame can have keeps a too long one too long until its zero comes.
    return Decoded(replies, bad_frames, rest[: MAX_ENCODED_BYTES + 1])


def round_us(pulse_us: float) -> int:
    """Return the nearest whole microsecond, halves upwards: 1603.5 is 1604."""
    return math.floor(pulse_us + 0.5)


def _pulse(pulse_us: float) -> int:
    if not PULSE_MIN_US <= pulse_us <= PULSE_MAX_US:  # NaN fails this too
        message = (
            f"a pulse of {pulse_us} us was to be sent, allowed {PULSE_MIN_US:g} to {PULSE_MAX_US:g}; "
            "clamp it to the calibration first"
        )
        raise ValueError(message)
    return round_us(pulse_us)


def _frame(payload: bytes) -> bytes:
    crc = binascii.crc_hqx(payload, _CRC_START)
    encoded: bytes = cobs.encode(payload + _CRC.pack(crc))
    return b"\0" + encoded + b"\0"


def _decode_frame(frame: bytes) -> Reply | None:
    """Return the reply between two zeros, or None when the frame is bad."""
    if len(frame) > MAX_ENCODED_BYTES:
        return None
    try:
        decoded = cobs.decode(frame)
    except cobs.DecodeError:
        return None
    payload, crc = decoded[:-2], decoded[-2:]
    if len(decoded) < 3 or crc != _CRC.pack(binascii.crc_hqx(payload, _CRC_START)):
        return None
    kind, length = payload[0], len(payload)
    if kind == 0x81 and length == _STATUS.size:
        return Status._make(_STATUS.unpack(payload)[1:])
    if kind == 0x82 and length >= _HELLO_REPLY_HEAD_BYTES and payload[2] != PROTOCOL_VERSION:
        return OtherVersion._make(payload[1:_HELLO_REPLY_HEAD_BYTES])
    if kind == 0x82 and length == _HELLO_REPLY.size:
        _, *fields = _HELLO_REPLY.unpack(payload)
        return HelloReply._make([*fields[:7], StoredPulses._make(fields[7:])])
    if kind == 0x83 and length == _STORE_REPLY.size:
        _, sequence, result, *in_force = _STORE_REPLY.unpack(payload)
        return StoreReply(sequence, result, StoredPulses._make(in_force))
    return None
