"""The vehicle's border over real ZeroMQ sockets: floods, rubbish, two clients, a vehicle that comes back."""

import contextlib
import gc
import os
import select
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
import zmq
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.unit.still_car import STATUS, status_with
from vehicle import preview, remote_client
from vehicle.errors import VehicleBusyError, VehicleSilentError
from vehicle.messages import (
    SCHEMA_VERSION,
    BoardStatus,
    DriveAction,
    DriveCommand,
    DriveState,
    Frame,
    OperatorRequest,
    Preview,
    Reply,
    RequestKind,
    StageTimes,
    TickRecord,
)
from vehicle.preview import PreviewPublisher
from vehicle.remote import REQUESTS_A_TICK, RemoteServer, StopLine
from vehicle.remote_client import VehicleClient
from vehicle.run_dir import PATH_LIMIT, default_run_dir, prepare_run_dir

RECORD = TickRecord(
    sequence=0,
    now_ns=1,
    decided=True,
    state=DriveState.DISARMED,
    faults=(),
    frame_number=0,
    frame_stamp_ns=0,
    policy_output=(),
    action_index=-1,
    action=None,
    wanted=DriveAction(0.0, 0.0),
    sent=DriveCommand(False, 1450.0, 1446.0),
    board=BoardStatus(connected=True, received_ns=1, acked_sent_ns=1, acked_armed=False),
    trigger="frame",
    lateness_ns=0,
    times=StageTimes(),
)
IMAGE = np.full((60, 80, 3), 90, np.uint8)


def record_of(sequence: int) -> TickRecord:
    return msgspec.structs.replace(RECORD, sequence=sequence)


class Vehicle:
    """The vehicle's side of the border, ticking by hand or in a thread, with every request it was given."""

    def __init__(self, run_dir: Path) -> None:
        self.context = zmq.Context()
        self.server = RemoteServer(run_dir, self.context)
        self.preview = PreviewPublisher(run_dir, self.context)
        self.requests: list[OperatorRequest] = []
        self.before_tick: Callable[[], None] = lambda: None
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def answer(self, request: OperatorRequest) -> Reply:
        self.requests.append(request)
        return Reply(request.id, ok=True, reason=request.source)

    def tick(self) -> None:
        self.before_tick()
        self.server.drain(self.answer)

    def run(self) -> None:
        def loop() -> None:
            while not self._stopping.wait(0.005):
                self.tick()

        self._thread = threading.Thread(target=loop, name="test-vehicle")
        self._thread.start()

    def close(self) -> None:
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
        self.server.close()
        self.preview.close()
        self.context.destroy(linger=0)


@pytest.fixture
def run_dir() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="lw", dir="/tmp"))
    yield folder / "run"
    shutil.rmtree(folder)


@pytest.fixture
def vehicle(run_dir: Path) -> Iterator[Vehicle]:
    made = Vehicle(run_dir)
    yield made
    made.close()


@pytest.fixture
def running(vehicle: Vehicle) -> Vehicle:
    vehicle.run()
    return vehicle


@pytest.fixture
def client(run_dir: Path) -> Iterator[VehicleClient]:
    with VehicleClient(run_dir, "anna") as made:
        yield made


@pytest.fixture
def wire(run_dir: Path) -> Iterator[Callable[[str], zmq.Socket]]:
    """Make bare sockets that say whatever a test wants."""
    context, sockets = zmq.Context(), []

    def dealer(name: str) -> zmq.Socket:
        socket = context.socket(zmq.DEALER)
        sockets.append(socket)  # lives as long as the test
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.SNDHWM, 10_000)
        socket.setsockopt(zmq.RCVTIMEO, 5000)
        socket.connect(f"ipc://{run_dir / name}")
        return socket

    yield dealer
    context.destroy(linger=0)


def until(is_true: Callable[[], object], timeout_s: float = 5.0) -> None:
    """Wait for a condition, and fail when it does not come."""
    deadline_s = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < deadline_s, "it never happened"
        time.sleep(0.002)


def packed(kind: RequestKind = RequestKind.DISARM, **fields) -> bytes:
    request = OperatorRequest(**{"id": "1", "source": "wire", "kind": kind, "sent_ns": 0, **fields})
    return msgspec.msgpack.encode(request)


def read_reply(socket: zmq.Socket) -> Reply:
    return msgspec.msgpack.decode(socket.recv(), type=Reply)


# --- requests


def test_a_request_reaches_the_vehicle_and_its_answer_comes_back(running, client):
    reply = client.request(RequestKind.START, target=DriveState.MANUAL, throttle_frac=0.5)

    assert (reply.ok, reply.reason) == (True, "anna")
    (request,) = running.requests
    assert (request.kind, request.source, request.target) == (RequestKind.START, "anna", DriveState.MANUAL)
    assert request.throttle_frac == 0.5
    assert request.id == reply.id
    assert 0 <= time.monotonic_ns() - request.sent_ns < 5e9


def test_a_page_speaks_for_its_own_driver(running, client):
    assert client.request(RequestKind.TAKE_LEASE, source="page 7").reason == "page 7"


def test_each_of_many_threads_and_clients_gets_its_own_answer(running, client, run_dir):
    answers: dict[str, str] = {}

    def ask(name: str, through: VehicleClient) -> None:
        for number in range(20):
            source = f"{name} {number}"
            answers[source] = through.request(RequestKind.RENEW_LEASE, 5.0, source=source).reason

    with VehicleClient(run_dir, "ben") as other:
        threads = [
            threading.Thread(target=ask, args=(f"{index}", through))
            for index, through in enumerate([client, client, other, other])
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert len(answers) == 80
    assert all(source == reason for source, reason in answers.items())


def test_no_vehicle_is_told_in_time_and_nothing_waits_for_one(client, run_dir):
    started_s = time.monotonic()
    with pytest.raises(VehicleSilentError) as error:
        client.request(RequestKind.START, timeout_s=0.1, target=DriveState.MANUAL)

    assert time.monotonic() - started_s < 3
    assert str(error.value) == (
        f"the vehicle did not answer 'start' within 0.1 s; is it running in {run_dir}?"
    )
    late = Vehicle(run_dir)
    try:
        late.run()
        assert client.request(RequestKind.DISARM, 5.0).ok
        assert [request.kind for request in late.requests] == [RequestKind.DISARM]
    finally:
        late.close()


def test_a_flood_of_requests_costs_a_tick_a_bounded_number(vehicle, wire):
    sender = wire("requests")
    for _ in range(90):
        sender.send(packed(RequestKind.RENEW_LEASE))
    ticks = []
    while len(vehicle.requests) < 90:
        before = len(vehicle.requests)
        vehicle.tick()
        ticks.append(len(vehicle.requests) - before)
        assert len(ticks) < 100_000

    assert max(ticks) <= REQUESTS_A_TICK


def test_an_emergency_stop_passes_a_flooded_queue_in_the_next_tick(vehicle, wire):
    flood, stop = wire("requests"), wire("stop")
    for _ in range(2000):
        flood.send(packed(RequestKind.RENEW_LEASE))
    until(lambda: (vehicle.tick(), vehicle.requests)[1])
    stop.send(packed(RequestKind.EMERGENCY_STOP, source="watcher"))
    until(lambda: vehicle.server._stop.poll(0))
    vehicle.requests.clear()

    vehicle.tick()

    assert vehicle.requests[0].kind is RequestKind.EMERGENCY_STOP
    assert read_reply(stop).ok


def test_a_client_stops_through_the_socket_that_is_read_first(vehicle, client):
    pressed = threading.Thread(target=client.emergency_stop, args=(10.0,))
    pressed.start()
    until(lambda: vehicle.server._stop.poll(0))
    assert not vehicle.server._requests.poll(0)

    vehicle.tick()
    pressed.join()
    assert [request.kind for request in vehicle.requests] == [RequestKind.EMERGENCY_STOP]


def rings_within(line: StopLine, timeout_s: float) -> bool:
    """Wait as the loop's clock does."""
    deadline_s = time.monotonic() + timeout_s
    while not line.rings():
        left_s = deadline_s - time.monotonic()
        if left_s <= 0:
            return False
        select.select([line], [], [], left_s)
    return True


def test_a_stop_is_heard_until_a_tick_has_read_it(vehicle, wire):
    line, stop = vehicle.server.stop_line, wire("stop")
    assert not line.rings()
    for _ in range(3):
        stop.send(packed(RequestKind.EMERGENCY_STOP))
        assert rings_within(line, 10.0)
        vehicle.tick()
        assert not line.rings()
        assert read_reply(stop).ok


def test_nothing_but_the_stop_socket_is_heard(vehicle, wire):
    sender = wire("requests")
    sender.send(packed(RequestKind.DISARM))
    until(lambda: vehicle.server._requests.poll(0))
    assert not rings_within(vehicle.server.stop_line, 0.05)


def test_a_flood_on_the_stop_socket_cannot_hold_up_a_tick_either(vehicle, wire):
    stop = wire("stop")
    for _ in range(90):
        stop.send(packed(RequestKind.EMERGENCY_STOP))
    until(lambda: vehicle.server._stop.poll(0))

    vehicle.tick()

    assert 1 <= len(vehicle.requests) <= REQUESTS_A_TICK


def test_a_page_that_floods_does_not_silence_another(running, run_dir, wire):
    flood = wire("requests")
    with VehicleClient(run_dir, "ben") as client:
        for _ in range(500):
            flood.send(packed(RequestKind.RENEW_LEASE))
        assert client.request(RequestKind.DISARM, 5.0).reason == "ben"
        assert client.emergency_stop(5.0).ok


def test_the_stop_socket_takes_nothing_else(vehicle, wire):
    stop = wire("stop")
    stop.send(packed(RequestKind.START, id="x"))
    until(lambda: vehicle.server._stop.poll(0))
    vehicle.tick()

    assert read_reply(stop) == Reply("x", ok=False, reason="this socket takes emergency stops only")
    assert vehicle.requests == []


def test_an_emergency_stop_works_on_the_ordinary_socket_too(vehicle, wire):
    sender = wire("requests")
    sender.send(packed(RequestKind.EMERGENCY_STOP))
    until(lambda: vehicle.server._requests.poll(0))
    vehicle.tick()

    assert [request.kind for request in vehicle.requests] == [RequestKind.EMERGENCY_STOP]


# --- rubbish and other versions

RUBBISH = [
    b"",
    b"\x00",
    b"\xc1" * 40,
    b"{}",
    msgspec.msgpack.encode({}),
    msgspec.msgpack.encode({"id": 1, "source": 2}),
    msgspec.msgpack.encode({"id": "1", "source": "a", "kind": "fly", "sent_ns": 0}),
    msgspec.msgpack.encode({"id": "1", "source": "a", "kind": "drive", "sent_ns": "now"}),
    packed()[:-1],
    packed() + b"\x00",
    b"\x81\xa2id\xa1\xff",  # not UTF-8
]


@pytest.mark.parametrize("rubbish", RUBBISH)
def test_rubbish_is_answered_counted_and_never_obeyed(vehicle, wire, rubbish):
    sender = wire("requests")
    sender.send(rubbish)
    until(lambda: vehicle.server._requests.poll(0))
    vehicle.tick()

    reply = read_reply(sender)
    assert not reply.ok
    assert reply.reason.startswith("the request cannot be read: ")
    assert vehicle.requests == []
    assert vehicle.server.malformed == 1


@pytest.mark.parametrize("rubbish", RUBBISH)
def test_rubbish_on_the_stop_socket_stops_the_car(vehicle, wire, rubbish):
    stop = wire("stop")
    stop.send(rubbish)
    until(lambda: vehicle.server._stop.poll(0))
    vehicle.tick()

    assert [request.kind for request in vehicle.requests] == [RequestKind.EMERGENCY_STOP]
    assert read_reply(stop).ok


class LooseWire:
    """Stands where a socket stands, with one message on it: thousands of cases without any transport."""

    def __init__(self, *parts: bytes) -> None:
        self.waiting = [[b"peer", *parts]]
        self.sent: list[list[bytes]] = []

    def recv_multipart(self, _flags: int) -> list[bytes]:
        if not self.waiting:
            raise zmq.Again
        return self.waiting.pop()

    def send_multipart(self, parts: list[bytes], _flags: int) -> None:
        self.sent.append(parts)


@given(
    data=st.one_of(st.binary(max_size=300), st.sampled_from(RUBBISH)),
    cut=st.integers(0, 60),
    flip=st.integers(0, 60),
)
@example(data=b"", cut=0, flip=0)
@settings(max_examples=300, deadline=None, derandomize=True, database=None)
def test_no_bytes_whatever_break_the_border(data, cut, flip):
    good = bytearray(packed(RequestKind.START, target=DriveState.MANUAL))
    damaged = bytearray(good)
    damaged[flip % len(good)] ^= 1 + cut
    for message in (data, bytes(good[:cut]), bytes(damaged)):
        server = RemoteServer.__new__(RemoteServer)
        server._decoder, server.malformed = msgspec.msgpack.Decoder(OperatorRequest), 0
        server._requests, server._stop = LooseWire(message), LooseWire(message)
        given_to: list[RequestKind] = []

        def answer(request: OperatorRequest, given_to: list[RequestKind] = given_to) -> Reply:
            given_to.append(request.kind)
            return Reply(request.id, ok=True)

        server.drain(answer)

        assert len(server._requests.sent) == len(server._stop.sent) == 1
        assert (server._requests.sent[0][0], server._stop.sent[0][0]) == (b"peer", b"peer")


def test_a_message_without_any_part_is_rubbish_too(run_dir):
    server = RemoteServer.__new__(RemoteServer)
    server._decoder, server.malformed = msgspec.msgpack.Decoder(OperatorRequest), 0
    server._requests, server._stop = LooseWire(), LooseWire(packed(RequestKind.EMERGENCY_STOP))

    server.drain(lambda request: Reply(request.id, ok=True))

    assert server.malformed == 1


def test_a_request_with_a_wrong_field_is_answered_to_whoever_waits_for_it(running, client):
    reply = client.request(RequestKind.DRIVE, 5.0, throttle_frac="full")

    assert not reply.ok
    assert "throttle_frac" in reply.reason


@pytest.mark.parametrize("kind", sorted(RequestKind))
@pytest.mark.parametrize("version", [0, 2, 99])
def test_a_request_of_another_version_is_refused_unless_it_stops(vehicle, wire, kind, version):
    sender = wire("requests")
    sender.send(packed(kind, version=version))
    until(lambda: vehicle.server._requests.poll(0))
    vehicle.tick()

    stops = kind in {RequestKind.DISARM, RequestKind.EMERGENCY_STOP}
    reply = read_reply(sender)
    assert reply.ok == bool(vehicle.requests) == stops
    told = f"the request is of version {version}, allowed {SCHEMA_VERSION}; restart the page or command"
    assert stops or reply.reason.startswith(told)


def test_a_request_too_long_to_be_one_is_dropped_and_the_next_client_is_served(running, client, wire):
    sender = wire("requests")
    sender.send(b"\x00" * (1 << 17))

    assert client.request(RequestKind.DISARM, 5.0).ok
    assert [request.source for request in running.requests] == ["anna"]


# --- the run directory


def test_the_run_directory_is_private(vehicle, run_dir):
    assert stat.S_IMODE(run_dir.stat().st_mode) == 0o700


def test_a_run_directory_that_was_open_to_others_is_closed(run_dir):
    run_dir.mkdir(mode=0o755)
    made = Vehicle(run_dir)
    made.close()

    assert stat.S_IMODE(run_dir.stat().st_mode) == 0o700


def test_a_second_vehicle_is_refused_and_the_first_goes_on(running, run_dir, client):
    context = zmq.Context()
    try:
        with pytest.raises(VehicleBusyError, match=f"another vehicle process owns {run_dir}; stop it first"):
            RemoteServer(run_dir, context)
    finally:
        context.destroy(linger=0)

    assert client.request(RequestKind.DISARM, 5.0).ok


def test_a_directory_is_free_again_after_close(run_dir):
    for _ in range(3):
        Vehicle(run_dir).close()


@pytest.mark.parametrize("length", [PATH_LIMIT - 8, PATH_LIMIT + 100])
def test_a_path_too_long_for_a_socket_is_refused_before_anything_is_made(length):
    folder = Path("/tmp") / ("x" * (length - len("/tmp/")))

    with pytest.raises(VehicleBusyError) as error:
        prepare_run_dir(folder)
    assert not folder.exists()
    assert str(error.value) == (
        f"{folder} is {length} bytes long, allowed {PATH_LIMIT - 9}; choose a shorter --run-dir"
    )


def test_the_longest_path_that_is_allowed_works(run_dir):
    folder = run_dir.parent / ("x" * (PATH_LIMIT - 9 - len(f"{run_dir.parent}/")))
    assert len(str(folder)) == PATH_LIMIT - 9

    Vehicle(folder).close()


def test_the_length_of_a_path_is_counted_in_bytes():
    with pytest.raises(VehicleBusyError, match="is 85 bytes long"):
        prepare_run_dir(Path("/tmp") / ("ä" * 40))


def test_a_directory_of_somebody_else_is_refused(run_dir, monkeypatch):
    monkeypatch.setattr(os, "getuid", lambda: 4321)

    with pytest.raises(VehicleBusyError, match=r"belongs to user \d+, not to 4321; choose another --run-dir"):
        prepare_run_dir(run_dir)


def test_the_default_directory_is_this_users_own(monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    assert default_run_dir() == Path("/run/user/7/lapwing")
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert default_run_dir() == Path(f"/tmp/lapwing-{os.getuid()}")


# --- status


def test_everybody_sees_the_newest_status(running, client, run_dir):
    count = [0]

    def publish() -> None:
        count[0] += 1
        running.server.publish_status(status_with(decisions=count[0]))

    running.before_tick = publish
    with VehicleClient(run_dir, "ben") as other:
        for one in (client, other):
            assert one.wait_status(lambda status: status.decisions > 5, 5.0) is not None
            assert one.status_age_s() < 5.0


def test_without_a_vehicle_there_is_no_status(client):
    assert client.status() is None
    assert client.status_age_s() == float("inf")
    assert client.wait_status(lambda _: True, 0.05) is None


@pytest.mark.parametrize(
    "message", [STATUS, OperatorRequest("1", "a", RequestKind.DISARM, 0), Reply("1", True)]
)
def test_every_message_says_its_version(message):
    """`omit_defaults` must not leave it out: the other side would read its own version there."""
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(message))["version"] == SCHEMA_VERSION


def of_version(version: int | None, message: msgspec.Struct) -> bytes:
    fields = msgspec.to_builtins(message) | {"version": version}
    if version is None:
        del fields["version"]
    return msgspec.msgpack.encode(fields)


@pytest.mark.parametrize("version", [None, 0, 2, 99])
def test_a_status_of_another_version_is_none_and_says_what_to_do(client, version):
    client._keep_status(msgspec.msgpack.encode(STATUS))
    client._keep_status(of_version(version, STATUS))

    assert client.status() is None
    assert client.version_note.startswith(f"the vehicle process speaks version {version or 0}, allowed 1")
    assert "lapwing run" in client.version_note


def test_a_status_that_only_its_own_version_can_read_is_no_silence(client):
    client._keep_status(msgspec.msgpack.encode({"version": 2, "state": ["in", "other", "words"]}))

    assert client.status() is None
    assert "speaks version 2" in client.version_note


def test_a_vehicle_of_this_version_is_understood_again_after_one_of_another(client):
    client._keep_status(of_version(2, STATUS))
    client._keep_status(msgspec.msgpack.encode(STATUS))

    assert client.status() == STATUS
    assert client.version_note == ""


@pytest.mark.parametrize("kind", sorted(RequestKind))
def test_a_vehicle_of_another_version_is_only_asked_to_stop(running, client, kind):
    client._keep_status(of_version(2, STATUS))
    stops = kind in {RequestKind.DISARM, RequestKind.EMERGENCY_STOP}
    reply = client.request(kind, 5.0)

    assert reply.ok == bool(running.requests) == stops
    assert stops or reply.reason == client.version_note


def test_pictures_and_records_of_another_version_are_not_taken(run_dir):
    with VehicleClient(run_dir, "recorder", records=True) as client:
        client._keep_preview(msgspec.msgpack.encode(Preview(1, 0, b"", version=2)))
        assert client._preview is None
        client._keep_preview(msgspec.msgpack.encode(Preview(1, 0, b"")))
        assert client._preview is not None

        assert (
            client._keep_record(msgspec.msgpack.encode(msgspec.structs.replace(record_of(1), version=2)), -1)
            == -1
        )
        assert client.records_incomplete
        assert list(client.records(0.0)) == []


def test_a_status_that_grew_old_is_none_at_all(client, monkeypatch):
    monkeypatch.setattr(remote_client, "STATUS_AGE_LIMIT_S", 0.0)
    client._keep_status(msgspec.msgpack.encode(STATUS))

    assert client.status() is None
    assert client.status_age_s() >= 0.0


def test_a_clients_clock_is_the_vehicles(client, monkeypatch):
    before_ns = time.monotonic_ns()
    assert before_ns <= client.now_ns() <= time.monotonic_ns()
    client._keep_status(msgspec.msgpack.encode(STATUS))
    assert before_ns <= client.now_ns() <= time.monotonic_ns()

    told_ns = 3_600_000_000_000_000  # of a world that steps with its car
    client._keep_status(msgspec.msgpack.encode(status_with(is_lockstep=True, now_ns=told_ns)))
    assert told_ns <= client.now_ns() <= told_ns + 40_000_000
    monkeypatch.setattr(client, "status_age_s", lambda: 0.03)
    assert client.now_ns() == told_ns + 30_000_000
    monkeypatch.setattr(client, "status_age_s", lambda: 5.0)  # the world stands still
    assert client.now_ns() == told_ns + 40_000_000


def test_a_request_is_stamped_with_the_vehicles_clock(running, client):
    told_ns = 3_600_000_000_000_000
    in_lockstep = status_with(is_lockstep=True, now_ns=told_ns)
    running.before_tick = lambda: running.server.publish_status(in_lockstep)
    assert client.wait_status(lambda _: True, 5.0) is not None

    client.request(RequestKind.DISARM)
    assert told_ns <= running.requests[0].sent_ns <= told_ns + 40_000_000


def test_waiting_for_a_status_that_never_fits_ends(running, client):
    running.before_tick = lambda: running.server.publish_status(STATUS)

    assert client.wait_status(lambda status: status.hil, 5.0) == STATUS
    assert client.wait_status(lambda status: not status.hil, 0.05) is None


def test_rubbish_on_any_stream_does_not_end_a_client(run_dir):
    context = zmq.Context()
    run_dir.mkdir()
    names = ("status", "records", "preview")
    streams = {name: context.socket(zmq.PUB) for name in names}
    for name, socket in streams.items():
        socket.bind(f"ipc://{run_dir / name}")
    try:
        with VehicleClient(run_dir, "anna", records=True) as client:
            client.preview(timeout_s=0.0)

            def sent() -> bool:
                for rubbish in RUBBISH:
                    for socket in streams.values():
                        socket.send(rubbish)
                streams["status"].send(msgspec.msgpack.encode(STATUS))
                return client.status() is not None and client.records_incomplete

            until(sent)
            streams["records"].send(msgspec.msgpack.encode(record_of(5)))
            assert next(client.records(5.0)).sequence == 5
    finally:
        context.destroy(linger=0)


# --- records


def receive_records(running: Vehicle, client: VehicleClient, count: int) -> list[int]:
    """Publish until the subscription stands, then collect that many sequence numbers."""
    found: list[int] = []
    while len(found) < count:
        record = next(client.records(5.0), None)
        assert record is not None
        found.append(record.sequence)
    return found


def publisher_of_records(vehicle: Vehicle, step: Callable[[int], int] = lambda n: n + 1) -> None:
    sequence = [0]

    def publish() -> None:
        vehicle.server.publish_record(record_of(sequence[0]))
        sequence[0] = step(sequence[0])

    vehicle.before_tick = publish


def test_records_come_in_order_and_whole(running, run_dir):
    publisher_of_records(running)
    with VehicleClient(run_dir, "recorder", records=True) as client:
        found = receive_records(running, client, 30)

        assert found == list(range(found[0], found[0] + 30))
        assert not client.records_incomplete


def test_a_gap_in_the_records_is_shown(running, run_dir):
    publisher_of_records(running, step=lambda n: n + (2 if n % 10 == 9 else 1))
    with VehicleClient(run_dir, "recorder", records=True) as client:
        receive_records(running, client, 30)

        assert client.records_incomplete


def test_a_recorder_too_slow_to_keep_up_is_told_that_records_are_missing(running, run_dir, monkeypatch):
    monkeypatch.setattr(remote_client, "RECORD_QUEUE", 5)
    publisher_of_records(running)
    with VehicleClient(run_dir, "recorder", records=True) as client:
        until(lambda: client.records_incomplete)

        assert len(receive_records(running, client, 5)) == 5


def test_records_end_when_none_come(vehicle, run_dir):
    with VehicleClient(run_dir, "recorder", records=True) as client:
        assert list(client.records(0.01)) == []


def test_who_did_not_ask_for_records_gets_none(client):
    with pytest.raises(ValueError, match="made without records=True"):
        next(client.records())


def test_publishing_to_nobody_or_to_a_client_that_hangs_never_blocks(vehicle, wire, run_dir):
    hanging = zmq.Context()
    socket = hanging.socket(zmq.SUB)
    socket.setsockopt(zmq.RCVHWM, 1)
    socket.subscribe(b"")
    socket.connect(f"ipc://{run_dir / 'records'}")
    try:
        started_s = time.monotonic()
        for sequence in range(5000):
            vehicle.server.publish_record(record_of(sequence))
            vehicle.server.publish_status(STATUS)
        assert time.monotonic() - started_s < 10
    finally:
        hanging.destroy(linger=0)


# --- preview


class Camera:
    """Publishes a picture in each tick of the vehicle, like the camera's thread."""

    def __init__(self, vehicle: Vehicle, jpeg: bytes = b"jpeg") -> None:
        self.number = 0
        self.jpeg = jpeg
        self.preview = vehicle.preview
        self.sent: list[int] = []
        send = self.preview._socket.send

        class Counting:
            """The socket with a count of what is sent."""

            def __getattr__(inner, name):  # noqa: N805 - the outer one is meant by self
                return getattr(vehicle_socket, name)

            def send(inner, data, flags):  # noqa: N805 - as above
                self.sent.append(self.number)
                return send(data, flags)

        vehicle_socket = self.preview._socket
        self.preview._socket = Counting()
        vehicle.before_tick = self.publish

    def publish(self) -> None:
        self.number += 1
        stamp_ns = self.number * 40_000_000  # 25 frames a second, whatever the real time
        self.preview.publish(Frame(self.number, stamp_ns, stamp_ns, IMAGE, self.jpeg))


def test_nothing_is_sent_while_nobody_looks(running, client):
    camera = Camera(running)
    until(lambda: camera.number > 30)

    assert camera.sent == []


def test_whoever_looks_sees_pictures_with_rising_numbers(running, client):
    camera = Camera(running)
    first = client.preview(timeout_s=5.0)
    assert first is not None
    second = client.preview(newer_than=first.frame_number, timeout_s=5.0)

    assert second is not None
    assert second.frame_number > first.frame_number
    assert second.jpeg == b"jpeg"
    assert camera.sent


def test_pictures_come_at_most_sixteen_times_a_second(running, client):
    camera = Camera(running)
    until(lambda: client.preview(timeout_s=5.0) and len(camera.sent) > 20)

    gaps = np.diff(camera.sent)
    assert gaps.min() * 0.040 >= 1 / 16


def test_pictures_end_when_the_last_viewer_goes(running, run_dir):
    camera = Camera(running)
    with VehicleClient(run_dir, "one") as one, VehicleClient(run_dir, "two") as two:
        assert one.preview(timeout_s=5.0) is not None
        assert two.preview(timeout_s=5.0) is not None
    until(lambda: camera.preview._viewers == 0)
    count, number = len(camera.sent), camera.number
    until(lambda: camera.number > number + 20)

    assert len(camera.sent) == count


def test_a_viewer_who_stops_asking_is_no_longer_one_and_may_come_back(running, client):
    camera = Camera(running)
    assert client.preview(timeout_s=5.0) is not None
    client._looking_until_s = 0.0  # as after two seconds without a call
    client._wake()
    until(lambda: camera.preview._viewers == 0)

    again = client.preview(timeout_s=5.0)

    assert again is not None
    assert again.frame_number > 1


def test_no_picture_in_time_is_none(client):
    started_s = time.monotonic()

    assert client.preview(timeout_s=0.05) is None
    assert time.monotonic() - started_s < 2


def test_a_camera_without_jpeg_gets_its_pictures_encoded(running, client):
    Camera(running, jpeg=b"")

    preview = client.preview(timeout_s=5.0)

    assert preview is not None
    picture = cv2.imdecode(np.frombuffer(preview.jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == IMAGE.shape
    assert abs(int(picture.mean()) - 90) <= 1


def test_a_picture_is_encoded_once_for_all_who_look_and_never_for_nobody(running, run_dir, monkeypatch):
    encoded: list[int] = []

    def encode(frame: Frame) -> bytes:
        encoded.append(frame.number)
        return b"jpeg"

    monkeypatch.setattr(preview, "encode_jpeg", encode)
    camera = Camera(running, jpeg=b"")
    until(lambda: camera.number > 30)
    assert encoded == []

    with contextlib.ExitStack() as stack:
        viewers = [stack.enter_context(VehicleClient(run_dir, f"{k}")) for k in range(3)]
        for viewer in viewers:
            assert viewer.preview(timeout_s=5.0) is not None
        with ThreadPoolExecutor() as pool:  # ten of one page, as of one server
            seen = list(pool.map(lambda _: viewers[0].preview(timeout_s=5.0), range(10)))
        assert None not in seen
        until(lambda: len(camera.sent) > 10)
    sent = list(camera.sent)
    assert encoded[: len(sent)] == sent
    assert len(set(encoded)) == len(encoded)


# --- lives and deaths

DYING_VEHICLE = """
import sys, time
from pathlib import Path
import zmq
from tests.unit.still_car import STATUS
from vehicle.messages import Reply
from vehicle.remote import RemoteServer
server = RemoteServer(Path(sys.argv[1]), zmq.Context())
while True:
    server.drain(lambda request: Reply(request.id, ok=True, reason=sys.argv[2]))
    server.publish_status(STATUS)
    time.sleep(0.005)
"""


def start_process(run_dir: Path, name: str) -> subprocess.Popen[bytes]:
    root = Path(__file__).parents[2]
    return subprocess.Popen([sys.executable, "-c", DYING_VEHICLE, str(run_dir), name], cwd=root)


def test_a_vehicle_that_is_killed_and_comes_back_finds_its_client_waiting(run_dir, client):
    for life in ("first", "second"):
        process = start_process(run_dir, life)
        try:
            assert client.wait_status(lambda _: True, 20.0) is not None
            assert client.request(RequestKind.DISARM, 10.0).reason == life
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
        with pytest.raises(VehicleSilentError):
            client.request(RequestKind.DISARM, 0.05)
        until(lambda: client.status() is None)


def test_close_leaves_no_thread_and_no_descriptor(run_dir, vehicle):
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    VehicleClient(run_dir, "warm").close()
    gc.collect()
    threads, files = threading.active_count(), descriptors()
    for _ in range(3):
        client = VehicleClient(run_dir, "anna", records=True)
        client.preview(timeout_s=0.0)
        client.close()
        client.close()

    # The vehicle's side of each connection closes a moment later, and what older tests left may close too.
    until(lambda: threading.active_count() <= threads and descriptors() <= files)


def test_a_closed_client_touches_nobody_elses_file(run_dir):
    client = VehicleClient(run_dir, "anna")
    client.close()
    reader, writer = os.pipe()  # takes the lowest free numbers, perhaps the client's old one
    try:
        with pytest.raises(VehicleSilentError):
            client.request(RequestKind.DISARM, 0.01)
        assert client.preview(timeout_s=0.01) is None
        os.set_blocking(reader, False)
        with pytest.raises(BlockingIOError):
            os.read(reader, 1)
    finally:
        os.close(reader)
        os.close(writer)
