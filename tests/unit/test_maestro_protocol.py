"""The Pololu Maestro's bytes, against the check values of its manual and its maker's own library."""

import math

import pytest
from crccheck.crc import Crc
from hypothesis import given
from hypothesis import strategies as st

from vehicle.board import maestro_protocol as protocol


@pytest.mark.parametrize(
    ("data", "crc"),
    [
        ("83 01", 0x17),
        ("84 00 70 2E", 0x2B),
        ("AA 0C 04 01 70 2E", 0x73),
        ("9F 02 00 70 2E 70 2E", 0x2B),
        ("A1", 0x1B),
        ("A2", 0x49),
    ],
)
def test_the_crc_is_the_makers(data, crc):
    assert protocol.crc7(bytes.fromhex(data)) == crc


def independent_crc7(data):
    return Crc(7, 0x09, initvalue=0, reflect_input=True, reflect_output=True).process(data).final()


@given(st.binary(max_size=12))
def test_the_crc_is_that_of_independent_code(data):
    assert protocol.crc7(data) == independent_crc7(data)


@pytest.mark.parametrize(
    ("frame", "wire"),
    [
        (protocol.encode_set_target(0, 1500.0), "84 00 70 2E"),
        (protocol.encode_set_target(1, 1446.0), "84 01 18 2D"),
        (protocol.encode_set_target(1, 1603.5), "84 01 0E 32"),
        (protocol.encode_set_speed(1, 0), "87 01 00 00"),
        (protocol.encode_set_acceleration(0, 0), "89 00 00 00"),
        (protocol.encode_get_position(1), "90 01"),
        (protocol.encode_get_errors(), "A1"),
        (protocol.encode_stop_script(), "A4"),
    ],
)
def test_a_command_is_what_the_manual_says_and_its_crc(frame, wire):
    data = bytes.fromhex(wire)
    assert frame == data + bytes([independent_crc7(data)])


@given(channel=st.integers(0, 23), pulse_us=st.floats(800, 2200))
def test_only_the_command_byte_has_its_high_bit_set_and_the_crc_fits(channel, pulse_us):
    frame = protocol.encode_set_target(channel, pulse_us)
    assert frame[0] == 0x84
    assert max(frame[1:]) < 0x80
    assert frame[-1] == independent_crc7(frame[:-1])
    assert abs((frame[2] + (frame[3] << 7)) / 4 - pulse_us) <= 0.125


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 0.0, -1.0, 4096.0])
def test_a_pulse_that_is_none_is_never_encoded(value):
    with pytest.raises(ValueError, match="clamp it first"):
        protocol.encode_set_target(0, value)


@pytest.mark.parametrize(
    ("word", "seen"),
    [
        (0x0000, ""),
        (0x0008, "a wrong CRC"),
        (0x0020, "no command for longer than its serial timeout"),
        (0x0011, "a serial signal error, a wrong command"),
        (0x0100, "a script program counter error"),
    ],
)
def test_an_error_word_is_said_in_words(word, seen):
    assert protocol.error_sentence(word) == seen


def test_a_reply_has_its_low_byte_first():
    assert protocol.decode_word(bytes.fromhex("98 16")) == 5784
