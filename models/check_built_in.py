"""A report of a policy that ships: nobody uploaded it, so it is made when somebody wants to see it."""

import datetime
from pathlib import Path

from models.action_shape import shape_of
from models.bundle import check_bundle
from models.check_report import CheckReport, file_sum
from models.check_trial import Trial, answer_warnings
from models.network_cost import network_layers


def report_of_built_in(name: str, folder: Path) -> CheckReport:
    """Return what the check would say, its time back to back and on this computer; raises PolicyError."""
    bundle, runtime = check_bundle(folder)
    trial = Trial(bundle, runtime)
    responses = trial.responses()
    layers = network_layers(bundle.model)
    description = bundle.metadata
    frames = [response for response in responses if response.picture.startswith("frame")]
    return CheckReport(
        name=name,
        sha256=bundle.sha256,
        files={path.name: file_sum(path) for path in (bundle.model,)},
        source_name="",
        source_sha256="",
        source_bytes=0,
        kind="onnx",
        checked_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        training_algorithm=description.training_algorithm.value,
        neural_network=description.neural_network,
        sensors=tuple(part.sensor for part in trial.inputs()),
        action_units=description.action_units.value,
        control_rate_hz=description.control_rate_hz,
        action_space=shape_of(description),
        inputs=trial.inputs(),
        layers=layers,
        parameters=sum(layer.parameters for layer in layers),
        mmac=sum(layer.mmac for layer in layers),
        responses=responses,
        frames_used=len(frames),
        actions_used=len({response.index for response in frames if response.index >= 0}),
        infer_median_ms=bundle.infer_median_ms,
        infer_p99_ms=bundle.infer_median_ms,
        peak_memory_mb=0.0,
        notes=tuple(description.notes),
        warnings=answer_warnings(description, responses),
    )
