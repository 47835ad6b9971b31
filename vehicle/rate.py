"""When the loop ticks and when it decides: a fixed rate, phase-locked to the camera's frames."""

import enum
import math
from collections import deque

import msgspec

from vehicle.memory import RateMemory
from vehicle.messages import Frame

MINIMUM_TICK_RATE_HZ = 50.0  # the board's pulses come at 50 Hz; slower ticks would age commands
LOCK_TOLERANCE = 0.02  # of an integer ratio of camera rate to control rate
UNLOCK_TOLERANCE = 0.03  # hysteresis, so that a rate at the edge does not flap
GRACE_SHARE = 0.25  # of a decision period: how long a decision waits for its frame
FOLLOW_SHARE = 0.1  # of the error between deadline and frame, corrected in a cycle
FOLLOW_LIMIT_NS = 1_000_000
RATE_WINDOW_FRAMES = 60  # two seconds at 30 fps
LOST_PHASE_DECISIONS = 3  # in a row without their frame: the camera's phase has moved, find it anew


class Trigger(enum.StrEnum):
    """What started a tick."""

    FRAME = "frame"
    DEADLINE = "deadline"
    TICK = "tick"  # between decisions
    STOP = "stop"  # somebody stopped the car before the next was due


class Wake(msgspec.Struct, frozen=True):
    """What the loop waits for."""

    deadline_ns: int
    after_frame: int | None
    """A frame numbered higher ends the wait; None: only the deadline does."""
    hears: bool
    """Whether an emergency stop ends it too: once between two ticks, so that a flood hurries nothing."""


class Start(msgspec.Struct, frozen=True):
    """How a tick began."""

    trigger: Trigger
    lateness_ns: int
    """Start of the tick minus its trigger."""
    missed: bool
    """The decision started more than a period late."""
    frame_used_twice: bool

    @property
    def decides(self) -> bool:
        """Whether the policy decides in this tick."""
        return self.trigger in {Trigger.FRAME, Trigger.DEADLINE}


def ticks_per_decision(control_rate_hz: float) -> int:
    """Return the smallest whole number of ticks in a decision that gives at least 50 ticks a second."""
    return max(1, math.ceil(MINIMUM_TICK_RATE_HZ / control_rate_hz - 1e-9))


class CameraRate:
    """Measures the rate of the frames that arrive, from their stamps and numbers."""

    def __init__(self, nominal_hz: float) -> None:
        self._nominal_hz = nominal_hz
        self._frames: deque[tuple[int, int]] = deque(maxlen=RATE_WINDOW_FRAMES)

    def add(self, frame: Frame) -> None:
        """Take a frame into account; one seen before changes nothing."""
        if not self._frames or frame.number > self._frames[-1][0]:
            self._frames.append((frame.number, frame.stamp_ns))
        elif frame.number < self._frames[-1][0]:
            self._frames.clear()

    @property
    def frames(self) -> tuple[tuple[int, int], ...]:
        """Number and stamp of the frames it is measured by."""
        return tuple(self._frames)

    def recall(self, frames: tuple[tuple[int, int], ...]) -> None:
        """Go on from what was measured before."""
        self._frames = deque(frames, maxlen=RATE_WINDOW_FRAMES)

    @property
    def hz(self) -> float:
        """The measured rate; the nominal one until ten frames have come."""
        if len(self._frames) < 10:
            return self._nominal_hz
        (first, first_ns), (last, last_ns) = self._frames[0], self._frames[-1]
        return (last - first) * 1e9 / (last_ns - first_ns) if last_ns > first_ns else self._nominal_hz


class Rate:
    """The timetable of the loop.

    A decision starts at the earlier of two moments: the arrival of the k-th frame since the last
    decision's (k = camera rate / control rate, when that is within 2 % of a whole number), and its
    deadline plus a grace of 25 % of a period (at most one tick, so that commands stay fresh). The
    deadline follows the frames by a tenth of the error in each cycle. Without a locked camera the
    deadlines are absolute and never drift.
    """

    def __init__(self, control_rate_hz: float, camera_rate: CameraRate, start_ns: int) -> None:
        self.control_rate_hz = control_rate_hz
        self.ticks_per_decision = ticks_per_decision(control_rate_hz)
        self._period_ns = 1e9 / control_rate_hz  # a float: whole nanoseconds would drift
        self._camera_rate = camera_rate
        self._frames_per_decision = 0  # 0 while not locked
        self._deadline_ns = float(start_ns)
        self._decision_ns = start_ns
        self._ticks_left = 0
        self._target_frame: int | None = None
        self._used_frame = -1
        self._decisions_without_frame = 0
        self._was_rung = False

    def memory(self) -> RateMemory:
        """Return where the timetable stands."""
        return RateMemory(
            control_rate_hz=self.control_rate_hz,
            frames_per_decision=self._frames_per_decision,
            deadline_ns=self._deadline_ns,
            decision_ns=self._decision_ns,
            ticks_left=self._ticks_left,
            target_frame=self._target_frame,
            used_frame=self._used_frame,
            decisions_without_frame=self._decisions_without_frame,
            camera_frames=self._camera_rate.frames,
        )

    @classmethod
    def recalled(cls, memory: RateMemory, camera_rate: CameraRate) -> "Rate":
        """Return the timetable as it stood."""
        rate = cls(memory.control_rate_hz, camera_rate, memory.decision_ns)
        rate._frames_per_decision = memory.frames_per_decision
        rate._deadline_ns = memory.deadline_ns
        rate._ticks_left = memory.ticks_left
        rate._target_frame = memory.target_frame
        rate._used_frame = memory.used_frame
        rate._decisions_without_frame = memory.decisions_without_frame
        camera_rate.recall(memory.camera_frames)
        return rate

    @property
    def tick_rate_hz(self) -> float:
        """How often the loop runs."""
        return self.control_rate_hz * self.ticks_per_decision

    @property
    def locked(self) -> bool:
        """Whether decisions follow the camera's frames."""
        return self._frames_per_decision > 0

    def next_wake(self) -> Wake:
        """Return what to wait for before the next tick."""
        hears = not self._was_rung
        if self._ticks_left:
            return Wake(self._tick_ns(self.ticks_per_decision - self._ticks_left), None, hears)
        if self._target_frame is None:
            return Wake(round(self._deadline_ns), None, hears)
        return Wake(round(self._deadline_ns) + self._grace_ns, self._target_frame - 1, hears)

    def begin(self, now_ns: int, frame: Frame | None, *, was_rung: bool = False) -> Start:
        """Say how the tick that starts now began, and plan the next.

        One that an emergency stop has called (`was_rung`) stands beside the timetable and changes nothing
        in it.
        """
        self._was_rung = was_rung
        if was_rung:
            return Start(Trigger.STOP, 0, missed=False, frame_used_twice=False)
        if self._ticks_left:
            due_ns = self._tick_ns(self.ticks_per_decision - self._ticks_left)
            self._ticks_left -= 1
            return Start(Trigger.TICK, now_ns - due_ns, missed=False, frame_used_twice=False)
        return self._begin_decision(now_ns, frame)

    def _begin_decision(self, now_ns: int, frame: Frame | None) -> Start:
        on_frame = frame is not None and self._target_frame is not None and frame.number >= self._target_frame
        if on_frame and frame is not None:
            trigger, due_ns = Trigger.FRAME, max(frame.ready_ns, self._decision_ns)
        else:
            waited = self._grace_ns if self._target_frame is not None else 0
            trigger, due_ns = Trigger.DEADLINE, round(self._deadline_ns) + waited
        lateness_ns = now_ns - due_ns
        missed = now_ns - (self._deadline_ns + self._grace_ns) > self._period_ns

        number = -1 if frame is None else frame.number
        used_twice = frame is not None and number == self._used_frame
        self._used_frame = number
        self._decisions_without_frame = 0 if on_frame else self._decisions_without_frame + 1
        self._plan_deadline(now_ns, frame if on_frame else None)
        self._plan_frames(now_ns, frame)
        self._ticks_left = self.ticks_per_decision - 1
        self._decision_ns = now_ns
        return Start(trigger, lateness_ns, missed, used_twice)

    def _plan_deadline(self, now_ns: int, frame: Frame | None) -> None:
        """Set the next deadline, pulled a little toward the frame that started this decision."""
        if frame is not None:
            half_ns = self._period_ns / 2
            error_ns = (frame.ready_ns - self._deadline_ns + half_ns) % self._period_ns - half_ns
            self._deadline_ns += max(-FOLLOW_LIMIT_NS, min(FOLLOW_LIMIT_NS, FOLLOW_SHARE * error_ns))
        self._deadline_ns = self._in_phase_after(now_ns, self._deadline_ns)

    def _plan_frames(self, now_ns: int, frame: Frame | None) -> None:
        """Choose the frame that the next decision waits for."""
        ratio = self._camera_rate.hz / self.control_rate_hz
        whole = round(ratio)
        tolerance = UNLOCK_TOLERANCE if self.locked else LOCK_TOLERANCE
        self._frames_per_decision = whole if whole and abs(ratio / whole - 1) <= tolerance else 0

        lost_phase = self._decisions_without_frame >= LOST_PHASE_DECISIONS
        if frame is None or not self._frames_per_decision or (lost_phase and self._target_frame is not None):
            self._target_frame = None
        elif self._target_frame is None:
            self._target_frame = frame.number + self._frames_per_decision
            self._deadline_ns = self._in_phase_after(now_ns, frame.ready_ns)
        else:
            planned = self._target_frame + self._frames_per_decision
            reachable = frame.number < planned <= frame.number + 2 * self._frames_per_decision
            self._target_frame = planned if reachable else frame.number + self._frames_per_decision

    def _in_phase_after(self, now_ns: int, moment_ns: float) -> float:
        """Return the first moment at least half a period from now that lies whole periods off the given one.

        Periods that were missed are skipped, never caught up in a burst.
        """
        short_ns = now_ns + self._period_ns / 2 - moment_ns
        return moment_ns + math.ceil(short_ns / self._period_ns) * self._period_ns

    @property
    def _grace_ns(self) -> int:
        return round(min(GRACE_SHARE * self._period_ns, self._period_ns / self.ticks_per_decision))

    def _tick_ns(self, index: int) -> int:
        return self._decision_ns + round(index * self._period_ns / self.ticks_per_decision)
