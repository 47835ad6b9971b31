"""The control loop: sense, decide, limit, actuate, report, at a fixed rate. Nothing in it can block."""

from collections.abc import Callable

import msgspec

from calibration import steering, throttle
from calibration.errors import CalibrationError
from models.errors import OutputProblem, PolicyOutputError
from models.policy import Decision, Policy
from vehicle import esc, safety
from vehicle.board.base import pulses_of
from vehicle.calibrating import PREPARED_LIMIT_S, Bench, Preparation
from vehicle.clock import Clock
from vehicle.drive_figures import DriveFigures
from vehicle.loop_status import LoopStatus
from vehicle.memory import BenchMemory, LoopMemory, RunBegin
from vehicle.messages import (
    GUARDED_STATES,
    MOVING_STATES,
    POLICY_STATES,
    DriveAction,
    DriveCommand,
    DriveState,
    Fault,
    OperatorRequest,
    Reply,
    RequestKind,
    Sensed,
    Status,
)
from vehicle.not_started import NotStarted
from vehicle.operator import Operator
from vehicle.parts import (
    BoardLink,
    CalibrationSource,
    CameraView,
    CarSetup,
    LidarView,
    PolicySource,
    Publisher,
    RunTeller,
)
from vehicle.rate import CameraRate, Rate, Start
from vehicle.readiness import Readiness
from vehicle.safety import NEUTRAL, Limiter, Monitor, Senses
from vehicle.sensing import Seen, Sensing
from vehicle.state import DriveMode, EventKind, OperatorEvent, next_mode
from vehicle.tick_record import sensed, tick_record

DEFAULT_CONTROL_RATE_HZ = 30.0
SPEED_CAP_OF_A_NEW_POLICY_FRAC = 0.3
STATUS_EVERY_TICKS = 5


class ControlLoop:
    """One car's loop. Everything it uses is given to it; `step` is the table of contents."""

    def __init__(
        self,
        *,
        car: CarSetup,
        clock: Clock,
        camera: CameraView,
        right_camera: CameraView | None = None,
        lidar: LidarView | None = None,
        board: BoardLink,
        policies: PolicySource,
        calibrations: CalibrationSource,
        operator: Operator,
        monitor: Monitor,
        limiter: Limiter,
        publisher: Publisher,
        teller: RunTeller | None = None,
        on_alive: Callable[[int], None] = lambda now_ns: None,  # noqa: ARG005 - nobody listens
    ) -> None:
        self._car = car
        self._clock = clock
        self._camera = camera
        self._sensing = Sensing(camera, right_camera, lidar)
        self._board = board
        self._policies = policies
        self._calibrations = calibrations
        self._calibration_problem = ""
        self._bench = Bench()
        self._operator = operator
        self._monitor = monitor
        self._limiter = limiter
        self._publisher = publisher
        self._teller = teller
        self._on_alive = on_alive

        self._policy: Policy | None = None
        self._decision: Decision | None = None
        self._policy_fault: Fault | None = None
        self._camera_rate = CameraRate(camera.rate_hz)
        self._rate = self._new_rate(clock.now_ns())
        self._mode = DriveMode()
        self._faults: tuple[Fault, ...] = ()
        self._board_status = board.poll(clock.now_ns())
        self._esc = esc.EscState()
        self._previous_ns = 0
        self._sequence = 0
        self._is_ending = False
        self._was_rung = False
        self._requests: list[OperatorRequest] = []
        self._not_started = NotStarted()
        self._checked_ns = 0
        self._suspended_ns = 0
        self._slept_ns = 0
        self._ran_backwards = False
        self._figures = DriveFigures()
        self._readiness = Readiness(
            sensing=self._sensing, policies=policies, calibrations=calibrations, bench=self._bench
        )
        self._status = LoopStatus(
            camera=camera,
            sensing=self._sensing,
            policies=policies,
            calibrations=calibrations,
            bench=self._bench,
            operator=operator,
            figures=self._figures,
        )

    @property
    def mode(self) -> DriveMode:
        """The drive state and why."""
        return self._mode

    def run(self, stopping: Callable[[], bool]) -> None:
        """Tick until told to stop or to start again; the board is left in neutral on every way out."""
        try:
            while not (stopping() or self._is_ending):
                self.step(self._clock.now_ns())
                self.wait()
        finally:
            self._board.close()

    def wait(self) -> None:
        """Sleep until the next tick is due, or somebody stops the car."""
        wake = self._rate.next_wake()
        self._was_rung = self._clock.wait(wake.deadline_ns, self._sensing, wake.after_frame, hears=wake.hears)

    def step(self, now_ns: int) -> None:
        """Run one tick: sense, decide, limit, actuate, report."""
        before = self._remember()
        seen = self._sense(now_ns)
        start = self._rate.begin(now_ns, seen.frame, was_rung=self._was_rung)
        self._publisher.drain(lambda request: self._answer(request, now_ns))

        self._faults = self._monitor.check(self._senses(seen, now_ns))
        self._change_mode(now_ns)

        if start.decides:
            self._decide(seen)
        wanted = self._wanted(now_ns)
        allowed = self._limiter.apply(wanted, moving=self._moves, now_ns=now_ns)

        command = self._command(allowed, now_ns)
        self._board.write(command, now_ns)
        self._esc = self._esc.sent(self._sent_frac(command).throttle_frac, now_ns)

        self._report(seen, start, wanted, command, now_ns)
        self._tell(before, seen, start, now_ns)
        self._look(seen)  # judged when nothing waits for it, counted in the next tick
        self._previous_ns = now_ns

    # --- sense

    def _sense(self, now_ns: int) -> Seen:
        seen = self._sensing.look(self._camera_rate.hz)
        if seen.newest is not None:
            self._camera_rate.add(seen.newest)
        self._board_status = self._board.poll(now_ns)
        self._board.allow_reopen(self._mode.state not in GUARDED_STATES)
        return seen

    def _look(self, seen: Seen) -> None:
        policy_drives = bool(POLICY_STATES & {self._mode.state, self._mode.target})
        self._monitor.look(
            seen.newest,
            right=seen.right_newest,
            scan=seen.scan,
            policy_drives=policy_drives,
            is_static=self._camera.is_static,
        )

    def _senses(self, seen: Seen, now_ns: int) -> Senses:
        guarded = self._mode.state in GUARDED_STATES
        self._suspended_ns = self._clock.suspended_ns()
        return Senses(
            now_ns=now_ns,
            previous_ns=self._previous_ns,
            clock_ran_backwards=self._ran_backwards,
            suspended_ns=self._suspended_ns,
            state=self._mode.state,
            state_since_ns=self._mode.since_ns,
            frame=seen.newest,
            frame_period_s=1.0 / self._camera_rate.hz,
            right_eye=self._sensing.right_eye(seen),
            lidar=self._sensing.lidar(seen),
            camera_lost=self._camera.lost,
            camera_is_static=self._camera.is_static,
            board=self._board_status,
            board_is_real=not self._car.is_hil,
            lease_lost=guarded and self._operator.lease_lost(self._mode, now_ns),
            driver_input_ns=self._operator.drive_ns,
            policy_fault=self._policy_fault,
            emergency_stop=self._operator.take_emergency_stop(),
        )

    # --- state

    def _answer(self, request: OperatorRequest, now_ns: int) -> Reply:
        self._requests.append(request)
        reply = self._operator.receive(request, self._mode, self._why_not_ready, now_ns)
        if reply.ok and request.kind is RequestKind.START:
            self._not_started.ask(request.target)
        elif reply.ok and request.kind is RequestKind.ACTIVATE_POLICY:
            self._policies.begin(request.policy)
        elif reply.ok and request.kind is RequestKind.PREPARE_CALIBRATION and request.actuator is not None:
            preparation = Preparation(request.actuator, request.steering_us, request.throttle_us, now_ns)
            self._bench.prepare(preparation)
            self._board.begin_store(preparation.board_pulses(), now_ns)
        elif reply.ok and request.kind is RequestKind.RELOAD_CALIBRATION:
            self._calibrations.begin()
        elif reply.ok and request.kind is RequestKind.TUNE_CAMERA and request.camera is not None:
            self._car = msgspec.structs.replace(self._car, camera_locks=request.camera)
            self._sensing.tune(request.camera)
        elif reply.ok and request.kind is RequestKind.RESTART:
            self._is_ending = True
        return reply

    def _why_not_ready(self, target: DriveState) -> tuple[str, ...]:
        """Return, in words, why a start into this state would be refused now."""
        return self._readiness.why_not(
            target,
            car=self._car,
            calibration_problem=self._calibration_problem,
            policy=self._policy,
            board=self._board_status,
            faults=self._faults,
        )

    def _change_mode(self, now_ns: int) -> None:
        before = self._mode
        since_ns = self._board_status.neutral_acked_since_ns
        neutral_s = (now_ns - since_ns) / 1e9 if since_ns else 0.0
        self._mode = next_mode(before, self._event(), self._faults, neutral_s, now_ns)
        self._not_started.judge(self._mode.state, self._why_not_ready, now_ns)
        if self._mode.state not in GUARDED_STATES:
            self._leave_bench(now_ns)
        if self._mode.state is before.state:
            if self._mode.state is DriveState.DISARMED:
                self._take_policy(now_ns)
                self._take_calibration(now_ns)
            return

        self._decision = None
        self._policy_fault = None
        self._esc = self._esc.rested()
        if self._mode.state is DriveState.ARMING:  # figures are of one drive; loading a policy is none
            self._figures.begin()
        if self._mode.state in POLICY_STATES and self._policy is not None:
            self._policy.reset()

    def _event(self) -> OperatorEvent | None:
        """Return what was asked for; no start that a later request of the same tick has made impossible."""
        event = self._operator.take_event()
        if event is None or event.kind is not EventKind.START or event.target is None:
            return event
        return None if self._why_not_ready(event.target) else event

    def _take_policy(self, now_ns: int) -> None:
        """Put a policy that has just been loaded in place: its rate, and a gentle speed cap."""
        policy = self._policies.take()
        if policy is None:
            return
        self._policy = policy
        self._sensing.serve(policy)
        self._operator.speed_cap_frac = min(self._operator.speed_cap_frac, SPEED_CAP_OF_A_NEW_POLICY_FRAC)
        self._rate = self._new_rate(now_ns + round(1e9 / self._rate.tick_rate_hz))
        self._figures.forget_latencies()

    def _take_calibration(self, now_ns: int) -> None:
        """Drive with the numbers that were just read, and make the board keep them."""
        read = self._calibrations.take()
        if isinstance(read, CalibrationError):
            self._calibration_problem = str(read)
        elif read is not None:
            self._calibration_problem = ""
            self._car = msgspec.structs.replace(self._car, calibration=read, is_calibrated=True)
            self._bench.end()
            self._board.begin_store(pulses_of(read), now_ns)

    def _leave_bench(self, now_ns: int) -> None:
        """Give the board this car's own numbers back once calibrating is over, not begun, or was cut off."""
        preparation = self._bench.preparation
        if preparation is None:
            if self._board_status.was_cut_off and self._car.is_calibrated:
                self._board.begin_store(pulses_of(self._car.calibration), now_ns)
            return
        began = preparation.prepared_ns < self._mode.since_ns
        if began or now_ns - preparation.prepared_ns > PREPARED_LIMIT_S * 1e9:
            self._bench.end()
            if self._car.is_calibrated:
                self._board.begin_store(pulses_of(self._car.calibration), now_ns)

    def _new_rate(self, first_ns: int) -> Rate:
        trained_hz = self._policy.bundle.metadata.control_rate_hz if self._policy else DEFAULT_CONTROL_RATE_HZ
        return Rate(self._car.control_rate_hz or trained_hz, self._camera_rate, first_ns)

    # --- decide and limit

    def _decide(self, seen: Seen) -> None:
        """Let the policy choose; an unusable answer means neutral now and a fault in the next tick."""
        self._decision = None
        if self._mode.state not in POLICY_STATES:
            return
        sight = self._sensing.sight(seen)
        if self._policy is None or sight is None:
            self._policy_fault = Fault.POLICY_MISSING if self._policy is None else None
            return
        try:
            decision = self._policy.decide(sight, self._car.calibration)
        except PolicyOutputError as error:
            not_finite = error.kind is OutputProblem.NOT_FINITE
            self._policy_fault = Fault.POLICY_NOT_FINITE if not_finite else Fault.POLICY_FAILED
            return
        if not safety.is_finite(decision.action):
            self._policy_fault = Fault.POLICY_NOT_FINITE
            return
        self._figures.reverses_refused += decision.wants_reverse
        self._decision = decision

    def _wanted(self, now_ns: int) -> DriveAction:
        """Return what policy and person want together, finite and capped."""
        decided = self._decision.action if self._decision is not None else NEUTRAL
        chosen = safety.capped(decided, self._operator.speed_cap_frac)
        person = safety.capped(self._operator.drive, self._operator.speed_cap_frac)
        match self._mode.state:
            case DriveState.AUTONOMOUS:
                return DriveAction(chosen.steering_frac, max(0.0, chosen.throttle_frac))
            case DriveState.ASSISTED if self._decision is not None:
                return DriveAction(chosen.steering_frac, max(0.0, person.throttle_frac))
            case DriveState.MANUAL:  # the cap comes first: it limits speed, and must not weaken a brake
                reverse_mode = self._car.calibration.throttle.esc.reverse_mode.value
                self._esc, share = esc.next_throttle(self._esc, person.throttle_frac, reverse_mode, now_ns)
                return DriveAction(person.steering_frac, share)
            case _:
                return NEUTRAL

    @property
    def _moves(self) -> bool:
        """Whether other pulses than neutral may be sent; not for a policy that has just failed."""
        return self._mode.state in MOVING_STATES and self._policy_fault is None

    @property
    def _trim_us(self) -> float:
        """What is added to every steering pulse; nothing while the centre itself is being calibrated."""
        calibrates = DriveState.CALIBRATING in {self._mode.state, self._mode.target}
        return 0.0 if calibrates else self._operator.trim_us

    def _command(self, allowed: DriveAction, now_ns: int) -> DriveCommand:
        """Return the pulses for this tick; disarmed neutral when time was lost in its middle."""
        calibration = self._car.calibration
        steering_us = steering.trimmed_us(calibration.steering, allowed.steering_frac, self._trim_us)
        self._checked_ns = self._clock.now_ns()
        self._slept_ns = self._clock.suspended_ns() - self._suspended_ns
        if self._monitor.has_lost_time(now_ns, self._checked_ns, self._slept_ns):
            return DriveCommand(False, steering_us, calibration.throttle.neutral_us)
        throttle_us = throttle.pulse_us(calibration.throttle, allowed.throttle_frac)
        if not self._car.is_calibrated and self._bench.rest_us is not None:
            steering_us, throttle_us = self._bench.rest_us  # the one rest that its board knows of
        if DriveState.CALIBRATING in {self._mode.state, self._mode.target}:
            asked_us = self._operator.calibration_pulse_us(now_ns) if self._moves else None
            steering_us, throttle_us = self._bench.pulses_us(asked_us, now_ns)
        return DriveCommand(self._mode.state in GUARDED_STATES, steering_us, throttle_us)

    # --- report

    def _report(
        self, seen: Seen, start: Start, wanted: DriveAction, command: DriveCommand, now_ns: int
    ) -> None:
        written_ns = self._clock.now_ns()
        self._ran_backwards = not now_ns <= self._checked_ns <= written_ns
        self._on_alive(written_ns)  # without a board too: waiting for one is no reason to be killed
        if start.decides:
            self._figures.count(start, written_ns - seen.frame.stamp_ns if seen.frame else None)

        self._publisher.publish_record(
            tick_record(
                self._sequence,
                seen,
                start,
                self._decision,
                state=self._mode.state,
                faults=self._faults,
                requests=self._requests,
                wanted=wanted,
                sent=command,
                sent_frac=self._sent_frac(command),
                board=self._board_status,
                sensed=self._sensed(seen),
                now_ns=now_ns,
                written_ns=written_ns,
            )
        )
        if self._sequence % STATUS_EVERY_TICKS == 0 or self._mode.since_ns == now_ns:
            self._publisher.publish_status(self._status_now(seen, command, now_ns))

    def _tell(self, before: LoopMemory | None, seen: Seen, start: Start, now_ns: int) -> None:
        """Tell a recorder what the record has not: how the run began, what the network was shown."""
        decision = self._decision if start.decides else None
        if self._teller is not None and (before is not None or decision is not None):
            if before is not None and self._mode.state is not DriveState.DISARMED:
                self._teller.started(self._begin(before, now_ns))
            if decision is not None and decision.inputs is not None and self._teller.is_heard:
                number = seen.frame.number if seen.frame else -1
                self._teller.showed(self._sequence, number, decision.inputs)
        self._sequence += 1
        self._requests.clear()

    def _begin(self, before: LoopMemory, now_ns: int) -> RunBegin:
        policy = self._policy
        return RunBegin(
            sequence=self._sequence,
            now_ns=now_ns,
            calibration=self._car.calibration,
            policy=policy.bundle.name if policy else "",
            policy_hash=policy.bundle.sha256 if policy else "",
            control_rate_hz=self._rate.control_rate_hz,
            memory=before,
            is_calibrated=self._car.is_calibrated,
        )

    def _remember(self) -> LoopMemory | None:
        """Return what a run that may begin now has to know, while the car stands disarmed and is recorded."""
        if self._mode.state is not DriveState.DISARMED or self._teller is None or not self._teller.is_heard:
            return None
        return LoopMemory(
            previous_ns=self._previous_ns,
            since_ns=self._mode.since_ns,
            faults=self._faults,
            rate=self._rate.memory(),
            operator=self._operator.memory(),
            limiter=self._limiter.memory(),
            monitor=self._monitor.memory(),
            bench=BenchMemory(self._bench.preparation, self._bench.rest_us),
            esc=self._esc,
        )

    def recall(self, memory: LoopMemory, policy: Policy | None) -> None:
        """Go on, disarmed, from what was remembered when a run began; for a replay."""
        self._policy = policy
        if policy is not None:
            self._sensing.serve(policy)
        self._mode = DriveMode(since_ns=memory.since_ns)
        self._previous_ns = memory.previous_ns
        self._faults = memory.faults
        self._rate = Rate.recalled(memory.rate, self._camera_rate)
        self._operator.recall(memory.operator)
        self._limiter.recall(memory.limiter)
        self._monitor.recall(memory.monitor)
        self._bench.recall(memory.bench.preparation, memory.bench.rest_us)
        self._esc = memory.esc

    def _sensed(self, seen: Seen) -> Sensed:
        return sensed(
            self._sensing,
            seen,
            camera_lost=self._camera.lost,
            suspended_ns=self._suspended_ns,
            checked_ns=self._checked_ns,
            slept_ns=self._slept_ns,
        )

    def _sent_frac(self, command: DriveCommand) -> DriveAction:
        """Return in shares what these pulses make the car do."""
        calibration = self._car.calibration
        return DriveAction(
            steering.frac(calibration.steering, command.steering_us - self._trim_us),
            throttle.frac(calibration.throttle, command.throttle_us),
        )

    def _status_now(self, seen: Seen, command: DriveCommand, now_ns: int) -> Status:
        return self._status.at(
            now_ns,
            seen,
            self._decision,
            car=self._car,
            mode=self._mode,
            faults=self._faults,
            not_ready=self._why_not_ready(DriveState.AUTONOMOUS),
            not_started=self._not_started.reason,
            policy=self._policy,
            rate=self._rate,
            camera_rate_hz=self._camera_rate.hz,
            board=self._board_status,
            calibration_problem=self._calibration_problem,
            command=command,
            sent_frac=self._sent_frac(command),
            trim_us=self._trim_us,
        )
