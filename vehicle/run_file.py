"""One run's file: written as it happens, readable to the last second after a kill, indexed when done.

MCAP in small chunks: what a chunk holds is on the disk when the next one begins, and `sync` ends one and
makes it survive a power cut. Who writes a file holds a lock on it: one that nobody holds was cut off, and
`vehicle.run_mending` makes a run of what is whole.
"""

import contextlib
import fcntl
import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import msgspec
import zstandard
from mcap.exceptions import McapError
from mcap.reader import make_reader
from mcap.records import Channel as ChannelRecord
from mcap.records import Chunk, Message, Metadata, Schema
from mcap.stream_reader import StreamReader
from mcap.writer import CompressionType, Writer

from vehicle.errors import LapwingError
from vehicle.run_schemas import CHANNELS, Topic

UNREADABLE = (McapError, EOFError, ValueError, struct.error, zstandard.ZstdError)
"""What reading a file that is cut off or damaged may raise."""

CHUNK_BYTES = 128 << 10  # a tenth of a second of a run with pictures
LIBRARY = "lapwing"
SUMMARY = "lapwing.summary"
BEGUN = "lapwing.begun"
"""Names of what the recorder notes of the run as a whole: at its end, and at its beginning."""
PART_SUFFIX = ".part"
NEW_SUFFIX = ".new"
"""Of a part that has no lock yet: nobody looks at those."""


class RunFileError(LapwingError):
    """A run's file cannot be read or written."""


class Entry(NamedTuple):
    """One message of a run."""

    topic: Topic
    time_ns: int
    data: bytes


class Begun(msgspec.Struct, frozen=True):
    """What a recorder knows of a run at its beginning, and no message says."""

    wall_ns: int
    boot_id: str
    clock_known: bool


class RunWriter:
    """Writes one run; for one thread. Every method may raise OSError, a full disk's among them."""

    def __init__(self, path: Path, chunk_bytes: int = CHUNK_BYTES) -> None:
        """Begin `path` as a `.part` file; it gets its own name when it is whole."""
        self.path = path
        self._part = path.with_name(path.name + PART_SUFFIX)
        new = path.with_name(path.name + NEW_SUFFIX)
        self._file: IO[bytes] = new.open("wb", buffering=0)
        fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        new.rename(self._part)
        self._writer = Writer(
            cast(IO[Any], _Whole(self._file)), chunk_size=chunk_bytes, compression=CompressionType.ZSTD
        )
        self._writer.start(profile="", library=LIBRARY)
        self._channels: dict[Topic, int] = {}

    @property
    def size_bytes(self) -> int:
        """What is on the disk by now."""
        return self._file.tell()

    def begin(self, begun: Begun) -> None:
        """Note what is known at the beginning."""
        self._writer.add_metadata(BEGUN, {"begun": as_json(begun).decode()})

    def add(self, topic: Topic, time_ns: int, data: bytes) -> None:
        """Append one message."""
        channel = self._channels.get(topic) or self._register(topic)
        self._writer.add_message(channel, log_time=time_ns, data=data, publish_time=time_ns)

    def _register(self, topic: Topic) -> int:
        kind = CHANNELS[topic]
        schema = 0
        if kind.schema:
            schema = self._writer.register_schema(kind.schema_name, kind.schema_encoding, kind.schema)
        self._channels[topic] = self._writer.register_channel(topic, kind.message_encoding, schema)
        return self._channels[topic]

    def attach(self, name: str, data: bytes) -> None:
        """Append what belongs to the run as a whole; the index at the end tells where it stands."""
        self._writer.add_attachment(0, 0, name, "application/octet-stream", data)

    def sync(self) -> None:
        """Make everything so far survive a kill and a power cut, however little it is."""
        self._writer._Writer__finalize_chunk()  # type: ignore[attr-defined] # the package has no public word for it
        os.fdatasync(self._file.fileno())

    def finish(self, summary: dict[str, str]) -> None:
        """Write the summary and the index, and give the file its name."""
        self._writer.add_metadata(SUMMARY, summary)
        self._writer.finish()  # type: ignore[no-untyped-call]
        os.fsync(self._file.fileno())
        self._part.rename(self.path)  # before the lock is let go
        self._file.close()

    def abandon(self) -> None:
        """Let the file go as it is: `mend` makes a run of what is whole."""
        with contextlib.suppress(OSError):
            self._file.close()


class _Whole:
    """An unbuffered file whose `write` writes everything or raises."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def write(self, data: bytes) -> int:
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]
        return len(data)

    def tell(self) -> int:
        return self._file.tell()

    def flush(self) -> None:
        self._file.flush()


@contextlib.contextmanager
def held(part: Path) -> Iterator[IO[bytes] | None]:
    """Yield a cut-off run's file to read and change; None where somebody writes it, or has just mended it.

    Whoever changes it must see to it that nobody else does.
    """
    with contextlib.ExitStack() as opened:
        try:
            file = opened.enter_context(part.open("r+b"))
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            is_there = os.path.samestat(os.fstat(file.fileno()), part.stat())
        except (FileNotFoundError, BlockingIOError):
            is_there = False
        yield file if is_there else None


def is_cut_off(part: Path) -> bool:
    """Whether nobody writes this part of a run any more, and nobody has mended it yet."""
    with held(part) as file:
        return file is not None


def begun_of(part: Path) -> Begun | None:
    """Return what was noted when a run began, None where that is missing; reads the beginning alone."""
    with part.open("rb") as file, contextlib.suppress(*UNREADABLE, msgspec.MsgspecError, KeyError):
        for record in StreamReader(file, emit_chunks=True).records:
            if isinstance(record, Metadata) and record.name == BEGUN:
                return msgspec.json.decode(record.metadata["begun"], type=Begun)
            if isinstance(record, Chunk):
                break
    return None


def read_whole(path: Path) -> Iterator[Entry]:
    """Yield every message from the start up to the first that is not whole, in the order of writing."""
    topics: dict[int, Topic] = {}
    with path.open("rb") as file, contextlib.suppress(*UNREADABLE):
        for record in StreamReader(file, validate_crcs=True).records:
            if isinstance(record, ChannelRecord):
                with contextlib.suppress(ValueError):  # of a later version: left out
                    topics[record.id] = Topic(record.topic)
            elif isinstance(record, Message) and record.channel_id in topics:
                yield Entry(topics[record.channel_id], record.log_time, record.data)


def read(
    path: Path, topics: Iterable[Topic], since_ns: int = 0, until_ns: int | None = None
) -> Iterator[Entry]:
    """Yield messages of these topics by time, from the file's index; raises RunFileError."""
    try:
        with path.open("rb") as file:
            reader = make_reader(file)
            for _, channel, message in reader.iter_messages(
                topics=[str(topic) for topic in topics], starting_at=since_ns, ending_before=until_ns
            ):
                yield Entry(Topic(channel.topic), message.log_time, message.data)
    except (OSError, *UNREADABLE) as error:
        raise _not_whole(path, error) from error


def summary_of(path: Path) -> dict[str, str]:
    """Return what the recorder wrote at the run's end; empty where it could not. Raises RunFileError."""
    try:
        with path.open("rb") as file:
            for metadata in make_reader(file).iter_metadata():
                if isinstance(metadata, Metadata) and metadata.name == SUMMARY:
                    return metadata.metadata
    except (OSError, *UNREADABLE) as error:
        raise _not_whole(path, error) from error
    return {}


def _not_whole(path: Path, error: Exception) -> RunFileError:
    return RunFileError(
        f"{path} is not a whole run ({error}); `lapwing runs list` mends it where it was cut off"
    )


def schemas_of(path: Path) -> dict[str, tuple[Schema | None, str]]:
    """Return each topic's schema and encoding."""
    with path.open("rb") as file:
        summary = make_reader(file).get_summary()
        assert summary is not None
        return {
            channel.topic: (summary.schemas.get(channel.schema_id), channel.message_encoding)
            for channel in summary.channels.values()
        }


def pack(message: msgspec.Struct) -> bytes:
    """Return a message as `/replay` channels hold it."""
    return msgspec.msgpack.encode(message)


def as_json(message: Any) -> bytes:
    """Return a message as JSON channels hold it."""
    return msgspec.json.encode(message)
