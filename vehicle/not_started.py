"""Why a start that was answered with yes came to nothing in the same tick, for whoever asked for it."""

from collections.abc import Callable

from vehicle.messages import DriveState

SHOWN_S = 10.0
TAKEN_BACK = "In the same moment somebody stopped the car or gave it away. Look, then start again."


class NotStarted:
    """Remembers a start from its answer until it is seen what became of it, and the reason for a while."""

    def __init__(self) -> None:
        self.reason = ""
        """In words; empty where there is nothing to tell."""
        self._asked: DriveState | None = None
        self._since_ns = 0

    def ask(self, target: DriveState | None) -> None:
        """Take note of a start that has just been answered with yes."""
        self._asked = target

    def judge(self, state: DriveState, why_not: Callable[[DriveState], tuple[str, ...]], now_ns: int) -> None:
        """Look at the drive state that this tick's requests and faults have led to."""
        target, self._asked = self._asked, None
        if state is not DriveState.DISARMED:
            self.reason = ""
        elif target is not None:
            self.reason, self._since_ns = " ".join(why_not(target)) or TAKEN_BACK, now_ns
        elif now_ns - self._since_ns > SHOWN_S * 1e9:
            self.reason = ""
