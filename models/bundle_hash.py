"""The hash by which a bundle is known, in the store and when loaded. Nothing here opens a network."""

import hashlib
from collections.abc import Iterable
from pathlib import Path


def hash_of_files(paths: Iterable[Path]) -> str:
    """Return a bundle's hash from its files in this order: network, metadata, weights beside it by name."""
    return hash_of_sums(file_sha256(path) for path in paths)


def hash_of_sums(sums: Iterable[str]) -> str:
    """Return a bundle's hash from the SHA-256 (hexadecimal) of each of its files in that order."""
    digest = hashlib.sha256()
    for file_sum in sums:
        digest.update(bytes.fromhex(file_sum))
    return digest.hexdigest()


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
