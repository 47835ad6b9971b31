"""From a wish below neutral to what this car's speed controller must be sent, tick by tick."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vehicle.esc import (
    BRAKE_PULL_S,
    BRAKE_SHARE,
    COAST_FRAC_PER_S,
    NEUTRAL_PAUSE_S,
    EscState,
    ReversePhase,
    next_throttle,
)

TICK_S = 0.01
START_NS = 3_000_000_000
MODES = ["none", "direct", "double_tap"]


class Pedal:
    """Feeds a wish to `next_throttle` every 10 ms and keeps what it sends."""

    def __init__(self, reverse_mode: str) -> None:
        self.reverse_mode = reverse_mode
        self.state = EscState()
        self.now_ns = START_NS

    def hold(self, wanted_frac: float, duration_s: float = TICK_S) -> list[float]:
        sent = []
        for _ in range(round(duration_s / TICK_S)):
            self.state, share = next_throttle(self.state, wanted_frac, self.reverse_mode, self.now_ns)
            self.state = self.state.sent(share, self.now_ns)
            self.now_ns += round(TICK_S * 1e9)
            sent.append(share)
        return sent


@pytest.mark.parametrize("reverse_mode", MODES)
@pytest.mark.parametrize("wanted", [1e-6, 0.3, 1.0])
def test_forward_goes_through_unchanged_after_whatever_came_before(reverse_mode, wanted):
    for before in (0.0, 1.0, -1.0):
        for before_s in (0.0, 0.05, 0.2, 0.5):
            pedal = Pedal(reverse_mode)
            pedal.hold(before, before_s)
            assert pedal.hold(wanted) == [wanted]
            assert pedal.state.phase is ReversePhase.FORWARD


@pytest.mark.parametrize("reverse_mode", MODES)
@pytest.mark.parametrize("neutral", [0.0, -0.0])
def test_neutral_is_neutral(reverse_mode, neutral):
    for before in (0.0, 1.0, -1.0):
        pedal = Pedal(reverse_mode)
        pedal.hold(before, 0.4)
        assert pedal.hold(neutral) == [0.0]


def test_a_controller_that_reverses_at_once_is_sent_the_wish_itself():
    assert Pedal("direct").hold(-0.7, 0.05) == [-0.7] * 5


@pytest.mark.parametrize("driven_frac", [0.1, 0.5, 1.0])
def test_a_controller_that_reverses_at_once_gets_neutral_until_the_car_must_have_coasted_to_a_stop(
    driven_frac,
):
    pedal = Pedal("direct")
    pedal.hold(driven_frac, 0.3)
    rolls_s = driven_frac / COAST_FRAC_PER_S

    assert pedal.hold(-0.7, rolls_s - 2 * TICK_S) == [0.0] * round(rolls_s / TICK_S - 2)
    pedal.hold(-0.7, 2 * TICK_S)
    assert pedal.hold(-0.7) == [-0.7]


@pytest.mark.parametrize(("pulled", "braked"), [(-0.7, -0.7), (-0.1, -BRAKE_SHARE)])
def test_one_long_pull_at_speed_is_one_long_brake_and_reverses_only_a_pause_after_standstill(pulled, braked):
    pedal = Pedal("double_tap")
    pedal.hold(0.5, 0.3)
    rolls_s, pull_s = 0.5 / COAST_FRAC_PER_S, BRAKE_PULL_S
    sent = pedal.hold(pulled, rolls_s - 2 * TICK_S)

    assert sent[: round(pull_s / TICK_S)] == [-BRAKE_SHARE] * round(pull_s / TICK_S)
    assert sent[round(pull_s / TICK_S) :] == [braked] * (len(sent) - round(pull_s / TICK_S))
    after = pedal.hold(pulled, NEUTRAL_PAUSE_S + 4 * TICK_S)
    assert after.count(0.0) == round(NEUTRAL_PAUSE_S / TICK_S)
    assert after[-1] == pulled


def test_what_may_still_roll_is_known_whatever_was_pulled_and_wherever_it_was_driven():
    state = EscState().sent(0.8, START_NS)
    later_ns = START_NS + 1_000_000_000
    expected = 0.8 - COAST_FRAC_PER_S

    assert state.rolls_frac(START_NS - 1) == 0.8  # by a clock that ran backwards
    for after in (state, state.rested(), state.turned(ReversePhase.BRAKING, later_ns)):
        assert after.rolls_frac(later_ns) == pytest.approx(expected)
    assert state.sent(0.1, later_ns).rolls_frac(later_ns) == pytest.approx(expected)
    assert state.sent(0.9, later_ns).rolls_frac(later_ns) == 0.9
    assert state.sent(-1.0, later_ns).rolls_frac(later_ns) == pytest.approx(expected)
    assert EscState().sent(-1.0, START_NS).rolls_frac(START_NS) == 0.0
    assert state.rolls_frac(START_NS + 60_000_000_000) == 0.0


def test_an_esc_that_was_left_alone_is_at_rest():
    state = EscState(ReversePhase.REVERSE, START_NS, 0.5, START_NS)
    assert state.rested() == EscState(ReversePhase.FORWARD, 0, 0.5, START_NS)


def test_a_controller_without_reverse_is_never_sent_below_neutral():
    pedal = Pedal("none")
    pedal.hold(1.0, 0.1)

    assert pedal.hold(-1.0, 2.0) == [0.0] * 200


def test_a_double_tap_brakes_pauses_in_neutral_and_then_reverses():
    sent = Pedal("double_tap").hold(-0.7, 0.5)

    braking, pausing = round(BRAKE_PULL_S / TICK_S), round(NEUTRAL_PAUSE_S / TICK_S)
    assert sent[:braking] == [-BRAKE_SHARE] * braking
    assert sent[braking : braking + pausing] == [0.0] * pausing
    assert sent[braking + pausing :] == [-0.7] * (50 - braking - pausing)


def test_once_in_reverse_neutral_keeps_the_way_back_open():
    pedal = Pedal("double_tap")
    pedal.hold(-0.7, 0.5)
    pedal.hold(0.0, 1.0)

    assert pedal.hold(-0.4) == [-0.4]


def test_forward_closes_the_way_to_reverse():
    pedal = Pedal("double_tap")
    pedal.hold(-0.7, 0.5)
    pedal.hold(0.1)

    assert pedal.hold(-0.7) == [-BRAKE_SHARE]


@pytest.mark.parametrize("pulled_s", [0.05, 0.2])
def test_letting_go_before_reverse_begins_the_double_tap_anew(pulled_s):
    pedal = Pedal("double_tap")
    pedal.hold(-0.7, pulled_s)
    pedal.hold(0.0)

    assert pedal.hold(-0.7, 0.15) == [-BRAKE_SHARE] * 15


def test_the_pulls_are_timed_by_the_clock_and_not_by_the_number_of_ticks():
    state, _ = next_throttle(EscState(), -1.0, "double_tap", START_NS)
    braking_ns, pause_ns = round(BRAKE_PULL_S * 1e9), round(NEUTRAL_PAUSE_S * 1e9)

    assert next_throttle(state, -1.0, "double_tap", START_NS + braking_ns - 1)[1] == -BRAKE_SHARE
    state, share = next_throttle(state, -1.0, "double_tap", START_NS + braking_ns)
    assert share == 0.0
    assert next_throttle(state, -1.0, "double_tap", START_NS + braking_ns + pause_ns - 1)[1] == 0.0
    assert next_throttle(state, -1.0, "double_tap", START_NS + braking_ns + pause_ns)[1] == -1.0


@given(
    reverse_mode=st.sampled_from(MODES),
    wishes=st.lists(st.tuples(st.floats(-1, 1), st.sampled_from([0.01, 0.1, 0.2])), max_size=12),
)
@settings(deadline=None, derandomize=True, database=None)
def test_nothing_is_sent_on_the_other_side_of_what_is_wanted(reverse_mode, wishes):
    pedal = Pedal(reverse_mode)
    for wanted, duration_s in wishes:
        for share in pedal.hold(wanted, duration_s):
            assert share * wanted >= 0
            assert abs(share) <= max(abs(wanted), BRAKE_SHARE)


@given(wishes=st.lists(st.tuples(st.floats(-1, 1), st.sampled_from([0.01, 0.1, 0.2])), max_size=12))
@settings(deadline=None, derandomize=True, database=None)
def test_a_double_tap_never_reverses_without_a_brake_pull_and_a_pause_since_the_last_forward(wishes):
    pedal = Pedal("double_tap")
    since_forward: list[float] = []
    for wanted, duration_s in wishes:
        for _ in range(round(duration_s / TICK_S)):
            (share,) = pedal.hold(wanted)
            since_forward = [] if share > 0 else [*since_forward, share]
            if pedal.state.phase is ReversePhase.REVERSE:
                assert since_forward.count(-BRAKE_SHARE) * TICK_S >= BRAKE_PULL_S - 1e-9
                assert since_forward.count(0.0) * TICK_S >= NEUTRAL_PAUSE_S - 1e-9
