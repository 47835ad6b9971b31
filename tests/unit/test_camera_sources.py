"""Each kind of source gives pictures, or says in words why not."""

import os
import select
import shutil
import socket
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from camera_parts import hil_frame, jpeg_of, picture

from vehicle.camera import Camera, decode_jpeg
from vehicle.camera_hil import MAX_JPEG_BYTES, HilCamera, split_frames
from vehicle.camera_http import HttpCamera
from vehicle.camera_recording import ImageFolder, Pace, VideoFile
from vehicle.camera_source import RawFrame
from vehicle.camera_v4l2 import V4l2Camera, device_path
from vehicle.errors import CameraError
from vehicle.messages import CameraLocks

linuxpy_device = pytest.importorskip("linuxpy.video.device")

PATIENCE_S = 5.0


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path: a Unix socket's may have 107 bytes at most."""
    path = Path(tempfile.mkdtemp(prefix="lw", dir="/tmp"))
    yield path
    shutil.rmtree(path)


# --- the HIL camera's bytes


STREAM = hil_frame(0, 10, b"one") + hil_frame(1, 20, b"") + hil_frame(2**40, -5, b"three")


def facts(frames: list[RawFrame]) -> list[tuple[int, int, bytes]]:
    return [(frame.number, frame.stamp_ns, frame.jpeg) for frame in frames]


def test_bytes_of_the_hil_camera_are_split_into_frames() -> None:
    literal = bytes.fromhex("4c57463103000000070000000000000000ca9a3b00000000") + b"abc"

    assert facts(split_frames(literal)[0]) == [(7, 1_000_000_000, b"abc")]
    assert facts(split_frames(STREAM)[0]) == [(0, 10, b"one"), (1, 20, b""), (2**40, -5, b"three")]


@pytest.mark.parametrize("step", [1, 2, 7, 24, 25])
def test_frames_that_arrive_in_pieces_are_the_same(step: int) -> None:
    frames: list[RawFrame] = []
    tail = b""
    for start in range(0, len(STREAM), step):
        more, tail = split_frames(tail + STREAM[start : start + step])
        frames += more

    assert facts(frames) == facts(split_frames(STREAM)[0])
    assert tail == b""


def test_a_wrong_magic_and_an_absurd_length_are_refused() -> None:
    with pytest.raises(CameraError, match="both sides must be of one version"):
        split_frames(hil_frame(0, 0, b"x", magic=b"LWF2"))
    with pytest.raises(CameraError, match="a length of"):
        split_frames(hil_frame(0, 0, b"")[:4] + (MAX_JPEG_BYTES + 1).to_bytes(4, "little") + bytes(16))


@pytest.fixture
def world(folder: Path) -> Iterator[socket.socket]:
    """The listening end of a HIL camera."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(str(folder / "camera.sock"))
        server.listen()
        server.settimeout(PATIENCE_S)
        yield server


def test_the_hil_camera_reads_what_the_world_sends(world: socket.socket, folder: Path) -> None:
    source = HilCamera(folder / "camera.sock", 30.0)
    source.open()
    sender, _ = world.accept()
    with sender:
        assert source.read(0.0) is None
        sender.sendall(STREAM)

        assert facts([frame for _ in range(3) if (frame := source.read(PATIENCE_S))]) == facts(
            split_frames(STREAM)[0]
        )
        assert source.read(0.01) is None
    with pytest.raises(CameraError, match="closed; start the HIL world again"):
        source.read(PATIENCE_S)
    source.close()
    source.close()


def test_no_world_is_told_with_what_to_do(folder: Path) -> None:
    with pytest.raises(CameraError, match=r"no HIL camera at .*start the HIL world"):
        HilCamera(folder / "camera.sock", 30.0).open()


def test_reading_a_source_that_is_not_open_is_an_error_in_words(folder: Path) -> None:
    sources = (
        HilCamera(folder / "camera.sock", 30.0),
        VideoFile(folder / "a.avi", 30.0),
        HttpCamera("http://127.0.0.1:9/", 30.0),
        V4l2Camera("/dev/null", width_px=640, height_px=480, rate_hz=30.0, power_line_hz=50),
    )
    for source in sources:
        with pytest.raises(CameraError, match="is not open; open it before reading"):
            source.read(0.0)
        source.close()


def test_a_world_that_comes_back_is_found_again_and_numbers_go_on(world: socket.socket, folder: Path) -> None:
    camera = Camera(HilCamera(folder / "camera.sock", 30.0))
    camera.start()
    jpeg = jpeg_of(picture())
    try:
        first, _ = world.accept()
        with first:
            first.sendall(hil_frame(0, 1, jpeg) + hil_frame(1, 2, jpeg))
            assert camera.wait_newer(0, PATIENCE_S)
            assert select.select([camera.bell], [], [], PATIENCE_S)[0]
        second, _ = world.accept()
        with second:
            second.sendall(hil_frame(0, 3, jpeg))

            assert camera.wait_newer(1, PATIENCE_S)
            frame = camera.latest()
            assert frame is not None
            assert (frame.number, frame.stamp_ns) == (2, 3)
            assert not camera.lost
    finally:
        camera.stop()


# --- files


def test_a_folder_of_pictures_is_read_in_order_and_over_again(folder: Path) -> None:
    for name, level in (("b.png", 100), ("a.jpg", 50), ("notes.txt", 0)):
        data = (
            jpeg_of(picture(level)) if name != "b.png" else cv2.imencode(".png", picture(level))[1].tobytes()
        )
        (folder / name).write_bytes(data)
    source = ImageFolder(folder, rate_hz=1000.0)
    source.open()

    frames = [frame for _ in range(3) if (frame := source.read(PATIENCE_S))]

    assert [frame.number for frame in frames] == [0, 1, 2]
    assert frames[0].jpeg == frames[2].jpeg == jpeg_of(picture(50))
    assert frames[1].jpeg == b""
    assert frames[1].image is not None
    assert np.array_equal(frames[1].image, picture(100))
    assert source.is_static


def test_a_folder_that_is_missing_or_empty_is_refused_in_words(folder: Path) -> None:
    with pytest.raises(CameraError, match="has no pictures; put files ending in"):
        ImageFolder(folder, 30.0).open()
    with pytest.raises(CameraError, match=r"cannot be read \(No such file"):
        ImageFolder(folder / "nowhere", 30.0).open()


def test_a_picture_file_that_is_none_is_a_bad_frame_and_not_an_error(folder: Path) -> None:
    for name in ("a.jpg", "b.png", "c.png"):
        (folder / name).write_bytes(b"" if name == "c.png" else b"nonsense")
    camera = Camera(ImageFolder(folder, rate_hz=1000.0))
    camera.start()
    try:
        assert camera.await_number(5, PATIENCE_S)
        assert camera.latest() is None
        assert camera.bad_frames + camera.skipped_frames >= 6
    finally:
        camera.stop()


def test_pictures_come_at_their_pace_and_a_late_reader_skips_nothing_but_time() -> None:
    pace = Pace(rate_hz=50.0)
    start_s = time.monotonic()

    assert pace.wait(PATIENCE_S)
    assert not pace.wait(0.0)
    assert pace.wait(PATIENCE_S)
    assert pace.wait(PATIENCE_S)

    assert time.monotonic() - start_s >= 0.04


def write_video(path: Path, levels: range, rate_hz: float = 100.0) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), rate_hz, (64, 48))
    assert writer.isOpened()
    for level in levels:
        writer.write(picture(level))
    writer.release()


def test_a_video_is_played_once_at_its_own_rate_and_then_ends(folder: Path) -> None:
    write_video(folder / "drive.avi", range(10, 210, 50))
    source = VideoFile(folder / "drive.avi", rate_hz=30.0)
    source.open()
    assert (source.granted.rate_hz, source.granted.width_px, source.granted.height_px) == (100.0, 64, 48)

    frames = [frame for _ in range(4) if (frame := source.read(PATIENCE_S))]

    assert [frame.number for frame in frames] == [0, 1, 2, 3]
    means = [float(frame.image.mean()) for frame in frames if frame.image is not None]
    assert np.allclose(means, [picture(level).mean() for level in range(10, 210, 50)], atol=4)
    assert source.is_static
    with pytest.raises(CameraError, match=r"drive\.avi has ended after 4 pictures"):
        source.read(PATIENCE_S)
    source.close()
    source.open()
    again = source.read(PATIENCE_S)
    assert again is not None
    assert again.number == 0
    source.close()


def test_a_video_that_is_missing_or_none_is_refused_in_words(folder: Path) -> None:
    with pytest.raises(CameraError, match=r"does not exist; check camera\.source"):
        VideoFile(folder / "nowhere.avi", 30.0).open()
    (folder / "text.avi").write_text("hello", encoding="utf-8")
    with pytest.raises(CameraError, match="is not a video that OpenCV can read"):
        VideoFile(folder / "text.avi", 30.0).open()


# --- http


class MjpegServer:
    """A loopback MJPEG stream that a test can pause and cut off."""

    def __init__(self) -> None:
        self.flowing = threading.Event()
        self.flowing.set()
        self.ending = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                level = 0
                while not outer.ending.is_set():
                    if not outer.flowing.wait(0.01):
                        continue
                    jpeg = jpeg_of(picture(level % 150))
                    head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                    try:
                        self.wfile.write(head.encode() + jpeg + b"\r\n")
                    except OSError:
                        return
                    level += 10
                    outer.ending.wait(0.02)

            def log_message(self, *arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_port}/stream.mjpg"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self) -> None:
        self.ending.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def stream() -> Iterator[MjpegServer]:
    server = MjpegServer()
    yield server
    server.close()


def read_to_the_end(source: HttpCamera) -> None:
    while True:
        source.read(PATIENCE_S)


def test_an_http_stream_gives_pictures_and_a_stalled_one_is_lost_within_its_time_out(
    stream: MjpegServer,
) -> None:
    source = HttpCamera(stream.address, rate_hz=50.0)
    source.open()
    frames = [frame for _ in range(5) if (frame := source.read(PATIENCE_S))]

    assert [frame.number for frame in frames] == [0, 1, 2, 3, 4]
    assert frames[0].image is not None
    assert frames[0].image.shape == (48, 64, 3)
    assert source.read(0.0) is None
    assert not source.is_static

    stream.flowing.clear()
    start_s = time.monotonic()
    with pytest.raises(CameraError, match="stopped; check the camera and the network"):
        read_to_the_end(source)
    assert time.monotonic() - start_s < 3.0
    source.close()


def test_an_http_stream_that_is_not_there_is_refused_in_words(stream: MjpegServer) -> None:
    stream.close()

    with pytest.raises(CameraError, match="no MJPEG stream at http://127"):
        HttpCamera(stream.address, 30.0).open()


# --- a device of this computer


class FakeVideoDevice:
    """What linuxpy would talk to, in place of its Device and VideoCapture."""

    def __init__(self) -> None:
        self._read_end, self._write_end = os.pipe()
        self.pixel_format = linuxpy_device.PixelFormat.MJPEG
        self.size = (640, 480)
        self.rate_hz = 30.0
        self.asked: dict[str, object] = {}
        self.controls: dict[int, SimpleNamespace] = {
            linuxpy_device.ControlID.EXPOSURE_AUTO_PRIORITY: SimpleNamespace(value=1),
            linuxpy_device.ControlID.POWER_LINE_FREQUENCY: SimpleNamespace(value=9),
        }
        self.waiting: deque[tuple[bytes, int, int, int]] = deque()
        self.unplugged = False
        self.closed = 0
        self.buffer = self  # linuxpy's stream keeps its buffers there

    def opened(self, path: str) -> tuple["FakeVideoDevice", "FakeVideoDevice"]:
        self.asked["path"] = path
        return self, self

    def deliver(self, jpeg: bytes, sequence: int, stamp_ns: int, flags: int = 0) -> None:
        self.waiting.append((jpeg, sequence, stamp_ns, flags))
        os.write(self._write_end, b".")

    def unplug(self) -> None:
        self.unplugged = True
        os.write(self._write_end, b".")

    def fileno(self) -> int:
        return self._read_end

    def set_format(self, width: int, height: int, pixel_format: str) -> None:
        self.asked["format"] = (width, height, pixel_format)

    def get_format(self) -> SimpleNamespace:
        return SimpleNamespace(width=self.size[0], height=self.size[1], pixel_format=self.pixel_format)

    def set_fps(self, rate_hz: float) -> None:
        self.asked["rate_hz"] = rate_hz

    def get_fps(self) -> float:
        return self.rate_hz

    def open(self) -> None:
        self.asked["streaming"] = True

    def raw_grab(self, into: bytearray) -> tuple[memoryview, SimpleNamespace]:
        if self.unplugged:
            raise OSError(19, "No such device")
        os.read(self._read_end, 1)
        jpeg, sequence, stamp_ns, flags = self.waiting.popleft()
        into[: len(jpeg)] = jpeg
        stamp = SimpleNamespace(secs=stamp_ns // 10**9, usecs=stamp_ns % 10**9 // 1000)
        return memoryview(into)[: len(jpeg)], SimpleNamespace(sequence=sequence, timestamp=stamp, flags=flags)

    def close(self) -> None:
        self.closed += 1
        if self.unplugged:
            raise OSError(19, "No such device")

    def destroy(self) -> None:
        os.close(self._read_end)
        os.close(self._write_end)


@pytest.fixture
def device() -> Iterator[FakeVideoDevice]:
    fake = FakeVideoDevice()
    yield fake
    fake.destroy()


def v4l2(device: FakeVideoDevice, **wishes: Any) -> V4l2Camera:
    return V4l2Camera(
        "/dev/video0",
        width_px=640,
        height_px=480,
        rate_hz=30.0,
        power_line_hz=60,
        open_device=device.opened,
        **wishes,
    )


def test_a_device_is_asked_for_mjpeg_a_fixed_rate_and_no_flicker(device: FakeVideoDevice) -> None:
    source = v4l2(device)
    source.open()

    assert device.asked == {
        "path": "/dev/video0",
        "format": (640, 480, "MJPG"),
        "rate_hz": 30.0,
        "streaming": True,
    }
    assert device.controls[linuxpy_device.ControlID.EXPOSURE_AUTO_PRIORITY].value == 0
    assert device.controls[linuxpy_device.ControlID.POWER_LINE_FREQUENCY].value == 2
    assert source.granted.note == ""
    source.close()
    assert device.closed == 2


def test_what_a_device_grants_is_told(device: FakeVideoDevice) -> None:
    device.size, device.rate_hz = (1280, 720), 10.0
    device.controls.clear()
    source = v4l2(device)
    source.open()

    assert (source.granted.width_px, source.granted.height_px, source.granted.rate_hz) == (1280, 720, 10.0)
    assert source.granted.note == (
        "the camera grants 10 of 30 pictures a second; the camera gives 1280 x 720 instead of 640 x 480; "
        "the camera has no control for: fixed frame rate in dim light; "
        "the camera has no control for: power line 60 Hz"
    )


def lockable(device: FakeVideoDevice) -> dict[str, SimpleNamespace]:
    """Give the device the controls of a UVC camera, as somebody else has left them."""
    left = {
        "EXPOSURE_AUTO": 1,
        "EXPOSURE_ABSOLUTE": 5000,
        "GAIN": 9,
        "AUTO_WHITE_BALANCE": 0,
        "WHITE_BALANCE_TEMPERATURE": 2800,
    }
    controls = {name: SimpleNamespace(value=value) for name, value in left.items()}
    device.controls |= {linuxpy_device.ControlID[name]: control for name, control in controls.items()}
    return controls


def test_what_is_locked_is_set_and_what_is_not_the_camera_chooses_again(device: FakeVideoDevice) -> None:
    controls = lockable(device)
    v4l2(device).open()
    assert controls["EXPOSURE_AUTO"].value == 3
    assert controls["AUTO_WHITE_BALANCE"].value == 1
    assert controls["GAIN"].value == 9

    source = v4l2(device, locks=CameraLocks(8.5, 40, 4500))
    source.open()

    values = {name: control.value for name, control in controls.items()}
    assert values == {
        "EXPOSURE_AUTO": 1,
        "EXPOSURE_ABSOLUTE": 85,
        "GAIN": 40,
        "AUTO_WHITE_BALANCE": 0,
        "WHITE_BALANCE_TEMPERATURE": 4500,
    }
    assert source.granted.note == ""


def test_what_a_camera_cannot_lock_is_said(device: FakeVideoDevice) -> None:
    source = v4l2(device, locks=CameraLocks(8.5, 40, 4500))

    source.open()

    unlocked = ("exposure 8.5 ms", "gain 40", "white balance 4500 K")
    assert source.granted.note == "; ".join(f"the camera has no control for: {what}" for what in unlocked)


def test_a_camera_is_tuned_while_it_gives_pictures_and_remembers_it_when_it_comes_back(
    device: FakeVideoDevice,
) -> None:
    controls = lockable(device)
    source = v4l2(device)
    source.tune(CameraLocks(gain=7))  # before it is open: asked for then
    source.open()
    assert controls["GAIN"].value == 7

    source.tune(CameraLocks(exposure_ms=2.5))
    assert (controls["EXPOSURE_AUTO"].value, controls["EXPOSURE_ABSOLUTE"].value) == (1, 25)
    del device.controls[linuxpy_device.ControlID.GAIN]
    source.tune(CameraLocks(exposure_ms=2.5, gain=9))
    assert source.granted.note == "the camera has no control for: gain 9"
    source.tune(CameraLocks())
    assert (controls["EXPOSURE_AUTO"].value, source.granted.note) == (3, "")

    source.tune(CameraLocks(white_balance_k=3000))
    source.close()
    controls["AUTO_WHITE_BALANCE"].value = 1
    source.open()
    assert (controls["AUTO_WHITE_BALANCE"].value, controls["WHITE_BALANCE_TEMPERATURE"].value) == (0, 3000)


def test_the_hil_camera_is_told_what_it_is_to_keep(world: socket.socket, folder: Path) -> None:
    source = HilCamera(folder / "camera.sock", 30.0)
    source.tune(CameraLocks(8.0, 40, 4500))  # before it is open
    source.open()
    listener, _ = world.accept()
    with listener:
        listener.settimeout(PATIENCE_S)
        told = bytes.fromhex("4c574c31000000412800000094110000")
        assert listener.recv(100) == told
        source.tune(CameraLocks())
        assert listener.recv(100) == bytes.fromhex("4c574c3100000000ffffffff00000000")
    for _ in range(3):
        source.tune(CameraLocks())  # to a world that is gone: reading notices it
    source.close()


@pytest.mark.parametrize("failure", [OSError(25, "Inappropriate ioctl"), None])
def test_a_device_without_a_settable_rate_is_used_at_its_own(
    device: FakeVideoDevice, failure: OSError | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> float:
        if failure is None:
            raise ZeroDivisionError
        raise failure

    monkeypatch.setattr(device, "get_fps", refuse)
    if failure is not None:
        monkeypatch.setattr(device, "set_fps", refuse)
    source = v4l2(device)
    source.open()

    assert source.granted.rate_hz == 30.0
    assert ("chooses its frame rate itself" in source.granted.note) is (failure is not None)


def test_a_device_without_mjpeg_is_refused_and_closed(device: FakeVideoDevice) -> None:
    device.pixel_format = linuxpy_device.PixelFormat.YUYV
    source = v4l2(device)

    with pytest.raises(CameraError, match="gives YUYV, needed is MJPEG"):
        source.open()

    assert device.closed == 2
    assert "streaming" not in device.asked


def test_a_device_that_cannot_be_opened_is_told_with_what_to_do() -> None:
    with pytest.raises(CameraError, match=r"/dev/null cannot be opened .*group `video`"):
        V4l2Camera("/dev/null", width_px=640, height_px=480, rate_hz=30.0, power_line_hz=50).open()
    with pytest.raises(CameraError, match=r"cannot be opened .*No such file"):
        V4l2Camera("/dev/nowhere", width_px=640, height_px=480, rate_hz=30.0, power_line_hz=50).open()


def test_a_devices_picture_has_its_sequence_and_the_drivers_own_stamp(device: FakeVideoDevice) -> None:
    monotonic = int(linuxpy_device.BufferFlag.TIMESTAMP_MONOTONIC)
    source = v4l2(device)
    source.open()
    assert source.read(0.01) is None
    stamp_ns = (time.monotonic_ns() - 20_000_000) // 1000 * 1000
    device.deliver(b"jpeg", 41, stamp_ns, monotonic)

    frame = source.read(PATIENCE_S)

    assert frame is not None
    assert (frame.number, frame.stamp_ns, frame.jpeg) == (41, stamp_ns, b"jpeg")


@pytest.mark.parametrize(
    ("age_s", "is_monotonic"),
    [(0.02, False), (-0.5, True), (2.0, True)],
    ids=["other clock", "future", "old"],
)
def test_a_stamp_of_another_clock_or_of_another_time_is_replaced_by_now(
    device: FakeVideoDevice, age_s: float, is_monotonic: bool
) -> None:
    source = v4l2(device)
    source.open()
    before_ns = time.monotonic_ns()
    flags = int(linuxpy_device.BufferFlag.TIMESTAMP_MONOTONIC) if is_monotonic else 0
    device.deliver(b"jpeg", 0, before_ns - round(age_s * 1e9), flags)

    frame = source.read(PATIENCE_S)

    assert frame is not None
    assert before_ns <= frame.stamp_ns <= time.monotonic_ns()


def test_a_picture_that_the_driver_marks_as_broken_is_a_bad_frame(device: FakeVideoDevice) -> None:
    source = v4l2(device)
    source.open()
    whole = jpeg_of(picture())
    device.deliver(whole, 0, 0, int(linuxpy_device.BufferFlag.ERROR))

    frame = source.read(PATIENCE_S)

    assert frame is not None
    assert decode_jpeg(frame.jpeg) is None
    assert decode_jpeg(whole) is not None


def test_a_device_unplugged_while_reading_is_lost_and_can_be_closed(device: FakeVideoDevice) -> None:
    source = v4l2(device)
    source.open()
    device.unplug()

    with pytest.raises(CameraError, match=r"is gone .*check its plug"):
        source.read(PATIENCE_S)
    source.close()

    assert device.closed == 2


def test_a_device_is_named_by_index_or_by_path() -> None:
    assert device_path("2") == "/dev/video2"
    assert device_path("/dev/v4l/by-id/usb-cam") == "/dev/v4l/by-id/usb-cam"


def test_the_fake_device_is_what_select_expects(device: FakeVideoDevice) -> None:
    assert select.select([device], [], [], 0.0)[0] == []
    device.deliver(b"", 0, 0)
    assert select.select([device], [], [], 0.0)[0] == [device]
