"""HIL frames for int8: what the policy sees as it drives, other drives for calibration than for the test."""

import functools
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from calibration.car import HIL_AWS
from models import int8, int8_accept, metadata
from models.bundle import find_bundle
from models.check_frames import seen_sights
from models.int8 import make_int8
from models.int8_frames import Role
from models.policy import load_policy
from models.training import hil_frames
from models.training.hil_frames import HilFrames, drive_laps_in_hil
from tests.hil.sensing_policies import write_sensing_policy


def test_drives_of_the_two_roles_have_no_picture_in_common(monkeypatch):
    monkeypatch.setattr(hil_frames, "CARS", 2)
    monkeypatch.setattr(hil_frames, "DECISIONS", {Role.CALIBRATION: 4, Role.TEST: 6})
    source = HilFrames("plover", tracks=("oval",))

    drives = {role: [[sight.image for sight in drive] for drive in source.drives(role)] for role in Role}
    pictures = {role: {image.tobytes() for drive in drives[role] for image in drive} for role in Role}

    counts = {role: [len(drive) for drive in drives[role]] for role in Role}

    assert len(counts[Role.CALIBRATION]) == 4
    assert len(counts[Role.TEST]) == 8
    assert 2 <= min(counts[Role.CALIBRATION]) <= max(counts[Role.CALIBRATION]) <= 4
    assert 3 <= min(counts[Role.TEST]) <= max(counts[Role.TEST]) <= 6
    assert pictures[Role.CALIBRATION].isdisjoint(pictures[Role.TEST])
    assert len(pictures[Role.TEST]) == sum(counts[Role.TEST])  # none twice
    assert all(np.ptp(image) > 50 for image in drives[Role.TEST][0])
    assert "oval-reversed" in source.description


def test_frames_of_a_policy_with_two_eyes_and_a_lidar_hold_all_it_senses(monkeypatch, tmp_path: Path):
    monkeypatch.setattr(hil_frames, "CARS", 1)
    monkeypatch.setattr(hil_frames, "DECISIONS", {Role.CALIBRATION: 3, Role.TEST: 3})
    policy = write_sensing_policy(tmp_path / "sensing", "STEREO_CAMERAS", "LIDAR")

    sights = [sight for drive in HilFrames(policy, tracks=("oval",)).drives(Role.TEST) for sight in drive]

    for left, right, scan in sights:
        assert right is not None
        assert scan is not None
        assert not np.array_equal(left, right)
        assert np.isfinite(scan.ranges_m).any()


LAYERS = ("convolutions.0", "convolutions.2", "convolutions.4", "hidden", "head")
WIDER = 4


def write_wider(policy: str, folder: Path) -> Path:
    """Write a policy that answers as a shipped one does with four times its channels and units.

    Each is there four times over and counts a quarter in the next layer. The shipped networks are too small
    to gain from int8; this one takes as long as a network of the field.
    """
    model, described, _ = find_bundle(policy)
    network = onnx.load(model)
    weights = {one.name: one for one in network.graph.initializer}
    for layer in LAYERS:
        for kind in ("weight", "bias"):
            values = numpy_helper.to_array(weights[f"{layer}.{kind}"])
            if kind == "weight" and layer != LAYERS[0]:
                values = np.concatenate([values] * WIDER, axis=1) / np.float32(WIDER)
            if layer != LAYERS[-1]:
                values = np.concatenate([values] * WIDER)
            weights[f"{layer}.{kind}"].CopyFrom(numpy_helper.from_array(values, f"{layer}.{kind}"))
    del network.graph.value_info[:]
    folder.mkdir()
    onnx.save(network, folder / "model.onnx")
    quicker = msgspec.structs.replace(metadata.load(described), control_rate_hz=120.0)  # to measure at
    (folder / "model_metadata.json").write_bytes(metadata.encode(quicker))
    return folder


def test_the_wider_policy_answers_as_the_shipped_one(tmp_path: Path) -> None:
    wider, shipped = load_policy(write_wider("plover", tmp_path / "wider")), load_policy("plover")
    for sight in seen_sights():
        wanted = shipped.decide(sight, HIL_AWS).output
        assert wider.decide(sight, HIL_AWS).output == pytest.approx(wanted, abs=1e-4)


def test_laps_and_the_clock_decide_about_int8_of_a_policy_that_laps(monkeypatch, tmp_path: Path):
    """A real policy on few frames; which way they decide is the processor's."""
    monkeypatch.setattr(hil_frames, "CARS", 1)
    monkeypatch.setattr(hil_frames, "DECISIONS", {Role.CALIBRATION: 65, Role.TEST: 40})
    monkeypatch.setattr(hil_frames, "ROUNDS", {Role.CALIBRATION: range(1), Role.TEST: range(1, 2)})
    monkeypatch.setattr(int8, "RECIPES", int8.RECIPES[1:])
    monkeypatch.setattr(int8, "CALIBRATION_FRAMES_MIN", 50)
    monkeypatch.setattr(int8_accept, "FRAMES_MIN", 50)
    policy = write_wider("plover", tmp_path / "wider")
    laps = functools.partial(drive_laps_in_hil, tracks=("oval",), starts=1)
    made = tmp_path / "made"
    made.mkdir()

    report = make_int8(policy, HilFrames(policy, tracks=("oval",)), into=made, drive_laps=laps)

    (trial,) = report.trials
    print(f"float {report.float_laps}, int8 {trial.laps}: {trial}")
    assert trial.agreement.objections == ()
    assert trial.speed.objection == ""  # half of the time, by the clock
    assert report.float_laps is not None
    assert trial.laps is not None
    assert report.float_laps.completed_on == {"oval": 2}
    assert trial.objections == int8_accept.lap_objections(report.float_laps, trial.laps)
    assert report.accepted is not bool(trial.objections)
    assert (made / int8.INT8_NAME).exists() is report.accepted
