"""The vehicle process: reads what it is given, builds the parts, runs the loop."""

import contextlib
import logging
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import msgspec
import zmq

from calibration import store
from calibration.car import AWS_DEFAULTS, HIL_AWS, HIL_STANDARD, CarCalibration
from models.checked_policy import load_checked
from models.policy import Policy
from models.runtime import SessionSettings
from vehicle.board import open_board, proofs_beside
from vehicle.board.base import Board
from vehicle.calibration_file import CalibrationFile
from vehicle.camera import Camera, decode_jpeg, open_source
from vehicle.clock import Clock, MonotonicClock, StopBell
from vehicle.config import CarConfig, LidarMount, config_digest
from vehicle.errors import BoardError, ConfigError
from vehicle.hil.faults import parse_fault
from vehicle.hil.host_desk import HostDesk
from vehicle.hil.host_faults import BrokenClock, BrokenDisk, BrokenLink, HostFaults, broken_load
from vehicle.hil.lockstep import LockstepClock, PacedClock
from vehicle.lidar import Lidar, open_lidar_source
from vehicle.loop import ControlLoop
from vehicle.messages import Frame
from vehicle.operator import Operator
from vehicle.parts import CarSetup, Publisher
from vehicle.policy_loader import PolicyLoader
from vehicle.preview import PreviewPublisher
from vehicle.realtime import CAMERA_PRIORITY, Notifier, prepare_loop_thread, use_fifo
from vehicle.remote import RemoteServer
from vehicle.run_dir import prepare_run_dir
from vehicle.run_stream import FRAMES, RIGHT_FRAMES, RUN, SCANS, STREAMS, CarFacts, RunStream, Stream
from vehicle.safety import Limiter, Monitor
from vehicle.supervisor import StopSignal

log = logging.getLogger("vehicle")

HIL_LIDAR_RATE_HZ = 10.0
HIL_CALIBRATIONS = {"aws": HIL_AWS, "standard": HIL_STANDARD}


class HilCar(msgspec.Struct, frozen=True):
    """Where a HIL car's sockets lie and how it is wired."""

    folder: Path
    wiring: str = "aws"
    """`aws`: 1446/1311 us neutral and forward; `standard`: 1500/1900 us."""
    lockstep: bool = False
    is_paced: bool = False
    """In lockstep: no faster than real time, for people and browsers to follow."""
    has_right_camera: bool = True
    """Both sensors cost nothing until a policy looks at them."""
    has_lidar: bool = True
    calibration: Path | None = None
    """Where its numbers are saved; None: with its sockets, and forgotten with them."""
    is_calibrated: bool = True
    """False: a car that nobody has calibrated yet, until its file is saved."""
    faults: tuple[str, ...] | None = None
    """Of policy, operator link, clock and disk, as `vehicle.hil.faults` reads them; None: none can come."""
    takes_orders: bool = False
    """More of them can be ordered while it runs (`vehicle.hil.host_desk`)."""
    faults_since_ns: int = 0
    """Of the clock, from which they count their seconds; 0: from the start of this process."""
    seed: int = 0


class Vehicle:
    """The parts of one vehicle process, put together; `run` drives them."""

    def __init__(
        self,
        config: CarConfig,
        run_dir: Path,
        hil: HilCar | None = None,
        *,
        publisher: Publisher | None = None,
        load: Callable[[str], Policy] | None = None,
    ) -> None:
        """Build and open everything; what is missing but may come back (camera, board) does not stop it.

        `publisher` replaces the ZeroMQ border and `load` the way policies are loaded, for tests that
        step the vehicle themselves.

        Raises:
            LapwingError: configuration, calibration or run directory cannot be used.

        """
        with contextlib.ExitStack() as opened:
            cv2.setNumThreads(1)  # costs no picture of this size anything and steadies the times
            prepare_run_dir(run_dir)
            self.run_dir = run_dir
            self._context = zmq.Context()
            opened.callback(self._context.destroy, linger=0)
            stop_line = None
            if publisher is None:
                publisher = server = RemoteServer(run_dir, self._context)
                opened.callback(server.close)
                stop_line = server.stop_line
            preview = PreviewPublisher(run_dir, self._context)
            opened.callback(preview.close)
            streams = {name: Stream(run_dir, name, self._context) for name in STREAMS}
            for stream in streams.values():
                opened.callback(stream.close)

            clock, file = _clock(hil, stop_line), calibration_file(config, hil)
            calibration = _calibration(file, hil)
            self.host_faults = _host_faults(hil, clock)
            self.board = _board(config, hil, calibration or AWS_DEFAULTS, clock)
            opened.callback(self.board.close)
            self.camera = _camera(config, hil, clock, preview, streams[FRAMES])
            self.right_camera = _right_camera(config, hil, clock, streams[RIGHT_FRAMES])
            self.lidar = _lidar(config, hil, streams[SCANS])
            for sensor in (self.camera, self.right_camera, self.lidar):
                if sensor is not None:
                    sensor.start()
                    opened.callback(sensor.stop)
            if isinstance(clock, LockstepClock):
                clock.attach(self.board, self.camera, self.right_camera, self.lidar)
                opened.callback(clock.close)
            _open_or_wait(self.board)
            settings = SessionSettings(threads=config.control.inference_threads)
            open_policy = partial(load_checked, settings=settings, camera_options=config.camera.options())
            self.calibrations = CalibrationFile(file)
            self.loop_clock: Clock = clock
            load = load or open_policy
            if self.host_faults is not None:
                self.loop_clock = BrokenClock(clock, self.host_faults)
                publisher = BrokenLink(publisher, self.host_faults, self._host_desk(hil, opened))
                load = broken_load(load, self.host_faults)
                self.disk = BrokenDisk(self.host_faults)
                opened.callback(self.disk.close)
            self.policies = policies = PolicyLoader(load)
            if config.policy:
                policies.begin(config.policy)
            notifier = Notifier(os.environ.get("NOTIFY_SOCKET"))
            self.clock = clock
            self.operator = Operator(config.failsafe.lease_limits(), config.control.speed_cap_frac)
            self.loop = ControlLoop(
                car=CarSetup(
                    calibration=calibration or AWS_DEFAULTS,
                    is_calibrated=calibration is not None,
                    is_hil=hil is not None,
                    control_rate_hz=config.control.rate_hz,
                    is_lockstep=isinstance(clock, LockstepClock),
                    config_digest=config_digest(config),
                    camera_locks=config.camera.locks(),
                ),
                clock=self.loop_clock,
                camera=self.camera,
                right_camera=self.right_camera,
                lidar=self.lidar,
                board=self.board,
                policies=policies,
                calibrations=self.calibrations,
                operator=self.operator,
                monitor=Monitor(config.failsafe.monitor_limits(), decode_jpeg),
                limiter=Limiter(config.control.throttle_growth_per_s),
                publisher=publisher,
                teller=RunStream(streams[RUN], self._facts(config, hil)),
                on_alive=notifier.alive,
            )
            notifier.ready()
            self._opened = opened.pop_all()

    def _host_desk(self, hil: HilCar | None, opened: contextlib.ExitStack) -> HostDesk | None:
        if hil is None or not hil.takes_orders:
            return None
        desk = HostDesk(hil.folder, self._context)
        opened.callback(desk.close)
        return desk

    def _facts(self, config: CarConfig, hil: HilCar | None) -> CarFacts:
        return CarFacts(
            name=config.name,
            is_hil=hil is not None,
            control_rate_hz=config.control.rate_hz,
            throttle_growth_per_s=config.control.throttle_growth_per_s,
            monitor_limits=config.failsafe.monitor_limits(),
            lease_limits=config.failsafe.lease_limits(),
            camera_rate_hz=self.camera.rate_hz,
            camera_is_static=self.camera.is_static,
            camera_options=config.camera.options(),
            decode_scale=_decode_scale(config),
            has_right_camera=self.right_camera is not None,
            has_lidar=self.lidar is not None,
        )

    def run(self, stopping: StopSignal) -> None:
        """Drive until told to stop, then put everything away; neutral is sent first."""
        report = prepare_loop_thread()
        if report.note:
            log.warning(report.note)
        try:
            self.loop.run(stopping)
        finally:
            self.close()

    def close(self) -> None:
        """Put everything away; a second call does nothing."""
        self._opened.close()


def drive(config: CarConfig, run_dir: Path, hil: HilCar | None = None) -> None:
    """Run the vehicle until SIGTERM or SIGINT; raises LapwingError when it cannot start."""
    stopping = StopSignal()
    Vehicle(config, run_dir, hil).run(stopping)


def _clock(hil: HilCar | None, stop_line: StopBell | None) -> Clock:
    if hil is not None and hil.lockstep:
        barrier = hil.folder / "barrier.sock"
        return PacedClock(barrier) if hil.is_paced else LockstepClock(barrier)
    return MonotonicClock(stop_line)


def _host_faults(hil: HilCar | None, clock: Clock) -> HostFaults | None:
    """Return what can be broken on this side of a HIL car; never of a real one."""
    if hil is None or (hil.faults is None and not hil.takes_orders):
        return None
    orders = [parse_fault(text) for text in hil.faults or ()]
    start_ns = hil.faults_since_ns or clock.now_ns()
    if isinstance(clock, LockstepClock):
        return HostFaults(orders, clock.now_ns, pause=clock.pause, seed=hil.seed, start_ns=start_ns)
    return HostFaults(orders, clock.now_ns, seed=hil.seed, start_ns=start_ns)


def calibration_file(config: CarConfig, hil: HilCar | None) -> Path:
    """Return where this car's numbers are, or will be once somebody has measured them."""
    if hil is not None and not config.calibration:
        return hil.calibration or hil.folder / f"hil-{hil.wiring}.json"
    return config.calibration_file()


def _calibration(file: Path, hil: HilCar | None) -> CarCalibration | None:
    """Return this car's numbers, or None: a real car is not calibrated by anybody's defaults."""
    if file.exists():
        return store.load(file)
    return HIL_CALIBRATIONS[hil.wiring] if hil is not None and hil.is_calibrated else None


def _board(config: CarConfig, hil: HilCar | None, calibration: CarCalibration, clock: Clock) -> Board:
    port = str(hil.folder / "board") if hil is not None else config.board.port
    if not port:
        raise ConfigError(
            "board.port is not set, allowed is a path such as /dev/serial/by-id/...; "
            "lapwing doctor lists the ports that are there"
        )
    wait = clock.pause if isinstance(clock, LockstepClock) else None
    kept_with = Path(port) if hil is not None else calibration_file(config, hil)
    return open_board(
        config.board.driver,
        port,
        calibration,
        proofs=proofs_beside(kept_with),
        steering_channel=config.board.steering_channel,
        throttle_channel=config.board.throttle_channel,
        now_ns=clock.now_ns,
        wait=wait,
    )


def _camera(
    config: CarConfig, hil: HilCar | None, clock: Clock, preview: PreviewPublisher, stream: Stream
) -> Camera:
    source = f"hil:{hil.folder / 'camera.sock'}" if hil is not None else config.camera.source
    if not source:
        raise ConfigError(
            "camera.source is not set, allowed is for instance v4l2:/dev/v4l/by-id/...; "
            "lapwing doctor lists the cameras that are there"
        )

    def show(frame: Frame) -> None:
        stream.send_frame(frame)
        preview.publish(frame)

    return Camera(
        open_source(source, config.camera),
        decode_scale=_decode_scale(config),
        ready_at_stamp=isinstance(clock, LockstepClock),
        on_start=lambda: use_fifo(CAMERA_PRIORITY),
        on_frame=show,
    )


def _right_camera(config: CarConfig, hil: HilCar | None, clock: Clock, stream: Stream) -> Camera | None:
    """Return the second eye, read only while a policy looks with two; None where the car has none."""
    source = config.right_camera.source
    if hil is not None:
        source = f"hil:{hil.folder / 'camera_right.sock'}" if hil.has_right_camera else ""
    if not source:
        return None
    return Camera(
        open_source(source, config.camera),
        decode_scale=_decode_scale(config),
        ready_at_stamp=isinstance(clock, LockstepClock),
        wanted=False,
        on_start=lambda: use_fifo(CAMERA_PRIORITY),
        on_frame=stream.send_frame,
    )


def _lidar(config: CarConfig, hil: HilCar | None, stream: Stream) -> Lidar | None:
    """Return the LIDAR, read only while a policy looks at it; None where the car has none."""
    mount = config.lidar
    if hil is not None:
        where = f"hil:{hil.folder / 'lidar.sock'}" if hil.has_lidar else ""
        mount = LidarMount(where, rate_hz=HIL_LIDAR_RATE_HZ)
    if not mount.source:
        return None
    source = open_lidar_source(mount.source, mount)
    return Lidar(
        source,
        mount,
        wanted=False,
        on_start=lambda: use_fifo(CAMERA_PRIORITY),
        on_scan=stream.send_scan,
    )


def _decode_scale(config: CarConfig) -> int | None:
    return None if config.camera.decode_scale == "auto" else config.camera.decode_scale


def _open_or_wait(board: Board) -> None:
    """Open the board; one that is not there yet is tried again while the car is disarmed."""
    try:
        board.open()
    except BoardError as error:
        log.warning(error)
    else:
        log.info(board.description)
