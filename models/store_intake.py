"""An upload's way into the store: kept byte for byte, checked in a process of its own, then taken in."""

import contextlib
import os
import shutil
import stat
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Protocol

import msgspec

from models.archive_limits import printable
from models.bundle_files import METADATA_NAME, ORIGINAL_NAME
from models.check_process import Progress, check, no_progress
from models.check_report import CheckCancelledError, CheckReport
from models.errors import PolicyError
from models.store import Entry, Incoming, PolicyStore
from models.store_files import StoreError, as_store_error

UPLOAD_LIMIT_BYTES = 300_000_000  # packed; what it unpacks to has its own limit
UNPACKED_FACTOR = 2  # upload and bundle lie beside each other while it is checked
PIECE_BYTES = 1 << 18
SKIPPED_SUFFIXES = frozenset({".png", ".md", ".json", ".pt", ".zip"})
"""Files that `lapwing train` leaves beside a network and that are no part of the policy."""


class ByteStream(Protocol):
    """What gives an upload piece by piece."""

    def read(self, length: int, /) -> bytes:
        """Return the next piece, empty at the end; raises PolicyError where the rest will not come."""
        ...


def never() -> bool:
    """Return that nobody has cancelled."""
    return False


def receive(
    store: PolicyStore,
    incoming: Incoming,
    stream: ByteStream,
    size_bytes: int | None,
    *,
    progress: Progress = no_progress,
    cancelled: Callable[[], bool] = never,
) -> int:
    """Write a stream to the upload's place as it comes; return its length in bytes.

    Raises:
        PolicyError: it is too large, empty, ends early, does not fit on the disk, or was cancelled.

    """
    if size_bytes is not None and size_bytes > UPLOAD_LIMIT_BYTES:
        raise _too_large(size_bytes)
    store.make_room(UNPACKED_FACTOR * (size_bytes or 0))
    received = 0
    try:
        with incoming.upload.open("wb") as file:
            while piece := stream.read(PIECE_BYTES):
                received += len(piece)
                if received > UPLOAD_LIMIT_BYTES:
                    raise _too_large(received)
                if cancelled():
                    raise CheckCancelledError("the upload was cancelled; nothing of it was kept")
                file.write(piece)
                progress("uploading", received / size_bytes if size_bytes else 0.0)
    except OSError as error:
        raise as_store_error("the upload could not be kept", error) from error
    if size_bytes is not None and received != size_bytes:
        raise PolicyError(
            f"the upload ended after {received} of {size_bytes} bytes; check the network, then upload again"
        )
    if received == 0:
        raise PolicyError("the file is empty; export the policy again, then upload it")
    return received


def add_upload(
    store: PolicyStore,
    incoming: Incoming,
    *,
    name: str,
    source_name: str,
    input_range: str = "",
    progress: Progress = no_progress,
    cancelled: Callable[[], bool] = never,
    may_run: Callable[[], bool] = lambda: True,
) -> tuple[Entry, bool]:
    """Check what was received and take it in; return the policy, and whether it is new.

    Raises:
        CheckRefusedError: it cannot be used; says why and what to do.
        PolicyError: it was cancelled or does not fit on the disk. In every case nothing is left behind.

    """
    report: CheckReport = check(
        incoming.upload,
        incoming.bundle,
        name=name,
        source_name=source_name,
        lock=store.check_lock,
        input_range=input_range,
        progress=progress,
        cancelled=cancelled,
        may_run=may_run,
    )
    try:
        incoming.upload.rename(incoming.bundle / ORIGINAL_NAME)
    except OSError as error:
        raise as_store_error("the policy could not be kept", error) from error
    return store.add(report, incoming.bundle)


def add_file(
    store: PolicyStore,
    source: Path,
    *,
    name: str = "",
    input_range: str = "",
    progress: Progress = no_progress,
    cancelled: Callable[[], bool] = never,
    may_run: Callable[[], bool] = lambda: True,
) -> tuple[Entry, bool]:
    """Check a file or a bundle's folder of this computer and take a copy in; raises PolicyError.

    A folder, and an `.onnx` file with its metadata beside it, are kept as a `.tar` of what belongs to them.
    """
    with store.begin() as incoming:
        members = _members(source)
        if source.is_dir() and not members:
            raise PolicyError(
                f"{printable(str(source))} is a folder without a policy; name one with a network and its "
                f"{METADATA_NAME}, or an archive"
            )
        if members:
            store.make_room(UNPACKED_FACTOR * sum(path.stat().st_size for path in members))
            _pack(members, incoming.upload)
            source_name = f"{source.resolve().stem or 'policy'}.tar"
        else:
            with _opened(source) as file:
                size = source.stat().st_size
                receive(store, incoming, file, size, progress=progress, cancelled=cancelled)
            source_name = source.name
        return add_upload(
            store,
            incoming,
            name=name or policy_name(source_name),
            source_name=source_name,
            input_range=input_range,
            progress=progress,
            cancelled=cancelled,
            may_run=may_run,
        )


def check_shipped(
    store: PolicyStore,
    entry: Entry,
    *,
    progress: Progress = no_progress,
    cancelled: Callable[[], bool] = never,
    may_run: Callable[[], bool] = lambda: True,
) -> CheckReport:
    """Return what the check says here of a policy that ships, and keep nothing; raises PolicyError."""
    with store.begin() as incoming:
        _pack(_members(entry.folder), incoming.upload)
        report = check(
            incoming.upload,
            incoming.bundle,
            name=entry.name,
            source_name=f"{entry.name}.tar",
            lock=store.check_lock,
            progress=progress,
            cancelled=cancelled,
            may_run=may_run,
        )
    return msgspec.structs.replace(report, source_name="", source_sha256="", source_bytes=0)


def policy_name(file_name: str) -> str:
    """Return what a policy is called that came in a file of this name: the name without its endings."""
    name = file_name.replace("\\", "/").rpartition("/")[2]
    for ending in (".tar.gz", ".tgz", ".tar", ".zip", ".onnx", ".pb"):
        if name.lower().endswith(ending):
            return name[: -len(ending)]
    return name


def export_tidy(entry: Entry, out: Path) -> None:
    """Write network and metadata alone as a `.tar.gz` that any Lapwing car takes; raises PolicyError."""
    if entry.report is not None:
        paths = [entry.folder / name for name in entry.report.files]
    else:
        paths = [path for path in sorted(entry.folder.iterdir()) if path.name == METADATA_NAME]
        paths += sorted(entry.folder.glob("*.onnx"))
    _write_whole(out, lambda part: _pack(paths, part, compressed=True))


def export_original(store: PolicyStore, entry: Entry, out: Path) -> None:
    """Write the file as it was uploaded, byte for byte; raises PolicyError."""
    original = store.original(entry.key)
    _write_whole(out, lambda part: shutil.copyfile(original, part))


def _write_whole(out: Path, write: Callable[[Path], object]) -> None:
    part = out.with_name(f"{out.name}.part")
    try:
        write(part)
        part.replace(out)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise StoreError(f"{out} could not be written ({error.strerror}); choose another --out") from error


def _members(source: Path) -> list[Path]:
    """Return the files that belong to a folder's or a bare network's policy; none for an archive."""
    if source.is_dir():
        return [
            path
            for path in sorted(source.iterdir())
            if path.is_file() and (path.name == METADATA_NAME or path.suffix.lower() not in SKIPPED_SUFFIXES)
        ]
    metadata = source.with_name(METADATA_NAME)
    if source.suffix.lower() == ".onnx" and source.is_file() and metadata.is_file():
        return [source, metadata]
    return []


def _pack(paths: list[Path], out: Path, *, compressed: bool = False) -> None:
    """Write files side by side into an archive that says nothing of this computer and its users."""
    with tarfile.open(out, "w:gz" if compressed else "w", format=tarfile.PAX_FORMAT) as archive:
        for path in paths:
            member = tarfile.TarInfo(path.name)
            member.size = path.stat().st_size
            with path.open("rb") as file:
                archive.addfile(member, file)


@contextlib.contextmanager
def _opened(source: Path) -> Iterator[IO[bytes]]:
    shown = printable(str(source))
    try:
        file = os.fdopen(
            os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb"
        )  # a pipe would wait
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "its name cannot be one"
        raise PolicyError(f"{shown} cannot be read ({reason}); name a policy's archive") from error
    with file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise PolicyError(f"{shown} is not an ordinary file; name a policy's archive")
        yield file


def _too_large(size_bytes: int) -> PolicyError:
    return PolicyError(
        f"the upload has {size_bytes / 1e6:.0f} MB or more, allowed {UPLOAD_LIMIT_BYTES / 1e6:.0f} MB; "
        "upload the network and its metadata alone, without checkpoints"
    )
