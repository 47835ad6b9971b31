"""What comes from outside, changed at random: files of a car, what other processes say. Words, or nothing.

Of the decoders of bytes, archives, metadata, requests and web addresses their own tests do the same.
"""

import tracemalloc
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from calibration import store
from calibration.car import AWS_DEFAULTS, CarCalibration
from calibration.errors import CalibrationError
from tests.unit.still_car import STATUS
from tests.unit.test_remote import record_of
from vehicle.config import CarConfig, read_config
from vehicle.errors import ConfigError
from vehicle.messages import OperatorRequest, Preview, Reply, RequestKind
from vehicle.remote import RemoteServer
from vehicle.remote_client import VehicleClient

CAR_TOML = """name = "blue"
policy = "plover"

[control]
rate_hz = 30.0
speed_cap_frac = 0.3

[camera]
source = "v4l2:/dev/v4l/by-id/camera"
width_px = 640
crop = [0.1, 0.0, 0.0, 0.0]

[board]
port = "/dev/serial/by-id/board"

[failsafe]
lease_autonomous_s = 1.5
"""
AWS_FILE = b'{"Calibration": {"Servo": {"min": 1200000, "mid": 1450000, "max": 1700000, "polarity": 1}}}'
TOKENS = [
    b"",
    b'"',
    b"]",
    b"[",
    b"{",
    b"}",
    b"=",
    b"\n",
    b"nan",
    b"inf",
    b"-",
    b"1e999",
    b"9" * 400,
    b"\xff\xfe",
]
TOKENS += [
    b"\0",
    b"null",
    b"true",
    b"[[[[" * 500,
    b'"\\ud800"',
    b"2026-01-01",
    b"0x7f",
    b"'''",
    b"# ",
    b"\\u0000",
]
SETTINGS = settings(
    max_examples=250,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@st.composite
def damaged(draw: st.DrawFn, good: bytes) -> bytes:
    """Good bytes with up to four pieces cut out, put in or said twice."""
    data = good
    for _ in range(draw(st.integers(1, 4))):
        at, length = draw(st.integers(0, len(data))), draw(st.integers(0, 12))
        piece = draw(st.one_of(st.sampled_from(TOKENS), st.binary(max_size=6), st.just(data[at : at + 40])))
        data = data[:at] + piece + data[at + length :]
    return data


def assert_is_a_sentence(error: Exception) -> None:
    assert len(str(error)) > 20
    assert len(str(error)) < 3000


@SETTINGS
@given(data=damaged(CAR_TOML.encode()))
@example(CAR_TOML.encode())
@example(b"name = " + b"[" * 100_000)
@example(b"name = " + b"{a=" * 50_000)
def test_a_damaged_car_toml_is_read_or_refused_in_words(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "car.toml"
    path.write_bytes(data)
    try:
        assert isinstance(read_config(path), CarConfig)
    except ConfigError as error:
        assert_is_a_sentence(error)


@SETTINGS
@given(data=st.one_of(damaged(store.encode(AWS_DEFAULTS)), damaged(AWS_FILE), st.binary(max_size=200)))
@example(b"[" * 60_000)
@example(b'{"name":' * 7_000)
@example(b'{"Calibration": {"Servo": null, "Motor": [1]}}')
def test_a_damaged_calibration_is_read_or_refused_in_words(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "blue.json"
    path.write_bytes(data)
    for read in (
        lambda: store.load(path),
        lambda: store.read_any(data, "the upload", "blue"),
        lambda: store.read_aws(path),
    ):
        try:
            assert isinstance(read(), CarCalibration)
        except CalibrationError as error:
            assert_is_a_sentence(error)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> VehicleClient:
    made = VehicleClient(tmp_path_factory.mktemp("r"), "anna", records=True)
    made.close()  # its thread: what it is told comes from here
    return made


def packed(message: msgspec.Struct) -> bytes:
    return msgspec.msgpack.encode(message)


@SETTINGS
@given(
    data=st.one_of(
        damaged(packed(STATUS)),
        damaged(packed(record_of(1))),
        damaged(packed(Preview(1, 2, b"jpeg"))),
        damaged(packed(Reply("1", ok=True, reason="why"))),
        st.binary(max_size=100),
    )
)
@example(b"\x81\xa1x" + b"\x91" * 60_000)
@example(b"\x81\xa7version\xcf" + b"\xff" * 8)
def test_whatever_a_vehicle_says_breaks_no_client(client: VehicleClient, data: bytes) -> None:
    client._keep_status(data)
    client._keep_preview(data)
    client._deliver(data)
    client._keep_record(data, 1)
    list(client.records(0.0))


NESTED = b"\x81\xa1x" + b"\x91" * 60_000
"""An unknown field whose value has no end; it fits into a request's 64 KB."""


@pytest.mark.parametrize("message", [NESTED, b"\x81\xa1x" + b"\x81\xa1y" * 20_000])
def test_a_request_nested_without_an_end_is_refused_and_on_the_stop_socket_stops(message: bytes) -> None:
    server = RemoteServer.__new__(RemoteServer)
    server._decoder, server.malformed = msgspec.msgpack.Decoder(OperatorRequest), 0
    server._requests, server._stop = Flood(message, 1), Flood(message, 1)  # type: ignore[assignment]
    answered: list[RequestKind] = []

    def answer(request: OperatorRequest) -> Reply:
        answered.append(request.kind)
        return Reply(request.id, ok=True)

    server.drain(answer)
    assert answered == [RequestKind.EMERGENCY_STOP]
    assert server.malformed == 2


class Flood:
    """A socket with the same rubbish again and again."""

    def __init__(self, message: bytes, times: int) -> None:
        self.message, self.left = message, times

    def recv_multipart(self, _flags: int) -> list[bytes]:
        import zmq

        if not self.left:
            raise zmq.Again
        self.left -= 1
        return [b"peer", self.message]

    def send_multipart(self, parts: list[bytes], _flags: int) -> None:
        pass


@pytest.mark.parametrize(
    "message", [b"\xc1" * 3000, packed(OperatorRequest("x" * 3000, "a", RequestKind.DRIVE, 0))]
)
def test_a_flood_of_requests_is_borne_in_bounded_memory(message: bytes) -> None:
    server = RemoteServer.__new__(RemoteServer)
    server._decoder, server.malformed = msgspec.msgpack.Decoder(OperatorRequest), 0
    server._stop = Flood(b"", 0)  # type: ignore[assignment]

    def bear(times: int) -> int:
        server._requests = Flood(message, times)  # type: ignore[assignment]
        while server._requests.left:  # type: ignore[attr-defined]
            server.drain(lambda request: Reply(request.id, ok=False, reason="no"))
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        bear(200)
        assert bear(5000) - bear(0) < 20_000
    finally:
        tracemalloc.stop()
