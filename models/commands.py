"""What `lapwing models ...` does: the functions that the page uses too, with words and tables around."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from models.activation import HEARD_WITHIN_S, activate, may_check
from models.check_process import Progress as Tell
from models.check_report import CheckRefusedError, CheckReport, Response, clean_name
from models.drawing import draw_in_text, write_picture
from models.errors import PolicyError
from models.store import Entry, PolicyStore
from models.store_intake import add_file, export_original, export_tidy
from models.store_report import entry_document, export_name, remove_unused
from vehicle.remote_client import VehicleClient

SOURCE = "lapwing models"
KEY_SHOWN = 12
OUTPUTS_SHOWN = 8


def add_command(
    source: Path, store: PolicyStore, run_dir: Path, *, name: str, input_range: str, as_json: bool
) -> int:
    """Check a policy's file and take it in; return the exit status."""
    try:
        with heard_vehicle(run_dir) as vehicle, progress_bar(as_json=as_json) as tell:
            entry, is_new = add_file(
                store,
                source,
                name=name,
                input_range=input_range,
                progress=tell,
                may_run=lambda: may_check(vehicle.status()),
            )
    except CheckRefusedError as error:
        if not error.responses and not as_json:
            raise
        return _refused(error, as_json=as_json)
    if as_json:
        _print_json({**entry_document(entry), "new": is_new})
        return 0
    console = _console()
    report = entry.report
    assert report is not None
    console.print(
        Text(f"{entry.name} is {'ready' if is_new else 'here already, and ready'} ({entry.key[:KEY_SHOWN]}).")
    )
    _print_summary(console, report)
    console.print(Text(f"lapwing models activate {entry.key[:KEY_SHOWN]} makes it the one that drives."))
    return 0


def list_command(store: PolicyStore, *, as_json: bool) -> int:
    """Print the policies."""
    entries = store.list()
    if as_json:
        _print_json([entry_document(entry) for entry in entries])
        return 0
    table = Table(box=None, pad_edge=False)
    for heading in ("", "name", "key", "sensors", "actions", "rate", "decision", "checked"):
        table.add_column(heading, overflow="fold")
    for entry in entries:
        table.add_row(*(Text(cell) for cell in _row(entry)))
    _console().print(table)
    return 0


def _row(entry: Entry) -> tuple[str, ...]:
    mark, key = "*" if entry.active else "", "" if entry.built_in else entry.key[:KEY_SHOWN]
    report = entry.report
    if report is None:
        return (
            mark,
            entry.name,
            key,
            "",
            "",
            "",
            "",
            "ships with Lapwing" if entry.built_in else entry.problem,
        )
    space = report.action_space
    actions = f"{len(space.points)}" if space.type == "discrete" else "range"
    return (
        mark,
        entry.name,
        key,
        ", ".join(report.sensors),
        actions,
        f"{report.control_rate_hz:g} Hz",
        f"{report.infer_median_ms:.1f} ms",
        report.checked_at[:10],
    )


def show_command(store: PolicyStore, wanted: str, *, picture: Path | None, as_json: bool) -> int:
    """Print what is known of one policy: inputs, action space, layers and their cost, answers, times."""
    entry = store.find(wanted)
    if entry.problem:
        raise PolicyError(entry.problem)
    report = entry.report or _report_of_built_in(entry)
    if picture is not None:
        write_picture(report.action_space, picture)
    if as_json:
        _print_json({**entry_document(entry), "report": report})
        return 0
    console = _console()
    _print_summary(console, report)
    console.print(Text("\n" + draw_in_text(report.action_space) + "\n"))
    table = Table(box=None, pad_edge=False)
    for heading, side in (("layer", "left"), ("output", "left"), ("MMAC", "right"), ("parameters", "right")):
        table.add_column(heading, justify=side)  # type: ignore[arg-type]
    for layer in report.layers:
        shape = " x ".join("?" if size is None else str(size) for size in layer.output_shape)
        cost = f"{layer.mmac:.3f}" if layer.mmac else ""
        table.add_row(layer.operator, shape, cost, f"{layer.parameters:,}" if layer.parameters else "")
    table.add_row("together", "", f"{report.mmac:.3f}", f"{report.parameters:,}")
    console.print(table)
    if report.responses:
        console.print(Text("\nWhat it answered when it was checked:"))
        console.print(_responses_table(report.responses))
    if picture is not None:
        console.print(Text(f"The action space is drawn in {picture}."))
    return 0


def activate_command(store: PolicyStore, wanted: str, run_dir: Path, *, as_json: bool) -> int:
    """Have the vehicle load a policy and remember it; without a vehicle it is loaded at the next start."""
    entry = store.find(wanted)
    with heard_vehicle(run_dir) as vehicle:
        entry, is_loaded = activate(store, entry.key, vehicle)
    if as_json:
        _print_json({**entry_document(entry), "loaded": is_loaded})
    elif is_loaded:
        _console().print(Text(f"{entry.name} is loaded and active."))
    else:
        _console().print(Text(f"{entry.name} is active; no vehicle runs now, the next one starts with it."))
    return 0


def rename_command(store: PolicyStore, wanted: str, name: str, *, as_json: bool) -> int:
    """Give a policy another name."""
    entry = store.rename(store.find(wanted).key, name)
    if as_json:
        _print_json(entry_document(entry))
    else:
        _console().print(Text(f"{entry.key[:KEY_SHOWN]} is now called {entry.name}."))
    return 0


def remove_command(store: PolicyStore, wanted: str, run_dir: Path, *, as_json: bool) -> int:
    """Move a policy to the trash; refused for the one in use."""
    entry = store.find(wanted)
    with heard_vehicle(run_dir) as vehicle:
        removed = remove_unused(store, entry.key, vehicle)
    if as_json:
        _print_json({"key": entry.key, "name": entry.name, "removed": removed})
    else:
        _console().print(
            Text(
                f"{entry.name} is removed; for a day "
                f"lapwing models restore {entry.key[:KEY_SHOWN]} undoes it."
            )
        )
    return 0


def restore_command(store: PolicyStore, wanted: str, *, as_json: bool) -> int:
    """Undo a removal."""
    entry = store.restore(wanted)
    if as_json:
        _print_json(entry_document(entry))
    else:
        _console().print(Text(f"{entry.name} is back."))
    return 0


def export_command(store: PolicyStore, wanted: str, *, out: Path | None, tidy: bool, as_json: bool) -> int:
    """Write a policy's original byte for byte, or network and metadata alone as a `.tar.gz`."""
    entry = store.find(wanted)
    out = out or Path(export_name(entry, tidy=tidy))
    if tidy or entry.built_in:
        export_tidy(entry, out)
    else:
        export_original(store, entry, out)
    if as_json:
        _print_json({"key": entry.key, "file": str(out), "bytes": out.stat().st_size})
    else:
        _console().print(Text(f"{entry.name} is in {out} ({out.stat().st_size / 1e6:.1f} MB)."))
    return 0


def _report_of_built_in(entry: Entry) -> CheckReport:
    """Return a report of a policy that ships, made now: nobody uploaded it."""
    from models.check_built_in import report_of_built_in  # noqa: PLC0415 - opens the network

    return report_of_built_in(entry.name, entry.folder)


def _print_summary(console: Console, report: CheckReport) -> None:
    space = report.action_space
    choice = f"{len(space.points)} actions" if space.type == "discrete" else "a range of steering and speed"
    lines = [
        f"{report.name}: {report.training_algorithm}, {choice}, {report.control_rate_hz:g} Hz, "
        f"{report.action_units}",
        *(f"  {part.name} <- {part.sensor}: {part.meaning}" for part in report.inputs),
        f"  {report.mmac:.1f} MMAC, {report.parameters:,} parameters; one decision takes "
        f"{report.infer_median_ms:.2f} ms here (99 of 100 within {report.infer_p99_ms:.2f} ms), "
        f"of {1e3 / report.control_rate_hz:.0f} ms",
    ]
    lines += [f"  {note}" for note in (*report.simplified, *report.notes)]
    for line in lines:
        console.print(Text(line))
    for warning in report.warnings:
        console.print(Text(f"  ! {warning}", style="yellow"))


def _responses_table(responses: tuple[Response, ...]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("picture", "action", "steering", "speed", "output"):
        table.add_column(heading)
    for response in responses:
        output = " ".join(f"{value:.3g}" for value in response.output[:OUTPUTS_SHOWN])
        more = " ..." if len(response.output) > OUTPUTS_SHOWN else ""
        table.add_row(
            response.picture,
            str(response.index) if response.index >= 0 else "",
            f"{response.steering_deg:+.1f}°",
            f"{response.speed_mps:.2f} m/s",
            output + more,
        )
    return table


def _refused(error: CheckRefusedError, *, as_json: bool) -> int:
    if as_json:
        _print_json({"error": str(error), "responses": error.responses})
        return 2
    console = _console()
    for choice, responses in error.responses.items():
        console.print(Text(f"With --input-range {choice}:"))
        console.print(_responses_table(responses))
    sys.stderr.write(f"lapwing: {error}\n")
    return 2


@contextlib.contextmanager
def heard_vehicle(run_dir: Path) -> Iterator[VehicleClient]:
    """Give a client of the vehicle that may run here, after listening for it."""
    with VehicleClient(run_dir, SOURCE) as vehicle:
        vehicle.wait_status(lambda _: True, HEARD_WITHIN_S)
        yield vehicle


@contextlib.contextmanager
def progress_bar(*, as_json: bool) -> Iterator[Tell]:
    """Show a bar on standard error where somebody looks."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(
        *columns, console=console, transient=True, disable=as_json or not console.is_terminal
    ) as bar:
        task = bar.add_task("starting", total=1.0)
        yield lambda stage, share: bar.update(task, description=clean_name(stage), completed=share)


def _console() -> Console:
    return Console(highlight=False, soft_wrap=True)


def _print_json(document: object) -> None:
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n")
