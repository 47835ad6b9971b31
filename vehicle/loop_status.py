"""The car at a glance, as the loop publishes it for pages and commands: state in words, figures, notes."""

import math

from models.policy import Decision, Policy
from vehicle import safety
from vehicle.calibrating import Bench
from vehicle.drive_figures import DriveFigures
from vehicle.messages import BoardStatus, DriveAction, DriveCommand, DriveState, Fault, Status
from vehicle.operator import Operator
from vehicle.parts import CalibrationSource, CameraView, CarSetup, PolicySource
from vehicle.rate import Rate
from vehicle.sensing import Seen, Sensing
from vehicle.state import DriveMode

STATE_SENTENCES = {
    DriveState.DISARMED: "Standing still, disarmed.",
    DriveState.ARMING: "Getting ready: the speed controller learns neutral.",
    DriveState.MANUAL: "You drive.",
    DriveState.ASSISTED: "The policy steers, you drive the throttle.",
    DriveState.AUTONOMOUS: "The policy drives.",
    DriveState.CALIBRATING: "Calibrating: wheels off the ground.",
    DriveState.FAILSAFE: "Stopped.",
}


class LoopStatus:
    """Looks at the loop's parts and says how the car is."""

    def __init__(
        self,
        *,
        camera: CameraView,
        sensing: Sensing,
        policies: PolicySource,
        calibrations: CalibrationSource,
        bench: Bench,
        operator: Operator,
        figures: DriveFigures,
    ) -> None:
        self._camera = camera
        self._sensing = sensing
        self._policies = policies
        self._calibrations = calibrations
        self._bench = bench
        self._operator = operator
        self._figures = figures

    def at(
        self,
        now_ns: int,
        seen: Seen,
        decision: Decision | None,
        *,
        car: CarSetup,
        mode: DriveMode,
        faults: tuple[Fault, ...],
        not_ready: tuple[str, ...],
        not_started: str,
        policy: Policy | None,
        rate: Rate,
        camera_rate_hz: float,
        board: BoardStatus,
        calibration_problem: str,
        command: DriveCommand,
        sent_frac: DriveAction,
        trim_us: float,
    ) -> Status:
        """Return the car at a glance after this tick has sent `command`."""
        frame, figures, calibration = seen.newest, self._figures, car.calibration
        right_note, lidar_note = self._sensing.notes
        activation, activation_source = self._policies.activation
        p50_ms, p99_ms = figures.latency_ms()
        names = policy.space.names if policy else ()
        left_s = mode.time_left_s(now_ns)
        return Status(
            now_ns=now_ns,
            state=mode.state,
            faults=faults,
            latched_fault=mode.latched_fault,
            sentence=sentence(mode, not_started),
            not_ready=not_ready,
            driver=self._operator.driver(mode, now_ns),
            speed_cap_frac=self._operator.speed_cap_frac,
            policy=policy.bundle.name if policy else "",
            policy_hash=policy.bundle.sha256 if policy else "",
            policy_note=self._policies.note or (policy.note(calibration) if policy else ""),
            control_rate_hz=rate.control_rate_hz,
            tick_rate_hz=rate.tick_rate_hz,
            camera_rate_hz=camera_rate_hz,
            camera_note=self._camera.note,
            frame_age_s=(now_ns - frame.stamp_ns) / 1e9 if frame else -1.0,
            frame_to_wire_p50_ms=p50_ms,
            frame_to_wire_p99_ms=p99_ms,
            missed_decisions=figures.missed,
            decisions=figures.decisions,
            frames_used_twice=figures.frames_used_twice,
            reverses_refused=figures.reverses_refused,
            steering_frac=sent_frac.steering_frac,
            throttle_frac=sent_frac.throttle_frac,
            battery_v=board.battery_v,
            board_note=board.problem,
            hil=car.is_hil,
            action_names=names,
            action_probabilities=decision.output if decision and names else (),
            policy_sensors=tuple(sorted(one.value for one in policy.sensors)) if policy else (),
            activation=activation,
            activation_source=activation_source,
            right_camera_note=right_note,
            lidar_note=lidar_note,
            scan_age_s=(now_ns - seen.scan.stamp_ns) / 1e9 if seen.scan else -1.0,
            is_calibrated=car.is_calibrated,
            calibration_name=calibration.name,
            calibration_version=calibration.version,
            calibration_file=str(self._calibrations.path),
            calibration_note=calibration_problem,
            calibrating=self._bench.preparation.actuator.value if self._bench.preparation else "",
            is_storing=board.is_storing or self._calibrations.is_reading,
            steering_us=command.steering_us,
            throttle_us=command.throttle_us,
            driver_name=self._operator.driver_name(mode, now_ns),
            lease_asked_by=self._operator.asked_by(now_ns),
            time_left_s=max(0.0, left_s) if math.isfinite(left_s) else -1.0,
            trim_us=trim_us,
            trim_steers_right=calibration.steering.right_us > calibration.steering.left_us,
            policy_input_px=policy.input_px if policy else None,
            is_lockstep=car.is_lockstep,
            config_digest=car.config_digest,
            camera_locks=car.camera_locks,
        )


def sentence(mode: DriveMode, not_started: str) -> str:
    """Return the state in words, and why the newest start came to nothing where it has just done so."""
    if mode.state is DriveState.FAILSAFE and mode.latched_fault is not None:
        return f"Stopped: {safety.SENTENCES[mode.latched_fault]}"
    if not_started:
        return f"Not started: {not_started}"
    if mode.has_timed_out:
        return f"Standing still, disarmed: the time limit of {mode.time_limit_s:g} s was reached."
    return STATE_SENTENCES[mode.state]
