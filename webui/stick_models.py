"""Policies from a USB stick over HTTP: the archives that are there, and one added as an upload is."""

import contextlib
import threading
from typing import Annotated

import msgspec
from flask import Blueprint, Response
from werkzeug.exceptions import Conflict, Forbidden, HTTPException

from models.errors import PolicyError
from models.store import Incoming, PolicyStore
from vehicle.messages import DriveState
from webui.access import visitor
from webui.car import Vehicle
from webui.describing import described
from webui.guard import answer, read_body, sentence
from webui.sticks import StickError, StickFile, Sticks, SticksSight
from webui.uploads import Uploads, UploadState

STANDING = frozenset({DriveState.DISARMED, DriveState.FAILSAFE})
DRIVES = "The car drives; sticks are read while it stands disarmed."


class AddBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which archive to add."""

    stick: Annotated[str, msgspec.Meta(min_length=1, max_length=40)]
    path: Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]


class SticksDocument(msgspec.Struct, frozen=True):
    """The sticks, and whether they can be read now."""

    sight: SticksSight
    problem: str


def make_blueprint(
    store: PolicyStore, vehicle: Vehicle, uploads: Uploads, sticks: Sticks | None
) -> Blueprint:
    """Return the routes; `sticks` None: nobody looks for any."""
    blueprint = Blueprint("sticks", __name__)

    @blueprint.get("/api/sticks")
    @described(answers=SticksDocument)
    def show() -> Response:
        """Tell which USB sticks are mounted and which archives are on them; nothing is written to any."""
        _only_drivers()
        problem = _why_not_now(vehicle)
        there = SticksSight((), ()) if sticks is None or problem else sticks.look()
        return answer(SticksDocument(there, problem))

    @blueprint.post("/api/sticks/add")
    @described(body=AddBody, answers={202: UploadState}, refuses=(409,))
    def add() -> tuple[Response, int]:
        """Check an archive of a stick and take a copy in, as an upload: follow it by its id."""
        body = read_body(AddBody)
        if problem := _why_not_now(vehicle):
            raise Conflict(problem)
        if sticks is None:
            raise Conflict("This car looks for no sticks.")
        try:
            file = sticks.open(body.stick, body.path)
        except StickError as error:
            raise Conflict(sentence(str(error))) from error
        with contextlib.ExitStack() as kept:
            kept.callback(file.close)
            state = uploads.begin(file.name, file.size_bytes)
            try:
                incoming = kept.enter_context(store.begin())
            except PolicyError as error:
                uploads.refuse(state, error)
                raise Conflict(state.error) from error
            place = kept.pop_all()  # and the file, which is closed as soon as it was copied
            threading.Thread(
                target=_copy, args=(uploads, state, incoming, file, place), name="stick", daemon=True
            ).start()
        return answer(state), 202

    return blueprint


def _copy(
    uploads: Uploads, state: UploadState, incoming: Incoming, file: StickFile, place: contextlib.ExitStack
) -> None:
    with place as kept, contextlib.suppress(HTTPException):  # its words are told as the upload's outcome
        uploads.receive(state, incoming, file, None)
        file.close()  # the stick may go now
        uploads.start_check(state, incoming, kept.pop_all(), input_range="", may_ask=True)


def _why_not_now(vehicle: Vehicle) -> str:
    car = vehicle.status()
    return "" if car is None or car.state in STANDING else DRIVES


def _only_drivers() -> None:
    if not visitor().may_drive:
        raise Forbidden("You came by a view-only link: what is plugged in is for those who may drive.")
