"""What the car senses in, a decision out: observation, network and action space of one policy together."""

import math
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from calibration.car import CarCalibration
from models.action_space import PolicyAction, action_space, to_drive_action
from models.bundle import PolicyBundle, check_bundle
from models.metadata import ActionUnits
from models.observation import NO_CAMERA_OPTIONS, CameraOptions, Observer, Sight
from models.runtime import Feeds, PolicyRuntime, SessionSettings
from models.sensors import LIDAR_SENSORS, Sensor
from vehicle.messages import DriveAction


class Decision(msgspec.Struct, frozen=True):
    """What the policy wants for one sight, and what it took."""

    output: tuple[float, ...]
    """As the network gave it."""
    index: int
    """Of a discrete action; -1 otherwise."""
    action: DriveAction
    wants_reverse: bool
    """The speed it chose is negative; `action` is neutral instead."""
    observe_ns: int
    infer_ns: int
    inputs: Feeds | None = None
    """What the network was shown."""


class Policy:
    """One loaded and warm policy; for one thread."""

    def __init__(
        self,
        bundle: PolicyBundle,
        runtime: PolicyRuntime,
        stopwatch_ns: Callable[[], int] = time.monotonic_ns,
        *,
        camera_options: CameraOptions = NO_CAMERA_OPTIONS,
    ) -> None:
        self.bundle = bundle
        self.space = action_space(bundle.metadata)
        self._runtime = runtime
        self._observer = Observer(bundle.inputs, camera_options)
        self._camera_options = camera_options
        self._stopwatch_ns = stopwatch_ns
        self._decisions = 0
        """Since the start of the drive."""

    @property
    def picture_px(self) -> tuple[int, int]:
        """Width and height below which a camera's picture holds less than the network looks at."""
        wanted = self.bundle.camera.format
        return self._camera_options.needed_px((wanted.width_px, wanted.height_px))

    @property
    def input_px(self) -> tuple[int, int, int]:
        """Width, height and channels of the picture that the network looks at."""
        wanted = self.bundle.camera.format
        return wanted.width_px, wanted.height_px, wanted.channels

    @property
    def sensors(self) -> frozenset[Sensor]:
        """What it looks at, by the network's own inputs."""
        return frozenset(part.sensor for part in self.bundle.inputs)

    @property
    def needs_right_camera(self) -> bool:
        """Whether it looks with two eyes."""
        return Sensor.STEREO_CAMERAS in self.sensors

    @property
    def needs_lidar(self) -> bool:
        """Whether it takes a LIDAR's scan."""
        return not self.sensors.isdisjoint(LIDAR_SENSORS)

    def reset(self) -> None:
        """Forget earlier pictures, and begin a timetable anew; call when driving starts."""
        self._observer.reset()
        self._decisions = 0

    def decide(self, sight: Sight, calibration: CarCalibration) -> Decision:
        """Return the decision for what the car senses.

        Raises PolicyOutputError for an unusable answer, and its child SenseMissingError where the sight
        lacks what the policy looks at.
        """
        start_ns = self._stopwatch_ns()
        observation = self._observer.observe(sight)
        observed_ns = self._stopwatch_ns()
        output = self._runtime.infer(observation)
        inferred_ns = self._stopwatch_ns()

        chosen = self._due(self.space.decode(output))
        self._decisions += 1
        units = self.bundle.metadata.action_units
        return Decision(
            output=tuple(output.ravel().tolist()),
            index=chosen.index,
            action=to_drive_action(chosen, self.space, units, calibration),
            wants_reverse=chosen.speed_mps < 0.0,
            observe_ns=observed_ns - start_ns,
            infer_ns=inferred_ns - observed_ns,
            inputs=observation,
        )

    def _due(self, chosen: PolicyAction) -> PolicyAction:
        """Return what the timetable says, where the policy has one; else what the network chose."""
        description = self.bundle.metadata
        if description.timetable is None:
            return chosen
        assert isinstance(description.action_space, tuple)  # as reading it made sure
        index = description.timetable.action_at(self._decisions / description.control_rate_hz)
        due = description.action_space[index]
        return PolicyAction(index, math.radians(due.steering_deg), due.speed_mps)

    def note(self, calibration: CarCalibration) -> str:
        """Return what an owner should know about this policy on this car, or nothing."""
        units = self.bundle.metadata.action_units
        if units is ActionUnits.PHYSICAL and calibration.speed_table is None:
            return (
                f"{self.bundle.name} asks for speeds in m/s and this car has no speed table, so they become "
                "shares of its throttle; measure the speed table on the calibration page"
            )
        return ""


def load_policy(
    source: str | Path,
    settings: SessionSettings | None = None,
    *,
    camera_options: CameraOptions = NO_CAMERA_OPTIONS,
) -> Policy:
    """Find, check, load and warm up a policy; raises PolicyError with a sentence."""
    bundle, runtime = check_bundle(source, settings)
    return Policy(bundle, runtime, camera_options=camera_options)
