"""What is said to a Maestro at length, step by step: its introduction, and the trial of its failsafe.

A dialogue is a generator: it yields what to send, is given the answer, and opens no port itself.
"""

from collections.abc import Callable, Generator
from typing import NamedTuple

from vehicle.board import maestro_protocol as protocol
from vehicle.errors import BoardConfigError

SETTLE_S = 0.040  # two pulse periods
FAILSAFE_TIMEOUT_S = 0.18  # what the owner is told to set as the Maestro's serial timeout
SILENCE_S = 0.21  # must be enough for it to stop by itself
SILENCE_TOO_LONG_S = 0.24  # then this computer was late, and a longer timeout could pass
SILENCE_ATTEMPTS = 5
PROOF_OFFSET_US = 4.0  # inside any ESC's dead band, and far above the Maestro's resolution of 0.25 us

CONTROL_CENTER = (
    "in Pololu's Maestro Control Center set serial mode USB Dual Port, CRC enabled, "
    f"timeout {FAILSAFE_TIMEOUT_S:.2f} s"
)


class Ask(NamedTuple):
    """One step of a dialogue."""

    frame: bytes
    reply_bytes: int
    """How much answers it."""
    pause_s: float = 0.0
    """Before the next step."""


class Outputs(NamedTuple):
    """Which channels drive the car, and where they rest."""

    steering_channel: int
    throttle_channel: int
    center_us: float
    neutral_us: float

    def targets(self, steering_us: float, throttle_us: float) -> bytes:
        """Return both targets; a Micro knows no joint command."""
        steering = protocol.encode_set_target(self.steering_channel, steering_us)
        return steering + protocol.encode_set_target(self.throttle_channel, throttle_us)

    def frame(self, steering_us: float, throttle_us: float) -> bytes:
        """Return both targets and the question that acknowledges them; before them, the end of any script.

        One that somebody started meanwhile would move the throttle between two ticks.
        """
        targets = self.targets(steering_us, throttle_us)
        return protocol.encode_stop_script() + targets + protocol.encode_get_errors()

    def rest_frame(self) -> bytes:
        """Return the frame that stops the car."""
        return self.frame(self.center_us, self.neutral_us)


def introduction(outputs: Outputs) -> Generator[Ask, bytes, str]:
    """Take the Maestro over and look at its settings; return which of them forbids arming, as a sentence."""
    channels = (outputs.steering_channel, outputs.throttle_channel)
    without_limits = b"".join(
        protocol.encode_set_speed(channel, 0) + protocol.encode_set_acceleration(channel, 0)
        for channel in channels
    )
    at_rest = outputs.targets(outputs.center_us, outputs.neutral_us)
    yield Ask(protocol.encode_stop_script() + without_limits + at_rest, 0, pause_s=SETTLE_S)

    # No error word is as large as a pulse: everything before it was the answer to older questions,
    # and would otherwise acknowledge commands that are still on their way.
    reply = yield _ask_position(outputs)
    while protocol.decode_word(reply) <= protocol.ERROR_BITS:
        reply = yield Ask(b"", protocol.POSITION_BYTES)
    position = protocol.decode_word(reply)

    yield _ask_errors()  # clears what was before our time
    reply = yield Ask(outputs.rest_frame(), protocol.ERROR_BYTES)
    return _judge_settings(outputs, protocol.decode_word(reply), position)


def failsafe_trial(outputs: Outputs, now_ns: Callable[[], int]) -> Generator[Ask, bytes, None]:
    """See it refuse a wrong CRC and stop by itself; BoardConfigError says which setting is wrong."""
    yield from _see_it_refuse_a_wrong_crc(outputs)
    for _ in range(SILENCE_ATTEMPTS):
        if (yield from _see_it_stop(outputs, now_ns)):
            return
    raise BoardConfigError(
        f"this computer was too busy to be silent for {SILENCE_S} s sharp in {SILENCE_ATTEMPTS} "
        "attempts; stop other work and prove the failsafe again"
    )


def _ask_position(outputs: Outputs) -> Ask:
    return Ask(protocol.encode_get_position(outputs.throttle_channel), protocol.POSITION_BYTES)


def _ask_errors() -> Ask:
    return Ask(protocol.encode_get_errors(), protocol.ERROR_BYTES)


def _settle() -> Ask:
    """Let outstanding answers come in, so that the next bytes answer the next question."""
    return Ask(b"", 0, pause_s=SETTLE_S)


def _judge_settings(outputs: Outputs, errors: int, position: int) -> str:
    if errors:
        return (
            f"the Maestro reports {protocol.error_sentence(errors) or hex(errors)} in answer to correct "
            f"commands; {CONTROL_CENTER}"
        )
    if position != protocol.quarters(outputs.neutral_us):
        return (
            f"the Maestro's channel {outputs.throttle_channel} gives {position / 4:g} us when asked for "
            f"{outputs.neutral_us:g}; in Pololu's Maestro Control Center set the channel's mode to Servo "
            "and its min and max beyond this car's pulses"
        )
    return ""


def _see_it_refuse_a_wrong_crc(outputs: Outputs) -> Generator[Ask, bytes, None]:
    """Without CRC a disturbed target would be driven with."""
    yield _settle()
    frame = protocol.encode_set_target(outputs.throttle_channel, outputs.neutral_us)
    disturbed = frame[:-1] + bytes([frame[-1] ^ 1])
    errors = protocol.decode_word((yield Ask(disturbed + protocol.encode_get_errors(), protocol.ERROR_BYTES)))
    if not errors & protocol.ERROR_CRC:
        raise BoardConfigError(f"the Maestro takes commands with a wrong CRC; {CONTROL_CENTER}")


def _see_it_stop(outputs: Outputs, now_ns: Callable[[], int]) -> Generator[Ask, bytes, bool]:
    """Leave neutral by a hair and go silent; return False when the silence was too long to prove anything."""
    beside_us = outputs.neutral_us + PROOF_OFFSET_US
    yield _settle()
    yield _ask_errors()
    leave_neutral = Ask(outputs.frame(outputs.center_us, beside_us), protocol.ERROR_BYTES, pause_s=SETTLE_S)
    errors = protocol.decode_word((yield leave_neutral))
    if errors:
        seen = protocol.error_sentence(errors)
        raise BoardConfigError(f"the Maestro reports {seen}, allowed is no error; {CONTROL_CENTER}")

    silent_ns = now_ns()
    position = protocol.decode_word((yield _ask_position(outputs)))
    if position != protocol.quarters(beside_us):
        raise BoardConfigError(
            f"throttle channel {outputs.throttle_channel} gives {position / 4:g} us when asked for "
            f"{beside_us:g}; in Pololu's Maestro Control Center set its mode to Servo and its min "
            "and max beyond this car's pulses"
        )
    yield Ask(b"", 0, pause_s=SILENCE_S - (now_ns() - silent_ns) / 1e9)
    silence_s = (now_ns() - silent_ns) / 1e9

    errors = protocol.decode_word((yield _ask_errors()))
    position = protocol.decode_word((yield _ask_position(outputs)))
    if silence_s > SILENCE_TOO_LONG_S:
        return False
    _judge_stop(outputs, errors, position, protocol.quarters(beside_us))
    return True


def _judge_stop(outputs: Outputs, errors: int, position: int, last: int) -> None:
    if not errors & protocol.ERROR_TIMEOUT:
        raise BoardConfigError(
            f"the Maestro did not notice {SILENCE_S} s of silence, so a dead computer's car would drive "
            f"on; {CONTROL_CENTER}"
        )
    if position == protocol.quarters(outputs.neutral_us):
        return
    seen = {0: "stopped its pulses (Off)", last: "kept the last pulse (Ignore)"}.get(
        position, f"went to {position / 4:g} us"
    )
    raise BoardConfigError(
        f"after silence throttle channel {outputs.throttle_channel} {seen}, allowed is this car's neutral "
        f"of {outputs.neutral_us:g} us; in Pololu's Maestro Control Center set its 'On startup or error' "
        f"to Go to {outputs.neutral_us:g}"
    )
