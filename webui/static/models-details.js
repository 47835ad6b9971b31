/** One model in full: what it can do, how fast it decides, what it answered, what it is made of. */

import { element } from "./dom.js";
import { drawPlot, inWords, make } from "./models-plot.js";
import { pictureCell } from "./models-uploads.js";
import { bytes, costlyLayers, count, describeTime, grouped, kindOf, milliseconds, mirrorError, readResponses, short, speed, steering } from "./models-words.js";

/** @typedef {(model: Model) => void} Measure tries one that ships on this computer */

const RAIL = { width: 150, height: 22 };

/** Return the parts under the name; `full` is the answer of /api/models/KEY, or null before it has come; `measure` tries a shipped one. @param {Model} model @param {FullModel | null} full @param {Measure} measure */
export function describeModel(model, full, measure) {
  const report = full?.report ?? null;
  const shape = report?.action_space ?? model.action_space ?? null;
  const responses = report ? readResponses(report.responses) : null;
  return [
    warnings(model),
    report === null ? waiting(model, full, measure) : null,
    element("div", { class: "pair-of-parts" },
      shape ? actionPart(shape, responses, report) : null,
      report ? timePart(report) : null),
    full?.int8 ? int8Part(full.int8) : null,
    report && responses?.frames.length ? dryRunPart(report, responses) : null,
    report ? networkPart(report) : null,
    report ? originPart(model, report) : null,
  ].filter(Boolean);
}

/** @param {string} title @param {Child[]} children */
function part(title, ...children) {
  return element("section", { class: "part" }, element("h3", {}, title), ...children);
}

/** @param {Model} model */
function warnings(model) {
  const said = [...(model.problem ? [model.problem] : []), ...(model.warnings ?? [])];
  return said.length ? element("ul", { class: "warnings" }, said.map((words) => element("li", {}, words))) : null;
}

/** @param {Model} model @param {FullModel | null} full @param {Measure} measure */
function waiting(model, full, measure) {
  if (model.problem) return null;
  const measuring = full?.measuring;
  if (measuring?.error) return element("p", { class: "warnings" }, measuring.error, " ", element("button", { type: "button", class: "small", "data-act": "measure", onclick: () => measure(model) }, "Try again"));
  if (model.built_in && full && !measuring) {
    return element("div", { class: "measuring" },
      element("p", {}, "How fast it decides on this computer, and what it answers, has not been tried since the page's server started."),
      element("button", { type: "button", class: "action", "data-act": "measure", onclick: () => measure(model) }, "Try it now"));
  }
  const words = measuring ? `Measuring it on this computer: ${measuring.stage}` : "Reading what the check found";
  const bar = element("progress", { max: "1", "aria-label": words });
  if (measuring?.share) bar.value = measuring.share;
  return element("div", { class: "measuring" }, element("p", { role: "status" }, words), bar);
}

/** @param {ActionSpace} shape @param {DryRun | null} responses @param {CheckReport | null} report */
function actionPart(shape, responses, report) {
  const units = report?.action_units === "aws_share" ? "Speeds as in training: the car drives the same share of its own top speed." : "";
  const used = responses && shape.type === "discrete" && report?.actions_used
    ? `Filled: the ${count(report.actions_used, "action")} chosen in the dry run.` : "";
  return part("What it can do", drawPlot(shape, responses?.chosen), element("p", { class: "faint" }, [inWords(shape), used, units].filter(Boolean).join(" ")));
}

/** @param {CheckReport} report */
function timePart(report) {
  const time = describeTime(report.infer_median_ms, report.infer_p99_ms, report.control_rate_hz);
  const svg = make("svg", { viewBox: "0 0 320 40", class: "time", role: "img" });
  svg.setAttribute("aria-label", `${milliseconds(report.infer_median_ms)} of ${milliseconds(time.periodMs)}`);
  svg.append(
    make("rect", { class: "period", x: 0, y: 10, width: 320, height: 14, rx: 7 }),
    make("rect", { class: time.bad ? "p99 is-bad" : "p99", x: 0, y: 10, width: Math.max(14, 320 * time.p99), height: 14, rx: 7 }),
    make("line", { class: "limit", x1: 224, x2: 224, y1: 5, y2: 29 }),
    make("text", { x: 224, y: 39, "text-anchor": "middle" }, "70 %"),
    make("text", { x: 320, y: 39, "text-anchor": "end" }, milliseconds(time.periodMs)),
  );
  return part("Time for a decision",
    element("p", { class: "figure" }, milliseconds(report.infer_median_ms), element("small", {}, time.verdict)),
    svg,
    element("p", { class: "faint" }, `99 of 100 within ${milliseconds(report.infer_p99_ms)}, measured on this computer at its ${report.control_rate_hz} Hz.`),
    element("dl", { class: "facts" },
      fact("Parameters", short(report.parameters)),
      fact("Work", `${report.mmac < 9.95 ? report.mmac.toFixed(1) : Math.round(report.mmac)} MMAC`, "million multiplications with addition per decision"),
      fact("Memory", `${Math.round(report.peak_memory_mb)} MB`, "most that the check used"),
    ));
}

/** @param {string} name @param {string} value */
function fact(name, value, more = "") {
  return element("div", {}, element("dt", {}, name), element("dd", { title: more || null }, value));
}

/** @param {Int8} int8 */
function int8Part(int8) {
  const times = int8.int8_ms === null ? "" : `${milliseconds(int8.int8_ms)} instead of ${milliseconds(int8.float_ms)}`;
  const state = !int8.accepted ? `Refused: ${int8.objections.join(" ")}`
    : !int8.made_here ? "It was judged on another computer and is not used here."
      : int8.chosen ? `In use: ${times}.` : `Accepted, not in use: ${times}. Choose it with lapwing models int8 --use.`;
  return part("Eight-bit version", element("p", {}, state));
}

/** @param {CheckReport} report @param {DryRun} run */
function dryRunPart(report, { blank, frames, noise }) {
  const error = mirrorError(frames);
  const most = Math.max(1, ...report.action_space.points.map((point) => Math.abs(point.steering_deg)));
  const rows = frames.map(({ seen, mirrored }) =>
    element("tr", {},
      element("th", { scope: "row" }, pictureCell(seen.picture)),
      element("td", { class: "rail-cell" }, rail(seen.steering_deg, mirrored?.steering_deg ?? null, most)),
      element("td", {}, element("span", { class: "steer" }, steering(seen.steering_deg)), element("span", { class: "faint" }, speed(seen.speed_mps))),
      element("td", {}, mirrored ? [element("span", { class: "steer hollow" }, steering(mirrored.steering_deg)), element("span", { class: "faint" }, speed(mirrored.speed_mps))] : "")));
  const words = [
    blank ? `A blank picture: ${steering(blank.steering_deg)}, ${speed(blank.speed_mps)}.` : "",
    error === null ? "" : error < 0.5 ? "Mirrored pictures get mirrored answers." : `Mirrored pictures differ from a mirrored answer by ${error.toFixed(0)}° on average.`,
    noise.length ? `Pure noise: ${[...new Set(noise.map((response) => steering(response.steering_deg)))].join(", ")}.` : "",
  ];
  return part("Dry run",
    element("p", {}, words.filter(Boolean).join(" ")),
    element("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Answers of the dry run" },
      element("table", { class: "dry-run" },
        element("thead", {}, element("tr", {}, ["Picture", "Left to right", "Seen", "Mirrored"].map((head) => element("th", { scope: "col" }, head)))),
        element("tbody", {}, rows))));
}

/** Steering on a rail: full is what was answered, hollow what the mirrored picture got. @param {number} seenDeg @param {number | null} mirroredDeg @param {number} mostDeg */
function rail(seenDeg, mirroredDeg, mostDeg) {
  const svg = make("svg", { viewBox: `0 0 ${RAIL.width} ${RAIL.height}`, class: "rail", "aria-hidden": "true" });
  const place = (/** @type {number} */ degrees) => RAIL.width / 2 - (degrees / mostDeg) * (RAIL.width / 2 - 9);
  const y = RAIL.height / 2;
  svg.append(
    make("line", { class: "grid", x1: 9, x2: RAIL.width - 9, y1: y, y2: y }),
    make("line", { class: "axis", x1: RAIL.width / 2, x2: RAIL.width / 2, y1: 4, y2: RAIL.height - 4 }),
  );
  if (mirroredDeg !== null) svg.append(make("circle", { class: "hollow", cx: place(mirroredDeg), cy: y, r: 6 }));
  svg.append(make("circle", { class: "dot is-chosen", cx: place(seenDeg), cy: y, r: 5 }));
  return svg;
}

/** @param {CheckReport} report */
function networkPart(report) {
  const { costly, cheap, most } = costlyLayers(report.layers);
  const inputs = element("ul", { class: "inputs" }, report.inputs.map((input) =>
    element("li", {}, element("code", {}, input.name), ` ${input.shape.map((size) => size ?? "?").join(" × ")}, ${input.meaning}`)));
  const rows = costly.map((layer) =>
    element("tr", {},
      element("th", { scope: "row" }, layer.operator),
      element("td", {}, layer.output_shape.map((size) => size ?? "?").join(" × ")),
      element("td", { class: "cost" }, costBar(layer.mmac, most)),
      element("td", { class: "number" }, layer.mmac ? layer.mmac.toFixed(layer.mmac < 1 ? 3 : 1) : ""),
      element("td", { class: "number" }, layer.parameters ? grouped(layer.parameters) : "")));
  const rest = cheap ? `${count(cheap, "more node")} only move, compare or scale numbers.` : "";
  return part("Network", inputs,
    element("details", {},
      element("summary", {}, `${count(costly.length, "layer")} and what each costs`),
      element("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Layers" },
        element("table", { class: "layers" },
          element("thead", {}, element("tr", {}, ["Layer", "Output", "", "MMAC", "Parameters"].map((head, index) => element(index === 2 ? "td" : "th", index === 2 ? {} : { scope: "col" }, head)))),
          element("tbody", {}, rows))),
      rest ? element("p", { class: "faint" }, rest) : null));
}

/** @param {number} mmac @param {number} most */
function costBar(mmac, most) {
  const svg = make("svg", { viewBox: "0 0 80 10", class: "bar", "aria-hidden": "true" });
  if (mmac > 0 && most > 0) svg.append(make("rect", { x: 0, y: 1, width: Math.max(1.5, (80 * mmac) / most), height: 8, rx: 2 }));
  return svg;
}

/** @param {Model} model @param {CheckReport} report */
function originPart(model, report) {
  /** @type {([string, string] | null)[]} */
  const facts = [
    ["Kind", kindOf({ ...model, sensors: report.sensors })],
    report.source_name ? ["File", `${report.source_name}, ${bytes(report.source_bytes)}`] : null,
    ["Came as", report.kind === "frozen_graph" ? "frozen TensorFlow graph, converted here" : "ONNX"],
    ["Checked", new Date(report.checked_at).toLocaleString()],
    report.neural_network ? ["Network's name", report.neural_network] : null,
    report.simplified.length ? ["Made faster by", report.simplified.join("; ")] : null,
    report.ignored.length ? ["Not used", report.ignored.join(", ")] : null,
    model.built_in ? null : ["Key", model.key],
  ];
  return part("Where it comes from",
    element("dl", { class: "origin" }, facts.filter((fact) => fact !== null).map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, element("bdi", {}, value))))),
    report.notes.length ? element("ul", { class: "notes" }, report.notes.map((note) => element("li", {}, note.charAt(0).toUpperCase() + note.slice(1)))) : null);
}
