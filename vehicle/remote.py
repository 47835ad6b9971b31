"""The border of the vehicle process: publishes what it does, takes operators' requests, over ZeroMQ.

One socket a stream: `status` and `preview` (`vehicle.preview`) keep the newest message alone, `records` is a
bounded queue whose sequence numbers show gaps, `requests` and `stop` are answered; `stop` is read first. The
other side is `vehicle.remote_client`.
"""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import zmq

from vehicle.errors import UNREADABLE
from vehicle.messages import (
    SCHEMA_VERSION,
    OperatorRequest,
    Reply,
    RequestKind,
    Status,
    TickRecord,
)
from vehicle.run_dir import own_run_dir, prepare_run_dir

REQUESTS_A_TICK = 16  # a flood of requests costs a tick at most this many
RECORD_QUEUE = 2000  # half a minute of ticks

STOPPING_KINDS = frozenset({RequestKind.EMERGENCY_STOP, RequestKind.DISARM})
"""Obeyed in every version that can be read."""

_encoder = msgspec.msgpack.Encoder()


class StopLine:
    """A `vehicle.clock.StopBell`: rings while an emergency stop waits to be read."""

    def __init__(self, socket: zmq.Socket[Any]) -> None:
        self._socket = socket

    def rings(self) -> bool:
        """Return whether one waits."""
        return bool(int(self._socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN)

    def fileno(self) -> int:
        """Return the descriptor of ZMQ_FD, readable when there is something new to ask `rings` about."""
        return self._socket.fileno()


class RemoteServer:
    """The vehicle's side; used by the loop's thread alone. Nothing in it blocks."""

    def __init__(self, run_dir: Path, context: zmq.Context[Any]) -> None:
        prepare_run_dir(run_dir)
        self.run_dir = run_dir
        self._lock_fd = own_run_dir(run_dir)
        self._status = bind(context, zmq.PUB, run_dir / "status", queue_length=2)
        self._records = bind(context, zmq.PUB, run_dir / "records", queue_length=RECORD_QUEUE)
        self._requests = bind(context, zmq.ROUTER, run_dir / "requests", queue_length=100)
        self._stop = bind(context, zmq.ROUTER, run_dir / "stop", queue_length=100)
        self.stop_line = StopLine(self._stop)
        self._decoder = msgspec.msgpack.Decoder(OperatorRequest)
        self.malformed = 0
        """Requests dropped because they could not be read."""

    def drain(self, answer: Callable[[OperatorRequest], Reply]) -> None:
        """Give each waiting request to `answer` and send its reply; emergency stops come first."""
        for socket in (self._stop, self._requests):
            for _ in range(REQUESTS_A_TICK):
                try:
                    sender, *parts = socket.recv_multipart(zmq.NOBLOCK)
                except zmq.Again:
                    break
                reply = self._read_and_answer(parts, answer, stops=socket is self._stop)
                with contextlib.suppress(zmq.Again):
                    socket.send_multipart([sender, _encoder.encode(reply)], zmq.NOBLOCK)

    def _read_and_answer(
        self, parts: list[bytes], answer: Callable[[OperatorRequest], Reply], *, stops: bool
    ) -> Reply:
        try:
            request = self._decoder.decode(parts[-1] if parts else b"")
        except UNREADABLE as error:
            self.malformed += 1
            if stops:  # whoever reaches for this socket wants the car to stop, however badly they spell it
                request = OperatorRequest("malformed", "unknown", RequestKind.EMERGENCY_STOP, 0)
                return answer(request)
            return Reply(_id_of(parts), ok=False, reason=f"the request cannot be read: {error}")
        if request.version != SCHEMA_VERSION and request.kind not in STOPPING_KINDS:
            spoken = f"the request is of version {request.version}, allowed {SCHEMA_VERSION}"
            return Reply(request.id, ok=False, reason=f"{spoken}; restart the page or command that sent it")
        if stops and request.kind is not RequestKind.EMERGENCY_STOP:
            return Reply(request.id, ok=False, reason="this socket takes emergency stops only")
        return answer(request)

    def publish_status(self, status: Status) -> None:
        """Send the car at a glance to whoever watches."""
        with contextlib.suppress(zmq.Again):
            self._status.send(_encoder.encode(status), zmq.NOBLOCK)

    def publish_record(self, record: TickRecord) -> None:
        """Send one tick's record to whoever records."""
        with contextlib.suppress(zmq.Again):
            self._records.send(_encoder.encode(record), zmq.NOBLOCK)

    def close(self) -> None:
        """Close the sockets and let another vehicle have the directory."""
        for socket in (self._status, self._records, self._requests, self._stop):
            socket.close(linger=0)
        os.close(self._lock_fd)


class _Named(msgspec.Struct):
    """What an answer needs of a request that cannot be read otherwise."""

    id: str = ""


def _id_of(parts: list[bytes]) -> str:
    with contextlib.suppress(*UNREADABLE):
        return msgspec.msgpack.decode(parts[-1] if parts else b"", type=_Named).id
    return ""


def bind(context: zmq.Context[Any], kind: int, path: Path, queue_length: int) -> zmq.Socket[Any]:
    """Return a socket of the vehicle in its run directory."""
    socket: zmq.Socket[Any] = context.socket(kind)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.SNDHWM, queue_length)
    socket.setsockopt(zmq.RCVHWM, queue_length)
    socket.setsockopt(zmq.MAXMSGSIZE, 1 << 16)
    socket.bind(f"ipc://{path}")
    return socket
