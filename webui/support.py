"""What helps when something is wrong: the log, and one file for a bug report. For those who may drive."""

import threading
import time
from pathlib import Path
from typing import Annotated

import msgspec
from flask import Blueprint, Response
from werkzeug.exceptions import Forbidden, NotFound, TooManyRequests

from webui.access import visitor
from webui.car import Vehicle
from webui.car_logs import CarLogs
from webui.describing import described
from webui.guard import read_query
from webui.redaction import redacted
from webui.system_report import file_name, make_report


class LogQuery(msgspec.Struct, frozen=True):
    """Whose words."""

    part: Annotated[str, msgspec.Meta(min_length=1, max_length=60)]


def make_blueprint(config_file: Path | None, vehicle: Vehicle, logs: CarLogs) -> Blueprint:
    """Return the routes of the log and the report."""
    blueprint = Blueprint("support", __name__)
    at_work = threading.Lock()

    @blueprint.get("/api/log")
    @described(answers={200: "text/plain"}, query=LogQuery, refuses=(404,))
    def log() -> Response:
        """Tell the last of what one of the car's processes has said."""
        _only_drivers()
        part = read_query(LogQuery).part
        try:
            text = logs.tail(part)
        except KeyError:
            raise NotFound(f"There is no log of {part!r}; there are {', '.join(logs.parts())}.") from None
        return Response(redacted(text), mimetype="text/plain")

    @blueprint.get("/api/report")
    @described(answers={200: "application/zip"}, refuses=(429,))
    def report() -> Response:
        """Send one file for a bug report, with secrets removed; takes some seconds."""
        _only_drivers()
        if not at_work.acquire(blocking=False):
            raise TooManyRequests("A report is being made already; wait some seconds.")
        try:
            packed = make_report(vehicle.status(), config_file, logs)
        finally:
            at_work.release()
        response = Response(packed, mimetype="application/zip")
        response.headers["Content-Disposition"] = f'attachment; filename="{file_name(time.time())}"'
        return response

    return blueprint


def _only_drivers() -> None:
    if not visitor().may_drive:
        raise Forbidden("You came by a view-only link: the log and the report are for those who may drive.")
