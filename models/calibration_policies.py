"""The calibration drives that ship: straight, full left, full right, figure-eight, all slow.

`python -m models.calibration_policies` writes their bundles. The first three are networks of a few
hundred bytes whose answer no picture changes. A figure-eight needs time, which no network without memory
has: its bundle has a timetable beside such a network, and `TimedPolicy` takes the action that is due from
it. Time is counted in decisions, so that a replayed drive repeats; it starts anew with every drive.
"""

import argparse
import sys
from pathlib import Path

import msgspec
import numpy as np
from onnx import TensorProto, helper, numpy_helper

from calibration.car import CarCalibration
from models import metadata
from models.action_space import PolicyAction, to_drive_action
from models.errors import PolicyError
from models.metadata import Action, ActionUnits, InputFormat, PolicyMetadata, Sensor, ValueRange
from models.observation import Sight
from models.policy import Decision, Policy
from models.store_builtin import CALIBRATION, METADATA_NAME

TIMETABLE_NAME = "timetable.json"
SPEED_MPS = 0.6  # a brisk walk is twice as fast
LOCK_DEG = 30.0
CIRCLE_S = 3.4  # at 0.6 m/s on a circle of 0.32 m: a wheelbase of 0.165 m at 27 degrees
RATE_HZ = 30.0
PICTURE = (1, 60, 80, 1)
LEFT, STRAIGHT, RIGHT = range(3)
ACTIONS = (Action(LOCK_DEG, SPEED_MPS), Action(0.0, SPEED_MPS), Action(-LOCK_DEG, SPEED_MPS))


class Entry(msgspec.Struct, frozen=True):
    """One line of a timetable."""

    action: int
    """Index in the action space."""
    seconds: float


class Timetable(msgspec.Struct, frozen=True):
    """Actions one after another, from the beginning again at the end."""

    entries: tuple[Entry, ...]

    def action_at(self, time_s: float) -> int:
        """Return the index of the action that is due this long after the start."""
        left_s = time_s % sum(entry.seconds for entry in self.entries)
        for entry in self.entries:
            left_s -= entry.seconds
            if left_s < 0.0:
                return entry.action
        return self.entries[-1].action


DRIVES = {
    "straight": (STRAIGHT, None),
    "full-left": (LEFT, None),
    "full-right": (RIGHT, None),
    "figure-eight": (STRAIGHT, Timetable((Entry(LEFT, CIRCLE_S), Entry(RIGHT, CIRCLE_S)))),
}
"""Name -> the network's one answer, and the timetable where there is one."""


class TimedPolicy(Policy):
    """Takes its actions from a timetable, whatever it sees."""

    timetable = Timetable((Entry(STRAIGHT, 1.0),))
    _decisions = 0

    def reset(self) -> None:
        """Begin at the timetable's start; call when driving starts."""
        super().reset()
        self._decisions = 0

    def decide(self, sight: Sight, calibration: CarCalibration) -> Decision:
        """Return the action that is due; the network runs too, so that a broken one is seen."""
        decision = super().decide(sight, calibration)
        description = self.bundle.metadata
        assert isinstance(description.action_space, tuple)
        index = self.timetable.action_at(self._decisions / description.control_rate_hz)
        self._decisions += 1
        due = description.action_space[index]
        chosen = PolicyAction(index, float(np.radians(due.steering_deg)), due.speed_mps)
        return msgspec.structs.replace(
            decision,
            output=tuple(float(number == index) for number in range(len(description.action_space))),
            index=index,
            action=to_drive_action(chosen, self.space, description.action_units, calibration),
        )


def timed(policy: Policy, folder: Path) -> Policy:
    """Return the policy with the timetable of its folder in charge; raises PolicyError."""
    try:
        timetable = msgspec.json.decode((folder / TIMETABLE_NAME).read_bytes(), type=Timetable)
    except (OSError, msgspec.MsgspecError) as error:
        raise PolicyError(
            f"{folder / TIMETABLE_NAME} cannot be read ({error}); install Lapwing again"
        ) from error
    policy.__class__ = TimedPolicy
    assert isinstance(policy, TimedPolicy)
    policy.timetable = timetable
    return policy


def write_drive(folder: Path, answer: int, timetable: Timetable | None) -> None:
    """Write one bundle; the same bytes every time."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(_constant_network(answer))
    description = PolicyMetadata(
        action_space=ACTIONS,
        sensors=(Sensor.FRONT_FACING_CAMERA,),
        version=5.0,
        action_units=ActionUnits.PHYSICAL,
        control_rate_hz=RATE_HZ,
        input=InputFormat(range=ValueRange.BYTE),
    )
    (folder / METADATA_NAME).write_bytes(metadata.encode(description))
    if timetable is not None:
        (folder / TIMETABLE_NAME).write_bytes(msgspec.json.encode(timetable) + b"\n")


def _constant_network(answer: int) -> bytes:
    constants = {
        "nothing": np.zeros((1, 1), np.float32),
        "row": np.array([1, 1], np.int64),
        "answer": np.eye(len(ACTIONS), dtype=np.float32)[[answer]],
    }
    nodes = [
        helper.make_node("ReduceMean", ["FRONT_FACING_CAMERA"], ["mean4"], keepdims=1),
        helper.make_node("Reshape", ["mean4", "row"], ["mean"]),
        helper.make_node("Mul", ["mean", "nothing"], ["zero"]),
        helper.make_node("Add", ["zero", "answer"], ["policy"]),
    ]
    graph = helper.make_graph(
        nodes,
        "calibration_drive",
        [helper.make_tensor_value_info("FRONT_FACING_CAMERA", TensorProto.FLOAT, PICTURE)],
        [helper.make_tensor_value_info("policy", TensorProto.FLOAT, [1, len(ACTIONS)])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())


def main(arguments: list[str] | None = None) -> None:
    """Write the bundles of all drives."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=CALIBRATION)
    out = parser.parse_args(arguments).out
    for name, (answer, timetable) in DRIVES.items():
        write_drive(out / name, answer, timetable)
        sys.stdout.write(f"{out / name}\n")


if __name__ == "__main__":
    main()
