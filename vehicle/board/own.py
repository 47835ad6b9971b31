"""Drives the project's own board over `docs/board-protocol.md`."""

import time
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from calibration.car import CarCalibration
from vehicle.board import protocol
from vehicle.board.base import MATCH_US, BoardCapabilities, pulses_of
from vehicle.board.protocol import HelloReply, OtherVersion, Status, StoredPulses, StoreReply
from vehicle.board.serial_board import HANDSHAKE_S, SerialBoard
from vehicle.calibrating import was_cut_off
from vehicle.errors import BoardConfigError, BoardError, BoardSilentError, BoardVersionError
from vehicle.messages import BoardPulses, BoardStatus, DriveCommand

HELLO_EVERY_S = 0.1
STORE_REPLY_S = 0.3  # writing 14 bytes of memory takes 50 ms
STORE_ATTEMPTS = 3
STORE_AGAIN_S = 1.0  # a board that was deaf for a while must not keep the car from driving for ever
RESULT_ARMED = 1  # it has not heard the disarmed command yet
WATCHDOG_ALLOWED_MS = range(50, 201)  # the protocol says 180; more would let a dead host's car run on
SEQUENCES = 256


class _Storing(msgspec.Struct):
    """A STORE that the board has still to confirm."""

    attempts_left: int = STORE_ATTEMPTS
    sequence: int | None = None
    """Of the newest attempt; None before the first."""
    next_ns: int = 0
    """When the next attempt is due."""


class _Told(NamedTuple):
    """What a command said of the motor."""

    armed: bool
    throttle_us: float


class OwnBoard(SerialBoard):
    """The `board` driver. See `vehicle.board.base.Board` for the contract."""

    KIND = "Lapwing board"
    NOUN = "the board"

    def __init__(
        self,
        path: str,
        calibration: CarCalibration,
        *,
        now_ns: Callable[[], int] = time.monotonic_ns,
        wait: Callable[[float], None] | None = None,
    ) -> None:
        super().__init__(path, now_ns, wait)
        self._sequence = 0
        self._hello: HelloReply | None = None
        """What the board last said that it is."""
        self._hello_sequences: set[int] = set()
        self._hello_next_ns = 0
        self._storing: _Storing | None = None
        self._store_error: BoardError | None = None
        """Why the newest STORE came to nothing."""

        # An acknowledgement counts for the command sent last with its sequence; 0 for any other frame.
        self._sent_ns = [0] * SEQUENCES
        self._told = [_Told(False, 0)] * SEQUENCES
        self._disobeyed = ""
        """What the board does in place of what it was told and has acknowledged, as a sentence."""
        self._waiting_since_ns = 0
        self._status: Status | None = None
        self._wheel_ticks = 0
        self._bad_here = 0
        self._bad_at_board = 0
        self.use_calibration(calibration)

    def use_calibration(self, calibration: CarCalibration) -> None:
        """Drive with these numbers from now on; only while disarmed."""
        self._use(pulses_of(calibration))
        self._config_problem = self._compare_with_board()

    def begin_store(self, pulses: BoardPulses, now_ns: int) -> None:
        """Use these pulses and make the board keep them; `poll` goes on with it."""
        self._use(pulses)
        self._storing = _Storing(next_ns=now_ns)
        self._store_error = None
        self._config_problem = self._compare_with_board()

    def poll(self, now_ns: int) -> BoardStatus:
        """Read what has arrived, go on with a STORE, and return the newest status."""
        super().poll(now_ns)
        self._go_on_storing(now_ns)
        return self._board_status()

    def store_calibration(self, calibration: CarCalibration | None = None) -> None:
        """Make the board keep this car's numbers; raises BoardConfigError with the board's own reason."""
        if self._hello is None or not self._connected or self._greeting:
            raise BoardSilentError(
                f"{self._path} is not connected, and storing needs an open board; open it first"
            )
        if self._status is not None and self._status.flags & protocol.FLAG_ARMED:
            raise BoardConfigError("the board is armed, storing is allowed only disarmed; stop the car first")
        self.begin_store(self._wanted_us if calibration is None else pulses_of(calibration), self._now_ns())
        self._go_on_storing(self._now_ns())
        while self._storing is not None and self._store_error is None:
            self._pause()
            self.poll(self._now_ns())
        if self._store_error is not None:
            raise self._store_error

    # --- sent ---

    def _write_command(self, command: DriveCommand, now_ns: int, *, arm: bool) -> None:
        steering_us, throttle_us, wanted = command.steering_us, command.throttle_us, self._wanted
        if not arm or self._config_problem or self._disobeyed:
            arm, steering_us, throttle_us = False, wanted.steering_center_us, wanted.throttle_neutral_us
        sequence = self._next_sequence()
        throttle_us = min(max(throttle_us, wanted.throttle_min_us), wanted.throttle_max_us)
        frame = protocol.encode_command(
            sequence,
            armed=arm,
            steering_us=min(max(steering_us, wanted.steering_min_us), wanted.steering_max_us),
            throttle_us=throttle_us,
        )
        if self._send(frame, now_ns):
            self._sent_ns[sequence] = now_ns
            self._told[sequence] = _Told(arm, throttle_us)
            self._waiting_since_ns = self._waiting_since_ns or now_ns

    def _next_sequence(self) -> int:
        sequence = self._sequence
        self._sequence = (sequence + 1) % SEQUENCES
        self._sent_ns[sequence] = 0
        return sequence

    def _unanswered_since_ns(self) -> int:
        return self._waiting_since_ns

    def _forget(self) -> None:
        self._status = None
        self._forget_unanswered()

    def _forget_unanswered(self) -> None:
        self._sent_ns = [0] * SEQUENCES
        self._waiting_since_ns = 0

    # --- what the board keeps ---

    def _use(self, pulses: BoardPulses) -> None:
        self._wanted_us = pulses
        self._wanted = StoredPulses(*map(protocol.round_us, pulses))

    def _go_on_storing(self, now_ns: int) -> None:
        """Send STORE when it is due; a board that is away, or was lost on the way, is waited for."""
        storing = self._storing
        if storing is None or not self._connected or self._greeting or now_ns < storing.next_ns:
            return
        if storing.attempts_left == 0:
            self._end_storing(
                BoardSilentError(
                    f"{self._path} did not answer STORE in {STORE_ATTEMPTS} attempts of {STORE_REPLY_S} s; "
                    "check its cable, it is told again by itself"
                )
            )
            self._storing = _Storing(next_ns=now_ns + int(STORE_AGAIN_S * 1e9))
            return
        storing.attempts_left -= 1
        storing.next_ns = now_ns + int(STORE_REPLY_S * 1e9)
        storing.sequence = self._next_sequence()
        self._send(protocol.encode_store(storing.sequence, self._wanted), now_ns)

    def _note_store_reply(self, reply: StoreReply) -> None:
        """Believe what the board says of the newest STORE; late answers to older ones are of no interest."""
        storing = self._storing
        if storing is None or reply.sequence != storing.sequence or self._hello is None:
            return
        if reply.result == RESULT_ARMED and storing.attempts_left:
            return  # asked again when it is due
        error = None
        if reply.result != 0:
            reason = protocol.STORE_RESULTS.get(reply.result, f"refused: result {reply.result}")
            error = (
                f"the board did not store {tuple(self._wanted)} us, {reason}; "
                "disarm, check the calibration's pulses, and store again"
            )
        elif reply.in_force != self._wanted:
            error = (
                f"the board says it stored {tuple(reply.in_force)} us, sent were {tuple(self._wanted)}; "
                "store again, and replace the board if it happens twice"
            )
        else:
            flags = self._hello.flags | protocol.FLAG_STORED
            self._hello = self._hello._replace(stored=reply.in_force, flags=flags)
        self._end_storing(BoardConfigError(error) if error else None)

    def _end_storing(self, error: BoardError | None) -> None:
        self._storing, self._store_error = None, error
        self._config_problem = self._compare_with_board()

    # --- received ---

    def _take(self, data: bytes, now_ns: int) -> None:
        replies, bad_frames, self._unread = protocol.decode(self._unread + data)
        if not self._greeting:  # a bootloader may say anything
            self._bad_here += bad_frames
        for reply in replies:
            if isinstance(reply, Status):
                self._note_status(reply, now_ns)
            elif isinstance(reply, HelloReply):
                self._note_hello(reply)
            elif isinstance(reply, OtherVersion):
                self._note_other_version(reply, now_ns)
            else:
                self._note_store_reply(reply)

    def _note_status(self, status: Status, now_ns: int) -> None:
        sent_ns = self._sent_ns[status.sequence]
        if sent_ns == 0 or sent_ns < self._acked_sent_ns:
            return  # for no command of ours, or overtaken by a newer one
        if self._status is not None:
            self._compare_with_last(self._status, status)
        self._status = status
        self._waiting_since_ns = 0
        self._compare_with_told(self._told[status.sequence], status)
        neutral = abs(status.throttle_us - self._wanted.throttle_neutral_us) <= MATCH_US
        self._note_acknowledged(sent_ns, now_ns, neutral=neutral)
        self._note_stored(bool(status.flags & protocol.FLAG_STORED))

    def _compare_with_told(self, told: _Told, status: Status) -> None:
        """Note a board that acknowledges and does something else: from then on it is told to stop."""
        if self._config_problem or self._storing is not None:
            return  # its neutral is another, which has a sentence of its own
        armed = bool(status.flags & protocol.FLAG_ARMED)
        differs = bool(status.throttle_us) and abs(status.throttle_us - told.throttle_us) > MATCH_US
        if told.armed and not armed:
            return  # it refused, or has stopped by itself
        self._disobeyed = ""
        if differs or armed != told.armed:
            self._disobeyed = (
                f"the board acknowledged {told.throttle_us:g} us {_in_words(told.armed)} and puts out "
                f"{status.throttle_us} us {_in_words(armed)}; if a wheel turns, unplug the drive battery, "
                "then replace the board"
            )

    def _compare_with_last(self, before: Status, status: Status) -> None:
        """Count boots, wheel ticks and frames found bad at the board; the last two begin at 0 with a boot."""
        ticks_before, bad_before = before.wheel_ticks, before.bad_frames
        new_boots = (status.boots - before.boots) % 256
        if new_boots:
            self._boots += new_boots
            self._neutral.restart()
            ticks_before = bad_before = 0
        self._wheel_ticks += (status.wheel_ticks - ticks_before + 0x8000) % 0x10000 - 0x8000
        self._bad_at_board += max(0, status.bad_frames - bad_before)

    def _note_stored(self, stored: bool) -> None:
        """Believe the newest word on whether the board has this car's numbers."""
        if self._hello is not None and stored != bool(self._hello.flags & protocol.FLAG_STORED):
            self._hello = self._hello._replace(flags=self._hello.flags ^ protocol.FLAG_STORED)
            self._config_problem = self._compare_with_board()

    # --- the handshake ---

    def _begin_handshake(self, now_ns: int) -> None:
        self._forget_unanswered()
        self._hello_sequences.clear()
        self._hello_next_ns = now_ns
        self._shake_hands(now_ns)

    def _shake_hands(self, now_ns: int) -> None:
        """Say hello when it is time to."""
        if now_ns >= self._hello_next_ns:
            self._hello_next_ns = now_ns + int(HELLO_EVERY_S * 1e9)
            sequence = self._next_sequence()
            self._hello_sequences.add(sequence)
            self._send(protocol.encode_hello(sequence), now_ns)

    def _silence(self) -> str:
        if self._greeting_bytes:
            return (
                f"{self._path} sent {self._greeting_bytes} bytes in {HANDSHAKE_S} s, none of them the "
                "answer of a Lapwing board at 115200 baud; check that this port is the board and that "
                "its firmware is installed"
            )
        return (
            f"{self._path} sent nothing in {HANDSHAKE_S} s, allowed is an answer within that time; "
            "check the board's power and cable and that its firmware is installed"
        )

    def _answers_a_hello(self, sequence: int) -> bool:
        return self._greeting and sequence in self._hello_sequences

    def _note_other_version(self, reply: OtherVersion, now_ns: int) -> None:
        if self._answers_a_hello(reply.sequence):
            message = (
                f"{self._path} speaks version {reply.version} of the board protocol "
                f"(firmware {reply.firmware}), allowed is version {protocol.PROTOCOL_VERSION}; "
                "install the board firmware that came with this software"
            )
            self._lose(BoardVersionError(message), now_ns)

    def _note_hello(self, reply: HelloReply) -> None:
        if not self._answers_a_hello(reply.sequence):
            return
        self._hello = reply
        self.capabilities = BoardCapabilities(
            battery=bool(reply.capabilities & protocol.CAPABILITY_BATTERY),
            wheel_ticks=bool(reply.capabilities & protocol.CAPABILITY_WHEEL_TICKS),
            stop_input=bool(reply.capabilities & protocol.CAPABILITY_STOP_INPUT),
        )
        board_id = reply.board_id.hex().upper()
        self._identify(f"{self.KIND} {board_id}, firmware {reply.firmware}, {self._path}")
        self._config_problem = self._compare_with_board()

    def _compare_with_board(self) -> str:
        """Return what forbids arming although the board answers, as a sentence, or nothing."""
        if self._hello is None or not self._identified:
            return ""
        if self._hello.watchdog_ms not in WATCHDOG_ALLOWED_MS:
            return (
                f"the board's watchdog is {self._hello.watchdog_ms} ms, allowed "
                f"{WATCHDOG_ALLOWED_MS.start} to {WATCHDOG_ALLOWED_MS.stop - 1}; "
                "install the board firmware that came with this software"
            )
        if self._store_error is not None:
            return str(self._store_error)
        if self._storing is not None:
            return "the board is being told this car's pulses; that takes less than a second"
        if not self._hello.flags & protocol.FLAG_STORED:
            return "the board has no pulses stored, so it gives none; `lapwing board store` stores this car's"
        if self._was_cut_off():
            return (
                "calibrating was cut off while the board's neutral was "
                f"{self._hello.stored.throttle_neutral_us} us, and this car's is "
                f"{self._wanted_us.throttle_neutral_us:g}; put the wheels up and calibrate the throttle "
                "anew, or store what is saved with `lapwing board store`"
            )
        for field, stored_us, wanted_us in zip(
            StoredPulses._fields, self._hello.stored, self._wanted_us, strict=True
        ):
            if abs(stored_us - wanted_us) > MATCH_US:
                return (
                    f"the board's {field} is {stored_us}, allowed {wanted_us:g} +-{MATCH_US:g} "
                    "as this car was calibrated; store the calibration with `lapwing board store`"
                )
        return ""

    # --- what is said of it ---

    def _board_status(self) -> BoardStatus:
        status = self._status
        flags = status.flags if status is not None else 0
        stop_input = bool(flags & protocol.FLAG_STOP_INPUT)
        ready = self._connected and not self._greeting and not self._config_problem
        return BoardStatus(
            connected=self._connected,
            received_ns=self._received_ns,
            acked_sent_ns=self._acked_sent_ns,
            acked_armed=bool(flags & protocol.FLAG_ARMED),
            applied_steering_us=float(status.steering_us) if status is not None else 0.0,
            applied_throttle_us=float(status.throttle_us) if status is not None else 0.0,
            neutral_acked_since_ns=self._neutral.since_ns,
            boots=self._boots,
            stop_input=stop_input,
            watchdog_tripped=bool(flags & protocol.FLAG_WATCHDOG),
            battery_v=self._battery_v(status),
            wheel_ticks=self._wheel_ticks if self.capabilities.wheel_ticks else None,
            bad_packets=self._bad_here + self._bad_at_board,
            ready_to_arm=ready and not stop_input,
            problem=self._problem(),
            is_storing=self._storing is not None and self._store_error is None,
            was_cut_off=self._connected and not self._greeting and self._rests_cut_off(),
        )

    def _was_cut_off(self) -> bool:
        """Whether the board keeps what somebody's calibrating has told it, and not what we want of it."""
        hello = self._hello
        if hello is None or not hello.flags & protocol.FLAG_STORED or hello.stored == self._wanted:
            return False
        return was_cut_off(BoardPulses(*hello.stored))

    def _rests_cut_off(self) -> bool:
        """Whether it does, at our neutral: told our numbers, it would go on with the pulse it gives."""
        if self._hello is None or self._storing is not None or not self._was_cut_off():
            return False
        return abs(self._hello.stored.throttle_neutral_us - self._wanted_us.throttle_neutral_us) <= MATCH_US

    def _battery_v(self, status: Status | None) -> float | None:
        if status is None or not self.capabilities.battery or status.battery_mv == 0:
            return None
        return status.battery_mv / 1000.0

    def _protocol_problem(self) -> str:
        if problem := self._config_problem or self._disobeyed or self._write_problem:
            return problem
        flags = self._status.flags if self._status is not None else 0
        if flags & protocol.FLAG_STOP_INPUT:
            return "the board's stop switch is pressed; release it, then disarm and start again"
        if flags & protocol.FLAG_ARM_REFUSED:
            return "the board refused to arm; disarm, then start from neutral again"
        return ""


def _in_words(armed: bool) -> str:
    return "armed" if armed else "disarmed"
