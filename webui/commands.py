"""What a page may ask of the car, over a socket or by POST: each command, its checks, and what it does."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from werkzeug.exceptions import Conflict

from calibration import store
from calibration.errors import CalibrationError
from vehicle.messages import Actuator, DriveState, Reply, RequestKind
from webui.car import Vehicle
from webui.guard import refuse_late, sentence
from webui.laps import Laps
from webui.speed_caps import SpeedCaps

REQUEST_TIMEOUT_S = 1.0
QUICK_TIMEOUT_S = 0.3  # of what comes ten times a second: the next one is already on its way
ECHO_LIMIT_S = 0.3
RENEWAL_LIMIT_S = 1.5  # the longest lease; the vehicle knows which one counts now

Stamp = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Share = Annotated[float, msgspec.Meta(ge=-1.0, le=1.0)]
Name = Annotated[str, msgspec.Meta(max_length=40)]
Source = Annotated[str, msgspec.Meta(max_length=60)]


class Command(msgspec.Struct, frozen=True, tag_field="kind", kw_only=True):
    """What every command says."""

    id: Annotated[str, msgspec.Meta(max_length=64)] = ""
    """Comes back with the answer."""
    echo_ns: Stamp = 0
    """The newest `server_ns` that the page has received."""


class TakeLease(Command, frozen=True, tag="take_lease"):
    """Become the driver."""

    name: Name = ""


class ReleaseLease(Command, frozen=True, tag="release_lease"):
    """Let the car go."""


class RenewLease(Command, frozen=True, tag="renew_lease"):
    """The page is there and its inputs are alive."""


class AskLease(Command, frozen=True, tag="ask_lease"):
    """Ask the driver to hand over."""

    name: Name = ""


class YieldLease(Command, frozen=True, tag="yield_lease"):
    """Hand over to one who asked."""

    to: Source


class StartDrive(Command, frozen=True, tag="start"):
    """Start, as the driver; whoever is none becomes it when nobody drives."""

    target: Literal["autonomous", "assisted", "manual", "calibrating"] = "autonomous"
    target_laps: Annotated[int, msgspec.Meta(ge=1, le=1000)] | None = None
    time_limit_s: Annotated[float, msgspec.Meta(ge=1.0, le=3600.0)] | None = None
    name: Name = ""


class Stop(Command, frozen=True, tag="stop"):
    """Stop the car, for anybody."""


class Clear(Command, frozen=True, tag="clear"):
    """Leave FAILSAFE, on purpose."""


class EmergencyStop(Command, frozen=True, tag="emergency_stop"):
    """Stop the car for anybody, at once."""


class Drive(Command, frozen=True, tag="drive"):
    """A person's hand."""

    steering_frac: Share
    throttle_frac: Share


class SpeedCap(Command, frozen=True, tag="speed_cap"):
    """How fast at most."""

    speed_cap_frac: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]


class Trim(Command, frozen=True, tag="trim"):
    """Shift the steering, at once."""

    trim_us: Annotated[float, msgspec.Meta(ge=-50.0, le=50.0)]


class SaveTrim(Command, frozen=True, tag="save_trim"):
    """Put the trim into the calibration's centre, for good."""

    name: Name = ""


class MarkLap(Command, frozen=True, tag="mark_lap"):
    """The car crosses the line now."""


class CalibrationPulse(Command, frozen=True, tag="calibration_pulse"):
    """Where the actuator that is being calibrated shall stand."""

    actuator: Actuator
    pulse_us: Annotated[float, msgspec.Meta(ge=0.0, le=2200.0)]


AnyCommand = (
    TakeLease
    | ReleaseLease
    | RenewLease
    | AskLease
    | YieldLease
    | StartDrive
    | Stop
    | Clear
    | EmergencyStop
    | Drive
    | SpeedCap
    | Trim
    | SaveTrim
    | MarkLap
    | CalibrationPulse
)

SILENT_COMMANDS = (Drive, RenewLease)
"""Answered only when refused."""
STOPPING_COMMANDS = (Stop, EmergencyStop, ReleaseLease)
"""Obeyed however late they come: they can only stop the car."""


def stop(vehicle: Vehicle, source: str) -> None:
    """Stop the car, for anybody; one that has failed safe stays so until somebody clears it on purpose.

    The request says what this status was: where the car has failed safe since, the vehicle refuses it, and
    the car stands as was wished.
    """
    car = vehicle.status()
    if car is None or car.state is not DriveState.FAILSAFE:
        seen_ns = 0 if car is None else car.now_ns
        vehicle.request(RequestKind.DISARM, timeout_s=REQUEST_TIMEOUT_S, source=source, echo_ns=seen_ns)


class Commands:
    """Obeys commands; safe in any thread. Every refusal is a Conflict with a sentence."""

    def __init__(self, vehicle: Vehicle, laps: Laps, caps: SpeedCaps, clock_ns: Callable[[], int]) -> None:
        self._vehicle = vehicle
        self._laps = laps
        self._caps = caps
        self._clock_ns = clock_ns

    def obey(self, command: AnyCommand, source: str) -> None:
        """Do what a page asks for.

        Raises:
            Conflict: it is late, or the car refuses; in words.
            VehicleSilentError: the vehicle does not answer.

        """
        if not isinstance(command, STOPPING_COMMANDS):
            limit_s = RENEWAL_LIMIT_S if isinstance(command, RenewLease) else ECHO_LIMIT_S
            refuse_late(command.echo_ns, self._clock_ns(), limit_s)
        match command:
            case EmergencyStop():
                self._refuse(self._vehicle.emergency_stop())
            case Stop():
                stop(self._vehicle, source)
            case StartDrive():
                self._start(command, source)
            case SpeedCap():
                self._set_speed_cap(command, source)
            case SaveTrim():
                self._save_trim(command, source)
            case MarkLap():
                self._laps.mark(self._vehicle.status())
            case _:
                self._forward(command, source)

    def _forward(self, command: AnyCommand, source: str) -> None:
        """Pass on what the vehicle alone judges."""
        echo_ns = command.echo_ns
        match command:
            case TakeLease():
                self._ask(RequestKind.TAKE_LEASE, source, echo_ns, driver_name=command.name)
            case ReleaseLease():
                self._ask(RequestKind.RELEASE_LEASE, source, echo_ns)
            case RenewLease():
                self._ask(RequestKind.RENEW_LEASE, source, echo_ns, QUICK_TIMEOUT_S)
            case AskLease():
                self._ask(RequestKind.ASK_LEASE, source, echo_ns, driver_name=command.name)
            case YieldLease():
                self._ask(RequestKind.YIELD_LEASE, source, echo_ns, to=command.to)
            case Clear():
                self._ask(RequestKind.DISARM, source, echo_ns)
            case Drive():
                fracs = {"steering_frac": command.steering_frac, "throttle_frac": command.throttle_frac}
                self._ask(RequestKind.DRIVE, source, echo_ns, QUICK_TIMEOUT_S, **fracs)
            case Trim():
                self._ask(RequestKind.SET_TRIM, source, echo_ns, trim_us=command.trim_us)
            case CalibrationPulse():
                field = "steering_us" if command.actuator is Actuator.STEERING else "throttle_us"
                self._ask(
                    RequestKind.CALIBRATION_PULSE,
                    source,
                    echo_ns,
                    QUICK_TIMEOUT_S,
                    **{field: command.pulse_us},
                )

    def _ask(
        self,
        kind: RequestKind,
        source: str,
        echo_ns: int,
        timeout_s: float = REQUEST_TIMEOUT_S,
        **fields: Any,
    ) -> None:
        self._refuse(self._request(kind, source, echo_ns, timeout_s, **fields))

    def _request(
        self,
        kind: RequestKind,
        source: str,
        echo_ns: int,
        timeout_s: float = REQUEST_TIMEOUT_S,
        **fields: Any,
    ) -> Reply:
        return self._vehicle.request(kind, timeout_s=timeout_s, source=source, echo_ns=echo_ns, **fields)

    @staticmethod
    def _refuse(reply: Reply) -> None:
        if not reply.ok:
            raise Conflict(sentence(reply.reason))

    def _start(self, command: StartDrive, source: str) -> None:
        self._ask_as_driver(
            RequestKind.START,
            source,
            command.echo_ns,
            name=command.name,
            is_kept=True,
            target=DriveState(command.target),
            time_limit_s=command.time_limit_s or 0.0,
        )
        self._laps.begin(command.target_laps, command.time_limit_s)

    def _set_speed_cap(self, command: SpeedCap, source: str) -> None:
        cap_frac = command.speed_cap_frac
        self._ask_as_driver(
            RequestKind.SET_SPEED_CAP, source, command.echo_ns, is_kept=False, speed_cap_frac=cap_frac
        )
        car = self._vehicle.status()
        self._caps.remember(car.policy_hash if car else "", cap_frac)

    def _ask_as_driver(
        self,
        kind: RequestKind,
        source: str,
        echo_ns: int,
        *,
        name: str = "",
        is_kept: bool,
        **fields: Any,
    ) -> None:
        """Ask for what only the driver may; whoever is none becomes it first, where nobody drives.

        The vehicle alone knows who drives now: a status may be older than a lease just taken, or lost.

        Args:
            kind: what is asked for.
            source: who asks.
            echo_ns: what they had seen.
            name: what they call themselves, should they become the driver.
            is_kept: whether they stay the driver when it was granted.
            fields: of the request.

        """
        reply = self._request(kind, source, echo_ns, **fields)
        if reply.ok:
            return
        if self._request(RequestKind.RENEW_LEASE, source, echo_ns).ok:
            self._refuse(reply)  # the driver, and not for want of the lease, which is left alone
        self._ask(RequestKind.TAKE_LEASE, source, echo_ns, driver_name=name)
        is_done = False
        try:
            self._ask(kind, source, echo_ns, **fields)
            is_done = True
        finally:
            if not (is_done and is_kept):
                self._let_go(source)

    def _save_trim(self, command: SaveTrim, source: str) -> None:
        """Write the centre that the car steers to now into its file, and let the vehicle read it."""
        asked_ns = self._clock_ns()  # a status from before may still show the trim before this one
        car = self._vehicle.wait_status(lambda status: status.now_ns >= asked_ns, REQUEST_TIMEOUT_S)
        if car is None or car.driver != source:
            raise Conflict("Only the driver saves the trim; take the lease first.")
        if car.state is not DriveState.DISARMED:
            raise Conflict(f"The car is {car.state.value}; stop it, then save the trim.")
        if not car.trim_us or not math.isfinite(car.trim_us):
            raise Conflict("There is no trim to save; set one first.")
        path = Path(car.calibration_file)
        try:
            calibration = store.load(path)
            steering = calibration.steering
            center_us = steering.center_us + car.trim_us
            moved = msgspec.structs.replace(
                calibration, steering=msgspec.structs.replace(steering, center_us=center_us)
            )
            store.save(path, moved, saved_by=command.name)
        except CalibrationError as error:
            raise Conflict(f"The trim cannot be saved: {error}") from error
        self._ask(RequestKind.SET_TRIM, source, 0, trim_us=0.0)
        self._ask(RequestKind.RELOAD_CALIBRATION, source, 0)

    def _let_go(self, source: str) -> None:
        self._vehicle.request(RequestKind.RELEASE_LEASE, timeout_s=REQUEST_TIMEOUT_S, source=source)
        # Whatever the answer: a lease that nobody renews runs out.
