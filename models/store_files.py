"""Files of the store: written whole or not at all, and on the disk before anybody relies on them."""

import contextlib
import errno
import os
import shutil
from pathlib import Path

from models.errors import PolicyError

FULL_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT})


class StoreError(PolicyError):
    """The place where policies are kept cannot be used."""


class StoreFullError(StoreError):
    """There is no room for an upload."""


def as_store_error(what: str, error: OSError) -> StoreError:
    """Return the system's error as a sentence that says what to do."""
    if error.errno in FULL_ERRORS:
        return StoreFullError(f"{what}: the disk is full; remove policies or recordings, then try again")
    place = f" at {error.filename}" if error.filename else ""
    return StoreError(f"{what} ({error.strerror or error}{place}); check the folder's permissions")


def write_atomically(path: Path, data: bytes) -> None:
    """Replace the file's content: after a kill or a power cut it is the old or the new, whole."""
    temporary = path.with_name(f"{path.name}.tmp")  # one name: what a kill leaves behind is overwritten
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Make what was made or renamed in this directory survive a power cut."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Make every file of a folder survive a power cut,."""
    for path in folder.iterdir():
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    sync_directory(folder)


def remove_tree(folder: Path) -> None:
    """Remove a folder and everything in it, without following links; what cannot be removed stays."""
    shutil.rmtree(folder, ignore_errors=True)
