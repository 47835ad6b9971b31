/** The driving page: puts the parts together. */

import { Laps } from "./laps.js";
import { Lease } from "./lease.js";
import { fetchGently, post } from "./link.js";
import { Picture } from "./picture.js";
import { emergencyStop, watchForStop } from "./stop.js";
import { GUARDED, describe, describeDriver, describeHealth } from "./words.js";

const POLL_MS = 200;
const LOST_MS = 1000;
const QUESTION_MS = 8000;
const NOTE_MS = 8000;
const MISS_MS = 10000; // a missed decision is loud for this long

const byId = (id) => document.getElementById(id);
const { page, source } = document.body.dataset;

let newest = null; // newest answer of /status
let newestAt = -Infinity;
let wanted = null; // speed cap that this page asks for, in percent, while the car has not confirmed it
let capUnderway = false;
let stopping = false;
let questionTimer = 0;
const misses = { count: Infinity, at: -Infinity }; // missed decisions, and when the last ones came
let noteTimer = 0;

const seenNs = () => newest?.server_ns ?? 0;
const car = () => newest?.car ?? null;
const lease = new Lease(page, source, seenNs);
const laps = new Laps(document.querySelector(".laps"));
const picture = new Picture(document.querySelector(".view"));

/* ---- what the page shows ---- */

function show() {
  const connected = performance.now() - newestAt < LOST_MS;
  const words = describe(connected ? newest : newestAt === -Infinity ? { car: null, silence: "" } : null);
  if (newestAt === -Infinity) Object.assign(words, { title: "Looking for the car", mood: "unknown" });
  document.body.dataset.mood = words.mood;
  setText(byId("state"), words.title);
  setText(byId("sentence"), words.sentence);
  showReasons(words.reasons);
  showControls(connected);
  setText(byId("driver"), connected ? describeDriver(car(), source) : "");
  if (!connected || !car()) return;

  byId("simulated").hidden = !car().hil;
  document.title = `${words.title} · Lapwing`;
  showCap();
  picture.showGauges(car());
  for (const [id, tile] of Object.entries(describeHealth(car(), missesLately()))) showTile(byId(id), tile);
}

function followMisses({ missed_decisions: missed }) {
  if (missed > misses.count) misses.at = performance.now();
  misses.count = missed;
}

function missesLately() {
  return performance.now() - misses.at < MISS_MS;
}

function showReasons(reasons) {
  const list = byId("reasons");
  if (list.dataset.shown === reasons.join("\n")) return;
  list.dataset.shown = reasons.join("\n");
  list.replaceChildren(
    ...reasons.map((reason) => {
      const item = document.createElement("li");
      item.textContent = reason;
      return item;
    }),
  );
}

function showControls(connected) {
  const state = connected ? car()?.state : undefined;
  const ready = state === "disarmed" && car().not_ready.length === 0;
  byId("start").disabled = !ready;
  byId("start").hidden = state === "failsafe";
  byId("clear").hidden = state !== "failsafe";
  byId("stop").disabled = state === "disarmed" || state === "failsafe";
  if (!ready) closeQuestion();
  if (stopping && (state === "failsafe" || state === "disarmed")) setStopping(false);
}

function showCap() {
  const confirmed = Math.round(car().speed_cap_frac * 100);
  if (wanted === confirmed) wanted = null;
  const drivenByOther = GUARDED.has(car().state) && car().driver !== source;
  for (const id of ["cap", "cap-less", "cap-more"]) byId(id).disabled = drivenByOther;
  if (wanted === null) byId("cap").value = String(confirmed);
  showCapValue(wanted ?? confirmed);
}

function showCapValue(percent) {
  setText(byId("cap-value"), `${percent} %`);
  byId("cap").style.setProperty("--share", String(percent / 100));
}

function showTile(tile, { value, more, bad }) {
  const [first, second] = tile.querySelectorAll("dd");
  setText(first, value);
  setText(second, more);
  second.title = more;
  tile.classList.toggle("is-bad", bad);
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text; // a live region speaks when it is set
}

function note(sentence) {
  clearTimeout(noteTimer);
  setText(byId("note"), sentence ?? "");
  if (sentence) noteTimer = setTimeout(() => note(""), NOTE_MS);
}

/* ---- what the page hears ---- */

async function poll() {
  try {
    const { response, body } = await fetchGently(`/status?trail=${laps.trailEnd}`);
    if (response.ok) {
      newest = JSON.parse(await body.text());
      newestAt = performance.now();
      laps.show(newest.world);
      if (newest.car) {
        lease.follow(newest.car);
        followMisses(newest.car);
      }
    }
  } catch {
    // Seen by its age: the page says that it has lost the car.
  }
  show();
  setTimeout(poll, POLL_MS);
}

/* ---- what a person asks for ---- */

function openQuestion() {
  byId("choices").hidden = true;
  byId("question").hidden = false;
  byId("start-now").focus();
  questionTimer = setTimeout(closeQuestion, QUESTION_MS);
}

function closeQuestion() {
  if (byId("question").hidden) return;
  clearTimeout(questionTimer);
  const hadFocus = byId("question").contains(document.activeElement);
  byId("question").hidden = true;
  byId("choices").hidden = false;
  if (hadFocus) byId("stop").focus();
}

async function start() {
  closeQuestion();
  note("");
  lease.take();
  const answer = await post("/drive/start", { page, seen_ns: seenNs() });
  if (answer.ok) return;
  lease.letGo();
  note(answer.error);
}

async function stop() {
  lease.letGo();
  const answer = await post("/drive/stop", { page, seen_ns: seenNs() });
  note(answer.error);
}

async function clear() {
  const answer = await post("/drive/clear", { page, seen_ns: seenNs() });
  note(answer.error);
}

async function stopNow() {
  lease.letGo();
  closeQuestion();
  if (stopping) return; // already being repeated
  setStopping(true);
  const error = await emergencyStop();
  note(error);
  if (error) setStopping(false);
  else setTimeout(() => setStopping(false), LOST_MS);
}

function setStopping(value) {
  stopping = value;
  byId("emergency").classList.toggle("is-pressed", value);
  setText(byId("emergency-word"), value ? "Stopping" : "Emergency stop");
}

function askForCap(percent) {
  wanted = Math.min(100, Math.max(0, percent));
  byId("cap").value = String(wanted);
  showCapValue(wanted);
  sendCap();
}

async function sendCap() {
  if (capUnderway || wanted === null) return;
  capUnderway = true;
  const sent = wanted;
  const answer = await post("/drive/speed-cap", { page, speed_cap_frac: sent / 100 });
  capUnderway = false;
  if (!answer.ok) {
    wanted = null;
    note(answer.error);
  } else if (wanted !== null && wanted !== sent) {
    sendCap();
  } else {
    setTimeout(() => { if (wanted === sent) wanted = null; }, 5 * POLL_MS); // the car may have rounded it
  }
}

byId("start").addEventListener("click", openQuestion);
byId("start-now").addEventListener("click", start);
byId("start-not").addEventListener("click", closeQuestion);
byId("stop").addEventListener("click", stop);
byId("clear").addEventListener("click", clear);
byId("cap").addEventListener("input", () => askForCap(byId("cap").valueAsNumber));
byId("cap-less").addEventListener("click", () => askForCap((wanted ?? byId("cap").valueAsNumber) - 5));
byId("cap-more").addEventListener("click", () => askForCap((wanted ?? byId("cap").valueAsNumber) + 5));
watchForStop(byId("emergency"), () => !car() || lease.held || GUARDED.has(car().state), stopNow);
addEventListener("pagehide", () => {
  if (lease.held) stop(); // at once, rather than when the lease runs out
});
setInterval(show, POLL_MS); // also while no answer comes
poll();
