/** One run in full: picture, line and curves in step, its laps and what happened. */

import { change, read } from "./requests.js";
import { element, setText } from "./dom.js";
import { Line, stretches } from "./runs-line.js";
import { Player } from "./runs-player.js";
import { axisMoments, drawCurve, drawMarks } from "./runs-plot.js";
import { bytes, clock, dayOf, duration, eventWords, filmWords, kindOf, lapTime, marksOf, readout, started, timeOfDay } from "./runs-words.js";

const LEAST_S = 1; // what a window shows at least
const FILM_LOOK_MS = 500;
const AGAIN_MS = 500;
const ZOOM = 2;
const STEP_S = 0.1;
const LEAP_S = 5;
const BACK_S = 1.5; // a press this soon after a mark goes to the one before

/** @param {string} id @returns {any} */
const byId = (id) => document.getElementById(id);

export class Details {
  constructor() {
    this.name = "";
    /** @type {RunDetails | null} */
    this.details = null;
    this.window = [0, 1];
    this.drawn = "";
    this.mostSpeed = 0;
    this.width = 0; // of the curves
    this.filmTimer = 0;
    this.reading = new AbortController(); // of everything that is asked about the run that is shown
    this.line = new Line(byId("line"));
    this.player = new Player({
      picture: (bitmap) => this.showPicture(bitmap),
      moment: (moment) => this.showMoment(moment),
      time: (seconds) => this.showTime(seconds),
      playing: (isPlaying) => this.showPlaying(isPlaying),
    });
    this.listen();
  }

  /** Read a run and show it; resolves to whether it is there. @param {string} name */
  async open(name) {
    if (name === this.name) return true;
    this.close();
    this.name = name;
    const details = await this.read("");
    if (this.name !== name) return true; // another was chosen meanwhile
    if (!details) {
      this.name = "";
      return false;
    }
    this.details = details;
    this.showFacts();
    this.showLaps();
    this.showEvents();
    byId("no-picture").hidden = details.has_pictures;
    byId("picture").hidden = !details.has_pictures;
    byId("line-figure").hidden = !details.has_truth;
    byId("speed-lane").hidden = !details.has_truth;
    byId("stage").classList.toggle("is-alone", !details.has_truth);
    byId("stage").classList.toggle("is-blind", !details.has_pictures);
    byId("time").max = String(details.seconds);
    this.player.load(name, details.seconds);
    await this.show([0, Math.max(details.seconds, LEAST_S)], true);
    return true;
  }

  /** Show nothing, and end what was asked about the run: it may be gone before that is answered. */
  close() {
    this.reading.abort();
    this.reading = new AbortController();
    clearTimeout(this.filmTimer);
    this.player.leave();
    this.name = "";
    this.details = null;
    this.drawn = "";
  }

  /** Read one document about the run that is shown; null when there is no answer. @param {string} path @returns {Promise<any>} */
  read(path) {
    return read(`/api/runs/${encodeURIComponent(this.name)}${path}`, this.reading.signal);
  }

  /** The run that is shown; only where there is one. */
  get shown() {
    return /** @type {RunDetails} */ (this.details);
  }

  /* ---- the window of time that the curves show ---- */

  /** @param {number[]} window */
  async show([since, until], isWhole = false) {
    if (!this.details) return;
    const end = Math.max(this.details.seconds, LEAST_S);
    const span = Math.min(Math.max(until - since, LEAST_S), end);
    const from = Math.min(Math.max(0, since), end - span);
    this.window = [from, from + span];
    this.showWindow();
    const wanted = `${this.name} ${this.window}`;
    if (this.drawn === wanted) return;
    this.drawn = wanted;
    const buckets = Math.min(1200, Math.max(200, Math.round(this.width)));
    const part = await this.read(`/curves?since_s=${from.toFixed(3)}&until_s=${(from + span).toFixed(3)}&buckets=${buckets}`);
    if (this.drawn !== wanted) return;
    if (!part) {
      this.drawn = ""; // no answer: asked again, unless something else is wanted by then
      setTimeout(() => { if (this.details && !this.drawn) this.show(this.window, isWhole); }, AGAIN_MS);
      return;
    }
    const [throttleLow, throttleHigh] = reach(part.curves.throttle);
    drawCurve(byId("plot-steering"), part.curves.steering, [-1, 1]);
    drawCurve(byId("plot-throttle"), part.curves.throttle, [throttleLow < 0 ? -1 : 0, Math.max(1, throttleHigh)]);
    if (isWhole) {
      this.mostSpeed = part.curves.speed_mps ? Math.max(0.5, Math.round(reach(part.curves.speed_mps)[1] * 10) / 10) : 0;
      this.line.showWhole(part.line, this.details.track);
      byId("line-words").hidden = !part.line || stretches(part.line).length < 2;
    } else this.line.showPart(part.line);
    if (part.curves.speed_mps) {
      drawCurve(byId("plot-speed"), part.curves.speed_mps, [0, this.mostSpeed]);
      setText(byId("speed-most"), `up to ${this.mostSpeed} m/s`);
    }
  }

  showWindow() {
    const [since, until] = this.window;
    drawMarks(byId("marks"), this.shown, since, until);
    const { step, moments } = axisMoments(since, until, this.width < 500 ? 4 : 9);
    byId("axis").replaceChildren(...moments.map((moment) => {
      const label = element("span", {}, clock(moment, step < 1 ? 1 : 0));
      label.style.left = `${((moment - since) / (until - since)) * 100}%`;
      return label;
    }));
    byId("zoom-all").disabled = byId("zoom-out").disabled = since <= 0 && until >= this.shown.seconds;
    byId("zoom-in").disabled = until - since <= LEAST_S;
    this.showCursor();
  }

  /** Show less time, or more, around one moment of it. @param {number} factor */
  zoom(factor, around = this.player.seconds) {
    const [since, until] = this.window;
    const middle = around >= since && around <= until ? around : (since + until) / 2;
    const share = (middle - since) / (until - since);
    const span = (until - since) * factor;
    this.show([middle - share * span, middle + (1 - share) * span]);
  }

  /* ---- one moment ---- */

  /** @param {number} seconds */
  showTime(seconds) {
    byId("time").value = String(seconds);
    byId("time").setAttribute("aria-valuetext", `${clock(seconds, 1)} of ${clock(this.player.duration, 1)}`);
    byId("time").style.setProperty("--share", String(this.player.duration ? seconds / this.player.duration : 0));
    setText(byId("clock"), `${clock(seconds, 1)} / ${clock(this.player.duration, 1)}`);
    const [since, until] = this.window;
    if (this.details && (seconds < since || seconds > until)) this.show([seconds, seconds + until - since]);
    this.showCursor();
    for (const row of document.querySelectorAll("#laps tbody tr")) {
      const { since: from, until: to } = /** @type {HTMLElement} */ (row).dataset;
      row.classList.toggle("is-now", seconds >= Number(from) && seconds < Number(to));
    }
  }

  showCursor() {
    const [since, until] = this.window;
    const share = (this.player.seconds - since) / (until - since);
    byId("cursor").hidden = share < 0 || share > 1;
    byId("cursor").style.left = `${share * 100}%`;
  }

  /** @param {ImageBitmap | null} bitmap */
  showPicture(bitmap) {
    const canvas = byId("picture");
    if (!bitmap) return;
    if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) [canvas.width, canvas.height] = [bitmap.width, bitmap.height];
    canvas.getContext("2d").drawImage(bitmap, 0, 0);
    bitmap.close();
  }

  /** @param {Moment | null} moment */
  showMoment(moment) {
    setText(byId("readout"), readout(moment));
    this.line.showCar(moment);
  }

  /** @param {boolean} isPlaying */
  showPlaying(isPlaying) {
    byId("play").classList.toggle("is-playing", isPlaying);
    byId("play").setAttribute("aria-label", isPlaying ? "Pause" : "Play");
  }

  /** @param {number} seconds */
  jump(seconds) {
    this.player.seek(seconds);
  }

  /** @param {number} direction */
  mark(direction) {
    const marks = marksOf(this.shown);
    const now = this.player.seconds;
    const next = direction > 0 ? marks.find((mark) => mark > now + 0.05) : marks.findLast((mark) => mark < now - (this.player.isPlaying ? BACK_S : 0.05));
    if (next !== undefined) this.jump(next);
    else if (direction < 0) this.jump(0);
  }

  /* ---- words ---- */

  showFacts() {
    const details = this.shown;
    const { run } = details;
    setText(byId("run-title"), `${dayOf(run, new Date())}, ${timeOfDay(started(run))}`);
    setText(byId("run-kind"), [run.policy, kindOf(run), run.is_hil ? "simulated car" : ""].filter(Boolean).join(" · "));
    byId("run-note").hidden = run.is_complete;
    setText(byId("run-note"), run.is_complete ? "" : sentence(run.note));
    byId("run-fault").hidden = !run.latched_fault;
    setText(byId("run-fault"), run.latched_fault ? `It ended on a fault: ${run.latched_fault}.` : "");
    const path = `/api/runs/${encodeURIComponent(run.name)}`;
    byId("take-mcap").href = `${path}/run.mcap`;
    byId("take-csv").href = `${path}/run.csv`;
    byId("take-film").href = `${path}/run.webm`;
    this.followFilm();
    byId("facts").replaceChildren(...[
      ["Recorded as", run.name],
      ["Length", `${duration(run.duration_s)}, ${details.ticks} ticks`],
      ["Decisions", String(details.decisions)],
      ["Pictures", String(details.pictures)],
      ["Policy", run.policy ? `${run.policy} ${details.policy_hash.slice(0, 12)}` : "none"],
      ["Driver", details.drivers.join(", ") || "–"],
      ["Calibration", `version ${details.calibration_version}`],
      ["Size", bytes(run.size_bytes)],
    ].map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value))));
  }

  /** Look after this run's film until it is there. */
  async followFilm() {
    clearTimeout(this.filmTimer);
    const { name } = this;
    const film = this.details?.has_pictures ? await this.read("/film") : null;
    if (name !== this.name) return;
    byId("take-film").hidden = film?.state !== "ready";
    const words = film ? filmWords(film) : "";
    setText(byId("film-words"), words);
    const make = byId("make-film"); // not there for who only watches
    if (make) make.hidden = !film || film.state === "ready" || film.state === "making";
    if (film?.state === "making") this.filmTimer = setTimeout(() => this.followFilm(), FILM_LOOK_MS);
  }

  async makeFilm() {
    const { name } = this;
    const answer = await change("POST", `/api/runs/${encodeURIComponent(name)}/film`);
    if (name !== this.name) return;
    await this.followFilm();
    if (answer.ok) return;
    setText(byId("film-words"), answer.error);
  }

  showLaps() {
    const { laps, run } = this.shown;
    const best = Math.min(...laps.map(({ time_s }) => time_s));
    byId("laps-source").hidden = run.laps_source !== "marker";
    byId("no-laps").hidden = laps.length > 0;
    byId("laps").hidden = laps.length === 0;
    byId("laps").querySelector("tbody").replaceChildren(...laps.map((lap) => {
      const isBest = lap.time_s === best;
      const row = element("tr", { class: isBest ? "is-best" : null },
        element("th", { scope: "row" }, element("button", { type: "button", class: "link", onclick: () => this.showLap(lap), "aria-label": `See lap ${lap.lap}` }, String(lap.lap))),
        element("td", { class: "number" }, lapTime(lap.time_s)),
        element("td", { class: "number" }, isBest ? "best" : `+${(lap.time_s - best).toFixed(3)}`));
      [row.dataset.since, row.dataset.until] = [String(lap.since_s), String(lap.until_s)];
      return row;
    }));
  }

  /** @param {RunLap} lap */
  showLap(lap) {
    this.jump(lap.since_s);
    this.show([lap.since_s, lap.until_s]);
  }

  showEvents() {
    byId("events").replaceChildren(...this.shown.events.map((event) => {
      const item = element("li", { class: `event of-${event.kind.replace(" ", "-")}` },
        element("button", { type: "button", class: "link", onclick: () => this.jump(event.t_s) }, element("span", { class: "at" }, clock(event.t_s, 1)), " ", eventWords(event)));
      return item;
    }));
  }

  /* ---- what a person does ---- */

  listen() {
    byId("play").addEventListener("click", () => this.player.toggle());
    byId("make-film")?.addEventListener("click", () => this.makeFilm());
    byId("mark-back").addEventListener("click", () => this.mark(-1));
    byId("mark-on").addEventListener("click", () => this.mark(1));
    byId("pace").addEventListener("change", () => { this.player.pace = Number(byId("pace").value); });
    byId("time").addEventListener("input", () => {
      this.player.pause();
      this.jump(Number(byId("time").value));
    });
    byId("zoom-in").addEventListener("click", () => this.zoom(1 / ZOOM));
    byId("zoom-out").addEventListener("click", () => this.zoom(ZOOM));
    byId("zoom-all").addEventListener("click", () => this.show([0, this.shown.seconds]));
    this.listenToLanes(byId("lanes"));
    new ResizeObserver(([lanes]) => { this.width = lanes.contentRect.width; }).observe(byId("lanes")); // asked at every moment, the page would be laid out at once
    document.addEventListener("keydown", (event) => this.press(event));
  }

  /** A finger or mouse drags the moment; a wheel with Ctrl zooms, as a map does. @param {HTMLElement} lanes */
  listenToLanes(lanes) {
    const moment = (/** @type {MouseEvent} */ event) => {
      const box = lanes.getBoundingClientRect();
      const [since, until] = this.window;
      return since + Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)) * (until - since);
    };
    lanes.addEventListener("pointerdown", (event) => {
      if (!this.details || event.button !== 0) return;
      lanes.setPointerCapture(event.pointerId);
      this.player.pause();
      this.jump(moment(event));
    });
    lanes.addEventListener("pointermove", (event) => {
      if (this.details && lanes.hasPointerCapture(event.pointerId)) this.jump(moment(event));
    });
    lanes.addEventListener("wheel", (event) => {
      if (!this.details || !event.ctrlKey) return;
      event.preventDefault();
      this.zoom(event.deltaY > 0 ? 1.25 : 0.8, moment(event));
    }, { passive: false });
  }

  /** @param {KeyboardEvent} event */
  press(event) {
    const target = /** @type {HTMLElement} */ (event.target);
    if (!this.details || event.altKey || event.ctrlKey || event.metaKey || target.matches?.("input:not(#time), select, textarea")) return;
    /** @type {Record<string, () => void>} */
    const acts = {
      k: () => this.player.toggle(),
      ArrowLeft: () => this.jump(this.player.seconds - (event.shiftKey ? LEAP_S : STEP_S)),
      ArrowRight: () => this.jump(this.player.seconds + (event.shiftKey ? LEAP_S : STEP_S)),
      Home: () => this.jump(0),
      End: () => this.jump(this.player.duration),
      "[": () => this.mark(-1),
      "]": () => this.mark(1),
      "+": () => this.zoom(1 / ZOOM),
      "-": () => this.zoom(ZOOM),
    };
    const act = acts[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!act) return;
    event.preventDefault();
    act();
  }
}

/** @param {Curve} curve */
function reach(curve) {
  const low = curve.low.filter((value) => value !== null);
  const high = curve.high.filter((value) => value !== null);
  return [Math.min(0, ...low), Math.max(0, ...high)];
}

/** @param {string} words */
function sentence(words) {
  const text = words || "some of it is missing";
  return `${text[0].toUpperCase()}${text.slice(1)}${text.endsWith(".") ? "" : "."}`;
}
