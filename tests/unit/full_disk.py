"""What `test_full_disk.py` runs inside a small file system: `python -m tests.unit.full_disk PLACE`.

It prints, as JSON, what became of uploads with little room left, once the disk has room again.
"""

import contextlib
import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from models import store as store_module
from models.errors import PolicyError
from models.store import PolicyStore
from models.store_files import StoreFullError
from models.store_intake import add_upload, receive
from tests.unit.policy_files import mean_network
from tests.unit.store_files import add_one, fill, make_report
from tests.unit.upload_files import METADATA, tar_gz

ROOMS_KB = (0, 4, 8)
UPLOAD_ROOMS_KB = (40, 260)
FILLER = "recordings"
NETWORK_BYTES = 200_000
"""Of noise, which gzip cannot make smaller: upload and bundle together are more than the room."""


Upload = Callable[[PolicyStore, Path, int], None]


def rest_filled(disk: Path, room_bytes: int) -> None:
    """Fill the disk until only this much is left."""
    filler = disk / FILLER
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    os.truncate(filler, max(0, filler.stat().st_size - room_bytes))


def take_in(store: PolicyStore, disk: Path, room_bytes: int) -> None:
    """The disk fills between the check and the store."""
    with store.begin() as incoming:
        folder = fill(incoming.bundle, b"late" * 1500)
        rest_filled(disk, room_bytes)
        late = store.add(make_report(folder, "late"), folder)[0]
    store.activate(late.key)


def whole_upload(store: PolicyStore, disk: Path, room_bytes: int) -> None:
    """The disk is too small for the upload as it comes, or for the bundle beside it."""
    archive = tar_gz(model__onnx=heavy_network(), model_metadata__json=METADATA)
    rest_filled(disk, room_bytes)
    with store.begin() as incoming:
        receive(store, incoming, io.BytesIO(archive), None)
        add_upload(store, incoming, name="late", source_name="late.tar.gz")


def heavy_network() -> bytes:
    network = onnx.load_from_string(mean_network())
    noise = np.random.default_rng(1).random(NETWORK_BYTES // 4, np.float32)
    network.graph.initializer.append(numpy_helper.from_array(noise, "ballast"))
    return bytes(network.SerializeToString())


def outcome(store: PolicyStore, disk: Path, room_kb: int, upload: Upload) -> dict[str, object]:
    try:
        upload(store, disk, room_kb * 1024)
        sentence = ""
    except StoreFullError as error:
        sentence = str(error)
    except PolicyError as error:
        sentence = f"refused: {error}"
    except OSError as error:
        sentence = f"raw: {error}"
    (disk / FILLER).unlink()
    again = PolicyStore(store.root)
    active = again.active()
    names = [entry.name for entry in again.list() if not entry.built_in and again.checked_folder(entry.key)]
    left = [str(path) for name in ("incoming", "trash") for path in (store.root / name).glob("*")]
    return {
        "room_kb": room_kb,
        "sentence": sentence,
        "names": names,
        "active": active and active.name,
        "left": left,
    }


def main(disk: Path) -> None:
    store_module.FREE_MARGIN_BYTES = 0  # the disk fills after the room was looked at, by a recording
    store = PolicyStore(disk / "models")
    old = add_one(store, "old")
    store.activate(old.key)
    outcomes = []
    for room_kb in ROOMS_KB:
        outcomes.append(outcome(store, disk, room_kb, take_in))
        store.activate(old.key)
        for entry in store.list():
            if entry.name == "late":
                store.remove(entry.key)
        store.empty_trash()
    outcomes += [outcome(store, disk, room_kb, whole_upload) for room_kb in UPLOAD_ROOMS_KB]
    sys.stdout.write(json.dumps(outcomes))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
