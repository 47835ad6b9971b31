"""Time that jumps, stands or runs backwards in the middle of anything: the car stops, and says neutral first.

SIGSTOP, a debugger and a busy host are a gap of the monotonic clock; a suspend is one of CLOCK_BOOTTIME
alone. The clock jumps at any one of its readings, so at any spot of a tick that can be told from another.
"""

from copy import deepcopy
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.test_loop import MS, Bench, SteppedClock, StubPolicy
from vehicle.messages import MOVING_STATES, Actuator, DriveAction, DriveState, Fault, RequestKind

ORDER = sorted(MOVING_STATES)
READINGS = 12  # more than two ticks make
LAST_LOOK = (
    3  # of a tick's readings, counted from 0: at how long the computer has slept, right before the write
)
AFTER_TICKS = 10


class JumpingClock(SteppedClock):
    """Jumps once, just before one of its readings is answered."""

    def __init__(self) -> None:
        super().__init__()
        self.readings_left: int | None = None
        self.jump = ("gap", 0)
        self.place = 0
        """Of the jump among its tick's readings."""
        self._in_tick = 0

    def now_ns(self) -> int:
        self._count()
        return super().now_ns()

    def suspended_ns(self) -> int:
        self._count()
        return super().suspended_ns()

    def wait(self, deadline_ns, camera, after_frame, *, hears) -> bool:
        was_rung = super().wait(deadline_ns, camera, after_frame, hears=hears)
        self._count()
        self._in_tick = 0
        return was_rung

    def _count(self) -> None:
        place, self._in_tick = self._in_tick, self._in_tick + 1
        if self.readings_left is None:
            return
        if self.readings_left > 0:
            self.readings_left -= 1
            return
        self.readings_left, self.place = None, place
        kind, size_ns = self.jump
        if kind == "suspend":
            self.slept_ns += size_ns
        else:
            self.time_ns += size_ns if kind == "gap" else -size_ns


@cache
def driven(state: DriveState) -> Bench:
    """Return a car that drives; to be copied, not used."""
    bench = Bench(policy=StubPolicy())
    bench.clock = bench.loop._clock = bench.camera._clock = JumpingClock()
    bench.clock.camera = bench.camera
    if state is DriveState.CALIBRATING:
        bench.calibrate(Actuator.THROTTLE)
    else:
        bench.hand = DriveAction(0.2, 0.8) if state in {DriveState.MANUAL, DriveState.ASSISTED} else None
        bench.start(state)
    tick(bench, 30)
    assert not bench.is_neutral(bench.record.sent)
    del bench.publisher.records[:-1], bench.publisher.replies[:], bench.publisher.statuses[:]
    return bench


def tick(bench: Bench, count: int = 1) -> None:
    for _ in range(count):
        if bench.state is DriveState.CALIBRATING:
            bench.ask(RequestKind.CALIBRATION_PULSE, throttle_us=bench.neutral_us - 60.0)
        bench.tick()


JUMPS = st.one_of(
    st.tuples(st.just("gap"), st.integers(101 * MS, 3_600_000 * MS)),
    st.tuples(st.just("back"), st.integers(21 * MS, 900 * MS)),
    st.tuples(st.just("suspend"), st.integers(51 * MS, 86_400_000 * MS)),
)


@pytest.mark.parametrize("state", ORDER)
@given(jump=JUMPS, reading=st.integers(0, READINGS))
@settings(max_examples=30, deadline=None, derandomize=True, database=None)
def test_a_jump_of_time_anywhere_stops_the_car_and_the_first_word_afterwards_is_neutral_disarmed(
    state, jump, reading
):
    bench = deepcopy(driven(state))
    clock = bench.clock
    clock.jump, clock.readings_left = jump, reading
    while clock.readings_left is not None:
        written = len(bench.board.writes)
        tick(bench)
    tick(bench, AFTER_TICKS)

    after = [command for _, command in bench.board.writes[written:]]
    came_after_the_write = clock.place > LAST_LOOK
    came_with_the_last_look = clock.place == LAST_LOOK and jump[0] != "suspend"
    if came_after_the_write or came_with_the_last_look:
        after = after[1:]
    assert all(not command.armed and bench.is_neutral(command) for command in after)
    assert bench.state is DriveState.FAILSAFE
    assert bench.loop.mode.latched_fault in {Fault.HOST_STALLED, Fault.CLOCK_WRONG}


@pytest.mark.parametrize("kind", ["gap", "back", "suspend"])
@pytest.mark.parametrize("state", ORDER)
def test_after_a_jump_of_time_a_person_can_drive_again(kind, state):
    bench = deepcopy(driven(state))
    bench.clock.jump, bench.clock.readings_left = (kind, 500 * MS), 0
    tick(bench, 20)
    assert bench.state is DriveState.FAILSAFE
    assert bench.told(RequestKind.DISARM).ok
    bench.hand = None
    bench.tick(60)
    bench.start(DriveState.MANUAL)
