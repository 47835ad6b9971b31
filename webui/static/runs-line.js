/** The driven line from above, coloured by speed, with the car on it. */

import { shape } from "./runs-plot.js";

const SHADES = 8;
const MARGIN_M = 0.4;
const GAP_S = 1; // of a long run only stretches are told

/** The line in pieces of one shade each; every piece begins where the one before ends. @param {DrivenLine} line @param {number} most */
export function shaded(line, most) {
  /** @type {{shade: number, since: number, until: number}[]} */
  const pieces = [];
  for (let index = 0; index + 1 < line.x_m.length; index += 1) {
    const shade = Math.min(SHADES - 1, Math.floor((line.speed_mps[index] / Math.max(most, 1e-9)) * SHADES));
    if (isGap(line, index)) continue;
    const last = pieces[pieces.length - 1];
    if (last && last.shade === shade && last.until === index) last.until = index + 1;
    else pieces.push({ shade, since: index, until: index + 1 });
  }
  return pieces;
}

/** Whether the line is not told between a point and the next. @param {DrivenLine} line @param {number} index */
function isGap(line, index) {
  return line.t_s[index + 1] - line.t_s[index] > GAP_S;
}

/** The stretches that are told, each `[first, last]`. @param {DrivenLine} line */
export function stretches(line) {
  const ends = line.t_s.flatMap((_, index) => (index + 1 === line.t_s.length || isGap(line, index) ? [index] : []));
  return ends.map((end, number) => [number ? ends[number - 1] + 1 : 0, end]);
}

/** What an SVG must show so that all of the line and the track is seen: `[left, top, width, height]`, y pointing down. @param {DrivenLine} line @param {Layout | null} track */
export function frame(line, track = null) {
  const borders = track ? [...track.outer, ...track.inner] : [];
  const [xs, ys] = [[...line.x_m, ...borders.map(([x]) => x)], [...line.y_m, ...borders.map(([, y]) => y)]];
  const [left, right] = [Math.min(...xs), Math.max(...xs)];
  const [low, high] = [Math.min(...ys), Math.max(...ys)];
  return [left - MARGIN_M, -high - MARGIN_M, right - left + 2 * MARGIN_M, high - low + 2 * MARGIN_M];
}

/** A piece of a line as the points of an SVG polyline. @param {DrivenLine} line @param {number} since @param {number} until */
function points(line, since, until) {
  return line.x_m.slice(since, until + 1).map((x, index) => `${x},${-line.y_m[since + index]}`).join(" ");
}

/** A closed line of a track as an SVG path. @param {number[][]} points */
export function ring(points) {
  return `M${points.map(([x, y]) => `${x} ${-y}`).join("L")}Z`;
}

export class Line {
  /** @param {SVGSVGElement} svg */
  constructor(svg) {
    this.svg = svg;
    this.car = shape("path", { class: "car", d: "M.22 0L-.14 .13L-.06 0L-.14 -.13Z" });
    this.part = shape("g", {}); // what lies below it is drawn once for a run
    /** @type {DrivenLine | null} */
    this.whole = null;
    /** @type {Layout | null} */
    this.track = null;
  }

  /** The whole run: it gives the frame and stays faintly in sight. @param {DrivenLine | null} line @param {Layout | null} track */
  showWhole(line, track) {
    this.whole = line;
    this.track = track;
    if (!line || line.x_m.length < 2) {
      this.svg.replaceChildren();
      return;
    }
    this.svg.setAttribute("viewBox", frame(line, track).join(" "));
    this.svg.replaceChildren(...this.road(), ...stretches(line).map(([since, until]) => shape("polyline", { class: "whole", points: points(line, since, until) })), this.part, this.car);
    this.showPart(line);
  }

  /** @param {DrivenLine | null} line */
  showPart(line) {
    if (!this.whole || !line || this.whole.x_m.length < 2) return;
    const most = Math.max(...this.whole.speed_mps);
    this.part.replaceChildren(...shaded(line, most).map(({ shade, since, until }) => shape("polyline", { class: `driven shade-${shade}`, points: points(line, since, until) })));
  }

  /** What the car drove on: the surface, its borders, its middle, and where laps begin. */
  road() {
    if (!this.track) return [];
    const { center, inner, outer } = this.track;
    const [[fromX, fromY], [toX, toY]] = [inner[0], outer[0]];
    return [
      shape("path", { class: "road", d: ring(outer) + ring(inner), "fill-rule": "evenodd" }),
      shape("path", { class: "middle", d: ring(center) }),
      shape("line", { class: "start", x1: fromX, y1: -fromY, x2: toX, y2: -toY }),
    ];
  }

  /** @param {Moment | null} moment */
  showCar(moment) {
    const { x_m: x, y_m: y, heading_rad: heading } = moment ?? { x_m: null, y_m: null, heading_rad: null };
    const isKnown = x !== null && y !== null && heading !== null;
    this.car.classList.toggle("is-unknown", !isKnown);
    if (isKnown) this.car.setAttribute("transform", `translate(${x} ${-y}) rotate(${(-heading * 180) / Math.PI})`);
  }
}
