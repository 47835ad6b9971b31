"""Processes die in real time, and the motor gets neutral: by the board's own diary of pulses."""

import contextlib
import os
import signal
import time
import urllib.request
from collections.abc import Iterator

import msgspec
import pytest

from tests.hil.blocked_disk import FULL, why_unblockable
from tests.hil.live import (
    START_LIMIT_S,
    WORDS,
    CarPark,
    InconclusiveError,
    LiveCar,
    WholeCar,
    conclusive_with_all,
    descendants_of,
    is_running,
)
from tests.unit.killed_calls import UntraceableError, let_go, seize
from vehicle.messages import DriveState, Fault, RequestKind, TickRecord
from vehicle.rate import Trigger
from vehicle.remote_client import VehicleClient
from vehicle.run_file import read
from vehicle.run_schemas import Topic
from vehicle.runs import RunShelf
from webui.recording import Recording

DEAD_HOST_BOUND_S = 0.220
LEASE_BOUND_S = 1.5 + 0.25 + 0.25
"""The lease, a renewal that was on its way, and the page's own period of looking."""

GOODBYE_S = 5.0
"""For every process to be gone whose supervisor was killed."""

pytestmark = [pytest.mark.realtime, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def park() -> Iterator[CarPark]:
    """Cars for all tests of this module, since starting one takes seconds."""
    park = CarPark()
    yield park
    park.close()


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    yield
    os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def debugged(pid: int) -> Iterator[None]:
    """Hold every thread as a debugger does that has come to a breakpoint."""
    threads = [int(thread) for thread in os.listdir(f"/proc/{pid}/task")]
    try:
        for thread in threads:
            seize(thread)
    except UntraceableError as error:
        pytest.skip(str(error))
    yield
    for thread in threads:
        let_go(thread)


@pytest.mark.parametrize("paused", [stopped, debugged])
def test_a_vehicle_that_was_paused_says_neutral_first_and_stays_in_failsafe(park, paused):
    def check(car: LiveCar) -> None:
        car.drive()
        with paused(car.vehicle.pid):
            time.sleep(0.5)
            went_on_ns = time.monotonic_ns()
        status = car.wait(lambda status: status.state is DriveState.FAILSAFE)
        time.sleep(0.5)

        assert status.latched_fault is Fault.HOST_STALLED
        assert not car.is_driven()
        said = [command for command in car.pulse_log().commands if command.t_ns > went_on_ns]
        assert said
        assert not any(command.armed for command in said)
        assert {command.throttle_us for command in said} == {car.neutral_us}

    park.conclusive(check)


def test_a_driver_who_dies_stops_the_car_when_the_lease_runs_out(park):
    def check(car: LiveCar) -> None:
        car.drive()
        began_s = time.monotonic()
        car.let_go()
        status = car.wait(lambda status: status.state is DriveState.FAILSAFE)

        assert status.latched_fault is Fault.LEASE_LOST
        assert time.monotonic() - began_s < LEASE_BOUND_S
        car.assert_neutral_pulses_go_on()

    park.conclusive(check)


def test_an_emergency_stop_by_a_watcher_stops_the_car_at_once(park):
    def check(car: LiveCar) -> None:
        car.drive()
        began_ns = time.monotonic_ns()
        assert car.client.emergency_stop().ok
        time.sleep(0.3)

        neutral_s = car.pulse_log().time_to_neutral_s(car.neutral_us, since_ns=began_ns)
        assert neutral_s < 0.100
        car.wait(lambda status: status.latched_fault is Fault.EMERGENCY_STOP)
        car.ask(RequestKind.DISARM)

    park.conclusive(check)


def test_an_emergency_stop_is_obeyed_before_the_next_tick_is_due(park):
    def check(car: LiveCar) -> None:
        with VehicleClient(car.run_dir, "watcher", records=True) as watcher:
            assert watcher.wait_status(lambda _: True, 5.0) is not None
            for _ in range(8):  # one of them may come when a tick is due
                assert watcher.emergency_stop().ok
        triggers = [record.trigger for record in watcher.records(0.0) if record.requests]
        assert Trigger.STOP in triggers
        car.ask(RequestKind.DISARM)

    park.conclusive(check)


@pytest.mark.parametrize(
    ("killer", "wiring"),
    [
        (signal.SIGKILL, "aws"),
        (signal.SIGSTOP, "standard"),
        (signal.SIGTERM, "aws"),
        (signal.SIGSEGV, "standard"),
    ],
)
def test_a_dead_or_stopped_vehicle_leaves_neutral_pulses_within_220_ms(park, wiring, killer):
    def check(car: LiveCar) -> None:
        car.drive()
        os.kill(car.vehicle.pid, killer)
        assert car.neutral_after_last_command_s() <= DEAD_HOST_BOUND_S

    park.conclusive(check, wiring)


@pytest.mark.parametrize(
    ("illness", "wiring"),
    [("hungry", "aws"), ("endless", "standard"), ("deaf", "aws"), ("mute", "standard")],
)
def test_a_vehicle_without_memory_answer_or_disk_leaves_neutral_pulses_within_220_ms(park, illness, wiring):
    def check(car: LiveCar) -> None:
        car.drive()
        car.fall_ill(illness)
        assert car.neutral_after_last_command_s() <= DEAD_HOST_BOUND_S
        assert (car.vehicle.poll() is None) == (illness != "hungry")  # without memory it crashes
        car.assert_neutral_pulses_go_on()

    park.conclusive(check, wiring)


def test_a_thread_that_hogs_the_interpreter_is_a_stalled_host(park):
    def check(car: LiveCar) -> None:
        car.drive()
        car.fall_ill("hog")
        status = car.wait(lambda status: status.state is DriveState.FAILSAFE)

        assert status.latched_fault is Fault.HOST_STALLED
        assert car.neutral_after_last_command_s() <= DEAD_HOST_BOUND_S

    park.conclusive(check)


def test_a_dying_world_stops_the_car(park):
    def check(car: LiveCar) -> None:
        car.drive()
        assert car.hil.world is not None
        car.hil.world.kill()
        status = car.wait(lambda status: status.state is DriveState.FAILSAFE)

        assert status.latched_fault in {Fault.CAMERA_LOST, Fault.CAMERA_OVERDUE}
        car.assert_neutral_pulses_go_on()

    park.conclusive(check)


def test_a_dying_board_is_a_lost_board(park):
    def check(car: LiveCar) -> None:
        car.drive()
        assert car.hil.board is not None
        car.hil.board.kill()
        status = car.wait(lambda status: status.state is DriveState.FAILSAFE)
        time.sleep(0.3)

        assert status.latched_fault in {Fault.BOARD_LOST, Fault.BOARD_SILENT}
        assert car.hil.client.truth_now().esc_pulse_us == 0.0  # without pulses the ESC lets the motor go

    park.conclusive(check)


def test_a_car_drives_on_without_recorder_and_page_and_nothing_drives_without_its_supervisor():
    def check(car: WholeCar) -> None:
        car.drive()
        family, children = descendants_of(car.supervisor.pid), car.processes()
        assert set(children) == set(WORDS)

        began_ns = time.monotonic_ns()
        os.kill(children["record"], signal.SIGSTOP)
        assert "does not answer" in car.wait_recording(Recording.NOT_RECORDING).problem
        os.kill(children["record"], signal.SIGKILL)
        os.kill(children["web"], signal.SIGKILL)
        time.sleep(0.5)
        status = car.wait(lambda status: True)
        log = car.pulse_log()
        pulses = [pulse for pulse in log.pulses if pulse.t_ns > began_ns]
        if status.state is DriveState.FAILSAFE:
            raise InconclusiveError(status.sentence)  # the driver and the car share this computer
        assert status.state is DriveState.AUTONOMOUS
        assert set(pulses) <= set(log.driven(car.neutral_us))
        car.wait_process("record", children["record"])
        car.wait_process("web", children["web"])
        deadline_s = time.monotonic() + START_LIMIT_S
        told = set(Recording) - {Recording.STARTING}
        while car.wait_recording(*told).state is not Recording.RECORDING:
            status = car.wait(lambda status: True)
            if status.state is DriveState.FAILSAFE:
                raise InconclusiveError(status.sentence)
            assert time.monotonic() < deadline_s, "the recorder does not go on"
        status = car.wait(lambda status: True)
        if status.state is DriveState.FAILSAFE:
            raise InconclusiveError(status.sentence)
        assert status.state is DriveState.AUTONOMOUS

        family += descendants_of(car.supervisor.pid)
        car.supervisor.kill()
        assert car.neutral_after_last_command_s() <= DEAD_HOST_BOUND_S
        deadline_s = time.monotonic() + GOODBYE_S
        while any(is_running(pid) for pid in family):
            assert time.monotonic() < deadline_s, "an orphan lives on"
            time.sleep(0.05)
        assert_kept_but_for_a_second(car, until_ns=began_ns)

    conclusive_with_all(check)


def assert_kept_but_for_a_second(car: WholeCar, until_ns: int) -> None:
    """One run goes up to the last second before its recorder stopped; another goes on with the same drive."""
    shelf = RunShelf(car.runs_dir)
    shelf.mend()  # where the car's own mender did not get to it
    after, before = shelf.runs()
    assert before.note.startswith("cut off")
    ticks = [entry.time_ns for entry in read(shelf.find(before.name), [Topic.EXACT_TICK])]
    assert ticks[0] == before.started_ns
    assert until_ns - 1.1e9 < ticks[-1] < until_ns + 0.1e9  # a chunk may wait to be written for 0.9 s
    assert "the car was driving already" in after.note
    states = [
        msgspec.msgpack.decode(entry.data, type=TickRecord).state
        for entry in read(shelf.find(after.name), [Topic.EXACT_TICK])
    ]
    assert states[0] is DriveState.AUTONOMOUS
    assert ticks[-1] < after.started_ns


@pytest.mark.parametrize("how", ["", FULL])
def test_a_car_whose_disk_blocks_or_is_full_drives_on_says_that_nothing_is_recorded_and_can_be_stopped(how):
    def check(car: WholeCar) -> None:
        car.drive()
        recorder = car.processes()["record"]
        car.wait_page()
        began_ns = time.monotonic_ns()
        car.break_disk(how)
        car.wait_recording(Recording.NOT_RECORDING)
        time.sleep(1.0)
        held = car.block.with_suffix(".seen").read_text().splitlines()
        assert any("record" in words.split() for words in held)

        status = car.wait(lambda status: True)
        if status.state is DriveState.FAILSAFE:
            raise InconclusiveError(status.sentence)  # the driver and the car share this computer
        log = car.pulse_log()
        pulses = [pulse for pulse in log.pulses if pulse.t_ns > began_ns]
        assert len(pulses) > 50  # of 50 in a second
        assert set(pulses) <= set(log.driven(car.neutral_us))

        stopped_ns = time.monotonic_ns()
        page = f"http://127.0.0.1:{car.port}"
        stop = urllib.request.Request(f"{page}/emergency-stop", method="POST", headers={"Origin": page})
        with urllib.request.urlopen(stop, timeout=5.0) as answer:
            assert answer.status == 200
        time.sleep(0.3)
        assert car.pulse_log().time_to_neutral_s(car.neutral_us, since_ns=stopped_ns) < 0.5
        assert car.wait(lambda status: True).latched_fault is Fault.EMERGENCY_STOP
        car.block.unlink()
        if how == FULL:  # which is said until the next drive
            car.ask(RequestKind.DISARM)
            car.drive()
            car.wait_recording(Recording.RECORDING)
        else:
            car.wait_recording(Recording.READY)
        assert car.processes()["record"] == recorder  # it went on by itself

    if reason := why_unblockable():
        pytest.skip(reason)
    conclusive_with_all(check, may_block=True)


@pytest.mark.parametrize("victim", ["drive", "run"])
def test_whoever_dies_on_a_full_disk_leaves_the_car_neutral_within_220_ms_and_disarmed(victim):
    def check(car: WholeCar) -> None:
        car.drive()
        car.break_disk(FULL)
        time.sleep(0.5)
        if car.wait(lambda status: True).state is DriveState.FAILSAFE:
            raise InconclusiveError("the computer was too busy for driving at all")
        pid = car.supervisor.pid if victim == "run" else car.processes()["drive"]
        os.kill(pid, signal.SIGKILL)
        assert car.neutral_after_last_command_s() <= DEAD_HOST_BOUND_S
        if victim == "drive":
            car.block.unlink()  # until then not even its log may have room
            car.wait_process("drive", pid)
            died_ns = time.monotonic_ns()
            status = car.wait(lambda status: status.now_ns > died_ns, 20.0)
            assert status.state is DriveState.DISARMED

    if reason := why_unblockable():
        pytest.skip(reason)
    conclusive_with_all(check, may_block=True)


def test_a_vehicle_that_hangs_is_killed_and_comes_back_disarmed_whoever_keeps_asking():
    def check(car: WholeCar) -> None:
        car.drive()
        hung = car.processes()["drive"]
        os.kill(hung, signal.SIGSTOP)
        assert car.neutral_after_last_command_s() <= DEAD_HOST_BOUND_S
        car.wait_process("drive", hung)
        hung_ns = time.monotonic_ns()
        status = car.wait(lambda status: status.now_ns > hung_ns and not status.not_ready, 20.0)
        time.sleep(0.3)  # of a driver who goes on renewing

        assert status.state is DriveState.DISARMED
        assert status.policy == "circle"
        assert not [pulse for pulse in car.pulse_log().driven(car.neutral_us) if pulse.t_ns > hung_ns]

    conclusive_with_all(check, "standard")
