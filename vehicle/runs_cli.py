"""`lapwing runs`: what was recorded, shown, kept, exported, removed."""

import contextlib
import datetime
import shutil
import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from vehicle.cli_options import JsonOption, RunsOption
from vehicle.run_csv import write_csv
from vehicle.run_file import RunFileError
from vehicle.run_film import CODECS, write_film
from vehicle.run_summary import RunSummary
from vehicle.runs import RunShelf

runs_app = typer.Typer(no_args_is_help=True, help="Look after the recorded runs.")

NameArgument = Annotated[str, typer.Argument(help="Name of a run, or `last`.")]
TIMED_BY = {"world": "the simulated world", "marker": "the start marker"}


@runs_app.command("list")
def list_runs(runs: RunsOption = None, as_json: JsonOption = False) -> None:
    """List what was recorded, newest first."""
    shelf = mended_shelf(runs)
    found = shelf.runs()
    if as_json:
        _print_json([_document(shelf, one) for one in found])
        return
    table = Table("run", "driven", "policy", "laps", "best", "stopped by", "size", "")
    table.columns[0].no_wrap = True
    for one in found:
        table.add_row(
            one.name,
            _duration(one.driven_s),
            one.policy or "-",
            str(len(one.laps_s)) if one.laps_s else "-",
            f"{one.best_lap_s:.2f} s" if one.best_lap_s is not None else "-",
            one.latched_fault or "-",
            f"{one.size_bytes / 1e6:.1f} MB",
            ("*" if shelf.is_starred(one.name) else "") + ("" if one.is_complete else " !"),
        )
    Console().print(table if found else f"No run in {shelf.folder} yet.")


@runs_app.command()
def show(name: NameArgument = "last", runs: RunsOption = None, as_json: JsonOption = False) -> None:
    """Show one run."""
    shelf = mended_shelf(runs)
    path = shelf.find(name)
    one = shelf.summary(path.stem)
    if as_json:
        _print_json(_document(shelf, one))
        return
    table = Table(show_header=False, box=None)
    started = datetime.datetime.fromtimestamp(one.started_wall_ns / 1e9).astimezone()
    for label, value in (
        ("run", one.name + (" *" if shelf.is_starred(one.name) else "")),
        ("began", f"{started:%Y-%m-%d %H:%M:%S %Z}, by the car's clock"),
        ("car", f"{one.car or '-'}{' (HIL)' if one.is_hil else ''}, calibration {one.calibration_version}"),
        ("policy", f"{one.policy or '-'}  {one.policy_hash[:12]}"),
        (
            "driven",
            f"{_duration(one.driven_s)} of {_duration(one.duration_s)}, {', '.join(one.modes) or '-'}",
        ),
        ("laps", ", ".join(f"{lap_s:.2f} s" for lap_s in one.laps_s) or "-"),
        ("timed by", TIMED_BY.get(one.laps_source, "-")),
        ("faults", ", ".join(one.faults) or "none"),
        ("stopped by", one.latched_fault or "-"),
        ("holds", f"{one.ticks} ticks, {one.decisions} decisions, {one.pictures} pictures"),
        ("complete", "yes" if one.is_complete else f"no: {one.note}"),
        ("file", f"{path} ({one.size_bytes / 1e6:.1f} MB)"),
    ):
        table.add_row(label, value)
    Console().print(table)


@runs_app.command()
def star(
    name: NameArgument,
    off: Annotated[bool, typer.Option("--off", help="Take the star away.")] = False,
    runs: RunsOption = None,
) -> None:
    """Keep a run whatever the quota says."""
    mended_shelf(runs).star(name, not off)


@runs_app.command()
def remove(name: NameArgument, runs: RunsOption = None) -> None:
    """Remove a run."""
    shelf = mended_shelf(runs)
    path = shelf.find(name)
    shelf.remove(path.stem)
    Console().print(f"{path.stem} is removed.")


@runs_app.command()
def export(
    name: NameArgument,
    out: Annotated[Path, typer.Argument(help="A .csv (one line a tick), .mp4 or .webm (a film), or .mcap.")],
    runs: RunsOption = None,
) -> None:
    """Write a run to a file of your own."""
    path = mended_shelf(runs).find(name)
    match out.suffix:
        case ".mcap" | ".csv":
            _copy(path, out)
        case suffix if suffix in CODECS:
            write_film(path, out)
        case _:
            raise typer.BadParameter(
                f"{out} ends in {out.suffix or 'nothing'}, allowed are .csv, .mcap, .mp4 and .webm; "
                "choose one of these"
            )
    Console().print(f"{out}: {out.stat().st_size / 1e6:.1f} MB")


def _copy(path: Path, out: Path) -> None:
    """Write the run, or its table, whole or not at all."""
    part = out.with_name(f".{out.name}.part")
    try:
        if out.suffix == ".mcap":
            shutil.copyfile(path, part)
        else:
            with part.open("w", newline="", encoding="utf-8") as file:
                write_csv(path, file)
        part.replace(out)
    except OSError as error:
        raise RunFileError(f"{out} cannot be written ({error.strerror}); choose another file") from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


def mended_shelf(folder: Path | None) -> RunShelf:
    """Return this user's runs, or those of a folder, once what was cut off is whole; tell what is not."""
    shelf, told = RunShelf(folder), Console(stderr=True)
    try:
        for name in shelf.mend(lambda error: told.print(f"{error}.")):
            told.print(f"{name} was cut off; what is there was saved.")
    except OSError as error:
        told.print(f"What was cut off cannot be made whole: {error.strerror}; free some space on the disk.")
    return shelf


def _document(shelf: RunShelf, one: RunSummary) -> dict[str, object]:
    return {
        **msgspec.to_builtins(one),
        "best_lap_s": one.best_lap_s,
        "starred": shelf.is_starred(one.name),
        "file": str(shelf.folder / f"{one.name}.mcap"),
    }


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else f"{int(seconds // 60)}:{seconds % 60:04.1f} min"


def _print_json(document: object) -> None:
    sys.stdout.write(msgspec.json.encode(document).decode() + "\n")
