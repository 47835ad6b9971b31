"""Read a tar archive forward only, packed by gzip or not, without trusting a byte of it.

The standard library's `TarInfo.frombuf` understands one header; walking is done here, so that every read
is bounded and counted before it is made, and a header that makes no sense ends in a refusal instead of
ending the archive silently.
"""

import gzip
import tarfile
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO, NoReturn

from models.archive_limits import (
    CHUNK_BYTES,
    Member,
    Meter,
    Sink,
    refuse_damaged,
    refuse_member,
    safe_name,
)
from models.field_checks import refuse

BLOCK_BYTES = tarfile.BLOCKSIZE
HEAD_BYTES = 2 * BLOCK_BYTES  # an archive of nothing is two blocks of zeros
EXTENDED_HEADER_BYTES_MAX = 64 << 10  # a long name, or attributes that are not read
REGULAR_TYPES = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
EXTENDED_TYPES = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
)
HEADERS_PER_MEMBER_MAX = 4  # its own, a long name, a long link, attributes
UNUSUAL_TYPES = {
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.LNKTYPE: "a hard link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a named pipe",
    tarfile.GNUTYPE_SPARSE: "a sparse file",
}


class TarReader:
    """A tar archive, read from its start as often as it is asked."""

    def __init__(self, file: BinaryIO, meter: Meter, *, is_gzip: bool) -> None:
        self._file = file
        self._meter = meter
        self._is_gzip = is_gzip

    def holds_tar(self) -> bool:
        """True if what is unpacked begins as a tar archive does."""
        return looks_like_tar(_Stream(self._file, self._meter, is_gzip=self._is_gzip).start(HEAD_BYTES))

    def members(self) -> list[Member]:
        """Return the ordinary files; raises PolicyError at the first member that is refused."""
        found: list[Member] = []
        for index, raw, info, _ in self._walk():
            name = safe_name(raw)
            if info.type in REGULAR_TYPES:
                found.append(Member(index, name, info.size))
        return found

    def extract(self, sinks: dict[int, Sink]) -> None:
        """Hand the bytes of the wanted members to their sinks, in one pass."""
        for index, _, info, copy in self._walk():
            if index in sinks and info.type in REGULAR_TYPES:
                copy(sinks[index])

    def _walk(self) -> Iterator[tuple[int, str, tarfile.TarInfo, Callable[[Sink], None]]]:
        """Yield position, name, header and a function that hands out the data, member by member."""
        stream = _Stream(self._file, self._meter, is_gzip=self._is_gzip)
        index = 0
        extended: dict[str, str] = {}
        while (block := stream.header()) is not None:
            info = _understood(block)
            stream.count_header()
            if info.type in EXTENDED_TYPES:
                data = stream.extended_header(info.size)
                if info.type == tarfile.GNUTYPE_LONGNAME:
                    extended["path"] = data.rstrip(b"\0").decode("utf-8", "surrogateescape")
                elif info.type == tarfile.XHDTYPE:
                    extended.update(_pax_records(data))
                continue

            self._meter.check_members(index + 1)
            raw = extended.get("path", info.name)
            _refuse_unusual(raw, info, extended)
            info.size = _size(info, extended)
            extended = {}
            size_bytes = info.size if info.type in REGULAR_TYPES else 0
            member = _Data(stream, size_bytes)
            yield index, raw, info, member.copy
            member.skip()
            index += 1
        stream.drain()


class _Data:
    """The bytes of one member, which come once and in their turn."""

    def __init__(self, stream: "_Stream", size_bytes: int) -> None:
        self._stream = stream
        self._left_bytes = size_bytes
        self._padding_bytes = -size_bytes % BLOCK_BYTES
        stream.announce(size_bytes)

    def copy(self, sink: Sink) -> None:
        while self._left_bytes:
            chunk = self._stream.read(min(CHUNK_BYTES, self._left_bytes))
            self._left_bytes -= len(chunk)
            sink(chunk)

    def skip(self) -> None:
        self.copy(lambda _: None)
        self._stream.read(self._padding_bytes)


class _Stream:
    """The unpacked bytes of the whole tar file, counted."""

    def __init__(self, file: BinaryIO, meter: Meter, *, is_gzip: bool) -> None:
        file.seek(0)
        self._raw: BinaryIO | gzip.GzipFile = gzip.GzipFile(fileobj=file, mode="rb") if is_gzip else file
        self._meter = meter
        self._total_bytes = 0
        self._headers = 0

    def start(self, size_bytes: int) -> bytes:
        """Return at most so many of the first bytes."""
        return self._upto(size_bytes)

    def header(self) -> bytes | None:
        """Return the next header block; None at the end mark, or where the file simply ends."""
        block = self._upto(BLOCK_BYTES)
        if not block:
            return None
        if len(block) < BLOCK_BYTES:
            refuse_damaged("it ends inside a header")
        return block if any(block) else None

    def count_header(self) -> None:
        """Refuse more headers than the allowed members can have."""
        self._headers += 1
        self._meter.check_members(self._headers // HEADERS_PER_MEMBER_MAX)

    def extended_header(self, size_bytes: int) -> bytes:
        """Return the data of a header that describes the next one."""
        if not 0 <= size_bytes <= EXTENDED_HEADER_BYTES_MAX:
            refuse_damaged(f"a header of {size_bytes} bytes")
        return self.read(size_bytes + -size_bytes % BLOCK_BYTES)[:size_bytes]

    def announce(self, size_bytes: int) -> None:
        """Refuse a member by the size it claims, before reading any of it."""
        self._meter.check_unpacked(self._total_bytes + size_bytes)

    def read(self, size_bytes: int) -> bytes:
        """Return exactly so many bytes, at most a chunk or so."""
        data = self._upto(size_bytes)
        if len(data) < size_bytes:
            refuse_damaged("it ends inside a member")
        return data

    def drain(self) -> None:
        """Read on to the very end, so that a checksum there is checked."""
        while self._upto(CHUNK_BYTES):
            pass

    def _upto(self, size_bytes: int) -> bytes:
        self._meter.poll()
        parts: list[bytes] = []
        left = size_bytes
        try:
            while left and (part := self._raw.read(left)):
                parts.append(part)
                left -= len(part)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            refuse_damaged(str(error) or "gzip")
        data = b"".join(parts)
        self._total_bytes += len(data)
        self._meter.check_unpacked(self._total_bytes)
        return data


def _understood(block: bytes) -> tarfile.TarInfo:
    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        refuse_damaged(f"tar: {error}")
    if info.size < 0:
        refuse_damaged("a member of negative size")
    return info


def _refuse_unusual(raw: str, info: tarfile.TarInfo, extended: dict[str, str]) -> None:
    if any(key.startswith("GNU.sparse") for key in extended):
        refuse_member(raw, "a sparse file")
    if info.type in UNUSUAL_TYPES:
        refuse_member(raw, UNUSUAL_TYPES[info.type])
    if info.type not in (*REGULAR_TYPES, tarfile.DIRTYPE):
        refuse_member(raw, f"of the unknown type {info.type!r}")


def _size(info: tarfile.TarInfo, extended: dict[str, str]) -> int:
    text = extended.get("size")
    if text is None:
        return info.size
    if not (text.isascii() and text.isdigit() and len(text) <= 20):
        refuse_damaged("a size that is no number")
    return int(text)


def _pax_records(data: bytes) -> dict[str, str]:
    """Return the attributes of a POSIX extended header: lines of LENGTH KEY=VALUE, LENGTH of the line."""
    records: dict[str, str] = {}
    while data:
        digits = data[:8].partition(b" ")[0]
        length = int(digits) if digits.isdigit() else 0
        record = data[len(digits) + 1 : length]
        key, equals, value = record[:-1].partition(b"=")
        if not (equals and record.endswith(b"\n") and length <= len(data)):
            refuse_damaged("an extended header that cannot be read")
        records[key.decode("utf-8", "replace")] = value.decode("utf-8", "surrogateescape")
        data = data[length:]
    return records


def looks_like_tar(head: bytes) -> bool:
    """True for a first block that is a tar header, or the zeros of an empty archive."""
    block = head[:BLOCK_BYTES]
    if len(block) < BLOCK_BYTES:
        return False
    if not any(head):
        return len(head) >= 2 * BLOCK_BYTES
    try:
        tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def refuse_lone_gzip() -> NoReturn:
    """Refuse one compressed file that is no archive."""
    refuse(
        "the file is packed by gzip but holds no tar archive",
        "a .tar.gz holds the network and its model_metadata.json",
        "pack both with: tar czf policy.tar.gz model_metadata.json agent/model.pb",
    )
