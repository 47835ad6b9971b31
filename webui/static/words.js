/** What the page says about the car: pure functions from the server's documents to words. */

/** States in which the car moves or is about to. */
export const GUARDED = new Set(["arming", "manual", "assisted", "autonomous", "calibrating"]);

const HOT_C = 85; // ten degrees below where an Atom slows itself down
const BUSY_FRAC = 0.95;
const MEMORY_FULL_FRAC = 0.92;
const DISK_LOW_BYTES = 1e9; // less than one upload and a few runs

/** @type {Record<string, string>} */
const TITLES = {
  arming: "Getting ready",
  manual: "Driven by hand",
  assisted: "Policy steers",
  autonomous: "Driving by itself",
  calibrating: "Calibrating",
  failsafe: "Stopped",
};

/**
 * Everything the state card shows.
 * `document` is the newest status, null when none has come for a second.
 * @param {{car: Car | null, silence: string} | null} document
 */
export function describe(document) {
  if (document === null) {
    return {
      mood: "lost",
      title: "No connection",
      sentence: "This page cannot reach the car's computer. A car that this page drives stops by itself within two seconds.",
      reasons: [],
    };
  }
  const car = document.car;
  if (car === null) {
    return { mood: "lost", title: "The car is silent", sentence: document.silence, reasons: [] };
  }
  if (car.state === "disarmed") {
    const ready = car.not_ready.length === 0;
    return {
      mood: ready ? "ready" : "blocked",
      title: ready ? "Ready" : "Not ready to start",
      sentence: ready ? car.sentence : "",
      reasons: car.not_ready.map(capitalised),
    };
  }
  const mood = car.state === "failsafe" ? "failsafe" : car.state === "arming" ? "arming" : "driving";
  const sentence = capitalised(car.sentence.replace(/^Stopped: /, "")); // the title says so
  return { mood, title: TITLES[car.state] ?? capitalised(car.state), sentence, reasons: [] };
}

/** Who drives, as seen by the page whose source is `own`. @param {Car | null | undefined} car @param {string} own */
export function describeDriver(car, own, /** @type {Lease | undefined} */ lease = undefined) {
  if (!car || !car.driver || !GUARDED.has(car.state)) return "";
  if (car.driver === own) return "Started from this page: keep it open.";
  if (lease?.name) return `Started by ${lease.name}.`;
  return car.driver.startsWith("page ") ? "Started from another page." : `Started by ${car.driver}.`;
}

/** A lap time as `8.21` or `1:02.50`. @param {number | null | undefined} seconds */
export function lapTime(seconds, digits = 2) {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return "–";
  const unit = 10 ** digits;
  const rounded = Math.round(seconds * unit) / unit;
  if (rounded < 60) return rounded.toFixed(digits);
  const minutes = Math.floor(rounded / 60);
  return `${minutes}:${(rounded - minutes * 60).toFixed(digits).padStart(3 + digits, "0")}`;
}

/**
 * When a drive ends by itself, while it lasts; afterwards, that it did.
 * @param {LapsDocument | null | undefined} laps
 * @param {boolean} moves
 */
export function describeGoal(laps, moves) {
  if (!laps) return "";
  if (!moves) return laps.note ?? "";
  const { target_laps: target, time_limit_s: limit } = laps;
  const goals = [target ? `after lap ${target}` : "", limit ? `after ${number(limit / 60, limit % 60 ? 1 : 0)} min` : ""].filter(Boolean);
  return goals.length ? `Stops by itself ${goals.join(" or ")}.` : "";
}

/** How old a picture is. @param {number} ms */
export function pictureAge(ms) {
  return `${Math.max(0, Math.round(ms / 10) * 10)} ms old`;
}

/** A number for a tile; a dash when it is not known. @param {unknown} value */
export function number(value, digits = 0) {
  return typeof value === "number" && Number.isFinite(value) ? value.toFixed(digits) : "–";
}

/**
 * The tiles under the picture: for each its value, a second line, and whether it needs attention.
 * @param {Car} car
 * @param {boolean} missesLately whether decisions were missed in the last seconds
 * @param {Host | null | undefined} host the computer; nothing is said of it where nothing is known
 * @param {Recording | null | undefined} recorder
 * @returns {Record<string, Tile>}
 */
export function describeHealth(car, missesLately, host = null, recorder = null) {
  const periodMs = car.control_rate_hz > 0 ? 1000 / car.control_rate_hz : Infinity;
  const faults = car.faults ?? [];
  const has = (/** @type {string} */ part) => faults.some((fault) => fault.startsWith(part));
  return {
    policy: {
      value: car.policy || "none",
      more: car.policy_note || (car.policy ? `decides at ${number(car.control_rate_hz)} Hz` : "load one first"),
      bad: !car.policy || has("policy"),
    },
    camera: {
      value: `${number(car.camera_rate_hz, 1)} Hz`,
      more: car.camera_note || "",
      bad: has("camera") || has("frame"),
    },
    latency: {
      value: `${number(car.frame_to_wire_p50_ms, 1)} ms`,
      more: `99 of 100 below ${number(car.frame_to_wire_p99_ms, 1)} ms`,
      bad: car.frame_to_wire_p99_ms > periodMs,
    },
    missed: {
      value: number(car.missed_decisions),
      more: `of ${car.decisions.toLocaleString("en").replaceAll(",", "\u202f")} decisions`,
      bad: missesLately,
    },
    board: {
      value: faults.find((fault) => fault.startsWith("board"))?.replace("board ", "") ?? "answers",
      more: car.board_note || "",
      bad: has("board") || has("stop input") || car.board_note !== "",
    },
    battery: {
      value: car.battery_v === null ? "–" : `${number(car.battery_v, 1)} V`,
      more: car.battery_v === null ? "not measured" : "",
      bad: has("battery"),
    },
    ...(host ? describeHost(host, recorder) : {}),
  };
}

/**
 * What is said aloud where drives are not kept; nothing while all is well.
 * @param {Recording | null | undefined} recorder
 */
export function describeRecording(recorder) {
  return recorder?.state === "not recording" ? `Not recording. ${recorder.problem}` : "";
}

/** The sentence with a capital first letter. @param {string} sentence */
export function capitalised(sentence) {
  return sentence.charAt(0).toUpperCase() + sentence.slice(1);
}

/** @type {Record<string, string>} */
const RECORDS = { recording: "free, recording", ready: "free, ready to record" };

/** @param {Host} host @param {Recording | null | undefined} recorder @returns {Record<string, Tile>} */
function describeHost({ cpu_frac: cpu, temperature_c: temperature, memory_frac: memory, disk_free_bytes: disk }, recorder) {
  const share = (/** @type {number | null} */ frac) => (frac === null ? "–" : `${number(frac * 100)} %`);
  const isHot = temperature !== null && temperature >= HOT_C;
  const isFull = disk !== null && disk < DISK_LOW_BYTES;
  return {
    computer: { value: share(cpu), more: cpu !== null && cpu > BUSY_FRAC ? "very busy" : "of its processors", bad: cpu !== null && cpu > BUSY_FRAC },
    temperature: {
      value: temperature === null ? "–" : `${number(temperature)} °C`,
      more: temperature === null ? "not measured" : isHot ? "hot: let it cool, or it slows down" : "processor",
      bad: isHot,
    },
    memory: { value: share(memory), more: memory !== null && memory > MEMORY_FULL_FRAC ? "nearly full" : "in use", bad: memory !== null && memory > MEMORY_FULL_FRAC },
    disk: {
      value: disk === null ? "–" : `${number(disk / 1e9, 1)} GB`,
      more: isFull ? "remove old models or runs" : RECORDS[recorder?.state ?? ""] ?? "free",
      bad: isFull,
    },
  };
}

/**
 * Who has the wheel, for the page whose source is `own`, and what may be done about it.
 * @param {Lease | undefined} lease
 * @returns {{words: string, mayAsk: boolean, asking: {source: string, name: string} | null}}
 */
export function describeLease(lease) {
  if (!lease || !lease.driver) return { words: "", mayAsk: false, asking: null };
  if (lease.mine) return { words: "", mayAsk: false, asking: lease.asked_by[0] ?? null };
  return { words: `${lease.name || "Another page"} has the wheel.`, mayAsk: true, asking: null };
}
