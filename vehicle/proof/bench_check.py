"""`lapwing bench-check`: walks an owner through the first minutes of a real car, wheels up, step by step.

It drives through the running vehicle like any other driver: every limit, lease and monitor applies.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import msgspec

from vehicle.errors import LapwingError
from vehicle.messages import DriveState, Fault, Reply, RequestKind, Status

THROTTLE_SHARE = 0.3
SPEED_CAP_FRAC = 0.3
INPUT_EVERY_S = 0.05
ANSWER_S = 5.0
FIND_S = 2.0
"""A vehicle that runs reports its state many times a second."""
SPIN_S = 1.0
WAIT_FOR_HANDS_S = 120.0
PLUGGED_IN_S = 15.0
"""Until a device that was plugged in again works: the system finds it, and a board's bootloader takes 2 s."""

WHEELS_UP = "wheels up"


class BenchCheckError(LapwingError):
    """A step did not show what it must."""


class Link(Protocol):
    """What is needed of `vehicle.remote_client.VehicleClient`."""

    def request(self, kind: RequestKind, timeout_s: float = ..., **fields: Any) -> Reply:
        """Send a request and return its answer."""
        ...

    def wait_status(self, accept: Callable[[Status], bool], timeout_s: float) -> Status | None:
        """Return the first status that is accepted, or None after the time-out."""
        ...


class Step(msgspec.Struct, frozen=True):
    """One thing to see."""

    name: str
    do: str
    """What the car or the owner does."""
    expect: str
    """What must be seen; asked as a question."""
    steering_share: float = 0.0
    throttle_share: float = 0.0
    stops_by: tuple[Fault, ...] = ()
    """What the car must name when it is stopped in this step."""
    goes_silent: bool = False
    """The command itself stops renewing its lease."""
    presses_stop: bool = False


STEPS = (
    Step("neutral", "The car is disarmed.", "Do all wheels stand still, and is the ESC quiet?"),
    Step("left", "The car steers left.", "Do the front wheels point left?", steering_share=0.5),
    Step("right", "The car steers right.", "Do the front wheels point right?", steering_share=-0.5),
    Step("forward", "The motor turns slowly.", "Do the wheels turn forward?", throttle_share=THROTTLE_SHARE),
    Step(
        "silence",
        "The motor turns, and this command falls silent, as a phone that loses its Wi-Fi.",
        "Did the wheels lose their drive within half a second?",
        throttle_share=THROTTLE_SHARE,
        stops_by=(Fault.LEASE_LOST, Fault.DRIVER_INPUT_MISSING),
        goes_silent=True,
    ),
    Step(
        "emergency stop",
        "The motor turns, and this command presses the emergency stop.",
        "Did the wheels lose their drive at once?",
        throttle_share=THROTTLE_SHARE,
        stops_by=(Fault.EMERGENCY_STOP,),
        presses_stop=True,
    ),
    Step(
        "board cable",
        "The motor turns. Pull the board's USB cable now.",
        "Did the wheels lose their drive within a quarter of a second? Plug the cable in again.",
        throttle_share=THROTTLE_SHARE,
        stops_by=(Fault.BOARD_LOST, Fault.BOARD_SILENT),
    ),
    Step(
        "camera cable",
        "The motor turns. Pull the camera's USB cable now.",
        "Did the wheels lose their drive within a quarter of a second? Plug the cable in again.",
        throttle_share=THROTTLE_SHARE,
        stops_by=(Fault.CAMERA_LOST, Fault.CAMERA_OVERDUE),
    ),
)


class BenchCheck:
    """The walk. `ask` puts a question to the owner and returns the answer; `say` tells them something."""

    def __init__(self, link: Link, ask: Callable[[str], str], say: Callable[[str], None]) -> None:
        self._link = link
        self._ask = ask
        self._say = say

    def run(self) -> None:
        """Walk through every step; raises BenchCheckError at the first that does not show what it must."""
        self._find_car()
        self._ask_twice()
        for number, step in enumerate(STEPS, 1):
            self._say(f"Step {number} of {len(STEPS)}, {step.name}. {step.do}")
            self._show(step)
            if self._ask(f"{step.expect} [yes/no] ").strip().lower() != "yes":
                raise BenchCheckError(
                    f"step {number}, {step.name}: seen was something else; do not drive this car. "
                    "Look at docs/safety.md, calibrate, and begin again"
                )
        self._say("Every step was as it must be.")

    def _find_car(self) -> None:
        """Raise BenchCheckError where no vehicle runs: nobody puts a car on a stand for that."""
        if self._link.wait_status(lambda _: True, FIND_S) is None:
            raise BenchCheckError(
                f"no vehicle reported its state within {FIND_S:g} s; start one with lapwing run --config "
                "car.toml in another terminal, and name its --run-dir here too where it has one"
            )

    def _ask_twice(self) -> None:
        self._say("This turns the motor. Put the car on a stand: no wheel may touch anything.")
        if self._ask(f"Type '{WHEELS_UP}' when it stands: ").strip().lower() != WHEELS_UP:
            raise BenchCheckError("the wheels were not said to be up; nothing was done")
        if self._ask("Is everybody's hand, hair and sleeve away from the wheels? [yes/no] ").strip() != "yes":
            raise BenchCheckError("it is not safe to begin yet; nothing was done")

    def _show(self, step: Step) -> None:
        if not (step.steering_share or step.throttle_share):
            self._wait(lambda status: status.state in {DriveState.DISARMED, DriveState.FAILSAFE}, step)
            return
        self._start()
        with self._driving(step) as go_silent:
            if not step.stops_by:
                threading.Event().wait(SPIN_S)
                return
            threading.Event().wait(0.0 if not (step.goes_silent or step.presses_stop) else SPIN_S)
            if step.goes_silent:
                go_silent()
            if step.presses_stop:
                self._told(RequestKind.EMERGENCY_STOP)
            by_hand = not (step.goes_silent or step.presses_stop)
            wait_s = WAIT_FOR_HANDS_S if by_hand else ANSWER_S
            status = self._wait(lambda status: status.state is DriveState.FAILSAFE, step, wait_s)
        if status.latched_fault not in step.stops_by:
            named = " or ".join(step.stops_by)
            raise BenchCheckError(f"{step.name}: the car named {status.latched_fault}, expected was {named}")
        self._say(f"The car says: {status.sentence}")

    def _start(self) -> None:
        """Start driving by hand; a board or camera that was just plugged in again takes its time."""
        self._told(RequestKind.DISARM)
        self._wait(lambda status: status.state is DriveState.DISARMED, None)
        deadline_s = time.monotonic() + PLUGGED_IN_S
        while True:
            self._told(RequestKind.TAKE_LEASE)
            self._told(RequestKind.SET_SPEED_CAP, speed_cap_frac=SPEED_CAP_FRAC)
            reply = self._link.request(RequestKind.START, target=DriveState.MANUAL)
            if reply.ok:
                return
            if time.monotonic() > deadline_s:
                raise BenchCheckError(f"the car refuses to start: {reply.reason}")
            time.sleep(INPUT_EVERY_S)

    @contextlib.contextmanager
    def _driving(self, step: Step) -> Iterator[Callable[[], None]]:
        """Keep the lease and hold the stick while inside; disarm on every way out."""
        silent = threading.Event()
        shares = {"steering_frac": step.steering_share, "throttle_frac": step.throttle_share}

        def drive() -> None:
            while not silent.wait(INPUT_EVERY_S):
                with contextlib.suppress(LapwingError):
                    self._link.request(RequestKind.RENEW_LEASE)
                    self._link.request(RequestKind.DRIVE, **shares)

        hand = threading.Thread(target=drive, name="hand", daemon=True)
        hand.start()
        try:
            self._wait(lambda status: status.state in {DriveState.MANUAL, DriveState.FAILSAFE}, step)
            yield silent.set
        finally:
            silent.set()
            hand.join()
            with contextlib.suppress(LapwingError):
                self._link.request(RequestKind.DISARM)

    def _told(self, kind: RequestKind, **fields: Any) -> None:
        reply = self._link.request(kind, **fields)
        if not reply.ok:
            raise BenchCheckError(f"the car refuses to {kind.value}: {reply.reason}")

    def _wait(
        self, accept: Callable[[Status], bool], step: Step | None, timeout_s: float = ANSWER_S
    ) -> Status:
        status = self._link.wait_status(accept, timeout_s)
        if status is None:
            raise BenchCheckError(
                f"{step.name if step else 'disarming'}: the car did not come to it within {timeout_s:g} s"
            )
        return status


def as_text() -> str:
    """Return the steps for a page."""
    lines = [f"{number}. *{step.name}*: {step.do} {step.expect}" for number, step in enumerate(STEPS, 1)]
    return "\n".join(lines)
