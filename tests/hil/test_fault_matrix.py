"""Every part, broken in every way, in every moving state: what the table says is what the motor gets.

Real bytes, in lockstep. Here a row of each part, fault and outcome is proved, in one of its states and on
one wiring; `lapwing faults` proves all rows on both wirings with a real policy, and prints them.
"""

import pytest

from tests.hil.nursery import nursery
from tests.hil.policies import write_policy
from vehicle.hil.faults import FAULTS, Part
from vehicle.messages import MOVING_STATES, DriveState, Fault
from vehicle.proof import outcomes
from vehicle.proof.matrix import prove
from vehicle.proof.outcomes import ALL, PROVED_PARTS, Stop, rows
from vehicle.proof.stepped_car import stepped_car
from vehicle.safety import SENTENCES, Monitor

SEVEN = ("off", "stuck", "garbage", "wrong", "slow", "delayed", "intermittent")


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    return write_policy(tmp_path_factory.mktemp("policy") / "straight")


def test_no_part_fault_or_state_is_missing():
    table = {(row.part, row.fault, row.state) for row in rows()}

    assert set(ALL) == MOVING_STATES
    assert set(PROVED_PARTS) == set(Part) - {Part.CAMERA_RIGHT, Part.LIDAR}
    for part in PROVED_PARTS:
        for fault in {*SEVEN, *FAULTS[part]}:
            assert {(part, fault, state) for state in MOVING_STATES} <= table
        assert set(outcomes.TABLE[part]) == set(FAULTS[part])


def test_a_row_that_is_missing_or_said_twice_is_refused(monkeypatch):
    camera = outcomes.TABLE[Part.CAMERA]
    monkeypatch.setitem(outcomes.TABLE, Part.CAMERA, {**camera, "off": {}})
    with pytest.raises(LookupError, match=r"camera=off in manual has 0 outcomes"):
        rows()
    twice = camera["off"] | {(DriveState.MANUAL,): outcomes.Undetectable("also this")}
    monkeypatch.setitem(outcomes.TABLE, Part.CAMERA, {**camera, "off": twice})
    with pytest.raises(LookupError, match=r"camera=off in manual has 2 outcomes"):
        rows()


def test_every_fault_that_stops_a_car_has_its_sentence():
    stops = [row.outcome for row in rows() if isinstance(row.outcome, Stop)]
    assert {fault for stop in stops for fault in stop.faults} <= set(SENTENCES)


def test_what_is_proved_here_leaves_out_no_fault_no_outcome_and_no_state():
    chosen, every = outcomes.chosen_rows(), rows()

    assert {(row.part, row.fault) for row in chosen} == {(row.part, row.fault) for row in every}
    for part in PROVED_PARTS:
        assert {row.state for row in chosen if row.part is part} == set(ALL)
        for fault, by_states in outcomes.TABLE[part].items():
            proved = [row.outcome for row in chosen if (row.part, row.fault) == (part, fault)]
            assert proved == list(by_states.values())


@pytest.mark.timeout(300)  # of the clock on the wall: a part has up to 23 rows
@pytest.mark.parametrize("part", PROVED_PARTS)
def test_the_motor_gets_what_the_table_says(part, policy):
    wiring = ("aws", "standard")[PROVED_PARTS.index(part) % 2]
    with stepped_car(policy, wiring=wiring, start=nursery().start) as car:
        for proof in prove(car, outcomes.chosen_rows([part])):
            row = proof.row
            assert not proof.problems, f"{part}={row.fault}:{proof.amount} in {row.state}, {wiring}"


def test_a_car_that_does_not_stop_does_not_pass(policy, monkeypatch):
    (row,) = (row for row in rows([Part.CAMERA], [DriveState.AUTONOMOUS]) if row.fault == "off")
    check = Monitor.check
    blind = {Fault.CAMERA_LOST, Fault.CAMERA_OVERDUE}

    def blind_check(monitor, senses):
        faults = check(monitor, senses)
        return faults if senses.state is DriveState.DISARMED else tuple(f for f in faults if f not in blind)

    monkeypatch.setattr(Monitor, "check", blind_check)
    with stepped_car(policy, start=nursery().start) as car:
        proof = next(prove(car, [row]))

    assert any("named None" in problem for problem in proof.problems)
    assert any("neutral after" in problem for problem in proof.problems)
    assert any("drove after the fault was over" in problem for problem in proof.problems)


def test_a_car_that_stops_where_it_need_not_does_not_pass(policy):
    (row,) = (row for row in rows([Part.CAMERA], [DriveState.AUTONOMOUS]) if row.fault == "off")
    claimed = outcomes.Row(row.part, row.fault, row.state, outcomes.NotUsed("a camera is not needed"))
    with stepped_car(policy, start=nursery().start) as car:
        proof = next(prove(car, [claimed]))

    assert proof.problems == ("stopped by itself: camera lost",)
