"""What every page owes to everybody: names for those who hear it, room for fingers, large print.

Chromium's accessibility tree, which a screen reader reads, is held against the page's own controls.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from accessibility import findings, fits
from conftest import PHONE, PageServer, is_complaint
from playwright.sync_api import Browser, BrowserContext, Page
from playwright.sync_api import TimeoutError as PlaywrightTimeoutError
from simulated_page_car import SimulatedPageCar

from models.store import PolicyStore
from tests.unit.run_files import StatedRecorder, make_run, shelf_of
from tests.unit.store_files import add_one
from tests.unit.webui_visitors import browser_cookies, store_of
from vehicle.messages import DriveState, RequestKind
from webui import create_app

pytestmark = pytest.mark.browser
LONG = "Donaudampfschifffahrtsgesellschaftskapitän, Rundkurs Nord"
TARGET_PX = 44
NARROW = {"width": 360, "height": 740}
INSIDE = {
    "": "#start:enabled",
    "race": "#state",
    "runs": "#list .row",
    "models": "#own .row",
    "calibrate": "#rest",
}
OWNERS = (*INSIDE, "settings", "simulator", "access", "nowhere")
STRANGERS = ("login", "watch?link=x", "sign-in?link=x")

CONTROLS = """
[...document.querySelectorAll("a[href], button, input:not([type=hidden]), select, textarea, summary")]
  .filter((one) => one.checkVisibility({ visibilityProperty: true }) && !one.disabled)
"""
SMALL = (
    """(least) => """
    + CONTROLS.strip()
    + """
  .filter((one) => one.localName !== "a" || getComputedStyle(one).display !== "inline") // links in sentences
  .filter((one) => { // the whole of a label presses what it is the label of
    const boxes = [one, ...(one.labels ?? [])].map((each) => each.getBoundingClientRect());
    return !boxes.some((box) => box.width >= least - 0.5 && box.height >= least - 0.5);
  })
  .map((one) => `${one.localName}#${one.id}.${one.className} ${one.textContent.trim().slice(0, 30)}`)
"""
)


class StillSimulator:
    """A world and a vehicle process in which nothing is broken."""

    def ask_world(self, op: str, **fields: object) -> dict[str, Any]:
        square = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]
        lines = {"track": "oval", "length_m": 3.0, "center": square, "inner": square, "outer": square}
        return {"ok": True, "faults": {}, "preparing": "", "problem": "", **lines}

    def ask_host(self, op: str, **fields: object) -> dict[str, Any]:
        return self.ask_world(op, **fields)


@pytest.fixture(scope="module")
def car() -> Iterator[SimulatedPageCar]:
    car = SimulatedPageCar()
    yield car
    car.stalled.set()


@pytest.fixture(scope="module")
def server(car: SimulatedPageCar, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageServer]:
    """All pages, each with something on it, under names as long as an owner may give."""
    folder: Path = tmp_path_factory.mktemp("pages")
    (folder / "recorded").mkdir()
    make_run(folder / "recorded", 2.0, pictures=False)
    store = PolicyStore(folder / "models")
    add_one(store, LONG)
    (folder / "car.toml").write_text('name = "blue"\n')
    app = create_app(
        car,
        car,
        store=store,
        config_file=folder / "car.toml",
        shelf=shelf_of(folder / "recorded", folder / "runs"),
        recorder=StatedRecorder(),
        simulator=StillSimulator(),
    )
    store_of(app).make_view_link(LONG)
    server = PageServer(app)
    yield server
    car.stalled.set()
    server.stop()


@pytest.fixture
def context(chromium: Browser, car: SimulatedPageCar) -> Iterator[BrowserContext]:
    context = chromium.new_context(viewport=PHONE, has_touch=True)  # type: ignore[arg-type]
    yield context
    context.close()
    car.request(RequestKind.DISARM, timeout_s=1.0, source="test")


def opened(context: BrowserContext, server: PageServer, where: str, complaints: list[str]) -> Page:
    """Return a page, whole, as its owner or a stranger sees it."""
    page = context.new_page()
    page.on("console", lambda said: complaints.append(said.text) if is_complaint(said) else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    if where in OWNERS:
        context.add_cookies(browser_cookies(server.app, server.url))
    page.goto(server.url + where)
    if where in INSIDE:
        page.wait_for_selector(INSIDE[where])
    return page


def tree(page: Page) -> list[dict[str, Any]]:
    """Return what a screen reader is told, what is left out for it aside."""
    session = page.context.new_cdp_session(page)
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    session.detach()
    return [node for node in nodes if not node["ignored"]]


def is_(node: dict[str, Any], name: str) -> Any:
    return next(
        (each["value"].get("value") for each in node.get("properties", ()) if each["name"] == name), None
    )


every_page = pytest.mark.parametrize("where", [*STRANGERS, *OWNERS])


@every_page
def test_a_reader_is_told_of_every_control_and_each_has_room_for_a_finger_and_large_print(
    context: BrowserContext, server: PageServer, complaints: list[str], where: str
) -> None:
    page = opened(context, server, where, complaints)
    told = [node for node in tree(page) if is_(node, "focusable") and node["role"]["value"] != "RootWebArea"]
    nameless = [node for node in told if not node["name"]["value"].strip()]
    assert nameless == []
    vague = [node for node in told if node["role"]["value"] in {"generic", "none", "paragraph", "unknown"}]
    assert vague == []
    assert len(told) >= page.evaluate(f"{CONTROLS}.length") > 0

    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    assert page.evaluate(SMALL, TARGET_PX) == []
    page.set_viewport_size(NARROW)  # type: ignore[arg-type]
    assert fits(page)
    page.evaluate("document.documentElement.style.fontSize = '200%'")
    assert fits(page), "in large print"
    box = page.locator("#emergency").bounding_box()
    assert box is not None
    assert box["y"] + box["height"] <= NARROW["height"]
    assert [one for one in complaints if "404" not in one] == []  # of the page that is not there


LISTEN = """
(() => {
  const LIVE = "[role=status], [role=alert], [aria-live=polite], [aria-live=assertive]";
  window.heard = [];
  window.heardFrom = 0;
  let standing = new Set();
  const isRead = (one) => one.checkVisibility({ visibilityProperty: true })
    && !one.closest("[aria-hidden=true]");
  const isUrgent = (one) => one.matches("[role=alert]:not([aria-live]), [aria-live=assertive]");
  const read = (one) => one.textContent.replaceAll("\u00a0", " ").trim();
  new MutationObserver((changes) => {
    const changed = new Set();
    for (const { target, type } of changes) {
      const region = (target instanceof Element ? target : target.parentElement)?.closest(LIVE);
      if (region && type !== "attributes") changed.add(region);
    }
    for (const one of changed) { // a region that comes with its words is not listened to yet
      if (standing.has(one) && read(one)) window.heard.push({ words: read(one), isUrgent: isUrgent(one) });
    }
    standing = new Set([...document.querySelectorAll(LIVE)].filter(isRead));
  }).observe(document, { subtree: true, childList: true, characterData: true, attributes: true });
  const SHOWN = ".trouble, .note, .toast, .request, .unrecorded, .problem";
  window.unheard = () => [...document.querySelectorAll(SHOWN)]
    .filter((one) => isRead(one) && read(one))
    .map((one) => read(one.querySelector("#toast-words, #request-words, #unrecorded-words") ?? one))
    .filter((words) => !window.heard.some((each) => each.words.includes(words)));
})();
"""


def listen(page: Page) -> None:
    """Listen to what comes from now on."""
    page.evaluate("window.heardFrom = window.heard.length")


def hear(page: Page, words: str, where: str, *, urgent: bool = False) -> None:
    """Hold the page to saying this to who cannot see it, and to saying all that it shows aloud."""
    fits = f"(one) => one.words.toLowerCase().includes(words) && {'one.isUrgent' if urgent else 'true'}"
    try:
        page.wait_for_function(
            f"(words) => window.heard.slice(window.heardFrom).some({fits})", arg=words.lower()
        )
    except PlaywrightTimeoutError as error:
        heard = page.evaluate("window.heard")
        raise AssertionError(f"{where} does not say {words!r}, but {heard}") from error
    assert page.evaluate("window.unheard()") == [], where


def starting(page: Page, car: SimulatedPageCar) -> None:
    """Start what is refused."""
    car.refusals[RequestKind.START] = "the board does not answer"
    page.click("#start")
    page.click("#start-now")
    hear(page, "The board does not answer", "drive", urgent=True)
    del car.refusals[RequestKind.START]


def racing(page: Page, car: SimulatedPageCar) -> None:
    """Watch a car that sets off."""
    car.state = DriveState.AUTONOMOUS
    hear(page, "driv", "race")
    car.state = DriveState.DISARMED


def removing_a_run(page: Page, car: SimulatedPageCar) -> None:
    """Remove a run, and put it back."""
    page.click("#discard")
    hear(page, "The last run is discarded.", "runs")
    page.click("#toast-undo")
    hear(page, "The run is back.", "runs")


def removing_a_model(page: Page, car: SimulatedPageCar) -> None:
    """Remove a model, put it back, and upload what is none."""
    page.locator("#own .row button").first.click()
    page.click("[data-act=remove]")
    hear(page, "is removed.", "models")
    page.click("#toast-undo")
    hear(page, "is back.", "models")
    nothing = {"name": "no.tar.gz", "mimeType": "application/gzip", "buffer": b"no archive"}
    page.set_input_files("#files", nothing)  # type: ignore[arg-type]
    hear(page, "no is refused.", "models")


def importing(page: Page, car: SimulatedPageCar) -> None:
    """Import what is no calibration."""
    large = {"name": "c.json", "mimeType": "application/json", "buffer": b" " * 2_000_000}
    page.set_input_files("#file", large)  # type: ignore[arg-type]
    hear(page, "no calibration is as large", "calibrate", urgent=True)


def breaking(page: Page, car: SimulatedPageCar) -> None:
    """Break a part, and mend it."""
    page.wait_for_selector(".part")
    page.locator(".part summary").first.click()
    page.locator(".part [role=switch]").first.check(force=True)
    hear(page, ": on", "simulator")


def changing(page: Page, car: SimulatedPageCar) -> None:
    """Change a setting of a car that drives, and of one that stands."""
    car.state = DriveState.AUTONOMOUS
    page.get_by_label("Name", exact=True).fill("navy")
    hear(page, "1 change", "settings")
    page.get_by_role("button", name="Save", exact=True).click()
    hear(page, "stop it first", "settings")
    car.state = DriveState.DISARMED
    page.get_by_role("button", name="Discard").click()


DOES: dict[str, Callable[[Page, SimulatedPageCar], None]] = {
    "": starting,
    "race": racing,
    "runs": removing_a_run,
    "models": removing_a_model,
    "calibrate": importing,
    "simulator": breaking,
    "settings": changing,
}
PROVOKED = ("status of 4", "net::", "WebSocket")


@every_page
def test_what_changes_is_said_to_who_cannot_see_it(
    context: BrowserContext, car: SimulatedPageCar, server: PageServer, complaints: list[str], where: str
) -> None:
    context.add_init_script(LISTEN)
    page = opened(context, server, where, complaints)
    if where in DOES:
        DOES[where](page, car)
    listen(page)
    page.locator("#emergency").dispatch_event("pointerdown")
    hear(page, "stopped", where, urgent=True)
    car.request(RequestKind.DISARM, timeout_s=1.0, source="test")
    if where in DOES:  # it follows the car
        listen(page)
        context.set_offline(True)
        hear(page, "lost" if where in {"settings", "simulator"} else "connection", where)
    assert [one for one in complaints if not any(word in one for word in PROVOKED)] == []


@pytest.mark.parametrize("where", [where for where in DOES if where])  # Drive has a test of its own
def test_no_state_of_the_car_makes_a_page_hard_to_read(
    context: BrowserContext, car: SimulatedPageCar, server: PageServer, complaints: list[str], where: str
) -> None:
    page = None
    for state in (DriveState.DISARMED, DriveState.AUTONOMOUS, DriveState.FAILSAFE):
        car.state = state
        if page:
            page.reload()
            page.wait_for_selector(INSIDE.get(where, "main"))
        else:
            page = opened(context, server, where, complaints)
        assert findings(page) == [], state
    assert complaints == []
