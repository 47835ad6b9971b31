/** The emergency stop of every page that is not the driving page: always there, always the same. */

import { setText } from "./dom.js";
import { fetchGently } from "./link.js";
import { emergencyStop, watchForStop } from "./stop.js";

const SHOWN_MS = 3000;
const LOOK_MS = 400;

const button = /** @type {HTMLElement} */ (document.getElementById("emergency"));
const word = /** @type {HTMLElement} */ (document.getElementById("emergency-word"));
const problem = /** @type {HTMLElement} */ (document.getElementById("emergency-error"));
const news = /** @type {HTMLElement} */ (document.getElementById("emergency-news"));
let underway = false;
/** @type {import("./control.js").Control | null} */
let line = null;

/** Have the stop sent over a page's socket as well, which tells that page whether the car may move. @param {import("./control.js").Control} control */
export function stopOverToo(control) {
  line = control;
}

async function stopNow() {
  if (underway) return; // already being repeated until the car confirms
  underway = true;
  show("Stopping");
  problem.textContent = "";
  dispatchEvent(new Event("lapwing-stop")); // whatever this page sends gives way
  const error = await emergencyStop(() => line?.tell("emergency_stop"));
  underway = false;
  dispatchEvent(new Event("lapwing-stop-over"));
  setText(problem, error);
  setText(news, error ? "" : "The car is stopped.");
  show(error ? "Emergency stop" : "Stopped");
  if (!error) setTimeout(() => { if (!underway) { show("Emergency stop"); setText(news, ""); } }, SHOWN_MS);
}

/** @param {string} text */
function show(text) {
  word.textContent = text;
  button.classList.toggle("is-pressed", text !== "Emergency stop");
}

let mayMove = false; // as last heard: a car that drove when the connection was lost may drive still

/** Follow whether the car may move; the door's pages may ask that much, too. */
async function look() {
  if (line?.isLive) mayMove = false; // `data-stands-still` knows, and sooner
  else if (!(await ask())) return; // signed out: nothing more will be told
  setTimeout(look, LOOK_MS);
}

/** Ask once; false when this visitor is not told. */
async function ask() {
  try {
    const { response, body } = await fetchGently("/emergency-stop");
    if (response.status === 401) return false;
    if (response.ok && body) mayMove = JSON.parse(await body.text()).may_move;
  } catch {
    // As last heard.
  }
  return true;
}

look();
// A page that follows the car by itself (`data-stands-still`) may know sooner; either is believed that it moves.
watchForStop(button, () => mayMove || (document.body.dataset.standsStill ?? "true") !== "true", stopNow);
