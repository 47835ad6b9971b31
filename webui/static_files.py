"""Gives a browser the page's scripts and styles, from memory and before the application looks at a request.

A first look asks for twenty of them at once, and each would cost the car's computer about three times as
much on its way through the application.
"""

import functools
import gzip
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flask import Flask
from werkzeug.datastructures import Accept
from werkzeug.http import parse_accept_header, parse_etags

from webui.guard import security_headers
from webui.hosts import Hosts
from webui.page_scripts import FOLDER, KEPT, static_path

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

MIME_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml; charset=utf-8",
}
"""Of every kind of file in the folder."""


def give_static_files(app: Flask, hosts: Hosts) -> None:
    """Let this application give its static files from memory, to whoever calls it by a name of ours."""
    app.add_url_rule(f"{static_path()}/<path:filename>", "static", build_only=True)
    app.wsgi_app = _StaticFiles(app.wsgi_app, hosts)  # type: ignore[method-assign]


@dataclass(frozen=True)
class _Content:
    """What is sent of a file, and what is said of it."""

    body: bytes
    headers: tuple[tuple[str, str], ...]


class _StaticFile:
    """One file, as it is and packed."""

    def __init__(self, path: Path) -> None:
        self._mime_type = MIME_TYPES[path.suffix]
        self.tag = f"{static_path().rpartition('/')[2]}-{path.name}"
        self.plain = self._content(path.read_bytes())

    @functools.cached_property
    def packed(self) -> _Content:
        """For a browser that takes gzip; made when the first one asks."""
        return self._content(gzip.compress(self.plain.body, mtime=0), ("Content-Encoding", "gzip"))

    def _content(self, body: bytes, *more: tuple[str, str]) -> _Content:
        kind = (("Content-Type", self._mime_type), ("Content-Length", str(len(body))))
        return _Content(body, (*kind, *more))


class _StaticFiles:
    """Answers for the files in the folder; everything else, a foreign host too, is the application's."""

    def __init__(self, app: "WSGIApplication", hosts: Hosts) -> None:
        self._app = app
        self._hosts = hosts
        self._files = {f"{static_path()}/{path.name}": _StaticFile(path) for path in FOLDER.iterdir()}

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        file = self._files.get(environ["PATH_INFO"])
        method, host = environ["REQUEST_METHOD"], environ.get("HTTP_HOST", "")
        if file is None or method not in {"GET", "HEAD"} or not self._hosts.is_ours(host):
            return self._app(environ, start_response)

        headers = {
            **security_headers(host, is_secure=environ["wsgi.url_scheme"] == "https"),
            "Cache-Control": KEPT,
            "ETag": f'W/"{file.tag}"',  # weak: packed or not, it is the same script
            "Vary": "Accept-Encoding",
        }
        if parse_etags(environ.get("HTTP_IF_NONE_MATCH")).contains_weak(file.tag):
            start_response("304 Not Modified", [*headers.items()])
            return []
        content = file.packed if _takes_gzip(environ.get("HTTP_ACCEPT_ENCODING", "")) else file.plain
        start_response("200 OK", [*headers.items(), *content.headers])
        return [] if method == "HEAD" else [content.body]


@functools.lru_cache(maxsize=64)
def _takes_gzip(accept_encoding: str) -> bool:
    accepted = {name.lower(): quality for name, quality in parse_accept_header(accept_encoding, Accept)}
    return accepted.get("gzip", accepted.get("*", 0.0)) > 0.0
