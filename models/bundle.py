"""A network and its metadata on disk, checked before anything drives with it."""

import hashlib
from pathlib import Path

import msgspec
import numpy as np

from models import metadata
from models.action_space import action_space
from models.errors import PolicyError
from models.metadata import ActionSpaceType, Color, Layout, PolicyMetadata, Sensor, ValueRange
from models.observation import ObservationFormat, Observer
from models.runtime import INPUT_TYPES, PolicyRuntime, SessionSettings, TensorInfo

ZOO = Path(__file__).parent / "zoo"
METADATA_NAME = "model_metadata.json"
MODEL_NAME = "model.onnx"

SIDE_RANGE_PX = (8, 1080)  # of an input picture; DeepRacer's is 160 x 120
SINGLE_CAMERA = frozenset({Sensor.OBSERVATION, Sensor.FRONT_FACING_CAMERA, Sensor.LEFT_CAMERA})
DRY_RUNS = 8


class PolicyBundle(msgspec.Struct, frozen=True, kw_only=True):
    """A policy that has passed the check on this computer."""

    name: str
    """For people: of its folder, or of its file."""
    model: Path
    metadata: PolicyMetadata
    observation: ObservationFormat
    sha256: str
    """Of the network's hash followed by the metadata file's: the same for the same policy anywhere."""
    infer_median_ms: float
    """Per inference, warm, back to back."""


def load_bundle(source: str | Path, settings: SessionSettings | None = None) -> PolicyBundle:
    """Find and check a policy: a folder, an .onnx file with metadata beside it, or a name of the zoo.

    Raises PolicyError with a sentence that says what to do.
    """
    return check_bundle(source, settings)[0]


def check_bundle(
    source: str | Path, settings: SessionSettings | None = None
) -> tuple[PolicyBundle, PolicyRuntime]:
    """As load_bundle, and return the warm session of the check too, so that it need not be opened twice."""
    model, metadata_path, name = find_bundle(source)
    description = metadata.load(metadata_path)
    _refuse_missing_sensors(description)

    runtime = PolicyRuntime(model, settings)
    observation = observation_format(description, runtime.inputs)
    _check_outputs(description, runtime.outputs)
    _dry_run(description, runtime, observation)
    median_ms = runtime.warm_up({runtime.inputs[0].name: _noise_input(observation, seed=0)})

    bundle = PolicyBundle(
        name=name,
        model=model,
        metadata=description,
        observation=observation,
        sha256=_bundle_hash(model, metadata_path),
        infer_median_ms=median_ms,
    )
    return bundle, runtime


def zoo_names() -> tuple[str, ...]:
    """Return the names of the shipped policies."""
    return tuple(sorted(path.parent.name for path in ZOO.glob(f"*/{METADATA_NAME}")))


def find_bundle(source: str | Path) -> tuple[Path, Path, str]:
    """Return the paths of network and metadata, and the policy's name; raises PolicyError."""
    path = ZOO / str(source) if str(source) in zoo_names() else Path(source)
    if path.is_dir():
        return _model_in(path), _existing(path / METADATA_NAME), path.resolve().name
    if path.is_file() and path.suffix.lower() == ".onnx":
        name = path.resolve().parent.name if path.name == MODEL_NAME else path.stem
        return path, _existing(path.parent / METADATA_NAME), name
    seen = "is not an .onnx file" if path.exists() else "does not exist"
    raise PolicyError(
        f"policy {str(source)!r} {seen}; give a folder with {MODEL_NAME} and {METADATA_NAME}, an .onnx file "
        f"with {METADATA_NAME} beside it, or one of the shipped policies: {', '.join(zoo_names()) or 'none'}"
    )


def _model_in(folder: Path) -> Path:
    if (folder / MODEL_NAME).is_file():
        return folder / MODEL_NAME
    candidates = sorted(folder.glob("*.onnx"))
    if len(candidates) != 1:
        raise PolicyError(
            f"{folder} has {len(candidates)} .onnx files and no {MODEL_NAME}; "
            f"put the policy's network there as {MODEL_NAME}"
        )
    return candidates[0]


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise PolicyError(f"{path} does not exist; put the {METADATA_NAME} of the policy's training there")
    return path


def _refuse_missing_sensors(description: PolicyMetadata) -> None:
    missing = [sensor.value for sensor in description.sensors if sensor not in SINGLE_CAMERA]
    if missing:
        raise PolicyError(
            f"the policy looks at {', '.join(missing)}, which this version cannot feed it; "
            "use a policy with a single camera"
        )


def observation_format(description: PolicyMetadata, inputs: tuple[TensorInfo, ...]) -> ObservationFormat:
    """Return what the network's one input looks like; raises PolicyError when it is no picture."""
    if len(inputs) != 1:
        names = ", ".join(info.name for info in inputs)
        raise PolicyError(
            f"the network has {len(inputs)} inputs ({names}); a policy with one camera has exactly one; "
            "export the policy's network alone"
        )
    info = inputs[0]
    if info.type not in INPUT_TYPES:
        raise PolicyError(
            f"the network's input is {info.type}; allowed are {', '.join(INPUT_TYPES)}; export it again"
        )
    dtype = INPUT_TYPES[info.type]
    if dtype == "uint8" and description.input.range is ValueRange.UNIT:
        raise PolicyError(
            f"the network's input is {info.type} but {METADATA_NAME} says input.range 0..1; "
            "bytes have the range 0..255; correct it"
        )
    if len(info.shape) != 4 or info.shape[0] not in (None, 1) or None in info.shape[1:]:
        raise PolicyError(
            f"the network's input has shape {_shape(info)}; allowed is one picture of a fixed size, such as "
            "[1, 120, 160, 1]; export it with a fixed size"
        )
    sizes = tuple(size or 1 for size in info.shape)
    layout = _layout(description, sizes)
    height_px, width_px = sizes[1:3] if layout is Layout.NHWC else sizes[2:4]
    low, high = SIDE_RANGE_PX
    if not (low <= height_px <= high and low <= width_px <= high):
        raise PolicyError(
            f"the network's picture is {width_px} x {height_px}; allowed are sides of {low} to {high}; "
            f"check input.layout in {METADATA_NAME}"
        )
    return ObservationFormat(
        height_px=height_px,
        width_px=width_px,
        color=description.input.color,
        frame_stack=description.input.frame_stack,
        layout=layout,
        range=description.input.range,
        dtype=dtype,
    )


def _layout(description: PolicyMetadata, sizes: tuple[int, ...]) -> Layout:
    wanted = description.input
    channels = wanted.frame_stack * (3 if wanted.color is Color.RGB else 1)
    fitting = [
        layout
        for layout, found in ((Layout.NHWC, sizes[3]), (Layout.NCHW, sizes[1]))
        if found == channels and wanted.layout in (None, layout)
    ]
    if len(fitting) == 1:
        return fitting[0]
    described = f"{wanted.frame_stack} {wanted.color} picture{'s' if wanted.frame_stack > 1 else ''}"
    if fitting:
        raise PolicyError(
            f"the network's input has shape {list(sizes)}, which could be NHWC or NCHW; "
            f"state input.layout in {METADATA_NAME}"
        )
    raise PolicyError(
        f"the network's input has shape {list(sizes)}, but {METADATA_NAME} describes {described} "
        f"({channels} channel{'s' if channels > 1 else ''}) "
        f"as {wanted.layout or 'NHWC or NCHW'}; correct input.color, input.frame_stack or input.layout there"
    )


def _check_outputs(description: PolicyMetadata, outputs: tuple[TensorInfo, ...]) -> None:
    count = description.output_count
    if len(outputs) != 1:
        names = ", ".join(info.name for info in outputs)
        raise PolicyError(
            f"the network has {len(outputs)} outputs ({names}); a policy has exactly one, with the actions; "
            "export the policy's network alone"
        )
    info = outputs[0]
    if info.type not in ("tensor(float)", "tensor(float16)", "tensor(double)"):
        raise PolicyError(
            f"the network's output is {info.type}; allowed are floating-point numbers; export it again"
        )
    sizes_allowed = (None, count)
    is_row = len(info.shape) == 2 and info.shape[0] in (None, 1) and info.shape[1] in sizes_allowed
    is_flat = len(info.shape) == 1 and info.shape[0] in sizes_allowed
    if not (is_row or is_flat):
        is_list = description.action_space_type is ActionSpaceType.DISCRETE
        space = f"has {count} actions" if is_list else "is a range of steering and speed"
        raise PolicyError(
            f"the network's output has shape {_shape(info)}, but the action space {space}, "
            f"which needs {count} numbers; use the network and the {METADATA_NAME} of the same training"
        )


def _dry_run(description: PolicyMetadata, runtime: PolicyRuntime, observation: ObservationFormat) -> None:
    """Let the network answer noise, black and white; raises PolicyOutputError if any answer is unusable."""
    space = action_space(description)
    name = runtime.inputs[0].name
    for seed in range(DRY_RUNS):
        space.decode(runtime.infer({name: _noise_input(observation, seed)}))
    for level in (0, 255):
        picture = np.full((observation.height_px, observation.width_px, 3), level, np.uint8)
        space.decode(runtime.infer({name: Observer(observation).observe(picture)}))


def _noise_input(observation: ObservationFormat, seed: int) -> np.ndarray:
    observer = Observer(observation)
    rng = np.random.default_rng(seed)
    shape = (observation.height_px, observation.width_px, 3)
    for _ in range(observation.frame_stack):
        values = observer.observe(rng.integers(0, 256, shape, np.uint8))
    return values


def _bundle_hash(model: Path, metadata_path: Path) -> str:
    digest = hashlib.sha256()
    for path in (model, metadata_path):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _shape(info: TensorInfo) -> str:
    return "[" + ", ".join("?" if size is None else str(size) for size in info.shape) + "]"
