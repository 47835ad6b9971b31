"""The driving side of lockstep: a clock that stands still until the world grants the next moment.

Byte counts decide, never timing: a pseudo-terminal hands bytes over late in half the cases. The
packets on the barrier's socket are JSON; the world's side is `vehicle.hil.server`.
"""

import socket
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol

import msgspec

from vehicle.clock import FrameArrival
from vehicle.errors import HilError

GRANT_TIMEOUT_S = 20.0
ARRIVAL_TIMEOUT_S = 5.0
PACKET_LIMIT = 4096
SHORTEST_TICK_NS = 100_000
READINGS = ("frame", "right frame", "scan")


class Done(msgspec.Struct, frozen=True):
    """What the driving side says at the end of a tick."""

    done: int
    written: int
    """Bytes written to the board in all."""
    wake_ns: int
    after_frame: int | None
    """A frame numbered higher ends the wait; None: only `wake_ns` does."""


class Grant(msgspec.Struct, frozen=True):
    """What the world answers."""

    tick: int = 0
    now_ns: int = 0
    emitted: int = 0
    """Bytes the board has sent in all."""
    frame: int = -1
    """Newest frame of the front camera that was delivered."""
    right_frame: int = -1
    """Of the right eye."""
    scan: int = -1
    """Newest scan of the LIDAR that was delivered."""
    error: str = ""


class BoardBytes(Protocol):
    """What the clock needs of a board driver."""

    bytes_written: int

    @property
    def bytes_arrived(self) -> int:
        """Bytes that have come, read or not."""
        ...

    @property
    def is_open(self) -> bool:
        """Whether bytes can come at all."""
        ...


class SensorReadings(Protocol):
    """What the clock needs of a camera or a LIDAR."""

    def await_number(self, number: int, timeout_s: float) -> bool:
        """Return whether this reading or a later one has come, usable or not."""
        ...

    @property
    def is_wanted(self) -> bool:
        """Whether it is read at all."""
        ...


class LockstepClock:
    """A `vehicle.clock.Clock` whose time is the world's."""

    def __init__(self, barrier: Path) -> None:
        self._now_ns = 0
        self._tick = 0
        self._board: BoardBytes | None = None
        self._lost_bytes = 0
        self._sensors: tuple[SensorReadings | None, ...] = ()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.settimeout(GRANT_TIMEOUT_S)
        try:
            self._socket.connect(str(barrier))
        except OSError as error:
            raise HilError(f"no lockstep world at {barrier} ({error.strerror}); start it first") from None
        self._exchange(0, None)

    def attach(
        self,
        board: BoardBytes,
        camera: SensorReadings,
        right_camera: SensorReadings | None = None,
        lidar: SensorReadings | None = None,
    ) -> None:
        """Wait for this board's bytes and these sensors' readings from now on; None where there is none."""
        self._board, self._sensors = board, (camera, right_camera, lidar)

    def now_ns(self) -> int:
        """Return the moment the world has granted."""
        return self._now_ns

    def suspended_ns(self) -> int:
        """Return 0: the world never sleeps."""
        return 0

    def wait(self, deadline_ns: int, camera: FrameArrival, after_frame: int | None, *, hears: bool) -> bool:  # noqa: ARG002 - whoever stops the car in lockstep waits for the tick
        """Let the world go on until the deadline or the frame; one that cannot be decoded does not count."""
        began_ns, after = self._now_ns, after_frame
        while deadline_ns > self._now_ns:
            if after_frame is not None and camera.wait_newer(after_frame, 0.0):
                break
            delivered = self._exchange(deadline_ns, after)
            after = None if after is None else max(after, delivered)
        if self._now_ns == began_ns:  # what it waits for is there; still no two ticks are at one time
            self._exchange(began_ns + SHORTEST_TICK_NS, None)
        return False

    def pause(self, duration_s: float) -> None:
        """Let the world go on for a while; for the handshake of a board driver."""
        self._exchange(self._now_ns + round(duration_s * 1e9), None)

    def close(self) -> None:
        """Leave the world."""
        self._socket.close()

    def _exchange(self, wake_ns: int, after_frame: int | None) -> int:
        """Finish a tick and wait for the next; return the newest frame's number, usable or not."""
        written = self._board.bytes_written if self._board else 0
        self._socket.send(msgspec.json.encode(Done(self._tick, written, wake_ns, after_frame)))
        try:
            grant = msgspec.json.decode(self._socket.recv(PACKET_LIMIT) or b"{}", type=Grant)
        except (OSError, msgspec.DecodeError) as error:
            raise HilError(f"the lockstep world is gone ({error}); look at its log") from None
        if grant.error or not grant.tick:
            raise HilError(f"the lockstep world stopped: {grant.error or 'it closed the barrier'}")
        self._tick, self._now_ns = grant.tick, grant.now_ns
        self._await(lambda: self._bytes_arrived(grant), f"{grant.emitted} bytes of the board")
        delivered = (grant.frame, grant.right_frame, grant.scan)
        for what, sensor, number in zip(READINGS, self._sensors, delivered, strict=False):
            if sensor is not None and number >= 0:
                self._await(partial(has_come, sensor, number), f"{what} {number}")
        return grant.frame

    def _bytes_arrived(self, grant: Grant) -> bool:
        board = self._board
        if board is None:
            return True
        if not board.is_open:  # what was on its way to a port that its user has closed is gone
            self._lost_bytes = grant.emitted - board.bytes_arrived
            return True
        return board.bytes_arrived + self._lost_bytes >= grant.emitted

    def _await(self, arrived: Callable[[], bool], what: str) -> None:
        deadline_s = time.monotonic() + ARRIVAL_TIMEOUT_S
        while not arrived():
            if time.monotonic() > deadline_s:
                raise HilError(f"lockstep: {what} did not arrive within {ARRIVAL_TIMEOUT_S:g} s")
            time.sleep(20e-6)


class PacedClock(LockstepClock):
    """Lockstep at the pace of real time or slower: a starved computer slows time and causes no fault.

    For people and browsers in front of a car whose world steps with it. What was late is not caught up.
    """

    def __init__(self, barrier: Path) -> None:
        super().__init__(barrier)
        self._due_s = time.monotonic()

    def wait(self, deadline_ns: int, camera: FrameArrival, after_frame: int | None, *, hears: bool) -> bool:
        """Let the world go on as `LockstepClock` does, and take at least as long as that is."""
        began_ns = self.now_ns()
        super().wait(deadline_ns, camera, after_frame, hears=hears)
        self._due_s = max(self._due_s + (self.now_ns() - began_ns) / 1e9, time.monotonic())
        time.sleep(self._due_s - time.monotonic() if self._due_s > time.monotonic() else 0.0)
        return False


def has_come(sensor: SensorReadings, number: int) -> bool:
    """Return whether there is nothing to wait for: it has come, or nobody reads that sensor any more."""
    return not sensor.is_wanted or sensor.await_number(number, 0.0)
