"""Tracks: the lines that are drawn, the files that are read, and where a point lies on them."""

import math
from pathlib import Path

import numpy as np
import pytest

from vehicle.errors import HilError
from vehicle.hil.track import REVERSED, TRACKS, Track, TrackSet, load_track


@pytest.fixture(scope="module", params=TRACKS)
def track(request: pytest.FixtureRequest) -> Track:
    return load_track(request.param)


def test_our_tracks_have_the_size_of_real_ones(track: Track) -> None:
    assert 14.0 <= track.length_m <= 30.0
    assert track.half_width_m.min() >= 0.3
    assert track.half_width_m.max() <= 0.555


def test_our_tracks_are_closed_and_evenly_sampled(track: Track) -> None:
    gaps = np.hypot(*(np.roll(track.center, -1, axis=0) - track.center).T)

    assert gaps.max() < 1.1 * gaps.mean()
    assert track.length_m == pytest.approx(gaps.sum())


def test_a_car_can_turn_every_corner_of_our_tracks(track: Track) -> None:
    tightest_m = 1 / np.abs(track.curvature_per_m).max()

    assert tightest_m > 0.45  # full lock turns on 0.29 m
    assert (tightest_m > track.half_width_m.max()).all()  # else the inner border folds over


def test_no_part_of_our_tracks_touches_another(track: Track) -> None:
    points = track.center[::4]
    s_m = track.s_m[::4]
    apart = np.abs(s_m[:, None] - s_m[None, :])
    far = np.minimum(apart, track.length_m - apart) > 2.2
    between = np.hypot(*(points[:, None] - points[None, :]).transpose(2, 0, 1))

    assert between[far].min() > 2 * track.half_width_m.max() + 0.2


def test_curvature_adds_up_to_one_turn(track: Track) -> None:
    total = float((track.curvature_per_m * track.length_m / len(track.center)).sum())

    assert abs(total) == pytest.approx(2 * math.pi, rel=0.02)


def test_projection_finds_the_pose_it_was_made_from(track: Track) -> None:
    for s_m in np.linspace(0, track.length_m, 23, endpoint=False):
        x, y, heading = track.pose_at(float(s_m), 0.1)
        place = track.project(x, y)

        assert (place.s_m - s_m + 1) % track.length_m == pytest.approx(1, abs=0.02)
        assert place.offset_m == pytest.approx(0.1, abs=0.01)
        assert math.cos(place.heading_rad - heading) > 0.999


def test_a_hint_keeps_the_projection_on_its_own_part_of_the_track() -> None:
    track = load_track("hairpins")
    x, y, _ = track.pose_at(0.0)
    opposite = track.project(x, y + 1.3)  # nearer to the next straight
    here = track.project(x, y).nearest

    assert abs(track.project(x, y + 1.3, here).nearest - here) < 50
    assert abs(opposite.nearest - here) > 50


def test_many_cars_are_projected_like_one() -> None:
    tracks = [load_track("oval"), load_track("wide"), load_track("ell" + REVERSED)]
    together = TrackSet(tracks)
    rng = np.random.default_rng(0)
    which = rng.integers(0, 3, 40)
    poses = [tracks[k].pose_at(float(rng.uniform(0, 30)), float(rng.uniform(-0.3, 0.3))) for k in which]
    x, y = (np.array([pose[axis] for pose in poses]) for axis in (0, 1))
    single = [tracks[k].project(px, py) for k, px, py in zip(which, x, y, strict=True)]

    hints = np.array([place.nearest + 5 for place in single]) % together.counts[which]
    index, s_m, offset_m = together.project(which, x, y, hints)

    assert index.tolist() == [place.nearest for place in single]
    assert s_m == pytest.approx([place.s_m for place in single])
    assert offset_m == pytest.approx([place.offset_m for place in single])


def test_a_reversed_track_starts_at_the_same_line_and_goes_the_other_way() -> None:
    track = load_track("chicane")
    backwards = load_track("chicane" + REVERSED)

    assert backwards.center[0] == pytest.approx(track.center[0])
    assert math.cos(backwards.heading_rad[0] - track.heading_rad[0]) == pytest.approx(-1, abs=1e-3)
    assert backwards.reversed().name == "chicane"
    assert backwards.project(*track.pose_at(3.0, 0.2)[:2]).offset_m == pytest.approx(-0.2, abs=0.01)


def test_a_random_track_depends_on_its_number_alone() -> None:
    assert (load_track("random-4").center == load_track("random-4").center).all()
    assert load_track("random-4").length_m != load_track("random-5").length_m


def route(rows: int = 60, radius_m: float = 2.0, width_m: float = 0.8) -> np.ndarray:
    angle = np.linspace(0, 2 * math.pi, rows)  # the last row is the first again, as in DeepRacer's files
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return np.hstack(
        [radius_m * circle, (radius_m - width_m / 2) * circle, (radius_m + width_m / 2) * circle]
    )


def saved(tmp_path: Path, rows: np.ndarray) -> Path:
    path = tmp_path / "route.npy"
    np.save(path, rows)
    return path


def test_a_route_file_becomes_a_track_of_its_length_and_width(tmp_path: Path) -> None:
    path = saved(tmp_path, route())
    track = load_track(path)

    assert track.name == "route"
    assert track.source == str(path)
    assert track.length_m == pytest.approx(4 * math.pi, rel=0.005)
    assert track.half_width_m == pytest.approx(0.4, abs=0.01)
    assert track.curvature_per_m == pytest.approx(0.5, rel=0.1)


def test_repeated_points_of_a_route_are_dropped(tmp_path: Path) -> None:
    rows = route()
    twice = np.repeat(rows, [1 + (k % 7 == 3) for k in range(len(rows))], axis=0)

    assert load_track(saved(tmp_path, twice)).center == pytest.approx(
        load_track(saved(tmp_path, rows)).center
    )


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        (np.zeros((40, 5)), r"shape \(40, 5\)"),
        (np.zeros(60), r"shape \(60,\)"),
        (np.array([["a"] * 6] * 20), r"shape \(20, 6\)"),
        (np.full((40, 6), np.nan), "not finite"),
        (np.zeros((40, 6)), "0 different points"),
        (route(5), "4 different points"),
        (1000 * route(), "is it in metres"),
        (route(width_m=0.05), "0.05 m wide"),
    ],
)
def test_a_file_that_is_no_route_is_refused_in_words(tmp_path: Path, rows: np.ndarray, problem: str) -> None:
    with pytest.raises(HilError, match=problem):
        load_track(saved(tmp_path, rows))


def test_a_file_that_is_no_array_is_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "track.npy"
    path.write_bytes(b"no array")
    with pytest.raises(HilError, match=r"track\.npy is not a NumPy route file"):
        load_track(path)
    with pytest.raises(HilError, match="no route file"):
        load_track(tmp_path / "absent.npy")
    with pytest.raises(HilError, match="ours are oval, "):
        load_track("monza")
