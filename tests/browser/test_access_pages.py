"""The pages that let people in, in a real Chromium: first visit, sign in, keys, links; the stop on all."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from accessibility import findings, fits
from conftest import LAPTOP, PHONE, WAIT_MS, PageServer
from playwright.sync_api import Browser, BrowserContext, Page, expect
from simulated_page_car import SimulatedPageCar

from tests.unit.test_webui_server import run_dir, serving  # noqa: F401 - a fixture
from tests.unit.webui_visitors import PASSWORD, browser_cookies, signed_in_headers, store_of
from vehicle.messages import DriveState
from webui import create_app
from webui.access_store import AccessStore

pytestmark = pytest.mark.browser

NEW_PASSWORD = "three small words"


@pytest.fixture
def server(car: SimulatedPageCar, tmp_path: Path) -> Iterator[PageServer]:
    server = PageServer(create_app(car, car, access_store=AccessStore(tmp_path / "access")))
    yield server
    server.stop()


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    context = chromium.new_context(viewport=LAPTOP, ignore_https_errors=True)
    context.set_default_timeout(WAIT_MS)
    yield context
    context.close()


@pytest.fixture
def visit(context: BrowserContext, complaints: list[str]) -> Iterator[Page]:
    """A tab of somebody who has not signed in."""
    page = context.new_page()
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    assert complaints == []


def set_up(page: Page, code: str) -> None:
    page.fill("#code", code)
    page.fill("#password", NEW_PASSWORD)
    page.fill("#again", NEW_PASSWORD)
    page.click("main button[type=submit]")


def stop_by_finger(page: Page) -> None:
    box = page.locator("#emergency").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()


def test_from_first_visit_to_driving_page_and_back_in(visit: Page, server: PageServer) -> None:
    visit.goto(server.url)
    expect(visit).to_have_url(f"{server.url}setup")
    set_up(visit, store_of(server.app).setup_code())
    expect(visit).to_have_url(server.url)
    visit.wait_for_selector("body:not([data-mood=unknown])")

    visit.click("a.account")
    visit.get_by_role("button", name="Sign out", exact=True).click()
    expect(visit).to_have_url(f"{server.url}login")
    visit.fill("#password", NEW_PASSWORD)
    visit.click("main button[type=submit]")
    expect(visit).to_have_url(server.url)


def test_a_wrong_password_is_said_on_the_page(visit: Page, server: PageServer, complaints: list[str]) -> None:
    browser_cookies(server.app, server.url)
    visit.goto(f"{server.url}login")
    visit.fill("#password", "wrong")
    visit.click("main button[type=submit]")
    expect(visit.get_by_text("That is not the password")).to_be_visible()
    complaints.clear()  # the browser logs the 401


@pytest.mark.parametrize("where", ["setup", "login", "sign-in?link=x", "watch?link=x", "access"])
def test_every_page_stops_the_car_by_a_finger_and_by_space(
    visit: Page, server: PageServer, car: SimulatedPageCar, where: str
) -> None:
    if where == "login":
        browser_cookies(server.app, server.url)
    if where == "access":
        visit.context.add_cookies(browser_cookies(server.app, server.url))
    car.driver, car.state = "laps 4711", DriveState.AUTONOMOUS
    visit.goto(server.url + where)
    expect(visit).to_have_url(server.url + where)
    expect(visit.locator("#emergency")).to_be_in_viewport(ratio=1)  # without scrolling
    stop_by_finger(visit)
    assert car.await_that(lambda: car.state is DriveState.FAILSAFE)
    expect(visit.locator("#emergency-word")).to_have_text("Stopped")
    visit.mouse.up()

    car.state = DriveState.AUTONOMOUS
    for _ in range(2):  # the page asks again and again; an answer may have been on its way
        with visit.expect_response("**/emergency-stop") as told:
            pass
        told.value.finished()
    fields = visit.locator("main input:not([type=hidden])")
    if fields.count():
        fields.first.focus()  # in a text field too
    visit.keyboard.press("Space")
    assert car.await_that(lambda: car.state is DriveState.FAILSAFE)


HEARS_ONCE = """
const later = window.setTimeout;
window.setTimeout = (call, ms, ...rest) => (ms === 400 ? 0 : later(call, ms, ...rest));
"""
"""A page that asks whether the car may move when it opens, and never again by itself."""


def test_space_stops_a_car_that_has_started_since_the_page_heard_of_it(
    visit: Page, server: PageServer, car: SimulatedPageCar
) -> None:
    visit.context.add_cookies(browser_cookies(server.app, server.url))
    visit.add_init_script(HEARS_ONCE)
    for standing in (True, False):
        with visit.expect_response("**/emergency-stop"):
            visit.goto(f"{server.url}access")
        button = visit.get_by_role("button", name="Ask for the password first")
        button.focus()
        if standing:
            visit.keyboard.press("Space")  # is pressed, as buttons are
            visit.get_by_role("button", name="Let everybody stop it").click()
            expect(button).to_be_visible()
        else:
            car.driver, car.state = "laps 4711", DriveState.AUTONOMOUS
            visit.keyboard.press("Space")
            assert car.await_that(lambda: car.state is DriveState.FAILSAFE)
            expect(visit.locator("#emergency-word")).to_have_text("Stopped")
            expect(button).to_be_visible()


def test_a_key_and_a_link_are_made_shown_once_and_revoked(
    visit: Page, server: PageServer, context: BrowserContext
) -> None:
    context.add_cookies(browser_cookies(server.app, server.url))
    visit.goto(f"{server.url}access")
    visit.fill("#key-name", "Lap timer")
    visit.get_by_role("button", name="Make a key").click()
    key = visit.locator("#new-key").input_value()
    assert store_of(server.app).key(key) is not None
    visit.fill("#link-name", "Anna")
    visit.get_by_role("button", name="Make a link").click()
    expect(visit.locator("#new-key")).to_have_count(0)
    link = visit.locator("#new-link").input_value()

    friend = context.browser.new_context().new_page()  # type: ignore[union-attr]
    friend.goto(link)
    friend.get_by_role("button", name="Watch", exact=True).click()
    expect(friend).to_have_url(server.url)
    expect(friend.get_by_role("button", name="Watching only")).to_be_visible()

    visit.get_by_role("button", name="Revoke the link of Anna").click()
    expect(visit.get_by_role("button", name="Revoke the link of Anna")).to_have_count(0)
    expect(friend).to_have_url(f"{server.url}login", timeout=20_000)  # led there by the server
    friend.context.close()


@pytest.mark.parametrize("viewport", [PHONE, LAPTOP], ids=["phone", "laptop"])
def test_the_pages_of_access_are_accessible_and_fit(
    chromium: Browser, server: PageServer, viewport: dict[str, int]
) -> None:
    context = chromium.new_context(viewport=viewport)  # type: ignore[arg-type]
    page = context.new_page()

    def check() -> None:
        assert findings(page) == []
        assert fits(page)

    page.goto(f"{server.url}setup")
    check()
    context.add_cookies(browser_cookies(server.app, server.url))
    store = store_of(server.app)
    store.make_key("Lap timer")
    store.make_view_link("Anna " * 11)
    page.goto(f"{server.url}access")
    page.fill("#key-name", "another")
    page.get_by_role("button", name="Make a key").click()
    expect(page.locator("#new-key")).to_be_visible()  # until then a page is there that is about to go
    check()
    page.goto(f"{server.url}nowhere")
    check()
    context.clear_cookies()
    for where in ("login", "watch?link=x"):
        page.goto(server.url + where)
        check()
    context.close()


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_sign_in_works_on_a_name_that_is_not_loopback(
    visit: Page,
    run_dir: Path,  # noqa: F811 - the fixture
    tmp_path: Path,
    scheme: str,
    complaints: list[str],
) -> None:
    root = tmp_path / "access"
    signed_in_headers(root)
    with serving(run_dir, f"--{scheme}", "--name", "blue.local", "--access-dir", str(root)) as (_, address):
        port = address.rstrip("/").rpartition(":")[2]
        home = f"{scheme}://blue.local:{port}/"
        visit.goto(home)
        expect(visit).to_have_url(f"{home}login")
        expect(visit.get_by_text("This page came over plain HTTP")).to_have_count(int(scheme == "http"))
        visit.fill("#password", PASSWORD)
        visit.click("main button[type=submit]")
        expect(visit).to_have_url(home)
        (cookie,) = visit.context.cookies()
        assert cookie["httpOnly"]
        assert cookie["secure"] is (scheme == "https")
        assert visit.evaluate("isSecureContext") is (scheme == "https")

        visit.goto(f"{home}access")
        expect(visit.get_by_text("Download its certificate")).to_have_count(int(scheme == "https"))
        authority = visit.evaluate("fetch('/ca.crt').then((answer) => answer.status)")
        assert authority == (200 if scheme == "https" else 404)
        stop = visit.evaluate("fetch('/emergency-stop', {method: 'POST'}).then((answer) => answer.status)")
        assert stop == 503  # it was let in; there is no vehicle behind this page
    complaints.clear()  # the driving page said that the car is silent
