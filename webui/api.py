"""What a page can do, for scripts: `/api/status`, `/api/drive/...`; all addresses in `/api/openapi.json`."""

from typing import Annotated, Any

import msgspec
from flask import Blueprint, Response, current_app, request
from werkzeug.exceptions import BadRequest

from webui.commands import AnyCommand, Commands, EmergencyStop
from webui.describing import Done, described, openapi
from webui.drive import PAGE_TOKEN, PageToken, source_of
from webui.glance import Glance, StatusDocument
from webui.guard import answer, read_body, read_query

COMMANDS: tuple[type[AnyCommand], ...] = tuple(
    kind for kind in AnyCommand.__args__ if kind is not EmergencyStop
)
"""By POST; the emergency stop has an address of its own, which asks nobody who they are."""


class PageQuery(msgspec.Struct, frozen=True):
    """Who asks."""

    page: PageToken


class StatusQuery(msgspec.Struct, frozen=True):
    """Who looks, and what they know already."""

    page: Annotated[str, msgspec.Meta(description="As with a command; tells whether its lease is yours.")] = (
        ""
    )
    trail: Annotated[
        int,
        msgspec.Meta(ge=0, le=2**31, description="Of a HIL car: the driven line from this point on alone."),
    ] = 0


def path_of(command: type[AnyCommand]) -> str:
    """Return where a command is posted."""
    return f"/api/drive/{tag_of(command).replace('_', '-')}"


def tag_of(command: type[AnyCommand]) -> str:
    """Return a command's name on the control socket."""
    return str(command.__struct_config__.tag)


def make_blueprint(commands: Commands, glance: Glance) -> Blueprint:
    """Return the interface of this car for scripts."""
    blueprint = Blueprint("api", __name__)

    @blueprint.get("/api/status")
    @described(answers=StatusDocument, query=StatusQuery)
    def api_status() -> Response:
        """Tell the car at a glance: state, driver, laps, computer."""
        query = read_query(StatusQuery)
        return answer(glance.document(_source(query.page) if query.page else "", query.trail))

    @blueprint.get("/api/openapi.json")
    @described(answers=dict[str, Any])
    def describe() -> Response:
        """Tell what every address takes and answers: this description."""
        return answer(openapi(current_app))

    def add(kind: type[AnyCommand]) -> None:
        @described(body=kind, query=PageQuery, refuses=(409,))
        def obey() -> Response:
            command = read_body(kind)
            commands.obey(command, _source(request.args.get("page", "")))
            return answer(Done(True, glance.now_ns()))

        obey.__doc__ = kind.__doc__
        blueprint.add_url_rule(path_of(kind), tag_of(kind), obey, methods=["POST"])

    for kind in COMMANDS:
        add(kind)
    return blueprint


def _source(page: str) -> str:
    if len(page) != 32 or not PAGE_TOKEN.fullmatch(page):
        raise BadRequest(
            "`page` is 32 hexadecimal digits, chosen once by whoever asks; send it in the address."
        )
    return source_of(page)
