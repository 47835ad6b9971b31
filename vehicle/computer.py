"""This computer as `lapwing doctor` looks at it: files under /sys, /proc and /dev, limits and programs."""

import importlib.metadata
import os
import platform
import re
import resource
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from vehicle.realtime import LOOP_PRIORITY
from vehicle.run_dir import default_run_dir


def try_realtime() -> str:
    """Ask for real-time priority on a thread made for it; return the refusal, empty when it was given."""
    refusals: list[str] = []

    def ask() -> None:
        try:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(LOOP_PRIORITY))
        except OSError as error:
            refusals.append(error.strerror or str(error))

    thread = threading.Thread(target=ask, name="realtime-trial")
    thread.start()
    thread.join()
    return refusals[0] if refusals else ""


def installed_version(package: str) -> str:
    """Return the version of a Python package of this interpreter, empty where it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


@dataclass(frozen=True)
class Computer:
    """Where to look; tests give a folder with files of their own for `root`."""

    root: Path = Path("/")
    """Above /sys, /proc, /dev and /etc."""
    machine: str = field(default_factory=platform.machine)
    user_id: int = field(default_factory=os.getuid)
    group_ids: tuple[int, ...] = field(default_factory=lambda: tuple({os.getgid(), *os.getgroups()}))
    run_dir: Path = field(default_factory=default_run_dir)
    find_program: Callable[[str], str | None] = shutil.which
    limit: Callable[[int], int] = field(default=lambda kind: resource.getrlimit(kind)[0])
    """Returns the soft limit of a kind of `resource.RLIMIT_*`."""
    try_realtime: Callable[[], str] = try_realtime
    """Returns why real-time priority was refused, empty when it was given."""
    free_disk_bytes: Callable[[], int] = field(default=lambda: shutil.disk_usage(Path.cwd()).free)
    version_of: Callable[[str], str] = installed_version
    """Returns the installed version of a Python package, empty where there is none."""

    def read(self, path: str) -> str:
        """Return the stripped text of a file under the root, empty when it cannot be read."""
        try:
            return (self.root / path).read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            return ""

    def paths(self, pattern: str) -> list[Path]:
        """Return what matches a pattern under the root, in natural order (video2 before video10)."""
        return sorted(
            self.root.glob(pattern),
            key=lambda path: [
                int(part) if part.isdigit() else part for part in re.split(r"(\d+)", str(path))
            ],
        )

    def shown(self, path: Path) -> str:
        """Return a path as the user knows it."""
        return f"/{path.relative_to(self.root)}"
