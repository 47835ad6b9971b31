"""The way of an owner without a pointer, by keys alone: first visit, drive, run, saved calibration.

Behind the pages stand cars that only obey: what moves is held against the real ones elsewhere.
"""

import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import LAPTOP, PageServer, is_complaint
from keyboard import Keyboard
from playwright.sync_api import Browser, Page, expect
from simulated_page_car import SimulatedPageCar

from models.store import PolicyStore
from tests.hil.policies import write_policy
from tests.unit.run_files import StatedRecorder, make_run, shelf_of
from tests.unit.webui_visitors import browser_cookies
from vehicle.messages import DriveState
from webui import create_app
from webui.access_store import AccessStore

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
from calibrating_car import CalibratingCar

pytestmark = pytest.mark.browser
PASSWORD = "three short words"
PATIENCE_MS = 60_000


@pytest.fixture
def page(chromium: Browser, complaints: list[str]) -> Iterator[Page]:
    context = chromium.new_context(viewport=LAPTOP)  # type: ignore[arg-type]
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    page.on("console", lambda said: complaints.append(said.text) if is_complaint(said) else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    context.close()
    assert complaints == []


@pytest.fixture
def serve(page: Page) -> Iterator[Callable[..., PageServer]]:
    servers = []

    def served(*args: object, **options: object) -> PageServer:
        servers.append(PageServer(create_app(*args, **options)))  # type: ignore[arg-type]
        return servers[-1]

    yield served
    page.goto("about:blank")  # before its server goes
    for server in servers:
        server.stop()


def test_an_owner_comes_in_uploads_activates_drives_and_opens_a_run_by_keys_alone(
    page: Page, serve: Callable[..., PageServer], car: SimulatedPageCar, tmp_path: Path
) -> None:
    access = AccessStore(tmp_path / "access")
    (tmp_path / "recorded").mkdir()
    make_run(tmp_path / "recorded", 2.0, pictures=False)
    server = serve(
        car,
        car,
        store=PolicyStore(tmp_path / "models"),
        access_store=access,
        shelf=shelf_of(tmp_path / "recorded", tmp_path / "runs"),
        recorder=StatedRecorder(),
    )
    keyboard = Keyboard(page)

    page.goto(server.url)
    expect(page).to_have_url(re.compile("/setup$"))
    keyboard.type(page.locator("#code"), access.setup_code())
    keyboard.type(page.locator("#password"), PASSWORD)
    keyboard.type(page.locator("#again"), PASSWORD)
    page.keyboard.press("Enter")
    expect(page).to_have_url(server.url)
    keyboard.press(page.get_by_role("link", name="Access"))
    keyboard.press(page.get_by_role("button", name="Sign out"))
    expect(page).to_have_url(re.compile("/login$"))
    keyboard.type(page.locator("#password"), PASSWORD)
    page.keyboard.press("Enter")
    expect(page).to_have_url(server.url)

    keyboard.press(page.get_by_role("link", name="Models"))
    archive = shutil.make_archive(str(tmp_path / "swift"), "gztar", write_policy(tmp_path / "bundle"))
    with page.expect_file_chooser() as chooser:
        keyboard.press(page.locator("#choose"))
    chooser.value.set_files(archive)
    keyboard.press(page.locator(".upload[data-state=done] .open"))
    expect(page.locator("#details h2")).to_have_text("swift")
    keyboard.has_focus()
    keyboard.press(page.locator("[data-act=activate]"), "Space")
    expect(page.locator("[data-act=activate]")).to_have_text("Active")
    keyboard.has_focus()

    keyboard.press(page.get_by_role("link", name="Drive"))
    keyboard.press(page.locator("#start"))
    expect(page.locator("#start-now")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("body[data-mood=driving]")).to_have_count(1)
    keyboard.has_focus()  # of the button that has gone
    keyboard.press(page.locator("#stop"))
    expect(page.locator("#start")).to_be_enabled()
    assert car.state is DriveState.DISARMED
    keyboard.has_focus()

    keyboard.press(page.get_by_role("link", name="Runs"))
    keyboard.press(page.locator("#list .row button").first)
    expect(page.locator("#run-title")).to_be_visible()
    keyboard.has_focus()
    keyboard.go_to(page.locator("#time"))
    page.keyboard.press("ArrowRight")
    keyboard.has_focus()


def test_a_walk_from_its_first_step_to_the_saved_file_needs_no_pointer(
    page: Page, serve: Callable[..., PageServer], tmp_path: Path
) -> None:
    car = CalibratingCar(tmp_path / "blue.json")
    car.lease_s = car.silence_s = 60.0  # a starved computer's page is late
    server = serve(car)
    page.context.add_cookies(browser_cookies(server.app, server.url))  # type: ignore[arg-type]
    keyboard = Keyboard(page)
    page.goto(f"{server.url}calibrate")
    keyboard.press(page.locator("[data-walk=steering]"))
    keyboard.go_to(page.locator("#hold"))
    page.keyboard.down("Enter")
    expect(page.locator("#step-title")).to_contain_text("straight ahead")
    page.keyboard.up("Enter")
    for title, key in (("straight ahead", "ArrowLeft"), ("far left", "PageUp"), ("far right", "PageDown")):
        expect(page.locator("#step-title")).to_contain_text(title)
        keyboard.has_focus()
        if title != "straight ahead":
            keyboard.press(page.locator("#to-mark"))
        keyboard.go_to(page.locator("#slider"))
        page.keyboard.press(key)
        keyboard.press(page.locator("#next"))
    expect(page.locator("#step-title")).to_have_text("Look, then save")
    keyboard.has_focus()
    keyboard.type(page.locator("#by"), "Anna")
    keyboard.press(page.locator("#next"))
    expect(page.locator("#toast-words")).to_contain_text("Saved as version 1")
    keyboard.has_focus()
    saved = car.calibration
    assert (saved.saved_by, saved.steering.center_us) == ("Anna", 1451.0)
    # Page Up goes to the right, as on any slider.
    assert (saved.steering.left_us, saved.steering.right_us) == (1675.0, 1225.0)
