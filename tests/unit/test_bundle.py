"""A policy on disk is checked before it drives, and refused in sentences."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from policy_files import mean_network, senses_network, write_policy

from models import bundle, store_builtin
from models.bundle import load_bundle
from models.errors import OutputProblem, PolicyError, PolicyOutputError
from models.metadata import Color, Layout, ValueRange
from models.observation import ObservationFormat
from models.standard_network import write_standard_bundle

RANGES = {"steering_angle": {"high": 30, "low": -30}, "speed": {"high": 4, "low": 1}}


def refusal(folder: Path) -> str:
    with pytest.raises(PolicyError) as caught:
        load_bundle(folder)
    return str(caught.value)


def test_the_surest_of_the_shipped_policies_drives_where_none_is_named() -> None:
    assert bundle.zoo_names()[0] == "curlew"
    assert len(bundle.zoo_names()) > 1


def test_a_folder_with_network_and_metadata_is_a_policy(tmp_path: Path) -> None:
    checked = load_bundle(write_policy(tmp_path / "left_or_right"))

    assert checked.name == "left_or_right"
    assert checked.model == tmp_path / "left_or_right" / "model.onnx"
    assert checked.metadata.output_count == 3
    assert checked.camera.format == ObservationFormat()
    assert checked.infer_median_ms > 0.0


def test_a_network_file_with_metadata_beside_it_is_a_policy(tmp_path: Path) -> None:
    folder = write_policy(tmp_path / "named")
    shutil.move(folder / "model.onnx", folder / "quick.onnx")

    assert load_bundle(folder / "quick.onnx").name == "quick"
    assert load_bundle(str(folder)).model == folder / "quick.onnx"


def test_a_shipped_policy_is_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_builtin, "ZOO", tmp_path)
    write_policy(tmp_path / "racer")

    assert bundle.zoo_names() == ("racer",)
    assert load_bundle("racer").name == "racer"


def test_the_standard_network_is_a_policy(tmp_path: Path) -> None:
    write_standard_bundle(tmp_path / "standard")

    checked = load_bundle(tmp_path / "standard")

    assert checked.metadata.output_count == 10
    assert checked.camera.format.shape == (1, 120, 160, 1)


def test_the_hash_changes_with_either_file_and_with_nothing_else(tmp_path: Path) -> None:
    one = load_bundle(write_policy(tmp_path / "one"))
    same = load_bundle(write_policy(tmp_path / "same"))
    other_network = load_bundle(write_policy(tmp_path / "network", mean_network(offsets=(1.0, 2.0, 3.0))))
    other_metadata = load_bundle(write_policy(tmp_path / "metadata", control_rate_hz=30))

    assert one.sha256 == same.sha256
    assert len({one.sha256, other_network.sha256, other_metadata.sha256}) == 3


def test_weights_that_lie_beside_the_network_belong_to_the_hash(tmp_path: Path) -> None:
    """Two exports of one kind of network differ in nothing else."""
    hashes = set()
    for name, level in (("one", 0.5), ("same", 0.5), ("other", 0.25)):
        weights = np.full((120, 160, 1, 3), level, np.float32)
        folder = write_policy(tmp_path / name)
        network = onnx.load_from_string(senses_network({"picture": weights}))
        onnx.save_model(network, folder / "model.onnx", save_as_external_data=True, location="weights.bin")
        assert (folder / "weights.bin").stat().st_size >= weights.nbytes
        hashes.add(load_bundle(folder).sha256)

    assert len(hashes) == 2


@pytest.mark.parametrize(
    ("network", "fields", "observation"),
    [
        ({"shape": ("batch", 60, 80, 1)}, {}, ObservationFormat(height_px=60, width_px=80)),
        ({"shape": (1, 1, 60, 80)}, {}, ObservationFormat(height_px=60, width_px=80, layout=Layout.NCHW)),
        ({"input_type": TensorProto.UINT8}, {}, ObservationFormat(dtype="uint8")),
        ({"input_type": TensorProto.FLOAT16}, {}, ObservationFormat(dtype="float16")),
        ({}, {"input": {"range": "0..1"}}, ObservationFormat(range=ValueRange.UNIT)),
        (
            {"shape": (1, 120, 160, 6)},
            {"input": {"color": "rgb", "frame_stack": 2}},
            ObservationFormat(color=Color.RGB, frame_stack=2),
        ),
        (
            {"shape": (1, 9, 9, 9)},
            {"input": {"frame_stack": 9 - 1, "layout": "NHWC"}},
            None,
        ),
        (
            {"shape": (1, 8, 8, 8)},
            {"input": {"frame_stack": 8, "layout": "NCHW"}},
            ObservationFormat(height_px=8, width_px=8, frame_stack=8, layout=Layout.NCHW),
        ),
        ({"output_type": TensorProto.FLOAT16}, {}, ObservationFormat()),
        ({"output_type": TensorProto.DOUBLE}, {}, ObservationFormat()),
        ({"output_rank": 1}, {}, ObservationFormat()),
        ({"slopes": (0.0, 0.0), "offsets": (0.0, 0.0)}, {"action_space": RANGES}, ObservationFormat()),
    ],
)
def test_inputs_of_every_kind_are_understood_from_shape_and_metadata(
    tmp_path: Path, network: dict[str, Any], fields: dict[str, Any], observation: ObservationFormat | None
) -> None:
    folder = write_policy(tmp_path / "policy", mean_network(**network), **fields)

    if observation is None:
        assert "describes 8 gray pictures (8 channels)" in refusal(folder)
        return
    assert load_bundle(folder).camera.format == observation


@pytest.mark.parametrize(
    ("network", "fields", "words"),
    [
        ({"shape": (1, 120, 160, 3)}, {}, "shape [1, 120, 160, 3], but model_metadata.json describes 1 gray"),
        ({}, {"input": {"layout": "NCHW"}}, "(1 channel) as NCHW; correct sensor, input.color"),
        ({"shape": (1, 8, 8, 8)}, {"input": {"frame_stack": 8}}, "could be NHWC or NCHW; state input.layout"),
        ({"shape": (2, 120, 160, 1)}, {}, "shape [2, 120, 160, 1]; allowed is one picture of a fixed size"),
        ({"shape": (1, "h", "w", 1)}, {}, "shape [1, ?, ?, 1]; allowed is one picture of a fixed size"),
        ({"shape": (1, 4, 160, 1)}, {}, "picture is 160 x 4; allowed are sides of 8 to 1080"),
        (
            {"shape": (1, 64)},
            {},
            "picture of shape [1, 64] could be none of the sensors",
        ),
        ({"input_count": 2}, {}, "input second of shape [1, 120, 160, 1] could be none of the sensors"),
        ({"output_count": 2}, {}, "has 2 outputs (policy0, policy1); a policy has exactly one"),
        ({"input_type": TensorProto.INT64}, {}, "input picture is tensor(int64); allowed are tensor(float)"),
        ({"output_type": TensorProto.INT32}, {}, "output is tensor(int32); allowed are floating-point"),
        ({"input_type": TensorProto.UINT8}, {"input": {"range": "0..1"}}, "bytes have the range 0..255"),
        ({"slopes": (0.0,) * 4, "offsets": (0.0,) * 4}, {}, "shape [1, 4], but the action space has 3"),
        ({"slopes": (0.0,) * 2, "offsets": (0.0,) * 2}, {}, "which needs 3 numbers; use the network and the"),
        ({}, {"action_space": RANGES}, "the action space is a range of steering and speed, which needs 2"),
        ({}, {"sensor": ["FRONT_FACING_CAMERA", "LIDAR"]}, "but the network has no input for LIDAR"),
        ({}, {"sensor": ["STEREO_CAMERAS"]}, "1 gray picture of two eyes (2 channels)"),
        ({}, {"action_units": "miles"}, "action_units is 'miles'"),
    ],
)
def test_a_network_that_does_not_fit_its_metadata_is_refused_in_words(
    tmp_path: Path, network: dict[str, Any], fields: dict[str, Any], words: str
) -> None:
    assert words in refusal(write_policy(tmp_path / "policy", mean_network(**network), **fields))


@pytest.mark.parametrize("slope", [float("nan"), float("inf")])
def test_a_network_whose_answers_are_not_finite_is_refused(tmp_path: Path, slope: float) -> None:
    folder = write_policy(tmp_path / "policy", mean_network(slopes=(0.0, slope, 0.0)))

    with pytest.raises(PolicyOutputError, match="which is not finite") as caught:
        load_bundle(folder)

    assert caught.value.kind is OutputProblem.NOT_FINITE


@pytest.mark.parametrize("data", [b"", b"GIF89a", mean_network()[:-40], b"\x00" * 100])
def test_a_file_that_is_no_network_is_refused_with_its_path(tmp_path: Path, data: bytes) -> None:
    words = refusal(write_policy(tmp_path / "policy", data))

    assert words.startswith(str(tmp_path / "policy" / "model.onnx"))
    assert "\n" not in words


def test_a_damaged_network_is_refused_without_a_word_on_standard_output(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """onnxruntime prints its second attempt where the name of an operator is no text."""
    damaged = mean_network().replace(b"ReduceMean", b"\xa4educeMean")

    words = refusal(write_policy(tmp_path / "policy", damaged))

    assert "is not a network that onnxruntime" in words
    assert capfd.readouterr().out == ""


def test_missing_files_are_refused_with_where_they_belong(tmp_path: Path) -> None:
    assert "does not exist; give a folder with model.onnx" in refusal(tmp_path / "nowhere")

    folder = write_policy(tmp_path / "policy")
    (folder / "model_metadata.json").unlink()
    assert "model_metadata.json does not exist; put" in refusal(folder)

    (folder / "model.onnx").unlink()
    assert "has 0 .onnx files and no model.onnx" in refusal(folder)

    for name in ("a.onnx", "b.onnx"):
        (folder / name).write_bytes(mean_network())
    assert "has 2 .onnx files and no model.onnx" in refusal(folder)

    text = tmp_path / "policy.txt"
    text.write_text("hello", encoding="utf-8")
    assert "is not an .onnx file" in refusal(text)


def test_broken_metadata_is_refused_with_its_path(tmp_path: Path) -> None:
    folder = write_policy(tmp_path / "policy")
    (folder / "model_metadata.json").write_text(json.dumps([]), encoding="utf-8")

    assert "model_metadata.json: model_metadata.json holds a list" in refusal(folder)
