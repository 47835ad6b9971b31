"""Drives a Pololu Maestro whose failsafe was seen to work.

A Maestro has no arm flag and no sequence numbers: disarmed is neutral and centre, and every tick ends
with Get Errors, whose reply acknowledges the targets before it. Replies come in order.
"""

import collections
import datetime
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import NamedTuple

from calibration.car import CarCalibration
from vehicle.board import maestro_protocol as protocol
from vehicle.board.base import pulses_of
from vehicle.board.failsafe_proof import FailsafeProof, identity_of, load_proof, save_proof
from vehicle.board.maestro_dialogue import CONTROL_CENTER, Ask, Outputs, failsafe_trial, introduction
from vehicle.board.serial_board import HANDSHAKE_S, WAIT_S, SerialBoard
from vehicle.errors import BoardConfigError, BoardSilentError
from vehicle.messages import BoardPulses, BoardStatus, DriveCommand

REPLY_S = 0.3  # a Maestro answers within 2 ms
MAX_UNREAD_BYTES = 4096
STEERING_HOLD_S = 0.7  # centring at once in a corner would leave the track
HOST_STALL_S = 0.100  # between two commands; the Maestro may have stopped, and this one would drive again


class _Sent(NamedTuple):
    """One tick's targets, waiting for their acknowledgement."""

    sent_ns: int
    armed: bool
    steering_us: float
    throttle_us: float


class MaestroBoard(SerialBoard):
    """The `maestro` driver. See `vehicle.board.base.Board` for the contract."""

    KIND = "Pololu Maestro"
    NOUN = "the Maestro"

    def __init__(
        self,
        path: str,
        calibration: CarCalibration,
        *,
        proofs: Path,
        steering_channel: int = 0,
        throttle_channel: int = 1,
        now_ns: Callable[[], int] = time.monotonic_ns,
        wait: Callable[[float], None] | None = None,
    ) -> None:
        """BoardConfigError for a port or channels that a car cannot be driven by."""
        if steering_channel == throttle_channel:
            raise BoardConfigError(
                f"board.steering_channel and board.throttle_channel are both {steering_channel}, allowed are "
                "two channels; correct them in the configuration"
            )
        super().__init__(path, now_ns, wait)
        self._identity = identity_of(path)
        self._proofs = proofs
        self._steering_channel = steering_channel
        self._throttle_channel = throttle_channel

        self._handshake: Generator[Ask, bytes, str] | None = None
        self._ask = Ask(b"", 0)
        self._ask_next_ns = 0
        self._ask_deadline_ns = 0

        self._unanswered: collections.deque[_Sent] = collections.deque()
        self._acked: _Sent | None = None
        self._bad_packets = 0
        self._errors = 0
        """Of the newest faulty error word; kept until a disarmed command is acknowledged without errors."""
        self._must_disarm = False
        self._written_ns = 0

        self._held_steering_us = calibration.steering.center_us
        self._armed_ns: int | None = None
        self._config_problem = ""
        self.use_calibration(calibration)

    def use_calibration(self, calibration: CarCalibration) -> None:
        """Drive with these numbers from now on; a proof at another neutral no longer counts."""
        self._use(pulses_of(calibration))

    def begin_store(self, pulses: BoardPulses, now_ns: int) -> None:  # noqa: ARG002 - nothing is sent
        """Use these pulses; a Maestro keeps its own settings, and needs its proof at another neutral."""
        self._use(pulses)

    def _use(self, pulses: BoardPulses) -> None:
        self._outputs = Outputs(
            self._steering_channel,
            self._throttle_channel,
            pulses.steering_center_us,
            pulses.throttle_neutral_us,
        )
        self._steering_range_us = (pulses.steering_min_us, pulses.steering_max_us)
        self._throttle_range_us = (pulses.throttle_min_us, pulses.throttle_max_us)
        self._proof_problem = self._look_for_proof()

    def store_calibration(self, calibration: CarCalibration | None = None) -> None:
        """Use the new numbers; a Maestro keeps its own settings, which only its maker's program changes."""
        if self._armed_ns is not None:
            raise BoardConfigError("the car is armed, allowed only disarmed; stop the car first")
        if calibration is not None:
            self.use_calibration(calibration)
        if self._proof_problem:
            raise BoardConfigError(self._proof_problem)

    def prove_failsafe(self) -> FailsafeProof:
        """Go silent and see the Maestro stop by itself; wheels off the ground, loop not running.

        Remembers the proof, after which the board may be armed. BoardConfigError says which setting is wrong.
        """
        if self._port is None or self._greeting:
            raise BoardSilentError(f"{self._path} is not connected, and the proof needs it; open it first")
        if self._armed_ns is not None:
            raise BoardConfigError(
                "the car is armed, the proof is allowed only disarmed; stop the car and put it on a stand"
            )
        self._unanswered.clear()
        try:
            self._hold_dialogue(failsafe_trial(self._outputs, self._now_ns))
        finally:
            if self._port is not None:
                self._converse(Ask(self._outputs.rest_frame(), protocol.ERROR_BYTES))
        proof = FailsafeProof(
            neutral_us=self._outputs.neutral_us,
            steering_channel=self._steering_channel,
            throttle_channel=self._throttle_channel,
            proved_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        )
        save_proof(self._proofs, self._identity, proof)
        self._proof_problem = self._look_for_proof()
        return proof

    # --- sent ---

    def _write_command(self, command: DriveCommand, now_ns: int, *, arm: bool) -> None:
        """Send both targets, then Get Errors."""
        if not command.armed:
            self._must_disarm = False
        elif now_ns - self._written_ns > HOST_STALL_S * 1e9:
            self._must_disarm = True
        self._written_ns = now_ns
        sent = self._targets(command, now_ns, arm=arm and self._may_arm())
        if self._send(self._outputs.frame(sent.steering_us, sent.throttle_us), now_ns):
            self._unanswered.append(sent)

    def _may_arm(self) -> bool:
        return not (self._must_disarm or self._proof_problem or self._config_problem)

    def _targets(self, command: DriveCommand, now_ns: int, *, arm: bool) -> _Sent:
        """Return what is sent for this command; the steering is held for a moment when the car stops."""
        if arm:
            low_us, high_us = self._steering_range_us
            self._held_steering_us = min(max(command.steering_us, low_us), high_us)
            self._armed_ns = now_ns
            low_us, high_us = self._throttle_range_us
            throttle_us = min(max(command.throttle_us, low_us), high_us)
            return _Sent(now_ns, True, self._held_steering_us, throttle_us)
        if self._armed_ns is not None and now_ns - self._armed_ns >= STEERING_HOLD_S * 1e9:
            self._armed_ns = None
        steering_us = self._outputs.center_us if self._armed_ns is None else self._held_steering_us
        return _Sent(now_ns, False, steering_us, self._outputs.neutral_us)

    def _unanswered_since_ns(self) -> int:
        return self._unanswered[0].sent_ns if self._unanswered else 0

    def _forget(self) -> None:
        self._handshake = None
        self._acked = None
        self._unanswered.clear()

    # --- received ---

    def _take(self, data: bytes, now_ns: int) -> None:
        self._unread = (self._unread + data)[-MAX_UNREAD_BYTES:]
        while not self._greeting and len(self._unread) >= protocol.ERROR_BYTES:
            word = protocol.decode_word(self._unread[: protocol.ERROR_BYTES])
            self._unread = self._unread[protocol.ERROR_BYTES :]
            if not self._unanswered or word & ~protocol.ERROR_BITS:
                self._bad_packets += 1  # not an answer to us: begin anew, or every later answer is misread
                self._greet(now_ns)
            else:
                self._note_answer(self._unanswered.popleft(), word, now_ns)

    def _note_answer(self, sent: _Sent, errors: int, now_ns: int) -> None:
        if errors:
            # All channels have gone home, and the next target would drive again: not before a disarm.
            self._errors = errors
            self._must_disarm = True
            self._acked = sent._replace(armed=False)
        else:
            self._acked = sent
            if not sent.armed and not self._must_disarm:
                self._errors = 0
        neutral = not errors and sent.throttle_us == self._outputs.neutral_us
        self._note_acknowledged(sent.sent_ns, now_ns, neutral=neutral)

    # --- the handshake ---

    def _begin_handshake(self, now_ns: int) -> None:
        self._must_disarm = True
        self._unanswered.clear()
        self._unread = b""
        self._handshake = introduction(self._outputs)
        self._ask_now(next(self._handshake), now_ns)

    def _ask_now(self, ask: Ask, now_ns: int) -> None:
        self._ask = ask
        self._ask_next_ns = now_ns + int(ask.pause_s * 1e9)
        self._ask_deadline_ns = now_ns + int((ask.pause_s + REPLY_S) * 1e9)
        self._send(ask.frame, now_ns)

    def _shake_hands(self, now_ns: int) -> None:
        """Go on with the introduction as far as replies allow; begin anew when one does not come."""
        while self._handshake is not None:
            answered = len(self._unread) >= self._ask.reply_bytes
            if not answered and now_ns >= self._ask_deadline_ns:
                self._begin_handshake(now_ns)
                return
            if not answered or now_ns < self._ask_next_ns:
                return
            self._next_step(self._handshake, now_ns)

    def _next_step(self, handshake: Generator[Ask, bytes, str], now_ns: int) -> None:
        try:
            ask = handshake.send(self._next_reply(self._ask))
        except StopIteration as end:
            self._config_problem = end.value
            self._finish_handshake()
        else:
            self._ask_now(ask, now_ns)

    def _next_reply(self, ask: Ask) -> bytes:
        reply, self._unread = self._unread[: ask.reply_bytes], self._unread[ask.reply_bytes :]
        return reply

    def _finish_handshake(self) -> None:
        self._handshake = None
        self._errors = 0
        self._unread = b""
        number = "" if self._identity == self._path else f" {self._identity}"
        self._identify(f"{self.KIND}{number}, {self._path}")

    def _silence(self) -> str:
        return (
            f"{self._path} sent {self._greeting_bytes} bytes in {HANDSHAKE_S} s, not the pulse of throttle "
            f"channel {self._throttle_channel}; {CONTROL_CENTER} and the channel's mode Servo, "
            "and name the command port (-if00)"
        )

    # --- the failsafe ---

    def _look_for_proof(self) -> str:
        """Return why arming is refused, as a sentence, or nothing."""
        proof = load_proof(self._proofs, self._identity)
        if proof is None:
            return (
                f"the failsafe of Maestro {self._identity} was never proved, and without it a dead "
                "computer's car drives on; put the car on a stand and run `lapwing board prove`"
            )
        neutral_us = self._outputs.neutral_us
        if not proof.covers(neutral_us, self._steering_channel, self._throttle_channel):
            return (
                f"the failsafe of Maestro {self._identity} was proved at {proof.neutral_us:g} us on channel "
                f"{proof.throttle_channel}, this car's neutral is {neutral_us:g} us on channel "
                f"{self._throttle_channel}; put the car on a stand and run `lapwing board prove` again"
            )
        return ""

    def _hold_dialogue(self, dialogue: Generator[Ask, bytes, None]) -> None:
        """Hold a dialogue to its end, outside the loop."""
        ask = next(dialogue)
        while True:
            try:
                ask = dialogue.send(self._converse(ask))
            except StopIteration:
                return

    def _converse(self, ask: Ask) -> bytes:
        """Ask, wait for the answer and the pause, and return it; BoardSilentError when it does not come."""
        if self._port is not None:
            self._send(ask.frame, self._now_ns())
        reply = self._wait_for_reply(ask)
        self._sleep(ask.pause_s)
        if ask.reply_bytes == 0 and self._port is not None:  # what has come answers older questions
            self._read(self._now_ns())
            self._unread = b""
        return reply

    def _wait_for_reply(self, ask: Ask) -> bytes:
        if ask.reply_bytes == 0:
            return b""
        deadline_ns = self._now_ns() + int(REPLY_S * 1e9)
        while self._port is not None and self._now_ns() < deadline_ns:
            self._pause()
            self._unread += self._read(self._now_ns())
            if len(self._unread) >= ask.reply_bytes:
                return self._next_reply(ask)
        raise BoardSilentError(
            self._lost_problem
            or f"{self._path} did not answer within {REPLY_S} s; check its cable, then prove it again"
        )

    def _sleep(self, seconds: float) -> None:
        """Let this much time pass, outside the loop."""
        until_ns = self._now_ns() + int(seconds * 1e9)
        while (left_s := (until_ns - self._now_ns()) / 1e9) > 0.0:
            if self._wait is not None:
                self._wait(min(left_s, WAIT_S))
            else:
                time.sleep(left_s)

    # --- what is said of it ---

    def _board_status(self) -> BoardStatus:
        acked = self._acked
        refused = self._proof_problem or self._config_problem or self._errors
        return BoardStatus(
            connected=self._connected,
            received_ns=self._received_ns,
            acked_sent_ns=self._acked_sent_ns,
            acked_armed=acked is not None and acked.armed,
            applied_steering_us=acked.steering_us if acked is not None else 0.0,
            applied_throttle_us=acked.throttle_us if acked is not None else 0.0,
            neutral_acked_since_ns=self._neutral.since_ns,
            boots=self._boots,
            watchdog_tripped=bool(self._errors & protocol.ERROR_TIMEOUT),
            bad_packets=self._bad_packets,
            ready_to_arm=self._connected and not self._greeting and not refused,
            problem=self._problem(),
        )

    def _protocol_problem(self) -> str:
        if self._errors:
            return (
                f"the Maestro saw {protocol.error_sentence(self._errors)} and has stopped the car; "
                "check its cable, then disarm and start again"
            )
        return self._config_problem or self._proof_problem or self._write_problem
