"""Has what was cut off made whole by a process of its own, which comes after everything else.

`python -m vehicle.run_mender FOLDER` does it; whoever looks after a folder of runs keeps a `Mender`.
"""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from vehicle.realtime import die_with_parent
from vehicle.runs import RunShelf

NICE = 15  # whoever drives or looks comes first
AGAIN_S = 10.0  # it may have failed for want of room, and somebody may have made some


class Mender:
    """Looks whether something was cut off; for one thread at a time."""

    def __init__(self, shelf: RunShelf) -> None:
        self._shelf = shelf
        self._process: subprocess.Popen[bytes] | None = None
        self._waiting: threading.Thread | None = None
        self._not_before_s = 0.0

    @property
    def is_at_work(self) -> bool:
        """Whether something is being made whole now."""
        return self._waiting is not None and self._waiting.is_alive()

    def look(self) -> None:
        """Have it made whole, unless that is under way."""
        if self.is_at_work or time.monotonic() < self._not_before_s or not self._shelf.cut_off():
            return
        command = (sys.executable, "-m", "vehicle.run_mender", str(self._shelf.folder))
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        self._not_before_s = time.monotonic() + AGAIN_S
        self._waiting = threading.Thread(target=self._process.wait, name="mender", daemon=True)
        self._waiting.start()

    def close(self) -> None:
        """End what is under way; it begins anew when somebody looks again."""
        if self._process is not None and self._waiting is not None:
            self._process.terminate()
            self._waiting.join()


def main(folder: str) -> None:
    """Make whole what was cut off."""
    die_with_parent()
    os.nice(NICE)
    try:
        for name in RunShelf(Path(folder)).mend():
            sys.stdout.write(f"{name} was cut off; what is there was saved\n")
    except OSError as error:
        sys.exit(f"what was cut off cannot be made whole: {error.strerror}; free some space on the disk")


if __name__ == "__main__":
    main(*sys.argv[1:2])
