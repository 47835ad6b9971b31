/** The Runs page: the list, and the run that was chosen from it. */

import { Followed, change } from "./models-api.js";
import { element, keep, setText } from "./models-dom.js";
import { Details } from "./runs-details.js";
import { bytes, dayOf, endOf, kindOf, lapTime, recorderWords, started, timeOfDay } from "./runs-words.js";

const LOOK_MS = 1000;
const LOST_MS = 3000;
const TOAST_MS = 8000;

/** @returns {any} */
const byId = (id) => document.getElementById(id);
const list = new Followed("/api/runs");
const details = new Details();
const mayChange = document.body.dataset.mayChange === "yes";
const isWide = () => matchMedia("(min-width: 900px)").matches;

let chosen = decodeURIComponent(location.hash.slice(1)); // name of the run that is shown
let answeredAt = -Infinity;
let lookTimer = 0;
let toastTimer = 0;

const all = () => list.document?.runs ?? [];
const whole = () => all().filter((run) => !run.is_mending);
const find = (name) => whole().find((run) => run.name === name) ?? null;

/* ---- what the page hears ---- */

async function look() {
  clearTimeout(lookTimer);
  try {
    const isNew = await list.look();
    answeredAt = performance.now();
    if (isNew) showAll();
  } catch {
    // Seen by its age.
  }
  const isLost = performance.now() - answeredAt > LOST_MS;
  byId("trouble").hidden = !isLost;
  setText(byId("trouble"), !isLost ? "" : list.document ? "No connection to the car's computer. What you see may be old." : "Looking for the car's computer.");
  lookTimer = setTimeout(look, document.hidden ? 5 * LOOK_MS : LOOK_MS);
}

/* ---- what the page shows ---- */

function showAll() {
  const now = new Date();
  const rows = [];
  let heading = "";
  for (const run of all()) {
    const name = dayOf(run, now);
    if (name !== heading) rows.push({ key: `day ${name}`, day: name });
    heading = name;
    rows.push({ key: run.name, run });
  }
  setText(byId("list-count"), all().length ? String(all().length) : "");
  byId("empty").hidden = all().length > 0;
  keep(byId("list"), rows, ({ key }) => key, makeRow, updateRow);
  showRecorder(list.document.recorder);
  showRoom(list.document);
  showRemoved(list.document.removed);
  if (mayChange) byId("discard").hidden = whole().length === 0;
  if (!find(chosen) && isWide()) choose(whole()[0]?.name ?? "", { moves: false });
  else showChosen();
}

function makeRow(row) {
  if (row.day) return element("li", { class: "day" }, element("h3", {}, row.day));
  return element("li", { class: "row" }, element("button", { type: "button", onclick: () => choose(row.run.name) },
    element("span", { class: "texts" }, element("span", { class: "name" }), element("span", { class: "kind" }), element("span", { class: "end" })),
    element("span", { class: "right" }, element("span", { class: "best" }), element("span", { class: "size" }), element("span", { class: "stars" }))));
}

function updateRow(item, { run }) {
  if (!run) return;
  setText(item.querySelector(".name"), [timeOfDay(started(run)), run.policy].filter(Boolean).join("  "));
  setText(item.querySelector(".kind"), run.is_mending ? "" : kindOf(run));
  setText(item.querySelector(".end"), endOf(run));
  setText(item.querySelector(".best"), run.best_lap_s === null ? "" : lapTime(run.best_lap_s));
  setText(item.querySelector(".size"), bytes(run.size_bytes));
  setText(item.querySelector(".stars"), run.starred ? "★ kept" : "");
  item.querySelector("button").disabled = run.is_mending;
  item.querySelector("button").setAttribute("aria-current", String(run.name === chosen));
}

function showRecorder(recorder) {
  byId("recorder").dataset.state = recorder.state.replace(" ", "-");
  setText(byId("recorder-words"), recorderWords(recorder));
}

function showRoom({ used_bytes: used, quota_bytes: quota, free_bytes: free }) {
  byId("room").hidden = false;
  byId("room-share").style.inlineSize = `${Math.min(100, (used / quota) * 100)}%`;
  setText(byId("room-words"), `${bytes(used)} of ${bytes(quota)}; the oldest go first, kept ones stay. ${bytes(free)} of the disk are free.`);
}

function showRemoved(removed) {
  byId("removed-section").hidden = removed.length === 0;
  keep(byId("removed"), removed, (name) => name, (name) => element("li", { class: "row" }, element("span", { class: "name" }, name),
    mayChange ? element("button", { type: "button", class: "small", "aria-label": `Put ${name} back`, onclick: () => putBack(name) }, "Put back") : null), () => {});
}

async function showChosen() {
  const run = find(chosen);
  byId("runs").dataset.view = run ? "details" : "list";
  byId("run").hidden = !run;
  byId("choose-one").hidden = Boolean(run) || all().length === 0;
  byId("details").hidden = all().length === 0;
  if (!run) {
    details.close();
    return;
  }
  if (mayChange) {
    byId("star").setAttribute("aria-pressed", String(run.starred));
    setText(byId("star-words"), run.starred ? "Kept" : "Keep");
  }
  if (!(await details.open(run.name))) say("That run is gone.");
}

function say(words) {
  setText(byId("news"), words);
}

function toast(words, undo) {
  clearTimeout(toastTimer);
  setText(byId("toast-words"), words);
  byId("toast").hidden = false;
  byId("toast-undo").hidden = !undo;
  byId("toast-undo").onclick = () => {
    byId("toast").hidden = true;
    undo?.();
  };
  toastTimer = setTimeout(() => { byId("toast").hidden = true; }, TOAST_MS);
}

/* ---- what a person asks for ---- */

function choose(name, { moves = true } = {}) {
  const before = chosen;
  chosen = name;
  const url = name ? `#${encodeURIComponent(name)}` : location.pathname;
  if (moves && before !== name) history.pushState(null, "", url);
  else if (!moves) history.replaceState(null, "", url);
  for (const button of document.querySelectorAll("#list .row > button")) {
    button.setAttribute("aria-current", String(/** @type {HTMLElement} */ (button.parentElement).dataset.key === name));
  }
  showChosen();
  if (!moves || isWide()) return;
  if (name) {
    scrollTo(0, 0);
    byId("run-title").focus();
  } else /** @type {HTMLElement | null} */ (document.querySelector(`#list [data-key="${CSS.escape(before)}"] > button`))?.focus();
}

async function remove(name, words) {
  const answer = await change("DELETE", `/api/runs/${encodeURIComponent(name)}`);
  if (!answer.ok) {
    toast(answer.error, null);
    return;
  }
  toast(words, () => putBack(name));
  if (chosen === name) choose("", { moves: false });
  await look();
  byId("toast-undo").focus({ preventScroll: true });
}

async function putBack(name) {
  const answer = await change("POST", `/api/runs/${encodeURIComponent(name)}/restore`);
  if (!answer.ok) {
    toast(answer.error, null);
    return;
  }
  await look();
  choose(name);
  say("The run is back.");
}

async function star() {
  const run = find(chosen);
  if (!run) return;
  const answer = await change("POST", `/api/runs/${encodeURIComponent(run.name)}/star`, { starred: !run.starred });
  if (!answer.ok) toast(answer.error, null);
  await look();
}

byId("back").addEventListener("click", () => choose(""));
if (mayChange) {
  byId("star").addEventListener("click", star);
  byId("remove").addEventListener("click", () => remove(chosen, "The run is removed."));
  byId("discard").addEventListener("click", () => remove(whole()[0]?.name ?? "", "The last run is discarded."));
}
addEventListener("popstate", () => choose(decodeURIComponent(location.hash.slice(1)), { moves: false }));
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) look();
});
look();
