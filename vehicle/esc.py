"""What an ESC makes of a pulse beyond neutral: it brakes first, and reverses at the second pull. Pure.

No ESC says how fast the wheels turn. So this keeps a bound on it, from what was sent; while the car may still
roll forward, a pull is a brake or nothing, whatever that ESC itself would make of it.
"""

import enum

import msgspec

BRAKE_PULL_S = 0.15  # long enough for every ESC to have seen it, too short to skid
NEUTRAL_PAUSE_S = 0.10
BRAKE_SHARE = 0.2  # of full reverse: enough to count as a pull
COAST_FRAC_PER_S = (
    0.25  # of its top speed a car loses in neutral: 1.0 m/s^2 of 4 m/s; on a level floor all do
)


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
    rolling_frac: float = 0.0
    """The fastest it could be going forward at `rolling_ns`, as a share of its top speed."""
    rolling_ns: int = 0

    def rolls_frac(self, now_ns: int) -> float:
        """Return the fastest it can be going forward now; 0 once it stands, or goes backwards."""
        return max(0.0, self.rolling_frac - COAST_FRAC_PER_S * max(0, now_ns - self.rolling_ns) / 1e9)

    def sent(self, throttle_frac: float, now_ns: int) -> "EscState":
        """Return the belief after this throttle was sent, in whatever state of the car."""
        rolling_frac = max(throttle_frac, self.rolls_frac(now_ns))
        return EscState(self.phase, self.since_ns, rolling_frac, now_ns)

    def rested(self) -> "EscState":
        """Return the belief of an ESC that is at rest while the car may still roll."""
        return EscState(ReversePhase.FORWARD, 0, self.rolling_frac, self.rolling_ns)

    def turned(self, phase: ReversePhase, now_ns: int) -> "EscState":
        """Return the belief with a new phase."""
        return EscState(phase, now_ns, self.rolling_frac, self.rolling_ns)


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
        return state.turned(ReversePhase.FORWARD, now_ns), wanted_frac
    rolls = state.rolls_frac(now_ns) > 0
    if reverse_mode == "direct":
        return state.turned(ReversePhase.FORWARD, now_ns), 0.0 if rolls else wanted_frac
    if wanted_frac == 0 or reverse_mode != "double_tap":
        # Once through the brake, neutral keeps the way to reverse open.
        return state if state.phase is ReversePhase.REVERSE else state.rested(), 0.0

    in_phase_s = (now_ns - state.since_ns) / 1e9
    if state.phase is ReversePhase.FORWARD:
        return state.turned(ReversePhase.BRAKING, now_ns), -BRAKE_SHARE
    if state.phase is ReversePhase.BRAKING and in_phase_s < BRAKE_PULL_S:
        return state, -BRAKE_SHARE
    if state.phase is ReversePhase.BRAKING and rolls:
        return state, min(wanted_frac, -BRAKE_SHARE)  # one pull without an end: no ESC reverses in it
    if state.phase is ReversePhase.BRAKING:
        return state.turned(ReversePhase.PAUSING, now_ns), 0.0
    if state.phase is ReversePhase.PAUSING and in_phase_s < NEUTRAL_PAUSE_S:
        return state, 0.0
    return state.turned(ReversePhase.REVERSE, now_ns), wanted_frac
