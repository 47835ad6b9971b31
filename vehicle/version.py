"""Which version of this software is installed."""

import importlib.metadata


def version() -> str:
    """Return it as `pyproject.toml` says, or that the software runs without being installed."""
    try:
        return importlib.metadata.version("lapwing")
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
