"""The race page for a big screen, and what event software takes from the car: events, results, a snapshot."""

import csv
import io
import time
from collections.abc import Iterator
from typing import Annotated

import msgspec
from flask import Blueprint, Response, render_template, request

from vehicle.messages import DriveState
from webui.access import Visitor, visitor
from webui.car import Vehicle
from webui.describing import described, html_page
from webui.drive import secret_token
from webui.glance import Glance
from webui.guard import answer, read_query
from webui.laps import Laps, LapsDocument
from webui.race_watch import RaceDrive, RaceWatch
from webui.sockets import UNSENT_LIMIT_BYTES, Places, unsent_bytes

BEAT_S = 1.0  # between two snapshots on the stream; also how soon a reader who left is noticed
FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r")
COLUMNS = (
    "drive",
    "started",
    "model",
    "driver",
    "lap",
    "time_s",
    "total_s",
    "is_best",
    "possibly_missed",
    "timed_by",
    "ended",
)


class RaceDocument(msgspec.Struct, frozen=True):
    """A race at a glance."""

    server_ns: int
    """The vehicle's clock."""
    state: DriveState | None
    """None: the vehicle is silent."""
    sentence: str
    """The state in words."""
    is_ready: bool
    """Whether a start would be accepted now."""
    model: str
    driver: str
    drive: int
    """Counts the drives since the server started."""
    laps: LapsDocument
    left_s: float | None
    """Until the time limit of this drive; None without one."""
    is_simulated: bool


class EventsQuery(msgspec.Struct, frozen=True):
    """From where on, and for how long."""

    after: Annotated[
        str, msgspec.Meta(max_length=40, description="Id of the last event known; the header works too.")
    ] = ""
    for_s: Annotated[
        float, msgspec.Meta(ge=0.0, le=86400.0, description="Ends the stream after so long; 0 for never.")
    ] = 0.0


class ResultsQuery(msgspec.Struct, frozen=True):
    """Which drives."""

    drive: Annotated[int, msgspec.Meta(ge=0, le=2**31, description="One drive's number; 0 for all.")] = 0


def make_blueprint(
    vehicle: Vehicle, glance: Glance, laps: Laps, watch: RaceWatch, places: Places
) -> Blueprint:
    """Return the race page and its routes; all are for watchers too, none changes anything."""
    blueprint = Blueprint("race", __name__)

    def document() -> RaceDocument:
        car = vehicle.status()
        drives = watch.drives()
        return RaceDocument(
            server_ns=glance.now_ns(),
            state=car.state if car else None,
            sentence=car.sentence if car else "The car is silent.",
            is_ready=car is not None and car.state is DriveState.DISARMED and not car.not_ready,
            model=car.policy if car else "",
            driver=car.driver_name if car else "",
            drive=drives[-1].number if drives else 0,
            laps=laps.document(),
            left_s=car.time_left_s if car and car.time_left_s >= 0 else None,
            is_simulated=car is not None and car.hil,
        )

    @blueprint.get("/race")
    @html_page
    def page() -> str:
        return render_template("race.html", page=secret_token())

    @blueprint.get("/api/race")
    @described(answers=RaceDocument)
    def show() -> Response:
        """Tell the race at a glance: state, model, laps of this drive."""
        return answer(document())

    @blueprint.get("/api/race/results.csv")
    @described(answers="text/csv", query=ResultsQuery)
    def results() -> Response:
        """Tell every lap of the drives since the server started, a row each, for a spreadsheet."""
        wanted = read_query(ResultsQuery).drive
        drives = [drive for drive in watch.drives() if wanted in {0, drive.number}]
        response = Response(as_csv(drives), mimetype="text/csv")
        response.headers["Content-Disposition"] = 'attachment; filename="results.csv"'
        return response

    @blueprint.get("/api/race/events")
    @described(answers="text/event-stream", query=EventsQuery)
    def events() -> Response:
        """Tell what happens as it happens, as server-sent events: `race` each second, `start`, `lap`, ..."""
        query = read_query(EventsQuery)
        known = query.after or request.headers.get("Last-Event-ID", "")[:40]
        address, asks = request.remote_addr or "", visitor()
        places.take(address)
        socket = request.environ.get("gunicorn.socket")

        def is_clogged() -> bool:
            return socket is not None and unsent_bytes(socket) > UNSENT_LIMIT_BYTES

        def told() -> Iterator[str]:
            last = known or watch.newest_id
            end_s = time.monotonic() + (query.for_s or float("inf"))
            yield "retry: 2000\n\n"
            while True:
                yield as_event("race", document())
                left_s = end_s - time.monotonic()
                for event in watch.events_after(last, min(BEAT_S, max(left_s, 0.0))):
                    last = event.id
                    yield as_event(event.kind.value, event, event.id)
                if left_s <= 0 or is_clogged() or not may_go_on(asks):
                    return

        response = Response(told(), mimetype="text/event-stream")
        response.headers["X-Accel-Buffering"] = "no"  # a proxy in between keeps nothing back
        response.call_on_close(lambda: places.give_back(address))
        return response

    return blueprint


def may_go_on(asks: Visitor) -> bool:
    """Whether who listens may still."""
    return asks.is_allowed_now()


def as_event(kind: str, content: msgspec.Struct, event_id: str = "") -> str:
    """Return a server-sent event."""
    identity = f"id: {event_id}\n" if event_id else ""
    return f"event: {kind}\n{identity}data: {msgspec.json.encode(content).decode()}\n\n"


def as_csv(drives: list[RaceDrive]) -> str:
    """Return the laps of the drives as CSV; a drive without laps has one row."""
    sheet = io.StringIO(newline="")
    writer = csv.writer(sheet)
    writer.writerow(COLUMNS)
    for drive in drives:
        head = (drive.number, drive.started, _harmless(drive.model), _harmless(drive.driver))
        best_s, total_s = drive.best_s, 0.0
        for lap in drive.laps:
            total_s += lap.time_s
            times = (lap.lap, f"{lap.time_s:.3f}", f"{total_s:.3f}", int(lap.time_s == best_s), lap.missed)
            writer.writerow((*head, *times, drive.source.value, drive.ended))
        if not drive.laps:
            writer.writerow((*head, "", "", "", "", "", "", drive.ended))
    return sheet.getvalue()


def _harmless(text: str) -> str:
    """Return a name that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(FORMULA_SIGNS) else text
