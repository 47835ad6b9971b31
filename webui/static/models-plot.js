/** The action space as a drawing of our own: speed over steering, left on the left. */

/** @typedef {{width: number, height: number, left: number, right: number, top: number, bottom: number}} Size */
/** @typedef {(action: Action) => {x: number, y: number}} Place from a point of the action space to the drawing */

const SVG = "http://www.w3.org/2000/svg";
const SIZE = { width: 320, height: 224, left: 48, right: 16, top: 14, bottom: 40 };
const THUMB = { width: 60, height: 44, left: 5, right: 5, top: 5, bottom: 5 };

/** How far the plot reaches: both ways alike in steering, from zero or below to a round number above the fastest. @param {Action[]} points */
export function reach(points) {
  const steeringMaxDeg = Math.max(1, ...points.map((point) => Math.abs(point.steering_deg)));
  const low = Math.min(0, ...points.map((point) => point.speed_mps));
  const fastest = Math.max(low + 0.1, ...points.map((point) => point.speed_mps));
  const step = roundStep((fastest - low) / 2);
  return { steeringMaxDeg, speedLow: low < 0 ? Math.floor(low / step) * step : 0, speedHigh: Math.ceil(fastest / step - 1e-9) * step, speedStep: step };
}

/** A step of 1, 2 or 5 times a power of ten, at most as large as asked. @param {number} wanted */
export function roundStep(wanted) {
  const power = 10 ** Math.floor(Math.log10(wanted));
  return [5, 2, 1].map((digit) => digit * power).find((step) => step <= wanted * (1 + 1e-9)) ?? power;
}

/** A function from a point of the action space to the drawing; positive steering is left. @param {{steeringMaxDeg: number, speedLow: number, speedHigh: number}} space @param {Size} size @returns {Place} */
export function placer(space, size) {
  const width = size.width - size.left - size.right;
  const height = size.height - size.top - size.bottom;
  return ({ steering_deg: steering, speed_mps: speed }) => ({
    x: size.left + (width * (1 - steering / space.steeringMaxDeg)) / 2,
    y: size.top + height * (1 - (speed - space.speedLow) / (space.speedHigh - space.speedLow)),
  });
}

/** Actions that lie on one place, together, in the order of their first. @param {Action[]} points @returns {{point: Action, indices: number[]}[]} */
export function gather(points) {
  const places = new Map();
  points.forEach((point, index) => {
    const key = `${point.steering_deg} ${point.speed_mps}`;
    if (!places.has(key)) places.set(key, { point, indices: [] });
    places.get(key).indices.push(index);
  });
  return [...places.values()];
}

/** The plot's content in words, for those who cannot see it. @param {ActionSpace} shape */
export function inWords(shape) {
  const { points } = shape;
  if (points.length === 0) return "No action.";
  const steering = points.map((point) => point.steering_deg);
  const speeds = points.map((point) => point.speed_mps);
  const range = `steering from ${Math.max(...steering)}° left to ${-Math.min(...steering)}° right, speed from ${Math.min(...speeds)} to ${Math.max(...speeds)} m/s`;
  return shape.type === "continuous" ? `Anything: ${range}.` : `${points.length} actions: ${range}.`;
}

/** Draw the whole plot. `chosen` tells how often each action was chosen in the dry run. @param {ActionSpace} shape @param {Map<number, number>} chosen */
export function drawPlot(shape, chosen = new Map()) {
  const space = reach(shape.points);
  const place = placer(space, SIZE);
  const svg = make("svg", { viewBox: `0 0 ${SIZE.width} ${SIZE.height}`, class: "plot", role: "img" });
  svg.setAttribute("aria-label", inWords(shape));
  for (const share of [1, 0.5, 0, -0.5, -1]) {
    const steering = share * space.steeringMaxDeg;
    const { x, y } = place({ steering_deg: steering, speed_mps: space.speedLow });
    svg.append(make("line", { class: share === 0 ? "axis" : "grid", x1: x, x2: x, y1: SIZE.top, y2: y }));
    svg.append(label(`${Math.round(Math.abs(steering) * 10) / 10}°`, x, y + 18));
  }
  for (let speed = space.speedLow; speed <= space.speedHigh + 1e-9; speed += space.speedStep) {
    const { x, y } = place({ steering_deg: space.steeringMaxDeg, speed_mps: speed });
    svg.append(make("line", { class: Math.abs(speed) < 1e-9 ? "axis" : "grid", x1: x, x2: SIZE.width - SIZE.right, y1: y, y2: y }));
    svg.append(label(String(Math.round(speed * 100) / 100), x - 15, y + 4, "end"));
  }
  svg.append(label("left", SIZE.left, SIZE.height - 4, "start"), label("right", SIZE.width - SIZE.right, SIZE.height - 4, "end"));
  svg.append(label("m/s over steering", (SIZE.left + SIZE.width - SIZE.right) / 2, SIZE.height - 4));
  if (shape.type === "continuous") svg.append(rangeBox(shape.points, place, 3));
  else {
    for (const { point, indices } of gather(shape.points)) {
      const times = indices.reduce((sum, index) => sum + (chosen.get(index) ?? 0), 0);
      const { x, y } = place(point);
      const dot = make("circle", { class: times ? "dot is-chosen" : "dot", cx: x, cy: y, r: times ? 5 + Math.min(4, times / 2) : 4.5 });
      const words = `${indices.length > 1 ? "Actions" : "Action"} ${indices.join(", ")}: ${point.steering_deg}°, ${point.speed_mps} m/s`;
      dot.append(make("title", {}, chosen.size ? `${words}; chosen ${times} times` : words));
      svg.append(dot);
      if (indices.length > 1) svg.append(label(`×${indices.length}`, x + 8, y - 6, "start"));
    }
  }
  return svg;
}

/** Draw the plot small, without words, for a row of the list. @param {ActionSpace | undefined} shape */
export function drawThumbnail(shape) {
  const svg = make("svg", { viewBox: `0 0 ${THUMB.width} ${THUMB.height}`, class: "thumb", "aria-hidden": "true" });
  const points = shape?.points ?? [];
  const place = placer(reach(points), THUMB);
  const base = place({ steering_deg: 0, speed_mps: 0 });
  svg.append(make("line", { class: "grid", x1: THUMB.left, x2: THUMB.width - THUMB.right, y1: base.y, y2: base.y }));
  svg.append(make("line", { class: "grid", x1: base.x, x2: base.x, y1: THUMB.top, y2: base.y }));
  if (shape?.type === "continuous") svg.append(rangeBox(points, place, 2));
  else for (const { point } of gather(points)) {
    const { x, y } = place(point);
    svg.append(make("circle", { class: "dot", cx: x, cy: y, r: 2.4 }));
  }
  return svg;
}

/** @param {Action[]} corners @param {Place} place @param {number} radius */
function rangeBox([one, other], place, radius) {
  const [a, b] = [place(one), place(other)];
  return make("rect", {
    class: "range", x: Math.min(a.x, b.x), y: Math.min(a.y, b.y), rx: radius,
    width: Math.max(2, Math.abs(a.x - b.x)), height: Math.max(2, Math.abs(a.y - b.y)),
  });
}

/** @param {string} text @param {number} x @param {number} y */
function label(text, x, y, anchor = "middle") {
  return make("text", { x, y, "text-anchor": anchor }, text);
}

/** An SVG element with its attributes. @param {string} name @param {Record<string, string | number>} attributes @returns {SVGElement} */
export function make(name, attributes, text = "") {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) {
    element.setAttribute(key, typeof value === "number" ? String(Math.round(value * 100) / 100) : value);
  }
  if (text) element.textContent = text;
  return element;
}
