"""Uploads with a few bytes changed, and what becomes of them.

`python -m tests.unit.fuzzing COUNT` tries as many from a random start and adds to `fuzz_corpus.zip` what
ends in anything but a sentence, and what is refused with a sentence that the corpus does not have yet.
"""

import gzip
import io
import random
import re
import secrets
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from models import metadata
from models.archive import unpack
from models.check_network import check_network
from models.convert import convert
from models.errors import PolicyError
from tests.unit.policy_files import mean_network
from tests.unit.upload_files import METADATA

CORPUS = Path(__file__).parent / "fuzz_corpus.zip"
GOLDEN = Path(__file__).parents[1] / "golden" / "observation_shallow_discrete-tf1.pb"
METADATA_NAME = "model_metadata.json"
CORPUS_LIMIT_BYTES = 400_000
WORDS = (b"\xff\xff\xff\xff", b"\0\0\0\0", b"1e99", b"NaN,", b"../.", b"\x08\x80\x80\x80")


def originals() -> dict[str, bytes]:
    """Good uploads, the same bytes every time, by the name that they come with."""
    tar = packed_tar({"model.onnx": mean_network(), METADATA_NAME: METADATA})
    return {
        "a.tar": tar,
        "a.tar.gz": gzip.compress(tar, mtime=0),
        "a.zip": packed_zip({"model.onnx": mean_network(), METADATA_NAME: METADATA}),
        METADATA_NAME: METADATA,
        "model.onnx": mean_network(),
        "model.pb": GOLDEN.read_bytes(),
    }


def packed_tar(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def packed_zip(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)
    return file.getvalue()


def mutated(seed: int) -> tuple[str, bytes]:
    """Return the name and the bytes of one changed upload, the same for the same seed."""
    rng = random.Random(seed)
    files = originals()
    name = rng.choice(list(files))
    data = bytearray(files[name])
    for _ in range(rng.choice([1, 1, 2, 4, 16])):
        _change(data, rng)
    return name, bytes(data)


def _change(data: bytearray, rng: random.Random) -> None:
    if not data:
        return
    at = rng.randrange(len(data))
    end = min(len(data), at + rng.randrange(1, 64))
    match rng.randrange(7):
        case 0:
            data[at] ^= 1 << rng.randrange(8)
        case 1:
            data[at] = rng.choice([0, 1, 0x7F, 0x80, 0xFF])
        case 2:
            del data[at:]
        case 3:
            del data[at:end]
        case 4:
            data[at:at] = data[at:end]
        case 5:
            data[at : at + 4] = rng.choice(WORDS)
        case _:
            data[at : at + 8] = rng.randbytes(8)


def refusal(name: str, data: bytes, folder: Path) -> str:
    """Do with an upload what the check does before it opens a session; return its sentence, empty if good."""
    try:
        if name == METADATA_NAME:
            metadata.parse(data)
            return ""
        if name in {"model.onnx", "model.pb"}:  # in an archive that is whole
            data, name = packed_tar({name: data, METADATA_NAME: METADATA}), "a.tar"
        upload, into, made = folder / "upload", folder / "into", folder / "made"
        upload.write_bytes(data)
        into.mkdir()
        made.mkdir()
        contents = unpack(upload, into, name=name)
        network = contents.network
        if contents.kind == "frozen_graph":
            convert(network, made)
            network = made / "model.onnx"
        check_network(network)
        if contents.metadata is not None:
            metadata.parse(contents.metadata.read_bytes())
    except PolicyError as error:
        return str(error)
    return ""


def corpus() -> Iterator[tuple[str, str, bytes]]:
    """Yield a label, the upload's name and its bytes."""
    with zipfile.ZipFile(CORPUS) as archive:
        for label in archive.namelist():
            yield label, label.partition("-")[2], archive.read(label)


def main(count: int) -> int:
    """Look for new ones; return how many ended in anything but a sentence."""
    first = secrets.randbelow(1 << 40)
    broken = 0
    kept = {label: data for label, _, data in corpus()} if CORPUS.is_file() else {}
    known = {_kind(_tried(label.partition("-")[2], data)) for label, data in kept.items()}
    for seed in range(first, first + count):
        name, data = mutated(seed)
        sentence = _tried(name, data)
        is_broken = sentence.startswith("!")
        broken += is_broken
        if is_broken or (sentence and _kind(sentence) not in known):
            known.add(_kind(sentence))
            kept[f"{seed}-{name}"] = data
            sys.stdout.write(f"{seed} {name}: {sentence}\n")
    content = packed_zip(kept)
    if len(content) > CORPUS_LIMIT_BYTES:
        sys.exit(f"the corpus would have {len(content)} bytes, allowed {CORPUS_LIMIT_BYTES}")
    CORPUS.write_bytes(content)
    return broken


def _tried(name: str, data: bytes) -> str:
    with tempfile.TemporaryDirectory() as folder:
        try:
            return refusal(name, data, Path(folder))
        except Exception as error:  # noqa: BLE001 - that is what is looked for
            return f"! {type(error).__name__}: {error}"


def _kind(sentence: str) -> str:
    """Return the sentence without what differs from case to case."""
    return re.sub(r"'[^']*'|\"[^\"]*\"|\([^)]*\)|[^ a-z]+", "", sentence)[:40]


if __name__ == "__main__":
    sys.exit(1 if main(int(sys.argv[1])) else 0)
