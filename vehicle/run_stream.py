"""What the vehicle tells a recorder beside its tick records: how a run began, and what came in.

Every thread that tells something has a socket of its own and sends only while somebody listens. A run that
is recorded so can be replayed: `RunStart` holds all that the loop remembered when the run began.
"""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import zmq

from models.picture import CameraOptions
from vehicle.lidar_source import TimedScan
from vehicle.limits import LeaseLimits, MonitorLimits
from vehicle.memory import RunBegin
from vehicle.messages import Frame

RUN_SCHEMA_VERSION = 1
SENSOR_QUEUE = 64  # messages: two seconds of pictures

STREAMS = RUN, FRAMES, RIGHT_FRAMES, SCANS = "run", "frames", "right_frames", "scans"
"""Names of the sockets in the run directory."""


class CarFacts(msgspec.Struct, frozen=True):
    """What is so for the whole life of the vehicle process."""

    name: str
    is_hil: bool
    control_rate_hz: float | None
    """As the owner set it; None: as trained."""
    throttle_growth_per_s: float
    monitor_limits: MonitorLimits
    lease_limits: LeaseLimits
    camera_rate_hz: float
    camera_is_static: bool
    camera_options: CameraOptions
    decode_scale: int | None
    has_right_camera: bool
    has_lidar: bool


class RunStart(msgspec.Struct, frozen=True, tag="start"):
    """How a run began; told in the tick that left DISARMED."""

    car: CarFacts
    begin: RunBegin
    version: int = RUN_SCHEMA_VERSION


class InputArray(msgspec.Struct, frozen=True):
    """One input of the network, without loss."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    data: bytes
    """Row by row, little-endian."""

    @classmethod
    def of(cls, name: str, array: npt.NDArray[np.generic]) -> "InputArray":
        """Return the array as it travels."""
        return cls(name, str(array.dtype), tuple(array.shape), array.tobytes())

    def array(self) -> npt.NDArray[np.generic]:
        """Return it as it was."""
        return np.frombuffer(self.data, np.dtype(self.dtype)).reshape(self.shape)


class PolicyInputs(msgspec.Struct, frozen=True, tag="inputs"):
    """What the network was shown in one decision."""

    sequence: int
    """Of the tick's record."""
    frame_number: int
    arrays: tuple[InputArray, ...]


RunMessage = RunStart | PolicyInputs


class Picture(msgspec.Struct, frozen=True):
    """One camera picture as it came."""

    number: int
    stamp_ns: int
    ready_ns: int
    jpeg: bytes
    """Empty where the source gives none: such a picture cannot be replayed, only its network's input."""


class LidarTurn(msgspec.Struct, frozen=True):
    """One LIDAR scan in the car's own frame."""

    number: int
    stamp_ns: int
    angles_rad: bytes
    """float32."""
    ranges_m: bytes
    """float32."""


_encoder = msgspec.msgpack.Encoder()


class Stream:
    """One thread's socket to whoever records; sending costs nothing while nobody does, and never waits."""

    def __init__(self, run_dir: Path, name: str, context: zmq.Context[Any]) -> None:
        self._socket: zmq.Socket[Any] = context.socket(zmq.XPUB)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.SNDHWM, SENSOR_QUEUE)
        self._socket.bind(f"ipc://{run_dir / name}")
        self._listeners = 0

    @property
    def is_heard(self) -> bool:
        """Whether somebody listens; call it in the sending thread."""
        with contextlib.suppress(zmq.Again):
            while True:
                joined = self._socket.recv(zmq.NOBLOCK)[:1] == b"\x01"
                self._listeners = max(0, self._listeners + (1 if joined else -1))
        return self._listeners > 0

    def send(self, message: msgspec.Struct) -> None:
        """Send, or drop what does not fit: a recorder sees the gap by its numbers."""
        with contextlib.suppress(zmq.Again):
            self._socket.send(_encoder.encode(message), zmq.NOBLOCK)

    def send_frame(self, frame: Frame) -> None:
        """Send a camera's picture if somebody listens."""
        if self.is_heard:
            self.send(Picture(frame.number, frame.stamp_ns, frame.ready_ns, frame.jpeg))

    def send_scan(self, scan: TimedScan) -> None:
        """Send a LIDAR's turn if somebody listens."""
        if self.is_heard:
            angles, ranges = scan.scan.angles_rad, scan.scan.ranges_m
            self.send(LidarTurn(scan.number, scan.stamp_ns, angles.tobytes(), ranges.tobytes()))

    def close(self) -> None:
        """Close the socket."""
        self._socket.close(linger=0)


class RunStream:
    """The loop's own stream: a `vehicle.parts.RunTeller`."""

    def __init__(self, stream: Stream, car: CarFacts) -> None:
        self._stream = stream
        self._car = car

    @property
    def is_heard(self) -> bool:
        """Whether anybody records."""
        return self._stream.is_heard

    def started(self, start: RunBegin) -> None:
        """Tell how a run began."""
        self._stream.send(RunStart(self._car, start))

    def showed(self, sequence: int, frame_number: int, inputs: Mapping[str, npt.NDArray[np.generic]]) -> None:
        """Tell what the network was shown in one decision."""
        arrays = tuple(InputArray.of(name, array) for name, array in inputs.items())
        self._stream.send(PolicyInputs(sequence, frame_number, arrays))
