"""One recorded run at a glance."""

import datetime
from pathlib import Path

import msgspec


class RunSummary(msgspec.Struct, kw_only=True):
    """One run at a glance; beside its file and inside it."""

    name: str
    """Stem of the file."""
    started_wall_ns: int
    """By the car's clock, which may be wrong; `boot_id` and `started_ns` are not."""
    boot_id: str
    started_ns: int
    """CLOCK_MONOTONIC of that boot."""
    clock_known: bool = True
    """False: nothing had set the car's clock; name and date are a guess until somebody tells the time."""
    duration_s: float = 0.0
    driven_s: float = 0.0
    """In a moving state."""
    car: str = ""
    is_hil: bool = False
    policy: str = ""
    policy_hash: str = ""
    calibration_version: int = 0
    drivers: tuple[str, ...] = ()
    modes: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    """In the order in which they first appeared while armed."""
    latched_fault: str = ""
    laps_s: tuple[float, ...] = ()
    laps_source: str = ""
    """What timed them: `world`, the HIL world, or `marker`, the start marker."""
    ticks: int = 0
    decisions: int = 0
    pictures: int = 0
    size_bytes: int = 0
    is_complete: bool = True
    """False: records or pictures are missing, or the file was cut off."""
    note: str = ""

    @property
    def best_lap_s(self) -> float | None:
        """The fastest lap."""
        return min(self.laps_s, default=None)


def run_name(folder: Path, wall_ns: int) -> str:
    """Return a name by date and time, UTC, that no run has yet."""
    moment = datetime.datetime.fromtimestamp(wall_ns // 10**9, tz=datetime.UTC)
    base = f"{moment:%Y-%m-%d_%H-%M-%S}"
    name, count = base, 1
    while any((folder / f"{name}{end}").exists() for end in (".mcap", ".mcap.part", ".json")):
        count += 1
        name = f"{base}_{count}"
    return name
