/** The simulator's page: the world from above, what is broken, which track. Only in front of a HIL car. */

import { Control } from "./control.js";
import { change, read } from "./requests.js";
import { element, keep, part as partOf, setText } from "./dom.js";
import { Overhead } from "./simulator-map.js";
import { say } from "./toast.js";
import { GUARDED, lapTime, number } from "./words.js";

const LOOK_MS = 1000;
const SILENT_MS = 1500;
const CHANGED_MS = 1500; // what a person has just switched shows as switched, until the world has told

const byId = (/** @type {string} */ id) => /** @type {any} */ (document.getElementById(id));
const isWatching = document.body.dataset.watching === "yes";
const overhead = new Overhead(byId("overhead"));
/** @type {SimulatorDocument | null} */
let simulator = null;
/** @type {StatusDocument | null} */
let status = null;
let heardMs = 0;
let laidTrack = "";
let problem = "";
/** @type {Map<string, {on: boolean, untilMs: number}>} */
const wishes = new Map();

// ---- the world from above ----

function onStatus(/** @type {StatusDocument} */ document) {
  status = document;
  heardMs = performance.now();
  const world = document.world;
  if (world) {
    overhead.show(world);
    if (world.track !== laidTrack) lay();
  }
  showFacts(world);
  showTrouble();
  showTracks();
}

let isLaying = false;
async function lay() {
  if (isLaying) return;
  isLaying = true;
  const layout = await read("/api/simulator/layout");
  isLaying = false;
  if (!layout) return;
  laidTrack = layout.track;
  overhead.lay(layout);
  setText(byId("track-name"), `${trackName(layout.track)}, ${number(layout.length_m, 1)}\u202fm`);
}

/** @param {World | null} world */
function showFacts(world) {
  setText(byId("speed"), world ? `${number(world.speed_mps, 2)} m/s` : "–");
  setText(byId("lap"), world?.lap_time_s == null ? "–" : lapTime(world.lap_time_s, 1));
  setText(byId("best"), lapTime(world?.best?.time_s));
  setText(byId("offset"), world ? aside(world.offset_m) : "–");
  setText(byId("steering"), world ? turned(world.steering_rad) : "–");
  setText(byId("pulses"), world?.esc_pulse_us ? `${number(world.servo_pulse_us)} · ${number(world.esc_pulse_us)} µs` : "none");
  const mishap = !world ? "" : world.crashed ? `Crashed into ${world.crashed_into === "thing" ? "something on the track" : "the wall"}: put it back to the start.` : world.off_track ? "Off the track." : "";
  setText(byId("mishap"), mishap);
}

/** @param {number} offset */
function aside(offset) {
  const centimetres = Math.round(Math.abs(offset) * 100);
  return centimetres === 0 ? "0 cm" : `${centimetres} cm ${offset > 0 ? "left" : "right"}`;
}

/** @param {number} radians */
function turned(radians) {
  const degrees = Math.round((Math.abs(radians) * 180) / Math.PI);
  return degrees === 0 ? "straight" : `${degrees}° ${radians > 0 ? "left" : "right"}`;
}

// ---- what is so ----

async function look() {
  const answer = await read("/api/simulator");
  simulator = answer;
  showFaults();
  showTracks();
  showTrouble();
}

async function keepLooking() {
  await look();
  setTimeout(keepLooking, LOOK_MS);
}

function showTrouble() {
  const isLost = performance.now() - heardMs > SILENT_MS;
  const words = (isLost ? "This page has lost the car's computer." : "")
    || problem || simulator?.problem
    || (status && !status.world ? "The simulated world is silent. If it has died, lapwing run starts it again." : "")
    || (simulator?.host_silence ?? "");
  setText(byId("trouble"), words);
}

// ---- faults ----

/** @returns {Map<string, number>} what is broken now, by `part=fault` */
function broken() {
  return new Map(Object.entries({ ...(simulator?.faults ?? {}), ...(simulator?.host_faults ?? {}) }));
}

function showFaults() {
  const on = broken();
  const now = performance.now();
  /** @type {Map<string, number>} */
  const counts = new Map();
  for (const row of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll(".fault"))) {
    const key = keyOf(row);
    const wish = wishes.get(key);
    if (wish && (wish.untilMs < now || wish.on === on.has(key))) wishes.delete(key);
    const isOn = wishes.get(key)?.on ?? on.has(key);
    const box = /** @type {HTMLInputElement | null} */ (row.querySelector("[role=switch]"));
    if (box) box.checked = isOn;
    row.classList.toggle("is-on", isOn);
    const part = row.dataset.part ?? "";
    counts.set(part, (counts.get(part) ?? 0) + (isOn ? 1 : 0));
    const amount = /** @type {HTMLInputElement | null} */ (row.querySelector(".amount"));
    const told = on.get(key);
    if (amount && told !== undefined && document.activeElement !== amount && !wishes.has(key)) amount.value = said(row, told);
  }
  for (const part of /** @type {NodeListOf<HTMLDetailsElement>} */ (document.querySelectorAll(".part"))) {
    const count = counts.get(part.dataset.part ?? "") ?? 0;
    setText(partOf(part, ".count"), count ? `${count} on` : "");
    part.classList.toggle("is-on", count > 0);
  }
  showOn(on);
}

/** @param {Map<string, number>} on */
function showOn(on) {
  const keys = [...on.keys()].sort();
  keep(byId("on"), keys, (key) => key, (key) => element("li", {}, element("span", {}, wordsOf(key)), isWatching ? null : element("button", { type: "button", "aria-label": `Mend ${wordsOf(key)}`, onclick: () => switchFault(rowOf(key), false) }, "×")), () => {});
  byId("mend").disabled = isWatching || keys.length === 0;
  byId("faults-title").textContent = keys.length ? "Broken now" : "Nothing is broken";
}

const keyOf = (/** @type {HTMLElement} */ row) => `${row.dataset.part}=${row.dataset.fault}`;

/** @param {string} key */
function rowOf(key) {
  const [part, fault] = key.split("=");
  return /** @type {HTMLElement} */ (document.querySelector(`.fault[data-part="${part}"][data-fault="${fault}"]`));
}

/** @param {string} key */
function wordsOf(key) {
  const part = document.querySelector(`.part[data-part="${key.split("=")[0]}"] strong`)?.textContent ?? "";
  return `${part}: ${key.split("=")[1].replaceAll("_", " ")}`;
}

/** An amount as a person reads it. @param {HTMLElement} row @param {number} amount */
function said(row, amount) {
  const value = row.dataset.unit === "share" ? amount * 100 : amount;
  return String(Number(value.toPrecision(6)));
}

/** @param {HTMLElement} row */
function amountOf(row) {
  const input = /** @type {HTMLInputElement | null} */ (row.querySelector(".amount"));
  if (!input) return null;
  return row.dataset.unit === "share" ? Number((input.valueAsNumber / 100).toPrecision(6)) : input.valueAsNumber;
}

/** @param {HTMLElement} row @param {boolean} on */
async function switchFault(row, on) {
  const input = /** @type {HTMLInputElement | null} */ (row.querySelector(".amount"));
  if (on && input && !input.reportValidity()) {
    showFaults();
    return;
  }
  const once = Boolean(row.querySelector(".once"));
  if (!once) wishes.set(keyOf(row), { on, untilMs: performance.now() + CHANGED_MS });
  await ask("/api/simulator/fault", { part: row.dataset.part, fault: row.dataset.fault, on, amount: on ? amountOf(row) : null });
  if (problem) wishes.delete(keyOf(row));
  else say(once ? `${wordsOf(keyOf(row))}: done` : `${wordsOf(keyOf(row))}: ${on ? "on" : "off"}`);
  await look();
}

/** @param {string} url @param {object} body */
async function ask(url, body) {
  const answer = await change("POST", url, body);
  problem = answer.ok ? "" : answer.error;
  showTrouble();
  if (problem) byId("trouble").scrollIntoView({ block: "nearest" });
  return answer.ok;
}

// ---- tracks ----

const trackName = (/** @type {string} */ track) => {
  const plain = track.replace(/-reversed$/, "").replace(/^.*\//, "").replace(/^random-/, "random ");
  return `${plain.charAt(0).toUpperCase()}${plain.slice(1)}${track.endsWith("-reversed") ? ", the other way round" : ""}`;
};

let chosenFor = "";
function showTracks() {
  const track = simulator?.track ?? "";
  if (track && track !== chosenFor) { // the car has come to another track: show that one as chosen
    chosenFor = track;
    const plain = track.replace(/-reversed$/, "");
    const random = /^random-(\d+)$/.exec(plain);
    if (random) byId("random").value = random[1];
    for (const radio of /** @type {NodeListOf<HTMLInputElement>} */ (document.getElementsByName("track"))) radio.checked = radio.value === (random ? "random" : plain);
    byId("reversed").checked = track.endsWith("-reversed");
  }
  const preparing = simulator?.preparing ?? "";
  const drives = Boolean(status?.car && (GUARDED.has(status.car.state)));
  const wanted = wantedTrack();
  const button = byId("carry");
  button.disabled = isWatching || drives || Boolean(preparing) || !simulator || !wanted || wanted === track;
  setText(button, preparing ? `Drawing ${trackName(preparing)} …` : drives ? "Stop the car first" : wanted && wanted === track ? "The car is here" : "Carry the car there");
}

function wantedTrack() {
  const radio = /** @type {HTMLInputElement | null} */ (document.querySelector("[name=track]:checked"));
  if (!radio || !byId("random").checkValidity()) return "";
  const name = radio.value === "random" ? `random-${byId("random").value || 0}` : radio.value;
  return byId("reversed").checked ? `${name}-reversed` : name;
}

// ---- hands ----

byId("simulator").addEventListener("change", (/** @type {Event} */ event) => {
  const target = /** @type {HTMLInputElement} */ (event.target);
  const row = /** @type {HTMLElement} */ (target.closest(".fault"));
  if (target.getAttribute("role") === "switch") switchFault(row, target.checked);
  else if (target.classList.contains("amount") && row?.classList.contains("is-on")) switchFault(row, true);
  else showTracks();
});
byId("simulator").addEventListener("click", (/** @type {Event} */ event) => {
  const target = /** @type {HTMLElement} */ (event.target);
  if (target.classList.contains("once")) switchFault(/** @type {HTMLElement} */ (target.closest(".fault")), true);
});
byId("random").addEventListener("focus", () => {
  /** @type {HTMLInputElement} */ (document.querySelector("[name=track][value=random]")).checked = true;
  showTracks();
});
byId("random").addEventListener("input", showTracks);
byId("mend").addEventListener("click", async () => {
  wishes.clear();
  if (await ask("/api/simulator/mend", {})) say("Everything is mended");
  await look();
});
byId("reset").addEventListener("click", async () => {
  if (await ask("/api/simulator/reset", {})) say("The car stands at the start");
});
byId("carry").addEventListener("click", async () => {
  const wanted = wantedTrack();
  if (await ask("/api/simulator/track", { track: wanted })) say(`The car comes to ${trackName(wanted)}`);
  await look();
});

if (isWatching) for (const control of document.querySelectorAll("main input, main button")) /** @type {HTMLInputElement} */ (control).disabled = true;
new Control(document.body.dataset.page ?? "", onStatus, () => `trail=${overhead.end}`);
keepLooking();
lay();
setInterval(showTrouble, LOOK_MS);
