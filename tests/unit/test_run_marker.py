"""Laps by the start marker in a recorded run: in its summary, its time line and its file."""

from pathlib import Path

import msgspec
import pytest

from tests.unit.run_files import START_NS, WALL_NS, ring
from tests.unit.tick_records import record_of
from vehicle.laps import MarkerLaps, TimedLap
from vehicle.messages import DriveState
from vehicle.run_file import read_whole
from vehicle.run_recording import RESERVE_BYTES, Moment, RunRecording
from vehicle.run_schemas import Topic
from vehicle.run_seek import RunIndex
from vehicle.run_traces import EventKind, traces_of


def told(began_ns: int, *laps: TimedLap, passes: int, at_ns: int, doubles: int = 0) -> MarkerLaps:
    return MarkerLaps(
        at_ns, began_ns, True, laps, len(laps), at_ns if passes else 0, passes, doubles, 0, None, 9, 0
    )


@pytest.fixture
def recording(tmp_path: Path) -> RunRecording:
    return RunRecording(tmp_path, lambda: Moment(WALL_NS, "boot"), lambda: 2 * RESERVE_BYTES)


def tick(recording: RunRecording, number: int, state: DriveState = DriveState.AUTONOMOUS) -> int:
    """Record a tick of 20 ms, and return its time."""
    now_ns = START_NS + number * 20_000_000
    recording.tick(record_of(number, now_ns=now_ns, state=state))
    return now_ns


def drive(recording: RunRecording) -> None:
    """Record a drive in which the marker is passed three times."""
    tick(recording, 0, DriveState.DISARMED)
    began_ns = tick(recording, 1, DriveState.ARMING)
    recording.marker(told(1, TimedLap(1, 7.0), passes=2, at_ns=began_ns))  # of the drive before
    for number in range(2, 60):
        tick(recording, number)
    second = 10**9
    recording.marker(told(began_ns + 40_000_000, passes=1, at_ns=began_ns + second))
    recording.marker(told(began_ns + 40_000_000, passes=1, at_ns=began_ns + second))  # four times a second
    laps = TimedLap(1, 9.0, 0.004), TimedLap(2, 18.0, 0.004, missed=1)
    recording.marker(told(began_ns + 40_000_000, *laps, passes=3, at_ns=began_ns + 28 * second, doubles=1))
    tick(recording, 60, DriveState.DISARMED)
    recording.end()


def test_a_run_of_a_real_car_has_the_laps_that_its_marker_timed(recording: RunRecording) -> None:
    drive(recording)
    summary = recording.finished[0]

    assert (summary.laps_s, summary.laps_source, summary.best_lap_s) == ((9.0, 18.0), "marker", 9.0)


def test_each_lap_stands_at_its_end_on_the_time_line_with_its_doubt(recording: RunRecording) -> None:
    drive(recording)
    path = recording._folder / f"{recording.finished[0].name}.mcap"
    traces = traces_of(path, RunIndex(path))
    laps = [event for event in traces.events if event.kind is EventKind.LAP]

    assert [event.t_s for event in laps] == pytest.approx([10.0, 28.0])
    assert laps[0].words == "lap 1: 9.000 s, by the start marker"
    assert laps[1].words.endswith("the marker may have been missed")


def test_the_file_holds_every_change_of_what_the_marker_said_and_no_repetition(
    recording: RunRecording,
) -> None:
    drive(recording)
    entries = read_whole(recording._folder / f"{recording.finished[0].name}.mcap")
    said = [msgspec.json.decode(one.data, type=MarkerLaps) for one in entries if one.topic is Topic.MARKER]

    assert [(one.passes, one.doubles) for one in said] == [(1, 0), (3, 1)]


def test_a_world_that_knows_the_truth_counts_alone(recording: RunRecording) -> None:
    recording.truth(ring(0.0, 0))
    drive(recording)

    assert recording.finished[0].laps_source == ""
    assert recording.finished[0].laps_s == ()
