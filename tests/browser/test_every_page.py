"""What every page owes to everybody: names for those who hear it, room for fingers, large print.

Chromium's accessibility tree, which a screen reader reads, is held against the page's own controls.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from accessibility import fits
from conftest import PHONE, PageServer, is_complaint
from playwright.sync_api import Browser, BrowserContext, Page
from simulated_page_car import SimulatedPageCar

from models.store import PolicyStore
from tests.unit.run_files import StatedRecorder, make_run, shelf_of
from tests.unit.store_files import add_one
from tests.unit.webui_visitors import browser_cookies, store_of
from vehicle.messages import RequestKind
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
    app = create_app(
        car,
        car,
        store=store,
        shelf=shelf_of(folder / "recorded", folder / "runs"),
        recorder=StatedRecorder(),
        simulator=StillSimulator(),
    )
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


def pages(context: BrowserContext, server: PageServer, complaints: list[str]) -> Iterator[tuple[str, Page]]:
    """Yield every page, whole."""
    page = context.new_page()
    page.on("console", lambda said: complaints.append(said.text) if is_complaint(said) else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    for where in (*STRANGERS, *OWNERS):
        if where == OWNERS[0]:
            context.add_cookies(browser_cookies(server.app, server.url))
            store_of(server.app).make_view_link(LONG)
        page.goto(server.url + where)
        if where in INSIDE:
            page.wait_for_selector(INSIDE[where])
        yield where, page
    assert [one for one in complaints if "404" not in one] == []  # of the page that is not there


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


def test_a_reader_is_told_of_every_control_on_every_page_its_name_and_what_it_is(
    context: BrowserContext, server: PageServer, complaints: list[str]
) -> None:
    for where, page in pages(context, server, complaints):
        told = [
            node for node in tree(page) if is_(node, "focusable") and node["role"]["value"] != "RootWebArea"
        ]
        nameless = [node for node in told if not node["name"]["value"].strip()]
        assert nameless == [], where
        vague = [
            node for node in told if node["role"]["value"] in {"generic", "none", "paragraph", "unknown"}
        ]
        assert vague == [], where
        assert len(told) >= page.evaluate(f"{CONTROLS}.length") > 0, where


def test_every_control_has_room_for_a_finger_and_large_print_still_fits(
    context: BrowserContext, server: PageServer, complaints: list[str]
) -> None:
    for where, page in pages(context, server, complaints):
        assert page.evaluate(SMALL, TARGET_PX) == [], where
        page.set_viewport_size(NARROW)  # type: ignore[arg-type]
        assert fits(page), where
        page.evaluate("document.documentElement.style.fontSize = '200%'")
        assert where == "simulator" or fits(page), f"{where} in large print"  # that one is a laptop's
        box = page.locator("#emergency").bounding_box()
        assert box is not None
        assert box["y"] + box["height"] <= NARROW["height"], where
        page.set_viewport_size(PHONE)  # type: ignore[arg-type]
