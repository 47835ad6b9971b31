"""The board's own diary: every pulse it started and every command it accepted, one line each.

    pulse <t_ns> <steering_us> <throttle_us> <late_ns>
    command <t_ns> <armed|disarmed> <steering_us> <throttle_us>

`late_ns` is how much later than `t_ns` the emulator's process woke up (0 in lockstep).
"""

from collections.abc import Iterable
from pathlib import Path

import msgspec

from vehicle.hil.boards import AcceptedCommand, PulseEvent

NEUTRAL_TOLERANCE_US = 2.5


class PulseLogWriter:
    """Writes the diary; each line at once where `unbuffered`."""

    def __init__(self, path: Path, *, unbuffered: bool) -> None:
        self._file = path.open("w", buffering=1 if unbuffered else -1, encoding="ascii")

    def pulses(self, pulses: Iterable[PulseEvent], noticed_ns: int | None = None) -> None:
        """Write down pulses, and how late they were noticed; None: in time."""
        for pulse in pulses:
            late_ns = 0 if noticed_ns is None else noticed_ns - pulse.t_ns
            self._file.write(f"pulse {pulse.t_ns} {pulse.steering_us} {pulse.throttle_us} {late_ns}\n")

    def commands(self, commands: Iterable[AcceptedCommand]) -> None:
        """Write down commands that were accepted."""
        for command in commands:
            word = "armed" if command.armed else "disarmed"
            self._file.write(f"command {command.t_ns} {word} {command.steering_us} {command.throttle_us}\n")

    def flush(self) -> None:
        """Let readers see everything."""
        self._file.flush()

    def close(self) -> None:
        """Finish."""
        self._file.close()


class PulseLog(msgspec.Struct, frozen=True):
    """The diary, read."""

    pulses: tuple[PulseEvent, ...]
    commands: tuple[AcceptedCommand, ...]
    latest_ns: int = 0
    """How late the emulator's process woke up at worst."""

    def driven(self, neutral_us: float) -> tuple[PulseEvent, ...]:
        """Return the pulses that would move a car of this neutral."""
        return tuple(
            pulse
            for pulse in self.pulses
            if pulse.throttle_us and abs(pulse.throttle_us - neutral_us) > NEUTRAL_TOLERANCE_US
        )

    def time_to_neutral_s(self, neutral_us: float, since_ns: int | None = None) -> float:
        """Return the time from `since_ns` (else the last driving command) to the first neutral pulse.

        Negative when the car was neutral before; infinite while it still drives.
        """
        driven = self.driven(neutral_us)
        if since_ns is None:
            driving = [
                command.t_ns
                for command in self.commands
                if command.armed and abs(command.throttle_us - neutral_us) > NEUTRAL_TOLERANCE_US
            ]
            since_ns = driving[-1] if driving else 0
        last_driven_ns = driven[-1].t_ns if driven else 0
        neutral = [pulse.t_ns for pulse in self.pulses if pulse.t_ns > last_driven_ns]
        return (neutral[0] - since_ns) / 1e9 if neutral else float("inf")


def read_pulse_log(path: Path) -> PulseLog:
    """Read the diary as far as it is written; a last line cut short is left out."""
    text = path.read_text(encoding="ascii")
    return parse_pulse_log(text[: text.rfind("\n") + 1].splitlines())


def parse_pulse_log(lines: Iterable[str]) -> PulseLog:
    """Return what these whole lines of the diary say."""
    pulses, commands, latest_ns = [], [], 0
    for line in lines:
        kind, t_ns, *values = line.split()
        if kind == "pulse":
            pulses.append(PulseEvent(int(t_ns), float(values[0]), float(values[1])))
            latest_ns = max(latest_ns, int(values[2]))
        else:
            commands.append(
                AcceptedCommand(int(t_ns), values[0] == "armed", float(values[1]), float(values[2]))
            )
    return PulseLog(tuple(pulses), tuple(commands), latest_ns)
