"""Uploads for tests of the check: a good one, and bad ones of every sort with the sentence each deserves."""

import gzip
import io
import json
import os
import tarfile
import zipfile
import zlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.unit.policy_files import THREE_ACTIONS, mean_network

METADATA = json.dumps(
    {
        "action_space": THREE_ACTIONS,
        "sensor": ["FRONT_FACING_CAMERA"],
        "input": {"range": "0..255"},
        "control_rate_hz": 120,  # measuring takes as many control periods, and so less time than at 15 Hz
    }
).encode()


def tar_gz(**members: bytes) -> bytes:
    """A .tar.gz of files whose names' dots are written as `__`."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name.replace("__", "."))
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def good(network: bytes | None = None, metadata: bytes = METADATA) -> bytes:
    return tar_gz(model__onnx=network or mean_network(), model_metadata__json=metadata)


def changed_network(kind: str) -> bytes:
    network = onnx.load_from_string(mean_network())
    graph = network.graph
    slopes = next(tensor for tensor in graph.initializer if tensor.name == "slopes")
    if kind == "nan":
        slopes.CopyFrom(numpy_helper.from_array(np.array([[0, np.nan, 1]], np.float32), "slopes"))
    elif kind == "overflow":
        slopes.dims[:] = [2**62, 2**62]
    elif kind == "custom":
        graph.node.insert(0, helper.make_node("Exec", ["picture"], ["x"], domain="evil.example"))
    elif kind == "loop":
        body = helper.make_graph([], "body", [], [])
        graph.node.insert(0, helper.make_node("Loop", ["picture"], ["x"], body=body))
    elif kind == "memory":
        graph.initializer.append(numpy_helper.from_array(np.array([99999, 1, 1, 1], np.int64), "times"))
        graph.node.insert(0, helper.make_node("Tile", ["picture", "times"], ["crowd"]))
        graph.node[1].input[0] = "crowd"
    elif kind == "outside":
        slopes.ClearField("raw_data")
        slopes.data_location = TensorProto.EXTERNAL
        entry = slopes.external_data.add()
        entry.key, entry.value = "location", "../../../etc/passwd"
    return bytes(network.SerializeToString())


def zip_bomb() -> bytes:
    """1.5 MB that claim to be 1.5 GB; they end in a wrong checksum, at which nobody shall arrive."""
    zeros, pieces = bytes(16 << 20), 96
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    piece = packer.compress(zeros) + packer.flush(zlib.Z_FULL_FLUSH)  # which begins anew: it can be repeated
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("model.onnx", piece * pieces + packer.flush())
        archive.writestr("model_metadata.json", METADATA)
        bomb = archive.getinfo("model.onnx")
        bomb.compress_type, bomb.file_size = zipfile.ZIP_DEFLATED, pieces * len(zeros)
    file.seek(bomb.header_offset)
    file.write(bomb.FileHeader())
    return file.getvalue()


def escaping_tar() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        member = tarfile.TarInfo("../../escaped.onnx")
        member.size = 4
        archive.addfile(member, io.BytesIO(b"evil"))
    return file.getvalue()


def crowded_zip() -> bytes:
    """One member more than is looked at."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(2001):
            archive.writestr(str(number), b"")
    return file.getvalue()


def baselines_zip() -> bytes:
    """What a training with Stable-Baselines3 saves: pickles, which nobody here opens."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in ("data", "policy.pth", "policy.optimizer.pth", "pytorch_variables.pth"):
            archive.writestr(name, b"cos\nsystem\n(S'touch /tmp/opened'\ntR.")
        archive.writestr("_stable_baselines3_version", b"2.9.2")
    return file.getvalue()


BAD: dict[str, tuple[str, bytes]] = {
    "truncated": ("swift.tar.gz", good()[:-60]),
    "empty": ("swift.tar.gz", b""),
    "wrong magic": ("swift.zip", os.urandom(2000)),
    "GIF": ("swift.onnx", b"GIF89a" + bytes(200)),
    "HTML": ("swift.tar.gz", b"<!DOCTYPE html><html>login</html>"),
    "gzip of nothing": ("swift.tar.gz", gzip.compress(b"", mtime=0)),
    "zip bomb": ("swift.zip", zip_bomb()),
    "archive in an archive": ("swift.tar.gz", tar_gz(swift__tar__gz=good())),
    "too many members": ("swift.zip", crowded_zip()),
    "Stable-Baselines3": ("swift.zip", baselines_zip()),
    "path outside": ("swift.tar.gz", escaping_tar()),
    "no metadata": ("swift.tar.gz", tar_gz(model__onnx=mean_network())),
    "metadata with NaN": ("swift.tar.gz", good(metadata=METADATA.replace(b"30", b"NaN", 1))),
    "metadata with 1e308": ("swift.tar.gz", good(metadata=METADATA.replace(b"30", b"1e308", 1))),
    "metadata of another": ("swift.tar.gz", good(mean_network(slopes=(1, 2), offsets=(1, 2)))),
    "NaN weights": ("swift.tar.gz", good(changed_network("nan"))),
    "overflowing shape": ("swift.tar.gz", good(changed_network("overflow"))),
    "custom operator": ("swift.tar.gz", good(changed_network("custom"))),
    "loop": ("swift.tar.gz", good(changed_network("loop"))),
    "weights outside": ("swift.tar.gz", good(changed_network("outside"))),
    "8 GB of memory": ("swift.tar.gz", good(changed_network("memory"))),
    "NaN answers": ("swift.tar.gz", good(mean_network(nan_between=(100.0, 200.0)))),
}
"""What each is -> the file's name and content."""
