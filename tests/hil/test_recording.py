"""Runs are written down and repeated: the recorder on the real streams, the replay through the real loop."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
from mcap.reader import make_reader

from models.int8_frames import Recordings, Role
from models.policy import Policy
from tests.hil.rig import Rig, lockstep_rig, ring_stops
from vehicle.__main__ import HIL_CALIBRATIONS
from vehicle.hil.track import load_track
from vehicle.messages import Actuator, DriveState, Fault, RequestKind, TickRecord
from vehicle.recorder import Recorder
from vehicle.replay import replay
from vehicle.replay_parts import Recording
from vehicle.run_file import RunFileError, RunWriter, read, schemas_of
from vehicle.run_schemas import Topic, protobuf_class_of
from vehicle.run_seek import RunIndex
from vehicle.run_sights import sights_of
from vehicle.run_traces import traces_of
from vehicle.runs import RunShelf


@contextmanager
def recorded(rig: Rig, shelf: RunShelf) -> Iterator[Recorder]:
    """Record what a stepped vehicle does; ticks take a short cut, everything else the real sockets."""
    recorder = Recorder(rig.vehicle.run_dir, shelf, rig.world_dir)

    def after_tick(record: TickRecord) -> None:
        recorder.take_tick(record)
        is_late = recorder.recording.is_closing and not recorder.recording.has_all
        recorder.turn(50 if is_late else 0)  # the world's seconds are short; a picture's way is not

    rig.after_tick = after_tick
    rig.run(1.0)  # until the streams know that somebody listens
    try:
        yield recorder
    finally:
        rig.after_tick = lambda record: None
        recorder.close()


class Drive:
    """One recorded drive and what it was driven with."""

    def __init__(self, shelf: RunShelf, policy: Policy, records: list[TickRecord]) -> None:
        self.shelf, self.policy, self.records = shelf, policy, records
        self.path = shelf.find("last")


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Drive:
    """Drive by the shipped policy for some seconds, then by a fault into failsafe, and disarm."""
    shelf = RunShelf(tmp_path_factory.mktemp("runs"))
    with lockstep_rig(policy=Path("models/zoo/plover")) as rig, recorded(rig, shelf):
        rig.drive(duration_s=4.0)
        rig.send(RequestKind.EMERGENCY_STOP)
        rig.run(1.0)
        rig.stop()
        rig.run(0.3)
        policy = rig.vehicle.loop._policy
        assert policy is not None
        records = [
            one for one in rig.publisher.records if one.state not in {DriveState.DISARMED, DriveState.ARMING}
        ]
        return Drive(shelf, policy, records)


def test_a_run_is_what_happened_between_arming_and_disarming(drive: Drive) -> None:
    ticks = Recording(drive.path).ticks
    assert ticks[0].state is DriveState.ARMING
    assert ticks[-1].state is DriveState.DISARMED
    assert [tick.sequence for tick in ticks] == list(range(ticks[0].sequence, ticks[-1].sequence + 1))
    kept = [tick for tick in ticks if tick.state not in {DriveState.ARMING, DriveState.DISARMED}]
    assert kept == drive.records


def test_a_summary_tells_the_run(drive: Drive) -> None:
    summary = drive.shelf.summary("last")
    assert summary.is_complete, summary.note
    assert summary.is_hil
    assert summary.policy == "plover"
    assert summary.modes == ("autonomous",)
    assert summary.latched_fault == Fault.EMERGENCY_STOP.value
    assert summary.driven_s > 4.0
    assert summary.ticks == len(Recording(drive.path).ticks)


def test_a_replay_gives_the_same_commands_to_the_bit(drive: Drive) -> None:
    report = replay(drive.path, drive.policy)
    assert report.differences == ()
    assert report.is_same
    assert report.moving_ticks > 200
    assert report.pulse_span_us > 10.0
    assert report.worst_us == 0.0
    assert report.inputs_equal_frac == 1.0


def test_a_replay_repeats_a_tick_that_a_stop_has_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = RunShelf(tmp_path)
    with lockstep_rig(policy=Path("models/zoo/plover")) as rig, recorded(rig, shelf):
        rung_ns = ring_stops(monkeypatch, 2_000_000, is_rung=lambda now_ns: now_ns % 7 == 0)
        rig.drive(duration_s=2.0)
        rig.stop()
        rig.run(0.3)
        policy = rig.vehicle.loop._policy
    assert policy is not None
    called = [tick for tick in Recording(shelf.find("last")).ticks if tick.trigger == "stop"]
    assert len(called) > 5
    assert {tick.now_ns for tick in called} <= set(rung_ns)

    report = replay(shelf.find("last"), policy)
    assert report.differences == ()
    assert report.is_same


def test_a_replay_sees_a_single_pulse_that_was_changed(drive: Drive, tmp_path: Path) -> None:
    def change(tick: TickRecord) -> TickRecord:
        sent = msgspec.structs.replace(tick.sent, steering_us=tick.sent.steering_us + 3.0)
        return msgspec.structs.replace(tick, sent=sent)

    victim = drive.records[50].sequence
    report = replay(rewritten(drive.path, tmp_path, victim, change), drive.policy)
    assert not report.is_same
    assert [one.what for one in report.differences] == ["pulses"]
    assert report.worst_us == pytest.approx(3.0)


def test_a_replay_of_a_run_that_never_moved_shows_nothing(drive: Drive, tmp_path: Path) -> None:
    path = tmp_path / "2026-01-01_00-00-00.mcap"
    writer = RunWriter(path)
    end_ns = next(tick.now_ns for tick in Recording(drive.path).ticks if tick.state is not DriveState.ARMING)
    for entry in read(drive.path, Topic):
        if entry.time_ns < end_ns:
            writer.add(*entry)
    writer.finish({})
    report = replay(path, drive.policy)
    assert report.differences == ()
    assert not report.is_same


def test_a_replay_by_another_policy_is_refused(drive: Drive) -> None:
    with pytest.raises(RunFileError, match="driven with plover"):
        replay(drive.path, None)


def test_a_missing_picture_is_named(drive: Drive, tmp_path: Path) -> None:
    path = tmp_path / "2026-01-01_00-00-00.mcap"
    writer = RunWriter(path)
    lost_ns = drive.records[60].frame_stamp_ns
    for entry in read(drive.path, Topic):
        if not (entry.topic is Topic.CAMERA and entry.time_ns == lost_ns):
            writer.add(*entry)
    writer.finish({})
    with pytest.raises(RunFileError, match="is missing from the run"):
        replay(path, drive.policy)


def test_the_mcap_packages_own_reader_decodes_every_schema(drive: Drive) -> None:
    schemas = schemas_of(drive.path)
    seen: set[str] = set()
    with drive.path.open("rb") as file:
        for schema, channel, message in make_reader(file).iter_messages():
            if channel.topic in seen:
                continue
            seen.add(channel.topic)
            match channel.message_encoding:
                case "json":
                    assert schema is not None
                    assert msgspec.json.decode(schema.data)
                    assert msgspec.json.decode(message.data)
                case "protobuf":
                    assert schema is not None
                    decoded = protobuf_class_of(schema.data, schema.name).FromString(message.data)
                    assert decoded.timestamp.seconds * 10**9 + decoded.timestamp.nanos == message.log_time
                case _:
                    assert channel.topic.startswith("/replay/")
                    assert msgspec.msgpack.decode(message.data)
    assert seen == set(schemas)
    assert {"/tick", "/camera", "/policy_input", "/truth", "/track", "/log"} <= seen


def test_a_run_carries_the_lines_of_its_track(drive: Drive) -> None:
    traces = traces_of(drive.path, RunIndex(drive.path))
    assert traces.track is not None
    assert traces.track.track == "oval"
    assert traces.track.length_m == pytest.approx(load_track("oval").length_m)
    x_m, y_m = traces.truths["x_m"], traces.truths["y_m"]
    (left, low), (right, high) = np.min(traces.track.outer, axis=0), np.max(traces.track.outer, axis=0)
    assert left < x_m.min() < x_m.max() < right
    assert low < y_m.min() < y_m.max() < high


def test_the_policys_own_picture_stands_in_the_file_for_people(drive: Drive) -> None:
    entry = next(iter(read(drive.path, [Topic.POLICY_INPUT])))
    schema, _ = schemas_of(drive.path)["/policy_input"]
    assert schema is not None
    image = protobuf_class_of(schema.data, schema.name).FromString(entry.data)
    pixels = np.frombuffer(image.data, np.uint8).reshape(image.height, image.width)
    jpeg = next(iter(read(drive.path, [Topic.CAMERA])))
    camera_schema, _ = schemas_of(drive.path)["/camera"]
    assert camera_schema is not None
    camera = protobuf_class_of(camera_schema.data, camera_schema.name).FromString(jpeg.data)
    seen = cv2.imdecode(np.frombuffer(camera.data, np.uint8), cv2.IMREAD_GRAYSCALE)
    small = cv2.resize(seen, (image.width, image.height), interpolation=cv2.INTER_AREA)
    assert np.abs(small.astype(float) - pixels).mean() < 8.0


def test_a_run_gives_what_an_int8_network_is_judged_by(drive: Drive) -> None:
    recordings = Recordings([drive.path], sights_of)
    seen = {role: [sight for part in recordings.drives(role) for sight in part] for role in Role}
    decided = [one for one in drive.records if one.decided and one.state is DriveState.AUTONOMOUS]
    assert 10 < len(seen[Role.CALIBRATION]) <= 40
    assert len(seen[Role.CALIBRATION]) + len(seen[Role.TEST]) > 0.6 * len(decided)
    drive.policy.reset()
    first = drive.policy.decide(seen[Role.CALIBRATION][0], HIL_CALIBRATIONS["aws"])
    assert first.output == decided[0].policy_output


@pytest.mark.parametrize("is_calibrated", [True, False], ids=["calibrated", "never calibrated"])
def test_a_replay_of_calibrating_gives_the_same_pulses_to_the_bit(
    tmp_path: Path, is_calibrated: bool
) -> None:
    shelf = RunShelf(tmp_path)
    faults = () if is_calibrated else ("board=not_stored",)
    with (
        lockstep_rig(faults=faults, is_calibrated=is_calibrated) as rig,
        recorded(rig, shelf),
    ):
        rig.load_policy()
        rig.run(1.0)
        for actuator, nudges_us in ((Actuator.STEERING, (1650.0, 1300.0)), (Actuator.THROTTLE, (1400.0,))):
            rig.calibrate(actuator, 1452.0, 1447.0)
            for pulse_us in nudges_us:
                assert rig.ask(RequestKind.CALIBRATION_PULSE, **{f"{actuator.value}_us": pulse_us}).ok
                rig.run(0.4)
            rig.stop()
            rig.run(0.5)
        policy = rig.vehicle.loop._policy
    runs = shelf.runs()
    assert [run.modes for run in runs] == [("calibrating",), ("calibrating",)]
    for run in runs:
        report = replay(shelf.find(run.name), policy)
        assert report.differences == ()
        assert report.is_same
        assert report.pulse_span_us > 40.0


def rewritten(source: Path, folder: Path, sequence: int, change: object) -> Path:
    """Return a copy of a run in which one tick is another."""
    path = folder / "2026-01-01_00-00-00.mcap"
    writer = RunWriter(path)
    for topic, time_ns, data in read(source, Topic):
        kept = data
        if topic is Topic.EXACT_TICK:
            tick = msgspec.msgpack.decode(data, type=TickRecord)
            if tick.sequence == sequence:
                kept = msgspec.msgpack.encode(change(tick))  # type: ignore[operator]
        writer.add(topic, time_ns, kept)
    writer.finish({})
    return path
