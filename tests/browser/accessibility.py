"""What axe has against a page, light and dark; and whether it fits the screen."""

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

SERIOUS = {"serious", "critical"}
EVERYTHING = "{resultTypes: ['violations'], preload: false}"  # of films alone, which are not serious
COLOURS = "{resultTypes: ['violations'], preload: false, runOnly: ['color-contrast', 'link-in-text-block']}"
"""The rules of axe to which a page's colours matter; the others find the same in light and in dark."""


def findings(page: Page) -> list[str]:
    """Return the serious findings of a page as it stands now; it is left dark."""
    found: list[str] = []
    if not page.evaluate("window.axe !== undefined"):
        page.evaluate(Axe().axe_script)
    for scheme, options in (("light", EVERYTHING), ("dark", COLOURS)):
        page.emulate_media(color_scheme=scheme)
        violations = page.evaluate(f"axe.run({options})")["violations"]
        found += [
            f"{scheme}: {each['id']}: {each['nodes'][0]['html'][:120]}"
            for each in violations
            if each["impact"] in SERIOUS
        ]
    return found


def fits(page: Page) -> bool:
    """Whether nothing has to be scrolled sideways."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))
