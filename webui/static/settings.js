/** The settings page: shows what the file says, gathers changes, asks before a failsafe gets weaker, saves. */

import { change, read } from "./requests.js";
import { element, keep, setText } from "./dom.js";
import { Light } from "./light.js";
import { WifiCard } from "./settings-wifi.js";
import { fetchGently } from "./link.js";
import { say } from "./toast.js";

const LOOK_MS = 2000;
const TUNE_MS = 120; // what moves under a finger is sent so often at most
const TUNED = ["camera.exposure_ms", "camera.gain", "camera.white_balance_k"];
const RESTARTING_MS = 8000;
const STANDING = new Set(["disarmed", "failsafe"]);

const byId = (/** @type {string} */ id) => /** @type {any} */ (document.getElementById(id));
const isWatching = document.body.dataset.watching === "yes";
const isFixed = isWatching || document.body.dataset.file === "none"; // nothing here can be changed
const rows = /** @type {HTMLElement[]} */ ([...document.querySelectorAll(".setting")]);
const nameOf = (/** @type {HTMLElement} */ row) => row.dataset.name ?? "";
/** What takes a value out of the file; not every one may be. @returns {HTMLInputElement | null} */
const unsetOf = (/** @type {HTMLElement} */ row) => row.querySelector("[data-unset-of]");
/** @type {SettingsDocument | null} */
let known = null;
/** @type {Map<string, any>} what the person has changed, as the file would have it; null: out of the file */
const changes = new Map();
/** @type {string[]} */
let accepted = [];
let problem = "";
let restartingUntilMs = 0;
let tuneTimer = 0;
let isTuning = false;
let canTune = false;

// ---- values ----

const fieldOf = (/** @type {string} */ name) => known?.fields.find((field) => field.name === name);
const inputOf = (/** @type {string} */ name) => byId(name);

/** @param {HTMLElement} row */
function shownValue(row) {
  const name = nameOf(row);
  const field = fieldOf(name);
  if (changes.has(name)) return changes.get(name) ?? field?.bounds.default ?? null;
  return field?.value ?? null;
}

/** Whether nothing can be changed here: the camera's light is tuned without a file too. @param {HTMLElement} row */
const isHeld = (row) => isFixed && (isWatching || !TUNED.includes(nameOf(row)));

/** Put a value into its input. @param {HTMLElement} row */
function show(row) {
  const input = inputOf(nameOf(row));
  const value = shownValue(row);
  const scale = Number(row.dataset.scale);
  if (row.dataset.kind === "switch") input.checked = Boolean(value);
  else if (row.dataset.kind === "number" || row.dataset.kind === "whole") input.value = value === null ? "" : String(Number((value * scale).toPrecision(8)));
  else input.value = String(value ?? "");
  const unset = unsetOf(row);
  if (unset) {
    unset.checked = value === null;
    input.disabled = isHeld(row) || value === null;
  }
  showSlide(row, value);
}

/** What a slider goes between. @param {HTMLElement} row */
function rangeOf(row) {
  const { lowest, highest, kind } = /** @type {SettingField} */ (fieldOf(nameOf(row))).bounds;
  return { lowest: Number(lowest), highest: Number(highest), kind };
}

/** Put a slider where its value is. @param {HTMLElement} row @param {any} value */
function showSlide(row, value) {
  const slide = /** @type {HTMLInputElement | null} */ (row.querySelector("[data-slide-of]"));
  if (!slide || !fieldOf(nameOf(row))) return;
  slide.hidden = value === null;
  slide.disabled = isWatching;
  if (typeof value !== "number" || document.activeElement === slide) return;
  const { lowest, highest } = rangeOf(row);
  const share = slide.dataset.slide === "even" ? (value - lowest) / (highest - lowest) : Math.log(value / lowest) / Math.log(highest / lowest);
  slide.value = String(Math.round(1000 * Math.min(1, Math.max(0, share))));
  slide.style.setProperty("--share", String(Number(slide.value) / 1000));
}

/** What a slider says, as its field shows it. @param {HTMLInputElement} slide @param {HTMLElement} row */
function slid(slide, row) {
  const { lowest, highest, kind } = rangeOf(row);
  const share = Number(slide.value) / 1000;
  const value = slide.dataset.slide === "even" ? lowest + share * (highest - lowest) : lowest * (highest / lowest) ** share;
  const kept = kind === "whole" ? Math.round(value) : Math.min(highest, Math.max(lowest, Number(value.toPrecision(2))));
  return Number((kept * Number(row.dataset.scale)).toPrecision(8));
}

/** What an input says, as the file has it; undefined: nothing that may be. @param {HTMLElement} row */
function said(row) {
  const input = inputOf(nameOf(row));
  const unset = unsetOf(row);
  if (unset?.checked) return null;
  if (!input.checkValidity()) return undefined;
  if (row.dataset.kind === "switch") return input.checked;
  if (row.dataset.kind === "choice") return fieldOf(nameOf(row))?.bounds.choices.find((choice) => String(choice) === input.value);
  if (row.dataset.kind === "text") return input.value.trim();
  if (input.value === "") return undefined;
  return Number((input.valueAsNumber / Number(row.dataset.scale)).toPrecision(8));
}

/** @param {HTMLElement} row */
function hear(row) {
  const name = nameOf(row);
  const value = said(row);
  const field = fieldOf(name);
  row.classList.toggle("is-wrong", value === undefined);
  if (!field) return;
  if (value !== undefined && value === field.value) changes.delete(name);
  else changes.set(name, value);
  accepted = [];
  showChanges();
  if (TUNED.includes(name) && light.isOpen) tuneSoon();
}

// ---- the camera, tuned while its picture is looked at ----

function tuneSoon() {
  clearTimeout(tuneTimer);
  tuneTimer = setTimeout(tune, TUNE_MS);
}

/** Let the camera obey what the page shows; nothing is saved by it. */
async function tune() {
  if (isTuning) return tuneSoon();
  const shown = TUNED.map((name) => (changes.has(name) ? changes.get(name) : fieldOf(name)?.value));
  if (!canTune || shown.includes(undefined)) return;
  isTuning = true;
  const [exposure_ms, gain, white_balance_k] = shown;
  if (await ask("/api/camera/tune", { page: document.body.dataset.page, exposure_ms, gain, white_balance_k })) await look();
  isTuning = false;
}

function showChanges() {
  const wrong = [...changes].filter(([, value]) => value === undefined).map(([name]) => name);
  for (const row of rows) {
    const name = nameOf(row);
    row.classList.toggle("is-changed", changes.has(name));
    const field = fieldOf(name);
    const shipped = /** @type {HTMLElement | null} */ (row.querySelector("[data-shipped-of]"));
    const isShipped = changes.has(name) ? changes.get(name) === null || changes.get(name) === field?.bounds.default : (field?.is_shipped ?? true);
    if (shipped) shipped.hidden = isShipped || isFixed || field?.bounds.default === "" || Boolean(row.dataset.unset) || name === "name";
  }
  byId("savebar").hidden = changes.size === 0;
  byId("weighing").hidden = true;
  byId("savebar").classList.remove("is-weaker");
  setText(byId("save"), "Save");
  byId("save").disabled = wrong.length > 0 || !known?.file;
  const words = wrong.length ? `${labelOf(wrong[0])}: out of its range` : changes.size === 1 ? "1 change" : `${changes.size} changes`;
  if (changes.size && byId("changes-words").textContent !== words) say(words);
  setText(byId("changes-words"), changes.size ? words : "");
}

const labelOf = (/** @type {string} */ name) => document.querySelector(`label[for="${name}"]`)?.textContent ?? name;

// ---- looking ----

async function look() {
  const [document_, status] = await Promise.all([read("/api/settings"), read("/api/status?page=" + document.body.dataset.page)]);
  if (document_) {
    const isNew = !known || known.revision !== document_.revision;
    known = document_;
    if (isNew) for (const row of rows) if (!changes.has(nameOf(row)) && document.activeElement !== inputOf(nameOf(row))) show(row);
    if (isNew) showChanges();
    const isTried = !document_.is_camera_saved && !TUNED.some((name) => changes.has(name));
    byId("tried").hidden = isWatching || !isTried;
    byId("tried-keep").hidden = !document_.file;
  }
  showState(document_ === null, status?.car ?? null);
}

async function keepLooking() {
  await Promise.all([look(), lookAtClock(), lookAtWebhook()]);
  setTimeout(keepLooking, LOOK_MS);
}

async function lookAtClock() {
  const clock = await read("/api/clock");
  if (!clock) return;
  const time = new Date(clock.unix_ms).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
  setText(byId("clock-words"), clock.is_known ? time : `${time}, which is a guess`);
  setText(byId("clock-hint"), clock.is_synchronised ? "Set by the network."
    : clock.zone ? `Nothing has set the car's own clock; a browser in ${clock.zone.replaceAll("_", " ")} told it. Runs carry that date.`
    : "Nothing has set the car's clock. A page of somebody who may drive tells it the time, and runs are dated then.");
}

/** How race events reach the address that the owner gave. */
async function lookAtWebhook() {
  if (isWatching) return;
  const said = await read("/api/race/webhook");
  if (!said) return;
  showWebhook(said);
}

/** @param {WebhookDocument} said */
function showWebhook(said) {
  const hook = said.status;
  byId("webhook-facts").hidden = !hook;
  if (byId("webhook-form")) {
    byId("webhook-form").hidden = said.is_fixed;
    byId("webhook-off").hidden = !hook;
  }
  if (!hook) {
    setText(byId("webhook-words"), "Sent nowhere.");
    byId("webhook-hint").hidden = true;
    return;
  }
  const waiting = hook.waiting === 0 ? "" : hook.waiting === 1 ? ", 1 event waits" : `, ${hook.waiting} events wait`;
  setText(byId("webhook-words"), hook.problem ? `${hook.host} does not take them${waiting}.` : `To ${hook.host}${waiting}.`);
  byId("webhook-words").classList.toggle("is-bad", Boolean(hook.problem));
  setText(byId("webhook-delivered"), hook.delivered_ago_s === null ? "none yet" : `${longAgo(hook.delivered_ago_s)}, ${hook.delivered} in all`);
  setText(byId("webhook-failed"), hook.failed_ago_s === null ? "none" : `${longAgo(hook.failed_ago_s)}: ${hook.last_problem}`);
  byId("webhook-hint").hidden = hook.dropped === 0;
  setText(byId("webhook-hint"), hook.dropped === 1 ? "1 event was given up." : `${hook.dropped} events were given up.`);
}

/** Send race events elsewhere, or with an empty address nowhere. @param {string} address */
async function pointWebhook(address) {
  const answer = await change("POST", "/api/race/webhook", { address });
  setText(byId("webhook-trouble"), answer.ok ? "" : answer.error);
  if (!answer.ok) return;
  byId("webhook-address").value = "";
  await Promise.all([look(), lookAtWebhook()]);
  say("Saved");
}

/** @param {number} s */
function longAgo(s) {
  if (s < 60) return `${Math.round(s)} s ago`;
  return s < 5400 ? `${Math.round(s / 60)} min ago` : `${Math.round(s / 3600)} h ago`;
}

/** @param {boolean} isLost @param {Car | null} car */
function showState(isLost, car) {
  const isRestarting = performance.now() < restartingUntilMs && (known?.needs_restart ?? true);
  if (!isRestarting && restartingUntilMs && known?.needs_restart === false) {
    restartingUntilMs = 0;
    say("The car goes by the new settings");
  }
  canTune = !isWatching && car?.state === "disarmed";
  setText(byId("live-words"), canTune ? "Exposure, gain and white balance take effect at once while the picture is shown." : "Exposure, gain and white balance take effect at once only while the car stands disarmed.");
  const drives = Boolean(car && !STANDING.has(car.state));
  const failed = car?.state === "failsafe";
  const card = byId("restart-card");
  card.hidden = !(known?.needs_restart || isRestarting);
  byId("restart").disabled = isWatching || drives || failed || isRestarting;
  setText(byId("restart"), isRestarting ? "Starting …" : drives ? "Stop the car first" : failed ? "Disarm the car first" : "Start it again now");
  const words = (isLost ? "This page has lost the car's computer." : "") || problem || (known?.problem ?? "");
  setText(byId("trouble"), words);
}

// ---- saving ----

/** @param {string} url @param {object} body */
async function ask(url, body) {
  const answer = await change("POST", url, body);
  problem = answer.ok ? "" : answer.error;
  setText(byId("trouble"), problem);
  if (problem) byId("trouble").scrollIntoView({ block: "nearest" });
  return answer.ok ? answer : null;
}

async function save() {
  const body = { changes: Object.fromEntries(changes), revision: known?.revision ?? "", accepted };
  if (accepted.length === 0) {
    const weighed = await ask("/api/settings/weigh", body);
    if (!weighed) return;
    if (weighed.weaker.length > 0) {
      keep(byId("weaker"), weighed.weaker, (each) => each.name, () => element("li"), (item, each) => setText(item, each.meaning));
      byId("weighing").hidden = false;
      byId("savebar").classList.add("is-weaker");
      setText(byId("save"), "Save it all the same");
      accepted = weighed.weaker.map((/** @type {{name: string}} */ each) => each.name);
      return;
    }
  }
  const saved = await ask("/api/settings", body);
  if (!saved) return;
  changes.clear();
  accepted = [];
  known = null; // show what the file says now
  await look();
  const now = /** @type {SettingsDocument | null} */ (known);
  if (now && !now.is_camera_saved) await tune(); // was saved without the picture
  say("Saved");
}

// ---- hands ----

byId("form").addEventListener("input", (/** @type {Event} */ event) => {
  const target = /** @type {HTMLInputElement} */ (event.target);
  const row = /** @type {HTMLElement} */ (target.closest(".setting"));
  if (target.dataset.slideOf) {
    target.style.setProperty("--share", String(Number(target.value) / 1000));
    inputOf(target.dataset.slideOf).value = String(slid(target, row));
  }
  if (target.dataset.unsetOf) {
    const input = inputOf(target.dataset.unsetOf);
    input.disabled = target.checked;
    if (!target.checked && input.value === "") input.value = input.dataset.last ?? "";
    if (!target.checked) input.focus();
  }
  hear(row);
  if (!target.dataset.slideOf) showSlide(row, said(row) ?? null);
});
byId("form").addEventListener("click", (/** @type {Event} */ event) => {
  const name = /** @type {HTMLElement} */ (event.target).dataset.shippedOf;
  if (!name) return;
  const row = rows.find((each) => each.dataset.name === name);
  changes.set(name, null);
  accepted = [];
  if (row) show(row);
  showChanges();
  if (TUNED.includes(name) && light.isOpen) tuneSoon();
});
byId("form").addEventListener("submit", (/** @type {Event} */ event) => event.preventDefault());
byId("save").addEventListener("click", save);
byId("discard").addEventListener("click", () => {
  changes.clear();
  accepted = [];
  problem = "";
  for (const row of rows) {
    row.classList.remove("is-wrong");
    show(row);
  }
  showChanges();
  if (!known?.is_camera_saved) tuneSoon();
});
byId("tried-keep").addEventListener("click", () => {
  TUNED.forEach((name) => {
    const value = known?.camera?.[/** @type {"gain"} */ (name.replace("camera.", ""))] ?? null;
    if (value !== fieldOf(name)?.value) changes.set(name, value);
  });
  for (const row of rows) show(row);
  showChanges();
  byId("tried").hidden = true;
});
byId("tried-back").addEventListener("click", tune);
byId("restart").addEventListener("click", async () => {
  if (await ask("/api/settings/restart", { page: document.body.dataset.page })) {
    restartingUntilMs = performance.now() + RESTARTING_MS;
    await look();
  }
});
byId("webhook-form")?.addEventListener("submit", (/** @type {Event} */ event) => {
  event.preventDefault();
  pointWebhook(byId("webhook-address").value.trim());
});
byId("webhook-off")?.addEventListener("click", () => pointWebhook(""));
byId("log-show")?.addEventListener("click", async () => {
  const pane = byId("log");
  try {
    const { response, body } = await fetchGently(`/api/log?part=${encodeURIComponent(byId("log-part").value)}`, { timeoutMs: 8000 });
    const text = body ? await body.text() : "";
    pane.textContent = response.ok ? text || "It has said nothing." : JSON.parse(text).error;
  } catch {
    pane.textContent = "The car's computer did not answer.";
  }
  pane.hidden = false;
  pane.scrollTop = pane.scrollHeight;
});
if (byId("wifi")) new WifiCard();
const light = new Light(byId("light"), document.body.dataset.page ?? "");
addEventListener("beforeunload", (event) => {
  if (changes.size > 0) event.preventDefault();
});

const hands = isWatching ? "#form :is(input, select, button:not(#light-show))" : ".setting :is(input, select, button)";
if (isFixed) {
  for (const control of document.querySelectorAll(hands)) {
    const row = /** @type {HTMLElement | null} */ (control.closest(".setting"));
    /** @type {HTMLInputElement} */ (control).disabled = row === null || isHeld(row);
  }
}
keepLooking();
