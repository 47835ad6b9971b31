"""What `lapwing train` and `lapwing evaluate` do and print. Only training itself needs the `train` extra."""

import contextlib
import dataclasses
import json
import shlex
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from models.bundle import find_bundle
from models.bundle_files import MODEL_NAME
from models.training import report
from models.training.evaluate import Control, Evaluation, EvaluationInterruptedError, TrackResult, evaluate
from models.training.settings import FRESH_SEED, Point, TrainSettings
from vehicle.errors import LapwingError

RETEST_LAPS = 3
TABLE_COLUMNS = 130
FAILURE_TABLE_COLUMNS = 200
STAGE_FIELDS = (
    "seed",
    "speeds_mps",
    "off_track_penalty",
    "edge_penalty",
    "gamma",
    "learning_rate",
    "batch",
    "epochs",
)


def train_command(
    settings: TrainSettings,
    folder: Path,
    *,
    resume: bool = False,
    retest_starts: int = 20,
    as_json: bool = False,
) -> dict[str, Any]:
    """Train with a progress display, test the best policy on fresh seeds, write and return its report.

    Raises:
        LapwingError: the folder cannot be written, or has nothing to go on from, or the settings cannot be
            used; before anything is drawn, and the disk is as it was.

    """
    console = _wide_console(stderr=as_json)
    with _writable(folder):
        settings, history, stages = _train(settings, folder, console, resume=resume)
    report.write_training(folder, _training_report(settings, history, folder, stages))
    _retest(settings, folder, retest_starts, console)
    result = report.read_report(folder)
    if as_json:
        print(json.dumps(result, indent=1))  # noqa: T201 - the one document that was asked for
    return result


def _train(
    settings: TrainSettings, folder: Path, console: Console, *, resume: bool
) -> tuple[TrainSettings, list[Point], list[str]]:
    """Train; return the settings, the stored ones where it went on, the history and the earlier stages."""
    try:
        from models.training.train import CHECKPOINT, SETTINGS, train  # noqa: PLC0415 - torch is an extra, and slow to import
    except ImportError as error:
        raise LapwingError(
            f"training needs the train extra ({error}); pip install 'lapwing[train]'"
        ) from None
    if resume:
        for name in (CHECKPOINT, SETTINGS):
            if not (folder / name).is_file():
                raise LapwingError(f"{folder} has no {name}; start without --resume")
        stored = json.loads((folder / SETTINGS).read_text())
        for key in stored.keys() & {"tracks", "steering_deg", "speeds_mps"}:
            stored[key] = tuple(stored[key])
        settings = dataclasses.replace(TrainSettings(**stored), steps=max(settings.steps, stored["steps"]))
    elif settings.start_from and folder.resolve() == Path(settings.start_from).resolve():
        raise LapwingError(
            f"{folder} is what --start-from names, and would be lost; choose another with --out"
        )
    stages = earlier_stages(settings)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:,}/{task.total:,}"))
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console) as display:
        task = display.add_task("decisions", total=settings.steps)
        history = train(
            settings,
            folder,
            resume=resume,
            tell=lambda point: console.print(_line(point)),
            step=lambda steps: display.update(task, completed=steps),
        )
    return settings, history, stages


def _retest(settings: TrainSettings, folder: Path, starts: int, console: Console) -> None:
    """Drive the best policy from fresh starts on every track, and report it; Ctrl-C leaves that out."""
    tracks = settings.track_names
    console.print(
        f"testing the best policy, track by track of {len(tracks)}; Ctrl-C leaves that out, no more"
    )
    try:
        retest = evaluate(
            folder,
            tracks,
            starts=starts,
            laps=RETEST_LAPS,
            randomise=settings.randomise,
            seed=FRESH_SEED,
            tell=lambda row: console.print(_track_line(row), highlight=False),
        )
    except KeyboardInterrupt:
        words = evaluation_words(
            str(folder), tracks, starts, RETEST_LAPS, seed=FRESH_SEED, randomise=settings.randomise
        )
        later = shlex.join([*words, "--report"])
        console.print(f"left out; policy and report are in {folder}. Test it later:", markup=False)
        console.print(later, markup=False, highlight=False, soft_wrap=True)
        return
    report.add_evaluation(folder, "at the end of the training, on fresh seeds", json.loads(retest.as_json()))
    console.print(retest.as_table())


def _track_line(row: TrackResult) -> str:
    return f"{row.track}: {row.finished}/{row.starts}"


@contextlib.contextmanager
def _writable(folder: Path) -> Iterator[None]:
    """Make the folder of a training; of a training that is refused no empty folder stays.

    Raises LapwingError where it cannot be made or written.
    """
    made = [one for one in (folder, *folder.parents) if not one.exists()]
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise LapwingError(
                f"{folder} cannot be written ({error.strerror}); choose another folder with --out"
            ) from None
        yield
    except LapwingError:
        for one in made:
            with contextlib.suppress(OSError):  # it has something in it
                one.rmdir()
        raise


def _line(point: Point) -> str:
    best = " [bold]best[/bold]" if point.best else ""
    lap = f", lap {point.eval_lap_s:.2f} s" if point.eval_lap_s else ""
    return (
        f"{point.steps:>9,} decisions, {point.wall_s:.0f} s: reward {point.reward:.1f}, completion "
        f"{100 * point.completion:.0f} %; greedy {100 * point.eval_completion:.0f} %, "
        f"finished {100 * point.eval_finished:.0f} %{lap}{best}"
    )


def _training_report(
    settings: TrainSettings, history: list[Point], folder: Path, stages: list[str]
) -> dict[str, Any]:
    best = [point for point in history if point.best][-1]
    first = next((point for point in history if point.eval_finished > 0), None)
    return {
        "command": command_line(settings, folder),
        **dataclasses.asdict(settings),
        "start_from": Path(settings.start_from).name if settings.start_from else None,
        "earlier_stages": stages,
        "wall_s": round(history[-1].wall_s),
        "best_at_steps": best.steps,
        "best_at_wall_s": round(best.wall_s),
        "first_greedy_laps_at_steps": first.steps if first else None,
        "first_greedy_laps_at_wall_s": round(first.wall_s) if first else None,
        "network_bytes": (folder / MODEL_NAME).stat().st_size,
        "machine": report.machine(),
    }


def _wide_console(*, stderr: bool = False, columns: int = TABLE_COLUMNS) -> Console:
    """Return a console that does not squeeze a table into the 80 columns of a pipe."""
    console = Console(stderr=stderr)
    return console if console.is_terminal else Console(stderr=stderr, width=columns)


def earlier_stages(settings: TrainSettings) -> list[str]:
    """Return how the network came to be that this training began with, the oldest stage first.

    Of a stage without a history it is not told how long it took. Raises LapwingError where what a folder says
    of itself is damaged.
    """
    stages: list[str] = []
    folder = settings.start_from
    while folder:
        if not (Path(folder) / "settings.json").is_file():
            stages.append(f"the policy {Path(folder).name}")
            break
        told, history = (_stored(Path(folder) / name) for name in ("settings.json", "history.json"))
        changed = {key: value for key, value in told.items() if key in STAGE_FIELDS}
        words = "; ".join(f"{key.replace('_', ' ')} {value}" for key, value in changed.items())
        took = f"{history[-1]['steps']} steps in {history[-1]['wall_s']:.0f} s" if history else "some steps"
        stages.append(f"{took} ({words})")
        folder = told.get("start_from")
    return stages[::-1]


def _stored(path: Path) -> Any:
    """Return what a training left in one of its JSON files, None where there is none."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise LapwingError(f"{path} cannot be read ({error}); start from another folder") from None


def command_line(settings: TrainSettings, folder: Path) -> str:
    """Return the command that repeats a training."""
    words = ["lapwing", "train", "--out", folder.name]
    for track in settings.tracks:
        words += ["--track", track]
    for field in dataclasses.fields(TrainSettings):
        value = getattr(settings, field.name)
        if field.name == "tracks" or value == field.default:
            continue
        option = "--" + field.name.replace("_", "-")
        if field.name == "start_from":
            value = Path(value).name
        if isinstance(value, bool):
            words.append(option if value else "--no-" + field.name.replace("_", "-"))
        elif isinstance(value, tuple):
            for part in value:
                words += [option, str(part)]
        else:
            words += [option, str(value)]
    return shlex.join(words)


def evaluation_words(
    policy: str, tracks: Sequence[str], starts: int, laps: int, *, seed: int, randomise: bool
) -> list[str]:
    """Return the words of the command that repeats an evaluation."""
    words = ["lapwing", "evaluate", "--policy", policy]
    for track in tracks:
        words += ["--track", track]
    words += ["--starts", str(starts), "--laps", str(laps), "--seed", str(seed)]
    return words + ["--randomise"] * randomise


def evaluate_command(
    policy: str | Path,
    tracks: Sequence[str | Path],
    *,
    starts: int = 50,
    laps: int = 3,
    randomise: bool = False,
    seed: int = 0,
    control: str = "none",
    add_to_report: bool = False,
    list_failures: bool = False,
    as_json: bool = False,
) -> Evaluation:
    """Evaluate with one line per track as it comes, then the table (or one JSON document).

    After Ctrl-C they have the tracks driven so far and say that it was interrupted; a report stays as it was.
    """
    console = Console(stderr=True)
    try:
        result = evaluate(
            policy,
            tracks,
            starts=starts,
            laps=laps,
            randomise=randomise,
            seed=seed,
            control=Control(control),
            tell=lambda row: console.print(_track_line(row), highlight=False),
        )
    except EvaluationInterruptedError as interrupt:
        result = interrupt.so_far
        kept = "; the report stays as it was" if add_to_report else ""
        console.print(f"interrupted: {len(result.tracks)} of {len(tracks)} tracks were driven{kept}")
    if add_to_report and not result.interrupted:
        folder = find_bundle(policy)[0].parent
        names = [Path(track).name for track in tracks]
        words = evaluation_words(result.policy, names, starts, laps, seed=seed, randomise=randomise)
        words += ["--control", control] if control != "none" else []
        report.add_evaluation(folder, shlex.join(words), json.loads(result.as_json()))
    if as_json:
        sys.stdout.write(result.as_json() + "\n")
    elif result.tracks:
        _wide_console().print(result.as_table())
        if list_failures and any(row.failures for row in result.tracks):
            _wide_console(columns=FAILURE_TABLE_COLUMNS).print(result.failures_as_table())
    return result
