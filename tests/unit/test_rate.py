"""The loop's timetable against cameras of several rates, with jitter and drops."""

import random

import msgspec
import numpy as np
import pytest

from vehicle import rate as rates
from vehicle.memory import RateMemory
from vehicle.messages import Frame
from vehicle.rate import CameraRate, Rate, Start, Trigger, ticks_per_decision

PICTURE = np.zeros((2, 2, 3), np.uint8)


def frame_at(number: int, arrival_ns: int) -> Frame:
    return Frame(number=number, stamp_ns=arrival_ns, ready_ns=arrival_ns, image=PICTURE)


class Drive:
    """Runs a `Rate` against a list of frame arrivals, event by event, without any real time."""

    def __init__(self, control_rate_hz: float, arrivals: list[tuple[int, int]], nominal_hz: float) -> None:
        self.camera_rate = CameraRate(nominal_hz)
        self.rate = Rate(control_rate_hz, self.camera_rate, start_ns=0)
        self.arrivals = arrivals  # (arrival_ns, number)
        self.starts: list[tuple[int, Trigger, int]] = []  # when, trigger, lateness
        self.ticks_ns: list[int] = []
        self.twice = 0
        self.missed = 0

    def run(self, until_ns: int, stall_at_ns: int = -1, stall_ns: int = 0) -> None:
        now_ns, seen, newest = 0, 0, None
        while now_ns < until_ns:
            wake = self.rate.next_wake()
            before_ns, now_ns = now_ns, max(now_ns, wake.deadline_ns)
            if wake.after_frame is not None and newest is not None and newest.number > wake.after_frame:
                now_ns = before_ns
            elif wake.after_frame is not None:
                for arrival_ns, number in self.arrivals[seen:]:
                    if arrival_ns > now_ns:
                        break
                    if number > wake.after_frame:
                        now_ns = max(arrival_ns, self.ticks_ns[-1])
                        break
            if 0 <= stall_at_ns <= now_ns:
                now_ns += stall_ns
                stall_at_ns = -1
            while seen < len(self.arrivals) and self.arrivals[seen][0] <= now_ns:
                newest = frame_at(self.arrivals[seen][1], self.arrivals[seen][0])
                self.camera_rate.add(newest)
                seen += 1
            start = self.rate.begin(now_ns, newest)
            self.ticks_ns.append(now_ns)
            self.missed += start.missed
            if start.decides:
                self.twice += start.frame_used_twice
                self.starts.append((now_ns, start.trigger, start.lateness_ns))


def camera_arrivals(
    fps: float,
    duration_s: float,
    *,
    seed: int = 1,
    jitter_s: float = 0.0,
    drops: float = 0.0,
    phase_s: float = 0.011,
) -> list[tuple[int, int]]:
    rng = random.Random(seed)
    arrivals = []
    for number in range(int(duration_s * fps)):
        late_s = rng.uniform(0, jitter_s)
        if rng.random() >= drops:
            arrivals.append((round((phase_s + number / fps + late_s) * 1e9), number))
    return sorted(arrivals)


@pytest.mark.parametrize(
    ("control_hz", "ticks"), [(5, 10), (10, 5), (15, 4), (20, 3), (30, 2), (60, 1), (120, 1)]
)
def test_ticks_come_at_50_hz_or_more_in_whole_multiples_of_the_control_rate(control_hz, ticks):
    assert ticks_per_decision(control_hz) == ticks
    assert control_hz * ticks >= 50


@pytest.mark.parametrize("fps", [29.9, 30.0, 30.1])
@pytest.mark.parametrize("control_hz", [15, 30])
def test_decisions_start_at_the_frames_of_a_camera_near_a_whole_ratio(fps, control_hz):
    drive = Drive(control_hz, camera_arrivals(fps, 20, jitter_s=0.003), nominal_hz=30)

    drive.run(until_ns=19_000_000_000)

    settled = drive.starts[5:]
    assert drive.rate.locked
    assert all(trigger is Trigger.FRAME for _, trigger, _ in settled)
    assert all(lateness_ns == 0 for _, _, lateness_ns in settled)
    assert drive.twice == 0
    assert len(settled) == pytest.approx(19 * control_hz * fps / 30, abs=8)


def test_a_60_fps_camera_is_followed_at_every_second_frame_for_30_hz():
    drive = Drive(30, camera_arrivals(60, 20, jitter_s=0.003), nominal_hz=60)

    drive.run(until_ns=19_000_000_000)

    gaps_ns = np.diff([when for when, _, _ in drive.starts[5:]])
    assert drive.rate.locked
    assert all(trigger is Trigger.FRAME for _, trigger, _ in drive.starts[5:])
    assert gaps_ns.min() > 26e6
    assert gaps_ns.max() < 41e6


def test_an_unlocked_camera_leaves_absolute_deadlines_that_never_drift():
    drive = Drive(30, camera_arrivals(25, 60, jitter_s=0.003), nominal_hz=25)

    drive.run(until_ns=59_000_000_000)

    decisions_ns = [when for when, _, _ in drive.starts]
    assert not drive.rate.locked
    assert all(trigger is Trigger.DEADLINE for _, trigger, _ in drive.starts)
    assert decisions_ns[-1] - decisions_ns[0] == pytest.approx((len(decisions_ns) - 1) * 1e9 / 30, abs=100)
    assert drive.twice > 0  # counted, not a fault


@pytest.mark.parametrize("fps", [29.9, 30.0, 30.1, 60.0])
def test_five_percent_dropped_frames_delay_a_decision_by_at_most_the_grace(fps):
    drive = Drive(30, camera_arrivals(fps, 60, jitter_s=0.003, drops=0.05), nominal_hz=round(fps))

    drive.run(until_ns=59_000_000_000)

    starts_ns = [when for when, _, _ in drive.starts[5:]]
    assert drive.rate.locked
    assert drive.missed == 0
    assert max(np.diff(starts_ns)) < 1.25 * 1e9 / 30 + 7e6
    assert len(starts_ns) == pytest.approx(59 * 30, rel=0.02)


def test_the_camera_is_found_again_when_its_phase_jumps():
    early = camera_arrivals(30, 5)
    late = [(when + 16_000_000, number) for when, number in camera_arrivals(30, 20)[160:]]
    drive = Drive(30, early + late, nominal_hz=30)

    drive.run(until_ns=19_000_000_000)

    assert all(trigger is Trigger.FRAME for when, trigger, _ in drive.starts if when > 8_000_000_000)


def test_ticks_between_decisions_are_never_further_apart_than_two_tick_periods():
    for control_hz in (5, 15, 30, 60):
        drive = Drive(control_hz, camera_arrivals(30, 20, jitter_s=0.003, drops=0.05), nominal_hz=30)
        drive.run(until_ns=19_000_000_000)
        assert max(np.diff(drive.ticks_ns)) <= 2.2 * 1e9 / drive.rate.tick_rate_hz


def test_a_camera_that_goes_silent_leaves_the_decisions_running():
    drive = Drive(30, camera_arrivals(30, 5), nominal_hz=30)

    drive.run(until_ns=10_000_000_000)

    late = [when for when, _, _ in drive.starts if when > 6_000_000_000]
    assert len(late) == pytest.approx(4 * 30, abs=2)
    assert drive.twice > 100


def test_a_stall_longer_than_a_period_is_counted_once_and_does_not_cause_a_burst():
    drive = Drive(30, camera_arrivals(30, 10), nominal_hz=30)

    drive.run(until_ns=9_000_000_000, stall_at_ns=4_000_000_000, stall_ns=200_000_000)

    after = [when for when in drive.ticks_ns if when > 4_200_000_000]
    assert drive.missed == 1
    assert min(np.diff(after)) > 5e6


def test_frames_that_count_from_the_start_again_are_measured_anew():
    rate = CameraRate(30.0)
    for number in range(20):
        rate.add(frame_at(number, number * 50_000_000))
    rate.add(frame_at(19, 19 * 50_000_000))  # seen before
    assert rate.hz == pytest.approx(20.0)
    rate.add(frame_at(5, 2_000_000_000))
    assert rate.hz == 30.0
    for number in range(6, 17):
        rate.add(frame_at(number, 2_000_000_000 + (number - 5) * 100_000_000))
    assert rate.hz == pytest.approx(10.0)


# --- to the nanosecond: 10 decisions a second, 5 ticks each, a grace of one tick of 20 ms

MS = 1_000_000
PERIOD_NS, GRACE_NS = 100 * MS, 20 * MS


def standing(camera_hz: float = 10.0, **changes) -> Rate:
    """A timetable that waits for frame 9 since the decision at 1.0 s, or by 1.1 s."""
    memory = {
        "control_rate_hz": 10.0,
        "frames_per_decision": 1,
        "deadline_ns": 1100.0 * MS,
        "decision_ns": 1000 * MS,
        "ticks_left": 0,
        "target_frame": 9,
        "used_frame": 8,
        "decisions_without_frame": 0,
        "camera_frames": (),
    }
    return Rate.recalled(RateMemory(**memory | changes), CameraRate(camera_hz))


def test_a_timetable_begins_unlocked_and_says_so():
    fresh = Rate(10.0, CameraRate(10.0), start_ns=7)

    assert fresh.memory() == RateMemory(10.0, 0, 7.0, 7, 0, None, -1, 0, ())
    assert fresh.tick_rate_hz == 50.0


def test_a_timetable_that_is_recalled_stands_where_it_stood():
    memory = RateMemory(10.0, 1, 2.5, 3, 2, 9, 8, 2, ((1, 10), (2, 20)))
    camera_rate = CameraRate(10.0)

    assert Rate.recalled(memory, camera_rate).memory() == memory
    assert camera_rate.frames == memory.camera_frames


def test_a_rate_is_whole_up_to_rounding_alone():
    assert ticks_per_decision(50.0 / (1.0 + 0.9e-9)) == 1
    assert ticks_per_decision(50.0 / (1.0 + 1.1e-9)) == 2


def test_a_frame_counts_once_and_one_of_an_earlier_number_begins_anew():
    camera_rate = CameraRate(10.0)
    for number in (5, 5, 6):
        camera_rate.add(frame_at(number, number * MS))
    assert camera_rate.frames == ((5, 5 * MS), (6, 6 * MS))
    camera_rate.add(frame_at(5, 7 * MS))

    assert camera_rate.frames == ()


def test_ten_frames_are_enough_to_measure_by_the_first_and_the_last():
    camera_rate = CameraRate(30.0)
    stamps_ms = [-50, *(100 * number for number in range(1, 9)), 930]
    for number, stamp_ms in enumerate(stamps_ms):
        assert camera_rate.hz == 30.0
        camera_rate.add(frame_at(number, stamp_ms * MS))

    assert camera_rate.hz == pytest.approx(9 / 0.980)


def test_frames_of_one_moment_measure_nothing():
    camera_rate = CameraRate(30.0)
    for number in range(12):
        camera_rate.add(frame_at(number, MS))

    assert camera_rate.hz == 30.0


def test_ticks_between_decisions_are_late_by_their_own_time():
    rate = Rate(10.0, CameraRate(10.0), start_ns=0)
    starts = [rate.begin(now_ns, None) for now_ns in (3, 20 * MS + 5, 40 * MS + 7)]

    assert starts[0] == Start(Trigger.DEADLINE, 3, missed=False, frame_used_twice=False)
    assert starts[1:] == [Start(Trigger.TICK, late, missed=False, frame_used_twice=False) for late in (2, 4)]
    assert rate.memory() == RateMemory(10.0, 1, 100.0 * MS, 3, 2, None, -1, 1, ())


def test_a_decision_that_waited_in_vain_is_late_by_deadline_and_grace():
    start = standing().begin(1120 * MS + 4, frame_at(8, 1000 * MS))
    assert start == Start(Trigger.DEADLINE, 4, missed=False, frame_used_twice=True)

    without_any = standing()
    assert without_any.begin(1120 * MS + 4, None).trigger is Trigger.DEADLINE
    assert without_any.memory().used_frame == -1
    assert without_any.memory().target_frame is None


@pytest.mark.parametrize(("late_ns", "missed"), [(0, False), (1, True)])
def test_a_decision_is_missed_when_it_is_later_than_a_whole_period(late_ns, missed):
    assert standing().begin(1120 * MS + PERIOD_NS + late_ns, None).missed is missed


def test_a_decision_on_its_frame_forgets_those_that_had_none():
    rate = standing(decisions_without_frame=2)
    start = rate.begin(1098 * MS, frame_at(9, 1097 * MS))

    assert start == Start(Trigger.FRAME, MS, missed=False, frame_used_twice=False)
    assert rate.memory() == RateMemory(10.0, 1, 1199.7 * MS, 1098 * MS, 4, 10, 9, 0, ())


@pytest.mark.parametrize(
    ("ready_ms", "deadline_ms"), [(1060, 1199.0), (1097, 1199.7), (1103, 1200.3), (1140, 1201.0)]
)
def test_the_deadline_follows_the_frame_on_the_shorter_way_and_not_far(ready_ms, deadline_ms):
    rate = standing()
    rate.begin(ready_ms * MS, frame_at(9, ready_ms * MS))

    assert rate.memory().deadline_ns == pytest.approx(deadline_ms * MS, abs=1.0)


def test_the_next_deadline_is_half_a_period_away_at_least():
    rate = Rate(10.0, CameraRate(10.0), start_ns=0)
    rate.begin(160 * MS, None)

    assert rate.memory().deadline_ns == 300.0 * MS


@pytest.mark.parametrize(("was_locked", "locked"), [(0, False), (1, True)])
def test_a_camera_at_the_edge_keeps_its_lock_and_gets_none(was_locked, locked):
    rate = standing(10.25, frames_per_decision=was_locked)
    rate.begin(1100 * MS, frame_at(9, 1100 * MS))

    assert rate.locked is locked


def test_a_camera_exactly_at_the_tolerance_is_locked(monkeypatch):
    monkeypatch.setattr(rates, "LOCK_TOLERANCE", 10.25 / 10.0 - 1)
    rate = standing(10.25, frames_per_decision=0)
    rate.begin(1100 * MS, frame_at(9, 1100 * MS))

    assert rate.locked


@pytest.mark.parametrize(("without", "target"), [(1, 10), (2, None)])
def test_the_third_decision_without_its_frame_has_lost_the_phase(without, target):
    rate = standing(decisions_without_frame=without)
    rate.begin(1120 * MS, frame_at(8, 1000 * MS))

    assert rate.memory().target_frame == target
    assert rate.memory().decisions_without_frame == without + 1


@pytest.mark.parametrize(("newest", "target"), [(7, 8), (8, 10), (9, 10), (10, 11), (11, 12)])
def test_the_next_frame_is_in_step_where_it_can_be_reached_and_else_the_one_after_the_newest(newest, target):
    rate = standing()
    rate.begin(1120 * MS, frame_at(newest, 1100 * MS))

    assert rate.memory().target_frame == target


def test_a_tick_that_a_stop_has_called_changes_nothing_in_the_timetable():
    rate = standing()
    before, due = rate.memory(), rate.next_wake()

    assert due.hears
    start = rate.begin(1050 * MS, frame_at(8, 1000 * MS), was_rung=True)

    assert start == Start(Trigger.STOP, 0, missed=False, frame_used_twice=False)
    assert not start.decides
    assert rate.memory() == before
    assert rate.next_wake() == msgspec.structs.replace(due, hears=False)


@pytest.mark.parametrize("ticks_left", [0, 2])
def test_after_such_a_tick_none_is_heard_before_the_next_that_is_due(ticks_left):
    rate = standing(ticks_left=ticks_left)
    rate.begin(1010 * MS, None, was_rung=True)
    assert not rate.next_wake().hears

    rate.begin(1120 * MS, None)
    assert rate.next_wake().hears


def test_a_stop_between_decisions_leaves_their_ticks_where_they_were():
    rate = standing(ticks_left=2)
    due_ns = rate.next_wake().deadline_ns
    rate.begin(due_ns - 7 * MS, None, was_rung=True)

    assert rate.next_wake().deadline_ns == due_ns
    assert rate.begin(due_ns + 3, None) == Start(Trigger.TICK, 3, missed=False, frame_used_twice=False)
