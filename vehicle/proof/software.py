"""Which software was looked at, so that what was measured says of what."""

import subprocess
from importlib.metadata import version
from pathlib import Path


def software() -> str:
    """Return the commit of this checkout, with `-dirty` where files differ from it; else the version."""
    command = ["git", "describe", "--always", "--dirty", "--exclude", "*"]
    try:
        done = subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False, timeout=10.0
        )
    except (OSError, subprocess.TimeoutExpired):  # no git here
        return f"version {version('lapwing')}"
    return f"commit {done.stdout.strip()}" if done.returncode == 0 else f"version {version('lapwing')}"
