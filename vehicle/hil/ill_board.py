"""The project's own board with a firmware that is not as the protocol says: its watchdog, a latched error.

Kept apart from `vehicle.hil.own_board`, which is the board as it must be.
"""

import struct

from vehicle.hil.faults import NEVER_NS
from vehicle.hil.own_board import OwnBoard

WATCHDOG_FIELD = slice(6, 8)  # of a HELLO_REPLY


class IllOwnBoard(OwnBoard):
    """As its parent until something is broken."""

    _watchdog_s: float | None = None
    """None: as the protocol says."""
    _watchdog_is_told = True

    def set_watchdog(self, seconds: float | None, *, is_told: bool = True) -> None:
        """Wait so long for a command from the next one on; `is_told`: and say so in the handshake."""
        self._watchdog_s, self._watchdog_is_told = seconds, is_told

    def latch_error(self, bit: int, now_ns: int) -> None:  # noqa: ARG002 # it has one error, without a number
        """Stop, as after a silence, until a disarmed command comes."""
        self._run(now_ns - 1)
        if self._program_runs():
            self._leave_armed(now_ns)
            self._watchdog_tripped = True
            self._is_ready_to_arm = False

    def _command(self, arm: bool, steering_us: int, throttle_us: int, now_ns: int) -> None:
        super()._command(arm, steering_us, throttle_us, now_ns)
        if self._watchdog_s is not None and self._watchdog_ns != NEVER_NS:
            self._watchdog_ns = min(now_ns + round(self._watchdog_s * 1e9), NEVER_NS)

    def _hello_reply(self, sequence: int) -> bytes:
        reply = bytearray(super()._hello_reply(sequence))
        if self._watchdog_s is not None and self._watchdog_is_told and len(reply) >= WATCHDOG_FIELD.stop:
            reply[WATCHDOG_FIELD] = struct.pack("<H", min(round(self._watchdog_s * 1e3), 0xFFFF))
        return bytes(reply)
