"""A console export, from the archive to a decision: unpacked, converted, folded, bound, measured, driven."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from calibration.car import AWS_DEFAULTS
from models.check_frames import seen_sights
from models.check_report import CheckReport
from models.check_stages import make_bundle
from models.errors import PolicyError
from models.policy import load_policy

GOLDEN = Path(__file__).parents[1] / "golden"
RANGE = {"steering_angle": {"low": -20, "high": 30}, "speed": {"low": 0.5, "high": 3}}


def console_export(folder: Path, graph: str, metadata: dict[str, object]) -> Path:
    archive = folder / "Owners-Model.tar.gz"
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(GOLDEN / f"{graph}.pb", "agent/model.pb")
        text = json.dumps(metadata).encode()
        member = tarfile.TarInfo("model_metadata.json")
        member.size = len(text)
        packed.addfile(member, io.BytesIO(text))
    return archive


def uploaded(folder: Path, graph: str, metadata: dict[str, object]) -> CheckReport:
    archive = console_export(folder, graph, metadata)
    return make_bundle(
        archive,
        folder / "bundle",
        name="mine",
        source_name=archive.name,
        input_range="",
        tell=lambda *_: None,
    )


@pytest.mark.parametrize(
    ("graph", "fields"),
    [
        ("front_facing_camera_shallow_discrete-keras3", {"action_space": "list"}),
        ("stereo_cameras+lidar_deep_discrete-keras2", {"action_space": "list"}),
        ("left_camera_plain_sac-tf1", {"action_space": RANGE, "training_algorithm": "sac"}),
    ],
)
def test_an_export_of_each_spelling_becomes_a_policy_that_decides(tmp_path, graph, fields):
    sensors = [sensor.upper() for sensor in graph.rsplit("_", 2)[0].split("+")]
    with np.load(GOLDEN / f"{graph.rsplit('-', 1)[0]}.npz") as recorded:
        count = recorded["tf1"].shape[-1]
    metadata = {"version": "5", "sensor": sensors, **fields}
    if fields["action_space"] == "list":
        metadata["action_space"] = [{"steering_angle": 20 - 10 * turn, "speed": 1} for turn in range(count)]

    report = uploaded(tmp_path, graph, metadata)
    policy = load_policy(tmp_path / "bundle")
    sight = seen_sights()[0]
    decided = policy.decide(sight, AWS_DEFAULTS)

    assert set(report.sensors) == set(sensors) == {sensor.value for sensor in policy.sensors}
    assert policy.bundle.sha256 == report.sha256  # one name for it, in the store and on the wire
    assert report.simplified  # the division by 255 went into the weights
    shown = next(response for response in report.responses if response.picture == "frame 0")
    assert decided.output == pytest.approx(shown.output, abs=1e-5)


def test_a_list_shorter_than_the_networks_answers_is_refused(tmp_path):
    metadata = {"action_space": [{"steering_angle": 0, "speed": 1}], "sensor": ["FRONT_FACING_CAMERA"]}
    with pytest.raises(PolicyError, match="1 action"):
        uploaded(tmp_path, "front_facing_camera_shallow_discrete-keras3", metadata)
