/**
 * A list on the left and the chosen one in full on the right; on a phone one after the other.
 *
 * The address remembers what is chosen, so that back, forward and a link lead there.
 */

/** Whether list and details stand side by side. */
export const isWide = () => matchMedia("(min-width: 900px)").matches;

export class Shelf {
  /**
   * @param {string} rows selector of the rows' buttons
   * @param {() => HTMLElement | null} title heading of what is shown in full
   * @param {() => void} show
   */
  constructor(rows, title, show) {
    this.rows = rows;
    this.title = title;
    this.show = show;
    this.chosen = chosenByAddress();
    addEventListener("popstate", () => this.choose(chosenByAddress(), { moves: false }));
  }

  /** Show one in full, or the list alone; `moves`: because a person went there. @param {string} key */
  choose(key, { moves = true } = {}) {
    const before = this.chosen;
    this.chosen = key;
    const url = key ? `#${encodeURIComponent(key)}` : location.pathname;
    if (moves && before !== key) history.pushState(null, "", url);
    else if (!moves) history.replaceState(null, "", url);
    for (const button of this.buttons()) button.setAttribute("aria-current", String(keyOf(button) === key));
    this.show();
    if (!moves || isWide()) return;
    if (key) {
      scrollTo(0, 0);
      this.title()?.focus();
    } else this.buttons().find((button) => keyOf(button) === before)?.focus();
  }

  buttons() {
    return /** @type {HTMLElement[]} */ ([...document.querySelectorAll(this.rows)]);
  }
}

function chosenByAddress() {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return ""; // a damaged link
  }
}

/** @param {HTMLElement} button */
function keyOf(button) {
  return button.parentElement?.dataset.key ?? "";
}
