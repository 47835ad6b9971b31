"""Kills a process between any two of its system calls: what it leaves on the disk must be the old or the new.

Through ptrace, so that nothing in Python has to be told apart or replaced. For a process of one thread.
"""

import ctypes
import os
import platform
import shutil
import signal
import traceback
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

TRACEME, SYSCALL, SETOPTIONS, GET_SYSCALL_INFO = 0, 24, 0x4200, 0x420E  # <sys/ptrace.h>
DETACH, SEIZE, INTERRUPT = 17, 0x4206, 0x4207
ALL_THREADS = 0x40000000  # __WALL
TRACESYSGOOD, EXITKILL = 1, 0x100000
ENTRY = 1  # of a call, not its return
SYSCALL_STOP = signal.SIGTRAP | 0x80
HARMLESS = frozenset(
    # read stat fstat lstat poll lseek mmap mprotect munmap brk sigaction sigprocmask ioctl pread64 access
    {0, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16, 17, 21}
    # madvise getpid fcntl getcwd readlink getuid gettid futex getdents64 clock_gettime newfstatat getrandom
    | {28, 39, 72, 79, 89, 102, 186, 202, 217, 228, 262, 318, 332}
)
"""Calls of x86-64 that leave every file as it is; elsewhere the process is killed before each call."""
MOST_CALLS = 2000


class UntraceableError(Exception):
    """This system does not let a process trace its own child."""


class _SyscallInfo(ctypes.Structure):
    _fields_ = [
        ("op", ctypes.c_uint8),
        ("pad", ctypes.c_uint8 * 3),
        ("arch", ctypes.c_uint32),
        ("ip", ctypes.c_uint64),
        ("sp", ctypes.c_uint64),
        ("number", ctypes.c_uint64),
        ("arguments", ctypes.c_uint64 * 6),
    ]


_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.restype = ctypes.c_long
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


def killed_everywhere(old: Path, work: Path, change: Callable[[Path], object]) -> Iterator[bool]:
    """Change a copy of a folder again and again, killed one call later each time.

    Yields after each attempt, with `work` as it was left, whether the change was cut off; the last one
    gets through.
    """
    for calls in count():
        assert calls < MOST_CALLS, "it does not come to an end"
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(old, work)
        was_killed = _killed_before(calls, change, work)
        yield was_killed
        if not was_killed:
            return


def _killed_before(calls: int, change: Callable[[Path], object], work: Path) -> bool:
    """Return whether a fork that makes the change was killed after so many calls that matter."""
    pid = os.fork()
    if pid == 0:
        try:
            if _libc.ptrace(TRACEME, 0, None, None) != 0:
                os._exit(4)
            os.kill(os.getpid(), signal.SIGSTOP)
            change(work)
            os._exit(0)
        except BaseException:  # noqa: BLE001 - a fork must end here, whatever happens
            traceback.print_exc()
        finally:
            os._exit(3)
    _, status = os.waitpid(pid, 0)
    if not os.WIFSTOPPED(status) or _libc.ptrace(SETOPTIONS, pid, None, TRACESYSGOOD | EXITKILL) != 0:
        raise UntraceableError("ptrace is not permitted here")
    left = calls
    while _libc.ptrace(SYSCALL, pid, None, None) == 0:
        _, status = os.waitpid(pid, 0)
        if not os.WIFSTOPPED(status):
            assert os.waitstatus_to_exitcode(status) == 0, "the change failed, see above"
            return False
        if os.WSTOPSIG(status) != SYSCALL_STOP or not _may_change_a_file(pid):
            continue
        if left == 0:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return True
        left -= 1
    raise UntraceableError("the process was lost on the way")


def seize(thread: int) -> None:
    """Stop a thread of another process, as a debugger does; raises UntraceableError."""
    if _libc.ptrace(SEIZE, thread, None, None) != 0 or _libc.ptrace(INTERRUPT, thread, None, None) != 0:
        raise UntraceableError("ptrace is not permitted here")
    os.waitpid(thread, ALL_THREADS)


def let_go(thread: int) -> None:
    """Let a thread that was seized go on by itself."""
    _libc.ptrace(DETACH, thread, None, None)


def _may_change_a_file(pid: int) -> bool:
    info = _SyscallInfo()
    got = _libc.ptrace(GET_SYSCALL_INFO, pid, ctypes.sizeof(info), ctypes.addressof(info))
    if got <= 0:
        raise UntraceableError("this kernel does not tell system calls apart")
    if info.op != ENTRY:
        return False
    return platform.machine() != "x86_64" or info.number not in HARMLESS
