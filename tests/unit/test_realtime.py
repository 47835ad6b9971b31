"""Priority, memory and the sign of life: asked for where they are allowed, and told where they are not."""

import ctypes
import gc
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from vehicle import realtime
from vehicle.realtime import Notifier


class System:
    """Records what is asked of the operating system, and grants it or not."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, permits: bool, unlimited: bool = True) -> None:
        self.schedules: list[tuple[int, int, int]] = []
        self.locked: list[int] = []
        self.permits = permits
        limit = resource.RLIM_INFINITY if unlimited else 65536
        monkeypatch.setattr(os, "sched_setscheduler", self.set_scheduler)
        monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
        monkeypatch.setattr(ctypes, "CDLL", lambda *_args, **_options: self)
        monkeypatch.setattr(gc, "freeze", lambda: self.locked.append(-1))

    def set_scheduler(self, pid: int, policy: int, parameter: os.sched_param) -> None:
        if not self.permits:
            raise PermissionError
        self.schedules.append((pid, policy, parameter.sched_priority))

    def mlockall(self, flags: int) -> int:
        self.locked.append(flags)
        return 0 if self.permits else -1


def test_the_loop_gets_priority_and_locked_memory_where_the_system_permits(monkeypatch):
    system = System(monkeypatch, permits=True)

    report = realtime.prepare_loop_thread()

    assert (report.fifo, report.memory_locked, report.note) == (True, True, "")
    assert system.schedules == [(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, 50)]
    assert system.locked == [-1, 1 | 2 | 4]  # objects frozen, then current, future, on fault


def test_what_the_system_refuses_is_named_with_the_remedy(monkeypatch):
    System(monkeypatch, permits=False)

    report = realtime.prepare_loop_thread()

    assert (report.fifo, report.memory_locked) == (False, False)
    assert "rtprio 50" in report.note
    assert "memlock unlimited" in report.note
    assert report.note.endswith("see lapwing doctor")


def test_memory_is_not_locked_below_a_limit_because_later_allocations_would_fail(monkeypatch, tmp_path):
    system = System(monkeypatch, permits=True, unlimited=False)
    (tmp_path / "status").write_text("CapPrm:\t0000000000004000\nCapEff:\t0000000000003fff\n")
    monkeypatch.setattr(realtime, "OWN_STATUS", tmp_path / "status")

    report = realtime.prepare_loop_thread()

    assert (report.fifo, report.memory_locked) == (True, False)
    assert system.locked == [-1]
    assert report.note == (
        "running without locked memory ('memlock unlimited' in /etc/security/limits.conf); see lapwing doctor"
    )


def test_who_may_lock_memory_is_asked_for_no_limit(monkeypatch, tmp_path):
    system = System(monkeypatch, permits=True, unlimited=False)
    status = tmp_path / "status"
    status.write_text("CapPrm:\t0000000000004000\nCapEff:\t0000000000004000\n")
    monkeypatch.setattr(realtime, "OWN_STATUS", status)

    assert realtime.lock_memory()
    assert system.locked == [1 | 2 | 4]


def test_the_camera_stands_below_the_loop(monkeypatch):
    system = System(monkeypatch, permits=True)

    assert realtime.use_fifo(realtime.CAMERA_PRIORITY)
    assert system.schedules[0][2] == 40 < realtime.LOOP_PRIORITY


@pytest.mark.parametrize("permits", [True, False])
def test_normal_priority_is_asked_for_and_a_refusal_is_borne(monkeypatch, permits):
    system = System(monkeypatch, permits=permits)

    realtime.use_normal_priority()

    assert system.schedules == ([(0, os.SCHED_OTHER, 0)] if permits else [])


def test_a_thread_may_ask_without_harm_on_this_computer():
    granted: list[bool] = []
    thread = threading.Thread(target=lambda: granted.append(realtime.use_fifo(1)))
    thread.start()
    thread.join()

    assert granted in ([True], [False])
    assert os.sched_getscheduler(0) == os.SCHED_OTHER


def test_a_child_dies_with_its_parent_however_that_ends(tmp_path):
    """The grandchild of this test keeps a pipe open; its end is seen when the child is killed."""
    reader, writer = os.pipe()
    grandchild = "import signal; signal.pause()"
    child = (
        "import subprocess, sys, signal; from vehicle.realtime import die_with_parent\n"
        f"subprocess.Popen([sys.executable, '-c', {grandchild!r}], pass_fds=({writer},),"
        " preexec_fn=die_with_parent)\n"
        "print('up', flush=True); signal.pause()"
    )
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, "-c", child], pass_fds=(writer,), cwd=root, stdout=subprocess.PIPE
    )
    os.close(writer)
    try:
        assert process.stdout.readline() == b"up\n"
        assert select.select([reader], [], [], 0)[0] == []
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert select.select([reader], [], [], 10)[0] == [reader]
        assert os.read(reader, 1) == b""
    finally:
        process.kill()
        process.stdout.close()
        os.close(reader)


@pytest.fixture(params=["@", "/"], ids=["abstract", "path"])
def listener(request, tmp_path):
    address = f"@lapwing-test-{os.getpid()}" if request.param == "@" else str(tmp_path / "n")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as made:
        made.bind("\0" + address[1:] if request.param == "@" else address)
        yield address, made


@pytest.fixture
def notify():
    """Make notifiers that are closed with the test."""
    made: list[Notifier] = []

    def make(address: str | None) -> Notifier:
        made.append(Notifier(address))
        return made[-1]

    yield make
    for each in made:
        each.close()
        each.close()


def heard(made: socket.socket) -> list[bytes]:
    messages = []
    while select.select([made], [], [], 0)[0]:
        messages.append(made.recv(100))
    return messages


def test_readiness_and_life_are_told_in_systemds_words(listener, notify):
    address, made = listener
    notifier = notify(address)

    notifier.ready()
    notifier.alive(1_000_000_000)

    assert heard(made) == [b"READY=1", b"WATCHDOG=1"]


def test_life_is_told_at_most_ten_times_a_second(listener, notify):
    address, made = listener
    notifier = notify(address)

    for now_ns in range(5_000_000_000, 6_000_000_000, 16_666_667):
        notifier.alive(now_ns)

    assert 8 <= len(heard(made)) <= 10


def test_nobody_to_tell_is_no_trouble(tmp_path, notify):
    for address in (None, "", str(tmp_path / "nobody"), "@lapwing-nobody"):
        notifier = notify(address)
        notifier.ready()
        notifier.alive(1)


def test_a_listener_that_is_gone_or_full_never_blocks_the_loop(listener, notify):
    address, made = listener
    notifier = notify(address)

    for now_ns in range(0, 2_000_000_000_000, 100_000_000):
        notifier.alive(now_ns)
    made.close()
    notifier.alive(3_000_000_000_000)
