"""What the vehicle opens: a policy of the store only as the check has left it, run as measured there."""

from pathlib import Path

import msgspec

from models.bundle import find_bundle, noise_feeds
from models.bundle_files import REPORT_NAME
from models.check_report import CheckReport, changed_file, read_report
from models.errors import PolicyError
from models.observation import NO_CAMERA_OPTIONS, CameraOptions
from models.policy import Policy, load_policy
from models.runtime import PolicyRuntime, SessionSettings
from models.session_choice import SessionChoice
from models.store_builtin import built_in_folders

INT8_NAME = "model.int8.onnx"


def load_checked(
    source: str | Path,
    settings: SessionSettings | None = None,
    *,
    camera_options: CameraOptions = NO_CAMERA_OPTIONS,
) -> Policy:
    """Load and warm up a policy: a folder of the store, any other bundle, or the name of one that ships.

    A folder with a report is compared with it, file by file; it runs with the settings that were measured
    to be fastest there, as long as processor and onnxruntime are the same. A bundle without one, which only
    somebody on this computer can name, must keep the same rules for networks. Raises PolicyError.
    """
    folder = built_in_folders().get(str(source), Path(source))
    if str(source) in built_in_folders():
        return load_policy(source, settings, camera_options=camera_options)
    if not (folder / REPORT_NAME).is_file():
        _check_unseen(folder)
        return load_policy(folder, settings, camera_options=camera_options)
    report = read_report(folder)
    problem = changed_file(folder, report)
    if problem:
        raise PolicyError(
            f"{report.name} has been damaged since it was checked: {problem}; remove it and add it again"
        )
    chosen = _measured(report) or settings
    policy = load_policy(folder, chosen, camera_options=camera_options)
    if (folder / INT8_NAME).is_file():
        policy = _in_int8(policy, chosen, camera_options)
    policy.bundle = msgspec.structs.replace(policy.bundle, name=report.name)
    return policy


def _check_unseen(source: Path) -> None:
    """Refuse a network that no upload could bring: foreign operators, weights elsewhere, NaN."""
    from models.check_network import check_network  # noqa: PLC0415 - needs onnx, which few policies do

    check_network(find_bundle(source)[0])


def _in_int8(policy: Policy, settings: SessionSettings | None, camera_options: CameraOptions) -> Policy:
    """Return the policy with its int8 network where the owner chose that and it is valid here."""
    from models.int8 import network_to_run  # noqa: PLC0415 - needs onnx, which few policies do

    bundle = policy.bundle
    network = network_to_run(bundle.model, bundle.sha256)
    if network == bundle.model:
        return policy
    runtime = PolicyRuntime(network, settings.for_int8() if settings else None)
    median_ms = runtime.warm_up(noise_feeds(bundle.inputs, seed=0))
    bundle = msgspec.structs.replace(bundle, model=network, infer_median_ms=median_ms)
    return Policy(bundle, runtime, camera_options=camera_options)


def _measured(report: CheckReport) -> SessionSettings | None:
    """Return the settings that the check chose, or None where they were measured on another computer."""
    try:
        choice = msgspec.convert(report.session, SessionChoice)
    except msgspec.ValidationError:
        return None  # an older report; it costs a little speed
    return choice.settings if choice.is_valid_here else None
