"""Judges what a sensor shows while a policy drives by it: pictures that freeze, a lens that is covered."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from vehicle.lidar_source import TimedScan
from vehicle.messages import Fault, Frame

JPEG_START = b"\xff\xd8"
FROZEN_FRAMES = 5  # a sensor's noise makes two equal pictures a rarity, five in a row a fault
COVERED_FRAMES = 5
COVERED_CONTRAST = 1.2  # grey levels between patches; a lens cap gives the noise's share, below 1
FROZEN_SCANS = 3  # a tenth of a second each; two turns of a working LIDAR never measure all the same
BLIND_SCANS = 3

Decoder = Callable[[bytes], npt.NDArray[np.uint8] | None]
"""From a JPEG to its pixels at full size; given from outside, so that what judges opens and reads nothing."""


class PictureMonitor:
    """Judges the pictures while the policy drives by them: frozen, covered."""

    def __init__(self, decode: Decoder) -> None:
        self._decode = decode
        self.reset()

    def reset(self) -> None:
        """Forget what was seen; the next frame is the first."""
        self._last: Frame | None = None
        self._repeats = 0
        self._blanks = 0

    def check(self, frame: Frame, *, is_static: bool) -> list[Fault]:
        """Return what is wrong with the pictures up to this one; a frame seen before counts once."""
        last, self._last = self._last, frame
        if last is None or frame.number != last.number:
            same = last is not None and not is_static and is_same_picture(frame, last, self._decode)
            self._repeats = self._repeats + 1 if same else 0
            self._blanks = self._blanks + 1 if contrast(frame) < COVERED_CONTRAST else 0

        faults = []
        if self._repeats >= FROZEN_FRAMES - 1:
            faults.append(Fault.CAMERA_FROZEN)
        if self._blanks >= COVERED_FRAMES:
            faults.append(Fault.CAMERA_COVERED)
        return faults


def is_same_picture(one: Frame, other: Frame, decode: Decoder) -> bool:
    """True when two frames are bit-identical at full size.

    A few rows are compared first: two real pictures of one scene differ there, by noise alone. Pictures
    that were decoded at a fraction of their size and are equal there are compared at full size.
    """
    if not np.array_equal(one.image[::48], other.image[::48]) or not np.array_equal(one.image, other.image):
        return False
    if one.jpeg == other.jpeg or one.jpeg[:2] != JPEG_START:
        return True
    pixels, others = decode(one.jpeg), decode(other.jpeg)
    if pixels is None or others is None:
        return True  # nothing tells them apart
    return np.array_equal(pixels, others)


def contrast(frame: Frame) -> float:
    """Return the standard deviation between the means of a picture's patches, in grey levels.

    Patches in a 12 x 16 grid, of every fourth pixel at 640 x 480: averaging takes a sensor's noise out,
    so that a covered lens reads below 1 (measured: 0.2 to 0.6 at 640 x 480, noise of 3 to 6 grey levels),
    and thin lines 20 grey levels above a floor of 10 read 1.7.
    """
    every = max(1, frame.image.shape[0] // 120)
    green = frame.image[::every, ::every, 1]
    rows, columns = green.shape[0] // 12 * 12, green.shape[1] // 16 * 16
    if not rows or not columns:
        return float(green.std())
    patches = green[:rows, :columns].reshape(12, rows // 12, 16, columns // 16)
    return float(patches.mean(axis=(1, 3)).std())


class ScanMonitor:
    """Judges the scans while the policy drives by them: frozen, blind."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget what was seen; the next scan is the first."""
        self._last: TimedScan | None = None
        self._repeats = 0
        self._blanks = 0

    def check(self, scan: TimedScan) -> list[Fault]:
        """Return what is wrong with the scans up to this one; a scan seen before counts once."""
        last, self._last = self._last, scan
        ranges_m = scan.scan.ranges_m
        if last is None or scan.number != last.number:
            same = last is not None and np.array_equal(ranges_m, last.scan.ranges_m)
            self._repeats = self._repeats + 1 if same else 0
            self._blanks = self._blanks + 1 if (ranges_m == ranges_m[0]).all() else 0

        faults = []
        if self._blanks >= BLIND_SCANS:
            faults.append(Fault.LIDAR_BLIND)
        if self._repeats >= FROZEN_SCANS - 1:
            faults.append(Fault.LIDAR_FROZEN)
        return faults
