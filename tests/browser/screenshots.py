"""Pictures of every page at two widths, light and dark, for the guides: `make screenshots`.

The real page and the HIL car in paced lockstep, so that a busy computer takes longer and shows the same.
Pictures go to docs/screenshots, as `PAGE-WIDTH-SCHEME.jpg`; a page plugs in with a line in SHOTS.
"""

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import chromium
import cv2
import numpy as np
from paced_car import PacedCar, await_page, free_port, paced_car, running
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from playwright.sync_api import TimeoutError as Timeout

from models.store import LAPWING_HOME
from tests.hil.policies import write_policy
from tests.unit.upload_files import BAD, good
from vehicle.hil.settings import CameraSettings
from vehicle.messages import RequestKind
from webui.access_store import AccessStore

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "screenshots"
WIDTHS = {"phone": (390, 844), "laptop": (1280, 800)}
SCHEMES = ("light", "dark")
SIZE_LIMIT_BYTES = 150_000
SETTLE_MS = 700
TRIES = 8
START_MS = 20_000
PATIENCE_MS = 120_000  # a starved computer slows the car's time down
LONG_NAME = "Donaudampfschifffahrtsgesellschaftskapitän, Rundkurs Nord, 14. Versuch"


def as_it_opens(page: Page) -> None:
    """Wait for nothing but the page."""


def stand(page: Page) -> None:
    """Wait for a car that is ready to start."""
    page.wait_for_selector("#start:enabled, #clear:not([hidden]), #stop:enabled")
    if page.locator("#stop").is_enabled():
        page.click("#stop")
    if page.locator("#clear").is_visible():
        page.click("#clear")
    page.wait_for_selector("#start:enabled")
    page.wait_for_selector("#age:has-text('Live')")


def ask(page: Page) -> None:
    """Ask for a start."""
    stand(page)
    page.click("#start")


def start(page: Page) -> None:
    """Start; again where a starved computer took the question back, was late, or lost the lease."""
    for _ in range(TRIES):
        stand(page)
        page.click("#start")
        with suppress(Timeout):
            page.click("#start-now", timeout=START_MS)
            page.wait_for_selector("body[data-mood=driving]", timeout=START_MS)
            return
    raise SystemExit("The car did not start; this computer is too busy for pictures now.")


def drive(page: Page) -> None:
    """Let the policy drive a little, both streams shown."""
    stand(page)
    page.locator("label", has_text="Both").first.click()
    start(page)
    page.wait_for_selector("#chosen:not(:has-text('at rest'))")
    page.wait_for_timeout(3000)


def by_hand(page: Page) -> None:
    """Take the car into one's hands; again where a starved computer lost them."""
    stand(page)
    page.locator("label", has_text="By hand").first.click()
    for _ in range(TRIES):
        start(page)
        with suppress(Timeout):
            page.wait_for_selector("#pad:not([hidden])", timeout=START_MS)
            return
    raise SystemExit("The car could not be kept in hand; this computer is too busy for pictures now.")


def fail_safe(page: Page) -> None:
    """Stop at once, from driving."""
    drive(page)
    page.keyboard.press("Space")
    page.wait_for_selector("body[data-mood=failsafe]")


def a_run(page: Page) -> None:
    """Open the newest run, in its middle."""
    page.locator("#list .row button").first.click()
    page.wait_for_selector("#plot-steering .curve", state="attached")
    page.locator("#time").fill(str(float(page.locator("#time").get_attribute("max") or 0) / 2))
    page.wait_for_timeout(1500)


def the_list(page: Page) -> None:
    """Wait for a list that has been filled."""
    page.wait_for_selector(".row")


def a_model(page: Page) -> None:
    """Open the model with the long name."""
    page.locator("#own .row button").first.click()
    page.wait_for_selector(".dry-run")


def uploads(page: Page) -> None:
    """Upload what is no model, and what is one."""
    the_list(page)
    files = [BAD["metadata with NaN"], ("swift.tar.gz", good())]
    page.set_input_files(
        "#files",
        [{"name": name, "mimeType": "application/gzip", "buffer": content} for name, content in files],
    )
    page.wait_for_selector(".upload[data-state=refused]")
    page.wait_for_selector(".upload[data-state=done]")


def calibrated(page: Page) -> None:
    """Wait for what is in force."""
    page.wait_for_selector("#calibrate[data-view=rest]")


def walk(page: Page) -> None:
    """Walk to the first step that moves something."""
    calibrated(page)
    page.click("[data-walk=steering]")
    for _ in range(6):
        page.wait_for_timeout(600)
        if page.locator("#pulse-part").is_visible():
            break
        if page.locator("#hold-part").is_visible():
            page.locator("#hold").dispatch_event("pointerdown")
            page.wait_for_timeout(3000)
            page.locator("#hold").dispatch_event("pointerup")
        elif page.locator("#choice").is_visible():
            page.locator("#choice button").first.click()
            page.click("#next")
        else:
            page.click("#next")
    page.wait_for_selector("#slider:enabled")


def floor(page: Page) -> None:
    """Open the test drives."""
    calibrated(page)
    page.click("#open-floor")


def refused_code(page: Page) -> None:
    """Type a wrong set-up code."""
    page.fill("#code", "ABCD-2345")
    page.fill("#password", "three short words")
    page.fill("#again", "three short words")
    page.click("button.primary")
    page.wait_for_selector(".problem")


def broken(page: Page) -> None:
    """Break something of the simulated car."""
    page.wait_for_selector(".part")
    page.locator(".part summary").first.click()
    page.wait_for_timeout(1500)


@dataclass(frozen=True)
class Shot:
    """One picture of one page."""

    name: str
    path: str
    prepare: Callable[[Page], None] = as_it_opens
    who: str = "owner"
    """`owner`, `viewer`, `stranger`, or `first`: the first visitor of a car without a password."""


SHOTS = (
    Shot("first-visit", "setup", who="first"),
    Shot("first-visit-refused", "setup", refused_code, who="first"),
    Shot("sign-in", "login", who="stranger"),
    Shot("drive", "", stand),
    Shot("drive-question", "", ask),
    Shot("drive-driving", "", drive),
    Shot("drive-by-hand", "", by_hand),
    Shot("drive-failsafe", "", fail_safe),
    Shot("drive-watcher", "", who="viewer"),
    Shot("race", "race"),
    Shot("runs", "runs", the_list),
    Shot("runs-one", "runs", a_run),
    Shot("models", "models", the_list),
    Shot("models-one", "models", a_model),
    Shot("models-uploads", "models", uploads),
    Shot("calibrate", "calibrate", calibrated),
    Shot("calibrate-walk", "calibrate", walk),
    Shot("calibrate-floor", "calibrate", floor),
    Shot("settings", "settings"),
    Shot("simulator", "simulator", broken),
    Shot("access", "access"),
    Shot("refused", "nowhere"),
)


@contextmanager
def served() -> Iterator[tuple[PacedCar, str]]:
    """Run a car that has driven, and a second page of it that nobody has set a password for."""
    with ExitStack() as stack:
        home = stack.enter_context(tempfile.TemporaryDirectory(prefix="lwhome", dir="/tmp"))
        os.environ[LAPWING_HOME] = home
        options = {"policy": ROOT / "models" / "zoo" / "plover", "is_recorded": True, "takes_orders": True}
        car = stack.enter_context(paced_car(camera=CameraSettings(width_px=640, height_px=480), **options))
        url = f"http://127.0.0.1:{free_port()}/"
        places = ["--run-dir", str(car.run_dir), "--hil-dir", str(car.hil.hil_dir)]
        fresh = [
            "--port",
            url.rsplit(":", maxsplit=1)[-1].strip("/"),
            "--http",
            "--access-dir",
            str(car.folder / "fresh"),
        ]
        stack.enter_context(running([sys.executable, "-m", "vehicle.cli", "web", *places, *fresh]))
        await_page(url)
        yield car, url


def add_models(page: Page, folder: Path) -> None:
    """Upload a model with a long name, so that the list has one of its owner's."""
    bundle = write_policy(folder / "bundle", control_rate_hz=15.0)
    archive = shutil.make_archive(str(folder / "long"), "gztar", bundle)
    page.set_input_files("#files", archive)
    page.wait_for_selector(".upload[data-state=done]")
    page.click(".upload .open")
    page.click("[data-act=rename]")
    page.fill("#new-name", LONG_NAME)
    page.keyboard.press("Enter")
    page.wait_for_selector(f"#own .name:has-text({LONG_NAME!r})")


def take(browser: Browser, car: PacedCar, fresh_url: str, wanted: str) -> None:
    """Write every shot whose name contains `wanted`."""
    access = AccessStore(car.folder / "access")
    key = access.make_view_link("a spectator")
    shots = [shot for shot in SHOTS if wanted in shot.name]
    if any(shot.path in {"runs", "race", "models"} for shot in shots):
        context = opened(browser, car.cookies)
        page = context.new_page()
        page.goto(f"{car.url}models")
        add_models(page, car.folder)
        page.goto(car.url)
        drive(page)
        page.wait_for_selector("#lap-list li .time", timeout=PATIENCE_MS)
        page.click("#stop")
        page.wait_for_selector("#start:enabled")
        context.close()
    for shot in shots:
        for width in WIDTHS:
            for scheme in SCHEMES:
                cookies = car.cookies if shot.who == "owner" else []
                context = opened(browser, cookies, width, scheme)
                page = context.new_page()
                if shot.who == "viewer":
                    page.goto(f"{car.url}watch?link={key}")
                    page.click("main button")
                    page.wait_for_selector("#age:has-text('Live')")
                else:
                    page.goto(f"{fresh_url if shot.who == 'first' else car.url}{shot.path}")
                    shot.prepare(page)
                save(still(page), FOLDER / f"{shot.name}-{width}-{scheme}.jpg")
                car.client.request(RequestKind.DISARM)
                context.close()


def still(page: Page) -> bytes:
    """Return a picture of the page from its top, of a moment in which this computer kept up with it."""
    page.evaluate("scrollTo(0, 0)")
    page.wait_for_timeout(SETTLE_MS)
    for _ in range(TRIES):
        png = page.screenshot()
        if page.locator(".view.is-stale, [data-mood=lost]").count() == 0:
            break
        page.wait_for_timeout(SETTLE_MS)
    return png


def opened(
    browser: Browser, cookies: list[dict[str, str]], width: str = "laptop", scheme: str = "light"
) -> BrowserContext:
    """Return a browser of its own, as large as a phone or a laptop."""
    across, down = WIDTHS[width]
    context = browser.new_context(
        viewport={"width": across, "height": down},
        color_scheme=scheme,
        has_touch=width == "phone",
        reduced_motion="reduce",
    )
    context.set_default_timeout(PATIENCE_MS)
    context.add_cookies(cookies)
    return context


def save(png: bytes, path: Path) -> None:
    """Write a picture as a small JPEG."""
    image = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    for quality in (85, 70, 55):
        _, jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
        if jpeg.size <= SIZE_LIMIT_BYTES:
            break
    path.write_bytes(jpeg.tobytes())
    print(f"{path}: {jpeg.size / 1000:.0f} kB", flush=True)


def main() -> None:
    """Read the command line and take the pictures."""
    parser = argparse.ArgumentParser(description="Take pictures of every page.")
    parser.add_argument("wanted", nargs="?", default="", help="part of a picture's name; all without it")
    wanted = parser.parse_args().wanted
    FOLDER.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright, served() as (car, fresh_url):
        browser = playwright.chromium.launch(
            executable_path=chromium.find_chromium() or chromium.fetch(),
            args=["--headless", "--no-sandbox", "--disable-gpu"],
            env={**os.environ, **chromium.environment()},
        )
        take(browser, car, fresh_url, wanted)


if __name__ == "__main__":
    main()
