"""The printed start marker: what stands on the page, in millimetres, for the printer and for the HIL world.

An ArUco marker of 4 x 4 cells inside a black frame one cell wide. The page stands upright on the floor
beside the track and faces the cars that come.
"""

from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

DICTIONARY = cv2.aruco.DICT_4X4_50  # few large cells
MARKER_ID = 17  # one white block of 2 x 2 cells: of all fifty it is read through the strongest blur
CELLS = 6  # along a side, the black frame included
MARKER_MM = 168.0  # the black square; as large as leaves both papers a white margin
FOOT_MM = 30.0  # from the floor to the black square: its middle is about as high as the camera


class Paper(NamedTuple):
    """A sheet, upright."""

    width_mm: float
    height_mm: float


PAPERS = {"a4": Paper(210.0, 297.0), "letter": Paper(215.9, 279.4)}


def black_cells() -> npt.NDArray[np.bool_]:
    """Return which cells are black, row by row from the top, the frame included."""
    dictionary = cv2.aruco.getPredefinedDictionary(DICTIONARY)
    image = cv2.aruco.generateImageMarker(dictionary, MARKER_ID, CELLS, None, 1)
    return np.asarray(np.asarray(image) == 0, dtype=np.bool_)


def sheet_image(paper: Paper, px_per_mm: float, ink: int, white: int) -> npt.NDArray[np.uint8]:
    """Return the sheet as a gray picture, without its words."""
    height, width = round(paper.height_mm * px_per_mm), round(paper.width_mm * px_per_mm)
    sheet = np.full((height, width), white, dtype=np.uint8)
    side = round(MARKER_MM * px_per_mm)
    cells = cv2.resize(black_cells().astype(np.uint8), (side, side), interpolation=cv2.INTER_NEAREST)
    left = round((paper.width_mm - MARKER_MM) / 2 * px_per_mm)
    top = height - round((FOOT_MM + MARKER_MM) * px_per_mm)
    sheet[top : top + side, left : left + side][np.asarray(cells) == 1] = ink
    return sheet
