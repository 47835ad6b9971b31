"""The vehicle process, seen from a page or a command: its status, pictures and records; requests, answers."""

import contextlib
import os
import queue
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
import zmq

from vehicle.errors import UNREADABLE, VehicleSilentError
from vehicle.messages import (
    SCHEMA_VERSION,
    OperatorRequest,
    Preview,
    Reply,
    RequestKind,
    Status,
    TickRecord,
)
from vehicle.remote import RECORD_QUEUE, STOPPING_KINDS

_encoder = msgspec.msgpack.Encoder()

STATUS_AGE_LIMIT_S = 1.0
FRAMES_REMEMBERED = 32  # a second: the picture comes before its record, never much after it
LOCKSTEP_AHEAD_LIMIT_S = 0.04  # less than the vehicle bears of a date ahead of its own
IDLE_MS = 500  # of the client's thread, between two looks at whether somebody still watches
RETRY_MS = 5


class _Spoken(msgspec.Struct):
    """What can be read of a message in every version."""

    version: int = 0


class VehicleClient:
    """The vehicle, from another process. Safe to call from any thread.

    One background thread owns the sockets; calls reach it through a queue.
    """

    def __init__(self, run_dir: Path, source: str, *, records: bool = False) -> None:
        self.source = source
        self._run_dir = run_dir
        self._context = zmq.Context()
        self._outbox: queue.SimpleQueue[OperatorRequest] = queue.SimpleQueue()
        self._unsent: list[OperatorRequest] = []
        self._waiting: dict[str, queue.SimpleQueue[Reply]] = {}
        self._records: queue.Queue[TickRecord] | None = queue.Queue(RECORD_QUEUE) if records else None
        self.records_incomplete = False
        """Whether a record was lost since the client started."""
        self._lock = threading.RLock()
        # One each, so that nobody is woken for what they do not wait for.
        self._fresh = threading.Condition(self._lock)
        self._shown = threading.Condition(self._lock)
        self._recorded = threading.Condition(self._lock)
        self._status: Status | None = None
        self._status_at_s = 0.0
        self._spoken_version = SCHEMA_VERSION
        self._preview: Preview | None = None
        self._of_frames: OrderedDict[int, TickRecord] = OrderedDict()
        self._looking_until_s = 0.0
        self._closing = False
        wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._wake_fd: int | None = wake_fd
        self._waking = threading.Lock()  # of its own: a stop is not to queue for it behind ten viewers
        self._thread = threading.Thread(target=self._run, args=(wake_fd,), name="vehicle-client", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def version_note(self) -> str:
        """Why a vehicle that speaks cannot be understood, in words; empty while it can be."""
        spoken = self._spoken_version
        if spoken == SCHEMA_VERSION:
            return ""
        return (
            f"the vehicle process speaks version {spoken}, allowed {SCHEMA_VERSION}: it and what asks are of "
            "two releases; end both and start them from one (lapwing run)"
        )

    def status(self) -> Status | None:
        """Return the newest status, or None when the vehicle has been silent for over a second.

        None too while it speaks another version: numbers of another meaning are no status.
        """
        with self._fresh:
            return self._status if self.status_age_s() <= STATUS_AGE_LIMIT_S else None

    def status_age_s(self) -> float:
        """Return how long ago the newest status came; infinite before the first."""
        return time.monotonic() - self._status_at_s if self._status_at_s else float("inf")

    def now_ns(self) -> int:
        """Return the vehicle's clock: CLOCK_MONOTONIC, or that of a world in lockstep with it."""
        with self._fresh:
            status, age_s = self._status, self.status_age_s()
        if status is None or not status.is_lockstep:
            return time.monotonic_ns()
        return status.now_ns + round(min(age_s, LOCKSTEP_AHEAD_LIMIT_S) * 1e9)

    def wait_status(self, accept: Callable[[Status], bool], timeout_s: float) -> Status | None:
        """Return the first status that is accepted, or None after the time-out."""
        deadline_s = time.monotonic() + timeout_s
        with self._fresh:
            while True:
                status = self.status()
                if status is not None and accept(status):
                    return status
                left_s = deadline_s - time.monotonic()
                if left_s <= 0:
                    return None
                self._fresh.wait(min(left_s, 0.5))

    def preview(self, newer_than: int = -1, timeout_s: float = 1.0) -> Preview | None:
        """Return a picture with another number than the one given, or None after the time-out.

        Calling this is looking: without a call for two seconds no pictures are sent at all.
        """
        deadline_s = time.monotonic() + timeout_s
        with self._shown:
            was_looking = self._looking_until_s > time.monotonic()
            self._looking_until_s = time.monotonic() + timeout_s + 2.0
            if not was_looking:
                self._preview = None
                self._wake()
            while self._preview is None or self._preview.frame_number == newer_than:
                left_s = deadline_s - time.monotonic()
                if left_s <= 0:
                    return None
                self._shown.wait(left_s)
            return self._preview

    def record_of(self, frame_number: int, timeout_s: float = 0.0) -> TickRecord | None:
        """Return what the loop made of a picture, while somebody looks; None when it is not known.

        Of several ticks with this picture it is the one that decided.
        """
        deadline_s = time.monotonic() + timeout_s
        with self._recorded:
            while frame_number not in self._of_frames:
                left_s = deadline_s - time.monotonic()
                if left_s <= 0:
                    return None
                self._recorded.wait(left_s)
            return self._of_frames[frame_number]

    def request(self, kind: RequestKind, timeout_s: float = 1.0, **fields: Any) -> Reply:
        """Send a request and return its answer; to a vehicle of another version only what stops it.

        Args:
            kind: what is asked for.
            timeout_s: how long to wait for the answer.
            **fields: further fields of `OperatorRequest`; `source` replaces this client's own.

        Raises:
            VehicleSilentError: no answer came in time; whether it was applied is unknown.

        """
        fields.setdefault("source", self.source)
        request = OperatorRequest(secrets.token_hex(8), kind=kind, sent_ns=self.now_ns(), **fields)
        if kind not in STOPPING_KINDS and (note := self.version_note):
            return Reply(request.id, ok=False, reason=note)
        answer: queue.SimpleQueue[Reply] = queue.SimpleQueue()
        self._waiting[request.id] = answer
        self._outbox.put(request)
        self._wake()
        try:
            return answer.get(timeout=timeout_s)
        except queue.Empty:
            raise VehicleSilentError(
                f"the vehicle did not answer '{kind.value}' within {timeout_s:g} s; "
                f"is it running in {self._run_dir}?"
            ) from None
        finally:
            self._waiting.pop(request.id, None)

    def emergency_stop(self, timeout_s: float = 0.5) -> Reply:
        """Stop the car, whoever drives; on a socket of its own that nothing queues before."""
        return self.request(RequestKind.EMERGENCY_STOP, timeout_s)

    def records(self, timeout_s: float = 1.0) -> Iterator[TickRecord]:
        """Yield the records that have come, and end when none comes within the time-out."""
        if self._records is None:
            raise ValueError("this client was made without records=True")
        while True:
            try:
                yield self._records.get(timeout=timeout_s)
            except queue.Empty:
                return

    def close(self) -> None:
        """End the background thread and close the sockets."""
        if self._closing:
            return
        self._closing = True
        self._wake()
        self._thread.join()
        self._context.term()
        with self._waking:
            wake_fd, self._wake_fd = self._wake_fd, None
        if wake_fd is not None:
            os.close(wake_fd)

    def _wake(self) -> None:
        with self._waking:  # a closed descriptor's number may already be somebody else's file
            if self._wake_fd is not None:
                os.eventfd_write(self._wake_fd, 1)

    def _connect(self, kind: int, name: str, *, newest_only: bool = False) -> zmq.Socket[Any]:
        socket = self._context.socket(kind)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RCVHWM, RECORD_QUEUE)
        socket.setsockopt(zmq.RECONNECT_IVL, 50)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, 200)
        if newest_only:
            socket.setsockopt(zmq.CONFLATE, 1)
        if kind == zmq.DEALER:
            socket.setsockopt(
                zmq.IMMEDIATE, 1
            )  # a request for a vehicle that is not there must not wait for one
        socket.connect(f"ipc://{self._run_dir / name}")
        return socket

    def _run(self, wake_fd: int) -> None:
        """Own the sockets until `close`."""
        status = self._connect(zmq.SUB, "status", newest_only=True)
        status.subscribe(b"")
        preview = self._connect(zmq.SUB, "preview", newest_only=True)
        requests = self._connect(zmq.DEALER, "requests")
        stop = self._connect(zmq.DEALER, "stop")
        sockets = [status, preview, requests, stop]
        records = self._connect(zmq.SUB, "records")
        sockets.append(records)
        if self._records is not None:
            records.subscribe(b"")

        poller = zmq.Poller()
        poller.register(wake_fd, zmq.POLLIN)
        for socket in sockets:
            poller.register(socket, zmq.POLLIN)
        subscribed = False
        last_sequence = -1
        while not self._closing:
            ready = dict(poller.poll(RETRY_MS if self._unsent else IDLE_MS))
            if wake_fd in ready:
                os.eventfd_read(wake_fd)
            self._send_outbox(requests, stop)
            subscribed = self._follow_viewers(preview, records, subscribed=subscribed)
            if status in ready:
                self._keep_status(status.recv())
            if preview in ready:
                self._keep_preview(preview.recv())
            for socket in (requests, stop):
                if socket in ready:
                    self._deliver(socket.recv())
            if records in ready:
                last_sequence = self._keep_record(records.recv(), last_sequence)
        for socket in sockets:
            socket.close(linger=0)

    def _send_outbox(self, requests: zmq.Socket[Any], stop: zmq.Socket[Any]) -> None:
        """Send what waits; while the connection is still being made it is tried again, until it is stale."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._unsent.append(self._outbox.get_nowait())
        still_unsent = []
        for request in self._unsent:
            socket = stop if request.kind is RequestKind.EMERGENCY_STOP else requests
            try:
                socket.send(_encoder.encode(request), zmq.NOBLOCK)
            except zmq.Again:
                if request.id in self._waiting:  # its caller has not given up
                    still_unsent.append(request)
        self._unsent = still_unsent

    def _follow_viewers(
        self, preview: zmq.Socket[Any], records: zmq.Socket[Any], *, subscribed: bool
    ) -> bool:
        looking = self._looking_until_s > time.monotonic()
        followed = [preview] if self._records is not None else [preview, records]
        for socket in followed:
            if looking and not subscribed:
                socket.subscribe(b"")
            elif subscribed and not looking:
                socket.unsubscribe(b"")
        return looking

    def _keep_status(self, message: bytes) -> None:
        with contextlib.suppress(*UNREADABLE), self._fresh:
            self._spoken_version = msgspec.msgpack.decode(message, type=_Spoken).version
            if self._spoken_version != SCHEMA_VERSION:
                self._status, self._status_at_s = None, 0.0
                return
            self._status = msgspec.msgpack.decode(message, type=Status)
            self._status_at_s = time.monotonic()
            self._fresh.notify_all()

    def _keep_preview(self, message: bytes) -> None:
        with contextlib.suppress(*UNREADABLE), self._shown:
            if msgspec.msgpack.decode(message, type=_Spoken).version != SCHEMA_VERSION:
                return
            self._preview = msgspec.msgpack.decode(message, type=Preview)
            self._shown.notify_all()

    def _deliver(self, message: bytes) -> None:
        with contextlib.suppress(*UNREADABLE):
            reply = msgspec.msgpack.decode(message, type=Reply)
            waiting = self._waiting.get(reply.id)
            if waiting is not None:
                waiting.put(reply)

    def _keep_record(self, message: bytes, last_sequence: int) -> int:
        try:
            record = msgspec.msgpack.decode(message, type=TickRecord)
        except UNREADABLE:
            self.records_incomplete = True
            return last_sequence
        if record.version != SCHEMA_VERSION:
            self.records_incomplete = True
            return last_sequence
        self._keep_of_frame(record)
        if self._records is None:
            return record.sequence
        if last_sequence >= 0 and record.sequence != last_sequence + 1:
            self.records_incomplete = True
        try:
            self._records.put_nowait(record)
        except queue.Full:
            self.records_incomplete = True
        return record.sequence

    def _keep_of_frame(self, record: TickRecord) -> None:
        with self._recorded:
            known = self._of_frames.get(record.frame_number)
            if known is not None and (known.decided or not record.decided):
                return
            self._of_frames[record.frame_number] = record
            while len(self._of_frames) > FRAMES_REMEMBERED:
                self._of_frames.popitem(last=False)
            self._recorded.notify_all()
