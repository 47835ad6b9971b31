"""What the check of an upload found, as it is kept beside the policy: `bundle.json`.

Nothing here opens a network: pages and commands read reports without onnx or onnxruntime.
"""

import unicodedata
from pathlib import Path
from typing import Any

import msgspec

from models.bundle_files import REPORT_NAME
from models.bundle_hash import file_sha256
from models.errors import PolicyError

REPORT_FORMAT = 1
REPORT_LIMIT_BYTES = 4 << 20  # a report of a network of a thousand layers has 0.3 MB
NAME_LENGTH = 120
HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Co", "Cn", "Cs", "Zl", "Zp"})
"""Characters that move the cursor, turn the reading direction or show nothing at all."""


class FileSum(msgspec.Struct, frozen=True):
    """One file of a bundle as the check left it."""

    size_bytes: int
    sha256: str


class NetworkInput(msgspec.Struct, frozen=True):
    """One input of the network and what the car feeds it."""

    name: str
    sensor: str
    shape: tuple[int | None, ...]
    type: str
    meaning: str
    """In words, e.g. `gray, 160 x 120, 2 pictures, 0..255, NHWC`."""


class Layer(msgspec.Struct, frozen=True):
    """One node of the network and what it costs."""

    name: str
    operator: str
    output_shape: tuple[int | None, ...]
    mmac: float
    """Millions of multiplications with addition per decision; 0 for what only moves or compares numbers."""
    parameters: int
    """Numbers learnt in training."""


class Response(msgspec.Struct, frozen=True):
    """What the policy answered to one picture."""

    picture: str
    """`blank`, `frame 3`, `frame 3 mirrored`, `random 0`."""
    output: tuple[float, ...]
    index: int
    """Of a discrete action; -1 otherwise."""
    steering_deg: float
    """Positive is left."""
    speed_mps: float


class PlottedAction(msgspec.Struct, frozen=True):
    """One point of the action space, for its drawing."""

    steering_deg: float
    speed_mps: float


class ActionSpaceShape(msgspec.Struct, frozen=True):
    """What the policy can choose from: a list of actions, or the corners of a range."""

    type: str
    """`discrete` or `continuous`."""
    points: tuple[PlottedAction, ...]
    """Every action by index; of a range lower right and upper left."""


class CheckReport(msgspec.Struct, frozen=True, kw_only=True):
    """A policy that has passed the check on one computer, and what was seen of it."""

    format: int = REPORT_FORMAT
    name: str
    """As its owner calls it; never a path."""
    sha256: str
    """Of the bundle's content; the same for the same policy anywhere."""
    files: dict[str, FileSum]
    """Everything that is loaded from the folder when the policy drives."""
    source_name: str
    source_sha256: str
    source_bytes: int
    kind: str
    """`onnx` or `frozen_graph`."""
    checked_at: str
    """UTC, ISO 8601, by this computer's clock."""
    training_algorithm: str
    neural_network: str
    sensors: tuple[str, ...]
    action_units: str
    control_rate_hz: float
    action_space: ActionSpaceShape
    inputs: tuple[NetworkInput, ...]
    layers: tuple[Layer, ...]
    parameters: int
    mmac: float
    conversion: dict[str, Any] | None = None
    """What the converter said; None for a network that came as ONNX."""
    simplified: tuple[str, ...] = ()
    responses: tuple[Response, ...] = ()
    frames_used: int = 0
    actions_used: int = 0
    """How many different actions the frames drew from a discrete policy."""
    infer_median_ms: float
    infer_p99_ms: float
    """Both paced at the control period with the settings that were chosen."""
    peak_memory_mb: float
    """Private memory of the check, session included."""
    session: dict[str, Any] = {}
    """The session settings that were fastest here, and what they are valid for."""
    ignored: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    """What the owner should know before driving; none of them forbids it."""


class CheckRefusedError(PolicyError):
    """An upload cannot be used; the message says why and what to do."""

    def __init__(self, message: str, responses: dict[str, tuple[Response, ...]] | None = None) -> None:
        super().__init__(message)
        self.responses = responses or {}
        """Where the owner must choose an input range: what each choice makes the policy answer."""


class CheckCancelledError(PolicyError):
    """Whoever asked for the check took it back."""


def read_report(folder: Path) -> CheckReport:
    """Return a bundle's report; raises PolicyError when the check has not passed it or it is damaged."""
    path = folder / REPORT_NAME
    try:
        with path.open("rb") as file:
            data = file.read(REPORT_LIMIT_BYTES + 1)
    except OSError as error:
        raise PolicyError(
            f"{path} cannot be read ({error.strerror}); add the policy again with lapwing models add"
        ) from error
    if len(data) > REPORT_LIMIT_BYTES:
        raise PolicyError(f"{path} has more than {REPORT_LIMIT_BYTES} bytes; add the policy again")
    try:
        report = msgspec.json.decode(data, type=CheckReport)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise PolicyError(f"{path} is damaged ({error}); add the policy again") from error
    if report.format != REPORT_FORMAT:
        raise PolicyError(
            f"{path} is of format {report.format}, allowed {REPORT_FORMAT}; add the policy again"
        )
    return report


def encode_report(report: CheckReport) -> bytes:
    """Return the report as the file `bundle.json`."""
    return msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n"


def file_sum(path: Path) -> FileSum:
    """Return size and hash of a file, read in pieces."""
    return FileSum(path.stat().st_size, file_sha256(path))


def changed_file(folder: Path, report: CheckReport) -> str:
    """Return what differs in the folder from what the check has passed, or nothing."""
    for name, expected in report.files.items():
        if "/" in name or name in {"", ".", ".."}:
            return f"{name!r} is not a file name"
        path = folder / name
        try:
            if path.is_symlink() or path.stat().st_size != expected.size_bytes:
                return f"{name} is not the file that the check has passed"
            if file_sum(path).sha256 != expected.sha256:
                return f"{name} is not the file that the check has passed"
        except OSError as error:
            return f"{name} cannot be read ({error.strerror})"
    return ""


def clean_name(name: str) -> str:
    """Return a name that can be kept and shown: one line, no character that acts on a terminal or a page."""
    text = unicodedata.normalize("NFC", name.encode("utf-8", "replace").decode("utf-8"))
    shown = "".join(
        " " if unicodedata.category(char) in HIDDEN_CATEGORIES else char for char in text[: 4 * NAME_LENGTH]
    )
    return " ".join(shown.split())[:NAME_LENGTH].strip() or "unnamed"
