/** What the calibration page draws: the car from above, the pulse axes, the speed table. */

const SVG = "http://www.w3.org/2000/svg";
const DEGREES = 180 / Math.PI;
const WHEELBASE = 128; // of the drawing
const FRONT_Y = 84;
const REAR_Y = FRONT_Y + WHEELBASE;
const TRACK = 58; // from the middle to a wheel

/** @param {string} name @param {Record<string, string | number>} attributes @param {string} [text] */
function node(name, attributes, text) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
  if (text !== undefined) element.textContent = text;
  return element;
}

/** The angle of the wheels at a pulse, in rad, positive left; goes on beyond the ends. @param {SteeringNumbers} steering @param {number} us */
export function wheelAngle(steering, us) {
  const offset = us - steering.center_us;
  const toLeft = steering.left_us - steering.center_us;
  if (offset * toLeft > 0) return (offset / toLeft) * steering.left_rad;
  const toRight = steering.right_us - steering.center_us;
  return toRight === 0 ? 0 : (offset / toRight) * steering.right_rad;
}

/** The share of throttle at a pulse, -1 to 1; 0 in the dead band. @param {ThrottleNumbers} throttle @param {number} us */
export function throttleShare(throttle, us) {
  const offset = us - throttle.neutral_us;
  const forward = offset * (throttle.forward_us - throttle.neutral_us) > 0;
  const end = forward ? throttle.forward_us : throttle.reverse_us;
  const band = forward ? throttle.forward_dead_band_us : throttle.reverse_dead_band_us;
  const span = Math.abs(end - throttle.neutral_us);
  const share = Math.min(1.2, Math.max(0, (Math.abs(offset) - band) / Math.max(1, span - band)));
  return forward || share === 0 ? share : -share; // no negative zero
}

/**
 * Which way pulses go on the page's scales, where left is left and forward is to the right: 1 where
 * the longer pulse is on the right side, -1 where it is on the left, as on an AWS car.
 * @param {SteeringNumbers} steering
 */
export function steeringRightward(steering) {
  return Math.sign(steering.center_us - steering.left_us) || Math.sign(steering.right_us - steering.center_us) || 1;
}

/** As `steeringRightward`; forward is right. @param {ThrottleNumbers} throttle */
export function throttleRightward(throttle) {
  return Math.sign(throttle.forward_us - throttle.neutral_us) || Math.sign(throttle.neutral_us - throttle.reverse_us) || 1;
}

/** A car seen from above, nose up; `show` turns its front wheels and its motor. */
export class CarDrawing {
  /** @param {Element} svg */
  constructor(svg) {
    this.svg = svg;
    this.angle = 0;
    this.share = 0;
    this.spin = 0;
    this.lastMs = 0;
    /** @type {Element[]} */
    this.treads = [];
    svg.append(node("path", { class: "floor-line", d: "M160 6V294" }));
    this.sector = node("path", { class: "sector", d: "" });
    this.leftLabel = node("text", { class: "sector-label", "text-anchor": "middle" });
    this.rightLabel = node("text", { class: "sector-label", "text-anchor": "middle" });
    this.pointer = node("path", { class: "pointer", d: "" });
    svg.append(this.sector, this.pointer, this.leftLabel, this.rightLabel);
    svg.append(node("path", { class: "axle", d: `M${160 - TRACK} ${FRONT_Y}H${160 + TRACK}M${160 - TRACK} ${REAR_Y}H${160 + TRACK}` }));
    svg.append(node("path", {
      class: "body",
      d: "M160 40c22 0 32 10 34 30l4 40c8 8 12 18 12 34v52c0 22-6 44-14 50-8 6-64 6-72 0-8-6-14-28-14-50v-52c0-16 4-26 12-34l4-40c2-20 12-30 34-30z",
    }));
    svg.append(node("path", { class: "glass", d: "M136 112c8-8 40-8 48 0l6 22c-12-6-48-6-60 0z" }));
    svg.append(node("circle", { class: "lens", cx: 160, cy: 62, r: 7 }));
    for (const side of [-1, 1]) svg.append(this.wheel(160 + side * TRACK, REAR_Y, 15, "rear"));
    this.front = [-1, 1].map((side) => {
      const holder = node("g", {});
      holder.append(this.wheel(160 + side * TRACK, FRONT_Y, 13, "front"));
      svg.append(holder);
      return { holder, x: 160 + side * TRACK };
    });
    const middle = (FRONT_Y + REAR_Y) / 2;
    this.pushRail = node("path", { class: "push-rail", d: `M276 ${middle - 92}V${middle + 92}M268 ${middle}h16` });
    this.push = node("path", { class: "push", d: "" });
    this.pushLabel = node("text", { class: "sector-label", x: 276, "text-anchor": "middle" });
    svg.append(this.pushRail, this.push, this.pushLabel);
    const still = matchMedia("(prefers-reduced-motion: reduce)");
    const turn = (/** @type {number} */ ms) => {
      const seconds = Math.min(0.1, (ms - this.lastMs) / 1000);
      this.lastMs = ms;
      if (this.share !== 0 && !still.matches) {
        this.spin = (this.spin + seconds * 70 * this.share + 1000) % 10;
        for (const tread of this.treads) tread.setAttribute("stroke-dashoffset", this.spin.toFixed(1));
      }
      requestAnimationFrame(turn);
    };
    requestAnimationFrame(turn);
  }

  /** @param {number} x @param {number} y @param {number} halfWidth @param {string} kind */
  wheel(x, y, halfWidth, kind) {
    const group = node("g", { class: `wheel ${kind}` });
    group.append(node("rect", { class: "tyre", x: x - halfWidth, y: y - 28, width: 2 * halfWidth, height: 56, rx: 7 }));
    const tread = node("path", {
      class: "tread", d: `M${x} ${y - 25}V${y + 25}`, "stroke-width": 2 * halfWidth - 8, "stroke-dasharray": "3 7",
    });
    group.append(tread);
    if (kind === "rear") this.treads.push(tread);
    return group;
  }

  /** @param {{angle: number, share: number, leftRad: number, rightRad: number}} car */
  show({ angle, share, leftRad, rightRad }) {
    for (const { holder, x } of this.front) {
      holder.setAttribute("transform", `rotate(${(-angle * DEGREES).toFixed(2)} ${x} ${FRONT_Y})`);
    }
    this.share = share;
    const reach = 80;
    const at = (/** @type {number} */ rad, r = reach) => [160 - r * Math.sin(rad), FRONT_Y - r * Math.cos(rad)].map((v) => v.toFixed(1)).join(" ");
    this.sector.setAttribute("d", `M160 ${FRONT_Y}L${at(leftRad)}A${reach} ${reach} 0 0 1 ${at(rightRad)}Z`);
    this.pointer.setAttribute("d", `M160 ${FRONT_Y}L${at(angle, reach + 2)}`);
    this.place(this.leftLabel, leftRad, reach);
    this.place(this.rightLabel, rightRad, reach);
    const middle = (FRONT_Y + REAR_Y) / 2;
    const [length, sign] = [Math.round(92 * Math.min(1, Math.abs(share))), share > 0 ? -1 : 1];
    const tip = middle + sign * length;
    this.push.setAttribute("d", length < 2 ? "" : `M276 ${middle}V${tip}m-10 ${-sign * 10}l10 ${sign * 10}l10 ${-sign * 10}`);
    this.push.setAttribute("class", share < 0 ? "push is-back" : "push");
    this.pushLabel.textContent = length < 2 ? "" : `${Math.round(Math.abs(share) * 100)} %`;
    this.pushLabel.setAttribute("y", String(share > 0 ? middle + 22 : middle - 12));
    this.pushRail.setAttribute("class", length < 2 ? "push-rail" : "push-rail is-on");
    const words = `Wheels ${Math.round(Math.abs(angle * DEGREES))} degrees ${angle > 0.005 ? "left" : angle < -0.005 ? "right" : "straight"}, `;
    this.svg.setAttribute("aria-label", `The car from above. ${words}motor ${share === 0 ? "at rest" : share > 0 ? "forward" : "backwards"}.`);
  }

  /** @param {Element} label @param {number} rad @param {number} reach */
  place(label, rad, reach) {
    const r = reach;
    label.setAttribute("x", (160 - (r + 18) * Math.sin(rad)).toFixed(1));
    label.setAttribute("y", (FRONT_Y - r * Math.cos(rad) - 6).toFixed(1));
    label.textContent = `${Math.round(Math.abs(rad) * DEGREES)}°`;
  }
}

/**
 * A scale of pulse widths with its marks, coloured stretches and where the pulse is now; what is left on
 * the car is left on the scale, whichever pulses those are.
 * Marks that would collide stand in two rows.
 */
export class Axis {
  /** @param {Element} svg @param {string} name */
  constructor(svg, name) {
    this.svg = svg;
    this.name = name;
    this.ground = node("g", {});
    this.needle = node("path", { class: "needle", d: "" });
    svg.append(this.ground, this.needle);
    this.range = [1000, 2000];
    this.rightward = 1;
    this.drawn = "";
  }

  /** @param {number} us */
  x(us) {
    const [low, high] = this.range;
    const share = (Math.min(high, Math.max(low, us)) - low) / (high - low);
    return 22 + 596 * (this.rightward > 0 ? share : 1 - share);
  }

  /**
   * @param {{range: number[], rightward: number, marks: {us: number, label: string, kind?: string}[], stretches: {from: number, to: number, kind: string}[], now: number | null}} what
   */
  show({ range, rightward, marks, stretches, now }) {
    const key = JSON.stringify([range, rightward, marks, stretches]);
    if (key !== this.drawn) {
      this.drawn = key;
      Object.assign(this, { range, rightward });
      this.build(marks, stretches);
    }
    this.needle.setAttribute("d", now ? `M${this.x(now).toFixed(1)} 46v22m-8 12l8-12l8 12z` : "");
    const words = marks.map(({ label, us }) => `${label} ${Math.round(us)}`).join(", ");
    this.svg.setAttribute("aria-label", `${this.name}: ${words} microseconds${now ? `; now ${Math.round(now)}` : ""}`);
  }

  /** @param {{us: number, label: string, kind?: string}[]} marks @param {{from: number, to: number, kind: string}[]} stretches */
  build(marks, stretches) {
    const { ground } = this;
    ground.replaceChildren();
    ground.append(node("text", { class: "axis-name", x: 22, y: 17 }, this.name));
    ground.append(node("line", { class: "rail", x1: 22, x2: 618, y1: 57, y2: 57 }));
    for (const { from, to, kind } of stretches) {
      const [a, b] = [this.x(from), this.x(to)].sort((one, other) => one - other);
      ground.append(node("line", { class: `stretch ${kind}`, x1: a, x2: b, y1: 57, y2: 57 }));
    }
    const [low, high] = this.range;
    const step = high - low > 700 ? 200 : high - low > 350 ? 100 : 50;
    for (let us = Math.ceil(low / step) * step; us <= high; us += step) {
      ground.append(node("line", { class: "tick", x1: this.x(us), x2: this.x(us), y1: 66, y2: 72 }));
      const x = Math.min(616, Math.max(24, this.x(us)));
      ground.append(node("text", { class: "tick-label", x, y: 99, "text-anchor": "middle" }, String(us)));
    }
    const ends = [-Infinity, -Infinity];
    for (const { us, label, kind = "" } of [...marks].sort((one, other) => this.x(one.us) - this.x(other.us))) {
      const x = this.x(us);
      const width = 11.5 * label.length; // on a phone they are larger
      const anchored = Math.min(640 - width / 2 - 2, Math.max(width / 2 + 2, x));
      const row = anchored - width / 2 > ends[0] ? 0 : 1;
      ends[row] = anchored + width / 2 + 8;
      const y = row === 0 ? 40 : 26;
      ground.append(node("line", { class: `mark ${kind}`, x1: x, x2: x, y1: y + 3, y2: 64 }));
      ground.append(node("text", { class: `mark-label ${kind}`, x: anchored, y, "text-anchor": "middle" }, label));
    }
  }
}

/** Speed over throttle. @param {Element} svg @param {number[][]} points */
export function drawSpeeds(svg, points) {
  svg.replaceChildren();
  const top = Math.max(1, ...points.map(([, speed]) => speed)) * 1.15;
  const right = Math.max(0.3, ...points.map(([share]) => share)) * 1.05;
  const x = (/** @type {number} */ share) => 56 + (560 * share) / right;
  const y = (/** @type {number} */ speed) => 200 - (180 * speed) / top;
  svg.append(node("path", { class: "rail thin", d: `M56 16V200H620` }));
  for (const share of [0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1].filter((one) => one <= right)) {
    svg.append(node("text", { class: "tick-label", x: x(share), y: 224, "text-anchor": "middle" }, `${Math.round(share * 100)} %`));
  }
  for (const speed of [0.5, 1, 2, 3, 4].filter((one) => one <= top)) {
    svg.append(node("text", { class: "tick-label", x: 46, y: y(speed) + 5, "text-anchor": "end" }, String(speed)));
    svg.append(node("line", { class: "grid", x1: 56, x2: 620, y1: y(speed), y2: y(speed) }));
  }
  svg.append(node("text", { class: "axis-name", x: 62, y: 24 }, "m/s over throttle"));
  if (points.length === 0) return;
  svg.append(node("polyline", { class: "speed-line", points: points.map(([share, speed]) => `${x(share)},${y(speed)}`).join(" ") }));
  for (const [share, speed] of points) svg.append(node("circle", { class: "speed-dot", cx: x(share), cy: y(speed), r: 6 }));
}
