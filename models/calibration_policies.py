"""The calibration drives that ship: straight, full left, full right, figure-eight, all slow.

`python -m models.calibration_policies` writes their bundles: networks of a few hundred bytes whose answer no
picture changes. The figure-eight has a timetable in its metadata besides.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from models import metadata
from models.bundle_files import METADATA_NAME, MODEL_NAME
from models.metadata import Action, ActionUnits, InputFormat, PolicyMetadata, Sensor, ValueRange
from models.store_builtin import CALIBRATION
from models.timetable import Entry, Timetable

SPEED_MPS = 0.6  # a brisk walk is twice as fast
LOCK_DEG = 30.0
CIRCLE_S = 3.4  # at 0.6 m/s on a circle of 0.32 m: a wheelbase of 0.165 m at 27 degrees
RATE_HZ = 30.0
PICTURE = (1, 60, 80, 1)
LEFT, STRAIGHT, RIGHT = range(3)
ACTIONS = (Action(LOCK_DEG, SPEED_MPS), Action(0.0, SPEED_MPS), Action(-LOCK_DEG, SPEED_MPS))


DRIVES = {
    "straight": (STRAIGHT, None),
    "full-left": (LEFT, None),
    "full-right": (RIGHT, None),
    "figure-eight": (STRAIGHT, Timetable((Entry(LEFT, CIRCLE_S), Entry(RIGHT, CIRCLE_S)))),
}
"""Name -> the network's one answer, and the timetable where there is one."""


def write_drive(folder: Path, answer: int, timetable: Timetable | None) -> None:
    """Write one bundle; the same bytes every time."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MODEL_NAME).write_bytes(_constant_network(answer))
    description = PolicyMetadata(
        action_space=ACTIONS,
        sensors=(Sensor.FRONT_FACING_CAMERA,),
        version=5.0,
        action_units=ActionUnits.PHYSICAL,
        control_rate_hz=RATE_HZ,
        input=InputFormat(range=ValueRange.BYTE),
        timetable=timetable,
    )
    (folder / METADATA_NAME).write_bytes(metadata.encode(description))


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
