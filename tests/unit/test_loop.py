"""The control loop on a stepped clock, between parts that record: what it sends, when, and what it says."""

import itertools
import math
import types
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from calibration.car import AWS_DEFAULTS, HIL_AWS, HIL_STANDARD, CarCalibration, EscCalibration, ReverseMode
from calibration.errors import CalibrationError
from models.errors import OutputProblem, PolicyOutputError
from models.metadata import Sensor
from models.policy import Decision
from vehicle import esc, safety
from vehicle.board.base import pulses_of
from vehicle.calibrating import THROTTLE_GROWTH_US_PER_S
from vehicle.camera import decode_jpeg
from vehicle.loop import ControlLoop
from vehicle.messages import (
    MOVING_STATES,
    Actuator,
    BoardPulses,
    BoardStatus,
    CameraLocks,
    DriveAction,
    DriveCommand,
    DriveState,
    Fault,
    Frame,
    OperatorRequest,
    Reply,
    RequestKind,
    Status,
    TickRecord,
)
from vehicle.not_started import TAKEN_BACK
from vehicle.operator import LeaseLimits, Operator
from vehicle.parts import CarSetup
from vehicle.safety import NEUTRAL, Limiter, Monitor, MonitorLimits

START_NS = 1_000_000_000
FRAME_NS = 33_333_333
FRAME_DELAY_NS = 4_000_000  # from the stamp to the decoded picture
MS = 1_000_000
STEP_NS = 1000  # what a tick itself takes at least


class SteppedClock:
    """Time that moves only when the loop waits, or when a test says so."""

    def __init__(self) -> None:
        self.time_ns = START_NS
        self.slept_ns = 0
        self.camera: Camera | None = None
        self.ring_in_ns: int | None = None
        """How long after a wait has begun somebody reaches for the emergency stop."""

    def now_ns(self) -> int:
        return self.time_ns

    def suspended_ns(self) -> int:
        return self.slept_ns

    def wait(self, deadline_ns: int, camera: object, after_frame: int | None, *, hears: bool) -> bool:
        wake_ns = deadline_ns
        if after_frame is not None and self.camera is not None:
            wake_ns = min(wake_ns, self.camera.ready_ns(after_frame + 1))
        is_rung = hears and self.ring_in_ns is not None and self.time_ns + self.ring_in_ns < wake_ns
        if is_rung and self.ring_in_ns is not None:
            wake_ns = self.time_ns + self.ring_in_ns
        self.time_ns = max(self.time_ns + STEP_NS, wake_ns)
        return is_rung


class Camera:
    """A picture with something to see every 33 ms, each a little different."""

    def __init__(self, clock: SteppedClock) -> None:
        self._clock = clock
        clock.camera = self
        self.silent_after: int | None = None
        self.lost = False
        self.is_static = False
        self.rate_hz = 30.0
        self.note = ""
        self.wanted_px: tuple[int, int] | None = None
        self.tuned: list[CameraLocks] = []

    def tune(self, locks: CameraLocks) -> None:
        self.tuned.append(locks)

    def fit(self, width_px: int, height_px: int) -> None:
        self.wanted_px = (width_px, height_px)

    def ready_ns(self, number: int) -> int:
        return START_NS + number * FRAME_NS + FRAME_DELAY_NS

    def latest(self) -> Frame | None:
        number = (self._clock.time_ns - START_NS - FRAME_DELAY_NS) // FRAME_NS
        if self.silent_after is not None:
            number = min(number, self.silent_after)
        if number < 0:
            return None
        image = np.full((24, 32, 3), 40, np.uint8)
        image[:, 16:] = 200
        image[0, 0] = number % 200
        ready_ns = self.ready_ns(number)
        return Frame(number, ready_ns - FRAME_DELAY_NS, ready_ns, image, b"jpeg")


class Board:
    """Acknowledges every command by the next tick, and keeps them all."""

    def __init__(self, neutral_us: float) -> None:
        self.writes: list[tuple[int, DriveCommand]] = []
        self.neutral_us = neutral_us
        self.answers = True
        self.status = BoardStatus(
            connected=True, received_ns=0, acked_sent_ns=0, acked_armed=False, ready_to_arm=True
        )
        self.reopen: list[bool] = []
        self.stored: list[BoardPulses] = []
        self.closed = 0
        self.problem: Exception | None = None

    def poll(self, now_ns: int) -> BoardStatus:
        if self.problem is not None:
            raise self.problem
        if self.answers and self.writes:
            sent_ns, command = self.writes[-1]
            is_neutral = abs(command.throttle_us - self.neutral_us) < 0.1
            since_ns = (self.status.neutral_acked_since_ns or now_ns) if is_neutral else 0
            self.set(
                received_ns=now_ns,
                acked_sent_ns=sent_ns,
                acked_armed=command.armed,
                neutral_acked_since_ns=since_ns,
            )
        return self.status

    def set(self, **fields) -> None:
        self.status = msgspec.structs.replace(self.status, **fields)

    def write(self, command: DriveCommand, now_ns: int) -> None:
        self.writes.append((now_ns, command))

    def begin_store(self, pulses: BoardPulses, now_ns: int) -> None:
        self.stored.append(pulses)
        self.neutral_us = pulses.throttle_neutral_us

    def allow_reopen(self, allowed: bool) -> None:
        self.reopen.append(allowed)

    def close(self) -> None:
        self.closed += 1


class StubPolicy:
    """Answers what the test says; counts how often it was asked and told to forget."""

    def __init__(self, name: str = "stub", rate_hz: float = 15.0) -> None:
        self.bundle = types.SimpleNamespace(
            name=name, sha256=f"hash of {name}", metadata=types.SimpleNamespace(control_rate_hz=rate_hz)
        )
        self.space = types.SimpleNamespace(names=("left", "right"))
        self.picture_px = (160, 120)
        self.input_px = (160, 120, 1)
        self.sensors = frozenset({Sensor.FRONT_FACING_CAMERA})
        self.needs_right_camera = False
        self.needs_lidar = False
        self.action = DriveAction(0.5, 0.8)
        self.wants_reverse = False
        self.problem: Exception | None = None
        self.before_answer: Callable[[], None] = lambda: None
        self.asked = 0
        self.resets = 0

    def decide(self, sight, calibration) -> Decision:
        self.asked += 1
        self.before_answer()
        if self.problem is not None:
            raise self.problem
        return Decision(
            output=(0.25, 0.75),
            index=1,
            action=self.action,
            wants_reverse=self.wants_reverse,
            observe_ns=1000,
            infer_ns=2000,
        )

    def reset(self) -> None:
        self.resets += 1

    def note(self, calibration) -> str:
        return ""


class Policies:
    """Hands over what the test has put there."""

    def __init__(self) -> None:
        self.note = ""
        self.is_loading = False
        self.activation = ("", "")
        self.ready: StubPolicy | None = None
        self.begun: list[str] = []

    def begin(self, source: str) -> None:
        self.begun.append(source)
        self.is_loading, self.note = True, f"Loading {source}."

    def take(self) -> StubPolicy | None:
        taken, self.ready = self.ready, None
        if taken is not None:
            self.is_loading, self.note = False, ""
        return taken


class Publisher:
    """Hands waiting requests to the loop, and keeps all that it publishes."""

    def __init__(self) -> None:
        self.waiting: list[OperatorRequest] = []
        self.replies: list[Reply] = []
        self.records: list[TickRecord] = []
        self.statuses: list[Status] = []

    def drain(self, answer: Callable[[OperatorRequest], Reply]) -> None:
        waiting, self.waiting = self.waiting, []
        self.replies += [answer(request) for request in waiting]

    def publish_status(self, status: Status) -> None:
        self.statuses.append(status)

    def publish_record(self, record: TickRecord) -> None:
        self.records.append(record)


class File:
    """A calibration file; `content` is what the next reading gives."""

    def __init__(self) -> None:
        self.path = Path("cars/blue.json")
        self.content: CarCalibration | CalibrationError = AWS_DEFAULTS
        self.is_reading = False
        self.ready = False

    def begin(self) -> None:
        self.is_reading = True

    def take(self) -> CarCalibration | CalibrationError | None:
        if not (self.is_reading and self.ready):
            return None
        self.is_reading = False
        return self.content


class Bench:
    """One loop with all its recorders, a driver who keeps the lease, and short words for a test."""

    def __init__(
        self,
        *,
        calibration: CarCalibration = HIL_AWS,
        is_calibrated: bool = True,
        is_hil: bool = True,
        control_rate_hz: float | None = None,
        policy: StubPolicy | None = None,
        speed_cap_frac: float = 0.3,
    ) -> None:
        self.calibration = calibration
        self.neutral_us = calibration.throttle.neutral_us
        self.clock = SteppedClock()
        self.camera = Camera(self.clock)
        self.board = Board(self.neutral_us)
        self.policies = Policies()
        self.policies.ready = policy
        self.file = File()
        self.publisher = Publisher()
        self.alive: list[int] = []
        self.renews = True
        self.hand: DriveAction | None = None
        self.count = 0
        self.loop = ControlLoop(
            car=CarSetup(calibration, is_calibrated, is_hil, control_rate_hz),
            clock=self.clock,
            camera=self.camera,
            board=self.board,
            policies=self.policies,
            calibrations=self.file,
            operator=Operator(LeaseLimits(), speed_cap_frac),
            monitor=Monitor(MonitorLimits(), decode_jpeg),
            limiter=Limiter(),
            publisher=self.publisher,
            on_alive=self.alive.append,
        )

    def ask(self, kind: RequestKind, source: str = "anna", **fields) -> None:
        """Put a request where the next tick finds it."""
        self.count += 1
        now_ns = self.clock.time_ns
        self.publisher.waiting.append(OperatorRequest(f"{self.count}", source, kind, now_ns, **fields))

    def tick(self, count: int = 1) -> TickRecord:
        for _ in range(count):
            if self.renews:
                self.ask(RequestKind.RENEW_LEASE)
            if self.hand is not None:
                self.ask(
                    RequestKind.DRIVE,
                    steering_frac=self.hand.steering_frac,
                    throttle_frac=self.hand.throttle_frac,
                )
            self.loop.step(self.clock.now_ns())
            self.loop.wait()
        return self.record

    def tick_until(self, is_so: Callable[[TickRecord], bool], limit: int = 600) -> TickRecord:
        for _ in range(limit):
            if is_so(self.tick()):
                return self.record
        raise AssertionError("it never happened")

    def told(self, kind: RequestKind, **fields) -> Reply:
        """Ask, tick once, and return the answer."""
        self.ask(kind, **fields)
        request_id = str(self.count)
        self.tick()
        return next(reply for reply in self.publisher.replies if reply.id == request_id)

    def start(self, target: DriveState = DriveState.AUTONOMOUS) -> "Bench":
        """Take the lease and drive, as a person does."""
        self.tick(4)
        assert self.told(RequestKind.TAKE_LEASE).ok
        reply = self.told(RequestKind.START, target=target)
        assert reply.ok, reply.reason
        self.tick_until(lambda record: record.state is target)
        return self

    def prepare(self, actuator: Actuator, center_us: float | None = None, neutral_us: float | None = None):
        """Say what is calibrated next, as the calibration page does."""
        self.tick(4)
        assert self.told(RequestKind.TAKE_LEASE).ok
        return self.told(
            RequestKind.PREPARE_CALIBRATION,
            actuator=actuator,
            steering_us=center_us or self.calibration.steering.center_us,
            throttle_us=neutral_us or self.calibration.throttle.neutral_us,
        )

    def calibrate(self, actuator: Actuator, **rest) -> "Bench":
        assert self.prepare(actuator, **rest).ok
        return self.start(DriveState.CALIBRATING)

    @property
    def record(self) -> TickRecord:
        return self.publisher.records[-1]

    @property
    def state(self) -> DriveState:
        return self.loop.mode.state

    @property
    def status(self) -> Status:
        """A status that is fresh: a few ticks later."""
        count = len(self.publisher.statuses)
        while len(self.publisher.statuses) == count:
            self.tick()
        return self.publisher.statuses[-1]

    def is_neutral(self, command: DriveCommand) -> bool:
        return command.throttle_us == self.neutral_us


def driving(**options) -> tuple[Bench, StubPolicy]:
    """Return a car that the policy drives, at its full throttle already."""
    policy = options.pop("policy", None) or StubPolicy()
    bench = Bench(policy=policy, **options).start()
    bench.tick(40)
    assert not bench.is_neutral(bench.record.sent)
    return bench, policy


def by_hand(state: DriveState = DriveState.MANUAL, **options) -> Bench:
    bench = Bench(policy=StubPolicy(), **options)
    if state is DriveState.CALIBRATING:
        return bench.calibrate(Actuator.STEERING)
    bench.hand = DriveAction(0.0, 0.0)
    return bench.start(state)


def pulse_us(calibration: CarCalibration, share: float) -> float:
    """The throttle pulse of a positive share, in this test's own words."""
    throttle = calibration.throttle
    side = math.copysign(1.0, throttle.forward_us - throttle.neutral_us)
    span_us = abs(throttle.forward_us - throttle.neutral_us)
    dead_us = throttle.forward_dead_band_us
    return throttle.neutral_us + side * (dead_us + share * (span_us - dead_us))


# --- from boot to driving


def test_a_car_that_nobody_asks_sends_disarmed_neutral_in_every_tick():
    bench = Bench(policy=StubPolicy())
    bench.tick(120)

    assert len(bench.board.writes) == 120
    assert all(not command.armed and bench.is_neutral(command) for _, command in bench.board.writes)
    assert {command.steering_us for _, command in bench.board.writes} == {1450.0}
    assert bench.state is DriveState.DISARMED


def test_nothing_but_neutral_is_sent_before_two_seconds_of_acknowledged_neutral():
    bench, _ = driving()

    first = next(record for record in bench.publisher.records if not bench.is_neutral(record.sent))
    armed = next(record for record in bench.publisher.records if record.sent.armed)
    assert armed.state is DriveState.ARMING
    assert first.state is DriveState.AUTONOMOUS
    assert first.now_ns - START_NS >= 2_000_000_000


def test_a_stopped_car_starts_again_soon_because_neutral_was_acknowledged_all_along():
    bench, _ = driving()
    bench.told(RequestKind.DISARM)
    bench.tick_until(lambda record: record.now_ns - bench.loop.mode.since_ns > 2_100 * MS)
    asked_ns = bench.clock.time_ns
    assert bench.told(RequestKind.START, target=DriveState.AUTONOMOUS).ok
    bench.tick_until(lambda record: record.state is DriveState.AUTONOMOUS)

    assert 300 * MS <= bench.record.now_ns - asked_ns <= 340 * MS


@pytest.mark.parametrize("calibration", [HIL_AWS, HIL_STANDARD])
def test_the_policys_wish_becomes_this_cars_pulses_after_cap_and_slew(calibration):
    bench, _ = driving(calibration=calibration)

    sent = bench.record.sent
    assert sent.armed
    assert sent.throttle_us == pytest.approx(pulse_us(calibration, 0.8 * 0.3))
    steering = calibration.steering
    assert sent.steering_us == pytest.approx((steering.center_us + steering.left_us) / 2)
    assert bench.record.wanted == DriveAction(0.5, pytest.approx(0.24))


def test_throttle_grows_from_neutral_no_faster_than_the_limit():
    bench = Bench(policy=StubPolicy(), speed_cap_frac=1.0)
    bench.start()
    bench.told(RequestKind.SET_SPEED_CAP, speed_cap_frac=1.0)
    bench.tick(40)
    moving = [record for record in bench.publisher.records if record.state is DriveState.AUTONOMOUS]
    full_us = abs(pulse_us(HIL_AWS, 1.0) - pulse_us(HIL_AWS, 0.0))
    for before, after in itertools.pairwise(moving):
        step_us = before.sent.throttle_us - after.sent.throttle_us  # forward lies below neutral
        dead_us = 8.0 if bench.is_neutral(before.sent) else 0.0
        assert step_us - dead_us <= 4.0 * (after.now_ns - before.now_ns) / 1e9 * full_us + 1e-6

    assert moving[-1].sent.throttle_us == pytest.approx(pulse_us(HIL_AWS, 0.8))


def test_a_trim_shifts_every_steering_pulse_at_once_and_never_past_a_lock():
    bench, policy = driving()
    steering = HIL_AWS.steering
    untrimmed_us = bench.record.sent.steering_us
    assert bench.told(RequestKind.SET_TRIM, trim_us=-30.0).ok
    assert bench.record.sent.steering_us == pytest.approx(untrimmed_us - 30.0)
    assert (bench.status.trim_us, bench.status.trim_steers_right) == (-30.0, False)
    assert bench.status.steering_frac == pytest.approx(0.5)  # what was wanted, not the bent link

    policy.action = DriveAction(-1.0, 0.8)  # full right, which lies below the centre
    bench.tick(8)
    assert bench.record.sent.steering_us == min(steering.left_us, steering.right_us)


def test_the_camera_obeys_while_disarmed_and_what_it_was_told_is_in_the_status():
    bench = Bench(policy=StubPolicy())
    bench.tick(4)
    assert bench.status.camera_locks == CameraLocks()
    bench.told(RequestKind.TAKE_LEASE)
    dark = CameraLocks(exposure_ms=2.0, white_balance_k=3000)
    assert bench.told(RequestKind.TUNE_CAMERA, camera=dark).ok
    bench.tick(8)
    assert (bench.camera.tuned, bench.status.camera_locks) == ([dark], dark)

    bench, _ = driving()
    assert not bench.told(RequestKind.TUNE_CAMERA, camera=dark).ok
    bench.tick(8)
    assert (bench.camera.tuned, bench.status.camera_locks) == ([], CameraLocks())


def test_the_centre_that_is_being_calibrated_is_not_trimmed():
    bench = Bench(policy=StubPolicy())
    bench.tick(4)
    bench.told(RequestKind.TAKE_LEASE)
    assert bench.told(RequestKind.SET_TRIM, trim_us=40.0).ok
    assert bench.record.sent.steering_us == HIL_AWS.steering.center_us + 40.0
    bench.calibrate(Actuator.THROTTLE)

    assert bench.record.sent.steering_us == HIL_AWS.steering.center_us
    assert bench.status.trim_us == 0.0


@pytest.mark.parametrize(
    ("later", "fields", "said"),
    [
        (RequestKind.ACTIVATE_POLICY, {"policy": "another"}, "Loading another."),
        (
            RequestKind.PREPARE_CALIBRATION,
            {"actuator": Actuator.STEERING, "steering_us": 1450.0, "throttle_us": 1446.0},
            "The car is prepared for calibrating. Finish it, or wait a few seconds.",
        ),
        (RequestKind.RELOAD_CALIBRATION, {}, "This car's calibration is being read."),
        (RequestKind.DISARM, {"source": "otto"}, TAKEN_BACK),
        (RequestKind.RELEASE_LEASE, {}, TAKEN_BACK),
    ],
)
def test_a_start_that_comes_to_nothing_in_the_tick_that_said_yes_to_it_is_told_why(later, fields, said):
    bench = Bench(policy=StubPolicy())
    bench.tick(4)
    bench.told(RequestKind.TAKE_LEASE)
    bench.renews = False
    bench.ask(RequestKind.START, target=DriveState.AUTONOMOUS)
    bench.ask(later, **fields)
    bench.tick(6)

    assert [reply.ok for reply in bench.publisher.replies[-2:]] == [True, True]
    assert bench.state is DriveState.DISARMED
    assert bench.status.sentence == f"Not started: {said}"
    bench.tick(620)
    assert bench.status.sentence == "Standing still, disarmed."


def test_a_start_that_a_fault_of_its_own_tick_ends_is_told_which_and_the_next_one_clears_it():
    bench = Bench(policy=StubPolicy())
    bench.tick(4)
    bench.told(RequestKind.TAKE_LEASE)
    bench.camera.lost = True
    bench.ask(RequestKind.START, target=DriveState.AUTONOMOUS)
    bench.tick(6)
    assert bench.state is DriveState.DISARMED
    assert bench.status.sentence == f"Not started: {safety.SENTENCES[Fault.CAMERA_LOST]}"

    bench.camera.lost = False
    bench.tick(10)
    assert bench.told(RequestKind.START, target=DriveState.AUTONOMOUS).ok
    bench.tick(6)
    assert bench.status.sentence == "Getting ready: the speed controller learns neutral."


def test_a_drive_with_a_time_limit_ends_by_itself_disarmed_and_says_so():
    bench = Bench(policy=StubPolicy())
    bench.tick(4)
    bench.told(RequestKind.TAKE_LEASE)
    assert bench.told(RequestKind.START, target=DriveState.AUTONOMOUS, time_limit_s=2.0).ok
    began_ns = bench.tick_until(lambda record: record.state is DriveState.AUTONOMOUS).now_ns
    bench.tick(6)
    assert 1.5 < bench.status.time_left_s < 2.0
    ended = bench.tick_until(lambda record: record.state is not DriveState.AUTONOMOUS)

    assert ended.state is DriveState.DISARMED
    assert not ended.sent.armed
    assert bench.is_neutral(ended.sent)
    assert 2_000 * MS <= ended.now_ns - began_ns <= 2_020 * MS
    assert bench.status.sentence == "Standing still, disarmed: the time limit of 2 s was reached."
    assert bench.status.time_left_s == -1.0
    bench.tick(120)
    assert bench.state is DriveState.DISARMED


# --- rates and records


def test_ticks_between_decisions_resend_the_last_limited_command():
    bench, policy = driving()
    asked = policy.asked
    bench.tick(40)

    records = bench.publisher.records[-40:]
    assert policy.asked == asked + 10  # 15 decisions in 60 ticks
    assert [record.decided for record in records].count(True) == 10
    assert len({record.sent for record in records}) == 1
    assert len(bench.board.writes) == len(bench.publisher.records)


def test_records_tell_what_each_tick_saw_decided_and_sent():
    bench, _ = driving()
    decided = bench.tick_until(lambda record: record.decided)
    between = bench.tick()

    assert decided.trigger == "frame"
    assert decided.lateness_ns == 0
    assert decided.policy_output == (0.25, 0.75)
    assert decided.frame_stamp_ns == START_NS + decided.frame_number * FRAME_NS
    assert decided.now_ns == decided.frame_stamp_ns + FRAME_DELAY_NS
    assert (decided.times.decode_ns, decided.times.wait_ns) == (FRAME_DELAY_NS, 0)
    assert (decided.times.observe_ns, decided.times.infer_ns) == (1000, 2000)
    assert decided.times.frame_to_wire_ns == FRAME_DELAY_NS
    assert not between.decided
    assert between.trigger == "tick"
    assert between.policy_output == ()
    assert (between.times.infer_ns, between.times.frame_to_wire_ns) == (0, 0)
    for record in (decided, between):
        assert record.state is DriveState.AUTONOMOUS
        assert record.action == DriveAction(0.5, 0.8)
        assert record.action_index == 1
        assert record.faults == ()
        assert record.board.acked_armed
    assert (between.now_ns, between.sent) == bench.board.writes[-1]


def test_records_are_numbered_without_a_gap_from_the_first_tick_on():
    bench = Bench()
    bench.tick(50)

    assert [record.sequence for record in bench.publisher.records] == list(range(50))


def test_a_camera_that_stands_still_leaves_decisions_at_their_deadlines_and_counts_frames_used_twice():
    bench, _ = driving()
    assert bench.record.frame_number > 0
    bench.camera.silent_after = bench.record.frame_number
    bench.tick(60)

    triggers = {record.trigger for record in bench.publisher.records[-30:] if record.decided}
    assert triggers == {"deadline"}
    assert bench.status.frames_used_twice > 5


def test_the_rate_is_the_policys_own_unless_the_owner_says_otherwise():
    assert Bench().status.control_rate_hz == 30.0
    assert driving()[0].status.control_rate_hz == 15.0
    assert driving(control_rate_hz=20.0)[0].status.control_rate_hz == 20.0
    assert driving()[0].status.tick_rate_hz == 60.0


def test_the_first_ticks_without_a_picture_are_ordinary_ticks():
    bench = Bench()
    bench.tick()

    assert bench.record.frame_number == -1
    assert bench.record.faults == (Fault.BOARD_SILENT, Fault.CAMERA_OVERDUE)
    assert bench.publisher.statuses[0].frame_age_s == -1.0


# --- what stops it


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        (OutputProblem.NOT_FINITE, Fault.POLICY_NOT_FINITE),
        (OutputProblem.WRONG_SHAPE, Fault.POLICY_FAILED),
        (OutputProblem.FAILED, Fault.POLICY_FAILED),
    ],
)
def test_an_unusable_answer_is_neutral_in_its_tick_a_fault_in_the_next_and_latched(kind, fault):
    bench, policy = driving()
    policy.problem = PolicyOutputError(kind, "no")

    at_once = bench.tick_until(lambda record: record.decided)
    assert bench.is_neutral(at_once.sent)
    assert (at_once.faults, at_once.state) == ((), DriveState.AUTONOMOUS)
    assert (at_once.action, at_once.policy_output, at_once.action_index) == (None, (), -1)

    after = bench.tick()
    assert (after.faults, after.state) == ((fault,), DriveState.FAILSAFE)
    assert bench.is_neutral(after.sent)
    assert not after.sent.armed

    policy.problem = None
    asked = policy.asked
    bench.tick(200)
    assert bench.state is DriveState.FAILSAFE
    assert policy.asked == asked
    assert bench.status.sentence == f"Stopped: {safety.SENTENCES[fault]}"


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("field", ["steering_frac", "throttle_frac"])
@pytest.mark.parametrize("state", [DriveState.AUTONOMOUS, DriveState.ASSISTED])
def test_a_value_that_is_no_number_never_reaches_the_board(field, bad, state):
    bench = by_hand(state)
    bench.hand = DriveAction(0.0, 0.5)
    policy = bench.loop._policy
    bench.tick(40)
    policy.action = msgspec.structs.replace(policy.action, **{field: bad})
    bench.tick_until(lambda record: record.state is DriveState.FAILSAFE)

    assert bench.record.faults == (Fault.POLICY_NOT_FINITE,)
    assert all(math.isfinite(command.throttle_us) for _, command in bench.board.writes)
    assert all(math.isfinite(command.steering_us) for _, command in bench.board.writes)
    assert bench.is_neutral(bench.publisher.records[-2].sent)


def test_a_policy_that_fails_in_a_corner_leaves_the_steering_where_it_was_for_700_ms():
    bench, policy = driving()
    steering_us = bench.record.sent.steering_us
    assert steering_us != 1450.0
    policy.problem = PolicyOutputError(OutputProblem.NOT_FINITE, "no")
    failed = bench.tick_until(lambda record: record.decided)

    for record in [failed, *(bench.tick() for _ in range(90))]:
        stopped_s = (record.now_ns - failed.now_ns) / 1e9
        held = stopped_s < 0.7 - 1 / 60
        assert bench.is_neutral(record.sent)
        if held or stopped_s > 0.7:
            assert record.sent.steering_us == (steering_us if held else 1450.0)


def test_a_fault_holds_the_steering_too():
    bench, _ = driving()
    steering_us = bench.record.sent.steering_us
    bench.board.set(stop_input=True)

    stopped = bench.tick()

    assert stopped.state is DriveState.FAILSAFE
    assert stopped.sent == DriveCommand(False, steering_us, bench.neutral_us)


def test_nothing_of_an_old_decision_survives_a_stop():
    bench, policy = driving()
    bench.tick_until(lambda record: record.decided)
    stopped = bench.told(RequestKind.DISARM) and bench.record
    assert not stopped.decided
    assert (stopped.action, stopped.action_index) == (None, -1)

    policy.action = DriveAction(-1.0, 0.1)
    restart = len(bench.publisher.records)
    bench.start()
    bench.tick(8)
    actions = {record.action for record in bench.publisher.records[restart:]}
    assert actions == {None, DriveAction(-1.0, 0.1)}


def test_a_policys_wish_to_go_backwards_is_neutral():
    bench, policy = driving()
    policy.action, policy.wants_reverse = DriveAction(0.5, -0.9), True
    bench.tick_until(lambda record: record.decided)
    bench.tick(20)

    assert bench.state is DriveState.AUTONOMOUS
    assert bench.is_neutral(bench.record.sent)


def test_a_host_that_stood_still_wakes_up_with_neutral_disarmed_and_latched():
    bench, _ = driving()
    written = len(bench.board.writes)
    bench.clock.time_ns += 101 * MS

    bench.renews = False  # nobody wrote in between
    bench.tick()

    _, command = bench.board.writes[written]
    assert bench.is_neutral(command)
    assert not command.armed
    assert bench.record.state is DriveState.FAILSAFE
    assert Fault.HOST_STALLED in bench.record.faults
    assert bench.loop.mode.latched_fault is Fault.HOST_STALLED


@pytest.mark.parametrize(("stall_ms", "neutral"), [(50, False), (101, True), (5000, True)])
def test_a_host_that_stands_still_in_the_middle_of_a_tick_sends_nothing_old_afterwards(stall_ms, neutral):
    bench, policy = driving()

    def stall() -> None:
        bench.clock.time_ns += stall_ms * MS

    policy.before_answer = stall
    record = bench.tick_until(lambda record: record.decided)

    assert bench.is_neutral(record.sent) == neutral
    assert record.sent.armed != neutral
    policy.before_answer = lambda: None
    assert (bench.tick().state is DriveState.FAILSAFE) == neutral


def test_a_computer_that_slept_wakes_up_stopped():
    bench, _ = driving()
    bench.clock.slept_ns += 60 * MS

    assert bench.tick().faults == (Fault.CLOCK_WRONG,)
    assert bench.state is DriveState.FAILSAFE


def test_a_clock_that_runs_backwards_stops_the_car_in_neutral():
    bench, _ = driving()
    bench.clock.time_ns -= 30 * MS
    bench.tick()

    assert Fault.CLOCK_WRONG in bench.record.faults
    assert bench.state is DriveState.FAILSAFE
    assert bench.is_neutral(bench.record.sent)


@pytest.mark.parametrize("source", ["anna", "a watcher"])
def test_an_emergency_stop_acts_in_the_tick_that_reads_it(source):
    bench, _ = driving()

    assert bench.told(RequestKind.EMERGENCY_STOP, source=source).ok

    assert bench.record.state is DriveState.FAILSAFE
    assert bench.is_neutral(bench.record.sent)
    assert bench.loop.mode.latched_fault is Fault.EMERGENCY_STOP
    assert bench.told(RequestKind.DISARM, source="a watcher").ok
    assert bench.state is DriveState.DISARMED


@pytest.mark.parametrize("after_decision", [True, False])
def test_an_emergency_stop_between_two_ticks_calls_one_of_its_own(after_decision):
    bench, policy = driving()
    bench.clock.ring_in_ns = 3 * MS
    planned = bench.tick_until(lambda record: record.trigger != "stop" and record.decided is after_decision)
    asked = policy.asked

    assert bench.told(RequestKind.EMERGENCY_STOP, source="a watcher").ok

    assert (bench.record.trigger, bench.record.now_ns) == ("stop", planned.now_ns + 3 * MS)
    assert bench.record.state is DriveState.FAILSAFE
    assert bench.is_neutral(bench.record.sent)
    assert policy.asked == asked


def test_ticks_that_stops_have_called_stand_beside_the_timetable_and_are_never_two_in_a_row():
    (plain, _), (hurried, _) = driving(), driving()
    hurried.clock.ring_in_ns = 2 * MS
    for bench in (plain, hurried):
        bench.publisher.records.clear()
    plain.tick(60)
    hurried.tick(120)

    called = [record.trigger == "stop" for record in hurried.publisher.records]
    assert sum(called) > 30
    assert not any(a and b for a, b in itertools.pairwise(called))
    planned = [record for record in hurried.publisher.records if record.trigger != "stop"]
    in_both = min(len(planned), 60)
    assert in_both > 40

    def shown(record: TickRecord) -> tuple[object, ...]:
        return record.now_ns, record.trigger, record.lateness_ns, record.decided, record.frame_number

    assert [shown(one) for one in planned[:in_both]] == [
        shown(one) for one in plain.publisher.records[:in_both]
    ]


def test_a_disarm_acts_in_the_tick_that_reads_it():
    bench, _ = driving()

    assert bench.told(RequestKind.DISARM, source="a watcher").ok
    assert bench.record.state is DriveState.DISARMED
    assert bench.record.sent == DriveCommand(False, bench.record.sent.steering_us, bench.neutral_us)


@pytest.mark.parametrize(("state", "limit_s"), [(DriveState.AUTONOMOUS, 1.5), (DriveState.MANUAL, 0.3)])
def test_a_driver_who_goes_silent_stops_the_car_when_the_lease_runs_out(state, limit_s):
    bench = by_hand(state)
    bench.tick(10)
    last_ns = bench.record.now_ns
    bench.renews = False
    bench.tick_until(lambda record: record.state is DriveState.FAILSAFE)

    assert bench.record.faults == (Fault.LEASE_LOST,)
    assert limit_s < (bench.record.now_ns - last_ns) / 1e9 < limit_s + 0.02
    assert bench.is_neutral(bench.record.sent)


def test_a_camera_that_goes_silent_stops_the_car_in_time():
    bench, _ = driving()
    bench.camera.silent_after = bench.record.frame_number
    bench.tick_until(lambda record: record.state is DriveState.FAILSAFE)

    overdue_s = (bench.record.now_ns - bench.record.frame_stamp_ns - FRAME_NS) / 1e9
    assert bench.record.faults == (Fault.CAMERA_OVERDUE,)
    assert 0.075 < overdue_s < 0.075 + 1 / 50


def test_a_board_that_stops_answering_stops_the_car_in_time():
    bench, _ = driving()
    bench.board.answers = False
    bench.tick_until(lambda record: record.state is DriveState.FAILSAFE)

    assert bench.record.faults == (Fault.BOARD_SILENT,)
    assert bench.record.now_ns - bench.record.board.acked_sent_ns < 100 * MS
    assert bench.is_neutral(bench.record.sent)


def test_a_lost_port_may_be_opened_again_only_while_nothing_is_armed():
    bench, _ = driving()
    assert bench.board.reopen[-1] is False
    bench.board.set(connected=False)
    bench.tick(2)

    assert bench.state is DriveState.FAILSAFE
    assert bench.board.reopen[-1] is True


def test_a_failure_of_the_policy_is_forgotten_with_the_next_start():
    bench, policy = driving()
    policy.problem = PolicyOutputError(OutputProblem.FAILED, "no")
    bench.tick_until(lambda record: record.state is DriveState.FAILSAFE)
    policy.problem = None
    assert bench.told(RequestKind.DISARM).ok
    resets = policy.resets
    bench.start()
    bench.tick(40)

    assert bench.state is DriveState.AUTONOMOUS
    assert not bench.is_neutral(bench.record.sent)
    assert policy.resets == resets + 1  # earlier pictures are forgotten


# --- a person's hand


def test_a_person_drives_by_hand_within_the_cap():
    bench = by_hand()
    bench.hand = DriveAction(-1.0, 1.0)
    bench.tick(40)

    assert bench.record.sent.throttle_us == pytest.approx(pulse_us(HIL_AWS, 0.3))
    assert bench.record.sent.steering_us == 1200.0
    assert bench.record.policy_output == ()


@pytest.mark.parametrize("state", [DriveState.MANUAL, DriveState.ASSISTED])
def test_a_hand_that_lets_go_stops_the_car_after_300_ms(state):
    bench = by_hand(state)
    bench.hand = DriveAction(0.0, 0.5)
    bench.tick(40)
    last_ns, bench.hand = bench.record.now_ns, None
    bench.tick_until(lambda record: record.state is DriveState.FAILSAFE)

    assert bench.record.faults == (Fault.DRIVER_INPUT_MISSING,)
    assert 0.3 < (bench.record.now_ns - last_ns) / 1e9 < 0.32


def with_reverse(mode: ReverseMode) -> CarCalibration:
    throttle = msgspec.structs.replace(
        HIL_AWS.throttle, esc=EscCalibration(reverse_mode=mode, brakes_on_first_pull=True)
    )
    return msgspec.structs.replace(HIL_AWS, throttle=throttle)


def throttle_after(bench: Bench, ticks: int) -> list[float]:
    """Throttle beyond neutral in each of the next ticks; positive is toward reverse."""
    return [bench.tick().sent.throttle_us - bench.neutral_us for _ in range(ticks)]


def test_reverse_is_a_matter_of_the_speed_controller():
    sent = {}
    for mode in ReverseMode:
        bench = by_hand(calibration=with_reverse(mode))
        bench.hand = DriveAction(0.0, -1.0)
        sent[mode] = throttle_after(bench, 40)

    assert set(sent[ReverseMode.NONE]) == {0.0}
    assert min(sent[ReverseMode.DIRECT][1:]) > 0.0
    double = [push_us > 0.0 for push_us in sent[ReverseMode.DOUBLE_TAP]]
    changes = [after for before, after in itertools.pairwise(double) if before != after]
    assert changes in ([False, True], [True, False, True])  # pull, neutral, reverse


def test_the_speed_cap_limits_reverse_but_weakens_no_brake():
    bench = by_hand(calibration=with_reverse(ReverseMode.DOUBLE_TAP))
    assert bench.told(RequestKind.SET_SPEED_CAP, speed_cap_frac=0.1).ok
    bench.hand = DriveAction(0.0, -1.0)
    sent = throttle_after(bench, 60)

    span_us, dead_us = 1603.5 - 1446.0, 8.0
    assert max(sent) == pytest.approx(dead_us + esc.BRAKE_SHARE * (span_us - dead_us))
    assert sent[-1] == pytest.approx(dead_us + 0.1 * (span_us - dead_us))


def test_a_new_start_by_hand_begins_the_double_tap_anew():
    bench = by_hand(calibration=with_reverse(ReverseMode.DOUBLE_TAP))
    bench.hand = DriveAction(0.0, -1.0)
    throttle_after(bench, 40)
    bench.hand = DriveAction(0.0, 0.0)
    bench.tick()
    bench.hand = None
    assert bench.told(RequestKind.DISARM).ok
    bench.hand = DriveAction(0.0, 0.0)
    bench.start(DriveState.MANUAL)
    bench.hand = DriveAction(0.0, -1.0)

    sent = throttle_after(bench, 24)
    assert sent[5] == pytest.approx(8.0 + esc.BRAKE_SHARE * (1603.5 - 1446.0 - 8.0))  # the first pull brakes
    assert 0.0 in sent[6:]


def test_assisted_takes_the_steering_from_the_policy_and_forward_throttle_from_the_person():
    bench = by_hand(DriveState.ASSISTED)
    bench.hand = DriveAction(-1.0, 0.5)
    bench.tick(40)
    assert bench.record.wanted == DriveAction(0.5, pytest.approx(0.15))
    assert bench.record.sent.steering_us == 1575.0

    bench.hand = DriveAction(-1.0, -1.0)
    bench.tick(2)
    assert bench.is_neutral(bench.record.sent)
    assert bench.state is DriveState.ASSISTED


def test_calibrating_moves_only_the_actuator_that_was_prepared_and_leaves_with_neutral():
    bench = Bench(policy=None).calibrate(Actuator.STEERING)
    bench.tick(4)
    assert bench.record.sent == DriveCommand(True, 1450.0, bench.neutral_us)

    assert bench.told(RequestKind.CALIBRATION_PULSE, steering_us=1475.0).ok
    bench.tick()
    assert bench.record.sent == DriveCommand(True, 1475.0, bench.neutral_us)
    reply = bench.told(RequestKind.CALIBRATION_PULSE, throttle_us=1400.0)
    assert reply.reason == "steering is being calibrated, so the throttle stays at rest"
    assert not bench.told(RequestKind.CALIBRATION_PULSE, steering_us=1475.0, throttle_us=1400.0).ok
    bench.tick(60)
    assert bench.record.sent == DriveCommand(True, 1475.0, bench.neutral_us)

    bench.told(RequestKind.DISARM)
    assert not bench.record.sent.armed
    bench.calibrate(Actuator.STEERING)
    assert bench.record.sent == DriveCommand(True, 1450.0, bench.neutral_us)  # the old pulse is forgotten


@pytest.mark.parametrize("calibration", [HIL_AWS, HIL_STANDARD], ids=lambda calibration: calibration.name)
def test_a_calibrating_throttle_grows_slowly_and_rests_at_once(calibration):
    bench = Bench(policy=None, calibration=calibration).calibrate(Actuator.THROTTLE)
    neutral_us, forward_us = calibration.throttle.neutral_us, calibration.throttle.forward_us
    bench.ask(RequestKind.CALIBRATION_PULSE, throttle_us=forward_us)
    moved_us, ticks = 0.0, 0
    while bench.record.sent.throttle_us != forward_us:
        before_us, before_ns = moved_us, bench.record.now_ns
        bench.tick()
        moved_us, ticks = abs(bench.record.sent.throttle_us - neutral_us), ticks + 1
        limit_us = THROTTLE_GROWTH_US_PER_S * (bench.record.now_ns - before_ns) / 1e9
        assert moved_us - before_us <= limit_us + 1e-6
    assert ticks > 20

    bench.told(RequestKind.CALIBRATION_PULSE)
    assert bench.record.sent.throttle_us == neutral_us


@pytest.mark.parametrize("nudge_us", [1.0, 5.0, 25.0, -25.0])
@pytest.mark.parametrize("actuator", Actuator)
def test_a_nudge_is_followed_within_a_tenth_of_a_second(actuator, nudge_us):
    bench = Bench(policy=None).calibrate(actuator)
    bench.tick(4)
    rest_us = {Actuator.STEERING: 1450.0, Actuator.THROTTLE: bench.neutral_us}[actuator]
    asked_ns = bench.clock.time_ns
    bench.ask(RequestKind.CALIBRATION_PULSE, **{f"{actuator.value}_us": rest_us + nudge_us})
    bench.tick_until(lambda record: getattr(record.sent, f"{actuator.value}_us") == rest_us + nudge_us)
    assert bench.record.now_ns - asked_ns < 100 * MS


def test_a_silent_driver_has_the_pulse_at_rest_before_the_lease_is_out():
    bench = Bench(policy=None).calibrate(Actuator.THROTTLE)
    bench.ask(RequestKind.CALIBRATION_PULSE, throttle_us=1400.0)
    bench.tick(40)
    assert bench.record.sent.throttle_us == 1400.0
    silent_ns = bench.clock.time_ns
    bench.renews = False
    bench.tick_until(lambda record: record.sent.throttle_us == bench.neutral_us)
    assert bench.record.now_ns - silent_ns <= 220 * MS
    assert bench.state is DriveState.CALIBRATING

    bench.renews = True
    bench.tick(10)
    assert bench.record.sent.throttle_us == bench.neutral_us  # not by itself
    bench.renews = False
    bench.tick(30)
    assert bench.loop.mode.latched_fault is Fault.LEASE_LOST


def test_the_board_may_move_what_is_calibrated_and_gets_its_own_numbers_back():
    bench = Bench(policy=None).calibrate(Actuator.STEERING, center_us=1460.0, neutral_us=1450.0)
    assert bench.board.stored == [BoardPulses(800.0, 1460.0, 2200.0, 1449.0, 1450.0, 1451.0)]
    assert bench.status.calibrating == "steering"
    bench.told(RequestKind.DISARM)
    bench.tick()
    assert bench.board.stored[1:] == [pulses_of(HIL_AWS)]
    assert bench.status.calibrating == ""
    reply = bench.told(RequestKind.START, target=DriveState.CALIBRATING)
    assert "Nothing is prepared" in reply.reason


def test_the_board_of_a_car_that_nobody_calibrated_keeps_what_it_was_told():
    bench = Bench(policy=None, calibration=AWS_DEFAULTS, is_calibrated=False, is_hil=False)
    bench.calibrate(Actuator.THROTTLE)
    bench.told(RequestKind.DISARM)
    bench.tick(10)
    assert bench.board.stored == [BoardPulses(1449.0, 1450.0, 1451.0, 800.0, 1446.0, 2200.0)]
    bench.calibrate(Actuator.THROTTLE, center_us=1510.0, neutral_us=1505.0)
    bench.told(RequestKind.DISARM)
    bench.tick(10)
    assert bench.record.sent == DriveCommand(False, 1510.0, 1505.0)  # and rests there


def test_a_preparation_that_nobody_uses_is_taken_back_and_blocks_driving_meanwhile():
    bench = Bench(policy=None)
    assert bench.prepare(Actuator.THROTTLE).ok
    assert "prepared for calibrating" in bench.told(RequestKind.START, target=DriveState.MANUAL).reason
    bench.tick(290)
    assert len(bench.board.stored) == 1
    bench.tick(20)
    assert bench.board.stored[1:] == [pulses_of(HIL_AWS)]
    assert bench.told(RequestKind.START, target=DriveState.MANUAL).ok


@pytest.mark.parametrize("is_calibrated", [True, False])
def test_a_board_that_was_left_calibrating_gets_this_cars_numbers_while_nothing_moves(is_calibrated):
    bench = Bench(policy=StubPolicy(), is_calibrated=is_calibrated)
    bench.tick()
    assert bench.board.stored == []
    bench.board.set(was_cut_off=True)
    bench.tick()
    bench.board.set(was_cut_off=False)
    bench.tick()
    assert bench.board.stored == [pulses_of(bench.calibration)] * is_calibrated
    if is_calibrated:
        bench.start()
        bench.board.set(was_cut_off=True)
        bench.tick()
        assert len(bench.board.stored) == 1


def test_an_emergency_stop_while_calibrating_gives_the_board_its_own_numbers_back():
    bench = Bench(policy=None).calibrate(Actuator.THROTTLE)
    bench.told(RequestKind.EMERGENCY_STOP)
    bench.tick()
    assert bench.state is DriveState.FAILSAFE
    assert bench.board.stored[-1] == pulses_of(HIL_AWS)


def test_what_was_saved_is_driven_with_after_a_reload():
    bench = Bench(policy=None, calibration=AWS_DEFAULTS, is_calibrated=False, is_hil=False)
    bench.prepare(Actuator.STEERING)
    bench.file.content = HIL_STANDARD
    assert bench.told(RequestKind.RELOAD_CALIBRATION).ok
    assert bench.status.is_storing
    assert "is being read" in bench.told(RequestKind.START, target=DriveState.CALIBRATING).reason
    bench.file.ready = True
    bench.tick(2)
    assert bench.board.stored[-1] == pulses_of(HIL_STANDARD)
    assert bench.status.is_calibrated
    assert bench.status.calibration_name == "hil-standard"
    bench.neutral_us = 1500.0
    bench.start(DriveState.MANUAL)
    assert bench.record.sent == DriveCommand(True, 1500.0, 1500.0)


def test_a_file_that_cannot_be_read_is_said_and_the_car_may_be_calibrated_again():
    bench = Bench(policy=None)
    bench.prepare(Actuator.STEERING)
    bench.file.content = CalibrationError("cars/blue.json is not JSON; calibrate again")
    bench.file.ready = True
    assert bench.told(RequestKind.RELOAD_CALIBRATION).ok
    bench.tick(2)
    assert bench.status.calibration_note == "cars/blue.json is not JSON; calibrate again"
    assert "is not JSON" in bench.told(RequestKind.START, target=DriveState.MANUAL).reason
    bench.calibrate(Actuator.STEERING)


@pytest.mark.parametrize("kind", [RequestKind.PREPARE_CALIBRATION, RequestKind.RELOAD_CALIBRATION])
@pytest.mark.parametrize("state", [DriveState.CALIBRATING, DriveState.MANUAL])
def test_nothing_is_stored_in_the_board_of_an_armed_car(kind, state):
    bench = Bench(policy=None)
    if state is DriveState.CALIBRATING:
        bench.calibrate(Actuator.THROTTLE)
    else:
        bench.hand = NEUTRAL
        bench.start(state)
    before = list(bench.board.stored)
    reply = bench.told(kind, actuator=Actuator.STEERING, steering_us=1500.0, throttle_us=1500.0)
    bench.file.ready = True
    bench.tick(5)
    assert reply.reason == f"the car is {state.value}; disarm first"
    assert bench.board.stored == before


@pytest.mark.parametrize(
    ("fields", "seen"),
    [
        ({"steering_us": 1500.0, "throttle_us": 1500.0}, "which actuator is calibrated was not said"),
        ({"actuator": Actuator.STEERING, "throttle_us": 1500.0}, "the centre is 0 us, allowed 810 to 2190"),
        (
            {"actuator": Actuator.STEERING, "steering_us": 1500.0, "throttle_us": 2191.0},
            "the neutral is 2191",
        ),
    ],
)
def test_a_preparation_without_sense_is_refused_in_words(fields, seen):
    bench = Bench(policy=None)
    bench.prepare(Actuator.STEERING)
    assert seen in bench.told(RequestKind.PREPARE_CALIBRATION, **fields).reason


def test_calibrating_needs_no_camera():
    bench = Bench()
    bench.camera.silent_after = -1
    bench.calibrate(Actuator.STEERING)
    bench.tick(100)

    assert bench.state is DriveState.CALIBRATING
    assert Fault.CAMERA_OVERDUE in bench.record.faults


# --- policies come and go


def test_a_new_policy_begins_at_thirty_percent_of_speed():
    bench, _ = driving()
    assert bench.told(RequestKind.SET_SPEED_CAP, speed_cap_frac=0.9).ok
    assert bench.status.speed_cap_frac == 0.9
    bench.told(RequestKind.DISARM)
    assert bench.told(RequestKind.ACTIVATE_POLICY, policy="other").ok
    assert bench.policies.begun == ["other"]
    bench.policies.ready = StubPolicy("other", rate_hz=30.0)
    bench.tick(2)

    status = bench.status
    assert status.speed_cap_frac == 0.3
    assert (status.policy, status.policy_hash, status.control_rate_hz) == ("other", "hash of other", 30.0)


def test_a_new_policy_does_not_raise_a_lower_cap():
    bench = Bench(policy=StubPolicy(), speed_cap_frac=0.1)
    bench.tick(3)

    assert bench.status.speed_cap_frac == 0.1


def test_a_policy_is_put_in_place_while_disarmed_alone():
    bench, _ = driving()
    bench.policies.ready = StubPolicy("other")
    bench.tick(50)
    assert bench.status.policy == "stub"
    bench.told(RequestKind.EMERGENCY_STOP)
    bench.tick(50)
    assert bench.status.policy == "stub"

    bench.told(RequestKind.DISARM)
    bench.tick(2)
    assert bench.status.policy == "other"


@pytest.mark.parametrize("target", sorted(MOVING_STATES))
def test_no_start_while_a_policy_is_being_loaded(target):
    bench = Bench(policy=StubPolicy())
    bench.tick(4)
    bench.told(RequestKind.TAKE_LEASE)
    bench.told(RequestKind.ACTIVATE_POLICY, policy="other")

    assert bench.told(RequestKind.START, target=target).reason.endswith("Loading other.")
    assert bench.status.policy_note == "Loading other."


def test_a_failed_wish_for_another_policy_must_be_mended_before_a_policy_drives():
    bench = Bench(policy=StubPolicy())
    bench.tick(4)
    bench.policies.note = "other has 3 outputs, allowed 5; export it again"
    bench.told(RequestKind.TAKE_LEASE)

    for target in (DriveState.AUTONOMOUS, DriveState.ASSISTED):
        assert bench.told(RequestKind.START, target=target).reason == bench.policies.note
    assert bench.told(RequestKind.START, target=DriveState.MANUAL).ok


# --- readiness and the status


def refusal(bench: Bench, target: DriveState = DriveState.AUTONOMOUS) -> str:
    bench.tick(4)
    bench.told(RequestKind.TAKE_LEASE)
    reply = bench.told(RequestKind.START, target=target)
    assert bench.state is (DriveState.ARMING if reply.ok else DriveState.DISARMED)
    return reply.reason


def test_without_a_policy_the_car_may_be_driven_by_hand_alone():
    assert refusal(Bench()) == safety.SENTENCES[Fault.POLICY_MISSING]
    assert refusal(Bench(), DriveState.ASSISTED) == safety.SENTENCES[Fault.POLICY_MISSING]
    assert refusal(Bench(), DriveState.MANUAL) == ""


def test_a_real_car_without_calibration_may_only_be_calibrated():
    def car() -> Bench:
        return Bench(calibration=AWS_DEFAULTS, is_calibrated=False, is_hil=False, policy=StubPolicy())

    for target in (DriveState.AUTONOMOUS, DriveState.MANUAL, DriveState.ASSISTED):
        assert refusal(car(), target) == safety.SENTENCES[Fault.CALIBRATION_MISSING]
    bench = car()
    bench.calibrate(Actuator.STEERING)
    assert bench.state is DriveState.CALIBRATING


def test_a_folder_of_pictures_cannot_start_a_real_car():
    bench = Bench(is_hil=False, policy=StubPolicy())
    bench.camera.is_static = True

    assert refusal(bench) == safety.SENTENCES[Fault.CAMERA_STATIC]


def test_the_boards_own_words_are_shown_once():
    bench = Bench(policy=StubPolicy())
    bench.board.set(connected=False, problem="The port is gone. Plug it in.")

    assert refusal(bench) == "The port is gone. Plug it in."
    assert bench.status.board_note == "The port is gone. Plug it in."


def test_a_board_that_will_not_arm_is_told_before_the_start():
    bench = Bench(policy=StubPolicy())
    bench.board.set(ready_to_arm=False)

    assert refusal(bench) == safety.SENTENCES[Fault.BOARD_REFUSED]


def test_every_fault_that_is_present_is_a_reason():
    bench = Bench(policy=StubPolicy())
    bench.board.set(stop_input=True)
    bench.camera.lost = True

    told = f"{safety.SENTENCES[Fault.STOP_INPUT]} {safety.SENTENCES[Fault.CAMERA_LOST]}"
    assert refusal(bench) == told
    assert " ".join(bench.status.not_ready) == told


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        (DriveState.MANUAL, "You drive."),
        (DriveState.ASSISTED, "The policy steers, you drive the throttle."),
        (DriveState.AUTONOMOUS, "The policy drives."),
        (DriveState.CALIBRATING, "Calibrating: wheels off the ground."),
    ],
)
def test_the_state_is_told_in_words(state, sentence):
    bench = by_hand(state)
    told = [status.sentence for status in bench.publisher.statuses]

    assert told[0] == "Standing still, disarmed."
    assert "Getting ready: the speed controller learns neutral." in told
    assert bench.status.sentence == sentence
    assert bench.status.latched_fault is None


def test_the_status_comes_every_fifth_tick_and_with_every_change():
    bench = Bench(policy=StubPolicy())
    bench.tick(50)
    assert len(bench.publisher.statuses) == 10
    bench.start()
    changes = [
        after.now_ns
        for before, after in zip(bench.publisher.records, bench.publisher.records[1:], strict=False)
        if before.state is not after.state
    ]

    assert len(changes) == 2
    assert set(changes) <= {status.now_ns for status in bench.publisher.statuses}


def test_the_status_is_the_car_at_a_glance():
    bench, _ = driving()
    bench.board.set(battery_v=7.6)
    bench.camera.note = "exposure is automatic"
    status = bench.status

    assert status.state is DriveState.AUTONOMOUS
    assert (status.faults, status.not_ready, status.driver) == ((), (), "anna")
    assert (status.policy, status.policy_hash, status.policy_note) == ("stub", "hash of stub", "")
    assert status.camera_rate_hz == pytest.approx(30.0, rel=1e-6)
    assert status.camera_note == "exposure is automatic"
    assert 0.0 < status.frame_age_s < 0.06
    assert status.frame_to_wire_p50_ms == pytest.approx(4.0)
    assert status.frame_to_wire_p99_ms >= status.frame_to_wire_p50_ms
    assert status.decisions > 20
    assert status.missed_decisions == 0
    assert status.steering_frac == pytest.approx(0.5)
    assert status.throttle_frac == pytest.approx(0.24)
    assert status.battery_v == 7.6
    assert status.hil
    assert status.action_names == ("left", "right")
    assert status.action_probabilities == (0.25, 0.75)


def test_a_driver_whose_lease_ran_out_is_no_longer_shown():
    bench = Bench()
    bench.told(RequestKind.TAKE_LEASE)
    assert bench.status.driver == "anna"
    bench.renews = False
    bench.tick(100)

    assert bench.status.driver == ""


def test_a_late_decision_is_counted_as_missed():
    bench = Bench(policy=StubPolicy())
    bench.tick(20)
    bench.clock.time_ns += 300 * MS
    bench.tick(10)

    assert bench.status.missed_decisions == 1


# --- life and death


def test_every_tick_is_a_sign_of_life_also_while_the_board_is_missing():
    bench = Bench()
    bench.board.set(connected=False)
    bench.tick(20)

    assert len(bench.alive) == 20


def test_a_loop_without_a_listener_runs_all_the_same():
    bench = Bench()
    loop = ControlLoop(
        car=CarSetup(HIL_AWS, True, True, None),
        clock=bench.clock,
        camera=bench.camera,
        board=bench.board,
        policies=bench.policies,
        calibrations=bench.file,
        operator=Operator(LeaseLimits(), 0.3),
        monitor=Monitor(MonitorLimits(), decode_jpeg),
        limiter=Limiter(),
        publisher=bench.publisher,
    )
    loop.step(bench.clock.now_ns())

    assert len(bench.board.writes) == 1


def test_a_request_to_end_leaves_the_board_closed_which_is_neutral():
    bench, _ = driving()
    left = iter([False] * 10)

    bench.loop.run(lambda: next(left, True))

    assert bench.board.closed == 1
    assert len(bench.publisher.records) > 10


def test_a_granted_restart_ends_the_loop_with_the_board_closed_and_a_refused_one_does_not():
    bench, _ = driving()
    assert not bench.told(RequestKind.RESTART).ok
    left = iter([False] * 10)
    bench.loop.run(lambda: next(left, True))
    assert len(list(left)) == 0, "it went on driving"

    bench = Bench()
    assert bench.told(RequestKind.TAKE_LEASE).ok
    assert bench.told(RequestKind.RESTART).ok
    bench.loop.run(lambda: False)
    assert bench.board.closed == 1


def test_a_mistake_in_any_part_still_closes_the_board():
    for broken in ("camera", "board", "publisher"):
        bench = Bench()
        problem = RuntimeError("a bug")

        def fail(*_: object, problem: Exception = problem) -> None:
            raise problem

        if broken == "camera":
            bench.camera.latest = fail
        elif broken == "board":
            bench.board.problem = problem
        else:
            bench.publisher.publish_record = fail
        with pytest.raises(RuntimeError, match="a bug"):
            bench.loop.run(lambda: False)
        assert bench.board.closed == 1


def test_a_policy_that_is_broken_by_a_mistake_of_ours_ends_the_loop_with_the_board_closed():
    bench, policy = driving()
    policy.problem = ZeroDivisionError("a bug")

    with pytest.raises(ZeroDivisionError):
        bench.loop.run(lambda: False)
    assert bench.board.closed == 1


def test_the_same_drive_twice_gives_the_same_records():
    first, second = (driving()[0].publisher.records for _ in range(2))

    assert first == second


# --- other sensors


def test_a_policy_that_needs_what_the_car_lacks_is_refused_and_the_loop_goes_on():
    policy = StubPolicy()
    policy.needs_right_camera = policy.needs_lidar = True
    bench = Bench(policy=policy)
    bench.tick(4)
    bench.told(RequestKind.TAKE_LEASE)
    reply = bench.told(RequestKind.START, target=DriveState.AUTONOMOUS)

    assert not reply.ok
    assert "two cameras" in reply.reason
    assert "LIDAR" in reply.reason
    assert bench.told(RequestKind.START, target=DriveState.MANUAL).ok
    assert policy.asked == 0


def test_the_wish_for_a_policy_and_its_outcome_are_in_the_status():
    bench = Bench(policy=StubPolicy())
    bench.policies.activation = ("failed", "/models/new")

    status = bench.status
    assert (status.activation, status.activation_source) == ("failed", "/models/new")
    assert status.policy_sensors == ("FRONT_FACING_CAMERA",)
    assert status.scan_age_s == -1.0
