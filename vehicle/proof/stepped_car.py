"""A vehicle stepped through the world's time, with a driver beside it: the real loop, the real bytes.

World and board emulator run in a process of their own, in lockstep. Requests and records take a short cut
past ZeroMQ, because their stamps must be the world's.
"""

import itertools
import math
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from vehicle.__main__ import HIL_CALIBRATIONS, HilCar, Vehicle
from vehicle.config import CarConfig
from vehicle.errors import HilError
from vehicle.hil.launch import Process, RunningHil, start_hil, start_module
from vehicle.hil.settings import LOCKSTEP_START_NS, HilSettings
from vehicle.messages import (
    HANDS_ON_STATES,
    Actuator,
    DriveState,
    Fault,
    OperatorRequest,
    Reply,
    RequestKind,
    Status,
    TickRecord,
)
from vehicle.truth import WorldTruth

DRIVER = "driver"
RENEW_HANDS_ON_S = 0.1
RENEW_AUTONOMOUS_S = 0.25
INPUT_EVERY_S = 0.05
SETTLE_LIMIT_S = 15.0
LOADING_LIMIT_S = 60.0
CALIBRATION_SHARE = 0.3
"""Of the way from neutral to full forward, where a calibrating driver holds the throttle."""
PREPARE_S = 0.3
"""Until the board has stored what is to be calibrated."""
KEPT_RECORDS = 2000
NEUTRAL_TOLERANCE_US = 1.0
PULSE_NS = 20_000_000

Pulse = tuple[int, float, float]
"""Start, steering and throttle width; 0 is none."""


class ShortCut:
    """The vehicle's border without sockets: hands over requests, keeps what is published."""

    def __init__(self) -> None:
        self.waiting: list[OperatorRequest] = []
        self.replies: dict[str, Reply] = {}
        self.records: deque[TickRecord] = deque(maxlen=KEPT_RECORDS)
        self.status: Status | None = None

    def drain(self, answer: Callable[[OperatorRequest], Reply]) -> None:
        """Give each waiting request to `answer`."""
        waiting, self.waiting = self.waiting, []
        self.replies |= {request.id: answer(request) for request in waiting}

    def publish_status(self, status: Status) -> None:
        """Keep the car at a glance."""
        self.status = status

    def publish_record(self, record: TickRecord) -> None:
        """Keep the newest records."""
        self.records.append(record)


class SteppedCar:
    """One car and the person who drives it. `drive_share` is where that person holds the throttle."""

    def __init__(self, make_vehicle: Callable[[ShortCut], Vehicle], hil: RunningHil, wiring: str) -> None:
        self._make_vehicle = make_vehicle
        self.world = hil.client
        self.calibration = HIL_CALIBRATIONS[wiring]
        self.neutral_us = self.calibration.throttle.neutral_us
        self.renewing = True
        """Whether the driver keeps the lease."""
        self.drive_share = 0.25
        self.steering_share = 0.0
        self.border = ShortCut()
        self.vehicle = make_vehicle(self.border)
        self.crash: BaseException | None = None
        """What ended the vehicle's process, if anything did."""
        self.on_tick: Callable[[TickRecord], None] = lambda _: None
        """Called with the record of every tick."""
        self._ids = itertools.count()
        self._next_renew_ns = self._next_input_ns = 0

    @property
    def now_ns(self) -> int:
        """The world's time."""
        if self.crash is None:
            return self.vehicle.clock.now_ns()
        return int(self.world.control("ping")["now_ns"])

    @property
    def state(self) -> DriveState:
        """The drive state."""
        return self.vehicle.loop.mode.state

    @property
    def latched_fault(self) -> Fault | None:
        """Why the car is in FAILSAFE."""
        return self.vehicle.loop.mode.latched_fault

    @property
    def status(self) -> Status:
        """The car at a glance, as pages show it."""
        assert self.border.status is not None, "nothing has been published yet"
        return self.border.status

    def tick(self) -> None:
        """Let the driver do their part, run one tick, and let the world go on; a crash ends the vehicle."""
        self._act()
        loop = self.vehicle.loop
        try:
            loop.step(self.vehicle.loop_clock.now_ns())
            self.on_tick(self.border.records[-1])
            loop.wait()
        except HilError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it ends the process, and `run` sends neutral
            self.crash = error
            self.vehicle.close()

    def run(self, duration_s: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Run for a while, or until something is so; return whether it came to be."""
        end_ns = self.now_ns + round(duration_s * 1e9)
        while not until():
            if self.crash is not None:
                self.world.control("advance", s=max(0, end_ns - self.now_ns) / 1e9)
                return until()
            if self.now_ns >= end_ns:
                return False
            self.tick()
        return True

    def restart(self) -> None:
        """Start the vehicle's process anew, as its supervisor does."""
        self.crash = None
        self.border = ShortCut()
        self.vehicle = self._make_vehicle(self.border)
        self.load_policy()

    def close(self) -> None:
        """End the vehicle's process."""
        self.vehicle.close()

    def load_policy(self) -> None:
        """Wait, in real time, until the loader is done; the world stands still, so that a run repeats."""
        deadline_s = time.monotonic() + LOADING_LIMIT_S
        policies = self.vehicle.policies
        while policies.is_loading and not policies.is_done and time.monotonic() < deadline_s:
            time.sleep(0.002)
        self.tick()

    def send(self, kind: RequestKind, **fields: Any) -> str:
        """Make a request, which the next tick reads; return its id."""
        request = OperatorRequest(str(next(self._ids)), DRIVER, kind, self.now_ns, **fields)
        self.border.waiting.append(request)
        return request.id

    def ask(self, kind: RequestKind, **fields: Any) -> Reply:
        """Make a request and return its answer."""
        request_id = self.send(kind, **fields)
        self.tick()
        return self.border.replies[request_id]

    def start(self, target: DriveState, speed_cap_frac: float = 1.0) -> str:
        """Bring a car that stands into a moving state; return why that was refused, or nothing."""
        reason = "the car never became ready"
        end_ns = self.now_ns + round(SETTLE_LIMIT_S * 1e9)
        while self.now_ns < end_ns:
            self.run(0.1)
            if self.state is not DriveState.DISARMED:
                self.ask(RequestKind.DISARM)
            self.ask(RequestKind.TAKE_LEASE)
            self.ask(RequestKind.SET_SPEED_CAP, speed_cap_frac=speed_cap_frac)
            reply = self._ask_to_start(target)
            if not reply.ok:
                reason = reply.reason
                continue
            self.run(4.0, until=lambda: self.state is not DriveState.ARMING)
            if self.state is target:
                return ""
            reason = self.status.sentence
        return reason

    def _ask_to_start(self, target: DriveState) -> Reply:
        if target is DriveState.CALIBRATING:
            rest = {
                "steering_us": self.calibration.steering.center_us,
                "throttle_us": self.neutral_us,
            }
            reply = self.ask(RequestKind.PREPARE_CALIBRATION, actuator=Actuator.THROTTLE, **rest)
            if not reply.ok:
                return reply
            self.run(PREPARE_S)
        return self.ask(RequestKind.START, target=target)

    def put_down(self, **where: float) -> None:
        """Put the car back on the track, at rest."""
        self.world.control("reset", **where)

    def truth(self) -> WorldTruth:
        """Return what is so in the world now."""
        return self.world.truth_now()

    def pulses(self, since_ns: int) -> list[Pulse]:
        """Return the pulses the board put out."""
        return [(at, steering, throttle) for at, steering, throttle in self._pulses(since_ns)]

    def is_neutral(self, pulse: Pulse, shift_us: float = 0.0) -> bool:
        """Whether a pulse drives no motor; also this far off, where the board's neutral is wrong."""
        off_us = pulse[2] - self.neutral_us
        return min(abs(off_us), abs(off_us - shift_us)) <= NEUTRAL_TOLERANCE_US or pulse[2] == 0.0

    def neutral_after_s(self, since_ns: int, shift_us: float = 0.0) -> float:
        """Return how long after a moment the first of the pulses began that are neutral for good."""
        driven = [pulse for pulse in self.pulses(since_ns) if not self.is_neutral(pulse, shift_us)]
        return (driven[-1][0] + PULSE_NS - since_ns) / 1e9 if driven else 0.0

    def _pulses(self, since_ns: int) -> list[list[Any]]:
        return list(self.world.control("pulses", since_ns=since_ns)["pulses"])

    def _act(self) -> None:
        """Do what the page's script does: keep the lease, repeat the person's input."""
        now_ns, state = self.now_ns, self.state
        if not self.renewing:
            return
        if now_ns >= self._next_renew_ns:
            hands_on = bool(HANDS_ON_STATES & {state, self.vehicle.loop.mode.target})
            every_s = RENEW_HANDS_ON_S if hands_on else RENEW_AUTONOMOUS_S
            self._next_renew_ns = now_ns + round(every_s * 1e9)
            self.send(RequestKind.TAKE_LEASE)
        if now_ns < self._next_input_ns:
            return
        self._next_input_ns = now_ns + round(INPUT_EVERY_S * 1e9)
        if state in {DriveState.MANUAL, DriveState.ASSISTED}:
            shares = {"steering_frac": self.steering_share, "throttle_frac": self.drive_share}
            self.send(RequestKind.DRIVE, **shares)
        elif state is DriveState.CALIBRATING:
            throttle = self.calibration.throttle
            held_us = throttle.neutral_us + CALIBRATION_SHARE * (throttle.forward_us - throttle.neutral_us)
            self.send(RequestKind.CALIBRATION_PULSE, throttle_us=held_us)


def distance_m(one: WorldTruth, other: WorldTruth) -> float:
    """Return how far a car stands from where it stood."""
    return math.hypot(other.x_m - one.x_m, other.y_m - one.y_m)


@contextmanager
def stepped_car(
    policy: Path | str,
    *,
    wiring: str = "aws",
    track: str = "oval",
    seed: int = 1,
    start: Callable[[str, HilSettings], Process] = start_module,
) -> Iterator[SteppedCar]:
    """Yield a car with this policy loaded, on its track and with the board answering.

    `start` makes the world's process, for tests that start very many.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lw", dir="/tmp")))
        settings = HilSettings(
            hil_dir=folder / "hil",
            track=track,
            wiring=wiring,  # type: ignore[arg-type] # checked when it starts
            seed=seed,
            lockstep=True,
        )
        hil = stack.enter_context(start_hil(settings, start))
        where = HilCar(
            settings.hil_dir,
            wiring,
            lockstep=True,
            faults=(),
            faults_since_ns=LOCKSTEP_START_NS,
            seed=seed,
        )

        def make_vehicle(border: ShortCut) -> Vehicle:
            return Vehicle(CarConfig(policy=str(policy)), folder / "run", where, publisher=border)

        car = SteppedCar(make_vehicle, hil, wiring)
        stack.callback(car.close)
        car.load_policy()
        yield car
