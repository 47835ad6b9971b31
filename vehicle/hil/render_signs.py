"""A printed sheet in a camera's picture: an upright page seen through the same lens as floor and boxes."""

import cv2
import numpy as np
import numpy.typing as npt

from vehicle.hil.lens import NEAR_M, Floats, Projection, from_pose
from vehicle.hil.scenery import Image
from vehicle.hil.things import Sign

SUPERSAMPLING = 3  # so that edges of cells are soft, as a lens and a sensor make them


def edges(sign: Sign) -> Floats:
    """Return the ends of the lower edge, 2 x 2 in m: left first, as seen from the front."""
    along = np.array([np.sin(sign.yaw_rad), -np.cos(sign.yaw_rad)]) * sign.width_m / 2
    middle = np.array([sign.x_m, sign.y_m])
    return np.array([middle + along, middle - along])


def draw_sign(image: Image, sign: Sign, pose: tuple[float, float, float], projection: Projection) -> None:
    """Draw the sheet into the picture; one that reaches behind the lens is out of its sight anyway."""
    (left, right), up = edges(sign), sign.height_m
    corners = np.array([[*left, up], [*right, up], [*right, 0.0], [*left, 0.0]])
    seen = projection.from_camera(from_pose(corners, pose))
    if (seen[:, 0] < NEAR_M).any():
        return
    pixels = projection.pixels(seen)
    height, width = image.shape[:2]
    first = np.maximum(np.floor(pixels.min(axis=0)).astype(int) - 1, 0)
    last = np.minimum(np.ceil(pixels.max(axis=0)).astype(int) + 2, (width, height))
    if (last <= first).any():
        return

    face = _face(sign, seen, float(np.ptp(pixels[:, 1])))
    rows, columns = face.shape
    on_sheet = np.array([[0, 0], [columns, 0], [columns, rows], [0, rows]]) - 0.5
    fine = (pixels - first + 0.5) * SUPERSAMPLING - 0.5
    to_patch = np.asarray(
        cv2.getPerspectiveTransform(on_sheet.astype(np.float32), fine.astype(np.float32)), dtype=np.float64
    )
    size = last - first
    inked = _warped(face, to_patch, size)
    cover = _warped(np.full_like(face, 255), to_patch, size)
    _lay_over(image[first[1] : last[1], first[0] : last[0]], inked, cover)


def _face(sign: Sign, seen: Floats, height_px: float) -> Image:
    """Return what the lens sees of the sheet, about as fine as it will be drawn."""
    if not _looks_here(seen):
        return np.full((8, 8), sign.back_level, dtype=np.uint8)
    rows, columns = sign.face.shape
    scale = min(1.0, SUPERSAMPLING * max(height_px, 4.0) / rows)
    size = (max(1, round(columns * scale)), max(1, round(rows * scale)))
    return np.asarray(cv2.resize(sign.face, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _looks_here(seen: Floats) -> bool:
    across, down = seen[1] - seen[0], seen[3] - seen[0]
    return float(np.cross(across, down) @ seen[0]) > 0.0


def _warped(face: Image, to_patch: npt.NDArray[np.float64], size: npt.NDArray[np.int64]) -> Image:
    """Return the face as it lies in the patch; nothing of it where the patch shows something else."""
    fine_size = (int(size[0]) * SUPERSAMPLING, int(size[1]) * SUPERSAMPLING)
    fine = cv2.warpPerspective(face, to_patch, fine_size)
    small = cv2.resize(fine, (int(size[0]), int(size[1])), interpolation=cv2.INTER_AREA)
    return np.asarray(small, dtype=np.uint8)


def _lay_over(patch: Image, inked: Image, cover: Image) -> None:
    if patch.ndim == 3:
        inked, cover = (cv2.merge([one, one, one]) for one in (inked, cover))  # type: ignore[assignment]
    left = cv2.multiply(patch, cv2.bitwise_not(cover), scale=1 / 255)
    cv2.add(left, inked, dst=patch)
