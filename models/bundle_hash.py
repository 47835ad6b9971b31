"""The hash by which a loaded policy is known. Nothing here opens a network, so that pages may ask."""

import hashlib
from collections.abc import Iterable
from pathlib import Path


def hash_of_files(paths: Iterable[Path]) -> str:
    """Return the hash of the files' contents in this order: network, metadata, weights beside it by name."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
