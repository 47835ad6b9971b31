"""A real Chromium for `lapwing bench`, where there is one: `make bench` brings it along."""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vehicle.bench_car import BenchError

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM_FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]


def chromium_program(named: str) -> Path | None:
    """Return the browser that was named, or this computer's own; None where there is none."""
    program = named or next(filter(None, map(shutil.which, CHROMIUM_NAMES)), "")
    return Path(program) if program else None


@contextlib.contextmanager
def browser(program: Path) -> Iterator[Any]:
    """Yield a browser; raises BenchError where it fails."""
    try:
        from playwright.sync_api import Error, sync_playwright  # noqa: PLC0415 - of the development set-up
    except ImportError:
        raise BenchError("Playwright is missing; measure by `make bench`") from None
    with sync_playwright() as playwright:
        try:
            started = playwright.chromium.launch(
                executable_path=program, args=CHROMIUM_FLAGS, env={**os.environ, **_libraries(program)}
            )
            yield started
            started.close()
        except Error as error:
            raise BenchError(f"the browser failed: {error.message.splitlines()[0]}") from error


def _libraries(program: Path) -> dict[str, str]:
    """Return what a build needs that is unpacked beside its libraries and fonts."""
    if not (program.parent / "fonts.conf").exists():
        return {}
    return {"LD_LIBRARY_PATH": str(program.parent / "lib"), "FONTCONFIG_PATH": str(program.parent)}


def signed_in(opened: Any, access_dir: Path, address: str, **options: Any) -> Any:
    """Return a fresh browser that has come in, and has seen nothing of the page yet."""
    command = [sys.executable, "-m", "webui.access_command", str(access_dir), "--link", address]
    link = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    door = opened.new_context()
    page = door.new_page()
    page.goto(link)
    page.click("main button")
    page.wait_for_selector("#state", state="attached")
    cookies = door.cookies()
    door.close()
    context = opened.new_context(**options)
    context.add_cookies(cookies)
    return context
