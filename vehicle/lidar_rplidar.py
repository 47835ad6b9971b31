"""A SLAMTEC RPLIDAR A1 on a serial port, as an AWS DeepRacer Evo carries it.

It is asked for its health, then for a standard scan; its motor runs while DTR is off (the LIDAR's USB
adapter, and so it is documented in SLAMTEC's SDK). `vehicle.rplidar_protocol` has the bytes.
"""

import contextlib
import select
import time
from collections import deque

import serial

from vehicle import rplidar_protocol as protocol
from vehicle.errors import LidarError
from vehicle.lidar_source import RawScan
from vehicle.rplidar_protocol import Answer, ScanDecoder

ANSWER_TIMEOUT_S = 1.0
AFTER_STOP_S = 0.01  # the protocol asks for 1 ms at least; what was on its way comes meanwhile
AFTER_RESET_S = 1.0  # it greets with text, which must be over
READ_BYTES = 4096
HEALTH_ERROR = 2


class RplidarSource:
    """One RPLIDAR; used by one thread."""

    silence_limit_s: float | None = 2.0
    """A motor needs a second to its speed; longer without a turn is worth starting it anew."""

    def __init__(self, device: str, baud: int) -> None:
        """Nothing is opened yet."""
        self.description = f"RPLIDAR at {device}"
        self._device = device
        self._baud = baud
        self._port: serial.Serial | None = None
        self._decoder = ScanDecoder()
        self._scans: deque[RawScan] = deque()
        self._number = 0

    def open(self) -> None:
        """Open the port, start the motor and the scan; raises LidarError when that cannot be done."""
        self._decoder = ScanDecoder()
        self._scans.clear()
        try:
            port = serial.Serial(baudrate=self._baud, timeout=0, exclusive=True)
            port.write_timeout = ANSWER_TIMEOUT_S
            port.port = self._device
            port.dtr = False  # before it is opened, so that the motor is not started and stopped again
            port.open()
            self._port = port
            self._begin()
        except (OSError, serial.SerialException) as error:
            self.close()
            raise LidarError(
                f"the {self.description} cannot be used ({error}); "
                "check its plug, and lidar.source in car.toml"
            ) from error
        except LidarError:
            self.close()
            raise

    def read(self, timeout_s: float) -> RawScan | None:
        """Return the next turn, or None after the time-out; raises LidarError when the port is gone."""
        deadline_s = time.monotonic() + timeout_s
        while not self._scans:
            data = self._receive(max(0.0, deadline_s - time.monotonic()))
            if not data:
                return None
            stamp_ns = time.monotonic_ns()
            for turn in self._decoder.feed(data):
                self._scans.append(RawScan(self._number, stamp_ns, turn.angles_rad, turn.ranges_m))
                self._number += 1
        return self._scans.popleft()

    def close(self) -> None:
        """Stop the scan and the motor, and let the port go."""
        port, self._port = self._port, None
        if port is None:
            return
        with contextlib.suppress(OSError, serial.SerialException):
            port.write(protocol.encode_request(protocol.STOP))
            port.dtr = True
        with contextlib.suppress(OSError, serial.SerialException):
            port.close()

    def _begin(self) -> None:
        """Have it stop what it did, say that it is well, and measure."""
        self._request(protocol.STOP)
        time.sleep(AFTER_STOP_S)
        self._drain()
        health = protocol.decode_health(self._ask(protocol.GET_HEALTH, protocol.HEALTH_ANSWER))
        if health.status == HEALTH_ERROR:
            self._request(protocol.RESET)
            time.sleep(AFTER_RESET_S)
            self._drain()
            health = protocol.decode_health(self._ask(protocol.GET_HEALTH, protocol.HEALTH_ANSWER))
        if health.status == HEALTH_ERROR:
            raise LidarError(
                f"the {self.description} reports error {health.error_code:#06x} also after a reset; "
                "free its motor, unplug it and plug it in again"
            )
        self._request(protocol.SCAN)
        rest = self._await_answer(protocol.SCAN_ANSWER)
        self._decoder.feed(rest)

    def _ask(self, command: int, answer: Answer) -> bytes:
        """Return the one answer to a request."""
        self._request(command)
        data = self._await_answer(answer)
        deadline_s = time.monotonic() + ANSWER_TIMEOUT_S
        while len(data) < answer.length:
            data += self._receive_before(deadline_s)
        return data[: answer.length]

    def _await_answer(self, wanted: Answer) -> bytes:
        """Skip to the descriptor of this answer; return what has come after it."""
        deadline_s = time.monotonic() + ANSWER_TIMEOUT_S
        data = b""
        while True:
            data += self._receive_before(deadline_s)
            answer, data = protocol.find_descriptor(data)
            while answer is not None and answer != wanted:  # of an older request, or by chance in a scan
                answer, data = protocol.find_descriptor(data)
            if answer is not None:
                return data

    def _request(self, command: int) -> None:
        if self._port is not None:
            self._port.write(protocol.encode_request(command))

    def _drain(self) -> None:
        while self._receive(0.0):
            pass

    def _receive_before(self, deadline_s: float) -> bytes:
        """Return what comes next; raises LidarError when the deadline passes without."""
        data = self._receive(max(0.0, deadline_s - time.monotonic()))
        if not data:
            raise LidarError(
                f"the {self.description} does not answer; check its cable, and lidar.baud in car.toml "
                f"(now {self._baud})"
            )
        return data

    def _receive(self, timeout_s: float) -> bytes:
        """Return the bytes that are there, waiting for the first; empty after the time-out."""
        if self._port is None:
            raise LidarError(f"the {self.description} is not open; open it before reading")
        try:
            poll = select.poll()
            poll.register(self._port.fileno(), select.POLLIN)
            if not poll.poll(timeout_s * 1e3):
                return b""
            data = bytes(self._port.read(READ_BYTES))
        except (OSError, serial.SerialException) as error:
            raise LidarError(f"the {self.description} is gone ({error}); check its plug") from error
        if not data:
            raise LidarError(f"the {self.description} is gone; check its plug")
        return data
