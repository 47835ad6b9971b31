"""The calibration page in a real browser: the walk to a saved file and back, and what stops it."""

import json
import math
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from accessibility import findings, fits
from conftest import LAPTOP, PHONE, WAIT_MS, PageServer, is_complaint
from playwright.sync_api import Browser, Page, Route, expect

from calibration import store
from calibration.car import HIL_AWS, HIL_STANDARD, CarCalibration, ThrottleCalibration
from tests.unit.webui_visitors import browser_cookies
from vehicle.messages import DriveState, RequestKind
from webui import create_app

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
from calibrating_car import CalibratingCar

pytestmark = pytest.mark.browser
HOLD_MS = 1300
ATTEMPTS = 4
SILENCE_S, LEASE_S = (
    0.8,
    1.0,
)  # longer than a car's: here the page is tried, on a computer that may be starved
HELD_UP_MS = 1400
PATIENCE_MS = 20_000  # a starved computer slows the world down
CUT, LATE, BAD = "ERR_INTERNET_DISCONNECTED", "409 (CONFLICT)", "400 (BAD REQUEST)"
HIDE = """
Object.defineProperty(document, "hidden", {value: true, configurable: true});
document.dispatchEvent(new Event("visibilitychange"));
"""


class Complaints(list[str]):
    """What a browser's console complained of, but for what a test provokes.

    These tests run on the clock: on a starved computer a page is late, which the server rightly refuses.
    """

    provoked: tuple[str, ...] = (LATE,)

    def append(self, text: str) -> None:
        if not any(part in text for part in self.provoked):
            super().append(text)


@pytest.fixture
def complaints() -> Complaints:
    return Complaints()


@pytest.fixture
def car(tmp_path: Path, request: pytest.FixtureRequest) -> CalibratingCar:
    car = CalibratingCar(tmp_path / "blue.json", **getattr(request, "param", {}))
    car.silence_s, car.lease_s = SILENCE_S, LEASE_S
    return car


@pytest.fixture
def server(car: CalibratingCar) -> Iterator[PageServer]:
    server = PageServer(create_app(car))
    yield server
    server.stop()


@pytest.fixture
def page(
    chromium: Browser, server: PageServer, complaints: Complaints, request: pytest.FixtureRequest
) -> Iterator[Page]:
    context = chromium.new_context(**{"viewport": LAPTOP, **getattr(request, "param", {})})
    context.set_default_timeout(WAIT_MS)
    context.add_cookies(browser_cookies(server.app, server.url))
    page = context.new_page()
    page.on("console", lambda message: complaints.append(message.text) if is_complaint(message) else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"{server.url}calibrate")
    page.wait_for_selector("#calibrate[data-view=rest]")
    yield page
    context.close()
    assert complaints == []


def at_step(page: Page, title: str) -> None:
    expect(page.locator("#step-title")).to_have_text(title, timeout=PATIENCE_MS)


def hold(page: Page, selector: str, ms: int = HOLD_MS) -> None:
    page.locator(selector).scroll_into_view_if_needed()
    box = page.locator(selector).bounding_box()
    assert box is not None
    title = page.locator("#step-title")
    before = title.text_content() or ""
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    if ms == HOLD_MS:  # until it is confirmed, which takes longer on a starved computer
        expect(title).not_to_have_text(before, timeout=PATIENCE_MS)
    else:
        page.wait_for_timeout(ms)
    page.mouse.up()


def answer(page: Page, title: str, pulse_us: float) -> None:
    """Go to a pulse and use it; go on as a person does where a busy computer let the car go."""
    at_step(page, title)
    there = re.compile(f"now {pulse_us:.0f}$")
    axis = page.locator("#steering-axis:not([data-off]), #throttle-axis:not([data-off])")
    for attempt in range(ATTEMPTS):
        try:
            expect(page.locator("#slider:enabled, #go-on").first).to_be_visible(timeout=PATIENCE_MS)
            if page.locator("#go-on").is_visible():
                page.click("#go-on")
            expect(page.locator("#slider")).to_be_enabled()
            page.locator("#slider").fill(str(round(pulse_us)))
            expect(axis).to_have_attribute("aria-label", there)  # the car is there
            page.click("#next")
            expect(page.locator("#step-title")).not_to_have_text(title)
            break
        except AssertionError:
            if attempt == ATTEMPTS - 1:
                raise


def walk_throttle(page: Page, wanted: ThrottleCalibration) -> None:
    """Answer every step after neutral."""
    answer(page, "Where forward begins", wanted.neutral_us + wanted.forward_dead_band_us)
    answer(page, "Full forward", wanted.forward_us)
    at_step(page, "What reverse does")
    page.click("#trial-choices button:has-text('second pull')")
    page.check("#brakes")
    page.click("#next")
    answer(page, "Where reverse begins", wanted.neutral_us - wanted.reverse_dead_band_us)
    answer(page, "Full reverse", wanted.reverse_us)


@pytest.mark.parametrize("car", [{"is_calibrated": False}], indirect=True)
def test_nothing_moves_before_a_button_was_held_for_more_than_a_second(
    page: Page, car: CalibratingCar
) -> None:
    expect(page.locator("[data-walk=steering]")).to_be_hidden()  # a fresh car walks through all of it
    page.click("[data-walk=all]")
    at_step(page, "Which car is it?")
    expect(page.locator("#next")).to_be_disabled()
    page.click("#choice button:has-text('Another RC car')")
    page.click("#next")
    at_step(page, "Wheels off the ground")
    expect(page.locator("#next")).to_be_hidden()
    hold(page, "#hold", 300)  # too short
    at_step(page, "Wheels off the ground")
    assert car.kinds == []


def test_history_says_who_and_when_and_undo_goes_back(page: Page, car: CalibratingCar) -> None:
    first = store.save(car.path, HIL_STANDARD, saved_by="Anna", saved_at="2026-05-01T12:00:00+00:00")
    store.save(car.path, HIL_AWS, saved_by="Ben")
    page.reload()
    expect(page.locator("#history .who")).to_have_text(["Ben", "Anna"])
    expect(page.locator("#history .when").last).to_contain_text("1 May 2026")
    page.click("#undo")
    expect(page.locator("#toast-words")).to_have_text("Version 1 is in force again.")
    assert car.calibration == first


def begin_steering(page: Page) -> None:
    page.click("[data-walk=steering]")
    hold(page, "#hold")
    at_step(page, "Wheels straight ahead")
    expect(page.locator("#slider")).to_be_enabled()


def test_nudges_by_button_key_and_slider_move_the_pulse_and_home_rests_it(
    page: Page, car: CalibratingCar
) -> None:
    begin_steering(page)
    for press, pulse_us in (
        ("[data-nudge='-25']", 1475),  # to the left, where this car's longer pulses are
        ("[data-nudge='5']", 1470),
        ("[data-nudge='-1']", 1471),
    ):
        page.click(press)
        assert car.wait_status(lambda status, us=pulse_us: status.steering_us == us, 2.0)
    for key, pulse_us in (("ArrowLeft", 1472), ("Shift+ArrowRight", 1467), ("PageDown", 1492)):
        page.keyboard.press(key)
        assert car.wait_status(lambda status, us=pulse_us: status.steering_us == us, 2.0)
    page.keyboard.press("Home")
    assert car.wait_status(lambda status: status.steering_us == 1450.0, 2.0)
    expect(page.locator("#pulse-word")).to_have_text("at rest")
    assert all(
        not fields.get("throttle_us") for kind, fields in car.asked if kind is RequestKind.CALIBRATION_PULSE
    )


def test_a_finger_that_slips_answers_one_step(page: Page) -> None:
    begin_steering(page)
    page.locator("#next").evaluate("(button) => { button.click(); button.click(); }")
    at_step(page, "As far left as it goes")
    page.wait_for_timeout(300)  # the second answer would have come by now
    at_step(page, "As far left as it goes")


TURNED = (
    '[...document.querySelectorAll("#car g[transform]")]'
    '.map((wheel) => Math.sign(-parseFloat(wheel.getAttribute("transform").slice(7))))'
)
"""The drawn front wheels: 1 turned to the left, -1 to the right."""


def drag_thumb(page: Page, from_frac: float, to_frac: float) -> None:
    """Drag the slider's thumb, by shares of its way from the left."""
    box = page.locator("#slider").bounding_box()
    assert box is not None
    at = [
        (box["x"] + 17 + share * (box["width"] - 34), box["y"] + box["height"] / 2)
        for share in (from_frac, to_frac)
    ]
    page.mouse.move(*at[0])
    page.mouse.down()
    page.mouse.move(*at[1], steps=4)
    page.mouse.up()


@pytest.mark.parametrize("numbers", [HIL_AWS, HIL_STANDARD], ids=lambda numbers: numbers.name)
def test_what_is_dragged_to_the_left_turns_the_wheels_left_whatever_the_sign_of_the_pulse(
    page: Page, car: CalibratingCar, numbers: CarCalibration
) -> None:
    car.lease_s = car.silence_s = 60.0  # it is the sides that are tried here
    store.save(car.path, numbers)
    car.calibration = numbers
    page.reload()
    begin_steering(page)
    steering = numbers.steering
    rest = (steering.center_us - 800) / 1400  # the middle of the servo's way need not be the car's
    rest = rest if steering.left_us < steering.center_us else 1 - rest
    for aside, side, word in ((-0.15, 1, "left"), (0.15, -1, "right")):
        drag_thumb(page, rest, rest + aside)
        end_us = steering.left_us if side == 1 else steering.right_us
        wanted = math.copysign(1.0, end_us - steering.center_us)
        assert car.wait_status(
            lambda status, w=wanted: (status.steering_us - steering.center_us) * w > 150, 20.0
        )
        page.wait_for_function(f"() => {TURNED}.every((turned) => turned === {side})")
        expect(page.locator("#pulse-word")).to_contain_text(f"to the {word}")
        page.keyboard.press("Home")
        expect(page.locator("#pulse-word")).to_have_text("at rest")


def test_a_car_whose_wheels_go_the_other_way_turns_the_page_round(page: Page, car: CalibratingCar) -> None:
    car.lease_s = car.silence_s = 60.0
    begin_steering(page)
    page.click("[data-nudge='-25']")
    assert car.wait_status(lambda status: status.steering_us == 1475.0, 2.0)
    page.wait_for_function(f"() => {TURNED}.every((turned) => turned === 1)")
    page.click("#swap")
    expect(page.locator("#pulse-word")).to_have_text("25 to the right")  # where it stood all along
    page.wait_for_function(f"() => {TURNED}.every((turned) => turned === -1)")
    assert car.status().steering_us == 1475.0
    page.click("[data-nudge='-25']")
    assert car.wait_status(lambda status: status.steering_us == 1450.0, 2.0)
    page.click("#next")
    answer(page, "As far left as it goes", 1210)
    at_step(page, "As far right as it goes")
    page.click("#to-mark")
    assert car.wait_status(lambda status: status.steering_us == 1700.0, 2.0)


@pytest.mark.parametrize(
    "leave",
    [
        lambda page: page.click("#leave"),
        lambda page: page.goto("about:blank"),
        lambda page: page.evaluate("dispatchEvent(new Event('blur'))"),
        lambda page: page.evaluate(HIDE),
        lambda page: page.context.set_offline(True),
    ],
    ids=["button", "page", "blur", "lid", "network"],
)
def test_leaving_brings_the_pulse_to_rest(
    page: Page, car: CalibratingCar, leave, complaints: Complaints
) -> None:
    complaints.provoked = (CUT, LATE)
    begin_steering(page)
    page.click("[data-nudge='-25']")
    assert car.wait_status(lambda status: status.steering_us == 1475.0, 2.0)
    leave(page)
    assert car.wait_status(lambda status: status.steering_us == 1450.0, 2.0)
    page.context.set_offline(False)


def test_the_walk_holds_on_over_the_socket_and_asks_for_nothing_else(page: Page, car: CalibratingCar) -> None:
    begin_steering(page)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    renewals = len(car.asked) - len(car.kinds)
    page.click("[data-nudge='-25']")
    assert car.wait_status(lambda status: status.steering_us == 1475.0, 2.0)
    assert car.wait_status(lambda _: len(car.asked) - len(car.kinds) >= renewals + 5, 3.0)
    assert asked == []


def test_where_sockets_are_refused_the_walk_goes_on_by_post(
    page: Page, car: CalibratingCar, server: PageServer, complaints: Complaints
) -> None:
    complaints.provoked = (LATE, "WebSocket")
    server.wire.refuses_sockets = True
    page.reload()
    begin_steering(page)
    page.click("[data-nudge='-25']")
    assert car.wait_status(lambda status: status.steering_us == 1475.0, 2.0)
    page.wait_for_timeout(1000 * LEASE_S)
    assert car.state is DriveState.CALIBRATING
    page.click("#leave")
    assert car.wait_status(lambda status: status.state is DriveState.DISARMED, 2.0)
    page.click("#open-floor")
    page.click("#ready")
    expect(page.locator("#floor-problem")).to_contain_text("needs the live connection")


def test_an_end_cannot_be_where_the_actuator_rests(page: Page, car: CalibratingCar) -> None:
    begin_steering(page)
    page.click("#next")
    at_step(page, "As far left as it goes")
    expect(page.locator("#next")).to_be_enabled()
    page.click("#next")
    expect(page.locator("#problem")).to_contain_text("This is where it rests")
    at_step(page, "As far left as it goes")


def test_a_page_that_was_held_up_hears_the_car_again_and_goes_on_on_purpose(
    page: Page, car: CalibratingCar
) -> None:
    begin_steering(page)
    page.click("[data-nudge='25']")
    page.evaluate(f"const end = performance.now() + {HELD_UP_MS}; while (performance.now() < end);")
    expect(page.locator("#go-on")).to_be_visible()
    assert car.status().steering_us == 1450.0
    page.click("#go-on")
    expect(page.locator("#slider")).to_be_enabled()
    page.click("[data-nudge='-5']")
    assert car.wait_status(lambda status: status.steering_us == 1455.0, 2.0)


def hear_of_rest(route: Route) -> None:
    """Answer as a car did before it moved; let a stop itself pass."""
    if route.request.method == "GET":
        route.fulfill(json={"may_move": False})
    else:
        route.continue_()


@pytest.mark.parametrize("stop", ["key", "tap"])
def test_the_emergency_stop_works_in_the_middle_of_the_walk_and_it_goes_on(
    page: Page, car: CalibratingCar, stop: str
) -> None:
    if stop == "key":  # the page itself knows that it moves the car, before anybody tells it
        page.route("**/emergency-stop", hear_of_rest)
    begin_steering(page)
    page.click("[data-nudge='25']")
    if stop == "key":
        page.focus("#slider")
        page.keyboard.press("Space")
    else:
        page.locator("#emergency").dispatch_event("pointerdown")
    expect(page.locator("#go-on")).to_be_visible()
    assert car.stops >= 1
    assert car.state is DriveState.FAILSAFE
    expect(page.locator("#slider")).to_be_disabled()
    page.click("#go-on")
    expect(page.locator("#step-title")).to_be_focused()  # which the button that has gone had
    expect(page.locator("#slider")).to_be_enabled()
    assert car.state is DriveState.CALIBRATING
    page.click("#leave")
    expect(page.locator("#car-name")).to_be_focused()


def test_the_trials_of_reverse_pull_only_while_they_are_held(page: Page, car: CalibratingCar) -> None:
    page.click("[data-walk=throttle]")
    hold(page, "#hold")
    throttle = HIL_AWS.throttle
    answer(page, "Motor at rest", throttle.neutral_us)
    answer(page, "Where forward begins", throttle.neutral_us - 8)
    answer(page, "Full forward", throttle.forward_us)
    at_step(page, "What reverse does")
    expect(page.locator("[data-trial=twice]")).to_be_enabled()
    expect(page.locator("#next")).to_be_disabled()
    hold(page, "[data-trial=twice]", 1500)
    assert car.wait_status(lambda status: status.throttle_us == 1446.0, 2.0)
    page.wait_for_timeout(300)
    pulses = [fields["throttle_us"] for kind, fields in car.asked if kind is RequestKind.CALIBRATION_PULSE]
    back_us = 1446.0 + 0.6 * 135.0
    assert pulses[-4:] == [back_us, 0.0, back_us, 0.0]


def test_a_file_is_looked_at_before_it_is_saved_and_a_bad_one_says_what_is_wrong(
    page: Page, car: CalibratingCar, complaints: Complaints
) -> None:
    def choose(content: bytes) -> None:
        page.set_input_files("#file", {"name": "c.json", "mimeType": "application/json", "buffer": content})

    complaints.provoked = (BAD, LATE)
    choose(b'{"Calibration": {"Servo": {}}}')
    expect(page.locator("#trouble")).to_contain_text("Calibration.Servo needs min, mid, max and polarity")
    choose(store.encode(HIL_STANDARD))
    at_step(page, "Look, then save")
    expect(page.locator("#review .is-new th").first).to_have_text("Left")
    assert not car.path.exists()
    page.click("#next")
    expect(page.locator("#toast-words")).to_be_visible()
    assert car.calibration.throttle == HIL_STANDARD.throttle
    with page.expect_download() as download:
        page.click("#export")
    assert json.loads(Path(download.value.path()).read_text())["version"] == 1


def test_a_test_drive_moves_only_while_a_button_is_held_and_measures_a_speed(
    page: Page, car: CalibratingCar
) -> None:
    page.click("#open-floor")
    page.click("#ready")
    expect(page.locator("#ways")).to_be_visible()
    assert car.hand == (0.0, 0.0)
    hold(page, "[data-steer='1']", 400)
    driven = [fields for kind, fields in car.asked if kind is RequestKind.DRIVE]
    assert {fields["steering_frac"] for fields in driven} == {0.0, 1.0}
    assert car.wait_status(lambda status: car.hand == (0.0, 0.0), 2.0)

    page.keyboard.press("m")
    page.wait_for_timeout(400)
    page.keyboard.press("m")
    page.fill("#distance", "0.2")
    page.click("#add-speed")
    expect(page.locator("#speeds li")).to_have_count(2)  # and the one that the car was built with
    page.click("#save-speeds")
    at_step(page, "Look, then save")
    assert car.wait_status(lambda status: status.state is DriveState.DISARMED, 2.0)
    page.click("#next")
    expect(page.locator("#toast-words")).to_be_visible()
    table = car.calibration.speed_table
    assert table is not None
    assert [share for share, _ in table.points] == [0.0, 0.15, 1.0]


@pytest.mark.parametrize(
    "page", [{"viewport": PHONE}, {"viewport": LAPTOP}], ids=["phone", "laptop"], indirect=True
)
def test_every_step_is_accessible_and_fits_the_screen(page: Page, car: CalibratingCar) -> None:
    car.lease_s = car.silence_s = 60.0  # the check holds the page's script up for longer than a lease lasts

    def look() -> None:
        assert findings(page) == []
        assert fits(page)

    look()
    page.click("[data-walk=throttle]")
    look()
    hold(page, "#hold")
    answer(page, "Motor at rest", 1446.0)
    at_step(page, "Where forward begins")
    expect(page.locator("#slider")).to_be_enabled()
    look()
    page.click("[data-nudge='25']")
    page.click("#next")
    answer(page, "Full forward", 1311.0)
    at_step(page, "What reverse does")
    expect(page.locator("[data-trial=back]")).to_be_enabled()
    look()
    car.emergency_stop()
    expect(page.locator("#go-on")).to_be_visible()
    look()
    page.click("#leave")
    page.click("#open-floor")
    look()
