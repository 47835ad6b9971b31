"""A student in the field's own network: taught by a shipped policy, exported as a console does."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("stable_baselines3")

import torch

from calibration.car import HIL_AWS
from models.bundle import check_bundle
from models.check_frames import seen_sights
from models.check_stages import make_bundle
from models.metadata import ActionUnits
from models.picture import gray_picture
from models.policy import load_policy
from models.training import distil
from models.training.distil import Student, write_export

pytestmark = [pytest.mark.train, pytest.mark.timeout(120)]


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distil, "CARS", 4)
    monkeypatch.setattr(distil, "DECISIONS", 12)
    monkeypatch.setattr(distil, "ROUNDS", 2)
    monkeypatch.setattr(distil, "LAST_EPOCHS", 3)
    monkeypatch.setattr(distil, "TRACKS", ("oval",))
    monkeypatch.setattr(distil, "ROOMS", 1)


def test_what_is_exported_answers_on_the_car_as_the_student_does(tmp_path: Path) -> None:
    torch.manual_seed(1)
    bundle, _ = check_bundle("plover")
    student = Student(bundle.metadata.output_count)
    with torch.no_grad():
        for layer in student.layers.values():
            layer.bias.normal_(0.0, 0.1)  # a bias in the wrong place must show
    write_export(tmp_path / "distilled.tar.gz", student, bundle.metadata)

    report = make_bundle(
        tmp_path / "distilled.tar.gz",
        tmp_path / "bundle",
        name="distilled",
        source_name="distilled.tar.gz",
        input_range="",
        tell=lambda *_: None,
    )

    policy = load_policy(tmp_path / "bundle")
    assert report.kind == "frozen_graph"
    assert policy.bundle.metadata.action_units is ActionUnits.PHYSICAL
    assert policy.bundle.metadata.action_space == bundle.metadata.action_space
    for sight in seen_sights():
        gray = gray_picture(sight.image, (160, 120), policy.bundle.camera.format.resize)
        with torch.no_grad():
            wanted = torch.softmax(student(torch.from_numpy(gray)[None, None]), 1).numpy()[0]
        assert policy.decide(sight, HIL_AWS).output == pytest.approx(wanted, abs=1e-5)


def test_a_student_learns_what_its_teacher_answers(brief: None, tmp_path: Path) -> None:
    told: list[str] = []
    found = distil.distil("plover", tmp_path / "distilled.tar.gz", tell=told.append)

    wrong = [float(words.rpartition(" ")[2]) for words in told if "off by" in words]
    print(told)
    assert found.pictures == 4 * 12 * 2
    assert len(wrong) == 1 + 3
    assert wrong[-1] < 0.85 * wrong[0]
    assert (tmp_path / "distilled.tar.gz").stat().st_size > 1 << 20
    assert np.isfinite(wrong).all()
