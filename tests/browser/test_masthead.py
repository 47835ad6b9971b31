"""The way from page to page, on phones and laptops: whole words, big enough, by keyboard too."""

from collections.abc import Iterator

import pytest
from accessibility import findings, fits
from conftest import PageServer
from playwright.sync_api import Browser, Page, expect
from simulated_page_car import SimulatedPageCar

from tests.unit.webui_visitors import browser_cookies
from vehicle.messages import DriveState
from webui import create_app
from webui.access_state import SessionKind

pytestmark = pytest.mark.browser

NAMES = ("Drive", "Models", "Calibrate", "Runs", "Settings", "Race", "Simulator")
"""As many and as long as the navigation has to carry."""
TARGET_PX = 44
FOLDED_BELOW_PX = 1160
SCREENS = ((360, 640), (390, 844), (740, 360), (1159, 800), (1160, 800), (1280, 800))


@pytest.fixture
def server(car: SimulatedPageCar) -> Iterator[PageServer]:
    app = create_app(car, car)
    real = {"Drive": "drive.page", "Models": "models.page", "Calibrate": "calibrate.page"}
    app.jinja_env.globals["pages"] = [(real.get(name, "access.page"), name) for name in NAMES]
    server = PageServer(app)
    yield server
    server.stop()


def is_whole(page: Page, selector: str) -> bool:
    """Whether every one of them lies on the screen with all of its words, and beside its neighbours."""
    return page.evaluate(
        """(selector) => {
            const isApart = (one, other) => one.right <= other.left + 0.5 || other.right <= one.left + 0.5
              || one.bottom <= other.top + 0.5 || other.bottom <= one.top + 0.5;
            const boxes = [...document.querySelectorAll(selector)].filter((one) => one.checkVisibility());
            const places = boxes.map((one) => one.getBoundingClientRect());
            return places.length > 0
              && boxes.every((one) => one.scrollWidth <= one.clientWidth + 1)
              && places.every((box) => box.left >= 0 && box.right <= innerWidth && box.bottom <= innerHeight)
              && places.every((box, i) => places.every((other, j) => i === j || isApart(box, other)));
        }""",
        selector,
    )


@pytest.mark.parametrize("who", ["owner", "viewer"])
def test_seven_pages_fit_beside_the_cars_marks(
    chromium: Browser, server: PageServer, who: SessionKind
) -> None:
    context = chromium.new_context()
    context.add_cookies(browser_cookies(server.app, server.url, who))
    page = context.new_page()
    page.goto(f"{server.url}models")
    button = page.get_by_role("button", name="Pages, now Models")
    links = page.get_by_role("navigation", name="Pages").get_by_role("link")
    for width, height in SCREENS:
        page.set_viewport_size({"width": width, "height": height})
        expect(page.locator("#simulated")).to_be_visible()
        assert is_whole(page, ".masthead > *:not(nav, h1)"), width
        if width < FOLDED_BELOW_PX:
            button.click()
        expect(links).to_have_text(NAMES)
        assert is_whole(page, "nav a"), width
        assert is_whole(page, "nav, #emergency, .account"), width
        boxes = [links.nth(index).bounding_box() or {} for index in range(len(NAMES))]
        assert min(min(box["height"], box["width"]) for box in boxes) >= TARGET_PX, boxes
        assert fits(page), width
        if width in {SCREENS[0][0], SCREENS[-1][0]}:
            assert findings(page) == []
        page.keyboard.press("Escape")
    context.close()


@pytest.mark.parametrize("page", [{"viewport": {"width": 390, "height": 844}}], indirect=True)
def test_the_keyboard_opens_the_list_goes_through_it_and_closes_it(page: Page, server: PageServer) -> None:
    button = page.get_by_role("button", name="Drive", exact=False).first
    page.keyboard.press("Tab")
    expect(button).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Drive", exact=True)).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("navigation", name="Pages")).to_be_hidden()
    expect(button).to_be_focused()
    page.keyboard.press("Enter")
    for _ in range(2):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{server.url}models")


@pytest.mark.parametrize(
    "page", [{"viewport": {"width": 390, "height": 844}, "has_touch": True}], indirect=True
)
def test_an_open_list_hides_no_stop_and_swallows_none(page: Page, car: SimulatedPageCar) -> None:
    car.driver, car.state = "laps 4711", DriveState.AUTONOMOUS
    page.wait_for_selector("body[data-mood=driving]")
    page.locator(".menu").tap()
    expect(page.get_by_role("navigation", name="Pages")).to_be_visible()
    page.locator("#emergency").tap()
    assert car.await_that(lambda: car.state is DriveState.FAILSAFE)
