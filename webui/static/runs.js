/** The Runs page: the list, and the run that was chosen from it. */

import { element, keep, part, setText } from "./dom.js";
import { Followed, change } from "./requests.js";
import { Details } from "./runs-details.js";
import { bytes, dayOf, endOf, kindOf, lapTime, recorderWords, started, timeOfDay } from "./runs-words.js";
import { isWide, Shelf } from "./shelf.js";
import { focusUndo, say, toast } from "./toast.js";

const LOOK_MS = 1000;
const LOST_MS = 3000;
const AGAIN_MS = 5000;
const UNREADABLE = "This run cannot be read now: it may be damaged, or the car's computer did not answer.";

/** @param {string} id @returns {any} */
const byId = (id) => document.getElementById(id);
/** @type {Followed<RunList>} */
const list = new Followed("/api/runs");
const details = new Details();
const mayChange = document.body.dataset.mayChange === "yes";
const shelf = new Shelf("#list .row > button", () => byId("run-title"), showChosen);

let answeredAt = -Infinity;
let lookTimer = 0;
let againTimer = 0;

/** Runs that this page removes, and whether the car has; none is asked about, though an older list still has it. @type {Map<string, boolean>} */
const leaving = new Map();

const all = () => (list.document?.runs ?? []).filter((run) => !leaving.has(run.name));
const whole = () => all().filter((run) => !run.is_mending);
const find = (/** @type {string} */ name) => whole().find((run) => run.name === name) ?? null;

/* ---- what the page hears ---- */

async function look() {
  clearTimeout(lookTimer);
  const gone = [...leaving].filter(([, isGone]) => isGone).map(([name]) => name);
  try {
    const isNew = await list.look();
    answeredAt = performance.now();
    for (const name of gone) leaving.delete(name); // this list is of after that
    if (isNew) showAll();
  } catch {
    // Seen by its age.
  }
  const isLost = performance.now() - answeredAt > LOST_MS;
  setText(byId("trouble"), !isLost ? "" : list.document ? "No connection to the car's computer. What you see may be old." : "Looking for the car's computer.");
  lookTimer = setTimeout(look, document.hidden ? 5 * LOOK_MS : LOOK_MS);
}

/* ---- what the page shows ---- */

function showAll() {
  const now = new Date();
  /** @type {Row[]} */
  const rows = [];
  let heading = "";
  for (const run of all()) {
    const name = dayOf(run, now);
    if (name !== heading) rows.push({ key: `day of ${run.name}`, day: name, run: null }); // a day may come twice, around a date that nobody knows
    heading = name;
    rows.push({ key: run.name, day: "", run });
  }
  setText(byId("list-count"), all().length ? String(all().length) : "");
  byId("empty").hidden = all().length > 0;
  keep(byId("list"), rows, ({ key }) => key, makeRow, updateRow);
  if (list.document) {
    showRecorder(list.document.recorder);
    showRoom(list.document);
    showRemoved(list.document.removed);
  }
  if (mayChange) byId("discard").hidden = whole().length === 0;
  if (!find(shelf.chosen) && isWide()) choose(whole()[0]?.name ?? "", { moves: false });
  else showChosen();
}

/** @typedef {{key: string, day: string, run: RunRow | null}} Row of the list: a day's heading, or a run */

/** @param {Row} row */
function makeRow({ day, run }) {
  if (!run) return element("li", { class: "day" }, element("h3", {}, day));
  return element("li", { class: "row" }, element("button", { type: "button", onclick: () => choose(run.name) },
    element("span", { class: "texts" }, element("span", { class: "name" }), element("span", { class: "kind" }), element("span", { class: "end" })),
    element("span", { class: "right" }, element("span", { class: "best" }), element("span", { class: "size" }), element("span", { class: "stars" }))));
}

/** @param {HTMLElement} item @param {Row} row */
function updateRow(item, { day, run }) {
  if (!run) {
    setText(part(item, "h3"), day);
    return;
  }
  setText(part(item, ".name"), [timeOfDay(started(run)), run.policy].filter(Boolean).join("  "));
  setText(part(item, ".kind"), run.is_mending ? "" : kindOf(run));
  setText(part(item, ".end"), endOf(run));
  setText(part(item, ".best"), run.best_lap_s === null ? "" : lapTime(run.best_lap_s));
  setText(part(item, ".size"), bytes(run.size_bytes));
  setText(part(item, ".stars"), run.starred ? "★ kept" : "");
  part(item, "button").disabled = run.is_mending;
  part(item, "button").setAttribute("aria-current", String(run.name === shelf.chosen));
}

/** @param {Recording} recorder */
function showRecorder(recorder) {
  byId("recorder").dataset.state = recorder.state.replace(" ", "-");
  setText(byId("recorder-words"), recorderWords(recorder));
}

/** @param {RunList} list */
function showRoom({ used_bytes: used, quota_bytes: quota, free_bytes: free }) {
  byId("room").hidden = false;
  byId("room-share").style.inlineSize = `${Math.min(100, (used / quota) * 100)}%`;
  setText(byId("room-words"), `${bytes(used)} of ${bytes(quota)}; the oldest go first, kept ones stay. ${bytes(free)} of the disk are free.`);
}

/** @param {string[]} removed */
function showRemoved(removed) {
  byId("removed-section").hidden = removed.length === 0;
  keep(byId("removed"), removed, (name) => name, (name) => element("li", { class: "row" }, element("span", { class: "name" }, name),
    mayChange ? element("button", { type: "button", class: "small", "aria-label": `Put ${name} back`, onclick: () => putBack(name) }, "Put back") : null));
}

async function showChosen() {
  const run = find(shelf.chosen);
  byId("runs").dataset.view = run ? "details" : "list";
  byId("run").hidden = !run;
  byId("choose-one").hidden = Boolean(run) || all().length === 0;
  setText(byId("choose-one"), "Choose a run.");
  byId("details").hidden = all().length === 0;
  if (!run) {
    details.close();
    return;
  }
  if (mayChange) {
    byId("star").setAttribute("aria-pressed", String(run.starred));
    setText(byId("star-words"), run.starred ? "Kept" : "Keep");
  }
  if (await details.open(run.name)) return;
  byId("runs").dataset.view = "list";
  byId("run").hidden = true;
  byId("choose-one").hidden = false;
  setText(byId("choose-one"), UNREADABLE);
  say(UNREADABLE);
  clearTimeout(againTimer);
  againTimer = window.setTimeout(showChosen, AGAIN_MS);
}

/* ---- what a person asks for ---- */

/** @param {string} name @param {{moves?: boolean}} how */
const choose = (name, how = {}) => shelf.choose(name, how);

/** @param {string} name @param {string} words */
async function remove(name, words) {
  const wasChosen = shelf.chosen === name;
  leaving.set(name, false);
  if (wasChosen) choose("", { moves: false }); // and ends what is asked about it
  showAll();
  const answer = await change("DELETE", `/api/runs/${encodeURIComponent(name)}`);
  if (!answer.ok) {
    leaving.delete(name);
    toast(answer.error);
    showAll();
    if (wasChosen && !shelf.chosen) choose(name, { moves: false });
    return;
  }
  leaving.set(name, true);
  toast(words, () => putBack(name));
  await look();
  focusUndo();
}

/** @param {string} name */
async function putBack(name) {
  const answer = await change("POST", `/api/runs/${encodeURIComponent(name)}/restore`);
  if (!answer.ok) {
    toast(answer.error);
    return;
  }
  leaving.delete(name);
  await look();
  choose(name);
  say("The run is back.");
}

async function star() {
  const run = find(shelf.chosen);
  if (!run) return;
  const answer = await change("POST", `/api/runs/${encodeURIComponent(run.name)}/star`, { starred: !run.starred });
  if (!answer.ok) toast(answer.error);
  await look();
}

byId("back").addEventListener("click", () => choose(""));
if (mayChange) {
  byId("star").addEventListener("click", star);
  byId("remove").addEventListener("click", () => remove(shelf.chosen, "The run is removed."));
  byId("discard").addEventListener("click", () => remove(whole()[0]?.name ?? "", "The last run is discarded."));
}
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) look();
});
look();
