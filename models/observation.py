"""Camera picture to network input, exactly as in training.

    index  meaning                                unit          min  max
    0      batch, always 1
    h, w   rows from the top, columns from the left
    c      gray level (or R, G, B) of each picture of the stack, oldest first
    value  brightness                             grey levels   0    255, or 0..1 of it

Gray comes first, then the resize: one channel instead of three goes through the resize, a third less
time from 640x480, and one rounding instead of three; the other order differs by at most one grey level.
A picture that already has the network's size (training renders at 160x120) is only turned to gray, so
there the two orders agree to the bit. INTER_AREA averages what it shrinks, as training's own resize does;
nothing is cropped. Driving and training call this same code.
"""

from collections import deque

import cv2
import msgspec
import numpy as np
import numpy.typing as npt

from models.metadata import Color, Layout, ValueRange

INPUT_TYPES = ("float32", "float16", "uint8")


class ObservationFormat(msgspec.Struct, frozen=True, kw_only=True):
    """What one network's image input looks like."""

    height_px: int = 120
    width_px: int = 160
    color: Color = Color.GRAY
    frame_stack: int = 1
    layout: Layout = Layout.NHWC
    range: ValueRange = ValueRange.BYTE
    dtype: str = "float32"
    """One of INPUT_TYPES; `uint8` takes the range 0..255 only."""

    def __post_init__(self) -> None:
        if self.dtype not in INPUT_TYPES:
            raise ValueError(f"dtype is {self.dtype}, allowed are {', '.join(INPUT_TYPES)}")
        if self.dtype == "uint8" and self.range is ValueRange.UNIT:
            raise ValueError("an input of uint8 cannot have the range 0..1")

    @property
    def channels(self) -> int:
        """Length of the channel axis."""
        return self.frame_stack * (3 if self.color is Color.RGB else 1)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of the network's input, batch of one."""
        if self.layout is Layout.NHWC:
            return (1, self.height_px, self.width_px, self.channels)
        return (1, self.channels, self.height_px, self.width_px)


class Observer:
    """Turns pictures into one network's input; remembers the last few where the network wants a stack."""

    def __init__(self, format: ObservationFormat) -> None:  # noqa: A002 - the field's own name
        self.format = format
        self._stack: deque[npt.NDArray[np.uint8]] = deque(maxlen=format.frame_stack)

    def reset(self) -> None:
        """Forget earlier pictures; the next one fills the whole stack."""
        self._stack.clear()

    def observe(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.generic]:
        """Return the network's input for a BGR picture of any size; no later call changes it."""
        picture = self.shrink(image)
        self._stack.append(picture)
        while len(self._stack) < self.format.frame_stack:
            self._stack.append(picture)
        stacked = self._stack[0] if len(self._stack) == 1 else np.concatenate(self._stack, axis=2)
        if self.format.layout is Layout.NCHW:
            stacked = stacked.transpose(2, 0, 1)
        values = np.ascontiguousarray(stacked[np.newaxis], dtype=self.format.dtype)
        if self.format.range is ValueRange.UNIT:
            values /= np.asarray(255, dtype=self.format.dtype)
        return values

    def shrink(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Return one picture in the network's size and colour: height x width x (1 or 3), 0..255."""
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ValueError(
                f"a picture has shape {image.shape} and type {image.dtype}, not height x width x 3 of uint8"
            )
        size = (self.format.width_px, self.format.height_px)
        gray = self.format.color is Color.GRAY
        picture = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) if gray else image
        if picture.shape[1::-1] != size:
            picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        if gray:
            return picture[:, :, np.newaxis]  # type: ignore[return-value]
        return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)  # type: ignore[return-value]
