"""Monitors and limits: what stops the car, and what may be sent. Pure apart from what a monitor remembers."""

import math
from collections.abc import Collection

import cv2
import msgspec
import numpy as np
import numpy.typing as npt

from vehicle.limits import MonitorLimits
from vehicle.messages import (
    BoardStatus,
    DriveAction,
    DriveState,
    Fault,
    Frame,
)

JPEG_START = b"\xff\xd8"
FROZEN_FRAMES = 5  # a sensor's noise makes two equal pictures a rarity, five in a row a fault
COVERED_FRAMES = 5
COVERED_CONTRAST = 1.2  # grey levels between patches; a lens cap gives the noise's share, below 1
SLOWEST_FRAME_PERIOD_S = 0.2  # 5 frames/s, the least `car.toml` allows: a slower camera is late
FUTURE_LIMIT_S = 0.030  # the tick's time is read before the frame: a busy computer may come between
SUSPEND_LIMIT_S = 0.050  # CLOCK_BOOTTIME runs on while a suspended computer's CLOCK_MONOTONIC stands
ARM_ANSWER_S = 0.250  # a board that has not armed by then will not
BLOCKED_LIMIT_S = 1.5
BATTERY_LIMIT_S = 2.0
DRIVER_INPUT_LIMIT_S = 0.3

THROTTLE_GROWTH_PER_S = 4.0  # a quarter of a second from neutral to full
STEERING_HOLD_S = 0.7  # centring in a corner would leave the track


class Senses(msgspec.Struct, frozen=True, eq=False):
    """Everything the monitors look at in one tick."""

    now_ns: int
    previous_ns: int
    """Start of the tick before; 0 in the first."""
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


class Monitor:
    """Turns what the car senses into faults. Remembers only what a judgement over time needs."""

    def __init__(self, limits: MonitorLimits) -> None:
        self._limits = limits
        self._pictures = PictureMonitor()
        self._picture_faults: list[Fault] = []
        self._boots: int | None = None
        self._suspended_ns: int | None = None
        self._ticks_moved_ns = 0
        self._wheel_ticks: int | None = None
        self._battery_good_ns = 0

    def check(self, senses: Senses) -> tuple[Fault, ...]:
        """Return the faults present in this tick, gravest first."""
        faults = [
            *self._operator_faults(senses),
            *self._host_faults(senses),
            *self._board_faults(senses),
            *self._camera_faults(senses),
        ]
        if senses.policy_fault is not None:
            faults.append(senses.policy_fault)
        return tuple(fault for fault in Fault if fault in faults)

    def has_stalled(self, before_ns: int, now_ns: int) -> bool:
        """Return whether the host stood still for too long between two moments."""
        return now_ns - before_ns > self._limits.stall_limit_s * 1e9

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
            if senses.now_ns <= senses.previous_ns:
                faults.append(Fault.CLOCK_WRONG)
        if self._suspended_ns is None:
            self._suspended_ns = senses.suspended_ns
        if abs(senses.suspended_ns - self._suspended_ns) > SUSPEND_LIMIT_S * 1e9:
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
        faults = []
        if senses.camera_lost:
            faults.append(Fault.CAMERA_LOST)
        if senses.camera_is_static and senses.board_is_real:
            faults.append(Fault.CAMERA_STATIC)
        frame = senses.frame
        if frame is None:
            return faults if senses.camera_lost else [*faults, Fault.CAMERA_OVERDUE]

        period_s = min(senses.frame_period_s, SLOWEST_FRAME_PERIOD_S)
        due_ns = frame.stamp_ns + round(period_s * 1e9)
        if senses.now_ns - due_ns > self._limits.frame_overdue_s * 1e9:
            faults.append(Fault.CAMERA_OVERDUE)
        if frame.stamp_ns - senses.now_ns > FUTURE_LIMIT_S * 1e9:
            faults.append(Fault.FRAME_FROM_FUTURE)
        return faults + self._picture_faults

    def look(self, frame: Frame | None, *, policy_drives: bool, is_static: bool) -> None:
        """Judge the picture that was just acted on, for the next `check`; call after the command was sent.

        A judgement takes as long as everything else in the tick, and one tick later is soon enough for it.
        """
        if frame is None or not policy_drives:
            self._pictures.reset()
            self._picture_faults = []
        else:
            self._picture_faults = self._pictures.check(frame, is_static=is_static)


class PictureMonitor:
    """Judges the pictures while the policy drives by them: frozen, covered."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget what was seen; the next frame is the first."""
        self._last: Frame | None = None
        self._repeats = 0
        self._blanks = 0

    def check(self, frame: Frame, *, is_static: bool) -> list[Fault]:
        """Return what is wrong with the pictures up to this one; a frame seen before counts once."""
        last, self._last = self._last, frame
        if last is None or frame.number != last.number:
            same = last is not None and not is_static and is_same_picture(frame, last)
            self._repeats = self._repeats + 1 if same else 0
            self._blanks = self._blanks + 1 if contrast(frame) < COVERED_CONTRAST else 0

        faults = []
        if self._repeats >= FROZEN_FRAMES - 1:
            faults.append(Fault.CAMERA_FROZEN)
        if self._blanks >= COVERED_FRAMES:
            faults.append(Fault.CAMERA_COVERED)
        return faults


def is_same_picture(one: Frame, other: Frame) -> bool:
    """True when two frames are bit-identical at full size.

    A few rows are compared first: two real pictures of one scene differ there, by noise alone. Pictures
    that were decoded at a fraction of their size and are equal there are compared at full size.
    """
    if not np.array_equal(one.image[::48], other.image[::48]) or not np.array_equal(one.image, other.image):
        return False
    if one.jpeg == other.jpeg:
        return True
    return one.jpeg[:2] != JPEG_START or np.array_equal(full_size(one.jpeg), full_size(other.jpeg))


def full_size(jpeg: bytes) -> npt.NDArray[np.uint8]:
    """Return the pixels of a JPEG that was already decoded once."""
    return np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), np.uint8)


def contrast(frame: Frame) -> float:
    """Return the standard deviation between the means of a picture's patches, in grey levels.

    Patches in a 12 x 16 grid, of every fourth pixel at 640 x 480: averaging takes a sensor's noise out,
    so that a covered lens reads below 1 (measured: 0.2 to 0.6 at 640 x 480, noise of 3 to 6 grey levels),
    and thin lines 20 grey levels above a floor of 10 read 1.7.
    """
    every = max(1, frame.image.shape[0] // 120)
    green = frame.image[::every, ::every, 1]
    rows, columns = green.shape[0] // 12 * 12, green.shape[1] // 16 * 16
    if not rows or not columns:
        return float(green.std())
    patches = green[:rows, :columns].reshape(12, rows // 12, 16, columns // 16)
    return float(patches.mean(axis=(1, 3)).std())


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

    def apply(self, wanted: DriveAction, *, moving: bool, now_ns: int) -> DriveAction:
        """Return what may be sent now. `wanted` must be finite and capped; it is ignored unless moving."""
        if not moving:
            held = self._moved_ns and now_ns - self._moved_ns < STEERING_HOLD_S * 1e9
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
    Fault.CAMERA_STATIC: "A folder of pictures or a video cannot drive a real car. Choose a camera.",
    Fault.POLICY_MISSING: "No policy is loaded. Choose one.",
    Fault.POLICY_FAILED: "The policy failed. Choose another, or upload it again.",
    Fault.POLICY_NOT_FINITE: "The policy answered with a value that is not a number. Export it again.",
    Fault.BOARD_LOST: "The actuator board is gone. Check its USB plug; it is opened again by itself.",
    Fault.BOARD_SILENT: "The actuator board does not answer. Check its cable and power.",
    Fault.BOARD_RESET: "The actuator board restarted while driving. Check its power supply.",
    Fault.BOARD_REFUSED: "The actuator board refuses to arm. Check that it holds this car's calibration.",
    Fault.CALIBRATION_MISSING: "This car has no calibration. Calibrate steering and throttle first.",
    Fault.HOST_STALLED: "The car's computer stood still for over 100 ms. Close what else runs on it.",
    Fault.CLOCK_WRONG: "The computer's clock stood still or it was asleep. Disarm and start again.",
    Fault.FRAME_FROM_FUTURE: "A camera picture claims to come from the future. Check the camera's driver.",
    Fault.LEASE_LOST: "The page or command that drove went silent. Check the network.",
    Fault.DRIVER_INPUT_MISSING: "No steering or throttle came from the driver. Check the controller.",
    Fault.WHEELS_BLOCKED: "Throttle is on and the wheels do not turn. Free them, check motor and battery.",
    Fault.BATTERY_CRITICAL: "The drive battery is empty. Charge it.",
}
"""What happened and what to do, for the owner; every fault has one."""


def gravest(faults: Collection[Fault]) -> Fault | None:
    """Return the fault to name first, or None."""
    return next((fault for fault in Fault if fault in faults), None)
