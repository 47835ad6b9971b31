"""The time of day, told by a browser to a car whose own clock nothing has set.

Only runs care: what was recorded in this boot under a guessed date is dated then.
"""

import zoneinfo
from typing import Annotated, TypedDict

import msgspec
from flask import Blueprint, Response, current_app
from werkzeug.exceptions import BadRequest, Conflict

from calibration.errors import CalibrationError
from vehicle.runs import RunShelf
from webui.describing import described
from webui.guard import answer, read_body, sentence

EARLIEST_MS, LATEST_MS = (
    1_750_000_000_000,
    4_102_444_800_000,
)  # this software was not before, nor is it in 2100
ZONE = r"^[A-Za-z][A-Za-z0-9_+\-]*(/[A-Za-z0-9_+\-]+){0,2}\Z"


class TimeBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The time of day where the browser is."""

    unix_ms: Annotated[int, msgspec.Meta(ge=EARLIEST_MS, le=LATEST_MS)]
    zone: Annotated[str, msgspec.Meta(min_length=1, max_length=60, pattern=ZONE)]


class ClockDocument(TypedDict):
    """What the car knows of the time of day."""

    unix_ms: int
    is_known: bool
    """Whether that is more than a guess."""
    is_synchronised: bool
    """Whether the network has set the clock."""
    zone: str
    """Where a browser told it, or empty."""


class ToldDocument(TypedDict):
    """It was told."""

    ok: bool
    relabelled: list[str]
    """Runs that have got another date, by their new names."""


def make_blueprint(shelf: RunShelf, *, is_told: bool) -> Blueprint:
    """Return the routes of the clock; `is_told`: pages tell a car the time that needs it."""
    blueprint = Blueprint("clock", __name__)
    clock = shelf.clock

    @blueprint.app_context_processor
    def wish() -> dict[str, object]:
        return {"needs_time": is_told and clock.needs_time()}

    @blueprint.get("/api/clock")
    @described(answers=ClockDocument)
    def show() -> Response:
        """Tell the time of day, and whether the car knows it."""
        wall_ns, is_known = clock.now()
        told = clock.told()
        return answer(
            {
                "unix_ms": wall_ns // 1_000_000,
                "is_known": is_known,
                "is_synchronised": clock.is_synchronised(),
                "zone": "" if told is None else told.zone,
            }
        )

    @blueprint.post("/api/clock")
    @described(body=TimeBody, answers=ToldDocument, refuses=(409,))
    def tell() -> Response:
        """Tell a car whose clock nothing has set what time it is; runs of this boot are dated by it."""
        body = read_body(TimeBody)
        zones = zoneinfo.available_timezones()
        if zones and body.zone not in zones:  # an empty set: a system without them
            raise BadRequest(f"There is no time zone {body.zone!r}; name one such as Europe/Berlin.")
        if clock.is_synchronised():
            raise Conflict("The network has set this car's clock; it needs nobody to tell it the time.")
        try:
            told = clock.tell(body.unix_ms * 1_000_000, body.zone)
        except (CalibrationError, OSError) as error:
            raise Conflict(sentence(f"the time cannot be kept: {error}")) from error
        relabelled = shelf.relabel(told)
        current_app.logger.info("told the time in %s; %d runs dated", body.zone, len(relabelled))
        return answer({"ok": True, "relabelled": relabelled})

    return blueprint
