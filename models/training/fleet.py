"""Many simulated cars at once, each with its own camera: the core of the environment and of evaluation.

Time runs on the grid of the motion (300 steps a second). A decision lasts 20 steps and is made when a
picture arrives, `delay` steps after its exposure. The loop's four ticks follow 5 steps apart, limit the
throttle and send; the board puts the newest command that has arrived into the pulse that starts at every
sixth step. This is what the vehicle does, without its bytes; a test drives both and compares.
"""

import dataclasses
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from calibration.car import HIL_AWS, CarCalibration
from models.observation import Sight
from models.training.fleet_lidar import FleetLidar
from vehicle.hil.dynamics import (
    AWS_CAR,
    MANY,
    ONE,
    CarParameters,
    CarState,
    Mathematics,
    many_states,
    receive_pulses,
    stacked,
    step,
)
from vehicle.hil.lens import NOMINAL_CAMERA, CameraParameters, Lens
from vehicle.hil.render import POLICY_SIZE, Backdrop, Finish, Renderer
from vehicle.hil.scenery import Ground, Image, Scenery, draw_ground, panorama, to_gray
from vehicle.hil.settings import RightCameraSettings
from vehicle.hil.track import REVERSED, Track, TrackSet
from vehicle.hil.world import RIGHT_EYE_SEED

STEPS_PER_DECISION = 20  # 15 Hz
STEPS_PER_TICK = 5  # 60 Hz
STEPS_PER_PULSE = 6  # 50 Hz
TICK_S = 1 / 60
THROTTLE_GROWTH_PER_S = 4.0  # the vehicle's limit; a test compares it with vehicle.safety
HISTORY_STEPS = 64
NOMINAL_DELAY_STEPS = 9  # 30 ms from exposure to decision
DELAY_STEPS_MAX = 42  # 140 ms; the pulse's own wait adds up to 20
DELAY_JITTER_STEPS = 2
DROP_SHARE_MAX = 0.2
JPEG_QUALITY = 90
PX_PER_M = 100.0
LENSES = 24
REDRAWN_LENSES = 2  # before an update, so that a training sees some hundred mountings of the camera
_STATE_FIELDS = tuple(field.name for field in dataclasses.fields(CarState))
_CAR_FIELDS = tuple(field.name for field in dataclasses.fields(CarParameters))

Floats: TypeAlias = npt.NDArray[np.float64]
Integers: TypeAlias = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class FleetSettings:
    """What the cars are and how much they differ."""

    count: int = 32
    randomise: bool = True
    colour: bool = False
    """Pictures as a driving car gets them: colour, through JPEG. Training sees gray, which is faster."""
    right_eye: bool = False
    lidar: bool = False
    rooms_per_track: int = 6
    """Differently looking rooms drawn for each track."""
    late_share: float = 0.0
    """Of the cars, more: their pictures come late, by the last third of the range of delays."""
    faint_share: float = 0.0
    """Of the rooms: their lines are narrow and dim."""
    seed: int = 0
    car: CarParameters = AWS_CAR
    camera: CameraParameters = NOMINAL_CAMERA
    calibration: CarCalibration = HIL_AWS
    delay_steps: int = NOMINAL_DELAY_STEPS
    """From exposure to decision, where it is not randomised."""
    first_step: int = 0
    """The world's step of the first decision; pulses start at multiples of `STEPS_PER_PULSE`."""


@dataclasses.dataclass(frozen=True)
class Start:
    """Where and how one car sets off."""

    track: int
    """Index into the fleet's tracks."""
    s_m: float
    offset_share: float = 0.0
    """Of the half width, positive left."""
    turned_rad: float = 0.0
    speed_mps: float = 0.0


@dataclasses.dataclass
class _Room:
    ground: Ground
    strip: Image
    backdrops: dict[Lens, Backdrop] = dataclasses.field(default_factory=dict)
    """Of the lenses that have been here: all together no larger than the ground."""

    def renderer(self, lens: Lens, finish: Finish) -> Renderer:
        """Return what draws this room's pictures through one lens."""
        backdrop = self.backdrops.get(lens)
        if backdrop is None:
            backdrop = self.backdrops[lens] = Backdrop(self.strip, lens)
        return Renderer(self.ground, lens, backdrop, finish)


class Fleet:
    """Cars that are driven by shares of steering and throttle and seen by their cameras."""

    def __init__(self, tracks: list[Track], settings: FleetSettings) -> None:
        self.settings = settings
        self.tracks = TrackSet(tracks)
        count = settings.count
        self._maths: Mathematics = ONE if count == 1 else MANY
        self._rng = np.random.default_rng([settings.seed, 0])
        self._rooms = self._draw_rooms(tracks)
        lens_count = LENSES if settings.randomise else 1
        self._cameras = [self._draw_camera() for _ in range(lens_count)]
        self._lenses = [Lens(camera, POLICY_SIZE) for camera in self._cameras]
        self._right_lenses = (
            [Lens(_right_of(camera), POLICY_SIZE) for camera in self._cameras] if settings.right_eye else []
        )
        self._renderers: list[Renderer | None] = [None] * count
        self._right_renderers: list[Renderer | None] = [None] * count
        self._lidar = FleetLidar(tracks, count, settings.seed) if settings.lidar else None
        self._cars = [settings.car] * count
        self.car: CarParameters = settings.car if count == 1 else stacked(self._cars)
        self.state: CarState = CarState() if count == 1 else many_states(count)
        self._history = np.zeros((5, HISTORY_STEPS, count))
        self._step = settings.first_step

        self.track = np.zeros(count, dtype=np.int64)
        self.index = np.zeros(count, dtype=np.int64)
        """Nearest centre-line point of each car."""
        self.s_m = np.zeros(count)
        self.offset_m = np.zeros(count)
        self.progress_m = np.zeros(count)
        """Along the centre line since the start."""
        self.throttle_frac = np.zeros(count)
        """As limited and sent last."""
        self.steering_frac = np.zeros(count)
        self.delay_steps = np.full(count, settings.delay_steps)
        self.drop_share = np.zeros(count)
        self.frame_number = np.zeros(count, dtype=np.int64)
        self.watched = np.ones(count, dtype=bool)
        """Whose cameras run; an evaluation switches off those that are done."""
        self.exposed: list[int] = []
        """Cars that got a new picture in the last decision."""
        self._sent_us = np.zeros((2, count))
        shape = (POLICY_SIZE[1], POLICY_SIZE[0]) + ((3,) if settings.colour else ())
        self.pictures = np.zeros((count, *shape), dtype=np.uint8)
        """The newest picture of each car."""
        self.right_pictures = np.zeros_like(self.pictures) if settings.right_eye else None
        """Of each car's right eye, taken at the same moment."""

    def _draw_rooms(self, tracks: list[Track]) -> list[list[_Room]]:
        rooms: dict[str, list[_Room]] = {}
        count = self.settings.rooms_per_track if self.settings.randomise else 1
        for track in tracks:
            name = track.name.removesuffix(REVERSED)
            if name not in rooms:
                rooms[name] = [self._draw_room(track) for _ in range(count)]
        return [rooms[track.name.removesuffix(REVERSED)] for track in tracks]

    def _draw_room(self, track: Track) -> _Room:
        scenery = Scenery().randomised(self._rng) if self.settings.randomise else Scenery()
        if self.settings.faint_share > 0 and self._rng.random() < self.settings.faint_share:
            scenery = scenery.faint(self._rng)
        ground, strip = draw_ground(track, scenery, PX_PER_M), panorama(scenery)
        if not self.settings.colour:
            ground, strip = ground.gray(), to_gray(strip)
        return _Room(ground, strip)

    def _draw_camera(self) -> CameraParameters:
        camera = self.settings.camera
        return camera.randomised(self._rng) if self.settings.randomise else camera

    def redraw(self) -> None:
        """Let others take the place of one room and of some lenses; cars keep theirs until placed anew."""
        track = int(self._rng.integers(len(self._rooms)))
        rooms = self._rooms[track]
        rooms[int(self._rng.integers(len(rooms)))] = self._draw_room(self.tracks.tracks[track])
        redrawn = self._rng.choice(len(self._lenses), min(REDRAWN_LENSES, len(self._lenses)), replace=False)
        for which in redrawn.tolist():
            self._redraw_lens(which)

    def _redraw_lens(self, which: int) -> None:
        camera = self._cameras[which] = self._draw_camera()
        self._forget(self._lenses[which])
        self._lenses[which] = Lens(camera, POLICY_SIZE)
        if self._right_lenses:
            self._forget(self._right_lenses[which])
            self._right_lenses[which] = Lens(_right_of(camera), POLICY_SIZE)

    def _forget(self, lens: Lens) -> None:
        for rooms in self._rooms:
            for room in rooms:
                room.backdrops.pop(lens, None)

    def place(self, car: int, start: Start, rng: np.random.Generator | None = None) -> None:
        """Put one car down, in a fresh room as a fresh car if the fleet randomises, and take its picture."""
        rng = rng or self._rng
        track = self.tracks.tracks[start.track]
        half_m = float(np.interp(start.s_m % track.length_m, track.s_m, track.half_width_m))
        x, y, heading = track.pose_at(start.s_m, start.offset_share * half_m)
        fresh = CarState(
            x_m=x,
            y_m=y,
            yaw_rad=heading + start.turned_rad,
            speed_mps=start.speed_mps,
            esc_armed=1.0,
            neutral_s=60.0,
        )
        parameters = self.settings.car.randomised(rng) if self.settings.randomise else self.settings.car
        self._cars[car] = parameters
        if self.settings.count == 1:
            self.state, self.car = fresh, parameters
        else:
            for name in _STATE_FIELDS:
                getattr(self.state, name)[car] = getattr(fresh, name)
            for name in _CAR_FIELDS:
                getattr(self.car, name)[car] = getattr(parameters, name)
        self.track[car] = start.track
        place = track.project(x, y)
        self.index[car], self.s_m[car], self.offset_m[car] = place.nearest, place.s_m, place.offset_m
        self.progress_m[car] = 0.0
        self.throttle_frac[car] = start.speed_mps / 4.0
        self.steering_frac[car] = 0.0
        steering = self.settings.calibration.steering
        self._sent_us[:, car] = steering.center_us, self.settings.calibration.throttle.neutral_us
        self.frame_number[car] = 0
        if self.settings.randomise:
            self.delay_steps[car] = self._drawn_delay(rng)
            self.drop_share[car] = rng.uniform(0, DROP_SHARE_MAX) if rng.random() < 0.5 else 0.0
        self._history[:, :, car] = np.array([x, y, fresh.yaw_rad, 0.0, start.speed_mps])[:, None]
        self._make_renderers(car, start.track, rng)
        self._expose(car, 0)

    def _drawn_delay(self, rng: np.random.Generator) -> int:
        longest = DELAY_STEPS_MAX - DELAY_JITTER_STEPS
        share = self.settings.late_share
        is_late = share > 0 and rng.random() < share
        return int(rng.integers(2 * longest // 3 if is_late else 0, longest + 1))

    def number_frames_from(self, number: int) -> None:
        """Take every car's picture anew under this number; a picture's noise depends on its number."""
        self.frame_number[:] = number
        for car in range(self.settings.count):
            self._expose(car, 0)

    def restart(self, seed: int) -> None:
        """Begin time and chance anew, as a fresh fleet with this seed would; the rooms stay."""
        self._rng = np.random.default_rng([seed, 0])
        self._step = self.settings.first_step

    def parameters(self, car: int) -> CarParameters:
        """Return what one car really is."""
        return self._cars[car]

    def _make_renderers(self, car: int, track: int, rng: np.random.Generator) -> None:
        which = int(rng.integers(len(self._lenses)))
        camera, lens = self._cameras[which], self._lenses[which]
        if self.settings.randomise:  # another sensor and light behind one of the lenses drawn beforehand
            light = self.settings.camera.randomised(rng)
            names = ("contrast", "brightness", "gamma", "noise", "softness_px", "exposure_s", "vignette")
            camera = dataclasses.replace(camera, **{name: getattr(light, name) for name in names})
        rooms = self._rooms[track]
        room = rooms[int(rng.integers(len(rooms)))]
        phase = int(rng.integers(1 << 20)) if self.settings.randomise else 0
        finish = Finish(camera, POLICY_SIZE, gray=not self.settings.colour, seed=phase)
        self._renderers[car] = room.renderer(lens, finish)
        if self._right_lenses:
            lens = self._right_lenses[which]
            gray = not self.settings.colour
            finish = Finish(_right_of(camera), POLICY_SIZE, gray=gray, seed=phase + RIGHT_EYE_SEED)
            self._right_renderers[car] = room.renderer(lens, finish)

    def drive(self, steering_frac: Floats, throttle_frac: Floats) -> None:
        """Act on one decision of every car, then take their next pictures."""
        self.steering_frac = np.asarray(steering_frac, dtype=np.float64)
        commands = self._commands(np.asarray(throttle_frac, dtype=np.float64))
        start = self._step
        for elapsed in range(STEPS_PER_DECISION):
            now = start + elapsed
            if now % STEPS_PER_PULSE == 0:
                # A command of this very moment is still on the wire: 12 bytes take 1.04 ms.
                newest = (elapsed - 1) // STEPS_PER_TICK if elapsed > 0 else -1
                self._pulse(self._sent_us if newest < 0 else commands[newest])
            step(self.state, self.car, self._maths)
            self._remember(now + 1)
        self._sent_us = commands[-1]
        self._step = start + STEPS_PER_DECISION
        self._locate()
        self.frame_number += 1
        if self.settings.randomise:
            jitter = self._rng.integers(0, DELAY_JITTER_STEPS + 1, self.settings.count)
            kept = self._rng.random(self.settings.count) >= self.drop_share
        else:
            jitter, kept = (
                np.zeros(self.settings.count, dtype=np.int64),
                np.ones(self.settings.count, dtype=bool),
            )
        self.exposed = np.flatnonzero(kept & self.watched).tolist()
        for car, late_steps in zip(self.exposed, jitter[self.exposed].tolist(), strict=True):
            self._expose(car, late_steps)

    def _commands(self, wanted_frac: Floats) -> list[Floats]:
        """Return the pulses that a decision's four ticks send: steering and throttle, whole microseconds."""
        calibration = self.settings.calibration
        steering, throttle = calibration.steering, calibration.throttle
        share = np.clip(self.steering_frac, -1.0, 1.0)
        end_us = np.where(share > 0, steering.left_us, steering.right_us)
        steering_us = whole_us(steering.center_us + np.abs(share) * (end_us - steering.center_us))
        wanted = np.clip(wanted_frac, 0.0, 1.0)  # a policy never reverses
        span_us = throttle.forward_us - throttle.neutral_us
        dead_us = np.copysign(throttle.forward_dead_band_us, span_us)
        commands = []
        for _ in range(STEPS_PER_DECISION // STEPS_PER_TICK):
            self.throttle_frac = np.minimum(wanted, self.throttle_frac + THROTTLE_GROWTH_PER_S * TICK_S)
            moving_us = throttle.neutral_us + dead_us + self.throttle_frac * (span_us - dead_us)
            throttle_us = whole_us(np.where(self.throttle_frac > 0, moving_us, throttle.neutral_us))
            commands.append(np.stack([steering_us, throttle_us]))
        return commands

    def _pulse(self, pulses_us: Floats) -> None:
        if self.settings.count == 1:
            receive_pulses(self.state, float(pulses_us[0, 0]), float(pulses_us[1, 0]), self.car, self._maths)
        else:
            receive_pulses(self.state, pulses_us[0], pulses_us[1], self.car, self._maths)

    def _remember(self, now: int) -> None:
        slot, state = self._history[:, now % HISTORY_STEPS], self.state
        slot[0], slot[1], slot[2] = state.x_m, state.y_m, state.yaw_rad
        slot[3], slot[4] = state.yaw_rate_radps, state.speed_mps

    def _locate(self) -> None:
        x, y = np.atleast_1d(self.state.x_m), np.atleast_1d(self.state.y_m)
        index, s_m, offset_m = self.tracks.project(self.track, x, y, self.index)
        length_m = self.tracks.lengths_m[self.track]
        self.progress_m += (s_m - self.s_m + length_m / 2) % length_m - length_m / 2
        self.index, self.s_m, self.offset_m = index, s_m, offset_m

    def _expose(self, car: int, jitter_steps: int) -> None:
        """Take the picture that arrives now: it was exposed `delay` steps ago."""
        renderer = self._renderers[car]
        if renderer is None:
            return
        exposed = (self._step - int(self.delay_steps[car]) - jitter_steps) % HISTORY_STEPS
        x, y, yaw, yaw_rate, _ = self._history[:, exposed, car].tolist()
        number = int(self.frame_number[car])
        self.pictures[car] = self._picture(renderer, (x, y, yaw, yaw_rate), number)
        right = self._right_renderers[car]
        if right is not None and self.right_pictures is not None:
            self.right_pictures[car] = self._picture(right, (x, y, yaw, yaw_rate), number)
        if self._lidar is not None:
            self._lidar.measure(car, int(self.track[car]), (x, y, yaw), number)

    def _picture(self, renderer: Renderer, pose: tuple[float, float, float, float], number: int) -> Image:
        picture = renderer.render(*pose, number)
        return through_jpeg(picture) if self.settings.colour else picture

    def sight(self, car: int) -> Sight:
        """Return what one car senses, in memory of its own; for a fleet with colour."""
        image = np.array(self.pictures[car], dtype=np.uint8)
        right = self.right_pictures
        return Sight(
            image,
            None if right is None else np.array(right[car], dtype=np.uint8),
            None if self._lidar is None else self._lidar.scan(car),
        )

    @property
    def speed_mps(self) -> Floats:
        """Of each car."""
        return np.atleast_1d(np.asarray(self.state.speed_mps, dtype=np.float64))

    @property
    def half_width_m(self) -> Floats:
        """Of the track where each car is."""
        return self.tracks.half_width_m[self.track, self.index]

    @property
    def heading_error_rad(self) -> Floats:
        """How far each car points left of the track's direction."""
        error = np.atleast_1d(self.state.yaw_rad) - self.tracks.heading_rad[self.track, self.index]
        return (error + np.pi) % (2 * np.pi) - np.pi

    @property
    def is_off_track(self) -> npt.NDArray[np.bool_]:
        """True where a car's centre has left the track."""
        return np.abs(self.offset_m) > self.half_width_m


def _right_of(camera: CameraParameters) -> CameraParameters:
    """Return the right eye of a pair whose left one is this camera."""
    return dataclasses.replace(camera, left_m=camera.left_m - RightCameraSettings().baseline_m)


def whole_us(pulses_us: Floats) -> Floats:
    """Return the pulses as the board protocol carries them: whole microseconds, halves upwards."""
    return np.floor(pulses_us + 0.5)


def through_jpeg(picture: Image) -> Image:
    """Return the picture as it comes out of the camera's compression."""
    _, coded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), dtype=np.uint8)
