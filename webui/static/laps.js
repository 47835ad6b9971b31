/** Lap times as they happen, and the driven line from above. */

import { lapTime } from "./words.js";

const TRAIL_POINTS = 1200;
const SOURCES = { world: "", marker: "Timed by the start marker.", hand: "Marked by hand." };
const TAIL_M = 4; // drawn with their speed
const STEP_M = 0.05; // between two points that this page remembers by itself
const JUMP_M = 1; // farther than between two points means that somebody put the car elsewhere

export class Laps {
  /** @param {HTMLElement} card */
  constructor(card) {
    const part = (/** @type {string} */ id) => /** @type {HTMLElement} */ (card.querySelector(`#${id}`));
    this.clock = part("lap-clock");
    this.name = part("lap-name");
    this.best = part("lap-best");
    this.list = part("lap-list");
    this.mishap = part("mishap");
    this.news = part("lap-news");
    this.source = part("lap-source");
    this.now = /** @type {HTMLElement} */ (document.getElementById("lap-now"));
    /** @type {number | null} */
    this.shown = null;
    this.map = /** @type {HTMLCanvasElement} */ (part("map"));
    this.trail = new Trail(this.map);
  }

  /** Number of the first point of the driven line that is still missing here. */
  get trailEnd() {
    return this.trail.end;
  }

  /**
   * @param {World | null} world the truth of a simulated car
   * @param {LapsDocument | null | undefined} laps what the car itself counts
   */
  show(world, laps) {
    this.map.hidden = !world;
    const source = laps ?? world;
    if (!source) {
      this.showList(null, [], null);
      this.now.replaceChildren();
      return;
    }
    this.clock.textContent = lapTime(source.lap_time_s, 1);
    this.name.textContent = source.lap_time_s === null ? "To the line" : `Lap ${source.lap_count + 1}`;
    this.best.textContent = lapTime(source.best?.time_s);
    this.showNow(source);
    this.mishap.textContent = world?.crashed ? "crashed" : world?.off_track ? "off the track" : "";
    this.showList(source.lap_count, source.laps, source.best);
    this.showSource(laps);
    if (world) this.trail.add(world);
  }

  /** The lap that is being driven, beside the state. @param {{lap_count: number, lap_time_s: number | null}} source */
  showNow({ lap_count: count, lap_time_s: time }) {
    const seconds = document.createElement("b");
    seconds.textContent = `${lapTime(time, 1)}${(time ?? 0) < 59.95 ? " s" : ""}`; // 1:02.3 needs no unit
    this.now.replaceChildren(...(time === null ? [] : [`Lap ${count + 1}`, seconds]));
  }

  /**
   * What timed the laps, and what to know of it; nothing where the simulated world does.
   * @param {LapsDocument | null | undefined} laps
   */
  showSource(laps) {
    const timed = laps?.source && (laps.lap_count > 0 || laps.lap_time_s !== null);
    const words = timed && laps?.source ? [SOURCES[laps.source], ...(laps.remarks ?? [])].filter(Boolean).join(" ") : "";
    if (this.source.textContent !== words) this.source.textContent = words;
    this.source.hidden = !words;
  }

  /** @param {number | null} count @param {Crossing[]} laps @param {Crossing | null} best */
  showList(count, laps, best) {
    if (count === this.shown) return;
    const isNew = this.shown !== null && count !== null && count > this.shown;
    this.shown = count;
    const last = laps.at(-1);
    if (!count || !last || !best) {
      const words = count === null ? "Nothing times laps on this car yet." : "No lap yet.";
      this.list.replaceChildren(row("empty", words));
      return;
    }
    this.list.replaceChildren(...laps.toReversed().map((crossing) => lapRow(crossing, best)));
    if (isNew) {
      this.list.firstElementChild?.classList.add("is-new");
      this.news.textContent = `Lap ${last.lap}: ${lapTime(last.time_s)} seconds${last.lap === best.lap ? ", the best" : ""}`;
    }
  }
}

/** @param {Crossing} crossing @param {Crossing} best */
function lapRow(crossing, best) {
  const isBest = crossing.lap === best.lap;
  const item = row(isBest ? "best" : "", "");
  const behind = isBest ? "best" : `+${(crossing.time_s - best.time_s).toFixed(2)}`;
  for (const [name, text] of [["lap", `Lap ${crossing.lap}`], ["time", lapTime(crossing.time_s)], ["behind", behind]]) {
    const part = document.createElement("span");
    part.className = name;
    part.textContent = text;
    item.append(part);
  }
  return item;
}

/** @param {string} className @param {string} text */
function row(className, text) {
  const item = document.createElement("li");
  item.className = className;
  item.textContent = text;
  return item;
}

/** @param {HTMLCanvasElement} canvas */
function coloursOf(canvas) {
  const style = getComputedStyle(canvas);
  return { line: style.getPropertyValue("--line"), tail: style.color, car: style.getPropertyValue("--chestnut") };
}

/** The driven line, and the last metres of it thick where the car was fast. */
class Trail {
  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    this.context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    /** @type {number[][]} across, up and speed */
    this.points = [];
    this.end = 0;
    /** @type {{x: number, y: number, heading: number} | null} */
    this.car = null;
    /** @type {{line: string, tail: string, car: string} | null} of the page's style, which takes long to ask */
    this.colours = null;
    this.isDue = false;
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      this.colours = null;
      this.drawSoon();
    });
  }

  /** @param {World} world */
  add({ x_m: x, y_m: y, heading_rad: heading, speed_mps: speed, trail: sent }) {
    const last = this.points.at(-1);
    const isFar = !last || distance(last, [x, y]) > STEP_M;
    const trail = sent ?? { points: isFar ? [[x, y, speed]] : [], end: this.end + (isFar ? 1 : 0) };
    const gap = trail.end - this.end !== trail.points.length; // the server forgot some, or is another one
    if (gap) this.points = [];
    this.end = trail.end;
    this.points = this.points.concat(trail.points).slice(-TRAIL_POINTS);
    const moved = !this.car || this.car.x !== x || this.car.y !== y || this.car.heading !== heading;
    this.car = { x, y, heading };
    if (moved || trail.points.length > 0) this.drawSoon();
  }

  /** Draw with the next picture of the screen: what was heard is not held up by it. */
  drawSoon() {
    if (this.isDue) return;
    this.isDue = true;
    requestAnimationFrame(() => {
      this.isDue = false;
      this.draw();
    });
  }

  draw() {
    const { canvas, context, points, car } = this;
    if (car === null) return;
    this.colours ??= coloursOf(canvas);
    const { line, tail, car: chestnut } = this.colours;
    const place = this.fit();
    /** @param {any} from @param {any} to */
    const path = (from, to) => {
      context.moveTo(...place(from));
      context.lineTo(...place(to));
    };
    const pairs = points.slice(1).map((to, i) => [points[i], to]).filter(([from, to]) => distance(from, to) < JUMP_M);

    context.clearRect(0, 0, canvas.width, canvas.height);
    context.lineCap = "round";
    context.strokeStyle = line;
    context.lineWidth = 22;
    context.beginPath();
    for (const [from, to] of pairs) path(from, to);
    context.stroke();

    context.strokeStyle = tail;
    const fastest = Math.max(...points.map((point) => point[2]), 0.5);
    let length = 0;
    for (const [from, to] of pairs.toReversed()) {
      length += distance(from, to);
      if (length > TAIL_M) break;
      context.lineWidth = 3 + 10 * (to[2] / fastest);
      context.beginPath();
      path(from, to);
      context.stroke();
    }
    this.drawCar(place([car.x, car.y]), chestnut);
  }

  /** Return the function from metres to pixels that shows all of the line. */
  fit() {
    const car = this.car ?? { x: 0, y: 0 };
    const { width, height } = this.canvas;
    const all = [...this.points, [car.x, car.y]];
    const xs = all.map((point) => point[0]);
    const ys = all.map((point) => point[1]);
    const [left, right, bottom, top] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
    const scale = (width - 52) / Math.max(right - left, top - bottom, 2);
    /** @param {number[]} point @returns {[number, number]} */
    return ([x, y]) => [width / 2 + (x - (left + right) / 2) * scale, height / 2 - (y - (bottom + top) / 2) * scale];
  }

  /** @param {[number, number]} place @param {string} colour */
  drawCar([across, down], colour) {
    const { context } = this;
    context.save();
    context.translate(across, down);
    context.rotate(-(this.car?.heading ?? 0));
    context.fillStyle = colour;
    context.beginPath();
    context.moveTo(18, 0);
    context.lineTo(-12, 11);
    context.lineTo(-6, 0);
    context.lineTo(-12, -11);
    context.fill();
    context.restore();
  }
}

/** @param {number[]} from @param {number[]} to */
function distance([x0, y0], [x1, y1]) {
  return Math.hypot(x1 - x0, y1 - y0);
}
