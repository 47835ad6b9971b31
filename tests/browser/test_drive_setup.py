"""What the driving page sets up before and during a drive: model, limits, laps by hand, trim, the screen.

Against a car that obeys at once, so that no starved clock can end a drive.
"""

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import PATIENCE_S, WAIT_MS, PageServer
from playwright.sync_api import Browser, Page, expect
from simulated_page_car import SimulatedPageCar

from calibration import store as calibrations
from calibration.car import HIL_AWS, HIL_STANDARD, CarCalibration
from models.store import PolicyStore
from models.store_report import entry_document
from tests.unit.store_files import add_one
from tests.unit.webui_visitors import browser_cookies
from vehicle.messages import DriveState, RequestKind
from webui import create_app

pytestmark = pytest.mark.browser

WATCH_WAKE_LOCK = """
window.screen_locks = [];
Object.defineProperty(navigator, "wakeLock", { value: { request: async (kind) => {
  const lock = { kind, released: false, release: async () => { lock.released = true; } };
  window.screen_locks.push(lock);
  return lock;
} } });
"""
HELD_LOCKS = "window.screen_locks.filter((lock) => lock.kind === 'screen' && !lock.released).length"


@pytest.fixture
def policies(tmp_path: Path) -> PolicyStore:
    return PolicyStore(tmp_path / "models")


@pytest.fixture
def server(car: SimulatedPageCar, policies: PolicyStore) -> Iterator[PageServer]:
    server = PageServer(create_app(car, car, store=policies))
    yield server
    server.stop()


@pytest.fixture
def bare(
    chromium: Browser, car: SimulatedPageCar, policies: PolicyStore, complaints: list[str]
) -> Iterator[Page]:
    """The page of a car without a world: nothing sees its laps."""
    server = PageServer(create_app(car, None, store=policies))
    context = chromium.new_context()
    context.set_default_timeout(WAIT_MS)
    context.add_cookies(browser_cookies(server.app, server.url))
    page = context.new_page()
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(server.url)
    yield page
    context.close()
    server.stop()
    assert complaints == []


def start(page: Page, car: SimulatedPageCar) -> dict[str, Any]:
    """Start by the page, and return what it asked for."""
    page.click("#start")
    page.click("#start-now")
    assert car.await_that(lambda: car.state is DriveState.AUTONOMOUS)
    return next(fields for kind, fields in reversed(car.wishes) if kind is RequestKind.START)


def await_locks(page: Page, count: int) -> None:
    """Wait until the page holds so many; the page's policy lets no test evaluate by itself in it."""
    deadline_s = time.monotonic() + PATIENCE_S
    while page.evaluate(HELD_LOCKS) != count:
        assert time.monotonic() < deadline_s
        page.wait_for_timeout(50)


def test_plus_and_minus_change_the_limit_and_are_signs_in_a_field(page: Page, car: SimulatedPageCar) -> None:
    expect(page.locator("#cap-value")).to_have_text("30 %")
    page.keyboard.press("+")
    assert car.await_that(lambda: car.speed_cap_frac == 0.35)
    page.keyboard.press("=")  # plus without shift on most keyboards
    assert car.await_that(lambda: car.speed_cap_frac == 0.4)
    page.keyboard.press("-")
    page.keyboard.press("-")
    assert car.await_that(lambda: car.speed_cap_frac == 0.3)

    page.locator("#name").press("-")
    page.locator("#target-laps").press("+")
    page.keyboard.press("Control+-")
    expect(page.locator("#name")).to_have_value("-")
    page.locator("#cap-more").click()
    assert car.await_that(lambda: car.speed_cap_frac == 0.35)


def test_the_model_that_the_car_has_is_chosen_and_another_one_can_be(
    page: Page, car: SimulatedPageCar, policies: PolicyStore
) -> None:
    model = page.locator("#model")
    shown = model.locator("option:checked")
    expect(shown).to_have_text("meadow-discrete, which is none of these")
    with page.expect_response("**/activate"):
        model.select_option(label="whimbrel")
    expect(shown).to_have_text("whimbrel")
    hashes = {entry.name: entry_document(entry)["policy_hash"] for entry in policies.list()}
    car.policy, car.policy_hash = "plover", hashes["plover"]  # by somebody else
    expect(shown).to_have_text("plover")
    expect(model.locator("option", has_text="none of these")).to_have_count(0)


def test_the_list_of_models_is_asked_for_when_it_has_changed_and_not_before(
    page: Page, policies: PolicyStore
) -> None:
    model = page.locator("#model")
    expect(model.locator("option", has_text="plover")).to_have_count(1)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(600)
    assert asked == []
    add_one(policies, "swift")
    expect(model.locator("option", has_text="swift")).to_have_count(1)
    assert [url.rpartition("/")[2] for url in asked] == ["models"]


def test_a_model_that_the_car_refuses_is_not_shown_as_chosen(
    page: Page, car: SimulatedPageCar, complaints: list[str]
) -> None:
    car.refusals[RequestKind.ACTIVATE_POLICY] = "the policy's file is damaged"
    model = page.locator("#model")
    expect(model).to_be_enabled()
    model.select_option(label="whimbrel")
    expect(page.locator("#note")).to_contain_text("the policy's file is damaged")
    expect(model.locator("option:checked")).to_have_text("meadow-discrete, which is none of these")
    complaints.clear()  # the 409


def test_a_drive_ends_after_its_laps_and_says_so(page: Page, car: SimulatedPageCar) -> None:
    page.fill("#target-laps", "2")
    page.fill("#time-limit", "1.5")
    wish = start(page, car)
    assert wish["time_limit_s"] == 90.0
    expect(page.locator("#goal")).to_have_text("Stops by itself after lap 2 or after 1.5 min.")
    expect(page.locator("#target-laps")).to_be_disabled()
    expect(page.locator("#mark-lap")).to_be_hidden()  # the world counts

    car.ahead_ns = int(18e9)  # past the second crossing
    assert car.await_that(lambda: car.state is DriveState.DISARMED)
    expect(page.locator("#goal")).to_have_text("2 laps are done, so the car has stopped.")


def test_without_a_target_a_drive_has_none(page: Page, car: SimulatedPageCar) -> None:
    assert start(page, car)["time_limit_s"] == 0.0
    expect(page.locator("#goal")).to_be_empty()


def test_laps_are_marked_by_hand_where_nothing_sees_the_line(bare: Page, car: SimulatedPageCar) -> None:
    expect(bare.locator("#state")).to_have_text("Ready")
    mark = bare.locator("#mark-lap")
    expect(mark).to_be_hidden()  # a standing car crosses no line
    start(bare, car)
    expect(mark).to_be_visible()
    mark.evaluate("(button) => { button.click(); button.click(); }")  # a finger that slips
    expect(bare.locator("#lap-name")).to_have_text("Lap 1")
    expect(bare.locator("#note")).to_contain_text("less than 1 s ago")
    bare.wait_for_timeout(1000)
    mark.click()
    expect(bare.locator("#lap-list li.best")).to_contain_text("Lap 1")


@pytest.mark.parametrize("numbers", [HIL_AWS, HIL_STANDARD], ids=lambda numbers: numbers.name)
def test_trim_acts_at_once_on_its_own_side_and_is_saved_on_demand(
    page: Page, car: SimulatedPageCar, tmp_path: Path, numbers: CarCalibration
) -> None:
    file = tmp_path / "blue.toml"
    calibrations.save(file, numbers, saved_by="a test")
    center_us = numbers.steering.center_us
    right = math.copysign(1.0, numbers.steering.right_us - center_us)
    car.calibration_file, car.trim_steers_right = str(file), right > 0
    expect(page.locator("#trim")).to_have_attribute("dir", "ltr" if right > 0 else "rtl")
    expect(page.locator("#trim-save")).to_be_disabled()
    page.evaluate("for (const _ of [1, 2, 3]) document.getElementById('trim-right').click()")
    assert car.await_that(lambda: car.trim_us == 6.0 * right)
    page.locator("#trim").press("ArrowRight")
    assert car.await_that(lambda: car.trim_us == 7.0 * right)
    expect(page.locator("#trim-value")).to_have_text("7 µs right")
    page.locator("#trim").fill(str(-50 * right))
    assert car.await_that(lambda: car.trim_us == -50.0 * right)
    page.click("#trim-left")
    expect(page.locator("#trim-value")).to_have_text("50 µs left")  # the end
    assert calibrations.load(file).steering.center_us == center_us

    page.click("#trim-save")
    expect(page.locator("#note")).to_have_text("The trim is saved with the calibration.")
    assert calibrations.load(file).steering.center_us == center_us - 50.0 * right
    assert car.trim_us == 0.0
    assert RequestKind.RELOAD_CALIBRATION in car.asked


def test_a_trim_that_cannot_be_saved_says_why(page: Page, car: SimulatedPageCar, tmp_path: Path) -> None:
    car.calibration_file = str(tmp_path / "none.toml")
    page.click("#trim-right")
    expect(page.locator("#trim-save")).to_be_enabled()
    page.click("#trim-save")
    expect(page.locator("#note")).to_contain_text("The trim cannot be saved")
    assert abs(car.trim_us) == 2.0


def test_the_computers_tiles_come_with_its_numbers(page: Page) -> None:
    for name, unit in (("memory", "%"), ("disk", "GB"), ("computer", "%")):
        tile = page.locator(f"#{name}")
        expect(tile).to_be_visible()
        expect(tile.locator("dd").first).to_contain_text(unit)
    expect(page.locator("#temperature")).to_be_visible()


def test_the_screen_stays_on_while_this_page_drives_and_no_longer(page: Page, car: SimulatedPageCar) -> None:
    page.add_init_script(WATCH_WAKE_LOCK)
    page.reload()
    expect(page.locator("#state")).to_have_text("Ready")
    assert page.evaluate(HELD_LOCKS) == 0
    start(page, car)
    await_locks(page, 1)
    page.evaluate("window.screen_locks.at(-1).released = true")  # as a browser does when it was out of sight
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    await_locks(page, 1)
    page.click("#stop")
    await_locks(page, 0)


def test_a_watching_page_lets_its_screen_go_dark(page: Page, car: SimulatedPageCar) -> None:
    page.add_init_script(WATCH_WAKE_LOCK)
    page.reload()
    car.driver, car.state = "laps 4711", DriveState.AUTONOMOUS
    expect(page.locator("#driver")).to_have_text("Started by laps 4711.")
    assert page.evaluate("window.screen_locks.length") == 0
