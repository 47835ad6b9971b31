"""The race page in a real Chromium: large figures that follow the car, for who came by a view-only link."""

import time
from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from conftest import LAPTOP, PHONE, WAIT_MS, PageServer, is_complaint
from playwright.sync_api import Browser, Page, expect
from simulated_page_car import LAP_S, SimulatedPageCar

from tests.unit.test_webui_control import Marker
from tests.unit.webui_visitors import browser_cookies
from vehicle.laps import TimedLap
from vehicle.messages import DriveState
from webui import create_app

pytestmark = pytest.mark.browser
BIG = {"width": 1920, "height": 1080}
LOOKS = [
    {"viewport": PHONE, "color_scheme": "light", "has_touch": True},
    {"viewport": LAPTOP, "color_scheme": "dark"},
    {"viewport": BIG, "color_scheme": "light"},
]


@pytest.fixture
def server(car: SimulatedPageCar) -> Iterator[PageServer]:
    app = create_app(car, car)
    app.extensions["race_watch"].start()
    server = PageServer(app)
    yield server
    app.extensions["race_watch"].close()
    car.stalled.set()
    server.stop()


@pytest.fixture
def page(
    chromium: Browser, server: PageServer, complaints: list[str], request: pytest.FixtureRequest
) -> Iterator[Page]:
    """The race page as somebody opens it who may only watch."""
    context = chromium.new_context(**{"viewport": BIG, **getattr(request, "param", {})})
    context.set_default_timeout(WAIT_MS)
    context.add_cookies(browser_cookies(server.app, server.url, "viewer"))
    page = context.new_page()
    page.on("console", lambda said: complaints.append(said.text) if is_complaint(said) else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"{server.url}race")
    page.wait_for_selector("body:not([data-mood=lost])")
    yield page
    context.close()
    assert complaints == []


def drive(car: SimulatedPageCar, driven_s: float) -> None:
    """Let the car have driven for so long."""
    car.started_ns = time.monotonic_ns() - round(driven_s * 1e9)
    car.state = DriveState.AUTONOMOUS


def test_the_screen_follows_a_race_from_ready_over_a_lap_to_the_stop(
    page: Page, car: SimulatedPageCar
) -> None:
    expect(page.locator("#model")).to_have_text("meadow-discrete")
    expect(page.locator("#state")).to_have_text("Ready")
    car.state = DriveState.ARMING
    expect(page.locator("#clock")).to_have_text("Get ready")

    drive(car, 0.5)
    expect(page.locator("#state")).to_have_text("Driving by itself")
    expect(page.locator("#lap-name")).to_have_text("Lap 1")
    shown = page.evaluate(
        """async () => {
            const shown = new Set();
            for (let look = 0; look < 40; look += 1) {
                shown.add(document.querySelector("#clock").textContent);
                await new Promise((done) => setTimeout(done, 20));
            }
            return [...shown];
        }"""
    )
    assert len(shown) >= 4  # tenths run on between two words of the car, a second apart

    drive(car, LAP_S + 0.1)
    expect(page.locator("#clock")).to_have_text("8.00")  # for a moment, in place of the running clock
    expect(page.locator("#laps li")).to_have_count(1)
    expect(page.locator("#news")).to_have_text("Lap 1: 8.00 seconds, the best")
    drive(car, 3 * LAP_S + 2.0)
    expect(page.locator("#count")).to_have_text("3")
    expect(page.locator("#last")).to_have_text("9.24")
    expect(page.locator("#best")).to_have_text("8.00")

    car.state = DriveState.FAILSAFE
    expect(page.locator("#state")).to_have_text("Stopped")
    expect(page.locator("#sentence")).to_contain_text("emergency stop")


def test_who_watches_stops_the_car_from_here_too(page: Page, car: SimulatedPageCar) -> None:
    drive(car, 1.0)
    page.keyboard.press("Space")
    assert car.await_that(lambda: bool(car.stops_ns))


def test_a_screen_that_lost_the_car_says_so_and_comes_back(
    page: Page, car: SimulatedPageCar, server: PageServer, complaints: list[str]
) -> None:
    server.stop()
    expect(page.locator("#state")).to_have_text("No connection", timeout=8000)
    server.start()
    expect(page.locator("#state")).to_have_text("Ready", timeout=8000)
    complaints.clear()


@pytest.mark.parametrize("page", LOOKS, indirect=True, ids=["phone", "laptop", "big"])
def test_it_fits_the_screen_and_can_be_read_by_everybody(page: Page, car: SimulatedPageCar) -> None:
    car.policy = "Donaudampfschifffahrtsgesellschaftskapitän, Rundkurs Nord, 14. Versuch"
    drive(car, 14.2 * LAP_S)
    expect(page.locator("#laps li")).to_have_count(12)
    expect(page.locator("#model")).to_have_text(car.policy)
    name, lap = (page.locator(each).bounding_box() for each in ("#model", "#lap-name"))
    assert name is not None
    assert lap is not None
    assert name["y"] + name["height"] <= lap["y"]

    width, height = page.viewport_size["width"], page.viewport_size["height"]  # type: ignore[index]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    clock_px = page.locator("#clock").evaluate("element => parseFloat(getComputedStyle(element).fontSize)")
    assert clock_px >= (0.35 * height if width >= 1280 else 80)
    for part in ("#clock", "#last", "#best", "#count", "#model"):
        assert page.locator(part).evaluate("element => element.scrollWidth <= element.clientWidth + 1"), part
    if width >= 1280:
        assert page.evaluate("document.documentElement.scrollHeight") <= height
    problems = Axe().run(page).response["violations"]
    assert [(each["id"], each["nodes"][0]["html"]) for each in problems] == []


def test_laps_by_the_start_marker_are_shown_as_such_with_their_doubts_on_both_pages(
    chromium: Browser, car: SimulatedPageCar
) -> None:
    marker = Marker()
    laps = TimedLap(1, 9.12), TimedLap(2, 18.31, missed=1)
    marker.say(time.monotonic_ns(), laps=laps, lap_count=2, passes=3)
    server = PageServer(create_app(car, None, marker=marker))
    context = chromium.new_context(viewport=LAPTOP)
    try:
        context.add_cookies(browser_cookies(server.app, server.url))
        page = context.new_page()
        page.goto(f"{server.url}race")
        expect(page.locator("#source")).to_contain_text("Timed by the start marker")
        expect(page.locator("#laps li.missed")).to_contain_text("marker missed?")
        page.goto(server.url)
        expect(page.locator("#lap-source")).to_contain_text(
            "Timed by the start marker. Lap 2 took about 2 times"
        )
    finally:
        context.close()
        server.stop()
