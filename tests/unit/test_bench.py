"""The budget table from synthetic ticks, diaries and a /proc made of files; nothing is timed here."""

import contextlib
import io
import os
import time
from types import SimpleNamespace

import msgspec
import pytest
from rich.console import Console

from tests.unit.still_car import status_with
from tests.unit.tick_records import record_of
from vehicle import bench, bench_car, bench_page, bench_policy, bench_rows
from vehicle.bench import Section
from vehicle.bench_beside import laps_row
from vehicle.bench_car import BenchError, CarStoppedError
from vehicle.bench_plan import PLANS, Length
from vehicle.bench_rows import Limit, Row, Verdict
from vehicle.errors import LapwingError
from vehicle.hil.boards import AcceptedCommand
from vehicle.laps import MarkerLaps, TimedLap
from vehicle.messages import DriveState, Fault, Reply, RequestKind, StageTimes
from vehicle.truth import Crossing

MS = 1_000_000


def ticks(count=100, period_ms=1000 / 30, **changes):
    """Ticks whose frame-to-wire time is 6 ms: 2 decoding, 3 inference, 1 everything else."""
    times = StageTimes(
        decode_ns=2 * MS,
        wait_ns=MS // 5,
        observe_ns=MS // 2,
        infer_ns=3 * MS,
        step_ns=3 * MS + MS * 8 // 10,
        frame_to_wire_ns=6 * MS,
    )
    return [
        record_of(number, **{"now_ns": round(number * period_ms * MS), "times": times, **changes})
        for number in range(count)
    ]


def test_overhead_is_all_but_decoding_and_inference():
    assert bench_rows.overhead_ms(ticks(3)) == [1.0, 1.0, 1.0]


def test_the_parts_of_the_overhead_add_up_to_it():
    records = ticks(1)
    parts = (bench_rows.wait_ms, bench_rows.observe_ms, bench_rows.rest_of_step_ms)
    assert sum(part(records)[0] for part in parts) == pytest.approx(bench_rows.overhead_ms(records)[0])


@pytest.mark.parametrize(
    "changes",
    [
        {"decided": False},
        {"state": DriveState.ARMING},
        {"action": None},
        {"times": StageTimes(infer_ns=1)},
    ],
)
def test_only_ticks_in_which_the_policy_chose_for_a_frame_count(changes):
    assert bench_rows.overhead_ms(ticks(3, **changes)) == []


def commands(*throttles_us, period_ms=20):
    return tuple(
        AcceptedCommand(k * period_ms * MS, armed=True, steering_us=1450.0, throttle_us=throttle_us)
        for k, throttle_us in enumerate(throttles_us)
    )


def test_a_stop_ends_with_the_first_neutral_command_after_its_tap():
    diary = commands(1400.0, 1400.0, 1446.0, 1446.0, 1400.0, 1445.0)
    assert bench_rows.stop_to_wire_ms([25 * MS, 85 * MS], diary, 1446.0) == [15.0, 15.0]


def test_a_tap_at_a_car_that_stood_tells_nothing_and_one_without_effect_is_never():
    diary = commands(1446.0, 1446.0, 1400.0, 1400.0)
    assert bench_rows.stop_to_wire_ms([-1, 5 * MS, 25 * MS, 65 * MS], diary, 1446.0) == [float("inf")]
    assert bench_rows.stop_to_wire_ms([5 * MS], (), 1446.0) == []


def test_without_a_browser_the_pages_rows_say_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    rows = bench_page.page_rows(tmp_path, "plover", PLANS[Length.QUICK], "")
    assert {row.verdict for row in rows} == {Verdict.IMPOSSIBLE}
    assert "make bench" in rows[0].note


def test_a_row_is_missed_when_one_of_its_percentiles_is_beyond_its_limit():
    values = [0.5] * 98 + [5.0] * 2
    limits = (Limit(50, 1.0), Limit(99, 3.0))
    assert bench_rows.judged("x", values, "ms", limits).verdict is Verdict.MISSED
    assert bench_rows.judged("x", values, "ms", limits[:1]).verdict is Verdict.MET
    assert bench_rows.judged("x", values, "ms").verdict is Verdict.SHOWN


def test_the_edge_of_a_limit_is_met():
    assert bench_rows.judged("x", [3.0] * 5, "ms", (Limit(99, 3.0),)).verdict is Verdict.MET
    assert bench_rows.at_most("x", 3.0, "s", 3.0).verdict is Verdict.MET
    assert bench_rows.at_most("x", 3.01, "s", 3.0).verdict is Verdict.MISSED
    assert bench_rows.at_least("x", 10.0, "x", 10.0).verdict is Verdict.MET
    assert bench_rows.at_least("x", 9.99, "x", 10.0).verdict is Verdict.MISSED


def test_nothing_measured_is_no_success():
    assert bench_rows.judged("x", [], "ms", (Limit(99, 3.0),)).verdict is Verdict.IMPOSSIBLE
    assert bench_rows.neutral_row("x", [], 0.1).verdict is Verdict.IMPOSSIBLE
    assert bench_rows.beside_bare_loop("x", [], [1.0], 3.0).verdict is Verdict.IMPOSSIBLE


def test_raw_percentiles_are_printed():
    row = bench_rows.judged("x", [1.0] * 99 + [9.0], "ms")
    assert row.measured == "p50 1.00, p99 1.08, worst 9.00 ms of 100"


def test_under_load_we_are_compared_with_a_loop_that_does_the_same_alone():
    bare = [2.0] * 100
    assert bench_rows.beside_bare_loop("x", [4.9] * 100, bare, 3.0).verdict is Verdict.MET
    assert bench_rows.beside_bare_loop("x", [5.1] * 100, bare, 3.0).verdict is Verdict.MISSED


def test_a_decision_is_missed_when_it_starts_over_one_period_late():
    late = [record_of(number, lateness_ns=round(at_ms * MS)) for number, at_ms in enumerate((0, 16, 17, 40))]
    assert bench_rows.missed_decisions(late, rate_hz=60.0) == 2


def test_every_trial_must_end_in_neutral_in_time():
    assert bench_rows.neutral_row("x", [0.05, 0.099], 0.1).verdict is Verdict.MET
    assert bench_rows.neutral_row("x", [0.05, 0.101], 0.1).verdict is Verdict.MISSED
    assert bench_rows.neutral_row("x", [float("inf")], 0.1).verdict is Verdict.MISSED


def test_a_write_belongs_to_the_next_acceptance_before_the_next_write():
    records = ticks(3, period_ms=16)
    write_ns = records[0].times.step_ns
    accepted_ns = [write_ns + 2 * MS, write_ns + 32 * MS + 3 * MS]  # the second one was lost
    assert bench_rows.far_end_ms(records, accepted_ns) == [2.0, 3.0]


def test_decisions_without_a_new_frame_are_told():
    records = [*ticks(3), *ticks(2, trigger="deadline")]
    assert bench_rows.late_frames_note(records).startswith("2 of 5 ")
    assert bench_rows.late_frames_note(ticks(3)) == ""


def marker_told(*times_s, doubles=0, missed=0):
    laps = tuple(TimedLap(lap, time_s, missed=missed) for lap, time_s in enumerate(times_s, 1))
    return MarkerLaps(9, 1, True, laps, len(laps), 5, len(laps) + 1, doubles, 0, None, 100, 3)


@pytest.mark.parametrize(
    ("told", "verdict"),
    [
        (marker_told(8.32, 8.1), Verdict.MET),
        (marker_told(8.34, 8.1), Verdict.MISSED),  # more than a picture
        (marker_told(8.32), Verdict.MISSED),  # of the second nothing was seen
        (marker_told(8.32, 8.1, missed=1), Verdict.MISSED),
        (marker_told(8.32, 8.1, doubles=1), Verdict.MISSED),
        (marker_told(), Verdict.MISSED),
        (marker_told(8.32, 8.1, 7.9), Verdict.MET),  # the world was asked a moment before the marker
    ],
)
def test_laps_by_the_marker_are_compared_with_the_worlds_one_by_one(told, verdict):
    row = laps_row("x", told, (Crossing(1, 8.3), Crossing(2, 8.1)))
    assert row.verdict is verdict
    assert "3 of 103 pictures" in row.note


def test_a_measurement_that_fails_is_a_row_and_the_others_go_on():
    def fail():
        raise BenchError("the car was not ready")

    good = Row("good", "1", "-", Verdict.SHOWN)
    sections = [Section("bad", fail), Section("good", lambda: [good])]
    rows = bench.measure_all(sections, Console(file=io.StringIO()))
    assert rows[0].verdict is Verdict.IMPOSSIBLE
    assert rows[0].note == "the car was not ready"
    assert rows[1] == good


def test_a_car_that_stops_while_it_is_measured_is_a_budget_missed():
    def stop():
        raise CarStoppedError("the car stopped while it was measured: Stopped: no picture.")

    (row,) = bench.measure_all([Section("timing", stop)], Console(file=io.StringIO()))
    assert row.verdict is Verdict.MISSED
    assert "no picture" in row.note


def test_the_table_shows_every_row():
    out = io.StringIO()
    rows = [
        Row("one", "p50 1", "<= 2", Verdict.MET),
        Row("two", "-", "-", Verdict.IMPOSSIBLE, "no such thing"),
    ]
    Console(file=out, width=160).print(bench.as_table(rows))
    assert all(word in out.getvalue() for word in ("one", "p50 1", "met", "two", "not possible here"))


def process(proc, pid, parent, pss_kb=100):
    folder = proc / str(pid)
    folder.mkdir()
    (folder / "stat").write_text(f"{pid} (name ) with) S {parent} 1 1 0")
    (folder / "smaps_rollup").write_text(f"00400000-7ff [rollup]\nRss: 900 kB\nPss: {pss_kb} kB\n")


def test_memory_is_the_shares_of_a_process_and_its_descendants(tmp_path):
    for pid, parent in ((10, 1), (11, 10), (12, 11), (13, 1)):
        process(tmp_path, pid, parent)
    assert sorted(bench_car.descendants(10, tmp_path)) == [11, 12]
    assert bench_car.proportional_memory_bytes(10, tmp_path) == 3 * 100 * 1024


def test_our_own_memory_can_be_read():
    assert bench_car.proportional_memory_bytes(os.getpid()) > 1_000_000


def test_a_child_that_fails_says_why():
    with pytest.raises(BenchError, match="none of busy"):
        bench_car.child_answer(20.0, "no such thing")


def test_inference_rows_compare_with_onnxruntimes_defaults_of_the_same_run(tmp_path):
    plan = msgspec.structs.replace(PLANS[Length.QUICK], inferences=5)

    rows = {row.name: row for row in bench_policy.inference_rows(tmp_path, "plover", "plover", plan)}

    assert [*rows] == [
        f"plover: inference, {way}" for way in (bench_policy.PLAIN, "float as chosen here", "int8")
    ]
    assert all(0.0 < row.values["p50"] <= row.values["p99"] for row in rows.values())
    assert "of the defaults' median" in rows["plover: inference, int8"].note
    chosen, plain = (
        rows[f"plover: inference, {way}"] for way in ("float as chosen here", bench_policy.PLAIN)
    )
    assert chosen.values["cpu"] > 0.0
    assert f"processor {plain.values['cpu']:.2f} ms" in plain.measured
    assert "spin between decisions" in plain.note
    assert "never spins" in chosen.note


def test_loading_is_measured_in_a_process_of_its_own(tmp_path):
    plan = msgspec.structs.replace(PLANS[Length.QUICK], trials=2)

    (row,) = bench_policy.ready_rows(tmp_path, "plover", "plover", plan)

    assert 0.0 < row.values["value"] < 60.0
    assert row.note.startswith("worst of 2")


def test_a_child_says_what_it_was_not_told(tmp_path):
    with pytest.raises(BenchError, match="lacks an argument"):
        bench_car.child_answer(20.0, "load")
    with pytest.raises(
        BenchError, match="none of busy, viewer, viewers, bare, environment, convert, load, inference"
    ):
        bench_car.child_answer(20.0, "nothing")


def test_one_may_measure_only_what_has_a_title_like_this():
    sections = [Section(title, list) for title in ("conversion", "plover: jitter", "page")]
    assert [one.title for one in bench.chosen(sections, ())] == ["conversion", "plover: jitter", "page"]
    assert [one.title for one in bench.chosen(sections, ("Page", "jitter"))] == ["plover: jitter", "page"]
    with pytest.raises(LapwingError, match=r"called brakes\. There are: conversion; plover: jitter; page"):
        bench.chosen(sections, ("brakes",))


class StoppingCar:
    """Ends its drives as it was told, one after the other, and then drives on until its stop is touched."""

    def __init__(self, *ends):
        self.ends = list(ends)
        self.end = None
        self.touches = 0

    def start_driving(self):
        self.end = self.ends.pop(0) if self.ends else None
        if self.end == "start":
            raise CarStoppedError("the car stopped before it drove: no picture")

    def drive(self, duration_s):
        assert duration_s < 1
        if self.end == "drive":
            raise CarStoppedError("the board does not answer")

    def touch(self):
        self.touches += 1
        return 1000 + self.touches

    def wait_status(self, accept, limit_s, what):
        if self.end == "deaf":
            raise BenchError("the car was not stopped by the page within 5 s")
        fault = Fault.BOARD_SILENT if self.end == "touch" else Fault.EMERGENCY_STOP
        status = status_with(state=DriveState.FAILSAFE, latched_fault=fault, sentence=f"Stopped: {fault}.")
        assert accept(status)
        return status


@pytest.mark.parametrize("end", ["start", "drive", "touch"])
def test_a_drive_that_ends_by_itself_is_driven_again_and_counted(end):
    car = StoppingCar(end, end, None)
    touched_ns, spoilt = bench_page.tap_while_driving(car, car.touch)
    assert touched_ns == 1000 + car.touches
    assert len(spoilt) == 2
    assert bench_page.spoilt_note(spoilt) == f"; 2 more drives ended by themselves, 2 of them: {spoilt[0]}"


def test_of_what_spoilt_drives_the_most_frequent_is_named():
    spoilt = ["no picture", "a silent board", "no picture"]
    assert bench_page.spoilt_note(spoilt) == "; 3 more drives ended by themselves, 2 of them: no picture"
    assert bench_page.spoilt_note([]) == ""


def test_drives_are_not_repeated_for_ever_and_the_last_cause_is_named():
    spoilt = bench_page.SPOILT_IN_A_ROW
    car = StoppingCar(*["drive"] * (spoilt - 1), None)
    assert len(bench_page.tap_while_driving(car, car.touch)[1]) == spoilt - 1
    car = StoppingCar(*["start"] * (spoilt - 1), "drive", None)
    with pytest.raises(CarStoppedError, match=f"{spoilt} drives in a row .* the board does not answer"):
        bench_page.tap_while_driving(car, car.touch)


def test_a_stop_that_does_not_come_is_measured_and_not_driven_again():
    car = StoppingCar("deaf", None)
    assert bench_page.tap_while_driving(car, car.touch) == (1001, [])


class QuietPage:
    """A page that opens; who touches it is played by the test."""

    mouse = SimpleNamespace(move=lambda _x_px, _y_px: None)

    def on(self, _event, _handler):
        pass

    def goto(self, _address):
        pass

    def locator(self, _selector):
        return self

    def wait_for(self):
        pass

    def bounding_box(self):
        return {"x": 0.0, "y": 0.0, "width": 40.0, "height": 40.0}

    def evaluate(self, _expression):
        return 0.0


@pytest.fixture
def touched(monkeypatch, tmp_path):
    """Measure so many stops of a car that drove, stood and drove again, by these touches: when, and what
    had ended the drives before it."""

    def measure(count, *touches):
        left = list(touches)
        context = SimpleNamespace(new_page=QuietPage, close=lambda: None)
        monkeypatch.setattr(bench_page, "signed_in", lambda *_: context)
        monkeypatch.setattr(bench_page, "tap_while_driving", lambda _car, _touch: left.pop(0))
        neutral_us = bench_page.HIL_AWS.throttle.neutral_us
        diary = commands(1400.0, 1400.0, neutral_us, neutral_us, 1400.0, neutral_us)
        car = SimpleNamespace(port=1, hil=SimpleNamespace(pulse_log=lambda: SimpleNamespace(commands=diary)))
        measured = bench_page._stops_ms(None, tmp_path, car, count)
        assert left == []
        return measured

    return measure


DRIVES, STANDS, DRIVES_AGAIN = 25 * MS, 65 * MS, 85 * MS


def test_a_touch_of_a_car_that_stood_is_made_up_for_and_what_spoilt_drives_is_kept(touched):
    stops_ms, spoilt = touched(
        2, (DRIVES, ["no picture"]), (STANDS, []), (DRIVES_AGAIN, ["a silent board", "no picture"])
    )
    assert stops_ms == [15.0, 15.0]
    assert spoilt == ["no picture", "a silent board", "no picture"]


def test_a_car_that_stands_whenever_it_is_touched_is_no_measurement(touched):
    with pytest.raises(BenchError, match="stood by its last command whenever"):
        touched(2, (STANDS, []), (STANDS, []))


def test_the_row_of_touches_tells_of_the_drives_that_are_not_in_it(monkeypatch, tmp_path):
    nothing = contextlib.nullcontext()
    monkeypatch.setattr(bench_page, "chromium_program", lambda _: "chromium")
    monkeypatch.setattr(bench_page, "running_bench_car", lambda *_: nothing)
    monkeypatch.setattr(bench_page, "browser", lambda _: nothing)
    monkeypatch.setattr(bench_page, "_first_look", lambda *_: (0.5, 100.0))
    monkeypatch.setattr(bench_page, "_stops_ms", lambda *_: ([15.0] * 5, ["no picture"] * 2))
    row = bench_page.page_rows(tmp_path, "plover", PLANS[Length.QUICK], "")[-1]
    assert row.verdict is Verdict.MET
    assert row.note.endswith("5 taps; 2 more drives ended by themselves, 2 of them: no picture")


class ScriptedVehicle:
    """Answers a car that is being started; fails safe where it was told to."""

    def __init__(self, stops_at):
        self.stops_at = stops_at
        self.state = DriveState.FAILSAFE
        self.asked = []

    def request(self, kind, timeout_s=1.0, **fields):
        self.asked.append(kind)
        if kind is RequestKind.DISARM:
            self.state = DriveState.DISARMED
        if kind is RequestKind.START:
            if self.stops_at is DriveState.DISARMED:
                self.state = DriveState.FAILSAFE
                return Reply("1", ok=False, reason="the car is failsafe; disarm first")
            self.state = self.stops_at or DriveState.AUTONOMOUS
        return Reply("1", ok=True)

    def status(self):
        return status_with(now_ns=time.monotonic_ns(), state=self.state, sentence="Stopped: no picture.")


def started_bench_car(stops_at):
    car = bench_car.BenchCar.__new__(bench_car.BenchCar)
    car.client = ScriptedVehicle(stops_at)
    car.hil = SimpleNamespace(client=SimpleNamespace(control=lambda op: None))
    car.start_driving()
    return car


@pytest.mark.parametrize("stops_at", [DriveState.DISARMED, DriveState.FAILSAFE])
def test_a_car_that_fails_safe_while_it_is_started_has_stopped_by_itself(stops_at):
    with pytest.raises(CarStoppedError, match="no picture"):
        started_bench_car(stops_at)


def test_a_car_is_disarmed_before_each_start_whatever_its_last_status_said():
    asked = started_bench_car(None).client.asked
    assert asked.index(RequestKind.DISARM) < asked.index(RequestKind.START)
