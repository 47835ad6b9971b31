"""The Runs page in a real Chromium: a run is found, played, looked into, kept and removed."""

import errno
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from conftest import LAPTOP, PHONE, WAIT_MS, PageServer
from playwright.sync_api import APIResponse, Browser, Page, Route, expect
from simulated_page_car import SimulatedPageCar

from tests.unit.run_files import WALL_NS, StatedRecorder, make_run, shelf_of
from tests.unit.webui_visitors import browser_cookies
from vehicle.bench_recording import SEEK
from vehicle.run_mending import NotMendedError
from vehicle.runs import RunShelf
from webui import create_app
from webui.recording import Recording, RecordingDocument

pytestmark = pytest.mark.browser
Opened = Callable[..., Page]
HOUR_NS = 3600 * 10**9
LOOKS = [
    {"viewport": PHONE, "color_scheme": "light", "has_touch": True},
    {"viewport": PHONE, "color_scheme": "dark", "has_touch": True},
    {"viewport": LAPTOP, "color_scheme": "light"},
    {"viewport": LAPTOP, "color_scheme": "dark"},
]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recorded")
    make_run(folder, 2.0, truth=False, pictures=False)
    make_run(folder, 8.0, wall_ns=WALL_NS + HOUR_NS, fault_s=7.0)
    return folder


@pytest.fixture
def shelf(recorded: Path, tmp_path: Path) -> RunShelf:
    return shelf_of(recorded, tmp_path / "runs")


@pytest.fixture
def recorder() -> StatedRecorder:
    return StatedRecorder()


@pytest.fixture
def server(car: SimulatedPageCar, shelf: RunShelf, recorder: StatedRecorder) -> Iterator[PageServer]:
    server = PageServer(create_app(car, car, shelf=shelf, recorder=recorder))
    yield server
    car.stalled.set()
    server.stop()


@pytest.fixture
def open_runs(server: PageServer, chromium: Browser, complaints: list[str]) -> Iterator[Opened]:
    contexts = []

    def opened(kind: str = "owner", where: str = "runs", **options: object) -> Page:
        context = chromium.new_context(**{"viewport": LAPTOP, **options})
        contexts.append(context)
        context.set_default_timeout(WAIT_MS)
        context.add_cookies(browser_cookies(server.app, server.url, kind))  # type: ignore[arg-type]
        page = context.new_page()
        page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"{server.url}{where}")
        page.wait_for_selector("#list .row" if where == "runs" else "body:not([data-mood=unknown])")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


def at(page: Page) -> float:
    """Return the moment that the page shows."""
    return float(page.locator("#time").input_value())


def await_picture(page: Page, number: float) -> None:
    """Wait until the picture of that number is shown, or one beside it: their grey is their number."""
    grey = "document.getElementById('picture').getContext('2d').getImageData(8, 6, 1, 1).data[0]"
    page.wait_for_function(f"(number) => Math.abs({grey} - number) <= 4", arg=number)


@pytest.mark.parametrize("look", LOOKS, ids=["phone-light", "phone-dark", "laptop-light", "laptop-dark"])
def test_the_page_is_accessible_and_fits(open_runs: Opened, look: dict[str, object]) -> None:
    page = open_runs(**look)
    for part in ("list", "run") if look["viewport"] == PHONE else ("run",):
        if part == "run":
            page.locator("#list .row button").first.click()
            page.wait_for_selector("#plot-steering .curve", state="attached")
            page.wait_for_selector("#laps tbody tr")
        violations = Axe().run(page).response["violations"]
        serious = [v for v in violations if v["impact"] in {"serious", "critical"}]
        assert [f"{v['id']}: {v['nodes'][0]['html'][:120]}" for v in serious] == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_run_plays_with_picture_and_curves_in_step(open_runs: Opened) -> None:
    page = open_runs()
    expect(page.locator("#run-kind")).to_contain_text("2 laps")
    page.locator("#time").fill("3")
    page.wait_for_function("() => document.getElementById('readout').textContent.includes('8')")
    expect(page.locator("#cursor")).to_have_js_property("hidden", False)
    await_picture(page, 150)  # of tick 150, at three seconds
    page.keyboard.press("Escape")
    page.locator("#run-title").focus()
    page.keyboard.press("k")
    expect(page.locator("#play")).to_have_attribute("aria-label", "Pause")
    page.wait_for_function("() => Number(document.getElementById('time').value) > 3.6")
    page.keyboard.press("k")
    expect(page.locator("#play")).to_have_attribute("aria-label", "Play")
    await_picture(page, at(page) * 50)
    left = page.evaluate("() => parseFloat(document.getElementById('cursor').style.left)")
    assert left == pytest.approx(at(page) / 7.98 * 100, abs=0.5)


def test_marks_laps_and_the_curves_lead_to_their_moments(open_runs: Opened) -> None:
    page = open_runs()
    page.wait_for_selector("#plot-steering .curve", state="attached")
    page.locator("#run-title").focus()
    page.keyboard.press("End")
    page.keyboard.press("[")
    assert at(page) == pytest.approx(7.0, abs=0.05)
    page.locator("#mark-back").click()
    assert at(page) == pytest.approx(3.0, abs=0.06)
    page.locator("#mark-on").click()
    assert at(page) == pytest.approx(7.0, abs=0.05)
    page.locator(".event.of-fault button").first.click()
    assert at(page) == pytest.approx(7.0, abs=0.05)
    page.get_by_role("button", name="See lap 1").click()
    assert at(page) == pytest.approx(0.0, abs=0.05)
    expect(page.locator("#laps tbody tr.is-now th")).to_have_text("1")
    expect(page.locator("#axis span").last).to_have_text("0:03.0")
    page.locator("#lanes").click()  # in its middle
    assert at(page) == pytest.approx(1.5, abs=0.06)
    page.locator("#zoom-all").click()
    expect(page.locator("#axis span").last).to_have_text("0:07")


def test_a_run_is_kept_removed_and_put_back(open_runs: Opened, shelf: RunShelf) -> None:
    page = open_runs()
    name = shelf.find("last").stem
    expect(page.locator("#make-film")).to_be_visible()
    expect(page.locator("#take-film")).to_be_hidden()
    page.locator("#star").click()
    expect(page.locator("#star")).to_have_attribute("aria-pressed", "true")
    assert shelf.is_starred(name)
    page.locator("#discard").click()
    expect(page.locator("#toast-words")).to_have_text("The last run is discarded.")
    expect(page.locator("#list .row")).to_have_count(1)
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(f"#list [data-key='{name}'] button")).to_have_attribute("aria-current", "true")
    assert shelf.is_starred(name)
    page.locator("#remove").click()
    expect(page.locator("#removed .row")).to_have_count(1)
    assert len(shelf.runs()) == 1
    page.get_by_role("button", name=f"Put {name} back").click()
    expect(page.locator("#run-title")).to_be_visible()
    expect(page.locator("#list .row")).to_have_count(2)
    assert len(shelf.runs()) == 2


def test_nothing_is_asked_about_a_run_that_is_being_removed(open_runs: Opened, server: PageServer) -> None:
    """Not what is still on its way, nor what an older list, answered late, would lead to."""
    page = open_runs()
    expect(page.locator("#readout")).to_contain_text("steering")
    name = page.locator("#list .row").first.get_attribute("data-key")
    old_list = page.request.get(f"{server.url}api/runs").text()
    pictures: list[Route] = []
    looks: list[Route] = []
    ended: list[str] = []
    page.on("requestfailed", lambda request: ended.append(request.url))
    page.route(f"**/api/runs/{name}/picture*", lambda route: pictures.append(route))  # noqa: PLW0108 - Playwright wants a function
    page.route("**/api/runs", lambda route: looks.append(route))  # noqa: PLW0108
    with page.expect_request("**/picture*"):
        page.locator("#time").fill("3")
    with page.expect_request("**/api/runs"):
        pass  # the page looks every second
    with page.expect_request(lambda request: request.url.endswith("/api/runs")):
        page.locator("#remove").click()
        expect(page.locator("#toast-words")).to_have_text("The run is removed.")
    older = looks.pop(0)
    older.fulfill(body=old_list)
    page.wait_for_timeout(100)
    expect(page.locator("#list .row")).to_have_count(1)
    page.unroute("**/api/runs")
    for newer in looks:
        newer.continue_()
    expect(page.locator("#removed .row")).to_have_count(1)
    expect(page.locator("#list .row")).to_have_count(1)
    assert [url for url in ended if "/picture" in url]  # and that no 404 was logged is looked at in the end


def test_a_watcher_sees_everything_and_can_change_nothing(open_runs: Opened) -> None:
    page = open_runs("viewer")
    page.wait_for_selector("#plot-steering .curve", state="attached")
    expect(page.locator("#take-mcap")).to_be_visible()
    for gone in ("#star", "#remove", "#discard", "#make-film"):
        expect(page.locator(gone)).to_have_count(0)


def test_a_recorder_that_fails_is_told_loudly(open_runs: Opened, recorder: StatedRecorder) -> None:
    page = open_runs()
    expect(page.locator("#recorder")).to_have_text("Ready to record the next drive")
    recorder.said = RecordingDocument(Recording.NOT_RECORDING, problem="The disk is nearly full.")
    expect(page.locator("#recorder")).to_have_text("Not recording. The disk is nearly full.")


def test_a_cut_off_run_without_room_says_what_it_needs(
    open_runs: Opened, shelf: RunShelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = shelf.runs()[1].name
    words = str(NotMendedError(name, 2_100_000, 300_000, OSError(errno.ENOSPC, "")))
    monkeypatch.setattr("vehicle.run_mender.Mender.look", lambda _: None)
    monkeypatch.setattr("vehicle.run_mender.Mender.lacks", lambda _, asked: words if asked == name else "")
    shelf.find(name).rename(shelf.folder / f"{name}.mcap.part")
    page = open_runs(viewport=PHONE)
    row = page.locator(f"#list [data-key='{name}']")
    expect(row.locator(".end")).to_contain_text("2.1 MB of the disk must be free, 0.3 MB are")
    expect(row.locator("button")).to_be_disabled()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_day_that_comes_twice_around_an_unknown_date_stands_over_its_runs(
    open_runs: Opened, server: PageServer
) -> None:
    page = open_runs(viewport=PHONE)
    document = page.request.get(f"{server.url}api/runs").json()
    one = document["runs"][0]
    document["runs"] = [
        {**one, "name": f"2026-01-0{3 - place}_12-00-00", "clock_known": place != 1} for place in range(3)
    ]
    page.route("**/api/runs", lambda route: route.fulfill(json=document))
    expect(page.locator("#list .row")).to_have_count(3)
    document["runs"][2]["starred"] = True
    expect(page.locator("#list .stars", has_text="kept")).to_have_count(1)
    kinds = page.locator("#list > li").evaluate_all("(items) => items.map((item) => item.className)")
    assert kinds == ["day", "row"] * 3


@pytest.mark.parametrize("viewport", [PHONE, LAPTOP], ids=["phone", "laptop"])
def test_the_driving_page_says_only_aloud_that_nothing_is_kept(
    open_runs: Opened, recorder: StatedRecorder, viewport: dict[str, int]
) -> None:
    page = open_runs(where="", viewport=viewport)
    expect(page.locator("#disk .more")).to_have_text("free, ready to record")
    expect(page.locator("#unrecorded")).to_be_hidden()
    recorder.said = RecordingDocument(Recording.NOT_RECORDING, problem="The disk is nearly full.")
    expect(page.locator("#unrecorded")).to_contain_text("Not recording. The disk is nearly full.")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    recorder.said = RecordingDocument(Recording.RECORDING, "2026-01-01_00-00-00", 5_000_000)
    expect(page.locator("#unrecorded")).to_be_hidden()
    expect(page.locator("#disk .more")).to_have_text("free, recording")


def test_a_run_without_pictures_and_truth_is_drawn_without_them(open_runs: Opened) -> None:
    page = open_runs()
    page.locator("#list .row button").last.click()
    expect(page.locator("#no-picture")).to_be_visible()
    expect(page.locator("#line-figure")).to_be_hidden()
    expect(page.locator("#speed-lane")).to_be_hidden()
    expect(page.locator("#readout")).to_contain_text("steering")


def test_a_run_that_cannot_be_read_says_so_and_shows_nothing_of_another(
    open_runs: Opened, shelf: RunShelf, complaints: list[str]
) -> None:
    page = open_runs()
    expect(page.locator("#run-kind")).to_contain_text("2 laps")
    damaged = shelf.find(shelf.runs()[1].name)
    damaged.unlink()
    damaged.write_bytes(b"no run")
    page.locator("#list .row button").last.click()
    expect(page.locator("#choose-one")).to_contain_text("cannot be read")
    expect(page.locator("#run")).to_be_hidden()
    page.locator("#list .row button").first.click()
    expect(page.locator("#run-kind")).to_contain_text("2 laps")
    complaints[:] = [one for one in complaints if "404" not in one]  # the browser's own words for it


def test_curves_that_were_not_answered_are_asked_for_again(open_runs: Opened, complaints: list[str]) -> None:
    page = open_runs()
    page.wait_for_selector("#plot-steering .curve", state="attached")
    page.evaluate("document.getElementById('plot-steering').replaceChildren()")
    page.route("**/curves*", lambda route: route.abort(), times=1)
    page.locator("#zoom-in").click()
    page.wait_for_selector("#plot-steering .curve", state="attached")
    assert [one for one in complaints if "ERR_FAILED" in one]
    complaints.clear()


def test_the_track_lies_under_the_driven_line_of_a_simulated_car(open_runs: Opened) -> None:
    page = open_runs()
    page.wait_for_selector("#line .driven", state="attached")
    box = "const { width, height } = document.querySelector('#line .road').getBBox();"
    size_m = page.evaluate(f"() => {{ {box} return [width, height]; }}")
    assert size_m == pytest.approx([2.4, 2.4], abs=0.02)  # the ring's outer border
    order = page.evaluate("() => [...document.querySelectorAll('#line *')].map((one) => one.classList[0])")
    assert order.index("road") < order.index("driven")
    expect(page.locator("#marks .fault-mark")).to_have_count(1)


def test_a_run_is_read_in_the_list_and_taken_along(open_runs: Opened, shelf: RunShelf) -> None:
    page = open_runs()
    row = page.locator("#list .row").first
    for words in ("2 laps", "by itself", "3.000", "Stopped: board silent"):
        expect(row).to_contain_text(words)
    with page.expect_download() as taken:
        page.locator("#take-mcap").click()
    assert taken.value.path().read_bytes() == shelf.find("last").read_bytes()
    with page.expect_download() as taken:
        page.locator("#take-csv").click()
    assert taken.value.suggested_filename == f"{shelf.find('last').stem}.csv"


def test_the_bench_sees_a_moment_whose_curves_look_like_those_before_it(open_runs: Opened) -> None:
    page = open_runs()
    for _ in range(3):
        page.locator("#zoom-in").click()
    page.wait_for_selector("#plot-steering .curve", state="attached")
    curves: list[APIResponse] = []

    def again(route: Route) -> None:
        curves.append(curves[0] if curves else route.fetch())
        route.fulfill(response=curves[0])

    page.route("**/curves?*", again)
    page.evaluate(SEEK, 2.0)
    drawn = page.locator("#plot-steering .curve").get_attribute("d")
    assert page.evaluate(SEEK, 6.0) < WAIT_MS
    assert page.locator("#plot-steering .curve").get_attribute("d") == drawn
    assert len(curves) == 2
    assert at(page) == 6.0
