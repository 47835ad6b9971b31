"""An action space drawn: speed over steering, left on the left, in a terminal or as a picture."""

import math
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from models.check_report import ActionSpaceShape, PlottedAction
from models.errors import PolicyError

COLUMNS, ROWS = 49, 12  # of a terminal's plot; odd, so that straight ahead has a column of its own
PICTURE_PX = (640, 400)
MARGINS_PX = (60, 20, 20, 50)  # left, right, top, bottom
INK, PALE, PAPER, BLUE = (40, 40, 40), (220, 220, 220), (255, 255, 255), (190, 110, 20)
MANY = 9  # actions on one place beyond which their number is a plus

Image = npt.NDArray[np.uint8]


def draw_in_text(shape: ActionSpaceShape) -> str:
    """Return the plot as lines of text: a dot an action, a number where several meet, a box for a range."""
    axes = _Axes(shape)
    cells = [[" "] * COLUMNS for _ in range(ROWS)]
    for row in range(ROWS):
        cells[row][COLUMNS // 2] = "┊"
    if shape.type == "continuous":
        low, high = (axes.place(point, COLUMNS, ROWS) for point in shape.points)
        for row in range(high[1], low[1] + 1):
            for column in range(high[0], low[0] + 1):
                cells[row][column] = "▒"
    else:
        met: dict[tuple[int, int], int] = {}
        for point in shape.points:
            column, row = axes.place(point, COLUMNS, ROWS)
            met[column, row] = met.get((column, row), 0) + 1
        for (column, row), count in met.items():
            cells[row][column] = "●" if count == 1 else str(count) if count <= MANY else "+"
    lines = []
    for row, line in enumerate(cells):
        speed_mps = axes.speed_high_mps - row / (ROWS - 1) * (axes.speed_high_mps - axes.speed_low_mps)
        scale = f"{speed_mps:5.1f} ┤" if row in {0, ROWS // 2, ROWS - 1} else "      │"
        lines.append(scale + "".join(line).rstrip())
    left, right = f"{axes.steering_max_deg:+.0f}°", f"{-axes.steering_max_deg:+.0f}°"
    lines.append("      └" + "─" * COLUMNS)
    lines.append("       " + left + "0°".center(COLUMNS - len(left) - len(right)) + right)
    lines.append("       " + "m/s over steering; left is +".center(COLUMNS).rstrip())
    return "\n".join(line.rstrip() for line in lines)


def draw_picture(shape: ActionSpaceShape) -> Image:
    """Return the plot as a picture: height x width x 3, BGR."""
    width_px, height_px = PICTURE_PX
    left_px, right_px, top_px, bottom_px = MARGINS_PX
    inner_px = (width_px - left_px - right_px, height_px - top_px - bottom_px)
    axes = _Axes(shape)
    image: Image = np.full((height_px, width_px, 3), PAPER, np.uint8)

    def place(point: PlottedAction) -> tuple[int, int]:
        column, row = axes.place(point, *inner_px)
        return left_px + column, top_px + row

    for share in (-1.0, -0.5, 0.0, 0.5, 1.0):
        steering_deg = share * axes.steering_max_deg
        x_px, bottom = place(PlottedAction(steering_deg, axes.speed_low_mps))
        cv2.line(image, (x_px, top_px), (x_px, bottom), INK if share == 0 else PALE, 1)
        _write(image, f"{steering_deg:+.0f}", (x_px, bottom + 18))
    for share in (0.0, 0.5, 1.0):
        speed_mps = axes.speed_low_mps + share * (axes.speed_high_mps - axes.speed_low_mps)
        _, y_px = place(PlottedAction(0.0, speed_mps))
        cv2.line(image, (left_px, y_px), (width_px - right_px, y_px), PALE, 1)
        _write(image, f"{speed_mps:.1f}", (left_px - 26, y_px + 4))
    _write(image, "steering in degrees, left is +; speed in m/s", (width_px // 2, height_px - 10))
    if shape.type == "continuous":
        low, high = (place(point) for point in shape.points)
        cv2.rectangle(image, low, high, BLUE, -1)
    else:
        for point in shape.points:
            cv2.circle(image, place(point), 6, BLUE, -1, cv2.LINE_AA)
            cv2.circle(image, place(point), 6, PAPER, 1, cv2.LINE_AA)
    return image


def write_picture(shape: ActionSpaceShape, out: Path) -> None:
    """Write the plot as a PNG file; raises PolicyError."""
    _, encoded = cv2.imencode(".png", draw_picture(shape))
    try:
        out.write_bytes(encoded.tobytes())
    except OSError as error:
        raise PolicyError(f"{out} could not be written ({error.strerror}); choose another file") from error


class _Axes:
    """How far the plot reaches: both ways alike in steering, from zero or below to the fastest."""

    def __init__(self, shape: ActionSpaceShape) -> None:
        steering = [abs(point.steering_deg) for point in shape.points]
        speeds = [point.speed_mps for point in shape.points]
        self.steering_max_deg = max([*steering, 1.0])
        self.speed_low_mps = min([*speeds, 0.0])
        self.speed_high_mps = max([*speeds, self.speed_low_mps + 0.1])

    def place(self, point: PlottedAction, columns: int, rows: int) -> tuple[int, int]:
        """Return column and row of a point, from the upper left; positive steering is left."""
        across = (1.0 - point.steering_deg / self.steering_max_deg) / 2.0
        up = (point.speed_mps - self.speed_low_mps) / (self.speed_high_mps - self.speed_low_mps)
        return math.floor(across * (columns - 1) + 0.5), math.floor((1.0 - up) * (rows - 1) + 0.5)


def _write(image: Image, text: str, middle_px: tuple[int, int]) -> None:
    (width_px, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.42, 1)
    start = (middle_px[0] - width_px // 2, middle_px[1])
    cv2.putText(image, text, start, cv2.FONT_HERSHEY_SIMPLEX, 0.42, INK, 1, cv2.LINE_AA)
