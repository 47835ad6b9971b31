/** The Models page: puts the parts together. */

import { Control } from "./control.js";
import { element, keep, part, setText } from "./dom.js";
import { loadedKey } from "./loaded.js";
import { describeModel } from "./models-details.js";
import { drawThumbnail } from "./models-plot.js";
import { Queue } from "./models-queue.js";
import { send } from "./models-send.js";
import { followSticks } from "./models-sticks.js";
import { showUploads } from "./models-uploads.js";
import { ago, arrange, kindOf, milliseconds, whyNotActivate, whyNotRemove } from "./models-words.js";
import { changeHeaders, Followed, change, read } from "./requests.js";
import { isWide, Shelf } from "./shelf.js";
import { stopOverToo } from "./stopbar.js";
import { store, stored } from "./stored.js";
import { focusUndo, say, toast } from "./toast.js";

const LOOK_MS = 1000; // without a socket, which tells when there is something new
const LOOK_OFTEN_MS = 250; // while something is on its way, or somebody types and space must still stop a car
const LOST_MS = 3000;
const STANDING = new Set(["disarmed", "failsafe"]);
const FILTER_FROM = 6; // models; fewer are seen at a glance
const ON_THE_WAY = new Set(["uploading", "checking", "asking"]);

/** @param {string} id @returns {any} */
const byId = (id) => document.getElementById(id);
/** @type {Followed<{models: Model[], removed: RemovedModel[], car: LoadedCar | null}>} */
const models = new Followed("/api/models");
/** @type {Followed<{uploads: UploadState[]}>} */
const uploads = new Followed("/api/uploads");
const shelf = new Shelf(".row[data-key] > button[aria-current]", () => part(byId("details"), "h2"), showChosen);

let answeredAt = -Infinity;
/** @type {LoadedCar | null} */
let newestCar = null; // as the car says of itself over the socket
let heardAt = -Infinity;
let heardWord = ""; // of the socket, for the list and the uploads as they were last asked for
let isLooking = false;
/** @type {FullModel | null} */
let full = null; // the chosen one, as the server describes it in full
let fullStamp = "";
let busy = ""; // key of the model that is being activated
/** @type {{key: string, words: string} | null} */
let sentence = null; // what to say about the chosen model
let renaming = ""; // key of the model that somebody is giving another name
let lookTimer = 0;
/** @type {Set<string>} */
const seenOnTheWay = new Set(); // uploads whose outcome this page has waited for
/** @type {Set<string>} */
const told = new Set(); // uploads whose outcome or question has been said

/* ---- what the page hears ---- */

/** What the car says of itself, ten times a second; the list is asked for when its word has changed. @param {StatusDocument} document */
function hear(document) {
  const before = carKey();
  newestCar = document.car;
  heardAt = performance.now();
  if (carKey() !== before && models.document) showAll();
  showTrouble();
  if (document.models === heardWord || isLooking) return;
  heardWord = document.models ?? "";
  look();
}

function carKey() {
  return JSON.stringify([newestCar?.state, newestCar?.policy, newestCar?.policy_hash, newestCar?.policy_note]);
}

async function look() {
  clearTimeout(lookTimer);
  isLooking = true;
  let isAnswered = false;
  try {
    const [listChanged, uploadsChanged] = await Promise.all([models.look(), uploads.look()]);
    answeredAt = performance.now();
    isAnswered = true;
    if (uploadsChanged) noticeOutcomes();
    if (listChanged) showAll();
    if (uploadsChanged) {
      queue.next();
      showAllUploads();
    }
    await lookAtChosen();
  } catch {
    // Seen by its age.
  }
  isLooking = false;
  showTrouble();
  if (control.isLive && isAnswered && !full?.measuring && !queue.isBusy) return; // the socket tells
  const goesOn = queue.isBusy || (uploads.document?.uploads ?? []).some(({ state }) => ON_THE_WAY.has(state)) || full?.measuring;
  const types = document.activeElement?.matches("input");
  lookTimer = setTimeout(look, goesOn || types ? LOOK_OFTEN_MS : LOOK_MS);
}

function noticeOutcomes() {
  for (const { id, state, name, model } of uploads.document?.uploads ?? []) {
    if (ON_THE_WAY.has(state)) seenOnTheWay.add(id);
    /** @type {Record<string, string>} */
    const news = { done: `${model?.name} is ready.`, asking: `${name} needs an answer.`, refused: `${name} is refused.` };
    if (!news[state] || !seenOnTheWay.has(id) || told.has(`${id} ${state}`)) continue;
    told.add(`${id} ${state}`);
    say(news[state]);
  }
}

/** Read the chosen model in full, again when it has changed in the list. */
async function lookAtChosen() {
  const chosen = shelf.chosen;
  const model = find(chosen);
  if (!model) return;
  const stamp = JSON.stringify(model);
  if (full?.key === chosen && stamp === fullStamp && (!full.measuring || full.measuring.error)) return;
  const document = await read(`/api/models/${encodeURIComponent(chosen)}`);
  if (!document || chosen !== shelf.chosen) return;
  const isSame = fullStamp === stamp && JSON.stringify(document) === JSON.stringify(full);
  full = document;
  fullStamp = stamp;
  if (!isSame) showDetails();
}

/* ---- what the page shows ---- */

const all = () => models.document?.models ?? [];
const isHeard = () => performance.now() - heardAt < LOST_MS;
const car = () => (isHeard() ? newestCar : (models.document?.car ?? null));
const find = (/** @type {string} */ key) => all().find((model) => model.key === key) ?? null;

function showAll() {
  const own = arrange(all().filter((model) => !model.built_in), byId("order").value, byId("filter").value);
  const shipped = all().filter((model) => model.built_in);
  const ownCount = all().length - shipped.length;
  setText(byId("list-count"), ownCount ? String(ownCount) : "");
  byId("filter").hidden = ownCount < FILTER_FROM && !byId("filter").value;
  byId("order").parentElement.hidden = ownCount < 2;
  byId("own-empty").hidden = own.length > 0;
  setText(byId("own-empty"), ownCount ? "No model matches." : "None yet. Add what your training exported; it is checked before it may drive.");
  showRows(byId("own"), own);
  showRows(byId("shipped"), shipped.filter((model) => !model.calibration_drive));
  showRows(byId("drives"), shipped.filter((model) => model.calibration_drive));
  showRemoved();
  if (!find(shelf.chosen) && isWide()) {
    const loaded = loadedKey(all(), car());
    choose((all().find((model) => model.active || model.key === loaded) ?? own[0] ?? shipped[0])?.key ?? "", { moves: false });
  } else showDetails();
}

/** @param {HTMLElement} list @param {Model[]} shown */
function showRows(list, shown) {
  keep(list, shown, (model) => model.key, makeRow, updateRow);
}

/** @param {Model} model */
function makeRow(model) {
  const row = element("li", { class: "row" });
  const button = element("button", { type: "button", onclick: () => choose(model.key) },
    element("span", { class: "thumb-place" }),
    element("span", { class: "texts" }, element("bdi", { class: "name" }), element("span", { class: "kind" })),
    element("span", { class: "right" }, element("span", { class: "badge" }), element("span", { class: "milliseconds" })));
  row.append(button);
  part(row, ".thumb-place").append(drawThumbnail(model.action_space));
  return row;
}

/** @param {HTMLElement} row @param {Model} model */
function updateRow(row, model) {
  const loaded = loadedKey(all(), car());
  setText(part(row, ".name"), model.name);
  setText(part(row, ".kind"), model.problem ? "Damaged" : kindOf(model));
  part(row, ".kind").classList.toggle("is-bad", Boolean(model.problem));
  const badge = busy === model.key ? "Loading" : model.key === loaded ? "In the car" : model.active ? "Next start" : model.warnings?.length ? "Warning" : "";
  setText(part(row, ".badge"), badge);
  part(row, ".badge").dataset.kind = badge;
  setText(part(row, ".milliseconds"), model.infer_median_ms ? milliseconds(model.infer_median_ms) : "");
  part(row, "button").setAttribute("aria-current", String(model.key === shelf.chosen));
}

function showRemoved() {
  const removed = models.document?.removed ?? [];
  byId("removed-section").hidden = removed.length === 0;
  keep(byId("removed"), removed, (entry) => entry.removed, (entry) => {
    const item = element("li", { class: "row" });
    item.append(element("p", {}, element("bdi", { class: "name" }), element("span", { class: "kind" })),
      element("button", { type: "button", class: "small", "aria-label": `Put ${entry.name} back`, onclick: () => putBack(entry.removed) }, "Put back"));
    return item;
  }, (item, entry) => {
    setText(part(item, ".name"), entry.name);
    setText(part(item, ".kind"), ago(Date.now() / 1000 - entry.removed_at_s));
  });
}

function showDetails() {
  const place = byId("details");
  const chosen = shelf.chosen;
  const model = find(chosen);
  byId("models").dataset.view = model ? "details" : "list";
  if (renaming && place.dataset.key === renaming && chosen === renaming) return; // not under somebody's fingers
  if (!model) {
    place.replaceChildren(element("p", { class: "faint" }, models.document ? "Choose a model." : "Looking at the models."));
    return;
  }
  const open = place.dataset.key === chosen && place.querySelector("details")?.open;
  const focus = place.contains(document.activeElement) ? /** @type {HTMLElement} */ (document.activeElement).dataset.act : null;
  place.dataset.key = chosen;
  place.replaceChildren(...header(model), ...describeModel(model, full?.key === chosen ? full : null, measure));
  if (open && place.querySelector("details")) part(place, "details").open = true;
  if (!focus) return;
  place.querySelector(`[data-act="${focus}"]`)?.focus();
  if (!place.contains(document.activeElement)) part(place, "h2").focus({ preventScroll: true }); // what had it can be pressed no more
}

/** @param {Model} model */
function header(model) {
  const loaded = loadedKey(all(), car());
  const isLoaded = model.key === loaded;
  const noActivation = whyNotActivate(model, car());
  const noRemoval = whyNotRemove(model, loaded);
  const drives = isLoaded && model.active && !car()?.policy_note;
  const words = sentence?.key === model.key ? sentence.words
    : busy === model.key ? "The car loads it and tries it; it drives with the one before until then."
      : drives ? "The car drives with it, and will after a restart."
        : isLoaded && !model.active ? "The car has it loaded for now; activate it to keep it after a restart."
          : model.active ? "The car starts with it next time." : noActivation;
  return [
    element("button", { type: "button", class: "back small", "data-act": "back", onclick: () => choose("") }, "‹ All models"),
    element("div", { class: "title" }, element("h2", { tabindex: "-1", "data-act": "title" }, element("bdi", {}, model.name))),
    element("p", { class: "kind" }, kindOf(model), model.control_rate_hz ? ` · ${model.control_rate_hz} Hz` : "", model.built_in ? " · ships with Lapwing" : ""),
    element("div", { class: "actions" },
      element("button", { type: "button", class: "action main", "data-act": "activate", disabled: Boolean(noActivation) || drives || busy !== "", onclick: () => activate(model) },
        busy === model.key ? "Loading" : drives ? "Active" : "Activate"),
      model.built_in ? null : element("button", { type: "button", class: "action", "data-act": "rename", onclick: () => startRenaming(model) }, "Rename"),
      model.built_in ? null : element("a", { class: "action", "data-act": "download", href: `/api/models/${model.key}/original`, download: "" }, "Download"),
      model.built_in ? null : element("button", { type: "button", class: "action", "data-act": "remove", disabled: Boolean(noRemoval), title: noRemoval || null, onclick: () => remove(model) }, "Remove")),
    element("p", { class: "faint", role: "status", id: "sentence" }, words || ""),
  ];
}

function showAllUploads() {
  const known = uploads.document?.uploads ?? [];
  const told = known.filter((upload) => ON_THE_WAY.has(upload.state) || upload.state === "refused" || (upload.state === "done" && seenOnTheWay.has(upload.id)));
  const ours = new Map(queue.entries.map((entry) => [entry.id, entry]));
  const shown = [...told.map((upload) => ours.get(upload.id) ?? upload), ...queue.entries.filter((entry) => !told.some(({ id }) => id === entry.id))];
  byId("uploads-section").hidden = shown.length === 0;
  showUploads(byId("uploads"), shown, { takeBack, choose: chooseRange, open: choose });
}

function showTrouble() {
  const isLost = performance.now() - Math.max(answeredAt, heardAt) > LOST_MS;
  const note = car()?.policy_note ?? "";
  const words = isLost && models.document ? "No connection to the car's computer. What you see may be old."
    : isLost ? "Looking for the car's computer." : note;
  setText(byId("trouble"), words);
  // Space stops a car that may move, whatever has the focus; it is a letter only beside one that surely stands.
  document.body.dataset.standsStill = String(!isLost && models.document !== null && STANDING.has(car()?.state ?? "disarmed"));
}

/* ---- what a person asks for ---- */

function showChosen() {
  if (renaming !== shelf.chosen) renaming = "";
  if (sentence?.key !== shelf.chosen) sentence = null;
  if (full?.key !== shelf.chosen) full = null;
  showDetails();
  lookAtChosen();
}

/** @param {string} key @param {{moves?: boolean}} how */
const choose = (key, how = {}) => shelf.choose(key, how);

/** @param {Model} model */
async function activate(model) {
  busy = model.key;
  sentence = null;
  showAll();
  const answer = await change("POST", `/api/models/${encodeURIComponent(model.key)}/activate`);
  busy = "";
  if (!answer.ok) sentence = { key: model.key, words: answer.error };
  else if (!answer.loaded) say(`The car starts with ${model.name} next time.`);
  else say(`The car drives with ${model.name}.`);
  showAll();
  look();
}

/** @param {Model} model */
async function measure(model) {
  const answer = await change("POST", `/api/models/${encodeURIComponent(model.key)}/measure`);
  if (!answer.ok) toast(answer.error);
  full = null;
  look();
}

/** @param {Model} model */
function startRenaming(model) {
  renaming = model.key;
  const title = byId("details").querySelector(".title");
  const field = element("input", { type: "text", id: "new-name", maxlength: "120", autocomplete: "off", "aria-label": "New name" });
  field.value = model.name;
  const form = element("form", { class: "rename" }, field,
    element("button", { type: "submit", class: "action main" }, "Save"),
    element("button", { type: "button", class: "action", onclick: () => endRenaming() }, "Cancel"));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const name = field.value.trim();
    if (!name) return;
    const answer = await change("PATCH", `/api/models/${model.key}`, { name });
    sentence = answer.ok ? null : { key: model.key, words: answer.error };
    if (answer.ok) say(`It is now called ${answer.name}.`);
    await models.look().catch(() => {});
    endRenaming();
  });
  form.addEventListener("keydown", (event) => {
    if (event.key === "Escape") endRenaming();
  });
  title.replaceChildren(form);
  field.focus();
  field.select();
  look();
}

function endRenaming() {
  renaming = "";
  showAll();
  byId("details").querySelector('[data-act="rename"]')?.focus();
}

/** @param {Model} model */
async function remove(model) {
  const answer = await change("DELETE", `/api/models/${model.key}`);
  if (!answer.ok) {
    sentence = { key: model.key, words: answer.error };
    showDetails();
    return;
  }
  toast(`${model.name} is removed.`, () => putBack(answer.removed));
  if (shelf.chosen === model.key) choose("");
  await look();
  focusUndo();
}

/** @param {string} removed */
async function putBack(removed) {
  const answer = await change("POST", `/api/models/${encodeURIComponent(removed)}/restore`);
  if (answer.ok) {
    await look();
    choose(answer.key);
    say(`${answer.name} is back.`);
  } else toast(answer.error);
}

/** @param {ShownUpload} upload */
function takeBack(upload) {
  const own = queue.entries.find((entry) => entry.id === upload.id);
  if (own) queue.takeBack(own);
  else change("DELETE", `/api/uploads/${upload.id}`).then(look);
}

/** @param {ShownUpload} upload @param {string} range */
async function chooseRange(upload, range) {
  const answer = await change("POST", `/api/uploads/${upload.id}/input-range`, { input_range: range });
  if (!answer.ok) toast(answer.error);
  look();
}

/* ---- uploads ---- */

const queue = new Queue({
  room: (size) => read(`/api/uploads/room?size_bytes=${size}`),
  send,
  outcome: async (id) => {
    await uploads.look().catch(() => {});
    return (uploads.document?.uploads ?? []).find((upload) => upload.id === id) ?? null;
  },
  takeBack: (id) => fetch(`/api/uploads/${id}`, { method: "DELETE", headers: changeHeaders() }).then((answer) => answer.text()).catch(() => {}),
  draw: () => Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16).padStart(2, "0")).join(""),
}, showAllUploads);

/** @param {FileList} files */
function add(files) {
  for (const entry of queue.add(files)) seenOnTheWay.add(entry.id);
  clearTimeout(lookTimer);
  lookTimer = setTimeout(look, LOOK_OFTEN_MS);
}

byId("choose").addEventListener("click", () => byId("files").click());
byId("files").addEventListener("change", () => {
  add(byId("files").files);
  byId("files").value = "";
});
const carriesFiles = (/** @type {DragEvent} */ event) => event.dataTransfer?.types.includes("Files") ?? false;
let depth = 0; // of elements that the files are over
addEventListener("dragenter", (event) => {
  if (!carriesFiles(event)) return;
  depth += 1;
  byId("drop").classList.add("is-over");
});
addEventListener("dragleave", (event) => {
  if (!carriesFiles(event)) return;
  depth -= 1;
  if (depth <= 0) byId("drop").classList.remove("is-over");
});
addEventListener("dragover", (event) => {
  if (carriesFiles(event)) event.preventDefault();
});
addEventListener("drop", (event) => {
  depth = 0;
  byId("drop").classList.remove("is-over");
  if (!carriesFiles(event)) return;
  event.preventDefault();
  if (event.dataTransfer) add(event.dataTransfer.files);
});
addEventListener("beforeunload", (event) => {
  if (queue.isBusy) event.preventDefault();
});
addEventListener("lapwing-stop", () => queue.hold());
addEventListener("lapwing-stop-over", () => queue.release());

/* ---- the list ---- */

byId("order").value = stored("models-order") ?? "newest";
byId("order").addEventListener("change", () => {
  store("models-order", byId("order").value);
  showAll();
});
byId("filter").addEventListener("input", showAll);
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) look();
});
document.addEventListener("focusin", (event) => {
  if (/** @type {HTMLElement} */ (event.target).matches?.("input")) look();
});
showDetails();
const control = new Control(document.body.dataset.page ?? "", hear, () => "");
stopOverToo(control);
if (byId("sticks-section")) followSticks(look);
setInterval(showTrouble, LOOK_MS); // also while nothing comes
look();
