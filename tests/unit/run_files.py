"""Recorded runs for tests of what reads them, made by the recorder's own writer, without a car."""

import math
from pathlib import Path

import cv2
import numpy as np

from tests.unit.tick_records import record_of
from vehicle.messages import DriveAction, DriveState, Fault, OperatorRequest, RequestKind
from vehicle.run_recording import Moment, RunRecording
from vehicle.run_schemas import Topic
from vehicle.run_stream import Picture
from vehicle.run_summary import RunSummary
from vehicle.runs import RESERVE_BYTES, RunShelf
from vehicle.truth import Crossing, TrackLayout, WorldTruth
from webui.recording import Recording, RecordingDocument

TICK_S = 0.02
PICTURES_EVERY = 2  # ticks
LAP_S = 3.0
START_NS = 5_000_000_000
WALL_NS = 1_795_700_000 * 10**9


def ring(t_s: float, laps: int) -> WorldTruth:
    """Return where a car is that goes round a ring, a lap every three seconds."""
    angle = 2 * math.pi * t_s / LAP_S
    return WorldTruth(
        now_ns=START_NS + round(t_s * 1e9),
        frame_number=round(t_s / TICK_S),
        track="ring",
        x_m=math.cos(angle),
        y_m=math.sin(angle),
        heading_rad=angle + math.pi / 2,
        speed_mps=2.0 + math.sin(angle),
        steering_rad=0.2,
        progress_frac=t_s / LAP_S % 1.0,
        offset_m=0.0,
        off_track=False,
        crashed=False,
        laps=tuple(Crossing(lap, LAP_S) for lap in range(1, laps + 1)),
        lap_started_ns=START_NS + round(laps * LAP_S * 1e9),
        servo_pulse_us=1500.0,
        esc_pulse_us=1500.0,
    )


def ring_layout() -> TrackLayout:
    """Return the lines of the ring's track, 0.4 m wide."""
    angles = np.linspace(0, 2 * math.pi, 60, endpoint=False).tolist()
    center, inner, outer = (
        [(radius_m * math.cos(angle), radius_m * math.sin(angle)) for angle in angles]
        for radius_m in (1.0, 0.8, 1.2)
    )
    return TrackLayout("ring", 2 * math.pi, center, inner, outer)


def steering_at(t_s: float) -> float:
    """Return how the car of these runs steers."""
    return 0.6 * math.sin(t_s)


def jpeg(number: int) -> bytes:
    """Return a picture that shows its number as a grey level."""
    image = np.full((12, 16), number % 250, np.uint8)
    _, data = cv2.imencode(".jpg", image)
    return data.tobytes()


class StatedRecorder:
    """A recorder that says what a test lets it say."""

    def __init__(self) -> None:
        self.said = RecordingDocument(Recording.READY)

    def document(self) -> RecordingDocument:
        """Return what it says."""
        return self.said


def shelf_of(recorded: Path, folder: Path) -> RunShelf:
    """Return a shelf of runs that were recorded already, whose files a test may remove."""
    folder.mkdir()
    for file in recorded.iterdir():
        (folder / file.name).hardlink_to(file)
    return RunShelf(folder)


def make_run(
    folder: Path,
    seconds: float = 10.0,
    *,
    wall_ns: int = WALL_NS,
    truth: bool = True,
    pictures: bool = True,
    fault_s: float | None = None,
) -> RunSummary:
    """Record a drive of so many seconds, by a car that steers in waves; return its summary."""
    recording = RunRecording(folder, lambda: Moment(wall_ns, "boot"), lambda: 2 * RESERVE_BYTES)
    if truth:
        recording.track(ring_layout())
    count = round(seconds / TICK_S)
    for number in range(count + 12):
        t_s = (number - 1) * TICK_S  # of the run: it begins with the tick after the first
        now_ns = START_NS + round(t_s * 1e9)
        faults: tuple[Fault, ...] = ()
        requests: tuple[OperatorRequest, ...] = ()
        if number == 0 or number >= count:
            state = DriveState.DISARMED
        elif t_s < 0.2:
            state = DriveState.ARMING
        else:
            state = DriveState.AUTONOMOUS
        if number == 1:
            requests = (OperatorRequest(id="a", source="page 1", kind=RequestKind.START, sent_ns=now_ns),)
        if fault_s is not None and fault_s <= t_s and state is not DriveState.DISARMED:
            state, faults = DriveState.FAILSAFE, (Fault.BOARD_SILENT,)
        if truth:
            recording.truth(ring(t_s, int(max(0.0, t_s) / LAP_S)))
        if pictures and number % PICTURES_EVERY == 0:
            recording.picture(Topic.CAMERA, Picture(number // PICTURES_EVERY, now_ns, now_ns, jpeg(number)))
        sent = DriveAction(steering_at(t_s), 0.3 if state is DriveState.AUTONOMOUS else 0.0)
        record = record_of(
            number, now_ns=now_ns, state=state, faults=faults, requests=requests, sent_frac=sent
        )
        recording.tick(record)
    recording.end()
    summary = recording.finished.popleft()
    RunShelf(folder).put(summary)
    return summary
