"""A short soak, what its judge calls wrong, and that a soak that was ended goes on where it was."""

import subprocess
import sys
import threading
import time
from collections import deque
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from tests.hil.live import children_of
from tests.hil.policies import write_policy
from vehicle.hil.faults import Part
from vehicle.hil.pulse_log import PulseLog
from vehicle.messages import DriveCommand, DriveState, TickRecord
from vehicle.proof import soak
from vehicle.proof.live_soak import Diary, Watcher, live_soak
from vehicle.proof.soak import Judge, Stretch, drive_stretch


@pytest.mark.parametrize("seed", [1, 2])
def test_a_car_among_random_faults_breaks_no_invariant(seed, tmp_path):
    seen = drive_stretch(str(write_policy(tmp_path / "straight")), seed, 15.0)
    assert seen.broken == []
    assert seen.drives >= 2
    assert seen.driven_m > 1.0
    assert seen.simulated_s >= 15.0


class Tick(msgspec.Struct):
    """As much of a record as the judge looks at."""

    state: DriveState
    sent: DriveCommand


def verdicts(*ticks: tuple[DriveState, bool, float]) -> list[str]:
    judge = Judge(1446.0, reverse_side=1.0)
    wrong: list[str] = []
    for state, armed, throttle_us in ticks:
        tick: TickRecord = Tick(state, DriveCommand(armed, 1450.0, throttle_us))  # type: ignore[assignment]
        wrong += judge.look(tick, 0)
    return wrong


DISARMED, ARMING, MANUAL = DriveState.DISARMED, DriveState.ARMING, DriveState.MANUAL
AUTONOMOUS, FAILSAFE = DriveState.AUTONOMOUS, DriveState.FAILSAFE


def test_a_drive_as_it_should_be_is_not_wrong():
    drive = [
        (DISARMED, False, 1446.0),
        (ARMING, True, 1446.0),
        (MANUAL, True, 1600.0),
        (FAILSAFE, False, 1446.0),
    ]
    assert verdicts(*drive, (DISARMED, False, 1446.0)) == []


@pytest.mark.parametrize(
    ("ticks", "says"),
    [
        ([(DISARMED, True, 1446.0)], "armed while disarmed"),
        ([(ARMING, True, 1440.0)], "throttle 1440 us while arming"),
        ([(MANUAL, True, 1446.0)], "from disarmed straight to manual"),
        (
            [(ARMING, True, 1446.0), (FAILSAFE, False, 1446.0), (ARMING, True, 1446.0)],
            "from failsafe to arming",
        ),
        ([(ARMING, True, 1446.0), (AUTONOMOUS, True, 1450.0)], "the policy drives backwards: 1450 us"),
    ],
)
def test_what_may_never_be_is_called_wrong(ticks, says):
    assert verdicts(*ticks) == [says]


def test_a_soak_goes_on_where_it_was_and_fails_for_a_broken_invariant(tmp_path, monkeypatch, capsys):
    kept = tmp_path / "soak.jsonl"
    done = [Stretch(1, 120.0, 5.0, 3), Stretch(2, 120.0, 6.0, 4, broken=["armed while disarmed"])]
    lines = b"".join(msgspec.json.encode(one) + b"\n" for one in done)
    kept.write_bytes(lines + b'{"seed": 3, "simul')

    def none_is_driven(*_):
        raise AssertionError("driven again")

    monkeypatch.setattr(soak, "drive_stretch", none_is_driven)
    assert soak.run_soak("plover", 2 * 120 / 3600, seed=1, kept=kept) == 1
    said = capsys.readouterr().out
    assert "2 stretches are done already" in said
    assert "seed 2: armed while disarmed" in said
    assert soak.run_soak("plover", 120 / 3600, seed=1, kept=kept) == 0
    assert kept.read_bytes() == lines  # without the line that was cut short


def test_a_stop_is_dated_by_a_clock_that_nothing_breaks():
    judge = Judge(1446.0, reverse_side=1.0)
    for now_ns, state in ((17, MANUAL), (18, FAILSAFE)):
        judge.look(Tick(state, DriveCommand(False, 1450.0, 1446.0)), now_ns)  # type: ignore[arg-type]
    assert judge.stopped_ns == 18


@pytest.mark.parametrize("state", [DriveState.CALIBRATING, AUTONOMOUS])
def test_a_clock_that_steps_back_breaks_no_invariant(state, tmp_path, monkeypatch):
    monkeypatch.setattr(soak, "ALL", (state,))
    monkeypatch.setattr(soak, "PROVED_PARTS", (Part.CLOCK,))
    monkeypatch.setattr(soak, "FAULT_SHARE", 1.0)
    monkeypatch.setattr(soak, "FAULTS", {Part.CLOCK: ("garbage",)})
    seen = drive_stretch(str(write_policy(tmp_path / "straight")), 1, 12.0)
    assert seen.faults >= 1
    assert seen.drives >= 2
    assert seen.broken == []


def test_a_diary_is_read_as_it_grows_and_a_line_cut_short_when_it_is_whole(tmp_path):
    path = tmp_path / "pulses.log"
    path.write_text("pulse 100 1450.0 1446.0 5\npulse 200 1450.0 1300.0 9\npul")
    diary = Diary(path)
    assert [pulse.t_ns for pulse in diary.since(0).pulses] == [100, 200]
    with path.open("a") as file:
        file.write("se 300 1450.0 1446.0 70\ncommand 310 armed 1450.0 1300.0\n")
    log: PulseLog = diary.since(200, 300)
    assert [pulse.t_ns for pulse in log.pulses] == [200, 300]
    assert log.latest_ns == 70
    assert log.commands == ()
    assert diary.since(250).commands[0].t_ns == 310
    assert [pulse.t_ns for pulse in diary.since(0).pulses] == [300]  # what is older was forgotten
    diary.close()


class NumberedTick(Tick):
    """As much of a record as the watcher looks at."""

    sequence: int
    now_ns: int


class Client:
    """Hands over the records that a test puts here."""

    def __init__(self) -> None:
        self.waiting: deque[NumberedTick] = deque()

    def records(self, timeout_s: float):
        while self.waiting:
            yield self.waiting.popleft()
        threading.Event().wait(0.001)

    def says(self, watcher: Watcher, *ticks: NumberedTick) -> list[str]:
        self.waiting.extend(ticks)
        while self.waiting:
            time.sleep(0.001)
        time.sleep(0.01)
        return watcher.take_broken()


def test_a_watcher_judges_each_record_and_begins_anew_where_one_is_missing():
    neutral, client = DriveCommand(False, 1450.0, 1446.0), Client()
    watcher = Watcher(client, Judge(1446.0, reverse_side=1.0))  # type: ignore[arg-type]
    try:
        first = [NumberedTick(DISARMED, neutral, 0, 10), NumberedTick(MANUAL, neutral, 1, 20)]
        assert client.says(watcher, *first) == ["from disarmed straight to manual"]
        assert client.says(watcher, NumberedTick(MANUAL, neutral, 5, 30)) == []  # who knows what was between
        assert watcher.gaps == 1
        assert client.says(watcher, NumberedTick(FAILSAFE, neutral, 6, 40)) == []
        assert watcher.stopped_ns == 40
        assert client.says(watcher, NumberedTick(DISARMED, neutral, 0, 50)) == []  # another process
        assert watcher.gaps == 1
        assert watcher.stopped_ns is None

        watcher.clock_is_broken = True
        client.says(watcher, NumberedTick(MANUAL, neutral, 5, 60), NumberedTick(FAILSAFE, neutral, 6, 10**19))
        assert watcher.stopped_ns is not None
        assert watcher.stopped_ns <= time.monotonic_ns()
    finally:
        watcher.close()


def test_a_soak_that_is_killed_leaves_nobody_that_drives_on(tmp_path):
    policy = write_policy(tmp_path / "circle", speed_mps=0.6, steering_deg=20.0)
    command = [sys.executable, "-m", "vehicle.cli", "soak", "--policy", str(policy)]
    killed = subprocess.Popen([*command, "--kept", str(tmp_path / "kept")], stdout=subprocess.DEVNULL)
    try:
        deadline_s = time.monotonic() + 60.0
        while len(workers := [pid for pid in children_of(killed.pid) if children_of(pid)]) < soak.PROCESSES:
            assert time.monotonic() < deadline_s  # each has begun to drive a car
            time.sleep(0.1)
    finally:
        killed.kill()
        killed.wait()
    while any(is_worker(pid) for pid in workers):
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def is_worker(pid: int) -> bool:
    try:
        return b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return False


@pytest.mark.realtime
def test_a_short_soak_of_every_process_on_the_real_clock_breaks_no_invariant(tmp_path):
    policy = str(write_policy(tmp_path / "straight"))
    with live_soak(policy, "aws", "oval", Console(stderr=True)) as soaking:
        seen = soaking.drive_stretch(7, 1.0)  # one second by the policy, then the board loses its power
    assert seen.broken == []
    assert seen.drives >= 1
    assert seen.simulated_s >= 1.0
    assert seen.is_live
    assert seen.memory_mb > 50
    assert seen.descriptors > 10
