"""One HIL car in virtual time: board, line, world and camera, one event after the other.

At one instant, in this order: faults, the world's motion, bytes and timers of the board, its pulse,
an exposure, a hand-over. Same settings and same bytes at the same times: the same everything.
"""

from collections import deque
from collections.abc import Callable
from typing import Protocol

import msgspec

from vehicle.hil.boards import AcceptedCommand, PulseEvent
from vehicle.hil.camera import CameraFrame, HilCamera, Image
from vehicle.hil.faults import FaultChange, FaultSchedule, parse_fault
from vehicle.hil.orders import ResetOp
from vehicle.hil.settings import HilSettings
from vehicle.hil.wired_board import WiredBoard
from vehicle.truth import WorldTruth

KEPT_EVENTS = 200_000


class SimulatedWorld(Protocol):
    """What is needed of `vehicle.hil.world.World`."""

    def advance(self, to_ns: int, pulses: list[PulseEvent]) -> None:
        """Move on to this time."""
        ...

    def expose(self, frame_number: int, now_ns: int) -> Image:
        """Return the camera's picture of this moment."""
        ...

    def truth(self, now_ns: int, faults: tuple[str, ...] = ()) -> WorldTruth:
        """Return what is so at this time."""
        ...

    def reset(self, s_m: float = ..., offset_m: float = ..., turned_rad: float = ...) -> None:
        """Put the car down at rest, and begin counting laps anew."""
        ...

    @property
    def wheel_ticks(self) -> int:
        """What the wheels have rolled since the world began."""
        ...

    @property
    def battery_v(self) -> float:
        """Of the drive battery."""
        ...


class Timeline:
    """Everything that happens to one car. `on_frame` and `on_exposure` are called as it happens."""

    def __init__(
        self,
        settings: HilSettings,
        world: SimulatedWorld,
        now_ns: int,
        *,
        on_frame: Callable[[CameraFrame], None] = lambda _: None,
        on_exposure: Callable[[WorldTruth], None] = lambda _: None,
        on_change: Callable[[FaultChange], None] = lambda _: None,
        on_board: Callable[[list[PulseEvent], list[AcceptedCommand]], None] = lambda _pulses, _commands: None,
    ) -> None:
        self.now_ns = now_ns
        self.world = world
        self.faults = FaultSchedule(
            (parse_fault(text) for text in settings.faults), seed=settings.seed, start_ns=now_ns
        )
        self.board = WiredBoard(settings, self.faults, now_ns)
        self.pulses: deque[PulseEvent] = deque(maxlen=KEPT_EVENTS)
        """The newest, an hour of them."""
        self.commands: deque[AcceptedCommand] = deque(maxlen=KEPT_EVENTS)
        self._fresh_pulses: list[PulseEvent] = []
        self._camera = HilCamera(
            settings.camera, world.expose, self.faults, seed=settings.seed, start_ns=now_ns
        )
        self._on_frame = on_frame
        self._on_exposure = on_exposure
        self._on_change = on_change
        self._on_board = on_board
        self._change_faults()

    def run(self, until_ns: int, wake: Callable[[], bool] = lambda: False) -> None:
        """Let everything happen up to and including this time, or until `wake` says so after an event."""
        while not wake():
            self.now_ns = max(self.now_ns, min(self._next_event_ns(), until_ns))
            self._happen()
            if self.now_ns >= until_ns:
                return

    def change_faults_now(self) -> None:
        """Carry out what was ordered for this very moment."""
        self._change_faults()

    def truth(self) -> WorldTruth:
        """Return what is so now."""
        return self.world.truth(self.now_ns, self.faults.active())

    def _next_event_ns(self) -> int:
        return min(self.board.next_event_ns(), self._camera.next_event_ns(), self.faults.next_change_ns)

    def _happen(self) -> None:
        now_ns = self.now_ns
        self._change_faults()

        self.world.advance(now_ns, self._fresh_pulses)
        self.board.measure(self.world.battery_v, self.world.wheel_ticks, now_ns)
        self._fresh_pulses = self.board.advance(now_ns)
        commands = self.board.take_accepted()
        if self._fresh_pulses or commands:
            self.pulses += self._fresh_pulses
            self.commands += commands
            self._on_board(self._fresh_pulses, commands)

        frame_number = self._camera.expose(now_ns)
        if frame_number is not None:
            self._on_exposure(msgspec.structs.replace(self.truth(), frame_number=frame_number))
        for frame in self._camera.hand_over(now_ns):
            self._on_frame(frame)

    def _change_faults(self) -> None:
        if self.faults.next_change_ns > self.now_ns:
            return
        for change in self.faults.advance(self.now_ns):
            self.board.apply(change, self.now_ns)
            self._on_change(change)


def reset_world(world: SimulatedWorld, order: ResetOp) -> None:
    """Put the car down where the order says."""
    if order.s_m is None:
        world.reset(offset_m=order.offset_m, turned_rad=order.turned_rad)
    else:
        world.reset(order.s_m, order.offset_m, order.turned_rad)
