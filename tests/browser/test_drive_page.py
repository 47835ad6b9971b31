"""The driving page in a real Chromium: it stops the car before all else, tells the truth, and is usable."""

import contextlib
import time
from collections.abc import Callable

import pytest
from accessibility import findings
from conftest import LAPTOP, PHONE, PageServer
from playwright.sync_api import Browser, Page, Request, expect
from playwright.sync_api import Error as PlaywrightError
from simulated_page_car import SimulatedPageCar

from tests.unit.webui_visitors import browser_cookies
from vehicle.messages import DriveState, RequestKind

pytestmark = pytest.mark.browser

STOP_LIMIT_S = (
    0.5  # press to the vehicle's client, on a busy two-core machine; the page adds no wait of its own
)
LOST_LIMIT_MS = 2500  # the page waits for 1000 ms; the rest is a busy two-core machine's
HTTP_CONNECTIONS = 6  # of Chromium to one server; a WebSocket is none of them


def start_driving(page: Page, car: SimulatedPageCar) -> None:
    page.click("#start")
    page.click("#start-now")
    assert car.await_that(lambda: car.state is DriveState.AUTONOMOUS)
    expect(page.locator("#state")).to_have_text("Driving by itself")


def drive_from_elsewhere(page: Page, car: SimulatedPageCar) -> None:
    car.driver, car.state = "laps 4711", DriveState.AUTONOMOUS
    expect(page.locator("#driver")).to_have_text("Started by laps 4711.")


def until(fact: Callable[[], bool], limit_s: float = 5.0) -> None:
    deadline_s = time.monotonic() + limit_s
    while not fact():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def press_emergency_stop(page: Page) -> float:
    """Put a finger down without lifting it; return when."""
    box = page.locator("#emergency").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    pressed_s = time.monotonic()
    page.mouse.down()
    return pressed_s


def test_start_asks_once_and_then_drives(page: Page, car: SimulatedPageCar) -> None:
    page.click("#start")
    expect(page.locator("#start-now")).to_be_focused()
    assert car.asked == []

    page.click("#start-now")
    assert car.await_that(lambda: car.state is DriveState.AUTONOMOUS)
    asked = [kind for kind in car.asked if kind is not RequestKind.RENEW_LEASE]  # which may come between
    assert asked == [RequestKind.TAKE_LEASE, RequestKind.START]
    expect(page.locator("#driver")).to_contain_text("this page")


def test_not_yet_starts_nothing(page: Page, car: SimulatedPageCar) -> None:
    page.click("#start")
    page.click("#start-not")
    expect(page.locator("#start")).to_be_visible()
    assert car.asked == []


def test_start_waits_for_no_list_and_for_nothing_that_the_browser_keeps(page: Page) -> None:
    """What the page came with is enough: a browser's first look into its own store may take a while."""
    page.add_init_script(
        """window.startWorked = [];
        const getItem = Storage.prototype.getItem;
        Storage.prototype.getItem = function (name) {
            window.startWorked.push(!document.getElementById("start").disabled);
            return getItem.call(this, name);
        };"""
    )
    page.route("**/api/**", lambda route: None)
    page.reload()
    page.click("#start")
    expect(page.locator("#start-now")).to_be_focused()
    until(lambda: len(page.evaluate("window.startWorked")) > 0)
    assert set(page.evaluate("window.startWorked")) == {True}


def test_what_a_driver_has_chosen_is_there_again_at_the_next_visit(page: Page) -> None:
    page.fill("#name", "Anna")
    page.click("#cap-value")  # elsewhere
    page.locator(".view-choice label", has_text="Both").click()
    page.reload()
    expect(page.locator("#name")).to_have_value("Anna")
    expect(page.locator(".view")).to_have_attribute("data-show", "both")
    expect(page.locator("input[name=show][value=both]")).to_be_checked()


def test_pictures_and_states_do_not_make_the_page_lay_itself_out_at_once(
    page: Page, car: SimulatedPageCar
) -> None:
    """A question about a box, in the middle of changes, is answered by laying out: a stop waited for it."""
    page.locator(".view-choice label", has_text="Both").click()
    start_driving(page, car)
    page.locator("#stop").focus()
    page.evaluate(
        """() => {
            window.boxes = 0;
            const box = Object.getOwnPropertyDescriptor(HTMLElement.prototype, "offsetParent");
            Object.defineProperty(HTMLElement.prototype, "offsetParent", {
                get() { window.boxes += 1; return box.get.call(this); },
            });
            const style = window.getComputedStyle;
            window.getComputedStyle = (...words) => { window.boxes += 1; return style(...words); };
            window.pictures = 0;
            new MutationObserver(() => { window.pictures += 1; })
                .observe(document.getElementById("age"), { childList: true });
        }"""
    )
    until(lambda: page.evaluate("window.pictures") > 10)
    assert page.evaluate("window.boxes") <= 1  # the line's colours, once


def test_the_driving_page_renews_its_lease(page: Page, car: SimulatedPageCar) -> None:
    start_driving(page, car)
    renewals = car.asked.count(RequestKind.RENEW_LEASE)
    assert car.await_that(lambda: car.asked.count(RequestKind.RENEW_LEASE) >= renewals + 4, timeout_s=2.0)


def test_a_watching_page_renews_nothing(page: Page, car: SimulatedPageCar) -> None:
    drive_from_elsewhere(page, car)
    assert not car.await_that(lambda: bool(car.asked), timeout_s=0.7)


def test_a_crashed_page_renews_no_more(page: Page, car: SimulatedPageCar, complaints: list[str]) -> None:
    start_driving(page, car)
    with page.expect_event("crash"), contextlib.suppress(PlaywrightError):
        page.goto("chrome://crash")
    time.sleep(0.3)  # what was on its way
    renewals = car.asked.count(RequestKind.RENEW_LEASE)
    assert not car.await_that(lambda: car.asked.count(RequestKind.RENEW_LEASE) > renewals, timeout_s=0.8)
    complaints.clear()


def test_leaving_the_page_stops_the_car_at_once(page: Page, car: SimulatedPageCar) -> None:
    start_driving(page, car)
    page.goto("about:blank")
    assert car.await_that(lambda: car.state is DriveState.DISARMED, timeout_s=1.0)


def test_stop_disarms_and_lets_go(page: Page, car: SimulatedPageCar) -> None:
    start_driving(page, car)
    page.click("#stop")
    assert car.await_that(lambda: car.state is DriveState.DISARMED and car.driver == "")
    expect(page.locator("#state")).to_have_text("Ready")


@pytest.mark.realtime
def test_a_finger_on_the_emergency_stop_stops_before_it_is_lifted(page: Page, car: SimulatedPageCar) -> None:
    start_driving(page, car)
    pressed_s = press_emergency_stop(page)
    assert car.await_that(lambda: bool(car.stops_ns))
    assert car.stops_ns[0] / 1e9 - pressed_s < STOP_LIMIT_S
    page.mouse.up()
    expect(page.locator("#state")).to_have_text("Stopped")
    assert len(car.stops_ns) <= 2  # over the socket and by request


def test_a_watcher_can_stop_the_car(page: Page, car: SimulatedPageCar) -> None:
    drive_from_elsewhere(page, car)
    press_emergency_stop(page)
    assert car.await_that(lambda: car.state is DriveState.FAILSAFE)


@pytest.mark.realtime
def test_space_stops_a_moving_car_wherever_the_focus_is(page: Page, car: SimulatedPageCar) -> None:
    for focus in ("body", "#cap", "#stop", "#emergency"):
        start_driving(page, car)
        page.locator(focus).focus()
        pressed_s = time.monotonic()
        page.keyboard.press("Space")
        assert car.await_that(lambda: bool(car.stops_ns)), focus
        assert car.stops_ns[0] / 1e9 - pressed_s < STOP_LIMIT_S, focus
        expect(page.locator("#state")).to_have_text("Stopped")
        assert RequestKind.DISARM not in car.asked, focus
        assert car.await_that(lambda: len(car.stops_ns) == 2), focus  # over the socket and by request

        page.click("#clear")
        expect(page.locator("#state")).to_have_text("Ready")
        car.stops_ns.clear()
        car.asked.clear()


def test_space_stops_a_standing_car_too(page: Page, car: SimulatedPageCar) -> None:
    expect(page.locator("#emergency")).to_have_accessible_name("Emergency stop tap, or press space")
    page.keyboard.press("Space")
    assert car.await_that(lambda: car.state is DriveState.FAILSAFE)


def test_space_on_a_button_of_a_standing_car_presses_it(page: Page, car: SimulatedPageCar) -> None:
    page.locator("#start").focus()
    page.keyboard.press("Space")
    expect(page.locator("#start-now")).to_be_visible()
    assert car.stops_ns == []


def test_the_key_that_stops_the_car_never_starts_it(page: Page, car: SimulatedPageCar) -> None:
    """The question takes the focus, and a person who thinks better of it presses space."""
    page.click("#start")
    expect(page.locator("#start-now")).to_be_focused()
    page.keyboard.press("Space")
    assert car.await_that(lambda: car.state is DriveState.FAILSAFE)
    expect(page.locator("#state")).to_have_text("Stopped")
    assert RequestKind.START not in car.asked
    page.click("#clear")
    page.click("#start")
    page.keyboard.press("Enter")
    assert car.await_that(lambda: RequestKind.START in car.asked)


def test_enter_on_the_emergency_stop_stops_once(page: Page, car: SimulatedPageCar) -> None:
    page.locator("#emergency").focus()
    page.keyboard.press("Enter")
    assert car.await_that(lambda: bool(car.stops_ns))
    expect(page.locator("#state")).to_have_text("Stopped")
    assert len(car.stops_ns) <= 2  # over the socket and by request


def use_up_every_connection(page: Page) -> None:
    """Ask for more than a browser has connections to one server: six, for all its tabs together."""
    page.evaluate(
        """async () => {
            const { fetchGently } = await import(document.querySelector("link[href$='/link.js']").href);
            for (let i = 0; i < 8; i += 1) {
                fetchGently(`/api/models?held=${i}`, { timeoutMs: 20000 }).catch(() => {});
            }
        }"""
    )


@pytest.mark.realtime
def test_a_stop_leaves_while_waiting_requests_use_up_every_connection(
    page: Page, car: SimulatedPageCar, server: PageServer
) -> None:
    """The socket is none of the six: the page still hears, and its stop goes over it at once."""
    drive_from_elsewhere(page, car)
    use_up_every_connection(page)
    until(lambda: server.wire.held == HTTP_CONNECTIONS)

    pressed_s = press_emergency_stop(page)
    assert car.await_that(lambda: bool(car.stops_ns))
    assert car.stops_ns[0] / 1e9 - pressed_s < STOP_LIMIT_S
    expect(page.locator("#state")).to_have_text("Stopped")


@pytest.mark.realtime
def test_a_stop_leaves_without_a_socket_while_waiting_requests_use_up_every_connection(
    page: Page, car: SimulatedPageCar, server: PageServer, complaints: list[str]
) -> None:
    server.wire.refuses_sockets = True
    page.reload()
    drive_from_elsewhere(page, car)
    use_up_every_connection(page)
    expect(page.locator("#state")).to_have_text("No connection")  # not even a status gets through

    pressed_s = press_emergency_stop(page)
    assert car.await_that(lambda: bool(car.stops_ns))
    assert car.stops_ns[0] / 1e9 - pressed_s < STOP_LIMIT_S
    complaints.clear()  # the refused sockets


def test_without_a_socket_the_page_starts_renews_limits_and_stops_by_post(
    page: Page, car: SimulatedPageCar, server: PageServer, complaints: list[str]
) -> None:
    server.wire.refuses_sockets = True
    page.reload()
    expect(page.locator("#stale")).to_have_text("No picture: the live connection is refused")
    page.locator("#cap").fill("60")
    assert car.await_that(lambda: car.speed_cap_frac == 0.6)
    assert car.driver == ""

    start_driving(page, car)
    renewals = car.asked.count(RequestKind.RENEW_LEASE)
    assert car.await_that(lambda: car.asked.count(RequestKind.RENEW_LEASE) >= renewals + 4)
    page.click("#stop")
    assert car.await_that(lambda: car.state is DriveState.DISARMED and car.driver == "")

    start_driving(page, car)
    page.goto("about:blank")
    assert car.await_that(lambda: car.state is DriveState.DISARMED)
    complaints.clear()  # the refused sockets


@pytest.mark.realtime
def test_a_stop_leaves_while_three_tabs_wait_for_pictures(
    page: Page, car: SimulatedPageCar, server: PageServer
) -> None:
    for _ in range(2):
        page.context.new_page().goto(server.url)
    drive_from_elsewhere(page, car)
    car.picture_stall_s = 20.0
    assert car.await_that(lambda: car.stalled_pictures >= 3)

    pressed_s = press_emergency_stop(page)
    assert car.await_that(lambda: bool(car.stops_ns))
    assert car.stops_ns[0] / 1e9 - pressed_s < STOP_LIMIT_S


def test_a_stopped_car_stays_so_until_somebody_clears_it(page: Page, car: SimulatedPageCar) -> None:
    page.keyboard.press("Space")
    expect(page.locator("#state")).to_have_text("Stopped")
    expect(page.locator("#start")).to_be_hidden()
    expect(page.locator("#stop")).to_be_disabled()
    page.click("#clear")
    expect(page.locator("#state")).to_have_text("Ready")


def test_the_page_lets_go_of_a_car_that_has_stopped(page: Page, car: SimulatedPageCar) -> None:
    start_driving(page, car)
    car.state = DriveState.FAILSAFE
    expect(page.locator("#state")).to_have_text("Stopped")
    page.wait_for_timeout(1000)  # the grace after a start
    renewals = car.asked.count(RequestKind.RENEW_LEASE)
    assert not car.await_that(lambda: car.asked.count(RequestKind.RENEW_LEASE) > renewals, timeout_s=0.6)


def test_the_picture_greys_when_it_is_old_and_recovers(page: Page, car: SimulatedPageCar) -> None:
    expect(page.locator("#age")).to_contain_text("Live")
    car.camera_stopped = True
    expect(page.locator(".view")).to_have_class("view is-stale")
    expect(page.locator("#stale")).to_contain_text("No new picture for")
    assert "grayscale" in page.locator("#picture").evaluate("canvas => getComputedStyle(canvas).filter")

    car.camera_stopped = False
    expect(page.locator(".view")).to_have_class("view")
    expect(page.locator("#age")).to_contain_text("Live")


def test_a_car_that_may_not_start_says_why(page: Page, car: SimulatedPageCar) -> None:
    car.not_ready = ("no policy is loaded; choose one", "no calibration for this car")
    expect(page.locator("#reasons li")).to_have_text(
        ["No policy is loaded; choose one", "No calibration for this car"]
    )
    expect(page.locator("#start")).to_be_disabled()


def test_a_silent_vehicle_is_said_and_comes_back(page: Page, car: SimulatedPageCar) -> None:
    car.silent = True
    expect(page.locator("#state")).to_have_text("The car is silent")
    expect(page.locator("#start")).to_be_disabled()
    car.silent = False
    expect(page.locator("#state")).to_have_text("Ready")


def test_a_stop_that_nobody_confirms_is_said(
    page: Page, car: SimulatedPageCar, complaints: list[str]
) -> None:
    car.silent = True
    page.keyboard.press("Space")
    expect(page.locator("#note")).to_contain_text("use the car's own switch")
    complaints.clear()  # the 503s


@pytest.mark.realtime
def test_a_lost_server_is_said_and_comes_back(
    page: Page, car: SimulatedPageCar, server: PageServer, complaints: list[str]
) -> None:
    server.stop()
    expect(page.locator("#state")).to_have_text("No connection", timeout=LOST_LIMIT_MS)
    expect(page.locator("#start")).to_be_disabled()
    expect(page.locator("#emergency")).to_be_enabled()
    server.start()
    expect(page.locator("#state")).to_have_text("Ready")
    expect(page.locator("#age")).to_contain_text("Live")
    complaints.clear()  # refused connections


def test_the_speed_limit_follows_slider_buttons_and_keys(page: Page, car: SimulatedPageCar) -> None:
    page.click("#cap-more")
    assert car.await_that(lambda: car.speed_cap_frac == 0.35)
    page.locator("#cap").press("ArrowLeft")
    assert car.await_that(lambda: car.speed_cap_frac == 0.3)
    page.locator("#cap").fill("80")
    assert car.await_that(lambda: car.speed_cap_frac == 0.8)
    expect(page.locator("#cap-value")).to_have_text("80 %")


def test_a_watcher_cannot_change_the_speed_limit(page: Page, car: SimulatedPageCar) -> None:
    drive_from_elsewhere(page, car)
    expect(page.locator("#cap")).to_be_disabled()


def test_laps_appear_with_the_best_one(page: Page, car: SimulatedPageCar) -> None:
    expect(page.locator("#lap-list")).to_have_text("No lap yet.")
    car.started_ns = time.monotonic_ns() - int(25.4e9)  # half a second before the third crossing
    expect(page.locator("#lap-list li")).to_have_count(3)
    expect(page.locator("#lap-list li.best")).to_contain_text("Lap 1")
    expect(page.locator("#lap-best")).to_have_text("8.00")
    expect(page.locator("#lap-news")).to_contain_text("Lap 3")


def test_a_car_off_the_track_is_said(page: Page, car: SimulatedPageCar) -> None:
    expect(page.locator("#mishap")).to_be_empty()
    car.off_track = True
    expect(page.locator("#mishap")).to_have_text("off the track")


def test_a_simulated_car_is_marked(page: Page) -> None:
    expect(page.locator("#simulated")).to_be_visible()


def test_a_fresh_load_is_small(page: Page, server: PageServer) -> None:
    requests: list[Request] = []
    page.on("requestfinished", lambda request: requests.append(request))  # noqa: PLW0108 - needs a function
    page.goto(server.url)
    expect(page.locator("#state")).to_have_text("Ready")
    page.goto("about:blank")
    sizes = [request.sizes()["responseBodySize"] for request in requests]
    assert len(sizes) > 5
    assert sum(sizes) < 120_000  # of 300 kB allowed


@pytest.mark.parametrize(
    "page", [{"viewport": PHONE, "has_touch": True}, {"viewport": LAPTOP}], indirect=True
)
def test_nothing_moves_on_the_page_when_the_state_changes(page: Page, car: SimulatedPageCar) -> None:
    expect(page.locator("#age")).to_contain_text("Live")
    page.evaluate(
        """() => {
            window.shift = 0;
            new PerformanceObserver((list) => {
                for (const entry of list.getEntries()) window.shift += entry.value;
            }).observe({ type: "layout-shift" });
        }"""
    )
    drive_from_elsewhere(page, car)
    car.started_ns = time.monotonic_ns() - int(20e9)
    expect(page.locator("#lap-list li")).to_have_count(2)
    car.state = DriveState.FAILSAFE
    expect(page.locator("#state")).to_have_text("Stopped")
    car.state, car.not_ready = DriveState.DISARMED, ("a long reason " * 12, "another long reason " * 6)
    expect(page.locator("#reasons li")).to_have_count(2)
    car.silent = True
    expect(page.locator("#state")).to_have_text("The car is silent")
    assert page.evaluate("window.shift") < 0.01
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize(
    "page", [{"viewport": PHONE}, {"viewport": LAPTOP}], indirect=True, ids=["phone", "laptop"]
)
def test_the_page_is_accessible_in_every_state(page: Page, car: SimulatedPageCar) -> None:
    assert findings(page) == []
    page.click("#start")
    assert findings(page) == []
    page.evaluate("document.getElementById('start-not').click()")  # which a slow check may have seen go
    drive_from_elsewhere(page, car)
    assert findings(page) == []
    car.camera_stopped, car.state = True, DriveState.FAILSAFE
    expect(page.locator("#state")).to_have_text("Stopped")
    expect(page.locator("#stale")).to_be_visible()
    assert findings(page) == []
    car.state, car.not_ready = DriveState.DISARMED, ("a long reason " * 12, "another long reason " * 6)
    expect(page.locator("#reasons li")).to_have_count(2)
    assert findings(page) == []
    car.silent = True
    expect(page.locator("#state")).to_have_text("The car is silent")
    assert findings(page) == []


def test_space_in_a_password_is_a_space_until_the_car_moves(
    chromium: Browser, server: PageServer, car: SimulatedPageCar
) -> None:
    context = chromium.new_context()
    door = context.new_page()
    door.goto(f"{server.url}login")
    field = door.locator("input:visible").first
    field.press("Space")
    expect(field).to_have_value(" ")
    assert car.stops_ns == []

    car.state = DriveState.AUTONOMOUS
    for _ in range(2):  # the first answer may be from just before
        with door.expect_response("**/emergency-stop"):
            pass
    door.wait_for_timeout(100)
    field.press("Space")
    assert car.await_that(lambda: bool(car.stops_ns))
    context.close()


@pytest.mark.parametrize("path", ["", "login"])
def test_the_stop_works_before_the_pages_script_has_come(
    chromium: Browser, server: PageServer, car: SimulatedPageCar, path: str
) -> None:
    context = chromium.new_context(java_script_enabled=False)
    context.add_cookies(browser_cookies(server.app, server.url) if path == "" else [])
    page = context.new_page()
    page.goto(f"{server.url}{path}")
    car.state = DriveState.AUTONOMOUS
    controls = page.locator("#stop, #start").all()
    assert len(controls) == {"": 2, "login": 0}[path]
    for control in controls:
        expect(control).to_be_disabled()  # a press of it would do nothing
    stop = page.get_by_role("button", name="Emergency stop")
    expect(stop).to_have_accessible_name("Emergency stop tap")  # the space bar is the script's
    stop.click()
    assert car.await_that(lambda: car.state is DriveState.FAILSAFE)
    expect(page).to_have_url(f"{server.url}{path}")
    context.close()


def test_who_may_only_watch_sees_the_car_and_the_stop_and_no_other_control(
    chromium: Browser, server: PageServer, car: SimulatedPageCar
) -> None:
    context = chromium.new_context()
    context.add_cookies(browser_cookies(server.app, server.url, "viewer"))
    page = context.new_page()
    page.goto(server.url)
    expect(page.locator("#state")).to_have_text("Ready")
    expect(page.locator("#age")).to_contain_text("Live")
    for control in ("#start", "#stop", "#model", "#cap", "#trim"):
        expect(page.locator(control)).to_be_hidden()
    page.keyboard.press("+")
    page.keyboard.press("Space")
    assert car.await_that(lambda: car.state is DriveState.FAILSAFE)
    expect(page.locator("#state")).to_have_text("Stopped")
    expect(page.locator("#clear")).to_be_hidden()
    assert car.speed_cap_frac == 0.3
    context.close()


def test_a_key_that_is_held_or_pressed_again_starts_nothing(page: Page, car: SimulatedPageCar) -> None:
    """By keyboard alone: the question is asked once, and what loses the focus gives it to the stop."""
    page.locator("#start").focus()
    page.keyboard.down("Enter")
    expect(page.locator("#start-now")).to_be_focused()
    page.keyboard.down("Enter")  # again, without having been let go
    page.keyboard.up("Enter")
    expect(page.locator("#start-now")).to_be_visible()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#start")).to_be_focused()
    assert car.asked == []

    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    assert car.await_that(lambda: car.state is DriveState.AUTONOMOUS)
    expect(page.locator("#emergency")).to_be_focused()
    page.keyboard.press("Shift+Tab")
    expect(page.locator("#stop")).to_be_focused()
    page.keyboard.press("Enter")
    assert car.await_that(lambda: car.state is DriveState.DISARMED)
    expect(page.locator("#emergency")).to_be_focused()


def test_the_state_is_in_sight_wherever_the_page_stands_and_is_said_once(
    page: Page, car: SimulatedPageCar
) -> None:
    page.set_viewport_size(PHONE)
    page.locator("label", has_text="Both").first.click()
    drive_from_elsewhere(page, car)
    page.evaluate(
        """() => {
            window.said = [];
            for (const region of document.querySelectorAll("#state-news, #state-alarm")) {
                const hear = () => region.textContent && window.said.push(region.textContent);
                new MutationObserver(hear).observe(region, { childList: true });
            }
        }"""
    )
    page.evaluate("scrollTo(0, 600)")
    for part in ("#state", "#sentence", "#emergency"):
        expect(page.locator(part)).to_be_in_viewport(ratio=1)
    car.state = DriveState.FAILSAFE
    expect(page.locator("#state")).to_have_text("Stopped")
    page.wait_for_timeout(400)  # several statuses say the same
    said: list[str] = page.evaluate("window.said")
    lost = [words for words in said if words.startswith("No connection")]  # on a starved computer
    heard = [words for words in said if words not in lost]
    stopped = "Stopped. The emergency stop was pressed. Look at the car, then disarm."
    assert set(heard) == {stopped}
    assert len(heard) <= 1 + len(lost)
    expect(page.get_by_role("alert").filter(has_text=stopped)).to_have_count(1)  # before all else
