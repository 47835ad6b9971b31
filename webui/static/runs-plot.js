/** Curves over time: pure functions from the server's least and most to the shapes of an SVG, and their scale. */

const SVG = "http://www.w3.org/2000/svg";
export const WIDTH = 1000;
const CURVE_SHARE = 66; // of a lane's height; above it stands what the lane shows
const STEPS_S = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200];

/** The step of a time axis with at most `most` labels. @param {number} seconds @param {number} most */
export function axisStep(seconds, most) {
  return STEPS_S.find((step) => seconds / step <= most) ?? STEPS_S[STEPS_S.length - 1];
}

/** The moments that an axis names. @param {number} sinceS @param {number} untilS @param {number} most */
export function axisMoments(sinceS, untilS, most) {
  const step = axisStep(Math.max(untilS - sinceS, 1e-9), most);
  const moments = [];
  for (let number = Math.max(0, Math.ceil(sinceS / step - 1e-6)); number * step <= untilS + 1e-6; number += 1) moments.push(number * step);
  return { step, moments };
}

/**
 * The outline of a curve's least and most as an SVG path, one piece for each stretch without a gap.
 * `y` maps a value to a height; a curve of one value is drawn as a line of no height. What lies between two
 * equals says nothing new and is left out.
 * @param {Curve["low"]} low
 * @param {Curve["high"]} high
 * @param {(value: number) => number} y
 */
export function outline(low, high, y) {
  const pieces = [];
  let since = -1;
  for (let bucket = 0; bucket <= low.length; bucket += 1) {
    const isHere = bucket < low.length && low[bucket] !== null;
    if (isHere && since < 0) since = bucket;
    if (isHere || since < 0) continue;
    const edge = (/** @type {Curve["low"]} */ values) => {
      const points = [];
      for (let index = since; index < bucket; index += 1) {
        const isBetween = index > since && index + 1 < bucket && values[index] === values[index - 1] && values[index] === values[index + 1];
        if (!isBetween) points.push(`${(((index + 0.5) / low.length) * WIDTH).toFixed(1)} ${y(values[index] ?? 0).toFixed(1)}`);
      }
      return points;
    };
    pieces.push(`M${edge(high).join("L")}L${edge(low).reverse().join("L")}Z`);
    since = -1;
  }
  return pieces.join("");
}

/** @param {string} name @param {Record<string, string | number>} attributes @param {Node[]} children @returns {SVGElement} */
export function shape(name, attributes, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  made.append(...children);
  return made;
}

/** Draw one curve; `range` is what the lane holds from bottom to top. @param {SVGElement} svg @param {Curve} curve @param {[number, number]} range */
export function drawCurve(svg, curve, [bottom, top]) {
  const y = (/** @type {number} */ value) => 100 - ((Math.min(top, Math.max(bottom, value)) - bottom) / (top - bottom)) * CURVE_SHARE - 3;
  svg.replaceChildren(
    shape("line", { class: "zero", x1: 0, x2: WIDTH, y1: y(0), y2: y(0) }),
    shape("path", { class: "curve", d: outline(curve.low, curve.high, y) }),
  );
}

/** Draw states, laps and faults as they lie in a part of the run. @param {SVGElement} svg @param {RunDetails} details @param {number} sinceS @param {number} untilS */
export function drawMarks(svg, details, sinceS, untilS) {
  const x = (/** @type {number} */ seconds) => ((seconds - sinceS) / (untilS - sinceS)) * WIDTH;
  const shapes = [];
  for (const span of details.states) {
    if (span.until_s < sinceS || span.since_s > untilS) continue;
    const [left, right] = [Math.max(0, x(span.since_s)), Math.min(WIDTH, x(span.until_s))];
    shapes.push(shape("rect", { class: `span of-${span.state}`, x: left, width: Math.max(2, right - left), y: 30, height: 10 }));
  }
  for (const lap of details.laps) {
    for (const moment of [lap.since_s, lap.until_s]) {
      if (moment >= sinceS && moment <= untilS) shapes.push(shape("line", { class: "lap-mark", x1: x(moment), x2: x(moment), y1: 0, y2: 28 }));
    }
  }
  for (const event of details.events) {
    if (event.kind !== "fault" || event.t_s < sinceS || event.t_s > untilS) continue;
    shapes.push(shape("line", { class: "fault-mark", x1: x(event.t_s), x2: x(event.t_s), y1: 0, y2: 40 }));
  }
  svg.replaceChildren(...shapes);
}
