/** The driven line from above, coloured by speed, with the car on it. */

import { shape } from "./runs-plot.js";

const SHADES = 8;
const MARGIN_M = 0.4;

/** The line in pieces of one shade each; every piece begins where the one before ends. */
export function shaded(line, most) {
  const pieces = [];
  for (let index = 0; index + 1 < line.x_m.length; index += 1) {
    const shade = Math.min(SHADES - 1, Math.floor((line.speed_mps[index] / Math.max(most, 1e-9)) * SHADES));
    const last = pieces[pieces.length - 1];
    if (last && last.shade === shade) last.until = index + 1;
    else pieces.push({ shade, since: index, until: index + 1 });
  }
  return pieces;
}

/** What an SVG must show so that all of the line is seen: `[left, top, width, height]`, y pointing down. */
export function frame(line) {
  const [left, right] = [Math.min(...line.x_m), Math.max(...line.x_m)];
  const [low, high] = [Math.min(...line.y_m), Math.max(...line.y_m)];
  return [left - MARGIN_M, -high - MARGIN_M, right - left + 2 * MARGIN_M, high - low + 2 * MARGIN_M];
}

export class Line {
  /** @param {SVGSVGElement} svg */
  constructor(svg) {
    this.svg = svg;
    this.car = shape("path", { class: "car", d: "M.22 0L-.14 .13L-.06 0L-.14 -.13Z" });
    this.whole = null;
  }

  /** The whole run: it gives the frame and stays faintly in sight. */
  showWhole(line) {
    this.whole = line;
    if (!line || line.x_m.length < 2) {
      this.svg.replaceChildren();
      return;
    }
    this.svg.setAttribute("viewBox", frame(line).join(" "));
    this.showPart(line);
  }

  showPart(line) {
    if (!this.whole || !line || this.whole.x_m.length < 2) return;
    const points = (of, since, until) => of.x_m.slice(since, until + 1).map((x, index) => `${x},${-of.y_m[since + index]}`).join(" ");
    const most = Math.max(...this.whole.speed_mps);
    this.svg.replaceChildren(
      shape("polyline", { class: "whole", points: points(this.whole, 0, this.whole.x_m.length) }),
      ...shaded(line, most).map(({ shade, since, until }) => shape("polyline", { class: `driven shade-${shade}`, points: points(line, since, until) })),
      this.car,
    );
  }

  showCar(moment) {
    const isKnown = moment !== null && moment.x_m !== null;
    this.car.classList.toggle("is-unknown", !isKnown);
    if (isKnown) this.car.setAttribute("transform", `translate(${moment.x_m} ${-moment.y_m}) rotate(${(-moment.heading_rad * 180) / Math.PI})`);
  }
}
