"""The simulated camera: what it sees, that it never sees the same twice, and that sizes agree."""

import dataclasses
import math

import cv2
import numpy as np
import pytest

from models.observation import CameraObserver, ObservationFormat
from vehicle.hil.lens import CameraParameters, Lens, randomised_wide
from vehicle.hil.render import FULL_SIZE, POLICY_SIZE, make_renderer
from vehicle.hil.scenery import Scenery, draw_ground
from vehicle.hil.track import load_track

QUIET = CameraParameters(noise=1.0)
PLAIN = Scenery(grain=0.0, patches=0.0, shade=0.0, clutter=0)


@pytest.fixture(scope="module")
def track():
    return load_track("oval")


def test_pictures_have_the_camera_s_size_and_type(track) -> None:
    for size in (FULL_SIZE, POLICY_SIZE):
        picture = make_renderer(track, size=size).render(*track.pose_at(1.0), 0.0, 0)
        assert picture.shape == (size[1], size[0], 3)
        assert picture.dtype == np.uint8


def test_the_horizon_lies_where_a_camera_tilted_15_degrees_sees_it() -> None:
    lens = Lens(CameraParameters(), FULL_SIZE)
    focal_px = 320 / math.tan(1.13 / 2)

    assert lens.focal_px == pytest.approx(focal_px)
    assert lens.horizon_px == pytest.approx(240 - focal_px * math.tan(0.2618))


def test_the_middle_of_the_picture_looks_at_the_ground_straight_ahead() -> None:
    lens = Lens(CameraParameters(), FULL_SIZE)
    ahead, left = lens.ground[239:241, 319:321].mean(axis=(0, 1))

    assert ahead == pytest.approx(0.145 + 0.13 / math.tan(0.2618), rel=0.01)
    assert left == pytest.approx(0.0, abs=1e-3)
    assert lens.ground[300, 0, 1] > 0 > lens.ground[300, -1, 1]  # the left of the picture is the car's left


def test_a_line_on_the_left_appears_on_the_left(track) -> None:
    renderer = make_renderer(track, camera=QUIET, scenery=PLAIN, gray=True)
    x, y, heading = track.pose_at(1.0, 0.35)  # on the left border, looking along the straight
    near = renderer.render(x, y, heading, 0.0, 0)[90:].mean(axis=0)

    assert near[60:100].max() > 150  # the white line is in the middle
    x, y, heading = track.pose_at(1.0, 0.25)
    near = renderer.render(x, y, heading, 0.0, 0)[90:].mean(axis=0)
    assert near[:70].max() > near[90:].max()


@pytest.mark.parametrize("name", ["oval", "kidney", "random-4"])
def test_a_track_driven_backwards_lies_in_the_same_room(name: str) -> None:
    """Its borders change places; the road must not be painted over by what lies inside the larger one."""
    road, scenery = load_track(name), dataclasses.replace(PLAIN, dash_width_m=0.0)
    forwards, backwards = draw_ground(road, scenery, 50.0), draw_ground(road.reversed(), scenery, 50.0)
    difference = cv2.absdiff(forwards.image, backwards.image).max(axis=2)

    assert np.mean(difference > 8) < 1e-3  # a border's smooth edge depends a little on where it begins
    x, y, _ = road.pose_at(1.0)
    at = backwards.image[round((backwards.top_m - y) * 50), round((x - backwards.left_m) * 50)]
    assert np.abs(at - np.array(scenery.road)).max() <= 1.0


def test_turning_left_moves_the_wall_to_the_right(track) -> None:
    cluttered = dataclasses.replace(PLAIN, clutter=20)
    renderer = make_renderer(track, camera=QUIET, scenery=cluttered, gray=True)
    x, y, heading = track.pose_at(1.0)
    before, after = (
        renderer.render(x, y, heading + turn, 0.0, 0)[2:20].astype(float) for turn in (0.0, 0.12)
    )
    shift_px = round(0.12 * 160 / 2 / math.tan(1.13 / 2))

    moved = np.abs(after[:, shift_px:] - before[:, :-shift_px]).mean()
    wrong = np.abs(after[:, :-shift_px] - before[:, shift_px:]).mean()
    assert moved < 0.5 * wrong


@pytest.mark.parametrize("size", [FULL_SIZE, POLICY_SIZE])
def test_a_standing_camera_never_gives_the_same_picture_twice(track, size) -> None:
    renderer = make_renderer(track, camera=QUIET, size=size)
    pose = track.pose_at(2.0)
    pictures = {renderer.render(*pose, 0.0, number).tobytes() for number in range(40)}

    assert len(pictures) == 40


def test_the_same_frame_of_the_same_seed_is_the_same_to_the_bit(track) -> None:
    pose = track.pose_at(2.0)
    one, same, other = (make_renderer(track, seed=seed).render(*pose, 0.3, 17) for seed in (5, 5, 6))

    assert (one == same).all()
    assert (one != other).any()


def test_full_and_policy_size_agree_as_the_policy_sees_them(track) -> None:
    """Lockstep and training render small, the car's camera large: the network must not notice."""
    observer = CameraObserver(ObservationFormat(height_px=60, width_px=80))
    full, small = (make_renderer(track, camera=QUIET, size=size) for size in (FULL_SIZE, POLICY_SIZE))
    differences = []
    for s_m in np.arange(0.0, track.length_m, 1.7):
        pose = track.pose_at(float(s_m), 0.1)
        one, other = (observer.shrink(r.render(*pose, 0.0, 0)).astype(float) for r in (full, small))
        differences.append(np.abs(one - other).mean())

    print(f"mean difference {np.mean(differences):.2f}, worst picture {max(differences):.2f} grey levels")
    assert max(differences) < 4.0


def test_gray_pictures_are_the_coloured_ones_without_colour(track) -> None:
    pose = track.pose_at(4.0)
    coloured = make_renderer(track, camera=QUIET).render(*pose, 0.0, 0)
    gray = make_renderer(track, camera=QUIET, gray=True).render(*pose, 0.0, 0)

    assert np.abs(cv2.cvtColor(coloured, cv2.COLOR_BGR2GRAY).astype(float) - gray).mean() < 1.5


def test_exposure_and_gamma_change_the_brightness(track) -> None:
    pose = track.pose_at(4.0)

    def mean(**changes: float) -> float:
        camera = dataclasses.replace(QUIET, **changes)
        return float(make_renderer(track, camera=camera, gray=True).render(*pose, 0.0, 0).mean())

    plain = mean()
    assert mean(brightness=30.0) > plain + 20
    assert mean(gamma=1.5) < plain - 5
    assert mean(vignette=0.5) < plain - 5


def test_a_turning_car_smears_its_picture(track) -> None:
    renderer = make_renderer(track, camera=dataclasses.replace(QUIET, exposure_s=0.02), gray=True)
    still, turning = (renderer.render(*track.pose_at(4.0), rate, 0).astype(float) for rate in (0.0, 4.0))

    assert np.abs(np.diff(turning, axis=1)).mean() < 0.9 * np.abs(np.diff(still, axis=1)).mean()


def test_every_randomised_camera_and_room_can_be_drawn(track) -> None:
    rng = np.random.default_rng(0)
    for number in range(12):
        camera = CameraParameters().randomised(rng) if number % 2 else randomised_wide(rng)
        scenery = Scenery().randomised(rng)
        picture = make_renderer(track, camera=camera, scenery=scenery).render(
            *track.pose_at(number), 1.0, number
        )
        assert picture.std() > 2.0
        assert math.radians(55) < camera.fov_rad < math.radians(121)
