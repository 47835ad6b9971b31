"""Makes a run of a file that was cut off by a kill, a full disk or a power cut: in place, old or new.

What is whole stays where it is; behind it comes the end that every run has, a few MB an hour. So it needs
next to no room, and one that is cut off itself begins anew.
"""

import contextlib
import datetime
import errno
import os
import re
import shutil
import zlib
from collections import Counter
from pathlib import Path
from typing import IO

import msgspec
from mcap.data_stream import RecordBuilder
from mcap.opcode import Opcode
from mcap.records import (
    Attachment,
    AttachmentIndex,
    Channel,
    Chunk,
    ChunkIndex,
    DataEnd,
    Footer,
    Header,
    McapRecord,
    Message,
    MessageIndex,
    Metadata,
    MetadataIndex,
    Schema,
    Statistics,
    SummaryOffset,
)
from mcap.stream_reader import StreamReader, breakup_chunk

from vehicle.errors import LapwingError
from vehicle.run_file import (
    BEGUN,
    PART_SUFFIX,
    SUMMARY,
    UNREADABLE,
    Entry,
    RunFileError,
    as_json,
    begun_of,
    held,
    summary_of,
)
from vehicle.run_schemas import Topic
from vehicle.run_summary import RunSummary
from vehicle.run_tally import RunTally
from vehicle.run_traces import TRACES, TraceKeeper

MAGIC = b"\x89MCAP0\r\n"
FOOTER_HEAD_BYTES = 9 + 8 + 8  # of a footer, what its checksum covers
NOTE = "cut off: the computer or the recorder died; what is there was saved"
DATED = re.compile(r"(\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d)")
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
GROUPS = (Schema, Channel, Statistics, ChunkIndex, AttachmentIndex, MetadataIndex)
OPCODES = {
    Schema: Opcode.SCHEMA,
    Channel: Opcode.CHANNEL,
    Statistics: Opcode.STATISTICS,
    ChunkIndex: Opcode.CHUNK_INDEX,
    AttachmentIndex: Opcode.ATTACHMENT_INDEX,
    MetadataIndex: Opcode.METADATA_INDEX,
}


ROOM_BESIDE_BYTES = 64 << 10  # for its summary's own file, and what the file system keeps of both


class NotMendedError(LapwingError):
    """A run that was cut off stays so for now, as it was; nothing of it is lost."""

    def __init__(self, name: str, needed_bytes: int, free_bytes: int, error: OSError) -> None:
        self.name = name
        self.needed_bytes = needed_bytes
        """That must be free on the disk; 0 where room is not what it lacks."""
        if error.errno not in NO_ROOM:
            self.needed_bytes = 0
            super().__init__(f"{name} was cut off and cannot be made whole: {error.strerror}")
            return
        super().__init__(
            f"{name} was cut off and there is no room to make it whole: {_size(needed_bytes)} of the disk "
            f"must be free, {_size(free_bytes)} are; remove some runs"
        )


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB"


def cut_off_summary(part: Path) -> RunSummary:
    """Return what can be said of a cut-off file without reading it."""
    name = part.name.partition(".")[0]
    begun = begun_of(part)
    return RunSummary(
        name=name,
        started_wall_ns=begun.wall_ns if begun else _wall_ns(name, part),
        boot_id=begun.boot_id if begun else "",
        clock_known=begun.clock_known if begun else True,
        started_ns=0,
        size_bytes=part.stat().st_size,
        is_complete=False,
        note=NOTE,
    )


def _wall_ns(name: str, part: Path) -> int:
    """Return when a run began, by its name."""
    match = DATED.match(name)
    if match is None:
        return part.stat().st_mtime_ns
    began = datetime.datetime.strptime(match[1], "%Y-%m-%d_%H-%M-%S").replace(tzinfo=datetime.UTC)
    return int(began.timestamp()) * 10**9


def mend(part: Path) -> RunSummary | None:
    """Make a run of a file that was cut off, and return its summary.

    None where it holds no message at all, and is removed, or where it is being written. One at a time in a
    folder, which `vehicle.runs` sees to. Raises NotMendedError, on a full disk above all; the file stays.
    """
    path = part.with_name(part.name.removesuffix(PART_SUFFIX))
    with held(part) as file:
        if file is None:
            return None
        whole = _summary_of_whole(part)
        if whole is not None:  # all was written but for its name
            part.rename(path)
            return whole
        found = _Whole(cut_off_summary(part))
        found.read(file)
        if not found.statistics.message_count:
            part.unlink()
            return None
        found.tally.summary.size_bytes = found.end  # without its end, which holds this summary
        tail = found.tail()
        try:
            _put_end(file.fileno(), found.end, tail)
            part.rename(path)
        except OSError as error:
            with contextlib.suppress(OSError):  # half an end is room that others need
                os.ftruncate(file.fileno(), found.end)
            free_bytes = shutil.disk_usage(part.parent).free
            raise NotMendedError(path.stem, len(tail) + ROOM_BESIDE_BYTES, free_bytes, error) from error
    found.tally.summary.size_bytes = path.stat().st_size
    return found.tally.summary


def _put_end(fd: int, end: int, tail: bytes) -> None:
    """Write the tail where what is whole ends, and nothing behind it; raises OSError."""
    os.ftruncate(fd, end)
    rest = memoryview(tail)
    while rest:
        written = os.pwrite(fd, rest, end)
        rest, end = rest[written:], end + written
    os.fsync(fd)


def _summary_of_whole(part: Path) -> RunSummary | None:
    with contextlib.suppress(RunFileError, KeyError, msgspec.MsgspecError):
        return msgspec.json.decode(summary_of(part)["summary"], type=RunSummary)
    return None


class _Whole:
    """What is whole in a cut-off file, and the end that makes a run of it."""

    def __init__(self, summary: RunSummary) -> None:
        self.end = 0
        """Where what is whole ends."""
        self.tally = RunTally(summary)
        self.statistics = Statistics(
            attachment_count=0,
            channel_count=0,
            channel_message_counts=Counter(),
            chunk_count=0,
            message_count=0,
            message_end_time=0,
            message_start_time=0,
            metadata_count=0,
            schema_count=0,
        )
        self._traces = TraceKeeper()
        self._schemas: dict[int, Schema] = {}
        self._channels: dict[int, Channel] = {}
        self._chunks: list[ChunkIndex] = []
        self._attachments: list[AttachmentIndex] = []
        self._metadata: list[MetadataIndex] = []
        self._in_last_chunk: set[int] = set()
        """Channels of its messages."""

    def read(self, file: IO[bytes]) -> None:
        """Read up to the first record that is not whole, or belongs to an end that was begun."""
        reader = StreamReader(file, emit_chunks=True)
        with contextlib.suppress(*UNREADABLE, msgspec.MsgspecError):
            for record in reader.records:
                at, end = self.end or len(MAGIC), file.tell()
                match record:
                    case Header():
                        pass
                    case Metadata() if record.name == BEGUN:
                        self._metadata.append(MetadataIndex(at, end - at, record.name))
                    case Chunk():
                        self._take(record, at, end - at)
                    case MessageIndex() if self._chunks:
                        self._chunks[-1].message_index_offsets[record.channel_id] = at
                        self._chunks[-1].message_index_length += end - at
                    case _:
                        break
                self.end = end
        if self._chunks and self._in_last_chunk != set(self._chunks[-1].message_index_offsets):
            self._chunks[
                -1
            ].message_index_offsets.clear()  # cut off in between: a reader looks into the chunk
            self._chunks[-1].message_index_length = 0

    def _take(self, chunk: Chunk, at: int, length: int) -> None:
        records = breakup_chunk(chunk, validate_crc=True)
        self._in_last_chunk = {record.channel_id for record in records if isinstance(record, Message)}
        for record in records:
            match record:
                case Schema():
                    self._schemas[record.id] = record
                case Channel():
                    self._channels[record.id] = record
                case Message():
                    self._message(record)
        self._chunks.append(
            ChunkIndex(
                chunk_length=length,
                chunk_start_offset=at,
                compression=chunk.compression,
                compressed_size=len(chunk.data),
                message_end_time=chunk.message_end_time,
                message_index_length=0,
                message_index_offsets={},
                message_start_time=chunk.message_start_time,
                uncompressed_size=chunk.uncompressed_size,
            )
        )

    def _message(self, message: Message) -> None:
        counted = self.statistics
        counted.channel_message_counts[message.channel_id] += 1
        earliest = counted.message_start_time if counted.message_count else message.log_time
        counted.message_start_time = min(earliest, message.log_time)
        counted.message_end_time = max(counted.message_end_time, message.log_time)
        counted.message_count += 1
        with contextlib.suppress(ValueError, KeyError, msgspec.MsgspecError):  # of a later version: left out
            entry = Entry(Topic(self._channels[message.channel_id].topic), message.log_time, message.data)
            self.tally.entry(entry)
            self._traces.entry(entry)

    def tail(self) -> bytes:
        """Return what belongs behind what is whole: curves, summary, index."""
        data = self._data_end()
        summary_start = self.end + len(data)
        summary, offsets = RecordBuilder(), RecordBuilder()
        for kind, records in zip(GROUPS, self._groups(), strict=True):
            start = summary.count
            for record in records:
                record.write(summary)
            SummaryOffset(OPCODES[kind], summary_start + start, summary.count - start).write(offsets)
        grouped = _end(summary)
        footer = Footer(summary_start, summary_start + len(grouped), 0)
        body = grouped + _end(offsets)
        footer.summary_crc = zlib.crc32(body + _bytes(footer)[:FOOTER_HEAD_BYTES])
        return data + body + _bytes(footer) + MAGIC

    def _data_end(self) -> bytes:
        traces = self._traces.packed()
        attached = _bytes(Attachment(0, 0, TRACES, "application/octet-stream", traces))
        place = AttachmentIndex(
            self.end, len(attached), 0, 0, len(traces), TRACES, "application/octet-stream"
        )
        noted = _bytes(Metadata(SUMMARY, {"summary": as_json(self.tally.summary).decode()}))
        self._attachments.append(place)
        self._metadata.append(MetadataIndex(self.end + len(attached), len(noted), SUMMARY))
        return attached + noted + _bytes(DataEnd(0))

    def _groups(self) -> tuple[list[McapRecord], ...]:
        counted = self.statistics
        counted.schema_count, counted.channel_count = len(self._schemas), len(self._channels)
        counted.chunk_count = len(self._chunks)
        counted.attachment_count, counted.metadata_count = len(self._attachments), len(self._metadata)
        return (
            [*self._schemas.values()],
            [*self._channels.values()],
            [counted],
            [*self._chunks],
            [*self._attachments],
            [*self._metadata],
        )


def _bytes(record: McapRecord) -> bytes:
    builder = RecordBuilder()
    record.write(builder)
    return _end(builder)


def _end(builder: RecordBuilder) -> bytes:
    data: bytes = builder.end()  # type: ignore[no-untyped-call]
    return data
