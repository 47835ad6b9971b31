"""`lapwing laps`: drives laps autonomously, shows them live, and writes lap table, picture and film."""

import contextlib
import signal
import sys
from pathlib import Path

import msgspec
from rich.console import Console
from rich.text import Text

from models.bundle import load_bundle
from models.errors import PolicyError
from vehicle.errors import HilError
from vehicle.hil_client import HilClient
from vehicle.lap_drive import LapDrive, LapsPlan, NotStartedError, Outcome
from vehicle.laps_client import MarkerFollower
from vehicle.laps_display import LiveDisplay, print_film, print_report
from vehicle.laps_report import add_film, prepare_folder, write_numbers
from vehicle.remote_client import VehicleClient
from vehicle.supervisor import StopSignal

SOURCE = "lapwing laps"
GENTLE_FRAC = 0.3  # of a real car's throttle, unless its owner says otherwise
MARKER_LIMIT_S = 2.0  # the timekeeper tells four times a second
DONE, NOT_DONE, NOT_STARTED = 0, 1, 2  # exit status


def run_laps(
    *,
    run_dir: Path,
    hil_dir: Path | None,
    laps: int,
    policy: str | None,
    speed_cap_frac: float | None,
    time_limit_s: float,
    out_dir: Path,
    as_json: bool,
) -> int:
    """Drive the laps, then write laps.json, picture and film into `out_dir`.

    Returns:
        0 when the laps were done, 1 when they were not, 2 when the car could not start.

    """
    console = Console(stderr=as_json)
    try:
        if speed_cap_frac is None:
            speed_cap_frac = GENTLE_FRAC if hil_dir is None else 1.0
        prepare_folder(out_dir)
        plan = _plan(laps, policy, speed_cap_frac, time_limit_s)
        drive, outcome = _drive(run_dir, hil_dir, plan, console)
    except (NotStartedError, HilError) as error:
        if as_json:
            _print_json({"done": False, "reason": str(error), "laps_wanted": laps})
        else:
            console.print(Text(f"Not started: {error}", style="red"))
        return NOT_STARTED

    is_enough = StopSignal()
    report = write_numbers(drive, outcome, plan, out_dir)
    print_report(report, console)
    with console.status("making the film; Ctrl-C ends it where it is"):
        whole = add_film(report, drive, out_dir, is_enough=is_enough)
    print_film(whole, report.notes, console)
    if as_json:
        _print_json(whole)
    return DONE if outcome.done else NOT_DONE


def _plan(laps: int, policy: str | None, speed_cap_frac: float, time_limit_s: float) -> LapsPlan:
    """Check the policy here first: a mistyped name is then one sentence at once."""
    if not policy:
        return LapsPlan(laps, speed_cap_frac, time_limit_s)
    source = str(Path(policy).resolve()) if Path(policy).exists() else policy
    try:
        policy_hash = load_bundle(source).sha256
    except PolicyError as error:
        raise NotStartedError(str(error)) from None
    return LapsPlan(laps, speed_cap_frac, time_limit_s, source, policy_hash)


def _drive(run_dir: Path, hil_dir: Path | None, plan: LapsPlan, console: Console) -> tuple[LapDrive, Outcome]:
    stopping = StopSignal()
    display = LiveDisplay(plan, console)
    with (
        VehicleClient(run_dir, SOURCE, records=True) as vehicle,
        contextlib.ExitStack() as opened,
        display,
    ):
        world = marker = None
        if hil_dir is not None:
            world = opened.enter_context(contextlib.closing(HilClient(hil_dir)))
        else:
            marker = opened.enter_context(contextlib.closing(MarkerFollower(run_dir)))
            marker.wait(MARKER_LIMIT_S)
        drive = LapDrive(vehicle, world, plan, marker=marker, show=display.show, stopping=stopping)
        try:
            outcome = drive.run()
        finally:  # from here on there is nothing to stop but this command itself
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
    return drive, outcome


def _print_json(document: object) -> None:
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(document)).decode() + "\n")
