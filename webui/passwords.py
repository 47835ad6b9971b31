"""Passwords: hashed slowly, verified one at a time, so that guessing cannot eat the car's memory."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from webui.access_store import AccessError

T = TypeVar("T")
MEMORY_KIB = 19 * 1024  # with two passes, what OWASP asks of argon2id at least
PASSES = 2
LENGTH_MIN = 8
LENGTH_MAX = 256  # longer ones are hashed just as well, but nobody types them
WAITING_LIMIT = 4  # of the server's threads; whoever comes then is told to try again


class PasswordError(AccessError):
    """The password cannot be used."""


class BusyError(AccessError):
    """Too many passwords are being tried at the moment."""


class Passwords:
    """Hashes and verifies, one at a time. Safe in any thread."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher(time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=1)
        self._places = threading.BoundedSemaphore(WAITING_LIMIT)
        # One thread, not a lock: every thread that has verified would keep its 19 MiB for the next time [M].
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="passwords")

    def hash(self, password: str) -> str:
        """Return what is kept of a password; raises PasswordError for one that is too short or too long."""
        if not LENGTH_MIN <= len(password) <= LENGTH_MAX:
            raise PasswordError(
                f"the password has {len(password)} characters, allowed {LENGTH_MIN} to {LENGTH_MAX}; "
                "choose another"
            )
        return self._in_turn(lambda: self._hasher.hash(password))

    def is_right(self, password: str, kept: str) -> bool:
        """Whether this is the password that `kept` was made of."""
        if not kept or len(password) > LENGTH_MAX:
            return False
        return self._in_turn(lambda: self._verify(password, kept))

    def _verify(self, password: str, kept: str) -> bool:
        try:
            return self._hasher.verify(kept, password)
        except (VerificationError, InvalidHashError):
            return False

    def _in_turn(self, work: Callable[[], T]) -> T:
        if not self._places.acquire(blocking=False):
            raise BusyError("several passwords are being tried at this moment; try again in a second")
        try:
            return self._thread.submit(work).result()
        finally:
            self._places.release()
