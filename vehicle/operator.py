"""Who drives: the lease, and which requests count. No I/O; time is an argument."""

import math
from collections.abc import Callable

import msgspec

from calibration.car import MIN_SPAN_US, PULSE_MAX_US, PULSE_MIN_US
from vehicle.limits import LeaseLimits
from vehicle.messages import (
    GUARDED_STATES,
    HANDS_ON_STATES,
    MOVING_STATES,
    Actuator,
    DriveAction,
    DriveState,
    OperatorRequest,
    Reply,
    RequestKind,
)
from vehicle.state import DriveMode, EventKind, OperatorEvent

REQUEST_AGE_LIMIT_S = 0.2
CALIBRATION_SILENCE_LIMIT_S = 0.2  # then a pulse rests, so that neutral comes before the lease is out
REST_MIN_US, REST_MAX_US = PULSE_MIN_US + MIN_SPAN_US, PULSE_MAX_US - MIN_SPAN_US
REMEMBERED_IDS = 1024  # for longer than a request stays fresh: 0.4 s at 16 a tick and 120 ticks a second


class Lease(msgspec.Struct, frozen=True):
    """One driver at a time; the others watch."""

    holder: str = ""
    renewed_ns: int = 0


class Operator:
    """Judges requests: applies each at most once, only the driver's, only while they are fresh."""

    def __init__(self, limits: LeaseLimits, speed_cap_frac: float) -> None:
        self._limits = limits
        self._lease = Lease()
        self._seen: dict[str, Reply] = {}
        self._event: OperatorEvent | None = None
        self._emergency_stop = False
        self.drive = DriveAction(0.0, 0.0)
        """A person's steering and throttle."""
        self.drive_ns = 0
        """When they came; 0 for never in this state."""
        self.speed_cap_frac = speed_cap_frac
        self.calibration_pulses_us: tuple[float, float] | None = None
        """Steering and throttle pulse asked for in CALIBRATING; 0 leaves one at rest."""
        self._calibrated: Actuator | None = None

    def driver(self, mode: DriveMode, now_ns: int) -> str:
        """Return the source that holds the lease, or an empty string when nobody does or it has run out."""
        return "" if self.lease_lost(mode, now_ns) else self._lease.holder

    def lease_lost(self, mode: DriveMode, now_ns: int) -> bool:
        """Return whether the driver has gone silent for longer than this state bears."""
        if not self._lease.holder:
            return True
        hands_on = bool(HANDS_ON_STATES & {mode.state, mode.target})
        limit_s = self._limits.hands_on_s if hands_on else self._limits.autonomous_s
        return now_ns - self._lease.renewed_ns > limit_s * 1e9

    def take_event(self) -> OperatorEvent | None:
        """Return the request to decide in this tick, and forget it."""
        event, self._event = self._event, None
        return event

    def calibration_pulse_us(self, now_ns: int) -> tuple[float, float] | None:
        """Return the pulses asked for in CALIBRATING; a driver who falls silent has them forgotten."""
        if now_ns - self._lease.renewed_ns > CALIBRATION_SILENCE_LIMIT_S * 1e9:
            self.calibration_pulses_us = None
        return self.calibration_pulses_us

    def take_emergency_stop(self) -> bool:
        """Return whether an emergency stop came since the last call."""
        pressed, self._emergency_stop = self._emergency_stop, False
        return pressed

    def receive(
        self,
        request: OperatorRequest,
        mode: DriveMode,
        not_ready: Callable[[DriveState], tuple[str, ...]],
        now_ns: int,
    ) -> Reply:
        """Judge one request and remember what it changes; return the answer to send back.

        Args:
            request: as it came.
            mode: the drive mode now.
            not_ready: tells, in words, why a start into that state would be refused now.
            now_ns: start of this tick.

        """
        if request.kind is RequestKind.EMERGENCY_STOP:  # whatever its age or source
            self._emergency_stop = True
            return Reply(request.id, ok=True)
        if request.id in self._seen:
            return self._seen[request.id]

        reason = self._why_refused(request, mode, not_ready, now_ns)
        if not reason:
            self._apply(request, now_ns)
        reply = Reply(request.id, ok=not reason, reason=reason)
        self._seen[request.id] = reply
        if len(self._seen) > REMEMBERED_IDS:
            del self._seen[next(iter(self._seen))]
        return reply

    def _why_refused(
        self,
        request: OperatorRequest,
        mode: DriveMode,
        not_ready: Callable[[DriveState], tuple[str, ...]],
        now_ns: int,
    ) -> str:
        kind = request.kind
        stopping = kind is RequestKind.DISARM and mode.state is not DriveState.FAILSAFE
        if stopping:  # anybody's, of any age: it can only stop the car
            return ""

        age_s = (now_ns - request.sent_ns) / 1e9
        if age_s > REQUEST_AGE_LIMIT_S or age_s < -REQUEST_AGE_LIMIT_S:
            allowed_ms = REQUEST_AGE_LIMIT_S * 1000
            return f"the request is {age_s * 1000:.0f} ms old, allowed {allowed_ms:.0f} ms; send it again"
        if kind is RequestKind.TAKE_LEASE:
            return self._why_no_lease(request, mode, now_ns)
        if kind is RequestKind.DISARM:
            return (
                "the car stopped after this was sent; look, then disarm again"
                if (request.sent_ns < mode.since_ns)
                else ""
            )
        if request.source != self._lease.holder:
            driver = f"{self._lease.holder} drives" if self._lease.holder else "nobody holds the lease"
            return f"{driver}; take the lease first"
        if kind is RequestKind.RELEASE_LEASE:
            return ""
        if self.lease_lost(mode, now_ns):
            return "the lease ran out; take it again"
        if kind is RequestKind.RENEW_LEASE:
            return ""
        if request.sent_ns < mode.since_ns:
            return "the car changed its state after this was sent; look, then send it again"
        return self._why_not_now(request, mode, not_ready)

    def _why_no_lease(self, request: OperatorRequest, mode: DriveMode, now_ns: int) -> str:
        if not request.source:
            return "the request does not say whom it comes from; name a source"
        if not self.lease_lost(mode, now_ns):
            is_driver = request.source == self._lease.holder
            return "" if is_driver else f"{self._lease.holder} drives; wait until they let go"
        if mode.state in GUARDED_STATES:  # whoever asks: losing one driver never promotes another
            return "the car has lost its driver and stops; take the lease then"
        return ""

    def _why_not_now(
        self,
        request: OperatorRequest,
        mode: DriveMode,
        not_ready: Callable[[DriveState], tuple[str, ...]],
    ) -> str:
        values = (
            request.steering_frac,
            request.throttle_frac,
            request.speed_cap_frac,
            request.steering_us,
            request.throttle_us,
        )
        if not all(math.isfinite(value) for value in values):
            return "a value is not a finite number; send numbers"
        match request.kind:
            case RequestKind.START:
                if mode.state is not DriveState.DISARMED:
                    return f"the car is {mode.state.value}; disarm first"
                if request.target not in MOVING_STATES:
                    return f"cannot start into {request.target}; allowed: {', '.join(sorted(MOVING_STATES))}"
                return " ".join(not_ready(request.target))
            case RequestKind.DRIVE:
                if mode.state not in {DriveState.MANUAL, DriveState.ASSISTED}:
                    return f"the car is {mode.state.value}; start manual or assisted driving first"
                if max(abs(request.steering_frac), abs(request.throttle_frac)) > 1:
                    return "steering and throttle are shares, allowed -1 to 1"
                return ""
            case RequestKind.SET_SPEED_CAP:
                if not 0 <= request.speed_cap_frac <= 1:
                    return f"the speed cap is {request.speed_cap_frac}, allowed 0 to 1"
                return ""
            case RequestKind.CALIBRATION_PULSE:
                if mode.state is not DriveState.CALIBRATING:
                    return f"the car is {mode.state.value}; start calibrating first"
                return self._why_no_pulse(request)
            case RequestKind.PREPARE_CALIBRATION:
                if mode.state is not DriveState.DISARMED:
                    return f"the car is {mode.state.value}; disarm first"
                return _why_not_prepared(request)
            case RequestKind.ACTIVATE_POLICY | RequestKind.RELOAD_CALIBRATION:
                return (
                    ""
                    if mode.state is DriveState.DISARMED
                    else f"the car is {mode.state.value}; disarm first"
                )
            case _:
                return f"{request.kind} is not served here"

    def _why_no_pulse(self, request: OperatorRequest) -> str:
        asked = {Actuator.STEERING: request.steering_us, Actuator.THROTTLE: request.throttle_us}
        if any(us and not PULSE_MIN_US <= us <= PULSE_MAX_US for us in asked.values()):
            return "a pulse is 800 to 2200 us, or 0 to leave an actuator at rest"
        for actuator, pulse_us in asked.items():
            if pulse_us and actuator is not self._calibrated:
                calibrated = self._calibrated.value if self._calibrated else "nothing"
                return f"{calibrated} is being calibrated, so the {actuator.value} stays at rest"
        return ""

    def _apply(self, request: OperatorRequest, now_ns: int) -> None:
        match request.kind:
            case RequestKind.TAKE_LEASE | RequestKind.RENEW_LEASE:
                self._lease = Lease(request.source, now_ns)
            case RequestKind.RELEASE_LEASE:
                self._lease = Lease()
                if self._event is not None and self._event.kind is EventKind.START:
                    self._event = None  # nobody else may inherit it within this tick
            case RequestKind.START:
                self._event = OperatorEvent(EventKind.START, request.target)
                self.drive, self.drive_ns = DriveAction(0.0, 0.0), 0
                self.calibration_pulses_us = None
            case RequestKind.PREPARE_CALIBRATION:
                self._calibrated = request.actuator
            case RequestKind.DISARM:
                self._event = OperatorEvent(EventKind.DISARM)
            case RequestKind.DRIVE:
                self.drive = DriveAction(request.steering_frac, request.throttle_frac)
                self.drive_ns = now_ns
            case RequestKind.SET_SPEED_CAP:
                self.speed_cap_frac = request.speed_cap_frac
            case RequestKind.CALIBRATION_PULSE:
                self.calibration_pulses_us = (request.steering_us, request.throttle_us)


def _why_not_prepared(request: OperatorRequest) -> str:
    if request.actuator is None:
        return f"which actuator is calibrated was not said, allowed: {', '.join(Actuator)}"
    for name, rest_us in (("centre", request.steering_us), ("neutral", request.throttle_us)):
        if not REST_MIN_US <= rest_us <= REST_MAX_US:
            return f"the {name} is {rest_us:g} us, allowed {REST_MIN_US:g} to {REST_MAX_US:g}; choose another"
    return ""
