"""The shelf of runs: what is there, what is kept, what makes room. A folder of files, nothing else.

`NAME.mcap` is a run, `NAME.json` its summary, `NAME.webm` its film if somebody wanted one, `NAME.star` says
that it is not to be removed by itself.
`NAME.mcap.part` is being written, or was cut off where nobody holds its lock: `mend` makes a run of it.
What was put away lies in `removed` for ten minutes, or until its room is needed.
"""

import contextlib
import fcntl
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from calibration.errors import CalibrationError
from calibration.store import write_atomically
from models.store import LAPWING_HOME
from vehicle.car_clock import CarClock, ToldTime
from vehicle.errors import LapwingError
from vehicle.run_file import NEW_SUFFIX, PART_SUFFIX, is_cut_off, read_whole, summary_of
from vehicle.run_mending import NotMendedError, cut_off_summary, mend
from vehicle.run_summary import RunSummary, run_name
from vehicle.run_tally import RunTally

QUOTA_BYTES = 4 * 10**9
RESERVE_BYTES = 10**9  # of the disk stays free, whatever happens
SAME_TIME_NS = 5_000_000_000  # of a person's clock: nothing to give a run another name for
KEPT_AWAY_S = 600.0  # long enough to see that it was the wrong one
FORGOTTEN_S = 60.0  # a file that was made, and not begun: its recorder died in between
SUFFIXES = (".mcap", ".json", ".star", ".webm")  # the run first: what is left of a kill shows nothing
NAME_PATTERN = re.compile(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d(_\d{1,6})?")


class RunNotFoundError(LapwingError):
    """There is no such run."""


def default_runs_dir() -> Path:
    """Return where this user's runs are kept: $LAPWING_HOME/runs, else the XDG data directory."""
    home = os.environ.get(LAPWING_HOME)
    if home:
        return Path(home) / "runs"
    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "lapwing" / "runs"


class RunShelf:
    """One folder of runs; several processes may use it at a time."""

    def __init__(
        self,
        folder: Path | None = None,
        quota_bytes: int | Callable[[], int] = QUOTA_BYTES,
        free: Callable[[Path], int] | None = None,
    ) -> None:
        self.folder = folder or default_runs_dir()
        self._quota_bytes = quota_bytes
        self._free = free or free_bytes
        self.clock = CarClock(self.folder)

    @property
    def quota_bytes(self) -> int:
        """What all runs together may take, as their owner says now."""
        return self._quota_bytes if isinstance(self._quota_bytes, int) else self._quota_bytes()

    def runs(self) -> list[RunSummary]:
        """Return what is there, newest first."""
        found = []
        for file in sorted(self._files(), reverse=True):
            with contextlib.suppress(FileNotFoundError):  # removed meanwhile, by another process
                found.append(self._summary(file))
        return found

    def find(self, name: str) -> Path:
        """Return a run's file by its name, or `last` for the newest; raises RunNotFoundError."""
        if name == "last":
            newest = max(self._files(), default=None)
            if newest is None:
                raise RunNotFoundError(f"there is no run in {self.folder}; drive one first")
            return newest
        path = self.folder / f"{name}.mcap"
        if not NAME_PATTERN.fullmatch(name) or not path.is_file():
            raise RunNotFoundError(f"no run {name!r} in {self.folder}; `lapwing runs list` shows them")
        return path

    def summary(self, name: str) -> RunSummary:
        """Return one run's summary; raises RunNotFoundError."""
        return self._summary(self.find(name))

    def put(self, summary: RunSummary) -> None:
        """Keep the summary of a run that is finished, and make room for the next."""
        self._keep(summary)
        self.make_room()

    def _keep(self, summary: RunSummary) -> None:
        with contextlib.suppress(CalibrationError):  # it stands in the run's own file too
            write_atomically(self.folder / f"{summary.name}.json", msgspec.json.encode(summary))
        told = self.clock.told()
        if told is not None:  # while it was recorded
            self.relabel(told)

    def relabel(self, told: ToldTime) -> list[str]:
        """Date the runs of that boot which nobody could date; return their names, which say the date."""
        relabelled = []
        for one in self.runs():
            if one.clock_known or one.boot_id != told.boot_id:
                continue
            wall_ns = told.wall_of(one.started_ns)
            dated = msgspec.structs.replace(one, started_wall_ns=wall_ns, clock_known=True)
            if abs(wall_ns - one.started_wall_ns) > SAME_TIME_NS:
                dated = msgspec.structs.replace(dated, name=run_name(self.folder, wall_ns))
            with contextlib.suppress(CalibrationError, OSError):  # the old date stays
                self._rename(one.name, dated)
                relabelled.append(dated.name)
        return relabelled

    def _rename(self, name: str, dated: RunSummary) -> None:
        """Give a run its new summary, then all its files the new name, the run itself last."""
        write_atomically(self.folder / f"{dated.name}.json", msgspec.json.encode(dated))
        if dated.name == name:
            return
        for suffix in (".star", ".webm", ".mcap"):
            with contextlib.suppress(FileNotFoundError):
                (self.folder / f"{name}{suffix}").rename(self.folder / f"{dated.name}{suffix}")
        (self.folder / f"{name}.json").unlink(missing_ok=True)

    def star(self, name: str, starred: bool) -> None:
        """Keep a run whatever the quota says, or no longer; raises RunNotFoundError."""
        mark = self.find(name).with_suffix(".star")
        if starred:
            mark.touch()
        else:
            mark.unlink(missing_ok=True)

    def is_starred(self, name: str) -> bool:
        """Return whether a run is kept whatever the quota says."""
        return (self.folder / f"{name}.star").exists()

    def remove(self, name: str) -> None:
        """Remove a run for good; raises RunNotFoundError."""
        _remove(self.find(name))

    def put_away(self, name: str) -> None:
        """Take a run out of the list so that it can be put back for a while; raises RunNotFoundError."""
        path = self.find(name)
        self._bin.mkdir(exist_ok=True)
        os.utime(path)  # since when it lies there
        for suffix in SUFFIXES:
            with contextlib.suppress(FileNotFoundError):
                path.with_suffix(suffix).rename(self._bin / f"{path.stem}{suffix}")

    def put_back(self, name: str) -> None:
        """Undo `put_away`; raises RunNotFoundError when it is gone for good."""
        path = self._bin / f"{name}.mcap"
        if not NAME_PATTERN.fullmatch(name) or not path.is_file() or (self.folder / path.name).exists():
            raise RunNotFoundError(f"the run {name!r} is gone for good; it was kept for ten minutes")
        for suffix in reversed(SUFFIXES):  # the run last: it is there with all that belongs to it
            with contextlib.suppress(FileNotFoundError):
                path.with_suffix(suffix).rename(self.folder / f"{name}{suffix}")

    def removed(self) -> list[str]:
        """Return the names of those that can be put back, newest first."""
        return sorted((path.stem for path in self._bin.glob("*.mcap")), reverse=True)

    def forget(self, *, all_of_it: bool = False) -> list[str]:
        """Remove for good what was put away ten minutes ago, or all of it; return the names."""
        forgotten = []
        for path in sorted(self._bin.glob("*.mcap")):
            with contextlib.suppress(FileNotFoundError):  # put back meanwhile
                if all_of_it or abs(time.time() - path.stat().st_mtime) > KEPT_AWAY_S:
                    _remove(path)
                    forgotten.append(path.stem)
        return forgotten

    @property
    def _bin(self) -> Path:
        return self.folder / "removed"

    def make_room(self) -> list[str]:
        """Remove the oldest runs without a star while they exceed the quota or the disk lacks its reserve.

        Those that were put away go first, the newest never. Returns the names of the others that went.
        """
        if self.room_bytes() < RESERVE_BYTES:
            self.forget(all_of_it=True)
        sizes = {}
        for file in sorted([*self._files(), *self._parts()]):
            with contextlib.suppress(FileNotFoundError):  # mended or removed meanwhile, by another process
                sizes[file] = _size_bytes(file)
        files = [*sizes]
        total_bytes = sum(sizes.values())
        removed = []
        for file in files[:-1]:  # the newest stays, however large
            if total_bytes <= self.quota_bytes and self.room_bytes() >= RESERVE_BYTES:
                break
            if not self.is_starred(_stem(file)):
                _remove(file)
                total_bytes -= sizes[file]
                removed.append(_stem(file))
        return removed

    def room_bytes(self) -> int:
        """Return how much of the disk is free."""
        return self._free(self.folder)

    def cut_off(self) -> list[RunSummary]:
        """Return what was cut off and is not mended yet, newest first, as far as a glance tells."""
        found = []
        for part in sorted(self._parts(), reverse=True):
            with contextlib.suppress(FileNotFoundError):  # mended meanwhile
                found.append(cut_off_summary(part))
        return found

    def mend(self, failed: Callable[[NotMendedError], object] | None = None) -> list[str]:
        """Make runs of what was cut off; return their names.

        At any time, in any process: what somebody writes is left alone. What cannot be mended now is told to
        `failed`, and the rest is mended; without it NotMendedError is raised at the end, OSError where the
        folder itself cannot be used.
        """
        mended: list[str] = []
        if not self.folder.is_dir():
            return mended
        failures: list[NotMendedError] = []
        with (self.folder / "mending.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # whoever mends here already does it all
            self._mend(mended, failed or failures.append)
        if failures:
            raise failures[0]
        return mended

    def _mend(self, mended: list[str], failed: Callable[[NotMendedError], object]) -> None:
        for new in self.folder.glob(f"*.mcap{NEW_SUFFIX}"):
            with contextlib.suppress(FileNotFoundError):
                if abs(time.time() - new.stat().st_mtime) > FORGOTTEN_S:
                    new.unlink()
        for part in sorted(self._parts()):
            try:
                summary = mend(part)
            except NotMendedError as error:
                failed(error)
                continue
            if summary is not None:
                self._keep(summary)  # and removes nothing: that is the recorder's, who knows the quota
                mended.append(summary.name)

    def _parts(self) -> Iterable[Path]:
        """Return the files that were cut off: those that nobody writes."""
        parts = self.folder.glob(f"*.mcap{PART_SUFFIX}")
        return (part for part in parts if NAME_PATTERN.fullmatch(_stem(part)) and is_cut_off(part))

    def _files(self) -> Iterable[Path]:
        return (file for file in self.folder.glob("*.mcap") if NAME_PATTERN.fullmatch(file.stem))

    def _summary(self, file: Path) -> RunSummary:
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            return msgspec.json.decode(file.with_suffix(".json").read_bytes(), type=RunSummary)
        with contextlib.suppress(LapwingError, KeyError, msgspec.MsgspecError):
            return msgspec.json.decode(summary_of(file)["summary"], type=RunSummary)
        return summarised(file)


def free_bytes(folder: Path) -> int:
    """Return how much of the disk is free where a folder is, or will be."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _size_bytes(file: Path) -> int:
    """Return what a run and its film take."""
    film = file.with_suffix(".webm")
    return file.stat().st_size + (film.stat().st_size if film.exists() else 0)


def _remove(file: Path) -> None:
    file.unlink(missing_ok=True)  # one that was cut off has another suffix
    for suffix in SUFFIXES:
        file.with_name(f"{_stem(file)}{suffix}").unlink(missing_ok=True)


def summarised(path: Path) -> RunSummary:
    """Return what a run's own messages say of it, for one whose summary was never written."""
    tally = RunTally(cut_off_summary(path))
    with contextlib.suppress(OSError, msgspec.MsgspecError):
        for entry in read_whole(path):
            tally.entry(entry)
    return tally.summary


def _stem(file: Path) -> str:
    return file.name.partition(".")[0]
