"""What is broken behind the board: servo, ESC, battery and wheel sensor."""

from collections import deque
from collections.abc import Iterable
from typing import Protocol

from vehicle.hil.boards import CarWiring, PulseEvent
from vehicle.hil.dynamics import REVERSE_DIRECT, REVERSE_NONE
from vehicle.hil.faults import FaultChange, FaultSchedule, Part

COUNTS = 0x10000  # the wheel sensor's count has 16 bits
BEFORE_WRAP = 5
SERVO_S = 0.175  # from lock to lock, of a sound one at a pulse every 20 ms
PULSE_S = 0.020


class Esc(Protocol):
    """The speed controller of a simulated car."""

    def power_cycle_esc(self) -> None:
        """Switch it off and on."""
        ...

    def set_reverse_mode(self, mode: float | None) -> None:
        """Have it make this of a pull beyond neutral; None: what it was built to do."""
        ...


def break_esc(esc: Esc, change: FaultChange) -> None:
    """Carry out a fault of the ESC itself, which the schedule has just switched."""
    match change.part, change.fault:
        case Part.CAR, "esc_not_armed":
            esc.power_cycle_esc()
        case Part.CAR, "reverse_brakes":
            esc.set_reverse_mode(REVERSE_NONE if change.on else None)
        case Part.CAR, "reverse_at_once":
            esc.set_reverse_mode(REVERSE_DIRECT if change.on else None)


class BrokenCar:
    """Stands between the board's pins and the car; with nothing broken everything passes unchanged."""

    def __init__(self, faults: FaultSchedule, wiring: CarWiring) -> None:
        self._faults = faults
        self._wiring = wiring
        self._late: deque[PulseEvent] = deque()
        self._servo_us = float(wiring.steering_center_us)
        self._ticks_before: dict[str, int] = {}
        """What was counted when a fault of the wheel sensor began."""

    def pulses(self, pulses: Iterable[PulseEvent], now_ns: int) -> list[PulseEvent]:
        """Return the pulses that servo and ESC take, in order."""
        if (stick := self._faults.amount(Part.BOARD, "rc_takeover")) is not None:
            pulses = [self._by_radio(pulse, stick) for pulse in pulses]
        if not self._faults.any_on(Part.CAR) and not self._late:
            return list(pulses)
        delay_ns = round((self._faults.amount(Part.CAR, "delayed") or 0.0) * 1e9)
        for pulse in pulses:
            if not self._is_lost():
                self._late.append(self._as_taken(pulse._replace(t_ns=pulse.t_ns + delay_ns)))
        due = []
        while self._late and self._late[0].t_ns <= now_ns:
            due.append(self._late.popleft())
        return due

    def battery_v(self, measured_v: float) -> float:
        """Return what the drive battery gives."""
        if self._faults.is_on(Part.CAR, "off"):
            return 0.0
        low_v = self._faults.amount(Part.CAR, "slow")
        return measured_v if low_v is None else low_v

    def wheel_ticks(self, rolled: int) -> int:
        """Return what the wheel sensor has counted."""
        if self._faults.is_on(Part.CAR, "garbage"):
            return self._faults.random(Part.CAR, "garbage").randrange(COUNTS)
        before, counted = self._ticks_before, rolled
        for fault in ("ticks_stuck", "ticks_lost", "ticks_doubled", "ticks_backwards", "ticks_wrap"):
            amount = self._faults.amount(Part.CAR, fault)
            if amount is None:
                before.pop(fault, None)
                continue
            began = before.setdefault(fault, counted)
            counted = began + _miscounted(fault, amount, counted - began, began)
        return counted

    def _by_radio(self, pulse: PulseEvent, stick: float) -> PulseEvent:
        """Return what a radio's receiver gives in the place of the board's pulse."""
        wiring = self._wiring
        neutral_us = float(wiring.throttle_neutral_us)
        end_us = wiring.throttle_max_us if stick > 0 else wiring.throttle_min_us
        throttle_us = neutral_us + abs(stick) * (end_us - neutral_us)
        return PulseEvent(pulse.t_ns, float(wiring.steering_center_us), throttle_us)

    def _is_lost(self) -> bool:
        share = self._faults.amount(Part.CAR, "intermittent")
        return share is not None and self._faults.random(Part.CAR, "intermittent").random() < share

    def _as_taken(self, pulse: PulseEvent) -> PulseEvent:
        """Return a pulse as servo and ESC see it; 0 us leaves a servo where it is, an ESC without drive."""
        steering_us, throttle_us = pulse.steering_us, pulse.throttle_us
        if steering_us:
            steering_us = self._servo_us = self._as_steered(steering_us)
        if self._faults.is_on(Part.CAR, "stuck"):
            steering_us = 0.0
        if self._faults.is_on(Part.CAR, "off"):
            throttle_us = 0.0
        elif throttle_us:
            throttle_us -= self._faults.amount(Part.CAR, "esc_trim") or 0.0
        return PulseEvent(pulse.t_ns, steering_us, throttle_us)

    def _as_steered(self, steering_us: float) -> float:
        """Return where the servo goes in the time of one pulse."""
        wiring = self._wiring
        center_us = float(wiring.steering_center_us)
        if self._faults.is_on(Part.CAR, "wrong"):
            steering_us = 2 * center_us - steering_us
        if (share := self._faults.amount(Part.CAR, "servo_limited")) is not None:
            lowest_us = center_us - share * (center_us - wiring.steering_min_us)
            highest_us = center_us + share * (wiring.steering_max_us - center_us)
            steering_us = min(max(steering_us, lowest_us), highest_us)
        if (share := self._faults.amount(Part.CAR, "servo_slow")) is not None:
            turn_us = share * (wiring.steering_max_us - wiring.steering_min_us) * PULSE_S / SERVO_S
            steering_us = min(max(steering_us, self._servo_us - turn_us), self._servo_us + turn_us)
        return steering_us


def _miscounted(fault: str, amount: float, rolled: int, began: int) -> int:
    """Return what a broken wheel sensor makes of so many counts since its fault began."""
    match fault:
        case "ticks_stuck":
            return 0
        case "ticks_lost":
            return int(rolled * (1.0 - amount))
        case "ticks_doubled":
            return 2 * rolled
        case "ticks_backwards":
            return -rolled
        case _:
            return rolled + COUNTS - BEFORE_WRAP - began % COUNTS
