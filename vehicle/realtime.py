"""Priority, memory and garbage collection for the driving process, where the system permits it."""

import contextlib
import ctypes
import gc
import os
import re
import resource
import signal
import socket
import sys
from pathlib import Path

import msgspec

LOOP_PRIORITY = 50  # SCHED_FIFO; above the camera, so that a picture never delays a command
CAMERA_PRIORITY = 40
MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT = 1, 2, 4  # <sys/mman.h>
SWITCH_INTERVAL_S = 0.0005  # how long the camera's thread may hold the interpreter while the loop waits
PR_SET_PDEATHSIG = 1  # <sys/prctl.h>
CAP_IPC_LOCK = 14  # <linux/capability.h>; the kernel asks its holder for no limit
OWN_STATUS = Path("/proc/self/status")


class RealtimeReport(msgspec.Struct, frozen=True):
    """What the system granted."""

    fifo: bool
    memory_locked: bool
    note: str
    """What is missing and how to get it, or empty."""


def use_fifo(priority: int) -> bool:
    """Give the calling thread real-time priority; return whether the system permits it."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(priority))
    except PermissionError:
        return False
    return True


def use_normal_priority() -> None:
    """Take real-time priority from the calling thread, which may have inherited it."""
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def may_lock_memory(limit_bytes: int, status: str) -> bool:
    """Return whether a process of this limit and this /proc/PID/status may lock all memory it will ever have.

    No finite limit will do: a lock beyond it would make later allocations fail. In a user namespace the
    capability shows but counts for nothing; mlockall refuses there, since more is mapped than the limit.
    """
    if limit_bytes == resource.RLIM_INFINITY:
        return True
    effective = re.search(r"^CapEff:\s*([0-9a-f]+)$", status, re.MULTILINE)
    return effective is not None and bool(int(effective.group(1), 16) >> CAP_IPC_LOCK & 1)


def lock_memory() -> bool:
    """Keep pages in memory once they were touched, where the system allows it; return whether it does."""
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if not may_lock_memory(soft, OWN_STATUS.read_text()):
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    return int(libc.mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT)) == 0


def prepare_loop_thread() -> RealtimeReport:
    """Call last before the loop, from its thread: what was started before keeps normal priority."""
    gc.collect()
    gc.freeze()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    memory_locked = lock_memory()
    fifo = use_fifo(LOOP_PRIORITY)
    missing = []
    if not fifo:
        missing.append("real-time priority (RLIMIT_RTPRIO 50: 'rtprio 50' in /etc/security/limits.conf)")
    if not memory_locked:
        missing.append("locked memory ('memlock unlimited' in /etc/security/limits.conf)")
    note = f"running without {' and '.join(missing)}; see lapwing doctor" if missing else ""
    return RealtimeReport(fifo, memory_locked, note)


def die_with_parent(signal_number: int = signal.SIGTERM) -> None:
    """Ask the kernel for a signal when the process that started this one ends, however it ends."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal_number)


class Notifier:
    """Tells systemd, or our own supervisor, that the loop is alive (sd_notify's protocol: a datagram)."""

    PERIOD_NS = 100_000_000

    def __init__(self, address: str | None) -> None:
        self._socket: socket.socket | None = None
        self._next_ns = 0
        if address:
            path = "\0" + address[1:] if address.startswith("@") else address
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)
            with contextlib.suppress(OSError):
                self._socket.connect(path)

    def ready(self) -> None:
        """Say that the process has started."""
        self._send(b"READY=1")

    def alive(self, now_ns: int) -> None:
        """Say that a command was just written; at most ten times a second."""
        if now_ns >= self._next_ns:
            self._next_ns = now_ns + self.PERIOD_NS
            self._send(b"WATCHDOG=1")

    def close(self) -> None:
        """Close the socket; a second call does nothing."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, message: bytes) -> None:
        if self._socket is not None:
            with contextlib.suppress(
                OSError
            ):  # nobody listens: the watchdog's owner is gone, the loop is not
                self._socket.send(message)
