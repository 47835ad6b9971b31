"""What helps when something is wrong: the log, and one file for a bug report. For those who may drive."""

import threading
import time
from pathlib import Path
from typing import Annotated

import msgspec
from flask import Blueprint, Response
from werkzeug.exceptions import Conflict, Forbidden, NotFound, TooManyRequests

from vehicle.config_file import edit
from vehicle.errors import ConfigError
from webui.access import visitor
from webui.car import Vehicle
from webui.car_logs import CarLogs
from webui.describing import described
from webui.guard import answer, read_body, read_query, sentence
from webui.redaction import redacted
from webui.settings import STANDING
from webui.system_report import file_name, make_report
from webui.webhook import Webhook, WebhookStatus, checked_url


class LogQuery(msgspec.Struct, frozen=True):
    """Whose words."""

    part: Annotated[str, msgspec.Meta(min_length=1, max_length=60)]


class WebhookDocument(msgspec.Struct, frozen=True):
    """Whether race events are sent anywhere, and how that fares."""

    status: WebhookStatus | None
    """None: the owner has named no webhook."""
    is_fixed: bool
    """It was given on the command line, and is not changed here."""


class WebhookBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where race events are to be sent from now on."""

    address: Annotated[str, msgspec.Meta(max_length=2000)]
    """http:// or https://, without user and password; empty: nowhere. It is told to nobody again."""


def make_blueprint(
    config_file: Path | None, vehicle: Vehicle, logs: CarLogs, webhook: Webhook | None = None
) -> Blueprint:
    """Return the routes of the log, the report, and how the webhook fares."""
    blueprint = Blueprint("support", __name__)
    at_work = threading.Lock()

    def webhook_document() -> WebhookDocument:
        if webhook is None:
            return WebhookDocument(None, is_fixed=True)
        return WebhookDocument(webhook.status(), webhook.is_fixed)

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

    @blueprint.get("/api/race/webhook")
    @described(answers=WebhookDocument)
    def tell_webhook() -> Response:
        """Tell how the deliveries of race events fare: the last that arrived, the last that failed."""
        _only_drivers()
        return answer(webhook_document())

    @blueprint.post("/api/race/webhook")
    @described(body=WebhookBody, answers=WebhookDocument, refuses=(409,))
    def set_webhook() -> Response:
        """Send race events to another address, or nowhere, from now on, and keep it in the car's file."""
        _only_drivers()
        address = read_body(WebhookBody).address.strip()
        if webhook is None or config_file is None:
            raise Conflict(
                "This car was started without a file of settings; start it with --config car.toml."
            )
        if webhook.is_fixed:
            raise Conflict(
                "The webhook was given by --webhook when the car was started; leave that out there."
            )
        car = vehicle.status()
        if car is not None and car.state not in STANDING:
            raise Conflict("The car drives; stop it first. Settings are changed while it stands.")
        try:
            if address:
                checked_url(address)
            edit(config_file, {"page.webhook": address or None})
            webhook.point_at(address)
        except ConfigError as error:
            raise Conflict(sentence(str(error))) from error
        return answer(webhook_document())

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
        raise Forbidden("You came by a view-only link: log, report and webhook are for those who may drive.")
