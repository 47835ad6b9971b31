"""From an uploaded file to a checked bundle, stage by stage, in the process of the check."""

import datetime
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from models import metadata
from models.action_shape import shape_of
from models.archive import Contents, unpack
from models.bundle import check_bundle
from models.bundle_hash import hash_of_sums
from models.check_limits import private_memory_mb
from models.check_network import check_network, read_network
from models.check_report import (
    ORIGINAL_NAME,
    REPORT_NAME,
    CheckRefusedError,
    CheckReport,
    clean_name,
    file_sum,
)
from models.check_trial import Trial, answer_warnings, timing_warning
from models.errors import PolicyError, RangeUnknownError
from models.field_checks import plain
from models.network_cost import network_layers
from models.session_choice import choose
from models.simplify import simplify

MODEL_NAME = "model.onnx"
METADATA_NAME = "model_metadata.json"
OWN_NAMES = frozenset({MODEL_NAME, METADATA_NAME, REPORT_NAME, ORIGINAL_NAME})

Tell = Callable[[str, float], None]


class PeakMemory:
    """The largest private memory seen at any look."""

    def __init__(self) -> None:
        self.mb = private_memory_mb()

    def look(self) -> None:
        """Remember it if it is more than before."""
        self.mb = max(self.mb, private_memory_mb())


def make_bundle(
    source: Path, into: Path, *, name: str, source_name: str, input_range: str, tell: Tell
) -> CheckReport:
    """Make a checked bundle in the new folder `into`; raises PolicyError with a sentence.

    Report and original are not in it yet: `models.check` and the store put them there.
    """
    peak = PeakMemory()
    into.mkdir()
    unpacked = into / "unpacked"
    unpacked.mkdir()

    tell("unpacking", 0.05)
    contents = unpack(source, unpacked, name=source_name)
    conversion = _take_network(contents, into, tell)
    peak.look()
    model = into / MODEL_NAME

    tell("looking at the network", 0.35)
    check_network(model)
    _take_metadata(contents, into, input_range)
    shutil.rmtree(unpacked)
    simplified = simplify(model)
    layers = network_layers(model)
    peak.look()

    tell("binding inputs and outputs", 0.5)
    trial = _bind_or_ask(into)
    description = trial.bundle.metadata
    peak.look()

    tell("trying it on pictures", 0.6)
    responses = trial.responses()
    peak.look()

    tell("measuring", 0.7)
    choice = choose(model, trial.feeds(), 1.0 / description.control_rate_hz)
    slow = timing_warning(description.control_rate_hz, choice.p99_ms)
    peak.look()

    tell("writing it down", 0.95)
    files = {path.name: file_sum(path) for path in sorted(into.iterdir())}
    weights = sorted(files.keys() - {MODEL_NAME, METADATA_NAME})
    frames = [response for response in responses if response.picture.startswith("frame")]
    return CheckReport(
        name=clean_name(name),
        sha256=hash_of_sums(files[name].sha256 for name in (MODEL_NAME, METADATA_NAME, *weights)),
        files=files,
        source_name=clean_name(source_name),
        source_sha256=file_sum(source).sha256,
        source_bytes=source.stat().st_size,
        kind=contents.kind,
        checked_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        training_algorithm=description.training_algorithm.value,
        neural_network=clean_name(description.neural_network),
        sensors=tuple(part.sensor for part in trial.inputs()),
        action_units=description.action_units.value,
        control_rate_hz=description.control_rate_hz,
        action_space=shape_of(description),
        inputs=trial.inputs(),
        layers=layers,
        parameters=sum(layer.parameters for layer in layers),
        mmac=sum(layer.mmac for layer in layers),
        conversion=conversion,
        simplified=tuple(simplified),
        responses=responses,
        frames_used=len(frames),
        actions_used=len({response.index for response in frames if response.index >= 0}),
        infer_median_ms=choice.p50_ms,
        infer_p99_ms=choice.p99_ms,
        peak_memory_mb=peak.mb,
        session=msgspec.to_builtins(choice),
        ignored=tuple(clean_name(part) for part in contents.ignored),
        notes=(*contents.notes, *description.notes),
        warnings=(*([slow] if slow else []), *answer_warnings(description, responses)),
    )


def _take_network(contents: Contents, into: Path, tell: Tell) -> dict[str, Any] | None:
    """Put the network as ONNX where the bundle will be; a frozen graph is converted on the way."""
    if contents.kind == "frozen_graph":
        tell("converting the frozen graph", 0.15)
        from models.convert import convert  # noqa: PLC0415 - only for a frozen graph

        conversion: dict[str, Any] = msgspec.to_builtins(convert(contents.network, into))
        return conversion
    for path in contents.external_data:
        if path.name in OWN_NAMES:
            raise PolicyError(
                f"the network's weights lie in a file called {plain(path.name)}, which this car uses for "
                "something else; export it again with another name for them"
            )
        path.rename(into / path.name)
    contents.network.rename(into / MODEL_NAME)
    return None


def _take_metadata(contents: Contents, into: Path, input_range: str) -> None:
    """Put the metadata where the bundle will be, byte for byte unless the owner adds the input's range."""
    if contents.metadata is None:
        raise PolicyError(
            f"there is no {METADATA_NAME} in {plain(contents.name)}, which says what the network's answers "
            "mean; put the one of the same training into the archive"
        )
    stated = metadata.parse(contents.metadata.read_bytes())  # refuses without a path of this car in it
    contents.metadata.rename(into / METADATA_NAME)
    if not input_range:
        return
    properties = {entry.key: entry.value for entry in read_network(into / MODEL_NAME).metadata_props}
    known = metadata.with_properties(stated, properties).input.range
    if known is not None and known != input_range:
        raise PolicyError(
            f"--input-range is {input_range}, but the policy itself says {known.value}; leave it out"
        )
    chosen = msgspec.structs.replace(stated.input, range=metadata.ValueRange(input_range))
    (into / METADATA_NAME).write_bytes(metadata.encode(msgspec.structs.replace(stated, input=chosen)))


def _bind_or_ask(into: Path) -> Trial:
    """Return the policy bound to its metadata; asks the owner for the input range where nothing tells it."""
    try:
        return Trial(*check_bundle(into))
    except RangeUnknownError as error:
        both = {
            choice: Trial(*check_bundle(into, input_range=metadata.ValueRange(choice))).responses()
            for choice in error.choices
        }
        raise CheckRefusedError(
            f"neither the network nor {METADATA_NAME} says which values its input {plain(error.input_name)} "
            f"takes; look at the answers to each, then give --input-range {' or --input-range '.join(both)}",
            both,
        ) from error
