/** What the policy saw and chose, drawn over the picture with the same number: input, output, gauges. */

const SVG = "http://www.w3.org/2000/svg";
const BARS = { width: 200, height: 64 };

/**
 * @param {HTMLElement} view
 * @param {ImageBitmap} bitmap
 * @param {PictureHeader} header
 * @param {Car | null} car
 */
export function drawDecision(view, bitmap, { frame, record, input }, car) {
  drawInput(/** @type {HTMLCanvasElement} */ (view.querySelector("#input")), bitmap, input);
  const probabilities = record ? record.action_probabilities : (car?.action_probabilities ?? []);
  const chosen = record ? record.action_index : probabilities.indexOf(Math.max(...probabilities));
  const bars = /** @type {SVGElement} */ (view.querySelector("#actions"));
  if (probabilities.length > 0) drawBars(bars, probabilities, chosen);
  else drawAxes(bars, record?.policy_output ?? []);
  const sent = record?.sent ?? car;
  if (sent) drawGauges(view, sent);
  const words = view.querySelector("#chosen");
  if (words) words.textContent = chosenWords(record, chosen, probabilities, car);
  const number = view.querySelector("#frame-number");
  if (number) number.textContent = `#${frame}`;
}

/**
 * In words, such as "left 20°, 1.2 m/s · 83 %".
 * @param {TickOfFrame | null} record @param {number} chosen @param {number[]} probabilities @param {Car | null} car
 */
export function chosenWords(record, chosen, probabilities, car) {
  if (chosen >= 0 && probabilities.length > 0) {
    const name = car?.action_names?.[chosen] ?? `action ${chosen + 1}`;
    return `${name} · ${Math.round(probabilities[chosen] * 100)} %`;
  }
  if (record?.action) {
    const { steering_frac: steering, throttle_frac: throttle } = record.action;
    const share = Math.round(Math.abs(steering) * 100);
    const side = share === 0 ? "straight" : `${steering > 0 ? "left" : "right"} ${share} %`;
    return `${side}, throttle ${Math.round(throttle * 100)} %`;
  }
  return "The policy is at rest";
}

/**
 * The picture at the size and in the colours that the network gets.
 * @param {HTMLCanvasElement} canvas
 * @param {ImageBitmap} bitmap
 * @param {PictureHeader["input"]} input
 */
function drawInput(canvas, bitmap, input) {
  const { width, height, channels } = input ?? { width: 160, height: 120, channels: 1 };
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.filter = channels === 1 ? "grayscale(1)" : "none";
  context.drawImage(bitmap, 0, 0, width, height);
}

/** @param {SVGElement} svg @param {number[]} probabilities @param {number} chosen */
function drawBars(svg, probabilities, chosen) {
  fill(svg, probabilities.length);
  const step = BARS.width / probabilities.length;
  probabilities.forEach((probability, k) => {
    const height = Math.max(2, probability * BARS.height);
    place(svg.children[k], k * step + step * 0.1, BARS.height - height, step * 0.8, height, k === chosen);
  });
}

/** A continuous output: each number from -1 to 1 as a bar from the middle. @param {SVGElement} svg @param {number[]} outputs */
function drawAxes(svg, outputs) {
  fill(svg, outputs.length);
  const step = BARS.height / Math.max(1, outputs.length);
  outputs.forEach((output, k) => {
    const reach = (Math.max(-1, Math.min(1, output)) * BARS.width) / 2;
    const left = BARS.width / 2 + (k === 0 ? Math.min(0, -reach) : Math.min(0, reach)); // steering: left is positive
    place(svg.children[k], left, k * step + step * 0.2, Math.max(2, Math.abs(reach)), step * 0.6, true);
  });
}

/** @param {Element} svg @param {number} count */
function fill(svg, count) {
  while (svg.children.length > count) svg.lastElementChild?.remove();
  while (svg.children.length < count) svg.append(document.createElementNS(SVG, "rect"));
}

/** @param {Element} bar @param {number} x @param {number} y @param {number} width @param {number} height @param {boolean} isChosen */
function place(bar, x, y, width, height, isChosen) {
  for (const [name, value] of Object.entries({ x, y, width, height })) bar.setAttribute(name, value.toFixed(1));
  bar.classList.toggle("is-chosen", isChosen);
}

/** @param {HTMLElement} view @param {{steering_frac: number, throttle_frac: number}} sent */
export function drawGauges(view, { steering_frac: steering, throttle_frac: throttle }) {
  view.querySelector("#steering-knob")?.setAttribute("cx", String(154 - 80 * steering)); // positive is left
  view.querySelector("#throttle-fill")?.setAttribute("x2", String(154 + 80 * throttle));
}
