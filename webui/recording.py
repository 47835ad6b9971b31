"""Follows the recorder, for all threads of the page's server."""

import contextlib
import threading
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Protocol

import msgspec

from vehicle.errors import UNREADABLE
from vehicle.messages import GUARDED_STATES, Status
from vehicle.recorder_status import RecorderClient, RecorderStatus

AGE_LIMIT_S = 2.0  # it tells twice a second
START_LIMIT_S = 5.0  # it starts beside the page
DEAF_S = 3.0  # a drive is in its file with its first tick; one that a recorder joins, with the next
LOOKED_S = 2.0  # a page asks many times a second; who asks less often does not see a drive go on
DEAF = (
    "The car drives, and the recorder hears nothing of it, so this drive is not kept. Restart the car's "
    "software; if this stays, look into the recorder's log."
)
SILENT = (
    "The recorder does not answer, so drives are not kept. It is started again by itself; "
    "if this stays, look into the log."
)


class Recording(StrEnum):
    """Whether what happens now is kept."""

    STARTING = "starting"
    READY = "ready"
    RECORDING = "recording"
    NOT_RECORDING = "not recording"


class RecordingDocument(msgspec.Struct, frozen=True):
    """What the page shows of the recorder."""

    state: Recording
    run: str = ""
    """Name of the run that is being written."""
    size_bytes: int = 0
    problem: str = ""
    """Why nothing is recorded and what to do, as a sentence."""


class Recorder(Protocol):
    """The recorder as the page sees it; safe in any thread."""

    def document(self) -> RecordingDocument:
        """Return how it fares."""


class RecorderFollower:
    """Keeps what the recorder said last; one background thread owns the socket."""

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir
        self._started_s = time.monotonic()
        self._newest: tuple[RecorderStatus, float] | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="recorder-follower", daemon=True)
        self._thread.start()

    def document(self) -> RecordingDocument:
        """Return how it fares."""
        newest, now_s = self._newest, time.monotonic()
        heard_s = newest[1] if newest is not None else self._started_s
        if newest is None and now_s - heard_s <= START_LIMIT_S:
            return RecordingDocument(Recording.STARTING)
        if newest is None or now_s - heard_s > AGE_LIMIT_S:
            return RecordingDocument(
                Recording.NOT_RECORDING,
                problem=SILENT,
            )
        return document_of(newest[0])

    def close(self) -> None:
        """End the background thread."""
        self._closing.set()
        self._thread.join()

    def _follow(self) -> None:
        client = RecorderClient(self._run_dir)
        while not self._closing.is_set():
            with contextlib.suppress(*UNREADABLE):  # of another version: as good as silent
                status = client.wait(0.2)
                if status is not None:
                    self._newest = (status, time.monotonic())
        client.close()


class WatchedRecorder:
    """Compares what a recorder says with what the car does: one that hears nothing believes to be ready."""

    def __init__(
        self,
        recorder: Recorder,
        status: Callable[[], Status | None],
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._recorder = recorder
        self._status = status
        self._now_s = now_s
        self._deaf_since_s = self._looked_s = float("-inf")

    def document(self) -> RecordingDocument:
        """Return how it fares."""
        said, status, now_s = self._recorder.document(), self._status(), self._now_s()
        is_deaf = said.state is Recording.READY and status is not None and status.state in GUARDED_STATES
        if not is_deaf or now_s - self._looked_s > LOOKED_S:
            self._deaf_since_s = now_s
        self._looked_s = now_s
        if is_deaf and now_s - self._deaf_since_s > DEAF_S:
            return RecordingDocument(Recording.NOT_RECORDING, problem=DEAF)
        return said


def document_of(status: RecorderStatus) -> RecordingDocument:
    """Return what the recorder said, as the page shows it."""
    if status.problem:
        words = status.problem.removeprefix("not recording: ")
        return RecordingDocument(Recording.NOT_RECORDING, problem=f"{words[:1].upper()}{words[1:]}.")
    state = Recording.RECORDING if status.run else Recording.READY
    return RecordingDocument(state, status.run, status.size_bytes)
