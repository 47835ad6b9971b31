"""The camera thread keeps the newest picture, and says in words when there is none."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from camera_parts import ScriptedSource, jpeg_of, picture

from models.observation import CameraObserver, ObservationFormat
from vehicle.camera import Camera, decode_jpeg, open_source, reduction
from vehicle.camera_source import Granted, RawFrame
from vehicle.config import CameraConfig
from vehicle.errors import CameraError
from vehicle.messages import CameraLocks, Frame

PATIENCE_S = 5.0


@contextmanager
def running(source: ScriptedSource, **options: Any) -> Iterator[Camera]:
    camera = Camera(source, **options)
    camera.start()
    try:
        yield camera
    finally:
        camera.stop()


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline_s, "waited too long"
        time.sleep(0.001)


def test_there_is_no_picture_before_the_first() -> None:
    with running(ScriptedSource()) as camera:
        assert camera.latest() is None
        assert not camera.wait_newer(-1, 0.0)
        assert not camera.lost
        assert camera.note == ""


def test_a_picture_is_decoded_with_its_number_stamp_and_jpeg() -> None:
    source = ScriptedSource()
    jpeg = jpeg_of(picture(100))
    with running(source) as camera:
        before_ns = time.monotonic_ns()
        source.put(7, jpeg, stamp_ns=before_ns)

        assert camera.wait_newer(6, PATIENCE_S)
        frame = camera.latest()

    assert frame is not None
    assert (frame.number, frame.stamp_ns, frame.jpeg) == (7, before_ns, jpeg)
    assert frame.ready_ns > before_ns
    assert frame.image.shape == (48, 64, 3)
    assert np.abs(frame.image.astype(int) - picture(100).astype(int)).max() < 6


def test_waiting_ends_with_the_first_newer_picture_and_not_with_an_older_one() -> None:
    source = ScriptedSource()
    with running(source) as camera:
        source.put(3, jpeg_of(picture()))
        assert camera.wait_newer(2, PATIENCE_S)
        assert not camera.wait_newer(3, 0.01)

        threading.Timer(0.02, lambda: source.put(4, jpeg_of(picture()))).start()
        assert camera.wait_newer(3, PATIENCE_S)


def test_only_the_newest_of_waiting_pictures_is_decoded() -> None:
    source = ScriptedSource()
    for number in range(10):
        source.put(number, jpeg_of(picture(number)))
    seen: list[int] = []
    with running(source, on_frame=lambda frame: seen.append(frame.number)) as camera:
        assert camera.wait_newer(8, PATIENCE_S)
        wait_until(lambda: bool(seen))

    assert seen == [9]
    assert camera.skipped_frames == 9


def test_every_frame_is_shown_to_whoever_listens() -> None:
    source, seen = ScriptedSource(), list[Frame]()
    with running(source, on_frame=seen.append) as camera:
        for number in range(3):
            source.put(number, jpeg_of(picture()))
            assert camera.wait_newer(number - 1, PATIENCE_S)
        wait_until(lambda: len(seen) == 3)

    assert seen[-1] is camera.latest()


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"\xff\xd8\xff\xd9",
        b"not a picture",
        bytes(range(256)) * 40,
        jpeg_of(picture())[:-300],
        jpeg_of(picture())[:-2] + bytes(30),
        b"\xff\xd8" + b"\x00" * 500 + b"\xff\xd9",
    ],
)
def test_garbage_is_counted_and_told_and_never_becomes_a_picture(garbage: bytes) -> None:
    source = ScriptedSource()
    with running(source) as camera:
        source.put(0, jpeg_of(picture()))
        assert camera.wait_newer(-1, PATIENCE_S)
        source.put(1, garbage)

        assert camera.await_number(1, PATIENCE_S)
        frame = camera.latest()
        assert frame is not None
        assert frame.number == 0
        assert camera.bad_frames == 1
        assert "1 pictures could not be decoded" in camera.note

        source.put(2, jpeg_of(picture()))
        assert camera.wait_newer(0, PATIENCE_S)


def test_padding_after_the_end_of_a_jpeg_is_allowed() -> None:
    assert decode_jpeg(jpeg_of(picture()) + b"\0" * 100) is not None


def test_pixels_from_the_source_are_taken_as_they_are() -> None:
    source = ScriptedSource()
    image = picture(3)
    with running(source) as camera:
        source.pictures.put(RawFrame(0, time.monotonic_ns(), image=image))
        assert camera.wait_newer(-1, PATIENCE_S)
        frame = camera.latest()

    assert frame is not None
    assert frame.image is image
    assert frame.jpeg == b""


def test_a_lost_source_is_told_and_opened_again_and_numbers_go_on() -> None:
    source = ScriptedSource()
    with running(source) as camera:
        for number in range(3):
            source.put(number, jpeg_of(picture()))
        assert camera.wait_newer(1, PATIENCE_S)

        source.open_errors.put(CameraError("still away"))
        source.pictures.put(CameraError("unplugged"))
        wait_until(lambda: camera.lost)
        assert camera.problem in {"unplugged", "still away"}
        assert camera.note == camera.problem
        wait_until(lambda: source.opened >= 3)
        assert camera.lost  # open is not enough: a picture must come

        source.put(0, jpeg_of(picture(50)))
        assert camera.wait_newer(2, PATIENCE_S)
        frame = camera.latest()

    assert frame is not None
    assert frame.number == 3
    assert source.closed == source.opened


def test_a_picture_after_a_loss_clears_the_problem() -> None:
    source = ScriptedSource()
    source.open_errors.put(CameraError("busy"))
    with running(source) as camera:
        wait_until(lambda: camera.lost)

        source.put(0, jpeg_of(picture()))
        assert camera.wait_newer(-1, PATIENCE_S)
        assert not camera.lost
        assert camera.note == ""


def test_numbers_that_go_on_after_opening_again_stay_the_sources_own() -> None:
    source = ScriptedSource()
    with running(source) as camera:
        source.put(5, jpeg_of(picture()))
        assert camera.wait_newer(4, PATIENCE_S)
        source.pictures.put(CameraError("unplugged"))
        source.put(90, jpeg_of(picture()))

        assert camera.wait_newer(89, PATIENCE_S)
        assert not camera.wait_newer(90, 0.0)


def test_a_silent_source_with_a_limit_is_opened_again() -> None:
    source = ScriptedSource()
    source.silence_limit_s = 0.05
    with running(source) as camera:
        wait_until(lambda: source.opened >= 2)
        assert "gave no picture for 0.05 s" in camera.problem


def test_a_source_without_a_limit_is_left_open_however_silent() -> None:
    source = ScriptedSource()
    with running(source) as camera:
        assert not camera.wait_newer(-1, 0.3)

        assert source.opened == 1
        assert not camera.lost


def test_delivering_less_than_eighty_percent_of_the_granted_rate_is_a_named_warning() -> None:
    for rate_hz, words in ((30.0, ""), (25.0, ""), (23.5, "slow camera: it delivers 23.5 of 30 pictures")):
        source = ScriptedSource(rate_hz=30.0)
        with running(source) as camera:
            for number in range(30):
                source.put(number, jpeg_of(picture()), stamp_ns=round(1e9 + number * 1e9 / rate_hz))
                assert camera.wait_newer(number - 1, PATIENCE_S)

            assert camera.measured_rate_hz == pytest.approx(rate_hz, rel=1e-6)
            assert camera.note.startswith(words)
            assert bool(camera.note) == bool(words)


def test_what_differs_from_the_wish_is_told() -> None:
    source = ScriptedSource()
    source.granted = Granted(15.0, note="the camera grants 15 of 30 pictures a second")
    with running(source) as camera:
        assert camera.rate_hz == 15.0
        assert camera.note == "the camera grants 15 of 30 pictures a second"


def test_in_lockstep_a_picture_is_ready_at_its_stamp() -> None:
    source = ScriptedSource()
    with running(source, ready_at_stamp=True) as camera:
        source.put(0, jpeg_of(picture()), stamp_ns=1_234)
        assert camera.wait_newer(-1, PATIENCE_S)
        frame = camera.latest()

    assert frame is not None
    assert frame.ready_ns == 1_234


def test_the_camera_thread_prepares_itself_before_it_opens_anything() -> None:
    source = ScriptedSource()
    seen: list[tuple[str, int]] = []
    with running(source, on_start=lambda: seen.append((threading.current_thread().name, source.opened))):
        wait_until(lambda: source.opened == 1)

    assert seen == [("camera", 0)]


def test_a_stopped_camera_is_closed_and_lost() -> None:
    source = ScriptedSource()
    with running(source) as camera:
        wait_until(lambda: source.opened == 1)

    assert source.closed == 1
    assert camera.lost


def test_a_camera_that_never_started_stops_quietly() -> None:
    Camera(ScriptedSource()).stop()


@pytest.mark.parametrize(("scale", "mean_limit", "max_limit"), [(2, 0.6, 6.0), (4, 1.0, 10.0)])
def test_decoding_at_a_fraction_of_the_size_changes_the_observation_little(
    scale: int, mean_limit: float, max_limit: float
) -> None:
    y, x = np.mgrid[0:480, 0:640]
    scene = np.stack([np.sin(x / 17) + np.cos(y / 23), np.sin(x / 9), np.cos((x + y) / 31)], axis=2)
    noise = np.random.default_rng(0).normal(0, 4, scene.shape)
    image = np.clip(scene * 45 + 128 + noise, 0, 255).astype(np.uint8)
    image[300:, 320:] = 20  # an edge
    jpeg = jpeg_of(image)
    full, small = decode_jpeg(jpeg), decode_jpeg(jpeg, scale)
    assert full is not None
    assert small is not None
    observer = CameraObserver(ObservationFormat())

    difference = np.abs(observer.observe(full).astype(float) - observer.observe(small).astype(float))

    assert small.shape == (480 // scale, 640 // scale, 3)
    assert difference.mean() <= mean_limit
    assert difference.max() <= max_limit


@pytest.mark.parametrize(
    ("full_px", "wanted_px", "scale"),
    [
        ((640, 480), None, 1),  # nobody has said how small
        ((640, 480), (160, 120), 4),
        ((640, 480), (80, 60), 4),  # the monitors want their share
        ((640, 480), (161, 120), 2),
        ((640, 480), (640, 480), 1),
        ((640, 480), (1080, 1080), 1),
        ((160, 120), (80, 60), 1),  # lockstep and training: as it is
        ((1280, 720), (160, 120), 4),
        ((1920, 1080), (160, 120), 8),
        ((1279, 959), (160, 120), 4),  # 8 would leave 159
        ((0, 0), (160, 120), 1),
    ],
)
def test_a_picture_is_reduced_as_far_as_the_policy_and_the_monitors_allow(full_px, wanted_px, scale) -> None:
    assert reduction(full_px, wanted_px) == scale


def test_once_fitted_the_camera_decodes_small_and_keeps_the_whole_jpeg() -> None:
    source = ScriptedSource()
    jpeg = jpeg_of(picture(height=480, width=640))
    with running(source, decode_scale=None) as camera:
        source.put(0, jpeg)
        wait_until(lambda: camera.latest() is not None)
        assert camera.latest().image.shape == (480, 640, 3)
        camera.fit(160, 120)
        source.put(1, jpeg)
        assert camera.wait_newer(0, 5.0)
        assert camera.latest().image.shape == (120, 160, 3)
        assert camera.latest().jpeg == jpeg
        source.put(2, jpeg_of(picture(height=240, width=320)))  # a camera of another size was plugged in
        source.put(3, jpeg_of(picture(height=240, width=320)))
        assert camera.wait_newer(2, 5.0)
        source.put(4, jpeg_of(picture(height=240, width=320)))
        assert camera.wait_newer(3, 5.0)
        assert camera.latest().image.shape == (120, 160, 3)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("", "camera.source is ''; allowed is v4l2:DEVICE, hil:SOCKET"),
        ("0", "camera.source is '0'"),
        ("hil:", "camera.source is 'hil:'"),
        ("ftp://x", "camera.source is 'ftp://x'"),
        ("http:x", "camera.source is 'http:x'"),
    ],
)
def test_a_source_that_is_none_is_refused_with_what_is_allowed(spec: str, words: str) -> None:
    with pytest.raises(CameraError) as caught:
        open_source(spec, CameraConfig())

    assert str(caught.value).startswith(words)


@pytest.mark.parametrize(
    ("spec", "description", "is_static"),
    [
        ("hil:/tmp/x/camera.sock", "HIL camera at /tmp/x/camera.sock", False),
        ("video:/tmp/a b.mp4", "video /tmp/a b.mp4", True),
        ("images:/tmp/pictures", "pictures in /tmp/pictures", True),
        ("http://cam.local:8080/?action=stream", "stream http://cam.local:8080/?action=stream", False),
        ("v4l2:3", "camera /dev/video3", False),
        ("v4l2:/dev/v4l/by-id/usb-x:1", "camera /dev/v4l/by-id/usb-x:1", False),
    ],
)
def test_a_source_is_named_and_not_opened(spec: str, description: str, is_static: bool) -> None:
    source = open_source(spec, CameraConfig())

    assert source.description == description
    assert source.is_static is is_static
    assert source.granted.rate_hz == 30.0


def test_a_static_source_says_so_through_the_camera(tmp_path: Path) -> None:
    assert Camera(open_source(f"images:{tmp_path}", CameraConfig())).is_static


class Tunable(ScriptedSource):
    """Writes down what it is to keep, and in which thread it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.tuned: list[tuple[CameraLocks, str]] = []

    def tune(self, locks: CameraLocks) -> None:
        self.tuned.append((locks, threading.current_thread().name))


def test_a_camera_is_tuned_in_its_own_thread_by_the_newest_wish() -> None:
    source = Tunable()
    first, last = CameraLocks(gain=1), CameraLocks(gain=2)
    camera = Camera(source)
    camera.tune(CameraLocks(gain=0))
    camera.tune(first)  # both before it is open: the newest counts
    camera.start()
    try:
        wait_until(lambda: bool(source.tuned))
        camera.tune(last)
        wait_until(lambda: len(source.tuned) == 2)
        source.put(3, jpeg_of(picture()))
        assert camera.wait_newer(2, PATIENCE_S)
    finally:
        camera.stop()
    assert source.tuned == [(first, "camera"), (last, "camera")]
    assert camera.note == "the camera was stopped"


def test_a_source_that_cannot_be_tuned_says_so() -> None:
    with running(ScriptedSource()) as camera:
        assert camera.note == ""
        camera.tune(CameraLocks(gain=1))
        assert "cannot be set" in camera.note
