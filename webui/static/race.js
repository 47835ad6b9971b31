/** The race on a big screen: the car's line in, large figures out. Nothing here can change the car. */

import { Control } from "./control.js";
import { setText as setTextOf } from "./dom.js";
import { stopOverToo } from "./stopbar.js";
import { GUARDED, describe, lapTime } from "./words.js";

const LOST_MS = 2000; // the line says something ten times a second
const FLASH_MS = 2600;
const STANDING = new Set(["disarmed", "failsafe"]);

/** @type {Record<string, string>} */
const SOURCES = {
  world: "Timed by the simulated world",
  marker: "Timed by the start marker",
  hand: "Timed by hand",
};
/** @type {LapsDocument} */
const NO_LAPS = { lap_time_s: null, lap_count: 0, laps: [], best: null };

/** @param {string} id @returns {any} */
const byId = (id) => document.getElementById(id);

/** @type {StatusDocument | null} */
let race = null;
let heardAt = -Infinity;
let shownLaps = "";
let counted = -1; // laps of this drive, as last heard; none yet
let flashUntil = 0;
let flashed = "";

/** @param {StatusDocument} document_ */
function hear(document_) {
  race = document_;
  heardAt = performance.now();
  const { lap_count: count, laps, best } = lapsOf(race);
  const last = laps.at(-1);
  if (counted >= 0 && count > counted && last) flash(last, best);
  counted = count;
  document.body.dataset.standsStill = String(STANDING.has(race.car?.state ?? ""));
  show();
}

const car = () => race?.car ?? null;
/** @param {StatusDocument | null} status */
const lapsOf = (status) => status?.laps ?? NO_LAPS;

/** Seconds of what runs now, counted on between two words of the car. */
function since() {
  return (performance.now() - heardAt) / 1000;
}

const isLost = () => performance.now() - heardAt > LOST_MS;
const moves = () => GUARDED.has(car()?.state ?? "");
/** Until the time limit of this drive; null without one. */
const leftS = () => ((car()?.time_left_s ?? -1) >= 0 ? /** @type {Car} */ (car()).time_left_s : null);

function show() {
  const laps = lapsOf(race);
  setText("model", car()?.policy || "No model");
  setText("driver", car()?.driver_name ? `Driver: ${car()?.driver_name}` : "");
  setText("last", lapTime(laps.laps.at(-1)?.time_s));
  setText("best", lapTime(laps.best?.time_s));
  setText("count-name", laps.target_laps ? "Laps to go" : "Laps");
  setText("count", laps.target_laps ? Math.max(0, laps.target_laps - laps.lap_count) : laps.lap_count);
  byId("left-cell").hidden = leftS() === null;
  const isTimed = laps.lap_count > 0 || laps.lap_time_s !== null;
  setText("source", isTimed ? [SOURCES[laps.source ?? ""] ?? "", ...(laps.remarks ?? [])].filter(Boolean).join(". ") : "");
  showLaps(laps);
  showState();
}

function showState() {
  const words = describe(isLost() ? null : race);
  const isDone = Boolean(lapsOf(race).note) && car()?.state === "disarmed" && !isLost();
  const isLoud = words.mood === "failsafe" || words.mood === "lost";
  document.body.dataset.mood = words.mood;
  setText("state", isDone ? "Finished" : words.title);
  setText("sentence", isDone ? lapsOf(race).note ?? "" : isLoud ? words.sentence : "");
}

/** @param {LapsDocument} document */
function showLaps({ laps, best }) {
  const key = JSON.stringify([laps, best]);
  if (key === shownLaps) return;
  shownLaps = key;
  byId("laps").replaceChildren(...laps.toReversed().map((lap) => row(lap, best)));
  byId("no-lap").hidden = laps.length > 0;
  byId("laps").scrollTop = 0;
}

/** @param {Crossing} lap @param {Crossing | null} best */
function row(lap, best) {
  const item = document.createElement("li");
  const isBest = lap.lap === best?.lap;
  item.className = isBest ? "best" : lap.missed ? "missed" : "";
  const behind = isBest ? "best" : lap.missed ? "marker missed?" : `+${(lap.time_s - (best?.time_s ?? 0)).toFixed(2)}`;
  for (const [name, text] of [["number", String(lap.lap)], ["time", lapTime(lap.time_s)], ["behind", behind]]) {
    const part = document.createElement("span");
    part.className = name;
    part.textContent = text;
    item.append(part);
  }
  return item;
}

/** A new lap: said once, and for a moment larger than the running clock. @param {Crossing} lap @param {Crossing | null} best */
function flash(lap, best) {
  const isBest = lap.lap === best?.lap;
  flashed = lapTime(lap.time_s);
  flashUntil = performance.now() + FLASH_MS;
  setText("news", `Lap ${lap.lap}: ${flashed} seconds${isBest ? ", the best" : ""}`);
  byId("race").classList.toggle("is-best", isBest);
}

function tick() {
  if (race !== null) {
    const { lap_time_s: lapS, lap_count: count, laps } = lapsOf(race);
    const isArming = car()?.state === "arming";
    const isFlash = performance.now() < flashUntil;
    const runs = lapS !== null && moves() && !isLost();
    const left = leftS();
    byId("race").classList.toggle("is-flash", isFlash);
    setText("clock", isFlash ? flashed : runs ? lapTime(lapS + since(), 1) : isArming ? "Get ready" : count > 0 ? lapTime(laps.at(-1)?.time_s) : "0.00");
    setText("lap-name", isFlash ? `Lap ${count}` : runs ? `Lap ${count + 1}` : isArming ? "" : moves() ? "To the line" : count > 0 ? `Lap ${count}` : "");
    byId("clock").classList.toggle("is-idle", !isFlash && !runs && count === 0);
    byId("clock").classList.toggle("is-words", !isFlash && !runs && isArming);
    if (left !== null) setText("left", lapTime(Math.max(0, left - (moves() ? since() : 0)), 0));
    if (isLost()) showState();
  }
  requestAnimationFrame(tick);
}

/** @param {string} id @param {string | number} text */
function setText(id, text) {
  setTextOf(byId(id), String(text));
}

const button = byId("whole-screen");
button.hidden = !document.fullscreenEnabled;
button.addEventListener("click", () => (document.fullscreenElement ? document.exitFullscreen() : document.documentElement.requestFullscreen()));
document.addEventListener("fullscreenchange", () => {
  button.textContent = document.fullscreenElement ? "Leave whole screen" : "Whole screen";
});
stopOverToo(new Control(document.body.dataset.page ?? "", hear, () => ""));
tick();
