"""One HIL car in virtual time: board, line, world and sensors, one event after the other.

At one instant, in this order: faults, the world's motion, bytes and timers of the board, its pulse,
an exposure, a hand-over. Same settings and same bytes at the same times: the same everything.
"""

from collections import deque
from collections.abc import Callable
from typing import Protocol

import msgspec

from vehicle.hil.boards import WIRINGS, AcceptedCommand, PulseEvent
from vehicle.hil.broken_car import BrokenCar, Esc, break_esc
from vehicle.hil.faults import FaultChange, FaultSchedule, Part, parse_fault
from vehicle.hil.orders import ResetOp
from vehicle.hil.sensor import Reading
from vehicle.hil.sensors import SensorSet, Sights
from vehicle.hil.settings import HilSettings
from vehicle.hil.track import Track
from vehicle.hil.wired_board import WiredBoard
from vehicle.hil.world import Scene
from vehicle.truth import WorldTruth

KEPT_EVENTS = 200_000


class SimulatedWorld(Sights, Esc, Protocol):
    """What is needed of `vehicle.hil.world.World`."""

    def advance(self, to_ns: int, pulses: list[PulseEvent]) -> None:
        """Move on to this time."""
        ...

    def truth(self, now_ns: int, faults: tuple[str, ...] = ()) -> WorldTruth:
        """Return what is so at this time."""
        ...

    def reset(self, s_m: float = ..., offset_m: float = ..., turned_rad: float = ...) -> None:
        """Put the car down at rest, and begin counting laps anew."""
        ...

    @property
    def track(self) -> Track:
        """Where the car is."""
        ...

    def scene(self, track: Track) -> Scene:
        """Draw another track for this car; in any thread."""
        ...

    def enter(self, scene: Scene) -> None:
        """Carry the car to another track and put it down at its start."""
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
    """Everything that happens to one car. `on_reading` and `on_exposure` are called as it happens.

    `is_watched` tells which of right eye and LIDAR somebody reads; the other does nothing.
    """

    def __init__(
        self,
        settings: HilSettings,
        world: SimulatedWorld,
        now_ns: int,
        *,
        on_reading: Callable[[Reading], None] = lambda _: None,
        is_watched: Callable[[Part], bool] = lambda part: part is Part.CAMERA,
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
        self._broken_car = BrokenCar(self.faults, WIRINGS[settings.wiring])
        self.pulses: deque[PulseEvent] = deque(maxlen=KEPT_EVENTS)
        """The newest, an hour of them."""
        self.commands: deque[AcceptedCommand] = deque(maxlen=KEPT_EVENTS)
        self._fresh_pulses: list[PulseEvent] = []
        self._sensors = SensorSet(settings, world, self.faults, now_ns, is_watched)
        self._on_reading = on_reading
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

    def control(self, heard: Callable[[Part], bytes]) -> None:
        """Let the cameras obey what their readers have told them."""
        self._sensors.control(heard)

    def truth(self) -> WorldTruth:
        """Return what is so now."""
        return self.world.truth(self.now_ns, self.faults.active())

    def _next_event_ns(self) -> int:
        return min(self.board.next_event_ns(), self._sensors.next_event_ns(), self.faults.next_change_ns)

    def _happen(self) -> None:
        now_ns = self.now_ns
        self._change_faults()

        car = self._broken_car
        self.world.advance(now_ns, car.pulses(self._fresh_pulses, now_ns))
        battery_v, wheel_ticks = car.battery_v(self.world.battery_v), car.wheel_ticks(self.world.wheel_ticks)
        self.board.measure(battery_v, wheel_ticks, now_ns)
        self._fresh_pulses = self.board.advance(now_ns)
        commands = self.board.take_accepted()
        if self._fresh_pulses or commands:
            self.pulses += self._fresh_pulses
            self.commands += commands
            self._on_board(self._fresh_pulses, commands)

        while (sensor := self._sensors.next_look()).next_exposure_ns <= now_ns:
            number = self._sensors.look(sensor, now_ns)
            if sensor is self._sensors.camera and number is not None:
                self._on_exposure(msgspec.structs.replace(self.truth(), frame_number=number))
        self._sensors.rest(now_ns)
        for reading in self._sensors.hand_over(now_ns):
            self._on_reading(reading)

    def _change_faults(self) -> None:
        if self.faults.next_change_ns > self.now_ns:
            return
        for change in self.faults.advance(self.now_ns):
            self.board.apply(change, self.now_ns)
            break_esc(self.world, change)
            self._on_change(change)


def reset_world(world: SimulatedWorld, order: ResetOp) -> None:
    """Put the car down where the order says."""
    if order.s_m is None:
        world.reset(offset_m=order.offset_m, turned_rad=order.turned_rad)
    else:
        world.reset(order.s_m, order.offset_m, order.turned_rad)
