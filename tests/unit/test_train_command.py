"""What `lapwing train` does around the training itself, which is another's here: the extra is not needed."""

import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from models.errors import PolicyError
from models.training import commands
from models.training.commands import train_command
from models.training.evaluate import Evaluation, TrackResult, evaluate
from models.training.settings import Point, TrainSettings
from tests.hil.policies import write_policy
from vehicle.errors import LapwingError

SETTINGS = TrainSettings(tracks=("oval", "ell"), steps=1000)
POINT = Point(
    steps=1000,
    wall_s=4.0,
    reward=1.0,
    completion=0.5,
    episodes=3,
    eval_finished=0.0,
    eval_completion=0.5,
    eval_lap_s=0.0,
    best=True,
)


@pytest.fixture(autouse=True)
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Return the folders in which a training was begun."""
    begun: list[Path] = []

    def train(_settings: TrainSettings, folder: Path, **_options: object) -> list[Point]:
        begun.append(folder)
        write_policy(folder, speed_mps=2.0, control_rate_hz=15.0)
        return [POINT]

    stand_in = SimpleNamespace(CHECKPOINT="checkpoint.zip", SETTINGS="settings.json", train=train)
    monkeypatch.setitem(sys.modules, "models.training.train", stand_in)
    return begun


def test_a_folder_that_cannot_be_made_or_written_is_refused_before_anything_is_drawn(
    tmp_path: Path, trainings: list[Path]
) -> None:
    (tmp_path / "file").touch()
    for folder in (Path("/proc/x"), Path("/proc"), tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(
            LapwingError, match=rf"{folder} cannot be written \(.+\); choose another .* --out"
        ):
            train_command(SETTINGS, folder)
    assert trainings == []


@pytest.mark.parametrize("kept", ["checkpoint.zip", "settings.json"])
def test_a_folder_without_all_that_a_training_goes_on_from_is_refused(
    kept: str, tmp_path: Path, trainings: list[Path]
) -> None:
    (tmp_path / kept).write_text("{}")
    with pytest.raises(LapwingError, match=r"has no .*; start without --resume"):
        train_command(SETTINGS, tmp_path, resume=True)
    assert trainings == []


def test_a_folder_that_is_begun_with_is_not_written_over(tmp_path: Path, trainings: list[Path]) -> None:
    settings = dataclasses.replace(SETTINGS, start_from=str(tmp_path))
    with pytest.raises(LapwingError, match="would be lost; choose another with --out"):
        train_command(settings, tmp_path)
    assert trainings == []


def test_of_a_training_that_is_refused_no_folder_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_arguments: object, **_options: object) -> list[Point]:
        raise PolicyError("a network of another kind")

    kept = tmp_path / "kept"
    kept.mkdir()
    for folder in (tmp_path / "new", tmp_path / "above" / "new", kept, kept / "new"):
        settings = dataclasses.replace(SETTINGS, start_from=str(folder))
        with pytest.raises(LapwingError, match="would be lost"):
            train_command(settings, folder)
        with pytest.raises(LapwingError, match="start without --resume"):
            train_command(SETTINGS, folder, resume=True)
        with monkeypatch.context() as patch:
            patch.setattr(sys.modules["models.training.train"], "train", refused)
            with pytest.raises(PolicyError, match="of another kind"):
                train_command(SETTINGS, folder)
        assert list(tmp_path.rglob("*")) == [kept]


@pytest.mark.parametrize(
    ("history", "stage"),
    [(None, "some steps (seed 7)"), ([{"steps": 500, "wall_s": 3.0}], "500 steps in 3 s (seed 7)")],
)
def test_a_training_may_begin_with_one_that_left_no_history(
    history: object, stage: str, tmp_path: Path
) -> None:
    earlier = tmp_path / "earlier"
    earlier.mkdir()
    (earlier / "settings.json").write_text('{"seed": 7}')
    if history:
        (earlier / "history.json").write_text(json.dumps(history))
    result = train_command(
        dataclasses.replace(SETTINGS, start_from=str(earlier)), tmp_path / "new", retest_starts=1
    )

    assert result["training"]["earlier_stages"] == [stage]


def test_a_damaged_history_is_refused_before_the_training(tmp_path: Path, trainings: list[Path]) -> None:
    earlier = tmp_path / "earlier"
    earlier.mkdir()
    (earlier / "settings.json").write_text("{}")
    (earlier / "history.json").write_text("[")
    with pytest.raises(LapwingError, match=r"history\.json cannot be read .* start from another folder"):
        train_command(dataclasses.replace(SETTINGS, start_from=str(earlier)), tmp_path / "new")
    assert trainings == []


def test_the_last_test_tells_of_each_track_as_it_comes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    def watched(*arguments: Any, tell: Callable[[TrackResult], None], **options: Any) -> Evaluation:
        def tell_and_look(row: TrackResult) -> None:
            tell(row)
            told.append(capsys.readouterr().out)

        return evaluate(*arguments, tell=tell_and_look, **options)

    monkeypatch.setattr(commands, "evaluate", watched)
    result = train_command(SETTINGS, tmp_path, retest_starts=1)

    assert [out.splitlines()[-1] for out in told] == [
        "oval: 0/1",
        "ell: 0/1",
        "oval-reversed: 0/1",
        "ell-reversed: 0/1",
    ]
    assert len(result["evaluations"][0]["tracks"]) == 4


def test_the_last_test_can_be_left_out_and_the_report_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_arguments: object, **_options: object) -> Evaluation:
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "evaluate", interrupted)
    result = train_command(SETTINGS, tmp_path / "trained")

    assert result["training"]["best_at_steps"] == 1000
    assert result["evaluations"] == []
    assert json.loads((tmp_path / "trained" / "report.json").read_text()) == result
    assert capsys.readouterr().out.splitlines()[-1] == (
        f"lapwing evaluate --policy {tmp_path / 'trained'} --track oval --track ell --track oval-reversed "
        "--track ell-reversed --starts 20 --laps 3 --seed 2000003 --randomise --report"
    )
