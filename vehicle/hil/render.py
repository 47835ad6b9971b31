"""The front camera of the simulated car: from a pose on the ground to the picture its sensor gives.

A picture is the ground seen through one lens (a remap of the picture from above), a strip of wall above the
horizon, and what sensor and lens add: motion blur, vignette, exposure, gamma, softness and noise. Colour and
gray run through the same code.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from vehicle.hil.lens import FAR_M, CameraParameters, Lens, Size
from vehicle.hil.render_boxes import draw_box
from vehicle.hil.render_signs import draw_sign
from vehicle.hil.scenery import (
    PANORAMA_ABOVE_PX,
    PANORAMA_FOCAL_PX,
    QUARTER,
    Ground,
    Image,
    Scenery,
    draw_ground,
    panorama,
    to_gray,
)
from vehicle.hil.things import Box, Sign
from vehicle.hil.track import Track

Maps: TypeAlias = npt.NDArray[np.float32]

FULL_SIZE: Size = (640, 480)  # width, height: what the car's camera sends
POLICY_SIZE: Size = (160, 120)  # what training and lockstep render
NOISE_ROWS, NOISE_COLUMNS = 64, 128  # a frame's noise may shift by: 8192 frames before one comes again
REFERENCE_WIDTH_PX = 160.0  # softness is given in pixels of a picture this wide


class Finish:
    """What one sensor in one light does to the picture."""

    def __init__(self, camera: CameraParameters, size: Size, *, gray: bool, seed: int) -> None:
        width = size[0]
        levels = np.arange(256) / 255
        tone = 255 * np.clip(levels, 0, 1) ** camera.gamma
        tone = (tone - 128) * camera.contrast + 128 + camera.brightness
        self._tones = np.clip(tone, 0, 255).round().astype(np.uint8)
        self._identity = bool((self._tones == np.arange(256)).all())
        self._brighter, self._darker = _noise_bank(max(1, round(camera.noise)), size, gray)
        self._phase = seed
        self._softness_px = camera.softness_px * width / REFERENCE_WIDTH_PX
        self._smear_px_per_radps = camera.exposure_s * width / 2 / math.tan(camera.fov_rad / 2)
        self._vignette: Image | None = None
        if camera.vignette > 0:
            mask = (255 * (1 - camera.vignette * _from_middle(size) / 2)).astype(np.uint8)
            self._vignette = mask if gray else np.repeat(mask[:, :, None], 3, 2)

    def apply(self, image: Image, yaw_rate_radps: float, frame_number: int) -> Image:
        """Return the picture as the sensor sees it."""
        smear = int(abs(yaw_rate_radps) * self._smear_px_per_radps) + 1
        if smear > 1:
            image = cv2.blur(image, (smear, 1))  # type: ignore[assignment]
        if self._softness_px > 0:
            image = cv2.GaussianBlur(image, (0, 0), self._softness_px)  # type: ignore[assignment]
        if self._vignette is not None:
            image = cv2.multiply(image, self._vignette, scale=1 / 255)  # type: ignore[assignment]
        if not self._identity:
            image = cv2.LUT(image, self._tones)  # type: ignore[assignment]
        shift = (self._phase + frame_number * 2731) % (NOISE_ROWS * NOISE_COLUMNS)  # odd: each shift once
        row, column = divmod(shift, NOISE_COLUMNS)
        height, width = image.shape[:2]
        patch = (slice(row, row + height), slice(column, column + width))
        noisy = cv2.add(image, self._brighter[patch])
        return cv2.subtract(noisy, self._darker[patch], noisy)  # type: ignore[return-value]


@lru_cache(maxsize=8)
def _from_middle(size: Size) -> npt.NDArray[np.float64]:
    """Return each pixel's squared distance from the middle of the picture: 2 in its corners."""
    width, height = size
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    return np.asarray(x * x + y * y, dtype=np.float64)


@lru_cache(maxsize=64)
def _noise_bank(level: int, size: Size, gray: bool) -> tuple[Image, Image]:
    """Return noise drawn once, to add and to take away. Fresh noise would cost more than the picture."""
    width, height = size
    rng = np.random.default_rng([level, width, height, int(gray)])
    shape = (height + NOISE_ROWS, width + NOISE_COLUMNS) + (() if gray else (3,))
    noise = np.rint(rng.standard_normal(shape, dtype=np.float32) * level)
    return np.clip(noise, 0, 255).astype(np.uint8), np.clip(-noise, 0, 255).astype(np.uint8)


class Backdrop:
    """The wall above the horizon, scaled for one lens."""

    def __init__(self, strip: Image, lens: Lens) -> None:
        scale = lens.focal_px / PANORAMA_FOCAL_PX
        width, height = round(strip.shape[1] * scale), max(1, round(strip.shape[0] * scale))
        scaled = cv2.resize(
            strip, (width, height), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        )
        top = round(PANORAMA_ABOVE_PX * scale - lens.horizon_px)
        rows = np.clip(np.arange(lens.wall_rows) + top, 0, height - 1)
        wanted = np.asarray(scaled, dtype=np.uint8)[rows]
        self._strip = np.ascontiguousarray(np.concatenate([wanted, wanted[:, : lens.size[0]]], axis=1))
        self._around_px = width
        self._yaw_rad = lens.yaw_rad
        self._half_px = lens.size[0] / 2

    def view(self, yaw_rad: float, width_px: int) -> Image:
        """Return the part of the wall that a car heading there sees."""
        turn = -(yaw_rad + self._yaw_rad) / (2 * math.pi) * self._around_px - self._half_px
        start = round(turn) % self._around_px
        return self._strip[:, start : start + width_px]


class Renderer:
    """One camera in one room. Everything is drawn beforehand; a picture costs a remap and a few passes."""

    def __init__(self, ground: Ground, lens: Lens, backdrop: Backdrop, finish: Finish) -> None:
        self._ground, self._lens, self._backdrop, self._finish = ground, lens, backdrop, finish
        self._split = lens.coarse_rows(ground.px_per_m)
        self._far, self._near = lens.ground[lens.first_row : self._split], lens.ground[self._split :]

    def render(
        self,
        x_m: float,
        y_m: float,
        yaw_rad: float,
        yaw_rate_radps: float,
        frame_number: int,
        *,
        boxes: Sequence[Box] = (),
        signs: Sequence[Sign] = (),
    ) -> Image:
        """Return the picture from this pose of the rear axle: height x width x 3, or x 1 dropped in gray.

        `boxes` and `signs` stand on the floor and hide what is behind them.
        """
        ground, lens = self._ground, self._lens
        width, height = lens.size
        shape = (height, width) if ground.image.ndim == 2 else (height, width, 3)
        image = np.empty(shape, dtype=np.uint8)
        first, split = lens.first_row, self._split
        place = (x_m - ground.left_m, ground.top_m - y_m, math.cos(yaw_rad), math.sin(yaw_rad))
        if split > first:
            _draw_floor(ground, QUARTER, place, self._far, image[first:split])
        if split < height:
            _draw_floor(ground, 1, place, self._near, image[split:])
        if lens.wall_rows:
            rows = image[: lens.wall_rows]
            cv2.copyTo(self._backdrop.view(yaw_rad, width), lens.wall_mask, rows)
        if boxes or signs:
            self._draw_things(image, (*boxes, *signs), (x_m, y_m, yaw_rad))
        return self._finish.apply(image, yaw_rate_radps, frame_number)

    def _draw_things(
        self, image: Image, things: Sequence[Box | Sign], pose: tuple[float, float, float]
    ) -> None:
        """Draw what stands on the floor, the far things first."""

        def distance_m(thing: Box | Sign) -> float:
            return math.hypot(thing.x_m - pose[0], thing.y_m - pose[1])

        for thing in sorted(things, key=distance_m, reverse=True):
            if distance_m(thing) >= FAR_M:
                continue
            if isinstance(thing, Sign):
                draw_sign(image, thing, pose, self._lens.projection)
            else:
                draw_box(image, thing, pose, self._lens.projection)


def _draw_floor(
    ground: Ground, shrink: int, place: tuple[float, float, float, float], looks: Maps, into: Image
) -> None:
    """Draw what the pixels look at; `place` is how far east and south, and the cos and sin of the yaw."""
    scale = ground.px_per_m / shrink
    east_m, south_m, cos, sin = place
    cos, sin = cos * scale, sin * scale
    to_pixels = np.array([[cos, -sin, east_m * scale - 0.5], [-sin, -cos, south_m * scale - 0.5]])
    pixels = cv2.transform(looks, to_pixels)
    source = ground.image if shrink == 1 else ground.coarse
    cv2.remap(source, pixels, None, cv2.INTER_LINEAR, into, cv2.BORDER_CONSTANT, ground.border)  # type: ignore[call-overload]


class Room:
    """A track in a room, drawn once for all cameras of one size."""

    def __init__(
        self, track: Track, scenery: Scenery | None = None, size: Size = POLICY_SIZE, *, gray: bool = False
    ) -> None:
        """Finer ground for larger pictures."""
        scenery = scenery or Scenery()
        self._ground = draw_ground(track, scenery, 100.0 if size[0] <= 320 else 200.0)
        self._strip = panorama(scenery)
        self._size, self._gray = size, gray
        if gray:
            self._ground, self._strip = self._ground.gray(), to_gray(self._strip)

    def renderer(self, camera: CameraParameters | None = None, seed: int = 0) -> Renderer:
        """Return what draws the pictures of one camera; `seed` decides its noise."""
        camera = camera or CameraParameters()
        lens = Lens(camera, self._size)
        finish = Finish(camera, self._size, gray=self._gray, seed=seed)
        return Renderer(self._ground, lens, Backdrop(self._strip, lens), finish)


def make_renderer(
    track: Track,
    *,
    camera: CameraParameters | None = None,
    scenery: Scenery | None = None,
    size: Size = POLICY_SIZE,
    gray: bool = False,
    seed: int = 0,
) -> Renderer:
    """Draw everything for one camera in one room."""
    return Room(track, scenery, size, gray=gray).renderer(camera, seed)
