"""The environment that policies learn in and the full stack over real bytes are the same car."""

from pathlib import Path

import numpy as np

from models.bundle import zoo_names
from models.observation import Sight
from models.policy import load_policy
from models.training.fleet import Fleet, FleetSettings, Start
from tests.hil.rig import lockstep_rig
from vehicle.hil.settings import CameraSettings
from vehicle.hil.track import load_track
from vehicle.hil.world import START_BEFORE_LINE_M
from vehicle.messages import DriveState

TRACK = "oval"
DELAY_STEPS = 6
STEP_NS = 1e9 / 300
TOLERANCE_M = 0.001
DECISIONS = 200  # over a lap


def test_one_policy_drives_the_same_line_in_training_and_through_the_whole_stack():
    policy_name = zoo_names()[0]
    camera = CameraSettings(fps=15.0, delay_s=DELAY_STEPS / 300)
    with lockstep_rig(track=TRACK, policy=Path(policy_name), camera=camera, seed=0) as rig:
        rig.load_policy()
        rig.tick()  # so that driving does not begin with a tick that decides: the first is followed below
        rig.start(speed_cap_frac=1.0)
        assert rig.state is DriveState.AUTONOMOUS
        decided = [record for record in rig.publisher.records if record.action_index >= 0]
        assert not decided, "the policy must not have decided before the comparison begins"
        stack_m, first = follow_stack(rig)

    settings = FleetSettings(
        count=1,
        randomise=False,
        colour=True,
        delay_steps=DELAY_STEPS,
        first_step=round(first.now_ns / STEP_NS),
    )
    fleet = Fleet([load_track(TRACK)], settings)
    fleet.place(0, Start(0, -START_BEFORE_LINE_M))
    training_m = follow_fleet(fleet, policy_name, first.frame_number)

    gaps_m = np.hypot(*(stack_m - training_m).T)
    print(f"largest gap {gaps_m.max() * 1e3:.4f} mm over {len(gaps_m)} decisions")
    assert gaps_m.max() <= TOLERANCE_M
    travelled_m = np.hypot(*np.diff(training_m, axis=0).T).sum()
    assert travelled_m > load_track(TRACK).length_m


def follow_stack(rig):
    """Return where the car was at each decision, and the record of the first."""
    places_m, first = [], None
    while len(places_m) < DECISIONS:
        record = rig.tick_before_wait()
        if record.decided and record.action_index >= 0:
            first = first or record
            truth = rig.world.truth_now()
            places_m.append((truth.x_m, truth.y_m))
        rig.vehicle.loop.wait()
    return np.array(places_m), first


def follow_fleet(fleet: Fleet, policy_name: str, first_frame: int) -> np.ndarray:
    """Drive the environment's car by the same policy; return where it was at each decision."""
    policy = load_policy(policy_name)
    fleet.number_frames_from(first_frame)
    places_m = []
    for _ in range(DECISIONS):
        places_m.append((float(fleet.state.x_m), float(fleet.state.y_m)))
        action = policy.decide(Sight(fleet.pictures[0]), fleet.settings.calibration).action
        fleet.drive(np.array([action.steering_frac]), np.array([action.throttle_frac]))
    return np.array(places_m)
