"""Faults are words: read with clear errors, switched in the world's time, seeded."""

import pytest

from vehicle.errors import HilError
from vehicle.hil.faults import (
    FAULTS,
    MOMENTARY,
    NEVER_NS,
    FaultChange,
    FaultOrder,
    FaultSchedule,
    Part,
    order_fault,
    parse_fault,
)

SHARED_WORDS = ("off", "stuck", "garbage", "wrong", "slow", "delayed", "intermittent")


def test_every_part_knows_the_seven_shared_words():
    for part, kinds in FAULTS.items():
        assert set(SHARED_WORDS) <= set(kinds), part


@pytest.mark.parametrize(
    ("text", "order"),
    [
        ("camera=stuck@12s", FaultOrder(Part.CAMERA, "stuck", 0.0, 12.0)),
        ("camera=stuck", FaultOrder(Part.CAMERA, "stuck", 0.0)),
        ("serial_in=delayed:0.1@5s..8s", FaultOrder(Part.SERIAL_IN, "delayed", 0.1, 5.0, 8.0)),
        ("serial out=slow : 0.5@0.25..1.5", FaultOrder(Part.SERIAL_OUT, "slow", 0.5, 0.25, 1.5)),
        (" Board=Not-Stored ", FaultOrder(Part.BOARD, "not_stored", 0.0)),
        ("board=wrong:-46", FaultOrder(Part.BOARD, "wrong", -46.0)),
        ("board=reset:1.5@3", FaultOrder(Part.BOARD, "reset", 1.5, 3.0)),
        ("camera=delayed:0.2s@1e1", FaultOrder(Part.CAMERA, "delayed", 0.2, 10.0)),
    ],
)
def test_a_fault_is_read_from_its_words(text, order):
    assert parse_fault(text) == order


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("camera", "part=fault"),
        ("", "part=fault"),
        ("camera=stuck@", "not a number"),
        ("camera=stuck@soon", "part=fault|not a number"),
        ("engine=off", "no part 'engine' to break, only camera, camera_right, lidar, serial_out"),
        ("camera=hang", "camera has no fault 'hang', only off, stuck"),
        ("camera=off:3", "takes no amount"),
        ("camera=intermittent:1.5", "amount is 1.5, allowed 0.0 to 1.0"),
        ("camera=intermittent:x", "'x' .* is not a number"),
        ("camera=intermittent:nan", "amount is nan"),
        ("camera=stuck@-1", "starts at -1.0 s"),
        ("camera=stuck@5..5", "ends at 5.0 s"),
        ("camera=stuck@nan", "starts at nan"),
    ],
)
def test_what_cannot_be_read_says_what_would_do(text, says):
    with pytest.raises(HilError, match=says):
        parse_fault(text)


def test_faults_come_and_go_at_their_times():
    faults = FaultSchedule(
        [parse_fault("camera=stuck@2s..3s"), parse_fault("board=hang@2.5")], start_ns=10**9
    )
    assert faults.next_change_ns == 3 * 10**9
    assert faults.advance(3 * 10**9 - 1) == []
    assert faults.advance(3 * 10**9) == [FaultChange(Part.CAMERA, "stuck", 0.0, on=True)]
    assert faults.active() == ("camera=stuck",)
    assert faults.next_change_ns == 3_500_000_000

    changes = faults.advance(4 * 10**9)
    assert [(change.fault, change.on) for change in changes] == [("hang", True), ("stuck", False)]
    assert faults.active() == ()
    assert faults.next_change_ns == NEVER_NS


def test_what_happens_once_never_stays_on():
    for part, name in MOMENTARY:
        faults = FaultSchedule([order_fault(part, name)])
        assert [change.on for change in faults.advance(0)] == [True]
        assert faults.active() == ()


def test_faults_can_be_switched_while_the_world_runs():
    faults = FaultSchedule()
    faults.advance(10**10)
    faults.add(order_fault("serial in", "delayed", 0.2))
    faults.advance(10**10)
    assert faults.amount(Part.SERIAL_IN, "delayed") == 0.2
    assert faults.any_on(Part.SERIAL_IN)
    faults.switch_off(Part.SERIAL_IN, "delayed")
    faults.advance(10**10)

    assert not faults.is_on(Part.SERIAL_IN, "delayed")
    assert not faults.any_on(Part.SERIAL_IN)


def test_random_numbers_belong_to_the_fault_and_the_seed_alone():
    def draws(seed: int, others: int) -> list[float]:
        faults = FaultSchedule(seed=seed)
        for _ in range(others):
            faults.random(Part.CAMERA, "garbage").random()
        return [faults.random(Part.SERIAL_IN, "wrong").random() for _ in range(3)]

    assert draws(1, 0) == draws(1, 5)
    assert draws(1, 0) != draws(2, 0)
