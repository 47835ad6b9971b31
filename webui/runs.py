"""Recorded runs over HTTP: listed, looked at instant by instant, kept, taken along, removed.

A run of hours is never read as a whole here: its curves are attached to its file, its pictures are found
by the file's index. What has to read everything is left to a process of its own.
"""

import hashlib
import os
import subprocess
import sys
import threading
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import msgspec
from flask import Blueprint, Response, render_template, request, send_file
from werkzeug.exceptions import NotFound

from vehicle.run_file import RunFileError
from vehicle.run_mender import Mender
from vehicle.run_schemas import Topic, protobuf_class
from vehicle.run_seek import RunIndex
from vehicle.run_summary import RunSummary
from vehicle.run_traces import CurveSet, DrivenLine, RunEvent, Span, Traces, traces_of
from vehicle.runs import RunNotFoundError, RunShelf, free_bytes
from vehicle.truth import TrackLayout
from webui.describing import BINARY, described, html_page
from webui.guard import answer, read_body, read_query, sentence
from webui.recording import Recorder, Recording, RecordingDocument
from webui.run_films import FilmDocument, FilmState, RunFilms, film_of

OPEN_RUNS = 4  # whose curves and indexes are kept; a run of two hours has some 20 MB of them
MOST_SECONDS = 1e6  # eleven days
LINE_POINTS = 1500
MOMENT_HEADER = "Lapwing-Moment"


class RunRow(msgspec.Struct, frozen=True):
    """One run in the list."""

    name: str
    started_wall_ns: int
    clock_known: bool
    """False: nothing had set the car's clock, so the date is a guess."""
    duration_s: float
    driven_s: float
    policy: str
    modes: tuple[str, ...]
    laps_s: tuple[float, ...]
    laps_source: str
    """What timed them: `world` or `marker`; empty without laps."""
    best_lap_s: float | None
    faults: tuple[str, ...]
    latched_fault: str
    size_bytes: int
    is_hil: bool
    is_complete: bool
    note: str
    """Why it is not complete."""
    starred: bool
    is_mending: bool
    """It was cut off and is to be made whole; until then it cannot be opened."""
    lacks: str
    """Why that cannot be done now and what is needed, as a sentence; empty while it goes on."""


class RunList(msgspec.Struct, frozen=True):
    """Every run, newest first, and what the disk holds of them."""

    runs: list[RunRow]
    removed: list[str]
    """Names of those that can be put back."""
    recorder: RecordingDocument
    used_bytes: int
    quota_bytes: int
    free_bytes: int
    """Of the disk."""


class LapRow(msgspec.Struct, frozen=True):
    """One lap of a run."""

    lap: int
    time_s: float
    since_s: float
    until_s: float


class RunDetails(msgspec.Struct, frozen=True):
    """One run in full, but for its curves and pictures."""

    run: RunRow
    policy_hash: str
    calibration_version: int
    car: str
    drivers: tuple[str, ...]
    ticks: int
    decisions: int
    pictures: int
    seconds: float
    """Of the curves: from the first tick to the last."""
    laps: list[LapRow]
    events: tuple[RunEvent, ...]
    states: list[Span]
    has_pictures: bool
    has_truth: bool
    track: TrackLayout | None
    """Of a HIL car; those that were recorded before it was kept have none."""


class Curves(msgspec.Struct, frozen=True):
    """A part of a run, drawn."""

    since_s: float
    until_s: float
    curves: CurveSet
    line: DrivenLine | None
    """Of a HIL car."""


class CurvesQuery(msgspec.Struct, frozen=True):
    """Which part of a run is drawn, and how finely."""

    since_s: Annotated[float, msgspec.Meta(ge=0.0, le=MOST_SECONDS)] = 0.0
    until_s: Annotated[float, msgspec.Meta(ge=0.0, le=MOST_SECONDS)] = MOST_SECONDS
    buckets: Annotated[int, msgspec.Meta(ge=1, le=2000, description="Equal pieces of time.")] = 600


class MomentQuery(msgspec.Struct, frozen=True):
    """Which moment of a run."""

    t_s: Annotated[float, msgspec.Meta(ge=0.0, le=MOST_SECONDS, description="Since its first tick.")] = 0.0


class Starred(msgspec.Struct, frozen=True):
    """Whether a run is kept whatever the quota says."""

    starred: bool


class Removed(msgspec.Struct, frozen=True):
    """What was removed, and can be put back for ten minutes."""

    removed: str


class Restored(msgspec.Struct, frozen=True):
    """What was put back."""

    restored: str


class StarBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether a run is kept whatever the quota says."""

    starred: bool


class _Opened(msgspec.Struct, frozen=True):
    index: RunIndex
    traces: Traces


class Opened:
    """The runs that somebody looks at; safe in any thread."""

    def __init__(self, shelf: RunShelf) -> None:
        self._shelf = shelf
        self._lock = threading.Lock()
        self._runs: OrderedDict[tuple[str, int, int], _Opened] = OrderedDict()

    def get(self, name: str) -> _Opened:
        """Return a run's index and curves; 404 where there is none."""
        path = found(self._shelf, name)
        with self._lock:  # a second one who asks for the same waits rather than reads it, too
            try:
                stat = path.stat()
                key = (path.stem, stat.st_mtime_ns, stat.st_size)
                if key not in self._runs:
                    index = RunIndex(path)
                    self._runs[key] = _Opened(index, traces_of(path, index))
            except (OSError, RunFileError) as error:
                raise NotFound(sentence(str(error))) from error
            self._runs.move_to_end(key)
            while len(self._runs) > OPEN_RUNS:
                self._runs.popitem(last=False)
            return self._runs[key]


class Listing:
    """The list of runs, read again only when the folder has changed; safe in any thread.

    It has what was cut off made whole: a recorder that could, may have died.
    """

    def __init__(self, shelf: RunShelf) -> None:
        self._shelf = shelf
        self._lock = threading.Lock()
        self._read: tuple[object, list[RunRow]] | None = None
        self._mender = Mender(shelf)

    def rows(self) -> list[RunRow]:
        """Return every run, newest first."""
        with self._lock:
            stamp = self._stamp()
            if self._read is None or self._read[0] != stamp:
                self._read = (stamp, [row_of(self._shelf, one) for one in self._shelf.runs()])
            self._mender.look()
            cut_off = [self._cut_off_row(one) for one in self._shelf.cut_off()]
            return sorted([*self._read[1], *cut_off], key=lambda row: row.name, reverse=True)

    def _cut_off_row(self, one: RunSummary) -> RunRow:
        lacks = self._mender.lacks(one.name)
        row = row_of(self._shelf, one)
        return msgspec.structs.replace(row, is_mending=True, lacks=f"{lacks}." if lacks else "")

    def _stamp(self) -> object:
        try:
            with os.scandir(self._shelf.folder) as entries:
                return sorted(
                    (entry.name, entry.stat().st_mtime_ns, entry.stat().st_size) for entry in entries
                )
        except OSError:
            return ()


def make_blueprint(shelf: RunShelf, recorder: Recorder | None, films: RunFilms) -> Blueprint:
    """Return the page and the routes of this car's recorded runs."""
    blueprint = Blueprint("runs", __name__)
    opened = Opened(shelf)
    listing = Listing(shelf)

    @blueprint.get("/runs")
    @html_page
    def page() -> str:
        return render_template("runs.html")

    @blueprint.get("/api/runs")
    @described(answers={200: RunList, 304: None})
    def list_runs() -> Response:
        """List the runs and how the recorder fares; 304 when nothing changed."""
        shelf.forget()
        rows = listing.rows()
        document = RunList(
            runs=rows,
            removed=shelf.removed(),
            recorder=recorder.document() if recorder else RecordingDocument(Recording.STARTING),
            used_bytes=sum(row.size_bytes for row in rows),
            quota_bytes=shelf.quota_bytes,
            free_bytes=free_bytes(shelf.folder) // 10_000_000 * 10_000_000,  # not new at every look
        )
        response = answer(document)
        response.set_etag(hashlib.sha256(response.get_data()).hexdigest()[:32])
        response.make_conditional(request)
        return response

    @blueprint.get("/api/runs/<name>")
    @described(answers=RunDetails)
    def details(name: str) -> Response:
        """Tell one run in full, but for its curves and pictures."""
        run = opened.get(name)
        return answer(details_of(shelf, name, run.traces))

    @blueprint.get("/api/runs/<name>/curves")
    @described(answers=Curves, query=CurvesQuery)
    def curves(name: str) -> Response:
        """Draw a part of a run: the least and the most of each of equal pieces of time."""
        query = read_query(CurvesQuery)
        traces = opened.get(name).traces
        since_s, until_s = query.since_s, max(query.since_s, min(traces.duration_s, query.until_s))
        drawn = traces.curves(since_s, until_s, query.buckets)
        return answer(Curves(since_s, until_s, drawn, traces.line(since_s, until_s, LINE_POINTS)))

    @blueprint.get("/api/runs/<name>/picture")
    @described(answers={200: "image/jpeg", 204: None}, query=MomentQuery)
    def picture(name: str) -> Response:
        """Show the newest picture at `t_s`, and in a header what the car did then; 204 without one."""
        run = opened.get(name)
        t_s = read_query(MomentQuery).t_s
        moment = run.traces.at(t_s)
        response = Response(_jpeg(run, t_s), mimetype="image/jpeg")
        if not response.get_data():
            response = Response(status=204)
        response.headers[MOMENT_HEADER] = msgspec.json.encode(moment).decode()
        return response

    @blueprint.get("/api/runs/<name>/run.mcap")
    @described(answers={200: BINARY})
    def take_run(name: str) -> Response:
        """Send a run's file."""
        path = found(shelf, name)
        return send_file(path, "application/octet-stream", as_attachment=True, download_name=path.name)

    @blueprint.get("/api/runs/<name>/run.csv")
    @described(answers={200: "text/csv"})
    def take_table(name: str) -> Response:
        """Send a run as a table, one line a tick."""
        path = found(shelf, name)
        file_name = f"{path.stem}.csv"
        headers = {"Content-Disposition": f'attachment; filename="{file_name}"'}
        return Response(_table(path), mimetype="text/csv", headers=headers)

    @blueprint.get("/api/runs/<name>/film")
    @described(answers=FilmDocument)
    def follow_film(name: str) -> Response:
        """Tell how far the film of a run is."""
        return answer(films.document(found(shelf, name)))

    @blueprint.post("/api/runs/<name>/film")
    @described(answers=FilmDocument, refuses=(409,))
    def make_film(name: str) -> Response:
        """Begin the film of a run; it is made while the car stands."""
        return answer(films.begin(found(shelf, name)))

    @blueprint.get("/api/runs/<name>/run.webm")
    @described(answers={200: "video/webm"})
    def take_film(name: str) -> Response:
        """Send the film of a run; 404 before it is made."""
        run = found(shelf, name)
        if films.document(run).state is not FilmState.READY:
            raise NotFound("There is no film of this run yet; ask for it with POST to `film`.")
        return send_file(film_of(run), "video/webm", as_attachment=True, download_name=f"{run.stem}.webm")

    @blueprint.post("/api/runs/<name>/star")
    @described(body=StarBody, answers=Starred)
    def star(name: str) -> Response:
        """Keep a run whatever the quota says, or no longer."""
        starred = read_body(StarBody).starred
        shelf.star(found(shelf, name).stem, starred)
        return answer(Starred(starred))

    @blueprint.delete("/api/runs/<name>")
    @described(answers=Removed)
    def remove(name: str) -> Response:
        """Put a run away; it can be restored for ten minutes."""
        path = found(shelf, name)
        shelf.put_away(path.stem)
        return answer(Removed(path.stem))

    @blueprint.post("/api/runs/<name>/restore")
    @described(answers=Restored)
    def restore(name: str) -> Response:
        """Put a removed run back."""
        try:
            shelf.put_back(name)
        except RunNotFoundError as error:
            raise NotFound(sentence(str(error))) from error
        return answer(Restored(name))

    return blueprint


def found(shelf: RunShelf, name: str) -> Path:
    """Return a run's file; 404 where there is none."""
    try:
        return shelf.find(name)
    except RunNotFoundError as error:
        raise NotFound(f"There is no run {name[:40]!r}; it may have been removed.") from error


def row_of(shelf: RunShelf, one: RunSummary) -> RunRow:
    """Return a whole run as it stands in the list."""
    return RunRow(
        name=one.name,
        started_wall_ns=one.started_wall_ns,
        clock_known=one.clock_known,
        duration_s=one.duration_s,
        driven_s=one.driven_s,
        policy=one.policy,
        modes=one.modes,
        laps_s=one.laps_s,
        laps_source=one.laps_source,
        best_lap_s=one.best_lap_s,
        faults=one.faults,
        latched_fault=one.latched_fault,
        size_bytes=one.size_bytes,
        is_hil=one.is_hil,
        is_complete=one.is_complete,
        note=one.note,
        starred=shelf.is_starred(one.name),
        is_mending=False,
        lacks="",
    )


def details_of(shelf: RunShelf, name: str, traces: Traces) -> RunDetails:
    """Return a run in full."""
    one = shelf.summary(name)
    return RunDetails(
        run=row_of(shelf, one),
        policy_hash=one.policy_hash,
        calibration_version=one.calibration_version,
        car=one.car,
        drivers=one.drivers,
        ticks=one.ticks,
        decisions=one.decisions,
        pictures=one.pictures,
        seconds=traces.duration_s,
        laps=laps_of(one.laps_s, traces.laps_end_s()),
        events=traces.events,
        states=traces.spans(),
        has_pictures=bool(traces.pictures_ns.size),
        has_truth=bool(traces.truths.size),
        track=traces.track,
    )


def laps_of(laps_s: tuple[float, ...], ends_s: list[float]) -> list[LapRow]:
    """Return each lap with its place in the run."""
    return [
        LapRow(lap, time_s, max(0.0, end_s - time_s), end_s)
        for lap, (time_s, end_s) in enumerate(zip(laps_s, ends_s, strict=False), 1)
    ]


def _jpeg(run: _Opened, t_s: float) -> bytes:
    stamp_ns = run.traces.picture_ns(t_s)
    if stamp_ns is None:
        return b""
    try:
        entry = run.index.message(Topic.CAMERA, stamp_ns)
    except RunFileError as error:
        raise NotFound(sentence(str(error))) from error
    if entry is None:
        return b""
    data: bytes = protobuf_class("CompressedImage").FromString(entry.data).data
    return data


def _table(path: Path) -> Iterator[bytes]:
    command = [sys.executable, "-m", "vehicle.run_csv", str(path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        while block := process.stdout.read(65536):
            yield block
    finally:
        process.stdout.close()
        process.terminate()
        process.wait()
