"""A car that does not know what time it is, and is told by a browser: its runs are dated then."""

import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from flask import Flask
from test_webui import RecordingVehicle

from tests.unit.run_files import make_run
from tests.unit.webui_visitors import signed_in, watcher
from vehicle import car_clock
from vehicle.car_clock import CarClock, ToldTime
from vehicle.run_summary import RunSummary
from vehicle.runs import RunShelf
from webui import create_app

NOW_MS = 1_790_000_000_000
WRONG_NS = 86_400 * 10**9  # the second of January 1970, as a car without a battery for its clock has it


@pytest.fixture
def lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CarClock, "is_synchronised", lambda self: False)


@pytest.fixture
def shelf(tmp_path: Path) -> RunShelf:
    return RunShelf(tmp_path / "runs")


@pytest.fixture
def app(shelf: RunShelf) -> Flask:
    return create_app(RecordingVehicle(), shelf=shelf)


def tell(app: Flask, **body: object) -> Any:
    document = {"unix_ms": NOW_MS, "zone": "Europe/Berlin", **body}
    return signed_in(app).post("/api/clock", json=document, headers={"Origin": "http://localhost"})


def put_run(shelf: RunShelf, started_ns: int, *, clock_known: bool, boot_id: str | None = None) -> str:
    """Keep a run with a star, as the recorder of a car without a clock leaves it."""
    shelf.folder.mkdir(exist_ok=True)
    summary = make_run(shelf.folder, 0.5, wall_ns=WRONG_NS, truth=False, pictures=False)
    boot_id = shelf.clock.boot_id() if boot_id is None else boot_id
    dated = msgspec.structs.replace(summary, started_ns=started_ns, clock_known=clock_known, boot_id=boot_id)
    (shelf.folder / f"{summary.name}.json").write_bytes(msgspec.json.encode(dated))
    shelf.star(summary.name, starred=True)
    return summary.name


@pytest.mark.usefixtures("lost")
def test_a_run_of_a_guessed_date_gets_the_right_one_with_all_its_files(app: Flask, shelf: RunShelf) -> None:
    began_ns = time.monotonic_ns() - 3600 * 10**9
    name = put_run(shelf, began_ns, clock_known=False)
    assert name.startswith("1970-")

    (renamed,) = tell(app).json["relabelled"]

    summary = shelf.summary(renamed)
    expected_ns = NOW_MS * 10**6 - 3600 * 10**9
    assert abs(summary.started_wall_ns - expected_ns) < 60 * 10**9
    assert renamed.startswith("2026-09-21")
    assert (summary.name, summary.clock_known, shelf.is_starred(renamed)) == (renamed, True, True)
    assert {path.stem for path in shelf.folder.iterdir()} == {renamed, "clock"}
    assert tell(app).json["relabelled"] == [], "once is enough"


@pytest.mark.usefixtures("lost")
def test_runs_of_another_boot_and_of_a_clock_that_was_right_keep_their_dates(
    app: Flask, shelf: RunShelf
) -> None:
    names = [
        put_run(shelf, 1, clock_known=False, boot_id="another"),
        put_run(shelf, 1, clock_known=True),
        put_run(shelf, 1, clock_known=False, boot_id=""),
    ]

    assert tell(app).json["relabelled"] == []
    assert sorted(one.name for one in shelf.runs()) == sorted(names)


@pytest.mark.usefixtures("lost")
def test_a_run_that_was_being_recorded_while_the_time_was_told_is_dated_at_its_end(
    app: Flask, shelf: RunShelf
) -> None:
    tell(app)
    name = put_run(shelf, time.monotonic_ns(), clock_known=False)

    shelf.put(shelf.summary(name))

    (one,) = shelf.runs()
    assert one.name.startswith("2026-09-")


@pytest.mark.usefixtures("lost")
def test_what_is_recorded_afterwards_has_the_right_date_from_the_start(app: Flask, shelf: RunShelf) -> None:
    _, was_known = shelf.clock.now()
    tell(app)

    wall_ns, is_known = shelf.clock.now()

    assert (was_known, is_known) == (False, True)
    assert abs(wall_ns - NOW_MS * 10**6) < 60 * 10**9


@pytest.mark.usefixtures("lost")
def test_pages_tell_the_time_only_to_a_car_that_needs_it_and_only_for_those_who_may(app: Flask) -> None:
    assert "clock.js" in signed_in(app).get("/models").get_data(as_text=True)
    assert "clock.js" not in watcher(app).get("/models").get_data(as_text=True)
    body = {"unix_ms": NOW_MS, "zone": "UTC"}
    assert (
        watcher(app).post("/api/clock", json=body, headers={"Origin": "http://localhost"}).status_code == 403
    )

    tell(app)

    assert "clock.js" not in signed_in(app).get("/models").get_data(as_text=True)
    document = signed_in(app).get("/api/clock").json
    assert (document["is_known"], document["zone"]) == (True, "Europe/Berlin")


def test_a_clock_that_the_network_keeps_is_told_nothing(
    app: Flask, shelf: RunShelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CarClock, "is_synchronised", lambda self: True)

    assert tell(app).status_code == 409
    assert shelf.clock.told() is None
    assert "clock.js" not in signed_in(app).get("/models").get_data(as_text=True)


@pytest.mark.usefixtures("lost")
@pytest.mark.parametrize(
    "body",
    [
        {"unix_ms": 0},
        {"unix_ms": 10**15},
        {"unix_ms": 1.5},
        {"zone": ""},
        {"zone": "../x"},
        {"zone": "Mars/Olympus"},
        {"zone": "a" * 61},
    ],
)
def test_no_time_at_all_is_refused(app: Flask, shelf: RunShelf, body: dict[str, object]) -> None:
    assert tell(app, **body).status_code == 400
    assert shelf.clock.told() is None


@pytest.mark.usefixtures("lost")
def test_what_was_told_in_an_earlier_boot_or_is_damaged_counts_for_nothing(shelf: RunShelf) -> None:
    shelf.folder.mkdir()
    file = shelf.folder / car_clock.FILE
    file.write_bytes(msgspec.json.encode(ToldTime("another", 1, 2, "UTC")))
    assert shelf.clock.told() is None
    file.write_bytes(b"{")
    assert shelf.clock.needs_time()


def test_the_system_says_whether_its_clock_was_set() -> None:
    assert CarClock(Path("/nowhere")).is_synchronised() in {True, False}
    assert RunSummary(name="x", started_wall_ns=0, boot_id="", started_ns=0).clock_known
