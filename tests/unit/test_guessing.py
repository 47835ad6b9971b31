"""The brake on guessing: an address waits longer each time, a crowd cannot keep the owner out."""

import pytest

from webui.guessing import (
    ADDRESSES_KEPT,
    FORGIVEN_AFTER_S,
    FREE_FAILURES,
    LONGEST_WAIT_S,
    STRANGERS_FAILURES,
    STRANGERS_WINDOW_S,
    GuessLimiter,
)


class Clock:
    def __init__(self) -> None:
        self.now_s = 50.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def limiter(clock: Clock) -> GuessLimiter:
    return GuessLimiter(clock)


def fail_freely(limiter: GuessLimiter, address: str) -> None:
    for _ in range(FREE_FAILURES):
        assert limiter.begin(address) == 0.0


def test_a_few_mistakes_cost_nothing_and_then_each_costs_more(limiter: GuessLimiter, clock: Clock) -> None:
    fail_freely(limiter, "10.0.0.9")
    waits_s = []
    for _ in range(9):
        waits_s.append(limiter.begin("10.0.0.9"))
        clock.now_s += waits_s[-1]
        assert limiter.begin("10.0.0.9") == 0.0
    assert waits_s == pytest.approx([2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, LONGEST_WAIT_S])


def test_asking_while_waiting_makes_the_wait_no_longer(limiter: GuessLimiter, clock: Clock) -> None:
    fail_freely(limiter, "10.0.0.9")
    clock.now_s += 1.5
    assert [limiter.begin("10.0.0.9") for _ in range(10)] == pytest.approx([0.5] * 10)


def test_a_right_one_is_forgiven(limiter: GuessLimiter) -> None:
    for _ in range(3 * STRANGERS_FAILURES):
        assert limiter.begin("10.0.0.9") == 0.0
        limiter.succeeded("10.0.0.9")


def test_another_address_does_not_wait(limiter: GuessLimiter) -> None:
    fail_freely(limiter, "10.0.0.9")
    assert limiter.begin("10.0.0.9") > 0.0
    assert limiter.begin("10.0.0.10") == 0.0


def test_failures_are_forgotten_after_a_quiet_while(limiter: GuessLimiter, clock: Clock) -> None:
    fail_freely(limiter, "10.0.0.9")
    clock.now_s += FORGIVEN_AFTER_S + 1.0
    fail_freely(limiter, "10.0.0.9")


@pytest.mark.parametrize(
    ("first", "second"),
    [("fe80::1%wlan0", "fe80::2%eth0"), ("2001:db8::1", "2001:db8::ffff:1"), ("::ffff:10.0.0.9", "10.0.0.9")],
)
def test_what_one_computer_can_call_itself_is_one_guesser(
    limiter: GuessLimiter, first: str, second: str
) -> None:
    fail_freely(limiter, first)
    assert limiter.begin(second) > 0.0


def test_a_crowd_of_strangers_is_slowed_but_a_known_address_comes_in(
    limiter: GuessLimiter, clock: Clock
) -> None:
    limiter.begin("10.0.0.1")
    limiter.succeeded("10.0.0.1")
    for number in range(STRANGERS_FAILURES):
        assert limiter.begin(f"10.1.0.{number}") == 0.0

    assert limiter.begin("10.2.0.1") == pytest.approx(STRANGERS_WINDOW_S)
    assert limiter.begin("10.0.0.1") == 0.0
    clock.now_s += STRANGERS_WINDOW_S
    assert limiter.begin("10.2.0.1") == 0.0


def test_what_is_remembered_is_bounded(limiter: GuessLimiter, clock: Clock) -> None:
    for number in range(ADDRESSES_KEPT + 100):
        clock.now_s += STRANGERS_WINDOW_S
        limiter.begin(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
        limiter.succeeded(f"11.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert len(limiter._records) == ADDRESSES_KEPT
    assert len(limiter._known) == 64
