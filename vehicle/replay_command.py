"""`lapwing replay`: finds the run and its policy, drives it again and says how it went."""

import sys
from pathlib import Path

import msgspec
from rich.console import Console

from models.bundle import zoo_names
from models.checked_policy import load_checked
from models.errors import PolicyError
from models.policy import Policy
from models.store import PolicyStore
from vehicle.replay import ReplayReport, replay
from vehicle.replay_parts import Recording
from vehicle.run_file import PART_SUFFIX, RunFileError
from vehicle.run_stream import RunStart
from vehicle.runs_cli import mended_shelf


def replay_run(
    name: str, *, policy: str, runs_dir: Path | None, diff: bool, exact: bool, as_json: bool
) -> int:
    """Replay a run and report; return the exit status. Raises LapwingError and PolicyError."""
    path = _path_of(name, runs_dir)
    start = Recording(path).start
    assert start is not None
    report = replay(path, _policy_of(start, policy), exact=exact)
    if as_json:
        document = {**msgspec.to_builtins(report), "same": report.is_same, "moved": report.moved}
        sys.stdout.write(msgspec.json.encode(document).decode() + "\n")
    else:
        _show(report, diff=diff)
    return 0 if report.is_same else 1


def _path_of(name: str, runs_dir: Path | None) -> Path:
    """Return the file of a run that was named, or given as a file; raises LapwingError."""
    path = Path(name)
    if path.name.endswith(f".mcap{PART_SUFFIX}"):
        folder = path.parent
        raise RunFileError(
            f"{name} was cut off; make it whole with `lapwing runs list --runs {folder}` first"
        )
    if path.suffix != ".mcap":
        return mended_shelf(runs_dir).find(name)
    if not path.is_file():
        raise RunFileError(f"there is no file {name}")
    return path


def _policy_of(start: RunStart, named: str) -> Policy | None:
    """Return the policy that a run was driven with; raises PolicyError where this computer has it not."""
    begin = start.begin
    if not begin.policy_hash:
        return None
    options = start.car.camera_options
    if named:
        return load_checked(named, camera_options=options)
    sources: list[str | Path] = [*zoo_names(), *(entry.folder for entry in PolicyStore().list())]
    for source in sources:
        try:
            policy = load_checked(source, camera_options=options)
        except PolicyError:
            continue
        if policy.bundle.sha256 == begin.policy_hash:
            return policy
    raise PolicyError(
        f"the run was driven with {begin.policy} ({begin.policy_hash[:12]}), which is not on this computer; "
        "add it, or name it with --policy"
    )


def _show(report: ReplayReport, *, diff: bool) -> None:
    console = Console()
    console.print(
        f"{report.run}: {report.ticks} ticks, {report.moving_ticks} of them moving, "
        f"{report.decisions} decisions"
    )
    console.print(f"largest difference of a pulse: {report.worst_us:g} us")
    console.print(f"same action in {report.actions_equal_frac:.2%} of the decisions")
    console.print(f"same network input in {report.inputs_equal_frac:.2%} of them")
    if not report.moved:
        console.print("The run never moved: it shows nothing.")
    elif report.is_same:
        console.print("The same commands in every tick.")
    else:
        console.print(f"{len(report.differences)} differences" + ("" if diff else "; --diff shows them"))
    if diff:
        for one in report.differences:
            console.print(
                f"tick {one.sequence}, {one.t_s:.3f} s: {one.what} {one.recorded} -> {one.replayed}"
            )
