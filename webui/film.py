"""`/ws/video`: pictures with what the loop made of them; a slow viewer gets fewer, never old ones.

A message is four bytes (little-endian) that say how long its JSON header is, the header, and the JPEG
as the vehicle has made it once for all viewers.
"""

import contextlib
import threading
import time

import msgspec
from simple_websocket import ConnectionClosed

from vehicle.errors import UNREADABLE
from vehicle.messages import Preview, Status, TickRecord
from webui.access import CLOSED_SIGNED_OUT, Visitor
from webui.car import Vehicle
from webui.sockets import Line

UNACKNOWLEDGED_LIMIT = 2
HOLD_S = 0.5  # without a picture: look whether the viewer is still there
RECORD_WAIT_S = 0.03  # the loop decides within a few ms of the picture's arrival
VISITOR_PERIOD_S = 1.0


class _Ack(msgspec.Struct, frozen=True):
    """The page has shown this picture."""

    ack: int


class Film:
    """One viewer's socket, from its opening to its end."""

    def __init__(self, line: Line, vehicle: Vehicle, visitor: Visitor) -> None:
        self._line = line
        self._vehicle = vehicle
        self._visitor = visitor
        self._changed = threading.Condition()
        self._underway: list[int] = []

    def run(self) -> None:
        """Read acknowledgements until the viewer is gone."""
        writer = threading.Thread(target=self._write, name="film-writer", daemon=True)
        writer.start()
        try:
            while self._line.is_open:
                message = self._line.receive(VISITOR_PERIOD_S)
                if message is not None:
                    self._acknowledge(message)
        finally:
            with self._changed:
                self._changed.notify_all()
            writer.join()

    def _acknowledge(self, message: str | bytes) -> None:
        with contextlib.suppress(*UNREADABLE):
            shown = msgspec.json.decode(message, type=_Ack).ack
            with self._changed:
                if shown in self._underway:  # and what was sent before it, for messages arrive in order
                    self._underway = self._underway[self._underway.index(shown) + 1 :]
                    self._changed.notify_all()

    def _write(self) -> None:
        with contextlib.suppress(ConnectionClosed, OSError):
            self._write_until_closed()

    def _write_until_closed(self) -> None:
        newest, asked_s = -1, time.monotonic()
        while self._line.is_open:
            if time.monotonic() - asked_s >= VISITOR_PERIOD_S:
                asked_s = time.monotonic()
                if not self._visitor.is_allowed_now():
                    self._line.close(CLOSED_SIGNED_OUT, "Signed out.")
                    return
            with self._changed:
                free = self._changed.wait_for(lambda: len(self._underway) < UNACKNOWLEDGED_LIMIT, HOLD_S)
            if not free:
                continue
            picture = self._vehicle.preview(newest, timeout_s=HOLD_S)
            status = self._vehicle.status()
            if picture is None or status is None or picture.frame_number == newest:
                continue
            newest = picture.frame_number
            record = self._vehicle.record_of(newest, RECORD_WAIT_S)
            with self._changed:
                self._underway.append(newest)
            self._line.send(message_of(picture, record, status, self._vehicle.now_ns()))


def message_of(picture: Preview, record: TickRecord | None, status: Status, now_ns: int) -> bytes:
    """Return the bytes of one picture with its header."""
    size = status.policy_input_px
    header = msgspec.json.encode(
        {
            "frame": picture.frame_number,
            "age_ms": (now_ns - picture.stamp_ns) / 1e6,
            "server_ns": now_ns,
            "record": None if record is None else record_document(record),
            "input": None if size is None else dict(zip(("width", "height", "channels"), size, strict=True)),
        }
    )
    return b"".join((len(header).to_bytes(4, "little"), header, picture.jpeg))


def record_document(record: TickRecord) -> dict[str, object]:
    """Return what a page draws over the picture."""
    return {
        "frame_number": record.frame_number,
        "action_index": record.action_index,
        "action_probabilities": record.policy_output if record.action_index >= 0 else (),
        "policy_output": record.policy_output,
        "action": record.action,
        "sent": record.sent_frac,
        "state": record.state,
    }
