"""What a training is told, and what it tells while it runs."""

import dataclasses

from models.metadata import Action
from models.training.fleet import FleetSettings
from models.training.reward import OFF_TRACK_PENALTY
from vehicle.hil.track import REVERSED

STEERING_DEG = (-30.0, -20.0, -10.0, 0.0, 10.0, 20.0, 30.0)
SPEED_MPS = (1.0, 2.0, 3.0)
SELECTION_SEED = 1_000_003  # of the starts that choose the best policy
FRESH_SEED = 2_000_003  # of those that test it again


@dataclasses.dataclass(frozen=True)
class TrainSettings:
    """One training; everything that a report must repeat."""

    tracks: tuple[str, ...]
    steps: int
    """Decisions of all cars together."""
    minutes: float | None = None
    """End after this time too; learning rate and entropy have fallen by then."""
    seed: int = 0
    both_ways: bool = True
    """Drive every track in either direction."""
    randomise: bool = True
    cars: int = 64
    horizon: int = 48
    epochs: int = 4
    batch: int = 512
    learning_rate: float = 4e-4
    gamma: float = 0.98
    entropy: float = 0.01
    network: str = "small"
    width_px: int = 80
    height_px: int = 60
    frame_stack: int = 2
    steering_deg: tuple[float, ...] = STEERING_DEG
    speeds_mps: tuple[float, ...] = SPEED_MPS
    reward: str | None = None
    """A Python file with a reward function; None is the default one."""
    replay_share: float = 0.0
    """Of the episodes, at most: repeat a draw (car, room, camera, delay) that failed."""
    late_share: float = 0.0
    """Of the cars, more: their pictures come late, by the last third of the range of delays."""
    faint_share: float = 0.0
    """Of the rooms: their lines are narrow and dim, also dimmer than a randomised room's ever are."""
    off_track_penalty: float = OFF_TRACK_PENALTY
    """Of the default reward."""
    edge_penalty: float = 0.0
    """Of the default reward: for a decision at the very edge of the track."""
    start_from: str | None = None
    """Folder of an earlier training whose network this one begins with, or a policy that it made."""
    critic_first: int = 0
    """Decisions during which only the critic learns, where it starts from a policy, which has none."""
    guess_share: float = 0.0
    """In the loss: of a part, thrown away afterwards, that guesses the truth from what the actor sees."""
    ahead: bool = False
    """Drive in a process of its own while learning from the decisions before."""
    redraw: bool = False
    """Draw one room and some of the cameras' mountings anew before each update."""
    evaluate_every: int = 100_000
    evaluate_starts: int = 72
    evaluate_laps: float = 2.0
    rooms: int = 4

    @property
    def actions(self) -> tuple[Action, ...]:
        """Every steering angle at every speed."""
        return tuple(Action(turn, speed) for speed in self.speeds_mps for turn in self.steering_deg)

    @property
    def track_names(self) -> tuple[str, ...]:
        """With the other direction, where both are driven."""
        backwards = tuple(name + REVERSED for name in self.tracks) if self.both_ways else ()
        return self.tracks + backwards

    def fleet(self, *, cars: int, seed: int) -> FleetSettings:
        """Return the settings of a fleet for this training."""
        return FleetSettings(
            count=cars,
            randomise=self.randomise,
            rooms_per_track=self.rooms,
            late_share=self.late_share,
            faint_share=self.faint_share,
            seed=seed,
        )


@dataclasses.dataclass
class Point:
    """One line of a training's history."""

    steps: int
    wall_s: float
    reward: float
    """Mean of recent training episodes."""
    completion: float
    """Mean share of a lap in recent training episodes."""
    episodes: int
    eval_finished: float
    """Share of greedy starts that drove all their laps."""
    eval_completion: float
    eval_lap_s: float
    best: bool
