"""Calibrating over HTTP: its beginning and end, the draft, saving, undoing, files in and out.

Pulses, lease and a test drive's hand are commands as any (`webui.commands`). The draft lives in the page;
what an answer does to it is `calibration.procedure`'s business and is asked for here. Saving writes the
car's file, then the vehicle takes it over and tells the board.
"""

import re
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypedDict

import msgspec
from flask import Blueprint, Response, render_template, request
from werkzeug.exceptions import BadRequest, Conflict, ServiceUnavailable

from calibration import procedure, store
from calibration.car import AWS_DEFAULTS, HIL_AWS, HIL_STANDARD, CarCalibration, file_stem
from calibration.errors import CalibrationError
from vehicle.messages import Actuator, DriveState, RequestKind, Status
from webui.car import Vehicle
from webui.commands import Stamp, stop
from webui.describing import described, html_page
from webui.drive import PageToken, source_of
from webui.guard import answer, read_body, refuse_late, sentence

REQUEST_TIMEOUT_S = 1.0
LATENESS_LIMIT_S = 0.3  # of what moves something
TOLD_LIMIT_S = 3.0  # three attempts of the board's STORE, and the reading of the file
RETRY_S = 0.05
SETTLED_S = 0.3  # a status may be a few ticks older than what was asked for
BODY_LIMIT_BYTES = 2 * store.MAX_FILE_BYTES  # a file inside JSON
HISTORY_SHOWN = 20
SHARE_LIMIT = 0.5  # of a test drive's throttle: it is in a room

Pulse = Annotated[float, msgspec.Meta(ge=0.0, le=2200.0)]
StepId = Annotated[str, msgspec.Meta(max_length=40)]
Person = Annotated[str, msgspec.Meta(max_length=40)]


class PageBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who asks."""

    page: PageToken


class StartBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is calibrated next, and where both actuators rest."""

    page: PageToken
    seen_ns: Stamp
    actuator: Actuator
    center_us: Pulse
    neutral_us: Pulse


class DriveBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A test drive by a share of this car's throttle."""

    page: PageToken
    seen_ns: Stamp
    share: Annotated[float, msgspec.Meta(gt=0.0, le=SHARE_LIMIT)]


class AnswerBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A step's answer, to be put into the draft."""

    draft: dict[str, Any]
    step: StepId
    value: float | dict[str, Any]
    angle_deg: Annotated[float, msgspec.Meta(ge=0.0, le=90.0)] | None = None


class DraftBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A draft to look at."""

    draft: dict[str, Any]


class SaveBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A finished draft, and who saves it."""

    page: PageToken
    draft: dict[str, Any]
    by: Person = ""


class ImportBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file's content."""

    text: Annotated[str, msgspec.Meta(max_length=2 * store.MAX_FILE_BYTES)]


class DraftDocument(TypedDict):
    """A draft with what every step makes of it."""

    calibration: dict[str, Any]
    problem: str
    reach_us: dict[str, tuple[float, float]]
    mark_us: dict[str, float]
    trial_us: dict[str, float]


class AtRest(TypedDict):
    """What the page shows at rest."""

    fresh: bool
    hil: bool
    problem: str
    name: str
    saved: CarCalibration | None
    history: list[CarCalibration]
    kinds: dict[str, CarCalibration]
    steps: tuple[procedure.Step, ...]
    walks: dict[str, list[str]]
    draft: DraftDocument
    told: bool
    board_note: str


class CalibrationDocument(AtRest):
    """This car's numbers, and the steps that lead to new ones."""

    server_ns: int


class SavedDocument(CalibrationDocument):
    """What is in force after a change; `note` says where it is in force in the file alone."""

    ok: bool
    note: str


class DrivingDocument(TypedDict):
    """A test drive has begun."""

    ok: bool
    server_ns: int
    throttle_frac: float
    """Of the hand, for the share that was asked for."""


def make_blueprint(vehicle: Vehicle, clock_ns: Callable[[], int]) -> Blueprint:
    """Return the calibration page of this car."""
    blueprint = Blueprint("calibrate", __name__)
    desk = _Desk(vehicle)

    def done(**fields: object) -> Response:
        return answer({"ok": True, "server_ns": clock_ns(), **fields})

    @blueprint.before_request
    def take_longer_bodies() -> None:
        request.max_content_length = BODY_LIMIT_BYTES

    @blueprint.get("/calibrate")
    @html_page
    def page() -> str:
        token = secrets.token_hex(16)
        return render_template("calibrate.html", page=token, source=source_of(token))

    @blueprint.get("/api/calibration")
    @described(answers=CalibrationDocument)
    def show() -> Response:
        """Tell this car's numbers, their history, and the steps that lead to new ones."""
        return answer({"server_ns": clock_ns(), **desk.document()})

    @blueprint.post("/api/calibration/start")
    @described(body=StartBody, refuses=(409,))
    def start() -> Response:
        """Take the lease, tell the board which actuator may move, and go to where its pulses count."""
        body = read_body(StartBody)
        refuse_late(body.seen_ns, clock_ns(), LATENESS_LIMIT_S)
        rest = {"steering_us": body.center_us, "throttle_us": body.neutral_us}
        desk.start(source_of(body.page), body.actuator, rest, body.seen_ns)
        return done()

    @blueprint.post("/api/calibration/stop")
    @described(body=PageBody, refuses=(409,))
    def end() -> Response:
        """Leave calibrating, or end a test drive; the page that drove lets the car go."""
        desk.stop(source_of(read_body(PageBody).page))
        return done()

    @blueprint.post("/api/calibration/drive")
    @described(body=DriveBody, answers=DrivingDocument, refuses=(409,))
    def drive() -> Response:
        """Begin a test drive, on the floor, by hand at a share of the throttle."""
        body = read_body(DriveBody)
        refuse_late(body.seen_ns, clock_ns(), LATENESS_LIMIT_S)
        return done(throttle_frac=desk.begin_drive(source_of(body.page), body.share, body.seen_ns))

    @blueprint.post("/api/calibration/answer")
    @described(body=AnswerBody, answers=DraftDocument)
    def put_answer() -> Response:
        """Return the draft with a step's answer in it, and where every step stands then."""
        body = read_body(AnswerBody)
        step = next((step for step in procedure.STEPS if step.id == body.step and step.field), None)
        if step is None:
            raise BadRequest(f"There is no step {body.step!r} that is answered by a value.")
        return answer(_draft_document(_changed(body.draft, step, body)))

    @blueprint.post("/api/calibration/draft")
    @described(body=DraftBody, answers=DraftDocument)
    def look_at_draft() -> Response:
        """Return where every step stands with this draft, and what is wrong with it."""
        return answer(_draft_document(_whole(read_body(DraftBody).draft)))

    @blueprint.post("/api/calibration/save")
    @described(body=SaveBody, answers=SavedDocument, refuses=(409,))
    def save() -> Response:
        """Write the car's file, and have the vehicle and the board take it over."""
        body = read_body(SaveBody)
        try:
            calibration = store.from_document(body.draft, "This calibration")
        except CalibrationError as error:
            raise BadRequest(sentence(str(error))) from error
        named = desk.named(calibration)
        note = desk.keep(source_of(body.page), lambda path: store.save(path, named, saved_by=body.by.strip()))
        return done(note=note, **desk.document())

    @blueprint.post("/api/calibration/undo")
    @described(body=PageBody, answers=SavedDocument, refuses=(409,))
    def undo() -> Response:
        """Put the version before the one in force back."""
        note = desk.keep(source_of(read_body(PageBody).page), store.undo)
        return done(note=note, **desk.document())

    @blueprint.post("/api/calibration/store")
    @described(body=PageBody, answers=SavedDocument, refuses=(409,))
    def tell_board() -> Response:
        """Have the vehicle read the file again and tell the board, as after a mishap."""
        note = desk.keep(source_of(read_body(PageBody).page), store.load)
        return done(note=note, **desk.document())

    @blueprint.post("/api/calibration/import")
    @described(body=ImportBody, answers=DraftDocument)
    def read_file() -> Response:
        """Read a file of ours or an AWS car's `calibration.json` into a draft; nothing is saved."""
        text = read_body(ImportBody).text
        name = desk.document()["name"]
        try:
            calibration = store.read_any(text.encode(), "The file", str(name))
        except CalibrationError as error:
            raise BadRequest(sentence(str(error))) from error
        return answer(_draft_document(msgspec.to_builtins(calibration)))

    @blueprint.get("/api/calibration/export")
    @described(answers=CarCalibration, refuses=(409,))
    def export() -> Response:
        """Return the car's file."""
        saved = desk.saved()
        if saved is None:
            raise Conflict("Nothing is saved for this car yet; calibrate it first.")
        response = Response(store.encode(saved), mimetype="application/json")
        name = re.sub(r"[^A-Za-z0-9_-]", "-", saved.name)
        disposition = f'attachment; filename="{name}-v{saved.version}.json"'
        response.headers["Content-Disposition"] = disposition
        return response

    return blueprint


class _Desk:
    """The walk's dealings with the vehicle process. Safe in any thread."""

    def __init__(self, vehicle: Vehicle) -> None:
        self._vehicle = vehicle

    def ask(self, kind: RequestKind, source: str, **fields: object) -> None:
        """Ask the car for something; Conflict with its reason when it refuses."""
        reply = self._vehicle.request(kind, timeout_s=REQUEST_TIMEOUT_S, source=source, **fields)
        if not reply.ok:
            raise Conflict(sentence(reply.reason))

    def start(self, source: str, actuator: Actuator, rest: dict[str, float], seen_ns: int) -> None:
        """Prepare an actuator and start, as soon as the board has been told."""
        self.ask(RequestKind.TAKE_LEASE, source, echo_ns=seen_ns)
        try:
            self.ask(RequestKind.PREPARE_CALIBRATION, source, echo_ns=seen_ns, actuator=actuator, **rest)
            self._when_told(lambda: self.ask(RequestKind.START, source, target=DriveState.CALIBRATING))
        except Conflict:
            self._let_go(source)
            raise

    def begin_drive(self, source: str, share: float, seen_ns: int) -> float:
        """Start by hand; return what throttle of the hand gives this share under the speed cap in force."""
        self.ask(RequestKind.TAKE_LEASE, source, echo_ns=seen_ns)
        try:
            cap = self._status().speed_cap_frac
            if cap < share:
                self.ask(RequestKind.SET_SPEED_CAP, source, speed_cap_frac=share)
                cap = share
            self.ask(RequestKind.START, source, echo_ns=seen_ns, target=DriveState.MANUAL)
        except Conflict:
            self._let_go(source)
            raise
        return share / cap

    def stop(self, source: str) -> None:
        """Stop; a car that has failed safe stays so until somebody clears it on purpose."""
        stop(self._vehicle, source)
        self._let_go(source)  # refused, and no harm done, where somebody else drives

    def keep(self, source: str, write: Callable[[Path], CarCalibration]) -> str:
        """Change the car's file as its driver and have it taken over.

        Returns a sentence for the owner where the file is written and the board has not taken it.
        """
        car = self._status()
        if car.state is not DriveState.DISARMED:
            raise Conflict(f"The car is {car.state.value}; stop it first, then save.")
        # By the vehicle's word: this status may be older than a lease just taken.
        renewal = self._vehicle.request(RequestKind.RENEW_LEASE, timeout_s=REQUEST_TIMEOUT_S, source=source)
        if not renewal.ok:
            self.ask(RequestKind.TAKE_LEASE, source)
        try:
            saved = write(Path(car.calibration_file))
            self.ask(RequestKind.RELOAD_CALIBRATION, source)
        except CalibrationError as error:
            raise Conflict(sentence(str(error))) from error
        finally:
            if not renewal.ok:
                self._let_go(source)
        return self._await_taken_over(saved)

    def document(self) -> AtRest:
        """Return what the page shows at rest."""
        car = self._status()
        path = Path(car.calibration_file)
        problem, saved = "", None
        try:
            saved = store.load(path) if path.exists() else None
        except CalibrationError as error:
            problem = sentence(str(error))
        history = store.history(path)
        fresh = not car.is_calibrated
        shown = saved or (None if fresh else _hil_numbers(car)) or AWS_DEFAULTS
        return {
            "fresh": fresh,
            "hil": car.hil,
            "problem": problem,
            "name": saved.name if saved else file_stem(path.stem),
            "saved": saved,
            "history": history[:HISTORY_SHOWN],
            "kinds": procedure.KINDS,
            "steps": procedure.STEPS,
            "walks": {
                part: [step.id for step in procedure.walk(part, fresh=fresh)]
                for part in ("all", "steering", "throttle")
            },
            "draft": _draft_document(msgspec.to_builtins(shown)),
            "told": not car.board_note and not car.is_storing,
            "board_note": sentence(car.board_note) if car.board_note else "",
        }

    def saved(self) -> CarCalibration | None:
        """Return the numbers in the car's file; None before the first save."""
        path = Path(self._status().calibration_file)
        try:
            return store.load(path) if path.exists() else None
        except CalibrationError as error:
            raise Conflict(sentence(str(error))) from error

    def named(self, calibration: CarCalibration) -> CarCalibration:
        """Return what was measured just now under this car's own name."""
        now = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())
        name = file_stem(Path(self._status().calibration_file).stem)
        return msgspec.structs.replace(calibration, name=name, measured_at=now)

    def _status(self) -> Status:
        status = self._vehicle.status()
        if status is None:
            raise ServiceUnavailable("The vehicle process is silent; start it again with lapwing run.")
        return status

    def _let_go(self, source: str) -> None:
        self._vehicle.request(RequestKind.RELEASE_LEASE, timeout_s=REQUEST_TIMEOUT_S, source=source)
        # Whatever the answer: a lease that nobody renews runs out.

    def _when_told(self, act: Callable[[], None]) -> None:
        """Act as soon as the board has its pulses; a refusal counts when it had them, and not just now."""
        begun_s = time.monotonic()
        while True:
            status = self._status()
            is_told = bool(status.calibrating) and not status.is_storing
            try:
                act()
            except Conflict:
                waited_s = time.monotonic() - begun_s
                if waited_s > TOLD_LIMIT_S or (is_told and waited_s > SETTLED_S):
                    raise
            else:
                return
            time.sleep(RETRY_S)

    def _await_taken_over(self, saved: CarCalibration) -> str:
        """Return an empty sentence once vehicle and board have the numbers that were just saved."""
        before_ns = self._status().now_ns

        def is_over(status: Status) -> bool:
            if status.now_ns <= before_ns:
                return False
            has_read = status.calibration_version == saved.version or bool(status.calibration_note)
            return has_read and not status.is_storing

        status = self._vehicle.wait_status(is_over, TOLD_LIMIT_S)
        if status is None:
            return "Saved. The board has not answered yet; the car does not arm before it has."
        note = status.calibration_note or status.board_note
        return f"Saved, but: {sentence(note)}" if note else ""


def _hil_numbers(car: Status) -> CarCalibration | None:
    """Return a HIL car's own numbers, which no file has until somebody saves them."""
    return next((cal for cal in (HIL_AWS, HIL_STANDARD) if cal.name == car.calibration_name), None)


def _whole(draft: dict[str, Any]) -> dict[str, Any]:
    """Return the draft if it has the shape of a calibration, whatever its numbers."""
    shape = msgspec.to_builtins(AWS_DEFAULTS)
    for part in ("steering", "throttle"):
        if not isinstance(draft.get(part), dict) or set(draft[part]) != set(shape[part]):
            raise BadRequest(f"The draft's {part} is not that of a calibration; reload the page.")
        for name, like in shape[part].items():
            value = draft[part][name]
            if isinstance(like, float) and (isinstance(value, bool) or not isinstance(value, int | float)):
                raise BadRequest(
                    f"The draft's {part}.{name} is {value!r}, allowed a number; reload the page."
                )
    return draft


def _changed(draft: dict[str, Any], step: procedure.Step, body: AnswerBody) -> dict[str, Any]:
    is_number = isinstance(body.value, int | float)
    if is_number != (step.answer is procedure.Answer.PULSE):
        raise BadRequest(f"Step {step.id} is answered by {step.answer.value}, not by {body.value!r}.")
    return procedure.answered(_whole(draft), step, body.value, body.angle_deg)


def _draft_document(draft: dict[str, Any]) -> DraftDocument:
    """Return a draft with what every step makes of it."""
    problem = ""
    try:
        store.from_document(draft, "This calibration")
    except CalibrationError as error:
        problem = sentence(str(error))
    moving = [step for step in procedure.STEPS if step.actuator]
    neutral_us = draft["throttle"]["neutral_us"]
    forward_us, back_us = procedure.trial_us(draft)
    return {
        "calibration": draft,
        "problem": problem,
        "reach_us": {step.id: procedure.reach_us(step, neutral_us) for step in moving},
        "mark_us": {
            step.id: procedure.mark_us(step, draft)
            for step in moving
            if step.answer is procedure.Answer.PULSE
        },
        "trial_us": {"forward": forward_us, "back": back_us},
    }
