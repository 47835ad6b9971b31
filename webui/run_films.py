"""Films of recorded runs, made one at a time by a process of its own that rests while the car moves."""

import contextlib
import signal
import subprocess
import sys
import threading
from enum import StrEnum
from pathlib import Path

import msgspec
from werkzeug.exceptions import Conflict

from vehicle.messages import GUARDED_STATES
from webui.car import Vehicle

LOOK_S = 0.2
WORDS_LIMIT = 300


class FilmState(StrEnum):
    """How far a film is."""

    NONE = "none"
    MAKING = "making"
    READY = "ready"
    FAILED = "failed"


class FilmDocument(msgspec.Struct, frozen=True):
    """What the page shows of a run's film."""

    state: FilmState
    share: float = 0.0
    rests: bool = False
    """It waits until the car stands."""
    error: str = ""


class RunFilms:
    """Makes films and knows how far they are; safe in any thread."""

    def __init__(self, vehicle: Vehicle) -> None:
        self._vehicle = vehicle
        self._lock = threading.Lock()
        self._making = ""
        self._document = FilmDocument(FilmState.NONE)
        self._failed: dict[str, str] = {}

    def document(self, run: Path) -> FilmDocument:
        """Return how far the film of a run is."""
        with self._lock:
            if self._making == run.stem:
                return self._document
            if film_of(run).exists():
                return FilmDocument(FilmState.READY, 1.0)
            error = self._failed.get(run.stem, "")
        return FilmDocument(FilmState.FAILED if error else FilmState.NONE, error=error)

    def begin(self, run: Path) -> FilmDocument:
        """Begin the film of a run, unless it is there; raises Conflict while another one is made."""
        with self._lock:
            if self._making and self._making != run.stem:
                raise Conflict("The film of another run is being made; wait until it is done.")
            if self._making or film_of(run).exists():
                begins = False
            else:
                begins = True
                self._making, self._document = run.stem, FilmDocument(FilmState.MAKING)
                self._failed.pop(run.stem, None)
        if begins:
            threading.Thread(target=self._make, args=(run,), name="film", daemon=True).start()
        return self.document(run)

    def _make(self, run: Path) -> None:
        command = [sys.executable, "-m", "vehicle.run_film", str(run), str(film_of(run))]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        ended = threading.Event()
        watcher = threading.Thread(
            target=self._let_rest, args=(process, ended), name="film-rest", daemon=True
        )
        watcher.start()
        assert process.stdout is not None
        for line in process.stdout:
            with self._lock, contextlib.suppress(ValueError):
                self._document = msgspec.structs.replace(self._document, share=float(line))
        assert process.stderr is not None
        words = process.stderr.read().strip().splitlines()[-1:]
        code = process.wait()
        ended.set()
        watcher.join()
        process.stdout.close()
        process.stderr.close()
        if not run.exists():  # removed meanwhile
            film_of(run).unlink(missing_ok=True)
        with self._lock:
            if code != 0:
                self._failed[run.stem] = (words or ["the film could not be made"])[0][:WORDS_LIMIT]
            self._making = ""

    def _let_rest(self, process: subprocess.Popen[str], ended: threading.Event) -> None:
        """Stop the process while the car moves: what drives needs the computer."""
        rests = False
        while not ended.wait(LOOK_S):
            car = self._vehicle.status()
            moves = car is not None and car.state in GUARDED_STATES
            if moves != rests:
                rests = moves
                process.send_signal(signal.SIGSTOP if rests else signal.SIGCONT)
                with self._lock:
                    self._document = msgspec.structs.replace(self._document, rests=rests)


def film_of(run: Path) -> Path:
    """Return where the film of a run is kept."""
    return run.with_suffix(".webm")
