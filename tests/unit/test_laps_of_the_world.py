"""Which of the world's laps belong to a drive: those that began in it."""

import pytest

from tests.unit.run_files import LAP_S, START_NS, ring
from vehicle.run_summary import RunSummary
from vehicle.run_tally import RunTally
from vehicle.truth import laps_begun_since

CROSSED_3 = ring(3.5 * LAP_S, 3)  # the first of three laps began at START_NS


@pytest.mark.parametrize(
    ("begun_laps", "kept"), [(-1.0, [1, 2, 3]), (0.0, [1, 2, 3]), (0.1, [2, 3]), (1.9, [3]), (2.1, [])]
)
def test_a_lap_that_the_car_was_in_before_does_not_count(begun_laps: float, kept: list[int]) -> None:
    begun_ns = START_NS + round(begun_laps * LAP_S * 1e9)
    assert [lap.lap for lap in laps_begun_since(CROSSED_3, begun_ns)] == kept


def tally_of_a_run(started_ns: int) -> RunTally:
    return RunTally(RunSummary(name="a", started_wall_ns=0, boot_id="", started_ns=started_ns))


def test_a_recorded_run_has_no_lap_that_is_longer_than_itself() -> None:
    tally = tally_of_a_run(START_NS + round(2.5 * LAP_S * 1e9))
    assert tally.truth(CROSSED_3) == ()
    assert tally.truth(ring(4.5 * LAP_S, 4)) == (LAP_S,)
    assert tally_of_a_run(0).truth(CROSSED_3) == ()  # before its first tick
