"""The board of a real-time HIL car: a process of its own, since a real one outlives every computer's death.

It has deadlines that do not drift, writes down every pulse, and needs nobody: without a world it goes
on reading bytes and making pulses. `python -m vehicle.hil.board_process SETTINGS_AS_JSON`.
"""

import os
import select
import sys
import time
from collections.abc import Callable

from vehicle.hil.faults import FaultChange, FaultSchedule, Part, parse_fault
from vehicle.hil.mailbox import Broken, Mailbox, Measured, Pulses
from vehicle.hil.orders import switch_fault
from vehicle.hil.port import BoardPort
from vehicle.hil.pulse_log import PulseLogWriter
from vehicle.hil.settings import (
    HilSettings,
    board_link,
    board_mailbox,
    claim,
    from_json,
    prepare_hil_dir,
    pulse_log,
    world_mailbox,
)
from vehicle.hil.wired_board import WiredBoard
from vehicle.realtime import use_fifo
from vehicle.supervisor import StopSignal, exit_status

PRIORITY = 60  # above every process of ours where it is permitted: hardware waits for no scheduler
LONGEST_WAIT_S = 0.05


class BoardProcess:
    """The emulated board, its port, its diary and its line to the world."""

    def __init__(self, settings: HilSettings) -> None:
        prepare_hil_dir(settings.hil_dir)
        hil_dir = settings.hil_dir
        self._lock = claim(hil_dir, "board")
        now_ns = time.monotonic_ns()
        self._start_ns = settings.start_ns or now_ns
        self._faults = FaultSchedule(
            (parse_fault(text) for text in settings.faults), seed=settings.seed, start_ns=self._start_ns
        )
        self._log = PulseLogWriter(pulse_log(hil_dir), unbuffered=True)
        self._mailbox: Mailbox[Measured | Broken] = Mailbox(
            board_mailbox(hil_dir), Measured | Broken, world_mailbox(hil_dir)
        )
        self._board = WiredBoard(settings, self._faults, now_ns)
        self._port = BoardPort(board_link(hil_dir))
        self._port.plug()

    def run(self, is_stopping: Callable[[], bool]) -> None:
        """Be a board until told to stop."""
        while not is_stopping():
            self._wait()
            now_ns = time.monotonic_ns()
            self._read_letters(now_ns)
            for change in self._faults.advance(now_ns):
                self._apply(change, now_ns)

            self._receive(now_ns)
            pulses = self._board.advance(now_ns)
            self._port.write(self._board.read(now_ns))

            if pulses:
                self._mailbox.send(Pulses(tuple(pulses)))
            self._log.pulses(pulses, now_ns)
            self._log.commands(self._board.take_accepted())

    def close(self) -> None:
        """Put everything away."""
        self._port.unplug()
        self._mailbox.close()
        self._log.close()
        os.close(self._lock)

    def _wait(self) -> None:
        due_ns = min(self._board.next_event_ns(), self._board.next_read_ns(), self._faults.next_change_ns)
        wait_s = min(max((due_ns - time.monotonic_ns()) / 1e9, 0.0), LONGEST_WAIT_S)
        waiting = [self._mailbox.fileno()]
        if not self._board.is_backed_up:
            waiting += self._port.filenos()
        select.select(waiting, [], [], wait_s)

    def _receive(self, now_ns: int) -> None:
        if self._board.is_backed_up:
            return
        data = self._port.read()
        if data is None:
            self._port.replace()
        elif data:
            if not self._port.baud_is(self._board.expected_baud):
                data = self._board.garble_for_wrong_baud(data)
            self._board.write(data, now_ns)

    def _read_letters(self, now_ns: int) -> None:
        for letter in self._mailbox.receive():
            if isinstance(letter, Measured):
                self._board.measure(letter.battery_v, letter.wheel_ticks, now_ns)
            else:
                switch_fault(letter.order, self._faults, (now_ns - self._start_ns) / 1e9)

    def _apply(self, change: FaultChange, now_ns: int) -> None:
        self._board.apply(change, now_ns)
        if (change.part, change.fault) == (Part.BOARD, "unplugged"):
            self._port.set_plugged(not change.on)
        elif (change.part, change.fault) == (Part.BOARD, "another_device"):
            self._port.change_hands()


def run_board(settings: HilSettings) -> None:
    """Be the board until SIGTERM or SIGINT; raises HilError when it cannot start."""
    stopping = StopSignal(is_hardware=True)
    use_fifo(PRIORITY)
    process = BoardProcess(settings)
    try:
        process.run(stopping)
    finally:
        process.close()


def main() -> int:
    """Run the board with the settings given as JSON."""
    return exit_status(lambda: run_board(from_json(sys.argv[1])))


if __name__ == "__main__":
    sys.exit(main())
