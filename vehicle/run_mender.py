"""Has what was cut off made whole by a process of its own, which comes after everything else.

`python -m vehicle.run_mender FOLDER` does it; whoever looks after a folder of runs keeps a `Mender`.
"""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec

from vehicle.realtime import die_with_parent
from vehicle.run_mending import NotMendedError
from vehicle.runs import RunShelf

NICE = 15  # whoever drives or looks comes first
AGAIN_S = 10.0  # what was cut off meanwhile
LACKING_S = 60.0  # where it failed for another reason than room, or the system counts the room otherwise

FAILED = "could not be made whole; the reason stands in the log (Settings shows it)"


class Lacking(msgspec.Struct, frozen=True):
    """Why a run that was cut off could not be made whole."""

    name: str
    needed_bytes: int
    """That must be free on the disk; 0 where room is not what it lacks."""
    words: str


class Mender:
    """Looks whether something was cut off; for one thread at a time."""

    def __init__(self, shelf: RunShelf) -> None:
        self._shelf = shelf
        self._process: subprocess.Popen[bytes] | None = None
        self._waiting: threading.Thread | None = None
        self._not_before_s = 0.0
        self._patient_until_s = 0.0
        self._lacking: dict[str, Lacking] = {}

    @property
    def is_at_work(self) -> bool:
        """Whether something is being made whole now."""
        return self._waiting is not None and self._waiting.is_alive()

    def lacks(self, name: str) -> str:
        """Return why a run that was cut off could not be made whole, in words; empty while that goes on."""
        lacking = self._lacking.get(name)
        return lacking.words if lacking else ""

    def look(self) -> None:
        """Have it made whole, unless that is under way or still lacks the room that it lacked before."""
        now_s = time.monotonic()
        if self.is_at_work or now_s < self._not_before_s:
            return
        names = [one.name for one in self._shelf.cut_off()]
        if not names or (
            now_s < self._patient_until_s and not any(self._is_worth_a_try(one) for one in names)
        ):
            return
        command = (sys.executable, "-m", "vehicle.run_mender", str(self._shelf.folder))
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        self._not_before_s, self._patient_until_s = now_s + AGAIN_S, now_s + LACKING_S
        self._waiting = threading.Thread(
            target=self._wait, args=(self._process, names), name="mender", daemon=True
        )
        self._waiting.start()

    def _is_worth_a_try(self, name: str) -> bool:
        lacking = self._lacking.get(name)
        return lacking is None or 0 < lacking.needed_bytes <= self._shelf.room_bytes()

    def _wait(self, process: subprocess.Popen[bytes], names: list[str]) -> None:
        said, _ = process.communicate()
        if process.returncode > 0:  # a defect of ours, or a folder that nobody can write in
            told = [Lacking(name, 0, f"{name} was cut off and {FAILED}") for name in names]
        else:
            told = [
                msgspec.json.decode(line, type=Lacking)
                for line in said.splitlines(keepends=True)
                if line.endswith(b"\n")
            ]
        self._lacking = {one.name: one for one in told}

    def close(self) -> None:
        """End what is under way; it begins anew when somebody looks again."""
        if self._process is not None and self._waiting is not None:
            self._process.terminate()
            self._waiting.join()


def main(folder: str) -> None:
    """Make whole what was cut off; say on standard output, a line of JSON each, what could not be."""
    die_with_parent()
    os.nice(NICE)

    def tell(error: NotMendedError) -> None:
        lacking = Lacking(error.name, error.needed_bytes, str(error))
        sys.stdout.write(msgspec.json.encode(lacking).decode() + "\n")
        sys.stderr.write(f"{error}\n")

    for name in RunShelf(Path(folder)).mend(tell):
        sys.stderr.write(f"{name} was cut off; what is there was saved\n")


if __name__ == "__main__":
    main(*sys.argv[1:2])
