/** The race on a big screen: one stream in, large figures out. Nothing here can change the car. */

import { describe, lapTime } from "./words.js";

const LOST_MS = 3500; // the stream says something each second
const FLASH_MS = 2600;

/** @type {Record<string, string>} */
const SOURCES = {
  world: "Timed by the simulated world",
  marker: "Timed by the start marker",
  hand: "Timed by hand",
};
const GUARDED = new Set(["arming", "manual", "assisted", "autonomous", "calibrating"]);

/** @returns {any} */
const byId = (id) => document.getElementById(id);

/** @type {any} */
let race = null;
let heardAt = -Infinity;
let shownLaps = "";
let announced = -1;

const stream = new EventSource("/api/race/events");
stream.addEventListener("race", (event) => hear(JSON.parse(event.data)));
stream.addEventListener("lap", (event) => flash(JSON.parse(event.data)));

function hear(document) {
  race = document;
  heardAt = performance.now();
  show();
}

/** Seconds of what runs now, counted on between two words of the car. */
function since() {
  return (performance.now() - heardAt) / 1000;
}

const isLost = () => performance.now() - heardAt > LOST_MS;
const moves = () => race !== null && GUARDED.has(race.state ?? "");

function show() {
  const { laps } = race;
  setText("model", race.model || "No model");
  setText("driver", race.driver ? `Driver: ${race.driver}` : "");
  const last = laps.laps.at(-1);
  setText("last", lapTime(last?.time_s));
  setText("best", lapTime(laps.best?.time_s));
  setText("count-name", laps.target_laps ? "Laps to go" : "Laps");
  setText("count", laps.target_laps ? Math.max(0, laps.target_laps - laps.lap_count) : laps.lap_count);
  byId("left-cell").hidden = race.left_s === null;
  setText("source", laps.lap_count > 0 || laps.lap_time_s !== null ? [SOURCES[laps.source] ?? "", ...laps.remarks].filter(Boolean).join(". ") : "");
  showLaps(laps);
  showState();
}

function showState() {
  const words = isLost() ? describe(null) : wordsOf(race);
  document.body.dataset.mood = words.mood;
  setText("state", words.title);
  setText("sentence", words.sentence);
}

function wordsOf(document) {
  if (document.state === null) return { mood: "lost", title: "The car is silent", sentence: "" };
  const car = { state: document.state, sentence: document.sentence, not_ready: document.is_ready ? [] : [""] };
  const { mood, title, sentence } = describe(/** @type {any} */ ({ car, silence: "" }));
  const done = document.laps.note && document.state === "disarmed";
  return { mood, title: done ? "Finished" : title, sentence: done ? document.laps.note : mood === "failsafe" ? sentence : "" };
}

function showLaps({ laps, best }) {
  const key = JSON.stringify([laps, best]);
  if (key === shownLaps) return;
  shownLaps = key;
  byId("laps").replaceChildren(...laps.toReversed().map((lap) => row(lap, best)));
  byId("no-lap").hidden = laps.length > 0;
  byId("laps").scrollTop = 0;
}

function row(lap, best) {
  const item = document.createElement("li");
  const isBest = lap.lap === best.lap;
  item.className = isBest ? "best" : lap.missed ? "missed" : "";
  const behind = isBest ? "best" : lap.missed ? "marker missed?" : `+${(lap.time_s - best.time_s).toFixed(2)}`;
  for (const [name, text] of [["number", lap.lap], ["time", lapTime(lap.time_s)], ["behind", behind]]) {
    const part = document.createElement("span");
    part.className = name;
    part.textContent = text;
    item.append(part);
  }
  return item;
}

/** A new lap: said once, and for a moment larger than the running clock. */
let flashUntil = 0;
let flashed = "";
function flash(lap) {
  if (lap.lap === announced) return;
  announced = lap.lap;
  flashed = lapTime(lap.time_s);
  flashUntil = performance.now() + FLASH_MS;
  setText("news", `Lap ${lap.lap}: ${flashed} seconds${lap.is_best ? ", the best" : ""}`);
  byId("race").classList.toggle("is-best", lap.is_best);
}

function tick() {
  if (race !== null) {
    const { lap_time_s: lapS, lap_count: count } = race.laps;
    const isFlash = performance.now() < flashUntil;
    byId("race").classList.toggle("is-flash", isFlash);
    const runs = lapS !== null && moves() && !isLost();
    setText("clock", isFlash ? flashed : runs ? lapTime(lapS + since(), 1) : race.state === "arming" ? "Get ready" : count > 0 ? lapTime(race.laps.laps.at(-1)?.time_s) : "0.00");
    setText("lap-name", isFlash ? `Lap ${announced}` : runs ? `Lap ${count + 1}` : race.state === "arming" ? "" : moves() ? "To the line" : count > 0 ? `Lap ${count}` : "");
    byId("clock").classList.toggle("is-idle", !isFlash && !runs && count === 0);
    byId("clock").classList.toggle("is-words", !isFlash && !runs && race.state === "arming");
    if (race.left_s !== null) setText("left", lapTime(Math.max(0, race.left_s - (moves() ? since() : 0)), 0));
    if (isLost()) showState();
  }
  requestAnimationFrame(tick);
}

/** Change what is there only where it differs: sixty times a second is often. */
function setText(id, text) {
  const element = byId(id);
  if (element.textContent !== String(text)) element.textContent = text;
}

const button = byId("whole-screen");
button.hidden = !document.fullscreenEnabled;
button.addEventListener("click", () => (document.fullscreenElement ? document.exitFullscreen() : document.documentElement.requestFullscreen()));
document.addEventListener("fullscreenchange", () => {
  button.textContent = document.fullscreenElement ? "Leave whole screen" : "Whole screen";
});
tick();
