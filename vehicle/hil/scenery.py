"""What a track and the room around it look like: colours, lines, light and clutter, drawn once into pictures.

The floor becomes a picture seen from above (`Ground`), what stands around it a strip of wall (`panorama`).
"""

import dataclasses
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from vehicle.hil.track import Track

Image: TypeAlias = npt.NDArray[np.uint8]
Floats: TypeAlias = npt.NDArray[np.float64]
Bgr: TypeAlias = tuple[float, float, float]

FAINT_LINE = (60.0, 100.0)  # grey levels above the road; a randomised room's has 90 or more
MARGIN_M = 1.5  # of floor drawn around the track; beyond it lies plain floor
QUARTER = 4  # the coarse picture of the ground is this much smaller
PANORAMA_FOCAL_PX = 126.0  # of the strip: that of a 160 pixel wide picture of 64.7 degrees
PANORAMA_ABOVE_PX = 64
PANORAMA_BELOW_PX = 24  # a rolled camera sees the strip below its own horizon


@dataclasses.dataclass(frozen=True)
class Scenery:
    """Colours (blue, green, red, 0 to 255) and sizes of one room with a track in it."""

    floor: Bgr = (95.0, 105.0, 95.0)
    road: Bgr = (58.0, 55.0, 52.0)
    line: Bgr = (235.0, 235.0, 235.0)
    dash: Bgr = (40.0, 150.0, 235.0)
    wall: Bgr = (170.0, 175.0, 180.0)
    line_m: float = 0.05
    dash_width_m: float = 0.04
    """0 draws no centre line."""
    dash_m: float = 0.15
    gap_m: float = 0.15
    grain: float = 4.0
    """Fine texture of floor and road, grey levels."""
    patches: float = 8.0
    """Coarse light and dark on the floor, grey levels."""
    shade: float = 0.1
    """How unevenly the light falls, share."""
    decoys: int = 0
    """Rugs, cables and tape lying beside the track."""
    clutter: int = 12
    """Things along the wall."""
    seed: int = 0

    def randomised(self, rng: np.random.Generator) -> "Scenery":
        """Return another room."""

        def colour(low: float, high: float, tint: float) -> Bgr:
            base = rng.uniform(low, high)
            blue, green, red = np.clip(base + rng.uniform(-tint, tint, 3), 0, 255)
            return float(blue), float(green), float(red)

        road = colour(15, 100, 22)
        brightness = sum(road) / 3
        line = colour(max(brightness + 90, 170), 250, 18)  # tape is chosen to be seen
        dashes = [
            (float(rng.uniform(0, 90)), float(rng.uniform(110, 220)), float(rng.uniform(190, 255))),
            colour(max(brightness + 50, 140), 250, 30),
        ]
        floor = colour(30, 200, 45)
        return dataclasses.replace(
            self,
            floor=floor,
            road=road,
            line=line,
            dash=dashes[int(rng.random() < 0.35)],
            wall=colour(40, 235, 40),
            line_m=float(rng.uniform(0.035, 0.075)),
            dash_width_m=float(rng.uniform(0.025, 0.055)) if rng.random() > 0.1 else 0.0,
            dash_m=float(rng.uniform(0.08, 0.3)),
            gap_m=float(rng.uniform(0.08, 0.3)),
            grain=float(rng.uniform(1, 12)),
            patches=float(rng.uniform(0, 20)),
            shade=float(rng.uniform(0, 0.35)),
            decoys=int(rng.integers(0, 10)),
            clutter=int(rng.integers(0, 30)),
            seed=int(rng.integers(1 << 31)),
        )

    def faint(self, rng: np.random.Generator) -> "Scenery":
        """Return this room with lines as narrow as any, and as dim beside the road or dimmer."""
        brightness = sum(self.road) / 3 + float(rng.uniform(*FAINT_LINE))
        return dataclasses.replace(self, line=(brightness,) * 3, line_m=float(rng.uniform(0.033, 0.048)))


@dataclasses.dataclass(frozen=True, eq=False)
class Ground:
    """The floor from above, north up."""

    image: Image
    """Height x width x 3 (BGR), or height x width (gray)."""
    coarse: Image
    """The same, `QUARTER` times smaller: what far rows of a picture read, so that dashes do not flicker."""
    left_m: float
    top_m: float
    px_per_m: float
    border: tuple[int, int, int]
    """Colour of the plain floor beyond."""

    def gray(self) -> "Ground":
        """Return the same floor without colour."""
        blue, green, red = self.border
        level = round(0.114 * blue + 0.587 * green + 0.299 * red)
        return dataclasses.replace(
            self, image=to_gray(self.image), coarse=to_gray(self.coarse), border=(level, level, level)
        )


def to_gray(image: Image) -> Image:
    """Return the picture's brightness."""
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), dtype=np.uint8)


def draw_ground(track: Track, scenery: Scenery, px_per_m: float) -> Ground:
    """Draw the floor with the track on it."""
    rng = np.random.default_rng(scenery.seed)
    borders = np.vstack([track.inner, track.outer])
    left, bottom = borders.min(axis=0) - MARGIN_M
    right, top = borders.max(axis=0) + MARGIN_M
    width, height = (
        QUARTER * round(float(span) * px_per_m / QUARTER) for span in (right - left, top - bottom)
    )

    def pixels(points: Floats) -> npt.NDArray[np.int32]:
        """Sixteenths of a pixel, for OpenCV's `shift=4`."""
        columns, rows = (points[:, 0] - left) * px_per_m - 0.5, (top - points[:, 1]) * px_per_m - 0.5
        return np.asarray(np.rint(16 * np.stack([columns, rows], axis=1)), dtype=np.int32)

    image = np.empty((height, width, 3), dtype=np.uint8)
    image[:] = np.array(scenery.floor, dtype=np.uint8)
    _draw_decoys(image, scenery, px_per_m, rng)
    infield_edge, outfield_edge = sorted((track.inner, track.outer), key=_area_m2)
    cv2.fillPoly(image, [pixels(outfield_edge)], _bgr(scenery.road), cv2.LINE_AA, 4)
    infield = scenery.floor if rng.random() < 0.7 else tuple(np.clip(np.array(scenery.floor) + 40, 0, 255))
    cv2.fillPoly(image, [pixels(infield_edge)], _bgr(infield), cv2.LINE_AA, 4)

    if scenery.dash_width_m > 0:
        thickness = max(1, round(scenery.dash_width_m * px_per_m))
        period = scenery.dash_m + scenery.gap_m
        for start in np.arange(0.0, track.length_m - scenery.dash_m, period):
            dash = [track.pose_at(s)[:2] for s in np.linspace(start, start + scenery.dash_m, 5)]
            cv2.polylines(
                image, [pixels(np.array(dash))], False, _bgr(scenery.dash), thickness, cv2.LINE_AA, 4
            )
    thickness = max(1, round(scenery.line_m * px_per_m))
    for edge in (track.inner, track.outer):
        cv2.polylines(image, [pixels(edge)], True, _bgr(scenery.line), thickness, cv2.LINE_AA, 4)

    image = _lit(image, scenery, px_per_m, rng)
    smaller = cv2.resize(image, (width // QUARTER, height // QUARTER), interpolation=cv2.INTER_AREA)
    return Ground(
        image,
        np.asarray(smaller, dtype=np.uint8),
        float(left),
        float(top),
        px_per_m,
        _bgr(scenery.floor),
    )


def _area_m2(border: Floats) -> float:
    """Return what a border encloses: the inner border of a track driven backwards is the larger one."""
    x, y = border.T
    return abs(float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)))) / 2


def panorama(scenery: Scenery) -> Image:
    """Return the strip of wall all around; row `PANORAMA_ABOVE_PX` is the horizon, column 0 lies east."""
    rng = np.random.default_rng([scenery.seed, 1])
    width = round(2 * np.pi * PANORAMA_FOCAL_PX)
    height = PANORAMA_ABOVE_PX + PANORAMA_BELOW_PX
    strip = np.empty((height, width, 3), dtype=np.float32)
    fade = np.linspace(rng.uniform(0.8, 1.2), 1.0, height)[:, None, None]
    strip[:] = np.array(scenery.wall) * fade
    for _ in range(scenery.clutter):
        wide, tall = int(rng.integers(6, 90)), int(rng.integers(4, PANORAMA_ABOVE_PX))
        x = int(rng.integers(width))
        bottom = (
            PANORAMA_ABOVE_PX - int(rng.integers(0, 12)) if rng.random() < 0.8 else int(rng.integers(height))
        )
        colour = np.clip(rng.uniform(10, 245) + rng.uniform(-40, 40, 3), 0, 255)
        columns = np.arange(x, x + wide) % width
        strip[max(0, bottom - tall) : bottom, columns] = colour
    around = np.concatenate([strip, strip[:, :16]], axis=1)
    strip = np.asarray(cv2.GaussianBlur(around, (3, 3), 0), dtype=np.float32)[:, :width]
    strip[PANORAMA_ABOVE_PX:] = np.array(scenery.floor)
    return np.clip(strip, 0, 255).astype(np.uint8)


def _draw_decoys(image: Image, scenery: Scenery, px_per_m: float, rng: np.random.Generator) -> None:
    height, width = image.shape[:2]
    for _ in range(scenery.decoys):
        level = rng.uniform(20, 245)
        colour = _bgr(tuple(np.clip(level + rng.uniform(-40, 40, 3), 0, 255)))
        x, y = int(rng.random() * width), int(rng.random() * height)
        if rng.random() < 0.5:
            axes = (int(rng.uniform(0.05, 0.6) * px_per_m), int(rng.uniform(0.05, 0.6) * px_per_m))
            cv2.ellipse(image, (x, y), axes, rng.uniform(0, 180), 0, 360, colour, -1, cv2.LINE_AA)
        else:
            end = (x + int(rng.uniform(-2, 2) * px_per_m), y + int(rng.uniform(-2, 2) * px_per_m))
            cv2.line(image, (x, y), end, colour, max(1, int(rng.uniform(0.02, 0.08) * px_per_m)), cv2.LINE_AA)


def _lit(image: Image, scenery: Scenery, px_per_m: float, rng: np.random.Generator) -> Image:
    """Add grain and patches, and light that falls unevenly."""
    height, width = image.shape[:2]
    tile_px = round(2.56 * px_per_m)
    grain = rng.normal(0, scenery.grain, (256, 256)).astype(np.float32)
    tile = np.asarray(cv2.resize(grain, (tile_px, tile_px), interpolation=cv2.INTER_NEAREST))
    rows, columns = -(-height // tile_px), -(-width // tile_px)
    field = np.tile(tile, (rows, columns))[:height, :width]
    cells = (max(4, round(height / px_per_m)), max(4, round(width / px_per_m)))
    blobs = rng.normal(0, scenery.patches, cells).astype(np.float32)
    field += np.asarray(cv2.resize(blobs, (width, height), interpolation=cv2.INTER_CUBIC), dtype=np.float32)
    light = rng.uniform(1 - scenery.shade, 1 + scenery.shade, (4, 6)).astype(np.float32)
    gain = cv2.resize(light, (width, height), interpolation=cv2.INTER_CUBIC)
    result = np.empty_like(image)
    for channel in range(3):  # one at a time: a third of the memory
        result[:, :, channel] = np.clip((image[:, :, channel] + field) * gain, 0, 255)
    return result


def _bgr(colour: Bgr | tuple[float, ...]) -> tuple[int, int, int]:
    blue, green, red = (round(float(part)) for part in colour)
    return blue, green, red
