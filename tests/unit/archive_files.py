"""Archives of every sort for the tests, made in memory."""

import gzip
import io
import struct
import tarfile
import zipfile
from collections.abc import Iterable

METADATA = b'{"action_space": [{"steering_angle": 0, "speed": 1}]}'
# Field 1 (node) of a GraphDef, twice: name and op; enough to be told from an ONNX file.
FROZEN_GRAPH = b"\x0a\x0d\x0a\x01x\x12\x08Constant" * 2 + b"\x22\x02\x08\x1b"


def tar_bytes(members: Iterable[tuple[str, bytes]], *, packed: bool = True) -> bytes:
    """Return an archive of ordinary files, gzipped or not."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return gzip.compress(plain.getvalue(), 1, mtime=0) if packed else plain.getvalue()


def tar_with(info: tarfile.TarInfo) -> bytes:
    """Return a whole policy's archive with one more member, of any type."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        for name, data in (("model.pb", FROZEN_GRAPH), ("model_metadata.json", METADATA)):
            ordinary = tarfile.TarInfo(name)
            ordinary.size = len(data)
            archive.addfile(ordinary, io.BytesIO(data))
        archive.addfile(info)
    return plain.getvalue()


def zip_bytes(members: Iterable[tuple[str | zipfile.ZipInfo, bytes]]) -> bytes:
    """Return a zip archive."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return packed.getvalue()


def tar_bomb(size_bytes: int, claimed_bytes: int | None = None) -> bytes:
    """Return a gzipped tar with one file of zeros, made without holding it; the header can claim less."""
    info = tarfile.TarInfo("model.pb")
    info.size = size_bytes if claimed_bytes is None else claimed_bytes
    packed = io.BytesIO()
    zeros = bytes(1 << 20)
    with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=1) as file:
        file.write(info.tobuf(tarfile.GNU_FORMAT))
        for _ in range(size_bytes >> 20):
            file.write(zeros)
    return packed.getvalue()


def zip_claiming(name: str, size_bytes: int) -> bytes:
    """Return a small zip whose one member claims to unpack to so many bytes."""
    data = bytearray(zip_bytes([(name, bytes(1000))]))
    start = data.rfind(b"PK\x01\x02")
    data[start + 24 : start + 28] = struct.pack("<I", size_bytes)
    return bytes(data)
