/** The last step: the numbers before and after, side by side. */

import { byId } from "./calibrate_page.js";

const DEGREES = 180 / Math.PI;
/** @type {Record<string, string>} */
const MODES = { none: "no reverse", direct: "at the first pull", double_tap: "at the second pull" };

/** @type {[string, (numbers: CalibrationNumbers) => string][]} */
const NUMBERS = [
  ["Left", ({ steering }) => `${us(steering.left_us)} · ${degrees(steering.left_rad)}`],
  ["Centre", ({ steering }) => us(steering.center_us)],
  ["Right", ({ steering }) => `${us(steering.right_us)} · ${degrees(steering.right_rad)}`],
  ["Forward", ({ throttle }) => us(throttle.forward_us)],
  ["Forward begins", ({ throttle }) => `after ${us(throttle.forward_dead_band_us)}`],
  ["Neutral", ({ throttle }) => us(throttle.neutral_us)],
  ["Reverse begins", ({ throttle }) => `after ${us(throttle.reverse_dead_band_us)}`],
  ["Reverse", ({ throttle }) => us(throttle.reverse_us)],
  ["Backwards", ({ throttle }) => MODES[throttle.esc.reverse_mode] ?? throttle.esc.reverse_mode],
  ["First pull brakes", ({ throttle }) => (throttle.esc.brakes_on_first_pull ? "yes" : "no")],
  ["Speed table", ({ speed_table: table }) => (table ? `${table.points.length - 1} measured` : "none")],
];

/** @param {number} value */
function us(value) {
  return `${Math.round(value * 10) / 10} µs`;
}

/** @param {number} rad */
function degrees(rad) {
  return `${Math.round(Math.abs(rad) * DEGREES * 10) / 10}°`;
}

/** @param {any} before numbers in force; null where there are none @param {any} after */
export function showReview(before, after) {
  const rows = NUMBERS.map(([name, text]) => {
    const row = document.createElement("tr");
    const head = document.createElement("th");
    head.scope = "row";
    head.textContent = name;
    const [old, fresh] = [before ? text(before) : "–", text(after)];
    const cells = [old, fresh].map((words) => {
      const cell = document.createElement("td");
      cell.textContent = words;
      return cell;
    });
    row.append(head, ...cells);
    row.classList.toggle("is-new", old !== fresh);
    return row;
  });
  byId("review").tBodies[0].replaceChildren(...rows);
}
