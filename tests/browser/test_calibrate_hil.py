"""The calibration page against the real vehicle and the board's real bytes: from nothing to driving."""

from collections.abc import Iterator

import pytest
from conftest import LAPTOP, PageServer
from playwright.sync_api import Browser, Page, expect
from test_calibrate_page import CUT, LATE, PATIENCE_MS, Complaints, answer, at_step, hold, walk_throttle

from calibration import store
from calibration.car import HIL_STANDARD
from tests.hil.threaded_car import ThreadedCar, threaded_car
from tests.unit.webui_visitors import browser_cookies
from vehicle.messages import DriveState
from webui import create_app

pytestmark = pytest.mark.browser


@pytest.fixture
def complaints() -> Complaints:
    return Complaints()


@pytest.fixture
def car() -> Iterator[ThreadedCar]:
    with threaded_car(wiring="standard", faults=("board=not_stored",), is_calibrated=False) as car:
        yield car


@pytest.fixture
def page(chromium: Browser, car: ThreadedCar, complaints: Complaints) -> Iterator[Page]:
    server = PageServer(create_app(car, clock_ns=car.now_ns))
    context = chromium.new_context(viewport=LAPTOP)
    context.set_default_timeout(PATIENCE_MS)
    context.add_cookies(browser_cookies(server.app, server.url))
    page = context.new_page()
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"{server.url}calibrate")
    page.wait_for_selector("#calibrate[data-view=rest]")
    yield page
    context.close()
    server.stop()
    assert complaints == []


def cut_the_network(page: Page, car: ThreadedCar) -> None:
    """Cut it while the motor turns: neutral in time by the board's own diary; then go on on purpose."""
    at_step(page, "Where forward begins")
    expect(page.locator("#slider")).to_be_enabled(timeout=PATIENCE_MS)
    page.click("[data-nudge='25']")
    assert car.wait_status(lambda status: status.throttle_us == 1525.0, 5.0)
    with car.paused():
        page.context.set_offline(True)
        gone_ns = car.rig.now_ns
    assert car.wait_status(lambda status: status.state is DriveState.FAILSAFE, 10.0)
    with car.paused():
        assert 0.0 < car.rig.neutral_after_s(gone_ns) <= 0.3
    page.context.set_offline(False)
    page.click("#go-on")
    expect(page.locator("#slider")).to_be_enabled(timeout=PATIENCE_MS)


def test_a_fresh_car_is_calibrated_on_the_page_and_drives_without_a_restart(
    page: Page, car: ThreadedCar, complaints: Complaints
) -> None:
    complaints.provoked = (CUT, LATE)
    rig, wanted = car.rig, HIL_STANDARD
    page.click("[data-walk=all]")
    page.click("#choice button:has-text('Another RC car')")
    page.click("#next")
    hold(page, "#hold")
    hold(page, "#hold")
    answer(page, "Wheels straight ahead", wanted.steering.center_us)
    answer(page, "As far left as it goes", wanted.steering.left_us)
    answer(page, "As far right as it goes", wanted.steering.right_us)
    at_step(page, "Speed controller on")
    with car.paused():
        throttle_us = {pulse[2] for pulse in rig.pulses() if pulse[2]}
        steering_us = {pulse[1] for pulse in rig.pulses()}
    assert throttle_us == {1500.0}  # nothing but the steering has moved
    assert {wanted.steering.left_us, wanted.steering.right_us} <= steering_us
    hold(page, "#hold")
    throttle_from_ns = rig.now_ns
    answer(page, "Motor at rest", wanted.throttle.neutral_us)
    cut_the_network(page, car)
    walk_throttle(page, wanted.throttle)
    page.fill("#by", "Anna")
    page.click("#next")
    expect(page.locator("#toast-words")).to_have_text("Saved as version 1. The board has it.")

    saved = store.load(rig.vehicle.calibrations.path)
    assert (saved.steering, saved.throttle) == (wanted.steering, wanted.throttle)
    with car.paused():
        pulses = rig.pulses(throttle_from_ns)
    assert {pulse[1] for pulse in pulses[50:]} == {wanted.steering.center_us}
    assert wanted.throttle.forward_us in {pulse[2] for pulse in pulses}

    page.click("#open-floor")
    page.click("#ready")
    expect(page.locator("#ways")).to_be_visible(timeout=PATIENCE_MS)
    with car.paused():
        rig.world.control("reset")  # put back on the track, with room ahead
    hold(page, "[data-steer='0']", 700)
    with car.paused():
        assert rig.world.truth_now().speed_mps > 0.05
    page.click("#leave-floor")
    assert car.wait_status(lambda status: status.state is DriveState.DISARMED, 5.0)
