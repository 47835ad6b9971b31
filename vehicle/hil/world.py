"""One simulated car on one track: pulses become motion, the pose a picture and the truth.

No process, no socket, no clock: time is handed in. The HIL server and the tests drive it; training drives
many cars by the same motion.
"""

import dataclasses
import math
from collections import deque
from collections.abc import Iterable
from functools import cached_property

import numpy as np

from vehicle.hil.dynamics import ONE, STEP_S, STEPS_PER_S, CarParameters, CarState, receive_pulses, step
from vehicle.hil.lens import CameraParameters, Size
from vehicle.hil.lidar_rays import Floats, box_sides, cast, spread_rad, walls
from vehicle.hil.render import FULL_SIZE, Renderer, Room
from vehicle.hil.scenery import Image, Scenery
from vehicle.hil.settings import LidarSettings, RightCameraSettings
from vehicle.hil.things import Box, Things, own_box, touch
from vehicle.hil.track import Track
from vehicle.truth import Crossing, Thing, WorldTruth

SECOND_NS = 1_000_000_000
ROUNDING_NS = (
    500  # a stamp this little before a step's moment means that moment: 1/300 s is no whole number of ns
)
START_BEFORE_LINE_M = 0.5
BARRIER_M = 0.6  # beyond the border of the track stands something hard
RIGHT_EYE_SEED = 4097  # added: another sensor, another noise
PULSE_LOST_NS = 30_000_000  # no pulse for this long: servo limp, ESC off
WHEEL_TICKS_PER_M = 50.0
BATTERY_FULL_V = 7.8
BATTERY_SAG_V = 0.5  # at full throttle

Pulse = tuple[int, float, float]
"""When a pair of pulses starts, and their widths in us; 0 is none."""


def step_index(now_ns: int) -> int:
    """Return how many steps of the motion are over at this time."""
    return (now_ns + ROUNDING_NS) * STEPS_PER_S // SECOND_NS


class Scene:
    """A track in its room, drawn for the car's sensors; making one takes up to a second or two."""

    def __init__(
        self,
        track: Track,
        things: Things,
        *,
        room: Room,
        camera: CameraParameters,
        right_camera: RightCameraSettings,
        seed: int,
    ) -> None:
        self.track = track
        self.things = things
        self.renderer = room.renderer(camera, seed)
        self._room = room
        self._right_eye = dataclasses.replace(camera, left_m=camera.left_m - right_camera.baseline_m)
        self._seed = seed

    @cached_property
    def right_renderer(self) -> Renderer:
        """Drawn when somebody first looks through it."""
        return self._room.renderer(self._right_eye, self._seed + RIGHT_EYE_SEED)

    @cached_property
    def walls(self) -> Floats:
        """What stands around the track, as a LIDAR sees it."""
        return walls(self.track, BARRIER_M)


class World:
    """The car, its track, its camera and what is true of them. Not thread-safe."""

    def __init__(
        self,
        track: Track,
        *,
        car: CarParameters | None = None,
        camera: CameraParameters | None = None,
        scenery: Scenery | None = None,
        size: Size = FULL_SIZE,
        right_camera: RightCameraSettings | None = None,
        lidar: LidarSettings | None = None,
        things: Things | None = None,
        seed: int = 0,
        now_ns: int = 0,
    ) -> None:
        self.car = car or CarParameters()
        self._reverse_mode = self.car.reverse_mode
        self.camera = camera or CameraParameters()
        self._scenery = scenery
        self._size = size
        self._right_camera = right_camera or RightCameraSettings()
        self._lidar = lidar or LidarSettings()
        self._seed = seed
        self._scene = self._draw(track, things or Things(track))
        self._state = CarState()
        self._index = step_index(now_ns)
        self._pending: deque[Pulse] = deque()
        self._pulse: Pulse = (now_ns, 0.0, 0.0)
        self._frame_number = -1
        self.reset()

    @property
    def track(self) -> Track:
        """Where the car is."""
        return self._scene.track

    def scene(self, track: Track) -> Scene:
        """Draw another track for this car, in the same room, with the same things on it; in any thread."""
        return self._draw(track, self._scene.things.on(track))

    def enter(self, scene: Scene) -> None:
        """Carry the car to another track and put it down at its start."""
        self._scene = scene
        self.reset()

    def _draw(self, track: Track, things: Things) -> Scene:
        room = Room(track, self._scenery, self._size)
        return Scene(
            track, things, room=room, camera=self.camera, right_camera=self._right_camera, seed=self._seed
        )

    def reset(
        self, s_m: float = -START_BEFORE_LINE_M, offset_m: float = 0.0, turned_rad: float = 0.0
    ) -> None:
        """Put the car down at rest, `turned_rad` left of the track's direction, and begin counting laps anew.

        The ESC keeps what it has learnt: nobody switched it off.
        """
        x, y, heading = self.track.pose_at(s_m, offset_m)
        before = self._state
        self._state = CarState(
            x_m=x,
            y_m=y,
            yaw_rad=heading + turned_rad,
            travelled_m=before.travelled_m,
            neutral_s=before.neutral_s,
            esc_armed=before.esc_armed,
        )
        self._place = self.track.project(x, y)
        self._progress_m = (s_m + self.track.length_m / 2) % self.track.length_m - self.track.length_m / 2
        self._furthest_m = self._progress_m
        self._laps: tuple[Crossing, ...] = ()
        self._lap_started_ns = 0
        self._crashed_into = ""

    def power_cycle_esc(self) -> None:
        """Switch the ESC off and on: it wants to see neutral again."""
        self._state.esc_armed = 0.0
        self._state.neutral_s = 0.0
        self._state.drive_share = 0.0

    def set_reverse_mode(self, mode: float | None) -> None:
        """Have the ESC make this of a pull beyond neutral; None: what this car's was built to do."""
        built = self._reverse_mode if mode is None else mode
        self.car = dataclasses.replace(self.car, reverse_mode=built)

    def advance(self, to_ns: int, pulses: Iterable[Pulse] = ()) -> None:
        """Move on to this time. Each pulse acts from the first step at or after its start."""
        self._pending.extend(pulses)
        target = step_index(to_ns)
        while self._index < target:
            now_ns = self._index * SECOND_NS // STEPS_PER_S
            while self._pending and self._pending[0][0] <= now_ns + ROUNDING_NS:
                self._pulse = self._pending.popleft()
                receive_pulses(self._state, self._pulse[1], self._pulse[2], self.car, ONE)
            if now_ns - self._pulse[0] > PULSE_LOST_NS and self._pulse[2] > 0:
                self._pulse = (self._pulse[0], 0.0, 0.0)
                receive_pulses(self._state, 0.0, 0.0, self.car, ONE)
            self._index += 1
            if not self._crashed_into:
                step(self._state, self.car, ONE)
                self._follow_track()

    def _follow_track(self) -> None:
        """Keep progress, laps and crash up to date after one step."""
        before = self._place
        self._place = place = self.track.project(self._state.x_m, self._state.y_m, before.nearest)
        length_m = self.track.length_m
        moved_m = (place.s_m - before.s_m + length_m / 2) % length_m - length_m / 2
        line_m = (math.floor(self._furthest_m / length_m) + 1) * length_m
        self._progress_m += moved_m
        if self._progress_m >= line_m and moved_m > 0:
            share = (self._progress_m - line_m) / moved_m
            crossed_ns = self._index * SECOND_NS // STEPS_PER_S - round(share * STEP_S * SECOND_NS)
            if self._lap_started_ns:
                lap = Crossing(len(self._laps) + 1, (crossed_ns - self._lap_started_ns) / SECOND_NS)
                self._laps = (*self._laps, lap)
            self._lap_started_ns = crossed_ns
        self._furthest_m = max(self._furthest_m, self._progress_m)
        if abs(place.offset_m) > float(self.track.half_width_m[place.nearest]) + BARRIER_M:
            self._crashed_into = "wall"
        elif self._touches_something():
            self._crashed_into = "thing"
        if self._crashed_into:
            self._state.speed_mps = self._state.yaw_rate_radps = 0.0

    def _touches_something(self) -> bool:
        boxes = self._boxes_at(self._index * SECOND_NS // STEPS_PER_S)
        if not boxes:
            return False
        own = own_box(self._state.x_m, self._state.y_m, self._state.yaw_rad)
        return any(touch(own, box) for box in boxes)

    def _boxes_at(self, now_ns: int) -> tuple[Box, ...]:
        return self._scene.things.boxes_at(now_ns)

    def expose(self, frame_number: int, now_ns: int) -> Image:
        """Return the camera's picture of this moment (BGR); call `advance` to it first."""
        self._frame_number = frame_number
        return self._render(self._scene.renderer, frame_number, now_ns)

    def expose_right(self, frame_number: int, now_ns: int) -> Image:
        """Return the right eye's picture of this moment (BGR); call `advance` to it first."""
        return self._render(self._scene.right_renderer, frame_number, now_ns)

    def measure(self, now_ns: int) -> Floats:
        """Return the true distances in m that the LIDAR would measure now, inf where nothing is."""
        x_m, y_m, yaw_rad = self._pose_at(now_ns)
        forward_m = self._lidar.forward_m
        place = [x_m + forward_m * math.cos(yaw_rad), y_m + forward_m * math.sin(yaw_rad), yaw_rad]
        boxes = (*self._boxes_at(now_ns), *self._scene.things.sheets())
        pieces = self._scene.walls
        if boxes:
            pieces = np.concatenate([pieces, box_sides(boxes, self._lidar.height_m)])
        return np.asarray(cast(np.array([place]), self._ray_angles_rad, pieces)[0])

    @cached_property
    def _ray_angles_rad(self) -> Floats:
        return spread_rad(self._lidar.rays, self._lidar.field_deg)

    def _render(self, renderer: Renderer, frame_number: int, now_ns: int) -> Image:
        boxes, yaw_rate_radps = self._boxes_at(now_ns), self._state.yaw_rate_radps
        pose, signs = self._pose_at(now_ns), self._scene.things.signs
        return renderer.render(*pose, yaw_rate_radps, frame_number, boxes=boxes, signs=signs)

    def _pose_at(self, now_ns: int) -> tuple[float, float, float]:
        """Return where the car is between two steps of its motion."""
        state = self._state
        since_s = (now_ns - self._index * SECOND_NS // STEPS_PER_S) / SECOND_NS
        since_s = (
            since_s if since_s * SECOND_NS > ROUNDING_NS else 0.0
        )  # on the grid: exactly the grid's pose
        return (
            state.x_m + since_s * state.speed_mps * math.cos(state.yaw_rad),
            state.y_m + since_s * state.speed_mps * math.sin(state.yaw_rad),
            state.yaw_rad + since_s * state.yaw_rate_radps,
        )

    @property
    def wheel_ticks(self) -> int:
        """What the wheels have rolled since the world began."""
        return int(self._state.travelled_m * WHEEL_TICKS_PER_M)

    @property
    def battery_v(self) -> float:
        """Of the drive battery, sagging under load."""
        sag_v = BATTERY_SAG_V * abs(float(self._state.drive_share))
        return BATTERY_FULL_V * float(self.car.battery_gain) - sag_v

    @property
    def state(self) -> CarState:
        """A copy of the car's state."""
        return dataclasses.replace(self._state)

    def truth(self, now_ns: int, faults: tuple[str, ...] = ()) -> WorldTruth:
        """Return what is so at this time."""
        state, place = self._state, self._place
        return WorldTruth(
            now_ns=now_ns,
            frame_number=self._frame_number,
            track=self.track.source or self.track.name,
            x_m=state.x_m,
            y_m=state.y_m,
            heading_rad=state.yaw_rad,
            speed_mps=state.speed_mps,
            steering_rad=state.steering_rad,
            progress_frac=place.s_m / self.track.length_m,
            offset_m=place.offset_m,
            off_track=abs(place.offset_m) > float(self.track.half_width_m[place.nearest]),
            crashed=bool(self._crashed_into),
            laps=self._laps,
            lap_started_ns=self._lap_started_ns,
            servo_pulse_us=self._pulse[1],
            esc_pulse_us=self._pulse[2],
            faults=faults,
            crashed_into=self._crashed_into,
            things=tuple(
                Thing(box.x_m, box.y_m, box.yaw_rad, box.length_m, box.width_m)
                for box in self._boxes_at(now_ns)
            ),
        )
