/** The emergency stop: one touch or the space bar, at once, repeated until the car has confirmed it. */

import { fetchGently, makeRoom } from "./link.js";

const RETRY_MS = 150;
const ANSWER_MS = 2000; // a starved computer is no reason to stop a standing car
const GIVE_UP_MS = 3000; // long after that it might stop somebody else's start

/**
 * Send the stop until it is confirmed. Returns an error sentence, empty when the car confirmed.
 * `tell` sends it over a page's open socket as well, first and each time again: the stop may come twice.
 */
export async function emergencyStop(tell = () => {}) {
  const started = performance.now();
  let error = "";
  do {
    tell();
    makeRoom();
    try {
      const response = await fetch("/emergency-stop", {
        method: "POST",
        priority: "high",
        keepalive: true,
        signal: AbortSignal.timeout(700),
      });
      if (response.ok) return "";
      error = (await response.json()).error;
    } catch {
      error = "The car's computer does not answer. If the car moves, use its own switch.";
    }
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  } while (performance.now() - started < GIVE_UP_MS);
  return error;
}

/** What the space bar presses: without a car these act when it is let go. */
const PRESSED = "button, summary, input:is([type=checkbox], [type=radio], [type=file], [type=submit], [type=button])";
const OTHER_SPACES = "input, textarea, select, a"; // a sign in a field, a list that opens: nothing is done by it

/**
 * Call `stop` on the first touch of `button` and on the space bar.
 *
 * `pointerdown`, because a second finger never makes a click. While the car may move the space bar
 * stops wherever the focus is; at rest it still works on buttons and sliders that have the focus, but for
 * those that make the car move (`data-moves`): the key that stops it never starts it. What a page knows of
 * the car is up to half a second old, so before a button is pressed by it the car's computer is asked.
 * @param {HTMLElement} button
 * @param {() => boolean} mayMove
 * @param {() => void} stop
 */
export function watchForStop(button, mayMove, stop) {
  let touchedAt = -Infinity;
  button.setAttribute("aria-keyshortcuts", "Space"); // from now on the button says so
  button.closest("form")?.addEventListener("submit", (event) => event.preventDefault()); // it is for a page without its script
  button.addEventListener("pointerdown", () => {
    touchedAt = performance.now();
    stop();
  });
  button.addEventListener("click", () => {
    // A keyboard or a screen reader clicks without touching.
    if (performance.now() - touchedAt > 1000) stop();
  });
  const onSpace = (/** @type {KeyboardEvent} */ event) => {
    if (event.code !== "Space" && event.key !== " ") return;
    const target = /** @type {HTMLElement} */ (event.target);
    const isDown = event.type === "keydown" && !event.repeat;
    const isStop = mayMove() || target === button || target.closest?.("[data-moves]");
    const pressed = isStop ? null : /** @type {HTMLElement | null} */ (target.closest?.(PRESSED));
    if (!pressed && !isStop && target.closest?.(OTHER_SPACES)) {
      if (isDown) stopUnlessAtRest(stop);
      return;
    }
    event.preventDefault();
    event.stopImmediatePropagation();
    if (!isDown) return;
    if (pressed) stopUnlessAtRest(stop, pressed);
    else stop();
  };
  window.addEventListener("keydown", onSpace, { capture: true });
  window.addEventListener("keyup", onSpace, { capture: true }); // a button clicks when space is let go
}

/** Press what has the focus, where the car's computer says that the car stands; else stop. @param {() => void} stop @param {HTMLElement | null} pressed */
async function stopUnlessAtRest(stop, pressed = null) {
  if (await mayMoveNow()) stop();
  else if (pressed === document.activeElement) pressed?.click();
}

/** Whether the car may move, as its computer knows it now; true where that does not answer. */
export async function mayMoveNow() {
  try {
    const { response, body } = await fetchGently("/emergency-stop", { timeoutMs: ANSWER_MS });
    if (response.status === 401) return false; // where only those signed in may stop it
    return !response.ok || !body || JSON.parse(await body.text()).may_move;
  } catch {
    return true;
  }
}
