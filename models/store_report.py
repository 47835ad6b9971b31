"""A policy of the store as scripts and pages are told of it, and what both may do with it."""

import functools
from pathlib import Path
from typing import Any

from models import metadata
from models.action_shape import shape_of
from models.activation import Vehicle
from models.bundle_files import METADATA_NAME, MODEL_NAME
from models.bundle_hash import hash_of_files
from models.errors import PolicyError
from models.store import Entry, PolicyStore
from models.store_builtin import is_calibration_drive


def entry_document(entry: Entry) -> dict[str, Any]:
    """Return a policy of the list as it is told to scripts and pages."""
    report = entry.report
    document: dict[str, Any] = {
        "key": entry.key,
        "name": entry.name,
        "built_in": entry.built_in,
        "active": entry.active,
        "problem": entry.problem,
    }
    if report is not None:
        document |= {
            "sensors": report.sensors,
            "training_algorithm": report.training_algorithm,
            "action_space_type": report.action_space.type,
            "action_space": report.action_space,
            "action_count": len(report.action_space.points) if report.action_space.type == "discrete" else 0,
            "control_rate_hz": report.control_rate_hz,
            "infer_median_ms": report.infer_median_ms,
            "infer_p99_ms": report.infer_p99_ms,
            "parameters": report.parameters,
            "mmac": report.mmac,
            "source_name": report.source_name,
            "source_bytes": report.source_bytes,
            "checked_at": report.checked_at,
            "warnings": report.warnings,
        }
    elif entry.built_in:
        document |= _stated(entry.folder)
    return document


@functools.cache
def _stated(folder: Path) -> dict[str, Any]:
    """Return what the metadata of a policy that ships says; it changes with this copy only."""
    description = metadata.load(folder / METADATA_NAME)
    shape = shape_of(description)
    return {
        "calibration_drive": is_calibration_drive(folder),
        "policy_hash": hash_of_files((folder / MODEL_NAME, folder / METADATA_NAME)),
        "sensors": tuple(description.sensors),
        "training_algorithm": description.training_algorithm,
        "action_space_type": shape.type,
        "action_space": shape,
        "action_count": len(shape.points) if shape.type == "discrete" else 0,
        "control_rate_hz": description.control_rate_hz,
        "warnings": (),
    }


def export_name(entry: Entry, *, tidy: bool) -> str:
    """Return a file name for a policy that is one in every file system."""
    safe = "".join(char if char.isalnum() or char in "-_ " else "_" for char in entry.name).strip(" ")
    original = "" if entry.report is None else entry.report.source_name.lower()
    known = (".tar.gz", ".tgz", ".tar", ".zip", ".onnx", ".pb")
    ending = next((ending for ending in known if original.endswith(ending)), "")
    return (safe or "policy") + (".tar.gz" if tidy or entry.built_in else ending)


def remove_unused(store: PolicyStore, key: str, vehicle: Vehicle) -> str:
    """Remove a policy unless the running vehicle has it loaded; return what `restore` wants."""
    status = vehicle.status()
    if status is not None and status.policy_hash == key:
        raise PolicyError(
            f"{store.get(key).name} is loaded in the vehicle; activate another one, then remove it"
        )
    return store.remove(key)
