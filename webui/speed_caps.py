"""The speed cap that was last chosen for each policy, remembered over restarts and only ever offered."""

import contextlib
import threading
from pathlib import Path

import msgspec

from models.store_files import write_atomically

REMEMBERED = 200
BYTES_LIMIT = 64 * 1024


class SpeedCaps:
    """Keeps one small file; safe in any thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._caps = _read(path)

    def of(self, policy_hash: str) -> float | None:
        """Return the share last chosen for this policy, None for one that is new."""
        with self._lock:
            return self._caps.get(policy_hash)

    def remember(self, policy_hash: str, cap_frac: float) -> None:
        """Keep a choice; one that cannot be written is kept until the server ends."""
        if not policy_hash:
            return
        with self._lock:
            self._caps.pop(policy_hash, None)
            self._caps[policy_hash] = cap_frac
            while len(self._caps) > REMEMBERED:
                del self._caps[next(iter(self._caps))]
            with contextlib.suppress(OSError):  # an offer, nothing that anybody relies on
                self._path.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(self._path, msgspec.json.encode(self._caps))


def _read(path: Path) -> dict[str, float]:
    try:
        with path.open("rb") as file:
            caps = msgspec.json.decode(file.read(BYTES_LIMIT), type=dict[str, float])
    except (OSError, msgspec.MsgspecError, UnicodeError):
        return {}
    return {policy: cap for policy, cap in caps.items() if 0.0 <= cap <= 1.0}
