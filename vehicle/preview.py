"""The camera's pictures for people who look: sent while somebody does, encoded at most once."""

import contextlib
from pathlib import Path
from typing import Any

import cv2
import msgspec
import zmq

from vehicle.messages import Frame, Preview
from vehicle.remote import bind

_encoder = msgspec.msgpack.Encoder()

PREVIEW_PERIOD_S = 1 / 16
PREVIEW_JPEG_QUALITY = 70


class PreviewPublisher:
    """Sends camera pictures to viewers; called by the camera's thread alone, and idle while nobody looks."""

    def __init__(self, run_dir: Path, context: zmq.Context[Any]) -> None:
        self._socket = bind(context, zmq.XPUB, run_dir / "preview", queue_length=2)
        self._viewers = 0
        self._next_ns = 0

    def publish(self, frame: Frame) -> None:
        """Send the frame if somebody looks and the last one is long enough ago; encode it at most once."""
        self._count_viewers()
        if not self._viewers or frame.ready_ns < self._next_ns:
            return
        self._next_ns = frame.ready_ns + round(PREVIEW_PERIOD_S * 1e9)
        jpeg = frame.jpeg or encode_jpeg(frame)
        with contextlib.suppress(zmq.Again):
            self._socket.send(_encoder.encode(Preview(frame.number, frame.stamp_ns, jpeg)), zmq.NOBLOCK)

    def _count_viewers(self) -> None:
        """Follow the subscriptions: ZeroMQ tells of the first subscriber and of the last one leaving."""
        with contextlib.suppress(zmq.Again):
            while True:
                joined = self._socket.recv(zmq.NOBLOCK)[:1] == b"\x01"
                self._viewers = max(0, self._viewers + (1 if joined else -1))

    def close(self) -> None:
        """Close the socket."""
        self._socket.close(linger=0)


def encode_jpeg(frame: Frame) -> bytes:
    """Return the frame as a JPEG for people."""
    _, encoded = cv2.imencode(".jpg", frame.image, [cv2.IMWRITE_JPEG_QUALITY, PREVIEW_JPEG_QUALITY])
    return encoded.tobytes()
