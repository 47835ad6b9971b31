"""Pictures of every page at two widths, for the guides: `make screenshots`.

Drives the HIL car through the states that the pages show; writes small files into docs/screenshots.
A page plugs in with a line in SHOTS.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(Path(__file__).parent))
import chromium  # noqa: E402 - beside this file, as for the tests

FOLDER = ROOT / "docs" / "screenshots"
WIDTHS = {"phone": (390, 844), "laptop": (1280, 800)}
SIZE_LIMIT_BYTES = 150_000
SETTLE_MS = 700


@dataclass(frozen=True)
class Shot:
    """One picture of one page."""

    name: str
    path: str
    scheme: str
    prepare: Callable[[Page], None]


def stand(page: Page) -> None:
    """Wait for a car that is ready to start."""
    if page.locator("#clear").is_visible():
        page.click("#clear")
    page.wait_for_selector("#start:enabled", timeout=30_000)


def drive(page: Page) -> None:
    """Let the policy drive a little."""
    stand(page)
    page.locator("label", has_text="Both").first.click()
    page.click("#start")
    page.click("#start-now")
    page.wait_for_selector("body[data-mood=driving]", timeout=30_000)
    page.wait_for_timeout(4000)


def fail_safe(page: Page) -> None:
    """Stop at once, from driving."""
    drive(page)
    page.keyboard.press("Space")
    page.wait_for_selector("body[data-mood=failsafe]")


def as_it_opens(page: Page) -> None:
    """Wait for nothing but the page."""


def fit(page: Page) -> None:
    """Wait for a list that has been filled."""
    page.wait_for_timeout(2500)


def a_run(page: Page) -> None:
    """Open the newest run, in its middle."""
    page.locator("#list .row button").first.click()
    page.wait_for_selector("#plot-steering .curve", state="attached")
    page.locator("#time").fill(str(float(page.locator("#time").get_attribute("max") or 0) / 2))
    page.wait_for_timeout(1500)


SHOTS = (
    Shot("drive", "", "light", stand),
    Shot("drive-dark", "", "dark", stand),
    Shot("drive-driving", "", "light", drive),
    Shot("drive-driving-dark", "", "dark", drive),
    Shot("drive-failsafe", "", "light", fail_safe),
    Shot("race", "race", "light", fit),
    Shot("race-dark", "race", "dark", fit),
    Shot("runs", "runs", "light", a_run),
    Shot("runs-dark", "runs", "dark", a_run),
    Shot("models", "models", "light", fit),
    Shot("models-dark", "models", "dark", fit),
    Shot("calibrate", "calibrate", "light", fit),
    Shot("calibrate-dark", "calibrate", "dark", fit),
    Shot("settings", "settings", "light", fit),
    Shot("settings-dark", "settings", "dark", fit),
    Shot("simulator", "simulator", "light", fit),
    Shot("simulator-dark", "simulator", "dark", fit),
    Shot("access", "access", "light", fit),
    Shot("access-dark", "access", "dark", fit),
)


@contextmanager
def simulated_car() -> Iterator[str]:
    """Run the HIL car by demo, which prints a link that signs in; yields the page's address and the link."""
    with tempfile.TemporaryDirectory(prefix="lapwing-shots-") as home:
        command = [Path(sys.executable).parent / "lapwing", "demo", "--keep", "--laps", "1", "--port", "8791"]
        process = subprocess.Popen(
            [*command, "--out", f"{home}/out"],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "COLUMNS": "400", "LAPWING_HOME": f"{home}/car"},
        )
        assert process.stdout is not None
        try:
            last = ""
            for line in process.stdout:
                found = re.search(r"https?://\S+/sign-in\S*", line)
                last = found[0] if found else last
                if "stays up" in line:
                    break
            yield last
        finally:
            process.terminate()
            process.wait()


def take(link: str, folder: Path, wanted: str) -> None:
    """Sign in by the link and write every shot whose name contains `wanted`."""
    folder.mkdir(parents=True, exist_ok=True)
    url = re.match(r"https?://[^/]+/", link)
    assert url is not None
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium.find_chromium() or chromium.fetch(),
            args=["--headless", "--no-sandbox", "--disable-gpu"],
            env={**os.environ, **chromium.environment()},
        )
        first = browser.new_context()
        page = first.new_page()
        page.goto(link)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_selector("#picture")
        cookies = first.cookies()
        for shot in SHOTS:
            if wanted not in shot.name:
                continue
            for width, (across, down) in WIDTHS.items():
                context = browser.new_context(
                    viewport={"width": across, "height": down},
                    color_scheme=shot.scheme,
                    has_touch=width == "phone",
                )
                context.add_cookies(cookies)
                page = context.new_page()
                page.goto(url[0] + shot.path)
                shot.prepare(page)
                page.wait_for_timeout(SETTLE_MS)
                save(page.screenshot(), folder / f"{shot.name}-{width}.jpg")
                if shot.prepare is drive and page.locator("#stop").is_enabled():
                    page.click("#stop")
                context.close()


def save(png: bytes, path: Path) -> None:
    """Write a picture as a small JPEG."""
    image = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    for quality in (85, 70, 55):
        _, jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
        if jpeg.size <= SIZE_LIMIT_BYTES:
            break
    path.write_bytes(jpeg.tobytes())
    print(f"{path}: {jpeg.size / 1000:.0f} kB")


def main() -> None:
    """Read the command line and take the pictures."""
    parser = argparse.ArgumentParser(description="Take pictures of every page.")
    parser.add_argument("wanted", nargs="?", default="", help="part of a picture's name; all without it")
    wanted = parser.parse_args().wanted
    with simulated_car() as link:
        take(link, FOLDER, wanted)


if __name__ == "__main__":
    main()
