/** What the Runs page says: pure functions from the server's documents to words. */

const DASH = "–";
const THIN = "\u202f";
/** @type {Record<string, string>} */
const MODES = { autonomous: "by itself", assisted: "assisted", manual: "by hand", calibrating: "calibrating" };
/** @type {Record<string, string>} */
const STATES = { disarmed: "disarmed", arming: "getting ready", autonomous: "drives by itself", assisted: "assisted", manual: "by hand", calibrating: "calibrating", failsafe: "stopped on a fault" };

/** How long: `8.4 s`, `12:05 min`, `2:03:10 h`. @param {number} seconds */
export function duration(seconds) {
  if (!Number.isFinite(seconds)) return DASH;
  if (seconds < 60) return `${seconds.toFixed(1)}${THIN}s`;
  const whole = Math.round(seconds);
  const two = (/** @type {number} */ number) => String(number).padStart(2, "0");
  if (whole < 3600) return `${Math.floor(whole / 60)}:${two(whole % 60)}${THIN}min`;
  return `${Math.floor(whole / 3600)}:${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}${THIN}h`;
}

/** A moment of a run as a clock shows it: `0:08.40`, `1:02:03.5`; as many digits as a step shows. @param {number} seconds */
export function clock(seconds, digits = 2) {
  const unit = 10 ** digits;
  const units = Math.max(0, Math.round(seconds * unit));
  const whole = Math.floor(units / unit);
  const two = (/** @type {number} */ number) => String(number).padStart(2, "0");
  const rest = digits ? `.${String(units % unit).padStart(digits, "0")}` : "";
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor(whole / 60) % 60;
  return `${hours ? `${hours}:${two(minutes)}` : minutes}:${two(whole % 60)}${rest}`;
}

/** Lap times are read to a thousandth. @param {number} seconds */
export function lapTime(seconds) {
  return Number.isFinite(seconds) ? `${seconds.toFixed(3)}${THIN}s` : DASH;
}

/** @param {number} number @param {string} noun */
export function count(number, noun) {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}

/** @param {number} size */
export function bytes(size) {
  if (size < 1e6) return `${Math.round(size / 1e3)}${THIN}kB`;
  if (size < 1e9) return `${(size / 1e6).toFixed(size < 1e7 ? 1 : 0)}${THIN}MB`;
  return `${(size / 1e9).toFixed(1)}${THIN}GB`;
}

/** The day of a run, as a heading. @param {Date} date @param {Date} now */
export function day(date, now) {
  const midnight = (/** @type {Date} */ of) => new Date(of.getFullYear(), of.getMonth(), of.getDate()).getTime();
  const days = Math.round((midnight(now) - midnight(date)) / 86_400_000);
  if (days === 0) return "Today";
  if (days === 1) return "Yesterday";
  return date.toLocaleDateString("en-GB", { weekday: "short", day: "numeric", month: "short", year: date.getFullYear() === now.getFullYear() ? undefined : "numeric" });
}

/** The day of a run, where anybody knows it. @param {RunRow} run @param {Date} now */
export function dayOf(run, now) {
  return run.clock_known ? day(started(run), now) : "Date not known";
}

/** @param {Date} date */
export function timeOfDay(date) {
  return date.toLocaleTimeString("en-GB");
}

/** @param {RunRow} run */
export function started(run) {
  return new Date(run.started_wall_ns / 1e6);
}

/** @param {string} name */
export function mode(name) {
  return MODES[name] ?? name;
}

/** @param {string} name */
export function state(name) {
  return STATES[name] ?? name;
}

/** In one line, what a run was. @param {RunRow} run */
export function kindOf(run) {
  const laps = run.laps_s.length ? count(run.laps_s.length, "lap") : "";
  return [duration(run.driven_s || run.duration_s), laps, run.modes.map(mode).join(", ") || "never moved"].filter(Boolean).join(" · ");
}

/** In two or three words, how a run ended, if it did not end well. @param {RunRow} run */
export function endOf(run) {
  if (run.is_mending) return run.lacks || "Cut off; it is being made whole";
  if (run.latched_fault) return `Stopped: ${run.latched_fault}`;
  if (run.is_complete) return "";
  return run.note.startsWith("cut off") ? "Cut off" : "Incomplete";
}

/** What the car did at one moment. @param {Moment | null} moment */
export function readout(moment) {
  if (!moment) return "";
  const share = (/** @type {number} */ value) => `${Math.round(Math.abs(value) * 100)}${THIN}%`;
  const steering = Math.abs(moment.steering_frac) < 0.005 ? "steering straight" : `steering ${share(moment.steering_frac)} ${moment.steering_frac > 0 ? "left" : "right"}`;
  const throttle = `throttle ${share(moment.throttle_frac)}${moment.throttle_frac < 0 ? " back" : ""}`;
  const speed = moment.speed_mps === null ? "" : `${moment.speed_mps.toFixed(2)}${THIN}m/s`;
  return [state(moment.state), steering, throttle, speed].filter(Boolean).join(" · ");
}

/** What the recorder says of itself, and how loud. @param {Recording} recorder */
export function recorderWords(recorder) {
  switch (recorder.state) {
    case "recording":
      return `Recording, ${bytes(recorder.size_bytes)} so far`;
    case "ready":
      return "Ready to record the next drive";
    case "not recording":
      return `Not recording. ${recorder.problem}`;
    default:
      return "Looking for the recorder";
  }
}

/** What is said of a film that is being made, or could not be. @param {Film} film */
export function filmWords(film) {
  if (film.state === "failed") return `No film: ${film.error}`;
  if (film.state !== "making") return "";
  return film.rests ? "The film goes on when the car stands" : `Making the film, ${Math.round(film.share * 100)}${THIN}%`;
}

/** @type {Record<string, (words: string, source: string) => string>} */
const EVENTS = { fault: (words) => `Fault: ${words}`, "fault over": (words) => `Over: ${words}`, lap: (words) => words.replace(/^l/, "L"), request: (words, source) => `${words.replace(/^./, (first) => first.toUpperCase())}${source ? `, by ${source}` : ""}` };

/** @param {RunEvent} event */
export function eventWords(event) {
  return EVENTS[event.kind]?.(event.words, event.source) ?? event.words;
}

/** Moments worth a jump, in order, each once: faults and the starts of laps. @param {RunDetails} details */
export function marksOf(details) {
  const moments = [...details.events.filter(({ kind }) => kind === "fault").map(({ t_s }) => t_s), ...details.laps.map(({ since_s }) => since_s)];
  return [...new Set(moments.map((t_s) => Math.max(0, Math.round(t_s * 1000) / 1000)))].sort((a, b) => a - b);
}
