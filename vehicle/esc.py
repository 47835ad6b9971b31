"""What an ESC makes of a pulse beyond neutral: it brakes first, and reverses at the second pull. Pure."""

import enum

import msgspec

BRAKE_PULL_S = 0.15  # long enough for every ESC to have seen it, too short to skid
NEUTRAL_PAUSE_S = 0.10
BRAKE_SHARE = 0.2  # of full reverse: enough to count as a pull


class ReversePhase(enum.Enum):
    """How far the double tap has come."""

    FORWARD = "forward"  # forward or neutral; the next pull brakes
    BRAKING = "braking"
    PAUSING = "pausing"  # back at neutral between the two pulls
    REVERSE = "reverse"  # the second pull: the wheels turn backwards


class EscState(msgspec.Struct, frozen=True):
    """What the ESC is believed to do."""

    phase: ReversePhase = ReversePhase.FORWARD
    since_ns: int = 0


def next_throttle(
    state: EscState, wanted_frac: float, reverse_mode: str, now_ns: int
) -> tuple[EscState, float]:
    """Return the new belief and the throttle share to send so that the car does what is wanted.

    Args:
        state: belief of the tick before.
        wanted_frac: -1 to 1, positive forward.
        reverse_mode: `none` (reverse is not there), `direct`, or `double_tap` (first pull brakes,
            back to neutral, second pull reverses).
        now_ns: start of this tick.

    """
    if wanted_frac > 0:
        return EscState(ReversePhase.FORWARD, now_ns), wanted_frac
    if reverse_mode == "direct":
        return EscState(ReversePhase.FORWARD, now_ns), wanted_frac
    if wanted_frac == 0 or reverse_mode != "double_tap":
        # Once through the brake, neutral keeps the way to reverse open.
        return state if state.phase is ReversePhase.REVERSE else EscState(), 0.0

    in_phase_s = (now_ns - state.since_ns) / 1e9
    if state.phase is ReversePhase.FORWARD:
        return EscState(ReversePhase.BRAKING, now_ns), -BRAKE_SHARE
    if state.phase is ReversePhase.BRAKING and in_phase_s < BRAKE_PULL_S:
        return state, -BRAKE_SHARE
    if state.phase is ReversePhase.BRAKING:
        return EscState(ReversePhase.PAUSING, now_ns), 0.0
    if state.phase is ReversePhase.PAUSING and in_phase_s < NEUTRAL_PAUSE_S:
        return state, 0.0
    return EscState(ReversePhase.REVERSE, now_ns), wanted_frac
