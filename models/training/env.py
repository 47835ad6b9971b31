"""The HIL world as a Gymnasium environment (one car) and as one of Stable-Baselines3's (many cars).

    key      meaning                                              unit          min        max
    image    gray pictures, oldest first, stack x height x width  grey levels   0          255
    state    what only the critic may see, while training         none          about -1   about 1

The actor sees `image` alone; nothing of `state` is in the exported policy. Actions are indices of the
action table.
"""

import dataclasses
import math
from collections import deque
from typing import Any, TypeAlias

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv

from calibration import steering, throttle
from calibration.car import CarCalibration
from models.metadata import Action
from models.picture import gray_picture, resized
from models.training.fleet import STEPS_PER_DECISION, Fleet, FleetSettings, Start
from models.training.reward import Reward, reward_function
from vehicle.hil.dynamics import STEPS_PER_S
from vehicle.hil.track import REVERSED, Track

Floats: TypeAlias = npt.NDArray[np.float64]
Observation: TypeAlias = dict[str, npt.NDArray[Any]]

DECISIONS_PER_S = STEPS_PER_S / STEPS_PER_DECISION
CURVATURE_AHEAD_M = (0.0, 0.3, 0.6, 1.0, 1.5, 2.0, 2.7, 3.5)
STATE_SIZE = 19 + len(CURVATURE_AHEAD_M)
STUCK_AFTER = 60  # decisions: four seconds
STUCK_BELOW_M = 0.5
TURNED_ROUND_RAD = 2.0
WAYPOINT_EVERY = 5  # centre-line points: 0.15 m, as in DeepRacer's routes
CAR_HALF_WIDTH_M = 0.1
REPLAYS = 3  # of each draw that failed
REPLAYED_AT_MOST = 512  # draws waiting: those of a policy that no longer exists teach nothing
REPLAY_FROM_M = (0.5, 5.0)  # before the place where it failed


@dataclasses.dataclass(frozen=True)
class EnvSettings:
    """What an episode is."""

    fleet: FleetSettings = dataclasses.field(default_factory=FleetSettings)
    height_px: int = 60
    width_px: int = 80
    frame_stack: int = 1
    longest: int = 600
    """Decisions in an episode."""
    replay_share: float = 0.0
    """Of the episodes that begin anew, at most: they repeat a draw that failed, from a little before."""


@dataclasses.dataclass(frozen=True)
class Draw:
    """One car in one room with one camera and one delay: what chance decided for an episode."""

    seed: int
    track: int


def drive_shares(actions: tuple[Action, ...], calibration: CarCalibration) -> tuple[Floats, Floats]:
    """Return each action's share of steering and of throttle on this car, as models.action_space does."""
    if calibration.speed_table is None:
        raise ValueError(f"{calibration.name} has no speed table, so m/s mean nothing on it")
    table = calibration.speed_table
    turn = [steering.frac_from_angle(calibration.steering, math.radians(a.steering_deg)) for a in actions]
    push = [throttle.frac_from_speed(table, a.speed_mps) for a in actions]
    return np.array(turn), np.array(push)


class Course:
    """Episodes of a fleet: starts, observations, rewards and ends."""

    def __init__(
        self,
        tracks: list[Track],
        actions: tuple[Action, ...],
        settings: EnvSettings,
        reward: Reward = reward_function,
    ) -> None:
        self.settings = settings
        self.actions = actions
        self.fleet = Fleet(tracks, settings.fleet)
        self.rng = np.random.default_rng([settings.fleet.seed, 1])
        self._reward = reward
        self._turn_frac, self._push_frac = drive_shares(actions, settings.fleet.calibration)
        self._waypoints = [
            [(float(x), float(y)) for x, y in track.center[::WAYPOINT_EVERY]] for track in tracks
        ]
        self._lengths_m = [float(track.length_m) for track in tracks]
        self._is_reversed = [track.name.endswith(REVERSED) for track in tracks]
        count = settings.fleet.count
        self.images = np.zeros(
            (count, settings.frame_stack, settings.height_px, settings.width_px), dtype=np.uint8
        )
        self.steps = np.zeros(count, dtype=np.int64)
        self.returns = np.zeros(count)
        self.best_m = np.zeros(count)
        self.draws: list[Draw | None] = [None] * count
        self.failed: deque[tuple[Draw, float]] = deque(maxlen=REPLAYED_AT_MOST)
        """Draws to repeat, and where on their track they failed."""
        self._checked_m = np.zeros(count)

    def start(self, car: int, begin: Start | None = None, rng: np.random.Generator | None = None) -> None:
        """Begin an episode: where told, or anywhere on any track, moving or standing, not quite straight."""
        if begin is None and rng is None:
            self._begin_anywhere(car)
        else:
            rng = rng or self.rng
            self.fleet.place(car, begin or self._anywhere(rng), rng)
            self.draws[car] = None
        self.steps[car] = 0
        self.returns[car] = self.best_m[car] = self._checked_m[car] = 0.0
        self.images[car] = self._shrunk(car)

    def _begin_anywhere(self, car: int) -> None:
        begin = self._anywhere(self.rng)
        draw = Draw(int(self.rng.integers(1 << 62)), begin.track)
        if self.failed and self.rng.random() < self.settings.replay_share:
            draw, s_m = self.failed.popleft()
            s_m -= float(self.rng.uniform(*REPLAY_FROM_M))
            s_m %= float(self.fleet.tracks.lengths_m[draw.track])
            begin = dataclasses.replace(begin, track=draw.track, s_m=s_m)
        self.draws[car] = draw
        self.fleet.place(car, begin, np.random.default_rng(draw.seed))

    def _remember_failures(self, ended: npt.NDArray[np.bool_]) -> None:
        for car in np.flatnonzero(ended):
            draw = self.draws[car]
            if draw is not None:
                self.failed.extend([(draw, float(self.fleet.s_m[car]))] * REPLAYS)

    def _anywhere(self, rng: np.random.Generator) -> Start:
        track = int(rng.integers(len(self.fleet.tracks.tracks)))
        standing = rng.random() < 0.25
        return Start(
            track=track,
            s_m=float(rng.uniform(0, self.fleet.tracks.lengths_m[track])),
            offset_share=float(rng.uniform(-0.6, 0.6)),
            turned_rad=float(rng.uniform(-0.35, 0.35)),
            speed_mps=0.0 if standing else float(rng.uniform(0.3, 2.2)),
        )

    def _shrunk(self, car: int) -> npt.NDArray[np.uint8]:
        """As models.observation shrinks what any network that is not DeepRacer's own gets."""
        picture = np.asarray(self.fleet.pictures[car], dtype=np.uint8)
        size_px = (self.settings.width_px, self.settings.height_px)
        return gray_picture(picture, size_px) if picture.ndim == 3 else resized(picture, size_px)

    def _shrink_new_pictures(self) -> None:
        """Put each car's newest picture last in its stack, all at once where whole blocks become pixels."""
        pictures = self.fleet.pictures
        count, height, width = pictures.shape[:3]
        settings = self.settings
        if pictures.ndim == 3 and height % settings.height_px == 0 and width % settings.width_px == 0:
            # One above the other they are one picture, and no block reaches from one into the next.
            tall_px = (settings.width_px, count * settings.height_px)
            tall = resized(pictures.reshape(count * height, width), tall_px)
            self.images[:, -1] = tall.reshape(count, settings.height_px, settings.width_px)
            return
        for car in self.fleet.exposed:  # the others still have the picture that they had
            self.images[car, -1] = self._shrunk(car)

    def step(
        self, chosen: npt.NDArray[np.int64]
    ) -> tuple[Floats, npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Drive one decision; return rewards, which episodes ended and which ran out of time."""
        fleet = self.fleet
        fleet.drive(self._turn_frac[chosen], self._push_frac[chosen])
        self.steps += 1
        self.best_m = np.maximum(self.best_m, fleet.progress_m)
        if self.settings.frame_stack > 1:
            self.images[:, :-1] = self.images[:, 1:]
        self._shrink_new_pictures()
        off = fleet.is_off_track
        turned = np.abs(fleet.heading_error_rad) > TURNED_ROUND_RAD
        due = self.steps % STUCK_AFTER == 0
        stuck = due & (fleet.progress_m - self._checked_m < STUCK_BELOW_M)
        self._checked_m = np.where(due, fleet.progress_m, self._checked_m)
        ended = off | turned | stuck
        rewards = np.array([self._reward(params) for params in self._params(chosen, ended)])
        self.returns += rewards
        self._remember_failures(ended)
        return rewards, ended, ~ended & (self.steps >= self.settings.longest)

    def _params(self, chosen: npt.NDArray[np.int64], ended: npt.NDArray[np.bool_]) -> list[dict[str, Any]]:
        """Return what DeepRacer's reward functions expect to find, for each car."""
        fleet = self.fleet
        yaw_rad = np.atleast_1d(fleet.state.yaw_rad)
        columns = zip(  # as Python's own numbers: one conversion for all cars
            fleet.track.tolist(),
            fleet.index.tolist(),
            np.atleast_1d(fleet.state.x_m).tolist(),
            np.atleast_1d(fleet.state.y_m).tolist(),
            np.degrees((yaw_rad + np.pi) % (2 * np.pi) - np.pi).tolist(),
            fleet.offset_m.tolist(),
            (2 * fleet.half_width_m).tolist(),
            fleet.progress_m.tolist(),
            self.steps.tolist(),
            fleet.speed_mps.tolist(),
            chosen.tolist(),
            ended.tolist(),
            fleet.s_m.tolist(),
            strict=True,
        )
        result = []
        for track, index, x, y, heading, offset, width, progress, steps, speed, action, over, s_m in columns:
            waypoints = self._waypoints[track]
            before = index // WAYPOINT_EVERY % len(waypoints)
            length = self._lengths_m[track]
            result.append(
                {
                    "all_wheels_on_track": abs(offset) + CAR_HALF_WIDTH_M < width / 2,
                    "x": x,
                    "y": y,
                    "distance_from_center": abs(offset),
                    "is_left_of_center": offset > 0,
                    "is_reversed": self._is_reversed[track],
                    "heading": heading,
                    "progress": min(100.0, max(0.0, 100 * progress / length)),
                    "steps": steps,
                    "speed": speed,
                    "steering_angle": self.actions[action].steering_deg,
                    "track_width": width,
                    "track_length": length,
                    "waypoints": waypoints,
                    "closest_waypoints": [before, (before + 1) % len(waypoints)],
                    "is_offtrack": over,
                    "is_crashed": not abs(offset) < width / 2,
                    "projection_distance": s_m,
                    "closest_objects": [0, 0],
                    "objects_location": [],
                    "objects_distance": [],
                    "objects_heading": [],
                    "objects_speed": [],
                    "objects_left_of_center": [],
                }
            )
        return result

    def completion(self, car: int) -> float:
        """Return how much of one lap this episode drove, 0 to 1."""
        length = float(self.fleet.tracks.lengths_m[self.fleet.track[car]])
        return float(np.clip(self.best_m[car] / length, 0.0, 1.0))

    def privileged(self) -> npt.NDArray[np.float32]:
        """Return what the critic may know of each car: place, motion, road ahead, and what this car is."""
        fleet = self.fleet
        car, state, error = fleet.car, fleet.state, fleet.heading_error_rad
        half_width_m = fleet.half_width_m
        columns = [
            fleet.offset_m / half_width_m,
            np.sin(error),
            np.cos(error),
            fleet.speed_mps / 4,
            np.asarray(state.steering_rad) * 2,
            np.asarray(state.yaw_rate_radps) / 5,
            fleet.throttle_frac,
            fleet.steering_frac,
            np.asarray(car.grip) - 0.8,
            np.asarray(car.battery_gain) - 1,
            np.asarray(car.motor_tau_s) * 3 - 0.8,
            np.asarray(car.servo_tau_s) * 10 - 1,
            np.asarray(car.coast_mps2) / 2 - 1,
            np.asarray(car.steering_gain) * 4 - 4,
            np.asarray(car.trim_rad) * 20,
            fleet.delay_steps / 30 - 0.7,
            fleet.drop_share * 5,
            half_width_m * 2 - 0.8,
            self.steps / self.settings.longest,
        ]
        result = np.empty((fleet.settings.count, STATE_SIZE), dtype=np.float32)
        for place, column in enumerate(columns):
            result[:, place] = column
        ahead_per_m = fleet.tracks.curvature_ahead_per_m(fleet.track, fleet.index, CURVATURE_AHEAD_M)
        result[:, len(columns) :] = ahead_per_m / 2
        return result


class DrivingEnv(gymnasium.Env[npt.NDArray[np.uint8], np.int64]):
    """One car. Observation: gray pictures, stack x height x width. Action: index of the action table."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": DECISIONS_PER_S}  # noqa: RUF012 - Gymnasium's own name
    render_mode = "rgb_array"

    def __init__(
        self,
        tracks: list[Track],
        actions: tuple[Action, ...],
        settings: EnvSettings | None = None,
        reward: Reward = reward_function,
    ) -> None:
        settings = settings or EnvSettings()
        settings = dataclasses.replace(settings, fleet=dataclasses.replace(settings.fleet, count=1))
        self.course = Course(tracks, actions, settings, reward)
        self.observation_space = spaces.Box(0, 255, self.course.images.shape[1:], np.uint8)
        self.action_space = spaces.Discrete(len(actions))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[npt.NDArray[np.uint8], dict[str, Any]]:
        """Begin an episode; `options={"start": Start(...)}` says where."""
        super().reset(seed=seed)
        if seed is not None:
            self.course.rng = np.random.default_rng(seed)
            self.course.fleet.restart(seed)
        self.course.start(0, (options or {}).get("start"))
        return self.course.images[0].copy(), {}

    def step(self, action: np.int64) -> tuple[npt.NDArray[np.uint8], float, bool, bool, dict[str, Any]]:
        """Drive one decision."""
        rewards, ended, late = self.course.step(np.array([action]))
        info = {"progress": self.course.completion(0), "speed_mps": float(self.course.fleet.speed_mps[0])}
        return self.course.images[0].copy(), float(rewards[0]), bool(ended[0]), bool(late[0]), info

    def render(self) -> npt.NDArray[np.uint8]:
        """Return what the camera sees."""
        picture = self.course.fleet.pictures[0]
        return np.repeat(picture[:, :, None], 3, axis=2) if picture.ndim == 2 else picture[:, :, ::-1].copy()


class FleetVecEnv(VecEnv):
    """Many cars for Stable-Baselines3; an episode that ends begins anew by itself."""

    def __init__(self, course: Course) -> None:
        self.course = course
        image = spaces.Box(0, 255, course.images.shape[1:], np.uint8)
        state = spaces.Box(-np.inf, np.inf, (STATE_SIZE,), np.float32)
        observation = spaces.Dict({"image": image, "state": state})
        super().__init__(course.settings.fleet.count, observation, spaces.Discrete(len(course.actions)))
        self._chosen = np.zeros(self.num_envs, dtype=np.int64)

    def _observation(self) -> Observation:
        return {"image": self.course.images.copy(), "state": self.course.privileged()}

    def reset(self) -> Observation:
        """Begin an episode with every car."""
        for car in range(self.num_envs):
            self.course.start(car)
        return self._observation()

    def step_async(self, actions: npt.NDArray[np.int64]) -> None:
        """Keep the actions for `step_wait`."""
        self._chosen = np.asarray(actions)

    def step_wait(
        self,
    ) -> tuple[Observation, npt.NDArray[np.float32], npt.NDArray[np.bool_], list[dict[str, Any]]]:
        """Drive one decision with every car."""
        course = self.course
        rewards, ended, late = course.step(self._chosen)
        over = ended | late
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        if over.any():
            final = course.privileged()
            for car in np.flatnonzero(over):
                infos[car] = {
                    "terminal_observation": {"image": course.images[car].copy(), "state": final[car]},
                    "TimeLimit.truncated": bool(late[car]),
                    "episode": {"r": float(course.returns[car]), "l": int(course.steps[car]), "t": 0.0},
                    "completion": course.completion(int(car)),
                }
                course.start(int(car))
        return self._observation(), rewards.astype(np.float32), over, infos

    def close(self) -> None:
        """Nothing is held."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Return an attribute, the same for every car."""
        return [getattr(self, attr_name, None)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Cars share one environment and are set up by `EnvSettings`."""
        raise NotImplementedError(f"{attr_name} cannot be set; give EnvSettings")

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        """Cars share one environment and have no methods of their own."""
        raise NotImplementedError(f"{method_name} does not exist for single cars")

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:  # noqa: ARG002
        """False: nothing wraps a car."""
        return [False] * len(list(self._get_indices(indices)))
