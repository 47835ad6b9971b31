"""A camera on this computer (Video4Linux), as MJPEG straight from the driver's buffers.

OpenCV can set neither the controls below nor a time-out that is short enough, and hides the driver's own
stamps, so this goes through `linuxpy`.
"""

import contextlib
import select
import time
from collections.abc import Callable
from typing import Any

import msgspec
from linuxpy.video.device import (
    BufferFlag,
    ControlID,
    Device,
    MemoryMap,
    PixelFormat,
    V4L2Error,
    VideoCapture,
)

from vehicle.camera_source import Granted, RawFrame
from vehicle.errors import CameraError
from vehicle.messages import CameraLocks

DRIVER_BUFFERS = 4  # one fills, one is read, two wait while this process is held up
SILENCE_LIMIT_S = 2.0
STAMP_AGE_LIMIT_S = 0.5  # a driver's stamp further from now is wrong, as some drivers' first ones are
POWER_LINE_MENU = {0: 0, 50: 1, 60: 2}  # V4L2_CID_POWER_LINE_FREQUENCY_*
EXPOSURE_MANUAL, EXPOSURE_BY_CAMERA = (
    1,
    3,
)  # V4L2_EXPOSURE_*; 3: aperture priority, the one that UVC cameras have
EXPOSURE_STEPS_PER_MS = 10  # V4L2_CID_EXPOSURE_ABSOLUTE counts 100 us
MAX_JPEG_BYTES = 8 << 20


def open_linuxpy(path: str) -> tuple[Any, Any]:
    """Open a device; return it and its stream of pictures, not started yet."""
    device = Device(path)
    device.open()
    return device, VideoCapture(device, size=DRIVER_BUFFERS, buffer_type=MemoryMap)


class V4l2Camera:
    """One capture device."""

    is_static = False
    silence_limit_s = SILENCE_LIMIT_S

    def __init__(
        self,
        path: str,
        *,
        width_px: int,
        height_px: int,
        rate_hz: float,
        power_line_hz: int,
        locks: CameraLocks = CameraLocks(),  # noqa: B008 - frozen
        open_device: Callable[[str], tuple[Any, Any]] = open_linuxpy,
    ) -> None:
        """Remember what to ask for; nothing is opened."""
        self.description = f"camera {path}"
        self.granted = Granted(rate_hz, width_px, height_px)
        self._path = path
        self._asked = Granted(rate_hz, width_px, height_px)
        self._power_line_hz = power_line_hz
        self._locks = locks
        self._at_open = self.granted
        self._open_device = open_device
        self._device: Any = None
        self._capture: Any = None
        self._buffers: Any = None
        self._copy = bytearray(MAX_JPEG_BYTES)

    def open(self) -> None:
        """Open, ask for MJPEG, set the controls and start streaming; raises CameraError."""
        try:
            self._device, self._capture = self._open_device(self._path)
            self._capture.set_format(self._asked.width_px, self._asked.height_px, "MJPG")
            self._at_open = self._read_granted(self._set_rate() + self._set_controls())
            self._grant_locks()
            self._capture.open()
        except (OSError, V4L2Error, ValueError) as error:  # ValueError: a pixel format without a name
            self.close()
            raise CameraError(
                f"the camera {self._path} cannot be opened ({error}); check its plug, whether another "
                "program uses it, and that you are in the group `video`"
            ) from error
        except CameraError:
            self.close()
            raise
        self._buffers = self._capture.buffer

    def read(self, timeout_s: float) -> RawFrame | None:
        """Return the next picture from the driver, or None after the time-out; raises CameraError."""
        if self._buffers is None:
            raise CameraError(f"the camera {self._path} is not open; open it before reading")
        try:
            if not select.select([self._device], [], [], timeout_s)[0]:
                return None
            data, buffer = self._buffers.raw_grab(into=self._copy)
        except BlockingIOError:
            return None
        except OSError as error:
            raise CameraError(f"the camera {self._path} is gone ({error}); check its plug") from error
        is_broken = BufferFlag.ERROR in BufferFlag(buffer.flags)
        return RawFrame(buffer.sequence, _stamp_ns(buffer), b"" if is_broken else bytes(data))

    def tune(self, locks: CameraLocks) -> None:
        """Set what is locked from now on; some milliseconds, in which the driver keeps the pictures."""
        self._locks = locks
        if self._device is not None:
            self._grant_locks()

    def close(self) -> None:
        """Stop streaming and let go of the device."""
        capture, device = self._capture, self._device
        self._capture = self._device = self._buffers = None
        for part in (capture, device):
            if part is None:
                continue
            with contextlib.suppress(OSError):  # an unplugged device cannot be told to stop
                part.close()

    def _set_rate(self) -> list[str]:
        try:
            self._capture.set_fps(self._asked.rate_hz)
        except OSError:
            return ["the camera chooses its frame rate itself"]
        return []

    def _set_controls(self) -> list[str]:
        """Keep the frame rate in dim light, and lamps from flickering; return what could not be set."""
        wishes = (
            ("fixed frame rate in dim light", ControlID.EXPOSURE_AUTO_PRIORITY, 0),
            (
                f"power line {self._power_line_hz} Hz",
                ControlID.POWER_LINE_FREQUENCY,
                POWER_LINE_MENU[self._power_line_hz],
            ),
        )
        missing = [name for name, control_id, value in wishes if not self._set(control_id, value)]
        return [_no_control(name) for name in missing]

    def _grant_locks(self) -> None:
        notes = [self._at_open.note, *(_no_control(name) for name in self._set_locks())]
        note = "; ".join(each for each in notes if each)
        self.granted = msgspec.structs.replace(self._at_open, note=note)

    def _set_locks(self) -> list[str]:
        """Set what is locked, and let the camera choose the rest again; return what could not be locked.

        A camera keeps its controls as long as it has power, whoever has it open.
        """
        locks, missing = self._locks, []
        if locks.exposure_ms is None:
            self._set(ControlID.EXPOSURE_AUTO, EXPOSURE_BY_CAMERA)
        elif not (
            self._set(ControlID.EXPOSURE_AUTO, EXPOSURE_MANUAL)
            and self._set(ControlID.EXPOSURE_ABSOLUTE, round(locks.exposure_ms * EXPOSURE_STEPS_PER_MS))
        ):
            missing.append(f"exposure {locks.exposure_ms:g} ms")
        if locks.gain is not None and not self._set(ControlID.GAIN, locks.gain):
            missing.append(f"gain {locks.gain}")
        if locks.white_balance_k is None:
            self._set(ControlID.AUTO_WHITE_BALANCE, 1)
        elif not (
            self._set(ControlID.AUTO_WHITE_BALANCE, 0)
            and self._set(ControlID.WHITE_BALANCE_TEMPERATURE, locks.white_balance_k)
        ):
            missing.append(f"white balance {locks.white_balance_k} K")
        return missing

    def _set(self, control_id: ControlID, value: int) -> bool:
        try:
            self._device.controls[control_id].value = value
        except (KeyError, OSError, AttributeError, ValueError):  # ValueError: out of this camera's range
            return False
        return True

    def _read_granted(self, notes: list[str]) -> Granted:
        given = self._capture.get_format()
        if given.pixel_format not in (PixelFormat.MJPEG, PixelFormat.JPEG):
            name = getattr(given.pixel_format, "name", given.pixel_format)
            raise CameraError(
                f"the camera {self._path} gives {name}, needed is MJPEG; use a camera or a mode that gives it"
            )
        rate_hz, asked = self._granted_rate_hz(), self._asked
        if (given.width, given.height) != (asked.width_px, asked.height_px):
            wish = f"{asked.width_px} x {asked.height_px}"
            notes = [f"the camera gives {given.width} x {given.height} instead of {wish}", *notes]
        if abs(rate_hz - asked.rate_hz) > 0.01 * asked.rate_hz:
            notes = [f"the camera grants {rate_hz:g} of {asked.rate_hz:g} pictures a second", *notes]
        return Granted(rate_hz, given.width, given.height, "; ".join(notes))

    def _granted_rate_hz(self) -> float:
        try:
            return float(self._capture.get_fps()) or self._asked.rate_hz
        except (OSError, ZeroDivisionError):  # it does not say
            return self._asked.rate_hz


def _no_control(name: str) -> str:
    return f"the camera has no control for: {name}"


def device_path(text: str) -> str:
    """Return the path of a device given by index or path."""
    return f"/dev/video{int(text)}" if text.isdecimal() else text


def _stamp_ns(buffer: Any) -> int:
    """Return the driver's own stamp where it is of our clock and plausible, else now."""
    now_ns = time.monotonic_ns()
    stamp_ns = buffer.timestamp.secs * 1_000_000_000 + buffer.timestamp.usecs * 1000
    is_monotonic = BufferFlag.TIMESTAMP_MONOTONIC in BufferFlag(buffer.flags)
    is_plausible = 0 <= now_ns - stamp_ns <= STAMP_AGE_LIMIT_S * 1e9
    return stamp_ns if is_monotonic and is_plausible else now_ns
