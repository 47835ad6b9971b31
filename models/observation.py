"""What the car senses to a network's inputs, exactly as in training.

A camera's input, batch of one:

    index  meaning                                unit          min  max
    0      batch, always 1
    h, w   rows from the top, columns from the left
    c      gray level (or R, G, B) of each picture of the stack, oldest first;
           of a stereo pair the left eye, then the right
    value  brightness                             grey levels   0    255, or 0..1 of it

A LIDAR's input is one row of numbers, which `models.lidar` describes. Driving and training call this
same code.
"""

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from models.errors import SenseMissingError
from models.lidar import Scan, lidar_values
from models.lidar_config import LidarConfig
from models.metadata_fields import Color, Layout, ValueRange
from models.picture import (
    NO_CAMERA_OPTIONS,
    CameraOptions,
    Image,
    Resize,
    checked_picture,
    gray_picture,
    rgb_picture,
)
from models.sensors import Sensor

__all__ = [
    "INPUT_TYPES",
    "NO_CAMERA_OPTIONS",
    "CameraInput",
    "CameraObserver",
    "CameraOptions",
    "LidarInput",
    "ObservationFormat",
    "Observer",
    "PolicyInput",
    "Resize",
    "Scan",
    "Sight",
]

INPUT_TYPES = ("float32", "float16", "uint8")


class Sight(NamedTuple):
    """What the car senses at one moment, as its sensors give it."""

    image: Image
    """The front camera's picture, BGR; of a stereo pair the left eye's."""
    right_image: Image | None = None
    """The right eye's."""
    scan: Scan | None = None


class ObservationFormat(msgspec.Struct, frozen=True, kw_only=True):
    """What one network's image input looks like."""

    height_px: int = 120
    width_px: int = 160
    color: Color = Color.GRAY
    frame_stack: int = 1
    eyes: int = 1
    """Cameras in one picture: 2 of a stereo pair, which is gray."""
    layout: Layout = Layout.NHWC
    range: ValueRange = ValueRange.BYTE
    dtype: str = "float32"
    """One of INPUT_TYPES; `uint8` takes the range 0..255 only."""
    resize: Resize = Resize.AREA
    """As the network's training made its pictures small."""

    def __post_init__(self) -> None:
        if self.dtype not in INPUT_TYPES:
            raise ValueError(f"dtype is {self.dtype}, allowed are {', '.join(INPUT_TYPES)}")
        if self.dtype == "uint8" and self.range is ValueRange.UNIT:
            raise ValueError("an input of uint8 cannot have the range 0..1")
        if self.eyes not in (1, 2) or (self.eyes == 2 and self.color is Color.RGB):
            raise ValueError(f"a {self.color} picture of {self.eyes} eyes; allowed are 1, and 2 of gray")

    @property
    def channels(self) -> int:
        """Length of the channel axis."""
        return self.frame_stack * self.eyes * (3 if self.color is Color.RGB else 1)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of the network's input, batch of one."""
        if self.layout is Layout.NHWC:
            return (1, self.height_px, self.width_px, self.channels)
        return (1, self.channels, self.height_px, self.width_px)


class CameraInput(msgspec.Struct, frozen=True, kw_only=True):
    """One input of the network that takes pictures."""

    name: str
    """As the graph has it."""
    sensor: Sensor
    format: ObservationFormat


class LidarInput(msgspec.Struct, frozen=True, kw_only=True):
    """One input of the network that takes a LIDAR's numbers."""

    name: str
    """As the graph has it."""
    sensor: Sensor
    config: LidarConfig
    dtype: str = "float32"

    @property
    def shape(self) -> tuple[int, int]:
        """Of the network's input, batch of one."""
        return (1, self.config.input_size)


PolicyInput: TypeAlias = CameraInput | LidarInput


class Observer:
    """Turns what the car senses into a network's inputs; for one thread."""

    def __init__(self, inputs: Sequence[PolicyInput], options: CameraOptions = NO_CAMERA_OPTIONS) -> None:
        self._cameras = tuple(
            (part, CameraObserver(part.format, options)) for part in inputs if isinstance(part, CameraInput)
        )
        self._lidars = tuple(part for part in inputs if isinstance(part, LidarInput))

    def reset(self) -> None:
        """Forget earlier pictures; the next one fills the whole stack."""
        for _, observer in self._cameras:
            observer.reset()

    def observe(self, sight: Sight) -> dict[str, npt.NDArray[np.generic]]:
        """Return each input's array by its name; no later call changes them.

        Raises SenseMissingError where the sight lacks what the network takes, and ValueError for what
        is no picture.
        """
        values = {part.name: observer.observe(*sight[:2]) for part, observer in self._cameras}
        for part in self._lidars:
            if sight.scan is None:
                raise SenseMissingError(f"the policy takes {part.sensor} and there is no scan of a LIDAR")
            numbers = lidar_values(sight.scan, part.config)
            values[part.name] = numbers.astype(part.dtype, copy=False)[np.newaxis]
        return values


class CameraObserver:
    """Turns pictures into one input; remembers the last few where the network wants a stack."""

    def __init__(
        self,
        format: ObservationFormat = ObservationFormat(),  # noqa: A002, B008 - the field's own name; frozen
        options: CameraOptions = NO_CAMERA_OPTIONS,
    ) -> None:
        self.format = format
        self.options = options
        self._stack: deque[Image] = deque(maxlen=format.frame_stack)

    def reset(self) -> None:
        """Forget earlier pictures; the next one fills the whole stack."""
        self._stack.clear()

    def observe(self, image: Image, right_image: Image | None = None) -> npt.NDArray[np.generic]:
        """Return the input for a BGR picture of any size, or for one of each eye; raises as Observer."""
        picture = self._one_or_both(image, right_image)
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

    def shrink(self, image: Image) -> Image:
        """Return one camera's picture in the network's size and colour: h x w x (1 or 3), 0..255."""
        checked_picture(image)
        size_px = (self.format.width_px, self.format.height_px)
        if self.format.color is Color.RGB:
            return rgb_picture(image, size_px, self.format.resize, self.options)
        return gray_picture(image, size_px, self.format.resize, self.options)[:, :, np.newaxis]

    def _one_or_both(self, image: Image, right_image: Image | None) -> Image:
        if self.format.eyes == 1:
            return self.shrink(image)
        if right_image is None:
            raise SenseMissingError("the policy looks with two cameras and the right one has no picture")
        return np.concatenate((self.shrink(image), self.shrink(right_image)), axis=2)
