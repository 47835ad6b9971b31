"""Read a zip archive without trusting a byte of it."""

import stat
import struct
import zipfile
import zlib
from typing import BinaryIO, NoReturn, cast

from models.archive_limits import Member, Meter, Sink, copied, refuse_damaged, refuse_member, safe_name
from models.field_checks import refuse, shown

DIRECTORY_BYTES_MAX = 2 << 20  # 2000 members with names of a thousand characters
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
IS_ENCRYPTED = 0x1
NOT_A_ZIP = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,  # a split archive, a version of the far future
    RuntimeError,
    ValueError,  # names that are not in their stated encoding, too
    OverflowError,
    struct.error,
    OSError,  # a seek to before the file's start
)


class ZipReader:
    """A zip archive, by its table of contents."""

    def __init__(self, file: BinaryIO, meter: Meter) -> None:
        self._meter = meter
        try:
            self._archive = zipfile.ZipFile(cast(BinaryIO, _BoundedReads(file)))
        except NOT_A_ZIP as error:
            _refuse_unreadable(error)
        self._infos = self._archive.infolist()

    def members(self) -> list[Member]:
        """Return the ordinary files; raises PolicyError if any member is refused."""
        self._meter.check_members(len(self._infos))
        self._meter.check_unpacked(sum(info.file_size for info in self._infos))
        found: list[Member] = []
        for index, info in enumerate(self._infos):
            name = safe_name(info.orig_filename)
            _refuse_unusual(info)
            if not info.is_dir() and name and not info.orig_filename.endswith("\\"):
                found.append(Member(index, name, info.file_size))
        return found

    def extract(self, sinks: dict[int, Sink]) -> None:
        """Hand the bytes of the wanted members to their sinks; their checksums are checked."""
        for index, sink in sinks.items():
            info = self._infos[index]
            try:
                with self._archive.open(info) as member:
                    size_bytes = copied(member.read, sink, self._meter)
            except NOT_A_ZIP as error:  # a sink's own errors are PolicyErrors, which none of these is
                _refuse_unreadable(error)
            if size_bytes != info.file_size:
                refuse_damaged(f"{shown(info.filename)} has not the size that is stated")


class _BoundedReads:
    """A file that hands out at most so much at once: `zipfile` reads the whole table of contents in one."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        if size > DIRECTORY_BYTES_MAX:
            refuse(
                "the archive's table of contents is too large",
                "a policy has a handful of members",
                "pack the network and its model_metadata.json alone",
            )
        return self._file.read(DIRECTORY_BYTES_MAX if size < 0 else size)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True


def _refuse_unusual(info: zipfile.ZipInfo) -> None:
    raw = info.orig_filename
    mode = info.external_attr >> 16
    kind = stat.S_IFMT(mode)
    if kind == stat.S_IFLNK:
        refuse_member(raw, "a symbolic link")
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        refuse_member(raw, "a device or pipe")
    if info.flag_bits & IS_ENCRYPTED:
        refuse(
            f"the archive's member {shown(raw)} is locked with a password",
            "a policy is packed without",
            "pack it again without a password",
        )
    if info.compress_type not in METHODS:
        refuse(
            f"the archive's member {shown(raw)} is packed by method {info.compress_type}",
            "allowed are 0 (stored) and 8 (deflate)",
            "pack it again as an ordinary .zip or as .tar.gz",
        )


def _refuse_unreadable(error: Exception) -> NoReturn:
    text = str(error).partition("\n")[0][:80] or type(error).__name__
    refuse_damaged(f"zip: {text}")
