"""Every process of a car, ended by every signal, in real time, as a table: `make deaths`.

It is not among the tests because it takes minutes; what it is made of is (`tests/hil/test_deaths.py`).
"""

import contextlib
import itertools
import os
import signal
import sys
import time
from collections.abc import Callable

from rich.console import Console
from rich.table import Table

from tests.hil.live import InconclusiveError, WholeCar, descendants_of, is_running, whole_car
from vehicle.hil_client import HilClient
from vehicle.messages import DriveState, Fault, Status

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV, signal.SIGSTOP)
DEAD_HOST_BOUND_S = 0.220
STOPPED_FOR_S = 1.0
"""Of a process that nobody kills for its silence."""
ATTEMPTS = 4
FAILURES = 2
"""A busy computer may take longer to start a process again than anybody waits; twice is a failure."""
GOODBYE_S = 8.0
BACK_S = 30.0


def vehicle(car: WholeCar, number: signal.Signals) -> str:
    """The motor has neutral within 220 ms; who comes back is disarmed, whoever keeps asking."""
    before = car.processes()["drive"]
    os.kill(before, number)
    neutral_s = car.neutral_after_last_command_s()
    assert neutral_s <= DEAD_HOST_BOUND_S, f"neutral after {neutral_s * 1e3:.0f} ms"
    car.wait_process("drive", before, BACK_S)
    back_ns = time.monotonic_ns()
    status = car.wait(lambda status: status.now_ns > back_ns and not status.not_ready, BACK_S)
    time.sleep(0.3)
    assert status.state is DriveState.DISARMED, status.sentence
    assert_undriven(car, back_ns)
    return f"neutral after {neutral_s * 1e3:.0f} ms; back, disarmed"


def beside(word: str) -> Callable[[WholeCar, signal.Signals], str]:
    """Return what is so of a process that the drive does not need."""

    def check(car: WholeCar, number: signal.Signals) -> str:
        before, began_ns = car.processes()[word], time.monotonic_ns()
        os.kill(before, number)
        time.sleep(STOPPED_FOR_S)
        if number is signal.SIGSTOP:
            os.kill(before, signal.SIGCONT)
        else:
            car.wait_process(word, before, BACK_S)
        drives_on(car)
        log = car.pulse_log()
        pulses = {pulse for pulse in log.pulses if pulse.t_ns > began_ns}
        assert pulses <= set(log.driven(car.neutral_us)), "the motor had neutral meanwhile"
        return "drives on; " + ("goes on" if number is signal.SIGSTOP else "back")

    return check


def world(car: WholeCar, number: signal.Signals) -> str:
    """As a camera that is unplugged: the car stops, and stays stopped when the world is back."""
    return hardware(car, "vehicle.hil.server", number, {Fault.CAMERA_LOST, Fault.CAMERA_OVERDUE})


def board(car: WholeCar, number: signal.Signals) -> str:
    """As a board that is unplugged: no pulses drive the motor, and none do when it is back."""
    return hardware(
        car,
        "vehicle.hil.board_process",
        number,
        {Fault.BOARD_LOST, Fault.BOARD_SILENT, Fault.BOARD_RESET, Fault.BOARD_REFUSED},
    )


def hardware(car: WholeCar, word: str, number: signal.Signals, named: set[Fault]) -> str:
    before = car.processes()[word]
    os.kill(before, number)
    status = car.wait(lambda status: status.state is DriveState.FAILSAFE)
    assert status.latched_fault in named, status.sentence
    time.sleep(0.3)
    if word != "vehicle.hil.server":
        with contextlib.closing(HilClient(car.hil_dir)) as client:
            assert client.truth_now().esc_pulse_us in {0.0, car.neutral_us}, "the motor is driven"
    stopped_ns = time.monotonic_ns()
    if number is signal.SIGSTOP:
        os.kill(before, signal.SIGCONT)
    else:
        car.wait_process(word, before, BACK_S)
    time.sleep(1.0)
    status = car.wait(lambda status: True)
    assert status.state is DriveState.FAILSAFE, status.sentence
    assert_undriven(car, stopped_ns)
    return f"{status.latched_fault}; " + ("goes on" if number is signal.SIGSTOP else "back") + ", stopped"


def supervisor(car: WholeCar, number: signal.Signals) -> str:
    """Nothing drives without it, and no process is left; one that is merely stopped stops nobody's stop."""
    family = [car.supervisor.pid, *descendants_of(car.supervisor.pid)]
    os.kill(car.supervisor.pid, number)
    if number is signal.SIGSTOP:
        time.sleep(STOPPED_FOR_S)
        drives_on(car)
        pressed_ns = time.monotonic_ns()
        assert car.client.emergency_stop().ok
        time.sleep(0.4)
        neutral_s = car.pulse_log().time_to_neutral_s(car.neutral_us, since_ns=pressed_ns)
        os.kill(car.supervisor.pid, signal.SIGCONT)
        assert neutral_s < DEAD_HOST_BOUND_S, f"neutral {neutral_s * 1e3:.0f} ms after the stop"
        time.sleep(1.0)
        assert car.wait(lambda status: True).latched_fault is Fault.EMERGENCY_STOP
        return f"drives on; emergency stop: neutral after {neutral_s * 1e3:.0f} ms; goes on, stopped"
    neutral_s = car.neutral_after_last_command_s()
    assert neutral_s <= DEAD_HOST_BOUND_S, f"neutral after {neutral_s * 1e3:.0f} ms"
    deadline_s = time.monotonic() + GOODBYE_S
    while left := [pid for pid in family if is_running(pid)]:
        assert time.monotonic() < deadline_s, f"orphans: {left}"
        time.sleep(0.05)
    return f"neutral after {neutral_s * 1e3:.0f} ms; no process is left"


PROCESSES: dict[str, Callable[[WholeCar, signal.Signals], str]] = {
    "vehicle": vehicle,
    "page": beside("web"),
    "recorder": beside("record"),
    "world": world,
    "board emulator": board,
    "supervisor": supervisor,
}


def drives_on(car: WholeCar) -> Status:
    """Require that the car drives; one that stopped because the computer is busy says nothing."""
    status = car.wait(lambda status: True)
    if status.state is DriveState.FAILSAFE:
        raise InconclusiveError(status.sentence)
    assert status.state is DriveState.AUTONOMOUS, status.sentence
    return status


def assert_undriven(car: WholeCar, since_ns: int) -> None:
    driven = [pulse for pulse in car.pulse_log().driven(car.neutral_us) if pulse.t_ns > since_ns]
    assert not driven, f"{len(driven)} pulses drive the motor again"


def seen(name: str, number: signal.Signals, wiring: str) -> tuple[str, bool]:
    """Return what was seen, and whether it was as it must be; what a busy computer spoilt is repeated."""
    failures: list[str] = []
    for _ in range(ATTEMPTS):
        try:
            with whole_car(wiring) as car:
                car.drive()
                return PROCESSES[name](car, number), True
        except InconclusiveError as error:
            why = str(error)
        except AssertionError as error:
            failures.append(why := str(error))
            if len(failures) == FAILURES:
                return why, False
    return f"no conclusive run in {ATTEMPTS}: {why}", False


def main() -> int:
    """Print the table; return 0 only when every row is as it must be. Words choose some processes."""
    chosen, console = sys.argv[1:] or list(PROCESSES), Console()
    table = Table("process", "signal", "seen", title="Every process, every signal")
    failed = 0
    for place, (name, number) in enumerate(itertools.product(chosen, SIGNALS)):
        text, is_right = seen(name, number, ("aws", "standard")[place % 2])
        failed += not is_right
        console.print(f"{name} {number.name}: {text}")
        table.add_row(name, number.name, text if is_right else f"[red]{text}[/red]")
    console.print(table)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
