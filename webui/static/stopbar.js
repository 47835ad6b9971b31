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
  const error = await emergencyStop();
  underway = false;
  problem.textContent = error;
  show(error ? "Emergency stop" : "Stopped");
  if (!error) setTimeout(() => { if (!underway) show("Emergency stop"); }, SHOWN_MS);
}

function show(text) {
  word.textContent = text;
  button.classList.toggle("is-pressed", text !== "Emergency stop");
}

// This page does not follow the car's state, so it takes for granted that the car may move.
watchForStop(button, () => true, stopNow);
