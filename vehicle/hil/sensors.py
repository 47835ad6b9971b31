"""The sensors of one HIL car together: two eyes exposed at the same instants, and a LIDAR."""

from collections.abc import Callable
from typing import Protocol

from vehicle.hil.camera import HilCamera, Image
from vehicle.hil.faults import FaultSchedule, Part
from vehicle.hil.lidar import Floats, HilLidar
from vehicle.hil.sensor import HilSensor, Reading
from vehicle.hil.settings import HilSettings


class Sights(Protocol):
    """What the sensors need of the world."""

    def expose(self, frame_number: int, now_ns: int) -> Image:
        """Return the front camera's picture of this moment."""
        ...

    def expose_right(self, frame_number: int, now_ns: int) -> Image:
        """Return the right eye's picture of this moment."""
        ...

    def measure(self, now_ns: int) -> Floats:
        """Return the true distances at the LIDAR's angles at this moment, inf for none."""
        ...


class SensorSet:
    """Camera, right eye and LIDAR. The latter two do nothing while nobody watches them."""

    def __init__(
        self,
        settings: HilSettings,
        world: Sights,
        faults: FaultSchedule,
        start_ns: int,
        is_watched: Callable[[Part], bool],
    ) -> None:
        seed = settings.seed
        self.camera = HilCamera(settings.camera, world.expose, faults, seed=seed, start_ns=start_ns)
        self._right = right = HilCamera(
            settings.camera,
            world.expose_right,
            faults,
            seed=seed,
            start_ns=start_ns,
            part=Part.CAMERA_RIGHT,
        )
        lidar = HilLidar(settings.lidar, world.measure, faults, seed=seed, start_ns=start_ns)
        self._sensors: tuple[HilSensor, ...] = (self.camera, right, lidar)
        self._is_watched = is_watched

    def control(self, heard: Callable[[Part], bytes]) -> None:
        """Let the cameras obey what their readers have told them."""
        for camera in (self.camera, self._right):
            if told := heard(camera.part):
                camera.control(told)

    def next_event_ns(self) -> int:
        """Return when one of them next looks or hands over; of those that nobody watches, never."""
        return min(sensor.next_event_ns() for sensor in self._working())

    def next_look(self) -> HilSensor:
        """Return the sensor that looks next; the front camera first, at the same instant."""
        return min(self._working(), key=lambda sensor: sensor.next_exposure_ns)

    def rest(self, now_ns: int) -> None:
        """Leave out the looks up to now of those that nobody watches."""
        for sensor in self._sensors:
            if sensor is not self.camera and not self._is_watched(sensor.part):
                sensor.rest(now_ns)

    def skip(self, now_ns: int) -> None:
        """Leave out the looks that are a whole period late: the computer could not keep up."""
        for sensor in self._working():
            sensor.skip(now_ns)

    def look(self, sensor: HilSensor, now_ns: int) -> int | None:
        """Let it look if it is time to; return the reading's number."""
        return sensor.expose(now_ns, watched=self._is_watched(sensor.part))

    def hand_over(self, now_ns: int) -> list[Reading]:
        """Return what is handed over now, of the front camera first."""
        return [reading for sensor in self._sensors for reading in sensor.hand_over(now_ns)]

    def _working(self) -> list[HilSensor]:
        """Return the front camera, whose frames the truth is told with, and whoever is watched."""
        return [s for s in self._sensors if s is self.camera or self._is_watched(s.part)]
