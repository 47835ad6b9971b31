"""Children that end, fall silent or hang, tended on a clock of the test's own."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vehicle import supervisor
from vehicle.errors import LapwingError
from vehicle.supervisor import (
    FIRST_DELAY_S,
    LONGEST_DELAY_S,
    Child,
    ChildSpec,
    StopSignal,
    Supervisor,
    exit_status,
    python_module,
)

SLEEPER = ("/bin/sh", "-c", "exec sleep 60")
STUBBORN = ("/bin/sh", "-c", "trap '' TERM; echo up; while :; do sleep 1; done")
SPEAKER = """
import os, socket, sys, time
voice = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
voice.connect("\\0" + os.environ["NOTIFY_SOCKET"][1:])
voice.send(b"READY=1")
time.sleep(60)
"""


def until(is_true, timeout_s: float = 10.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < deadline_s, "it never happened"
        time.sleep(0.005)


class Nursery:
    """One child, what was logged of it, and a clock that the test moves."""

    def __init__(self, folder: Path, *command: str, silent_limit_s: float | None = None) -> None:
        self.lines: list[str] = []
        self.now_s = 1000.0
        self.log_path = folder / "child.log"
        self.child = Child(ChildSpec("child", command, silent_limit_s), self.lines.append, self.log_path)

    def tend(self, after_s: float = 0.0) -> None:
        self.now_s += after_s
        self.child.tend(self.now_s)

    def ended(self) -> None:
        """Wait for the process to end, without telling the child."""
        pid = self.child.pid
        assert pid is not None
        until(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z")


@pytest.fixture
def nursery(tmp_path):
    made: list[Nursery] = []

    def make(*command: str, **options) -> Nursery:
        made.append(Nursery(tmp_path, *command, **options))
        return made[-1]

    yield make
    for each in made:
        each.child.wait(0.0)


def test_a_child_is_started_and_left_alone_while_it_runs(nursery):
    one = nursery(*SLEEPER)
    assert one.child.pid is None
    one.tend()
    pid = one.child.pid
    for _ in range(5):
        one.tend(100.0)

    assert pid is not None
    assert one.child.pid == pid
    assert one.lines == []


def test_a_child_that_ends_is_started_again_later_each_time(nursery):
    one = nursery("/bin/sh", "-c", "echo cannot work; exit 3")
    delays_s = [0.5, 1.0, 2.0, 4.0, 8.0, 8.0]
    for delay_s in delays_s:
        one.tend()
        one.ended()
        one.tend(1.0)
        one.tend(delay_s - 0.001)
        assert one.child.pid is None
        one.now_s += 0.001

    expected = [
        f"child ended with status 3; starting it again in {s:g} s (it said: cannot work)" for s in delays_s
    ]
    assert one.lines == expected
    assert one.child.restarts == len(delays_s)
    assert delays_s[0] == FIRST_DELAY_S
    assert delays_s[-1] == LONGEST_DELAY_S


def test_a_child_that_ran_for_long_is_started_again_soon(nursery):
    one = nursery("/bin/sh", "-c", "exit 0")
    for _ in range(4):
        one.tend(10.0)
        one.ended()
        one.tend()
    assert one.lines[-1] == "child ended with status 0; starting it again in 4 s"
    one.tend(10.0)
    one.ended()
    one.tend(10.001)

    assert one.lines[-1] == "child ended with status 0; starting it again in 0.5 s"


def test_a_signal_that_ended_a_child_is_named(nursery):
    one = nursery(*SLEEPER)
    one.tend()
    os.kill(one.child.pid, signal.SIGSEGV)
    one.ended()
    one.tend()

    assert one.lines == ["child ended by SIGSEGV; starting it again in 0.5 s"]


def speaking(nursery) -> Nursery:
    one = nursery(sys.executable, "-c", SPEAKER, silent_limit_s=2.0)
    one.tend()
    until(lambda: (one.tend(), one.child._heard_s)[1])
    return one


def test_a_child_that_fell_silent_is_killed_and_started_again(nursery):
    one = speaking(nursery)
    first = one.child.pid
    one.tend(2.0)
    assert one.lines == []

    one.tend(0.001)
    one.ended()
    one.tend()
    one.tend(0.5)

    assert one.lines[0] == "child was silent for 2.0 s; killing it"
    assert one.lines[1].startswith("child ended by SIGKILL; starting it again in 0.5 s")
    assert one.child.pid not in {None, first}


def test_a_child_that_hangs_without_reacting_to_signals_is_killed_too(nursery):
    one = speaking(nursery)
    os.kill(one.child.pid, signal.SIGSTOP)

    one.tend(2.1)
    one.ended()
    one.tend()

    assert one.lines[1].startswith("child ended by SIGKILL")


def test_a_child_that_has_not_spoken_yet_may_take_its_time(nursery):
    one = nursery(*SLEEPER, silent_limit_s=2.0)
    one.tend()
    one.tend(1000.0)

    assert one.lines == []
    assert one.child.pid is not None


def test_the_last_words_of_a_dead_child_are_no_sign_of_life_of_the_next(nursery):
    one = nursery(*SLEEPER, silent_limit_s=2.0)
    one.tend()
    os.kill(one.child.pid, signal.SIGKILL)
    one.ended()
    one.tend()
    with supervisor.socket.socket(supervisor.socket.AF_UNIX, supervisor.socket.SOCK_DGRAM) as late:
        late.connect("\0" + one.child._address[1:])
        late.send(b"WATCHDOG=1")

    one.tend(0.5)
    one.tend(3.0)

    assert one.child._heard_s == 0.0
    assert not any("silent" in line for line in one.lines)


def test_a_child_speaks_to_this_supervisor_and_to_no_other(nursery, monkeypatch, tmp_path):
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/systemd/notify")
    mute = nursery("/bin/sh", "-c", 'echo "<$NOTIFY_SOCKET>"')
    mute.tend()
    mute.ended()
    assert mute.log_path.read_text() == "<>\n"

    spoken = nursery("/bin/sh", "-c", 'echo "<$NOTIFY_SOCKET>"', silent_limit_s=1.0)
    spoken.tend()
    spoken.ended()
    assert spoken.log_path.read_text().endswith(f"<@lapwing-{os.getpid()}-child>\n")


def test_a_child_without_a_log_file_has_no_last_words():
    lines: list[str] = []
    child = Child(ChildSpec("quiet", ("/bin/sh", "-c", "exit 1")), lines.append, None)
    child.tend(1.0)
    until(lambda: (child.tend(1.0), lines)[1])

    assert lines == ["quiet ended with status 1; starting it again in 0.5 s"]
    child.wait(0.0)


def supervised(tmp_path: Path, *specs: ChildSpec) -> tuple[Supervisor, list[str]]:
    lines: list[str] = []
    return Supervisor(specs, tmp_path / "log", lines.append), lines


def test_stop_ends_every_child_and_waits_for_it(tmp_path):
    car, lines = supervised(tmp_path, ChildSpec("one", SLEEPER), ChildSpec("two", SLEEPER))
    car.tend()
    pids = [child.pid for child in car.children]

    car.stop()
    car.stop()

    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    assert [child.pid for child in car.children] == [None, None]
    assert lines == []


def test_the_software_ends_before_the_hardware_it_says_neutral_to(tmp_path):
    order = tmp_path / "order"
    program = "trap 'echo {0} >> {1}; exit' TERM; echo up; while :; do sleep 0.05; done"

    def spec(name: str, *, is_hardware: bool = False) -> ChildSpec:
        return ChildSpec(name, ("/bin/sh", "-c", program.format(name, order)), is_hardware=is_hardware)

    car, _ = supervised(tmp_path, spec("board", is_hardware=True), spec("vehicle"))
    car.tend()
    until(lambda: all("up" in (tmp_path / f"log/{name}.log").read_text() for name in ("board", "vehicle")))

    car.stop()

    assert order.read_text().split() == ["vehicle", "board"]


def test_a_child_that_will_not_end_is_killed_and_costs_the_others_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(supervisor, "GOODBYE_S", 0.5)
    done = tmp_path / "done"
    goodbye = f"trap 'sleep 0.1; echo neutral > {done}; exit' TERM; echo up; while :; do sleep 0.05; done"
    car, _ = supervised(
        tmp_path,
        ChildSpec("board", ("/bin/sh", "-c", goodbye), is_hardware=True),
        ChildSpec("web", STUBBORN),
    )
    car.tend()
    until(lambda: all("up" in (tmp_path / f"log/{name}.log").read_text() for name in ("board", "web")))
    stubborn = car.children[1].pid

    car.stop()

    assert not Path(f"/proc/{stubborn}").exists()
    assert done.read_text() == "neutral\n"


def test_run_tends_until_told_to_stop_and_then_ends_everything(tmp_path):
    car, lines = supervised(
        tmp_path, ChildSpec("one", ("/bin/sh", "-c", "exit 7")), ChildSpec("two", SLEEPER)
    )

    car.run(lambda: bool(lines))

    assert lines == ["one ended with status 7; starting it again in 0.5 s"]
    assert [child.pid for child in car.children] == [None, None]


def test_run_ends_everything_when_it_fails_itself(tmp_path):
    car, _ = supervised(tmp_path, ChildSpec("two", SLEEPER))
    car.tend()
    pid = car.children[0].pid

    def broken() -> bool:
        raise RuntimeError("oops")

    with pytest.raises(RuntimeError, match="oops"):
        car.run(broken)
    assert not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_becomes_a_question_that_a_loop_can_ask(number):
    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        stopping = StopSignal()
        assert not stopping()
        signal.raise_signal(number)
        assert stopping()
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def test_emulated_hardware_outlives_its_supervisor_by_a_moment(monkeypatch):
    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    try:
        stopping, now_s = StopSignal(is_hardware=True), time.monotonic()
        signal.raise_signal(signal.SIGHUP)
        monkeypatch.setattr(supervisor.time, "monotonic", lambda: now_s + 0.9)
        assert not stopping()
        monkeypatch.setattr(supervisor.time, "monotonic", lambda: now_s + 2.0)
        assert stopping()
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


@pytest.mark.parametrize(("is_hardware", "told"), [(False, "TERM"), (True, "HUP")])
def test_a_child_is_told_of_the_death_of_its_supervisor(tmp_path, is_hardware, told):
    heard, log = tmp_path / "heard", tmp_path / "log"
    traps = f"trap 'echo TERM > {heard}; exit' TERM; trap 'echo HUP > {heard}; exit' HUP"
    listener = f"{traps}; echo up; while :; do sleep 0.02; done"
    program = (
        "import signal, sys\nfrom pathlib import Path\nfrom vehicle.supervisor import ChildSpec, Supervisor\n"
        "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"  # a shell cannot trap what it was told to ignore
        "listener, is_hardware, log = sys.argv[1:]\n"
        "spec = ChildSpec('one', ('/bin/sh', '-c', listener), is_hardware=is_hardware == 'True')\n"
        "Supervisor([spec], Path(log), print).run(lambda: False)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program, listener, str(is_hardware), str(log)])
    until(lambda: (log / "one.log").exists() and "up" in (log / "one.log").read_text())
    parent.kill()
    parent.wait()

    until(lambda: heard.exists() and heard.read_text())
    assert heard.read_text() == f"{told}\n"


def test_a_module_is_run_with_this_interpreter():
    assert python_module("vehicle.cli", "drive") == (sys.executable, "-m", "vehicle.cli", "drive")


def test_a_process_ends_with_a_sentence_and_status_2_where_it_cannot_work(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail() -> None:
        raise LapwingError("the port is gone; plug it in")

    assert exit_status(fail) == 2
    assert capsys.readouterr() == ("", "lapwing: the port is gone; plug it in\n")
    assert exit_status(lambda: None) == 0
    assert capsys.readouterr() == ("", "")


def test_a_disk_without_room_for_a_word_ends_nobody(tmp_path):
    def refuse(_words: str) -> None:
        raise OSError(28, "No space left on device")

    log_path = tmp_path / "missing" / "child.log"  # cannot be opened either
    child = Child(ChildSpec("child", ("/bin/false",)), refuse, log_path)
    child.tend(1000.0)
    until(lambda: Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z")
    child.tend(1001.0)
    assert child.pid is None
    child.tend(1001.0 + LONGEST_DELAY_S)
    assert child.pid is not None
    child.stop()
    child.wait(time.monotonic() + 5.0)
