"""An RPLIDAR A1 behind a pseudo-terminal: answers requests and streams a scan in real bytes and real time.

Written from SLAMTEC's public protocol, not from the driver. A terminal of this kind has no DTR line, so
the motor is taken to run.
"""

import os
import random
import struct
import threading
import time
import tty
from collections.abc import Callable

NODES_A_TURN = 360
TURNS_PER_S = 7.0
PIECES_A_TURN = 18
POLL_S = 0.001
INFO_DESCRIPTOR = bytes.fromhex("a5 5a 14 00 00 00 04")
HEALTH_DESCRIPTOR = bytes.fromhex("a5 5a 03 00 00 00 06")
SCAN_DESCRIPTOR = bytes.fromhex("a5 5a 05 00 00 40 81")
INFO = struct.pack("<BHB16s", 0x18, 0x011D, 7, bytes(range(16)))  # model, firmware 1.29, hardware, serial


class RplidarEmulator:
    """One LIDAR; what is broken can be set at any time, from any thread."""

    def __init__(self, distance_m: Callable[[float], float], *, turns_per_s: float = TURNS_PER_S) -> None:
        """`distance_m` gets degrees clockwise from the LIDAR's zero; 0 or inf: nothing comes back."""
        self._distance_m = distance_m
        self._turns_per_s = turns_per_s
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        self.device = os.ttyname(self._slave)
        os.set_blocking(self._master, False)
        self._random = random.Random(1)  # noqa: S311 # repeatable, not secret
        self._is_scanning = False
        self._requests = b""
        self.requests: list[int] = []
        """Every command that came, in order."""
        self.is_silent = False
        self.lost_share = 0.0
        """Of the bytes it sends."""
        self.garbage_share = 0.0
        """Of the bytes it sends; they are random instead."""
        self.health = 0
        self.heals_by_reset = True
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rplidar-emulator", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Unplug it."""
        self._stopping.set()
        self._thread.join()
        for end in (self._master, self._slave):
            os.close(end)

    def _run(self) -> None:
        piece = 0
        due_s = time.monotonic()
        while not self._stopping.wait(POLL_S):
            self._serve()
            if not self._is_scanning:
                due_s = time.monotonic()
                continue
            while time.monotonic() >= due_s:
                self._send(self._nodes(piece))
                piece = (piece + 1) % PIECES_A_TURN
                due_s += 1.0 / (self._turns_per_s * PIECES_A_TURN)

    def _serve(self) -> None:
        try:
            self._requests += os.read(self._master, 256)
        except OSError:  # nothing there, or nobody at the other end
            return
        while len(self._requests) >= 2:
            if self._requests[0] != 0xA5:
                self._requests = self._requests[1:]
                continue
            command, self._requests = self._requests[1], self._requests[2:]
            self.requests.append(command)
            self._answer(command)

    def _answer(self, command: int) -> None:
        match command:
            case 0x25:
                self._is_scanning = False
            case 0x40:
                self._is_scanning = False
                self.health = 0 if self.heals_by_reset else self.health
                self._send(b"RP LIDAR System.\r\nFirmware Ver 1.29\r\n")
            case 0x50:
                self._send(INFO_DESCRIPTOR + INFO)
            case 0x52:
                error_code = 0x8001 if self.health else 0
                self._send(HEALTH_DESCRIPTOR + struct.pack("<BH", self.health, error_code))
            case 0x20 if self.health != 2:
                self._send(SCAN_DESCRIPTOR)
                self._is_scanning = True

    def _nodes(self, piece: int) -> bytes:
        count = NODES_A_TURN // PIECES_A_TURN
        data = b""
        for index in range(piece * count, (piece + 1) * count):
            angle_deg = index * 360.0 / NODES_A_TURN
            distance_m = self._distance_m(angle_deg)
            q2 = round(distance_m * 4000) if 0.0 < distance_m < 16.0 else 0
            is_start = index == 0
            q6 = round(angle_deg * 64)
            quality = 0 if q2 == 0 else 15
            first = quality << 2 | (0b01 if is_start else 0b10)
            data += struct.pack("<BBBH", first, (q6 & 0x7F) << 1 | 1, q6 >> 7, q2)
        return data

    def _send(self, data: bytes) -> None:
        if self.is_silent:
            return
        if self.lost_share or self.garbage_share:
            kept = (byte for byte in data if self._random.random() >= self.lost_share)
            data = bytes(
                self._random.randrange(256) if self._random.random() < self.garbage_share else byte
                for byte in kept
            )
        try:
            os.write(self._master, data)
        except BlockingIOError:  # nobody reads: a real line would lose it too
            return
