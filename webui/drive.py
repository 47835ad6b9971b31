"""The driving page and what it can ask for: start, stop, emergency stop, speed cap."""

import hashlib
import re
import secrets
from collections.abc import Callable
from typing import Annotated

import msgspec
from flask import Blueprint, Response, current_app, render_template, request
from werkzeug.exceptions import Conflict

from vehicle.messages import GUARDED_STATES, DriveState, RequestKind
from webui.car import Vehicle
from webui.glance import Glance
from webui.guard import answer, read_body, refuse_late, sentence

START_LATENESS_LIMIT_S = 1.0  # four missed polls of the status
LEASE_LATENESS_LIMIT_S = 1.5  # as long as a lease lasts while the car drives by itself
REQUEST_TIMEOUT_S = 1.0

PAGE_TOKEN = re.compile(r"[0-9a-f]{32}")
PageToken = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}\Z")]


class PageBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who asks, and how fresh their view of the car is."""

    page: PageToken
    """Secret of one open page; its `source` is derived from it."""
    seen_ns: int
    """The newest `server_ns` that the page has received."""


class SpeedCapBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A new speed cap."""

    page: PageToken
    speed_cap_frac: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]


def source_of(page: str) -> str:
    """Return the name under which a page asks; others see it, and cannot learn the page's secret from it."""
    return f"page {hashlib.sha256(page.encode()).hexdigest()[:8]}"


def make_blueprint(vehicle: Vehicle, glance: Glance, clock_ns: Callable[[], int]) -> Blueprint:
    """Return the driving page of this car."""
    blueprint = Blueprint("drive", __name__)

    def ask(kind: RequestKind, source: str, **fields: object) -> None:
        reply = vehicle.request(kind, timeout_s=REQUEST_TIMEOUT_S, source=source, **fields)
        if not reply.ok:
            raise Conflict(sentence(reply.reason))

    def let_go(source: str) -> None:
        vehicle.request(RequestKind.RELEASE_LEASE, timeout_s=REQUEST_TIMEOUT_S, source=source)
        # Whatever the answer: a lease that nobody renews runs out.

    def done() -> Response:
        return answer({"ok": True, "server_ns": clock_ns()})

    @blueprint.get("/")
    def page() -> str:
        token = secrets.token_hex(16)
        has_sockets = any(rule.rule == "/ws/control" for rule in current_app.url_map.iter_rules())
        return render_template("drive.html", page=token, source=source_of(token), has_sockets=has_sockets)

    @blueprint.get("/status")
    def status() -> Response:
        """Tell the car at a glance, and of a HIL car the laps and the driven line from `trail` on."""
        trail_from = request.args.get("trail", default=0, type=int)
        page = request.args.get("page", "")
        source = source_of(page) if PAGE_TOKEN.fullmatch(page) else ""
        return answer(glance.document(source, trail_from))

    @blueprint.get("/emergency-stop")
    def may_move() -> Response:
        """Tell anybody whether the car may move: where it may not, space in a text field is a space."""
        car = vehicle.status()
        return answer({"may_move": car is not None and car.state in GUARDED_STATES})

    @blueprint.post("/emergency-stop")
    def emergency_stop() -> Response:
        """Stop the car for anybody: no lease, no token, no body needed."""
        reply = vehicle.emergency_stop()
        current_app.logger.info("emergency stop from %s", request.remote_addr)
        if not reply.ok:
            raise Conflict(sentence(reply.reason))
        return done()

    @blueprint.post("/drive/start")
    def start() -> Response:
        body = read_body(PageBody)
        refuse_late(body.seen_ns, clock_ns(), START_LATENESS_LIMIT_S)
        source = source_of(body.page)
        ask(RequestKind.TAKE_LEASE, source)
        try:
            ask(RequestKind.START, source, target=DriveState.AUTONOMOUS)
        except Conflict:
            let_go(source)
            raise
        return done()

    @blueprint.post("/drive/lease")
    def renew_lease() -> Response:
        """Forward one renewal of the driving page; nothing here ever renews by itself."""
        body = read_body(PageBody)
        refuse_late(body.seen_ns, clock_ns(), LEASE_LATENESS_LIMIT_S)
        ask(RequestKind.RENEW_LEASE, source_of(body.page))
        return done()

    @blueprint.post("/drive/stop")
    def stop() -> Response:
        """Stop the car for anybody; a car that has failed safe stays so until `clear`."""
        body = read_body(PageBody)
        car = vehicle.status()
        if car is None or car.state is not DriveState.FAILSAFE:
            ask(RequestKind.DISARM, source_of(body.page))
        if car is not None and car.driver == source_of(body.page):
            let_go(source_of(body.page))
        return done()

    @blueprint.post("/drive/clear")
    def clear() -> Response:
        """Leave FAILSAFE, on purpose."""
        body = read_body(PageBody)
        refuse_late(body.seen_ns, clock_ns(), START_LATENESS_LIMIT_S)
        ask(RequestKind.DISARM, source_of(body.page))
        return done()

    @blueprint.post("/drive/speed-cap")
    def set_speed_cap() -> Response:
        """Set the cap as the driver, or for a moment as one where nobody drives."""
        body = read_body(SpeedCapBody)
        source = source_of(body.page)
        car = vehicle.status()
        drives = car is not None and car.driver == source
        if not drives:
            ask(RequestKind.TAKE_LEASE, source)
        try:
            ask(RequestKind.SET_SPEED_CAP, source, speed_cap_frac=body.speed_cap_frac)
        finally:
            if not drives:
                let_go(source)
        return done()

    return blueprint
