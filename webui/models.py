"""Policies over HTTP: uploaded, checked, listed, activated, renamed, removed, downloaded.

An upload is the raw body of a PUT. It is written to the store's own file system as it comes; the check
starts when the car stands still, in a process of its own, and is followed by asking for the upload.
No network is opened in this process.
"""

import contextlib
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from typing import Annotated

import msgspec
from flask import Blueprint, Request, Response, request, send_file
from werkzeug.exceptions import BadRequest, ClientDisconnected, Conflict, HTTPException, NotFound
from werkzeug.exceptions import RequestEntityTooLarge as TooLarge

from models.activation import NotActivatedError, Vehicle, activate, may_check
from models.check_report import CheckCancelledError, CheckRefusedError
from models.check_report import Response as Answer
from models.errors import PolicyError
from models.store import Entry, Incoming, PolicyStore
from models.store_files import StoreFullError
from models.store_intake import UPLOAD_LIMIT_BYTES, add_upload, policy_name, receive
from models.store_report import entry_document, export_name, remove_unused
from webui.guard import answer, read_body, sentence

UPLOADS_KEPT = 50  # outcomes of the last ones, for pages that ask late
WAITING_LIMIT = 8  # uploads on their way at once: each has a thread and a place on the disk
WAIT_LIMIT_S = 20.0
ON_THE_WAY = frozenset({"uploading", "checking"})
RANGES = frozenset({"", "0..1", "0..255"})


class NameBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A policy's new name."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]


class UploadState(msgspec.Struct):
    """One upload: where it is, and what came of it."""

    id: str
    name: str
    state: str = "uploading"
    """`uploading`, `checking`, `done`, `refused`, `cancelled`."""
    stage: str = "uploading"
    share: float = 0.0
    error: str = ""
    responses: dict[str, tuple[Answer, ...]] = {}
    """Where the owner must choose an input range: the answers with each."""
    model: dict[str, object] | None = None
    new: bool = False


class Uploads:
    """Uploads on their way and the outcomes of the last ones; safe in any thread."""

    def __init__(self, store: PolicyStore, vehicle: Vehicle) -> None:
        self._store = store
        self._vehicle = vehicle
        self._changed = threading.Condition()
        self._states: OrderedDict[str, UploadState] = OrderedDict()
        self._cancelled: set[str] = set()

    def begin(self, name: str) -> UploadState:
        """Return a new upload; raises Conflict when too many are on their way."""
        with self._changed:
            if sum(state.state in ON_THE_WAY for state in self._states.values()) >= WAITING_LIMIT:
                raise Conflict(f"{WAITING_LIMIT} uploads are on their way; wait until one is done.")
            state = UploadState(secrets.token_hex(8), name)
            self._states[state.id] = state
            for old in [key for key, kept in self._states.items() if kept.state not in ON_THE_WAY]:
                if len(self._states) > UPLOADS_KEPT:
                    del self._states[old]
        return state

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

    def cancel(self, upload: str) -> None:
        """Take an upload back; one that is done stays."""
        state = self.get(upload)
        with self._changed:
            if state.state in ON_THE_WAY:
                self._cancelled.add(upload)

    def wait(self, upload: str, timeout_s: float) -> UploadState:
        """Return the upload when it is over, or as it is after the time-out."""
        state = self.get(upload)
        deadline_s = time.monotonic() + timeout_s
        with self._changed:
            while state.state in ON_THE_WAY and time.monotonic() < deadline_s:
                self._changed.wait(deadline_s - time.monotonic())
        return state

    def tell(self, upload: UploadState, /, **fields: object) -> None:
        """Change an upload's state for all who look."""
        with self._changed:
            for name, value in fields.items():
                setattr(upload, name, value)
            self._changed.notify_all()

    def is_cancelled(self, state: UploadState) -> bool:
        """Whether somebody has taken it back."""
        with self._changed:
            return state.id in self._cancelled

    def check(
        self, state: UploadState, incoming: Incoming, *, source_name: str, input_range: str
    ) -> dict[str, object]:
        """Check what has been received and take it in; return what is to be told of it, whatever it is."""
        try:
            entry, is_new = add_upload(
                self._store,
                incoming,
                name=state.name,
                source_name=source_name,
                input_range=input_range,
                progress=lambda stage, share: self.tell(state, stage=stage, share=share),
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


def make_blueprint(store: PolicyStore, vehicle: Vehicle) -> Blueprint:
    """Return the routes of this car's policies."""
    blueprint = Blueprint("models", __name__)
    uploads = Uploads(store, vehicle)

    @blueprint.get("/api/models")
    def list_models() -> Response:
        return answer({"models": [entry_document(entry) for entry in store.list()]})

    @blueprint.put("/api/models")
    def upload() -> tuple[Response, int]:
        """Take a policy's file; 202 with the upload, or its outcome when `wait` seconds were enough."""
        _allow_large(request)
        source_name = request.args.get("name", "")
        input_range = request.args.get("input_range", "")
        wait_s = request.args.get("wait", default=0.0, type=float)
        if not source_name.strip():
            raise BadRequest("Send the file's name as `name`, such as /api/models?name=swift.tar.gz.")
        if input_range not in RANGES:
            raise BadRequest(f"`input_range` is {input_range!r}; allowed are 0..1 and 0..255.")
        state = uploads.begin(policy_name(source_name)[:500])
        with contextlib.ExitStack() as kept:
            try:
                incoming = kept.enter_context(store.begin())
                _receive(store, uploads, state, incoming)
            except (PolicyError, HTTPException) as error:
                words = str(error) if isinstance(error, PolicyError) else str(error.description)
                uploads.tell(state, state="refused", error=sentence(words))
                raise
            uploads.tell(state, state="checking", stage="waiting", share=0.0)
            place = kept.pop_all()
        threading.Thread(
            target=_check_and_leave,
            args=(uploads, state, incoming, place),
            kwargs={"source_name": source_name, "input_range": input_range},
            name="upload-check",
            daemon=True,
        ).start()
        return _outcome(uploads.wait(state.id, min(WAIT_LIMIT_S, max(0.0, wait_s or 0.0))))

    @blueprint.get("/api/uploads")
    def list_uploads() -> Response:
        return answer({"uploads": uploads.all()})

    @blueprint.get("/api/uploads/<upload>")
    def follow(upload: str) -> tuple[Response, int]:
        """Tell how an upload goes; with `wait` seconds, when it is over or that much later."""
        wait_s = request.args.get("wait", default=0.0, type=float)
        state = uploads.wait(upload, min(WAIT_LIMIT_S, max(0.0, wait_s or 0.0)))
        return answer(state), 200

    @blueprint.delete("/api/uploads/<upload>")
    def cancel(upload: str) -> Response:
        uploads.cancel(upload)
        return answer({"ok": True})

    @blueprint.get("/api/models/<key>")
    def show(key: str) -> Response:
        entry = _entry(store, key)
        return answer({**entry_document(entry), "report": entry.report})

    @blueprint.get("/api/models/<key>/original")
    def original(key: str) -> Response:
        """Send the file as it was uploaded, byte for byte."""
        entry = _entry(store, key)
        with _conflicts():
            path = store.original(entry.key)
        return send_file(
            path,
            mimetype="application/octet-stream",
            as_attachment=True,
            download_name=export_name(entry, tidy=False),
            conditional=False,
            etag=False,
        )

    @blueprint.post("/api/models/<key>/activate")
    def activate_model(key: str) -> Response:
        entry = _entry(store, key)
        with _conflicts():
            entry, is_loaded = activate(store, entry.key, vehicle)
        return answer({**entry_document(entry), "loaded": is_loaded})

    @blueprint.patch("/api/models/<key>")
    def rename(key: str) -> Response:
        body = read_body(NameBody)
        entry = _entry(store, key)
        with _conflicts():
            return answer(entry_document(store.rename(entry.key, body.name)))

    @blueprint.delete("/api/models/<key>")
    def remove(key: str) -> Response:
        entry = _entry(store, key)
        with _conflicts():
            return answer({"removed": remove_unused(store, entry.key, vehicle)})

    @blueprint.post("/api/models/<removed>/restore")
    def restore(removed: str) -> Response:
        with _conflicts():
            return answer(entry_document(store.restore(removed)))

    return blueprint


def _allow_large(current: Request) -> None:
    current.max_content_length = UPLOAD_LIMIT_BYTES
    length = current.content_length
    if length is not None and length > UPLOAD_LIMIT_BYTES:
        raise TooLarge(
            f"The upload has {length / 1e6:.0f} MB, allowed {UPLOAD_LIMIT_BYTES / 1e6:.0f} MB; "
            "upload the network and its metadata alone, without checkpoints."
        )


def _receive(store: PolicyStore, uploads: Uploads, state: UploadState, incoming: Incoming) -> None:
    """Write the body to the disk; a browser that goes away leaves nothing."""
    try:
        receive(
            store,
            incoming,
            request.stream,
            request.content_length,
            progress=lambda stage, share: uploads.tell(state, stage=stage, share=share),
            cancelled=lambda: uploads.is_cancelled(state),
        )
    except ClientDisconnected:
        raise BadRequest("The connection was closed before the whole file had come.") from None
    except StoreFullError as error:
        raise InsufficientStorage(sentence(str(error))) from error
    except PolicyError as error:
        raise BadRequest(sentence(str(error))) from error


class InsufficientStorage(HTTPException):
    """507: the disk is too full for this upload."""

    code = 507


def _check_and_leave(
    uploads: Uploads,
    state: UploadState,
    incoming: Incoming,
    place: contextlib.ExitStack,
    *,
    source_name: str,
    input_range: str,
) -> None:
    """Check, clear the upload's place away, and only then tell what came of it."""
    told: dict[str, object] = {
        "state": "refused",
        "error": "The check failed by a mistake of ours; the server's log has it.",
    }
    try:
        with place:
            told = uploads.check(state, incoming, source_name=source_name, input_range=input_range)
    finally:
        uploads.tell(state, **told)


def _outcome(state: UploadState) -> tuple[Response, int]:
    status = {"done": 201, "refused": 422, "cancelled": 409}.get(state.state, 202)
    return answer(state), status


def _entry(store: PolicyStore, key: str) -> Entry:
    try:
        return store.get(key)
    except PolicyError as error:
        raise NotFound(sentence(str(error))) from error


@contextlib.contextmanager
def _conflicts() -> Iterator[None]:
    """Answer 409 with the sentence where the store or the car refuses."""
    try:
        yield
    except (NotActivatedError, PolicyError) as error:
        raise Conflict(sentence(str(error))) from error
