"""Sights and laps of a policy that was trained in the simulated car, for judging its int8."""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from calibration.car import HIL_AWS
from models.bundle import check_bundle
from models.int8_accept import Laps
from models.int8_frames import Role
from models.observation import Sight
from models.policy import Policy
from models.training.evaluate import evaluate, with_senses_of
from models.training.fleet import Fleet, FleetSettings, Start
from vehicle.hil.track import TRACKS, load_track

CARS = 8
DECISIONS = {Role.CALIBRATION: 30, Role.TEST: 90}  # six seconds at 15 Hz; 41 MB of pictures for all cars
ROUNDS = {Role.CALIBRATION: range(1), Role.TEST: range(1, 3)}
"""Each round drives every track in both directions once, in rooms of its own."""
SEED = 7100
LAP_STARTS, LAPS = 4, 2


class HilFrames:
    """What the policy sees while it drives the simulated car; other rooms and starts for each role."""

    def __init__(self, source: str | Path, tracks: Sequence[str] = TRACKS) -> None:
        self._source = source
        self._tracks = [f"{name}{way}" for name in tracks for way in ("", "-reversed")]

    @property
    def description(self) -> str:
        """The tracks."""
        return f"the simulated car on {', '.join(self._tracks)}"

    def drives(self, role: Role) -> Iterator[Iterator[Sight]]:
        """Return one drive of each car, until it leaves the track or the time is over."""
        bundle, runtime = check_bundle(self._source)
        for round_number, track in itertools.product(ROUNDS[role], self._tracks):
            seed = SEED + 100 * round_number + self._tracks.index(track)
            settings = FleetSettings(count=CARS, randomise=True, colour=True, rooms_per_track=CARS, seed=seed)
            fleet = Fleet([load_track(track)], with_senses_of(bundle, settings))
            _set_down(fleet, seed)
            policies = [Policy(bundle, runtime) for _ in range(CARS)]
            seen: list[list[Sight]] = [[] for _ in range(CARS)]
            running = np.ones(CARS, dtype=bool)
            for _ in range(DECISIONS[role]):
                turn, push = np.zeros(CARS), np.zeros(CARS)
                for car in np.flatnonzero(running):
                    sight = fleet.sight(int(car))
                    action = policies[car].decide(sight, HIL_AWS).action
                    turn[car], push[car] = action.steering_frac, action.throttle_frac
                    is_new = not seen[car] or not np.array_equal(seen[car][-1].image, sight.image)
                    if is_new:  # where the camera drops a frame, the one before is seen again
                        seen[car].append(sight)
                fleet.drive(turn, push)
                running &= ~fleet.is_off_track
                fleet.watched &= running
            yield from (iter(drive) for drive in seen)


def drive_laps_in_hil(folder: Path, tracks: Sequence[str] = TRACKS, starts: int = LAP_STARTS) -> Laps:
    """Let a policy lap on every track, from the same starts each time."""
    result = evaluate(folder, tracks, starts=starts, laps=LAPS, seed=SEED)
    return Laps(
        wanted=sum(row.laps_wanted for row in result.tracks),
        completed_on={row.track: row.laps_completed for row in result.tracks},
        median_s={row.track: row.lap_median_s for row in result.tracks},
    )


def _set_down(fleet: Fleet, seed: int) -> None:
    """Put the cars all round the track, off the middle and askew, so that they have to steer at once."""
    rng = np.random.default_rng([seed, 3])
    length_m = float(fleet.tracks.lengths_m[0])
    for car in range(CARS):
        along = (car + float(rng.random())) / CARS
        start = Start(0, along * length_m, float(rng.uniform(-0.4, 0.4)), float(rng.uniform(-0.25, 0.25)))
        fleet.place(car, start, rng)
