"""An uploaded file to the two or three files of a policy, safely.

What the file is, its content tells: a `.tar.gz` that is really a zip is read as a zip. Nothing is written
outside the given folder, nothing under a name that the archive chose (an ONNX file's own weights apart,
whose names are checked to be plain), no link or device is made, and after an error nothing is left.
"""

import os
import stat
from pathlib import Path
from typing import BinaryIO, NoReturn

import msgspec

from models.archive_kinds import HEAD_BYTES, packing_of, refuse_foreign
from models.archive_limits import (
    ACCEPTED,
    ArchiveReader,
    Cancelled,
    Limits,
    Member,
    Meter,
    NewFile,
    Sink,
    UnpackCancelledError,
    copied,
    megabytes,
    printable,
)
from models.archive_network import NetworkKind, OnnxOutline, network_kind, onnx_outline
from models.archive_selection import Selection, select, sibling
from models.archive_tar import TarReader, refuse_lone_gzip
from models.archive_zip import ZipReader
from models.bundle_files import METADATA_NAME, MODEL_NAME, ORIGINAL_NAME, REPORT_NAME
from models.errors import PolicyError
from models.field_checks import refuse, shown
from models.metadata_reading import MAX_FILE_BYTES

__all__ = ["ACCEPTED", "Contents", "Limits", "UnpackCancelledError", "unpack"]

NETWORK_NAMES: dict[NetworkKind, str] = {"onnx": MODEL_NAME, "frozen_graph": "model.pb"}
OWN_NAMES = frozenset({*NETWORK_NAMES.values(), METADATA_NAME, REPORT_NAME, ORIGINAL_NAME})
EXTERNAL_FILES_MAX = 16  # exporters write one
PLAIN_NAME_CHARACTERS_MAX = 100
METADATA_PROPERTY = "model_metadata"  # of an ONNX file: the whole model_metadata.json as text
SUFFIXES = (".tar.gz", ".tgz", ".tar", ".zip", ".onnx", ".pb", ".gz")


class Contents(msgspec.Struct, frozen=True, kw_only=True):
    """What was unpacked."""

    network: Path
    kind: NetworkKind
    metadata: Path | None
    external_data: tuple[Path, ...] = ()
    """The weights of an ONNX file that lie beside it."""
    ignored: tuple[str, ...] = ()
    """Members that are no part of the policy; printable."""
    notes: tuple[str, ...] = ()
    """What was chosen or passed over, in sentences."""
    name: str = ""
    """For people; printable, not for paths."""


def _never() -> bool:
    return False


def unpack(
    source: Path,
    folder: Path,
    *,
    name: str = "",
    limits: Limits = Limits(),  # noqa: B008 - frozen
    cancelled: Cancelled = _never,
) -> Contents:
    """Unpack an upload into an existing, empty folder; `name` is the upload's own, for people.

    `cancelled` is asked before every chunk. Raises PolicyError with a sentence, UnpackCancelledError among
    them, and leaves nothing that it wrote. Beside a bare network, `model_metadata.json` and the weights
    that the network names are looked for in the folder of `source`.
    """
    intake = _Intake(source, folder, limits, cancelled)
    try:
        with _opened(source, limits) as file:
            contents = intake.take(file)
    except OSError as error:
        intake.remove_all()
        raise PolicyError(
            f"{printable(source.name)} could not be unpacked ({error.strerror}); check the disk"
        ) from error
    except BaseException:
        intake.remove_all()
        raise
    return msgspec.structs.replace(contents, name=_name_for_people(name or source.name))


class _Intake:
    """One upload on its way into one folder."""

    def __init__(self, source: Path, folder: Path, limits: Limits, cancelled: Cancelled) -> None:
        self._source = source
        self._folder = folder
        self._limits = limits
        self._cancelled = cancelled
        self._written: list[Path] = []

    def remove_all(self) -> None:
        """Remove every file that was written."""
        for path in self._written:
            path.unlink(missing_ok=True)

    def take(self, file: BinaryIO) -> Contents:
        """Unpack what the file turns out to be."""
        head = file.read(HEAD_BYTES)
        packing = packing_of(head)
        file.seek(0)
        meter = Meter(self._limits, os.fstat(file.fileno()).st_size, self._cancelled)
        if packing == "":
            return self._take_bare(file, meter)
        if packing == "zip":
            return self._take_archive(ZipReader(file, meter), meter)
        reader = TarReader(file, meter, is_gzip=packing == "gzip")
        if packing == "gzip" and not reader.holds_tar():
            refuse_lone_gzip()
        return self._take_archive(reader, meter)

    def _take_bare(self, file: BinaryIO, meter: Meter) -> Contents:
        network = self._path("network")
        with NewFile(network) as target:
            copied(file.read, target.write, meter)
        network, kind, outline = self._looked_into(network)
        metadata = self._own_metadata(outline)
        notes: tuple[str, ...] = ()
        beside = self._source.parent / METADATA_NAME
        if metadata is not None and beside.is_file():
            notes = (f"{METADATA_NAME} beside the network is passed over; the network carries its own",)
        if metadata is None:
            metadata = self._copied_from_beside(METADATA_NAME, MAX_FILE_BYTES, meter)
        if metadata is None:
            refuse(
                f"there is no {METADATA_NAME} beside the network",
                "it says what the network's outputs mean",
                f"put it beside, or pack both into one archive: tar czf policy.tar.gz {METADATA_NAME} "
                f"{NETWORK_NAMES[kind]}",
            )
        external: list[Path] = []
        for location in outline.external_files:
            copy = self._copied_from_beside(location, self._limits.unpacked_bytes, meter)
            if copy is None:
                _refuse_missing_weights(location)
            external.append(copy)
        return Contents(
            network=network, kind=kind, metadata=metadata, external_data=tuple(external), notes=notes
        )

    def _take_archive(self, reader: ArchiveReader, meter: Meter) -> Contents:
        members = reader.members()
        selection = select(members, lambda member: _read_small(reader, member))
        notes = list(selection.notes)

        network, kind, outline = self._looked_into(self._extracted_network(reader, selection.network))
        metadata = self._own_metadata(outline)
        if metadata is None:
            metadata = self._extracted_metadata(reader, selection, kind)
        elif selection.metadata is not None:
            notes.append(f"the archive's {METADATA_NAME} is passed over; the network carries its own")
        external = self._extracted_weights(reader, selection, outline, members)

        used = {selection.network.index, *external}
        if selection.metadata is not None:
            used.add(selection.metadata.index)
        meter.poll()
        return Contents(
            network=network,
            kind=kind,
            metadata=metadata,
            external_data=tuple(external.values()),
            ignored=tuple(printable(member.name) for member in members if member.index not in used),
            notes=tuple(notes),
        )

    def _extracted_network(self, reader: ArchiveReader, member: Member) -> Path:
        path = self._path("network")
        _extract(reader, {member.index: path})
        with path.open("rb") as file:
            refuse_foreign(file.read(HEAD_BYTES), f"the archive's {printable(member.name)}")
        return path

    def _extracted_metadata(self, reader: ArchiveReader, selection: Selection, kind: NetworkKind) -> Path:
        member = selection.metadata
        if member is None:
            refuse(
                f"the archive has no {METADATA_NAME}",
                "it says what the network's outputs mean",
                f"pack it together with {NETWORK_NAMES[kind]}",
            )
        if member.size_bytes > MAX_FILE_BYTES:
            refuse(
                f"the archive's {printable(member.name)} has {member.size_bytes} bytes",
                "real ones have a few thousand",
                "check that the right file was packed",
            )
        path = self._path(METADATA_NAME)
        _extract(reader, {member.index: path})
        return path

    def _extracted_weights(
        self, reader: ArchiveReader, selection: Selection, outline: OnnxOutline, members: list[Member]
    ) -> dict[int, Path]:
        targets: dict[int, Path] = {}
        for location in outline.external_files:
            member = sibling(selection.network, location, members)
            if member is None:
                _refuse_missing_weights(location)
            targets[member.index] = self._path(location)
        if targets:
            _extract(reader, targets)
        return targets

    def _looked_into(self, network: Path) -> tuple[Path, NetworkKind, OnnxOutline]:
        """Return the network under its own name, its kind, and what it says of itself."""
        kind = network_kind(network, self._cancelled)
        final = network.rename(self._path(NETWORK_NAMES[kind]))
        if kind == "frozen_graph":
            return final, kind, OnnxOutline({}, ())
        outline = onnx_outline(final, self._cancelled)
        if len(outline.external_files) > EXTERNAL_FILES_MAX:
            refuse(
                f"the network names {len(outline.external_files)} files of weights",
                f"allowed are {EXTERNAL_FILES_MAX}",
                "export it again with its weights in one file",
            )
        for location in outline.external_files:
            _refuse_unless_plain(location)
        return final, kind, outline

    def _own_metadata(self, outline: OnnxOutline) -> Path | None:
        """Write the metadata that an ONNX file carries in its properties; None where it carries none."""
        text = outline.properties.get(METADATA_PROPERTY)
        if text is None:
            return None
        path = self._path(METADATA_NAME)
        with NewFile(path) as target:
            target.write(text.encode())
        return path

    def _copied_from_beside(self, name: str, bytes_max: int, meter: Meter) -> Path | None:
        """Copy an ordinary file from the folder of the source; None where there is none."""
        try:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK  # a pipe must not hold us
            descriptor = os.open(self._source.parent / name, flags)
        except OSError:
            return None
        with open(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                return None
            if status.st_size > bytes_max:
                refuse(
                    f"{name} beside the network has {status.st_size} bytes",
                    f"allowed are {bytes_max}",
                    "check that it is the right file",
                )
            path = self._path(name)
            with NewFile(path) as target:
                copied(file.read, target.write, meter)
        return path

    def _path(self, name: str) -> Path:
        """Return a path in the folder, remembered for removal; raises PolicyError if something is there."""
        path = self._folder / name
        if path in self._written or os.path.lexists(path):
            raise PolicyError(f"{path} is there already; an upload is unpacked into an empty folder")
        self._written.append(path)
        return path


def _opened(source: Path, limits: Limits) -> BinaryIO:
    try:
        descriptor = os.open(source, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        raise PolicyError(
            f"{printable(str(source))} cannot be read ({error.strerror}); check its path and permissions"
        ) from error
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and status.st_size <= limits.packed_bytes:
        return open(descriptor, "rb")
    os.close(descriptor)
    if stat.S_ISREG(status.st_mode):
        refuse(
            f"{printable(source.name)} has {megabytes(status.st_size)}",
            f"allowed are {megabytes(limits.packed_bytes)}, and the largest DeepRacer network has 230 MB",
            "pack the network and its model_metadata.json alone",
        )
    raise PolicyError(f"{printable(str(source))} is a folder or device; give a file: {ACCEPTED}")


def _extract(reader: ArchiveReader, targets: dict[int, Path]) -> None:
    files: dict[int, NewFile] = {}
    try:
        for index, path in targets.items():
            files[index] = NewFile(path)
        sinks: dict[int, Sink] = {index: file.write for index, file in files.items()}
        reader.extract(sinks)
    finally:
        for file in files.values():
            file.close()


def _refuse_missing_weights(location: str) -> NoReturn:
    refuse(
        f"the network's weights lie in {printable(location)}, which is not beside it",
        "network and weights belong together",
        "pack both into one archive",
    )


def _read_small(reader: ArchiveReader, member: Member) -> bytes:
    chunks: list[bytes] = []
    reader.extract({member.index: chunks.append})
    return b"".join(chunks)


def _refuse_unless_plain(location: str) -> None:
    is_plain = (
        location.isprintable()
        and location == location.strip()
        and 0 < len(location) <= PLAIN_NAME_CHARACTERS_MAX
        and not location.startswith(".")
        and not set(location) & set("/\\:")
    )
    if not is_plain or location in OWN_NAMES or location == "network":
        refuse(
            f"the network names {shown(location)} as the file of its weights",
            "it must be the plain name of a file beside the network",
            "export it again with its weights inside, or in a file such as weights.bin",
        )


def _name_for_people(name: str) -> str:
    base = name.replace("\\", "/").rstrip("/").rpartition("/")[2]
    lowered = base.lower()
    for suffix in SUFFIXES:
        if lowered.endswith(suffix) and len(base) > len(suffix):
            return printable(base[: -len(suffix)])
    return printable(base)
