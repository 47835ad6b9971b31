/** The emergency stop: one touch or the space bar, at once, repeated until the car has confirmed it. */

import { makeRoom } from "./link.js";

const RETRY_MS = 150;
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

/**
 * Call `stop` on the first touch of `button` and on the space bar.
 *
 * `pointerdown`, because a second finger never makes a click. While the car may move the space bar
 * stops wherever the focus is; at rest it still works on buttons and sliders that have the focus, but for
 * those that make the car move (`data-moves`): the key that stops it never starts it.
 * @param {HTMLElement} button
 * @param {() => boolean} mayMove
 * @param {() => void} stop
 */
export function watchForStop(button, mayMove, stop) {
  let touchedAt = -Infinity;
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
    const usesSpace = target.closest?.("button:not([data-moves]), input, textarea, select, a") && target !== button;
    if (usesSpace && !mayMove()) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    if (event.type === "keydown" && !event.repeat) stop();
  };
  window.addEventListener("keydown", onSpace, { capture: true });
  window.addEventListener("keyup", onSpace, { capture: true }); // a button clicks when space is let go
}
