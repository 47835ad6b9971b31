"""What every emulated actuator board is: bytes in, bytes and pulses out, in virtual time, without I/O.

Written from `docs/board-protocol.md` and the Maestro's manual alone, never from the drivers in
`vehicle.board`, so that a mistake is not made twice alike.
"""

from abc import ABC, abstractmethod
from typing import NamedTuple

import msgspec

from vehicle.hil.faults import NEVER_NS
from vehicle.hil.uart import SerialLine

PULSE_PERIOD_NS = 20_000_000  # 50 Hz
BUFFER_BYTES = 64  # each way, as in an ATmega328P's usual serial library


class PulseEvent(NamedTuple):
    """Both outputs at the start of one pulse period; 0 is no pulse."""

    t_ns: int
    steering_us: float
    throttle_us: float


class AcceptedCommand(NamedTuple):
    """One valid command, when the board took it."""

    t_ns: int
    armed: bool
    """Whether it was applied as armed."""
    steering_us: float
    """As commanded, before the board's clamps."""
    throttle_us: float


class CarWiring(msgspec.Struct, frozen=True):
    """The pulses of one car, as a board keeps them; which end is left or forward is the car's business."""

    steering_min_us: int
    steering_center_us: int
    steering_max_us: int
    throttle_min_us: int
    throttle_neutral_us: int
    throttle_max_us: int


WIRINGS = {
    "aws": CarWiring(1200, 1450, 1700, 1311, 1446, 1604),  # a DeepRacer: left 1700, forward 1311
    "standard": CarWiring(1100, 1500, 1900, 1100, 1500, 1900),  # left and forward 1900
}


class EmulatedBoard(ABC):
    """What all boards have: power, a boot, a program that can hang, buffers, and pulses every 20 ms.

    Every method takes the time, which never goes back. At one instant bytes are taken first, then timers
    run, then the pulse starts: a command that has arrived when a pulse starts is in that pulse.
    """

    HARDWARE_WATCHDOG_NS: int | None = None
    """How long a hang lasts; None: until somebody resets it."""

    def __init__(self, now_ns: int, line: SerialLine) -> None:
        self._line = line  # to the host
        self.boots = 0
        self._has_power = True
        self._is_stuck = False
        self._booting_until_ns: int | None = None
        self._hung_until_ns: int | None = None
        self._look_interval_ns = 0
        self._next_look_ns = NEVER_NS
        self._buffer = bytearray()
        self._sent_ns = 0  # when everything handed to the UART has left it
        self._battery_v = 0.0
        self._wheel_ticks = 0
        self._stop_input = False
        self._next_pulse_ns = -(-now_ns // PULSE_PERIOD_NS) * PULSE_PERIOD_NS
        self._pulses: list[PulseEvent] = []
        self._accepted: list[AcceptedCommand] = []

    def receive(self, data: bytes, now_ns: int) -> None:
        """Take bytes that have fully arrived now; a pulse that starts at this very time sees them."""
        self._run(now_ns - 1)
        if not self._has_power or self._booting_until_ns is not None:
            return
        if self._hung_until_ns is None and not self._look_interval_ns:
            self._take(data, now_ns)
        else:
            room = BUFFER_BYTES - len(self._buffer)
            self._buffer += data[:room]
            if len(data) > room:
                self._buffer_overflowed()

    def advance(self, now_ns: int) -> list[PulseEvent]:
        """Run timers up to and including now; return the pulses that started since the last call."""
        self._run(now_ns)
        pulses, self._pulses = self._pulses, []
        return pulses

    def transmit(self, now_ns: int) -> bytes:
        """Return the bytes that have left the board by now, and were not returned before."""
        return self._line.pop(now_ns)

    def flush(self) -> bytes:
        """Return everything that waits to leave the board, at once: for a host whose time stands still."""
        data = self._line.pop(NEVER_NS)
        self._line.clear()
        self._sent_ns = 0
        return data

    def next_event_ns(self) -> int:
        """Return when a timer is next due, or a pulse starts."""
        return min(self._next_pulse_ns, self._next_program_ns())

    def next_transmit_ns(self) -> int:
        """Return when there is next something to transmit."""
        return self._line.next_arrival_ns()

    def take_accepted(self) -> list[AcceptedCommand]:
        """Return the commands accepted since the last call."""
        accepted, self._accepted = self._accepted, []
        return accepted

    def set_inputs(self, battery_v: float, wheel_ticks: int, stop_input: bool, now_ns: int) -> None:
        """Set what the board measures from now on; `wheel_ticks` is cumulative."""
        self._battery_v = battery_v
        self._wheel_ticks = wheel_ticks
        if stop_input != self._stop_input:
            self._run(now_ns - 1)
            self._stop_input = stop_input
            if stop_input and self._program_runs():
                self._stop_pressed(now_ns)

    def reset(self, now_ns: int, bootloader_s: float = 0.0) -> None:
        """Boot again, after this time in a bootloader that ignores the line and makes no pulses."""
        self._run(now_ns - 1)
        self.boots = (self.boots + 1) % 256
        self._hung_until_ns = None
        self._buffer.clear()
        self._line.clear()
        self._sent_ns = now_ns
        self._booting_until_ns = now_ns + round(bootloader_s * 1e9)
        self._run_program_timers(now_ns)

    def hang(self, now_ns: int) -> None:
        """Stop the program; the timer hardware goes on making the pulses it was set to."""
        self._run(now_ns - 1)
        limit_ns = self.HARDWARE_WATCHDOG_NS
        self._hung_until_ns = NEVER_NS if limit_ns is None else now_ns + limit_ns

    def set_stuck(self, on: bool, now_ns: int) -> None:
        """Hang now and again after every boot, until switched off; then boot."""
        self._is_stuck = on
        if on:
            self.hang(now_ns)
        elif self._has_power:
            self.reset(now_ns)

    def set_power(self, on: bool, now_ns: int) -> None:
        """Take the power away, or give it back, which is a boot."""
        self._run(now_ns - 1)
        self._line.clear()
        self._has_power = on
        if on:
            self.reset(now_ns)

    def set_slow(self, interval_s: float | None, now_ns: int) -> None:
        """Look at the received bytes only this often; None is at once."""
        self._run(now_ns - 1)
        self._look_interval_ns = 0 if interval_s is None else round(interval_s * 1e9)
        self._next_look_ns = now_ns + self._look_interval_ns if self._look_interval_ns else NEVER_NS
        if not self._look_interval_ns:
            self._look(now_ns)

    @property
    @abstractmethod
    def wiring(self) -> CarWiring | None:
        """What the board keeps about its car."""

    @abstractmethod
    def set_wiring(self, wiring: CarWiring | None, now_ns: int) -> None:
        """Replace what the board keeps, as another car's board would have it; None is nothing."""

    @abstractmethod
    def set_version(self, version: int | None) -> None:
        """Claim another version of the protocol; None is the true one. Some boards have none."""

    def set_watchdog(self, seconds: float | None, *, is_told: bool = True) -> None:  # noqa: B027 # where it can be
        """Wait so long for a command before it stops by itself; None: as it should be.

        `is_told`: and say so, where its protocol has a word for it.
        """

    def latch_error(self, bit: int, now_ns: int) -> None:  # noqa: B027 # where there are any
        """Set this error, which stays until the host does what ends it, and stop for it."""

    def set_script(self, on: bool, now_ns: int) -> None:  # noqa: B027 # where one can be stored
        """Begin or end the stored script."""

    @abstractmethod
    def _boot(self, now_ns: int) -> None:
        """Start the program."""

    @abstractmethod
    def _take(self, data: bytes, now_ns: int) -> None:
        """Handle received bytes."""

    @abstractmethod
    def _buffer_overflowed(self) -> None:
        """Learn that received bytes were lost: a full buffer loses the newest."""

    @abstractmethod
    def _stop_pressed(self, now_ns: int) -> None:
        """Handle the stop switch."""

    @abstractmethod
    def _next_timer_ns(self) -> int:
        """Return when the program's own timers are next due."""

    @abstractmethod
    def _timer_due(self, now_ns: int) -> None:
        """Handle the timer that is due now."""

    @abstractmethod
    def _outputs_us(self, now_ns: int) -> tuple[float, float]:
        """Return the steering and throttle widths in force for a pulse that starts now."""

    def _reply(self, data: bytes, now_ns: int) -> None:
        """Send bytes to the host; what does not fit into the send buffer is lost whole."""
        waiting_ns = max(0, self._sent_ns - now_ns)
        if waiting_ns + len(data) * self._line.byte_ns <= BUFFER_BYTES * self._line.byte_ns:
            self._sent_ns = now_ns + waiting_ns + len(data) * self._line.byte_ns
            self._line.push(data, now_ns)

    def _program_runs(self) -> bool:
        return self._has_power and self._booting_until_ns is None and self._hung_until_ns is None

    def _run(self, until_ns: int) -> None:
        while (due_ns := self.next_event_ns()) <= until_ns:
            if self._next_program_ns() == due_ns:
                self._run_program_timers(due_ns)
            if self._next_pulse_ns == due_ns:
                makes_pulses = self._has_power and self._booting_until_ns is None
                widths = self._outputs_us(due_ns) if makes_pulses else (0.0, 0.0)
                self._pulses.append(PulseEvent(due_ns, *widths))
                self._next_pulse_ns += PULSE_PERIOD_NS

    def _next_program_ns(self) -> int:
        if not self._has_power:
            return NEVER_NS
        if self._booting_until_ns is not None:
            return self._booting_until_ns
        if self._hung_until_ns is not None:
            return self._hung_until_ns
        return min(self._next_look_ns, self._next_timer_ns())

    def _run_program_timers(self, now_ns: int) -> None:
        if self._booting_until_ns is not None:
            if self._booting_until_ns <= now_ns:
                self._booting_until_ns = None
                self._boot(now_ns)
                if self._is_stuck:
                    self.hang(now_ns)
        elif self._hung_until_ns is not None:
            self.reset(now_ns)
        else:
            if self._next_look_ns <= now_ns:
                self._next_look_ns = now_ns + self._look_interval_ns
                self._look(now_ns)
            if self._next_timer_ns() <= now_ns:
                self._timer_due(now_ns)

    def _look(self, now_ns: int) -> None:
        data = bytes(self._buffer)
        self._buffer.clear()
        if data:
            self._take(data, now_ns)
