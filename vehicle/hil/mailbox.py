"""Datagrams between a real-time world and its board's process; either goes on without the other."""

import contextlib
import socket
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from vehicle.hil.boards import PulseEvent
from vehicle.hil.orders import FaultOp

DATAGRAM_BYTES = 8192

Letter = TypeVar("Letter")


class Pulses(msgspec.Struct, frozen=True, tag="pulses"):
    """What the board has put out since the last letter."""

    pulses: tuple[PulseEvent, ...]


class Measured(msgspec.Struct, frozen=True, tag="measured"):
    """What the board measures from now on."""

    battery_v: float
    wheel_ticks: int


class Broken(msgspec.Struct, frozen=True, tag="broken"):
    """A fault to switch; its time is set."""

    order: FaultOp


class Mailbox(Generic[Letter]):
    """Receives letters of one kind and sends any; never waits."""

    def __init__(self, path: Path, kind: Any, correspondent: Path) -> None:
        self._path = path
        self._correspondent = str(correspondent)
        self._decoder = msgspec.msgpack.Decoder(kind)
        self._encoder = msgspec.msgpack.Encoder()
        path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)

    def fileno(self) -> int:
        """Return what becomes readable when letters come."""
        return self._socket.fileno()

    def receive(self) -> list[Letter]:
        """Return the letters that have come."""
        letters = []
        with contextlib.suppress(BlockingIOError):
            while True:
                letters.append(self._decoder.decode(self._socket.recv(DATAGRAM_BYTES)))
        return letters

    def send(self, letter: Pulses | Measured | Broken) -> bool:
        """Send a letter; return whether the other side could take it."""
        try:
            self._socket.sendto(self._encoder.encode(letter), self._correspondent)
        except OSError:  # not there yet, dead, or its box is full
            return False
        return True

    def close(self) -> None:
        """Take the box down."""
        self._socket.close()
        self._path.unlink(missing_ok=True)
