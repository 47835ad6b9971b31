/** The emergency stop of every page that is not the driving page: always there, always the same. */

import { emergencyStop, watchForStop } from "./stop.js";

const SHOWN_MS = 3000;

const button = /** @type {HTMLElement} */ (document.getElementById("emergency"));
const word = /** @type {HTMLElement} */ (document.getElementById("emergency-word"));
const problem = /** @type {HTMLElement} */ (document.getElementById("emergency-error"));
let underway = false;

async function stopNow() {
  if (underway) return; // already being repeated until the car confirms
  underway = true;
  show("Stopping");
  problem.textContent = "";
  dispatchEvent(new Event("lapwing-stop")); // whatever this page sends gives way
  const error = await emergencyStop();
  underway = false;
  dispatchEvent(new Event("lapwing-stop-over"));
  problem.textContent = error;
  show(error ? "Emergency stop" : "Stopped");
  if (!error) setTimeout(() => { if (!underway) show("Emergency stop"); }, SHOWN_MS);
}

function show(text) {
  word.textContent = text;
  button.classList.toggle("is-pressed", text !== "Emergency stop");
}

// The car may move unless the page follows its state and has just heard that it stands (`data-stands-still`).
watchForStop(button, () => document.body.dataset.standsStill !== "true", stopNow);
