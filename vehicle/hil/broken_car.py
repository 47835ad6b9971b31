"""What is broken behind the board: servo, ESC, battery and wheel sensor."""

from collections import deque
from collections.abc import Iterable

from vehicle.hil.boards import PulseEvent
from vehicle.hil.faults import FaultSchedule, Part


class BrokenCar:
    """Stands between the board's pins and the car; with nothing broken everything passes unchanged."""

    def __init__(self, faults: FaultSchedule, center_us: float) -> None:
        self._faults = faults
        self._center_us = center_us
        self._late: deque[PulseEvent] = deque()
        self._stuck_ticks: int | None = None

    def pulses(self, pulses: Iterable[PulseEvent], now_ns: int) -> list[PulseEvent]:
        """Return the pulses that servo and ESC take, in order."""
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
            return self._faults.random(Part.CAR, "garbage").randrange(0x10000)
        if not self._faults.is_on(Part.CAR, "ticks_stuck"):
            self._stuck_ticks = None
            return rolled
        if self._stuck_ticks is None:
            self._stuck_ticks = rolled
        return self._stuck_ticks

    def _is_lost(self) -> bool:
        share = self._faults.amount(Part.CAR, "intermittent")
        return share is not None and self._faults.random(Part.CAR, "intermittent").random() < share

    def _as_taken(self, pulse: PulseEvent) -> PulseEvent:
        """Return a pulse as servo and ESC see it; 0 us leaves a servo where it is, an ESC without drive."""
        steering_us, throttle_us = pulse.steering_us, pulse.throttle_us
        if self._faults.is_on(Part.CAR, "wrong") and steering_us:
            steering_us = 2 * self._center_us - steering_us
        if self._faults.is_on(Part.CAR, "stuck"):
            steering_us = 0.0
        if self._faults.is_on(Part.CAR, "off"):
            throttle_us = 0.0
        return PulseEvent(pulse.t_ns, steering_us, throttle_us)
