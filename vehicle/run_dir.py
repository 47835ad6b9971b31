"""The private directory (mode 0700) of a vehicle's sockets, which one vehicle owns at a time."""

import fcntl
import os
from pathlib import Path

from vehicle.errors import VehicleBusyError

PATH_LIMIT = 80  # bytes of a socket's path; the kernel allows 107, ZeroMQ adds its own


def default_run_dir() -> Path:
    """Return where a vehicle of this user keeps its sockets unless told otherwise."""
    base = os.environ.get("XDG_RUNTIME_DIR")
    return Path(base) / "lapwing" if base else Path(f"/tmp/lapwing-{os.getuid()}")  # noqa: S108 - made 0700, owner checked


def prepare_run_dir(run_dir: Path) -> None:
    """Make the directory, private to this user.

    Raises:
        VehicleBusyError: its path is too long, or it belongs to somebody else.

    """
    length, allowed = len(os.fsencode(run_dir)), PATH_LIMIT - len("/requests")
    if length > allowed:
        raise VehicleBusyError(
            f"{run_dir} is {length} bytes long, allowed {allowed}; choose a shorter --run-dir"
        )
    run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    owner = run_dir.stat().st_uid
    if owner != os.getuid():
        raise VehicleBusyError(
            f"{run_dir} belongs to user {owner}, not to {os.getuid()}; choose another --run-dir"
        )
    run_dir.chmod(0o700)


def own_run_dir(run_dir: Path) -> int:
    """Own the directory: ZeroMQ would let two vehicles bind the same path in silence."""
    lock_fd = os.open(run_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock_fd)
        raise VehicleBusyError(
            f"another vehicle process owns {run_dir}; stop it first, or choose another --run-dir"
        ) from None
    return lock_fd
