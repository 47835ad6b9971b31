"""A network and its metadata on disk, checked before anything drives with it."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from models import metadata
from models.action_space import ActionSpace, action_space
from models.archive_network import onnx_outline
from models.binding import bind, is_deepracer_graph, shape_text
from models.bundle_files import METADATA_NAME, MODEL_NAME
from models.bundle_hash import hash_of_files
from models.errors import PolicyError
from models.lidar import Scan
from models.metadata import ActionSpaceType, PolicyMetadata, ValueRange
from models.observation import CameraInput, LidarInput, Observer, PolicyInput, Sight
from models.runtime import PolicyRuntime, SessionSettings, TensorInfo
from models.store_builtin import built_in_folders, zoo_names

__all__ = [
    "CameraInput",
    "LidarInput",
    "PolicyBundle",
    "check_bundle",
    "find_bundle",
    "load_bundle",
    "noise_feeds",
    "zoo_names",
]

DRY_RUNS = 8
PROBABILITY_SLACK = 0.01  # of a sum of 1; float16 has three digits
NOISE_PICTURE_PX = (120, 160)  # rows and columns; resized where the network wants another size
NOISE_ANGLES_RAD = np.linspace(-np.pi, np.pi, 360, endpoint=False, dtype=np.float32)
NOISE_RANGE_M = 3.0  # beyond every distance at which a network still tells ranges apart


class PolicyBundle(msgspec.Struct, frozen=True, kw_only=True):
    """A policy that has passed the check on this computer."""

    name: str
    """For people: of its folder, or of its file."""
    model: Path
    metadata: PolicyMetadata
    """With the sensors that the network's own inputs have."""
    inputs: tuple[PolicyInput, ...]
    """What each input of the network is fed, by its name."""
    sha256: str
    """Of the hashes of network, metadata file and weights beside the network, in this order: the same for the
    same policy anywhere."""
    infer_median_ms: float
    """Per inference, warm, back to back."""

    @property
    def camera(self) -> CameraInput:
        """The one input that takes pictures."""
        return next(part for part in self.inputs if isinstance(part, CameraInput))

    @property
    def lidar(self) -> LidarInput | None:
        """The input that takes a LIDAR's numbers, if the policy has one."""
        return next((part for part in self.inputs if isinstance(part, LidarInput)), None)


def load_bundle(source: str | Path, settings: SessionSettings | None = None) -> PolicyBundle:
    """Find and check a policy: a folder, an .onnx file with metadata beside it, or the name of a shipped one.

    Raises PolicyError with a sentence that says what to do.
    """
    return check_bundle(source, settings)[0]


def check_bundle(
    source: str | Path,
    settings: SessionSettings | None = None,
    *,
    input_range: ValueRange | None = None,
) -> tuple[PolicyBundle, PolicyRuntime]:
    """As load_bundle, and return the warm session of the check too, so that it need not be opened twice.

    `input_range` is what the owner says of a network that does not; without it such a network raises
    RangeUnknownError.
    """
    model, metadata_path, name = find_bundle(source)
    stated = metadata.load(metadata_path)
    runtime = PolicyRuntime(model, settings)
    described = metadata.with_properties(stated, runtime.properties)
    bound = bind(_with_range(described, input_range), runtime.inputs)
    _check_outputs(bound.metadata, runtime.outputs)
    answers = _dry_run(action_space(bound.metadata), runtime, bound.inputs)
    _check_head(bound.metadata, answers, is_deepracer=is_deepracer_graph(runtime.inputs))
    median_ms = runtime.warm_up(noise_feeds(bound.inputs, seed=0))

    bundle = PolicyBundle(
        name=name,
        model=model,
        metadata=bound.metadata,
        inputs=bound.inputs,
        sha256=_bundle_hash(model, metadata_path),
        infer_median_ms=median_ms,
    )
    return bundle, runtime


def _with_range(description: PolicyMetadata, input_range: ValueRange | None) -> PolicyMetadata:
    """Return the metadata with what the owner says of the range, where nothing else says it."""
    if input_range is None or description.input.range is not None:
        return description
    stated = msgspec.structs.replace(description.input, range=input_range)
    return msgspec.structs.replace(description, input=stated)


def find_bundle(source: str | Path) -> tuple[Path, Path, str]:
    """Return the paths of network and metadata, and the policy's name; raises PolicyError."""
    path = built_in_folders().get(str(source), Path(source))
    if path.is_dir():
        return _model_in(path), _existing(path / METADATA_NAME), path.resolve().name
    if path.is_file() and path.suffix.lower() == ".onnx":
        name = path.resolve().parent.name if path.name == MODEL_NAME else path.stem
        return path, _existing(path.parent / METADATA_NAME), name
    seen = "is not an .onnx file" if path.exists() else "does not exist"
    raise PolicyError(
        f"policy {str(source)!r} {seen}; give a folder with {MODEL_NAME} and {METADATA_NAME}, an .onnx file "
        f"with {METADATA_NAME} beside it, or one of the shipped policies: "
        f"{', '.join(built_in_folders()) or 'none'}"
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
            f"the network's output has shape {shape_text(info)}, but the action space {space}, "
            f"which needs {count} numbers; use the network and the {METADATA_NAME} of the same training"
        )


def _dry_run(
    space: ActionSpace, runtime: PolicyRuntime, inputs: Sequence[PolicyInput]
) -> list[npt.NDArray[np.float64]]:
    """Return the answers to noise, black and white; raises PolicyOutputError if any answer is unusable."""
    feeds = [noise_feeds(inputs, seed) for seed in range(DRY_RUNS)]
    for level, range_m in ((0, 0.0), (255, np.inf)):
        picture = np.full((*NOISE_PICTURE_PX, 3), level, np.uint8)
        scan = Scan(NOISE_ANGLES_RAD, np.full_like(NOISE_ANGLES_RAD, range_m))
        feeds.append(Observer(inputs).observe(Sight(picture, picture, scan)))
    answers = []
    for feed in feeds:
        output = runtime.infer(feed)
        space.decode(output)
        answers.append(output.astype(np.float64).ravel())
    return answers


def _check_head(
    description: PolicyMetadata, answers: Sequence[npt.NDArray[np.float64]], *, is_deepracer: bool
) -> None:
    """Refuse a network that answers probabilities for a range, or anything else for DeepRacer's list."""
    are_probabilities = all(
        (answer >= 0.0).all() and abs(answer.sum() - 1.0) <= PROBABILITY_SLACK for answer in answers
    )
    is_list = description.action_space_type is ActionSpaceType.DISCRETE
    if are_probabilities and not is_list:
        raise PolicyError(
            "the network answers probabilities (they always add up to 1), one for each action of a list, but "
            f"action_space is a range of steering and speed; use the {METADATA_NAME} of the same training"
        )
    if is_deepracer and is_list and not are_probabilities:
        raise PolicyError(
            f"the network answers {_shown_answer(answers[0])}, not the probabilities of a list of actions, "
            "but action_space is a list; the network chooses from a range of steering and speed; "
            f"use the {METADATA_NAME} of the same training"
        )


def _shown_answer(answer: npt.NDArray[np.float64]) -> str:
    few = ", ".join(f"{value:.3g}" for value in answer[:4].tolist())
    return few + (", ..." if answer.size > 4 else "")


def noise_feeds(inputs: Sequence[PolicyInput], seed: int) -> dict[str, npt.NDArray[np.generic]]:
    """Return the network's inputs for noise: any level in any pixel, any range on any ray."""
    observer = Observer(inputs)
    rng = np.random.default_rng(seed)
    shape = (*NOISE_PICTURE_PX, 3)
    stack = max((part.format.frame_stack for part in inputs if isinstance(part, CameraInput)), default=1)
    for _ in range(stack):
        ranges_m = rng.uniform(0.0, NOISE_RANGE_M, NOISE_ANGLES_RAD.shape).astype(np.float32)
        left, right = (rng.integers(0, 256, shape, np.uint8) for _ in range(2))
        feeds = observer.observe(Sight(left, right, Scan(NOISE_ANGLES_RAD, ranges_m)))
    return feeds


def _bundle_hash(model: Path, metadata_path: Path) -> str:
    weights = sorted(onnx_outline(model, lambda: False).external_files)
    return hash_of_files((model, metadata_path, *(model.parent / name for name in weights)))
