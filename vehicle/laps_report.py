"""What outlives a drive of some laps: laps.json, a picture of the driven line, a film.

A full disk costs the file that no longer fits, never the report of the others.
"""

import shutil
import tempfile
from pathlib import Path

import msgspec

from vehicle.drawing import TrackLines, write_driven_line
from vehicle.errors import HilError
from vehicle.lap_drive import LapDrive, LapsPlan, NotStartedError, Outcome
from vehicle.lap_log import LINE_COLUMNS, DriveSummary
from vehicle.lap_video import FILM_RATE_HZ, encode_film

PROBE_BYTES = 1 << 20


class LapsReport(msgspec.Struct, frozen=True):
    """What the command prints with --json and writes to laps.json."""

    done: bool
    reason: str
    laps_wanted: int
    track: str
    policy: str
    policy_hash: str
    speed_cap_frac: float
    drive: DriveSummary
    picture: str | None
    film: str | None
    notes: tuple[str, ...]
    """What else its reader should know."""


def prepare_folder(folder: Path) -> None:
    """Make the folder for the results and try to write there; raises NotStartedError with a sentence."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(bytes(PROBE_BYTES))
    except OSError as error:
        raise NotStartedError(
            f"the results cannot be written to {folder} ({error.strerror}); make room, or choose another "
            "folder with --out"
        ) from None


def write_results(drive: LapDrive, outcome: Outcome, plan: LapsPlan, folder: Path) -> LapsReport:
    """Write what fits of picture, film and laps.json, and return the report that tells what did not."""
    notes: list[str] = []
    summary, truth = drive.log.summary(), drive.log.newest
    picture = _write_picture(drive, plan, folder / "line.png", notes)
    film = _write_film(drive, plan, folder / "laps", notes)
    drive.pictures.close()
    if summary.records_lost:
        notes.append("some ticks were lost on the way here; the numbers lack them")
    report = LapsReport(
        done=outcome.done,
        reason=outcome.reason,
        laps_wanted=plan.laps,
        track=truth.track if truth is not None else "",
        policy=drive.policy,
        policy_hash=drive.policy_hash,
        speed_cap_frac=plan.speed_cap_frac,
        drive=summary,
        picture=str(picture) if picture else None,
        film=str(film) if film else None,
        notes=tuple(notes),
    )
    return _write_document(report, drive, folder / "laps.json")


def _write_document(report: LapsReport, drive: LapDrive, path: Path) -> LapsReport:
    document = {
        **msgspec.to_builtins(report),
        "line_columns": LINE_COLUMNS,
        "line": drive.log.line(),
    }
    try:
        path.write_bytes(msgspec.json.encode(document))
    except OSError as error:
        path.unlink(missing_ok=True)
        note = f"no {path.name}: {error.strerror}; the numbers are here alone"
        return msgspec.structs.replace(report, notes=(*report.notes, note))
    return report


def _write_picture(drive: LapDrive, plan: LapsPlan, path: Path, notes: list[str]) -> Path | None:
    from vehicle.hil.track import load_track  # noqa: PLC0415 - a drawing of the HIL track, nothing that drives

    truth = drive.log.newest
    if truth is None:
        notes.append("no picture: nobody knows where the car was")
        return None
    try:
        track = load_track(truth.track)
    except HilError as error:
        notes.append(f"no picture: {error}")
        return None
    best_s = drive.log.best_s
    title = f"{Path(truth.track).stem}: {drive.log.laps_done} of {plan.laps} laps"
    if best_s is not None:
        title += f", best {best_s:.3f} s"
    about = (f"policy {drive.policy}", f"speed cap {plan.speed_cap_frac:.0%}", "HIL car")
    lines = TrackLines(track.center, track.inner, track.outer)
    try:
        write_driven_line(path, lines, drive.log.driven_line(title, about))
    except OSError as error:
        path.unlink(missing_ok=True)
        notes.append(f"no picture: {error.strerror or error}")
        return None
    return path


def _write_film(drive: LapDrive, plan: LapsPlan, path_without_suffix: Path, notes: list[str]) -> Path | None:
    if drive.pictures.dropped:
        notes.append(f"the film lacks {drive.pictures.dropped} pictures that there was no room to keep")
    film = encode_film(
        path_without_suffix,
        drive.pictures.at_rate(FILM_RATE_HZ),
        lambda frame: drive.log.overlay(frame.number, plan.laps, drive.action_names),
    )
    if film is None:
        notes.append("no film: no picture came, or OpenCV has no encoder here")
        return None
    # OpenCV's encoder says nothing when the disk is full; a film that ends in a full disk is no film.
    if shutil.disk_usage(film.parent).free < PROBE_BYTES:
        film.unlink(missing_ok=True)
        notes.append("no film: the disk is full")
        return None
    return film
