"""The driving page, and the emergency stop that works from every page and for everybody."""

import hashlib
import re
import secrets
from collections.abc import Callable
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
from flask import Blueprint, Response, current_app, redirect, render_template, request
from werkzeug.exceptions import Conflict
from werkzeug.wrappers import Response as AnyResponse

from vehicle.messages import GUARDED_STATES
from webui.car import Vehicle
from webui.describing import FORM, Done, described, html_page
from webui.glance import Glance
from webui.guard import answer, sentence

PAGE_PATTERN = "^[0-9a-f]{32}$"
PAGE_TOKEN = re.compile(PAGE_PATTERN)
PageToken = Annotated[
    str,
    msgspec.Meta(
        pattern=PAGE_PATTERN,
        max_length=32,  # the pattern alone lets a new line follow
        description="Secret of one driver: 32 hexadecimal digits, chosen once by whoever asks.",
    ),
]


class MayMove(msgspec.Struct, frozen=True):
    """What anybody may know of the car."""

    may_move: bool


def secret_token() -> str:
    """Return a new page's secret."""
    return secrets.token_hex(16)


def source_of(page: str) -> str:
    """Return the name under which a page asks; others see it, and cannot learn the page's secret from it."""
    return f"page {hashlib.sha256(page.encode()).hexdigest()[:8]}"


def _way_back() -> str:
    """Return the page of ours that the request came from; its path alone."""
    path = urlsplit(request.referrer or "").path
    return path if re.fullmatch("/[a-z]*", path) else "/"


def make_blueprint(vehicle: Vehicle, glance: Glance, clock_ns: Callable[[], int]) -> Blueprint:
    """Return the driving page of this car."""
    blueprint = Blueprint("drive", __name__)

    @blueprint.get("/")
    @html_page
    def page() -> str:
        token = secret_token()
        source = source_of(token)
        status = msgspec.json.encode(glance.first_look(source)).decode()
        return render_template("drive.html", page=token, source=source, status=status)

    @blueprint.get("/emergency-stop")
    @described(answers=MayMove)
    def may_move() -> Response:
        """Tell anybody whether the car may move: where it may not, space in a text field is a space."""
        car = vehicle.status()
        return answer(MayMove(car is not None and car.state in GUARDED_STATES))

    @blueprint.post("/emergency-stop")
    @described(answers={200: Done, 303: None}, refuses=(409,))
    def emergency_stop() -> AnyResponse:
        """Stop the car for anybody: no lease, no token, no body needed."""
        try:
            reply = vehicle.emergency_stop()
        finally:  # afterwards: a log that blocks holds up no stop
            current_app.logger.info("emergency stop from %s", request.remote_addr)
        if not reply.ok:
            raise Conflict(sentence(reply.reason))
        if request.mimetype == FORM:  # the button itself, of a page whose script has not come
            return redirect(_way_back(), 303)
        return answer(Done(True, clock_ns()))

    return blueprint
