"""Making a policy the one that drives: the vehicle loads it first, then it is remembered."""

import contextlib
import secrets
from collections.abc import Callable
from typing import Protocol

from models.errors import PolicyError
from models.store import Entry, PolicyStore
from vehicle.errors import VehicleSilentError
from vehicle.messages import GUARDED_STATES, Reply, RequestKind, Status

REQUEST_TIMEOUT_S = 1.0
LOAD_TIMEOUT_S = 20.0  # the largest network takes 3 s here; a car's processor is five times slower
HEARD_WITHIN_S = 0.6  # a vehicle that runs says something ten times a second


class Vehicle(Protocol):
    """The running vehicle, as far as activation needs it; `vehicle.remote_client.VehicleClient` is one."""

    def status(self) -> Status | None:
        """Return the newest status, None when the vehicle is silent."""

    def wait_status(self, accept: Callable[[Status], bool], timeout_s: float) -> Status | None:
        """Return the first status that is accepted, or None after the time-out."""

    def request(self, kind: RequestKind, timeout_s: float = 1.0, **fields: object) -> Reply:
        """Ask for something; raises VehicleSilentError."""


class NotActivatedError(PolicyError):
    """The vehicle would not take the policy, or could not load it; the one before stays."""


def activate(store: PolicyStore, key: str, vehicle: Vehicle | None, source: str = "") -> tuple[Entry, bool]:
    """Have the running vehicle load a policy, then remember it as the active one.

    `source` asks and holds the lease; without it the lease is taken for the moment, where nobody drives.

    Returns the policy and whether a vehicle has loaded it now; without a vehicle it is the one that is
    loaded at the next start.

    Raises:
        NotActivatedError: the car drives, or loading failed; the policy before stays active and loaded.
        PolicyError: there is no such policy, or it is not as the check has left it.

    """
    folder = store.checked_folder(key)
    status = None if vehicle is None else vehicle.wait_status(lambda _: True, HEARD_WITHIN_S)
    if vehicle is None or status is None:
        return store.activate(key), False
    entry = store.get(key)
    try:
        reason = _ask(vehicle, str(folder), source)
    except VehicleSilentError as error:
        raise NotActivatedError(f"{entry.name} was not activated: {error}") from error
    if reason:
        raise NotActivatedError(f"{entry.name} was not activated: {reason}")
    _await_loaded(vehicle, entry)
    return store.activate(key), True


def _ask(vehicle: Vehicle, folder: str, driver: str) -> str:
    """Ask for the policy as the driver, or for a moment as one where nobody drives; return why not."""
    source = driver or f"activation {secrets.token_hex(4)}"
    if not driver:
        reply = vehicle.request(RequestKind.TAKE_LEASE, timeout_s=REQUEST_TIMEOUT_S, source=source)
        if not reply.ok:
            return reply.reason
    try:
        reply = vehicle.request(
            RequestKind.ACTIVATE_POLICY, timeout_s=REQUEST_TIMEOUT_S, policy=folder, source=source
        )
    finally:
        if not driver:
            with contextlib.suppress(VehicleSilentError):  # a lease that nobody renews runs out
                vehicle.request(RequestKind.RELEASE_LEASE, timeout_s=REQUEST_TIMEOUT_S, source=source)
    return "" if reply.ok else reply.reason


def may_check(status: Status | None) -> bool:
    """Whether uploads may be checked: no vehicle runs, or it is neither armed nor moving."""
    return status is None or status.state not in GUARDED_STATES


def _await_loaded(vehicle: Vehicle, entry: Entry) -> None:
    """Wait until the vehicle has this policy; raises NotActivatedError with its reason if it does not."""
    wanted = entry.key if entry.report is not None else ""
    heard: list[int] = []

    def decided(status: Status) -> bool:
        """A status may have been on its way before the answer; the one after it has not."""
        if status.now_ns not in heard:
            heard.append(status.now_ns)
        return len(heard) > 1 and not status.policy_note.startswith("Loading")

    status = vehicle.wait_status(decided, LOAD_TIMEOUT_S)
    if status is None:
        raise NotActivatedError(
            f"the vehicle had not loaded {entry.name} after {LOAD_TIMEOUT_S:g} s; "
            "look at its log, then try again"
        )
    is_loaded = status.policy_hash == wanted if wanted else status.policy == entry.name
    if not is_loaded:
        reason = status.policy_note or f"the vehicle drives with {status.policy or 'no policy'}"
        raise NotActivatedError(f"{entry.name} was not activated: {reason}")
