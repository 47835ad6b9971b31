"""The later stages of the check: the network runs, on pictures and against the clock."""

import datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from models import metadata
from models.action_shape import shape_of
from models.archive import Contents
from models.bundle import check_bundle
from models.bundle_files import METADATA_NAME, MODEL_NAME
from models.bundle_hash import hash_of_sums
from models.check_limits import PeakMemory
from models.check_process import Progress
from models.check_report import CheckRefusedError, CheckReport, clean_name, file_sum
from models.check_trial import Trial, answer_warnings, timing_warning
from models.errors import RangeUnknownError
from models.field_checks import plain
from models.network_cost import network_layers
from models.session_choice import choose
from models.simplify import simplify


class Origin(NamedTuple):
    """Where a bundle comes from."""

    source: Path
    source_name: str
    """As it was uploaded."""
    name: str
    """What the owner calls it."""
    contents: Contents
    conversion: dict[str, Any] | None
    """What converting a frozen graph told."""


def report_of(into: Path, origin: Origin, peak: PeakMemory, tell: Progress) -> CheckReport:
    """Simplify, bind, try and measure the network in the folder; raises PolicyError with a sentence."""
    model = into / MODEL_NAME
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
        name=clean_name(origin.name),
        sha256=hash_of_sums(files[name].sha256 for name in (MODEL_NAME, METADATA_NAME, *weights)),
        files=files,
        source_name=clean_name(origin.source_name),
        source_sha256=file_sum(origin.source).sha256,
        source_bytes=origin.source.stat().st_size,
        kind=origin.contents.kind,
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
        conversion=origin.conversion,
        simplified=tuple(simplified),
        responses=responses,
        frames_used=len(frames),
        actions_used=len({response.index for response in frames if response.index >= 0}),
        infer_median_ms=choice.p50_ms,
        infer_p99_ms=choice.p99_ms,
        peak_memory_mb=peak.mb,
        session=msgspec.to_builtins(choice),
        ignored=tuple(clean_name(part) for part in origin.contents.ignored),
        notes=(*origin.contents.notes, *description.notes),
        warnings=(*([slow] if slow else []), *answer_warnings(description, responses)),
    )


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
