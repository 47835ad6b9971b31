"""The HIL car's camera, serving side: when frames are exposed and handed over, and the socket for them.

On the socket, per frame: `<4sIQq` = magic `LWF1`, picture length, frame number, stamp in ns; then the
picture as the camera encoded it. The stamp is when the camera's driver would hand the frame over.
"""

import contextlib
import random
import socket
import struct
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from vehicle.errors import HilError
from vehicle.hil.faults import FaultSchedule, Part
from vehicle.hil.settings import CameraSettings

MAGIC = b"LWF1"
HEADER = struct.Struct("<4sIQq")
SHORTEST_GAP_NS = 100_000  # between two hand-overs; frames never overtake each other
SEND_TIMEOUT_S = 5.0
SEND_BUFFER_BYTES = 1 << 20
COVERED_NOISE_LEVELS = 4  # what a sensor shows of a hand over its lens

Image = npt.NDArray[np.uint8]


class CameraFrame(NamedTuple):
    """One frame as it is handed over."""

    number: int
    stamp_ns: int
    picture: bytes

    def packed(self) -> bytes:
        """Return the frame as it goes through the socket."""
        return HEADER.pack(MAGIC, len(self.picture), self.number, self.stamp_ns) + self.picture


class _Waiting(NamedTuple):
    handed_over_ns: int
    number: int
    picture: bytes


class HilCamera:
    """Exposes on the grid of its rate, hands over later, and can be broken; in the time it is told.

    `render` gets the frame's number and returns the picture of this very moment.
    """

    def __init__(
        self,
        settings: CameraSettings,
        render: Callable[[int, int], Image],
        faults: FaultSchedule,
        *,
        seed: int,
        start_ns: int,
    ) -> None:
        self._settings = settings
        self._render = render
        self._faults = faults
        self._random = random.Random(f"{seed}/camera")  # noqa: S311 # repeatable, not secret
        self._noise = np.random.default_rng(seed)
        self._start_ns = start_ns
        self._number = 0
        self._waiting: deque[_Waiting] = deque()
        self._last_hand_over_ns = 0
        self._last_picture = b""
        self._slow_share = 0.0
        self.next_exposure_ns = start_ns

    def next_event_ns(self) -> int:
        """Return when a frame is next exposed or handed over."""
        if self._waiting:
            return min(self.next_exposure_ns, self._waiting[0].handed_over_ns)
        return self.next_exposure_ns

    def expose(self, now_ns: int, *, watched: bool = True) -> int | None:
        """Expose the frame that is due, if one is; return its number. Unwatched, nothing is rendered."""
        if now_ns < self.next_exposure_ns:
            return None
        number, exposed_ns = self._number, self.next_exposure_ns
        self._number += 1
        self.next_exposure_ns = self._start_ns + round(self._number * 1e9 / self._settings.fps)
        # All random numbers are drawn for every frame, so that a fault does not shift those of later ones.
        jitter_s = self._random.uniform(-1.0, 1.0) * self._settings.jitter_s
        is_dropped = self._random.random() < self._settings.drop_frac
        if is_dropped or self._is_lost() or not watched:
            return number
        delay_s = self._settings.delay_s + jitter_s + (self._faults.amount(Part.CAMERA, "delayed") or 0.0)
        handed_over_ns = exposed_ns + max(0, round(delay_s * 1e9))
        handed_over_ns = max(handed_over_ns, self._last_hand_over_ns + SHORTEST_GAP_NS)
        self._last_hand_over_ns = handed_over_ns
        self._waiting.append(_Waiting(handed_over_ns, number, self._picture(number, exposed_ns)))
        return number

    def skip(self, now_ns: int) -> None:
        """Leave out the exposures that are a whole period late: the computer could not keep up."""
        period_ns = 1e9 / self._settings.fps
        late = int((now_ns - self.next_exposure_ns) / period_ns)
        if late > 0:
            self._number += late
            self.next_exposure_ns = self._start_ns + round(self._number * period_ns)

    def hand_over(self, now_ns: int) -> list[CameraFrame]:
        """Return the frames that are handed over now, stamped so."""
        frames = []
        ahead_ns = round((self._faults.amount(Part.CAMERA, "future") or 0.0) * 1e9)
        while self._waiting and self._waiting[0].handed_over_ns <= now_ns:
            waiting = self._waiting.popleft()
            frames.append(CameraFrame(waiting.number, now_ns + ahead_ns, waiting.picture))
        return frames

    def _is_lost(self) -> bool:
        faults = self._faults
        if not faults.any_on(Part.CAMERA):
            return False
        if faults.is_on(Part.CAMERA, "off") or faults.is_on(Part.CAMERA, "silent"):
            return True
        if (share := faults.amount(Part.CAMERA, "slow")) is not None:
            self._slow_share += share
            if self._slow_share < 1.0:
                return True
            self._slow_share -= 1.0
        lost_share = faults.amount(Part.CAMERA, "intermittent") or 0.0
        return faults.random(Part.CAMERA, "intermittent").random() < lost_share

    def _picture(self, number: int, exposed_ns: int) -> bytes:
        faults = self._faults
        if faults.is_on(Part.CAMERA, "stuck") and self._last_picture:
            return self._last_picture
        image = self._render(number, exposed_ns)
        if faults.is_on(Part.CAMERA, "covered"):
            image = self._noise.integers(0, COVERED_NOISE_LEVELS, image.shape, dtype=np.uint8)
        if faults.is_on(Part.CAMERA, "wrong"):
            image = np.ascontiguousarray(image[:, ::-1])
        picture = encode(image, self._settings)
        if faults.is_on(Part.CAMERA, "garbage"):
            picture = faults.random(Part.CAMERA, "garbage").randbytes(len(picture))
        self._last_picture = picture
        return picture


def encode(image: Image, settings: CameraSettings) -> bytes:
    """Return the picture as the camera would send it."""
    if settings.encoding == "bmp":
        encoded, data = cv2.imencode(".bmp", image)
    else:
        encoded, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, settings.quality])
    if not encoded:
        raise HilError(f"OpenCV could not encode a picture of {image.shape}")
    return data.tobytes()


class CameraSocket:
    """Where frames are handed over; whoever connects gets all of them from then on.

    With `waits`, sending waits for a slow reader (lockstep); without, a frame that finds the last one
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
        """Disconnect everyone and refuse whoever comes: the camera is unplugged."""
        for reader in self._readers:
            reader.close()
        self._readers.clear()
        if self._listener is not None:
            self._listener.close()
            self._listener = None
            self._path.unlink(missing_ok=True)

    def set_plugged(self, plugged: bool) -> None:
        """Plug or unplug the camera."""
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

    @property
    def has_readers(self) -> bool:
        """Whether anybody looks."""
        return bool(self._readers)

    def send(self, frame: CameraFrame) -> None:
        """Hand a frame to every reader."""
        packed = frame.packed()
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
        for unsent in (self._readers[reader], packed):  # the rest of an older frame goes first
            if unsent:
                with contextlib.suppress(BlockingIOError):
                    sent = reader.send(unsent)
                    self._readers[reader] = unsent[sent:]
                if self._readers[reader]:
                    return
