"""Every layout of upload is understood, and what is none is refused in words that help."""

import json
from pathlib import Path

import onnx
import pytest
from onnx import helper

from models.archive import Contents, unpack
from models.errors import PolicyError
from tests.unit.archive_files import FROZEN_GRAPH, METADATA, tar_bytes, zip_bytes
from tests.unit.policy_files import mean_network

ONNX = mean_network()
PB, META = "model.pb", "model_metadata.json"


def unpacked(tmp_path: Path, data: bytes, file_name: str = "upload.bin") -> Contents:
    source = tmp_path / file_name
    source.write_bytes(data)
    folder = tmp_path / "into"
    folder.mkdir(exist_ok=True)
    return unpack(source, folder, name="My car.tar.gz")


def refusal(tmp_path: Path, data: bytes) -> str:
    with pytest.raises(PolicyError) as caught:
        unpacked(tmp_path, data)
    assert list((tmp_path / "into").iterdir()) == []
    return str(caught.value)


LAYOUTS = {
    "console": [("agent/model.pb", FROZEN_GRAPH), (META, METADATA), ("worker_0.json", b"x")],
    "car": [(PB, FROZEN_GRAPH), (META, METADATA), ("checksum.txt", b"x")],
    "bucket": [("model/model_7.pb", FROZEN_GRAPH), ("model/" + META, METADATA), ("model/.ready", b"")],
    "wrapped": [("a b/agent/model.pb", FROZEN_GRAPH), ("a b/" + META, METADATA)],
    "macOS": [("p/._model.pb", b"x"), ("__MACOSX/p/._model.pb", b"x"), ("p/.DS_Store", b"x"),
              ("p/model.pb", FROZEN_GRAPH), ("p/" + META, METADATA)],
    "windows": [("p\\agent\\model.pb", FROZEN_GRAPH), ("p\\" + META, METADATA), ("p\\Thumbs.db", b"x")],
    "dotted": [("./model.pb", FROZEN_GRAPH), ("./" + META, METADATA)],
    "unicode": [("Straße 🏁/model.pb", FROZEN_GRAPH), ("Straße 🏁/" + META, METADATA)],
    "long": [("d" * 120 + "/" + "e" * 120 + "/model.pb", FROZEN_GRAPH), ("d" * 120 + "/" + META, METADATA)],
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("packing", ["tar.gz", "tar", "zip"])
def test_every_layout_is_understood_in_every_packing(layout: str, packing: str, tmp_path: Path) -> None:
    members = LAYOUTS[layout]
    data = zip_bytes(members) if packing == "zip" else tar_bytes(members, packed=packing == "tar.gz")

    contents = unpacked(tmp_path, data, "named.tar.gz")

    folder = tmp_path / "into"
    assert (contents.network, contents.metadata) == (folder / PB, folder / META)
    assert (folder / PB).read_bytes() == FROZEN_GRAPH
    assert (folder / META).read_bytes() == METADATA
    assert {path.name for path in folder.iterdir()} == {PB, META}
    assert contents.kind == "frozen_graph"
    assert contents.name == "My car"
    assert len(contents.ignored) == len(members) - 2


def test_what_the_network_is_its_content_tells(tmp_path: Path) -> None:
    contents = unpacked(tmp_path, zip_bytes([("model.pb", ONNX), (META, METADATA)]))

    assert contents.kind == "onnx"
    assert contents.network == tmp_path / "into" / "model.onnx"


@pytest.mark.parametrize("network", [ONNX, FROZEN_GRAPH])
def test_a_bare_network_takes_the_metadata_beside_it(network: bytes, tmp_path: Path) -> None:
    (tmp_path / META).write_bytes(METADATA)

    contents = unpacked(tmp_path, network)

    assert contents.metadata is not None
    assert contents.metadata.read_bytes() == METADATA


@pytest.mark.parametrize("network", [ONNX, FROZEN_GRAPH])
def test_a_bare_network_without_metadata_is_refused_with_the_remedy(network: bytes, tmp_path: Path) -> None:
    assert "there is no model_metadata.json beside the network" in refusal(tmp_path, network)


def test_metadata_beside_a_network_must_be_an_ordinary_file(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(METADATA)
    (tmp_path / META).symlink_to(tmp_path / "elsewhere")

    assert "there is no model_metadata.json beside" in refusal(tmp_path, ONNX)


def own_metadata() -> bytes:
    model = onnx.load_from_string(ONNX)
    helper.set_model_props(model, {"model_metadata": METADATA.decode(), "input_range": "0..1"})
    return bytes(model.SerializeToString())


def test_an_onnx_file_can_carry_its_metadata_in_itself(tmp_path: Path) -> None:
    contents = unpacked(tmp_path, own_metadata())

    assert contents.metadata is not None
    assert contents.metadata.read_bytes() == METADATA


def test_a_networks_own_metadata_wins_over_the_archives_and_is_told(tmp_path: Path) -> None:
    contents = unpacked(tmp_path, zip_bytes([("model.onnx", own_metadata()), (META, b"{}")]))

    assert contents.metadata is not None
    assert contents.metadata.read_bytes() == METADATA
    assert contents.notes == (
        "the archive's model_metadata.json is passed over; the network carries its own",
    )


def test_the_best_of_several_checkpoints_is_taken_by_trainings_own_list(tmp_path: Path) -> None:
    best = {"best_checkpoint": {"name": "12_Step-99.ckpt"}, "last_checkpoint": {"name": "13_Step-1.ckpt"}}
    members = [
        (f"model/model_{number}.pb", FROZEN_GRAPH + b"\x18" + bytes([number])) for number in (2, 12, 13)
    ]
    members += [("model/deepracer_checkpoints.json", json.dumps(best).encode()), ("model/" + META, METADATA)]

    contents = unpacked(tmp_path, tar_bytes(members))

    assert contents.network.read_bytes().endswith(b"\x18\x0c")
    assert contents.notes[0].startswith("of 3 networks model/model_12.pb was taken")


@pytest.mark.parametrize(
    "listed", [None, b"", b"[]", b'{"best_checkpoint": {"name": 3}}', b'{"best_checkpoint": {"name": "9_"}}']
)
def test_several_networks_without_a_usable_list_are_refused_by_name(
    listed: bytes | None, tmp_path: Path
) -> None:
    members = [("model_1.pb", FROZEN_GRAPH), ("model_2.pb", FROZEN_GRAPH), (META, METADATA)]
    members += [] if listed is None else [("deepracer_checkpoints.json", listed)]

    said = refusal(tmp_path, tar_bytes(members))

    assert "the archive holds 2 networks (model_1.pb, model_2.pb)" in said
    assert "deepracer_checkpoints.json" in said


def test_the_metadata_nearest_to_the_network_counts(tmp_path: Path) -> None:
    members = [("a/b/model.pb", FROZEN_GRAPH), ("c/" + META, b"1"), (META, b"2"), ("a/" + META, METADATA)]

    contents = unpacked(tmp_path, tar_bytes(members))

    assert contents.metadata is not None
    assert contents.metadata.read_bytes() == METADATA


def external(location: str) -> bytes:
    model = onnx.load_from_string(ONNX)
    tensor = model.graph.initializer[0]
    onnx.external_data_helper.set_external_data(tensor, location)
    tensor.ClearField("raw_data")
    return bytes(model.SerializeToString())


@pytest.mark.parametrize("bare", [False, True])
def test_weights_beside_an_onnx_file_come_with_it(bare: bool, tmp_path: Path) -> None:
    network = external("weights.bin")
    if bare:
        (tmp_path / META).write_bytes(METADATA)
        (tmp_path / "weights.bin").write_bytes(b"w" * 12)
        contents = unpacked(tmp_path, network)
    else:
        members = [("x/model.onnx", network), ("x/weights.bin", b"w" * 12), ("x/" + META, METADATA)]
        contents = unpacked(tmp_path, zip_bytes(members))

    assert contents.external_data == (tmp_path / "into" / "weights.bin",)
    assert contents.external_data[0].read_bytes() == b"w" * 12


@pytest.mark.parametrize(
    "location",
    ["../weights.bin", "/etc/passwd", "a/b", "a\\b", "C:x", ".hidden", "", " ", "model.onnx", META,
     "original", "x\n", "y" * 200],
)  # fmt: skip
def test_weights_must_have_a_plain_name(location: str, tmp_path: Path) -> None:
    said = refusal(tmp_path, zip_bytes([("model.onnx", external(location)), (META, METADATA), ("b", b"")]))

    assert "it must be the plain name of a file beside the network" in said


def test_missing_weights_are_named(tmp_path: Path) -> None:
    said = refusal(tmp_path, zip_bytes([("model.onnx", external("w.bin")), (META, METADATA)]))

    assert "weights lie in w.bin, which is not beside it" in said


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "the file is empty"),
        (b"GIF89a" + bytes(900), "the file is a GIF picture"),
        (b"\x89PNG\r\n\x1a\n", "a PNG picture"),
        (b"<!DOCTYPE html><p>Sign in", "a web page"),
        (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
        (b"\x89HDF\r\n\x1a\n", "a Keras or HDF5 file"),
        (b"\x1c\0\0\0TFL3", "a TensorFlow Lite model"),
        (b'<?xml version="1.0"?>\n<net name="x" version="10">', "an OpenVINO model"),
        (b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.", "PyTorch or Python pickle"),
        (b"\x80\x04\x95", "PyTorch or Python pickle file; such a file can hold any program"),
        (METADATA, "is a JSON file"),
        (b"hello", "is no network, or is cut off"),
        (bytes(100), "is no network, or is cut off"),
        (ONNX[:-9], "is no network, or is cut off"),
        (b"\x08\x01\x12\x00", "a TensorFlow SavedModel"),
        (b"\x18\x01", "neither an ONNX file nor a frozen TensorFlow graph"),
        (bytes(10240), "the archive holds no files"),
        (tar_bytes([]), "the archive holds no files"),
        (zip_bytes([]), "the archive holds no files"),
        (zip_bytes([("__MACOSX/._x.pb", b"")]), "the archive holds no files"),
        (zip_bytes([("data", b"{}"), ("policy.pth", b"x")]), "Stable-Baselines3 file"),
        (zip_bytes([("_stable_baselines3_version", b"2")]), "`lapwing train --out FOLDER` writes one"),
        (zip_bytes([("archive/data.pkl", b"x")]), "a PyTorch file"),
        (zip_bytes([("model.tflite", b"x")]), "only a TensorFlow Lite model (model.tflite)"),
        (zip_bytes([("model.xml", b"x"), ("model.bin", b"x")]), "is an OpenVINO model"),
        (zip_bytes([("a.h5", b"x")]), "only a Keras file"),
        (zip_bytes([("5_Step-1.ckpt.index", b"x")]), "only training checkpoints"),
        (zip_bytes([("deep/model.tar.gz", b"x"), (META, b"")]), "holds another archive (deep/model.tar.gz)"),
        (zip_bytes([("readme.txt", b"x")]), "holds no network, only readme.txt"),
        (zip_bytes([("model.pb", FROZEN_GRAPH)]), "the archive has no model_metadata.json"),
        (
            zip_bytes([("model.onnx", b"GIF89a"), (META, METADATA)]),
            "the archive's model.onnx is a GIF picture",
        ),
        (zip_bytes([("model.onnx", b""), (META, METADATA)]), "is no network, or is cut off"),
        (zip_bytes([("model.pb", FROZEN_GRAPH), (META, bytes(1 << 21))]), "has 2097152 bytes"),
        (
            zip_bytes([("a/model.pb", FROZEN_GRAPH), ("b/" + META, b""), ("c/" + META, b"")]),
            "2 files model_metadata.json (b/model_metadata.json, c/model_metadata.json)",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "data",  # bytes may hold a date
)
def test_what_is_no_policy_is_named_and_refused(data: bytes, words: str, tmp_path: Path) -> None:
    assert words in refusal(tmp_path, data)


def test_one_compressed_file_is_no_archive(tmp_path: Path) -> None:
    import gzip

    assert "packed by gzip but holds no tar archive" in refusal(tmp_path, gzip.compress(FROZEN_GRAPH))
