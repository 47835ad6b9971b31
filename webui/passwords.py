"""Passwords: hashed slowly, verified one at a time, so that guessing cannot eat the car's memory."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from webui.access_store import AccessError

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
        self._turn = threading.Lock()

    def hash(self, password: str) -> str:
        """Return what is kept of a password; raises PasswordError for one that is too short or too long."""
        if not LENGTH_MIN <= len(password) <= LENGTH_MAX:
            raise PasswordError(
                f"the password has {len(password)} characters, allowed {LENGTH_MIN} to {LENGTH_MAX}; "
                "choose another"
            )
        with self._one_at_a_time():
            return self._hasher.hash(password)

    def is_right(self, password: str, kept: str) -> bool:
        """Whether this is the password that `kept` was made of."""
        if not kept or len(password) > LENGTH_MAX:
            return False
        with self._one_at_a_time():
            try:
                return self._hasher.verify(kept, password)
            except (VerificationError, InvalidHashError):
                return False

    @contextmanager
    def _one_at_a_time(self) -> Iterator[None]:
        if not self._places.acquire(blocking=False):
            raise BusyError("several passwords are being tried at this moment; try again in a second")
        try:
            with self._turn:
                yield
        finally:
            self._places.release()
