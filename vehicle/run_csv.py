"""A recorded run as a table, one line a tick; `python -m vehicle.run_csv RUN.mcap` prints it."""

import csv
import os
import sys
from pathlib import Path
from typing import TextIO

import msgspec

from vehicle.errors import LapwingError
from vehicle.messages import TickRecord
from vehicle.run_file import read
from vehicle.run_schemas import Topic

NICE = 15  # whoever drives or looks comes first
CSV_COLUMNS = (
    "t_s",
    "state",
    "decided",
    "steering_frac",
    "throttle_frac",
    "steering_us",
    "throttle_us",
    "action_index",
    "frame_number",
    "frame_to_wire_ms",
    "lateness_ms",
    "battery_v",
    "faults",
)


def write_csv(path: Path, file: TextIO) -> None:
    """Write one line a tick; raises RunFileError."""
    lines = csv.writer(file)
    lines.writerow(CSV_COLUMNS)
    first_ns = 0
    for entry in read(path, [Topic.EXACT_TICK]):
        tick = msgspec.msgpack.decode(entry.data, type=TickRecord)
        first_ns = first_ns or tick.now_ns
        lines.writerow(
            (
                f"{(tick.now_ns - first_ns) / 1e9:.4f}",
                tick.state.value,
                int(tick.decided),
                f"{tick.wanted.steering_frac:.4f}",
                f"{tick.wanted.throttle_frac:.4f}",
                f"{tick.sent.steering_us:.1f}",
                f"{tick.sent.throttle_us:.1f}",
                tick.action_index,
                tick.frame_number,
                f"{tick.times.frame_to_wire_ns / 1e6:.2f}" if tick.times.frame_to_wire_ns else "",
                f"{tick.lateness_ns / 1e6:.2f}",
                "" if tick.board.battery_v is None else f"{tick.board.battery_v:.2f}",
                "; ".join(fault.value for fault in tick.faults),
            )
        )


if __name__ == "__main__":
    os.nice(NICE)
    try:
        write_csv(Path(sys.argv[1]), sys.stdout)
    except (LapwingError, BrokenPipeError) as error:
        sys.exit(str(error))
