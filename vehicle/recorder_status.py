"""How the recorder fares, for those who show it; and who hears it."""

from pathlib import Path
from typing import Any

import msgspec
import zmq

STATUS = "recorder"
"""Name of the socket in the run directory on which the recorder tells how it fares."""


class RecorderStatus(msgspec.Struct, frozen=True):
    """How the recorder fares; published twice a second."""

    run: str
    """Name of the run that is being written, or empty."""
    size_bytes: int
    problem: str
    """Why nothing is recorded, in words, or empty."""


class RecorderClient:
    """Hears the recorder of one run directory; for one thread. The recorder may come and go."""

    def __init__(self, run_dir: Path) -> None:
        self._context: zmq.Context[Any] = zmq.Context()
        self._socket: zmq.Socket[Any] = self._context.socket(zmq.SUB)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.CONFLATE, 1)
        self._socket.setsockopt(zmq.RECONNECT_IVL, 50)
        self._socket.setsockopt(zmq.RECONNECT_IVL_MAX, 200)
        self._socket.subscribe(b"")
        self._socket.connect(f"ipc://{run_dir / STATUS}")

    def wait(self, timeout_s: float) -> RecorderStatus | None:
        """Return what it says next, None when it says nothing in time; raises DecodeError of msgspec."""
        if not self._socket.poll(round(timeout_s * 1e3)):
            return None
        return msgspec.msgpack.decode(self._socket.recv(), type=RecorderStatus)

    def close(self) -> None:
        """Let go of the socket."""
        self._context.destroy(linger=0)
