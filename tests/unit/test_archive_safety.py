"""No archive gets out of its folder, costs more than the limits, or leaves anything behind."""

import gzip
import io
import os
import random
import stat
import tarfile
import time
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import archive_limits
from models.archive import Limits, UnpackCancelledError, unpack
from models.archive_limits import printable, safe_name
from models.archive_network import onnx_outline
from models.errors import PolicyError
from tests.unit.archive_files import (
    FROZEN_GRAPH,
    METADATA,
    tar_bomb,
    tar_bytes,
    tar_with,
    zip_bytes,
    zip_claiming,
)
from tests.unit.policy_files import mean_network

PB, META = "model.pb", "model_metadata.json"
POLICY = [(PB, FROZEN_GRAPH), (META, METADATA)]


DEFAULT_LIMITS = Limits()


def refusal(tmp_path: Path, data: bytes, limits: Limits = DEFAULT_LIMITS) -> str:
    """Return the sentence, after a look that nothing is left and nothing new lies anywhere near."""
    source = tmp_path / "source"
    source.write_bytes(data)
    folder = tmp_path / "into"
    folder.mkdir()
    with pytest.raises(PolicyError) as caught:
        unpack(source, folder, limits=limits)
    assert sorted(tmp_path.rglob("*")) == [folder, source]
    return str(caught.value)


@pytest.mark.parametrize("name", ["/etc/x", "../x", "a/../../x", "a\\..\\x", "C:\\x", "c:/x", "\\x"])
@pytest.mark.parametrize("packing", ["tar", "zip"])
def test_no_path_leaves_its_place(name: str, packing: str, tmp_path: Path) -> None:
    members = [*POLICY, (name, b"x")]

    said = refusal(tmp_path, zip_bytes(members) if packing == "zip" else tar_bytes(members))

    assert "every member must stay inside the archive's own folder" in said


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (tarfile.SYMTYPE, "a symbolic link"),
        (tarfile.LNKTYPE, "a hard link"),
        (tarfile.CHRTYPE, "a device"),
        (tarfile.BLKTYPE, "a device"),
        (tarfile.FIFOTYPE, "a named pipe"),
        (tarfile.GNUTYPE_SPARSE, "a sparse file"),
        (b"Z", "of the unknown type b'Z'"),
    ],
)
def test_a_tar_holds_ordinary_files_only(kind: bytes, words: str, tmp_path: Path) -> None:
    info = tarfile.TarInfo("odd")
    info.type = kind
    info.linkname = "/etc/passwd"

    assert f"the archive has a member 'odd' that is {words}" in refusal(tmp_path, tar_with(info))


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_a_zip_holds_ordinary_files_only(kind: int, tmp_path: Path) -> None:
    info = zipfile.ZipInfo("odd")
    info.create_system = 3
    info.external_attr = (kind | 0o777) << 16

    assert "the archive has a member 'odd' that is" in refusal(
        tmp_path, zip_bytes([*POLICY, (info, b"/etc")])
    )


@pytest.mark.parametrize("name", [PB, META])
def test_two_members_of_one_name_are_refused(name: str, tmp_path: Path) -> None:
    members = [*POLICY, (name, b"other")]

    assert f"2 files named {name}" in refusal(tmp_path, tar_bytes(members))


def test_a_bomb_of_ten_gigabytes_is_refused_by_what_it_claims(tmp_path: Path) -> None:
    info = tarfile.TarInfo(PB)
    info.size = 10 << 30
    data = gzip.compress(info.tobuf(tarfile.GNU_FORMAT) + bytes(5000))

    assert "unpacks to more than 1000 MB" in refusal(tmp_path, data)


def test_a_bomb_that_claims_little_is_stopped_while_it_unpacks(tmp_path: Path) -> None:
    data = tar_bomb(64 << 20, claimed_bytes=512)  # the zeros after the member look like the archive's end

    started = time.process_time()
    said = refusal(tmp_path, data)

    assert "unpacks to more than 100 times its own size" in said
    assert time.process_time() - started < 10.0


def test_ten_gigabytes_of_zeros_in_layers_of_gzip_are_stopped_early(tmp_path: Path) -> None:
    layer = io.BytesIO()
    with gzip.GzipFile(fileobj=layer, mode="wb", compresslevel=9) as file:
        file.write(tarfile.TarInfo(PB).tobuf())
        for _ in range(16):
            file.write(bytes(1 << 20))
    one = gzip.compress(bytes(64 << 20), 9)
    data = layer.getvalue() + one * 160  # gzip files one after another unpack as one: 10 GB from 10 MB

    started = time.process_time()
    said = refusal(tmp_path, data)

    assert "unpacks to more than" in said
    assert time.process_time() - started < 20.0


@pytest.mark.parametrize("size_bytes", [2_000_000_000, 500_000_000])
def test_a_zip_that_claims_too_much_is_refused_before_unpacking(size_bytes: int, tmp_path: Path) -> None:
    assert "unpacks to more than" in refusal(tmp_path, zip_claiming(PB, size_bytes))


def test_a_zip_that_claims_too_little_is_damaged(tmp_path: Path) -> None:
    data = bytearray(zip_bytes(POLICY))
    start = data.find(b"PK\x01\x02")
    data[start + 24] -= 1

    assert "the archive is damaged or cut off (zip: Bad CRC-32" in refusal(tmp_path, bytes(data))


@pytest.mark.parametrize("packing", ["tar", "tar.gz", "zip"])
def test_a_hundred_thousand_members_are_refused_fast(packing: str, tmp_path: Path) -> None:
    if packing == "zip":
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            for number in range(100_000):
                archive.writestr(zipfile.ZipInfo(f"{number}"), b"")
        data = packed.getvalue()
    else:
        block = tarfile.TarInfo("a").tobuf()
        data = block * 100_000 + bytes(1024)
        data = gzip.compress(data, 1) if packing == "tar.gz" else data

    started = time.process_time()
    said = refusal(tmp_path, data)

    assert "a policy has a handful" in said
    assert time.process_time() - started < 2.0


def test_the_limit_on_members_is_exact(tmp_path: Path) -> None:
    members = [*POLICY, *((f"{number}", b"") for number in range(8))]

    assert "more than 9 members" in refusal(tmp_path, tar_bytes(members), Limits(members=9))
    (tmp_path / "source").write_bytes(tar_bytes(members))
    assert len(unpack(tmp_path / "source", tmp_path / "into", limits=Limits(members=10)).ignored) == 8


def test_a_file_that_is_too_large_is_refused_before_reading(tmp_path: Path) -> None:
    assert "allowed are 0 MB" in refusal(tmp_path, tar_bytes(POLICY), Limits(packed_bytes=10))


@pytest.mark.parametrize("what", ["nothing", "folder", "pipe"])
def test_a_source_that_is_no_file_is_refused(what: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    if what == "folder":
        source.mkdir()
    if what == "pipe":
        os.mkfifo(source)

    with pytest.raises(PolicyError, match=r"cannot be read|is a folder or device"):
        unpack(source, tmp_path)


def test_a_locked_zip_is_refused(tmp_path: Path) -> None:
    data = bytearray(zip_bytes(POLICY))
    data[data.find(b"PK\x01\x02") + 8] |= 1

    assert "is locked with a password" in refusal(tmp_path, bytes(data))


def test_an_unusual_packing_method_is_named(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr(PB, FROZEN_GRAPH)

    assert "packed by method 14; allowed are 0 (stored) and 8 (deflate)" in refusal(
        tmp_path, packed.getvalue()
    )


def test_a_zip_with_64_bit_fields_is_read(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, data in POLICY:
            with archive.open(name, "w", force_zip64=True) as member:
                member.write(data)
    (tmp_path / "source").write_bytes(packed.getvalue())
    (tmp_path / "into").mkdir()

    assert unpack(tmp_path / "source", tmp_path / "into").network.read_bytes() == FROZEN_GRAPH


@pytest.mark.parametrize("packing", ["tar.gz", "tar", "zip"])
def test_an_archive_cut_off_anywhere_is_refused(packing: str, tmp_path: Path) -> None:
    noise = random.Random(5).randbytes(3000)
    members = [*POLICY, ("noise", noise)]
    data = zip_bytes(members) if packing == "zip" else tar_bytes(members, packed=packing == "tar.gz")
    end = len(data) if packing != "tar" else 512 * 3 + 1024 + len(noise)  # after it come zeros alone
    source, folder = tmp_path / "source", tmp_path / "into"
    folder.mkdir()

    for length in range(0, end, 41):
        source.write_bytes(data[:length])
        with pytest.raises(PolicyError):
            unpack(source, folder)
        assert list(folder.iterdir()) == []


def test_a_wrong_checksum_is_refused(tmp_path: Path) -> None:
    data = bytearray(tar_bytes(POLICY))
    data[-8] ^= 1

    assert "damaged or cut off (CRC check failed" in refusal(tmp_path, bytes(data))


def test_a_header_of_nonsense_in_the_middle_is_refused(tmp_path: Path) -> None:
    data = bytearray(tar_bytes([*POLICY, ("late", b"x")], packed=False))
    data[2 * 1024 : 2 * 1024 + 20] = b"\xff" * 20

    assert "damaged or cut off (tar: bad checksum)" in refusal(tmp_path, bytes(data))


@pytest.mark.parametrize(
    "record",
    [b"9 a=b\n", b"x a=b\n", b"7 ab=\n", b"99999999 a=b\n", b"26 GNU.sparse.realsize=9\n", b"11 size=-1\n"],
)
def test_odd_extended_headers_are_refused(record: bytes, tmp_path: Path) -> None:
    header = tarfile.TarInfo("x")
    header.type = tarfile.XHDTYPE
    header.size = len(record)
    data = header.tobuf() + record.ljust(512, b"\0") + tar_bytes(POLICY, packed=False)

    said = refusal(tmp_path, data)

    assert "damaged or cut off" in said or "a sparse file" in said


def test_a_huge_extended_header_is_refused_unread(tmp_path: Path) -> None:
    header = tarfile.TarInfo("x")
    header.type = tarfile.GNUTYPE_LONGNAME
    header.size = 1 << 29

    assert "a header of 536870912 bytes" in refusal(tmp_path, header.tobuf() + bytes(1024))


@pytest.mark.parametrize("data", [tar_bytes(POLICY), zip_bytes(POLICY), mean_network()])
def test_cancelling_at_any_moment_leaves_nothing(data: bytes, tmp_path: Path) -> None:
    source, folder = tmp_path / "source", tmp_path / "into"
    source.write_bytes(data)
    (tmp_path / META).write_bytes(METADATA)
    folder.mkdir()
    asked = 0

    def counting() -> bool:
        nonlocal asked
        asked += 1
        return False

    unpack(source, folder, cancelled=counting)
    for path in folder.iterdir():
        path.unlink()
    for moment in range(1, asked + 1):
        left = iter([False] * (moment - 1))
        with pytest.raises(UnpackCancelledError):
            unpack(source, folder, cancelled=lambda left=left: next(left, True))
        assert list(folder.iterdir()) == []


@pytest.mark.parametrize("size_bytes", [0, 3, len(FROZEN_GRAPH) + 3])
def test_a_full_disk_is_told_and_leaves_nothing(
    size_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = size_bytes

    class FullDisk(io.FileIO):
        def write(self, data: memoryview) -> int:  # type: ignore[override]
            nonlocal left
            taken = min(left, len(data))
            if taken == 0 and len(data) > 0:
                raise OSError(28, "No space left on device")
            left -= taken
            return super().write(data[:taken])

    monkeypatch.setattr(
        archive_limits, "open", lambda descriptor, *_args, **_named: FullDisk(descriptor, "wb"), raising=False
    )

    assert "the disk is full" in refusal(tmp_path, tar_bytes(POLICY))


def test_nothing_that_was_there_is_overwritten_or_removed(tmp_path: Path) -> None:
    source, folder = tmp_path / "source", tmp_path / "into"
    source.write_bytes(tar_bytes(POLICY))
    folder.mkdir()
    (folder / PB).symlink_to(tmp_path / "victim")

    with pytest.raises(PolicyError, match="is there already"):
        unpack(source, folder)

    assert [path.name for path in folder.iterdir()] == [PB]
    assert not (tmp_path / "victim").exists()


@given(st.text())
def test_a_safe_name_has_no_way_out(raw: str) -> None:
    try:
        parts = safe_name(raw).split("/")
    except PolicyError:
        return
    assert not {"..", "."} & set(parts)
    assert not safe_name(raw).startswith("/")


@given(st.text(st.characters(), max_size=300))
def test_a_shown_name_is_printable_and_short(raw: str) -> None:
    assert printable(raw).isprintable()
    assert len(printable(raw)) <= 200
    printable(raw).encode()


SEEDS = [
    tar_bytes(POLICY),
    tar_bytes(POLICY, packed=False),
    zip_bytes(POLICY),
    tar_bytes([("model.onnx", mean_network()), (META, METADATA)], packed=False),
    mean_network(),
    FROZEN_GRAPH,
]


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_mutated_archives_are_read_or_refused_and_leave_nothing(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    mutated = bytearray(data.draw(st.sampled_from(SEEDS)))
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, max(0, len(mutated) - 1)))
        piece = data.draw(st.binary(max_size=8))
        mutated[position : position + data.draw(st.integers(0, 8))] = piece
    root = tmp_path_factory.mktemp("fuzz")
    source, folder = root / "source", root / "into"
    source.write_bytes(mutated)
    folder.mkdir()
    (root / META).write_bytes(METADATA)

    try:
        contents = unpack(source, folder)
    except PolicyError:
        assert list(folder.iterdir()) == []
    else:
        assert contents.metadata is not None
        assert {contents.network, contents.metadata} <= set(folder.iterdir())
        assert len(list(folder.iterdir())) == 2 + len(contents.external_data)
    assert {path.name for path in root.iterdir()} == {"source", "into", META}


@settings(max_examples=300, deadline=None)
@given(st.binary(min_size=1, max_size=200))
def test_any_bytes_are_walked_or_refused_as_a_network(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.mktemp("bytes") / "model.onnx"
    path.write_bytes(data)

    try:
        outline = onnx_outline(path, lambda: False)
    except PolicyError:
        return
    assert len(outline.external_files) <= len(data)
