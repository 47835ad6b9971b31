"""Driving laps against a vehicle and a world that are played by the test, on a clock of its own."""

import errno
import itertools
import os
import tempfile
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from tests.unit.tick_records import FRAME_S, record_of
from vehicle import lap_video, laps_command, laps_report
from vehicle.errors import VehicleSilentError
from vehicle.lap_drive import LapDrive, LapsPlan, NotStartedError
from vehicle.lap_log import DriveLog
from vehicle.laps import MarkerLaps, TimedLap
from vehicle.messages import (
    DriveState,
    Fault,
    Preview,
    Reply,
    RequestKind,
    Status,
)
from vehicle.truth import Crossing, WorldTruth

LAP_S = 4.0


def status_of(state, **changes):
    fields = {
        "now_ns": 0,
        "state": state,
        "faults": (),
        "latched_fault": None,
        "sentence": f"it is {state.value}",
        "not_ready": (),
        "driver": "",
        "speed_cap_frac": 0.3,
        "policy": "small",
        "policy_hash": "old",
        "policy_note": "",
        "control_rate_hz": 30.0,
        "tick_rate_hz": 60.0,
        "camera_rate_hz": 30.0,
        "camera_note": "",
        "frame_age_s": 0.01,
        "frame_to_wire_p50_ms": 1.0,
        "frame_to_wire_p99_ms": 2.0,
        "missed_decisions": 0,
        "decisions": 0,
        "frames_used_twice": 0,
        "reverses_refused": 0,
        "steering_frac": 0.0,
        "throttle_frac": 0.0,
        "battery_v": None,
        "board_note": "",
        "hil": True,
        "action_names": ("left", "right"),
    }
    return Status(**{**fields, **changes})


def truth_of(at_s, **changes):
    """The truth of a car that crosses the start line at 1 s and takes LAP_S a lap."""
    since_line_s = at_s - 1.0
    done = max(0, int(since_line_s / LAP_S))
    fields = {
        "now_ns": round(at_s * 1e9),
        "frame_number": round(at_s / FRAME_S),
        "track": "oval",
        "x_m": at_s,
        "y_m": 0.0,
        "heading_rad": 0.0,
        "speed_mps": 2.0 + 0.1 * done,
        "steering_rad": 0.0,
        "progress_frac": max(0.0, since_line_s / LAP_S - done),
        "offset_m": 0.0,
        "off_track": False,
        "crashed": False,
        "laps": tuple(Crossing(lap, LAP_S) for lap in range(1, done + 1)),
        "lap_started_ns": round((1.0 + done * LAP_S) * 1e9) if since_line_s >= 0 else 0,
        "servo_pulse_us": 1500.0,
        "esc_pulse_us": 1500.0,
    }
    return WorldTruth(**{**fields, **changes})


class Stage:
    """A clock, and a vehicle and world that move with it."""

    def __init__(self):
        self.now_s = 100.0
        self.asked = []
        self.state = DriveState.DISARMED
        self.status_changes = {}
        self.refusals = {}
        self.is_silent = False
        self.records_incomplete = False
        self.events = []  # (drive time, action)
        self.started_s = None
        self.resets = 0
        self.world_changes = {}
        self.loads_policy = True
        self.world_stops_s = None
        self._records = []
        self._frames = 0

    def pause(self, seconds):
        self.now_s += seconds
        for at_s, action in list(self.events):
            if self.drive_s() >= at_s:
                self.events.remove((at_s, action))
                action()

    def drive_s(self):
        return self.now_s - self.started_s if self.started_s is not None else -1.0

    # the vehicle

    def status(self):
        return None if self.is_silent else status_of(self.state, **self.status_changes)

    def request(self, kind, timeout_s=1.0, **fields):
        self.asked.append((self.now_s, kind, fields))
        if self.is_silent:
            raise VehicleSilentError("the vehicle did not answer")
        if kind in self.refusals:
            return Reply("1", ok=False, reason=self.refusals[kind])
        if kind is RequestKind.START:
            self.state, self.started_s = fields["target"], self.now_s
        elif kind is RequestKind.DISARM:
            self.state = DriveState.DISARMED
        elif kind is RequestKind.ACTIVATE_POLICY and self.loads_policy:
            self.status_changes["policy_hash"] = "new"
        return Reply("1", ok=True)

    def preview(self, newer_than=-1, timeout_s=1.0):
        number = max(0, int(self.drive_s() / FRAME_S))
        stamp_ns = round(number * FRAME_S * 1e9)
        return Preview(number, stamp_ns, b"jpeg") if number > newer_than else None

    def records(self, timeout_s=1.0):
        while self._frames * FRAME_S < self.drive_s() and self.state is not DriveState.DISARMED:
            yield record_of(self._frames)
            self._frames += 1

    # the world

    def truths(self):
        at_s = self.drive_s()
        if at_s < 0 or (self.world_stops_s is not None and at_s > self.world_stops_s):
            return []
        return [truth_of(at_s, **self.world_changes)]

    def control(self, op, timeout_s=5.0, **fields):
        self.resets += op == "reset"
        return {"ok": True}

    def kinds(self):
        return [kind for _, kind, _ in self.asked if kind is not RequestKind.RENEW_LEASE]


@pytest.fixture
def stage():
    return Stage()


def drive(stage, **changes):
    settings = {"laps": 2, "speed_cap_frac": 0.8, "time_limit_s": 60.0}
    lap_drive = LapDrive(
        stage,
        stage,
        LapsPlan(**{**settings, **changes}),
        stopping=lambda: stage.status_changes.get("sentence") == "stop",
        now_s=lambda: stage.now_s,
        pause=stage.pause,
    )
    try:
        return lap_drive, lap_drive.run()
    finally:
        lap_drive.pictures.close()


def test_the_laps_are_driven_and_the_car_is_stopped_and_let_go(stage):
    lap_drive, outcome = drive(stage)
    assert outcome.done
    assert [lap.time_s for lap in lap_drive.log.summary().laps] == [LAP_S, LAP_S]
    assert stage.kinds() == [
        RequestKind.TAKE_LEASE,
        RequestKind.SET_SPEED_CAP,
        RequestKind.START,
        RequestKind.DISARM,
        RequestKind.RELEASE_LEASE,
    ]
    assert stage.state is DriveState.DISARMED


def test_the_lease_is_renewed_often_enough_to_keep_the_car(stage):
    drive(stage)
    renewals_s = [at_s for at_s, kind, _ in stage.asked if kind is RequestKind.RENEW_LEASE]
    gaps_s = [after - before for before, after in itertools.pairwise(renewals_s)]
    assert max(gaps_s) <= 0.3


def test_a_named_policy_is_activated_before_the_speed_cap_which_it_would_lower_again(stage):
    drive(stage, policy="fast", policy_hash="new")
    kinds = stage.kinds()
    assert kinds.index(RequestKind.ACTIVATE_POLICY) < kinds.index(RequestKind.SET_SPEED_CAP)


def test_a_policy_that_never_takes_its_place_is_not_driven_with_another(stage):
    stage.loads_policy = False
    stage.status_changes["policy_note"] = "the network has two inputs"
    with pytest.raises(NotStartedError, match="two inputs"):
        drive(stage, policy="fast", policy_hash="new")
    assert RequestKind.START not in stage.kinds()


def test_a_car_that_is_not_ready_says_why_and_is_not_started(stage):
    stage.status_changes["not_ready"] = ("no policy is loaded",)
    with pytest.raises(NotStartedError, match="no policy is loaded"):
        drive(stage)
    assert RequestKind.START not in stage.kinds()


@pytest.mark.parametrize("kind", [RequestKind.TAKE_LEASE, RequestKind.SET_SPEED_CAP, RequestKind.START])
def test_a_refusal_is_passed_on_in_the_cars_words(stage, kind):
    stage.refusals[kind] = "another page drives"
    with pytest.raises(NotStartedError, match="another page drives"):
        drive(stage)


def test_the_car_begins_before_the_start_line(stage):
    drive(stage)
    assert stage.resets == 1


def test_a_failed_safe_car_is_disarmed_by_whoever_typed_the_command(stage):
    stage.state = DriveState.FAILSAFE
    stage.status_changes["latched_fault"] = Fault.CAMERA_LOST
    _, outcome = drive(stage)
    assert outcome.done


def test_an_emergency_stop_is_left_to_whoever_pressed_it(stage):
    stage.state = DriveState.FAILSAFE
    stage.status_changes["latched_fault"] = Fault.EMERGENCY_STOP
    with pytest.raises(NotStartedError, match="emergency stop"):
        drive(stage)
    assert stage.state is DriveState.FAILSAFE


def end_of_a_drive(stage, at_s, action):
    stage.events.append((at_s, action))
    lap_drive, outcome = drive(stage)
    return lap_drive, outcome


@pytest.mark.parametrize(("laps", "told"), [(1, "1 lap done"), (2, "2 laps done")])
def test_what_was_done_is_told_in_words(stage, laps, told):
    _, outcome = drive(stage, laps=laps)
    assert (outcome.done, outcome.reason) == (True, told)


def test_a_fault_ends_the_drive_and_stays_for_a_person_to_look_at(stage):
    def fail():
        stage.state = DriveState.FAILSAFE
        stage.status_changes["sentence"] = "Stopped: the camera is gone."

    _, outcome = end_of_a_drive(stage, 3.0, fail)
    assert (outcome.done, outcome.reason) == (False, "Stopped: the camera is gone.")
    assert stage.state is DriveState.FAILSAFE
    assert RequestKind.DISARM not in stage.kinds()


def test_somebody_elses_disarm_ends_the_drive(stage):
    _, outcome = end_of_a_drive(stage, 3.0, lambda: setattr(stage, "state", DriveState.DISARMED))
    assert outcome.reason == "somebody disarmed the car"


def test_an_interrupt_stops_the_car(stage):
    _, outcome = end_of_a_drive(stage, 3.0, lambda: stage.status_changes.update(sentence="stop"))
    assert outcome.reason == "interrupted"
    assert stage.state is DriveState.DISARMED


def test_a_crash_ends_the_drive(stage):
    _, outcome = end_of_a_drive(stage, 6.0, lambda: stage.world_changes.update(crashed=True))
    assert not outcome.done
    assert "barrier at 25% of lap 2" in outcome.reason


def test_a_silent_vehicle_ends_the_drive(stage):
    _, outcome = end_of_a_drive(stage, 3.0, lambda: setattr(stage, "is_silent", True))
    assert outcome.reason == "the vehicle fell silent"


def test_a_lost_lease_ends_the_drive(stage):
    def refuse():
        stage.refusals[RequestKind.RENEW_LEASE] = "the lease ran out"

    _, outcome = end_of_a_drive(stage, 3.0, refuse)
    assert outcome.reason == "the lease ran out"
    assert stage.state is DriveState.DISARMED


def test_a_silent_world_ends_the_drive(stage):
    stage.world_stops_s = 3.0
    _, outcome = drive(stage)
    assert outcome.reason == "the HIL world fell silent"


def test_the_time_limit_ends_the_drive_and_tells_how_far_it_came(stage):
    lap_drive, outcome = drive(stage, laps=3, time_limit_s=7.0)
    assert outcome.reason == "1 of 3 laps within the limit of 7 s"
    assert lap_drive.log.laps_done == 1
    assert stage.state is DriveState.DISARMED


def test_a_start_that_leads_nowhere_says_so(stage):
    stage.events.append((0.0, lambda: None))
    stage.request = lambda kind, timeout_s=1.0, **fields: (
        (setattr(stage, "started_s", stage.now_s) if kind is RequestKind.START else None)
        or Reply("1", ok=True)
    )
    _, outcome = drive(stage)
    assert outcome.reason.startswith("the car did not start")


def test_the_last_lap_is_shown_too(stage):
    shown = []
    lap_drive = LapDrive(
        stage,
        stage,
        LapsPlan(2, 0.8, 60.0),
        show=lambda log, status: shown.append(log.laps_done),
        now_s=lambda: stage.now_s,
        pause=stage.pause,
    )
    lap_drive.run()
    lap_drive.pictures.close()
    assert shown[-1] == 2


def test_an_exception_in_the_display_still_stops_the_car(stage):
    def broken(log, status):
        raise RuntimeError("no terminal")

    lap_drive = LapDrive(
        stage,
        stage,
        LapsPlan(2, 0.8, 60.0),
        show=broken,
        now_s=lambda: stage.now_s,
        pause=stage.pause,
    )
    with pytest.raises(RuntimeError):
        lap_drive.run()
    lap_drive.pictures.close()
    assert stage.state is DriveState.DISARMED


def test_mean_and_top_speed_are_of_the_lap_itself():
    log = DriveLog()
    for step in range(int(2.1 * LAP_S / FRAME_S) + 30):
        log.add_truth(truth_of(step * FRAME_S))
    laps = log.summary().laps
    assert [round(lap.mean_mps, 6) for lap in laps] == [2.0, 2.1]


def test_a_repeated_sample_counts_once():
    log = DriveLog()
    for _ in range(3):
        log.add_truth(truth_of(2.0))
    assert len(log.line()) == 1


def test_time_off_the_track_is_summed():
    log = DriveLog()
    for at_s, off_track in ((1.0, False), (1.1, True), (1.3, True), (1.4, False)):
        log.add_truth(truth_of(at_s, off_track=off_track))
    assert log.summary().off_track_s == pytest.approx(0.3)


def test_a_fault_is_reported_once_with_the_time_of_its_first_tick():
    log = DriveLog()
    log.add_record(record_of(0))
    log.add_record(record_of(30, faults=(Fault.CAMERA_OVERDUE,)))
    log.add_record(record_of(60, faults=(Fault.CAMERA_OVERDUE,)))
    seen = log.summary().faults
    assert [(fault.fault, fault.at_s) for fault in seen] == [(Fault.CAMERA_OVERDUE, 1.0)]


def test_a_picture_shows_what_was_known_by_then():
    log = DriveLog()
    log.add_record(record_of(60, action_index=0))
    log.add_record(record_of(62, action_index=1))
    log.add_truth(truth_of(2.0))
    overlay = log.overlay(61, 3, ("left", "right"))
    assert (overlay.action_index, overlay.lap, overlay.lap_time_s) == (0, "Lap 1 of 3", 1.0)


def test_a_network_that_ends_before_the_softmax_is_shown_in_shares():
    log = DriveLog()
    log.add_record(record_of(1, policy_output=(-1.0, 3.0)))
    shares = log.overlay(1, 3, ()).probabilities
    assert sum(shares) == pytest.approx(1.0)
    assert shares[1] > 0.9


def run(capsys, tmp_path, **changes):
    settings = {
        "run_dir": None,
        "hil_dir": None,
        "laps": 3,
        "policy": None,
        "speed_cap_frac": 1.0,
        "time_limit_s": 10.0,
        "out_dir": tmp_path / "results",
        "as_json": True,
    }
    code = laps_command.run_laps(**{**settings, **changes})
    return code, msgspec.json.decode(capsys.readouterr().out)


class StartMarker:
    """What a timekeeper tells of the stage's car: a pass each four seconds, the first after one."""

    def __init__(self, stage):
        self.stage = stage
        self.began_ns = 0
        self.is_silent = False

    def laps(self):
        if self.is_silent:
            return None
        at_s = self.stage.drive_s()
        passes = int((at_s + 3.0) / LAP_S) if at_s >= 0 else 0
        laps = tuple(TimedLap(lap, LAP_S) for lap in range(1, passes))
        started_ns = round(((passes - 1) * LAP_S + 1.0) * 1e9) if passes else 0
        return MarkerLaps(
            round(at_s * 1e9), self.began_ns, at_s >= 0, laps, len(laps), started_ns, passes, 0, 0, None, 9, 0
        )


def drive_real(stage, marker, **changes):
    plan = LapsPlan(**{"laps": 2, "speed_cap_frac": 0.3, "time_limit_s": 60.0, **changes})
    lap_drive = LapDrive(stage, None, plan, marker=marker, now_s=lambda: stage.now_s, pause=stage.pause)
    try:
        return lap_drive, lap_drive.run()
    finally:
        lap_drive.pictures.close()


def test_a_real_car_drives_its_laps_by_the_start_marker(stage, tmp_path):
    lap_drive, outcome = drive_real(stage, StartMarker(stage))

    assert outcome.done
    assert stage.resets == 0
    assert stage.kinds()[-2:] == [RequestKind.DISARM, RequestKind.RELEASE_LEASE]
    summary = lap_drive.log.summary()
    assert [(lap.lap, lap.time_s, lap.mean_mps) for lap in summary.laps] == [
        (1, LAP_S, None),
        (2, LAP_S, None),
    ]
    assert (summary.timed_by, summary.best_s) == ("marker", LAP_S)
    assert lap_drive.log.lap_time_s() == pytest.approx(0.0, abs=0.1)


def test_laps_of_the_drive_before_do_not_count(stage):
    stage.status_changes["now_ns"] = 5_000
    marker = StartMarker(stage)
    marker.began_ns = 4_999
    lap_drive, outcome = drive_real(stage, marker, time_limit_s=15.0)

    assert not outcome.done
    assert lap_drive.log.laps_done == 0


def test_without_a_timekeeper_a_real_car_is_not_started(stage):
    marker = StartMarker(stage)
    marker.is_silent = True
    with pytest.raises(NotStartedError, match="lapwing timekeeper"):
        drive_real(stage, marker)
    assert RequestKind.START not in stage.kinds()


def test_a_timekeeper_that_falls_silent_ends_the_drive(stage):
    marker = StartMarker(stage)
    stage.events = [(2.0, lambda: setattr(marker, "is_silent", True))]
    _, outcome = drive_real(stage, marker)

    assert not outcome.done
    assert "timekeeper" in outcome.reason
    assert stage.state is DriveState.DISARMED


def test_a_real_car_starts_gently_unless_told_otherwise(monkeypatch, capsys, tmp_path):
    plans = []

    def not_driven(run_dir, hil_dir, plan, console):
        plans.append((hil_dir, plan.speed_cap_frac))
        raise NotStartedError("enough")

    monkeypatch.setattr(laps_command, "_drive", not_driven)
    for changes in ({}, {"hil_dir": tmp_path}, {"speed_cap_frac": 0.5}):
        code, document = run(capsys, tmp_path, **{"speed_cap_frac": None, **changes})
        assert (code, document["reason"]) == (2, "enough")
    assert plans == [(None, 0.3), (tmp_path, 1.0), (None, 0.5)]


def test_a_mistyped_policy_is_refused_before_anything_is_asked_of_the_car(capsys, tmp_path):
    code, document = run(capsys, tmp_path, hil_dir=tmp_path, policy="no-such-policy")
    assert code == 2
    assert "no-such-policy" in document["reason"]


def test_results_that_cannot_be_written_are_refused_before_the_car_moves(capsys, tmp_path):
    occupied = tmp_path / "results"
    occupied.write_text("a file where the folder should be")
    code, document = run(capsys, tmp_path, hil_dir=tmp_path, out_dir=occupied)
    assert code == 2
    assert str(occupied) in document["reason"]
    assert "--out" in document["reason"]
    assert occupied.read_text() == "a file where the folder should be"


def test_a_full_disk_costs_the_film_and_not_the_drive(stage, monkeypatch):
    with open("/dev/full", "r+b", buffering=0) as full:
        monkeypatch.setattr(lap_video.tempfile, "TemporaryFile", lambda **_: full)
        lap_drive, outcome = drive(stage)
    assert outcome.done
    assert lap_drive.pictures.dropped > 0
    assert len(lap_drive.pictures) == 0


def report_of(stage, folder, **changes):
    lap_drive = LapDrive(stage, stage, LapsPlan(2, 0.8, 60.0), now_s=lambda: stage.now_s, pause=stage.pause)
    outcome = lap_drive.run()
    report = laps_report.write_numbers(lap_drive, outcome, LapsPlan(2, 0.8, 60.0), folder)
    return laps_report.add_film(report, lap_drive, folder, **changes)


def test_a_disk_that_is_full_afterwards_costs_only_what_does_not_fit(stage, monkeypatch, tmp_path):

    def full(path, data):
        path.touch()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    report = report_of(stage, tmp_path)
    assert [lap.time_s for lap in report.drive.laps] == [LAP_S, LAP_S]
    assert report.picture is None
    assert f"no picture: {os.strerror(errno.ENOSPC)}" in report.notes
    assert any(note.startswith(f"no laps.json: {os.strerror(errno.ENOSPC)}") for note in report.notes)
    assert list(tmp_path.iterdir()) == []


def test_a_film_that_filled_the_disk_is_no_film(stage, monkeypatch, tmp_path):
    film = tmp_path / "laps.webm"
    monkeypatch.setattr(laps_report, "encode_film", lambda *_, **__: film)
    monkeypatch.setattr(laps_report.shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    film.touch()
    report = report_of(stage, tmp_path)
    assert report.film is None
    assert "no film: the disk is full" in report.notes
    assert not film.exists()


def encoded_slowly(monkeypatch, stage, frame_s):
    """Encode nothing, and take a while for each picture; return what was encoded."""
    taken = []

    def encode(path, frames, overlay_of, goes_on):
        film = path.with_suffix(".webm")
        for frame in frames:
            if not goes_on(frame):
                break
            stage.now_s += frame_s
            taken.append(frame)
        film.touch()
        return film

    monkeypatch.setattr(laps_report, "encode_film", encode)
    return taken


def test_the_numbers_are_written_before_the_film_that_may_take_long(stage, monkeypatch, tmp_path):
    seen = []

    def encode(*_, **__):
        seen.append(msgspec.json.decode((tmp_path / "laps.json").read_bytes()))

    monkeypatch.setattr(laps_report, "encode_film", encode)
    report_of(stage, tmp_path)
    assert [lap["time_s"] for lap in seen[0]["drive"]["laps"]] == [LAP_S, LAP_S]
    assert laps_report.UNFINISHED in seen[0]["notes"]
    after = msgspec.json.decode((tmp_path / "laps.json").read_bytes())
    assert laps_report.UNFINISHED not in after["notes"]


def driven_by_command(stage, monkeypatch, folder, *, as_json):
    """Run the whole command on the stage; return its exit status."""
    monkeypatch.setattr(laps_command, "_drive", lambda *_: drive(stage))
    monkeypatch.setattr(laps_command, "StopSignal", lambda: lambda: False)
    return laps_command.run_laps(
        run_dir=folder,
        hil_dir=folder,
        laps=2,
        policy=None,
        speed_cap_frac=1.0,
        time_limit_s=60.0,
        out_dir=folder,
        as_json=as_json,
    )


def test_the_lap_table_is_there_before_the_film_which_takes_long(stage, monkeypatch, capsys, tmp_path):
    before = []

    def encode(path, *_, **__):
        before.append(capsys.readouterr().out)
        film = path.with_suffix(".webm")
        film.touch()
        return film

    monkeypatch.setattr(laps_report, "encode_film", encode)
    assert driven_by_command(stage, monkeypatch, tmp_path, as_json=False) == laps_command.DONE
    assert f"{LAP_S:.3f}" in before[0]
    assert "line.png" in before[0]
    assert "film" not in before[0]
    assert capsys.readouterr().out.strip() == f"film: {tmp_path / 'laps.webm'}"


def test_what_became_of_the_film_is_told_after_it_once(stage, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(laps_report, "encode_film", lambda *_, **__: None)
    driven_by_command(stage, monkeypatch, tmp_path, as_json=False)
    assert capsys.readouterr().out.count("no film: no picture came") == 1


def test_with_json_the_report_is_one_document_and_the_table_is_for_people(
    stage, monkeypatch, capsys, tmp_path
):
    monkeypatch.setattr(laps_report, "encode_film", lambda *_, **__: None)
    driven_by_command(stage, monkeypatch, tmp_path, as_json=True)
    out, error = capsys.readouterr()
    assert msgspec.json.decode(out)["done"]
    assert f"{LAP_S:.3f}" in error


@pytest.mark.parametrize(("load", "ends_after_s", "told"), [(5.9, 2.0, 0), (6.0, 2.0, 1), (6.0, 1000.0, 0)])
def test_a_drive_that_ended_early_on_a_busy_computer_says_so(stage, monkeypatch, load, ends_after_s, told):
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0))
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    stage.events.append((ends_after_s, lambda: setattr(stage, "state", DriveState.FAILSAFE)))
    lap_drive, outcome = drive(stage)
    with tempfile.TemporaryDirectory() as folder:
        report = laps_report.write_numbers(lap_drive, outcome, LapsPlan(2, 0.8, 60.0), Path(folder))
    assert sum("this computer is busy (a load of 6 on 2 cores)" in note for note in report.notes) == told


def test_a_film_takes_no_longer_than_its_limit_on_a_busy_computer(stage, monkeypatch, tmp_path):
    taken = encoded_slowly(monkeypatch, stage, frame_s=1.0)
    report = report_of(stage, tmp_path, now_s=lambda: stage.now_s)
    assert len(taken) == pytest.approx(laps_report.FILM_LEAST_S, abs=2)
    assert report.done
    assert report.film == str(tmp_path / "laps.webm")
    assert "the film ends after 2 s of the drive: encoding took longer than 30 s; the computer was busy" in (
        report.notes
    )


def test_an_interrupt_ends_the_film_and_keeps_the_numbers(stage, monkeypatch, tmp_path):
    taken = encoded_slowly(monkeypatch, stage, frame_s=0.0)
    report = report_of(stage, tmp_path, is_enough=lambda: len(taken) >= 15)
    assert len(taken) == 15
    assert "the film ends after 1 s of the drive: the command was interrupted" in report.notes
    kept = msgspec.json.decode((tmp_path / "laps.json").read_bytes())
    assert kept["notes"] == list(report.notes)
