"""The board protocol's bytes: the vectors of docs/board-protocol.md, and everything a line can do to them."""

import itertools
import math
import random

import pytest
from crccheck.crc import Crc16Ibm3740
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vehicle.board import protocol
from vehicle.board.protocol import HelloReply, OtherVersion, Status, StoredPulses, StoreReply

AWS = StoredPulses(1200, 1450, 1700, 1311, 1446, 1604)
STANDARD = StoredPulses(1100, 1500, 1900, 1100, 1500, 1900)

SENT = [
    (
        protocol.encode_command(7, armed=True, steering_us=1500.0, throttle_us=1500.0),
        "00 0A 01 07 01 DC 05 DC 05 91 27 00",
    ),
    (
        protocol.encode_command(0, armed=False, steering_us=1450.0, throttle_us=1446.0),
        "00 02 01 01 07 AA 05 A6 05 FF C7 00",
    ),
    (
        protocol.encode_command(255, armed=True, steering_us=1700.0, throttle_us=1311.0),
        "00 0A 01 FF 01 A4 06 1F 05 8E 66 00",
    ),
    (protocol.encode_hello(1), "00 06 02 01 01 EC 81 00"),
    (protocol.encode_store(2, AWS), "00 11 03 02 B0 04 AA 05 A4 06 1F 05 A6 05 44 06 8D 61 00"),
    (protocol.encode_store(3, STANDARD), "00 11 03 03 4C 04 DC 05 6C 07 4C 04 DC 05 6C 07 C2 BC 00"),
]
RECEIVED = [
    (
        "00 04 81 07 03 09 DC 05 DC 05 E8 1C D2 04 01 03 BD 16 00",
        Status(7, 0x03, 0, 1500, 1500, 7400, 1234, 0),
    ),
    ("00 09 81 08 0A 01 AA 05 A6 05 01 01 01 02 05 03 60 F5 00", Status(8, 0x0A, 1, 1450, 1446, 0, 0, 5)),
    (
        "00 08 82 01 01 03 02 07 B4 17 4C 41 50 57 49 4E 47 01 B0 04 AA 05 A4 06 1F 05 A6 05 44 06 78 8E 00",
        HelloReply(1, 1, 3, 0x02, 0x07, 180, b"LAPWING\x01", AWS),
    ),
    (
        "00 05 82 01 01 03 03 07 B4 09 4C 41 50 57 49 4E 47 01 01 01 01 01 01 01 01 01 01 01 01 03 FC 2F 00",
        HelloReply(1, 1, 3, 0x00, 0x07, 180, b"LAPWING\x01", StoredPulses(0, 0, 0, 0, 0, 0)),
    ),
    ("00 03 83 02 0F B0 04 AA 05 A4 06 1F 05 A6 05 44 06 B4 C0 00", StoreReply(2, 0, AWS)),
    ("00 12 83 03 01 B0 04 AA 05 A4 06 1F 05 A6 05 44 06 B6 FE 00", StoreReply(3, 1, AWS)),
]
FRAMES = [bytes.fromhex(wire) for wire, _ in RECEIVED]
REPLIES = [reply for _, reply in RECEIVED]
STREAM = b"".join(FRAMES)


@pytest.mark.parametrize(("frame", "wire"), SENT)
def test_what_the_host_sends_is_what_the_document_says(frame, wire):
    assert frame == bytes.fromhex(wire)


@pytest.mark.parametrize(("wire", "reply"), RECEIVED)
def test_what_the_board_sends_is_read_as_the_document_says(wire, reply):
    assert protocol.decode(bytes.fromhex(wire)) == ([reply], 0, b"")


def test_a_stream_is_read_whole():
    assert protocol.decode(STREAM) == (REPLIES, 0, b"")


def test_a_stream_is_read_byte_by_byte():
    replies, bad_frames, rest = [], 0, b""
    for byte in STREAM:
        decoded = protocol.decode(rest + bytes([byte]))
        replies += decoded.replies
        bad_frames += decoded.bad_frames
        rest = decoded.rest
    assert (replies, bad_frames, rest) == (REPLIES, 0, b"")


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_a_stream_is_read_however_it_is_cut(cuts):
    edges = [0, *sorted(cuts), len(STREAM)]
    replies, rest = [], b""
    for start, end in itertools.pairwise(edges):
        decoded = protocol.decode(rest + STREAM[start:end])
        replies += decoded.replies
        rest = decoded.rest
    assert replies == REPLIES


@pytest.mark.parametrize("frame", FRAMES)
def test_no_frame_with_one_or_two_flipped_bits_is_accepted(frame):
    rng = random.Random(7)
    bits = len(frame) * 8
    flips = [(bit,) for bit in range(bits)] + [tuple(rng.sample(range(bits), 2)) for _ in range(400)]
    for flipped in flips:
        damaged = bytearray(frame)
        for bit in flipped:
            damaged[bit // 8] ^= 1 << bit % 8
        inner = bytes(damaged).strip(b"\0") == frame.strip(b"\0")  # only the fences were hit
        replies = protocol.decode(bytes(damaged)).replies
        if not inner:
            assert replies == []


@given(garbage=st.binary(max_size=200), wire=st.sampled_from(range(len(FRAMES))))
@example(garbage=b"\x02\xff", wire=0)
@example(garbage=FRAMES[0][:-1], wire=1)
def test_the_frame_after_any_garbage_is_read(garbage, wire):
    replies = protocol.decode(garbage + FRAMES[wire]).replies
    assert replies[-1] == REPLIES[wire]


def test_a_flood_without_a_zero_is_remembered_in_bounded_memory_and_counted_once():
    rest = b""
    for _ in range(100):
        decoded = protocol.decode(rest + b"\x55" * 4096)
        rest = decoded.rest
        assert decoded.replies == []
        assert len(rest) <= 50
    decoded = protocol.decode(rest + FRAMES[0])
    assert decoded == ([REPLIES[0]], 1, b"")


def test_a_frame_longer_than_any_is_dropped_though_its_crc_is_good():
    payload = bytes([0x81]) + b"\x11" * 60
    wire = framed(payload)
    assert protocol.decode(wire) == ([], 1, b"")


def framed(payload):
    """Frame a payload with the independent CRC and a plain COBS of our own words."""
    data = payload + Crc16Ibm3740.calc(payload).to_bytes(2, "little")
    coded = b"".join(bytes([len(run) + 1]) + run for run in data.split(b"\0"))
    return b"\0" + coded + b"\0"


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\x81",
        b"\x81" + b"\x01" * 12,
        b"\x81" + b"\x01" * 14,
        b"\x82" + b"\x01" * 26,
        b"\x82" + b"\x01" * 28,
        b"\x82\x01\x02",
        b"\x83" + b"\x01" * 15,
        b"\x01\x07\x01\xdc\x05\xdc\x05",
        b"\x84" + b"\x01" * 13,
    ],
)
def test_a_frame_of_wrong_length_or_unknown_type_is_dropped_and_counted(payload):
    assert protocol.decode(framed(payload)) == ([], 1, b"")


@pytest.mark.parametrize("length", range(4, 47))
def test_a_hello_reply_of_another_version_is_named_whatever_its_length(length):
    payload = (b"\x82\x07\x02\x09" + b"\xa5" * 42)[:length]
    assert protocol.decode(framed(payload)) == ([OtherVersion(sequence=7, version=2, firmware=9)], 0, b"")


def test_every_other_version_is_another_version():
    for version in set(range(256)) - {1}:
        payload = bytes([0x82, 7, version, 9]) + b"\x00" * 24
        assert protocol.decode(framed(payload)).replies == [OtherVersion(7, version, 9)]


def test_empty_frames_are_not_bad_frames():
    assert protocol.decode(b"\0\0\0") == ([], 0, b"")


@given(
    sequence=st.integers(0, 255),
    armed=st.booleans(),
    steering_us=st.floats(800, 2200),
    throttle_us=st.floats(800, 2200),
)
def test_every_command_is_framed_as_independent_code_frames_it(sequence, armed, steering_us, throttle_us):
    payload = bytes([1, sequence, int(armed)])
    payload += math.floor(steering_us + 0.5).to_bytes(2, "little")
    payload += math.floor(throttle_us + 0.5).to_bytes(2, "little")
    assert protocol.encode_command(
        sequence, armed=armed, steering_us=steering_us, throttle_us=throttle_us
    ) == framed(payload)


@given(st.binary(min_size=13, max_size=13))
def test_every_status_that_independent_code_frames_is_read(body):
    wire = framed(b"\x81" + body)
    (status,) = protocol.decode(wire).replies
    assert (status.sequence, status.flags, status.boots) == (body[0], body[1], body[2])
    assert status.steering_us == int.from_bytes(body[3:5], "little")
    assert status.bad_frames == int.from_bytes(body[11:13], "little")


@settings(max_examples=300)
@given(st.binary(max_size=400))
def test_no_bytes_make_the_decoder_raise_or_remember_much(data):
    decoded = protocol.decode(data)
    assert len(decoded.rest) <= 50


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 799.9, 2200.1, 0.0])
def test_a_pulse_that_is_none_is_never_encoded(value):
    with pytest.raises(ValueError, match="allowed 800 to 2200"):
        protocol.encode_command(1, armed=True, steering_us=value, throttle_us=1500.0)
    with pytest.raises(ValueError, match="allowed 800 to 2200"):
        protocol.encode_command(1, armed=True, steering_us=1500.0, throttle_us=value)


def test_half_a_microsecond_is_rounded_up():
    assert [protocol.round_us(value) for value in (1603.5, 1446.5, 1446.0, 1445.9)] == [
        1604,
        1447,
        1446,
        1446,
    ]
