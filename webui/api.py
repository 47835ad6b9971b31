"""What a page can do, for scripts: `/api/status`, `/api/drive/...`, described by `/api/openapi.json`."""

from typing import Any

import msgspec
from flask import Blueprint, Response, request
from werkzeug.exceptions import BadRequest

from webui.commands import AnyCommand, Commands, EmergencyStop
from webui.drive import PAGE_TOKEN, source_of
from webui.glance import Glance
from webui.guard import answer, read_body

COMMANDS: tuple[type[AnyCommand], ...] = tuple(
    kind for kind in AnyCommand.__args__ if kind is not EmergencyStop
)
"""By POST; the emergency stop has an address of its own, which asks nobody who they are."""
SUMMARY = "The car's computer, its page and its sockets. Errors are JSON: `error` holds a sentence."
PAGE_PARAMETER = {
    "name": "page",
    "in": "query",
    "required": True,
    "description": "Secret of one driver: 32 hexadecimal digits, chosen once by a script.",
    "schema": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
}


class Done(msgspec.Struct, frozen=True):
    """It was done."""

    ok: bool
    server_ns: int
    """The vehicle's clock; goes back as `echo_ns` with the next command."""


class Problem(msgspec.Struct, frozen=True):
    """It was not done."""

    error: str
    """A sentence: what was seen, what is allowed, what to do."""


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
    def api_status() -> Response:
        source = _source() if "page" in request.args else ""
        return answer(glance.document(source, request.args.get("trail", default=0, type=int)))

    @blueprint.get("/api/openapi.json")
    def describe() -> Response:
        return answer(description())

    def add(kind: type[AnyCommand]) -> None:
        def obey() -> Response:
            command = read_body(kind)
            commands.obey(command, _source())
            return answer(Done(True, glance.now_ns()))

        blueprint.add_url_rule(path_of(kind), tag_of(kind), obey, methods=["POST"])

    for kind in COMMANDS:
        add(kind)
    return blueprint


def description() -> dict[str, Any]:
    """Return what the OpenAPI format says of this interface, made from the types that check it."""
    schemas, components = msgspec.json.schema_components(
        (*COMMANDS, Done, Problem), ref_template="#/components/schemas/{name}"
    )
    *bodies, done, problem = schemas
    posts = {
        path_of(kind): {
            "post": {
                "operationId": tag_of(kind),
                "summary": (kind.__doc__ or "").strip(),
                "parameters": [PAGE_PARAMETER],
                "requestBody": {"required": True, "content": _json(body)},
                "responses": _answers(done, problem),
            }
        }
        for kind, body in zip(COMMANDS, bodies, strict=True)
    }
    status = {
        "operationId": "status",
        "summary": "The car at a glance: state, driver, laps, computer.",
        "parameters": [{**PAGE_PARAMETER, "required": False}],
        "responses": _answers({"type": "object"}, problem),
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Lapwing", "version": "1", "description": SUMMARY},
        "components": {
            "schemas": components,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"key": []}],
        "paths": {**posts, "/api/status": {"get": status}},
    }


def _answers(done: dict[str, Any], problem: dict[str, Any]) -> dict[str, Any]:
    problems = {
        "400": "The request is not what is expected.",
        "401": "Nobody has signed in.",
        "403": "This visitor may not.",
        "409": "The car is in the wrong state, or this came late.",
        "413": "The body is too long.",
        "503": "The vehicle process is silent.",
    }
    refused = {code: {"description": said, "content": _json(problem)} for code, said in problems.items()}
    return {"200": {"description": "Done.", "content": _json(done)}, **refused}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _source() -> str:
    page = request.args.get("page", "")
    if not PAGE_TOKEN.fullmatch(page):
        raise BadRequest(
            "`page` is 32 hexadecimal digits, chosen once by whoever asks; send it in the address."
        )
    return source_of(page)
