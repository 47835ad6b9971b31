"""Draws the line that a car drove, coloured by its speed, on a plan of the track."""

from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
Points = npt.NDArray[np.float64]
Color = tuple[int, int, int]

WIDTH_PX = 1600
HEIGHT_PX = 1000
OVERSAMPLING = 2  # drawn this much larger and then reduced, so that thin curved lines are smooth
SUBPIXEL_BITS = 4  # of OpenCV's fixed-point coordinates

PAGE: Color = (250, 249, 247)  # all colours are BGR
INK: Color = (48, 42, 38)
FADED_INK: Color = (140, 132, 126)
HAIRLINE: Color = (222, 218, 214)
ASPHALT: Color = (74, 66, 60)
CENTER_DASH: Color = (112, 104, 98)
EDGE: Color = (236, 236, 236)
OFF_TRACK: Color = (70, 60, 235)

MARGIN_PX = 60.0
PLAN_LEFT_PX, PLAN_TOP_PX = MARGIN_PX, 150.0
PLAN_WIDTH_PX, PLAN_HEIGHT_PX = 1120.0, 770.0
PANEL_LEFT_PX = 1245.0
PANEL_RIGHT_PX = WIDTH_PX - MARGIN_PX

LARGEST_STEP_M = 0.6  # between two samples; a larger one is the car being put back, not driving
SLOWEST_COLOR, FASTEST_COLOR = 85, 255  # range of the colour map that stands out from asphalt
MOST_TABLE_ROWS = 12


@dataclass(frozen=True)
class TrackLines:
    """The lines of a closed track, N x 2 each, in metres, in driving direction."""

    center: Points
    inner: Points
    outer: Points


@dataclass(frozen=True)
class LapRow:
    """One completed lap, as the table beside the plan shows it."""

    lap: int
    time_s: float
    mean_mps: float
    top_mps: float


@dataclass(frozen=True)
class DrivenLine:
    """Where the car was and how fast, one element per sample."""

    x_m: Points
    y_m: Points
    speed_mps: Points
    lap: npt.NDArray[np.int64]
    """Number of the lap that the sample belongs to, counting from 1."""
    off_track: npt.NDArray[np.bool_]
    laps: tuple[LapRow, ...] = ()
    title: str = ""
    notes: tuple[str, ...] = field(default=())
    """Short lines under the title."""

    def best_lap(self) -> int | None:
        """Return the number of the fastest completed lap, None before the first."""
        return min(self.laps, key=lambda row: row.time_s).lap if self.laps else None


def text_width_px(text: str, size_px: float, *, is_bold: bool = False) -> float:
    """Return how wide `put_text` draws this text."""
    font_scale, thickness = _font(size_px, is_bold=is_bold)
    (width_px, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, font_scale, thickness)
    return float(width_px)


def put_text(
    image: Image,
    text: str,
    at_px: tuple[float, float],
    size_px: float,
    color: Color,
    *,
    align: str = "left",
    is_bold: bool = False,
) -> None:
    """Write one line; `at_px` is its baseline's left, centre or right end, `size_px` its capital height."""
    share = {"left": 0.0, "center": 0.5, "right": 1.0}[align]
    left_px = at_px[0] - share * text_width_px(text, size_px, is_bold=is_bold)
    font_scale, thickness = _font(size_px, is_bold=is_bold)
    at = (round(left_px), round(at_px[1]))
    cv2.putText(image, text, at, cv2.FONT_HERSHEY_SIMPLEX, font_scale, color, thickness, cv2.LINE_AA)


def speed_colors(speed_mps: Points, low_mps: float, high_mps: float) -> list[Color]:
    """Return one BGR colour per speed, dark violet at `low_mps` to yellow at `high_mps`.

    The scale is perceptually even and keeps its order for people who do not see every colour.
    """
    span_mps = max(high_mps - low_mps, 1e-6)
    share = np.clip((speed_mps - low_mps) / span_mps, 0.0, 1.0)
    levels = np.rint(SLOWEST_COLOR + share * (FASTEST_COLOR - SLOWEST_COLOR)).astype(np.uint8)
    mapped = cv2.applyColorMap(levels.reshape(-1, 1), cv2.COLORMAP_PLASMA).reshape(-1, 3)
    return [(int(blue), int(green), int(red)) for blue, green, red in mapped]


def speed_range(speed_mps: Points) -> tuple[float, float]:
    """Return the ends of the colour scale for these speeds, round numbers with something between them."""
    if speed_mps.size == 0:
        return 0.0, 1.0
    low_mps = float(np.floor(np.percentile(speed_mps, 2) * 2) / 2)
    high_mps = float(np.ceil(np.max(speed_mps) * 2) / 2)
    return low_mps, max(high_mps, low_mps + 0.5)


def draw_driven_line(track: TrackLines, driven: DrivenLine) -> Image:
    """Return the finished picture, HEIGHT_PX x WIDTH_PX, BGR.

    The colours span the speeds of the best lap, so that a standing start does not flatten them.
    """
    canvas = _Canvas()
    plan = _Plan.fitting(np.vstack([track.inner, track.outer]))
    is_best = driven.lap == driven.best_lap()
    low_mps, high_mps = speed_range(driven.speed_mps[is_best] if np.any(is_best) else driven.speed_mps)

    _draw_track(canvas, plan, track)
    _draw_line(canvas, plan, driven, low_mps, high_mps)
    _draw_start(canvas, plan, track)
    _draw_headings(canvas, driven)
    _draw_speed_scale(canvas, low_mps, high_mps)
    _draw_lap_table(canvas, driven)
    _draw_length_scale(canvas, plan)
    return canvas.reduced()


def write_driven_line(path: Path, track: TrackLines, driven: DrivenLine) -> None:
    """Draw the picture into a PNG file."""
    encoded, png = cv2.imencode(".png", draw_driven_line(track, driven))
    if not encoded:
        raise OSError(f"OpenCV could not encode {path} as PNG")
    path.write_bytes(png.tobytes())


def _font(size_px: float, *, is_bold: bool) -> tuple[float, int]:
    """Return OpenCV's font scale and thickness for a capital height in pixels."""
    font_scale = size_px / 22.0  # a capital of this font is 22 px high at scale 1
    return font_scale, max(1, round(font_scale * (2.6 if is_bold else 1.3)))


class _Canvas:
    """An oversampled page on which everything is placed in finished pixels."""

    def __init__(self) -> None:
        shape = (HEIGHT_PX * OVERSAMPLING, WIDTH_PX * OVERSAMPLING, 3)
        self.image: Image = np.full(shape, PAGE, dtype=np.uint8)

    def line(self, points_px: Points, color: Color, width_px: float, *, is_closed: bool = False) -> None:
        """Draw a polyline through N x 2 points."""
        thickness = max(1, round(width_px * OVERSAMPLING))
        fixed = [_fixed_point(points_px)]
        cv2.polylines(self.image, fixed, is_closed, color, thickness, cv2.LINE_AA, SUBPIXEL_BITS)

    def fill(self, outlines_px: list[Points], color: Color) -> None:
        """Fill between outlines: what lies inside an odd number of them."""
        fixed = [_fixed_point(outline) for outline in outlines_px]
        cv2.fillPoly(self.image, fixed, color, cv2.LINE_AA, SUBPIXEL_BITS)

    def text(
        self,
        text: str,
        at_px: tuple[float, float],
        size_px: float,
        color: Color = INK,
        *,
        align: str = "left",
        is_bold: bool = False,
    ) -> None:
        """Write one line of text."""
        at = (at_px[0] * OVERSAMPLING, at_px[1] * OVERSAMPLING)
        put_text(self.image, text, at, size_px * OVERSAMPLING, color, align=align, is_bold=is_bold)

    def reduced(self) -> Image:
        """Return the page at its finished size."""
        return np.asarray(
            cv2.resize(self.image, (WIDTH_PX, HEIGHT_PX), interpolation=cv2.INTER_AREA), dtype=np.uint8
        )


@dataclass(frozen=True)
class _Plan:
    """Where metres lie on the page: same scale both ways, y up."""

    px_per_m: float
    origin_px: tuple[float, float]

    @classmethod
    def fitting(cls, points_m: Points) -> "_Plan":
        """Return the plan that shows all points as large as the room for them allows, centred."""
        low, high = points_m.min(axis=0), points_m.max(axis=0)
        size_m = np.maximum(high - low, 1e-3)
        px_per_m = float(min(PLAN_WIDTH_PX / size_m[0], PLAN_HEIGHT_PX / size_m[1]))
        middle_m = (low + high) / 2
        return cls(
            px_per_m,
            (
                float(PLAN_LEFT_PX + PLAN_WIDTH_PX / 2 - middle_m[0] * px_per_m),
                float(PLAN_TOP_PX + PLAN_HEIGHT_PX / 2 + middle_m[1] * px_per_m),
            ),
        )

    def px(self, points_m: Points) -> Points:
        """Return N x 2 points of the world as points on the page."""
        scaled = np.asarray(points_m, dtype=np.float64) * (self.px_per_m, -self.px_per_m)
        return np.asarray(scaled + self.origin_px, dtype=np.float64)


def _fixed_point(points_px: Points) -> npt.NDArray[np.int32]:
    return np.rint(np.asarray(points_px) * (OVERSAMPLING << SUBPIXEL_BITS)).astype(np.int32)


def _draw_track(canvas: _Canvas, plan: _Plan, track: TrackLines) -> None:
    inner_px, outer_px = plan.px(track.inner), plan.px(track.outer)
    canvas.fill([outer_px, inner_px], ASPHALT)
    canvas.line(inner_px, EDGE, 5.0, is_closed=True)
    canvas.line(outer_px, EDGE, 5.0, is_closed=True)
    canvas.line(inner_px, FADED_INK, 1.0, is_closed=True)
    canvas.line(outer_px, FADED_INK, 1.0, is_closed=True)
    for dash in _dashes(plan.px(track.center), dash_px=14.0, gap_px=14.0):
        canvas.line(dash, CENTER_DASH, 1.5)


def _draw_line(canvas: _Canvas, plan: _Plan, driven: DrivenLine, low_mps: float, high_mps: float) -> None:
    """Draw every lap, the best one last and broad."""
    points_m = np.column_stack([driven.x_m, driven.y_m]).astype(np.float64)
    if len(points_m) < 2:
        return
    points_px = plan.px(points_m)
    is_driving = np.hypot(*np.diff(points_m, axis=0).T) < LARGEST_STEP_M
    mean_mps = (driven.speed_mps[:-1] + driven.speed_mps[1:]) / 2
    colors = speed_colors(mean_mps, low_mps, high_mps)
    is_best = driven.lap[1:] == driven.best_lap() if driven.laps else np.ones(len(is_driving), dtype=bool)

    background = canvas.image.copy()
    for index in np.flatnonzero(is_driving & ~is_best):
        canvas.line(points_px[index : index + 2], colors[index], 2.5)
    cv2.addWeighted(canvas.image, 0.6, background, 0.4, 0.0, dst=canvas.image)
    for index in np.flatnonzero(is_driving & is_best):
        canvas.line(points_px[index : index + 2], colors[index], 5.0)
    for index in np.flatnonzero(is_driving & driven.off_track[1:]):
        canvas.line(points_px[index : index + 2], OFF_TRACK, 6.0)


def _draw_start(canvas: _Canvas, plan: _Plan, track: TrackLines) -> None:
    """Draw the start line across the track, and an arrow in driving direction beside it."""
    inner_px, outer_px = plan.px(track.inner[:1])[0], plan.px(track.outer[:1])[0]
    canvas.line(np.array([inner_px, outer_px]), INK, 7.0)
    canvas.line(np.array([inner_px, outer_px]), PAGE, 4.0)

    center_px = plan.px(track.center)
    outward = (outer_px - inner_px) / max(float(np.linalg.norm(outer_px - inner_px)), 1e-6)
    ahead = center_px[1] - center_px[0]
    ahead = ahead / max(float(np.linalg.norm(ahead)), 1e-6)
    tail = outer_px + outward * 20.0 + ahead * 8.0
    tip = tail + ahead * 46.0
    canvas.line(np.array([tail, tip - ahead * 8.0]), INK, 3.0)
    barbs = [tip - ahead * 14.0 + outward * 7.0, tip, tip - ahead * 14.0 - outward * 7.0]
    canvas.fill([np.array(barbs)], INK)


def _draw_headings(canvas: _Canvas, driven: DrivenLine) -> None:
    canvas.text(driven.title, (MARGIN_PX, 74.0), 25.0, is_bold=True)
    canvas.text("   ".join(driven.notes), (MARGIN_PX, 110.0), 12.5, FADED_INK)


def _draw_speed_scale(canvas: _Canvas, low_mps: float, high_mps: float) -> None:
    """Draw the colour scale as a horizontal bar with its numbers."""
    top_px, height_px = 172.0, 20.0
    canvas.text("Speed, m/s", (PANEL_LEFT_PX, top_px - 16.0), 12.5, is_bold=True)
    width_px = PANEL_RIGHT_PX - PANEL_LEFT_PX
    steps = int(width_px)
    shades = speed_colors(np.linspace(low_mps, high_mps, steps), low_mps, high_mps)
    for step, color in enumerate(shades):
        left_px = PANEL_LEFT_PX + step
        stripe = np.array([[left_px, top_px], [left_px, top_px + height_px]])
        canvas.line(stripe, color, 1.5)
    marks_mps = np.arange(low_mps, high_mps + 1e-6, _tick_step(high_mps - low_mps))
    for mark_mps in marks_mps:
        x_px = PANEL_LEFT_PX + width_px * (mark_mps - low_mps) / (high_mps - low_mps)
        canvas.line(np.array([[x_px, top_px + height_px], [x_px, top_px + height_px + 6.0]]), INK, 1.0)
        canvas.text(f"{mark_mps:.1f}", (x_px, top_px + height_px + 26.0), 11.0, align="center")


def _draw_lap_table(canvas: _Canvas, driven: DrivenLine) -> None:
    """Draw lap times under the colour scale, the best one bold."""
    columns_px = (PANEL_LEFT_PX + 34.0, PANEL_LEFT_PX + 134.0, PANEL_LEFT_PX + 214.0, PANEL_RIGHT_PX)
    y_px = 272.0
    for x_px, heading in zip(columns_px, ("Lap", "Time, s", "Mean", "Top"), strict=True):
        canvas.text(heading, (x_px, y_px), 12.5, align="right", is_bold=True)
    canvas.line(np.array([[PANEL_LEFT_PX, y_px + 11.0], [PANEL_RIGHT_PX, y_px + 11.0]]), HAIRLINE, 1.5)
    for row in driven.laps[-MOST_TABLE_ROWS:]:
        y_px += 34.0
        cells = (str(row.lap), f"{row.time_s:.3f}", f"{row.mean_mps:.2f}", f"{row.top_mps:.2f}")
        for x_px, cell in zip(columns_px, cells, strict=True):
            canvas.text(cell, (x_px, y_px), 12.5, align="right", is_bold=row.lap == driven.best_lap())
    if not driven.laps:
        canvas.text("no complete lap", (PANEL_LEFT_PX, y_px + 34.0), 12.5, FADED_INK)
    if np.any(driven.off_track):
        y_px += 60.0
        canvas.line(
            np.array([[PANEL_LEFT_PX, y_px - 5.0], [PANEL_LEFT_PX + 34.0, y_px - 5.0]]), OFF_TRACK, 6.0
        )
        canvas.text("off the track", (PANEL_LEFT_PX + 46.0, y_px), 12.5)


def _draw_length_scale(canvas: _Canvas, plan: _Plan) -> None:
    """Draw a bar of one metre."""
    y_px = HEIGHT_PX - 40.0
    right_px = MARGIN_PX + plan.px_per_m
    canvas.line(np.array([[MARGIN_PX, y_px], [right_px, y_px]]), INK, 2.0)
    for x_px in (MARGIN_PX, right_px):
        canvas.line(np.array([[x_px, y_px - 6.0], [x_px, y_px + 6.0]]), INK, 2.0)
    canvas.text("1 m", (right_px + 12.0, y_px + 5.0), 11.0)


def _dashes(points_px: Points, dash_px: float, gap_px: float) -> list[Points]:
    """Return pieces of a closed line, `dash_px` long and `gap_px` apart."""
    closed = np.vstack([points_px, points_px[:1]])
    along_px = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(closed, axis=0).T))])
    starts_px = np.arange(0.0, along_px[-1] - dash_px, dash_px + gap_px)
    stops = [np.linspace(start_px, start_px + dash_px, 4) for start_px in starts_px]
    return [
        np.column_stack([np.interp(stop, along_px, closed[:, axis]) for axis in (0, 1)]) for stop in stops
    ]


def _tick_step(span_mps: float) -> float:
    """Return a round distance between marks that gives at most seven of them."""
    return next(step for step in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 1e9) if span_mps / step <= 6.0)
