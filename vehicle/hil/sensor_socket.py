"""Where a sensor of the HIL car hands over its readings: a Unix stream socket for any number of readers."""

import contextlib
import select
import socket
from pathlib import Path
from typing import Protocol

from vehicle.hil.faults import Part
from vehicle.hil.sensor import Reading
from vehicle.hil.settings import camera_socket, lidar_socket, right_camera_socket

SENSORS = (Part.CAMERA, Part.CAMERA_RIGHT, Part.LIDAR)
SEND_TIMEOUT_S = 5.0
SEND_BUFFER_BYTES = 1 << 20
HEARD_BYTES = 4096


class Packet(Protocol):
    """What goes through the socket."""

    def packed(self) -> bytes:
        """Return it as bytes."""
        ...


class SensorSocket:
    """Where readings are handed over; whoever connects gets all of them from then on.

    With `waits`, sending waits for a slow reader (lockstep); without, a reading that finds the last one
    still unsent is lost to that reader, as in a driver whose buffers are full.
    """

    def __init__(self, path: Path, *, waits: bool) -> None:
        self._path = path
        self._waits = waits
        self._listener: socket.socket | None = None
        self._readers: dict[socket.socket, bytes] = {}  # with what is still to be sent
        self.open()

    def open(self) -> None:
        """Let readers connect."""
        if self._listener is not None:
            return
        self._path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(self._path))
        self._listener.listen(4)
        self._listener.setblocking(False)

    def close(self) -> None:
        """Disconnect everyone and refuse whoever comes: the sensor is unplugged."""
        for reader in self._readers:
            reader.close()
        self._readers.clear()
        if self._listener is not None:
            self._listener.close()
            self._listener = None
            self._path.unlink(missing_ok=True)

    def set_plugged(self, plugged: bool) -> None:
        """Plug or unplug the sensor."""
        if plugged:
            self.open()
        else:
            self.close()

    def filenos(self) -> list[int]:
        """Return what to wait on for somebody to connect."""
        return [] if self._listener is None else [self._listener.fileno()]

    def accept(self) -> None:
        """Let in whoever waits at the door, without waiting."""
        if self._listener is None:
            return
        with contextlib.suppress(BlockingIOError):
            while True:
                reader, _ = self._listener.accept()
                reader.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
                reader.settimeout(SEND_TIMEOUT_S if self._waits else 0.0)
                self._readers[reader] = b""

    def heard(self) -> bytes:
        """Return what readers have told the sensor since the last call, without waiting."""
        if not self._readers:
            return b""
        heard = b""
        speaking, _, _ = select.select(list(self._readers), [], [], 0.0)
        for reader in speaking:
            with contextlib.suppress(OSError):  # a reader that has left: sending notices that
                heard += reader.recv(HEARD_BYTES)
        return heard

    @property
    def has_readers(self) -> bool:
        """Whether anybody looks."""
        return bool(self._readers)

    def send(self, packet: Packet) -> None:
        """Hand a reading to every reader."""
        packed = packet.packed()
        for reader in list(self._readers):
            try:
                self._send_to(reader, packed)
            except OSError:
                reader.close()
                del self._readers[reader]

    def _send_to(self, reader: socket.socket, packed: bytes) -> None:
        if self._waits:
            reader.sendall(packed)
            return
        for unsent in (self._readers[reader], packed):  # the rest of an older one goes first
            if unsent:
                with contextlib.suppress(BlockingIOError):
                    sent = reader.send(unsent)
                    self._readers[reader] = unsent[sent:]
                if self._readers[reader]:
                    return


class SensorSockets:
    """The sockets of all sensors of one HIL car."""

    def __init__(self, hil_dir: Path, *, waits: bool) -> None:
        paths = (camera_socket(hil_dir), right_camera_socket(hil_dir), lidar_socket(hil_dir))
        self._sockets = {
            part: SensorSocket(path, waits=waits) for part, path in zip(SENSORS, paths, strict=True)
        }

    def is_watched(self, part: Part) -> bool:
        """Whether anybody reads this sensor."""
        return self._sockets[part].has_readers

    def accept(self) -> None:
        """Let in whoever waits at a door, without waiting."""
        for one in self._sockets.values():
            one.accept()

    def heard(self, part: Part) -> bytes:
        """Return what the readers of a sensor have told it since the last call."""
        return self._sockets[part].heard()

    def filenos(self) -> list[int]:
        """Return what to wait on for somebody to connect."""
        return [fileno for one in self._sockets.values() for fileno in one.filenos()]

    def send(self, reading: Reading) -> bool:
        """Hand a reading to every reader of its sensor; return whether there was one."""
        self._sockets[reading.part].send(reading)
        return self.is_watched(reading.part)

    def set_plugged(self, part: Part, plugged: bool) -> None:
        """Plug or unplug a sensor."""
        self._sockets[part].set_plugged(plugged)

    def close(self) -> None:
        """Disconnect everyone."""
        for one in self._sockets.values():
            one.close()
