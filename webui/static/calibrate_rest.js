/** The page at rest: what is in force, what was saved before, and files in and out. */

import { post } from "./link.js";
import { byId, makeButton, show, trouble, view } from "./calibrate_page.js";
import { setText } from "./dom.js";
import { toast } from "./toast.js";

const RETRY_MS = 1000;
const ASK_MS = 8000; // the board may need three attempts
const FILE_LIMIT_BYTES = 65536; // as the server has it

export class Rest extends EventTarget {
  /** @param {import("./calibrate_session.js").Session} session */
  constructor(session) {
    super();
    this.session = session;
    /** @type {any} what the server says of this car's numbers; null before it has */
    this.known = null;
    byId("undo").addEventListener("click", () => this.change("undo", (/** @type {any} */ answer) => `Version ${answer.saved.version} is in force again.`));
    byId("tell-board").addEventListener("click", () => this.change("store", () => "The board has this car's numbers."));
    byId("import").addEventListener("click", () => byId("file").click());
    byId("file").addEventListener("change", () => this.importFile());
  }

  /** Ask for this car's numbers until they come. */
  async load() {
    try {
      const response = await fetch("/api/calibration", { signal: AbortSignal.timeout(3000) });
      const answer = await response.json();
      if (!response.ok) throw new Error(answer.error);
      trouble("");
      this.take(answer);
    } catch (error) {
      trouble(error instanceof Error && error.name === "Error" ? error.message : "The car's computer did not answer.");
      setTimeout(() => this.load(), RETRY_MS);
    }
  }

  /** @param {any} answer */
  take(answer) {
    this.known = answer;
    if (view() === "loading") show("rest");
    this.show();
    this.dispatchEvent(new Event("known"));
  }

  /** Come back here after something was saved. @param {any} answer @param {string} done */
  finish(answer, done) {
    show("rest");
    trouble("");
    this.take(answer);
    if (answer.note) trouble(answer.note);
    else toast(done);
  }

  show() {
    const { saved, fresh, hil, history, name, board_note: boardNote, problem } = this.known;
    setText(byId("car-name"), name);
    setText(byId("car-note"), saved ? savedNote(saved) : fresh ? "Nobody has calibrated this car yet. It does not drive before." : `${hil ? "A simulated car with the numbers it was built with. " : ""}Nothing is saved yet.`);
    for (const button of document.querySelectorAll("[data-walk]")) {
      const { dataset } = /** @type {HTMLElement} */ (button);
      /** @type {HTMLElement} */ (button).hidden = fresh && dataset.walk !== "all";
    }
    byId("floor-card").hidden = fresh;
    if (problem || (boardNote && !fresh)) trouble(problem || boardNote);
    byId("tell-board").hidden = !saved || this.known.told;
    byId("undo").disabled = history.length < 2;
    byId("export").hidden = !saved;
    const rows = history.map((/** @type {SavedNumbers} */ cal) => this.historyRow(cal, saved?.version === cal.version));
    if (rows.length === 0) {
      const empty = document.createElement("li");
      empty.className = "empty";
      empty.textContent = "Nothing yet.";
      rows.push(empty);
    }
    byId("history").replaceChildren(...rows);
  }

  /** @param {SavedNumbers} cal @param {boolean} isNow */
  historyRow(cal, isNow) {
    const item = document.createElement("li");
    item.classList.toggle("is-now", isNow);
    const texts = { version: String(cal.version), who: cal.saved_by || "–", when: when(cal.saved_at), what: isNow ? "in force" : "" };
    for (const [name, text] of Object.entries(texts)) {
      const part = document.createElement("span");
      part.className = name;
      part.textContent = text;
      item.append(part);
    }
    if (!isNow) {
      const look = () => this.dispatchEvent(new CustomEvent("look", { detail: cal }));
      item.lastElementChild?.append(makeButton("Look", look, `Look at version ${cal.version}`));
    }
    return item;
  }

  /** @param {string} what @param {(answer: any) => string} done */
  async change(what, done) {
    const answer = await this.session.ask(what, {}, { timeoutMs: ASK_MS });
    if (answer.ok) this.finish(answer, done(answer));
    else trouble(answer.error);
  }

  async importFile() {
    const [file] = byId("file").files;
    if (!file) return;
    if (file.size > FILE_LIMIT_BYTES) {
      trouble(`${file.name} has ${file.size} bytes, allowed ${FILE_LIMIT_BYTES}; no calibration is as large.`);
      return;
    }
    const text = await file.text();
    byId("file").value = ""; // so that the same file can be chosen again
    const answer = await post("/api/calibration/import", { text });
    trouble(answer.error ?? "");
    if (!answer.error) this.dispatchEvent(new CustomEvent("look", { detail: answer.calibration }));
  }
}

/** @param {SavedNumbers} saved */
function savedNote({ version, saved_at: at, saved_by: by }) {
  return `Version ${version}, saved ${when(at)}${by ? ` by ${by}` : ""}.`;
}

/** @param {string} text */
function when(text) {
  const date = new Date(text);
  return Number.isNaN(date.valueOf()) ? "" : date.toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });
}
