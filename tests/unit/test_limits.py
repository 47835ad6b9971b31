"""The numbers that keep the car safe: changed on purpose, in two places, or not at all."""

import pytest

from vehicle import calibrating, esc, limits, operator, rate, safety, sensor_monitors, state
from vehicle.hil import own_board


@pytest.mark.parametrize(
    ("module", "numbers"),
    [
        (
            limits,
            {
                "FRAME_OVERDUE_S": 0.075,
                "ACK_LIMIT_S": 0.080,
                "STALL_LIMIT_S": 0.100,
                "BATTERY_CRITICAL_V": 6.4,
                "LEASE_HANDS_ON_S": 0.3,
                "LEASE_AUTONOMOUS_S": 1.5,
                "ECHO_AGE_LIMIT_S": 0.3,
                "TRIM_LIMIT_US": 50.0,
                "TIME_LIMIT_S": (1.0, 3600.0),
            },
        ),
        (
            safety,
            {
                "SLOWEST_FRAME_PERIOD_S": 0.2,
                "FUTURE_LIMIT_S": 0.030,
                "SUSPEND_LIMIT_S": 0.050,
                "ARM_ANSWER_S": 0.250,
                "BLOCKED_LIMIT_S": 1.5,
                "BATTERY_LIMIT_S": 2.0,
                "DRIVER_INPUT_LIMIT_S": 0.3,
                "THROTTLE_GROWTH_PER_S": 4.0,
                "STEERING_HOLD_S": 0.7,
            },
        ),
        (
            sensor_monitors,
            {
                "FROZEN_FRAMES": 5,
                "COVERED_FRAMES": 5,
                "COVERED_CONTRAST": 1.2,
                "FROZEN_SCANS": 3,
                "BLIND_SCANS": 3,
            },
        ),
        (state, {"ARMING_NEUTRAL_S": 2.0, "ARMING_MINIMUM_S": 0.3}),
        (
            esc,
            {"BRAKE_PULL_S": 0.15, "NEUTRAL_PAUSE_S": 0.10, "BRAKE_SHARE": 0.2, "COAST_FRAC_PER_S": 0.25},
        ),
        (
            operator,
            {
                "REQUEST_AGE_LIMIT_S": 0.2,
                "REQUEST_AHEAD_LIMIT_S": 0.05,
                "CALIBRATION_SILENCE_LIMIT_S": 0.2,
                "REMEMBERED_IDS": 1024,
                "WISH_LASTS_S": 30.0,
                "WISHES_KEPT": 8,
                "NAME_LENGTH": 40,
                "REST_MIN_US": 810.0,
                "REST_MAX_US": 2190.0,
            },
        ),
        (
            calibrating,
            {
                "HELD_US": 1.0,
                "THROTTLE_GROWTH_US_PER_S": 300.0,
                "STEERING_GROWTH_US_PER_S": 1500.0,
                "PREPARED_LIMIT_S": 5.0,
            },
        ),
        (
            rate,
            {
                "MINIMUM_TICK_RATE_HZ": 50.0,
                "LOCK_TOLERANCE": 0.02,
                "UNLOCK_TOLERANCE": 0.03,
                "GRACE_SHARE": 0.25,
                "FOLLOW_SHARE": 0.1,
                "FOLLOW_LIMIT_NS": 1_000_000,
                "RATE_WINDOW_FRAMES": 60,
                "LOST_PHASE_DECISIONS": 3,
            },
        ),
        (
            own_board,
            {
                "BAUD": 115200,
                "PROTOCOL_VERSION": 1,
                "FIRMWARE": 3,
                "CAPABILITIES": 7,
                "WATCHDOG_NS": 180_000_000,
                "STEERING_HOLD_NS": 700_000_000,
                "ARM_TOLERANCE_US": 2,
                "PULSE_LIMITS_US": (800, 2200),
                "LONGEST_FRAME": 48,
                "LONGEST_ENCODED": 49,
            },
        ),
    ],
)
def test_the_numbers_are_these(module, numbers):
    assert {name: getattr(module, name) for name in numbers} == numbers


def test_the_limits_that_an_owner_may_change_begin_with_these_numbers():
    monitor, lease = limits.MonitorLimits(), limits.LeaseLimits()
    assert (monitor.frame_overdue_s, monitor.ack_limit_s, monitor.stall_limit_s) == (0.075, 0.080, 0.100)
    assert monitor.battery_critical_v == 6.4
    assert (lease.hands_on_s, lease.autonomous_s) == (0.3, 1.5)


@pytest.mark.parametrize(
    ("struct", "values"),
    [
        (esc.EscState(), {"phase": esc.ReversePhase.FORWARD, "since_ns": 0}),
        (state.DriveMode(), {"since_ns": 0, "target": None, "latched_fault": None}),
        (operator.Lease(), {"holder": "", "renewed_ns": 0}),
        (operator.OperatorEvent(state.EventKind.START), {"target": None}),
    ],
)
def test_a_judgement_begins_with_nothing_and_is_never_changed_in_place(struct, values):
    assert {name: getattr(struct, name) for name in values} == values
    for name, value in values.items():
        with pytest.raises(AttributeError):
            setattr(struct, name, value)


@pytest.mark.parametrize(
    "struct",
    [
        limits.MonitorLimits,
        limits.LeaseLimits,
        safety.Senses,
        safety.RightEyeSenses,
        safety.LidarSenses,
        calibrating.Preparation,
        rate.Wake,
        rate.Start,
    ],
)
def test_what_is_judged_by_cannot_be_changed_in_place(struct):
    assert struct.__struct_config__.frozen
