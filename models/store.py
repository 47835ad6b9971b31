"""Policies on disk: by content hash, one active, whole or not at all after a kill or on a full disk.

    bundles/<sha256>/       model.onnx, weights, model_metadata.json, bundle.json, original
    incoming/<random>/      an upload on its way; removed when nobody holds its lock any more
    trash/<sha256>.<ns>/    removed, and kept a while for an undo
    index.json              names, and which policy is active
    lock, check.lock        one writer, one check at a time, over all processes

A bundle comes into being by one rename of a folder whose files are on the disk already. Nothing here
opens a network, so that pages may use it.
"""

import contextlib
import fcntl
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from models.bundle_files import ORIGINAL_NAME, REPORT_NAME
from models.check_report import CheckReport, changed_file, clean_name, encode_report, read_report
from models.errors import PolicyError
from models.store_builtin import built_in_folders
from models.store_files import (
    StoreFullError,
    as_store_error,
    remove_tree,
    sync_directory,
    sync_tree,
    write_atomically,
)

KEY = re.compile(r"[0-9a-f]{64}")
TRASH_NAME = re.compile(r"([0-9a-f]{64})\.(\d{1,20})")
TRASH_KEPT_S = 24 * 3600.0
FREE_MARGIN_BYTES = 64 << 20  # left for the rest of the car when an upload is let in
LAPWING_HOME = "LAPWING_HOME"


class Index(msgspec.Struct, frozen=True):
    """What is not part of any bundle."""

    version: int = 1
    active: str = ""
    """Key of the policy that the car starts with; empty before the first."""
    names: dict[str, str] = {}
    """Key -> the owner's name for it, where it is not the one it came with."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One policy of the store, or one that ships."""

    key: str
    name: str
    folder: Path
    built_in: bool = False
    active: bool = False
    report: CheckReport | None = None
    """None for a built-in one, and for one whose report is damaged."""
    problem: str = ""
    """Why it cannot be used, or empty."""


class Removed(msgspec.Struct, frozen=True):
    """A policy in the trash, as long as `restore` brings it back."""

    removed: str
    """What `restore` wants."""
    key: str
    name: str
    removed_at_s: float
    """By the wall clock: for words such as "an hour ago" only."""


class Incoming(msgspec.Struct, frozen=True):
    """A place in the store for one upload: the file as it came, and the bundle in the making."""

    place: Path

    @property
    def upload(self) -> Path:
        """Where the file goes as it came."""
        return self.place / "upload"

    @property
    def bundle(self) -> Path:
        """Where the check makes the bundle."""
        return self.place / "bundle"


def default_store_root() -> Path:
    """Return where this user's policies are kept: $LAPWING_HOME/models, else the XDG data directory."""
    home = os.environ.get(LAPWING_HOME)
    if home:
        return Path(home) / "models"
    data = os.environ.get("XDG_DATA_HOME")
    return (Path(data) if data else Path.home() / ".local" / "share") / "lapwing" / "models"


class PolicyStore:
    """All policies of this car. Safe in any thread and for several processes at once."""

    def __init__(self, root: Path | None = None, wall_ns: Callable[[], int] = time.time_ns) -> None:
        """Open the store and clear away what a kill has left; a store that does not exist yet is empty."""
        self.root = root or default_store_root()
        self.check_lock = self.root / "check.lock"
        self._wall_ns = wall_ns
        if self.root.is_dir():
            with contextlib.suppress(PolicyError), self._locked():  # a store that is only read needs no sweep
                self._sweep()

    def list(self) -> tuple[Entry, ...]:
        """Return the policies by name, uploaded ones first, then those that ship."""
        index = self._index()
        uploaded = [self._entry(folder, index) for folder in self._folders()]
        uploaded.sort(key=lambda entry: (entry.name.casefold(), entry.key))
        shipped = [
            Entry(key=name, name=name, folder=folder, built_in=True, active=name == index.active)
            for name, folder in built_in_folders().items()
        ]
        return (*uploaded, *shipped)

    def get(self, key: str) -> Entry:
        """Return one policy; raises PolicyError when there is none of this key."""
        index = self._index()
        folder = built_in_folders().get(key)
        if folder is not None:
            return Entry(key=key, name=key, folder=folder, built_in=True, active=key == index.active)
        if KEY.fullmatch(key) and self._folder(key).is_dir():
            return self._entry(self._folder(key), index)
        raise PolicyError(f"there is no policy {clean_name(key)!r} here; lapwing models list names them")

    def find(self, wanted: str) -> Entry:
        """Return the policy that a person means: its key, the start of its key (4 or more), or its name."""
        entries = self.list()
        exact = [entry for entry in entries if wanted == entry.key]
        named = exact or [entry for entry in entries if clean_name(wanted) == entry.name]
        is_start = re.fullmatch(r"[0-9a-f]{4,64}", wanted) is not None
        found = named or [entry for entry in entries if is_start and entry.key.startswith(wanted)]
        if len(found) == 1:
            return found[0]
        if found:
            keys = ", ".join(entry.key[:12] for entry in found)
            raise PolicyError(
                f"{clean_name(wanted)!r} means {len(found)} policies ({keys}); give more of the key"
            )
        return self.get(wanted)

    def checked_folder(self, key: str) -> Path:
        """Return the folder of a policy that may drive; raises PolicyError when the check has not passed it.

        The files are read and compared with what the check has seen, byte for byte by their hash.
        """
        entry = self.get(key)
        if entry.built_in:
            return entry.folder
        if entry.report is None:
            raise PolicyError(entry.problem)
        problem = changed_file(entry.folder, entry.report)
        if problem:
            raise PolicyError(
                f"{entry.name} has been damaged since it was checked: {problem}; "
                "remove it and add the original again"
            )
        return entry.folder

    def active(self) -> Entry | None:
        """Return the policy that the car starts with, or None before the first."""
        key = self._index().active
        if not key:
            return None
        with contextlib.suppress(PolicyError):
            return self.get(key)
        return None

    def original(self, key: str) -> Path:
        """Return the file as it was uploaded; raises PolicyError for a policy that ships."""
        entry = self.get(key)
        path = entry.folder / ORIGINAL_NAME
        if entry.built_in or not path.is_file():
            raise PolicyError(
                f"{entry.name} has no uploaded file; export it with lapwing models export --tidy"
            )
        return path

    @contextlib.contextmanager
    def begin(self) -> Iterator[Incoming]:
        """Give an upload a place of its own in the store's file system, and clear it away at the end."""
        with _said("the upload could not be started"), self._locked():
            room = self.root / "incoming"
            room.mkdir(parents=True, exist_ok=True)
            place = room / os.urandom(8).hex()
            place.mkdir(mode=0o700)
            holder = _hold(place)
        try:
            yield Incoming(place)
        finally:
            remove_tree(place)
            os.close(holder)

    def check_room(self, needed_bytes: int) -> None:
        """Raise StoreFullError with a sentence when `make_room` would; changes nothing."""
        with _said("the store could not be looked at"):
            trash = [file for _, _, path in self._trash() for file in path.iterdir() if file.is_file()]
            self._refuse_large(needed_bytes, self._free_bytes() + sum(file.stat().st_size for file in trash))

    def make_room(self, needed_bytes: int) -> None:
        """Make sure that this much fits, at the price of the trash; raises StoreFullError with a sentence."""
        with _said("the store could not be looked at"):
            self.root.mkdir(parents=True, exist_ok=True)
            if self._free_bytes() < needed_bytes + FREE_MARGIN_BYTES:
                self.empty_trash()
            self._refuse_large(needed_bytes, self._free_bytes())

    def _refuse_large(self, needed_bytes: int, free_bytes: int) -> None:
        if free_bytes < needed_bytes + FREE_MARGIN_BYTES:
            raise StoreFullError(
                f"the upload needs {needed_bytes / 1e6:.0f} MB and {free_bytes / 1e6:.0f} MB are free, "
                f"of which {FREE_MARGIN_BYTES / 1e6:.0f} MB stay free for the car; remove policies "
                "or recordings, then upload again"
            )

    def add(self, report: CheckReport, folder: Path) -> tuple[Entry, bool]:
        """Take a checked bundle in by one rename; return it, and whether it is new.

        `folder` lies in the store's file system (`begin`) and is gone afterwards. A policy that is here
        already stays as it is, unless it has been damaged: then it is replaced.
        """
        with _said(f"{report.name} could not be kept, and nothing of it was"):
            (folder / REPORT_NAME).write_bytes(encode_report(report))
            sync_tree(folder)
            with self._locked():
                goal = self._folder(report.sha256)
                goal.parent.mkdir(parents=True, exist_ok=True)
                sync_directory(self.root)
                is_new = not goal.is_dir()
                if not is_new and self._is_whole(goal):
                    remove_tree(folder)
                    return self.get(report.sha256), False
                if not is_new:
                    self._throw_away(goal)
                folder.rename(goal)
                sync_directory(goal.parent)
        return self.get(report.sha256), True

    def rename(self, key: str, name: str) -> Entry:
        """Give an uploaded policy another name; returns it as it is now called."""
        with _said("the name could not be kept"), self._locked():
            entry = self.get(key)
            if entry.built_in:
                raise PolicyError(
                    f"{entry.name} ships with Lapwing and keeps its name; add a copy under yours"
                )
            index = self._index()
            names = {**index.names, key: clean_name(name)}
            self._write_index(msgspec.structs.replace(index, names=names))
        return self.get(key)

    def activate(self, key: str) -> Entry:
        """Remember the policy as the one that the car starts with; raises PolicyError if it may not drive."""
        self.checked_folder(key)
        with _said("the active policy could not be remembered"), self._locked():
            self.get(key)
            self._write_index(msgspec.structs.replace(self._index(), active=key))
        return self.get(key)

    def remove(self, key: str) -> str:
        """Move an uploaded policy to the trash; return what `restore` wants for undoing it."""
        with _said("the policy could not be removed"), self._locked():
            entry = self.get(key)
            if entry.built_in:
                raise PolicyError(f"{entry.name} ships with Lapwing and cannot be removed")
            if entry.active:
                raise PolicyError(f"{entry.name} is the active policy; activate another one, then remove it")
            name = self._throw_away(self._folder(key))
            self._drop_old_trash()
        return name

    def restore(self, removed: str) -> Entry:
        """Undo a removal: by what `remove` returned, or by the key for its newest removal."""
        with _said("the policy could not be put back"), self._locked():
            kept = [(ns, path) for key, ns, path in self._trash() if removed in {key, path.name}]
            if not kept:
                raise PolicyError(
                    f"{clean_name(removed)!r} is not in the trash, where removed policies stay for "
                    f"{TRASH_KEPT_S / 3600:g} hours; upload it again"
                )
            _, path = max(kept)
            key = path.name.partition(".")[0]
            goal = self._folder(key)
            if goal.is_dir():  # it was uploaded again meanwhile
                remove_tree(path)
            else:
                goal.parent.mkdir(parents=True, exist_ok=True)
                path.rename(goal)
                sync_directory(goal.parent)
        return self.get(key)

    def removed(self) -> tuple[Removed, ...]:
        """Return what can still be restored, the newest removal first; of each policy the last one."""
        names = self._index().names
        present = {folder.name for folder in self._folders()}
        oldest_ns = self._wall_ns() - int(TRASH_KEPT_S * 1e9)
        kept = [(key, ns, path) for key, ns, path in self._trash() if ns >= oldest_ns and key not in present]
        newest = {key: (ns, path) for key, ns, path in kept}
        found = []
        for key, (ns, path) in newest.items():
            try:
                name = names.get(key) or clean_name(read_report(path).name)
            except PolicyError:
                name = names.get(key, key[:12])
            found.append(Removed(path.name, key, name, ns / 1e9))
        return tuple(sorted(found, key=lambda entry: -entry.removed_at_s))

    def stamp(self) -> tuple[tuple[int, int], ...]:
        """Return something that changes with every change here: two alike mean that nothing has happened.

        A change within the file system's clock step (10 ms at most) of the one before may not be seen in it.
        """
        paths = [self.root / name for name in ("index.json", "bundles", "trash")]
        return tuple(_stamp(path) for path in (*paths, *(folder for folder in self._folders())))

    def empty_trash(self) -> None:
        """Forget what was removed; it cannot be restored any more."""
        with self._locked():
            for _, _, path in self._trash():
                remove_tree(path)

    def _entry(self, folder: Path, index: Index) -> Entry:
        key = folder.name
        fields: dict[str, Any] = {"key": key, "folder": folder, "active": key == index.active}
        try:
            report = read_report(folder)
        except PolicyError as error:
            return Entry(name=index.names.get(key, key[:12]), problem=str(error), **fields)
        if report.sha256 != key:
            problem = (
                f"the policy {key[:12]} is not the one that the check has passed; remove it and add it again"
            )
            return Entry(name=index.names.get(key, key[:12]), problem=problem, **fields)
        return Entry(name=index.names.get(key) or clean_name(report.name), report=report, **fields)

    def _folder(self, key: str) -> Path:
        return self.root / "bundles" / key

    def _folders(self) -> Iterator[Path]:
        with contextlib.suppress(FileNotFoundError):
            for path in sorted((self.root / "bundles").iterdir()):
                if KEY.fullmatch(path.name) and path.is_dir():
                    yield path

    def _trash(self) -> Iterator[tuple[str, int, Path]]:
        """Yield key, time of removal in ns of the wall clock, and folder of what was removed."""
        with contextlib.suppress(FileNotFoundError):
            for path in sorted((self.root / "trash").iterdir()):
                match = TRASH_NAME.fullmatch(path.name)
                if match:
                    yield match[1], int(match[2]), path

    def _throw_away(self, folder: Path) -> str:
        room = self.root / "trash"
        room.mkdir(parents=True, exist_ok=True)
        place = room / f"{folder.name}.{self._wall_ns()}"
        folder.rename(place)
        sync_directory(room)
        sync_directory(folder.parent)
        return place.name

    def _drop_old_trash(self) -> None:
        oldest_ns = self._wall_ns() - int(TRASH_KEPT_S * 1e9)
        for _, removed_ns, path in self._trash():
            if removed_ns < oldest_ns:
                remove_tree(path)

    def _is_whole(self, folder: Path) -> bool:
        try:
            return not changed_file(folder, read_report(folder)) and (folder / ORIGINAL_NAME).is_file()
        except PolicyError:
            return False

    def _free_bytes(self) -> int:
        place = next(path for path in (self.root, *self.root.parents) if path.is_dir())
        return shutil.disk_usage(place).free

    def _index(self) -> Index:
        path = self.root / "index.json"
        try:
            return msgspec.json.decode(path.read_bytes(), type=Index)
        except FileNotFoundError:
            return Index()
        except OSError as error:
            raise PolicyError(f"{path} cannot be read ({error.strerror}); check its permissions") from error
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return Index()  # names and choice are lost, the policies are not

    def _write_index(self, index: Index) -> None:
        known = {folder.name for folder in self._folders()} | {key for key, _, _ in self._trash()}
        names = {key: name for key, name in index.names.items() if key in known}
        document = msgspec.json.encode(msgspec.structs.replace(index, names=names))
        write_atomically(self.root / "index.json", msgspec.json.format(document, indent=1) + b"\n")

    def _sweep(self) -> None:
        """Clear away uploads that nobody works on any more, and trash that is old."""
        with contextlib.suppress(FileNotFoundError):
            for place in list((self.root / "incoming").iterdir()):
                try:
                    holder = _hold(place)
                except BlockingIOError:
                    continue  # its upload goes on in another process or thread
                except OSError:
                    holder = -1
                remove_tree(place)
                if holder >= 0:
                    os.close(holder)
        self._drop_old_trash()

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other writers out, of this process and of others."""
        with _said("the store cannot be used"):
            self.root.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return (0, 0)
    return (status.st_mtime_ns, status.st_ino)


def _hold(place: Path) -> int:
    """Lock a place of `incoming` until the descriptor is closed; raises BlockingIOError if it is held."""
    holder = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(holder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(holder)
        raise
    return holder


@contextlib.contextmanager
def _said(what: str) -> Iterator[None]:
    """Turn the system's errors into a sentence."""
    try:
        yield
    except OSError as error:
        raise as_store_error(what, error) from error
