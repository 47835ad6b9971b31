"""A film of what the camera saw with what the policy chose drawn on it, encoded after the drive."""

import contextlib
import math
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from vehicle.drawing import Color, Image, put_text

WIDTH_PX = 640
PICTURE_HEIGHT_PX = 480
PANEL_HEIGHT_PX = 120  # under the picture, so that the road right before the car stays in sight
HEIGHT_PX = PICTURE_HEIGHT_PX + PANEL_HEIGHT_PX
LABEL_Y_PX = PICTURE_HEIGHT_PX + 19
FILM_RATE_HZ = 15.0  # half the camera's; a software encoder on a small computer keeps up with it
STORE_LIMIT_BYTES = 256 << 20  # ten minutes of 30 kB pictures at 15 Hz

CODECS = (("VP80", ".webm"), ("mp4v", ".mp4"))
"""In order of preference. OpenCV's wheels have no H.264 encoder; of what they have, VP8 plays in every
browser of today (VP9 too, but it takes a software encoder six times as long, longer than the drive
itself on two cores); MPEG-4 part 2 plays in desktop players, in no browser."""

WHITE: Color = (250, 250, 250)
FADED: Color = (176, 176, 176)
SHADE: Color = (24, 20, 18)
TRACK_OF_A_GAUGE: Color = (96, 90, 86)
STEERING: Color = (255, 196, 64)
FORWARD: Color = (110, 214, 110)
BACKWARD: Color = (80, 90, 240)
WARNING: Color = (70, 60, 235)
SHADE_SHARE = 0.62


class FilmFrame(NamedTuple):
    """One stored picture."""

    number: int
    """The camera's frame number."""
    stamp_ns: int
    jpeg: bytes


class FrameStore:
    """Keeps a drive's JPEGs in an unnamed temporary file, so that nothing is decoded or encoded meanwhile."""

    def __init__(self, limit_bytes: int = STORE_LIMIT_BYTES) -> None:
        self._file = tempfile.TemporaryFile(prefix="lapwing-film-", buffering=0)  # noqa: SIM115 - lives until close()
        self._index: list[tuple[int, int, int, int]] = []  # number, stamp, offset, length
        self._end = 0
        self._limit_bytes = limit_bytes
        self.dropped = 0
        """Pictures not kept because the limit was reached or the disk is full."""

    def __len__(self) -> int:
        return len(self._index)

    def add(self, number: int, stamp_ns: int, jpeg: bytes) -> None:
        """Keep one picture, or count it as dropped when the store is full."""
        if self._end + len(jpeg) > self._limit_bytes or not self._write(jpeg):
            self.dropped += 1
            return
        self._index.append((number, stamp_ns, self._end, len(jpeg)))
        self._end += len(jpeg)

    def _write(self, jpeg: bytes) -> bool:
        """Return whether the whole picture is on the disk: a full one costs the film, not the drive."""
        try:
            self._file.seek(self._end)
            return self._file.write(jpeg) == len(jpeg)
        except OSError:
            return False

    def at_rate(self, rate_hz: float) -> Iterator[FilmFrame]:
        """Yield the newest picture at every step of a constant rate, from the first stamp to the last."""
        if not self._index:
            return
        step_ns = round(1e9 / rate_hz)
        newest = 0
        for now_ns in range(self._index[0][1], self._index[-1][1] + 1, step_ns):
            while newest + 1 < len(self._index) and self._index[newest + 1][1] <= now_ns:
                newest += 1
            number, stamp_ns, offset, length = self._index[newest]
            self._file.seek(offset)
            yield FilmFrame(number, stamp_ns, self._file.read(length))

    def close(self) -> None:
        """Forget the pictures."""
        self._file.close()


@dataclass(frozen=True)
class Overlay:
    """What is drawn on one picture."""

    state: str
    steering_frac: float = 0.0
    """Positive left."""
    throttle_frac: float = 0.0
    lap: str = ""
    """Such as `Lap 2 of 3`."""
    lap_time_s: float | None = None
    best_s: float | None = None
    speed_mps: float | None = None
    frame_to_wire_ms: float | None = None
    action_names: Sequence[str] = ()
    probabilities: Sequence[float] = ()
    """Of a discrete action space; empty for a continuous one."""
    action_index: int = -1
    fault: str = ""


def draw_overlay(picture: Image, overlay: Overlay) -> Image:
    """Return the picture at film size with the overlay on it."""
    film: Image = np.full((HEIGHT_PX, WIDTH_PX, 3), SHADE, dtype=np.uint8)
    film[:PICTURE_HEIGHT_PX] = _at_picture_size(picture)
    _shade(film, 0, 36)
    _draw_top(film, overlay)
    _draw_steering(film, overlay.steering_frac, (84, PICTURE_HEIGHT_PX + 102))
    _draw_throttle(film, overlay.throttle_frac, 184)
    _draw_choice(film, overlay)
    if overlay.fault:
        top_px = PICTURE_HEIGHT_PX - 44
        cv2.rectangle(film, (0, top_px), (WIDTH_PX, PICTURE_HEIGHT_PX), WARNING, cv2.FILLED)
        put_text(film, overlay.fault, (WIDTH_PX / 2, top_px + 29), 17, WHITE, align="center", is_bold=True)
    return film


def encode_film(
    path_without_suffix: Path,
    frames: Iterable[FilmFrame],
    overlay_of: Callable[[FilmFrame], Overlay],
    rate_hz: float = FILM_RATE_HZ,
    *,
    codecs: Sequence[tuple[str, str]] = CODECS,
    goes_on: Callable[[FilmFrame], bool] = lambda _: True,
) -> Path | None:
    """Write the film and return its path; None when there was no picture or no codec works here.

    It ends before the first picture for which it no longer `goes_on`.
    """
    writer: cv2.VideoWriter | None = None
    path: Path | None = None
    for frame in frames:
        if not goes_on(frame):
            break
        picture = cv2.imdecode(np.frombuffer(frame.jpeg, np.uint8), cv2.IMREAD_COLOR)
        if picture is None:
            continue
        if writer is None:
            writer, path = _open_writer(path_without_suffix, rate_hz, codecs)
            if writer is None:
                return None
        writer.write(draw_overlay(np.asarray(picture, dtype=np.uint8), overlay_of(frame)))
    if writer is not None:
        writer.release()
    return path


def _open_writer(
    path_without_suffix: Path, rate_hz: float, codecs: Sequence[tuple[str, str]]
) -> tuple[cv2.VideoWriter | None, Path | None]:
    for codec, suffix in codecs:
        path = path_without_suffix.with_name(path_without_suffix.name + suffix)
        fourcc = cv2.VideoWriter.fourcc(*codec)
        with _silent_stderr():
            writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, fourcc, rate_hz, (WIDTH_PX, HEIGHT_PX))
        if writer.isOpened():
            return writer, path
        path.unlink(missing_ok=True)
    return None, None


@contextlib.contextmanager
def _silent_stderr() -> Iterator[None]:
    """Keep FFmpeg's remarks about container tags off the terminal; they are printed from C."""
    saved_fd = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(saved_fd, 2)
        os.close(saved_fd)


def _at_picture_size(picture: Image) -> Image:
    is_smaller = picture.shape[0] < PICTURE_HEIGHT_PX
    interpolation = cv2.INTER_CUBIC if is_smaller else cv2.INTER_AREA
    size_px = (WIDTH_PX, PICTURE_HEIGHT_PX)
    return np.asarray(cv2.resize(picture, size_px, interpolation=interpolation), dtype=np.uint8)


def _shade(film: Image, top_px: int, bottom_px: int) -> None:
    band = film[top_px:bottom_px]
    shade = np.full_like(band, SHADE)
    film[top_px:bottom_px] = cv2.addWeighted(band, 1 - SHADE_SHARE, shade, SHADE_SHARE, 0.0)


def _draw_top(film: Image, overlay: Overlay) -> None:
    put_text(film, overlay.state, (14, 24), 12, WHITE, is_bold=True)
    words = [overlay.lap] if overlay.lap else []
    if overlay.lap_time_s is not None:
        words.append(f"{overlay.lap_time_s:.2f} s")
    if overlay.best_s is not None:
        words.append(f"best {overlay.best_s:.3f} s")
    put_text(film, "   ".join(words), (WIDTH_PX / 2, 24), 12, WHITE, align="center")
    if overlay.speed_mps is not None:
        put_text(
            film, f"{overlay.speed_mps:.2f} m/s", (WIDTH_PX - 14, 24), 12, WHITE, align="right", is_bold=True
        )


def _draw_steering(film: Image, steering_frac: float, pivot_px: tuple[int, int]) -> None:
    """Draw a half-round gauge: its needle points where the wheels are told to point."""
    radius_px = 62
    sweep_deg = 60.0
    cv2.ellipse(
        film, pivot_px, (radius_px, radius_px), -90, -sweep_deg, sweep_deg, TRACK_OF_A_GAUGE, 8, cv2.LINE_AA
    )
    needle_deg = float(np.clip(steering_frac, -1.0, 1.0)) * sweep_deg
    start_deg, stop_deg = sorted((0.0, -needle_deg))
    if stop_deg - start_deg >= 1.0:  # OpenCV draws a shorter arc as a dot at the pivot
        cv2.ellipse(
            film, pivot_px, (radius_px, radius_px), -90, start_deg, stop_deg, STEERING, 8, cv2.LINE_AA
        )
    angle_rad = math.radians(90 + needle_deg)
    tip_px = (
        round(pivot_px[0] + (radius_px + 7) * math.cos(angle_rad)),
        round(pivot_px[1] - (radius_px + 7) * math.sin(angle_rad)),
    )
    cv2.line(film, pivot_px, tip_px, WHITE, 2, cv2.LINE_AA)
    put_text(film, "steering", (pivot_px[0], LABEL_Y_PX), 9, FADED, align="center")


def _draw_throttle(film: Image, throttle_frac: float, left_px: int) -> None:
    """Draw an upright bar, full at full throttle; reverse is drawn in another colour."""
    top_px, bottom_px, width_px = LABEL_Y_PX + 11, LABEL_Y_PX + 85, 20
    cv2.rectangle(film, (left_px, top_px), (left_px + width_px, bottom_px), TRACK_OF_A_GAUGE, cv2.FILLED)
    share = float(np.clip(abs(throttle_frac), 0.0, 1.0))
    filled_px = round(bottom_px - share * (bottom_px - top_px))
    color = FORWARD if throttle_frac >= 0 else BACKWARD
    cv2.rectangle(film, (left_px, filled_px), (left_px + width_px, bottom_px), color, cv2.FILLED)
    put_text(film, "throttle", (left_px + width_px / 2, LABEL_Y_PX), 9, FADED, align="center")
    put_text(film, f"{throttle_frac * 100:.0f} %", (left_px + width_px + 8, bottom_px), 11, WHITE)


def _draw_choice(film: Image, overlay: Overlay) -> None:
    """Draw a bar per action of a discrete policy, the chosen one bright, and its name."""
    left_px, right_px, top_px, bottom_px = 286, WIDTH_PX - 18, LABEL_Y_PX + 13, LABEL_Y_PX + 67
    if overlay.frame_to_wire_ms is not None:
        put_text(film, f"{overlay.frame_to_wire_ms:.1f} ms", (right_px, LABEL_Y_PX), 9, FADED, align="right")
    put_text(film, "policy", (left_px, LABEL_Y_PX), 9, FADED)
    count = len(overlay.probabilities)
    if not count:
        text = f"steering {overlay.steering_frac:+.2f}   throttle {overlay.throttle_frac:+.2f}"
        put_text(film, text, (left_px, LABEL_Y_PX + 45), 12, WHITE)
        return
    pitch_px = (right_px - left_px) / count
    for index, probability in enumerate(overlay.probabilities):
        x_px = round(left_px + index * pitch_px)
        end_px = max(x_px + 1, round(left_px + (index + 1) * pitch_px - min(4.0, pitch_px * 0.25)))
        height_px = round(float(np.clip(probability, 0.0, 1.0)) * (bottom_px - top_px))
        cv2.rectangle(film, (x_px, top_px), (end_px, bottom_px), TRACK_OF_A_GAUGE, cv2.FILLED)
        color = STEERING if index == overlay.action_index else FADED
        cv2.rectangle(film, (x_px, bottom_px - height_px), (end_px, bottom_px), color, cv2.FILLED)
    if 0 <= overlay.action_index < len(overlay.action_names):
        name = overlay.action_names[overlay.action_index]
        put_text(film, name, ((left_px + right_px) / 2, LABEL_Y_PX + 87), 11, WHITE, align="center")
