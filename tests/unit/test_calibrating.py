"""On the stand one actuator moves, slowly and within bounds, and everything else rests."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vehicle.calibrating import (
    STEERING_GROWTH_US_PER_S,
    THROTTLE_GROWTH_US_PER_S,
    Bench,
    Preparation,
    slewed_us,
    was_cut_off,
)
from vehicle.messages import Actuator, BoardPulses

NOW_NS = 5_000_000_000
TICK_NS = 20_000_000
REST_US = (1450.0, 1446.0)


def bench_for(actuator: Actuator) -> Bench:
    bench = Bench()
    bench.prepare(Preparation(actuator, *REST_US, prepared_ns=NOW_NS))
    return bench


def after(bench: Bench, asked_us: tuple[float, float] | None, ticks: int) -> list[tuple[float, float]]:
    return [bench.pulses_us(asked_us, NOW_NS + tick * TICK_NS) for tick in range(ticks)]


def test_nothing_is_prepared_at_first_and_after_the_end():
    bench = Bench()
    assert bench.preparation is None
    with pytest.raises(AssertionError, match="prepared"):
        bench.pulses_us((1500.0, 0.0), NOW_NS)
    bench.prepare(Preparation(Actuator.STEERING, *REST_US, prepared_ns=NOW_NS))
    assert bench.preparation is not None
    bench.end()
    assert bench.preparation is None


def test_the_board_holds_what_rests_within_a_microsecond():
    assert Preparation(Actuator.STEERING, *REST_US, NOW_NS).board_pulses() == (
        800.0,
        1450.0,
        2200.0,
        1445.0,
        1446.0,
        1447.0,
    )
    assert Preparation(Actuator.THROTTLE, *REST_US, NOW_NS).board_pulses() == (
        1449.0,
        1450.0,
        1451.0,
        800.0,
        1446.0,
        2200.0,
    )


@pytest.mark.parametrize("actuator", Actuator)
def test_a_board_tells_by_what_it_keeps_that_calibrating_was_cut_off(actuator):
    assert was_cut_off(Preparation(actuator, *REST_US, NOW_NS).board_pulses())


@pytest.mark.parametrize("span_us", [20.0, 10.0, 9.9, 0.0])
def test_no_numbers_of_a_car_look_like_calibrating(span_us):
    for kept in (
        BoardPulses(1450.0 - span_us / 2, 1450.0, 1450.0 + span_us / 2, 1311.0, 1446.0, 1603.0),
        BoardPulses(1200.0, 1450.0, 1700.0, 1446.0 - span_us / 2, 1446.0, 1446.0 + span_us / 2),
    ):
        assert was_cut_off(kept) == (span_us < 10.0)


@pytest.mark.parametrize("asked", [None, (0.0, 0.0)])
@pytest.mark.parametrize("actuator", Actuator)
def test_whoever_asks_for_nothing_gets_rest(actuator, asked):
    assert after(bench_for(actuator), asked, 3) == [REST_US] * 3


@pytest.mark.parametrize(
    ("actuator", "index", "growth_us_per_s"),
    [(Actuator.STEERING, 0, STEERING_GROWTH_US_PER_S), (Actuator.THROTTLE, 1, THROTTLE_GROWTH_US_PER_S)],
)
@pytest.mark.parametrize("side", [1, -1])
def test_the_one_that_is_calibrated_leaves_rest_slowly_and_the_other_stays(
    actuator, index, growth_us_per_s, side
):
    bench = bench_for(actuator)
    asked = (REST_US[0] + side * 100, REST_US[1] + side * 100)
    step_us = growth_us_per_s * TICK_NS / 1e9

    pulses = after(bench, asked, 3)

    assert [pulse[index] for pulse in pulses] == pytest.approx(
        [REST_US[index] + side * step_us * tick for tick in range(3)]
    )
    assert {pulse[1 - index] for pulse in pulses} == {REST_US[1 - index]}
    assert after(bench, asked, 200)[-1][index] == asked[index]


def test_back_to_rest_takes_no_time():
    bench = bench_for(Actuator.THROTTLE)
    after(bench, (0.0, 1300.0), 20)
    assert bench.pulses_us(None, NOW_NS + 21 * TICK_NS) == REST_US


def test_a_new_preparation_begins_at_rest_with_its_own_clock():
    bench = bench_for(Actuator.THROTTLE)
    after(bench, (0.0, 1300.0), 20)
    bench.prepare(Preparation(Actuator.THROTTLE, *REST_US, prepared_ns=NOW_NS))
    assert bench.pulses_us((0.0, 1300.0), NOW_NS + 100 * TICK_NS) == REST_US


def test_a_clock_that_runs_backwards_adds_nothing():
    bench = bench_for(Actuator.STEERING)
    before = after(bench, (1700.0, 0.0), 5)[-1]
    assert bench.pulses_us((1700.0, 0.0), NOW_NS - TICK_NS) == before


@pytest.mark.parametrize(("asked", "given_us"), [(10.0, 800.0), (9999.0, 2200.0)])
@pytest.mark.parametrize("actuator", Actuator)
def test_no_pulse_leaves_what_a_servo_bears(actuator, asked, given_us):
    index = 0 if actuator is Actuator.STEERING else 1
    assert after(bench_for(actuator), (asked, asked), 400)[-1][index] == given_us


@pytest.mark.parametrize(
    ("wanted", "previous", "sent"),
    [
        (1510.0, 1500.0, 1510.0),
        (1511.0, 1500.0, 1510.0),
        (1489.0, 1500.0, 1490.0),
        (1530.0, 1520.0, 1530.0),
        (1531.0, 1520.0, 1530.0),
        (1460.0, 1470.0, 1460.0),
        (1459.0, 1470.0, 1460.0),
        (1501.0, 1600.0, 1501.0),  # toward rest
        (1480.0, 1600.0, 1490.0),  # through rest: grows from there
        (1520.0, 1400.0, 1510.0),
        (1500.0, 1600.0, 1500.0),
        (1512.0, 1500.0625, 1510.0625),
    ],
)
def test_growth_away_from_rest_alone_is_slewed(wanted, previous, sent):
    assert slewed_us(wanted, previous, 1500.0, 10.0) == sent


@given(
    actuator=st.sampled_from(Actuator),
    asked=st.lists(st.none() | st.tuples(st.floats(0, 3000), st.floats(0, 3000)), max_size=20),
)
@settings(deadline=None, derandomize=True, database=None)
def test_whatever_is_asked_the_motor_is_never_more_than_one_step_further_from_rest(actuator, asked):
    bench, before = bench_for(actuator), REST_US
    for tick, pulses in enumerate(asked):
        sent = bench.pulses_us(pulses, NOW_NS + tick * TICK_NS)
        for index, growth in enumerate((STEERING_GROWTH_US_PER_S, THROTTLE_GROWTH_US_PER_S)):
            was_us, is_us = abs(before[index] - REST_US[index]), abs(sent[index] - REST_US[index])
            assert is_us <= was_us + growth * TICK_NS / 1e9 + 1e-6
            assert math.isfinite(sent[index])
        before = sent


def test_what_was_prepared_and_where_the_board_rests_is_recalled_for_a_replay():
    prepared = Preparation(Actuator.STEERING, 1450.0, 1446.0, 5)
    bench = Bench()
    bench.recall(prepared, (1440.0, 1450.0))
    assert (bench.preparation, bench.rest_us) == (prepared, (1440.0, 1450.0))

    fresh = Bench()
    fresh.recall(None, (1440.0, 1450.0))
    assert (fresh.preparation, fresh.rest_us) == (None, (1440.0, 1450.0))
    fresh.recall(None, None)
    assert fresh.rest_us is None
