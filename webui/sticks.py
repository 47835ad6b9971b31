"""USB sticks that the system has mounted: which there are, the archives on them, and one of them opened.

Everything is opened for reading alone, one folder after the other by its descriptor: no link is followed, no
other file system entered, and what is no plain file is not opened.
"""

import contextlib
import errno
import hashlib
import os
import re
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import msgspec

from models.errors import PolicyError
from vehicle.errors import LapwingError

ENDINGS = (".tar.gz", ".tgz", ".tar", ".zip", ".onnx", ".pb")
DEEPEST = 3  # folders; an AWS stick has its archives in `models`
ENTRIES_LIMIT = 5000  # looked at on one stick
ARCHIVES_LIMIT = 200
KEPT_S = 20.0
MEDIA = ("/media/", "/run/media/")
SYSTEM_PLACES = re.compile(r"/|/(boot|efi|home|opt|srv|usr|var|etc|snap|nix)(/.*)?")
OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class StickError(LapwingError):
    """A stick, or a file on it, cannot be read; says why."""


class StickGoneError(PolicyError):
    """The stick was pulled out, or failed, while it was read."""


class Archive(msgspec.Struct, frozen=True):
    """A file on a stick that may be a policy."""

    path: str
    """From the stick's top, with slashes."""
    size_bytes: int


class Stick(msgspec.Struct, frozen=True):
    """A stick that the system has mounted."""

    id: str
    name: str
    is_read_only: bool
    """Whether the system has mounted it so; Lapwing writes nothing to it either way."""
    archives: tuple[Archive, ...] = ()
    has_more: bool = False
    """Whether there are more files than were looked at."""
    problem: str = ""


class SticksSight(msgspec.Struct, frozen=True):
    """What is plugged in."""

    sticks: tuple[Stick, ...]
    unmounted: tuple[str, ...]
    """What sticks are called that nothing has mounted."""


class _Mount(msgspec.Struct, frozen=True):
    """A line of mountinfo."""

    device: str
    """Major and minor number, such as `8:17`."""
    point: str
    is_read_only: bool
    source: str


class Sticks:
    """This computer's sticks; safe in any thread. `root` is the file system's, another one in tests."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._listed: dict[str, tuple[float, Stick]] = {}

    def look(self) -> SticksSight:
        """Return the sticks and the archives on them, those at most some seconds old."""
        mounts = self._mounts()
        with self._lock:
            found = {}
            for mount in self._of_sticks(mounts):
                key = _key(mount)
                read_s, stick = self._listed.get(key, (float("-inf"), None))
                if stick is None or time.monotonic() - read_s > KEPT_S:
                    read_s, stick = time.monotonic(), self._listing(mount, key)
                found[key] = read_s, stick
            self._listed = found
        return SticksSight(tuple(stick for _, stick in found.values()), self._unmounted(mounts))

    def open(self, stick: str, path: str) -> "StickFile":
        """Open an archive of a stick; raises StickError."""
        parts = path.split("/")
        is_plain = all(part not in {"", ".", ".."} and "\0" not in part for part in parts)
        if not is_plain or len(parts) > DEEPEST + 1 or not path.lower().endswith(ENDINGS):
            raise StickError("that is no archive on a stick; choose one of those that are shown")
        mount = next((one for one in self._of_sticks(self._mounts()) if _key(one) == stick), None)
        if mount is None:
            raise StickError("the stick is gone; plug it in again")
        try:
            return self._opened(mount, parts)
        except OSError as error:
            if error.errno in {errno.ELOOP, errno.ENOTDIR}:
                raise StickError(f"{path} is a link or lies behind one; links are not followed") from None
            raise StickError(f"{path} cannot be read ({error.strerror}); look at the stick") from None

    # --- which there are

    def _mounts(self) -> list[_Mount]:
        try:
            text = (self._root / "proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
        except OSError:
            return []
        return [mount for mount in map(_mount, text.splitlines()) if mount is not None]

    def _of_sticks(self, mounts: list[_Mount]) -> Iterator[_Mount]:
        """Yield what lies on sticks, but on none from which the computer itself has started."""
        own = {self._disk(mount.device) for mount in mounts if SYSTEM_PLACES.fullmatch(mount.point)}
        seen = set()
        for mount in mounts:
            disk = self._disk(mount.device)
            if SYSTEM_PLACES.fullmatch(mount.point) or (disk and disk in own) or mount.device in seen:
                continue
            is_in_media = mount.point.startswith(MEDIA) and mount.source.startswith("/dev/")
            if is_in_media or (disk and self._is_stick(disk)):
                seen.add(mount.device)
                yield mount

    def _disk(self, device: str) -> str:
        """Return the disk that a device lies on, such as `sda` of `8:17`; empty: it is no disk."""
        try:
            there = (self._root / "sys/dev/block" / device).resolve(strict=True)
        except OSError:
            return ""
        for folder in (there, there.parent):
            if (self._root / "sys/block" / folder.name).exists():
                return folder.name
        return ""

    def _is_stick(self, disk: str) -> bool:
        folder = self._root / "sys/block" / disk
        with contextlib.suppress(OSError):
            if (folder / "removable").read_text().strip() == "1":
                return True
            return re.search(r"/usb\d", str(folder.resolve(strict=True))) is not None
        return False

    def _unmounted(self, mounts: list[_Mount]) -> tuple[str, ...]:
        used = {self._disk(mount.device) for mount in mounts}
        names = []
        with contextlib.suppress(OSError):
            for folder in sorted((self._root / "sys/block").iterdir()):
                if folder.name in used or not self._is_stick(folder.name):
                    continue
                with contextlib.suppress(OSError, ValueError):
                    if int((folder / "size").read_text()) > 0:  # a card reader without a card is 0
                        names.append(_printable((folder / "device/model").read_text().strip()) or folder.name)
        return tuple(names)

    # --- what is on them

    def _place(self, mount: _Mount) -> Path:
        return self._root / mount.point.lstrip("/")

    def _listing(self, mount: _Mount, key: str) -> Stick:
        name = _printable(PurePosixPath(mount.point).name) or "stick"
        found: list[Archive] = []
        budget = [ENTRIES_LIMIT]
        problem = ""
        try:
            top = os.open(self._place(mount), OPEN_FOLDER)
            try:
                _gather(top, "", os.fstat(top).st_dev, found, budget)
            finally:
                os.close(top)
        except OSError as error:
            problem = f"It cannot be read ({error.strerror})."
        has_more = budget[0] <= 0 or len(found) > ARCHIVES_LIMIT
        found.sort(key=lambda archive: (archive.path.count("/"), archive.path.casefold()))
        return Stick(key, name, mount.is_read_only, tuple(found[:ARCHIVES_LIMIT]), has_more, problem)

    def _opened(self, mount: _Mount, parts: list[str]) -> "StickFile":
        folder = os.open(self._place(mount), OPEN_FOLDER)
        try:
            of_stick = os.fstat(folder).st_dev
            for part in parts[:-1]:
                inner = os.open(part, OPEN_FOLDER, dir_fd=folder)
                os.close(folder)
                folder = inner
            descriptor = os.open(parts[-1], OPEN_FILE, dir_fd=folder)
        finally:
            os.close(folder)
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_dev != of_stick:
            os.close(descriptor)
            raise StickError(f"{parts[-1]} is no plain file of this stick; choose another")
        return StickFile(descriptor, parts[-1], status.st_size)


class StickFile:
    """An open file of a stick, read from its beginning to its end once."""

    def __init__(self, descriptor: int, name: str, size_bytes: int) -> None:
        self.name = name
        self.size_bytes = size_bytes
        self._descriptor = descriptor
        self._read = 0

    def read(self, length: int = 1 << 18, /) -> bytes:
        """Return the next piece, empty at the end; raises StickGoneError."""
        try:
            piece = os.read(self._descriptor, length)
        except OSError as error:
            raise self._gone(error.strerror or str(error)) from None
        self._read += len(piece)
        if not piece and self._read < self.size_bytes:
            raise self._gone("it ended")
        return piece

    def close(self) -> None:
        """Let go of the stick; a second call does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _gone(self, why: str) -> StickGoneError:
        return StickGoneError(
            f"the stick gave {self._read / 1e6:.1f} of {self.size_bytes / 1e6:.1f} MB and no more ({why}); "
            "nothing of it was kept; plug it in again and leave it in"
        )


def _gather(folder: int, path: str, of_stick: int, found: list[Archive], budget: list[int]) -> None:
    inner: list[str] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            budget[0] -= 1
            if budget[0] <= 0:
                return
            if entry.name.startswith(".") or not _can_be_said(entry.name):
                continue
            with contextlib.suppress(OSError):  # one entry that cannot be looked at spoils no other
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode) and path.count("/") < DEEPEST:
                    inner.append(entry.name)
                elif stat.S_ISREG(status.st_mode) and entry.name.lower().endswith(ENDINGS):
                    found.append(Archive(f"{path}{entry.name}", status.st_size))
    for name in sorted(inner):
        with contextlib.suppress(OSError):
            descriptor = os.open(name, OPEN_FOLDER, dir_fd=folder)
            try:
                if os.fstat(descriptor).st_dev == of_stick:
                    _gather(descriptor, f"{path}{name}/", of_stick, found, budget)
            finally:
                os.close(descriptor)


def _mount(line: str) -> _Mount | None:
    before, _, after = line.partition(" - ")
    fields, rest = before.split(" "), after.split(" ")
    if len(fields) < 6 or len(rest) < 3:
        return None
    is_read_only = "ro" in fields[5].split(",") or "ro" in rest[2].split(",")
    return _Mount(fields[2], _unescaped(fields[4]), is_read_only, _unescaped(rest[1]))


def _unescaped(text: str) -> str:
    r"""Return a path of mountinfo, in which a space stands as `\040`."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def _key(mount: _Mount) -> str:
    told = f"{mount.device} {mount.point}".encode(errors="surrogateescape")
    return hashlib.sha256(told).hexdigest()[:16]


def _can_be_said(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return name.isprintable()


def _printable(text: str) -> str:
    return "".join(sign for sign in text if sign.isprintable() and not "\ud800" <= sign <= "\udfff")[:60]
