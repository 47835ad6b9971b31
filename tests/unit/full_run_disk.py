"""What `test_full_disk.py` runs inside a small file system: `python -m tests.unit.full_run_disk PLACE`.

It prints, as JSON, what the list of runs says of one that was cut off: on a full disk, and afterwards.
"""

import contextlib
import json
import sys
import time
from pathlib import Path

from tests.unit.full_disk import FILLER, rest_filled
from tests.unit.test_runs import CUT, DRIVE, feed, recording, ticks
from vehicle import run_mender
from vehicle.messages import DriveState
from vehicle.runs import RunShelf
from webui.runs import Listing, RunRow

LIMIT_S = 40.0


def cut_off(folder: Path) -> bytes:
    """Leave a run as a killed recorder does; return what is whole of it."""
    one = recording(folder)
    feed(one, ticks(*DRIVE[:2], *[DriveState.AUTONOMOUS] * 400)[:-1])
    assert one._writer is not None
    one._writer.sync()
    one._writer.abandon()
    part = next(folder.glob("*.part"))
    part.rename(folder / f"{CUT}.mcap.part")
    return (folder / f"{CUT}.mcap.part").read_bytes()


def row_when(listing: Listing, *, lacks: bool, is_mending: bool) -> RunRow:
    """Look at the list until it says that of its run."""
    deadline_s = time.monotonic() + LIMIT_S
    while True:
        (row,) = listing.rows()
        if (bool(row.lacks), row.is_mending) == (lacks, is_mending):
            return row
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"the list still says {row}")
        time.sleep(0.02)


def main(disk: Path) -> None:
    run_mender.AGAIN_S = 0.0
    runs = disk / "runs"
    whole = cut_off(runs)
    (runs / "mending.lock").touch()
    rest_filled(disk, 0)
    listing = Listing(RunShelf(runs))
    first = listing.rows()[0].lacks
    full = row_when(listing, lacks=True, is_mending=True)
    left = (runs / f"{CUT}.mcap.part").read_bytes()
    began = listing._mender._process
    for _ in range(5):  # no disk is read again for a run that needs more room than there is
        listing.rows()
    is_patient = listing._mender._process is began
    with contextlib.suppress(FileNotFoundError):
        (disk / FILLER).unlink()
    mended = row_when(listing, lacks=False, is_mending=False)
    document = {
        "first": first,
        "lacks": full.lacks,
        "is_untouched": left == whole,
        "is_patient": is_patient,
        "ticks": RunShelf(runs).summary(CUT).ticks,
        "note": mended.note,
    }
    sys.stdout.write(json.dumps(document))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
