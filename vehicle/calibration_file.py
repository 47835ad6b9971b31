"""This car's calibration file, read again off the loop's thread when somebody has saved it."""

import threading
from collections.abc import Callable
from pathlib import Path

from calibration import store
from calibration.car import CarCalibration
from calibration.errors import CalibrationError
from vehicle.realtime import use_normal_priority


class CalibrationFile:
    """Reads in a thread of its own. `begin` and `take` belong to the loop's thread."""

    def __init__(self, path: Path, load: Callable[[Path], CarCalibration] = store.load) -> None:
        self.path = path
        self._load = load
        self._thread: threading.Thread | None = None
        self._again = False
        self._read: CarCalibration | CalibrationError | None = None

    @property
    def is_reading(self) -> bool:
        """Whether a reading is on its way."""
        return self._thread is not None

    @property
    def is_done(self) -> bool:
        """Whether the next `take` ends the reading."""
        return self._thread is not None and not self._thread.is_alive()

    def begin(self) -> None:
        """Start reading; while a reading is on its way another follows it, for the file may have changed."""
        if self._thread is not None:
            self._again = True
            return
        self._read = None
        self._thread = threading.Thread(target=self._run, name="calibration-read", daemon=True)
        self._thread.start()

    def take(self) -> CarCalibration | CalibrationError | None:
        """Return what has just been read, or why it could not be, once."""
        if self._thread is None or self._thread.is_alive():
            return None
        self._thread.join()
        self._thread = None
        if self._again:
            self._again = False
            self.begin()
            return None
        read, self._read = self._read, None
        return read

    def _run(self) -> None:
        use_normal_priority()
        self._read = CalibrationError(
            f"{self.path} could not be read, by a mistake of ours; the vehicle's log has it"
        )
        try:
            self._read = self._load(self.path)
        except CalibrationError as error:
            self._read = error
