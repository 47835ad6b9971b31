/** The simulated track from above: road, car, driven line coloured by speed, and what stands in the way. */

/** @typedef {(point: number[]) => [number, number]} Place from the world's metres to the canvas */
/** @typedef {(name: string) => string} Colour of the style sheet */
/** @typedef {{x: number, y: number, heading: number, steering: number}} Pose */

const TRAIL_POINTS = 1200;
const JUMP_M = 1; // farther than between two points means that somebody put the car elsewhere
const MARGIN_M = 0.45;
const BEHIND_MS = 110; // drawn this much later than told, so that there is something to draw between
const CAR = { length: 0.36, width: 0.2, rear: 0.09, smallest: 26 };
const SHADES = 8;

export class Overhead {
  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    this.context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    /** @type {Layout | null} */
    this.layout = null;
    /** @type {number[][]} */
    this.points = [];
    this.end = 0;
    /** @type {{at: number, world: World}[]} */
    this.told = [];
    this.isWanted = false;
    this.isDark = matchMedia("(prefers-color-scheme: dark)");
    this.isDark.addEventListener("change", () => this.want());
    new ResizeObserver(() => this.want()).observe(canvas);
  }

  /** @param {Layout} layout */
  lay(layout) {
    this.layout = layout;
    const { left, right, bottom, top } = bounds([...layout.inner, ...layout.outer]);
    this.canvas.style.aspectRatio = `${right - left + 2 * MARGIN_M} / ${top - bottom + 2 * MARGIN_M}`;
    this.want();
  }

  /** Take what the world has just told. @param {World} world */
  show(world) {
    const sent = world.trail ?? { points: [], end: this.end };
    if (sent.end - this.end !== sent.points.length) this.points = []; // begun anew, or another server
    this.end = sent.end;
    if (sent.points.length > 0) this.points = this.points.concat(sent.points).slice(-TRAIL_POINTS);
    this.told = [...this.told.slice(-3), { at: performance.now(), world }];
    this.want();
  }

  want() {
    if (this.isWanted) return;
    this.isWanted = true;
    requestAnimationFrame((now) => {
      this.isWanted = false;
      this.draw(now);
      const newest = this.told.at(-1);
      if (newest && now - newest.at < 2 * BEHIND_MS && this.told.length > 1) this.want();
    });
  }

  /** Where the car is at a time, between two tellings. @param {number} at */
  poseAt(at) {
    const after = this.told.find((told) => told.at >= at) ?? this.told.at(-1);
    if (!after) return null;
    const before = this.told[this.told.indexOf(after) - 1];
    const { x_m: x, y_m: y, heading_rad: heading, steering_rad: steering } = after.world;
    if (!before || after.at < at) return { x, y, heading, steering };
    const was = before.world;
    const share = Math.min(1, Math.max(0, (at - before.at) / Math.max(1, after.at - before.at)));
    if (Math.hypot(x - was.x_m, y - was.y_m) > JUMP_M) return { x, y, heading, steering };
    const turn = Math.atan2(Math.sin(heading - was.heading_rad), Math.cos(heading - was.heading_rad));
    return {
      x: was.x_m + (x - was.x_m) * share,
      y: was.y_m + (y - was.y_m) * share,
      heading: was.heading_rad + turn * share,
      steering,
    };
  }

  /** @param {number} now */
  draw(now) {
    const { canvas, context, layout } = this;
    const ratio = Math.min(3, devicePixelRatio || 1);
    const [width, height] = [Math.round(canvas.clientWidth * ratio), Math.round(canvas.clientHeight * ratio)];
    if (width === 0 || height === 0) return;
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    context.clearRect(0, 0, width, height);
    if (!layout) return;
    const style = getComputedStyle(canvas);
    /** @type {Colour} */
    const colour = (name) => style.getPropertyValue(name).trim();
    const { left, right, bottom, top } = bounds([...layout.inner, ...layout.outer]);
    const scale = Math.min(width / (right - left + 2 * MARGIN_M), height / (top - bottom + 2 * MARGIN_M));
    /** @type {Place} */
    const place = ([x, y]) => [width / 2 + (x - (left + right) / 2) * scale, height / 2 - (y - (bottom + top) / 2) * scale];
    context.lineJoin = context.lineCap = "round";
    this.drawRoad(layout, place, scale, colour);
    this.drawTrail(place, ratio, [colour("--slow"), colour("--fast")]);
    const world = this.told.at(-1)?.world;
    for (const thing of world?.things ?? []) this.drawBox(thing, place, scale, colour("--thing"));
    const pose = this.poseAt(now - BEHIND_MS);
    if (pose) this.drawCar(pose, place, Math.max(scale, (CAR.smallest * ratio) / CAR.length), colour, Boolean(world?.crashed || world?.off_track));
  }

  /** @param {Layout} layout @param {Place} place @param {number} scale @param {Colour} colour */
  drawRoad(layout, place, scale, colour) {
    const { context } = this;
    /** @param {number[][]} line */
    const trace = (line) => {
      line.forEach((point, k) => context[k === 0 ? "moveTo" : "lineTo"](...place(point)));
      context.closePath();
    };
    context.beginPath();
    trace(layout.outer);
    trace(layout.inner);
    context.fillStyle = colour("--road");
    context.fill("evenodd");
    context.strokeStyle = colour("--edge");
    context.lineWidth = Math.max(1.5, 0.05 * scale);
    context.stroke();
    context.beginPath();
    trace(layout.center);
    context.setLineDash([0.15 * scale, 0.15 * scale]);
    context.strokeStyle = colour("--dash");
    context.lineWidth = Math.max(1, 0.035 * scale);
    context.stroke();
    context.setLineDash([]);
    this.drawStart(layout, place, scale, colour);
  }

  /** Two rows of squares across the road where laps begin. @param {Layout} layout @param {Place} place @param {number} scale @param {Colour} colour */
  drawStart({ inner, outer }, place, scale, colour) {
    const { context } = this;
    const [from, to] = [place(inner[0]), place(outer[0])];
    const length = Math.hypot(to[0] - from[0], to[1] - from[1]);
    const size = Math.max(3, 0.09 * scale);
    const count = Math.max(2, Math.round(length / size));
    context.save();
    context.translate(from[0], from[1]);
    context.rotate(Math.atan2(to[1] - from[1], to[0] - from[0]));
    for (let row = 0; row < 2; row += 1) {
      for (let k = 0; k < count; k += 1) {
        context.fillStyle = colour((k + row) % 2 === 0 ? "--edge" : "--start");
        context.fillRect((k * length) / count, (row - 1) * size, length / count, size);
      }
    }
    context.restore();
  }

  /** @param {Place} place @param {number} ratio @param {string[]} colours of slow and fast */
  drawTrail(place, ratio, [slow, fast]) {
    const { context, points } = this;
    if (points.length < 2) return;
    const speeds = points.map((point) => point[2]);
    const [least, most] = [Math.min(...speeds), Math.max(...speeds)];
    context.lineWidth = 2.6 * ratio;
    for (let shade = 0; shade < SHADES; shade += 1) {
      context.beginPath();
      for (let k = 1; k < points.length; k += 1) {
        const share = (points[k][2] - least) / Math.max(0.3, most - least);
        if (Math.min(SHADES - 1, Math.floor(share * SHADES)) !== shade) continue;
        if (Math.hypot(points[k][0] - points[k - 1][0], points[k][1] - points[k - 1][1]) > JUMP_M) continue;
        context.moveTo(...place(points[k - 1]));
        context.lineTo(...place(points[k]));
      }
      context.strokeStyle = `color-mix(in oklch, ${fast} ${Math.round((100 * shade) / (SHADES - 1))}%, ${slow})`;
      context.stroke();
    }
  }

  /** @param {Thing} thing @param {Place} place @param {number} scale @param {string} colour */
  drawBox(thing, place, scale, colour) {
    const { context } = this;
    context.save();
    context.translate(...place([thing.x_m, thing.y_m]));
    context.rotate(-thing.heading_rad);
    context.fillStyle = colour;
    context.fillRect((-thing.length_m / 2) * scale, (-thing.width_m / 2) * scale, thing.length_m * scale, thing.width_m * scale);
    context.restore();
  }

  /** @param {Pose} pose @param {Place} place @param {number} scale @param {Colour} colour @param {boolean} isInTrouble */
  drawCar({ x, y, heading, steering }, place, scale, colour, isInTrouble) {
    const { context } = this;
    context.save();
    context.translate(...place([x, y]));
    context.rotate(-heading);
    context.scale(scale, scale);
    if (isInTrouble) {
      context.beginPath();
      context.arc(CAR.length / 2 - CAR.rear, 0, 0.42, 0, 2 * Math.PI);
      context.strokeStyle = colour("--trouble");
      context.lineWidth = 0.045;
      context.stroke();
    }
    context.fillStyle = colour("--wheel");
    for (const [ahead, turned] of [[0, 0], [0.165, steering ?? 0]]) {
      for (const side of [-1, 1]) {
        context.save();
        context.translate(ahead, side * 0.085);
        context.rotate(-turned);
        context.fillRect(-0.035, -0.016, 0.07, 0.032);
        context.restore();
      }
    }
    context.fillStyle = colour("--car");
    context.beginPath();
    context.roundRect(-CAR.rear, -0.07, CAR.length, 0.14, [0.02, 0.06, 0.06, 0.02]);
    context.fill();
    context.fillStyle = colour("--glass");
    context.beginPath();
    context.roundRect(0.1, -0.05, 0.07, 0.1, 0.02);
    context.fill();
    context.restore();
  }
}

/** @param {number[][]} points */
function bounds(points) {
  const [xs, ys] = [points.map((point) => point[0]), points.map((point) => point[1])];
  return { left: Math.min(...xs), right: Math.max(...xs), bottom: Math.min(...ys), top: Math.max(...ys) };
}
