"""What each address takes and answers, written beside its code, and put together as one OpenAPI description.

A view says it by `described`, a page of HTML by `html_page`; a test finds the one that says neither. The
types that are told here are those that check what comes: `guard.read_body`, `read_query`, `read_form`.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec
from flask import Flask
from werkzeug.routing import IntegerConverter, Rule

from webui.access import CSRF_HEADER, OPEN_PATHS, OWNERS_PATHS, STOP_PATH, cookie_name
from webui.guard import CHANGING_METHODS

FORM = "application/x-www-form-urlencoded"
HTML = "text/html"
JSON = "application/json"
BINARY = "application/octet-stream"

PLAIN_METHODS = frozenset({"HEAD", "OPTIONS"})
SUMMARY = (
    "The car's computer and its page. Errors are JSON: `error` holds a sentence. A script sends an API key "
    "as Bearer. The sockets /ws/control and /ws/video are told of in docs/api.md."
)
REASONS = {
    400: "The request is not what is expected.",
    401: "Nobody has signed in.",
    403: "This visitor may not, or comes from elsewhere.",
    404: "There is no such thing.",
    409: "The car or the thing is in the wrong state, or this came late.",
    413: "The body is too long.",
    422: "It was checked and refused.",
    429: "Too many attempts; wait.",
    503: "The vehicle process is silent, or who has access cannot be read.",
    507: "The disk is too full.",
}
MEANINGS = {
    200: "Done.",
    201: "Made.",
    202: "On its way.",
    204: "There is nothing to send.",
    303: "Done; look there.",
    304: "As you know it already.",
}

View = TypeVar("View", bound=Callable[..., Any])


class Done(msgspec.Struct, frozen=True):
    """It was done."""

    ok: bool
    server_ns: int
    """The vehicle's clock; goes back as `echo_ns` with the next command."""


class Ok(msgspec.Struct, frozen=True):
    """It was done."""

    ok: bool


class Problem(msgspec.Struct, frozen=True):
    """It was not done."""

    error: str
    """A sentence: what was seen, what is allowed, what to do."""


@dataclass(frozen=True)
class Description:
    """What one view takes and answers; how, `described` says."""

    answers: Mapping[int, Any]
    body: Any = None
    form: Any = None
    query: Any = None
    refuses: frozenset[int] = field(default=frozenset())


def described(
    *,
    answers: Mapping[int, Any] | Any = Done,
    body: Any = None,
    form: Any = None,
    query: Any = None,
    refuses: Iterable[int] = (),
) -> Callable[[View], View]:
    """Say of a view what it takes and answers; its docstring's first line says what it does.

    Args:
        answers: what it answers where it does as asked: a type of JSON, or by status a type, a media type
            such as "image/jpeg", or None for no content.
        body: type of its JSON body; `bytes` for a raw one.
        form: type of the fields of an HTML form, which answers pages.
        query: type of what stands in the address after the question mark.
        refuses: statuses of its own refusals, each with a sentence. Not needed: 401, 403 and 503, which every
            address may answer; 400 and 413 with a body, form or query; 404 with a part of the path.

    """
    by_status = answers if isinstance(answers, Mapping) else {200: answers}
    description = Description(by_status, body, form, query, frozenset(refuses))

    def say(view: View) -> View:
        vars(view)["description"] = description
        return view

    return say


def html_page(view: View) -> View:
    """Say of a view that it is a page for people."""
    vars(view)["description"] = None
    return view


def undescribed(app: Flask) -> list[str]:
    """Return the addresses whose views say nothing of themselves."""
    return [rule.rule for rule, view in _views(app) if "description" not in vars(view)]


def openapi(app: Flask) -> dict[str, Any]:
    """Return what the OpenAPI format says of this application, to whoever asks in this request."""
    told = [
        (rule, view, vars(view)["description"]) for rule, view in _views(app) if vars(view)["description"]
    ]
    asked, answered = _Schemas(), _Schemas(has_null_for_nan=True)
    for _, _, description in told:
        asked.add(description.body, description.form, description.query)
        answered.add(Problem, *description.answers.values())
    asked.make()
    answered.make()
    paths: dict[str, dict[str, Any]] = {}
    for rule, view, description in told:
        path = re.sub(r"<(?:[^:>]+:)?([^>]+)>", r"{\1}", rule.rule)
        for method in sorted((rule.methods or set()) - PLAIN_METHODS):
            operation = _operation(rule, view, description, asked, answered)
            operation |= _security(rule.rule, method)
            paths.setdefault(path, {})[method.lower()] = operation
    refusals = {
        str(status): {"description": said} | _content([(JSON, answered.of(Problem))])
        for status, said in REASONS.items()
    }
    twice = set(asked.components) & set(answered.components)
    assert all(asked.components[name] == answered.components[name] for name in twice)
    schemas = _used(asked.components | answered.components, [paths, refusals])
    return {
        "openapi": "3.1.0",
        "info": {"title": "Lapwing", "version": "1", "description": SUMMARY},
        "components": {
            "schemas": schemas,
            "responses": refusals,
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer"},
                "session": {"type": "apiKey", "in": "cookie", "name": cookie_name()},
                "token": {"type": "apiKey", "in": "header", "name": CSRF_HEADER},
            },
        },
        "paths": dict(sorted(paths.items())),
    }


class _Schemas:
    """The JSON schemas of types, made together so that they share their parts."""

    def __init__(self, *, has_null_for_nan: bool = False) -> None:
        self._types: list[Any] = []
        self._has_null_for_nan = has_null_for_nan
        self._schemas: list[dict[str, Any]] = []
        self.components: dict[str, Any] = {}

    def add(self, *types: Any) -> None:
        self._types += [each for each in types if _is_json(each) and each not in self._types]

    def make(self) -> None:
        made, components = msgspec.json.schema_components(
            self._types, ref_template="#/components/schemas/{name}"
        )
        if self._has_null_for_nan:
            made, components = _with_null(made), _with_null(components)
        self._schemas = list(made)
        self.components = components

    def of(self, wanted: Any) -> dict[str, Any]:
        return self._schemas[self._types.index(wanted)]

    def body(self, wanted: Any) -> dict[str, Any]:
        """Return the schema of what is sent; of a command without the name by which it goes on the socket."""
        return self.of(wanted) if wanted.__struct_config__.tag is None else self.fields(wanted)

    def fields(self, wanted: Any) -> dict[str, Any]:
        """Return the schema of a structure itself, without its name."""
        schema = dict(self.components[self.of(wanted)["$ref"].rpartition("/")[2]])
        tag = wanted.__struct_config__.tag_field
        schema["properties"] = {name: each for name, each in schema["properties"].items() if name != tag}
        schema["required"] = [name for name in schema.get("required", ()) if name != tag]
        return schema


def _views(app: Flask) -> list[tuple[Rule, Any]]:
    """Return every address but the static files' and the sockets', with its view."""
    return [
        (rule, app.view_functions[rule.endpoint])
        for rule in app.url_map.iter_rules()
        if rule.endpoint != "static" and not rule.websocket
    ]


def _operation(
    rule: Rule, view: Any, description: Description, asked: _Schemas, answered: _Schemas
) -> dict[str, Any]:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": _path_schema(rule, name)}
        for name in sorted(rule.arguments)
    ]
    if description.query is not None:
        fields = asked.fields(description.query)
        parameters += [
            {"name": name, "in": "query", "required": name in fields["required"], "schema": schema}
            for name, schema in fields["properties"].items()
        ]
    operation = {
        "operationId": rule.endpoint,
        "summary": (view.__doc__ or "").strip().split("\n")[0],
        "parameters": parameters,
        "responses": _responses(rule, description, answered),
    }
    if description.body is bytes:
        content = {BINARY: {"schema": {"type": "string", "format": "binary"}}}
        return operation | {"requestBody": {"required": True, "content": content}}
    for media, kind in ((JSON, description.body), (FORM, description.form)):
        if kind is not None:
            content = {media: {"schema": asked.body(kind)}}
            operation["requestBody"] = {"required": True, "content": content}
    return operation


def _path_schema(rule: Rule, name: str) -> dict[str, Any]:
    is_number = isinstance(rule._converters[name], IntegerConverter)
    return {"type": "integer", "minimum": 0} if is_number else {"type": "string", "minLength": 1}


def _responses(rule: Rule, description: Description, answered: _Schemas) -> dict[str, Any]:
    refused = {401, 403, 503, *description.refuses}
    if description.body is not None or description.form is not None:
        refused |= {400, 413}
    if description.query is not None:
        refused.add(400)
    if rule.arguments:
        refused.add(404)
    responses: dict[str, Any] = {}
    for status in sorted({*description.answers, *refused}):
        contents: list[tuple[str, dict[str, Any]]] = []
        answer = description.answers.get(status)
        if status not in description.answers and description.form is None:
            responses[str(status)] = {"$ref": f"#/components/responses/{status}"}
            continue
        if isinstance(answer, str):
            contents.append((answer, {}))
        elif answer is not None:
            contents.append((JSON, answered.of(answer)))
        if status in refused:
            contents.append((JSON, answered.of(Problem)))
            if description.form is not None:
                contents.append((HTML, {}))
        said = MEANINGS.get(status) or REASONS[status]
        responses[str(status)] = {"description": said} | _content(contents)
    return responses


def _content(contents: list[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    by_media: dict[str, list[dict[str, Any]]] = {}
    for media, schema in contents:
        by_media.setdefault(media, []).append(schema)
    if not by_media:
        return {}
    schemas = {media: each[0] if len(each) == 1 else {"anyOf": each} for media, each in by_media.items()}
    return {"content": {media: {"schema": schema} for media, schema in schemas.items()}}


def _security(path: str, method: str) -> dict[str, Any]:
    by_session: dict[str, list[str]] = {"session": []}
    if method in CHANGING_METHODS and path != STOP_PATH:
        by_session["token"] = []
    if path.startswith(OWNERS_PATHS):
        return {"security": [by_session]}
    return {"security": [*([{}] if path in OPEN_PATHS else []), {"key": []}, by_session]}


def _used(components: dict[str, Any], users: list[Any]) -> dict[str, Any]:
    """Return the components that somebody refers to, and those that these refer to."""
    used: set[str] = set()
    waiting = list(users)
    while waiting:
        found = {ref.rpartition("/")[2] for ref in _refs(waiting.pop())} & set(components) - used
        used |= found
        waiting += [components[name] for name in found]
    return {name: components[name] for name in sorted(used)}


def _refs(document: Any) -> Iterator[str]:
    if isinstance(document, dict):
        for name, each in document.items():
            if name == "$ref":
                yield each
            else:
                yield from _refs(each)
    elif isinstance(document, list | tuple):
        for each in document:
            yield from _refs(each)


def _is_json(kind: Any) -> bool:
    return kind is not None and kind is not bytes and not isinstance(kind, str)


def _with_null(schema: Any) -> Any:
    """Return a schema of what `guard.answer` writes: a number that is not finite becomes null."""
    if isinstance(schema, list | tuple):
        return [_with_null(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    changed = {name: _with_null(each) for name, each in schema.items()}
    return changed | {"type": ["number", "null"]} if changed.get("type") == "number" else changed
