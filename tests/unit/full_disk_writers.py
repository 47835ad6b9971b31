"""What `test_full_disk.py` runs inside a small file system: `python -m tests.unit.full_disk_writers PLACE`.

It prints, as JSON, what was in force after each writer had met a full disk, and once there was room again.
"""

import json
import sys
from pathlib import Path

from calibration.errors import CalibrationError
from models.errors import PolicyError
from tests.unit.full_disk import FILLER, rest_filled
from tests.unit.test_killed_writers import WRITERS, record_a_drive
from vehicle.errors import LapwingError
from vehicle.run_file import read
from vehicle.run_schemas import Topic
from vehicle.runs import RunShelf

IN_WORDS = (LapwingError, CalibrationError, PolicyError)


def met_a_full_disk(disk: Path, name: str) -> dict[str, object]:
    """Let one writer meet a full disk."""
    writer, folder = WRITERS[name], disk / name.replace(" ", "_").replace("'", "")
    folder.mkdir()
    writer.prepare(folder)
    old, said = writer.read(folder), ""
    rest_filled(disk, 0)
    try:
        writer.change(folder)
    except (*IN_WORDS, OSError) as error:
        said = f"{type(error).__name__}: {error}"
    full = writer.read(folder)
    (disk / FILLER).unlink()
    writer.change(folder)
    return {
        "name": name,
        "old": repr(old),
        "full": repr(full),
        "new": repr(writer.read(folder)),
        "said": said,
    }


def recorded_on_a_full_disk(disk: Path) -> dict[str, object]:
    """Record a drive without any room, and look for what is left; then record one with room."""
    folder = disk / "runs"
    folder.mkdir()
    rest_filled(disk, 0)
    said = ""
    try:
        record_a_drive(folder)
    except (*IN_WORDS, OSError) as error:
        said = f"{type(error).__name__}: {error}"
    (disk / FILLER).unlink()
    shelf = RunShelf(folder)
    shelf.mend()
    full = sum(len(list(read(shelf.find(run.name), [Topic.TICK]))) for run in shelf.runs())
    record_a_drive(folder)
    new = sum(len(list(read(shelf.find(run.name), [Topic.TICK]))) for run in shelf.runs())
    return {"name": "run", "full": full, "new": new, "said": said}


def main() -> int:
    """Let every writer meet a full disk."""
    disk = Path(sys.argv[1])
    rows = [met_a_full_disk(disk, name) for name in WRITERS]
    print(json.dumps([*rows, recorded_on_a_full_disk(disk)]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
