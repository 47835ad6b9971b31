"""The real-time HIL car: a world and a board that are separate processes, and outlive each other.

| what | limit |
|---|---|
| last command of a dead host to the neutral pulse, by the board's own diary | 0.200 s |
| wake-up of the emulated board | printed, not judged |
| frames delivered at 30 fps | at least 80 % |
"""

import contextlib
import os
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
from crccheck.crc import Crc16Ibm3740

from vehicle.errors import HilError
from vehicle.hil.launch import RunningHil, start_hil
from vehicle.hil.port import BoardPort
from vehicle.hil.settings import CameraSettings, HilSettings, from_json, prepare_hil_dir, to_json
from vehicle.run_command import default_hil_dir

NEUTRAL_LIMIT_S = 0.200
PATIENCE_S = 20.0
HELLO_REPLY = b"\x08\x82\x01"
SMALL = CameraSettings(width_px=160, height_px=120)


@pytest.fixture
def hil_dir() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="lw", dir="/tmp") as folder:
        yield Path(folder)


def command(arm: bool, throttle_us: int, sequence: int = 0) -> bytes:
    payload = struct.pack("<BBBHH", 1, sequence, int(arm), 1450, throttle_us)
    blocks = (payload + struct.pack("<H", Crc16Ibm3740.calc(payload))).split(b"\0")
    return b"\0" + b"".join(bytes((len(block) + 1,)) + block for block in blocks) + b"\0"


def wait_for(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s, "it never came true"
        time.sleep(0.005)


class Port:
    """The host's end of the cable."""

    def __init__(self, hil_dir: Path) -> None:
        self.fd = os.open(hil_dir / "board", os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        attributes = termios.tcgetattr(self.fd)
        attributes[4] = attributes[5] = termios.B115200
        termios.tcsetattr(self.fd, termios.TCSANOW, attributes)
        self.received = b""

    def drive(self, throttle_us: int, neutral_us: int = 1446, seconds: float = 0.3) -> None:
        """Arm and drive, 60 commands a second."""
        start_s = time.monotonic()
        for tick in range(round(seconds * 60)):
            width_us = throttle_us if tick > 5 else neutral_us
            os.write(self.fd, command(tick > 2, width_us, tick % 256))
            time.sleep(max(0.0, start_s + (tick + 1) / 60 - time.monotonic()))

    def answers(self) -> bool:
        with contextlib.suppress(OSError):
            os.write(self.fd, bytes.fromhex("00 06 02 01 01 EC 81 00"))
        time.sleep(0.01)
        with contextlib.suppress(BlockingIOError):
            self.received += os.read(self.fd, 4096)
        return HELLO_REPLY in self.received

    def close(self) -> None:
        os.close(self.fd)


def is_heard(hil_dir: Path, word: bytes) -> bool:
    """Whether what is plugged in now answers so to a HELLO."""
    try:
        port = Port(hil_dir)
    except OSError:  # one has just gone, and the other is not there yet
        return False
    with contextlib.closing(port), contextlib.suppress(OSError):
        port.answers()
    return word in port.received


def read_frame(camera: socket.socket) -> tuple[int, int, bytes]:
    def take(count: int) -> bytes:
        data = b""
        while len(data) < count:
            data += (part := camera.recv(count - len(data)))
            if not part:
                raise EOFError
        return data

    magic, length, number, stamp_ns = struct.unpack("<4sIQq", take(24))
    assert magic == b"LWF1"
    return number, stamp_ns, take(length)


def read_to_the_end(camera: socket.socket) -> None:
    while True:
        read_frame(camera)


@contextlib.contextmanager
def camera_of(hil: RunningHil) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as camera:
        camera.settimeout(PATIENCE_S)
        camera.connect(str(hil.hil_dir / "camera.sock"))
        yield camera


@pytest.mark.realtime
@pytest.mark.parametrize(
    ("wiring", "neutral_us", "forward_us"), [("aws", 1446, 1400), ("standard", 1500, 1600)]
)
def test_a_car_drives_and_stops_by_itself_when_its_host_is_gone(hil_dir, wiring, neutral_us, forward_us):
    with start_hil(HilSettings(hil_dir, wiring=wiring, camera=SMALL)) as hil:
        port = Port(hil_dir)
        port.drive(neutral_us, neutral_us, seconds=1.3)  # the ESC learns neutral
        port.drive(forward_us, neutral_us, seconds=0.5)
        moving = hil.client.truth_now()
        port.close()
        wait_for(lambda: hil.client.truth_now().esc_pulse_us == neutral_us)
        wait_for(lambda: hil.client.truth_now().speed_mps < 0.01)
        log = hil.pulse_log()

    print(f"neutral after {log.time_to_neutral_s(neutral_us) * 1e3:.1f} ms")
    print(f"the board woke up {log.latest_ns / 1e6:.2f} ms late at worst")
    assert moving.speed_mps > 0.05
    assert 0 < log.time_to_neutral_s(neutral_us) <= NEUTRAL_LIMIT_S
    assert not hil_dir.joinpath("board").is_symlink()


@pytest.mark.realtime
def test_the_camera_delivers_real_pictures_in_time_and_survives_its_readers(hil_dir):
    with start_hil(HilSettings(hil_dir)) as hil:
        for _ in range(2):
            with camera_of(hil) as camera:
                frames = [(*read_frame(camera), time.monotonic_ns()) for _ in range(20)]
                numbers = [frame[0] for frame in frames]
                picture = cv2.imdecode(np.frombuffer(frames[-1][2], np.uint8), cv2.IMREAD_COLOR)

                assert picture.shape == (480, 640, 3)
                assert picture.std() > 5  # a scene, not a colour
                assert all(stamp_ns <= read_ns for _, stamp_ns, _, read_ns in frames)
                assert numbers == sorted(set(numbers))
                assert len(numbers) / (numbers[-1] - numbers[0] + 1) > 0.8


@pytest.mark.realtime
def test_orders_reach_camera_and_board(hil_dir):
    with start_hil(HilSettings(hil_dir, camera=SMALL)) as hil:
        port = Port(hil_dir)
        with camera_of(hil) as camera:
            read_frame(camera)
            hil.client.control("fault", part="camera", fault="off")
            with pytest.raises(EOFError):
                read_to_the_end(camera)
        hil.client.control("fault", part="board", fault="stop_input")
        wait_for(lambda: "board=stop_input" in hil.client.truth_now().faults)
        port.drive(1350, seconds=0.3)
        assert hil.pulse_log().driven(1446.0) == ()

        hil.client.control("fault", part="board", fault="unplugged")
        wait_for(lambda: not (hil_dir / "board").is_symlink())
        port.close()
        hil.client.control("fault", part="board", fault="unplugged", on=False)
        wait_for((hil_dir / "board").is_symlink)
        wait_for(lambda: is_heard(hil_dir, HELLO_REPLY))
        hil.client.control("fault", part="board", fault="another_device")
        wait_for(lambda: is_heard(hil_dir, b"ERROR"))
        assert not is_heard(hil_dir, HELLO_REPLY)
        hil.client.control("fault", part="board", fault="another_device", on=False)
        wait_for(lambda: is_heard(hil_dir, HELLO_REPLY))
        hil.client.control("fault", part="camera", fault="off", on=False)
        wait_for((hil_dir / "camera.sock").exists)

        hil.client.control("track", track="kidney")
        wait_for(lambda: hil.client.truth_now().track == "kidney")
        answer = hil.client.control("ping")
        assert (answer["track"], answer["preparing"], answer["problem"]) == ("kidney", "", "")
        assert answer["faults"] == {"board=stop_input": 0.0}
        assert hil.client.control("layout")["track"] == "kidney"
        with camera_of(hil) as camera:
            read_frame(camera)


@pytest.mark.realtime
def test_the_board_outlives_its_world_and_meets_the_next(hil_dir):
    with start_hil(HilSettings(hil_dir, camera=SMALL)) as hil:
        port = Port(hil_dir)
        hil.world.kill()
        hil.world.wait()
        port.drive(1400, seconds=0.5)
        assert hil.pulse_log().driven(1446.0)
        wait_for(lambda: not hil.pulse_log().driven(1446.0)[-1:] or hil.pulse_log().pulses[-1][2] == 1446.0)
        port.close()

        hil.start_world()
        hil.wait_ready()
        wait_for(lambda: hil.client.truth_now().esc_pulse_us == 1446.0)


@pytest.mark.realtime
def test_without_a_board_the_esc_sees_no_pulses(hil_dir):
    with start_hil(HilSettings(hil_dir, camera=SMALL)) as hil:
        hil.board.kill()
        hil.board.wait()
        wait_for(lambda: hil.client.truth_now().esc_pulse_us == 0.0)
        wait_for(lambda: not hil.client.control("ping")["board"])
        with pytest.raises(HilError, match="board's process is gone"):
            hil.client.control("fault", part="board", fault="hang")


def test_the_last_user_leaving_gives_a_fresh_port(hil_dir):
    with start_hil(HilSettings(hil_dir, camera=SMALL)):
        port = Port(hil_dir)
        port.close()
        wait_for(lambda: _baud(hil_dir) == termios.B9600)
        port = Port(hil_dir)
        wait_for(port.answers)
        port.close()


def _baud(hil_dir: Path) -> int:
    fd = os.open(hil_dir / "board", os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        return termios.tcgetattr(fd)[4]
    finally:
        os.close(fd)


def test_a_second_car_in_the_same_directory_is_refused(hil_dir):
    with start_hil(HilSettings(hil_dir, camera=SMALL)) as hil:
        for module, part in (("vehicle.hil.server", "world"), ("vehicle.hil.board_process", "board")):
            second = subprocess.run(
                [sys.executable, "-m", module, to_json(hil.settings)],
                capture_output=True,
                text=True,
                check=False,
            )
            assert second.returncode == 2
            assert f"another {part} runs in" in second.stderr
            assert "Traceback" not in second.stderr
        assert hil.client.control("ping")["board"]


def test_the_processes_die_with_whoever_started_them(hil_dir):
    script = (
        "import sys, time\n"
        "from vehicle.hil.launch import start_hil\n"
        "from vehicle.hil.settings import from_json\n"
        "with start_hil(from_json(sys.argv[1])) as hil:\n"
        "    print(hil.world.pid, hil.board.pid, flush=True)\n"
        "    time.sleep(60)\n"
    )
    settings = to_json(HilSettings(hil_dir, camera=SMALL))
    with subprocess.Popen([sys.executable, "-c", script, settings], stdout=subprocess.PIPE) as parent:
        pids = [int(word) for word in parent.stdout.readline().split()]
        parent.send_signal(signal.SIGKILL)
    wait_for(lambda: not any(_is_running(pid) for pid in pids))


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_car_that_cannot_start_says_why(hil_dir):
    with (
        pytest.raises(HilError, match=r"world's process ended \(status 2\)"),
        start_hil(HilSettings(hil_dir, track="nowhere")),
    ):
        pass


def test_settings_survive_their_journey_and_wrong_ones_are_named(hil_dir):
    settings = HilSettings(hil_dir, board="maestro", faults=("camera=off@1",), camera=CameraSettings(fps=60))
    assert from_json(to_json(settings)) == settings
    wrong = msgspec.json.decode(to_json(settings))
    wrong["camera"]["fps"] = 1000

    with pytest.raises(HilError, match=r"camera\.fps"):
        from_json(msgspec.json.encode(wrong).decode())


def test_a_directory_that_others_may_enter_is_closed_to_them_and_one_of_somebody_else_refused(
    hil_dir, monkeypatch
):
    hil_dir.chmod(0o777)
    prepare_hil_dir(hil_dir)
    assert stat.S_IMODE(hil_dir.stat().st_mode) == 0o700

    monkeypatch.setattr(os, "getuid", lambda: 4321)
    with pytest.raises(HilError, match=r"belongs to user \d+, not to 4321; choose another --hil-dir"):
        prepare_hil_dir(hil_dir)


def test_the_default_directory_is_this_users_own(monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    assert default_hil_dir() == Path("/run/user/7/lapwing-hil")
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert default_hil_dir() == Path(f"/tmp/lapwing-{os.getuid()}-hil")


def test_a_path_too_long_for_sockets_is_refused():
    with pytest.raises(HilError, match="characters, allowed 70"):
        prepare_hil_dir(Path("/tmp") / ("x" * 80))


def test_a_port_is_9600_baud_and_raw_until_its_host_sets_it(hil_dir):
    port = BoardPort(hil_dir / "board")
    port.plug()
    host = os.open(hil_dir / "board", os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        attributes = termios.tcgetattr(host)
        assert attributes[4] == termios.B9600
        assert not attributes[3] & (termios.ECHO | termios.ICANON)
        assert not port.baud_is(115200)
        assert port.baud_is(None)
    finally:
        os.close(host)
        port.unplug()


def test_wrong_settings_are_refused_before_anything_starts(hil_dir):
    for settings, says in (
        (HilSettings(hil_dir, faults=("camera=stuk",)), "no fault 'stuk'"),
        (HilSettings(hil_dir, camera=CameraSettings(fps=0)), r"camera\.fps"),
    ):
        with pytest.raises(HilError, match=says), start_hil(settings):
            pass
    assert list(hil_dir.iterdir()) == []
