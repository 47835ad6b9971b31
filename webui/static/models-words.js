/** What the Models page says: pure functions from the server's documents to words and order. */

/** @type {Record<string, string>} */
const ALGORITHMS = { clipped_ppo: "PPO", sac: "SAC" };
/** @type {Record<string, string>} */
const SENSORS = {
  observation: "front camera",
  FRONT_FACING_CAMERA: "front camera",
  LEFT_CAMERA: "left camera",
  STEREO_CAMERAS: "stereo cameras",
  LIDAR: "LIDAR",
  SECTOR_LIDAR: "sector LIDAR",
  DISCRETIZED_SECTOR_LIDAR: "sector LIDAR",
};
const THIN_SPACE = "\u202f";
const DASH = "–";

/**
 * Ways to order the list; each compares two models, and every tie is broken by name.
 * @type {Record<string, (a: Model, b: Model) => number>}
 */
export const ORDERS = {
  name: () => 0,
  newest: (a, b) => compare(b.checked_at ?? "", a.checked_at ?? ""),
  fastest: (a, b) => compare(a.infer_median_ms ?? Infinity, b.infer_median_ms ?? Infinity),
  smallest: (a, b) => compare(a.parameters ?? Infinity, b.parameters ?? Infinity),
};

/** @param {string | number} a @param {string | number} b */
function compare(a, b) {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** The owner's models in the wanted order, as far as they match what was typed. @param {Model[]} models @param {string} order @param {string} typed */
export function arrange(models, order, typed) {
  const wanted = fold(typed).split(" ").filter(Boolean);
  const by = ORDERS[order] ?? ORDERS.name;
  return models
    .filter((model) => {
      const text = fold(`${model.name} ${kindOf(model)} ${model.source_name ?? ""}`);
      return wanted.every((word) => text.includes(word));
    })
    .sort((a, b) => by(a, b) || a.name.localeCompare(b.name, "en", { numeric: true }) || compare(a.key, b.key));
}

/** @param {string} text */
function fold(text) {
  return text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase().trim();
}

/** In one line, what sort of policy it is. @param {Model} model */
export function kindOf(model) {
  const algorithm = ALGORITHMS[model.training_algorithm ?? ""] ?? model.training_algorithm;
  const actions = model.action_space_type === "continuous" ? "steers freely" : count(model.action_count ?? 0, "action");
  const sensors = [...new Set((model.sensors ?? []).map((sensor) => SENSORS[sensor] ?? sensor))];
  const looks = model.calibration_drive ? [] : sensors;
  return [model.calibration_drive ? "" : algorithm, model.action_space_type ? actions : "", ...looks]
    .filter(Boolean)
    .join(" · ");
}

/** `1 action`, `5 actions`. @param {number} number @param {string} noun */
export function count(number, noun) {
  return `${grouped(number)} ${noun}${number === 1 ? "" : "s"}`;
}

/** A whole number with thin spaces between its thousands. @param {number} number */
export function grouped(number) {
  return Math.round(number).toLocaleString("en").replaceAll(",", THIN_SPACE);
}

/** A large count in few characters: `842`, `12 k`, `1.3 M`. @param {number} number */
export function short(number) {
  if (number < 1000) return String(Math.round(number));
  const [value, unit] = number < 999_500 ? [number / 1e3, "k"] : [number / 1e6, "M"];
  return `${value < 9.95 ? value.toFixed(1) : value.toFixed(0)}${THIN_SPACE}${unit}`;
}

/** Milliseconds as people read them. @param {number | null | undefined} ms */
export function milliseconds(ms) {
  if (typeof ms !== "number" || !Number.isFinite(ms)) return DASH;
  return `${ms < 0.095 ? ms.toFixed(2) : ms < 99.95 ? ms.toFixed(1) : ms.toFixed(0)} ms`;
}

/** A file's size. @param {number} size */
export function bytes(size) {
  if (!Number.isFinite(size)) return DASH;
  if (size < 1000) return `${size} bytes`;
  if (size < 999_500) return `${(size / 1e3).toFixed(size < 9950 ? 1 : 0)} kB`;
  return `${(size / 1e6).toFixed(size < 99.5e6 ? 1 : 0)} MB`;
}

/** An angle with its side: `12° left`, `straight`. @param {number} degrees */
export function steering(degrees) {
  const rounded = Math.abs(degrees) < 9.95 ? Math.round(Math.abs(degrees) * 10) / 10 : Math.round(Math.abs(degrees));
  if (rounded === 0) return "straight";
  return `${rounded}° ${degrees > 0 ? "left" : "right"}`;
}

/** A speed of the policy's own table. @param {number} mps */
export function speed(mps) {
  return `${mps.toFixed(Math.abs(mps) < 9.95 ? 2 : 1)} m/s`;
}

/** How long ago something was, roughly. @param {number} seconds */
export function ago(seconds) {
  if (seconds < 50) return "just now";
  if (seconds < 3300) return `${Math.round(seconds / 60)} min ago`;
  if (seconds < 84_600) return `${Math.round(seconds / 3600)} h ago`;
  return count(Math.round(seconds / 86_400), "day") + " ago";
}

/** What an upload is doing, as a sentence, and whether its share is known. @param {any} upload of the server, or of this page */
export function describeUpload(upload) {
  switch (upload.state) {
    case "queued":
      return { words: upload.crowded ? "Waits until another upload is done" : "Waits for its turn", share: null };
    case "uploading": {
      const sent = Number.isFinite(upload.size_bytes) ? `${bytes(upload.share * upload.size_bytes)} of ${bytes(upload.size_bytes)}` : "";
      return { words: ["Uploading", sent].filter(Boolean).join(", "), share: upload.share };
    }
    case "checking":
      if (upload.stage === "waiting" || upload.stage.startsWith("waiting for")) return { words: "Waits for another check", share: null };
      if (upload.stage.includes("when the car stops")) return { words: "Uploaded. The check starts when the car stops", share: null };
      return { words: `Checking: ${upload.stage}`, share: upload.share };
    case "asking":
      return { words: "Needs an answer from you", share: null };
    case "done":
      return { words: upload.new ? "Checked and ready" : "Here already, and ready", share: 1 };
    case "cancelled":
      return { words: "Cancelled; nothing of it was kept", share: null };
    default:
      return { words: upload.error, share: null };
  }
}

/**
 * How the time of one decision fits into a control period: where median and p99 lie in it, as shares,
 * and a verdict. Seven tenths belong to the network; picture, loop and page need the rest.
 * @param {number} medianMs
 * @param {number} p99Ms
 * @param {number} rateHz
 */
export function describeTime(medianMs, p99Ms, rateHz) {
  const periodMs = 1000 / rateHz;
  const [median, p99] = [medianMs / periodMs, p99Ms / periodMs];
  const verdict = p99 <= 0.35 ? "plenty of time" : p99 <= 0.7 ? "in time" : "too slow";
  return { periodMs, median: Math.min(1, median), p99: Math.min(1, p99), verdict, bad: p99 > 0.7 };
}

/**
 * The answers of the dry run: the blank picture, each frame with its mirror image, noise,
 * and how often each action of a list was chosen on the frames.
 * @param {PictureAnswer[]} responses
 * @returns {DryRun}
 */
export function readResponses(responses) {
  const byName = new Map(responses.map((response) => [response.picture, response]));
  /** @type {DryRun["frames"]} */
  const frames = [];
  const chosen = new Map();
  for (const response of responses) {
    const match = /^frame (\d+)$/.exec(response.picture);
    if (!match) continue;
    frames.push({ index: Number(match[1]), seen: response, mirrored: byName.get(`${response.picture} mirrored`) ?? null });
    if (response.index >= 0) chosen.set(response.index, (chosen.get(response.index) ?? 0) + 1);
  }
  const noise = responses.filter((response) => response.picture.startsWith("random"));
  return { blank: byName.get("blank") ?? null, frames, noise, chosen };
}

/** How a policy treats mirrored pictures: the mean of |answer + mirrored answer|, in degrees; null if unknown. @param {DryRun["frames"]} frames */
export function mirrorError(frames) {
  const pairs = frames.filter((frame) => frame.mirrored !== null);
  if (pairs.length === 0) return null;
  const sum = pairs.reduce((all, { seen, mirrored }) => all + Math.abs(seen.steering_deg + (mirrored?.steering_deg ?? 0)), 0);
  return sum / pairs.length;
}

/** Why a model cannot be activated now, as a sentence, or nothing. @param {Model} model @param {{state: string} | null} car */
export function whyNotActivate(model, car) {
  if (model.problem) return "It cannot be used: see above.";
  if (car && car.state !== "disarmed") {
    return car.state === "failsafe"
      ? "The car has stopped on a fault. Disarm it on the Drive page, then activate."
      : "The car is armed. Stop it, then activate.";
  }
  return "";
}

/** Why a model cannot be removed now, as a sentence, or nothing. @param {Model} model @param {string} loaded */
export function whyNotRemove(model, loaded) {
  if (model.built_in) return "It ships with Lapwing and stays.";
  if (model.active || model.key === loaded) return "It is the one that drives. Activate another one, then remove it.";
  return "";
}

/** The layers that cost something, and the rest in one number. @param {Layer[]} layers */
export function costlyLayers(layers) {
  const costly = layers.filter((layer) => layer.mmac > 0 || layer.parameters > 0);
  return { costly, cheap: layers.length - costly.length, most: Math.max(0, ...costly.map((layer) => layer.mmac)) };
}
