"""What the car's processes have said: their files under `lapwing run`, the system's journal under systemd."""

import subprocess
from pathlib import Path

TAIL_BYTES = 200_000
JOURNAL_LINES = 2000
JOURNAL_TIMEOUT_S = 5.0
UNITS = ("lapwing-vehicle", "lapwing-web", "lapwing-recorder")


class CarLogs:
    """Reads the newest of each."""

    def __init__(self, log_dir: Path | None) -> None:
        """`log_dir` None: the processes are kept by systemd."""
        self._log_dir = log_dir

    def parts(self) -> tuple[str, ...]:
        """Return whose words there are."""
        if self._log_dir is None:
            return UNITS
        return tuple(sorted(path.stem for path in self._log_dir.glob("*.log")))

    def tail(self, part: str) -> str:
        """Return the last of what one part has said, or why that cannot be read; KeyError for no part."""
        if part not in self.parts():
            raise KeyError(part)
        return _journal(part) if self._log_dir is None else _end_of(self._log_dir / f"{part}.log")


def _end_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - TAIL_BYTES))
            data = file.read(TAIL_BYTES)
    except OSError as error:
        return f"{path} cannot be read ({error.strerror})."
    text = data.decode(errors="replace")
    return text if size <= TAIL_BYTES else text.partition("\n")[2]


def _journal(unit: str) -> str:
    how = ("--output=short-iso", "--no-pager", "--quiet")
    command = ("journalctl", f"--unit={unit}", f"--lines={JOURNAL_LINES}", *how)
    try:
        done = subprocess.run(command, capture_output=True, timeout=JOURNAL_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"The system's journal cannot be read ({error})."
    said = done.stdout.decode(errors="replace")[-TAIL_BYTES:]
    return said or (
        "The system's journal says nothing of this. Where it should, let the page's user read it: "
        "SupplementaryGroups=systemd-journal in lapwing-web.service."
    )
