"""One car on the bench of the tests: the real loop, drivers and threads against the HIL world in lockstep.

The world and the board emulator run in a process of their own and are reached by real bytes; the loop
is stepped by the test. Requests and records take a short cut past ZeroMQ, because their stamps must be
the world's.
"""

import itertools
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec
import pytest

from calibration.car import CarCalibration
from models.policy import Policy
from tests.hil.nursery import nursery
from tests.hil.policies import write_policy
from vehicle.__main__ import HIL_CALIBRATIONS, HilCar, Vehicle
from vehicle.clock import FrameArrival
from vehicle.config import CameraConfig, CarConfig, ControlConfig
from vehicle.hil.launch import RunningHil, start_hil
from vehicle.hil.lockstep import LockstepClock
from vehicle.hil.settings import CameraSettings, HilSettings, Light, MarkerSettings, Obstacle, OtherCar
from vehicle.messages import (
    Actuator,
    DriveState,
    Fault,
    OperatorRequest,
    Reply,
    RequestKind,
    Status,
    TickRecord,
)

NEUTRAL_US = {"aws": 1446.0, "standard": 1500.0}
FORWARD_US = {"aws": 1311.0, "standard": 1900.0}
LOADING_LIMIT_S = 20.0
LEASE_PERIOD_S = 0.1


class DirectPublisher:
    """Hands requests to the loop and keeps what it publishes."""

    def __init__(self) -> None:
        self.waiting: list[OperatorRequest] = []
        self.replies: list[Reply] = []
        self.records: list[TickRecord] = []
        self.status: Status | None = None

    def drain(self, answer: Callable[[OperatorRequest], Reply]) -> None:
        waiting, self.waiting = self.waiting, []
        self.replies += [answer(request) for request in waiting]

    def publish_status(self, status: Status) -> None:
        self.status = status

    def publish_record(self, record: TickRecord) -> None:
        self.records.append(record)


class Rig:
    """A stepped vehicle and the world around it."""

    def __init__(self, vehicle: Vehicle, publisher: DirectPublisher, hil: RunningHil, wiring: str) -> None:
        self.vehicle = vehicle
        self.publisher = publisher
        self.world = hil.client
        self.world_dir = hil.hil_dir
        self.wiring = wiring
        self.neutral_us = NEUTRAL_US[wiring]
        self.forward_us = FORWARD_US[wiring]
        self.renewing = True
        """Whether the driver keeps the lease; switch off to go silent."""
        self.after_tick: Callable[[TickRecord], object] = lambda record: None
        self._ids = itertools.count()
        self._renew_ns = 0

    @property
    def calibration(self) -> CarCalibration:
        return HIL_CALIBRATIONS[self.wiring]

    def run_settled(self) -> None:
        """Run until nothing speaks against a start any more."""
        assert self.run_until(lambda: self.publisher.status is not None and not self.status.not_ready, 15.0)

    @property
    def now_ns(self) -> int:
        return self.vehicle.clock.now_ns()

    @property
    def state(self) -> DriveState:
        return self.vehicle.loop.mode.state

    @property
    def latched_fault(self) -> Fault | None:
        return self.vehicle.loop.mode.latched_fault

    @property
    def status(self) -> Status:
        assert self.publisher.status is not None
        return self.publisher.status

    def tick(self) -> TickRecord:
        """Run one tick of the loop and let the world go on to the next."""
        record = self.tick_before_wait()
        self.vehicle.loop.wait()
        return record

    def tick_before_wait(self) -> TickRecord:
        """Run one tick of the loop; the world stands still until its `wait`."""
        if self.renewing and self.now_ns >= self._renew_ns:
            self._renew_ns = self.now_ns + round(LEASE_PERIOD_S * 1e9)
            self.send(RequestKind.TAKE_LEASE)
        self.vehicle.loop.step(self.now_ns)
        self.after_tick(self.publisher.records[-1])
        return self.publisher.records[-1]

    def run(self, duration_s: float) -> None:
        """Run for a while of the world's time."""
        end_ns = self.now_ns + round(duration_s * 1e9)
        while self.now_ns < end_ns:
            self.tick()

    def run_until(self, happened: Callable[[], bool], limit_s: float) -> bool:
        """Run until something is so; return whether it came to be in time."""
        end_ns = self.now_ns + round(limit_s * 1e9)
        while not happened():
            if self.now_ns >= end_ns:
                return False
            self.tick()
        return True

    def send(self, kind: RequestKind, **fields: object) -> str:
        """Make a request, which the next tick reads; return its id."""
        request = OperatorRequest(str(next(self._ids)), "test", kind, self.now_ns, **fields)  # type: ignore[arg-type]
        self.publisher.waiting.append(request)
        return request.id

    def ask(self, kind: RequestKind, **fields: object) -> Reply:
        """Make a request and return its answer."""
        request_id = self.send(kind, **fields)
        self.tick()  # which may answer a renewal of the lease as well
        return next(reply for reply in self.publisher.replies if reply.id == request_id)

    def start(self, target: DriveState = DriveState.AUTONOMOUS, speed_cap_frac: float = 1.0) -> None:
        """Bring a car that stands ready into a moving state."""
        self.load_policy()
        self.run_settled()
        assert self.ask(RequestKind.SET_SPEED_CAP, speed_cap_frac=speed_cap_frac).ok
        reply = self.ask(RequestKind.START, target=target)
        assert reply.ok, reply.reason
        assert self.run_until(lambda: self.state is not DriveState.ARMING, 3.0)
        assert self.state is target, self.status.sentence

    def request_start(self, target: DriveState = DriveState.AUTONOMOUS) -> Reply:
        """Ask for a start and return the answer."""
        return self.ask(RequestKind.START, target=target)

    def calibrate(self, actuator: Actuator, center_us: float, neutral_us: float) -> None:
        """Prepare an actuator and go until its pulses count, as the calibration page does."""
        self.ask(RequestKind.TAKE_LEASE)
        rest = {"steering_us": center_us, "throttle_us": neutral_us}
        reply = self.ask(RequestKind.PREPARE_CALIBRATION, actuator=actuator, **rest)
        assert reply.ok, reply.reason
        self.run(0.1)  # to a status that knows of it
        assert self.run_until(lambda: not self.status.is_storing, 2.0)
        reply = self.request_start(DriveState.CALIBRATING)
        assert reply.ok, reply.reason
        assert self.run_until(lambda: self.state is not DriveState.ARMING, 3.0)
        assert self.state is DriveState.CALIBRATING, self.status.sentence

    def reload_calibration(self) -> None:
        """Have the saved file taken over, and wait until the board has it."""
        assert self.ask(RequestKind.RELOAD_CALIBRATION).ok
        deadline_s = time.monotonic() + LOADING_LIMIT_S
        while not self.vehicle.calibrations.is_done and time.monotonic() < deadline_s:
            time.sleep(0.001)
        self.run(0.2)
        assert self.run_until(lambda: not self.status.is_storing, 2.0)

    def stop(self) -> None:
        """Ask for a stop."""
        assert self.ask(RequestKind.DISARM).ok

    def stall(self, duration_s: float) -> None:
        """Let the world go on while the loop does nothing."""
        clock = self.vehicle.clock
        assert isinstance(clock, LockstepClock)
        clock.pause(duration_s)

    def load_policy(self) -> None:
        """Wait, in real time, until the loader is done; the world stands still, so that a run repeats."""
        deadline_s = time.monotonic() + LOADING_LIMIT_S
        policies = self.vehicle.policies
        while policies.is_loading and not policies.is_done and time.monotonic() < deadline_s:
            time.sleep(0.005)
        self.tick()

    def drive(self, speed_cap_frac: float = 1.0, duration_s: float = 1.0) -> None:
        """Start, and go until the car really moves."""
        self.start(speed_cap_frac=speed_cap_frac)
        self.run(duration_s)
        assert self.world.truth_now().speed_mps > 0.2

    def pulses(self, since_ns: int = 0) -> list[tuple[int, float, float]]:
        """Return the pulses the board put out: start, steering and throttle width."""
        return [tuple(pulse) for pulse in self.world.control("pulses", since_ns=since_ns)["pulses"]]

    def is_neutral(self, pulse: tuple[int, float, float]) -> bool:
        return abs(pulse[2] - self.neutral_us) <= 1.0 or pulse[2] == 0.0

    def neutral_after_s(self, since_ns: int) -> float:
        """Return how long after a moment the throttle was neutral for good."""
        driven = [pulse for pulse in self.pulses(since_ns) if not self.is_neutral(pulse)]
        return (driven[-1][0] + 20_000_000 - since_ns) / 1e9 if driven else 0.0

    def assert_stops(self, named: set[Fault], bound_s: float, since_ns: int) -> None:
        """Run on and require: one of these faults latched, neutral pulses in time, no restart by itself."""
        self.run_until(lambda: self.state is DriveState.FAILSAFE, 3.0)
        self.run(1.0)
        assert self.state is DriveState.FAILSAFE
        assert self.latched_fault in named
        assert self.neutral_after_s(since_ns) <= bound_s
        assert self.status.sentence.startswith("Stopped: ")
        self.run(1.0)
        assert self.state is DriveState.FAILSAFE

    def assert_stays_stopped_when_mended(self) -> None:
        """Run until nothing is broken any more and a little longer, and require that the car still stands."""
        self.run(0.3)  # in which a fault that comes and goes shows again
        assert self.run_until(lambda: not self.publisher.records[-1].faults, 8.0)
        self.run(0.3)
        assert self.state is DriveState.FAILSAFE
        assert self.is_neutral(self.pulses(self.now_ns - 60_000_000)[-1])

    def assert_drives_again(self) -> None:
        """Disarm, start anew and require that the car moves: nothing stays broken."""
        self.world.control("reset")
        assert self.ask(RequestKind.DISARM).ok
        self.run(0.2)  # to a status that knows of it
        self.run_settled()
        reply = self.ask(RequestKind.START, target=DriveState.AUTONOMOUS)
        assert reply.ok, reply.reason
        assert self.run_until(lambda: self.state is DriveState.AUTONOMOUS, 3.0)
        self.run(1.0)
        assert self.world.truth_now().speed_mps > 0.2


@contextmanager
def lockstep_rig(
    *,
    wiring: str = "aws",
    board: str = "own",
    track: str = "oval",
    policy: Path | None = None,
    load: Callable[[str], Policy] | None = None,
    camera: CameraSettings | None = None,
    control_rate_hz: float | None = None,
    seed: int = 1,
    calibration_of: str | None = None,
    faults: tuple[str, ...] = (),
    obstacles: tuple[Obstacle, ...] = (),
    cars: tuple[OtherCar, ...] = (),
    marker: MarkerSettings | None = None,
    light: Light = "even",
    has_right_camera: bool = True,
    has_lidar: bool = True,
    is_calibrated: bool = True,
    mounted: CameraConfig | None = None,
    prepare: Callable[[Vehicle], None] = lambda vehicle: None,
) -> Iterator[Rig]:
    """Yield a rig; afterwards require that nothing moves and the board is healthy."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lw", dir="/tmp")))
        settings = HilSettings(
            hil_dir=folder / "hil",
            track=track,
            wiring=wiring,  # type: ignore[arg-type]
            board=board,  # type: ignore[arg-type]
            seed=seed,
            lockstep=True,
            camera=camera or CameraSettings(),
            faults=faults,
            obstacles=obstacles,
            cars=cars,
            marker=marker,
            light=light,
        )
        running = stack.enter_context(start_hil(settings, nursery().start))
        config = CarConfig(
            policy=str(policy or write_policy(folder / "straight")),
            control=ControlConfig(rate_hz=control_rate_hz),
            camera=mounted or CameraConfig(),
        )
        if board == "maestro":
            config = msgspec.structs.replace(
                config, board=msgspec.structs.replace(config.board, driver="maestro")
            )
        publisher = DirectPublisher()
        hil = HilCar(
            settings.hil_dir,
            calibration_of or wiring,
            lockstep=True,
            has_right_camera=has_right_camera,
            has_lidar=has_lidar,
            is_calibrated=is_calibrated,
        )
        vehicle = Vehicle(config, folder / "run", hil, publisher=publisher, load=load)
        stack.callback(vehicle.close)
        prepare(vehicle)
        yield Rig(vehicle, publisher, running, wiring)


def ring_stops(
    monkeypatch: pytest.MonkeyPatch, gap_ns: int, is_rung: Callable[[int], bool] = lambda now_ns: True
) -> list[int]:
    """Have ticks called between those of the timetable, this long after each; return when, as it grows."""
    wait, rung_ns = LockstepClock.wait, list[int]()

    def ring(
        clock: LockstepClock, deadline_ns: int, camera: FrameArrival, after_frame: int | None, *, hears: bool
    ) -> bool:
        now_ns = clock.now_ns()
        if not hears or now_ns + gap_ns >= deadline_ns or not is_rung(now_ns):
            return wait(clock, deadline_ns, camera, after_frame, hears=hears)
        rung_ns.append(now_ns + gap_ns)
        wait(clock, now_ns + gap_ns, camera, None, hears=hears)
        return True

    monkeypatch.setattr(LockstepClock, "wait", ring)
    return rung_ns
