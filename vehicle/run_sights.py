"""What a car saw in a recorded run, decision by decision, as its policy was shown it."""

from collections.abc import Iterator
from pathlib import Path

from models.errors import PolicyError
from models.observation import Sight
from vehicle.camera import decode_jpeg
from vehicle.messages import POLICY_STATES
from vehicle.replay_parts import Cursor, PlayedLidar, Recording
from vehicle.run_file import RunFileError


def sights_of(path: Path) -> Iterator[Sight]:
    """Yield the sights of a run's decisions in which the policy drove; raises PolicyError."""
    try:
        recording = Recording(path)
    except RunFileError as error:
        raise PolicyError(str(error)) from error
    cursor = Cursor(recording)
    lidar = PlayedLidar(cursor)
    for tick in recording.ticks:
        front = recording.jpegs.get(("front", tick.frame_number))
        if not tick.decided or tick.state not in POLICY_STATES or front is None:
            continue
        cursor.tick = tick
        image = decode_jpeg(front)
        right = recording.jpegs.get(("right", tick.right_frame_number))
        scan = lidar.latest()
        if image is not None:
            yield Sight(image, decode_jpeg(right) if right else None, scan.scan if scan else None)
