"""Who drives: the lease, and which requests count. No I/O; time is an argument."""

import math
from collections.abc import Callable

import msgspec

from calibration.car import MIN_SPAN_US, PULSE_MAX_US, PULSE_MIN_US
from vehicle.limits import ECHO_AGE_LIMIT_S, TIME_LIMIT_S, TRIM_LIMIT_US, LeaseLimits
from vehicle.memory import OperatorMemory
from vehicle.messages import (
    GUARDED_STATES,
    HANDS_ON_STATES,
    MOVING_STATES,
    Actuator,
    CameraLocks,
    DriveAction,
    DriveState,
    LeaseWish,
    OperatorRequest,
    Reply,
    RequestKind,
)
from vehicle.state import DriveMode, EventKind, OperatorEvent

REQUEST_AGE_LIMIT_S = 0.2
REQUEST_AHEAD_LIMIT_S = 0.05  # made after the tick began that reads it; a longer tick has failed anyway
CALIBRATION_SILENCE_LIMIT_S = 0.2  # then a pulse rests, so that neutral comes before the lease is out
REST_MIN_US, REST_MAX_US = PULSE_MIN_US + MIN_SPAN_US, PULSE_MAX_US - MIN_SPAN_US
WISH_LASTS_S = 30.0
WISHES_KEPT = 8
NAME_LENGTH = 40
REMEMBERED_IDS = 1024  # for longer than a request stays fresh: 0.25 s at 16 a tick and 120 ticks a second


class Lease(msgspec.Struct, frozen=True):
    """One driver at a time; the others watch."""

    holder: str = ""
    renewed_ns: int = 0
    name: str = ""
    """What the holder calls themselves, for the others."""

    @property
    def spoken(self) -> str:
        """The holder, as the others know them."""
        return self.name or self.holder


class Operator:
    """Judges requests: applies each at most once, only the driver's, only while they are fresh."""

    def __init__(self, limits: LeaseLimits, speed_cap_frac: float) -> None:
        self._limits = limits
        self._lease = Lease()
        self._wishes: dict[str, tuple[LeaseWish, int]] = {}
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
        self.trim_us = 0.0
        """Added to every steering pulse."""

    def memory(self) -> OperatorMemory:
        """Return who drives, and how fast they may; of requests nothing waits between two ticks."""
        return OperatorMemory(
            self._lease.holder,
            self._lease.renewed_ns,
            self._lease.name,
            self.speed_cap_frac,
            self.trim_us,
            self._calibrated,
        )

    def recall(self, memory: OperatorMemory) -> None:
        """Go on from who drove before."""
        self._lease = Lease(memory.holder, memory.renewed_ns, memory.name)
        self.speed_cap_frac = memory.speed_cap_frac
        self.trim_us = memory.trim_us
        self._calibrated = memory.calibrated

    def driver(self, mode: DriveMode, now_ns: int) -> str:
        """Return the source that holds the lease, or an empty string when nobody does or it has run out."""
        return "" if self.lease_lost(mode, now_ns) else self._lease.holder

    def driver_name(self, mode: DriveMode, now_ns: int) -> str:
        """Return what the driver calls themselves, or an empty string."""
        return "" if self.lease_lost(mode, now_ns) else self._lease.name

    def asked_by(self, now_ns: int) -> tuple[LeaseWish, ...]:
        """Return who has asked for the lease of late."""
        return tuple(
            wish for wish, asked_ns in self._wishes.values() if now_ns - asked_ns <= WISH_LASTS_S * 1e9
        )

    def lease_lost(self, mode: DriveMode, now_ns: int) -> bool:
        """Return whether the driver has gone silent for longer than this state bears."""
        if not self._lease.holder:
            return True
        silent_ns = now_ns - self._lease.renewed_ns  # negative: the clock ran backwards, and dates nothing
        return not 0 <= silent_ns <= self._lease_s(mode) * 1e9

    def _lease_s(self, mode: DriveMode) -> float:
        hands_on = bool(HANDS_ON_STATES & {mode.state, mode.target})
        return self._limits.hands_on_s if hands_on else self._limits.autonomous_s

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
        if age_s < -REQUEST_AHEAD_LIMIT_S:  # it would outlive the changes of state that are to end it
            return f"the request is dated {-age_s * 1000:.0f} ms ahead; send it by this computer's clock"
        if age_s > REQUEST_AGE_LIMIT_S:
            allowed_ms = REQUEST_AGE_LIMIT_S * 1000
            return f"the request is {age_s * 1000:.0f} ms old, allowed {allowed_ms:.0f} ms; send it again"
        if reason := self._why_blind(request, mode, now_ns):
            return reason
        if kind is RequestKind.TAKE_LEASE:
            return self._why_no_lease(request, mode, now_ns)
        if kind is RequestKind.ASK_LEASE:
            return self._why_no_wish(request, mode, now_ns)
        if kind is RequestKind.DISARM:
            # A stop that raced with a failsafe must not clear it: its sender has not seen that one.
            seen_ns = min(request.sent_ns, request.echo_ns or request.sent_ns)
            return (
                "the car stopped after this was sent; look, then disarm again"
                if seen_ns < mode.since_ns
                else ""
            )
        if request.source != self._lease.holder:
            driver = f"{self._lease.spoken} drives" if self._lease.holder else "nobody holds the lease"
            return f"{driver}; take the lease first"
        if kind is RequestKind.RELEASE_LEASE:
            return ""
        if self.lease_lost(mode, now_ns):
            return "the lease ran out; take it again"
        if kind is RequestKind.RENEW_LEASE:
            return ""
        if request.sent_ns < mode.since_ns:
            return "the car changed its state after this was sent; look, then send it again"
        if kind is RequestKind.YIELD_LEASE:
            return self._why_not_yielded(request, mode, now_ns)
        return self._why_not_now(request, mode, not_ready)

    def _why_blind(self, request: OperatorRequest, mode: DriveMode, now_ns: int) -> str:
        """Return why whoever asks does not see the car as it is now, or an empty string."""
        if (
            not request.echo_ns or request.kind is RequestKind.RELEASE_LEASE
        ):  # letting go can only stop the car
            return ""
        renews = request.kind is RequestKind.RENEW_LEASE
        allowed_s = self._lease_s(mode) if renews else ECHO_AGE_LIMIT_S
        seen_s = (now_ns - request.echo_ns) / 1e9
        if -REQUEST_AGE_LIMIT_S <= seen_s <= allowed_s:
            return ""
        return (
            f"this came {seen_s * 1000:.0f} ms after its sender last heard of the car, allowed "
            f"{allowed_s * 1000:.0f} ms; look at the car, then send it again"
        )

    def _why_no_lease(self, request: OperatorRequest, mode: DriveMode, now_ns: int) -> str:
        if not request.source:
            return "the request does not say whom it comes from; name a source"
        if reason := why_no_name(request.driver_name):
            return reason
        if not self.lease_lost(mode, now_ns):
            is_driver = request.source == self._lease.holder
            return "" if is_driver else f"{self._lease.spoken} drives; wait until they let go"
        if mode.state in GUARDED_STATES:  # whoever asks: losing one driver never promotes another
            return "the car has lost its driver and stops; take the lease then"
        return ""

    def _why_no_wish(self, request: OperatorRequest, mode: DriveMode, now_ns: int) -> str:
        if not request.source:
            return "the request does not say whom it comes from; name a source"
        if reason := why_no_name(request.driver_name):
            return reason
        if self.lease_lost(mode, now_ns):
            return "nobody drives, so there is nobody to ask; take the lease"
        if request.source == self._lease.holder:
            return "you drive already; there is nobody to ask"
        asking = {wish.source for wish in self.asked_by(now_ns)}
        if request.source not in asking and len(asking) >= WISHES_KEPT:
            return f"{WISHES_KEPT} have asked already; ask again in a moment"
        return ""

    def _why_not_yielded(self, request: OperatorRequest, mode: DriveMode, now_ns: int) -> str:
        if mode.state in GUARDED_STATES:  # the next driver's page must not find itself with a moving car
            return f"the car is {mode.state.value}; stop it, then hand it over"
        if all(wish.source != request.to for wish in self.asked_by(now_ns)):
            return "the lease goes only to somebody who asked for it of late; let them ask again"
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
            request.time_limit_s,
            request.trim_us,
        )
        if not all(math.isfinite(value) for value in values):
            return "a value is not a finite number; send numbers"
        match request.kind:
            case RequestKind.START:
                if mode.state is not DriveState.DISARMED:
                    return f"the car is {mode.state.value}; disarm first"
                if request.target not in MOVING_STATES:
                    return f"cannot start into {request.target}; allowed: {', '.join(sorted(MOVING_STATES))}"
                least_s, most_s = TIME_LIMIT_S
                if request.time_limit_s and not least_s <= request.time_limit_s <= most_s:
                    return (
                        f"the time limit is {request.time_limit_s:g} s, allowed {least_s:g} to {most_s:g} s"
                    )
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
            case RequestKind.SET_TRIM:
                if mode.state is DriveState.CALIBRATING:
                    return "the centre itself is being calibrated; trim afterwards"
                if abs(request.trim_us) > TRIM_LIMIT_US:
                    limit_us = TRIM_LIMIT_US
                    return f"the trim is {request.trim_us:g} us, allowed -{limit_us:g} to {limit_us:g} us"
                return ""
            case RequestKind.CALIBRATION_PULSE:
                if mode.state is not DriveState.CALIBRATING:
                    return f"the car is {mode.state.value}; start calibrating first"
                return self._why_no_pulse(request)
            case RequestKind.PREPARE_CALIBRATION:
                if mode.state is not DriveState.DISARMED:
                    return f"the car is {mode.state.value}; disarm first"
                return _why_not_prepared(request)
            case RequestKind.TUNE_CAMERA:
                if mode.state is not DriveState.DISARMED:
                    return f"the car is {mode.state.value}; disarm first"
                return _why_not_tuned(request.camera)
            case RequestKind.ACTIVATE_POLICY | RequestKind.RELOAD_CALIBRATION | RequestKind.RESTART:
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
            case RequestKind.TAKE_LEASE:
                is_holder = request.source == self._lease.holder
                name = request.driver_name or (self._lease.name if is_holder else "")
                self._lease = Lease(request.source, now_ns, name)
                self._wishes.pop(request.source, None)
            case RequestKind.RENEW_LEASE:
                self._lease = Lease(request.source, now_ns, self._lease.name)
            case RequestKind.ASK_LEASE:
                self._wishes = {
                    wish.source: (wish, self._wishes[wish.source][1]) for wish in self.asked_by(now_ns)
                }
                self._wishes[request.source] = (LeaseWish(request.source, request.driver_name), now_ns)
            case RequestKind.YIELD_LEASE:
                wish, _ = self._wishes.pop(request.to)
                self._lease = Lease(wish.source, now_ns, wish.name)
                self._forget_start()
            case RequestKind.RELEASE_LEASE:
                self._lease = Lease()
                self._forget_start()
            case RequestKind.START:
                self._event = OperatorEvent(EventKind.START, request.target, request.time_limit_s)
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
            case RequestKind.SET_TRIM:
                self.trim_us = request.trim_us
            case RequestKind.CALIBRATION_PULSE:
                self.calibration_pulses_us = (request.steering_us, request.throttle_us)

    def _forget_start(self) -> None:
        """Let nobody inherit, with the lease, a start that was asked for within this tick."""
        if self._event is not None and self._event.kind is EventKind.START:
            self._event = None


def _why_not_prepared(request: OperatorRequest) -> str:
    if request.actuator is None:
        return f"which actuator is calibrated was not said, allowed: {', '.join(Actuator)}"
    for name, rest_us in (("centre", request.steering_us), ("neutral", request.throttle_us)):
        if not REST_MIN_US <= rest_us <= REST_MAX_US:
            return f"the {name} is {rest_us:g} us, allowed {REST_MIN_US:g} to {REST_MAX_US:g}; choose another"
    return ""


def _why_not_tuned(locks: CameraLocks | None) -> str:
    if locks is None:
        return "what the camera is to keep was not said"
    if locks.exposure_ms is not None and not math.isfinite(locks.exposure_ms):
        return "the exposure is not a finite number; send a number"
    return ""


def why_no_name(name: str) -> str:
    """Return why nobody can be called so, or an empty string; no name is one too."""
    if len(name) > NAME_LENGTH:
        return f"the name has {len(name)} characters, allowed {NAME_LENGTH}; choose a shorter one"
    return "" if name.isprintable() else "the name has characters that cannot be shown; leave them out"
