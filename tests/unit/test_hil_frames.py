"""HIL frames for int8: what the policy sees as it drives, other drives for calibration than for the test."""

import numpy as np

from models.int8_frames import Role
from models.training import hil_frames
from models.training.hil_frames import HilFrames


def test_drives_of_the_two_roles_have_no_picture_in_common(monkeypatch):
    monkeypatch.setattr(hil_frames, "CARS", 2)
    monkeypatch.setattr(hil_frames, "DECISIONS", {Role.CALIBRATION: 4, Role.TEST: 6})
    source = HilFrames("plover", tracks=("oval",))

    drives = {role: [[sight.image for sight in drive] for drive in source.drives(role)] for role in Role}
    pictures = {role: {image.tobytes() for drive in drives[role] for image in drive} for role in Role}

    counts = {role: [len(drive) for drive in drives[role]] for role in Role}

    assert len(counts[Role.CALIBRATION]) == 4
    assert len(counts[Role.TEST]) == 8
    assert 2 <= min(counts[Role.CALIBRATION]) <= max(counts[Role.CALIBRATION]) <= 4
    assert 3 <= min(counts[Role.TEST]) <= max(counts[Role.TEST]) <= 6
    assert pictures[Role.CALIBRATION].isdisjoint(pictures[Role.TEST])
    assert len(pictures[Role.TEST]) == sum(counts[Role.TEST])  # none twice
    assert all(np.ptp(image) > 50 for image in drives[Role.TEST][0])
    assert "oval-reversed" in source.description
