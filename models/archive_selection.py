"""Which members of an archive are the policy, in every layout that exports and owners make.

    console     agent/model.pb, model_metadata.json, logs and tables
    car         model.pb, model_metadata.json, checksum.txt
    bucket      model/model_<N>.pb, one for every checkpoint kept, model/model_metadata.json
    ONNX        model.onnx, perhaps with its weights beside it, and model_metadata.json

any of them in one more folder, and with what file managers leave behind.
"""

import json
import re
from collections.abc import Callable
from typing import NoReturn

import msgspec

from models.archive_kinds import EXPORT_REMEDY, refuse_openvino
from models.archive_limits import Member, printable
from models.bundle_files import METADATA_NAME
from models.field_checks import refuse

CHECKPOINTS_NAME = "deepracer_checkpoints.json"  # training's own list: which one is the best
CHECKPOINTS_BYTES_MAX = 64 << 10
NOISE_FOLDERS = frozenset({"__macosx", ".git", ".svn", ".ipynb_checkpoints", "$recycle.bin"})
NOISE_NAMES = frozenset({".ds_store", "thumbs.db", "desktop.ini", "ehthumbs.db"})
NETWORK_SUFFIXES = (".pb", ".onnx")
ARCHIVE_SUFFIXES = (".tar.gz", ".tgz", ".tar", ".zip", ".gz", ".7z", ".rar", ".xz", ".bz2", ".zst")
NAMES_SHOWN = 5


class Selection(msgspec.Struct, frozen=True):
    """What of an archive is the policy."""

    network: Member
    metadata: Member | None
    notes: tuple[str, ...]


def select(members: list[Member], read: Callable[[Member], bytes]) -> Selection:
    """Return network and metadata; `read` fetches a small member. Raises PolicyError with the reason."""
    useful = [member for member in members if not is_noise(member.name)]
    if not useful:
        refuse(
            "the archive holds no files",
            f"a policy's archive has its network and {METADATA_NAME}",
            "pack both",
        )
    networks = [member for member in useful if member.base.lower().endswith(NETWORK_SUFFIXES)]
    if not networks:
        _refuse_without_network(useful)
    network, notes = _one_network(networks, useful, read)
    return Selection(network, _metadata_of(network, useful), notes)


def is_noise(name: str) -> bool:
    """True for what macOS, Windows and version control leave in archives."""
    parts = name.lower().split("/")
    return not NOISE_FOLDERS.isdisjoint(parts[:-1]) or parts[-1] in NOISE_NAMES or parts[-1].startswith("._")


def sibling(member: Member, name: str, members: list[Member]) -> Member | None:
    """Return the file of that name in the same folder; raises PolicyError if there are two."""
    return _only_one(f"{member.folder}/{name}" if member.folder else name, members)


def _one_network(
    networks: list[Member], members: list[Member], read: Callable[[Member], bytes]
) -> tuple[Member, tuple[str, ...]]:
    if len(networks) == 1:
        return networks[0], ()
    for network in networks:
        _only_one(network.name, members)
    best = _best_checkpoint(networks, members, read)
    if best is None:
        refuse(
            f"the archive holds {len(networks)} networks ({_listed(networks)})",
            "a policy has one",
            f"keep the one to drive with and {METADATA_NAME}, and pack again; or add training's "
            f"{CHECKPOINTS_NAME}, which tells the best",
        )
    taken = f"of {len(networks)} networks {printable(best.name)} was taken"
    return best, (f"{taken}, the best checkpoint of {CHECKPOINTS_NAME}",)


def _best_checkpoint(
    networks: list[Member], members: list[Member], read: Callable[[Member], bytes]
) -> Member | None:
    lists = [member for member in members if member.base == CHECKPOINTS_NAME]
    if len(lists) != 1 or lists[0].size_bytes > CHECKPOINTS_BYTES_MAX:
        return None
    try:
        checkpoint = json.loads(read(lists[0]))["best_checkpoint"]["name"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    number = re.match(r"(\d{1,9})_", checkpoint) if isinstance(checkpoint, str) else None
    if number is None:
        return None
    wanted = f"model_{int(number[1])}.pb"
    found = [member for member in networks if member.base == wanted]
    return found[0] if len(found) == 1 else None


def _metadata_of(network: Member, members: list[Member]) -> Member | None:
    """Return the metadata nearest to the network: in its folder, in those above, else the only one."""
    folder = network.folder
    while True:
        found = _only_one(f"{folder}/{METADATA_NAME}" if folder else METADATA_NAME, members)
        if found is not None:
            return found
        if not folder:
            break
        folder = folder.rpartition("/")[0]
    candidates = [member for member in members if member.base.lower() == METADATA_NAME]
    if len(candidates) > 1:
        refuse(
            f"the archive holds {len(candidates)} files {METADATA_NAME} ({_listed(candidates)})",
            "one must lie in the network's folder or above it",
            "keep the one of the network's own training, and pack again",
        )
    return candidates[0] if candidates else None


def _only_one(name: str, members: list[Member]) -> Member | None:
    found = [member for member in members if member.name == name]
    if len(found) > 1:
        refuse(
            f"the archive holds {len(found)} files named {printable(name)}",
            "which of them is meant cannot be told",
            "pack it again with one",
        )
    return found[0] if found else None


def _refuse_without_network(members: list[Member]) -> NoReturn:
    bases = {member.base.lower() for member in members}
    if "_stable_baselines3_version" in bases or "policy.pth" in bases:
        refuse(
            "the archive is a Stable-Baselines3 file",
            "it holds pickled objects, which can be any program and are never opened here",
            EXPORT_REMEDY,
        )
    if "data.pkl" in bases or _with_suffix(bases, ".pt", ".pth", ".pkl"):
        refuse(
            "the archive is or holds a PyTorch file",
            "it holds pickled objects, which can be any program and are never opened here",
            EXPORT_REMEDY,
        )
    if _with_suffix(bases, ".tflite"):
        refuse(
            f"the archive holds only a TensorFlow Lite model ({_with_suffix(bases, '.tflite')})",
            "the car needs the network that it was made from",
            "upload the archive that training exported, with model.pb",
        )
    if _with_suffix(bases, ".xml") and _with_suffix(bases, ".bin"):
        refuse_openvino(f"the archive's {printable(_with_suffix(bases, '.xml'))}")
    if _with_suffix(bases, ".h5", ".keras"):
        refuse(
            f"the archive holds only a Keras file ({printable(_with_suffix(bases, '.h5', '.keras'))})",
            "the car needs a frozen graph or an ONNX file",
            "upload the archive that training exported for the car, with model.pb",
        )
    if any(".ckpt" in base for base in bases):
        refuse(
            "the archive holds only training checkpoints (.ckpt)",
            "the car needs the frozen graph",
            "upload the archive that training exported for the car, with agent/model.pb",
        )
    nested = [member for member in members if member.base.lower().endswith(ARCHIVE_SUFFIXES)]
    if nested:
        refuse(
            f"the archive holds another archive ({_listed(nested)}) and no network",
            "an archive within an archive is not opened",
            "unpack it once and upload what is inside",
        )
    refuse(
        f"the archive holds no network, only {_listed(members)}",
        "it must hold a model.pb of a DeepRacer export, or an .onnx",
        "check that it is the archive of a policy",
    )


def _with_suffix(bases: set[str], *suffixes: str) -> str:
    return min((base for base in bases if base.endswith(suffixes)), default="")


def _listed(members: list[Member]) -> str:
    names = sorted(printable(member.name) for member in members)
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(names[:NAMES_SHOWN]) + more
