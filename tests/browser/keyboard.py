"""One who has no pointer: goes by Tab and Shift-Tab, presses by Enter and Space, sees where the focus is."""

from playwright.sync_api import Locator, Page, expect

TABS_MAX = 120
FOCUS = """
(wanted) => {
  const one = document.activeElement;
  if (!one || one === document.body) return { at: "body", way: 0, shown: false };
  const hasOutline = (each) => each && getComputedStyle(each).outlineStyle !== "none"
    && parseFloat(getComputedStyle(each).outlineWidth) >= 2;
  const bearer = [one, one.nextElementSibling].find(hasOutline); // a radio's is round the words beside it
  const box = (bearer ?? one).getBoundingClientRect();
  const top = document.elementFromPoint(box.x + box.width / 2, box.y + Math.min(box.height / 2, 20));
  const isCovered = top === null || ![one, bearer, one.parentElement].some((each) => each?.contains(top));
  const isBehind = one.compareDocumentPosition(wanted) & Node.DOCUMENT_POSITION_PRECEDING;
  return {
    at: `${one.localName}#${one.id}.${one.className} ${one.textContent.trim().slice(0, 40)}`,
    way: one === wanted ? 0 : isBehind ? -1 : 1,
    shown: one.matches(":focus-visible") && bearer !== undefined && !isCovered,
  };
}
"""


class Keyboard:
    """Presses keys on a page, and holds the page to what its focus must be after each."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def go_to(self, control: Locator) -> None:
        """Tab to a control, forward or back, seeing the focus at every step."""
        expect(control).to_be_enabled()
        self.page.bring_to_front()
        for _ in range(TABS_MAX):
            focus = self.page.evaluate(FOCUS, control.element_handle())
            if focus["at"] != "body":
                assert focus["shown"], f"the focus is not seen at {focus['at']}"
            if focus["at"] != "body" and focus["way"] == 0:
                return
            self.page.keyboard.press("Shift+Tab" if focus["way"] < 0 else "Tab")
        raise AssertionError(f"no Tab leads to {control}")

    def press(self, control: Locator, key: str = "Enter") -> None:
        """Go to a control and press a key on it."""
        self.go_to(control)
        self.page.keyboard.press(key)

    def type(self, control: Locator, text: str) -> None:
        """Go to a field and fill it."""
        self.go_to(control)
        self.page.keyboard.press("Control+A")
        self.page.keyboard.type(text)

    def hold(self, control: Locator, ms: int) -> None:
        """Hold Enter down on a control."""
        self.go_to(control)
        self.page.keyboard.down("Enter")
        self.page.wait_for_timeout(ms)
        self.page.keyboard.up("Enter")

    def has_focus(self) -> None:
        """Hold the page to having its focus on something, and showing it where a key has put it."""
        expect(self.page.locator(":focus")).to_have_count(1)
