"""The race: what happens becomes events and results, for screens, event software and spreadsheets."""

import csv
import io
import itertools
import json

import msgspec
import pytest
from test_webui import RecordingVehicle

from tests.unit.test_webui_control import Car, Marker
from tests.unit.webui_visitors import script, watcher
from vehicle.laps import TimedLap
from vehicle.messages import DriveState
from webui import create_app
from webui.laps import Laps, LapSource
from webui.race import COLUMNS, as_csv
from webui.race_watch import REMEMBERED, SETTLE_S, RaceDrive, RaceEventKind, RaceWatch

NOW_NS = 50_000_000_000


class RacingCar(Car):
    """The car of the page's other tests, with what a race shows of it."""

    policy, driver_name, sentence = "plover", "Ann", "Stopped: the camera is covered."


class Race:
    """A watch over a car that a test moves; each `look` is a second later."""

    def __init__(self, world: bool = True, marker: Marker | None = None) -> None:
        self.car = RacingCar()
        self.now_ns = NOW_NS
        self.laps = Laps(self.car, self.car if world else None, lambda: self.now_ns, marker)
        self.watch = RaceWatch(self.car, self.laps, lambda: self.now_ns)
        self.told = []
        self.watch.listen(self.told.append)
        self.now_s = 100.0
        self.car.cross(NOW_NS)

    def look(self, times: int = 1) -> None:
        for _ in range(times):
            self.watch.look(self.now_s)
            self.now_s += 1.0

    def be(self, state: DriveState) -> None:
        self.car.state = state
        self.look()

    def finish_lap(self, time_s: float) -> None:
        self.car.cross((self.car.lap_started_ns or NOW_NS) + round(time_s * 1e9))
        self.look()

    def kinds(self) -> list[str]:
        return [event.kind.value for event in self.told]


def test_a_drive_is_told_from_its_start_over_its_laps_to_its_finish():
    race = Race()
    race.look()
    race.be(DriveState.ARMING)
    race.be(DriveState.AUTONOMOUS)
    race.finish_lap(9.5)
    race.finish_lap(8.5)
    race.finish_lap(9.0)
    race.be(DriveState.DISARMED)
    race.look()

    assert race.kinds() == ["state", "start", "state", "state", "lap", "lap", "lap", "state", "finish"]
    laps = [event for event in race.told if event.kind is RaceEventKind.LAP]
    assert [(lap.lap, lap.time_s, lap.best_s, lap.is_best) for lap in laps] == [
        (1, 9.5, 9.5, True),
        (2, 8.5, 8.5, True),
        (3, 9.0, 8.5, False),
    ]
    finish = race.told[-1]
    assert (finish.drive, finish.lap, finish.best_s, finish.model, finish.driver) == (
        1,
        3,
        8.5,
        "plover",
        "Ann",
    )
    assert finish.source is LapSource.WORLD
    assert len({event.id for event in race.told}) == len(race.told)


def test_a_lap_that_comes_with_the_stop_still_belongs_to_its_drive():
    race = Race()
    race.be(DriveState.AUTONOMOUS)
    race.car.state = DriveState.DISARMED
    race.watch.look(race.now_s)
    race.car.cross(NOW_NS + 9_000_000_000)
    race.watch.look(race.now_s + SETTLE_S / 2)
    race.watch.look(race.now_s + SETTLE_S * 1.1)

    assert race.kinds()[-2:] == ["lap", "finish"]
    assert race.watch.drives()[0].laps == (TimedLap(1, 9.0),)


def test_laps_of_a_drive_before_are_not_counted_again():
    race = Race()
    race.finish_lap(7.0)
    race.finish_lap(7.0)
    race.be(DriveState.MANUAL)
    race.finish_lap(9.0)
    race.be(DriveState.DISARMED)
    race.look()
    race.be(DriveState.MANUAL)
    race.car.laps, race.car.lap_started_ns = (), NOW_NS  # the world was reset
    race.look()
    race.finish_lap(8.0)

    assert [[lap.time_s for lap in drive.laps] for drive in race.watch.drives()] == [[9.0], [8.0]]
    assert [drive.laps[0].lap for drive in race.watch.drives()] == [1, 1]


def test_a_lap_that_began_before_a_drive_which_no_page_began_is_none_of_it():
    """As beside `lapwing laps`, which begins a drive without the page."""
    race = Race()
    race.now_ns += 60_000_000_000
    race.be(DriveState.ARMING)
    race.be(DriveState.AUTONOMOUS)
    race.finish_lap(64.0)
    race.finish_lap(9.0)

    assert race.watch.drives()[0].laps == (TimedLap(1, 9.0),)


def test_a_line_marked_by_hand_before_a_drive_begins_no_lap_of_it():
    race = Race(world=False)
    race.be(DriveState.MANUAL)
    race.laps.mark(race.car)
    race.be(DriveState.DISARMED)
    race.now_ns += 60_000_000_000
    race.be(DriveState.MANUAL)
    for _ in range(2):
        race.laps.mark(race.car)
        race.now_ns += 9_000_000_000
    race.look()

    assert [drive.laps for drive in race.watch.drives()] == [(), (TimedLap(1, 9.0),)]


def test_a_failsafe_is_told_with_its_reason():
    race = Race()
    race.be(DriveState.AUTONOMOUS)
    race.be(DriveState.FAILSAFE)
    race.look()

    assert race.told[-1].kind is RaceEventKind.FINISH
    assert race.told[-1].reason == "Stopped: the camera is covered."
    assert race.watch.drives()[0].ended == "failsafe"


def test_marker_laps_are_told_with_their_doubts():
    marker = Marker()
    race = Race(world=False, marker=marker)
    race.be(DriveState.AUTONOMOUS)
    marker.say(NOW_NS, passes=3, laps=(TimedLap(1, 9.0), TimedLap(2, 18.0, missed=1)), lap_count=2)
    race.look()

    last = race.told[-1]
    assert (last.lap, last.source, last.possibly_missed) == (2, LapSource.MARKER, 1)


def test_who_was_away_is_told_what_they_missed():
    race = Race()
    race.be(DriveState.AUTONOMOUS)
    known = race.watch.newest_id
    race.finish_lap(9.0)
    race.finish_lap(9.1)

    assert [event.lap for event in race.watch.events_after(known, 0)] == [1, 2]
    assert race.watch.events_after(race.watch.newest_id, 0) == []
    assert len(race.watch.events_after("of another server-7", 0)) == len(race.told)


def test_of_a_very_long_race_the_newest_events_are_remembered():
    race = Race()
    states = itertools.cycle([DriveState.MANUAL, DriveState.AUTONOMOUS])
    for _, state in zip(range(REMEMBERED + 50), states, strict=False):
        race.be(state)

    kept = race.watch.events_after("", 0)
    assert len(kept) == REMEMBERED
    assert kept[-1] == race.told[-1]


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_results_are_a_row_a_lap_with_the_sum_and_the_best():
    drives = [
        RaceDrive(1, "2026-01-02T10:00:00.000+00:00", "plover", "Ann", LapSource.MARKER, ended="finished"),
        RaceDrive(2, "2026-01-02T10:05:00.000+00:00", "plover", "", LapSource.WORLD, ended="failsafe"),
    ]
    drives[0].laps = (TimedLap(1, 9.5), TimedLap(2, 9.0), TimedLap(3, 18.25, missed=1))
    first, second, third, without = rows(as_csv(drives))

    assert tuple(first) == COLUMNS
    assert (first["lap"], first["time_s"], first["total_s"], first["is_best"]) == ("1", "9.500", "9.500", "0")
    assert (second["total_s"], second["is_best"]) == ("18.500", "1")
    assert (third["total_s"], third["possibly_missed"], third["timed_by"]) == ("36.750", "1", "marker")
    assert (without["drive"], without["lap"], without["ended"]) == ("2", "", "failsafe")


@pytest.mark.parametrize("name", ["=1+1", "+A1", "-2", "@SUM(A1)", "\tx"])
def test_no_name_becomes_a_formula_in_a_spreadsheet(name):
    drive = RaceDrive(1, "now", name, f'{name},"', LapSource.HAND, (TimedLap(1, 9.0),))
    (row,) = rows(as_csv([drive]))

    assert row["model"] == f"'{name}"
    assert row["driver"] == f"'{name},\""


@pytest.fixture(scope="module")
def app():
    return create_app(RecordingVehicle(), clock_ns=lambda: NOW_NS)


@pytest.fixture(scope="module")
def client(app):
    return script(app)


def events_of(text: str) -> list[tuple[str, dict]]:
    """Return the events of a stream as (name, content)."""
    blocks = [dict(line.split(": ", 1) for line in block.split("\n")) for block in text.strip().split("\n\n")]
    return [(block["event"], json.loads(block["data"])) for block in blocks if "event" in block]


def test_the_stream_begins_with_the_race_at_a_glance_and_goes_on_with_what_was_missed(app, client):
    watch = app.extensions["race_watch"]
    watch.look(1.0)
    watch.look(2.0)
    response = client.get("/api/race/events?for_s=0.05&after=x")
    told = events_of(response.text)

    assert response.mimetype == "text/event-stream"
    assert told[0][0] == "race"
    assert {"state", "model", "laps", "left_s"} <= told[0][1].keys()
    assert "state" in [name for name, _ in told[1:]]


def test_each_reader_of_the_stream_takes_a_place_and_gives_it_back(app, client):
    responses = [client.get("/api/race/events?for_s=30") for _ in range(24)]
    assert client.get("/api/race/events?for_s=0.01").status_code == 503
    for response in responses:
        response.close()

    assert client.get("/api/race/events?for_s=0.01").status_code == 200


def test_somebody_who_only_watches_sees_the_race_and_nothing_else_is_needed(app):
    browser = watcher(app)
    for path in ("/race", "/api/race", "/api/race/results.csv", "/api/race/events?for_s=0.01"):
        assert browser.get(path).status_code == 200
    assert app.test_client().get("/api/race").status_code == 401


@pytest.mark.parametrize("query", ["for_s=never", "for_s=-1", "after=" + "x" * 50])
def test_a_bad_question_is_refused_in_words(client, query):
    assert client.get(f"/api/race/events?{query}").status_code == 400
    assert client.get("/api/race/results.csv?drive=first").status_code == 400


def test_what_is_told_is_plain_json():
    race = Race()
    race.be(DriveState.AUTONOMOUS)

    assert json.loads(msgspec.json.encode(race.told[0]))["kind"] == "start"
