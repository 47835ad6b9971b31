"""The `lapwing` command. Each subcommand imports what only it needs, so that none waits for the others."""

import logging
import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from calibration.errors import CalibrationError
from vehicle.board_cli import board_app
from vehicle.cli_options import (
    ConfigOption,
    FaultOption,
    HilBoardOption,
    HilDirOption,
    JsonOption,
    MarkerOption,
    RunDirOption,
    RunsOption,
    ScenarioOption,
    TrackOption,
    UncalibratedOption,
    WebhookOption,
    WiringOption,
)
from vehicle.errors import ConfigError, LapwingError
from vehicle.models_cli import models_app
from vehicle.runs_cli import runs_app
from vehicle.training_cli import evaluate, train

MISUSE: Any = typer.BadParameter.__bases__[0]
"""An unknown option, a wrong value, an argument too many; typer exports no name for it."""

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def main() -> None:
    """Run the command line; an error that a person can act on is one sentence and exit status 2.

    With --json the sentence is on standard output too, as a document: whoever reads it there finds one.
    """
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    try:
        app()
    except (LapwingError, CalibrationError) as error:
        print(f"lapwing: {error}", file=sys.stderr)
        _print_refusal(str(error))
        sys.exit(2)
    except SystemExit as ended:
        reason = ended.__context__
        if isinstance(reason, MISUSE):  # typer has said it on standard error
            _print_refusal(reason.format_message())
        elif isinstance(reason, typer.Exit) and isinstance(reason.__context__, KeyboardInterrupt):
            _print_refusal("interrupted")
        raise


def _print_refusal(sentence: str) -> None:
    if "--json" in sys.argv[1:]:
        print(msgspec.json.encode({"error": sentence}).decode())


def _show_version(asked: bool) -> None:
    from vehicle.version import version

    if asked:
        print(f"lapwing {version()}")
        raise typer.Exit


@app.callback()
def about(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Say which version this is."),
    ] = False,
) -> None:
    """Lapwing drives a DeepRacer-class car by an exported policy, and stops it when anything fails."""


@app.command()
def drive(
    config: ConfigOption = None,
    run_dir: RunDirOption = None,
    hil_dir: HilDirOption = None,
    wiring: WiringOption = "aws",
    policy: Annotated[str, typer.Option(help="Bundle folder, .onnx file or name of a shipped policy.")] = "",
    hil_calibration: Annotated[
        Path | None, typer.Option(help="Where the HIL car's calibration is saved; else it is forgotten.")
    ] = None,
    fault: Annotated[
        list[str] | None, typer.Option(help="With --hil-dir: as policy=slow:0.2@12s; often as wanted.")
    ] = None,
    faults_since_ns: Annotated[int, typer.Option(min=0, hidden=True)] = 0,
    seed: Annotated[int, typer.Option(hidden=True)] = 0,
    uncalibrated: UncalibratedOption = False,
    lockstep: Annotated[
        bool, typer.Option(hidden=True, help="With --hil-dir of a world in lockstep.")
    ] = False,
    takes_orders: Annotated[
        bool, typer.Option("--takes-orders", hidden=True, help="With --hil-dir: faults while it runs.")
    ] = False,
) -> None:
    """Run the vehicle process: camera to policy to pulses."""
    from vehicle.__main__ import HilCar
    from vehicle.__main__ import drive as run_vehicle
    from vehicle.config import CarConfig, read_config
    from vehicle.run_dir import default_run_dir

    settings = read_config(config) if config else CarConfig()
    if policy:
        settings = msgspec.structs.replace(settings, policy=policy)
    if not settings.policy:
        settings = msgspec.structs.replace(settings, policy=_last_active())
    if fault and hil_dir is None:
        raise ConfigError("--fault was given without --hil-dir; a real car is never broken on purpose")
    hil = None
    if hil_dir:
        faults = tuple(fault) if fault else None
        hil = HilCar(
            hil_dir,
            wiring,
            lockstep=lockstep,
            is_paced=lockstep,
            calibration=hil_calibration,
            faults=faults,
            takes_orders=takes_orders,
            faults_since_ns=faults_since_ns,
            seed=seed,
            is_calibrated=not uncalibrated,
        )
    run_vehicle(settings, run_dir or default_run_dir(), hil)


@app.command()
def web(
    run_dir: RunDirOption = None,
    hil_dir: HilDirOption = None,
    host: Annotated[str, typer.Option(help="An address of this computer, or all.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8080,
    https: Annotated[
        bool | None, typer.Option("--https/--http", help="HTTPS unless it listens on loopback alone.")
    ] = None,
    name: Annotated[list[str] | None, typer.Option(help="Another name of this car; often as wanted.")] = None,
    access_dir: Annotated[Path | None, typer.Option(help="Where passwords and keys are kept.")] = None,
    webhook: WebhookOption = "",
    runs: RunsOption = None,
    config: ConfigOption = None,
    log_dir: Annotated[Path | None, typer.Option(help="Logs of the processes; else the journal.")] = None,
) -> None:
    """Serve the car's page."""
    from vehicle.run_dir import default_run_dir
    from webui.__main__ import PageSettings, serve

    settings = PageSettings(
        run_dir or default_run_dir(),
        hil_dir,
        host=host,
        port=port,
        is_secure=https,
        names=tuple(name or ()),
        access_dir=access_dir,
        runs_dir=runs,
        config=config,
        log_dir=log_dir,
        webhook=webhook,
    )
    serve(settings)


@app.command("setup-code")
def setup_code() -> None:
    """Show the code with which the first visitor sets the page's password."""
    from webui.access_command import show_setup_code

    print(show_setup_code())


@app.command("webhook-key")
def webhook_key() -> None:
    """Show the key by which a receiver knows that what comes by --webhook is from this car."""
    from webui.access_command import show_webhook_key

    print(show_webhook_key())


@app.command()
def password(
    revoke_all: Annotated[bool, typer.Option("--revoke-all", help="End API keys and links too.")] = False,
) -> None:
    """Set another password of the page; signs every browser out."""
    from webui.access_command import set_password

    print(set_password(revoke_all=revoke_all))


@app.command()
def record(
    run_dir: RunDirOption = None,
    hil_dir: HilDirOption = None,
    runs: RunsOption = None,
    config: ConfigOption = None,
) -> None:
    """Record every run of a vehicle; `lapwing run` starts this by itself."""
    from vehicle.recorder import record as record_runs
    from vehicle.run_dir import default_run_dir

    record_runs(run_dir or default_run_dir(), runs, hil_dir, config)


@app.command()
def marker(
    paper: Annotated[str, typer.Option(help="a4 or letter.")] = "a4",
    out: Annotated[Path, typer.Option(help="The PDF file.")] = Path("start-marker.pdf"),
) -> None:
    """Write the start marker to print, at true size: laps of a real car are timed by it."""
    from vehicle.marker_page import write_marker

    print(write_marker(paper, out))


@app.command()
def timekeeper(run_dir: RunDirOption = None, config: ConfigOption = None) -> None:
    """Time laps by the printed start marker; `lapwing run` starts this by itself."""
    from vehicle.run_dir import default_run_dir
    from vehicle.timekeeper import keep_time

    keep_time(run_dir or default_run_dir(), config)


@app.command()
def replay(
    name: Annotated[str, typer.Argument(help="Name of a run, `last`, or a .mcap file.")] = "last",
    policy: Annotated[str, typer.Option(help="The policy it was driven with, where it is not found.")] = "",
    diff: Annotated[bool, typer.Option("--diff", help="Show every tick that comes out otherwise.")] = False,
    elsewhere: Annotated[
        bool, typer.Option("--elsewhere", help="Recorded on another machine: 1 us.")
    ] = False,
    runs: RunsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Drive a recorded run through the loop again; exit status 0 only when the commands are the same."""
    from vehicle.replay_command import replay_run

    code = replay_run(name, policy=policy, runs_dir=runs, diff=diff, exact=not elsewhere, as_json=as_json)
    raise typer.Exit(code)


@app.command()
def run(
    config: ConfigOption = None,
    run_dir: RunDirOption = None,
    hil: Annotated[bool, typer.Option("--hil", help="Drive a HIL car instead of a real one.")] = False,
    hil_dir: Annotated[Path | None, typer.Option("--hil-dir", help="Where the HIL car's sockets go.")] = None,
    track: TrackOption = "chicane",
    wiring: WiringOption = "aws",
    board: HilBoardOption = "own",
    policy: Annotated[str, typer.Option(help="Policy to load at start.")] = "",
    uncalibrated: UncalibratedOption = False,
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8080,
    http: Annotated[bool, typer.Option("--http", help="A real car's page without encryption.")] = False,
    seed: int = 0,
    fault: FaultOption = None,
    scenario: ScenarioOption = None,
    marker: MarkerOption = False,
    webhook: WebhookOption = "",
) -> None:
    """Run and supervise everything: vehicle and page, and with --hil the simulated car."""
    from vehicle.run_command import RunOptions, run_car
    from webui.access_command import welcome

    options = RunOptions(
        config=config,
        run_dir=run_dir,
        hil=hil,
        hil_dir=hil_dir,
        track=track,
        wiring=wiring,
        board=board,
        policy=policy,
        is_calibrated=not uncalibrated,
        port=port,
        http=http,
        seed=seed,
        faults=_faults(fault, scenario),
        has_marker=marker,
        webhook=webhook,
    )
    run_car(options, welcome)


@app.command()
def hil(
    hil_dir: HilDirOption = None,
    track: TrackOption = "chicane",
    wiring: WiringOption = "aws",
    board: HilBoardOption = "own",
    fault: FaultOption = None,
    scenario: ScenarioOption = None,
    seed: int = 0,
    randomise: Annotated[bool, typer.Option("--randomise", help="Draw car, camera and room.")] = False,
    marker: MarkerOption = False,
) -> None:
    """Run a simulated car alone, for a vehicle process of your own: `lapwing drive --hil-dir ...`."""
    from vehicle.hil.launch import serve
    from vehicle.run_command import RunOptions, default_hil_dir, hil_settings

    options = RunOptions(hil=True, track=track, wiring=wiring, board=board, seed=seed, has_marker=marker)
    settings = hil_settings(options, hil_dir or default_hil_dir())
    serve(msgspec.structs.replace(settings, faults=_faults(fault, scenario), randomise=randomise))


@app.command("bench-check")
def bench_check(run_dir: RunDirOption = None) -> None:
    """Walk through the first minutes of a real car, wheels up: what each step must show."""
    from vehicle.proof.bench_check import BenchCheck
    from vehicle.remote_client import VehicleClient
    from vehicle.run_dir import default_run_dir

    with VehicleClient(run_dir or default_run_dir(), "lapwing bench-check") as vehicle:
        BenchCheck(vehicle, input, print).run()


@app.command()
def soak(
    hours: Annotated[float, typer.Option("--hours", min=0.01, help="Of the car's time.")] = 4.0,
    policy: Annotated[str, typer.Option(help="That drives; a shipped one by default.")] = "",
    seed: int = 1,
    kept: Annotated[Path, typer.Option(help="What is done already; a soak goes on from there.")] = Path(
        "soak.jsonl"
    ),
    real_time: Annotated[
        bool, typer.Option("--real-time", help="Every process of a car on the real clock, not in lockstep.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Drive for hours with random faults, starts and stops; judge every cycle, and report."""
    from vehicle.proof.live_soak import run_live_soak
    from vehicle.proof.soak import run_soak

    run = run_live_soak if real_time else run_soak
    raise typer.Exit(run(policy or default_policy(), hours, seed=seed, kept=kept, as_json=as_json))


@app.command()
def faults(
    part: Annotated[list[str] | None, typer.Option(help="Only this one; often as wanted.")] = None,
    policy: Annotated[str, typer.Option(help="That drives; a shipped one by default.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Break every part in every way in every moving state, and show what the motor did."""
    from vehicle.proof.faults_command import run_faults

    raise typer.Exit(run_faults(policy or default_policy(), part or (), as_json=as_json))


@app.command()
def laps(
    laps: Annotated[int, typer.Option(min=1, max=1000, help="How many to drive.")] = 3,
    policy: Annotated[str, typer.Option(help="Policy to activate first.")] = "",
    run_dir: RunDirOption = None,
    hil_dir: HilDirOption = None,
    speed_cap: Annotated[
        float | None,
        typer.Option(
            min=0.0, max=1.0, help="Share of full throttle; else 0.3 for a real car, 1 for a HIL car."
        ),
    ] = None,
    time_limit_s: Annotated[float, typer.Option("--time-limit", min=1.0, help="Seconds.")] = 180.0,
    out: Annotated[Path, typer.Option(help="Where picture, film and lap table go.")] = Path("out"),
    as_json: JsonOption = False,
) -> None:
    """Drive laps autonomously and show how it went; exit status 0 only when they were done."""
    from vehicle.laps_command import run_laps
    from vehicle.run_command import default_hil_dir
    from vehicle.run_dir import default_run_dir

    if hil_dir is None and run_dir is None and default_hil_dir().exists():
        hil_dir = default_hil_dir()
    code = run_laps(
        run_dir=run_dir or default_run_dir(),
        hil_dir=hil_dir,
        laps=laps,
        policy=policy or None,
        speed_cap_frac=speed_cap,
        time_limit_s=time_limit_s,
        out_dir=out,
        as_json=as_json,
    )
    raise typer.Exit(code)


@app.command()
def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave the car running with its page up.")] = False,
    laps: Annotated[int, typer.Option(min=1, max=1000, help="How many to drive.")] = 3,
    track: TrackOption = "chicane",
    policy: Annotated[str, typer.Option(help="That drives; a shipped one by default.")] = "",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8080,
    out: Annotated[Path, typer.Option(help="Where picture, film, lap table and runs go.")] = Path("out"),
) -> None:
    """Start the HIL car and drive laps with the shipped policy."""
    from vehicle.run_command import RunOptions, run_demo
    from webui.access_command import private_sign_in_link

    options = RunOptions(
        hil=True,
        is_private=True,
        runs_dir=out / "runs",
        track=track,
        policy=policy or default_policy(),
        port=port,
    )
    raise typer.Exit(run_demo(options, private_sign_in_link, laps=laps, out_dir=out, keep=keep))


@app.command()
def doctor(as_json: JsonOption = False) -> None:
    """Say what is there and what is missing on this computer, each with its remedy."""
    from vehicle.doctor import run_doctor

    raise typer.Exit(run_doctor(as_json=as_json))


@app.command()
def bench(
    quick: Annotated[bool, typer.Option("--quick", help="A few seconds a row: does it run at all.")] = False,
    long: Annotated[
        bool, typer.Option("--long", help="Ten minutes at 60 Hz with a viewer and load.")
    ] = False,
    policy: Annotated[str, typer.Option(help="Measured beside the standard network; a shipped one.")] = "",
    chromium: Annotated[
        str, typer.Option(help="The browser that looks at the page; `make bench` has one.")
    ] = "",
    only: Annotated[
        list[str] | None, typer.Option(help="A part of the title of what to measure; as often as you like.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure latency, jitter, stopping times, memory and simulation against their budgets."""
    from vehicle.bench import run_bench
    from vehicle.bench_plan import Length

    if quick and long:
        raise typer.BadParameter("--quick and --long exclude each other")
    length = Length.QUICK if quick else Length.LONG if long else Length.NORMAL
    raise typer.Exit(
        run_bench(length=length, policy=policy, chromium=chromium, only=only or (), as_json=as_json)
    )


app.command()(train)
app.command()(evaluate)
app.add_typer(models_app, name="models")
app.add_typer(runs_app, name="runs")
app.add_typer(board_app, name="board")


def _faults(given: list[str] | None, scenario: Path | None) -> tuple[str, ...]:
    """Return the faults of the command line and of a scenario file."""
    from vehicle.hil.scenario import read_scenario

    return tuple(given or ()) + (read_scenario(scenario) if scenario else ())


def _last_active() -> str:
    """Return the folder of the policy that was active last, or nothing before the first."""
    from models.store import PolicyStore

    active = PolicyStore().active()
    return str(active.folder) if active else ""


def default_policy() -> str:
    """Return the name of the policy that ships; the first where there are several."""
    from models.bundle import zoo_names
    from models.errors import PolicyError

    if not zoo_names():
        raise PolicyError("no policy ships with this copy; name one with --policy")
    return zoo_names()[0]


if __name__ == "__main__":
    main()
