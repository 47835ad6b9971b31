"""A file system that does not answer, or is full: `python -m tests.hil.blocked_disk FLAG COMMAND...`.

While the file FLAG is there, whatever the command and its children want to change on a disk hangs: opening
to write, writing, fsync, renaming. Where FLAG says `full`, what needs room fails with ENOSPC in its place.
The kernel holds the calling thread at the system call (seccomp's user notification) until a helper answers,
so that nothing in Python is told apart or replaced. Emulated hardware stays as it is. FLAG.seen tells the
command lines of whom was held or refused.
"""

import contextlib
import ctypes
import errno
import fcntl
import os
import platform
import select
import socket
import struct
import subprocess
import sys
from pathlib import Path

SECCOMP, SET_MODE_FILTER, NEW_LISTENER, NO_NEW_PRIVS = 317, 1, 8, 38
RECEIVE, SEND, CONTINUE = 0xC0502100, 0xC0182101, 1
ALLOW, NOTIFY = 0x7FFF0000, 0x7FC00000
NUMBER, ARCHITECTURE, THIRD_ARGUMENT, X86_64 = 0, 4, 32, 0xC000003E
LOAD, JUMP_EQUAL, JUMP_GREATER, JUMP_ANY_BIT, RETURN = 0x20, 0x15, 0x25, 0x45, 0x06

WRITE, OPENAT = 1, 257
SHORT_BYTES = 64
"""Shorter writes are commands to a board and signals between threads, not files; they are left alone."""
TO_WRITE = os.O_WRONLY | os.O_RDWR | os.O_CREAT
ON_DESCRIPTORS = frozenset({WRITE, 18, 20, 74, 75, 77, 285, 296})
"""write pwrite64 writev fsync fdatasync ftruncate fallocate pwritev"""
ON_PATHS = frozenset({76, 82, 83, 84, 85, 86, 87, 258, 263, 264, 265, 316})
"""truncate rename mkdir rmdir creat link unlink mkdirat unlinkat renameat linkat renameat2"""
NEED_ROOM = frozenset({WRITE, 18, 20, 83, 258, 285, 296})
"""write pwrite64 writev mkdir mkdirat fallocate pwritev"""
FULL = "full"
LOOK_EVERY_MS = 20


class UnblockableError(Exception):
    """This system does not let a process hold another's system calls."""


def program() -> bytes:
    """Return the filter: what may change a file is asked for, all else passes."""
    others = sorted((ON_DESCRIPTORS | ON_PATHS) - {WRITE})
    steps = [(LOAD, 0, 0, ARCHITECTURE), (JUMP_EQUAL, 1, 0, X86_64), (RETURN, 0, 0, ALLOW)]
    steps += [(LOAD, 0, 0, NUMBER)]
    steps += [(JUMP_EQUAL, 0, 3, WRITE), (LOAD, 0, 0, THIRD_ARGUMENT)]
    steps += [(JUMP_GREATER, 0, 1, SHORT_BYTES), (RETURN, 0, 0, NOTIFY)]
    steps += [(LOAD, 0, 0, NUMBER), (JUMP_EQUAL, 0, 3, OPENAT), (LOAD, 0, 0, THIRD_ARGUMENT)]
    steps += [(JUMP_ANY_BIT, 0, 1, TO_WRITE), (RETURN, 0, 0, NOTIFY)]
    steps += [(LOAD, 0, 0, NUMBER)]
    for left, number in zip(range(len(others) - 1, -1, -1), others, strict=True):
        steps.append((JUMP_EQUAL, left + 1, 0, number))
    steps += [(RETURN, 0, 0, ALLOW), (RETURN, 0, 0, NOTIFY)]
    return b"".join(struct.pack("<HBBI", *step) for step in steps)


def hold_from_now_on() -> int:
    """Put this process and its children to come under the filter; return what tells of their calls."""
    if platform.machine() != "x86_64":
        raise UnblockableError("the numbers of system calls are known for x86-64 alone")
    libc = ctypes.CDLL(None, use_errno=True)
    code = ctypes.create_string_buffer(program())
    length = (len(code) - 1) // 8
    whole = ctypes.create_string_buffer(struct.pack("<HxxxxxxQ", length, ctypes.addressof(code)))
    libc.prctl(NO_NEW_PRIVS, 1, 0, 0, 0)
    listener = int(libc.syscall(SECCOMP, SET_MODE_FILTER, NEW_LISTENER, whole))
    if listener < 0:
        raise UnblockableError(f"seccomp is not permitted here: {os.strerror(ctypes.get_errno())}")
    return listener


def why_unblockable() -> str:
    """Return why nothing can be held here, or an empty string; tried in a process of its own."""
    try_it = "from tests.hil.blocked_disk import hold_from_now_on as hold; hold()"
    tried = subprocess.run([sys.executable, "-c", try_it], capture_output=True, text=True, check=False)
    return "" if tried.returncode == 0 else tried.stderr.strip().splitlines()[-1]


class Holder:
    """Decides, in a process of its own, who waits."""

    def __init__(self, listener: int, flag: Path) -> None:
        self._listener = listener
        self._flag = flag
        self._held: list[int] = []
        self._seen: set[str] = set()

    def serve(self) -> None:
        """Answer until nobody is left to ask."""
        waiting = select.poll()
        waiting.register(self._listener, select.POLLIN)
        while True:
            for _, events in waiting.poll(LOOK_EVERY_MS):
                if events & select.POLLHUP:
                    return
                self._receive()
            if not self._flag.exists():
                held, self._held = self._held, []
                for call in held:
                    self._let_go(call)

    def _receive(self) -> None:
        call = bytearray(80)
        try:
            fcntl.ioctl(self._listener, RECEIVE, call)
        except OSError as error:
            if error.errno in {errno.ENOENT, errno.EINTR}:  # it was killed meanwhile
                return
            raise
        number, pid, _, system_call = struct.unpack_from("<QIIi", call)
        arguments = struct.unpack_from("<6Q", call, 32)
        if not self._flag.exists() or not self._is_held(pid, system_call, arguments):
            self._let_go(number)
        elif self._flag.read_text() != FULL:
            self._held.append(number)
        elif system_call in NEED_ROOM:
            self._answer(number, -errno.ENOSPC, 0)
        else:
            self._let_go(number)

    def _is_held(self, pid: int, system_call: int, arguments: tuple[int, ...]) -> bool:
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
            if any(word.startswith("vehicle.hil.") for word in words):
                return False
            if system_call in ON_DESCRIPTORS and not Path(f"/proc/{pid}/fd/{arguments[0]}").is_file():
                return False
            if system_call == OPENAT and self._path(pid, arguments[1]).startswith(("/dev/", "/proc/")):
                return False
            self._seen.add(" ".join(words).strip())
            self._flag.with_suffix(".seen").write_text("\n".join(sorted(self._seen)))
            return True
        return False

    def _path(self, pid: int, address: int) -> str:
        with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
            memory.seek(address)
            return memory.read(256).split(b"\0")[0].decode(errors="replace")

    def _let_go(self, number: int) -> None:
        self._answer(number, 0, CONTINUE)

    def _answer(self, number: int, error: int, flags: int) -> None:
        with contextlib.suppress(OSError):  # it was killed meanwhile
            fcntl.ioctl(self._listener, SEND, struct.pack("<QqiI", number, 0, error, flags))


def main() -> None:
    """Become the command, under the filter, with a helper beside it."""
    flag, *command = sys.argv[1:]
    ours, helpers = socket.socketpair()
    if os.fork() == 0:
        ours.close()
        # It outlives its parent: whoever is left behind still needs answers, and the last one ends it.
        _, descriptors, *_ = socket.recv_fds(helpers, 1, 1)
        helpers.send(b"!")
        Holder(descriptors[0], Path(flag)).serve()
        os._exit(0)
    listener = hold_from_now_on()
    socket.send_fds(ours, [b"!"], [listener])
    ours.recv(1)
    os.close(listener)
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
