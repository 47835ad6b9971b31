"""`lapwing evaluate`: a shipped policy on tracks, from many starts, beside a driver that knows the truth.

The policy is driven exactly as on the car: its ONNX file, `models.policy` from picture to action, pictures
in colour and through JPEG. Needs neither torch nor gymnasium.
"""

import dataclasses
import enum
import json
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
from rich.table import Table

from calibration.car import HIL_AWS
from models.bundle import PolicyBundle, check_bundle
from models.check_frames import blank_sight, mirrored
from models.observation import Sight
from models.policy import Policy
from models.runtime import PolicyRuntime
from models.sensors import LIDAR_SENSORS, Sensor
from models.training.expert import Expert
from models.training.fleet import STEPS_PER_DECISION, Fleet, FleetSettings, Start
from vehicle.hil.dynamics import STEPS_PER_S
from vehicle.hil.track import Track, load_track

Floats: TypeAlias = npt.NDArray[np.float64]
Drive: TypeAlias = Callable[[Fleet, npt.NDArray[np.bool_]], tuple[Floats, Floats]]

DECISION_S = STEPS_PER_DECISION / STEPS_PER_S
SLOWEST_MPS = 0.4  # a car that has not done its laps by then is given up
CARS_AT_ONCE = 50


class Control(enum.StrEnum):
    """Ways to blind a policy, which must make it fail; else it does not drive by what it sees."""

    NONE = "none"
    BLANK = "blank"  # one grey picture, and a scan that nothing answers
    MIRRORED = "mirrored"  # left and right exchanged
    OTHER = "other"  # what another car senses


@dataclasses.dataclass(frozen=True)
class Failure:
    """One start that did not do its laps: where and how it ended, and what chance had drawn for it."""

    start: int
    """Counted from 0, all round the track."""
    laps: float
    """Driven by then."""
    at_m: float
    """Along the centre line."""
    offset_m: float
    """Left of the centre line."""
    curvature_per_m: float
    """Of the track there, positive left."""
    speed_mps: float
    delay_ms: float
    """From exposure to decision."""
    drop_share: float
    grip: float
    battery_gain: float
    motor_tau_s: float
    servo_tau_s: float
    steering_gain: float
    trim_rad: float
    left_track: bool
    """False: given up because it was too slow."""


FAILURE_COLUMNS = tuple(field.name for field in dataclasses.fields(Failure))


@dataclasses.dataclass(frozen=True)
class TrackResult:
    """What happened on one track."""

    track: str
    length_m: float
    starts: int
    finished: int
    """Starts that drove all their laps without the car's centre leaving the track."""
    laps_completed: int
    laps_wanted: int
    completion: float
    """Mean share of the wanted distance, 0 to 1."""
    lap_median_s: float | None
    """Of flying laps: the first, from standstill, does not count where more were wanted."""
    lap_best_s: float | None
    speed_mean_mps: float | None
    expert_finished: int
    expert_lap_median_s: float | None
    ratio: float | None
    """Policy's median lap by the expert's; below 1 the policy is faster."""
    failures: tuple[Failure, ...] = ()
    """Of the policy."""


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What `lapwing evaluate` found."""

    policy: str
    sha256: str
    starts: int
    laps: int
    randomise: bool
    seed: int
    control: str
    wall_s: float
    tracks: tuple[TrackResult, ...]
    """Driven to the end, in the order in which they were given."""
    tracks_wanted: int
    interrupted: bool = False
    """By Ctrl-C, so that tracks are missing."""

    @property
    def finished_share(self) -> float | None:
        """Of all starts on all tracks; None before the first track was driven."""
        starts = sum(t.starts for t in self.tracks)
        return sum(t.finished for t in self.tracks) / starts if starts else None

    def as_json(self) -> str:
        """Return one JSON document."""
        fields = dataclasses.asdict(self) | {"finished_share": self.finished_share}
        return json.dumps(fields, indent=2)

    def as_table(self) -> Table:
        """Return the table that people read."""
        world = "randomised" if self.randomise else "nominal"
        blinded = "" if self.control == Control.NONE else f", control: {self.control}"
        title = f"{self.policy}: {self.starts} starts x {self.laps} laps, {world}, seed {self.seed}{blinded}"
        if self.interrupted:
            title += f"; interrupted after {len(self.tracks)} of {self.tracks_wanted} tracks"
        table = Table(title=title)
        for name in (
            "track",
            "length",
            "finished",
            "laps",
            "completion",
            "lap median",
            "best",
            "speed",
            "expert",
            "ratio",
        ):
            table.add_column(name, justify="left" if name == "track" else "right")
        for row in self.tracks:
            table.add_row(
                row.track,
                f"{row.length_m:.1f} m",
                f"{row.finished}/{row.starts}",
                f"{row.laps_completed}/{row.laps_wanted}",
                f"{100 * row.completion:.1f} %",
                _shown(row.lap_median_s, "s"),
                _shown(row.lap_best_s, "s"),
                _shown(row.speed_mean_mps, "m/s"),
                f"{_shown(row.expert_lap_median_s, 's')} ({row.expert_finished}/{row.starts})",
                _shown(row.ratio, ""),
            )
        return table

    def failures_as_table(self) -> Table:
        """Return one line for each start that failed."""
        table = Table(title=f"{self.policy}: starts that failed")
        for name in ("track", *FAILURE_COLUMNS):
            table.add_column(name.replace("_", " "), justify="left" if name == "track" else "right")
        for row in self.tracks:
            for failure in row.failures:
                table.add_row(row.track, *(str(getattr(failure, name)) for name in FAILURE_COLUMNS))
        return table


class EvaluationInterruptedError(KeyboardInterrupt):
    """Ctrl-C while a policy was driven; still a KeyboardInterrupt to whoever wants the whole or nothing."""

    def __init__(self, so_far: Evaluation) -> None:
        super().__init__()
        self.so_far = so_far


def _shown(value: float | None, unit: str) -> str:
    return "-" if value is None else f"{value:.2f} {unit}".rstrip()


def evaluate(
    policy: str | Path,
    tracks: Sequence[str | Path],
    *,
    starts: int = 50,
    laps: int = 3,
    randomise: bool = False,
    seed: int = 0,
    control: Control = Control.NONE,
    tell: Callable[[TrackResult], None] | None = None,
) -> Evaluation:
    """Drive the policy on each track; raises PolicyError or HilError for what cannot be used.

    Raises EvaluationInterruptedError, which has the tracks driven so far, at a Ctrl-C while it drives.
    """
    began_s = time.monotonic()
    roads = [load_track(track) for track in tracks]
    bundle, runtime = check_bundle(policy)
    cv2.setNumThreads(1)
    results: list[TrackResult] = []

    def found(*, interrupted: bool) -> Evaluation:
        return Evaluation(
            policy=bundle.name,
            sha256=bundle.sha256,
            starts=starts,
            laps=laps,
            randomise=randomise,
            seed=seed,
            control=control.value,
            wall_s=round(time.monotonic() - began_s, 1),
            tracks=tuple(results),
            tracks_wanted=len(roads),
            interrupted=interrupted,
        )

    try:
        for road in roads:
            result = evaluate_track(
                bundle,
                runtime,
                road,
                starts=starts,
                laps=laps,
                randomise=randomise,
                seed=seed,
                control=control,
            )
            results.append(result)
            if tell is not None:
                tell(result)
    except KeyboardInterrupt:
        raise EvaluationInterruptedError(found(interrupted=True)) from None
    return found(interrupted=False)


def with_senses_of(bundle: PolicyBundle, settings: FleetSettings) -> FleetSettings:
    """Return the settings of a fleet that has the sensors which a policy looks at."""
    sensors = {part.sensor for part in bundle.inputs}
    return dataclasses.replace(
        settings,
        right_eye=Sensor.STEREO_CAMERAS in sensors,
        lidar=not sensors.isdisjoint(LIDAR_SENSORS),
    )


def evaluate_track(
    bundle: PolicyBundle,
    runtime: PolicyRuntime,
    track: Track,
    *,
    starts: int,
    laps: int,
    randomise: bool,
    seed: int,
    control: Control = Control.NONE,
) -> TrackResult:
    """Drive policy and expert from the same starts, in the same cars."""
    mine = _Laps()
    experts = _Laps()
    for begin in range(0, starts, CARS_AT_ONCE):
        count = min(CARS_AT_ONCE, starts - begin)
        # The seed depends on the track's name, so that the order of tracks changes nothing.
        part = zlib.crc32(f"{seed} {track.name} {begin}".encode())
        # About a room for each start: with few rooms, one that is hard to see decides over many starts.
        settings = FleetSettings(
            count=count, randomise=randomise, colour=True, rooms_per_track=count, seed=part
        )
        fleet = Fleet([track], with_senses_of(bundle, settings))
        _line_up(fleet, part)
        policies = [Policy(bundle, runtime) for _ in range(count)]
        mine.add(fleet, laps, lambda cars, running, p=policies: _decide(p, cars, running, control))  # type: ignore[misc]
        fleet = Fleet([track], settings)
        _line_up(fleet, part)
        fleet.watched[:] = False
        expert = Expert(fleet)
        experts.add(fleet, laps, lambda _cars, _running, e=expert: e.decide())  # type: ignore[misc]
    median_s, best_s, expert_s = mine.median_s, min(mine.flying_s, default=None), experts.median_s
    return TrackResult(
        track=track.name,
        length_m=round(track.length_m, 2),
        starts=starts,
        finished=mine.finished,
        laps_completed=mine.completed,
        laps_wanted=starts * laps,
        completion=round(float(np.mean(mine.completions)), 4),
        lap_median_s=median_s,
        lap_best_s=None if best_s is None else round(best_s, 3),
        speed_mean_mps=None if median_s is None else round(track.length_m / median_s, 2),
        expert_finished=experts.finished,
        expert_lap_median_s=expert_s,
        ratio=None if median_s is None or expert_s is None else round(median_s / expert_s, 3),
        failures=tuple(mine.failures),
    )


def _line_up(fleet: Fleet, seed: int) -> None:
    """Put the cars at rest all round the track, a little off the middle and not quite straight."""
    rng = np.random.default_rng([seed, 2])
    count = fleet.settings.count
    length_m = float(fleet.tracks.lengths_m[0])
    for car in range(count):
        start = Start(
            track=0,
            s_m=(car + float(rng.random())) / count * length_m,
            offset_share=float(rng.uniform(-0.3, 0.3)),
            turned_rad=float(rng.uniform(-0.15, 0.15)),
        )
        fleet.place(car, start, rng)


class _Laps:
    """Counts and times the laps of several fleets."""

    def __init__(self) -> None:
        self.finished = 0
        self.completed = 0
        self.completions: list[float] = []
        self.flying_s: list[float] = []
        self.failures: list[Failure] = []

    @property
    def median_s(self) -> float | None:
        return round(float(np.median(self.flying_s)), 3) if self.flying_s else None

    def add(self, fleet: Fleet, laps: int, drive: Drive) -> None:
        """Drive until every car has done its laps, has left the track or is given up."""
        count = fleet.settings.count
        length_m = float(fleet.tracks.lengths_m[0])
        goal_m = laps * length_m
        running = np.ones(count, dtype=bool)
        crossed_s: list[list[float]] = [[0.0] for _ in range(count)]
        reached_m = np.zeros(count)
        first = len(self.completions)
        for decision in range(int(goal_m / SLOWEST_MPS / DECISION_S)):
            before_m = fleet.progress_m.copy()
            fleet.drive(*drive(fleet, running))
            for car in np.flatnonzero(running):
                line_m = len(crossed_s[car]) * length_m
                if fleet.progress_m[car] >= line_m:
                    share = (line_m - before_m[car]) / (fleet.progress_m[car] - before_m[car])
                    crossed_s[car].append((decision + float(share)) * DECISION_S)
            reached_m = np.where(running, np.maximum(reached_m, fleet.progress_m), reached_m)
            left = running & fleet.is_off_track & (reached_m < goal_m)
            self.failures += [
                _failure(fleet, int(car), first, left_track=True) for car in np.flatnonzero(left)
            ]
            running &= (reached_m < goal_m) & ~left
            fleet.watched &= running
            if not running.any():
                break
        self.failures += [
            _failure(fleet, int(car), first, left_track=False) for car in np.flatnonzero(running)
        ]
        self.finished += int((reached_m >= goal_m).sum())
        self.completions += np.clip(reached_m / goal_m, 0.0, 1.0).tolist()
        for moments in crossed_s:
            self.completed += len(moments) - 1
            laps_s = np.diff(moments).tolist()
            self.flying_s += laps_s[1:] if laps > 1 else laps_s


def _failure(fleet: Fleet, car: int, first: int, *, left_track: bool) -> Failure:
    """Return how the start of this car has just ended; `first` is the number of the fleet's first start."""
    parameters = fleet.parameters(car)
    length_m = float(fleet.tracks.lengths_m[fleet.track[car]])
    return Failure(
        start=first + car,
        laps=round(float(fleet.progress_m[car]) / length_m, 2),
        at_m=round(float(fleet.s_m[car]), 2),
        offset_m=round(float(fleet.offset_m[car]), 2),
        curvature_per_m=round(float(fleet.tracks.curvature_per_m[fleet.track[car], fleet.index[car]]), 2),
        speed_mps=round(float(fleet.speed_mps[car]), 2),
        delay_ms=round(1000 * float(fleet.delay_steps[car]) / STEPS_PER_S),
        drop_share=round(float(fleet.drop_share[car]), 2),
        grip=round(float(parameters.grip), 2),
        battery_gain=round(float(parameters.battery_gain), 2),
        motor_tau_s=round(float(parameters.motor_tau_s), 2),
        servo_tau_s=round(float(parameters.servo_tau_s), 2),
        steering_gain=round(float(parameters.steering_gain), 2),
        trim_rad=round(float(parameters.trim_rad), 3),
        left_track=left_track,
    )


def _decide(
    policies: list[Policy], fleet: Fleet, running: npt.NDArray[np.bool_], control: Control
) -> tuple[Floats, Floats]:
    turn, push = np.zeros(len(policies)), np.zeros(len(policies))
    for car in np.flatnonzero(running):
        action = policies[car].decide(_seen(fleet, int(car), control), HIL_AWS).action
        turn[car], push[car] = action.steering_frac, action.throttle_frac
    return turn, push


def _seen(fleet: Fleet, car: int, control: Control) -> Sight:
    match control:
        case Control.BLANK:
            return blank_sight()
        case Control.MIRRORED:
            return mirrored(fleet.sight(car))
        case Control.OTHER:
            return fleet.sight((car + len(fleet.pictures) // 3 + 1) % len(fleet.pictures))
        case Control.NONE:
            return fleet.sight(car)
