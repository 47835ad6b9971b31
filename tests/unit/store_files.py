"""Checked bundles for tests of the store: made by hand, without a check."""

import hashlib
from pathlib import Path
from typing import Any

import msgspec

from models.check_report import ActionSpaceShape, CheckReport, PlottedAction, file_sum
from models.store import Entry, PolicyStore


def make_report(folder: Path, name: str = "swift", **fields: Any) -> CheckReport:
    """A report that fits the files in the folder, keyed by their content."""
    files = {path.name: file_sum(path) for path in sorted(folder.iterdir()) if path.name != "original"}
    digest = hashlib.sha256("".join(entry.sha256 for entry in files.values()).encode()).hexdigest()
    report = CheckReport(
        name=name,
        sha256=digest,
        files=files,
        source_name=f"{name}.tar.gz",
        source_sha256="0" * 64,
        source_bytes=8,
        kind="onnx",
        checked_at="2026-01-02T03:04:05+00:00",
        training_algorithm="clipped_ppo",
        neural_network="DEEP_CONVOLUTIONAL_NETWORK_SHALLOW",
        sensors=("FRONT_FACING_CAMERA",),
        action_units="aws_share",
        control_rate_hz=15.0,
        action_space=ActionSpaceShape("discrete", (PlottedAction(30.0, 1.0), PlottedAction(-30.0, 2.0))),
        inputs=(),
        layers=(),
        parameters=3,
        mmac=0.001,
        infer_median_ms=1.0,
        infer_p99_ms=2.0,
        peak_memory_mb=80.0,
    )
    return msgspec.structs.replace(report, **fields)


def fill(folder: Path, network: bytes = b"network") -> Path:
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(network)
    (folder / "model_metadata.json").write_bytes(b"{}")
    (folder / "original").write_bytes(b"original " + network)
    return folder


def add_one(store: PolicyStore, name: str = "swift", network: bytes | None = None) -> Entry:
    with store.begin() as incoming:
        folder = fill(incoming.bundle, name.encode("utf-8", "replace") if network is None else network)
        return store.add(make_report(folder, name), folder)[0]
