"""The table of drive states: every state, fault and request, one by one and in long random orders."""

import itertools

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from vehicle.messages import (
    CAMERA_FAULTS,
    GUARDED_STATES,
    MOVING_STATES,
    POLICY_SENSOR_FAULTS,
    POLICY_STATES,
    DriveState,
    Fault,
)
from vehicle.safety import gravest
from vehicle.state import (
    ARMING_MINIMUM_S,
    ARMING_NEUTRAL_S,
    LEAVES_BY_DISARM,
    DriveMode,
    EventKind,
    OperatorEvent,
    binding_faults,
    next_mode,
)

NOW_NS = 10_000_000_000
SINCE_NS = 4_000_000_000  # six seconds earlier: whatever takes time has had it
DISARM = OperatorEvent(EventKind.DISARM)
STARTS = [OperatorEvent(EventKind.START, target) for target in [*DriveState, None]]
EVENTS = [None, DISARM, *STARTS]
TARGETS = sorted(MOVING_STATES)

MODES = [
    *(DriveMode(state, SINCE_NS) for state in sorted(MOVING_STATES | {DriveState.DISARMED})),
    *(DriveMode(DriveState.ARMING, SINCE_NS, target=target) for target in TARGETS),
    DriveMode(DriveState.FAILSAFE, SINCE_NS, latched_fault=Fault.LEASE_LOST),
]
GUARDED_MODES = [mode for mode in MODES if mode.state in GUARDED_STATES]


def mode_name(value: object) -> str | None:
    if isinstance(value, DriveMode):
        return value.state.value + (f" to {value.target.value}" if value.target else "")
    if isinstance(value, OperatorEvent):
        return value.kind.value + (f" {value.target.value}" if value.target else "")
    return None


def next_of(
    mode: DriveMode,
    event: OperatorEvent | None = None,
    faults: tuple[Fault, ...] = (),
    neutral_acked_s: float = 100.0,
    now_ns: int = NOW_NS,
) -> DriveMode:
    return next_mode(mode, event, faults, neutral_acked_s, now_ns)


def bears(mode: DriveMode, fault: Fault) -> bool:
    """Calibrating needs no picture and a hand no second eye, nor does arming on the way to them."""
    state = mode.target or mode.state
    if fault in POLICY_SENSOR_FAULTS:
        return state not in {DriveState.ASSISTED, DriveState.AUTONOMOUS}
    return fault in CAMERA_FAULTS and state is DriveState.CALIBRATING


def test_the_named_sets_of_states_agree_with_each_other():
    assert MOVING_STATES < GUARDED_STATES
    assert {DriveState.ARMING} == GUARDED_STATES - MOVING_STATES
    assert POLICY_STATES < MOVING_STATES
    assert set(DriveState) - {DriveState.DISARMED} == LEAVES_BY_DISARM


@pytest.mark.parametrize("fault", Fault)
@pytest.mark.parametrize("mode", GUARDED_MODES, ids=mode_name)
def test_any_fault_stops_a_guarded_car_whatever_is_asked(mode, fault):
    if bears(mode, fault):
        return
    for event in EVENTS:
        assert next_of(mode, event, (fault,)) == DriveMode(DriveState.FAILSAFE, NOW_NS, latched_fault=fault)


@pytest.mark.parametrize("fault", sorted(CAMERA_FAULTS))
def test_calibrating_and_the_way_to_it_bear_a_missing_picture(fault):
    arming = DriveMode(DriveState.ARMING, SINCE_NS, target=DriveState.CALIBRATING)

    assert next_of(
        DriveMode(), OperatorEvent(EventKind.START, DriveState.CALIBRATING), (fault,)
    ) == DriveMode(DriveState.ARMING, NOW_NS, target=DriveState.CALIBRATING)
    assert next_of(arming, faults=(fault,)).state is DriveState.CALIBRATING
    assert (
        next_of(DriveMode(DriveState.CALIBRATING, SINCE_NS), faults=(fault,)).state is DriveState.CALIBRATING
    )


@pytest.mark.parametrize("fault", sorted(POLICY_SENSOR_FAULTS))
@pytest.mark.parametrize("target", [DriveState.MANUAL, DriveState.CALIBRATING])
def test_a_hand_bears_what_only_a_policy_looks_at_and_so_does_the_way_to_it(target, fault):
    arming = DriveMode(DriveState.ARMING, SINCE_NS, target=target)

    assert next_of(DriveMode(), OperatorEvent(EventKind.START, target), (fault,)).target is target
    assert next_of(arming, faults=(fault,)).state is target
    assert next_of(DriveMode(target, SINCE_NS), faults=(fault,)).state is target


@pytest.mark.parametrize("fault", sorted(set(Fault) - CAMERA_FAULTS - POLICY_SENSOR_FAULTS))
def test_calibrating_bears_no_other_fault_even_behind_a_missing_picture(fault):
    mode = next_of(DriveMode(DriveState.CALIBRATING, SINCE_NS), faults=(Fault.CAMERA_LOST, fault))

    assert mode == DriveMode(DriveState.FAILSAFE, NOW_NS, latched_fault=fault)


@pytest.mark.parametrize("mode", MODES, ids=mode_name)
def test_an_emergency_stop_latches_from_every_state_whatever_is_asked(mode):
    for event in EVENTS:
        stopped = next_of(mode, event, (Fault.EMERGENCY_STOP, Fault.BOARD_LOST))
        assert stopped.state is DriveState.FAILSAFE
        assert stopped.latched_fault is Fault.EMERGENCY_STOP


def test_an_emergency_stop_in_failsafe_counts_from_its_own_moment_so_that_no_earlier_disarm_undoes_it():
    failsafe = DriveMode(DriveState.FAILSAFE, SINCE_NS, latched_fault=Fault.LEASE_LOST)

    assert next_of(failsafe, faults=(Fault.EMERGENCY_STOP,)).since_ns == NOW_NS


@pytest.mark.parametrize("fault", sorted(set(Fault) - {Fault.EMERGENCY_STOP}))
def test_a_fault_moves_neither_a_disarmed_car_nor_one_in_failsafe(fault):
    failsafe = DriveMode(DriveState.FAILSAFE, SINCE_NS, latched_fault=Fault.LEASE_LOST)

    assert next_of(DriveMode(since_ns=SINCE_NS), faults=(fault,)) == DriveMode(since_ns=SINCE_NS)
    assert next_of(failsafe, faults=(fault,)) == failsafe


@pytest.mark.parametrize("event", EVENTS, ids=mode_name)
def test_failsafe_is_left_by_disarm_alone(event):
    failsafe = DriveMode(DriveState.FAILSAFE, SINCE_NS, latched_fault=Fault.CAMERA_OVERDUE)

    after = next_of(failsafe, event)

    assert after == (DriveMode(DriveState.DISARMED, NOW_NS) if event is DISARM else failsafe)


def test_disarm_leaves_failsafe_even_while_the_fault_stays_so_that_the_page_can_name_it():
    failsafe = DriveMode(DriveState.FAILSAFE, SINCE_NS, latched_fault=Fault.CAMERA_LOST)

    assert next_of(failsafe, DISARM, (Fault.CAMERA_LOST,)) == DriveMode(DriveState.DISARMED, NOW_NS)


def test_a_disarmed_car_that_is_disarmed_again_has_been_so_since_the_first_time():
    assert next_of(DriveMode(DriveState.DISARMED, SINCE_NS), DISARM).since_ns == SINCE_NS


@pytest.mark.parametrize("mode", MODES, ids=mode_name)
def test_disarm_leads_every_state_to_disarmed_and_forgets_target_and_latch(mode):
    after = next_of(mode, DISARM)

    assert after.state is DriveState.DISARMED
    assert after.target is None
    assert after.latched_fault is None


@pytest.mark.parametrize("event", STARTS, ids=mode_name)
@pytest.mark.parametrize("mode", MODES, ids=mode_name)
def test_a_start_changes_a_disarmed_car_alone_and_leads_to_arming_alone(mode, event):
    if mode.state is DriveState.DISARMED and event.target in MOVING_STATES:
        assert next_of(mode, event) == DriveMode(DriveState.ARMING, NOW_NS, target=event.target)
    else:
        assert next_of(mode, event) == next_of(mode, None)


@pytest.mark.parametrize("fault", Fault)
@pytest.mark.parametrize("target", TARGETS)
def test_no_start_while_a_fault_that_binds_the_target_is_present(target, fault):
    after = next_of(DriveMode(), OperatorEvent(EventKind.START, target), (fault,))

    assert (after.state is DriveState.ARMING) == (not binding_faults((fault,), target))


@pytest.mark.parametrize("target", TARGETS)
def test_arming_ends_after_two_seconds_of_acknowledged_neutral_and_not_a_moment_sooner(target):
    arming = DriveMode(DriveState.ARMING, SINCE_NS, target=target)

    assert next_of(arming, neutral_acked_s=ARMING_NEUTRAL_S - 1e-6) == arming
    assert next_of(arming, neutral_acked_s=0.0) == arming
    assert next_of(arming, neutral_acked_s=ARMING_NEUTRAL_S) == DriveMode(target, NOW_NS)


def test_neutral_acknowledged_while_disarmed_counts_but_arming_takes_at_least_its_minimum():
    just_armed = DriveMode(DriveState.ARMING, SINCE_NS, target=DriveState.MANUAL)
    minimum_ns = round(ARMING_MINIMUM_S * 1e9)

    assert next_of(just_armed, now_ns=SINCE_NS + minimum_ns - 1).state is DriveState.ARMING
    assert next_of(just_armed, now_ns=SINCE_NS + minimum_ns).state is DriveState.MANUAL


def test_arming_without_a_target_leads_nowhere():
    arming = DriveMode(DriveState.ARMING, SINCE_NS)

    assert next_of(arming) == arming


@pytest.mark.parametrize("mode", MODES, ids=mode_name)
def test_without_request_and_fault_only_arming_ever_changes(mode):
    expected = DriveMode(mode.target, NOW_NS) if mode.target else mode

    assert next_of(mode) == expected


@pytest.mark.parametrize("target", TARGETS)
def test_a_time_limit_counts_from_when_the_car_may_move_and_ends_in_disarmed(target):
    arming = next_of(
        DriveMode(since_ns=SINCE_NS), OperatorEvent(EventKind.START, target, 60.0), now_ns=NOW_NS
    )
    assert arming == DriveMode(DriveState.ARMING, NOW_NS, target=target, time_limit_s=60.0)
    moving = next_of(arming, now_ns=NOW_NS + 90_000_000_000)  # however long arming took
    assert moving.state is target
    last_ns = moving.since_ns + 60_000_000_000 - 1

    assert next_of(moving, now_ns=last_ns) == moving
    ended = next_of(moving, now_ns=last_ns + 1)
    assert ended == DriveMode(DriveState.DISARMED, last_ns + 1, time_limit_s=60.0, has_timed_out=True)
    assert next_of(ended, now_ns=last_ns + 10**12) == ended
    again = next_of(ended, OperatorEvent(EventKind.START, target), now_ns=last_ns + 10**12)
    assert again == DriveMode(DriveState.ARMING, last_ns + 10**12, target=target)


@pytest.mark.parametrize("target", TARGETS)
def test_a_fault_wins_over_the_end_of_the_time(target):
    moving = DriveMode(target, SINCE_NS, time_limit_s=1.0)

    assert next_of(moving, None, (Fault.BOARD_LOST,)).state is DriveState.FAILSAFE


def test_failsafe_names_the_gravest_of_several_faults():
    for first, second in itertools.combinations(Fault, 2):
        after = next_of(DriveMode(DriveState.AUTONOMOUS, SINCE_NS), faults=(second, first))
        assert after.latched_fault is first
        assert gravest({second, first}) is first


def test_no_fault_is_the_gravest_of_none():
    assert gravest(()) is None


class ReferenceCar(RuleBasedStateMachine):
    """Drives `next_mode` through random lives and checks what must hold in all of them."""

    def __init__(self) -> None:
        super().__init__()
        self.now_ns = NOW_NS
        self.mode = DriveMode(since_ns=NOW_NS)
        self.before = self.mode
        self.acknowledges = True
        self.neutral_since_ns: int | None = None
        self.neutral_s = 0.0  # in the last tick
        self.faults: frozenset[Fault] = frozenset()
        self.event: OperatorEvent | None = None
        self.armed_ns = 0

    @rule(acknowledges=st.sampled_from([True, True, True, False]))
    def board_answers_or_not(self, acknowledges: bool) -> None:
        self.acknowledges = acknowledges

    @rule(
        dt_ms=st.sampled_from([1, 16, 100, 299, 300, 1999, 2000, 2001]),
        faults=st.frozensets(st.sampled_from(list(Fault)), max_size=3),
        event=st.sampled_from(EVENTS),
    )
    def tick_with_faults(self, dt_ms: int, faults: frozenset[Fault], event: OperatorEvent | None) -> None:
        self.tick(dt_ms, faults, event)

    @rule(
        dt_ms=st.sampled_from([16, 300, 1999, 2000]),
        event=st.sampled_from([None, *(start for start in STARTS if start.target in TARGETS)]),
    )
    def tick_in_peace(self, dt_ms: int, event: OperatorEvent | None) -> None:
        self.tick(dt_ms, frozenset(), event)

    def tick(self, dt_ms: int, faults: frozenset[Fault], event: OperatorEvent | None) -> None:
        self.now_ns += dt_ms * 1_000_000
        if self.mode.state in MOVING_STATES or not self.acknowledges:
            self.neutral_since_ns = None
        elif self.neutral_since_ns is None:
            self.neutral_since_ns = self.now_ns
        since_ns = self.neutral_since_ns
        self.neutral_s = (self.now_ns - since_ns) / 1e9 if since_ns is not None else 0.0
        self.before, self.faults, self.event = self.mode, faults, event
        self.mode = next_mode(self.mode, event, faults, self.neutral_s, self.now_ns)
        if self.mode.state is DriveState.ARMING and self.before.state is not DriveState.ARMING:
            self.armed_ns = self.now_ns

    @invariant()
    def a_moving_state_follows_arming_with_two_seconds_of_acknowledged_neutral(self) -> None:
        if self.mode.state in MOVING_STATES and self.before.state not in MOVING_STATES:
            assert self.before.state is DriveState.ARMING
            assert self.before.target is self.mode.state
            assert self.neutral_s >= 2.0
            assert self.now_ns - self.armed_ns >= 300_000_000

    @invariant()
    def no_moving_state_follows_another(self) -> None:
        if self.before.state in MOVING_STATES and self.mode.state in MOVING_STATES:
            assert self.mode == self.before

    @invariant()
    def arming_follows_a_start_from_disarmed_alone(self) -> None:
        if self.mode.state is DriveState.ARMING and self.before.state is not DriveState.ARMING:
            assert self.before.state is DriveState.DISARMED
            assert self.event == OperatorEvent(EventKind.START, self.mode.target)

    @invariant()
    def a_fault_that_binds_a_guarded_state_ends_it_at_once(self) -> None:
        borne = {fault for fault in Fault if bears(self.before, fault)}
        if self.before.state in GUARDED_STATES and self.faults - borne:
            assert self.mode.state is DriveState.FAILSAFE

    @invariant()
    def failsafe_is_left_by_disarm_alone(self) -> None:
        if self.before.state is DriveState.FAILSAFE and self.mode.state is not DriveState.FAILSAFE:
            assert self.event == DISARM
            assert self.mode == DriveMode(DriveState.DISARMED, self.now_ns)

    @invariant()
    def an_emergency_stop_is_never_lost(self) -> None:
        if Fault.EMERGENCY_STOP in self.faults:
            assert self.mode.state is DriveState.FAILSAFE
            assert self.mode.latched_fault is Fault.EMERGENCY_STOP

    @invariant()
    def only_arming_has_a_target_and_only_failsafe_a_latch(self) -> None:
        assert (self.mode.target is not None) == (self.mode.state is DriveState.ARMING)
        assert (self.mode.latched_fault is not None) == (self.mode.state is DriveState.FAILSAFE)

    @invariant()
    def the_stamp_tells_when_the_state_changed(self) -> None:
        if self.mode.state is not self.before.state:
            assert self.mode.since_ns == self.now_ns
        elif self.mode is self.before:
            assert self.mode.since_ns <= self.now_ns


ReferenceCar.TestCase.settings = settings(
    max_examples=80, stateful_step_count=40, deadline=None, derandomize=True, database=None
)
TestAnyLifeOfACar = ReferenceCar.TestCase


def test_a_car_begins_disarmed_for_no_reason_and_without_a_limit():
    fresh = DriveMode()

    assert (fresh.state, fresh.target, fresh.latched_fault) == (DriveState.DISARMED, None, None)
    assert (fresh.since_ns, fresh.time_limit_s, fresh.has_timed_out) == (0, 0.0, False)
