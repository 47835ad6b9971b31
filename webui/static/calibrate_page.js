/** The calibration page's places: which of them is shown, and what is said in them. */

import { setText } from "./dom.js";

/** @type {Record<string, string>} each place, and its heading */
const VIEWS = { rest: "car-name", walk: "step-title", floor: "floor-title" };

/** @param {string} id */
export const byId = (id) => /** @type {any} */ (document.getElementById(id));

/** Which place is shown: `loading`, `rest`, `walk` or `floor`. */
export function view() {
  return byId("calibrate").dataset.view;
}

/** Show a place; the focus that was in another one comes along. @param {string} name */
export function show(name) {
  const hadFocus = byId(view())?.contains(document.activeElement);
  byId("calibrate").dataset.view = name;
  for (const one of Object.keys(VIEWS)) byId(one).hidden = one !== name;
  if (hadFocus) focusHeading();
}

/** Give the focus of what has gone to the heading of what is shown. */
function focusHeading() {
  byId(VIEWS[view()])?.focus({ preventScroll: true });
}

/** Say what stands in the way of everything; an empty text takes it back. @param {string} text */
export function trouble(text) {
  const place = byId("trouble");
  const hadFocus = place.contains(document.activeElement);
  delete place.dataset.offers;
  setText(place, text);
  if (hadFocus) focusHeading();
}

/** As `trouble`, with the one button that goes on from there. @param {string} text @param {string} label @param {() => void} act */
export function offer(text, label, act) {
  const place = byId("trouble");
  if (place.dataset.offers === text) return;
  trouble(text);
  place.dataset.offers = text;
  const button = makeButton(label, act);
  button.id = "go-on";
  place.append(button);
}

/** Say what is wrong with the last thing that was done here. @param {string} text */
export function problem(text) {
  setText(byId(view() === "floor" ? "floor-problem" : "problem"), text);
}

/** Say what the car does now. @param {string} text */
export function live(text) {
  setText(byId(view() === "floor" ? "floor-live" : "live"), text);
}

/** @param {string} label @param {() => void} act @param {string} [spoken] what it is called where the label says too little */
export function makeButton(label, act, spoken) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "plain";
  button.textContent = label;
  if (spoken) button.setAttribute("aria-label", spoken);
  button.addEventListener("click", act);
  return button;
}

const RELEASES = ["pointerup", "pointercancel", "pointerleave", "lostpointercapture", "keyup", "blur"];

/**
 * Call `begin` when a button is pressed, by finger, mouse or Enter, and `end` as soon as it is not.
 * @param {HTMLButtonElement} button
 * @param {() => void} begin
 * @param {() => void} end
 */
export function whileHeld(button, begin, end) {
  let held = false;
  const press = (/** @type {PointerEvent | KeyboardEvent} */ event) => {
    if (held || button.disabled || ("key" in event && event.key !== "Enter")) return;
    held = true;
    button.classList.add("is-held");
    begin();
  };
  const release = () => {
    if (!held) return;
    held = false;
    button.classList.remove("is-held");
    end();
  };
  button.addEventListener("pointerdown", press);
  button.addEventListener("keydown", press);
  for (const name of RELEASES) button.addEventListener(name, release);
  addEventListener("blur", release);
  button.addEventListener("contextmenu", (/** @type {Event} */ event) => event.preventDefault());
}

/**
 * Call `done` when a button was held for this long: nobody does that without having read it.
 * @param {HTMLButtonElement} button
 * @param {number} ms
 * @param {() => void} done
 */
export function holdToConfirm(button, ms, done) {
  let timer = 0;
  whileHeld(button, () => { timer = setTimeout(done, ms); }, () => clearTimeout(timer));
}
