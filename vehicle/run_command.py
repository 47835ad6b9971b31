"""`lapwing run` and `lapwing demo`: every process of one car, started, supervised and ended together."""

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from rich.console import Console

from vehicle.config import CarConfig, PageConfig, read_config
from vehicle.errors import ConfigError, VehicleSilentError
from vehicle.hil.scenario import split_by_side
from vehicle.hil.settings import HilSettings, to_json
from vehicle.listening import listening_address, listening_error
from vehicle.messages import Status
from vehicle.remote_client import VehicleClient
from vehicle.run_dir import default_run_dir
from vehicle.supervisor import ChildSpec, StopSignal, Supervisor, python_module

VEHICLE_SILENT_S = 2.0  # of no command written: the board has been neutral for long by then
START_TIMEOUT_S = 30.0


class RunOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What `lapwing run` was asked for."""

    config: Path | None = None
    run_dir: Path | None = None
    hil: bool = False
    hil_dir: Path | None = None
    is_private: bool = False
    """Keep all sockets in a temporary directory, out of the way of a car that runs already."""
    runs_dir: Path | None = None
    """Where runs are recorded; None: this user's own place, or for a private car none that outlives it."""
    track: str = "chicane"
    wiring: str = "aws"
    board: str = "own"
    policy: str = ""
    is_calibrated: bool = True
    """False: a HIL car and a board that nobody has calibrated; what is saved is forgotten at the end."""
    port: int = 8080
    http: bool = False
    """Serve a real car's page without encryption; a HIL car's stays on loopback and needs none."""
    seed: int = 0
    faults: tuple[str, ...] = ()
    """Of the HIL car's world and of the process that drives it, as `part=fault[:amount][@start[..end]]`."""
    webhook: str = ""
    """Where the page sends race events; empty: where the configuration says."""
    has_marker: bool = False
    """Of a HIL car's world: the printed start marker stands beside the start line."""
    lapwing: tuple[str, ...] = python_module("vehicle.cli")
    """How to call ourselves."""


class RunningCar(msgspec.Struct, frozen=True):
    """A car whose processes are up."""

    supervisor: Supervisor
    run_dir: Path
    hil_dir: Path | None
    address: str
    access_dir: Path | None
    """Where a private car's page keeps who may come in; None: where this user's page does."""


def default_hil_dir() -> Path:
    """Return where `lapwing run --hil` keeps its car's sockets, so that other commands find them."""
    run_dir = default_run_dir()  # names the user where the place does not
    return run_dir.with_name(f"{run_dir.name}-hil")


@contextmanager
def running_car(options: RunOptions, log: Callable[[str], None]) -> Iterator[RunningCar]:
    """Start every process of the car, and end them all on the way out.

    Raises:
        ConfigError: neither a configuration nor a HIL car was asked for, or the page's port is taken.
        HilError: there is no such track.

    """
    if options.faults and not options.hil:
        raise ConfigError("faults were given without --hil; a real car is never broken on purpose")
    if options.has_marker and not options.hil:
        raise ConfigError("--marker was given without --hil; print a real one with lapwing marker")
    if options.config is None and not options.hil:
        raise ConfigError("no car was named, allowed is --config car.toml or --hil; choose one")
    _check_port(options)
    with tempfile.TemporaryDirectory(prefix="lapwing-", dir="/tmp") as scratch:
        home = Path(scratch) if options.is_private else None
        config = options.config or hil_config_file(home)
        page = read_config(config).page  # a wrong one is refused here, in words, not in a child's log
        run_dir = options.run_dir or (home / "run" if home else default_run_dir())
        hil_dir = options.hil_dir or (home / "hil" if home else default_hil_dir()) if options.hil else None
        runs_dir = options.runs_dir or (home / "runs" if home else None)
        access_dir = home / "access" if home else None
        log_dir = Path(scratch) / "log"
        options = msgspec.structs.replace(options, config=config)
        children = _children(
            options, run_dir, hil_dir, runs_dir, access_dir=access_dir, page=page, log_dir=log_dir
        )
        supervisor = Supervisor(children, log_dir, log)
        try:
            supervisor.tend()
            if options.hil:
                _check_track(options.track)  # while its world does: that would be started again and again
            yield RunningCar(supervisor, run_dir, hil_dir, page_address(options, page), access_dir)
        finally:
            supervisor.stop()
            if hil_dir is not None and options.hil_dir is None:
                shutil.rmtree(hil_dir, ignore_errors=True)


def _children(
    options: RunOptions,
    run_dir: Path,
    hil_dir: Path | None,
    runs_dir: Path | None = None,
    *,
    access_dir: Path | None = None,
    page: PageConfig = PageConfig(),  # noqa: B008 - frozen
    log_dir: Path | None = None,
) -> list[ChildSpec]:
    """Return the processes in the order of their start; they end in the opposite order."""
    drive = [*options.lapwing, "drive", "--run-dir", str(run_dir)]
    web = [*options.lapwing, "web", "--run-dir", str(run_dir), "--port", str(options.port)]
    web += ["--host", page_host(options)]
    if hil_dir is None:
        web += ["--http" if options.http or page.http else "--https"]
        for name in page.names:
            web += ["--name", name]
    if access_dir is not None:
        web += ["--access-dir", str(access_dir)]
    if options.webhook:
        web += ["--webhook", options.webhook]
    if options.config is not None:
        drive += ["--config", str(options.config)]
        web += ["--config", str(options.config)]
    if log_dir is not None:
        web += ["--log-dir", str(log_dir)]
    if options.policy:
        drive += ["--policy", options.policy]
    children = []
    if hil_dir is not None:
        of_world, of_host = split_by_side(options.faults)
        settings = hil_settings(options, hil_dir)
        settings = msgspec.structs.replace(settings, faults=(*settings.faults, *of_world))
        if options.faults:  # one clock for both sides
            settings = msgspec.structs.replace(settings, start_ns=time.monotonic_ns())
        as_json = to_json(settings)
        children += [
            ChildSpec("board", python_module("vehicle.hil.board_process", as_json), is_hardware=True),
            ChildSpec("world", python_module("vehicle.hil.server", as_json), is_hardware=True),
        ]
        drive += ["--hil-dir", str(hil_dir), "--wiring", options.wiring, "--takes-orders"]
        if not options.is_calibrated:
            drive.append("--uncalibrated")
        elif not options.is_private:
            drive += ["--hil-calibration", str(hil_calibration_file(options.wiring))]
        for text in of_host:
            drive += ["--fault", text]
        if of_host:
            drive += ["--faults-since-ns", str(settings.start_ns), "--seed", str(options.seed)]
        web += ["--hil-dir", str(hil_dir)]
    has_marker = hil_dir is None or options.has_marker  # on a real car one may be put down any time
    timekeeper = ["timekeeper", "--run-dir", str(run_dir)]
    if options.config is not None:
        timekeeper += ["--config", str(options.config)]
    recorder = ["record", "--run-dir", str(run_dir)]
    if options.config is not None:
        recorder += ["--config", str(options.config)]
    if runs_dir is not None:
        recorder += ["--runs", str(runs_dir)]
        web += ["--runs", str(runs_dir)]
    if hil_dir is not None:
        recorder += ["--hil-dir", str(hil_dir)]
    return [
        *children,
        ChildSpec("vehicle", tuple(drive), VEHICLE_SILENT_S),
        *([ChildSpec("timekeeper", (*options.lapwing, *timekeeper))] if has_marker else []),
        ChildSpec("recorder", (*options.lapwing, *recorder)),
        ChildSpec("web", tuple(web)),
    ]


def page_host(options: RunOptions) -> str:
    """Return what the page's process is told to listen at."""
    return "127.0.0.1" if options.hil else "all"


def page_address(options: RunOptions, page: PageConfig) -> str:
    """Return where people find the page: on this computer only where the car is simulated."""
    if options.hil:
        return f"http://127.0.0.1:{options.port}/"
    scheme = "http" if options.http or page.http else "https"
    host = socket.gethostname().partition(".")[0].lower()
    return f"{scheme}://{host}.local:{options.port}/"


def hil_calibration_file(wiring: str) -> Path:
    """Return where `lapwing run --hil` keeps what was saved of a HIL car, one file a wiring."""
    return CarConfig(name=f"hil-{wiring}").calibration_file()


def hil_config_file(home: Path | None) -> Path:
    """Return the settings of a HIL car that was started without a `car.toml`, for the page to change.

    Kept beside this user's cars, or for a private car in its `home`.
    """
    cars = CarConfig(name="hil-car").calibration_file().parent if home is None else home
    path = cars / "hil-car.toml"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("# The settings of the simulated car; the page writes here.\n", encoding="utf-8")
    return path


def hil_settings(options: RunOptions, hil_dir: Path) -> HilSettings:
    """Return the HIL car that was asked for; raises ConfigError naming what it cannot be."""
    faults = [] if options.is_calibrated else ["board=not_stored"]
    fields = {
        "faults": faults,
        "track": options.track,
        "wiring": options.wiring,
        "board": options.board,
        "seed": options.seed,
        "marker": {} if options.has_marker else None,
    }
    try:
        return msgspec.convert({"hil_dir": hil_dir, **fields}, HilSettings)
    except msgspec.ValidationError as error:
        raise ConfigError(f"the HIL car cannot be made like this: {error}") from None


def _check_port(options: RunOptions) -> None:
    """Raise ConfigError where no page can listen: its process would be started again and again."""
    if error := listening_error(listening_address(page_host(options)), options.port):
        raise ConfigError(
            f"the page cannot be served at port {options.port} ({error}); choose another with --port"
        )


def _check_track(name: str) -> None:
    from vehicle.hil.track import load_track  # noqa: PLC0415 - of a HIL car alone

    load_track(name)


def tend_until(car: RunningCar, happened: Callable[[], bool], timeout_s: float) -> bool:
    """Look after the children until something is so; return whether it came to be in time."""
    deadline_s = time.monotonic() + timeout_s
    while not happened():
        if time.monotonic() > deadline_s:
            return False
        car.supervisor.tend()
        time.sleep(0.02)
    return True


def is_ready(status: Status | None) -> bool:
    """Whether a start into AUTONOMOUS would be accepted now."""
    return status is not None and not status.not_ready


def run_car(options: RunOptions, welcome: Callable[[str], str]) -> None:
    """Run the car until SIGTERM or SIGINT; `welcome` is what to say of the page at an address."""
    stopping = StopSignal()
    console = Console(stderr=True)
    with running_car(options, console.print) as car:
        console.print(f"The car's page: [bold]{car.address}[/bold]   (Ctrl-C ends everything)")
        words = welcome(car.address)
        if words:
            console.print(words)
        tend_until(car, stopping, float("inf"))


def run_demo(
    options: RunOptions,
    sign_in_link: Callable[[Path, str], str],
    *,
    laps: int,
    out_dir: Path,
    keep: bool,
) -> int:
    """Drive laps with the HIL car, show them, and return the exit status of `lapwing laps`.

    Raises LapwingError where policy, track or folder cannot be used, or the car does not get ready.
    """
    from models.bundle import load_bundle  # noqa: PLC0415 - `lapwing run` starts without these
    from vehicle.laps_command import NOT_STARTED  # noqa: PLC0415 - as above
    from vehicle.laps_report import prepare_folder  # noqa: PLC0415 - as above

    load_bundle(options.policy)
    prepare_folder(out_dir)
    stopping = StopSignal()
    console = Console()
    console.print(f"Starting a simulated car on the track [bold]{options.track}[/bold].")
    with running_car(options, console.print) as car:
        _wait_until_ready(car, stopping)
        if stopping():
            return NOT_STARTED
        assert car.hil_dir is not None
        assert car.access_dir is not None
        link = sign_in_link(car.access_dir, car.address)
        console.print(f"The car's page, for ten minutes and one browser: [bold]{link}[/bold]", soft_wrap=True)
        code = _drive_laps(options, car, laps, out_dir, stopping)
        if keep and not stopping():
            link = sign_in_link(car.access_dir, car.address)
            console.print(f"The car stays up: [bold]{car.address}[/bold]   (Ctrl-C ends everything)")
            console.print(f"Another browser signs in with [bold]{link}[/bold]", soft_wrap=True)
            tend_until(car, stopping, float("inf"))
    return code


def _wait_until_ready(car: RunningCar, stopping: Callable[[], bool]) -> None:
    """Wait until a start would be accepted, or until told to stop.

    Raises:
        VehicleSilentError: it did not come to be in time; the message says what the car says.

    """
    with VehicleClient(car.run_dir, "lapwing demo") as vehicle:
        if tend_until(car, lambda: stopping() or is_ready(vehicle.status()), START_TIMEOUT_S):
            return
        status = vehicle.status()
        silent = vehicle.version_note or "the vehicle process is silent"
        reason = " ".join(status.not_ready) if status else silent
        raise VehicleSilentError(f"the car was not ready within {START_TIMEOUT_S:g} s: {reason}")


def _drive_laps(options: RunOptions, car: RunningCar, laps: int, out_dir: Path, stopping: StopSignal) -> int:
    command = [*options.lapwing, "laps", "--laps", str(laps), "--out", str(out_dir)]
    command += ["--run-dir", str(car.run_dir), "--hil-dir", str(car.hil_dir)]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as process:
        tend_until(car, lambda: process.poll() is not None or stopping(), float("inf"))
        if process.poll() is None:
            process.terminate()
        return process.wait()
