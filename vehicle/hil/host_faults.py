"""Breaks what belongs to the computer that drives: policy, operator link, clock and disk of a HIL vehicle.

Wrappers at the loop's own borders, so that loop, monitors and state know nothing of it. Only a vehicle
with a HIL car can be given one.
"""

import errno
import math
import os
import random
import stat
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from calibration.car import CarCalibration
from models.errors import OutputProblem, PolicyOutputError
from models.observation import Sight
from models.policy import Decision, Policy
from vehicle.clock import Clock, FrameArrival
from vehicle.errors import UNREADABLE
from vehicle.hil.faults import FaultOrder, FaultSchedule, Part, refuse_world_part
from vehicle.hil.host_desk import HostDesk
from vehicle.hil.orders import Answer, FaultOp, HostOrder, switch_host_fault
from vehicle.messages import DriveAction, OperatorRequest, Reply, Status, TickRecord
from vehicle.parts import Publisher

LONGEST_WAIT_NS = 250_000_000  # of a loop whose clock is wrong; longer than any watchdog here
GARBAGE_CLOCK_S = 10.0
STUCK_DISK_S = 60.0  # a test that forgets to mend it must end some day

DISK_ERRORS = {"off": errno.EIO, "garbage": errno.EUCLEAN, "wrong": errno.EROFS, "full": errno.ENOSPC}


class HostFaults:
    """What is broken on this side, on the clock `true_now_ns`; `pause` lets time pass for a slow policy."""

    def __init__(
        self,
        orders: Iterable[FaultOrder],
        true_now_ns: Callable[[], int],
        *,
        pause: Callable[[float], None] = time.sleep,
        seed: int = 0,
        start_ns: int = 0,
    ) -> None:
        orders = tuple(orders)
        for order in orders:
            refuse_world_part(order)
        self.true_now_ns = true_now_ns
        self.pause = pause
        self._start_ns = start_ns
        self.schedule = FaultSchedule(orders, seed=seed, start_ns=start_ns)

    def elapsed_s(self) -> float:
        """Return the time now, as orders count it."""
        return (self.true_now_ns() - self._start_ns) / 1e9

    def order(self, order: FaultOrder) -> None:
        """Take one more order."""
        self.schedule.add(order)

    def carry_out(self, order: HostOrder) -> Answer:
        """Break or mend something now, and tell what is broken; raises HilError."""
        if isinstance(order, FaultOp):
            switch_host_fault(order, self.schedule, self.elapsed_s())
        self.schedule.advance(self.true_now_ns())
        return {"faults": self.schedule.amounts()}

    def mend(self) -> None:
        """Switch everything off now."""
        for part, fault in list(self.schedule.ons()):
            self.schedule.switch_off(part, fault)
        self.schedule.advance(self.true_now_ns())

    def is_on(self, part: Part, fault: str) -> bool:
        """Whether this is broken now."""
        if self.schedule.is_idle:
            return False
        self.schedule.advance(self.true_now_ns())
        return self.schedule.is_on(part, fault)

    def amount(self, part: Part, fault: str) -> float | None:
        """Return how much of this fault is on now, None when it is off."""
        if self.schedule.is_idle:
            return None
        self.schedule.advance(self.true_now_ns())
        return self.schedule.amount(part, fault)

    def chance(self, part: Part, fault: str) -> bool:
        """Whether a fault that strikes at random strikes now."""
        share = self.amount(part, fault)
        return share is not None and self.random(part, fault).random() < share

    def random(self, part: Part, fault: str) -> random.Random:
        """Return this fault's own random numbers."""
        return self.schedule.random(part, fault)


class BrokenClock:
    """A `vehicle.clock.Clock` in front of the true one."""

    def __init__(self, inner: Clock, faults: HostFaults) -> None:
        self._inner = inner
        self._faults = faults
        self._shown_ns = self._true_ns = inner.now_ns()
        self._slow_since_ns: int | None = None

    def now_ns(self) -> int:
        """Return what the clock shows; raises OSError where it cannot be read."""
        self._true_ns = self._inner.now_ns()
        self._shown_ns = self._read(self._true_ns)
        return self._shown_ns

    def suspended_ns(self) -> int:
        """Return how long the computer seems to have slept."""
        slept_s = self._faults.amount(Part.CLOCK, "delayed") or 0.0
        return self._inner.suspended_ns() + round(slept_s * 1e9)

    def wait(self, deadline_ns: int, camera: FrameArrival, after_frame: int | None, *, hears: bool) -> bool:
        """Wait for as long as the clock's last reading makes it seem right."""
        return self._inner.wait(self._true_deadline_ns(deadline_ns), camera, after_frame, hears=hears)

    def _true_deadline_ns(self, deadline_ns: int) -> int:
        if self._shown_ns == self._true_ns:
            return deadline_ns
        left_ns = min(max(deadline_ns - self._shown_ns, 1), LONGEST_WAIT_NS)
        return self._inner.now_ns() + left_ns

    def _read(self, true_ns: int) -> int:
        faults = self._faults
        if faults.is_on(Part.CLOCK, "off"):
            raise OSError(errno.EIO, "the clock cannot be read (HIL fault clock=off)")
        if faults.is_on(Part.CLOCK, "stuck") or faults.chance(Part.CLOCK, "intermittent"):
            return self._shown_ns
        if faults.is_on(Part.CLOCK, "garbage"):
            wrong_s = faults.random(Part.CLOCK, "garbage").uniform(-GARBAGE_CLOCK_S, GARBAGE_CLOCK_S)
            return true_ns + round(wrong_s * 1e9)
        if (rate := faults.amount(Part.CLOCK, "slow")) is not None:
            if self._slow_since_ns is None:
                self._slow_since_ns = true_ns
            return self._slow_since_ns + round((true_ns - self._slow_since_ns) * rate)
        self._slow_since_ns = None
        return true_ns + round((faults.amount(Part.CLOCK, "wrong") or 0.0) * 1e9)


class BrokenLink:
    """A `vehicle.parts.Publisher` whose requests are lost, late or changed; what is published goes out.

    Who asked gets an answer at once also where nothing arrived, which says so: this is a laptop's tool.
    """

    def __init__(self, inner: Publisher, faults: HostFaults, desk: HostDesk | None = None) -> None:
        """`desk` takes orders to break and mend, whatever becomes of the link."""
        self._inner = inner
        self._faults = faults
        self._desk = desk
        self._held: deque[tuple[int, OperatorRequest]] = deque()
        self._slow_share = 0.0
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(OperatorRequest)

    def drain(self, answer: Callable[[OperatorRequest], Reply]) -> None:
        """Give what arrives to `answer`."""
        if self._desk is not None:
            self._desk.serve(self._faults.carry_out)
        now_ns = self._faults.true_now_ns()
        is_stuck = self._faults.is_on(Part.OPERATOR_LINK, "stuck")
        while self._held and not is_stuck and self._held[0][0] <= now_ns:
            answer(self._held.popleft()[1])
        self._inner.drain(lambda request: self._pass(request, answer, now_ns))

    def publish_status(self, status: Status) -> None:
        """Send the car at a glance."""
        self._inner.publish_status(status)

    def publish_record(self, record: TickRecord) -> None:
        """Send one tick's record."""
        self._inner.publish_record(record)

    def _pass(
        self, request: OperatorRequest, answer: Callable[[OperatorRequest], Reply], now_ns: int
    ) -> Reply:
        if self._is_lost():
            return Reply(request.id, ok=False, reason="lost on the way by a HIL fault of the operator link")
        arrived = self._as_received(request)
        if arrived is None:
            return Reply(request.id, ok=False, reason="made unreadable by a HIL fault of the operator link")
        delay_s = self._faults.amount(Part.OPERATOR_LINK, "delayed")
        if delay_s is None and not self._faults.is_on(Part.OPERATOR_LINK, "stuck"):
            return answer(arrived)
        self._held.append((now_ns + round((delay_s or 0.0) * 1e9), arrived))
        return Reply(request.id, ok=False, reason="held back by a HIL fault of the operator link")

    def _is_lost(self) -> bool:
        faults = self._faults
        if faults.is_on(Part.OPERATOR_LINK, "off") or faults.chance(Part.OPERATOR_LINK, "intermittent"):
            return True
        share = faults.amount(Part.OPERATOR_LINK, "slow")
        if share is None:
            self._slow_share = 0.0  # the next time begins like the first
            return False
        self._slow_share += share
        if self._slow_share < 1.0:
            return True
        self._slow_share -= 1.0
        return False

    def _as_received(self, request: OperatorRequest) -> OperatorRequest | None:
        """Return the request with its bytes as they arrive, or None where they cannot be read."""
        if self._faults.is_on(Part.OPERATOR_LINK, "wrong"):
            request = msgspec.structs.replace(
                request, steering_frac=-request.steering_frac, throttle_frac=-request.throttle_frac
            )
        share = self._faults.amount(Part.OPERATOR_LINK, "garbage")
        if share is None:
            return request
        rng = self._faults.random(Part.OPERATOR_LINK, "garbage")
        data = bytes(
            rng.randrange(256) if rng.random() < share else byte for byte in self._encoder.encode(request)
        )
        try:
            return self._decoder.decode(data)
        except UNREADABLE:
            return None


class BrokenPolicy(Policy):
    """The policy that it is made of, with a will of its own."""

    def __init__(self, inner: Policy, faults: HostFaults) -> None:
        self.__dict__.update(vars(inner))
        self._faults = faults
        self._answers: deque[tuple[int, Decision]] = deque(maxlen=1024)

    def decide(self, sight: Sight, calibration: CarCalibration) -> Decision:
        """Return what the policy decides, or what a broken one makes of it; raises PolicyOutputError."""
        faults, now_ns = self._faults, self._faults.true_now_ns()
        if (longer_s := faults.amount(Part.POLICY, "slow")) is not None:
            faults.pause(longer_s)
        if faults.is_on(Part.POLICY, "off") or faults.chance(Part.POLICY, "intermittent"):
            raise PolicyOutputError(OutputProblem.FAILED, "the policy failed by a HIL fault")
        if faults.is_on(Part.POLICY, "stuck") and self._answers:
            return self._answers[-1][1]
        decision = super().decide(sight, calibration)
        self._answers.append((now_ns, decision))
        if faults.is_on(Part.POLICY, "garbage"):
            return msgspec.structs.replace(decision, action=DriveAction(math.nan, math.nan))
        if faults.is_on(Part.POLICY, "wrong"):
            action = decision.action
            mirrored = DriveAction(-action.steering_frac, action.throttle_frac)
            return msgspec.structs.replace(decision, action=mirrored)
        if (ago_s := faults.amount(Part.POLICY, "delayed")) is not None:
            then_ns = now_ns - round(ago_s * 1e9)
            return next((old for at_ns, old in self._answers if at_ns >= then_ns), decision)
        return decision


def broken_load(load: Callable[[str], Policy], faults: HostFaults) -> Callable[[str], Policy]:
    """Return a loader whose policies can be broken."""
    return lambda source: BrokenPolicy(load(source), faults)


class BrokenDisk:
    """Makes opening a file to write fail or wait, for the whole process, through Python's audit hook.

    A hook cannot be taken away again; after `close` it does nothing.
    """

    def __init__(self, faults: HostFaults) -> None:
        self._faults = faults
        self._lock = threading.Lock()
        self._has_spun_up = False
        self.writes_tried = 0
        """Openings to write while the disk was broken."""
        _listen(self)

    def close(self) -> None:
        """Leave the process alone from now on."""
        if self in _disks:
            _disks.remove(self)

    def open(self, path: object, flags: int) -> None:
        """Let a file be opened, or raise OSError, now or later."""
        if not self._faults.schedule.any_on(Part.DISK):
            return
        if not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) or not _is_file(path):
            return
        with self._lock:
            self.writes_tried += 1
        self._break(path)

    def _spin_up_s(self, delay_s: float | None) -> float:
        """Return the delay once for each time the fault is on."""
        with self._lock:
            is_first, self._has_spun_up = not self._has_spun_up, delay_s is not None
        return delay_s if delay_s is not None and is_first else 0.0

    def _break(self, path: object) -> None:
        schedule = self._faults.schedule
        for fault, number in DISK_ERRORS.items():
            if schedule.is_on(Part.DISK, fault):
                raise OSError(number, os.strerror(number), str(path))
        share = schedule.amount(Part.DISK, "intermittent")
        if share is not None and schedule.random(Part.DISK, "intermittent").random() < share:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        time.sleep(schedule.amount(Part.DISK, "slow") or 0.0)
        time.sleep(self._spin_up_s(schedule.amount(Part.DISK, "delayed")))
        give_up_s = time.monotonic() + STUCK_DISK_S
        while schedule.is_on(Part.DISK, "stuck") and time.monotonic() < give_up_s and self in _disks:
            time.sleep(0.01)


_disks: list[BrokenDisk] = []
_is_listening = False


def _listen(disk: BrokenDisk) -> None:
    """Have the interpreter ask this disk; the hook is set once, when somebody first needs it."""
    global _is_listening  # noqa: PLW0603 # one hook for one interpreter
    _disks.append(disk)
    if not _is_listening:
        _is_listening = True
        sys.addaudithook(_hear)


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and _disks:
        for disk in tuple(_disks):
            disk.open(arguments[0], arguments[2])


def _is_file(path: object) -> bool:
    """Whether this names an ordinary file, there or to be made, not a device or an open descriptor."""
    if not isinstance(path, str | bytes | os.PathLike):
        return False
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return True
