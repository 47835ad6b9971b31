"""Sightings become passes, passes become laps."""

import pytest

from vehicle.laps import LapBook, LineWatch, Pass, Sighting

FRAME_NS = 33_333_333
LINE_NS = 20_000_000_000


def approach(watch, *, line_ns=LINE_NS, speed_mps=2.0, first_m=2.0, last_m=-1.0, noise=lambda number: 0.0):
    """Show a passage picture by picture, and a second of nothing; return the passes that came of it."""
    found = []
    start_ns = line_ns - round(first_m / speed_mps * 1e9)
    count = round((first_m - last_m) / speed_mps * 1e9 / FRAME_NS)
    for number in range(count + 60):
        stamp_ns = start_ns + number * FRAME_NS + 7_000_000
        to_line_m = (line_ns - stamp_ns) / 1e9 * speed_mps
        seen = to_line_m >= last_m
        sighting = Sighting(stamp_ns, to_line_m + noise(number), -0.6, 50.0) if seen else None
        one = watch.look(stamp_ns, sighting)
        if one is not None:
            found.append(one)
    return found


@pytest.mark.parametrize("last_m", [-1.0, -0.2, 0.1, 0.6])
def test_a_pass_is_timed_between_pictures_also_where_the_marker_left_the_view_before(last_m):
    (one,) = approach(LineWatch(), last_m=last_m)

    assert one.at_ns == pytest.approx(LINE_NS, abs=100_000)
    assert one.speed_mps == pytest.approx(2.0, abs=0.01)


@pytest.mark.parametrize("speed_mps", [0.3, 1.0, 4.0, 8.0])
def test_scattered_sightings_move_a_pass_by_less_than_they_scatter(speed_mps):
    (one,) = approach(LineWatch(), speed_mps=speed_mps, noise=lambda number: 0.02 * (-1) ** number)

    assert abs(one.at_ns - LINE_NS) / 1e9 < 0.02 / speed_mps
    assert 0.0 < one.sigma_s < 0.03 / speed_mps


def test_one_wild_sighting_moves_nothing():
    (one,) = approach(LineWatch(), noise=lambda number: -0.2 if number == 28 else 0.0)

    assert one.at_ns == pytest.approx(LINE_NS, abs=1_000_000)


def test_a_car_that_turns_away_before_the_line_has_not_passed_it():
    watch = LineWatch()

    assert approach(watch, last_m=1.2) == []
    assert watch.untimed == 0


def test_a_car_that_stops_before_the_line_is_told_as_untimed():
    watch = LineWatch()
    stamps = [LINE_NS + number * FRAME_NS for number in range(120)]
    for number, stamp_ns in enumerate(stamps):
        assert watch.look(stamp_ns, Sighting(stamp_ns, max(0.3, 1.0 - number * 0.05), -0.6, 50.0)) is None
    for number in range(60):
        assert watch.look(stamps[-1] + number * FRAME_NS, None) is None

    assert watch.untimed == 1


def test_a_car_that_backs_off_has_not_passed_the_line():
    watch = LineWatch()
    for number in range(90):
        stamp_ns = LINE_NS + number * FRAME_NS
        assert watch.look(stamp_ns, Sighting(stamp_ns, 0.2 + number * 0.02, -0.6, 50.0)) is None
    assert all(watch.look(LINE_NS + number * FRAME_NS, None) is None for number in range(90, 150))


def test_a_marker_that_stays_in_view_behind_the_line_counts_once():
    watch = LineWatch()
    found = []
    for number in range(300):
        stamp_ns = LINE_NS + number * FRAME_NS
        seen = number % 3 != 0 and not 100 < number < 110  # flickers, then is gone for a third of a second
        to_line_m = max(-0.2, 1.0 - number * 0.05)
        one = watch.look(stamp_ns, Sighting(stamp_ns, to_line_m, -0.6, 50.0) if seen else None)
        found += [one] if one else []

    assert len(found) == 1


def test_a_marker_that_comes_into_view_behind_the_line_is_no_pass():
    assert approach(LineWatch(), first_m=-0.1, last_m=-0.9) == []


def passed(*times_s):
    book = LapBook()
    for time_s in times_s:
        book.add(Pass(round(time_s * 1e9), 2.0, 0.0, 0.003))
    return book


def test_laps_lie_between_passes():
    book = passed(10.0, 19.0, 27.5)

    assert [(lap.lap, lap.time_s, lap.missed) for lap in book.laps()] == [(1, 9.0, 0), (2, 8.5, 0)]


def test_a_pass_that_comes_too_soon_is_thrown_away_and_counted():
    book = passed(10.0, 10.4, 19.0, 20.9, 28.0)

    assert [lap.time_s for lap in book.laps()] == [9.0, 9.0]
    assert book.doubles == 2


@pytest.mark.parametrize(
    ("times_s", "missed"),
    [
        ((10, 19, 28, 46, 55), [0, 0, 1, 0]),
        ((10, 28, 37, 46), [1, 0, 0]),  # the first lap: known as soon as another was shorter
        ((10, 19, 46, 55), [0, 2, 0]),
        ((10, 19, 28, 42, 51), [0, 0, 0, 0]),  # half as long again: a slow lap
    ],
)
def test_a_lap_of_twice_the_usual_time_is_told_as_possibly_missed(times_s, missed):
    assert [lap.missed for lap in passed(*times_s).laps()] == missed
