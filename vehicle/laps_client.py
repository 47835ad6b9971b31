"""Follows what the timekeeper tells of the start marker, for all threads of a page's server or a command."""

import contextlib
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import zmq

from vehicle.errors import UNREADABLE
from vehicle.laps import LAPS, SCHEMA_VERSION, MarkerLaps

AGE_LIMIT_S = 1.0  # the timekeeper tells four times a second
WAIT_MS = 200


class MarkerFollower:
    """Keeps the newest word. One background thread owns the socket; the timekeeper may come and go."""

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir
        self._newest: tuple[MarkerLaps, float] | None = None
        self._came = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="marker-follower", daemon=True)
        self._thread.start()

    def laps(self) -> MarkerLaps | None:
        """Return the newest word, None when the timekeeper has been silent for a second."""
        newest = self._newest
        if newest is None:
            return None
        laps, heard_s = newest
        return laps if time.monotonic() - heard_s <= AGE_LIMIT_S else None

    def wait(self, timeout_s: float) -> None:
        """Return when the timekeeper has said something, or after the time-out."""
        self._came.wait(timeout_s)

    def close(self) -> None:
        """End the background thread."""
        self._closing.set()
        self._thread.join()

    def _follow(self) -> None:
        context: zmq.Context[Any] = zmq.Context()
        socket: zmq.Socket[Any] = context.socket(zmq.SUB)
        socket.setsockopt(zmq.CONFLATE, 1)
        socket.setsockopt(zmq.RECONNECT_IVL, 50)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, 200)
        socket.subscribe(b"")
        socket.connect(f"ipc://{self._run_dir / LAPS}")
        decoder = msgspec.msgpack.Decoder(MarkerLaps)
        while not self._closing.is_set():
            if not socket.poll(WAIT_MS):
                continue
            with contextlib.suppress(*UNREADABLE):  # of another version: as good as silent
                laps = decoder.decode(socket.recv())
                if laps.version == SCHEMA_VERSION:
                    self._newest = (laps, time.monotonic())
                    self._came.set()
        context.destroy(linger=0)
