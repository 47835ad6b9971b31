"""Finds one thing in a run's file without reading the rest, however long the run is.

The summary at a file's end tells where everything stands. Of a run of hours it has megabytes, so only the
groups that are asked for are read, and of the index of chunks only what a search by time needs.
"""

import struct
from io import BytesIO
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import numpy.typing as npt
from mcap.data_stream import ReadDataStream
from mcap.opcode import Opcode
from mcap.records import Attachment, AttachmentIndex, Channel, Chunk, Message, SummaryOffset
from mcap.stream_reader import breakup_chunk

from vehicle.run_file import UNREADABLE, Entry, RunFileError
from vehicle.run_schemas import Topic

MAGIC = b"\x89MCAP0\r\n"
HEADER = struct.Struct("<BQ")  # of every record: kind, length
FOOTER = struct.Struct("<BQQQI")  # kind, length, start of the summary, of its offsets, checksum
CHUNK_TIMES = struct.Struct("<qqqq")  # first stamp, last stamp, place, length
RECORD_LIMIT_BYTES = 1 << 30
CHUNK_LIMIT_BYTES = 256 << 20  # unpacked; a chunk of ours has an eighth of a megabyte


class _Group(NamedTuple):
    start: int
    length: int


class RunIndex:
    """Where what stands in one run's file; safe in any thread, holds no file open."""

    def __init__(self, path: Path) -> None:
        """Read where the summary's groups stand; raises RunFileError for a file without its end."""
        self._path = path
        self._groups: dict[int, _Group] = {}
        self._chunks: npt.NDArray[np.int64] | None = None
        try:
            with path.open("rb") as file:
                self._size = file.seek(0, 2)
                end = file.seek(-FOOTER.size - len(MAGIC), 2)
                footer = file.read(FOOTER.size)
                kind, _, _, offsets_start, _ = FOOTER.unpack(footer)
                if file.read() != MAGIC or kind != Opcode.FOOTER or not 0 < offsets_start <= end:
                    raise ValueError("it has no index")
                file.seek(offsets_start)
                for stream in _records(file.read(end - offsets_start), Opcode.SUMMARY_OFFSET):
                    group = SummaryOffset.read(stream)
                    self._groups[group.group_opcode] = _Group(group.group_start, group.group_length)
        except (OSError, *UNREADABLE) as error:
            raise self._refusal(error) from error

    def attachment(self, name: str) -> bytes | None:
        """Return an attachment's bytes, None where there is none of this name; raises RunFileError."""
        try:
            with self._path.open("rb") as file:
                for stream in _records(self._group(file, Opcode.ATTACHMENT_INDEX), Opcode.ATTACHMENT_INDEX):
                    found = AttachmentIndex.read(stream)
                    if found.name == name:
                        file.seek(found.offset + HEADER.size)
                        data: bytes = Attachment.read(
                            _stream(self._read(file, found.length - HEADER.size))
                        ).data
                        return data
        except (OSError, *UNREADABLE) as error:
            raise self._refusal(error) from error
        return None

    def message(self, topic: Topic, time_ns: int) -> Entry | None:
        """Return the message of exactly this stamp, None where there is none; raises RunFileError."""
        try:
            with self._path.open("rb") as file:
                channels = self._channels(file, topic)
                chunks = self._chunk_index(file)
                holds = np.flatnonzero((chunks[0] <= time_ns) & (time_ns <= chunks[1]))
                for place, length in chunks[2:, holds].T.tolist():
                    file.seek(place + HEADER.size)
                    chunk = Chunk.read(_stream(self._read(file, length - HEADER.size)))
                    if chunk.uncompressed_size > CHUNK_LIMIT_BYTES:
                        raise ValueError(f"a chunk of {chunk.uncompressed_size} bytes")
                    for record in breakup_chunk(chunk, validate_crc=True):
                        if (
                            isinstance(record, Message)
                            and record.log_time == time_ns
                            and record.channel_id in channels
                        ):
                            return Entry(topic, record.log_time, record.data)
        except (OSError, *UNREADABLE) as error:
            raise self._refusal(error) from error
        return None

    def chunk_count(self) -> int:
        """Return of how many chunks the file is made; raises RunFileError."""
        try:
            with self._path.open("rb") as file:
                return len(self._chunk_index(file)[0])
        except (OSError, *UNREADABLE) as error:
            raise self._refusal(error) from error

    def _channels(self, file: IO[bytes], topic: Topic) -> set[int]:
        channels = [
            Channel.read(stream) for stream in _records(self._group(file, Opcode.CHANNEL), Opcode.CHANNEL)
        ]
        return {channel.id for channel in channels if channel.topic == topic}

    def _chunk_index(self, file: IO[bytes]) -> npt.NDArray[np.int64]:
        """Return rows of every chunk's first stamp, last stamp, place and length; read once."""
        if self._chunks is None:
            data = self._group(file, Opcode.CHUNK_INDEX)
            found, at = [], 0
            while at < len(data):
                kind, length = HEADER.unpack_from(data, at)
                if kind == Opcode.CHUNK_INDEX:
                    found.append(CHUNK_TIMES.unpack_from(data, at + HEADER.size))
                at += HEADER.size + length
            self._chunks = np.ascontiguousarray(np.array(found, np.int64).reshape(-1, 4).T)
        return self._chunks

    def _group(self, file: IO[bytes], kind: Opcode) -> bytes:
        group = self._groups.get(kind)
        if group is None:
            return b""
        file.seek(group.start)
        return self._read(file, group.length)

    def _read(self, file: IO[bytes], length: int) -> bytes:
        if not 0 <= length <= min(self._size, RECORD_LIMIT_BYTES):
            raise ValueError(f"a record of {length} bytes")
        data = file.read(length)
        if len(data) < length:
            raise EOFError("it ends in a record")
        return data

    def _refusal(self, error: Exception) -> RunFileError:
        return RunFileError(f"{self._path} is not a whole run ({error}); the recorder mends it")


def _stream(data: bytes) -> ReadDataStream:
    return ReadDataStream(BytesIO(data))


def _records(data: bytes, wanted: Opcode) -> list[ReadDataStream]:
    """Return the contents of the records of one kind."""
    found, at = [], 0
    while at < len(data):
        kind, length = HEADER.unpack_from(data, at)
        at += HEADER.size
        if kind == wanted:
            found.append(_stream(data[at : at + length]))
        at += length
    return found
