"""Who may drive and which requests count: every kind, every edge, and long random disputes."""

import math
from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from vehicle.limits import LeaseLimits
from vehicle.memory import OperatorMemory
from vehicle.messages import (
    GUARDED_STATES,
    HANDS_ON_STATES,
    MOVING_STATES,
    Actuator,
    CameraLocks,
    DriveAction,
    DriveState,
    Fault,
    LeaseWish,
    OperatorRequest,
    Reply,
    RequestKind,
)
from vehicle.operator import REMEMBERED_IDS, REST_MAX_US, REST_MIN_US, Operator
from vehicle.state import DriveMode, EventKind, OperatorEvent, next_mode

SINCE_NS = 1_000_000_000
NOW_NS = 100_000_000_000
MS = 1_000_000
LIMITS = LeaseLimits()
DRIVERS_ONLY = [
    RequestKind.START,
    RequestKind.DRIVE,
    RequestKind.SET_SPEED_CAP,
    RequestKind.ACTIVATE_POLICY,
    RequestKind.CALIBRATION_PULSE,
    RequestKind.SET_TRIM,
    RequestKind.TUNE_CAMERA,
    RequestKind.PREPARE_CALIBRATION,
    RequestKind.RELOAD_CALIBRATION,
    RequestKind.RESTART,
    RequestKind.YIELD_LEASE,
    RequestKind.RENEW_LEASE,
    RequestKind.RELEASE_LEASE,
]


def mode_of(state: DriveState, target: DriveState | None = None) -> DriveMode:
    latched = Fault.BOARD_LOST if state is DriveState.FAILSAFE else None
    return DriveMode(state, SINCE_NS, target=target, latched_fault=latched)


class Desk:
    """An operator, a clock and a drive mode; `ask` sends one request and returns the answer."""

    def __init__(self, state: DriveState = DriveState.DISARMED, driver: str = "anna") -> None:
        self.operator = Operator(LIMITS, speed_cap_frac=0.3)
        self.mode = mode_of(DriveState.DISARMED)
        self.now_ns = NOW_NS
        self.count = 0
        self.not_ready: tuple[str, ...] = ()
        if driver:
            assert self.ask(RequestKind.TAKE_LEASE, driver).ok
        self.mode = mode_of(state)

    def calibrate(self, actuator: Actuator) -> "Desk":
        """Prepare, as a page does before it starts."""
        state, self.mode = self.mode.state, mode_of(DriveState.DISARMED)
        rest = {"steering_us": 1500.0, "throttle_us": 1500.0}
        assert self.ask(RequestKind.PREPARE_CALIBRATION, actuator=actuator, **rest).ok
        self.mode = mode_of(state)
        return self

    def ask(self, kind: RequestKind, source: str = "anna", age_ns: int = 0, **fields) -> Reply:
        self.count += 1
        fields.setdefault("id", f"request {self.count}")
        request = OperatorRequest(source=source, kind=kind, sent_ns=self.now_ns - age_ns, **fields)
        reply = self.operator.receive(request, self.mode, lambda _: self.not_ready, self.now_ns)
        assert reply.ok == (reply.reason == "")  # who is refused is told why, and nobody else anything
        return reply

    def start(self, target: DriveState | None = DriveState.AUTONOMOUS, **fields) -> Reply:
        return self.ask(RequestKind.START, target=target, **fields)


# --- the lease


def test_nobody_drives_at_first():
    desk = Desk(driver="")

    assert desk.operator.driver(desk.mode, NOW_NS) == ""
    assert desk.operator.lease_lost(desk.mode, NOW_NS)
    assert desk.start().reason == "nobody holds the lease; take the lease first"


def test_one_drives_and_the_others_are_told_who():
    desk = Desk(driver="anna")

    assert desk.ask(RequestKind.TAKE_LEASE, "anna").ok  # again, like a renewal
    assert desk.ask(RequestKind.TAKE_LEASE, "ben").reason == "anna drives; wait until they let go"
    assert desk.start(source="ben").reason == "anna drives; take the lease first"
    assert desk.operator.driver(desk.mode, desk.now_ns) == "anna"


def test_a_lease_without_a_name_is_refused():
    desk = Desk(driver="")

    assert not desk.ask(RequestKind.TAKE_LEASE, "").ok
    assert not desk.ask(RequestKind.RENEW_LEASE, "").ok
    assert not desk.start(source="").ok
    assert desk.operator.take_event() is None


@pytest.mark.parametrize("state", DriveState)
def test_a_lease_lasts_as_long_as_the_state_bears(state):
    desk, limit_s = Desk(state), 0.3 if state in HANDS_ON_STATES else 1.5
    end_ns = NOW_NS + round(limit_s * 1e9)

    assert not desk.operator.lease_lost(desk.mode, end_ns)
    assert desk.operator.lease_lost(desk.mode, end_ns + 1)
    assert desk.operator.driver(desk.mode, end_ns + 1) == ""


def test_a_lease_that_was_renewed_later_than_now_is_lost_for_the_clock_ran_backwards():
    desk = Desk()

    assert not desk.operator.lease_lost(desk.mode, NOW_NS)
    assert desk.operator.lease_lost(desk.mode, NOW_NS - 1)


@pytest.mark.parametrize("target", sorted(MOVING_STATES))
def test_arming_bears_what_its_target_bears(target):
    desk, limit_s = Desk(), 0.3 if target in HANDS_ON_STATES else 1.5
    arming = mode_of(DriveState.ARMING, target)

    assert not desk.operator.lease_lost(arming, NOW_NS + round(limit_s * 1e9))
    assert desk.operator.lease_lost(arming, NOW_NS + round(limit_s * 1e9) + 1)


def test_renewing_prolongs_the_lease_and_nothing_else_does():
    desk = Desk(DriveState.MANUAL)
    desk.now_ns += 200 * MS
    assert desk.ask(RequestKind.RENEW_LEASE).ok
    desk.now_ns += 200 * MS
    assert desk.ask(RequestKind.DRIVE, throttle_frac=0.5).ok
    desk.now_ns += 101 * MS

    assert desk.operator.lease_lost(desk.mode, desk.now_ns)
    assert desk.ask(RequestKind.RENEW_LEASE).reason == "the lease ran out; take it again"


def test_a_lease_that_ran_out_can_be_taken_by_anyone_while_the_car_stands():
    for source in ("anna", "ben"):
        desk = Desk()
        desk.now_ns += 1_500 * MS + 1
        assert not desk.ask(RequestKind.RENEW_LEASE).ok
        assert desk.ask(RequestKind.TAKE_LEASE, source).ok
        assert desk.operator.driver(desk.mode, desk.now_ns) == source


@pytest.mark.parametrize("state", sorted(GUARDED_STATES))
@pytest.mark.parametrize("source", ["anna", "ben"])
@pytest.mark.parametrize("released", [True, False])
def test_a_guarded_car_that_lost_its_driver_is_given_to_nobody_before_it_has_stopped(state, source, released):
    desk = Desk(state)
    if released:
        assert desk.ask(RequestKind.RELEASE_LEASE).ok
    else:
        desk.now_ns += 2_000 * MS

    reply = desk.ask(RequestKind.TAKE_LEASE, source)

    assert reply.reason == "the car has lost its driver and stops; take the lease then"
    assert desk.operator.lease_lost(desk.mode, desk.now_ns)


def test_a_start_is_not_inherited_with_the_lease():
    desk = Desk()
    assert desk.start().ok
    assert desk.ask(RequestKind.RELEASE_LEASE).ok
    assert desk.ask(RequestKind.TAKE_LEASE, "ben").ok

    assert desk.operator.take_event() is None


def test_a_disarm_survives_the_release_of_the_lease():
    desk = Desk(DriveState.AUTONOMOUS)
    assert desk.ask(RequestKind.DISARM).ok
    assert desk.ask(RequestKind.RELEASE_LEASE).ok

    assert desk.operator.take_event() == OperatorEvent(EventKind.DISARM)


@pytest.mark.parametrize("state", DriveState)
@pytest.mark.parametrize("kind", DRIVERS_ONLY)
def test_nobody_but_the_driver_changes_anything(kind, state):
    desk = Desk(state)
    before = (desk.operator.drive, desk.operator.speed_cap_frac, desk.operator.calibration_pulses_us)

    reply = desk.ask(
        kind,
        "ben",
        target=DriveState.MANUAL,
        throttle_frac=1.0,
        speed_cap_frac=1.0,
        throttle_us=1600.0,
        trim_us=50.0,
        to="ben",
    )

    assert reply.reason == "anna drives; take the lease first"
    assert desk.operator.take_event() is None
    assert desk.operator.driver(desk.mode, desk.now_ns) == "anna"
    assert before == (desk.operator.drive, desk.operator.speed_cap_frac, desk.operator.calibration_pulses_us)


# --- stopping


@pytest.mark.parametrize("state", DriveState)
@pytest.mark.parametrize("source", ["anna", "ben", ""])
@pytest.mark.parametrize("age_ns", [0, 3_600_000 * MS, -3_600_000 * MS, NOW_NS])
def test_an_emergency_stop_works_for_anyone_of_any_age_in_every_state(state, source, age_ns):
    desk = Desk(state)

    assert desk.ask(RequestKind.EMERGENCY_STOP, source, age_ns).ok
    assert desk.operator.take_emergency_stop()
    assert not desk.operator.take_emergency_stop()


def test_every_press_of_the_emergency_stop_counts_even_with_an_id_seen_before():
    desk = Desk()

    for _ in range(3):
        assert desk.ask(RequestKind.EMERGENCY_STOP, id="the same").ok
        assert desk.operator.take_emergency_stop()


@pytest.mark.parametrize("state", sorted(set(DriveState) - {DriveState.FAILSAFE}))
@pytest.mark.parametrize("source", ["anna", "ben", ""])
@pytest.mark.parametrize("age_ns", [0, 3_600_000 * MS, -3_600_000 * MS, NOW_NS])
def test_a_disarm_that_stops_works_for_anyone_of_any_age(state, source, age_ns):
    desk = Desk(state)

    assert desk.ask(RequestKind.DISARM, source, age_ns).ok
    assert desk.operator.take_event() == OperatorEvent(EventKind.DISARM)


def test_a_disarm_that_leaves_failsafe_works_for_anyone_but_must_be_fresh_and_sent_after_the_stop():
    desk = Desk(DriveState.FAILSAFE)
    assert desk.ask(RequestKind.DISARM, "ben", age_ns=200 * MS).ok
    assert not desk.ask(RequestKind.DISARM, "ben", age_ns=200 * MS + 1).ok
    assert not desk.ask(RequestKind.DISARM, "ben", age_ns=-200 * MS - 1).ok

    desk.mode = DriveMode(DriveState.FAILSAFE, desk.now_ns - 50 * MS, latched_fault=Fault.BOARD_LOST)
    early = desk.ask(RequestKind.DISARM, age_ns=50 * MS + 1)
    assert early.reason == "the car stopped after this was sent; look, then disarm again"
    assert desk.ask(RequestKind.DISARM, age_ns=50 * MS).ok


def test_a_stop_that_raced_with_a_failsafe_leaves_it_latched():
    """A page that pressed Stop by a status of a moving car has not seen what it would clear."""
    desk = Desk(DriveState.FAILSAFE)
    desk.mode = DriveMode(DriveState.FAILSAFE, desk.now_ns - 50 * MS, latched_fault=Fault.EMERGENCY_STOP)
    raced = desk.ask(RequestKind.DISARM, "ben", echo_ns=desk.now_ns - 50 * MS - 1)
    assert raced.reason == "the car stopped after this was sent; look, then disarm again"
    assert desk.operator.take_event() is None

    assert desk.ask(RequestKind.DISARM, "ben", echo_ns=desk.now_ns - 50 * MS).ok


def test_a_disarm_in_the_same_tick_wins_over_the_start_before_it():
    desk = Desk()
    assert desk.start().ok
    assert desk.ask(RequestKind.DISARM, "ben").ok

    assert desk.operator.take_event() == OperatorEvent(EventKind.DISARM)


# --- freshness, once


@pytest.mark.parametrize(
    ("age_ns", "ok"), [(0, True), (200 * MS, True), (200 * MS + 1, False), (-50 * MS, True)]
)
def test_a_request_is_good_for_200_ms(age_ns, ok):
    assert Desk().start(age_ns=age_ns).ok == ok


def test_a_request_that_is_late_is_told_how_late():
    reply = Desk().start(age_ns=350 * MS)

    assert reply.reason == "the request is 350 ms old, allowed 200 ms; send it again"


def test_a_request_from_the_future_does_not_act():
    desk = Desk()

    assert not desk.start(age_ns=-50 * MS - 1).ok
    reply = desk.start(age_ns=-120 * MS)
    assert reply.reason == "the request is dated 120 ms ahead; send it by this computer's clock"
    assert desk.operator.take_event() is None


def test_a_request_sent_before_the_last_change_of_state_does_not_act():
    desk = Desk()
    desk.mode = DriveMode(DriveState.DISARMED, NOW_NS - 10 * MS)

    assert desk.start(age_ns=10 * MS).ok
    assert desk.operator.take_event() is not None
    late = desk.start(age_ns=10 * MS + 1)
    assert late.reason == "the car changed its state after this was sent; look, then send it again"
    assert desk.operator.take_event() is None


def test_a_request_is_applied_once_and_its_repetition_gets_the_first_answer():
    desk = Desk()

    first = desk.start(id="start 1")
    assert desk.operator.take_event() is not None
    desk.mode = mode_of(DriveState.FAILSAFE)
    assert desk.start(id="start 1") == first
    desk.mode = mode_of(DriveState.DISARMED)
    assert desk.start(id="start 1") == first
    assert desk.operator.take_event() is None


def test_a_refused_request_stays_refused_under_its_id():
    desk = Desk()
    desk.not_ready = ("Not yet.",)
    refused = desk.start(id="start 1")
    desk.not_ready = ()

    assert desk.start(id="start 1") == refused
    assert desk.operator.take_event() is None


def test_an_id_is_remembered_for_longer_than_its_request_is_fresh_at_the_busiest():
    """16 requests in each of 120 ticks a second, while a request ages from 0.05 s ahead to 0.2 s."""
    desk = Desk()
    assert desk.start(id="start 1", age_ns=-50 * MS).ok
    desk.operator.take_event()
    sent_ns = desk.now_ns + 50 * MS

    for _ in range(30):
        desk.now_ns += 1_000_000_000 // 120
        for _ in range(16):
            desk.ask(RequestKind.DISARM, "flood")
        desk.operator.take_event()
        if desk.now_ns - sent_ns <= 200 * MS:
            assert desk.start(id="start 1", age_ns=desk.now_ns - sent_ns).ok
            assert desk.operator.take_event() is None


def test_memory_of_ids_is_bounded():
    desk = Desk()
    for _ in range(3 * REMEMBERED_IDS):
        desk.ask(RequestKind.RENEW_LEASE)

    assert len(desk.operator._seen) == REMEMBERED_IDS


# --- one kind at a time


@pytest.mark.parametrize("target", sorted(MOVING_STATES))
def test_a_start_names_a_moving_state_and_becomes_an_event_that_is_taken_once(target):
    desk = Desk()

    assert desk.start(target).ok
    assert desk.operator.take_event() == OperatorEvent(EventKind.START, target)
    assert desk.operator.take_event() is None


@pytest.mark.parametrize("target", [*sorted(set(DriveState) - MOVING_STATES), None])
def test_a_start_into_anything_else_is_refused(target):
    desk = Desk()

    assert "allowed: assisted, autonomous, calibrating, manual" in desk.start(target).reason
    assert desk.operator.take_event() is None


@pytest.mark.parametrize("state", sorted(set(DriveState) - {DriveState.DISARMED}))
def test_a_start_needs_a_disarmed_car(state):
    desk = Desk(state)

    assert desk.start().reason == f"the car is {state.value}; disarm first"
    assert desk.operator.take_event() is None


def test_a_start_is_refused_with_every_reason_that_the_car_gives():
    desk = Desk()
    desk.not_ready = ("The camera is gone.", "No policy is loaded.")

    assert desk.start().reason == "The camera is gone. No policy is loaded."
    assert desk.operator.take_event() is None


def test_a_start_forgets_the_hand_and_the_pulses_of_the_drive_before():
    desk = Desk(DriveState.MANUAL)
    assert desk.ask(RequestKind.DRIVE, steering_frac=1.0, throttle_frac=1.0).ok
    assert desk.operator.drive_ns == NOW_NS
    desk.mode = mode_of(DriveState.CALIBRATING)
    desk.calibrate(Actuator.THROTTLE)
    assert desk.ask(RequestKind.CALIBRATION_PULSE, throttle_us=1400.0).ok
    desk.mode = mode_of(DriveState.DISARMED)

    assert desk.start().ok
    assert desk.operator.drive == DriveAction(0.0, 0.0)
    assert desk.operator.drive_ns == 0
    assert desk.operator.calibration_pulses_us is None


@pytest.mark.parametrize("state", [DriveState.MANUAL, DriveState.ASSISTED])
@pytest.mark.parametrize(("steering", "throttle"), [(0.0, 0.0), (1.0, -1.0), (-1.0, 1.0), (0.3, 0.2)])
def test_a_hand_on_the_wheel_is_kept_with_its_time(state, steering, throttle):
    desk = Desk(state)

    assert desk.ask(RequestKind.DRIVE, steering_frac=steering, throttle_frac=throttle).ok
    assert desk.operator.drive == DriveAction(steering, throttle)
    assert desk.operator.drive_ns == NOW_NS


@pytest.mark.parametrize("field", ["steering_frac", "throttle_frac"])
@pytest.mark.parametrize("value", [1.0 + 1e-9, -1.0 - 1e-9, 100.0])
def test_a_hand_beyond_the_range_is_refused(field, value):
    desk = Desk(DriveState.MANUAL)

    assert not desk.ask(RequestKind.DRIVE, **{field: value}).ok
    assert desk.operator.drive_ns == 0


@pytest.mark.parametrize("state", sorted(set(DriveState) - {DriveState.MANUAL, DriveState.ASSISTED}))
def test_a_hand_counts_only_where_a_person_drives(state):
    assert not Desk(state).ask(RequestKind.DRIVE, throttle_frac=0.1).ok


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    ("kind", "state"),
    [
        (RequestKind.DRIVE, DriveState.MANUAL),
        (RequestKind.SET_SPEED_CAP, DriveState.MANUAL),
        (RequestKind.CALIBRATION_PULSE, DriveState.CALIBRATING),
        (RequestKind.START, DriveState.DISARMED),
    ],
)
@pytest.mark.parametrize(
    "field",
    [
        "steering_frac",
        "throttle_frac",
        "speed_cap_frac",
        "steering_us",
        "throttle_us",
        "trim_us",
        "time_limit_s",
    ],
)
def test_a_value_that_is_no_number_refuses_the_request(kind, state, field, bad):
    desk = Desk(state)

    reply = desk.ask(kind, target=DriveState.MANUAL, **{field: bad})

    assert reply.reason == "a value is not a finite number; send numbers"
    assert desk.operator.take_event() is None
    assert desk.operator.drive_ns == 0
    assert desk.operator.speed_cap_frac == 0.3
    assert desk.operator.calibration_pulses_us is None


@pytest.mark.parametrize("state", DriveState)
@pytest.mark.parametrize(
    ("cap", "ok"), [(0.0, True), (1.0, True), (0.55, True), (-1e-9, False), (1.0 + 1e-9, False)]
)
def test_the_speed_cap_is_a_share_and_can_be_set_in_every_state(state, cap, ok):
    desk = Desk(state)

    assert desk.ask(RequestKind.SET_SPEED_CAP, speed_cap_frac=cap).ok == ok
    assert desk.operator.speed_cap_frac == (cap if ok else 0.3)


@pytest.mark.parametrize("state", DriveState)
def test_calibration_pulses_are_taken_while_calibrating_alone(state):
    desk = Desk(state).calibrate(Actuator.STEERING)

    reply = desk.ask(RequestKind.CALIBRATION_PULSE, steering_us=1500.0)

    assert reply.ok == (state is DriveState.CALIBRATING)
    assert desk.operator.calibration_pulses_us == ((1500.0, 0.0) if reply.ok else None)


@pytest.mark.parametrize("field", ["steering_us", "throttle_us"])
@pytest.mark.parametrize(
    ("pulse_us", "ok"),
    [(0.0, True), (800.0, True), (2200.0, True), (799.9, False), (2200.1, False), (-1.0, False)],
)
def test_calibration_pulses_are_bounded(field, pulse_us, ok):
    desk = Desk(DriveState.CALIBRATING).calibrate(Actuator(field.removesuffix("_us")))
    assert desk.ask(RequestKind.CALIBRATION_PULSE, **{field: pulse_us}).ok == ok


@pytest.mark.parametrize("field", ["steering_us", "throttle_us"])
@pytest.mark.parametrize("calibrated", [*Actuator, None])
def test_a_pulse_for_another_actuator_than_the_calibrated_one_is_refused(field, calibrated):
    desk = Desk(DriveState.CALIBRATING)
    if calibrated is not None:
        desk.calibrate(calibrated)
    actuator = field.removesuffix("_us")

    reply = desk.ask(RequestKind.CALIBRATION_PULSE, **{field: 1500.0})

    assert reply.ok == (calibrated is not None and calibrated.value == actuator)
    if not reply.ok:
        named = calibrated.value if calibrated else "nothing"
        assert reply.reason == f"{named} is being calibrated, so the {actuator} stays at rest"


def test_pulses_rest_once_the_driver_has_been_silent_for_200_ms():
    desk = Desk(DriveState.CALIBRATING).calibrate(Actuator.STEERING)
    assert desk.ask(RequestKind.CALIBRATION_PULSE, steering_us=1500.0).ok

    assert desk.operator.calibration_pulse_us(NOW_NS + 200 * MS) == (1500.0, 0.0)
    assert desk.operator.calibration_pulse_us(NOW_NS + 200 * MS + 1) is None
    assert desk.operator.calibration_pulse_us(NOW_NS) is None


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (
            {"steering_us": 1500.0, "throttle_us": 1500.0},
            "which actuator is calibrated was not said, allowed: steering, throttle",
        ),
        (
            {"actuator": Actuator.STEERING, "steering_us": REST_MIN_US - 1, "throttle_us": 1500.0},
            f"the centre is {REST_MIN_US - 1:g} us, allowed {REST_MIN_US:g} to {REST_MAX_US:g}; "
            "choose another",
        ),
        (
            {"actuator": Actuator.STEERING, "steering_us": 1500.0, "throttle_us": REST_MAX_US + 1},
            f"the neutral is {REST_MAX_US + 1:g} us, allowed {REST_MIN_US:g} to {REST_MAX_US:g}; "
            "choose another",
        ),
        ({"actuator": Actuator.THROTTLE, "steering_us": REST_MIN_US, "throttle_us": REST_MAX_US}, ""),
        ({"actuator": Actuator.THROTTLE, "steering_us": REST_MAX_US, "throttle_us": REST_MIN_US}, ""),
    ],
)
def test_what_is_prepared_names_an_actuator_and_rests_within_bounds(fields, reason):
    assert Desk().ask(RequestKind.PREPARE_CALIBRATION, **fields).reason == reason


@pytest.mark.parametrize("kind", [RequestKind.PREPARE_CALIBRATION, RequestKind.RELOAD_CALIBRATION])
@pytest.mark.parametrize("state", DriveState)
def test_calibrations_change_while_disarmed_alone(kind, state):
    rest = {"actuator": Actuator.STEERING, "steering_us": 1500.0, "throttle_us": 1500.0}
    reply = Desk(state).ask(kind, **rest)
    assert reply.ok == (state is DriveState.DISARMED)
    if not reply.ok:
        assert reply.reason == f"the car is {state.value}; disarm first"


@pytest.mark.parametrize("state", DriveState)
def test_a_policy_is_activated_while_disarmed_alone(state):
    assert Desk(state).ask(RequestKind.ACTIVATE_POLICY, policy="b").ok == (state is DriveState.DISARMED)


@pytest.mark.parametrize("state", DriveState)
def test_the_vehicle_starts_again_while_disarmed_alone(state):
    reply = Desk(state).ask(RequestKind.RESTART)
    assert reply.ok == (state is DriveState.DISARMED)
    assert reply.ok or reply.reason == f"the car is {state.value}; disarm first"


@pytest.mark.parametrize("state", DriveState)
def test_the_camera_is_tuned_only_while_disarmed_and_only_by_numbers(state):
    desk = Desk(state)
    assert desk.ask(RequestKind.TUNE_CAMERA, camera=CameraLocks(8.0, 3, 4500)).ok == (
        state is DriveState.DISARMED
    )
    assert desk.ask(RequestKind.TUNE_CAMERA, camera=CameraLocks(None, 3)).ok == (state is DriveState.DISARMED)
    assert not desk.ask(RequestKind.TUNE_CAMERA).ok
    for value in (float("nan"), float("inf")):
        assert not desk.ask(RequestKind.TUNE_CAMERA, camera=CameraLocks(value)).ok


@pytest.mark.parametrize("state", DriveState)
@pytest.mark.parametrize(
    ("trim_us", "ok"), [(50.0, True), (-50.0, True), (0.0, True), (50.1, False), (-50.1, False)]
)
def test_a_trim_is_small_and_taken_in_every_state_but_calibrating(state, trim_us, ok):
    desk = Desk(state)
    ok = ok and state is not DriveState.CALIBRATING

    assert desk.ask(RequestKind.SET_TRIM, trim_us=trim_us).ok == ok
    assert desk.operator.trim_us == (trim_us if ok else 0.0)


@pytest.mark.parametrize(
    ("limit_s", "ok"),
    [(0.0, True), (1.0, True), (3600.0, True), (0.9, False), (3601.0, False), (-1.0, False)],
)
def test_a_time_limit_of_a_drive_is_bounded_and_goes_with_its_start(limit_s, ok):
    desk = Desk()

    assert desk.start(time_limit_s=limit_s).ok == ok
    expected = OperatorEvent(EventKind.START, DriveState.AUTONOMOUS, limit_s) if ok else None
    assert desk.operator.take_event() == expected


# --- what its sender had seen

ECHOING = [kind for kind in RequestKind if kind not in {RequestKind.EMERGENCY_STOP, RequestKind.RENEW_LEASE}]


def blind(desk: Desk, kind: RequestKind, seen_ms: float, **fields) -> bool:
    """Whether it is refused for what its sender had not seen."""
    fields.setdefault("target", DriveState.AUTONOMOUS)
    echo_ns = desk.now_ns - round(seen_ms * MS)
    return "last heard of the car" in desk.ask(kind, echo_ns=echo_ns, **fields).reason


@pytest.mark.parametrize("kind", [kind for kind in ECHOING if kind is not RequestKind.RELEASE_LEASE])
def test_whoever_last_saw_the_car_more_than_300_ms_ago_commands_nothing(kind):
    state = DriveState.FAILSAFE if kind is RequestKind.DISARM else DriveState.DISARMED

    assert not blind(Desk(state), kind, 300)
    assert blind(Desk(state), kind, 300.001)
    assert not blind(Desk(state), kind, -200)
    assert blind(Desk(state), kind, -200.001)


def test_a_start_that_waited_on_its_way_starts_nothing_and_is_told_why():
    desk = Desk()

    reply = desk.start(echo_ns=desk.now_ns - 2_000 * MS)

    assert reply.reason == (
        "this came 2000 ms after its sender last heard of the car, allowed 300 ms; "
        "look at the car, then send it again"
    )
    assert desk.operator.take_event() is None


def test_a_hand_that_waited_on_its_way_moves_nothing():
    desk = Desk(DriveState.MANUAL)

    assert blind(desk, RequestKind.DRIVE, 301, throttle_frac=1.0)
    assert desk.operator.drive_ns == 0


@pytest.mark.parametrize("state", DriveState)
def test_a_renewal_older_than_the_lease_renews_nothing(state):
    limit_ms = 300 if state in HANDS_ON_STATES else 1500

    for seen_ms, renews in ((limit_ms, True), (limit_ms + 0.001, False)):
        desk = Desk(state)
        desk.now_ns += 100 * MS
        assert blind(desk, RequestKind.RENEW_LEASE, seen_ms) != renews
        after_ns = NOW_NS + limit_ms * MS + 1  # one moment after the first lease
        assert desk.operator.lease_lost(desk.mode, after_ns) != renews


@pytest.mark.parametrize("state", sorted(set(DriveState) - {DriveState.FAILSAFE}))
@pytest.mark.parametrize("kind", [RequestKind.EMERGENCY_STOP, RequestKind.DISARM, RequestKind.RELEASE_LEASE])
def test_what_stops_is_never_refused_for_what_its_sender_had_not_seen(kind, state):
    desk = Desk(state)

    assert desk.ask(kind, echo_ns=1).ok
    assert desk.ask(kind, source="anna", echo_ns=desk.now_ns + 3_600_000 * MS).ok != (
        kind is RequestKind.RELEASE_LEASE  # the second time there is nothing to let go
    )


# --- asking for the lease, and handing it over


def asked(state: DriveState = DriveState.DISARMED) -> Desk:
    """Return a desk where anna drives and ben has asked."""
    desk = Desk(state)
    assert desk.ask(RequestKind.TAKE_LEASE, driver_name="Anna").ok or state in GUARDED_STATES
    assert desk.ask(RequestKind.ASK_LEASE, "ben", driver_name="Ben").ok
    return desk


def test_others_see_the_drivers_name_and_who_asked():
    desk = asked()

    assert desk.operator.driver_name(desk.mode, desk.now_ns) == "Anna"
    assert desk.operator.asked_by(desk.now_ns) == (LeaseWish("ben", "Ben"),)
    assert desk.ask(RequestKind.TAKE_LEASE, "carl").reason == "Anna drives; wait until they let go"
    assert desk.ask(RequestKind.RENEW_LEASE).ok
    assert desk.ask(RequestKind.TAKE_LEASE).ok  # again, without the name
    assert desk.operator.driver_name(desk.mode, desk.now_ns) == "Anna"


@pytest.mark.parametrize("state", [DriveState.DISARMED, DriveState.FAILSAFE])
def test_the_driver_hands_a_standing_car_to_one_who_asked(state):
    desk = asked(state)

    assert desk.ask(RequestKind.YIELD_LEASE, to="ben").ok
    assert desk.operator.driver(desk.mode, desk.now_ns) == "ben"
    assert desk.operator.driver_name(desk.mode, desk.now_ns) == "Ben"
    assert desk.operator.asked_by(desk.now_ns) == ()
    assert not desk.ask(RequestKind.RENEW_LEASE).ok
    assert desk.ask(RequestKind.RENEW_LEASE, "ben").ok


@pytest.mark.parametrize("state", sorted(GUARDED_STATES))
def test_a_car_that_moves_is_handed_to_nobody(state):
    desk = asked(state)

    assert desk.ask(RequestKind.YIELD_LEASE, to="ben").reason == (
        f"the car is {state.value}; stop it, then hand it over"
    )
    assert desk.operator.driver(desk.mode, desk.now_ns) == "anna"


def test_only_the_driver_hands_over_and_only_to_one_who_asked_of_late():
    desk = asked()

    assert not desk.ask(RequestKind.YIELD_LEASE, "ben", to="ben").ok
    assert not desk.ask(RequestKind.YIELD_LEASE, to="carl").ok
    desk.now_ns += 30_001 * MS
    assert desk.operator.asked_by(desk.now_ns) == ()
    assert desk.ask(RequestKind.TAKE_LEASE).ok
    assert not desk.ask(RequestKind.YIELD_LEASE, to="ben").ok
    assert desk.operator.driver(desk.mode, desk.now_ns) == "anna"


def test_asking_promotes_nobody_when_the_driver_is_lost():
    desk = asked(DriveState.AUTONOMOUS)
    desk.now_ns += 1_501 * MS

    assert desk.operator.driver(desk.mode, desk.now_ns) == ""
    assert not desk.ask(RequestKind.YIELD_LEASE, to="ben").ok
    assert not desk.ask(RequestKind.TAKE_LEASE, "ben").ok
    assert desk.operator.driver(desk.mode, desk.now_ns) == ""


def test_a_start_is_not_inherited_by_whom_the_car_is_handed_to():
    desk = asked()
    assert desk.start().ok
    assert desk.ask(RequestKind.YIELD_LEASE, to="ben").ok

    assert desk.operator.take_event() is None


def test_there_is_nobody_to_ask_where_nobody_drives_or_one_drives_oneself():
    assert "nobody to ask" in Desk(driver="").ask(RequestKind.ASK_LEASE, "ben").reason
    assert "nobody to ask" in Desk().ask(RequestKind.ASK_LEASE, "anna").reason
    assert not Desk().ask(RequestKind.ASK_LEASE, "").ok


def test_those_who_ask_are_few_and_remembered_in_their_order():
    desk = Desk()
    for k in range(8):
        assert desk.ask(RequestKind.ASK_LEASE, f"watcher {k}").ok
    assert not desk.ask(RequestKind.ASK_LEASE, "one more").ok
    assert desk.ask(RequestKind.ASK_LEASE, "watcher 3").ok
    assert len(desk.operator.asked_by(desk.now_ns)) == 8

    desk.now_ns += 30_001 * MS
    assert desk.ask(RequestKind.TAKE_LEASE).ok
    assert desk.ask(RequestKind.ASK_LEASE, "one more").ok
    assert [wish.source for wish in desk.operator.asked_by(desk.now_ns)] == ["one more"]


@pytest.mark.parametrize("kind", [RequestKind.TAKE_LEASE, RequestKind.ASK_LEASE])
@pytest.mark.parametrize(
    ("name", "ok"), [("Zoë 3", True), ("x" * 40, True), ("x" * 41, False), ("a\nb", False)]
)
def test_a_drivers_name_is_short_and_can_be_shown(kind, name, ok):
    source = "anna" if kind is RequestKind.TAKE_LEASE else "ben"

    assert Desk().ask(kind, source, driver_name=name).ok == ok


def test_every_refusal_has_a_reason_and_every_success_has_none():
    for state in DriveState:
        for kind in RequestKind:
            for source in ("anna", "ben", ""):
                reply = Desk(state).ask(kind, source, target=DriveState.MANUAL)
                assert reply.ok != bool(reply.reason)


# --- in any order


class Dispute(RuleBasedStateMachine):
    """Three people send anything at any time; the car obeys one of them, or stops."""

    def __init__(self) -> None:
        super().__init__()
        self.operator = Operator(LIMITS, speed_cap_frac=0.3)
        self.now_ns = NOW_NS
        self.mode = DriveMode(since_ns=NOW_NS)
        self.before = self.mode
        self.count = 0
        self.requests: list[OperatorRequest] = []  # those of this tick
        self.last: OperatorRequest | None = None
        self.answers: dict[str, Reply] = {}
        self.applied: Counter[str] = Counter()
        self.starter = ""  # who sent the start that the car follows
        self.asked: list[OperatorRequest] = []  # those of the tick before
        self.allowed_starts: list[OperatorRequest] = []
        self.stopped = False

    @rule(
        kind=st.sampled_from([*RequestKind, RequestKind.START, RequestKind.TAKE_LEASE, RequestKind.DRIVE]),
        source=st.sampled_from(["anna", "ben", ""]),
        ages_ms=st.tuples(
            st.sampled_from([0, 0, 0, 5, 199, 201, 5000, -5, -201]),
            st.sampled_from([None, None, 0, 299, 301, 1501, -201]),
        ),
        wish=st.sampled_from([*sorted(MOVING_STATES), DriveState.FAILSAFE]),
        throttle=st.sampled_from([0.0, 1.0, -1.0, math.nan]),
    )
    def send(self, kind, source, ages_ms, wish, throttle) -> None:
        age_ms, seen_ms = ages_ms
        self.count += 1
        sent_ns = self.now_ns - age_ms * MS
        self.receive(
            OperatorRequest(
                f"{self.count}",
                source,
                kind,
                sent_ns,
                target=wish,
                throttle_frac=throttle,
                to="ben",
                echo_ns=0 if seen_ms is None else self.now_ns - seen_ms * MS,
            )
        )

    @rule()
    def send_the_last_again(self) -> None:
        if self.last is not None:
            self.receive(self.last)

    @rule(driver=st.sampled_from(["anna", "ben"]), wish=st.sampled_from(sorted(MOVING_STATES)))
    def start_properly(self, driver, wish) -> None:
        for kind in (RequestKind.DISARM, RequestKind.TAKE_LEASE):
            self.count += 1
            self.receive(OperatorRequest(f"{self.count}", driver, kind, self.now_ns))
        self.tick(10)
        self.count += 1
        self.receive(OperatorRequest(f"{self.count}", driver, RequestKind.START, self.now_ns, target=wish))
        self.tick(16)

    def receive(self, request: OperatorRequest) -> None:
        drive_ns, self.operator.drive_ns = self.operator.drive_ns, -1
        driver = self.operator.driver(self.mode, self.now_ns)
        known = self.answers.get(request.id)
        reply = self.operator.receive(request, self.mode, lambda _: (), self.now_ns)
        drove = request.kind is RequestKind.DRIVE and self.operator.drive_ns == self.now_ns
        self.operator.drive_ns = self.operator.drive_ns if self.operator.drive_ns != -1 else drive_ns

        assert known is None or reply == known or request.kind is RequestKind.EMERGENCY_STOP
        self.answers[request.id] = reply
        self.requests.append(request)
        self.last = request
        self.applied[request.id] += drove
        fresh = abs(self.now_ns - request.sent_ns) <= 200 * MS and request.sent_ns >= self.mode.since_ns
        if request.echo_ns:
            fresh = fresh and -200 * MS <= self.now_ns - request.echo_ns <= 300 * MS
        if drove:
            assert fresh
            assert request.source == driver != ""
        if known is None and reply.ok and request.kind is RequestKind.START:
            assert fresh
            assert request.source == driver != ""
            self.allowed_starts.append(request)
        if request.kind is RequestKind.EMERGENCY_STOP:
            self.stopped = True

    @rule(dt_ms=st.sampled_from([1, 16, 100, 250, 301, 1501]))
    def tick(self, dt_ms: int) -> None:
        faults = set()
        if self.operator.take_emergency_stop():
            faults.add(Fault.EMERGENCY_STOP)
        assert self.stopped == bool(faults)
        if self.mode.state in GUARDED_STATES and self.operator.lease_lost(self.mode, self.now_ns):
            faults.add(Fault.LEASE_LOST)
        self.before, self.asked = self.mode, self.requests
        self.mode = next_mode(self.mode, self.operator.take_event(), faults, 100.0, self.now_ns)
        if self.mode.state is DriveState.ARMING and self.before.state is not DriveState.ARMING:
            assert self.allowed_starts  # of this tick
            self.starter = self.allowed_starts[-1].source
        self.requests, self.allowed_starts, self.stopped = [], [], False
        self.now_ns += dt_ms * MS

    @invariant()
    def a_request_is_applied_at_most_once(self) -> None:
        assert all(times <= 1 for times in self.applied.values())

    @invariant()
    def a_guarded_car_belongs_to_whoever_started_it_or_to_nobody(self) -> None:
        if self.mode.state in GUARDED_STATES:
            assert self.operator.driver(self.mode, self.now_ns) in {"", self.starter}

    @invariant()
    def a_disarm_always_stops_what_moves(self) -> None:
        kinds = {request.kind for request in self.asked}
        if RequestKind.DISARM in kinds and self.before.state in GUARDED_STATES:
            assert self.mode.state not in GUARDED_STATES


Dispute.TestCase.settings = settings(
    max_examples=100, stateful_step_count=40, deadline=None, derandomize=True, database=None
)
TestAnyDispute = Dispute.TestCase


def test_a_kind_that_nobody_serves_is_refused_in_words():
    assert Desk().ask("dance").reason == "dance is not served here"


def test_nobody_has_driven_before_the_first_request_of_the_computers_first_moment():
    operator = Operator(LIMITS, speed_cap_frac=0.3)
    assert operator.lease_lost(mode_of(DriveState.DISARMED), 0)
    assert operator.drive == DriveAction(0.0, 0.0)
    assert operator.driver_name(mode_of(DriveState.DISARMED), 0) == ""


def test_a_driver_who_fell_silent_is_named_no_more():
    desk = asked()
    silent_ns = desk.now_ns + round(LIMITS.autonomous_s * 1e9) + 1
    assert desk.operator.driver_name(desk.mode, silent_ns) == ""


def test_a_wish_lasts_half_a_minute():
    desk = asked()
    assert desk.operator.asked_by(desk.now_ns + 30_000 * MS) == (LeaseWish("ben", "Ben"),)
    assert desk.operator.asked_by(desk.now_ns + 30_000 * MS + 1) == ()


@pytest.mark.parametrize("kind", [RequestKind.DISARM, RequestKind.RENEW_LEASE, RequestKind.TAKE_LEASE])
def test_what_is_done_comes_without_a_reason(kind):
    assert Desk(DriveState.MANUAL).ask(kind).reason == ""


def test_who_drives_is_remembered_for_a_replay():
    fresh, told = Operator(LIMITS, speed_cap_frac=0.3), Operator(LIMITS, speed_cap_frac=0.3)
    assert fresh.memory() == OperatorMemory("", 0, "", 0.3, 0.0)
    memory = OperatorMemory("page 1", 5, "Anna", 0.5, -12.0, Actuator.STEERING)
    told.recall(memory)

    assert told.memory() == memory
    assert told.driver(DriveMode(), 6) == "page 1"


def test_who_takes_a_lease_that_ran_out_brings_their_own_name_and_has_nothing_to_ask_for():
    desk = Desk(driver="")
    desk.ask(RequestKind.TAKE_LEASE, "anna", driver_name="Anna")
    desk.ask(RequestKind.ASK_LEASE, "ben", driver_name="Ben")
    desk.now_ns += 2_000 * MS  # longer than the lease, shorter than a wish
    assert desk.ask(RequestKind.TAKE_LEASE, "ben").ok

    assert desk.operator.driver(desk.mode, desk.now_ns) == "ben"
    assert desk.operator.driver_name(desk.mode, desk.now_ns) == ""
    assert desk.operator.asked_by(desk.now_ns) == ()


def test_wishes_of_long_ago_are_forgotten_with_the_next():
    desk = Desk()
    desk.ask(RequestKind.ASK_LEASE, "ben")
    desk.now_ns += 31_000 * MS
    desk.ask(RequestKind.TAKE_LEASE, "anna")
    desk.ask(RequestKind.ASK_LEASE, "carl")

    assert list(desk.operator._wishes) == ["carl"]
