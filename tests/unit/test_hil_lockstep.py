"""A lockstep world passes time only at its barrier, counts bytes, and repeats itself bit for bit."""

import contextlib
import hashlib
import math
import os
import select
import socket
import struct
import tempfile
import termios
import threading
import time
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
from crccheck.crc import Crc16Ibm3740

from vehicle.errors import HilError
from vehicle.hil.lockstep_world import LockstepWorld
from vehicle.hil.pulse_log import read_pulse_log
from vehicle.hil.settings import LOCKSTEP_START_NS, CameraSettings, HilSettings, prepare_hil_dir
from vehicle.hil_client import HilClient
from vehicle.truth import WorldTruth

MS = 1_000_000
TICK_NS = 16_666_667
HELLO = bytes.fromhex("00 06 02 01 01 EC 81 00")
HELLO_REPLY_BYTES = 33
STATUS_BYTES = 19


def command(arm: bool, steering_us: int = 1450, throttle_us: int = 1446, sequence: int = 0) -> bytes:
    payload = struct.pack("<BBBHH", 1, sequence, int(arm), steering_us, throttle_us)
    blocks = (payload + struct.pack("<H", Crc16Ibm3740.calc(payload))).split(b"\0")
    return b"\0" + b"".join(bytes((len(block) + 1,)) + block for block in blocks) + b"\0"


class RecordingWorld:
    """A world that only writes down what it is told."""

    def __init__(self) -> None:
        self.times: list[int] = []
        self.pulses = []
        self.exposed: list[tuple[int, int]] = []
        self.exposed_right: list[tuple[int, int]] = []
        self.measured: list[int] = []
        self.wheel_ticks = 0
        self.battery_v = 7.4
        self.resets: list[tuple] = []

    def advance(self, to_ns, pulses):
        self.times.append(to_ns)
        self.pulses += pulses

    def expose(self, frame_number, now_ns):
        self.exposed.append((frame_number, now_ns))
        return np.full((12, 16, 3), frame_number % 256, np.uint8)

    def expose_right(self, frame_number, now_ns):
        self.exposed_right.append((frame_number, now_ns))
        return np.full((12, 16, 3), 128, np.uint8)

    def measure(self, now_ns):
        self.measured.append(now_ns)
        return np.full(360, 2.0)

    def truth(self, now_ns, faults=()):
        return WorldTruth(
            now_ns, -1, "none", 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, False, False, (), 0, 0.0, 0.0, faults
        )

    def reset(self, s_m=-0.5, offset_m=0.0, turned_rad=0.0):
        self.resets.append((s_m, offset_m, turned_rad))


class Camera:
    """Reads frames as a camera driver would."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(5)
        try:
            self.socket.connect(str(path))
        except OSError:
            self.socket.close()
            raise

    def read(self) -> tuple[int, int, bytes]:
        magic, length, number, stamp_ns = struct.unpack("<4sIQq", self._take(24))
        assert magic == b"LWF1"
        return number, stamp_ns, self._take(length)

    def _take(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            data += (part := self.socket.recv(count - len(data)))
            if not part:
                raise EOFError
        return data


class Lidar(Camera):
    """Reads scans as a LIDAR's driver would."""

    def read(self) -> tuple[int, int, tuple[float, ...]]:
        magic, count, number, stamp_ns, first_rad, last_rad = struct.unpack("<4sIQqff", self._take(32))
        assert magic == b"LWL1"
        assert -math.pi - 1e-6 <= first_rad < last_rad < math.pi
        return number, stamp_ns, struct.unpack(f"<{count}f", self._take(4 * count))


class Driver:
    """The driving side, by hand: a port, a barrier, and counts."""

    def __init__(self, hil_dir: Path, *, opens: bool = True) -> None:
        self.hil_dir = hil_dir
        self.port = -1
        self.written = self.read = self.tick = 0
        self.replies = b""
        if opens:
            self.open_port()
        self.barrier = None

    def open_port(self) -> None:
        self.port = os.open(self.hil_dir / "board", os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        attributes = termios.tcgetattr(self.port)
        attributes[4] = attributes[5] = termios.B115200
        termios.tcsetattr(self.port, termios.TCSANOW, attributes)

    def connect(self) -> socket.socket:
        barrier = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        barrier.settimeout(10)
        barrier.connect(str(self.hil_dir / "barrier.sock"))
        return barrier

    def meet(self) -> dict:
        self.barrier = self.connect()
        return self.pass_time(0)

    def write(self, data: bytes) -> None:
        self.written += os.write(self.port, data)

    def say(self, packet: dict) -> dict:
        self.barrier.send(msgspec.json.encode(packet))
        return msgspec.json.decode(self.barrier.recv(4096))

    def pass_time(self, wake_ns: int, after_frame: int | None = None) -> dict:
        grant = self.say(
            {"done": self.tick, "written": self.written, "wake_ns": wake_ns, "after_frame": after_frame}
        )
        assert "error" not in grant, grant
        self.tick, self.now_ns, self.frame = grant["tick"], grant["now_ns"], grant["frame"]
        self.collect(grant["emitted"])
        return grant

    def pass_ms(self, ms: float) -> dict:
        return self.pass_time(self.now_ns + round(ms * MS))

    def collect(self, total: int) -> None:
        deadline_s = time.monotonic() + 5
        while self.read < total and time.monotonic() < deadline_s:
            with contextlib.suppress(BlockingIOError):
                data = os.read(self.port, 4096)
                self.read += len(data)
                self.replies += data
        assert self.read == total

    def drive(self, throttle_us: int = 1350) -> None:
        for arm, us in ((False, 1446), (True, 1446), (True, throttle_us)):
            self.write(command(arm, throttle_us=us))
            self.pass_time(self.now_ns + TICK_NS)

    def close(self) -> None:
        if self.barrier is not None:
            self.barrier.close()
        if self.port >= 0:
            os.close(self.port)
            self.port = -1


class Hil:
    """A lockstep world in a thread of this process, over a recording world."""

    def __init__(self, hil_dir: Path, **settings) -> None:
        self.hil_dir = hil_dir
        prepare_hil_dir(hil_dir)
        self.world = RecordingWorld()
        self.server = LockstepWorld(HilSettings(hil_dir, lockstep=True, **settings), self.world)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self.server.serve, args=(self._stop.is_set,))
        self._thread.start()
        self.client = HilClient(hil_dir)
        self.driver = Driver(hil_dir)
        self.cameras: list[Camera] = []

    def open_camera(self) -> Camera:
        self.cameras.append(Camera(self.hil_dir / "camera.sock"))
        return self.cameras[-1]

    def open_right_camera(self) -> Camera:
        self.cameras.append(Camera(self.hil_dir / "camera_right.sock"))
        return self.cameras[-1]

    def open_lidar(self) -> "Lidar":
        self.cameras.append(Lidar(self.hil_dir / "lidar.sock"))
        return self.cameras[-1]

    def close(self) -> None:
        self.driver.close()
        for camera in self.cameras:
            camera.socket.close()
        self.client.close()
        self._stop.set()
        self._thread.join()
        self.server.close()


@pytest.fixture
def start():
    with contextlib.ExitStack() as opened:

        def _start(**settings) -> Hil:
            hil_dir = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="lw", dir="/tmp")))
            hil = Hil(hil_dir, **settings)
            opened.callback(hil.close)
            return hil

        yield _start


def test_the_first_packet_only_asks_what_time_it_is(start):
    grant = start().driver.meet()

    nothing_yet = {"emitted": 0, "frame": -1, "right_frame": -1, "scan": -1}
    assert grant == {"tick": 1, "now_ns": LOCKSTEP_START_NS, **nothing_yet}


def test_time_passes_to_the_moment_asked_for_and_no_further(start):
    hil = start()
    hil.driver.meet()
    hil.driver.pass_ms(100)
    hil.driver.pass_ms(0.5)

    assert hil.driver.now_ns == LOCKSTEP_START_NS + 100_500_000
    assert hil.world.times[-1] == hil.driver.now_ns
    assert hil.world.times == sorted(hil.world.times)


def test_a_command_arrives_after_its_time_on_the_line_and_shows_in_the_next_pulse(start):
    hil = start()
    driver = hil.driver
    driver.meet()
    driver.pass_ms(1)
    driver.drive(throttle_us=1350)
    sent_ns = driver.now_ns
    driver.write(command(True, 1600, 1340, sequence=200))
    driver.pass_ms(40)
    answer = hil.client.control("pulses")

    (taken,) = [command for command in answer["commands"] if command[2] == 1600.0]
    assert taken == [sent_ns + 12 * 10 * 10**9 // 115200, True, 1600.0, 1340.0]
    first = next(pulse for pulse in answer["pulses"] if pulse[1] == 1600.0)
    assert first[0] == -(-taken[0] // (20 * MS)) * 20 * MS
    assert list(hil.world.pulses[-1]) in answer["pulses"]


def test_a_reply_is_emitted_bit_by_bit_as_time_passes(start):
    driver = start().driver
    driver.meet()
    driver.write(command(False))
    emitted = [driver.pass_ms(0.5)["emitted"] for _ in range(8)]

    assert emitted[1] == 0  # the command is 1.04 ms on the line, its reply 1.65 ms
    assert emitted == sorted(emitted)
    assert 0 < emitted[3] < STATUS_BYTES
    assert emitted[-1] == STATUS_BYTES


def test_the_board_sees_battery_and_wheels_as_they_are_when_it_answers(start):
    hil = start()
    hil.world.wheel_ticks, hil.world.battery_v = 777, 7.123
    hil.driver.meet()
    hil.driver.write(command(False))
    hil.driver.pass_ms(10)

    assert struct.pack("<HH", 7123, 777) in hil.driver.replies


def test_a_frame_wakes_the_driver_when_it_is_handed_over(start):
    hil = start(camera=CameraSettings(fps=30, delay_s=0.030))
    camera = hil.open_camera()
    hil.driver.meet()
    grant = hil.driver.pass_time(LOCKSTEP_START_NS + 10**9, after_frame=-1)
    number, stamp_ns, picture = camera.read()

    assert (grant["frame"], number) == (0, 0)
    assert grant["now_ns"] == stamp_ns == LOCKSTEP_START_NS + 30 * MS
    assert hil.world.exposed[0] == (0, LOCKSTEP_START_NS)
    assert cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR).shape == (12, 16, 3)
    grant = hil.driver.pass_time(LOCKSTEP_START_NS + 10**9, after_frame=0)
    assert grant["now_ns"] == LOCKSTEP_START_NS + 30 * MS + 33_333_333


def test_a_frame_that_is_there_already_wakes_it_at_once(start):
    hil = start()
    camera = hil.open_camera()
    hil.driver.meet()
    hil.driver.pass_ms(100)
    before_ns = hil.driver.now_ns
    assert hil.driver.pass_time(before_ns + 10**9, after_frame=0)["now_ns"] == before_ns
    assert camera.read()[0] == 0


def test_frames_nobody_received_are_not_granted(start):
    hil = start()
    hil.driver.meet()

    assert hil.driver.pass_ms(200)["frame"] == -1


@pytest.mark.parametrize("fps", [15.0, 25.0, 29.9, 30.1, 60.0])
def test_jitter_and_drops_keep_order_and_rate(start, fps):
    hil = start(camera=CameraSettings(fps=fps, delay_s=0.03, jitter_s=0.003, drop_frac=0.2))
    camera = hil.open_camera()
    hil.driver.meet()
    seen = []
    while hil.driver.pass_time(LOCKSTEP_START_NS + 5 * 10**9, hil.driver.frame)["now_ns"] < 6 * 10**9:
        seen.append(camera.read()[:2])

    numbers, stamps = zip(*seen, strict=True)
    assert list(numbers) == sorted(set(numbers))
    assert list(stamps) == sorted(set(stamps))
    assert 0.65 < len(seen) / (5 * fps) < 0.92
    offsets = [stamp - LOCKSTEP_START_NS - number * 1e9 / fps for number, stamp in seen]
    assert 27 * MS - 1 <= min(offsets) < 28 * MS
    assert 32 * MS < max(offsets) <= 33 * MS + 1


def play(hil: Hil) -> tuple[str, str]:
    """Drive for four seconds and return what the board and the camera did, as hashes."""
    camera = hil.open_camera()
    driver = hil.driver
    driver.meet()
    frames = hashlib.sha256()
    for tick in range(240):
        throttle_us = 1446 if tick < 5 else 1446 - tick % 90
        driver.write(command(tick > 1, 1200 + 7 * (tick % 60), throttle_us, tick % 256))
        before = driver.frame
        driver.pass_time(driver.now_ns + TICK_NS, driver.frame if tick % 2 else None)
        if driver.frame > before:
            number, stamp_ns, picture = camera.read()
            while number < driver.frame:
                number, stamp_ns, picture = camera.read()
            frames.update(struct.pack("<Qq", number, stamp_ns) + picture)
    hil.client.control("pulses")
    log = (hil.hil_dir / "pulses.log").read_bytes()
    assert len(read_pulse_log(hil.hil_dir / "pulses.log").driven(1446.0)) > 50
    return hashlib.sha256(log).hexdigest(), frames.hexdigest()


def test_one_seed_is_bit_identical_and_another_is_not(start):
    noisy = {
        "camera": CameraSettings(jitter_s=0.004, drop_frac=0.1),
        "faults": ("serial_out=wrong:0.01", "serial_in=intermittent:0.2@1", "board=hang@2.0"),
    }
    first = play(start(seed=5, **noisy))

    assert play(start(seed=5, **noisy)) == first
    assert play(start(seed=6, **noisy)) != first


def test_a_driver_that_dies_leaves_the_watchdog_to_stop_the_car(start):
    hil = start()
    hil.driver.meet()
    hil.driver.drive(throttle_us=1350)
    hil.driver.close()
    hil.client.control("advance", s=1.0)
    hil.client.control("pulses")
    log = read_pulse_log(hil.hil_dir / "pulses.log")

    assert log.driven(1446.0)
    assert 0.160 < log.time_to_neutral_s(1446.0) < 0.200
    assert log.pulses[-1][1:] == (1450.0, 1446.0)


def test_what_a_killed_driver_had_written_still_arrives(start):
    hil = start()
    hil.driver.meet()
    hil.driver.drive(throttle_us=1350)
    hil.driver.write(command(True, 1500, 1340))
    hil.driver.barrier.close()
    hil.driver.barrier = None
    hil.client.control("advance", s=0.01)

    assert [1500.0, 1340.0] in [command[2:] for command in hil.client.control("pulses")["commands"]]


def test_another_driver_may_come_after_the_first(start):
    hil = start()
    hil.driver.meet()
    hil.driver.drive()
    now_ns = hil.driver.now_ns
    hil.driver.close()
    second = Driver(hil.hil_dir)
    try:
        assert second.meet()["now_ns"] == now_ns
        second.write(command(False))
        assert second.pass_ms(10)["emitted"] == STATUS_BYTES
    finally:
        second.close()


@pytest.mark.parametrize("closes_first", [True, False])
def test_a_driver_waits_for_no_answer_to_what_the_one_before_it_said_last(start, closes_first):
    """It leaves the barrier, says farewell at its port and closes that, while its successor comes already."""
    hil = start()
    hil.driver.meet()
    hil.driver.barrier.close()
    deadline_s = time.monotonic() + 5
    while hil.server._driver is not None:
        assert time.monotonic() < deadline_s
    hil.driver.write(3 * command(False))
    arrives = select.poll()
    arrives.register(hil.driver.port, select.POLLIN)
    assert arrives.poll(5000)  # answered while time stands still, and never read

    second = Driver(hil.hil_dir, opens=False)
    if closes_first:
        hil.driver.close()
    second.barrier = second.connect()
    hil.driver.close()
    try:
        assert second.pass_time(0)["emitted"] == 0
        second.open_port()
        second.write(command(False))
        assert second.pass_ms(10)["emitted"] == STATUS_BYTES
    finally:
        second.close()


def test_a_handshake_is_answered_while_time_stands_still(start):
    hil = start()
    hil.driver.write(HELLO)
    hil.driver.collect(HELLO_REPLY_BYTES)

    assert hil.driver.replies[1:4] == b"\x08\x82\x01"
    assert hil.driver.meet() == {
        "tick": 1,
        "now_ns": LOCKSTEP_START_NS,
        "emitted": HELLO_REPLY_BYTES,
        "frame": -1,
        "right_frame": -1,
        "scan": -1,
    }


def test_at_the_wrong_baud_the_board_hears_garbage(start):
    hil = start()
    attributes = termios.tcgetattr(hil.driver.port)
    attributes[4] = attributes[5] = termios.B57600
    termios.tcsetattr(hil.driver.port, termios.TCSANOW, attributes)
    hil.driver.meet()
    hil.driver.write(command(False))

    assert hil.driver.pass_ms(20)["emitted"] == 0


def test_an_unplugged_port_vanishes_and_comes_back_under_its_name(start):
    hil = start(faults=("board=unplugged@1..2",))
    driver = hil.driver
    driver.meet()
    driver.drive()
    driver.pass_time(LOCKSTEP_START_NS + 1500 * MS)

    assert not (hil.hil_dir / "board").exists()
    with pytest.raises(OSError, match="Input/output"):
        os.write(driver.port, b"x")
    driver.pass_time(LOCKSTEP_START_NS + 2100 * MS)
    os.close(driver.port)
    driver.open_port()
    driver.write(command(False))
    before = driver.read
    assert driver.pass_ms(20)["emitted"] - before == STATUS_BYTES


def test_bytes_that_were_announced_and_never_came_are_an_error(start, monkeypatch):
    monkeypatch.setattr("vehicle.hil.lockstep_world.BYTES_TIMEOUT_S", 0.05)
    driver = start().driver
    driver.meet()
    answer = driver.say({"done": 1, "written": 12, "wake_ns": driver.now_ns + MS})

    assert "12 bytes were written, 0 came" in answer["error"]


def test_a_packet_that_is_none_is_an_error(start):
    driver = start().driver
    driver.meet()

    assert "error" in driver.say({"done": "x"})


@pytest.mark.parametrize(
    ("fault", "delivers"), [("silent", False), ("off", False), ("stuck", True), ("garbage", True)]
)
def test_a_broken_camera_is_broken_at_its_socket(start, fault, delivers):
    hil = start(faults=(f"camera={fault}@0.5",))
    camera = hil.open_camera()
    hil.driver.meet()
    hil.driver.pass_time(LOCKSTEP_START_NS + 500 * MS)
    while camera.read()[0] < hil.driver.frame:
        pass
    before = hil.driver.frame
    hil.driver.pass_time(LOCKSTEP_START_NS + 1500 * MS)

    assert (hil.driver.frame > before) == delivers
    if fault == "off":
        with pytest.raises(EOFError):
            camera.read()
        with pytest.raises(OSError, match="No such file"):
            hil.open_camera()
    if delivers:
        pictures = {camera.read()[2] for _ in range(20)}
        assert (len(pictures) == 1) == (fault == "stuck")


def test_orders_break_and_mend_things(start):
    hil = start()
    hil.driver.meet()
    hil.client.control("fault", part="camera", fault="stuck")
    hil.client.control("fault", part="serial_in", fault="delayed", amount=0.3, at_s=0.5, for_s=0.25)
    assert hil.client.truth_now().faults == ("camera=stuck",)
    hil.client.control("fault", part="camera", fault="stuck", on=False)
    hil.driver.pass_time(LOCKSTEP_START_NS + 600 * MS)
    assert hil.client.truth_now().faults == ("serial_in=delayed",)
    hil.driver.pass_time(LOCKSTEP_START_NS + 800 * MS)
    assert hil.client.truth_now().faults == ()


def test_the_stop_input_and_a_reset_are_orders_too(start):
    hil = start()
    hil.driver.meet()
    hil.driver.drive()
    hil.client.control("stop_input", on=True)
    hil.driver.pass_ms(20)
    assert hil.client.control("pulses")["pulses"][-1][2] == 1446.0
    hil.client.control("reset", s_m=2.0, turned_rad=0.5)

    assert hil.world.resets == [(2.0, 0.0, 0.5)]


@pytest.mark.parametrize(
    ("op", "fields", "says"),
    [
        ("fault", {"part": "engine", "fault": "off"}, "no part 'engine'"),
        ("fault", {"part": "board", "fault": "hang", "on": False}, "happens once"),
        ("fault", {"part": "board"}, "fault"),
        ("fly", {}, "fly"),
        ("advance", {"s": 1.0}, "by the barrier"),
    ],
)
def test_a_refused_order_says_why(start, op, fields, says):
    hil = start()
    hil.driver.meet()

    with pytest.raises(HilError, match=says):
        hil.client.control(op, **fields)


def test_the_truth_is_told_with_every_exposure(start):
    hil = start(camera=CameraSettings(drop_frac=1.0))
    hil.client.truth()
    hil.driver.meet()
    numbers = []
    deadline_s = time.monotonic() + 5
    while len(numbers) < 3 and time.monotonic() < deadline_s:
        hil.driver.pass_ms(34)
        if (truth := hil.client.wait_truth(0.05)) is not None:
            numbers.append(truth.frame_number)

    assert numbers == sorted(set(numbers))


def test_a_client_without_a_world_is_told_so():
    with tempfile.TemporaryDirectory(prefix="lw", dir="/tmp") as hil_dir:
        client = HilClient(Path(hil_dir))
        with pytest.raises(HilError, match="is it running"):
            client.control("ping", timeout_s=0.05)
        client.close()


def test_right_eye_and_lidar_do_nothing_until_somebody_reads_them(start):
    hil = start()
    hil.open_camera()
    hil.driver.meet()
    grant = hil.driver.pass_ms(500)
    assert hil.world.exposed_right == hil.world.measured == []
    assert (grant["right_frame"], grant["scan"]) == (-1, -1)

    right, lidar = hil.open_right_camera(), hil.open_lidar()
    hil.driver.pass_ms(50)  # the world lets them in
    first_ns = hil.driver.now_ns
    grant = hil.driver.pass_ms(400)
    number, stamp_ns, _ = right.read()
    assert stamp_ns >= first_ns - 50 * MS
    assert number == next(n for n, now_ns in hil.world.exposed if now_ns == hil.world.exposed_right[0][1])
    scan_number, scan_ns, ranges_m = lidar.read()
    assert (scan_ns - 5 * MS - LOCKSTEP_START_NS) == scan_number * 100 * MS
    assert len(ranges_m) == 360
    assert np.mean(ranges_m) == pytest.approx(2.0, abs=0.01)
    assert 0.005 < np.std(ranges_m) < 0.015
    assert grant["right_frame"] == grant["frame"]
    assert grant["scan"] == 9


def test_both_eyes_are_exposed_and_handed_over_at_one_instant(start):
    hil = start()
    left, right = hil.open_camera(), hil.open_right_camera()
    hil.driver.meet()
    hil.driver.pass_ms(100)
    hil.driver.pass_ms(400)
    pictures = [[eye.read()[:2] for _ in range(8)] for eye in (left, right)]
    shared = {number for number, _ in pictures[0]} & {number for number, _ in pictures[1]}

    assert len(shared) >= 6
    assert [one for one in pictures[0] if one[0] in shared] == [
        one for one in pictures[1] if one[0] in shared
    ]


@pytest.mark.parametrize("part", ["camera_right", "lidar"])
def test_a_sensor_that_is_unplugged_refuses_its_readers_and_the_others_go_on(start, part):
    hil = start()
    opened = {"camera_right": hil.open_right_camera, "lidar": hil.open_lidar}
    camera, broken = hil.open_camera(), opened[part]()
    hil.driver.meet()
    hil.driver.pass_ms(100)
    hil.client.control("fault", part=part, fault="off")
    hil.driver.pass_ms(200)

    def read_to_the_end():
        while True:
            broken.read()

    with pytest.raises((EOFError, ConnectionError)):
        read_to_the_end()
    with pytest.raises((ConnectionRefusedError, FileNotFoundError)):
        opened[part]()
    assert camera.read()[0] >= 0

    hil.client.control("fault", part=part, fault="off", on=False)
    hil.driver.pass_ms(50)
    again = opened[part]()
    hil.driver.pass_ms(50)
    hil.driver.pass_ms(300)
    assert again.read()[0] > 0


@pytest.mark.parametrize(
    ("fault", "is_so"),
    [
        ("garbage", lambda scans: any(not (x >= 0) for x in scans[0])),
        ("stuck", lambda scans: scans[1] == scans[2] == scans[3]),
        ("covered", lambda scans: set(scans[0]) == {math.inf}),
    ],
)
def test_a_broken_lidar_is_broken_at_its_socket(start, fault, is_so):
    hil = start(faults=(f"lidar={fault}",))
    lidar = hil.open_lidar()
    hil.driver.meet()
    hil.driver.pass_ms(100)
    hil.driver.pass_ms(600)

    assert is_so([lidar.read()[2] for _ in range(4)])
