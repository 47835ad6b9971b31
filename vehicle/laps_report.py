"""What outlives a drive of some laps: laps.json, a picture of the driven line, a film.

A full disk costs the file that no longer fits, never the report of the others. The film is last and takes a
bounded time: on a busy computer an encoder may need many times the drive.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from vehicle.drawing import TrackLines, write_driven_line
from vehicle.errors import HilError
from vehicle.lap_drive import LapDrive, LapsPlan, NotStartedError, Outcome
from vehicle.lap_log import LINE_COLUMNS, DriveSummary
from vehicle.lap_video import FILM_RATE_HZ, FilmFrame, encode_film

PROBE_BYTES = 1 << 20
FILM_LEAST_S = 30.0  # of encoding; more for a drive that was longer, as long as itself
DOCUMENT = "laps.json"
BUSY_SHARE = 3.0  # of the cores: what a demo of its own brings is below 2
UNFINISHED = "the film was being made when this was written"


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


def write_numbers(drive: LapDrive, outcome: Outcome, plan: LapsPlan, folder: Path) -> LapsReport:
    """Write what fits of picture and laps.json, and return the report, which has yet to tell of a film."""
    notes: list[str] = []
    summary, truth = drive.log.summary(), drive.log.newest
    picture = _write_picture(drive, plan, folder / "line.png", notes)
    if summary.records_lost:
        notes.append("some ticks were lost on the way here; the numbers lack them")
    if not outcome.done:
        notes += busy_notes(os.getloadavg()[0], os.cpu_count() or 1)
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
        film=None,
        notes=tuple(notes),
    )
    path = folder / DOCUMENT
    path.unlink(missing_ok=True)  # of a drive before
    unfinished = msgspec.structs.replace(report, notes=(*notes, UNFINISHED))
    _write_document(unfinished, drive, path)  # whoever ends this command now has the numbers
    return report


def busy_notes(load: float, cores: int) -> tuple[str, ...]:
    """Return what to know of a computer's load average where it may be what ended a drive."""
    if load < BUSY_SHARE * cores:
        return ()
    busy = f"this computer is busy (a load of {load:.0f} on {cores} cores)"
    return (f"{busy}: bytes and pictures may have come late; close what else runs and drive again",)


def add_film(
    report: LapsReport,
    drive: LapDrive,
    folder: Path,
    *,
    is_enough: Callable[[], bool] = lambda: False,
    now_s: Callable[[], float] = time.monotonic,
) -> LapsReport:
    """Make the film, and return the report that tells of it, or why there is none.

    The film ends where somebody says that it `is_enough`, or where it takes too long.
    """
    notes = list(report.notes)
    patience = _Patience(max(FILM_LEAST_S, report.drive.duration_s), is_enough, now_s)
    film = _write_film(drive, report.laps_wanted, folder / "laps", notes, patience)
    drive.pictures.close()
    report = msgspec.structs.replace(report, film=str(film) if film else None, notes=tuple(notes))
    path = folder / DOCUMENT
    failed = _write_document(report, drive, path)
    if not failed:
        return report
    what = f"{path.name} does not tell how the film went" if path.exists() else f"no {path.name}"
    note = f"{what}: {failed}; the numbers are here"
    return msgspec.structs.replace(report, notes=(*notes, note))


class _Patience:
    """Ends a film that takes too long, or that nobody waits for."""

    def __init__(self, limit_s: float, is_enough: Callable[[], bool], now_s: Callable[[], float]) -> None:
        self.note = ""
        """Why the film lacks its end; empty while it does not."""
        self._limit_s, self._is_enough, self._now_s = limit_s, is_enough, now_s
        self._began_s = now_s()
        self._first_ns: int | None = None

    def goes_on(self, frame: FilmFrame) -> bool:
        """Whether this picture is still to be encoded."""
        if self._first_ns is None:
            self._first_ns = frame.stamp_ns
        if self._is_enough():
            why = "the command was interrupted"
        elif self._now_s() - self._began_s > self._limit_s:
            why = f"encoding took longer than {self._limit_s:.0f} s; the computer was busy"
        else:
            return True
        self.note = f"the film ends after {(frame.stamp_ns - self._first_ns) / 1e9:.0f} s of the drive: {why}"
        return False


def _write_document(report: LapsReport, drive: LapDrive, path: Path) -> str:
    """Write it, old or new; return why that failed, or an empty string."""
    document = {
        **msgspec.to_builtins(report),
        "line_columns": LINE_COLUMNS,
        "line": drive.log.line(),
    }
    part = path.with_suffix(".part")
    try:
        part.write_bytes(msgspec.json.encode(document))
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        return error.strerror or str(error)
    return ""


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


def _write_film(
    drive: LapDrive, laps_wanted: int, path_without_suffix: Path, notes: list[str], patience: _Patience
) -> Path | None:
    if drive.pictures.dropped:
        notes.append(f"the film lacks {drive.pictures.dropped} pictures that there was no room to keep")
    film = encode_film(
        path_without_suffix,
        drive.pictures.at_rate(FILM_RATE_HZ),
        lambda frame: drive.log.overlay(frame.number, laps_wanted, drive.action_names),
        goes_on=patience.goes_on,
    )
    if patience.note:
        notes.append(patience.note)
    if film is None and not patience.note:
        notes.append("no film: no picture came, or OpenCV has no encoder here")
        return None
    if film is None:
        return None
    # OpenCV's encoder says nothing when the disk is full; a film that ends in a full disk is no film.
    if shutil.disk_usage(film.parent).free < PROBE_BYTES:
        film.unlink(missing_ok=True)
        notes.append("no film: the disk is full")
        return None
    return film
