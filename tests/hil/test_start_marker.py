"""Laps by the printed start marker, in lockstep, against the world's own laps."""

import pytest

from tests.hil.rig import lockstep_rig
from vehicle.hil.settings import CameraSettings, MarkerSettings
from vehicle.marker_sight import CameraView
from vehicle.messages import GUARDED_STATES, TickRecord
from vehicle.run_stream import Picture
from vehicle.timekeeper import Timing

FPS = 30.0
CAMERA = CameraSettings(fps=FPS, width_px=320, height_px=240)  # a quarter of the work of a full picture


def test_plover_laps_with_the_marker_beside_its_track_and_the_marker_times_its_laps_to_one_picture():
    timing = Timing(CameraView())
    with lockstep_rig(track="oval", policy="plover", camera=CAMERA, marker=MarkerSettings(), seed=4) as rig:
        seen = [-1]

        def watch(record: TickRecord) -> None:
            timing.follow(record.state in GUARDED_STATES, record.now_ns)
            frame = rig.vehicle.camera.latest()
            if frame is not None and frame.number > seen[0]:
                seen[0] = frame.number
                timing.look(Picture(frame.number, frame.stamp_ns, frame.ready_ns, frame.jpeg))

        rig.after_tick = watch
        rig.start()
        assert rig.run_until(lambda: timing.laps().lap_count >= 1, 40.0)
        truth = rig.world.truth_now()

    laps = timing.laps()
    assert not truth.off_track
    assert len(truth.laps) == 1
    for by_marker, by_world in zip(laps.laps, truth.laps, strict=True):
        assert by_marker.time_s == pytest.approx(by_world.time_s, abs=1 / FPS)
        assert by_marker.missed == 0
    assert (laps.doubles, laps.untimed) == (0, 0)
