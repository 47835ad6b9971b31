"""A person's hands on the page: smooth, two fingers at once, and neutral whenever the hands may be gone.

The socket is one of the page's own that records what is sent, so that each message and its order is seen.
"""

import time
from collections.abc import Iterator
from itertools import pairwise

import msgspec
import pytest
from conftest import PHONE, WAIT_MS, PageServer
from playwright.sync_api import Browser, Page, Route, expect
from simulated_page_car import SimulatedPageCar

from tests.unit.webui_visitors import browser_cookies
from vehicle.messages import DriveState

pytestmark = pytest.mark.browser

RECORDING_SOCKET = """
window.sent = [];
window.carState = "manual";
window.leaseMine = true;
window.WebSocket = class extends EventTarget {
  static OPEN = 1;
  constructor(url) {
    super();
    this.readyState = 0;
    this.bufferedAmount = 0;
    if (url.includes("/ws/video")) return;
    setTimeout(() => {
      this.readyState = 1;
      this.dispatchEvent(new Event("open"));
      window.tellStatus = () => this.say({
        kind: "status", server_ns: Math.round(performance.now() * 1e6), silence: "", world: null,
        car: { ...CAR, state: window.carState },
        lease: { driver: "page x", name: "Anna", mine: window.leaseMine, asked_by: window.askedBy ?? [] },
      });
      setInterval(window.tellStatus, 50);
    }, window.opensAfterMs ?? 0);
  }
  say(message) { this.dispatchEvent(new MessageEvent("message", { data: JSON.stringify(message) })); }
  send(text) {
    const message = JSON.parse(text);
    window.sent.push(message);
    if (["drive", "renew_lease"].includes(message.kind)) return;
    const error = window.refusals?.[message.kind] ?? "";
    const reply = () => this.say({ kind: "reply", id: message.id, ok: !error, error });
    if (message.kind === window.heldKind) window.answerHeld = reply;
    else setTimeout(reply);
  }
  close() {}
};
"""

NEUTRAL = {"steering_frac": 0, "throttle_frac": 0}


@pytest.fixture
def driver(
    chromium: Browser, server: PageServer, car: SimulatedPageCar, complaints: list[str]
) -> Iterator[Page]:
    """A phone whose page drives the car by hand."""
    context = chromium.new_context(viewport=PHONE, has_touch=True)
    context.set_default_timeout(WAIT_MS)
    context.add_cookies(browser_cookies(server.app, server.url))
    status = msgspec.json.encode(car.status()).decode()
    context.add_init_script(f"const CAR = {status};\n{RECORDING_SOCKET}")
    page = context.new_page()
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(server.url)
    expect(page.locator("#pad")).to_be_visible()
    yield page
    context.close()
    assert complaints == []


def drives(page: Page) -> list[dict[str, float]]:
    """Return what the car was told so far."""
    sent: list[dict[str, float]] = page.evaluate(
        """sent.filter((one) => one.kind === "drive")
               .map(({ steering_frac, throttle_frac }) => ({ steering_frac, throttle_frac }))"""
    )
    return sent


def wait_for(page: Page, fact: str, timeout_s: float = 5.0) -> None:
    """Wait for an expression to hold; the page's own policy forbids what Playwright would do."""
    deadline_s = time.monotonic() + timeout_s
    while not page.evaluate(fact):
        assert time.monotonic() < deadline_s, f"not in time: {fact}"
        page.wait_for_timeout(20)


def wait_until_it_drives(page: Page) -> None:
    wait_for(page, "sent.filter((one) => one.kind === 'drive').at(-1)?.throttle_frac > 0.2")


class Fingers:
    """Real touches, through the browser's own protocol."""

    def __init__(self, page: Page) -> None:
        self._devtools = page.context.new_cdp_session(page)
        self._page = page

    def centre(self, selector: str) -> dict[str, float]:
        box = self._page.locator(selector).bounding_box()
        assert box is not None
        return {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}

    def put(self, kind: str, *points: dict[str, float]) -> None:
        numbered = [{**point, "id": number} for number, point in enumerate(points)]
        self._devtools.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": numbered})

    def drive_forward(self) -> dict[str, float]:
        start = self.centre("#pad")
        self.put("touchStart", start)
        held = {**start, "y": start["y"] - 90}
        self.put("touchMove", held)
        wait_until_it_drives(self._page)
        return held


def test_a_key_drives_smoothly_and_not_as_a_switch(driver: Page) -> None:
    driver.keyboard.down("ArrowUp")
    wait_until_it_drives(driver)
    driver.keyboard.up("ArrowUp")
    values = [one["throttle_frac"] for one in drives(driver)]
    assert max(b - a for a, b in pairwise(values)) <= 0.15 + 1e-9
    wait_for(driver, "sent.filter((one) => one.kind === 'drive').at(-1).throttle_frac === 0")


def test_a_finger_drives_and_its_lifting_rolls_out(driver: Page) -> None:
    fingers = Fingers(driver)
    fingers.drive_forward()
    fingers.put("touchEnd")
    wait_for(driver, "sent.filter((one) => one.kind === 'drive').at(-1).throttle_frac === 0")


def test_a_second_finger_on_the_emergency_stop_stops_while_the_first_still_drives(
    driver: Page, car: SimulatedPageCar
) -> None:
    fingers = Fingers(driver)
    held = fingers.drive_forward()
    fingers.put("touchStart", held, fingers.centre("#emergency"))

    assert car.await_that(lambda: bool(car.stops_ns))
    kinds = driver.evaluate("sent.map((one) => one.kind)")
    assert "emergency_stop" in kinds  # over the socket too
    assert drives(driver)[-1] == NEUTRAL
    assert car.state is DriveState.FAILSAFE


@pytest.mark.parametrize(
    "gone",
    [
        "window.dispatchEvent(new Event('blur'))",
        "window.dispatchEvent(new Event('pagehide'))",
        "window.dispatchEvent(new Event('gamepaddisconnected'))",
        "document.dispatchEvent(new Event('visibilitychange'))",
        "document.dispatchEvent(new Event('freeze'))",
    ],
)
def test_whatever_takes_the_hands_away_is_neutral_at_once(driver: Page, gone: str) -> None:
    driver.keyboard.down("ArrowUp")
    driver.keyboard.down("ArrowLeft")
    wait_until_it_drives(driver)
    count = driver.evaluate(f"{gone}; sent.filter((one) => one.kind === 'drive').length")
    driver.wait_for_timeout(200)
    assert drives(driver)[count - 1] == NEUTRAL  # in the same breath
    assert [one for one in drives(driver)[count:] if one != NEUTRAL] == []


CONTROLLER = """
window.controller = {
  connected: true, mapping: "standard", axes: [0, 0, 0, 0],
  buttons: Array.from({ length: 17 }, () => ({ value: 0, pressed: false })),
};
navigator.getGamepads = () => [null, controller];
"""


def test_a_game_controller_drives_is_neutral_when_it_goes_and_stops_by_its_button(
    driver: Page, car: SimulatedPageCar
) -> None:
    driver.evaluate(CONTROLLER)
    driver.wait_for_timeout(100)  # as it is found it wants nothing
    driver.evaluate("controller.axes = [-0.7, 0, 0, 0]; controller.buttons[7].value = 1")
    wait_until_it_drives(driver)
    assert drives(driver)[-1]["steering_frac"] > 0.2
    driver.evaluate("controller.connected = false; dispatchEvent(new Event('gamepaddisconnected'))")
    count = len(drives(driver))
    driver.wait_for_timeout(200)
    assert [one for one in drives(driver)[count - 1 :] if one != NEUTRAL] == []

    driver.evaluate("controller.connected = true")  # with its trigger held, as it went
    driver.wait_for_timeout(200)
    assert [one for one in drives(driver)[count - 1 :] if one != NEUTRAL] == []
    driver.evaluate("controller.buttons[1].pressed = true")
    assert car.await_that(lambda: bool(car.stops_ns))


def test_the_controllers_button_stops_a_car_that_the_policy_drives(
    driver: Page, car: SimulatedPageCar
) -> None:
    driver.evaluate(f"carState = 'autonomous'; {CONTROLLER}")
    expect(driver.locator("#pad")).to_be_hidden()
    driver.wait_for_timeout(100)
    driver.evaluate("controller.buttons[1].pressed = true")
    assert car.await_that(lambda: bool(car.stops_ns))


@pytest.mark.parametrize("kind", ["pointercancel", "lostpointercapture"])
def test_a_finger_that_the_system_takes_away_is_neutral_at_once(driver: Page, kind: str) -> None:
    fingers = Fingers(driver)
    fingers.drive_forward()
    driver.evaluate(
        """(kind) => document.getElementById("pad").addEventListener(kind, () => {
            window.gone = sent.filter((one) => one.kind === "drive").length;
        }, { once: true })""",
        kind,
    )
    if kind == "pointercancel":
        fingers.put("touchCancel")
    else:
        driver.evaluate("for (let id = 0; id < 20; id += 1) try { pad.releasePointerCapture(id) } catch {}")
        fingers.put("touchMove", {**fingers.centre("#pad"), "y": fingers.centre("#pad")["y"] - 80})
    wait_for(driver, "window.gone !== undefined")
    driver.wait_for_timeout(200)
    count = driver.evaluate("window.gone")
    assert [one for one in drives(driver)[count - 1 :] if one != NEUTRAL] == []


def test_space_in_a_text_field_stops_a_car_that_moves(driver: Page, car: SimulatedPageCar) -> None:
    driver.evaluate("document.getElementById('name').disabled = false")
    driver.locator("#name").focus()
    driver.keyboard.press("Space")
    assert car.await_that(lambda: bool(car.stops_ns))


def test_a_car_that_is_not_driven_by_hand_is_told_nothing(driver: Page) -> None:
    driver.evaluate("carState = 'autonomous'")
    expect(driver.locator("#pad")).to_be_hidden()
    count = len(drives(driver))
    driver.keyboard.down("ArrowUp")
    driver.wait_for_timeout(300)
    assert len(drives(driver)) == count


def test_a_watcher_cannot_drive_and_may_ask_for_the_wheel(driver: Page) -> None:
    driver.evaluate("leaseMine = false")
    expect(driver.locator("#pad")).to_be_hidden()
    expect(driver.locator("#wheel-words")).to_have_text("Anna has the wheel.")
    driver.click("#wheel-ask")
    wait_for(driver, "sent.some((one) => one.kind === 'ask_lease')")


def test_the_driver_hands_the_wheel_over_after_a_stop(driver: Page) -> None:
    driver.evaluate("askedBy = [{ source: 'page y', name: 'Ben' }]")
    expect(driver.locator("#request-words")).to_contain_text("Ben asks for the wheel")
    driver.press("#request-yes", "Enter")
    wait_for(driver, "sent.some((one) => one.kind === 'yield_lease' && one.to === 'page y')")
    driver.evaluate("askedBy = []")
    expect(driver.locator("#emergency")).to_be_focused()  # the button that had the focus is gone
    kinds = driver.evaluate("sent.map((one) => one.kind)")
    assert kinds.index("stop") < kinds.index("yield_lease")
    assert "release_lease" not in kinds  # whoever has let go has nothing to hand over


LATE = "This came 0.4 s after the page last heard of the car, allowed 0.3 s."
BEN_ASKS = "askedBy = [{ source: 'page y', name: 'Ben' }]"
RENEWALS = "sent.filter((one) => one.kind === 'renew_lease').length"
YESES = "sent.filter((one) => one.kind === 'yield_lease' && one.to === 'page y').length"


def say_yes_too_late(driver: Page) -> None:
    driver.evaluate("(late) => { window.refusals = { yield_lease: late }; }", LATE)
    driver.evaluate(BEN_ASKS)
    expect(driver.locator("#request-words")).to_contain_text("Ben asks for the wheel")
    driver.press("#request-yes", "Enter")
    expect(driver.locator("#note")).to_have_text(f"Not handed over. {LATE}")
    driver.evaluate("carState = 'disarmed'")
    expect(driver.locator("#pad")).to_be_hidden()


def wait_until_the_wheel_is_kept(driver: Page) -> None:
    renewals = driver.evaluate(RENEWALS)
    wait_for(driver, f"{RENEWALS} > {renewals + 3}")


def assert_the_wheel_is_not_kept(driver: Page) -> None:
    driver.wait_for_timeout(100)
    renewals = driver.evaluate(RENEWALS)
    driver.wait_for_timeout(800)
    assert driver.evaluate(RENEWALS) == renewals


def test_a_yes_that_came_too_late_says_so_and_may_be_said_again_at_once(driver: Page) -> None:
    say_yes_too_late(driver)
    wait_until_the_wheel_is_kept(driver)
    expect(driver.locator("#request-words")).to_contain_text("Ben asks for the wheel")
    expect(driver.locator("#request-yes")).to_be_focused()

    driver.evaluate("window.refusals = {}")
    driver.keyboard.press("Enter")
    wait_for(driver, f"{YESES} === 2")
    expect(driver.locator("#note")).to_be_empty()
    assert_the_wheel_is_not_kept(driver)  # though the car has not told yet that another has it


def test_a_yes_that_came_too_late_has_the_focus_again_when_its_question_was_gone_meanwhile(
    driver: Page,
) -> None:
    """As where the lease ran out before the car refused."""
    driver.evaluate("(late) => { window.refusals = { yield_lease: late }; }", LATE)
    driver.evaluate(f"window.heldKind = 'yield_lease'; {BEN_ASKS}")
    expect(driver.locator("#request-yes")).to_be_visible()
    driver.press("#request-yes", "Enter")
    wait_for(driver, f"{YESES} === 1")
    driver.evaluate("askedBy = []")
    expect(driver.locator("#emergency")).to_be_focused()
    driver.evaluate(BEN_ASKS)
    expect(driver.locator("#request-yes")).to_be_visible()
    driver.evaluate("answerHeld()")
    expect(driver.locator("#request-yes")).to_be_focused()
    expect(driver.locator("#note")).to_contain_text("Not handed over.")


def test_after_a_late_yes_the_wheel_is_kept_no_longer_than_somebody_asks_for_it(driver: Page) -> None:
    say_yes_too_late(driver)
    wait_until_the_wheel_is_kept(driver)
    driver.evaluate("askedBy = []")
    assert_the_wheel_is_not_kept(driver)


def test_after_a_late_yes_the_wheel_is_not_kept_for_ever(driver: Page) -> None:
    say_yes_too_late(driver)
    wait_until_the_wheel_is_kept(driver)
    driver.evaluate(
        """() => {
            const now = performance.now.bind(performance);
            performance.now = () => now() + 8000;
            tellStatus();
        }"""
    )
    assert_the_wheel_is_not_kept(driver)
    expect(driver.locator("#request-yes")).to_be_visible()


def test_every_command_says_what_the_page_had_seen(driver: Page) -> None:
    wait_for(driver, "sent.filter((one) => one.kind === 'drive').length > 3")
    echoes = driver.evaluate("sent.map((one) => one.echo_ns)")
    assert min(echoes) > 0
    assert echoes == sorted(echoes)


def test_a_page_that_hears_of_the_car_by_its_socket_asks_for_no_status(driver: Page) -> None:
    asked: list[str] = []
    driver.on("request", lambda request: asked.append(request.url))
    driver.reload()
    wait_for(driver, "sent.filter((one) => one.kind === 'drive').length > 15")  # half a second of them
    assert any("/api/models" in url for url in asked)
    assert not [url for url in asked if "/api/status" in url]


def test_an_answer_that_the_socket_has_overtaken_changes_nothing(driver: Page, server: PageServer) -> None:
    """Before its socket is open a page asks by request; that answer may come after newer ones."""
    held: list[Route] = []
    driver.route("**/api/status?*", lambda route: held.append(route))  # noqa: PLW0108 - needs a function
    driver.add_init_script("window.opensAfterMs = 1000")
    driver.reload()
    expect(driver.locator("#pad")).to_be_visible()
    assert held
    for route in held:
        route.continue_()  # it says that the car is disarmed
    driver.evaluate(
        """() => new MutationObserver(() => { window.wentAway ||= pad.hidden; })
            .observe(pad, { attributes: true })"""
    )
    driver.wait_for_timeout(500)
    assert not driver.evaluate("window.wentAway")
