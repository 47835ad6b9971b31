"""The HIL camera exposes on its grid, hands over later, and breaks as it is told; in virtual time."""

import itertools
import struct

import cv2
import numpy as np
import pytest

from vehicle.hil.camera import HilCamera, encode
from vehicle.hil.faults import FaultSchedule, order_fault
from vehicle.hil.sensor import Reading
from vehicle.hil.settings import CameraSettings

MS = 1_000_000
START_NS = 1_000 * MS
PERIOD_NS = 10**9 / 30


def scene(frame_number: int, now_ns: int) -> np.ndarray:
    """Return a picture with something on its left, and its frame in its brightness."""
    image = np.full((24, 32, 3), 40 + frame_number % 100, np.uint8)
    image[:, :8] = 200
    return image


def pictures_of(frames: list[Reading]) -> list[np.ndarray]:
    return [cv2.imdecode(np.frombuffer(frame.content, np.uint8), cv2.IMREAD_COLOR) for frame in frames]


class Bench:
    def __init__(self, *orders: tuple, seed: int = 0, **settings) -> None:
        self.faults = FaultSchedule([order_fault(*order) for order in orders], start_ns=START_NS)
        self.faults.advance(START_NS)
        camera = CameraSettings(**{"encoding": "bmp", **settings})
        self.camera = HilCamera(camera, scene, self.faults, seed=seed, start_ns=START_NS)
        self.now_ns = START_NS

    def run(self, seconds: float) -> list[Reading]:
        """Let time pass event by event; return what was handed over, in order."""
        end_ns = self.now_ns + round(seconds * 1e9)
        frames = []
        while (due_ns := self.camera.next_event_ns()) < end_ns:
            self.faults.advance(due_ns)
            self.camera.expose(due_ns)
            frames += self.camera.hand_over(due_ns)
        self.now_ns = end_ns
        return frames


@pytest.mark.parametrize("fps", [15, 25, 29.9, 30, 60])
def test_frames_come_at_their_rate_after_their_delay_without_drifting(fps):
    frames = Bench(fps=fps, delay_s=0.025).run(60)

    for frame in frames:
        assert frame.stamp_ns == START_NS + round(frame.number * 1e9 / fps) + 25 * MS
    assert [frame.number for frame in frames] == list(range(len(frames)))
    assert abs(len(frames) - 60 * fps) < 3


def test_a_picture_shows_the_moment_of_its_exposure():
    frames = Bench(delay_s=0.2).run(2)

    assert [int(picture[0, 20, 0]) for picture in pictures_of(frames[:3])] == [40, 41, 42]


def test_drops_are_gaps_in_the_numbers_at_their_share():
    frames = Bench(drop_frac=0.3).run(100)

    assert 0.65 < len(frames) / 3000 < 0.75
    assert frames[-1].number > 2980


def test_jitter_stays_in_bounds_and_never_reorders():
    frames = Bench(fps=60, delay_s=0.02, jitter_s=0.018).run(20)
    delays = [frame.stamp_ns - START_NS - frame.number * 1e9 / 60 for frame in frames]

    assert 2 * MS - 1 <= min(delays) < 3 * MS
    assert 37 * MS < max(delays) < 39 * MS
    assert [frame.number for frame in frames] == sorted(frame.number for frame in frames)
    assert all(a.stamp_ns < b.stamp_ns for a, b in itertools.pairwise(frames))


@pytest.mark.parametrize("fault", ["off", "silent"])
def test_a_camera_that_is_off_hands_nothing_over_and_comes_back(fault):
    frames = Bench(("camera", fault, None, 1.0, 2.0)).run(3)
    numbers = [frame.number for frame in frames]

    assert not set(range(30, 60)) & set(numbers)
    assert {29, 60} <= set(numbers)


def test_a_stuck_camera_counts_on_with_one_picture():
    frames = Bench(("camera", "stuck", None, 1.0)).run(2)

    assert len({frame.content for frame in frames if frame.number < 30}) == 30
    assert len({frame.content for frame in frames if frame.number >= 30}) == 1
    assert frames[-1].number > 55


def test_garbage_is_no_picture():
    frames = Bench(("camera", "garbage"), encoding="jpeg").run(0.5)

    assert all(picture is None for picture in pictures_of(frames))


def test_wrong_is_mirrored():
    (picture, *_) = pictures_of(Bench(("camera", "wrong")).run(0.5))

    assert picture[0, 0, 0] == 40
    assert picture[0, -1, 0] == 200


def test_a_covered_lens_is_dark_and_never_the_same_twice():
    frames = Bench(("camera", "covered")).run(1)

    assert len({frame.content for frame in frames}) == len(frames)
    assert all(picture.max() < 8 for picture in pictures_of(frames))


def test_slow_keeps_an_even_share_of_the_frames():
    numbers = [frame.number for frame in Bench(("camera", "slow", 0.25)).run(10)]

    assert {b - a for a, b in itertools.pairwise(numbers)} == {4}


def test_intermittent_loses_its_share():
    assert 0.4 < len(Bench(("camera", "intermittent", 0.5)).run(30)) / 900 < 0.6


def test_delayed_frames_show_what_is_long_past():
    frames = Bench(("camera", "delayed", 0.3), delay_s=0.03).run(2)

    assert frames[0].stamp_ns == START_NS + 330 * MS
    assert pictures_of(frames)[0][0, 20, 0] == 40


def test_stamps_from_the_future_are_ahead_of_the_clock():
    frames = Bench(("camera", "future", 2.0), delay_s=0.03).run(0.5)

    assert frames[0].stamp_ns == START_NS + 2030 * MS


def test_a_fault_shifts_no_random_number_of_later_frames():
    noisy = {"jitter_s": 0.01, "drop_frac": 0.2, "seed": 9}
    healthy = {f.number: f.stamp_ns for f in Bench(**noisy).run(5)}
    broken = {f.number: f.stamp_ns for f in Bench(("camera", "silent", None, 1.0, 2.0), **noisy).run(5)}

    assert all(broken[number] == healthy[number] for number in broken)
    assert len(broken) < len(healthy)


def test_exposures_that_are_a_period_late_are_left_out():
    bench = Bench()
    bench.camera.skip(START_NS + round(3.5 * PERIOD_NS))

    assert bench.camera.expose(START_NS + round(3.5 * PERIOD_NS)) == 3
    assert bench.camera.next_exposure_ns == START_NS + round(4 * PERIOD_NS)


def test_an_unwatched_camera_renders_nothing_and_counts_on():
    bench = Bench()
    bench.camera.expose(START_NS, watched=False)

    assert next(frame.number for frame in bench.run(0.2)) == 1


def test_a_lossless_picture_is_the_picture():
    image = scene(3, 0)
    data = np.frombuffer(encode(image, CameraSettings(encoding="bmp")), np.uint8)

    assert np.array_equal(cv2.imdecode(data, cv2.IMREAD_COLOR), image)


TOLD = bytes.fromhex("4c574c3100000041ffffffff00000000")  # 8 ms, and the rest as it is


def brightness(bench: Bench) -> list[float]:
    """Return blue, green and red of the newest picture's right side, as shares of what was there."""
    frame = bench.run(0.1)[-1]
    seen = pictures_of([frame])[0][5, 20].astype(float)
    return [round(float(level) / (40 + frame.number % 100), 1) for level in seen]


def test_the_camera_obeys_the_controls_that_its_reader_sends():
    def told(exposure_ms: float, gain: int = -1, light_k: int = 0) -> bytes:
        return b"LWL1" + struct.pack("<fiI", exposure_ms, gain, light_k)

    bench = Bench(fps=30)
    assert brightness(bench) == [1.0, 1.0, 1.0]
    assert told(8.0) == TOLD
    bench.camera.control(TOLD)
    assert brightness(bench) == [1.0, 1.0, 1.0]  # what it chooses itself in this light
    bench.camera.control(told(16.0))
    assert brightness(bench) == [2.0, 2.0, 2.0]
    bench.camera.control(told(16.0, gain=16))
    assert brightness(bench) == [1.0, 1.0, 1.0]
    bench.camera.control(told(0.0, gain=64))  # a camera that chooses its exposure makes up for it
    assert brightness(bench) == [1.0, 1.0, 1.0]
    bench.camera.control(told(0.0, light_k=9000))
    blue, green, red = brightness(bench)
    assert blue < green < red
    bench.camera.control(told(100.0) + told(0.1) + told(0.0))  # the newest counts
    assert brightness(bench) == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    "garbage", [b"", b"LWL1", b"x" * 100, TOLD[:-1], b"LWL1" + struct.pack("<fiI", float("nan"), 0, 0)]
)
def test_garbage_controls_nothing(garbage):
    bench = Bench(fps=30)
    bench.camera.control(garbage)
    assert brightness(bench) == [1.0, 1.0, 1.0]
