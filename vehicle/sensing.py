"""What the loop senses in a tick: picture, pair of pictures, scan; and what a policy would miss."""

import time

import msgspec

from models.observation import Sight
from models.policy import Policy
from vehicle.clock import Bell
from vehicle.lidar_source import TimedScan
from vehicle.messages import CameraLocks, Frame
from vehicle.parts import CameraView, LidarView
from vehicle.safety import LidarSenses, RightEyeSenses

PAIR_JITTER_S = 0.003  # a driver's own delays; beside half a period it decides only at the edge


class Seen(msgspec.Struct, frozen=True, eq=False):
    """The newest of every sensor that the policy looks at."""

    newest: Frame | None
    """Of the front camera."""
    frame: Frame | None
    """What the policy is shown: the newest, or the left picture of the newest pair."""
    right: Frame | None = None
    """The right picture of that pair."""
    right_newest: Frame | None = None
    scan: TimedScan | None = None


class Sensing:
    """The car's sensors as the loop uses them: only those that the policy needs are read at all.

    It is a `vehicle.clock.FrameArrival`: where the policy looks with two eyes, a picture has come when
    its pair has.
    """

    def __init__(
        self,
        camera: CameraView,
        right_camera: CameraView | None = None,
        lidar: LidarView | None = None,
    ) -> None:
        """None: this car has no such sensor."""
        self._camera = camera
        self._right = right_camera
        self._lidar = lidar
        self._uses_right = False
        self._uses_lidar = False
        self._pair: tuple[Frame, Frame] | None = None
        self._period_s = 1.0 / camera.rate_hz

    def serve(self, policy: Policy) -> None:
        """Read what this policy looks at from now on, and nothing else."""
        self._camera.fit(*policy.picture_px)
        self._uses_right = policy.needs_right_camera and self._right is not None
        self._uses_lidar = policy.needs_lidar and self._lidar is not None
        self._pair = None
        if self._right is not None:
            self._right.fit(*policy.picture_px)
            self._right.want(self._uses_right)
        if self._lidar is not None:
            self._lidar.want(self._uses_lidar)

    def tune(self, locks: CameraLocks) -> None:
        """Let both eyes lock exposure, gain and white balance, without waiting."""
        self._camera.tune(locks)
        if self._right is not None:
            self._right.tune(locks)

    def missing(self, policy: Policy) -> tuple[str, ...]:
        """Return, in words, which sensors this policy looks at and the car does not have."""
        reasons = []
        if policy.needs_right_camera and self._right is None:
            reasons.append(
                f"{policy.bundle.name} looks with two cameras and this car has one. Connect the right one "
                "and name it in car.toml, [right_camera] source, or choose another policy."
            )
        if policy.needs_lidar and self._lidar is None:
            reasons.append(
                f"{policy.bundle.name} looks with a LIDAR and this car has none. Connect one and name it in "
                "car.toml, [lidar] source, or choose another policy."
            )
        return tuple(reasons)

    def look(self, camera_rate_hz: float) -> Seen:
        """Return the newest of everything, without waiting."""
        self._period_s = 1.0 / camera_rate_hz
        newest = self._camera.latest()
        scan = self._lidar.latest() if self._uses_lidar and self._lidar is not None else None
        if not self._uses_right or self._right is None:
            return Seen(newest, newest, scan=scan)
        right_newest = self._right.latest()
        self._pair_up(newest, right_newest)
        left, right = self._pair or (None, None)
        return Seen(newest, left, right, right_newest, scan)

    def sight(self, seen: Seen) -> Sight | None:
        """Return what a policy is to look at, None while a picture that it needs has not come."""
        if seen.frame is None:
            return None
        right_image = None if seen.right is None else seen.right.image
        return Sight(seen.frame.image, right_image, None if seen.scan is None else seen.scan.scan)

    def wait_newer(self, number: int, timeout_s: float) -> bool:
        """Return True as soon as a picture (of two eyes: a pair) with a higher number is there."""
        if not self._uses_right or self._right is None:
            return self._camera.wait_newer(number, timeout_s)
        deadline_s = time.monotonic() + timeout_s
        while True:
            left, right = self._camera.latest(), self._right.latest()
            self._pair_up(left, right)
            if self._pair is not None and self._pair[0].number > number:
                return True
            remaining_s = deadline_s - time.monotonic()
            if remaining_s <= 0.0:
                return False
            if left is None or left.number <= number:
                self._camera.wait_newer(number, remaining_s)
            elif right is not None and right.stamp_ns > left.stamp_ns:  # the right eye's is ahead
                self._camera.wait_newer(left.number, remaining_s)
            else:
                self._right.wait_stamped(left.stamp_ns - self._apart_limit_ns, remaining_s)

    def bells(self) -> tuple[Bell, ...]:
        """Return what rings whenever one of the pictures that are waited for has come."""
        if not self._uses_right or self._right is None:
            return (self._camera.bell,)
        return (self._camera.bell, self._right.bell)

    def right_eye(self, seen: Seen) -> RightEyeSenses | None:
        """Return what the monitors judge of the second camera; None where the policy has no use for it."""
        if not self._uses_right or self._right is None:
            return None
        return RightEyeSenses(
            frame=seen.right_newest,
            lost=self._right.lost,
            is_static=self._right.is_static,
            paired_ns=seen.frame.stamp_ns if seen.frame is not None else 0,
        )

    def lidar(self, seen: Seen) -> LidarSenses | None:
        """Return what the monitors judge of the LIDAR; None where the policy has no use for it."""
        if not self._uses_lidar or self._lidar is None:
            return None
        return LidarSenses(scan=seen.scan, period_s=self._lidar.period_s, lost=self._lidar.lost)

    @property
    def notes(self) -> tuple[str, str]:
        """What their owner should know of right camera and LIDAR, where they are used."""
        right = self._right.note if self._uses_right and self._right is not None else ""
        return right, self._lidar.note if self._uses_lidar and self._lidar is not None else ""

    def _pair_up(self, left: Frame | None, right: Frame | None) -> None:
        """Take the two newest pictures as the pair when they were taken at one time, as far as stamps tell.

        Half a period apart at most, and some jitter: of two cameras that run free, one picture of the
        other always lies as near. The pair is ready when its later picture is.
        """
        if left is None or right is None or abs(left.stamp_ns - right.stamp_ns) > self._apart_limit_ns:
            return
        if self._pair is not None and left.number <= self._pair[0].number:
            return
        ready_ns = max(left.ready_ns, right.ready_ns)
        self._pair = (msgspec.structs.replace(left, ready_ns=ready_ns), right)

    @property
    def _apart_limit_ns(self) -> int:
        return round((self._period_s / 2 + PAIR_JITTER_S) * 1e9)
