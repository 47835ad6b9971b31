"""Passwords: slow to guess by their hash, and one at a time, so that guessing cannot eat the memory."""

import threading
import time

import pytest

from webui.passwords import LENGTH_MAX, LENGTH_MIN, WAITING_LIMIT, BusyError, PasswordError, Passwords


def test_what_is_kept_costs_19_mib_a_guess_and_tells_nothing() -> None:
    passwords = Passwords()
    kept = passwords.hash("correct horse")
    assert kept.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert passwords.hash("correct horse") != kept
    assert passwords.is_right("correct horse", kept)
    assert not passwords.is_right("correct horsf", kept)


@pytest.mark.parametrize("kept", ["", "nonsense", "$argon2id$v=19$m=19456,t=2,p=1$AA$AA"])
def test_nothing_opens_what_is_no_hash(kept: str) -> None:
    assert not Passwords().is_right("", kept)
    assert not Passwords().is_right("a password", kept)


@pytest.mark.parametrize("length", [0, LENGTH_MIN - 1, LENGTH_MAX + 1])
def test_a_password_of_the_wrong_length_is_refused(length: int) -> None:
    with pytest.raises(PasswordError, match=f"has {length} characters, allowed {LENGTH_MIN} to {LENGTH_MAX}"):
        Passwords().hash("x" * length)


def test_one_is_tried_at_a_time_a_few_wait_and_more_are_told_to_come_again() -> None:
    passwords = Passwords()
    inside, most, goes_on = [0], [0], threading.Event()
    lock = threading.Lock()

    class SlowHasher:
        def verify(self, kept: str, password: str) -> bool:
            with lock:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
            assert goes_on.wait(10.0)
            with lock:
                inside[0] -= 1
            return True

    passwords._hasher = SlowHasher()  # type: ignore[assignment]
    threads = [
        threading.Thread(target=passwords.is_right, args=("a guess", "kept")) for _ in range(WAITING_LIMIT)
    ]
    for thread in threads:
        thread.start()
    deadline_s = time.monotonic() + 10.0
    while passwords._places._value and time.monotonic() < deadline_s:
        time.sleep(0.001)
    with pytest.raises(BusyError, match="try again in a second"):
        passwords.is_right("a guess", "kept")
    goes_on.set()
    for thread in threads:
        thread.join()
    assert most == [1]
    assert passwords.is_right("a guess", "kept")
