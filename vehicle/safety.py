"""Monitors and limits: what stops the car, and what may be sent. Pure apart from what a monitor remembers."""

import math
from collections.abc import Collection

import msgspec

from vehicle.lidar_source import TimedScan
from vehicle.limits import MonitorLimits
from vehicle.memory import LimiterMemory, MonitorMemory
from vehicle.messages import (
    BoardStatus,
    DriveAction,
    DriveState,
    Fault,
    Frame,
)
from vehicle.sensor_monitors import Decoder, PictureMonitor, ScanMonitor

SLOWEST_FRAME_PERIOD_S = 0.2  # 5 frames/s, the least `car.toml` allows: a slower camera is late
FUTURE_LIMIT_S = 0.030  # the tick's time is read before the frame: a busy computer may come between
SUSPEND_LIMIT_S = 0.050  # CLOCK_BOOTTIME runs on while a suspended computer's CLOCK_MONOTONIC stands
ARM_ANSWER_S = 0.250  # a board that has not armed by then will not
BLOCKED_LIMIT_S = 1.5
BATTERY_LIMIT_S = 2.0
DRIVER_INPUT_LIMIT_S = 0.3

THROTTLE_GROWTH_PER_S = 4.0  # a quarter of a second from neutral to full
STEERING_HOLD_S = 0.7  # centring in a corner would leave the track


class RightEyeSenses(msgspec.Struct, frozen=True):
    """What the monitors look at of the second camera."""

    frame: Frame | None
    lost: bool
    is_static: bool
    paired_ns: int
    """Stamp of the newest picture of the left eye that has a right one of the same time; 0 before one."""


class LidarSenses(msgspec.Struct, frozen=True):
    """What the monitors look at of the LIDAR."""

    scan: TimedScan | None
    period_s: float
    lost: bool


class Senses(msgspec.Struct, frozen=True):
    """Everything the monitors look at in one tick."""

    now_ns: int
    previous_ns: int
    """Start of the tick before; 0 in the first."""
    clock_ran_backwards: bool
    """In the middle of the tick before."""
    suspended_ns: int
    """CLOCK_BOOTTIME minus CLOCK_MONOTONIC."""
    state: DriveState
    state_since_ns: int
    frame: Frame | None
    frame_period_s: float
    camera_lost: bool
    camera_is_static: bool
    """A folder of images or a paused video: bit-identical frames are its nature."""
    board: BoardStatus
    board_is_real: bool
    lease_lost: bool
    driver_input_ns: int
    """When a person's steering and throttle last came; 0 for never."""
    policy_fault: Fault | None
    """What went wrong with the policy in the tick before."""
    emergency_stop: bool
    right_eye: RightEyeSenses | None = None
    """None: there is none, or the policy has no use for it."""
    lidar: LidarSenses | None = None
    """As the right eye."""


class Monitor:
    """Turns what the car senses into faults. Remembers only what a judgement over time needs."""

    def __init__(self, limits: MonitorLimits, decode: Decoder) -> None:
        self._limits = limits
        self._pictures = PictureMonitor(decode)
        self._right_pictures = PictureMonitor(decode)
        self._scans = ScanMonitor()
        self._looked_faults: list[Fault] = []
        self._boots: int | None = None
        self._suspended_ns: int | None = None
        self._ticks_moved_ns = 0
        self._wheel_ticks: int | None = None
        self._battery_good_ns = 0

    def check(self, senses: Senses) -> tuple[Fault, ...]:
        """Return the faults present in this tick, gravest first."""
        found = [
            *self._operator_faults(senses),
            *self._host_faults(senses),
            *self._board_faults(senses),
            *self._camera_faults(senses),
            *self._right_eye_faults(senses),
            *self._lidar_faults(senses),
            *self._looked_faults,
            senses.policy_fault,
        ]
        return tuple(fault for fault in Fault if fault in found)

    def memory(self) -> MonitorMemory:
        """Return what was noticed so far, while nothing moves."""
        return MonitorMemory(
            self._boots, self._suspended_ns, self._ticks_moved_ns, self._wheel_ticks, self._battery_good_ns
        )

    def recall(self, memory: MonitorMemory) -> None:
        """Go on from what was noticed before."""
        self._boots = memory.boots
        self._suspended_ns = memory.suspended_ns
        self._ticks_moved_ns = memory.ticks_moved_ns
        self._wheel_ticks = memory.wheel_ticks
        self._battery_good_ns = memory.battery_good_ns

    def has_stalled(self, before_ns: int, now_ns: int) -> bool:
        """Return whether the host stood still for too long between two moments."""
        return now_ns - before_ns > self._limits.stall_limit_s * 1e9

    def has_slept(self, slept_ns: int) -> bool:
        """Return whether the computer was suspended meanwhile; the clock of `has_stalled` stands then."""
        return abs(slept_ns) > SUSPEND_LIMIT_S * 1e9

    def has_lost_time(self, before_ns: int, now_ns: int, slept_ns: int) -> bool:
        """Return whether what was decided before may be too old to be sent now."""
        ran_backwards = now_ns < before_ns
        return ran_backwards or self.has_stalled(before_ns, now_ns) or self.has_slept(slept_ns)

    def _operator_faults(self, senses: Senses) -> list[Fault]:
        faults = []
        if senses.emergency_stop:
            faults.append(Fault.EMERGENCY_STOP)
        if senses.lease_lost:
            faults.append(Fault.LEASE_LOST)
        person_drives = senses.state in {DriveState.MANUAL, DriveState.ASSISTED}
        newest_input_ns = max(senses.driver_input_ns, senses.state_since_ns)
        if person_drives and senses.now_ns - newest_input_ns > DRIVER_INPUT_LIMIT_S * 1e9:
            faults.append(Fault.DRIVER_INPUT_MISSING)
        return faults

    def _host_faults(self, senses: Senses) -> list[Fault]:
        faults = []
        if senses.previous_ns:
            if self.has_stalled(senses.previous_ns, senses.now_ns):
                faults.append(Fault.HOST_STALLED)
            if senses.now_ns <= senses.previous_ns or senses.clock_ran_backwards:
                faults.append(Fault.CLOCK_WRONG)
        if self._suspended_ns is None:
            self._suspended_ns = senses.suspended_ns
        if self.has_slept(senses.suspended_ns - self._suspended_ns):
            self._suspended_ns = senses.suspended_ns
            faults.append(Fault.CLOCK_WRONG)
        return faults

    def _board_faults(self, senses: Senses) -> list[Fault]:
        board, faults = senses.board, []
        if not board.connected:
            faults.append(Fault.BOARD_LOST)
        elif senses.now_ns - board.acked_sent_ns > self._limits.ack_limit_s * 1e9:
            faults.append(Fault.BOARD_SILENT)
        if board.stop_input:
            faults.append(Fault.STOP_INPUT)

        if self._boots is not None and board.boots != self._boots:
            faults.append(Fault.BOARD_RESET)
        self._boots = board.boots

        commanded_armed = senses.state not in {DriveState.DISARMED, DriveState.FAILSAFE}
        in_state_s = (senses.now_ns - senses.state_since_ns) / 1e9
        settled = in_state_s > ARM_ANSWER_S or senses.state is not DriveState.ARMING
        if commanded_armed and board.connected and not board.acked_armed and settled:
            faults.append(Fault.BOARD_REFUSED)
        faults += self._battery_faults(senses)
        faults += self._wheel_faults(senses)
        return faults

    def _battery_faults(self, senses: Senses) -> list[Fault]:
        voltage_v = senses.board.battery_v
        if voltage_v is None or voltage_v >= self._limits.battery_critical_v or not self._battery_good_ns:
            self._battery_good_ns = senses.now_ns
        low_for_s = (senses.now_ns - self._battery_good_ns) / 1e9
        return [Fault.BATTERY_CRITICAL] if low_for_s > BATTERY_LIMIT_S else []

    def _wheel_faults(self, senses: Senses) -> list[Fault]:
        pushing = senses.state in {DriveState.MANUAL, DriveState.ASSISTED, DriveState.AUTONOMOUS}
        pushing = pushing and senses.board.acked_armed and not senses.board.neutral_acked_since_ns
        ticks = senses.board.wheel_ticks
        if ticks is None or not pushing or ticks != self._wheel_ticks:
            self._ticks_moved_ns = senses.now_ns
        self._wheel_ticks = ticks
        still_for_s = (senses.now_ns - self._ticks_moved_ns) / 1e9
        return [Fault.WHEELS_BLOCKED] if still_for_s > BLOCKED_LIMIT_S else []

    def _camera_faults(self, senses: Senses) -> list[Fault]:
        faults = self._late(
            None if senses.frame is None else senses.frame.stamp_ns,
            senses.frame_period_s,
            senses.now_ns,
            Fault.CAMERA_LOST if senses.camera_lost else None,
            Fault.CAMERA_OVERDUE,
        )
        if senses.camera_is_static and senses.board_is_real:
            faults.append(Fault.CAMERA_STATIC)
        return faults

    def _right_eye_faults(self, senses: Senses) -> list[Fault]:
        right, now_ns, period_s = senses.right_eye, senses.now_ns, senses.frame_period_s
        if right is None:
            return []
        faults = self._late(
            None if right.frame is None else right.frame.stamp_ns,
            period_s,
            now_ns,
            Fault.RIGHT_CAMERA_LOST if right.lost else None,
            Fault.RIGHT_CAMERA_OVERDUE,
        )
        if right.is_static and senses.board_is_real:
            faults.append(Fault.CAMERA_STATIC)
        if not faults and senses.frame is not None:
            left_is_late = self._is_overdue(senses.frame.stamp_ns, period_s, now_ns)
            if not left_is_late and self._is_overdue(right.paired_ns, period_s, now_ns):
                faults.append(Fault.STEREO_APART)
        return faults

    def _lidar_faults(self, senses: Senses) -> list[Fault]:
        lidar = senses.lidar
        if lidar is None:
            return []
        return self._late(
            None if lidar.scan is None else lidar.scan.stamp_ns,
            lidar.period_s,
            senses.now_ns,
            Fault.LIDAR_LOST if lidar.lost else None,
            Fault.LIDAR_OVERDUE,
        )

    def _late(
        self, stamp_ns: int | None, period_s: float, now_ns: int, lost: Fault | None, overdue: Fault
    ) -> list[Fault]:
        """Return what the age of a sensor's newest reading says; `lost` where its source is gone.

        None: nothing has come yet, which is overdue, or explained by the loss.
        """
        faults = [] if lost is None else [lost]
        if stamp_ns is None:
            return faults or [overdue]
        if self._is_overdue(stamp_ns, period_s, now_ns):
            faults.append(overdue)
        if stamp_ns - now_ns > FUTURE_LIMIT_S * 1e9:
            faults.append(Fault.FRAME_FROM_FUTURE)
        return faults

    def _is_overdue(self, stamp_ns: int, period_s: float, now_ns: int) -> bool:
        """Return whether the reading after this one should have come by now."""
        due_ns = stamp_ns + round(min(period_s, SLOWEST_FRAME_PERIOD_S) * 1e9)
        return now_ns - due_ns > self._limits.frame_overdue_s * 1e9

    def look(
        self,
        frame: Frame | None,
        *,
        policy_drives: bool,
        is_static: bool,
        right: Frame | None = None,
        scan: TimedScan | None = None,
    ) -> None:
        """Judge what was just acted on, for the next `check`; call after the command was sent.

        A judgement takes as long as everything else in the tick, and one tick later is soon enough for it.
        `right` and `scan` are None where the policy has no use for them.
        """
        faults: list[Fault] = []
        if frame is None or not policy_drives:
            self._pictures.reset()
        else:
            faults += self._pictures.check(frame, is_static=is_static)
        if right is None or not policy_drives:
            self._right_pictures.reset()
        else:
            found = self._right_pictures.check(right, is_static=is_static)
            faults += [OF_THE_RIGHT_EYE[fault] for fault in found]
        if scan is None or not policy_drives:
            self._scans.reset()
        else:
            faults += self._scans.check(scan)
        self._looked_faults = faults


OF_THE_RIGHT_EYE = {
    Fault.CAMERA_FROZEN: Fault.RIGHT_CAMERA_FROZEN,
    Fault.CAMERA_COVERED: Fault.RIGHT_CAMERA_COVERED,
}


def limited_throttle(wanted_frac: float, previous_frac: float, dt_s: float, growth_per_s: float) -> float:
    """Return the throttle for this tick: growth away from neutral is slewed, the way back is not.

    Args:
        wanted_frac: -1 to 1.
        previous_frac: what was sent in the tick before.
        dt_s: time since then.
        growth_per_s: share of full throttle that may be added in a second.

    """
    same_side = previous_frac * wanted_frac > 0
    start = abs(previous_frac) if same_side else 0.0
    growth = growth_per_s * max(0.0, dt_s)  # a clock that ran backwards adds nothing
    return math.copysign(min(abs(wanted_frac), start + growth), wanted_frac)


def capped(action: DriveAction, speed_cap_frac: float) -> DriveAction:
    """Return the action with its throttle scaled by the speed cap and both shares within -1 to 1."""
    return DriveAction(
        steering_frac=max(-1.0, min(1.0, action.steering_frac)),
        throttle_frac=max(-1.0, min(1.0, action.throttle_frac)) * speed_cap_frac,
    )


def is_finite(action: DriveAction) -> bool:
    """True when both shares are numbers a pulse can be made of."""
    return math.isfinite(action.steering_frac) and math.isfinite(action.throttle_frac)


NEUTRAL = DriveAction(steering_frac=0.0, throttle_frac=0.0)


class Limiter:
    """From a wanted action to the one that may be sent: finite, cap, slew; and neutral when not moving."""

    def __init__(self, growth_per_s: float = THROTTLE_GROWTH_PER_S) -> None:
        self._growth_per_s = growth_per_s
        self._sent = NEUTRAL
        self._sent_ns = 0
        self._moved_ns = 0

    def memory(self) -> LimiterMemory:
        """Return what was sent last."""
        return LimiterMemory(self._sent, self._sent_ns, self._moved_ns)

    def recall(self, memory: LimiterMemory) -> None:
        """Go on from what was sent before."""
        self._sent, self._sent_ns, self._moved_ns = memory.sent, memory.sent_ns, memory.moved_ns

    def apply(self, wanted: DriveAction, *, moving: bool, now_ns: int) -> DriveAction:
        """Return what may be sent now. `wanted` must be finite and capped; it is ignored unless moving."""
        if not moving:
            held = now_ns - self._moved_ns < STEERING_HOLD_S * 1e9  # before it moved, straight ahead is held
            sent = DriveAction(self._sent.steering_frac if held else 0.0, 0.0)
        else:
            dt_s = (now_ns - self._sent_ns) / 1e9 if self._sent_ns else 0.0
            throttle = limited_throttle(
                wanted.throttle_frac, self._sent.throttle_frac, dt_s, self._growth_per_s
            )
            sent = DriveAction(wanted.steering_frac, throttle)
            self._moved_ns = now_ns
        self._sent, self._sent_ns = sent, now_ns
        return sent


SENTENCES: dict[Fault, str] = {
    Fault.EMERGENCY_STOP: "Emergency stop pressed. When the car is safe, disarm and start again.",
    Fault.STOP_INPUT: "The stop switch on the car is pressed. Release it, then disarm.",
    Fault.CAMERA_LOST: "The camera is gone. Check its plug; it is opened again by itself.",
    Fault.CAMERA_OVERDUE: "No camera picture in time. Check the camera's plug and the computer's load.",
    Fault.CAMERA_FROZEN: "The camera repeats one picture. Unplug it and plug it in again.",
    Fault.CAMERA_COVERED: "The camera sees nothing. Take the cover off or switch on the light.",
    Fault.RIGHT_CAMERA_LOST: "The right camera is gone. Check its plug; it is opened again by itself.",
    Fault.RIGHT_CAMERA_OVERDUE: "No picture of the right camera in time. Check its plug and the USB hub.",
    Fault.RIGHT_CAMERA_COVERED: "The right camera sees nothing. Take its cover off or switch on the light.",
    Fault.RIGHT_CAMERA_FROZEN: "The right camera repeats one picture. Unplug it and plug it in again.",
    Fault.STEREO_APART: "The two cameras' pictures are not of one time. Check that both run at one rate.",
    Fault.LIDAR_LOST: "The LIDAR is gone. Check its plug; it is opened again by itself.",
    Fault.LIDAR_OVERDUE: "No LIDAR scan in time. Check that it turns, its plug and its cable.",
    Fault.LIDAR_BLIND: "The LIDAR sees nothing on any side. Free its view; it must see something near.",
    Fault.LIDAR_FROZEN: "The LIDAR repeats one scan. Unplug it and plug it in again.",
    Fault.CAMERA_STATIC: "A folder of pictures or a video cannot drive a real car. Choose a camera.",
    Fault.POLICY_MISSING: "No policy is loaded. Choose one.",
    Fault.POLICY_FAILED: "The policy failed. Choose another, or upload it again.",
    Fault.POLICY_NOT_FINITE: "The policy answered with a value that is not a number. Export it again.",
    Fault.BOARD_LOST: "The actuator board is gone. Check its USB plug; it is opened again by itself.",
    Fault.BOARD_SILENT: "The actuator board does not answer. Check its cable, power and the computer's load.",
    Fault.BOARD_RESET: "The actuator board restarted while driving. Check its power supply.",
    Fault.BOARD_REFUSED: "The actuator board refuses to arm. Check that it holds this car's calibration.",
    Fault.CALIBRATION_MISSING: "This car has no calibration. Calibrate steering and throttle first.",
    Fault.HOST_STALLED: "The car's computer stood still for over 100 ms. Close what else runs on it.",
    Fault.CLOCK_WRONG: "The computer's clock stood still or it was asleep. Disarm and start again.",
    Fault.FRAME_FROM_FUTURE: "A picture or scan claims to come from the future. Check that sensor's driver.",
    Fault.LEASE_LOST: "The page or command that drove went silent. Check the network.",
    Fault.DRIVER_INPUT_MISSING: "No steering or throttle came from the driver. Check the controller.",
    Fault.WHEELS_BLOCKED: "Throttle is on and the wheels do not turn. Free them, check motor and battery.",
    Fault.BATTERY_CRITICAL: "The drive battery is empty. Charge it.",
}
"""What happened and what to do, for the owner; every fault has one."""


def gravest(faults: Collection[Fault]) -> Fault | None:
    """Return the fault to name first, or None."""
    return next((fault for fault in Fault if fault in faults), None)
