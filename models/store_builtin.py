"""The policies that ship with this copy: the trained ones and the calibration drives.

They need no check at upload, are never removed, and their names serve as their keys.
"""

from pathlib import Path

from models.bundle_files import METADATA_NAME

ZOO = Path(__file__).parent / "zoo"
CALIBRATION = Path(__file__).parent / "calibration_drives"


def is_calibration_drive(folder: Path) -> bool:
    """Whether this shipped policy is one of the calibration drives, which look at nothing."""
    return folder.parent == CALIBRATION


def built_in_folders() -> dict[str, Path]:
    """Return name -> folder: trained policies first, then the calibration drives, each in order."""
    found: dict[str, Path] = {}
    for room in (ZOO, CALIBRATION):
        for path in sorted(room.glob(f"*/{METADATA_NAME}")):
            found.setdefault(path.parent.name, path.parent)
    return found


DRIVES_BY_DEFAULT = "curlew"  # the surest that ships: decisions 0141, 0142


def zoo_names() -> tuple[str, ...]:
    """Return the names of the trained policies that ship; first the one that drives where none is named."""
    names = sorted(path.parent.name for path in ZOO.glob(f"*/{METADATA_NAME}"))
    return tuple(sorted(names, key=lambda name: name != DRIVES_BY_DEFAULT))
