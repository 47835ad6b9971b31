"""How long and how often `lapwing bench` measures."""

import enum

import msgspec

RATE_HZ = 30.0
SETTLE_S = 1.0


class Length(enum.StrEnum):
    """How long to measure."""

    QUICK = "quick"
    NORMAL = "normal"
    LONG = "long"


class Plan(msgspec.Struct, frozen=True):
    """How long and how often."""

    timing_s: float
    missed_s: float
    trials: int
    environment_s: float
    lockstep_s: float
    inferences: int
    """Of each way to run a network, one a control period."""
    taps: int
    """Of the page's emergency stop."""
    marker_laps: int
    """Timed by the start marker, in each kind of light."""
    run_s: float
    """Length of the recorded run that is opened on the page."""


PLANS = {
    Length.QUICK: Plan(
        timing_s=5.0,
        missed_s=10.0,
        trials=1,
        environment_s=3.0,
        lockstep_s=10.0,
        inferences=40,
        taps=5,
        marker_laps=1,
        run_s=720.0,
    ),
    Length.NORMAL: Plan(
        timing_s=20.0,
        missed_s=60.0,
        trials=3,
        environment_s=10.0,
        lockstep_s=30.0,
        inferences=150,
        taps=200,
        marker_laps=6,
        run_s=7200.0,
    ),
    Length.LONG: Plan(
        timing_s=60.0,
        missed_s=600.0,
        trials=10,
        environment_s=30.0,
        lockstep_s=120.0,
        inferences=1000,
        taps=500,
        marker_laps=30,
        run_s=7200.0,
    ),
}
