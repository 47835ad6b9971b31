"""The simulator's page in a real Chromium, in front of a real vehicle process and its HIL car."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from axe_playwright_python.sync_playwright import Axe
from conftest import LAPTOP, PHONE
from paced_car import PacedCar, paced_car
from playwright.sync_api import Browser, Page, expect

from vehicle.messages import CameraLocks, DriveState, Fault, RequestKind

pytestmark = pytest.mark.browser
TOLD_MS = 20_000  # the page looks once a second, on a computer with other work
ROAD = """canvas => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    let count = 0;
    for (let k = 0; k < data.length; k += 4) count += data[k] === 0x8f && data[k + 1] === 0x96;
    return count;
}"""  # pixels of bare road: fewer where the line is drawn, as many again without it
DRIVEN_M = 0.8
PAINTED = """canvas => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return data.reduce((sum, value, k) => sum + (k % 4 === 3 && value > 0), 0) / (data.length / 4);
}"""


@pytest.fixture(scope="module")
def paced() -> Iterator[PacedCar]:
    with paced_car(takes_orders=True) as car:
        yield car


@contextmanager
def opened(chromium: Browser, car: PacedCar, complaints: list[str], **options: object) -> Iterator[Page]:
    context = chromium.new_context(**{"viewport": LAPTOP, **options})  # type: ignore[arg-type]
    context.set_default_timeout(TOLD_MS)
    context.add_cookies(car.cookies)  # type: ignore[arg-type]
    page = context.new_page()
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"{car.url}simulator")
    expect(page.locator("#track-name")).not_to_be_empty()
    yield page
    context.close()
    assert complaints == []


def insist(car: PacedCar, kind: RequestKind, **fields: object) -> None:
    """Ask until it is granted: on a starved computer a request may be old when it arrives."""
    deadline_s = time.monotonic() + TOLD_MS / 1000
    while not (reply := car.client.request(kind, timeout_s=10.0, **fields)).ok:
        assert time.monotonic() < deadline_s, reply.reason


def open_part(page: Page, part: str) -> None:
    page.locator(f"details[data-part={part}] summary").click()


def test_break_and_mend_the_car_and_carry_it_elsewhere(
    chromium: Browser, paced: PacedCar, complaints: list[str]
) -> None:
    with opened(chromium, paced, complaints) as page:
        expect(page.locator("#simulated")).to_be_visible()
        expect(page.locator("#faults-title")).to_have_text("Nothing is broken")

        # In the world.
        open_part(page, "camera")
        page.locator("#camera-slow").locator("..").locator(".amount").fill("5")
        page.locator("#camera-slow").check()
        expect(page.locator("#on li")).to_contain_text("Camera: slow")
        assert paced.hil.client.control("ping")["faults"] == {"camera=slow": 0.05}
        assert paced.wait(lambda status: Fault.CAMERA_OVERDUE in status.faults)
        page.get_by_role("button", name="Mend Camera: slow").click()
        expect(page.locator("#on li")).to_have_count(0)
        assert paced.wait(lambda status: not status.not_ready)

        # In the process that drives, while the link to it is what is broken.
        open_part(page, "operator_link")
        page.locator("#operator_link-off").check()
        expect(page.locator("#on li")).to_contain_text("Operator link: off")
        assert "HIL fault" in paced.client.request(RequestKind.TAKE_LEASE, timeout_s=10.0).reason
        page.get_by_role("button", name="Mend everything").click()
        expect(page.locator("#on li")).to_have_count(0)
        expect(page.locator("#operator_link-off")).not_to_be_checked()
        insist(paced, RequestKind.TAKE_LEASE)
        insist(paced, RequestKind.RELEASE_LEASE)

        # Elsewhere, the other way round; the map follows.
        page.locator("label", has_text="Kidney").click()
        page.get_by_label("The other way round").check()
        page.get_by_role("button", name="Carry the car there").click()
        expect(page.locator("#track-name")).to_contain_text("Kidney, the other way round")
        expect(page.get_by_role("button", name="The car is here")).to_be_disabled()
        truth = paced.hil.client.truth_now()
        assert (truth.track, round(truth.offset_m, 6)) == ("kidney-reversed", 0.0)
        assert 0.2 < page.locator("#overhead").evaluate(PAINTED) < 0.8, "the road, and not all of the map"


def test_a_drive_is_seen_from_above_and_ends_at_the_start(
    chromium: Browser, paced: PacedCar, complaints: list[str]
) -> None:
    with opened(chromium, paced, complaints) as page:
        canvas = page.locator("#overhead")
        bare = canvas.evaluate(ROAD)
        insist(paced, RequestKind.TAKE_LEASE)
        insist(paced, RequestKind.SET_SPEED_CAP, speed_cap_frac=1.0)
        insist(paced, RequestKind.START, target=DriveState.AUTONOMOUS)
        expect(page.locator("#carry")).to_have_text("Stop the car first")
        start = paced.hil.client.truth_now()
        deadline_s = time.monotonic() + 2 * TOLD_MS / 1000
        while (
            math.hypot((now := paced.hil.client.truth_now()).x_m - start.x_m, now.y_m - start.y_m) < DRIVEN_M
        ):
            assert time.monotonic() < deadline_s
            paced.client.request(RequestKind.TAKE_LEASE, timeout_s=10.0)
        insist(paced, RequestKind.DISARM)
        expect(page.locator("#speed")).to_have_text("0.00 m/s")
        page.wait_for_timeout(300)  # drawn a little later than told
        assert canvas.evaluate(ROAD) < bare - 30

        page.get_by_role("button", name="Put it back to the start").click()
        expect(page.locator("#news")).to_have_text("The car stands at the start")
        expect(page.locator("#offset")).to_have_text("0 cm")
        page.wait_for_timeout(300)
        assert canvas.evaluate(ROAD) == pytest.approx(bare, abs=25)


def test_it_is_fit_for_everybody_at_both_widths_in_light_and_dark(
    chromium: Browser, paced: PacedCar, complaints: list[str]
) -> None:
    for viewport, scheme in ((PHONE, "light"), (LAPTOP, "dark")):
        with opened(chromium, paced, complaints, viewport=viewport, color_scheme=scheme) as page:
            for part in ("camera", "board", "policy"):
                open_part(page, part)
            page.locator("#camera-covered").check()
            expect(page.locator("#on li")).to_have_count(1)
            violations = Axe().run(page).response["violations"]
            assert [f"{v['id']}: {v['nodes'][0]['html'][:140]}" for v in violations] == []
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            page.get_by_role("button", name="Mend everything").click()
            expect(page.locator("#on li")).to_have_count(0)


def test_the_simulated_camera_is_tuned_live(
    chromium: Browser, paced: PacedCar, complaints: list[str]
) -> None:
    """On the page Settings: what is slid is seen in the picture's light, through the whole of the car."""
    with opened(chromium, paced, complaints) as page:
        page.goto(f"{paced.url}settings")
        expect(page.locator("#live-words")).to_contain_text("while the picture is shown")
        page.get_by_role("button", name="Show the picture and its light").click()
        expect(page.locator("#light-words")).to_contain_text("% bright", timeout=TOLD_MS)
        slider = page.get_by_role("slider", name="Exposure, slid")
        expect(slider).to_be_hidden()

        page.get_by_label("Exposure: The camera chooses").uncheck()
        slider.press("End")
        expect(page.get_by_role("spinbutton", name="Exposure")).to_have_value("100")
        expect(page.locator("#light-words")).to_contain_text("is burnt out", timeout=TOLD_MS)
        assert paced.wait(lambda status: status.camera_locks.exposure_ms == 100.0)
        slider.press("Home")
        expect(page.locator("#light-words")).to_contain_text("is black", timeout=TOLD_MS)
        page.get_by_role("button", name="Discard").click()
        expect(page.locator("#light-words")).to_contain_text("Nothing is lost", timeout=TOLD_MS)
        assert paced.wait(lambda status: status.camera_locks == CameraLocks())
        page.get_by_role("button", name="Hide the picture").click()
