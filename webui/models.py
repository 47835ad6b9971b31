"""Policies over HTTP: uploaded, checked, listed, activated, renamed, removed, downloaded.

An upload is the raw body of a PUT. It is written to the store's own file system as it comes; the check
starts when the car stands still, in a process of its own, and is followed by asking for the upload.
No network is opened in this process.
"""

import contextlib
import hashlib
import secrets
import threading
import time
from collections.abc import Iterator
from typing import Annotated, Any, Literal, TypedDict

import msgspec
from flask import Blueprint, Request, Response, render_template, request, send_file
from werkzeug.exceptions import BadRequest, Conflict, NotFound
from werkzeug.exceptions import RequestEntityTooLarge as TooLarge

from models.activation import NotActivatedError, activate
from models.check_pictures import seen_jpegs
from models.errors import PolicyError
from models.int8_summary import int8_document
from models.store import Entry, PolicyStore, Removed
from models.store_intake import UPLOAD_LIMIT_BYTES
from models.store_report import entry_document, export_name, remove_unused
from vehicle.messages import DriveState
from webui.car import Vehicle
from webui.describing import BINARY, Ok, described, html_page
from webui.guard import answer, read_body, read_query, sentence
from webui.shipped import ShippedReports
from webui.uploads import RANGES, Uploads, UploadState
from webui.worker import AwaitedBody

WAIT_LIMIT_S = 20.0
CLOCK_STEP_NS = 50_000_000  # of a file system; two changes within one look alike


Wait = Annotated[float, msgspec.Meta(ge=0.0, description="Seconds to wait for the outcome, at most 20.")]


class NameBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A policy's new name."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]


class RangeBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which values a network's input takes, as its owner says."""

    input_range: Literal["0..1", "0..255"]


class UploadQuery(msgspec.Struct, frozen=True):
    """What is sent, and how it is to be checked."""

    name: Annotated[str, msgspec.Meta(description="The file's name, such as swift.tar.gz.")] = ""
    input_range: Annotated[
        str,
        msgspec.Meta(description="Which values the network takes, 0..1 or 0..255, where it does not say."),
    ] = ""
    id: Annotated[
        str, msgspec.Meta(description="16 random digits of 0 to 9 and a to f; else one is made.")
    ] = ""
    ask: Annotated[str, msgspec.Meta(description="1: ask for the input range where nothing states it.")] = ""
    wait: Wait = 0.0


class WaitQuery(msgspec.Struct, frozen=True):
    """How long the outcome is waited for."""

    wait: Wait = 0.0


class RoomQuery(msgspec.Struct, frozen=True):
    """What somebody would like to upload."""

    size_bytes: Annotated[int, msgspec.Meta(ge=0, le=2**53)] = 0


class Room(msgspec.Struct, frozen=True):
    """Whether an upload would be let in."""

    error: str
    crowded: bool


class ModelsDocument(TypedDict):
    """The policies of this car."""

    models: list[dict[str, Any]]
    removed: tuple[Removed, ...]
    car: dict[str, Any] | None


class UploadsDocument(TypedDict):
    """The uploads on their way, and the outcomes of the last ones."""

    uploads: list[UploadState]


class RemovedDocument(TypedDict):
    """What puts it back."""

    removed: str


class Measuring(msgspec.Struct, frozen=True):
    """How far it has come."""

    ok: bool
    stage: str
    share: float


class Listing:
    """The list of policies, read again only when the store has changed; safe in any thread."""

    def __init__(self, store: PolicyStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._read: tuple[object, dict[str, Any]] | None = None

    def document(self) -> dict[str, Any]:
        """Return the policies and what can be put back."""
        with self._lock:
            stamp = self._store.stamp()
            if self._read is not None and self._read[0] == stamp:
                return self._read[1]
            document = {
                "models": [entry_document(entry) for entry in self._store.list()],
                "removed": self._store.removed(),
            }
            newest_ns = max((modified_ns for modified_ns, _ in stamp), default=0)
            is_settled = time.time_ns() - newest_ns > CLOCK_STEP_NS
            self._read = (stamp, document) if is_settled else None
        return document


def make_blueprint(store: PolicyStore, vehicle: Vehicle, uploads: Uploads) -> Blueprint:
    """Return the page and the routes of this car's policies."""
    blueprint = Blueprint("models", __name__)
    shipped = ShippedReports(store, vehicle)
    listing = Listing(store)

    @blueprint.get("/models")
    @html_page
    def page() -> str:
        return render_template(
            "models.html", page=secrets.token_hex(16), upload_limit_bytes=UPLOAD_LIMIT_BYTES
        )

    @blueprint.get("/api/models")
    @described(answers={200: ModelsDocument, 304: None})
    def list_models() -> Response:
        """List the policies, what can be put back, and what the car has loaded; 304 when nothing changed."""
        return _unless_known(answer({**listing.document(), "car": _car_document(vehicle)}))

    @blueprint.put("/api/models")
    @described(
        body=bytes,
        query=UploadQuery,
        answers=dict.fromkeys((201, 202, 409, 422), UploadState),
        refuses=(409, 507),
    )
    def upload() -> tuple[Response, int]:
        """Take a policy's file; 202 with the upload, or its outcome when `wait` seconds were enough."""
        _allow_large(request)
        query = read_query(UploadQuery)
        file_name, input_range = query.name, query.input_range
        if not file_name.strip():
            raise BadRequest("Send the file's name as `name`, such as /api/models?name=swift.tar.gz.")
        if input_range not in RANGES:
            raise BadRequest(f"`input_range` is {input_range!r}; allowed are 0..1 and 0..255.")
        state = uploads.begin(file_name, request.content_length, query.id)
        with contextlib.ExitStack() as kept:
            try:
                incoming = kept.enter_context(store.begin())
            except PolicyError as error:
                uploads.refuse(state, error)
                raise Conflict(state.error) from error
            uploads.receive(state, incoming, request.stream, request.environ.get("gunicorn.socket"))
            uploads.start_check(
                state,
                incoming,
                kept.pop_all(),
                input_range=input_range,
                may_ask=query.ask == "1",
            )
        return _outcome(uploads.wait(state.id, min(WAIT_LIMIT_S, query.wait)))

    @blueprint.get("/api/uploads")
    @described(answers={200: UploadsDocument, 304: None})
    def list_uploads() -> Response:
        """List the uploads on their way, and what came of the last ones; 304 when nothing changed."""
        return _unless_known(answer({"uploads": uploads.all()}))

    @blueprint.get("/api/uploads/room")
    @described(answers=Room, query=RoomQuery)
    def room() -> Response:
        """Tell before an upload whether it would be let in: `error` says why not, `crowded` to wait."""
        return answer(Room(uploads.why_not_now(read_query(RoomQuery).size_bytes), uploads.is_crowded()))

    @blueprint.get("/api/uploads/<upload>")
    @described(answers=UploadState, query=WaitQuery)
    def follow(upload: str) -> tuple[Response, int]:
        """Tell how an upload goes; with `wait` seconds, when it is over or that much later."""
        return answer(uploads.wait(upload, min(WAIT_LIMIT_S, read_query(WaitQuery).wait))), 200

    @blueprint.post("/api/uploads/<upload>/input-range")
    @described(body=RangeBody, answers=Ok, refuses=(409,))
    def choose_range(upload: str) -> Response:
        """Answer the question of an upload that was sent with `ask=1`."""
        uploads.choose(upload, read_body(RangeBody).input_range)
        return answer(Ok(True))

    @blueprint.delete("/api/uploads/<upload>")
    @described(answers=Ok)
    def take_back(upload: str) -> Response:
        """Cancel an upload, or forget what came of it."""
        uploads.take_back(upload)
        return answer(Ok(True))

    @blueprint.get("/api/models/<key>")
    @described(answers=dict[str, Any])
    def show(key: str) -> Response:
        """Show all that is known of a policy; of one that ships the report is made by `measure`."""
        entry = _entry(store, key)
        document = {**entry_document(entry), "report": entry.report, "measuring": None, "int8": None}
        if entry.report is not None:
            with contextlib.suppress(PolicyError):  # a damaged one is as good as none
                document["int8"] = int8_document(entry.folder, entry.report.sha256)
        elif entry.built_in:
            made = shipped.look(entry)
            if made is not None:
                document["report"] = made.report
            if made is not None and made.report is None:
                document["measuring"] = {"stage": made.stage, "share": made.share, "error": made.error}
        return answer(document)

    @blueprint.post("/api/models/<key>/measure")
    @described(answers=Measuring, refuses=(409,))
    def measure(key: str) -> Response:
        """Have a policy that ships checked on this computer, as uploads are; follow it as `measuring`."""
        entry = _entry(store, key)
        if not entry.built_in:
            raise Conflict("It was measured here when it was uploaded; its report has the times.")
        made = shipped.begin(entry)
        return answer(Measuring(True, made.stage, made.share))

    @blueprint.get("/api/check-pictures/<int:index>.jpg")
    @described(answers={200: "image/jpeg"})
    def check_picture(index: int) -> Response:
        """Send one of the pictures that every policy is tried on, the left eye's."""
        pictures = seen_jpegs()
        if index >= len(pictures):
            raise NotFound(f"There are {len(pictures)} pictures, numbered from 0.")
        return Response(pictures[index], mimetype="image/jpeg")

    @blueprint.get("/api/models/<key>/original")
    @described(answers={200: BINARY}, refuses=(409,))
    def original(key: str) -> Response:
        """Send the file as it was uploaded, byte for byte."""
        entry = _entry(store, key)
        with _conflicts():
            path = store.original(entry.key)
        return send_file(
            path,
            mimetype=BINARY,
            as_attachment=True,
            download_name=export_name(entry, tidy=False),
            conditional=False,
            etag=False,
        )

    @blueprint.post("/api/models/<key>/activate")
    @described(answers=dict[str, Any], refuses=(409,))
    def activate_model(key: str) -> Response:
        """Make it the policy that the car drives by, now and after a restart."""
        entry = _entry(store, key)
        with _conflicts():
            entry, is_loaded = activate(store, entry.key, vehicle)
        return answer({**entry_document(entry), "loaded": is_loaded})

    @blueprint.patch("/api/models/<key>")
    @described(body=NameBody, answers=dict[str, Any], refuses=(409,))
    def rename(key: str) -> Response:
        """Give a policy another name."""
        body = read_body(NameBody)
        entry = _entry(store, key)
        with _conflicts():
            return answer(entry_document(store.rename(entry.key, body.name)))

    @blueprint.delete("/api/models/<key>")
    @described(answers=RemovedDocument, refuses=(409,))
    def remove(key: str) -> Response:
        """Remove a policy; `removed` puts it back for a while."""
        entry = _entry(store, key)
        with _conflicts():
            return answer({"removed": remove_unused(store, entry.key, vehicle)})

    @blueprint.post("/api/models/<removed>/restore")
    @described(answers=dict[str, Any], refuses=(409,))
    def restore(removed: str) -> Response:
        """Put a removed policy back."""
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
    body = current.environ["wsgi.input"]
    if isinstance(body, AwaitedBody):
        body.take_long()  # `Uploads` notices a sender who falls silent


def _unless_known(response: Response) -> Response:
    """Answer 304 without a body where the asker has this very document."""
    response.set_etag(hashlib.sha256(response.get_data()).hexdigest()[:32])
    response.make_conditional(request)
    return response


def _car_document(vehicle: Vehicle) -> dict[str, Any] | None:
    """Return what a list of policies needs of the car; None while the vehicle is silent."""
    status = vehicle.status()
    if status is None:
        return None
    return {
        "state": status.state,
        "stands_still": status.state in {DriveState.DISARMED, DriveState.FAILSAFE},
        "policy": status.policy,
        "policy_hash": status.policy_hash,
        "policy_note": status.policy_note,
    }


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
