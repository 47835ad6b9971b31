"""The HIL car in lockstep: time passes only when the driving side has finished its tick.

A packet on the barrier says how many bytes were written to the board in all. The world takes exactly
those, lets time pass to the next moment the driving side waits for, hands over frames and the board's
replies, and only then grants that moment. Counts decide, never timing: a pseudo-terminal hands over
late in half the cases. While nobody is at the barrier time stands still and the board answers at once,
so that a driver can shake hands.
"""

import select
import socket
import time
from collections.abc import Callable

import msgspec

from vehicle.errors import UNREADABLE, HilError
from vehicle.hil.boards import AcceptedCommand, PulseEvent
from vehicle.hil.desk import Desk
from vehicle.hil.faults import FaultChange, Part
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
from vehicle.hil.port import BoardPort
from vehicle.hil.pulse_log import PulseLogWriter
from vehicle.hil.scene_change import SceneChange
from vehicle.hil.sensor import Reading
from vehicle.hil.sensor_socket import SENSORS, SensorSockets
from vehicle.hil.settings import (
    LOCKSTEP_START_NS,
    HilSettings,
    barrier_socket,
    board_link,
    pulse_log,
)
from vehicle.hil.timeline import SimulatedWorld, Timeline, reset_world

PACKET_BYTES = 4096
BYTES_TIMEOUT_S = 5.0
IDLE_S = 0.05


class _Done(msgspec.Struct, frozen=True):
    """The driving side has finished a tick; the first packet only asks what time it is."""

    done: int
    written: int
    """Bytes written to the board in all."""
    wake_ns: int
    after_frame: int | None = None
    """A frame numbered higher that is handed over wakes it earlier; None: none does."""


class LockstepWorld:
    """Serves one driving side at a time; single-threaded."""

    def __init__(self, settings: HilSettings, world: SimulatedWorld) -> None:
        self._settings = settings
        hil_dir = settings.hil_dir
        self._desk = Desk(hil_dir)
        self._sockets = SensorSockets(hil_dir, waits=True)
        self._port = BoardPort(board_link(hil_dir))
        self._port.plug()
        self._log = PulseLogWriter(pulse_log(hil_dir), unbuffered=False)
        self._delivered = dict.fromkeys(SENSORS, -1)
        self._timeline = Timeline(
            settings,
            world,
            LOCKSTEP_START_NS,
            on_reading=self._hand_over,
            is_watched=lambda part: part is Part.CAMERA or self._sockets.is_watched(part),
            on_exposure=self._desk.publish,
            on_change=self._change,
            on_board=self._write_down,
        )
        self._scene_change = SceneChange(world)
        self._barrier = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        path = barrier_socket(hil_dir)
        path.unlink(missing_ok=True)
        self._barrier.bind(str(path))
        self._barrier.listen(1)
        self._barrier.setblocking(False)
        self._driver: socket.socket | None = None
        self._taken = 0  # bytes from the host, in all
        self._emitted = 0  # bytes to the host, in all
        self._is_quitting = False

    def serve(self, is_stopping: Callable[[], bool]) -> None:
        """Serve until told to stop."""
        while not is_stopping() and not self._is_quitting:
            self._wait()
            self._desk.serve(self._carry_out)
            self._sockets.accept()
            self._timeline.control(self._sockets.heard)
            if self._driver is None:
                self._meet_driver()
            else:
                self._serve_driver()
            if self._driver is None:
                self._converse()

    def close(self) -> None:
        """Put everything away."""
        self._forget_driver()
        self._barrier.close()
        self._sockets.close()
        self._port.unplug()
        self._desk.close()
        self._log.close()

    def _wait(self) -> None:
        if self._driver is not None:
            waiting = [self._driver.fileno()]
        else:
            waiting = [self._barrier.fileno(), *self._port.filenos()]
        poll = select.poll()
        for fileno in (*waiting, self._desk.fileno(), *self._sockets.filenos()):
            poll.register(fileno, select.POLLIN)
        poll.poll(IDLE_S * 1e3)

    # The barrier.

    def _meet_driver(self) -> None:
        try:
            self._driver, _ = self._barrier.accept()
        except BlockingIOError:
            return
        self._driver.setblocking(False)

    def _serve_driver(self) -> None:
        assert self._driver is not None, "nobody to serve"
        try:
            packet = self._driver.recv(PACKET_BYTES)
        except BlockingIOError:
            return
        except OSError:
            packet = b""
        if not packet:
            self._forget_driver()
            return
        try:
            answer = self._grant(msgspec.json.decode(packet, type=_Done))
        except (*UNREADABLE, HilError) as error:
            answer = {"error": str(error)}
        try:
            self._driver.send(msgspec.json.encode(answer))
        except OSError:
            self._forget_driver()

    def _grant(self, done: _Done) -> Answer:
        self._take(done.written)
        if not done.written:  # its port is still closed: what has passed through was between others
            self._taken = self._emitted = 0
        timeline = self._timeline
        after_frame = done.after_frame
        if after_frame is None:
            timeline.run(done.wake_ns)
        else:
            timeline.run(done.wake_ns, lambda: self._delivered[Part.CAMERA] > after_frame)
        self._emit(timeline.board.read(timeline.now_ns))
        return {
            "tick": done.done + 1,
            "now_ns": timeline.now_ns,
            "emitted": self._emitted,
            "frame": self._delivered[Part.CAMERA],
            "right_frame": self._delivered[Part.CAMERA_RIGHT],
            "scan": self._delivered[Part.LIDAR],
        }

    def _forget_driver(self) -> None:
        if self._driver is None:
            return
        self._driver.close()
        self._driver = None
        self._take(0)  # what it wrote in a tick that it did not finish
        self._taken = self._emitted = 0
        self._delivered = dict.fromkeys(SENSORS, -1)  # the next one has received nothing yet
        self._timeline.board.board.flush()
        self._log.flush()

    # The port.

    def _take(self, written: int) -> None:
        """Read from the host until this many bytes have come in all, and what else is there."""
        deadline_s = time.monotonic() + BYTES_TIMEOUT_S
        arrived = b""
        while True:
            data = self._port.read()
            if data is None:  # closed by its last user
                self._port.replace()
                break
            arrived += data
            if data:
                continue
            came = self._taken + len(arrived)
            if came >= written or not self._port.filenos():
                break
            if time.monotonic() > deadline_s:
                self._taken = written
                raise HilError(f"{written} bytes were written, {came} came within {BYTES_TIMEOUT_S:g} s")
            select.select(self._port.filenos(), [], [], BYTES_TIMEOUT_S)
        self._taken = max(self._taken + len(arrived), written)
        if arrived:
            self._timeline.board.write(self._as_received(arrived), self._timeline.now_ns)

    def _emit(self, data: bytes) -> None:
        self._emitted += self._port.write(data)

    def _converse(self) -> None:
        """Answer a host while time stands still."""
        data = self._port.read()
        if data is None:
            self._port.replace()
            self._taken = self._emitted = 0
        elif data:
            self._taken += len(data)
            board = self._timeline.board
            self._emit(board.converse(self._as_received(data), self._timeline.now_ns))

    def _as_received(self, data: bytes) -> bytes:
        board = self._timeline.board
        return data if self._port.baud_is(board.expected_baud) else board.garble_for_wrong_baud(data)

    # What happens.

    def _hand_over(self, reading: Reading) -> None:
        self._sockets.accept()
        if self._sockets.send(reading):
            self._delivered[reading.part] = reading.number

    def _change(self, change: FaultChange) -> None:
        if change.part in SENSORS:
            if change.fault == "off":
                self._sockets.set_plugged(change.part, not change.on)
        elif (change.part, change.fault) == (Part.BOARD, "unplugged"):
            self._port.set_plugged(not change.on)
        elif (change.part, change.fault) == (Part.BOARD, "another_device"):
            self._port.change_hands()

    def _write_down(self, pulses: list[PulseEvent], commands: list[AcceptedCommand]) -> None:
        self._log.commands(commands)
        self._log.pulses(pulses)

    # Orders.

    def _carry_out(self, order: Order) -> Answer:
        timeline = self._timeline
        match order:
            case FaultOp():
                switch_fault(order, timeline.faults, self._elapsed_s())
                timeline.change_faults_now()
            case StopInputOp():
                switch_fault(FaultOp("board", "stop_input", on=order.on), timeline.faults, self._elapsed_s())
                timeline.change_faults_now()
            case ResetOp():
                reset_world(timeline.world, order)
            case TrackOp():
                self._scene_change.begin(order.track, timeline.now_ns)
                self._scene_change.finish(timeline.now_ns, wait=True)  # time stands still meanwhile
            case LayoutOp():
                return timeline.world.track.layout()
            case PulsesOp():
                self._log.flush()
                return {
                    "pulses": [pulse for pulse in timeline.pulses if pulse.t_ns >= order.since_ns],
                    "commands": [command for command in timeline.commands if command.t_ns >= order.since_ns],
                }
            case TruthOp():
                return {"truth": timeline.truth()}
            case AdvanceOp():
                if self._driver is not None:
                    self._serve_driver()  # it may have just left
                if self._driver is not None:
                    raise HilError("time passes by the barrier while somebody drives; leave it first")
                timeline.run(timeline.now_ns + round(order.s * 1e9))
                timeline.board.board.flush()
                return {"now_ns": timeline.now_ns}
            case QuitOp():
                self._is_quitting = True
            case _:
                return {
                    "lockstep": True,
                    "board": True,
                    "now_ns": timeline.now_ns,
                    "track": timeline.world.track.source,
                    "preparing": "",
                    "problem": self._scene_change.problem,
                    "faults": timeline.faults.amounts(),
                }
        return {}

    def _elapsed_s(self) -> float:
        return (self._timeline.now_ns - LOCKSTEP_START_NS) / 1e9
