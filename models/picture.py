"""A camera's picture to one in the network's size and colour, as its training's own resize and gray make it.

DeepRacer's training shrinks 640 x 480 in colour with a filter that averages (each new pixel is a triangle
of old ones, two new pixels wide), then turns to gray and cuts off the fraction. Here gray comes first, a
third of the work, and the triangle comes in three of OpenCV's fast steps: average down to twice the size,
blur by 1-2-1, average down by half; together they weigh eight neighbours 1-1-3-3-3-3-1-1 where training
has 1-3-5-7-7-5-3-1 (both by their sum). Rounding instead of cutting off leaves a picture about half a grey
level, of 255, brighter than training's. `lapwing train` averages over blocks, which is OpenCV's INTER_AREA.
A picture that already has the network's size is only turned to gray.
"""

import enum
from functools import lru_cache

import cv2
import msgspec
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]

CROP_SUM_MAX = 0.9  # of a side; what is left must still show a road
MASK_MAX = 0.9


class Resize(enum.StrEnum):
    """How a training made its pictures small."""

    AREA = "area"  # the mean of the block of pixels that one new pixel covers
    TRIANGLE = "triangle"  # DeepRacer's: PIL's bilinear, which averages over two new pixels


class CameraOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How this car's camera is mounted, or what of its picture a policy shall not see."""

    rotate_180: bool = False
    """The camera hangs upside down; crop and mask mean the picture turned upright."""
    crop: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    """Shares of the picture cut off: top, bottom, left, right."""
    mask_above: float = 0.0
    """Share of what is left, from its top, that is made black: what lies above the horizon."""

    def __post_init__(self) -> None:
        for name, share in zip(("top", "bottom", "left", "right"), self.crop, strict=True):
            if not 0.0 <= share <= CROP_SUM_MAX:  # NaN fails too
                raise ValueError(f"crop {name} is {share:g}, allowed are 0 to {CROP_SUM_MAX:g}")
        for names, total in (("top and bottom", sum(self.crop[:2])), ("left and right", sum(self.crop[2:]))):
            if total > CROP_SUM_MAX:
                raise ValueError(
                    f"crop {names} are {total:g} together, allowed are up to {CROP_SUM_MAX:g}; "
                    "leave the policy more of the picture"
                )
        if not 0.0 <= self.mask_above <= MASK_MAX:
            raise ValueError(f"mask_above is {self.mask_above:g}, allowed are 0 to {MASK_MAX:g}")

    def needed_px(self, size_px: tuple[int, int]) -> tuple[int, int]:
        """Return the width and height of a picture of which `size_px` remain after the crop."""
        top, bottom, left, right = self.crop
        width_px, height_px = size_px
        return round(width_px / (1.0 - left - right)), round(height_px / (1.0 - top - bottom))


NO_CAMERA_OPTIONS = CameraOptions()


def gray_picture(
    image: Image,
    size_px: tuple[int, int],
    resize: Resize = Resize.AREA,
    options: CameraOptions = NO_CAMERA_OPTIONS,
) -> Image:
    """Return a BGR picture as `size_px` (width, height) grey levels, in memory of its own."""
    picture = cv2.cvtColor(_cropped(image, options), cv2.COLOR_BGR2GRAY)
    return _upright_masked(resized(picture, size_px, resize), options)  # type: ignore[arg-type]


def rgb_picture(
    image: Image,
    size_px: tuple[int, int],
    resize: Resize = Resize.AREA,
    options: CameraOptions = NO_CAMERA_OPTIONS,
) -> Image:
    """Return a BGR picture as `size_px` (width, height) pixels of red, green and blue, as gray_picture."""
    picture = cv2.cvtColor(resized(_cropped(image, options), size_px, resize), cv2.COLOR_BGR2RGB)
    return _upright_masked(picture, options)  # type: ignore[arg-type]


def checked_picture(image: Image) -> None:
    """Raise ValueError for what is not a BGR picture."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(
            f"a picture has shape {image.shape} and type {image.dtype}, not height x width x 3 of uint8"
        )


def resized(picture: Image, size_px: tuple[int, int], resize: Resize = Resize.AREA) -> Image:
    """Return the picture in another size (width, height): averaged where it shrinks, the same if it fits."""
    found_px = picture.shape[1::-1]
    if found_px == size_px:
        return picture
    smaller_px = (min(found_px[0], size_px[0]), min(found_px[1], size_px[1]))
    if smaller_px != size_px:
        # OpenCV's averaging averages neither side where one of them grows; so shrink first, then grow.
        shrunk = resized(picture, smaller_px, resize)
        return cv2.resize(shrunk, size_px, interpolation=cv2.INTER_LINEAR)  # type: ignore[return-value]
    if resize is Resize.TRIANGLE:
        picture = _widened(picture, size_px)
    return cv2.resize(picture, size_px, interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


def _widened(picture: Image, size_px: tuple[int, int]) -> Image:
    """Return the picture such that a block's mean of it is a triangle's of the original.

    A triangle is the mean over a block of the mean over a block; `resized` takes the other one.
    """
    found_px = picture.shape[1::-1]
    # Whole steps first, down to two or three times the size: a blur is the cheaper the smaller the picture.
    part_px = tuple(
        round(found / max(1, found // (2 * wanted))) for found, wanted in zip(found_px, size_px, strict=True)
    )
    if part_px != found_px:
        picture = cv2.resize(picture, part_px, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    block_x, block_y = (part / wanted for part, wanted in zip(part_px, size_px, strict=True))
    if block_x == block_y == 2.0:  # the same as below, and faster
        return cv2.GaussianBlur(picture, (3, 3), 0, borderType=cv2.BORDER_REPLICATE)  # type: ignore[return-value]
    return cv2.sepFilter2D(  # type: ignore[return-value]
        picture, -1, _block_taps(block_x), _block_taps(block_y), borderType=cv2.BORDER_REPLICATE
    )


@lru_cache(maxsize=16)
def _block_taps(width_px: float) -> npt.NDArray[np.float64]:
    """Return the weights of 5 neighbouring pixels in a block around the middle one.

    Below two pixels the blocks that follow do not lie on whole pixels, and widen a little by themselves.
    """
    if width_px < 2.0:
        width_px = 1.0 / (1.0 - (width_px - 1.0) / 2.0)
    distances = np.abs(np.arange(-2, 3))
    return np.clip(width_px / 2.0 - (distances - 0.5), 0.0, 1.0) / width_px


def _cropped(image: Image, options: CameraOptions) -> Image:
    if options.crop == NO_CAMERA_OPTIONS.crop:
        return image
    top, bottom, left, right = options.crop
    if options.rotate_180:  # the picture is turned last, when it is small
        top, bottom, left, right = bottom, top, right, left
    height_px, width_px = image.shape[:2]
    begin_y, begin_x = round(top * height_px), round(left * width_px)
    end_y = max(begin_y + 1, height_px - round(bottom * height_px))
    end_x = max(begin_x + 1, width_px - round(right * width_px))
    return image[begin_y:end_y, begin_x:end_x]


def _upright_masked(picture: Image, options: CameraOptions) -> Image:
    if options.rotate_180:
        picture = cv2.rotate(picture, cv2.ROTATE_180)  # type: ignore[assignment]
    if options.mask_above > 0.0:
        picture[: round(options.mask_above * picture.shape[0])] = 0
    return picture
