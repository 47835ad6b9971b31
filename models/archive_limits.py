"""What an upload may cost, and what every reader of archives shares: names, chunks, refusals, cancelling."""

import contextlib
import errno
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn, Protocol, Self

import msgspec

from models.errors import PolicyError
from models.field_checks import refuse, shown

CHUNK_BYTES = 1 << 20
ACCEPTED = ".tar.gz, .tgz, .tar or .zip with the network and its model_metadata.json, or a bare .onnx"

Cancelled = Callable[[], bool]
Sink = Callable[[bytes], object]
"""Takes the next chunk of one member."""


class Limits(msgspec.Struct, frozen=True):
    """The largest upload that is looked at; a real one has a handful of files and 12 to 230 MB."""

    packed_bytes: int = 300_000_000
    unpacked_bytes: int = 1_000_000_000
    members: int = 2000
    ratio: float = 100.0
    """Unpacked by packed size; trained weights reach 1.1, log files 20."""
    ratio_free_bytes: int = 16_000_000
    """What may be unpacked whatever the ratio: a small file of zeros is no attack."""


class UnpackCancelledError(PolicyError):
    """The owner cancelled the upload while it was unpacked."""

    def __init__(self) -> None:
        super().__init__("unpacking was cancelled; nothing of it was kept")


class Member(msgspec.Struct, frozen=True):
    """One ordinary file of an archive."""

    index: int
    """Position in the archive, links and folders counted."""
    name: str
    """Parts joined by /, none of them empty, `.` or `..`."""
    size_bytes: int

    @property
    def folder(self) -> str:
        """Where it lies in the archive; empty at the top."""
        return self.name.rpartition("/")[0]

    @property
    def base(self) -> str:
        """Its own name."""
        return self.name.rpartition("/")[2]


class ArchiveReader(Protocol):
    """One opened archive."""

    def members(self) -> list[Member]:
        """Return its ordinary files, all checked; raises PolicyError."""

    def extract(self, sinks: dict[int, Sink]) -> None:
        """Hand the bytes of the members with these positions to their sinks; raises PolicyError."""


class Meter:
    """Counts what is unpacked and stops it at the limits, or when the owner cancels."""

    def __init__(self, limits: Limits, packed_bytes: int, cancelled: Cancelled) -> None:
        self.limits = limits
        self._packed_bytes = packed_bytes
        self._cancelled = cancelled

    def poll(self) -> None:
        """Raise UnpackCancelledError once the owner wants no more."""
        if self._cancelled():
            raise UnpackCancelledError

    def check_members(self, count: int) -> None:
        """Refuse more members than any policy has."""
        if count > self.limits.members:
            refuse(
                f"the archive has more than {self.limits.members} members",
                "a policy has a handful",
                "pack the network and its model_metadata.json alone",
            )

    def check_unpacked(self, unpacked_bytes: int) -> None:
        """Refuse an archive that unpacks to too much, or to too many times its own size."""
        if unpacked_bytes > self.limits.unpacked_bytes:
            refuse(
                f"the archive unpacks to more than {megabytes(self.limits.unpacked_bytes)}",
                "the largest DeepRacer network has 230 MB",
                "pack the network and its model_metadata.json alone",
            )
        allowed = max(self.limits.ratio * self._packed_bytes, self.limits.ratio_free_bytes)
        if unpacked_bytes > allowed:
            refuse(
                f"the archive unpacks to more than {self.limits.ratio:g} times its own size",
                "trained weights hardly shrink when packed",
                "check that it is the archive of a policy",
            )


class NewFile:
    """A file that is written for the first time, chunk by chunk; a full disk is told in words."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size_bytes = 0
        with told_of_the_disk(path):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            self._file = open(os.open(path, flags, 0o644), "wb", buffering=0)  # noqa: SIM115 - closed by __exit__

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the descriptor back."""
        self._file.close()

    def write(self, chunk: bytes) -> None:
        """Append the chunk."""
        rest = memoryview(chunk)
        with told_of_the_disk(self.path):
            while rest:
                rest = rest[self._file.write(rest) :]
        self.size_bytes += len(chunk)


@contextlib.contextmanager
def told_of_the_disk(path: Path) -> Iterator[None]:
    """Turn what the operating system refuses while writing into a sentence."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise PolicyError(
                "the disk is full; the upload needs up to four times its size while it is checked; "
                "remove policies or recordings"
            ) from error
        if error.errno == errno.EFBIG:
            raise PolicyError(
                "the archive unpacks to more than this process may write; use a smaller one"
            ) from error
        raise PolicyError(
            f"{path.name} cannot be written ({error.strerror}); check the folder {path.parent}"
        ) from error


def copied(read: Callable[[int], bytes], sink: Sink, meter: Meter) -> int:
    """Hand everything that can be read to the sink; return how many bytes that were."""
    total = 0
    while chunk := read(CHUNK_BYTES):
        meter.poll()
        sink(chunk)
        total += len(chunk)
    return total


def safe_name(raw: str) -> str:
    """Return a member's name with its parts joined by /; raises PolicyError if it leaves the archive."""
    name = raw.replace("\\", "/")  # as Windows packs
    parts = name.split("/")
    if name.startswith("/") or re.match(r"[A-Za-z]:/", name) or ".." in parts or "\0" in name:
        refuse(
            f"the archive has a member named {shown(raw)}",
            "every member must stay inside the archive's own folder",
            "pack it again without absolute paths and without ..",
        )
    return "/".join(part for part in parts if part not in ("", "."))


def refuse_member(raw: str, what: str) -> NoReturn:
    """Refuse the archive for a member that is no ordinary file or folder."""
    refuse(
        f"the archive has a member {shown(raw)} that is {what}",
        "a policy consists of ordinary files",
        "pack the files themselves",
    )


def refuse_damaged(what: str) -> NoReturn:
    """Refuse an archive whose bytes do not hold together."""
    refuse(
        f"the archive is damaged or cut off ({what})",
        "it must be whole",
        "download or copy it again, then upload it again",
    )


def printable(name: str) -> str:
    """Return a name that can be shown and written anywhere: what cannot be printed is escaped."""
    safe = "".join(
        character
        if character.isprintable()
        else character.encode("unicode_escape", "backslashreplace").decode()
        for character in name
    )
    return safe if len(safe) <= 200 else safe[:197] + "..."


def megabytes(size_bytes: int) -> str:
    """Return a size for people."""
    return f"{size_bytes / 1e6:.0f} MB"
