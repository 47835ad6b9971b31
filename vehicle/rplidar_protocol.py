"""The bytes of a SLAMTEC RPLIDAR: requests, answers and the stream of a standard scan. No serial port here.

After "RPLIDAR Interface Protocol and Application Notes" (SLAMTEC, public, sections "Request packets",
"Response descriptor", "SCAN command"). All numbers are little-endian.

request       A5 COMMAND
descriptor    A5 5A, 32 bit: length of one answer (30 bit) and send mode (2 bit), type of the answer
node (scan)   byte 0      quality (6 bit), not start (1 bit), start of a turn (1 bit)
              byte 1, 2   angle in 1/64 degree, clockwise (15 bit), check bit 1 (lowest)
              byte 3, 4   distance in 1/4 mm; 0 where nothing came back

A node has three check bits, which a misplaced reading passes once in four times: places are trusted
only where several nodes in a row fit.
"""

import struct
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

STOP, RESET, SCAN, GET_INFO, GET_HEALTH = 0x25, 0x40, 0x20, 0x50, 0x52
REQUEST_START = 0xA5
DESCRIPTOR_START = b"\xa5\x5a"
DESCRIPTOR_BYTES = 7
NODE_BYTES = 5
NODES_IN_STEP = 8  # nodes that must fit in a row before their place is believed: one chance in 65 000
STEP_BYTES = NODES_IN_STEP * NODE_BYTES
SEARCHED_BYTES = 512  # at once: noise costs little, and so does a place that is found soon
MAX_TURN_NODES = 8192
MAX_UNREAD_BYTES = 1 << 16
FULL_TURN_Q6 = 360 * 64
LEAST_NODES = 30  # in a turn; an RPLIDAR A1 has 250 to 1500
BACKWARDS_DEG = 5.0  # its angles tremble by less
BEYOND_TURN_DEG = 10.0  # more than a whole turn by this much: the mark of the next start was lost

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]


class Answer(NamedTuple):
    """What a descriptor announces."""

    length: int
    is_stream: bool
    type: int


SCAN_ANSWER = Answer(NODE_BYTES, is_stream=True, type=0x81)
INFO_ANSWER = Answer(20, is_stream=False, type=0x04)
HEALTH_ANSWER = Answer(3, is_stream=False, type=0x06)


class Health(NamedTuple):
    """What the LIDAR says of itself."""

    status: int
    """0 good, 1 warning, 2 error: it will not measure before a reset."""
    error_code: int


class Turn(NamedTuple):
    """One turn, in the LIDAR's own frame."""

    angles_rad: Floats
    """Positive left, -pi to pi, in the order of measuring (to the right)."""
    ranges_m: Floats
    """inf where nothing came back."""


def encode_request(command: int) -> bytes:
    """Return a request without payload."""
    return bytes((REQUEST_START, command))


def find_descriptor(data: bytes) -> tuple[Answer | None, bytes]:
    """Return the first descriptor in the bytes, and what follows it; None and what may still become one."""
    start = data.find(DESCRIPTOR_START)
    if start < 0:
        return None, data[-1:] if data[-1:] == DESCRIPTOR_START[:1] else b""
    if len(data) - start < DESCRIPTOR_BYTES:
        return None, data[start:]
    length_and_mode, answer_type = struct.unpack_from("<IB", data, start + 2)
    answer = Answer(length_and_mode & 0x3FFFFFFF, length_and_mode >> 30 == 1, answer_type)
    return answer, data[start + DESCRIPTOR_BYTES :]


def decode_health(data: bytes) -> Health:
    """Return the health from the three bytes of its answer."""
    return Health(*struct.unpack("<BH", data))


class ScanDecoder:
    """Takes the bytes of a standard scan in any pieces; gives whole turns."""

    def __init__(self) -> None:
        self._unread = b""
        self._in_step = False
        self._turn: list[Bytes] | None = None  # None: the start of the turn was not seen whole
        self._turn_nodes = 0
        self.bad_bytes = 0
        """Bytes that fitted nowhere, since the start."""

    def feed(self, data: bytes) -> list[Turn]:
        """Return the turns that these bytes complete, oldest first."""
        self._unread = (self._unread + data)[-MAX_UNREAD_BYTES:]
        turns: list[Turn] = []
        while True:
            if not self._in_step and not self._find_step():
                return turns
            count = len(self._unread) // NODE_BYTES
            if not count:
                return turns
            nodes = np.frombuffer(self._unread, np.uint8, count * NODE_BYTES).reshape(count, NODE_BYTES)
            fits = _fits(nodes)
            good = count if fits.all() else int(np.argmin(fits))
            turns += self._take(nodes[:good])
            self._unread = self._unread[good * NODE_BYTES :]
            if good == count:
                return turns
            self._in_step = False
            self._turn = None

    def _find_step(self) -> bool:
        """Drop bytes until enough nodes in a row fit; return whether there are as many."""
        while len(self._unread) >= STEP_BYTES:
            piece = np.frombuffer(self._unread[:SEARCHED_BYTES], np.uint8)
            fits = _fits(np.lib.stride_tricks.sliding_window_view(piece, NODE_BYTES))
            places = len(piece) - STEP_BYTES + 1
            steps = np.logical_and.reduce([fits[i : i + places] for i in range(0, STEP_BYTES, NODE_BYTES)])
            self._in_step = bool(steps.any())
            skipped = int(np.argmax(steps)) if self._in_step else places
            self._unread = self._unread[skipped:]
            self.bad_bytes += skipped
            if self._in_step:
                return True
        return False

    def _take(self, nodes: Bytes) -> list[Turn]:
        turns: list[Turn] = []
        starts = np.flatnonzero(nodes[:, 0] & 1)
        for part in np.split(nodes, starts):
            if len(part) and part[0, 0] & 1:
                turns += self._end_turn()
                self._turn, self._turn_nodes = [], 0
            if self._turn is not None:
                self._turn.append(part)
                self._turn_nodes += len(part)
                if self._turn_nodes > MAX_TURN_NODES:  # the mark of the start was lost
                    self._turn = None
        return turns

    def _end_turn(self) -> list[Turn]:
        if not self._turn or self._turn_nodes < LEAST_NODES:
            return []
        nodes = np.concatenate(self._turn)
        return [decode_nodes(nodes)] if _goes_round_once(nodes) else []


def decode_nodes(nodes: Bytes) -> Turn:
    """Return angles and distances of N nodes, N x 5 bytes."""
    wide = nodes.astype(np.uint32)
    distance_q2 = wide[:, 3] | (wide[:, 4] << 8)
    left_rad = -np.deg2rad(_angles_q6(nodes) / 64.0)
    angles_rad = (left_rad + np.pi) % (2.0 * np.pi) - np.pi
    ranges_m = np.where(distance_q2 > 0, distance_q2 / 4000.0, np.inf)
    return Turn(angles_rad.astype(np.float32), ranges_m.astype(np.float32))


def _fits(nodes: Bytes) -> npt.NDArray[np.bool_]:
    """Return which nodes have right check bits and an angle that exists."""
    start, not_start = nodes[:, 0] & 1, (nodes[:, 0] >> 1) & 1
    return np.asarray((start != not_start) & (nodes[:, 1] & 1 == 1) & (_angles_q6(nodes) <= FULL_TURN_Q6))


def _angles_q6(nodes: Bytes) -> npt.NDArray[np.uint32]:
    low, high = nodes[:, 1].astype(np.uint32), nodes[:, 2].astype(np.uint32)
    return np.asarray((low >> 1) | (high << 7), np.uint32)


def _goes_round_once(nodes: Bytes) -> bool:
    """Return whether the angles go forward and once round, as they do unless bytes were lost."""
    steps_deg = (np.diff(_angles_q6(nodes) / 64.0) + 180.0) % 360.0 - 180.0
    return bool(steps_deg.min() >= -BACKWARDS_DEG and steps_deg.sum() <= 360.0 + BEYOND_TURN_DEG)
