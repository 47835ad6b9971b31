"""The HIL car's world on the computer's own clock: track, car and camera. Its board is another process."""

import os
import select
import time
from collections import deque
from collections.abc import Callable

import msgspec

from vehicle.errors import HilError
from vehicle.hil.boards import WIRINGS, PulseEvent
from vehicle.hil.broken_car import BrokenCar, break_esc
from vehicle.hil.desk import Desk
from vehicle.hil.faults import FaultSchedule, Part, parse_fault
from vehicle.hil.mailbox import Broken, Mailbox, Measured, Pulses
from vehicle.hil.orders import (
    AdvanceOp,
    Answer,
    FaultOp,
    LayoutOp,
    Order,
    PulsesOp,
    QuitOp,
    ResetOp,
    StopInputOp,
    TrackOp,
    TruthOp,
    switch_fault,
)
from vehicle.hil.scene_change import SceneChange
from vehicle.hil.sensor_socket import SENSORS, SensorSockets
from vehicle.hil.sensors import SensorSet
from vehicle.hil.settings import HilSettings, board_mailbox, claim, world_mailbox
from vehicle.hil.timeline import SimulatedWorld, reset_world
from vehicle.realtime import use_fifo
from vehicle.truth import WorldTruth

BOARD_SILENT_NS = 500_000_000  # its letters come every 20 ms, also without pulses
LONGEST_WAIT_S = 0.02
KEPT_PULSES = 200_000  # an hour
PRIORITY = 30  # below loop and camera, above what else runs: a real camera waits for no scheduler either


class RealtimeWorld:
    """Serves sensors, orders and truth; single-threaded."""

    def __init__(self, settings: HilSettings, world: SimulatedWorld, now_ns: int) -> None:
        hil_dir = settings.hil_dir
        self._lock = claim(hil_dir, "world")
        self._start_ns = settings.start_ns or now_ns
        self._world = world
        self._faults = FaultSchedule(
            (parse_fault(text) for text in settings.faults), seed=settings.seed, start_ns=self._start_ns
        )
        self._broken_car = BrokenCar(self._faults, WIRINGS[settings.wiring])
        self._mailbox: Mailbox[Pulses] = Mailbox(world_mailbox(hil_dir), Pulses, board_mailbox(hil_dir))
        self._sockets = SensorSockets(hil_dir, waits=False)
        self._sensors = SensorSet(settings, world, self._faults, now_ns, self._sockets.is_watched)
        self._desk = Desk(hil_dir)
        self._scene_change = SceneChange(world)
        self._pulses: deque[PulseEvent] = deque(maxlen=KEPT_PULSES)
        self._fresh_pulses: list[PulseEvent] = []
        self._heard_board_ns = 0
        self._is_quitting = False

    def serve(self, is_stopping: Callable[[], bool]) -> None:
        """Let the world go on until told to stop."""
        use_fifo(PRIORITY)
        while not is_stopping() and not self._is_quitting:
            self._wait()
            now_ns = time.monotonic_ns()
            self._desk.serve(self._carry_out)
            self._sockets.accept()
            self._sensors.control(self._sockets.heard)
            self._change_faults(now_ns)
            self._scene_change.finish(now_ns)

            self._hear_board(now_ns)
            self._expose(now_ns)
            self._advance(now_ns)
            self._measure()
            for reading in self._sensors.hand_over(time.monotonic_ns()):
                self._sockets.send(reading)

    def close(self) -> None:
        """Put everything away."""
        self._sockets.close()
        self._mailbox.close()
        self._desk.close()
        os.close(self._lock)

    def _wait(self) -> None:
        due_ns = min(self._sensors.next_event_ns(), self._faults.next_change_ns)
        wait_s = min(max((due_ns - time.monotonic_ns()) / 1e9, 0.0), LONGEST_WAIT_S)
        waiting = [self._mailbox.fileno(), self._desk.fileno(), *self._sockets.filenos()]
        select.select(waiting, [], [], wait_s)

    def _hear_board(self, now_ns: int) -> None:
        for letter in self._mailbox.receive():
            self._fresh_pulses += letter.pulses
            self._pulses += letter.pulses
            self._heard_board_ns = now_ns

    def _measure(self) -> None:
        world, car = self._world, self._broken_car
        self._mailbox.send(Measured(car.battery_v(world.battery_v), car.wheel_ticks(world.wheel_ticks)))

    def _advance(self, now_ns: int) -> None:
        self._world.advance(now_ns, self._broken_car.pulses(self._fresh_pulses, now_ns))
        self._fresh_pulses = []

    def _expose(self, now_ns: int) -> None:
        self._sensors.rest(now_ns)
        self._sensors.skip(now_ns)
        while (sensor := self._sensors.next_look()).next_exposure_ns <= now_ns:
            exposed_ns = sensor.next_exposure_ns
            self._advance(exposed_ns)
            number = self._sensors.look(sensor, now_ns)
            if sensor is self._sensors.camera and number is not None:
                self._desk.publish(msgspec.structs.replace(self._truth(exposed_ns), frame_number=number))

    def _truth(self, now_ns: int) -> WorldTruth:
        return self._world.truth(now_ns, self._faults.active())

    def _change_faults(self, now_ns: int) -> None:
        for change in self._faults.advance(now_ns):
            if change.part in SENSORS and change.fault == "off":
                self._sockets.set_plugged(change.part, not change.on)
            break_esc(self._world, change)

    def _carry_out(self, order: Order) -> Answer:
        now_ns = time.monotonic_ns()
        match order:
            case FaultOp():
                self._break(order, now_ns)
            case StopInputOp():
                self._break(FaultOp(Part.BOARD, "stop_input", on=order.on), now_ns)
            case ResetOp():
                reset_world(self._world, order)
            case TrackOp():
                self._scene_change.begin(order.track, now_ns)
            case LayoutOp():
                return self._world.track.layout()
            case PulsesOp():
                return {"pulses": [pulse for pulse in self._pulses if pulse.t_ns >= order.since_ns]}
            case TruthOp():
                return {"truth": self._truth(now_ns)}
            case AdvanceOp():
                raise HilError("this world runs in real time; only a lockstep world can be told to go on")
            case QuitOp():
                self._is_quitting = True
            case _:
                heard = now_ns - self._heard_board_ns < BOARD_SILENT_NS
                return {
                    "lockstep": False,
                    "board": heard,
                    "now_ns": now_ns,
                    "track": self._world.track.source,
                    "preparing": self._scene_change.preparing,
                    "problem": self._scene_change.problem,
                    "faults": self._faults.amounts(),
                }
        return {}

    def _break(self, order: FaultOp, now_ns: int) -> None:
        """Switch a fault here, and in the board's process if it is the board's."""
        now_s = (now_ns - self._start_ns) / 1e9
        part = switch_fault(order, self._faults, now_s).part
        timed = msgspec.structs.replace(order, at_s=now_s if order.at_s is None else order.at_s)
        if not self._mailbox.send(Broken(timed)) and part not in {*SENSORS, Part.CAR}:
            raise HilError("the board's process is gone; start it again")
