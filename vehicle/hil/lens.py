"""How a simulated camera is mounted and what its lens does: where each pixel looks, and the way back.

`Lens` goes from a pixel to the floor, which is what most of a picture shows; `Projection` from a point in
space to its pixel, for what stands on the floor.
"""

import dataclasses
import math
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Size: TypeAlias = tuple[int, int]
"""Width and height of a picture, in pixels."""
Floats: TypeAlias = npt.NDArray[np.float64]

FAR_M = 12.0  # ground further away is wall
NEAR_M = 0.02  # before the lens; what is nearer is cut off
COARSE_STEP_PX = 4.0  # rows whose pixels lie further apart on the ground read the coarse picture
UNSTRETCH_ROUNDS = 8


@dataclasses.dataclass(frozen=True)
class CameraParameters:
    """Where the camera sits, what its lens does and how its sensor answers."""

    fov_rad: float = 1.13
    """Across the width."""
    height_m: float = 0.13
    pitch_rad: float = 0.2618
    """Downwards."""
    yaw_rad: float = 0.0
    """To the left."""
    roll_rad: float = 0.0
    forward_m: float = 0.145
    """Of the rear axle."""
    left_m: float = 0.0
    """Of the car's middle; a right eye has less than 0."""
    k1: float = 0.0
    """Radial distortion; positive is a barrel."""
    contrast: float = 1.0
    brightness: float = 0.0
    """Grey levels added."""
    gamma: float = 1.0
    noise: float = 2.0
    """Standard deviation in grey levels; never less than 1, as sensors have it."""
    softness_px: float = 0.0
    """Standard deviation of the blur, in pixels of a picture 160 wide."""
    exposure_s: float = 0.008
    """How long a turning car smears the picture."""
    vignette: float = 0.0
    """Share of the light lost in the corners."""

    def randomised(self, rng: np.random.Generator) -> "CameraParameters":
        """Return another camera of this kind, mounted by another hand, in other light."""
        low_light = rng.random() < 0.3
        return dataclasses.replace(
            self,
            fov_rad=self.fov_rad * float(rng.uniform(0.92, 1.1)),
            height_m=self.height_m * float(rng.uniform(0.9, 1.12)),
            pitch_rad=self.pitch_rad + float(rng.uniform(-0.05, 0.05)),
            yaw_rad=self.yaw_rad + float(rng.uniform(-0.03, 0.03)),
            roll_rad=self.roll_rad + float(rng.uniform(-0.03, 0.03)),
            forward_m=self.forward_m + float(rng.uniform(-0.02, 0.02)),
            k1=float(rng.uniform(-0.05, 0.12)),
            contrast=float(rng.uniform(0.7, 1.3)),
            brightness=float(rng.uniform(-25, 25)),
            gamma=float(rng.uniform(0.75, 1.35)),
            noise=float(rng.uniform(1.5, 8.0 if low_light else 5.0)),
            softness_px=float(rng.uniform(0.4, 0.8)) if rng.random() < 0.4 else 0.0,
            exposure_s=float(rng.uniform(0.002, 0.02)),
            vignette=float(rng.uniform(0.0, 0.4)) if rng.random() < 0.5 else 0.0,
        )


NOMINAL_CAMERA = CameraParameters()
LIGHTS = {
    "even": NOMINAL_CAMERA,
    "dim": CameraParameters(
        contrast=0.6, brightness=-30.0, gamma=1.4, noise=8.0, vignette=0.4, exposure_s=0.02
    ),
}
"""What a camera shows in each kind of light that a HIL car can be started in."""


def randomised_wide(rng: np.random.Generator) -> CameraParameters:
    """Return a camera with any lens from 60 to 120 degrees, for tests of how far a policy carries."""
    camera = CameraParameters().randomised(rng)
    return dataclasses.replace(camera, fov_rad=math.radians(float(rng.uniform(60, 120))))


class Lens:
    """Where on the ground, ahead and left of the rear axle, each pixel of one camera looks."""

    def __init__(self, camera: CameraParameters, size: Size) -> None:
        width, height = size
        self.size = size
        self.projection = Projection(camera, size)
        self.focal_px = width / 2 / math.tan(camera.fov_rad / 2)
        across = (np.arange(width) + 0.5 - width / 2) / self.focal_px
        down = (np.arange(height) + 0.5 - height / 2) / self.focal_px
        x, y = np.meshgrid(across, down)
        stretch = 1 + camera.k1 * (x * x + y * y)
        left, up = -x * stretch, -y * stretch
        cos, sin = math.cos(camera.roll_rad), math.sin(camera.roll_rad)
        left, up = left * cos - up * sin, left * sin + up * cos
        cos, sin = math.cos(camera.pitch_rad), math.sin(camera.pitch_rad)
        forward, up = cos + up * sin, up * cos - sin
        cos, sin = math.cos(camera.yaw_rad), math.sin(camera.yaw_rad)
        forward, left = forward * cos - left * sin, forward * sin + left * cos

        reach = np.divide(camera.height_m, -up, out=np.full_like(up, np.inf), where=up < -1e-6)
        is_ground = (reach * np.hypot(forward, left) < FAR_M) & (forward > 0)
        reach = np.where(is_ground, reach, 1e4)  # lands on the plain floor beyond, then under the wall
        ground = np.stack([camera.forward_m + forward * reach, camera.left_m + left * reach], axis=2)
        self._step_m = np.median(np.hypot(*np.moveaxis(np.diff(ground, axis=0), 2, 0)), axis=1)
        self.ground = ground.astype(np.float32)

        rows = np.flatnonzero(is_ground.any(axis=1))
        walls = np.flatnonzero(~is_ground.all(axis=1))
        self.first_row = int(rows[0]) if len(rows) else height
        self.wall_rows = int(walls[-1]) + 1 if len(walls) else 0
        self.wall_mask = np.ascontiguousarray((~is_ground[: self.wall_rows]).astype(np.uint8) * 255)
        self.horizon_px = height / 2 - self.focal_px * math.tan(camera.pitch_rad)
        self.yaw_rad = camera.yaw_rad

    def coarse_rows(self, px_per_m: float) -> int:
        """Return how many rows from the top read the coarse picture of the ground."""
        far = np.flatnonzero(self._step_m * px_per_m > COARSE_STEP_PX)
        return max(int(far[-1]) + 2 if len(far) else 0, self.first_row)


class Projection:
    """Where a point in space lies in the picture of one camera: the way back of `Lens`."""

    def __init__(self, camera: CameraParameters, size: tuple[int, int]) -> None:
        self._camera = camera
        self._size = size
        self._focal_px = size[0] / 2 / math.tan(camera.fov_rad / 2)

    def from_camera(self, points: Floats) -> Floats:
        """Return points (N x 3: m ahead of the rear axle, left, up) in the camera's own three directions."""
        camera = self._camera
        forward = points[:, 0] - camera.forward_m
        left, up = points[:, 1] - camera.left_m, points[:, 2] - camera.height_m
        cos, sin = math.cos(camera.yaw_rad), math.sin(camera.yaw_rad)
        forward, left = forward * cos + left * sin, left * cos - forward * sin
        cos, sin = math.cos(camera.pitch_rad), math.sin(camera.pitch_rad)
        forward, up = forward * cos - up * sin, forward * sin + up * cos
        cos, sin = math.cos(camera.roll_rad), math.sin(camera.roll_rad)
        left, up = left * cos + up * sin, up * cos - left * sin
        return np.stack([forward, left, up], axis=1)

    def pixels(self, seen: Floats) -> Floats:
        """Return column and row (N x 2) of points ahead of the camera, as `from_camera` gives them."""
        place = -seen[:, 1:] / seen[:, :1]
        if self._camera.k1:
            place = _unstretched(place, self._camera.k1)
        width, height = self._size
        return place * self._focal_px + np.array([width - 1, height - 1]) / 2


def _unstretched(place: Floats, k1: float) -> Floats:
    """Return what the lens stretches to these places: r with r + k1 r^3 = their distance, by Newton's way.

    A pincushion reaches no further than where it begins to fold back; what lies beyond comes to its edge.
    """
    wanted = np.hypot(place[:, :1], place[:, 1:])
    edge = 0.99 / math.sqrt(-3.0 * k1) if k1 < 0 else math.inf
    radius = np.minimum(wanted, edge)
    for _ in range(UNSTRETCH_ROUNDS):
        radius -= (radius + k1 * radius**3 - wanted) / (1 + 3 * k1 * radius**2)
        radius = np.clip(radius, 0.0, edge)
    return np.asarray(place * (radius / np.maximum(wanted, 1e-12)))


def from_pose(points: Floats, pose: tuple[float, float, float]) -> Floats:
    """Return points of the room (N x 3, m) as m ahead of the rear axle at this pose, left, up."""
    x_m, y_m, yaw_rad = pose
    east, north, up = (points - np.array([x_m, y_m, 0.0])).T
    cos, sin = math.cos(yaw_rad), math.sin(yaw_rad)
    return np.stack([east * cos + north * sin, north * cos - east * sin, up], axis=1)
