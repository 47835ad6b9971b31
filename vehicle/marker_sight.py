"""Sees the start marker in a camera's picture, and how far away its line is: picture in, sighting out.

The marker stands upright, so that each of its two upright edges gives a point on the floor by its height
in the picture alone. The two points give the plane in which the sheet stands; the car's distance from it
does not depend on where on the track the car is, nor on where it heads.
"""

import math

import cv2
import msgspec
import numpy as np
import numpy.typing as npt

from vehicle.laps import Sighting
from vehicle.start_marker import DICTIONARY, MARKER_ID, MARKER_MM

Gray = npt.NDArray[np.uint8]
Points = npt.NDArray[np.float64]

SIDE_M = MARKER_MM / 1000
REDUCED_LEAST_PX = 20.0  # of the marker's side in a picture of half the size, still readable
ASIDE_M = 0.95  # a marker so far beside the car is still in view at the line
LINE_NEAREST_M, LINE_FARTHEST_M = 0.5, 2.0
SEEN_FROM_M = 1.5  # beyond the line, so that a fast car is seen in several pictures
WIDTH_LEAST, WIDTH_MOST = 0.5, 1.6  # of its true width, as measured: what is not the sheet has another shape
EYE_LEAST_M, EYE_MOST_M = 0.03, 0.40  # a camera this high above the marker's lower edge, or it is no marker
EDGE_SHARES = np.linspace(0.12, 0.88, 14)  # of an edge's length, where it is looked for
REFINE_SHARE = 1 / 9  # of the side: less than the black frame and the white margin are wide
REFINE_LEAST_PX, REFINE_MOST_PX = 3.0, 9.0


class CameraView(msgspec.Struct, frozen=True):
    """What the sight must know of a camera. An error shifts the line a little, the same in every lap."""

    field_rad: float = 1.13
    """Across the width of the picture."""
    pitch_rad: float = 0.2618
    """Downwards."""
    upside_down: bool = False

    def focal_px(self, width_px: int) -> float:
        """Return the focal length in pixels of a picture this wide."""
        return width_px / 2 / math.tan(self.field_rad / 2)

    @property
    def line_m(self) -> float:
        """How far before the marker's plane the line lies: near, where the marker is large, and in view."""
        in_view_m = ASIDE_M / math.tan(self.field_rad / 2)
        return min(max(in_view_m, LINE_NEAREST_M), LINE_FARTHEST_M)


class MarkerSight:
    """Looks for the marker in JPEG pictures of one camera. Not thread-safe."""

    def __init__(self, view: CameraView) -> None:
        self._view = view
        dictionary = cv2.aruco.getPredefinedDictionary(DICTIONARY)
        self._detector = cv2.aruco.ArucoDetector(dictionary, cv2.aruco.DetectorParameters())
        self._halves = False  # pictures as they come; from the first on, as their size allows

    def look(self, stamp_ns: int, jpeg: bytes) -> Sighting | None:
        """Return the marker where there is one that a car on the floor can have before it.

        It is found in a picture of half the size, where that is enough, and measured in the whole one.
        """
        data = np.frombuffer(jpeg, np.uint8)
        flag = cv2.IMREAD_REDUCED_GRAYSCALE_2 if self._halves else cv2.IMREAD_GRAYSCALE
        gray = _decoded(data, flag)
        if gray is None:
            return None
        scale = 2 if self._halves else 1
        width_px = gray.shape[1] * scale
        self._halves = self._may_halve(width_px)
        corners = self._corners(gray)
        if corners is None:
            return None
        if scale > 1:
            gray = _decoded(data, cv2.IMREAD_GRAYSCALE)
            if gray is None:
                return None
            corners = (corners + 0.5) * scale - 0.5
        return self._measured(stamp_ns, gray, _refined(gray, corners))

    def _may_halve(self, width_px: int) -> bool:
        seen_from_m = self._view.line_m + SEEN_FROM_M
        return self._view.focal_px(width_px) / 2 * SIDE_M / seen_from_m >= REDUCED_LEAST_PX / 2

    def _corners(self, gray: Gray) -> Points | None:
        """Return the marker's corners, upper left first and clockwise; the nearest where there are two."""
        if self._view.upside_down:
            gray = np.ascontiguousarray(gray[::-1, ::-1])
        found, ids, _ = self._detector.detectMarkers(gray)
        numbers = () if ids is None else np.ravel(ids)
        ours = [quad[0] for quad, one in zip(found, numbers, strict=True) if one == MARKER_ID]
        if not ours:
            return None
        corners = np.asarray(max(ours, key=cv2.contourArea), dtype=np.float64)
        if self._view.upside_down:
            corners = np.array([gray.shape[1] - 1, gray.shape[0] - 1]) - corners
        return corners

    def _measured(self, stamp_ns: int, gray: Gray, corners: Points) -> Sighting | None:
        height_px, width_px = gray.shape
        middle = np.array([width_px - 1, height_px - 1]) / 2
        right, up = ((corners - middle) / self._view.focal_px(width_px) * np.array([1.0, -1.0])).T
        if self._view.upside_down:
            right, up = -right, -up
        pitch = self._view.pitch_rad
        ahead = math.cos(pitch) + up * math.sin(pitch)
        left = -right / ahead
        up = (up * math.cos(pitch) - math.sin(pitch)) / ahead
        edges = np.array([up[0] - up[3], up[1] - up[2]])
        if (ahead <= 0).any() or (edges <= 0).any():
            return None  # upside down, or on its side: not standing on this floor
        ahead_m = SIDE_M / edges
        left_m = ahead_m * np.array([left[0] + left[3], left[1] + left[2]]) / 2
        eye_m = -float(up[2] * ahead_m[1] + up[3] * ahead_m[0]) / 2
        width_share = math.hypot(ahead_m[1] - ahead_m[0], left_m[1] - left_m[0]) / SIDE_M
        if not (WIDTH_LEAST < width_share < WIDTH_MOST and EYE_LEAST_M < eye_m < EYE_MOST_M):
            return None
        plane_m = float(ahead_m[1] * left_m[0] - ahead_m[0] * left_m[1]) / SIDE_M
        side_px = float(np.linalg.norm(corners - np.roll(corners, 1, axis=0), axis=1).mean())
        return Sighting(stamp_ns, plane_m - self._view.line_m, float(left_m.mean()), side_px)


def _decoded(data: npt.NDArray[np.uint8], flag: int) -> Gray | None:
    try:
        image = cv2.imdecode(data, flag | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        return None
    return None if image is None else np.asarray(image, dtype=np.uint8)


def _refined(gray: Gray, corners: Points) -> Points:
    """Return the corners to a fraction of a pixel: where straight lines along the four edges meet.

    Each edge is looked for across its direction at several places: unlike the corners alone that holds
    in blur and noise.
    """
    following = np.roll(corners, -1, axis=0)
    along = following - corners
    side_px = float(np.linalg.norm(along, axis=1).mean())
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    outward = np.stack([along[:, 1], -along[:, 0]], axis=1)  # corners run clockwise on the screen
    reach_px = min(max(side_px * REFINE_SHARE, REFINE_LEAST_PX), REFINE_MOST_PX)
    across_px = np.linspace(-reach_px, reach_px, 4 * math.ceil(reach_px) + 1)
    middles = corners[:, None] + EDGE_SHARES[None, :, None] * (following - corners)[:, None]
    places = middles[:, :, None] + across_px[None, None, :, None] * outward[:, None, None, :]
    flat = places.reshape(4 * len(EDGE_SHARES), len(across_px), 2).astype(np.float32)
    levels = cv2.remap(gray, flat, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]
    steps = np.diff(np.asarray(levels, dtype=np.float64), axis=1).clip(0.0).reshape(4, len(EDGE_SHARES), -1)
    weights = steps**2  # from black to white, outwards; the steepest counts most
    step_px = (across_px[1:] + across_px[:-1]) / 2
    off_px = (weights @ step_px) / np.maximum(weights.sum(axis=2), 1e-9)
    lines = [_line(middles[side] + off_px[side][:, None] * outward[side], off_px[side]) for side in range(4)]
    return np.array([_meeting(lines[side - 1], lines[side]) for side in range(4)])


def _line(points: Points, off_px: Points) -> tuple[Points, Points]:
    """Return a point of the straight line through an edge's points, and its direction; strays left out."""
    stray_px = np.abs(off_px - np.median(off_px))
    kept = points[stray_px <= max(1.0, 3 * float(np.median(stray_px)))]
    x, y, at_x, at_y = (
        float(part) for part in cv2.fitLine(kept.astype(np.float32), cv2.DIST_L2, 0, 0.01, 0.01).ravel()
    )
    return np.array([at_x, at_y]), np.array([x, y])


def _meeting(one: tuple[Points, Points], other: tuple[Points, Points]) -> Points:
    """Return where two lines meet; far away where they hardly do."""
    (at, along), (other_at, other_along) = one, other
    slant = along[0] * other_along[1] - along[1] * other_along[0]
    between = other_at - at
    share = (between[0] * other_along[1] - between[1] * other_along[0]) / (slant or 1e-9)
    return np.asarray(at + share * along)
