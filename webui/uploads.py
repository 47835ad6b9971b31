"""Uploads on their way, for all threads: received, checked when the car stands, asked about, taken in.

Several may be received at once; the check takes them one after the other. A network whose input range
nobody states waits for its owner's choice, for a while, with the answers to each choice shown.
"""

import contextlib
import re
import secrets
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import msgspec
from werkzeug.exceptions import BadRequest, ClientDisconnected, Conflict, HTTPException, NotFound

from models.activation import Vehicle, may_check
from models.check_report import CheckCancelledError, CheckRefusedError, Response, clean_name
from models.errors import PolicyError
from models.store import Incoming, PolicyStore
from models.store_files import StoreFullError
from models.store_intake import (
    UNPACKED_FACTOR,
    UPLOAD_LIMIT_BYTES,
    ByteStream,
    add_upload,
    policy_name,
    receive,
)
from models.store_report import entry_document
from webui.guard import sentence

UPLOADS_KEPT = 50  # outcomes of the last ones, for pages that ask late
WAITING_LIMIT = 8  # uploads on their way at once: each has a thread and a place on the disk
CHOICE_LIMIT_S = 600.0  # an owner at the track may first look up how the policy was trained
SILENCE_LIMIT_S = 20.0  # a phone that has left the Wi-Fi would hold its place for ever
ON_THE_WAY = frozenset({"uploading", "checking", "asking"})
RANGES = frozenset({"", "0..1", "0..255"})
UPLOAD_ID = re.compile(r"[0-9a-f]{16}")


class UploadState(msgspec.Struct):
    """One upload: where it is, and what came of it."""

    id: str
    name: str
    file_name: str
    size_bytes: int | None = None
    state: str = "uploading"
    """`uploading`, `checking`, `asking`, `done`, `refused`, `cancelled`."""
    stage: str = "uploading"
    share: float = 0.0
    error: str = ""
    responses: dict[str, tuple[Response, ...]] = {}
    """Where the owner must choose an input range: the answers with each."""
    model: dict[str, Any] | None = None
    new: bool = False


class InsufficientStorage(HTTPException):
    """507: the disk is too full for this upload."""

    code = 507


class Uploads:
    """Uploads on their way and the outcomes of the last ones; safe in any thread."""

    def __init__(self, store: PolicyStore, vehicle: Vehicle, choice_limit_s: float = CHOICE_LIMIT_S) -> None:
        self._store = store
        self._vehicle = vehicle
        self._choice_limit_s = choice_limit_s
        self._changed = threading.Condition()
        self._states: OrderedDict[str, UploadState] = OrderedDict()
        self._cancelled: set[str] = set()
        self._chosen: dict[str, str] = {}

    def begin(self, file_name: str, size_bytes: int | None, upload: str = "") -> UploadState:
        """Return a new upload, called `upload` where the sender has chosen its id; raises Conflict."""
        if upload and not UPLOAD_ID.fullmatch(upload):
            raise BadRequest(f"`id` is {clean_name(upload)!r}; send 16 random digits of 0 to 9 and a to f.")
        with self._changed:
            if upload in self._states:
                raise Conflict("There is an upload of this id already; draw another one.")
            if self._is_crowded():
                raise Conflict(_crowd())
            state = UploadState(
                upload or secrets.token_hex(8),
                clean_name(policy_name(file_name)),
                clean_name(file_name),
                size_bytes,
            )
            self._states[state.id] = state
            for old in [key for key, kept in self._states.items() if kept.state not in ON_THE_WAY]:
                if len(self._states) > UPLOADS_KEPT:
                    self._forget(old)
        return state

    def why_not_now(self, size_bytes: int) -> str:
        """Return why an upload of this size would be refused, or nothing."""
        if size_bytes > UPLOAD_LIMIT_BYTES:
            return sentence(
                f"the file has {size_bytes / 1e6:.0f} MB, allowed {UPLOAD_LIMIT_BYTES / 1e6:.0f} MB; "
                "upload the network and its metadata alone, without checkpoints"
            )
        try:
            self._store.check_room(UNPACKED_FACTOR * size_bytes)
        except PolicyError as error:
            return sentence(str(error))
        return ""

    def is_crowded(self) -> bool:
        """Whether another upload must wait until one of those on their way is over."""
        with self._changed:
            return self._is_crowded()

    def get(self, upload: str) -> UploadState:
        """Return an upload; raises NotFound."""
        with self._changed:
            state = self._states.get(upload)
        if state is None:
            raise NotFound("There is no such upload; its outcome may be too long ago.")
        return state

    def all(self) -> list[UploadState]:
        """Return the uploads that are remembered, oldest first."""
        with self._changed:
            return list(self._states.values())

    def stamp(self) -> tuple[tuple[str, str, str, float, str], ...]:
        """Return something that changes whenever an upload does."""
        return tuple((one.id, one.state, one.stage, one.share, one.error) for one in self.all())

    def take_back(self, upload: str) -> None:
        """Cancel an upload that is on its way, forget the outcome of one that is over."""
        state = self.get(upload)
        with self._changed:
            if state.state in ON_THE_WAY:
                self._cancelled.add(upload)
                self._changed.notify_all()
            else:
                self._forget(upload)

    def choose(self, upload: str, input_range: str) -> None:
        """Tell the input range that the owner has chosen; raises Conflict where nobody asks."""
        state = self.get(upload)
        with self._changed:
            if state.state != "asking":
                raise Conflict("This upload does not wait for an input range; look at what came of it.")
            self._chosen[upload] = input_range
            self._tell(state, state="checking", stage="waiting", error="", responses={})

    def wait(self, upload: str, timeout_s: float) -> UploadState:
        """Return the upload when it is over or asks something, or as it is after the time-out."""
        state = self.get(upload)
        deadline_s = time.monotonic() + timeout_s
        with self._changed:
            while state.state in {"uploading", "checking"} and time.monotonic() < deadline_s:
                self._changed.wait(deadline_s - time.monotonic())
        return state

    def is_cancelled(self, state: UploadState) -> bool:
        """Whether somebody has taken it back."""
        with self._changed:
            return state.id in self._cancelled

    def receive(
        self, state: UploadState, incoming: Incoming, stream: ByteStream, connection: socket.socket | None
    ) -> None:
        """Write the body to the disk as it comes; raises HTTPException with the sentence for the sender."""
        try:
            with _patience(connection):
                receive(
                    self._store,
                    incoming,
                    stream,
                    state.size_bytes,
                    progress=lambda stage, share: self._tell(state, stage=stage, share=share),
                    cancelled=lambda: self.is_cancelled(state),
                )
        except CheckCancelledError as error:
            self._tell(state, state="cancelled", error=sentence(str(error)))
            raise Conflict(state.error) from error
        except (PolicyError, ClientDisconnected) as error:
            words = str(error)
            if isinstance(error, ClientDisconnected):  # or silent for too long
                words = "the connection was lost before the whole file had come; upload it again"
            is_cancelled = self.is_cancelled(state)
            self._tell(state, state="cancelled" if is_cancelled else "refused", error=sentence(words))
            is_full = isinstance(error, StoreFullError)
            raise (InsufficientStorage if is_full else BadRequest)(state.error) from error

    def refuse(self, state: UploadState, error: PolicyError) -> None:
        """Tell that an upload has ended before anything of it came."""
        self._tell(state, state="refused", error=sentence(str(error)))

    def start_check(
        self,
        state: UploadState,
        incoming: Incoming,
        place: contextlib.ExitStack,
        *,
        input_range: str,
        may_ask: bool,
    ) -> None:
        """Check what was received in a thread; `place` is cleared away before the outcome is told."""
        self._tell(state, state="checking", stage="waiting", share=0.0)
        threading.Thread(
            target=self._check_and_leave,
            args=(state, incoming, place),
            kwargs={"input_range": input_range, "may_ask": may_ask},
            name="upload-check",
            daemon=True,
        ).start()

    def _check_and_leave(
        self,
        state: UploadState,
        incoming: Incoming,
        place: contextlib.ExitStack,
        *,
        input_range: str,
        may_ask: bool,
    ) -> None:
        told: dict[str, Any] = {
            "state": "refused",
            "error": "The check failed by a mistake of ours; the server's log has it.",
        }
        try:
            with place:
                told = self._check(state, incoming, input_range)
                if may_ask and told.get("responses"):
                    self._tell(state, **{**told, "state": "asking"})
                    chosen = self._await_choice(state)
                    if chosen:
                        told = self._check(state, incoming, chosen)
                    elif self.is_cancelled(state):
                        told = {"state": "cancelled", "error": "", "responses": {}}
        finally:
            self._tell(state, **told)

    def _await_choice(self, state: UploadState) -> str:
        """Return the chosen range; nothing when it was cancelled, or nobody chose in time."""
        with self._changed:
            self._changed.wait_for(
                lambda: state.id in self._chosen or state.id in self._cancelled, self._choice_limit_s
            )
            return self._chosen.get(state.id, "") if state.id not in self._cancelled else ""

    def _check(self, state: UploadState, incoming: Incoming, input_range: str) -> dict[str, Any]:
        """Check and take in; return what is to be told of it, whatever it is."""
        try:
            entry, is_new = add_upload(
                self._store,
                incoming,
                name=state.name,
                source_name=state.file_name,
                input_range=input_range,
                progress=lambda stage, share: self._tell(state, stage=stage, share=share),
                cancelled=lambda: self.is_cancelled(state),
                may_run=lambda: may_check(self._vehicle.status()),
            )
        except CheckCancelledError as error:
            return {"state": "cancelled", "error": sentence(str(error))}
        except CheckRefusedError as error:
            return {"state": "refused", "error": sentence(str(error)), "responses": error.responses}
        except PolicyError as error:
            return {"state": "refused", "error": sentence(str(error))}
        return {
            "state": "done",
            "stage": "done",
            "share": 1.0,
            "model": entry_document(entry),
            "new": is_new,
        }

    def _tell(self, upload: UploadState, /, **fields: object) -> None:
        """Change an upload's state for all who look."""
        with self._changed:
            for name, value in fields.items():
                setattr(upload, name, value)
            self._changed.notify_all()

    def _is_crowded(self) -> bool:
        return sum(state.state in ON_THE_WAY for state in self._states.values()) >= WAITING_LIMIT

    def _forget(self, upload: str) -> None:
        self._states.pop(upload, None)
        self._cancelled.discard(upload)
        self._chosen.pop(upload, None)


def _crowd() -> str:
    return f"{WAITING_LIMIT} uploads are on their way; wait until one is done."


@contextlib.contextmanager
def _patience(connection: socket.socket | None) -> Iterator[None]:
    """Let a read of the connection end after a while; the server's own reads wait for ever."""
    if connection is None:
        yield
        return
    before_s = connection.gettimeout()
    connection.settimeout(SILENCE_LIMIT_S)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            connection.settimeout(before_s)
