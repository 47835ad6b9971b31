"""Records the short run that `tests/hil/test_recorded_run.py` replays: `python -m tests.golden.make_run`."""

import shutil
import tempfile
from pathlib import Path

from tests.hil.rig import lockstep_rig
from tests.hil.test_recording import recorded
from vehicle.messages import RequestKind
from vehicle.runs import RunShelf

POLICY = Path("models/zoo/plover")
FILE = Path(__file__).with_name("short_run.mcap")
SIZE_LIMIT_BYTES = 500_000


def main() -> None:
    """Drive for a second, brake by the emergency stop, and keep the file."""
    with tempfile.TemporaryDirectory() as folder:
        shelf = RunShelf(Path(folder))
        with lockstep_rig(policy=POLICY) as rig, recorded(rig, shelf):
            rig.drive(duration_s=1.0)
            rig.send(RequestKind.EMERGENCY_STOP)
            rig.run(0.1)
            rig.stop()
            rig.run(0.3)
        summary = shelf.summary("last")
        assert summary.is_complete, summary.note
        assert summary.size_bytes < SIZE_LIMIT_BYTES, summary.size_bytes
        shutil.copyfile(shelf.find("last"), FILE)
    print(f"{FILE}: {summary.size_bytes / 1000:.0f} kB, {summary.ticks} ticks")


if __name__ == "__main__":
    main()
