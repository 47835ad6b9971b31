"""The Pololu Maestro's serial commands as bytes: compact protocol, CRC-7. Opens nothing."""

import math

QUARTERS_PER_US = 4
TARGET_MAX = 0x3FFF  # 14 bits
ERROR_BYTES = 2
POSITION_BYTES = 2

ERROR_CRC = 1 << 3
ERROR_TIMEOUT = 1 << 5
ERRORS = (
    "a serial signal error",
    "a serial overrun",
    "a full receive buffer",
    "a wrong CRC",
    "a wrong command",
    "no command for longer than its serial timeout",
    "a script stack error",
    "a script call stack error",
    "a script program counter error",
)
"""What each bit of the error word says was seen; any of them sends all channels to their home setting."""
ERROR_BITS = (1 << len(ERRORS)) - 1

_SET_TARGET = 0x84
_SET_SPEED = 0x87
_SET_ACCELERATION = 0x89
_GET_POSITION = 0x90
_GET_ERRORS = 0xA1
_STOP_SCRIPT = 0xA4
_CRC7_POLYNOMIAL = 0x91


def crc7(data: bytes) -> int:
    """Return the CRC that the Maestro expects behind these bytes."""
    crc = 0
    for byte in data:
        crc = _CRC_TABLE[crc ^ byte]
    return crc


def encode_set_target(channel: int, pulse_us: float) -> bytes:
    """Return Set Target, rounded to a quarter of a microsecond; ValueError if that is no pulse."""
    return _frame(_SET_TARGET, channel, *_two_sevens(quarters(pulse_us)))


def encode_set_speed(channel: int, speed: int) -> bytes:
    """Return Set Speed; 0 means without limit."""
    return _frame(_SET_SPEED, channel, *_two_sevens(speed))


def encode_set_acceleration(channel: int, acceleration: int) -> bytes:
    """Return Set Acceleration; 0 means without limit."""
    return _frame(_SET_ACCELERATION, channel, *_two_sevens(acceleration))


def encode_get_position(channel: int) -> bytes:
    """Return Get Position, answered by two bytes: the pulse now being sent, in quarters of a microsecond."""
    return _frame(_GET_POSITION, channel)


def encode_get_errors() -> bytes:
    """Return Get Errors, answered by two bytes; reading them clears them."""
    return _frame(_GET_ERRORS)


def encode_stop_script() -> bytes:
    """Return Stop Script: a script stored in the Maestro would fight the host."""
    return _frame(_STOP_SCRIPT)


def decode_word(data: bytes) -> int:
    """Return the number in a reply of two bytes."""
    return int.from_bytes(data, "little")


def quarters(pulse_us: float) -> int:
    """Return the pulse in quarters of a microsecond; ValueError if it is not finite or no pulse at all."""
    if not math.isfinite(pulse_us) or not 0 < pulse_us * QUARTERS_PER_US <= TARGET_MAX:
        message = f"a pulse of {pulse_us} us was to be sent, allowed above 0 to 4095.75; clamp it first"
        raise ValueError(message)
    return math.floor(pulse_us * QUARTERS_PER_US + 0.5)


def error_sentence(word: int) -> str:
    """Return what the error word says, in words; empty for no error."""
    seen = [meaning for bit, meaning in enumerate(ERRORS) if word >> bit & 1]
    return ", ".join(seen)


def _frame(command: int, *data: int) -> bytes:
    frame = bytes([command, *data])
    return frame + bytes([crc7(frame)])


def _two_sevens(value: int) -> tuple[int, int]:
    return value & 0x7F, value >> 7 & 0x7F


def _crc7_of_byte(byte: int) -> int:
    for _ in range(8):
        if byte & 1:
            byte ^= _CRC7_POLYNOMIAL
        byte >>= 1
    return byte


_CRC_TABLE = tuple(_crc7_of_byte(byte) for byte in range(256))
