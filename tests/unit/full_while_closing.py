"""What `test_full_disk.py` runs inside a small file system: `python -m tests.unit.full_while_closing PLACE`.

A disk becomes full exactly while a run is closed, by its car's stop or by the recorder's own. It prints, as
JSON, what was kept of each run, and how long the recorder was busy with it.
"""

import contextlib
import json
import sys
import tempfile
import time
from pathlib import Path

from tests.unit.full_disk import FILLER, rest_filled
from tests.unit.test_runs import DRIVE, feed, ticks
from vehicle import recorder as recorder_module
from vehicle.messages import DriveState
from vehicle.recorder import Recorder
from vehicle.run_file import read_whole
from vehicle.run_schemas import Topic
from vehicle.runs import RESERVE_BYTES, RunShelf

ROOMS_KB = (0, 4, 8, 32)
TICK_S = 0.02
DRIVEN = [*DRIVE[:2], *[DriveState.AUTONOMOUS] * 330]


def kept(runs: Path) -> int:
    """Return how many ticks after the first can be read of the only run there is."""
    (run,) = (path for path in runs.iterdir() if ".mcap" in path.suffixes)
    return sum(entry.topic is Topic.TICK for entry in read_whole(run)) - 1


def close_a_run(disk: Path, run_dir: Path, room_kb: int, way: str) -> dict[str, object]:
    runs = disk / f"{way}-{room_kb}"
    shelf = RunShelf(runs)
    one = Recorder(run_dir, shelf, None)
    one.recording._free_bytes = lambda: 2 * RESERVE_BYTES  # the disk was looked at before it filled
    feed(one.recording, ticks(*DRIVEN))
    rest_filled(disk, room_kb << 10)
    began_s = time.monotonic()
    if way == "stopped":
        feed(one.recording, ticks(*[DriveState.DISARMED] * 12, first=len(DRIVEN)))
        one.turn(0)
    problem = one.recording.problem
    one.close()
    busy_s = time.monotonic() - began_s
    newest = kept(runs)
    with contextlib.suppress(FileNotFoundError):
        (disk / FILLER).unlink()
    shelf.mend()
    name = shelf.find("last").stem
    told = {
        "room_kb": room_kb,
        "way": way,
        "problem": problem or one.recording.problem,
        "busy_s": busy_s,
        "newest": newest,
        "lost_s": (len(DRIVEN) - 1 - newest) * TICK_S,
        "mended_ticks": shelf.summary(name).ticks,
        "note": shelf.summary(name).note,
    }
    shelf.find("last").unlink()
    return told


def main(disk: Path) -> None:
    recorder_module.RESERVE_BYTES = 0
    with tempfile.TemporaryDirectory(prefix="lw", dir="/tmp") as run_dir:
        told = [
            close_a_run(disk, Path(run_dir) / f"{way}{room_kb}", room_kb, way)
            for way in ("stopped", "ended")
            for room_kb in ROOMS_KB
        ]
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
