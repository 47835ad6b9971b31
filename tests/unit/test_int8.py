"""Int8 is made from recordings, judged, kept with what it is valid for, and used only when chosen."""

import shutil
import types
from collections.abc import Iterator
from pathlib import Path

import cv2
import msgspec
import numpy as np
import onnx
import pytest

from calibration.car import AWS_DEFAULTS
from models import checked_policy, int8, int8_accept
from models.errors import PolicyError
from models.int8 import (
    INT8_NAME,
    Int8Report,
    keep_int8,
    make_int8,
    network_to_run,
    read_int8_report,
    use_int8,
)
from models.int8_accept import Laps, Speed
from models.int8_frames import Recordings, Role
from models.int8_summary import REPORT_NAME
from models.observation import Sight
from models.runtime import PolicyRuntime, SessionSettings
from tests.unit.policy_files import write_small_standard_policy

FAST = Speed(2.0, 3.0, 1.0, 1.5)
FEEDS = {"picture": np.random.default_rng(4).uniform(0, 255, (1, 60, 80, 1)).astype(np.float32)}


class Blobs:
    """Bright spots on dark: the standard network answers them differently."""

    description = "blobs"

    def __init__(self, calibration: int = 20, test: int = 40) -> None:
        self.counts = {Role.CALIBRATION: calibration, Role.TEST: test}

    def drives(self, role: Role) -> Iterator[Iterator[Sight]]:
        rng = np.random.default_rng([*role.encode()])
        for _ in range(2):
            yield (Sight(self._picture(rng)) for _ in range(self.counts[role] // 2))

    def _picture(self, rng: np.random.Generator) -> np.ndarray:
        picture = np.full((120, 160, 3), 20, np.uint8)
        centre = (int(rng.integers(160)), int(rng.integers(120)))
        cv2.circle(picture, centre, int(rng.integers(10, 60)), (int(rng.integers(80, 255)),) * 3, -1)
        return picture


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_standard_policy(tmp_path_factory.mktemp("policy"))


def make_easy(patch: pytest.MonkeyPatch) -> None:
    """A few frames are enough and the clock does not decide."""
    patch.setattr(int8, "CALIBRATION_FRAMES_MIN", 10)
    patch.setattr(int8_accept, "FRAMES_MIN", 40)
    patch.setattr(int8_accept, "ACTIONS_USED_MIN", 1)
    patch.setattr(int8, "_measure", lambda *_arguments: FAST)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    make_easy(monkeypatch)


@pytest.fixture(scope="module")
def made(policy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what is accepted."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        make_easy(patch)
        report = make_int8(policy, Blobs(), into=folder)
    assert report.accepted, report.trials
    return folder


@pytest.fixture
def accepted(made: Path, tmp_path: Path) -> Int8Report:
    """What is accepted, kept in `tmp_path`."""
    moved = tmp_path / "moved"
    shutil.copytree(made, moved)
    keep_int8(moved, tmp_path)
    moved.rmdir()  # nothing is left in it
    report = read_int8_report(tmp_path)
    assert report is not None
    return report


def test_what_is_accepted_lies_beside_with_its_numbers(accepted, tmp_path):
    assert sorted(path.name for path in tmp_path.iterdir()) == [REPORT_NAME, INT8_NAME]
    assert accepted.accepted
    assert accepted.trials[-1].agreement.frames == 40
    assert accepted.calibration_frames == 20


def test_weights_in_a_file_beside_the_network_are_quantised_too(small, policy, tmp_path):
    """As every converted DeepRacer export has them."""
    beside, made = tmp_path / "beside", tmp_path / "made"
    shutil.copytree(policy, beside)
    made.mkdir()
    network = onnx.load(beside / "model.onnx")
    onnx.save(network, beside / "model.onnx", save_as_external_data=True, location="weights.bin")
    assert (beside / "weights.bin").stat().st_size > 1 << 20

    report = make_int8(beside, Blobs(), into=made)

    assert report.accepted, report.trials
    assert sorted(path.name for path in made.iterdir()) == [REPORT_NAME, INT8_NAME]
    assert PolicyRuntime(made / INT8_NAME).infer(FEEDS).shape == (1, 10)


def test_what_is_refused_takes_the_place_of_what_was_accepted_and_the_choice_starts_over(accepted, tmp_path):
    use_int8(tmp_path, accepted.policy_sha256, wanted=True)
    refused = tmp_path / "refused"
    refused.mkdir()
    report = msgspec.structs.replace(accepted, accepted=False, int8_sha256="")
    (refused / REPORT_NAME).write_bytes(msgspec.json.encode(report))

    keep_int8(refused, tmp_path)

    assert read_int8_report(tmp_path) == report
    assert not (tmp_path / INT8_NAME).exists()


@pytest.mark.parametrize("steps", [1, 2])
def test_a_kill_while_it_is_kept_leaves_float_or_the_whole_of_it(
    accepted, made, tmp_path, steps, monkeypatch
):
    use_int8(tmp_path, accepted.policy_sha256, wanted=True)
    model, moved = tmp_path / "model.onnx", tmp_path / "moved"
    shutil.copytree(made, moved)
    replace, done = Path.replace, []

    def killed(path: Path, target: Path) -> Path:
        done.append(path)
        if len(done) >= steps:
            raise KeyboardInterrupt
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        keep_int8(moved, tmp_path)
    assert network_to_run(model, accepted.policy_sha256) == model
    assert read_int8_report(tmp_path) is None


def test_the_int8_network_is_smaller_and_answers_nearly_the_same(accepted, policy, tmp_path):
    exact = PolicyRuntime(policy / "model.onnx").infer(FEEDS)
    rough = PolicyRuntime(tmp_path / INT8_NAME).infer(FEEDS)

    assert 0.0 < np.abs(exact - rough).max() < 0.02
    assert (tmp_path / INT8_NAME).stat().st_size < 0.4 * (policy / "model.onnx").stat().st_size


def test_the_vehicle_drives_with_it_once_chosen_and_calls_it_by_the_same_name(
    accepted, policy, tmp_path, monkeypatch
):
    for name in ("model.onnx", "model_metadata.json"):
        shutil.copy(policy / name, tmp_path / name)
    (tmp_path / "bundle.json").touch()
    report = types.SimpleNamespace(name="checked", sha256=accepted.policy_sha256, session={})
    monkeypatch.setattr(checked_policy, "read_report", lambda _: report)
    monkeypatch.setattr(checked_policy, "changed_file", lambda *_: "")

    assert checked_policy.load_checked(tmp_path).bundle.model.name == "model.onnx"
    use_int8(tmp_path, accepted.policy_sha256, wanted=True)
    loaded = checked_policy.load_checked(tmp_path, SessionSettings(bind=True, prepack=False))
    assert loaded.bundle.model.name == INT8_NAME == checked_policy.INT8_NAME
    assert loaded._runtime.settings == SessionSettings(bind=True)  # not as float has them
    assert (loaded.bundle.name, loaded.bundle.sha256) == ("checked", accepted.policy_sha256)
    exact = PolicyRuntime(policy / "model.onnx").infer(FEEDS)
    picture = np.full((120, 160, 3), 90, np.uint8)
    assert len(loaded.decide(Sight(picture), AWS_DEFAULTS).output) == exact.size


def test_it_runs_only_when_the_owner_has_chosen_it(accepted, policy, tmp_path):
    model = tmp_path / "model.onnx"
    assert network_to_run(model, accepted.policy_sha256) == model

    use_int8(tmp_path, accepted.policy_sha256, wanted=True)
    assert network_to_run(model, accepted.policy_sha256) == tmp_path / INT8_NAME

    use_int8(tmp_path, accepted.policy_sha256, wanted=False)
    assert network_to_run(model, accepted.policy_sha256) == model


@pytest.mark.parametrize("change", [{"processor": "another"}, {"onnxruntime": "0.1"}])
def test_on_another_computer_the_float_network_runs(accepted, tmp_path, change):
    use_int8(tmp_path, accepted.policy_sha256, wanted=True)
    elsewhere = msgspec.structs.replace(accepted.machine, **change)
    report = msgspec.structs.replace(accepted, machine=elsewhere, chosen=True)
    (tmp_path / REPORT_NAME).write_bytes(msgspec.json.encode(report))

    assert network_to_run(tmp_path / "model.onnx", accepted.policy_sha256) == tmp_path / "model.onnx"
    with pytest.raises(PolicyError, match="make it again here"):
        use_int8(tmp_path, accepted.policy_sha256, wanted=True)


@pytest.mark.parametrize("harm", ["network", "report", "gone"])
def test_a_changed_file_another_policy_or_a_damaged_report_means_float(accepted, tmp_path, harm):
    use_int8(tmp_path, accepted.policy_sha256, wanted=True)
    model = tmp_path / "model.onnx"
    assert network_to_run(model, "another policy") == model

    match harm:
        case "network":
            (tmp_path / INT8_NAME).write_bytes((tmp_path / INT8_NAME).read_bytes() + b"\0")
        case "report":
            (tmp_path / REPORT_NAME).write_bytes(b"{}")
        case "gone":
            (tmp_path / INT8_NAME).unlink()

    assert network_to_run(model, accepted.policy_sha256) == model


def test_what_is_refused_leaves_its_numbers_and_no_network(small, policy, tmp_path, monkeypatch):
    monkeypatch.setattr(int8, "_measure", lambda *_arguments: Speed(1.0, 1.0, 1.0, 1.0))

    report = make_int8(policy, Blobs(), into=tmp_path)

    assert not report.accepted
    assert len(report.trials) == 2
    assert [path.name for path in tmp_path.iterdir()] == [REPORT_NAME]
    with pytest.raises(PolicyError, match=r"refused: int8 takes 1\.00 ms here"):
        use_int8(tmp_path, report.policy_sha256, wanted=True)


def test_laps_that_differ_refuse_it(small, policy, tmp_path):
    def laps(folder: Path) -> Laps:
        median_s = {"oval": 10.0 if folder == policy else 11.0}
        return Laps(wanted=8, completed_on={"oval": 8}, median_s=median_s)

    report = make_int8(policy, Blobs(), into=tmp_path, drive_laps=laps)

    assert not report.accepted
    assert "on oval int8 drove a lap in 11.00 s" in report.trials[0].objections[0]


def test_frames_of_the_hil_car_are_for_a_policy_that_laps_there(policy, tmp_path):
    def none(_folder: Path) -> Laps:
        return Laps(wanted=8, completed_on={"oval": 0}, median_s={"oval": None})

    with pytest.raises(PolicyError, match=r"drives no lap in the HIL car.* give recordings of this car"):
        make_int8(policy, Blobs(calibration=100), into=tmp_path, drive_laps=none)
    assert [*tmp_path.iterdir()] == []


def test_too_few_frames_are_said(small, policy, tmp_path):
    with pytest.raises(PolicyError, match="gives 8 frames to calibrate with, at least 10"):
        make_int8(policy, Blobs(calibration=8), into=tmp_path)
    assert [*tmp_path.iterdir()] == []


def test_the_choice_needs_something_to_choose(tmp_path):
    with pytest.raises(PolicyError, match="there is no int8"):
        use_int8(tmp_path, "0" * 64, wanted=True)


# --- recordings


def numbered(folder: Path, numbers: list[int]) -> Path:
    folder.mkdir()
    for place, number in enumerate(numbers):
        picture = np.array([[[number % 256, number // 256, 7]]], np.uint8).repeat(8, 0).repeat(8, 1)
        cv2.imwrite(str(folder / f"{place:05}.png"), picture)
    return folder


def numbers_of(recordings: Recordings, role: Role) -> list[list[int]]:
    return [
        [int(sight.image[0, 0, 0]) + 256 * int(sight.image[0, 0, 1]) for sight in drive]
        for drive in recordings.drives(role)
    ]


def joined(drives: list[list[int]]) -> list[int]:
    return [number for drive in drives for number in drive]


def test_calibration_and_test_frames_are_apart(tmp_path):
    recordings = Recordings([numbered(tmp_path / "a", [*range(620)])])

    calibration, test = numbers_of(recordings, Role.CALIBRATION), numbers_of(recordings, Role.TEST)

    assert [len(drive) for drive in calibration] == [40, 40, 20]
    assert [len(drive) for drive in test] == [230, 230]
    distances = np.subtract.outer(joined(calibration), joined(test))
    assert np.abs(distances).min() == 16
    assert numbers_of(recordings, Role.TEST) == test


def test_a_standing_car_gives_one_frame_and_recordings_that_repeat_give_nothing_new(tmp_path):
    moving = numbered(tmp_path / "a", [*range(50), *[50] * 300, *range(51, 100)])
    again = numbered(tmp_path / "b", [*range(100)])

    drives = numbers_of(Recordings([moving, again]), Role.TEST)

    assert joined(drives) == [*range(55, 100)]


def test_a_video_is_read(tmp_path):
    path = tmp_path / "drive.avi"
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 30, (64, 48))
    rng = np.random.default_rng(0)
    for _ in range(60):
        video.write(cv2.resize(rng.integers(0, 255, (6, 8, 3), np.uint8), (64, 48)))
    video.release()

    (drive,) = Recordings([path]).drives(Role.CALIBRATION)

    assert {sight.image.shape for sight in drive} == {(48, 64, 3)}


def test_recordings_that_cannot_be_used_are_named(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "no.mp4").write_bytes(b"GIF89a")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "0.png").write_bytes(b"no picture")
    with pytest.raises(PolicyError, match="no pictures"):
        Recordings([tmp_path / "empty"])
    with pytest.raises(PolicyError, match="does not exist"):
        Recordings([tmp_path / "nowhere"])
    with pytest.raises(PolicyError, match="no recordings are given"):
        Recordings([])
    for path in ("no.mp4", "broken"):
        with pytest.raises(PolicyError, match="OpenCV can read"):
            [[*drive] for drive in Recordings([tmp_path / path]).drives(Role.CALIBRATION)]
