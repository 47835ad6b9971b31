/** The driving page: puts the parts together. */

import { Control } from "./control.js";
import { setText } from "./dom.js";
import { DrivingInputs } from "./driving_inputs.js";
import { NEUTRAL } from "./hands.js";
import { Laps } from "./laps.js";
import { DrivingLease } from "./lease.js";
import { fetchGently, post } from "./link.js";
import { modelChoices } from "./loaded.js";
import { Pictures } from "./picture.js";
import { emergencyStop, watchForStop } from "./stop.js";
import { store, stored } from "./stored.js";
import { say } from "./toast.js";
import { Trim } from "./trim.js";
import { GUARDED, describe, describeDriver, describeGoal, describeHealth, describeLease, describeRecording } from "./words.js";

const SHOW_MS = 200;
const LOST_MS = 1000;
const QUESTION_MS = 8000;
const NOTE_MS = 8000;
const MISS_MS = 10000; // a missed decision is loud for this long
const SETTLES_MS = 1000;
const PUT_BACK_MS = 500; // at the latest, on a phone that is busy with the pictures
const LEND_MS = 2500; // how long a page keeps the wheel of a standing car after its last wish
const KEEP_MS = 300; // five renewals within the 1.5 s of a lease of a standing car
const HANDS_ON = new Set(["manual", "assisted"]);

/** @type {Record<string, [string, string]>} what is said beside the choice, and below the question */
const MODE_WORDS = {
  autonomous: ["The policy steers and drives.", "the car moves by itself"],
  assisted: ["The policy steers; you drive the throttle.", "you drive the throttle"],
  manual: ["You steer and drive.", "you steer and drive"],
};

/** @param {string} id @returns {any} */
const byId = (id) => document.getElementById(id);
const page = /** @type {string} */ (document.body.dataset.page);
const source = /** @type {string} */ (document.body.dataset.source);
const isWatching = document.body.dataset.watching === "yes"; // by a link: the server refuses all but the stop
const view = /** @type {HTMLElement} */ (document.querySelector(".view"));

/** @type {StatusDocument | null} */
let newest = null;
let newestAt = -Infinity;
/** @type {Listed[] | null} */
let models = null; // as the store has them
let modelsWord = ""; // of the status, for the list as it was last asked for
/** @type {number | null} */
let wanted = null; // speed cap that this page asks for, in percent, while the car has not confirmed it
let capUnderway = false;
let stopping = false;
let questionTimer = 0;
let noteTimer = 0;
let lendTimer = 0;
let keepTimer = 0; // of the wheel of a standing car, while a late yes may be said again
const misses = { count: Infinity, at: -Infinity }; // missed decisions, and when the last ones came
/** @type {WakeLockSentinel | null} */
let wakeLock = null;
let refusedSource = ""; // who was told "not now"

const car = () => newest?.car ?? null;
const isConnected = () => performance.now() - newestAt < LOST_MS;
const laps = new Laps(/** @type {HTMLElement} */ (document.querySelector(".laps")));
const control = new Control(page, hearLive, () => `trail=${laps.trailEnd}`);
new Pictures(view, page, (serverNs) => control.see(serverNs), car);
const trim = new Trim(askAsDriver, note);
const inputs = new DrivingInputs(byId("pad"), {
  mayDrive: handsOn,
  steers: () => car()?.state === "manual",
  letGo: () => handsOn() && control.tell("drive", NEUTRAL),
  stop: stopNow,
});
const lease = new DrivingLease(
  () => control.renew(),
  (nowMs) => {
    if (handsOn()) control.tell("drive", inputs.step(nowMs));
    else inputs.watchController();
  },
);

function isMine() {
  return newest?.lease ? newest.lease.mine : car()?.driver === source;
}

function handsOn() {
  return HANDS_ON.has(car()?.state ?? "") && isMine() && !stopping;
}

/* ---- what the page hears ---- */

/** @param {StatusDocument} document */
function hearLive(document) {
  hear(document);
  followModels(document.models ?? "none"); // not yet with the page's first status: Start waits for no list
}

/** @param {StatusDocument} document */
function hear(document) {
  const before = car()?.state;
  newest = document;
  newestAt = performance.now();
  laps.show(document.world, document.laps);
  if (document.car) {
    lease.follow(document.car, isMine());
    followMisses(document.car);
    if (before !== document.car.state) changeState(document.car.state);
  }
  show();
}

/** @param {string} state */
function changeState(state) {
  if (!HANDS_ON.has(state)) inputs.neutral();
  followWakeLock();
}

/** @param {Car} car */
function followMisses({ missed_decisions: missed }) {
  if (missed > misses.count) misses.at = performance.now();
  misses.count = missed;
}

/** The screen stays on while the car drives for this page. */
async function followWakeLock() {
  const wanted = GUARDED.has(car()?.state ?? "") && isMine() && !document.hidden;
  if (!wanted) {
    wakeLock?.release();
    wakeLock = null;
  } else if (wakeLock === null || wakeLock.released) {
    try {
      wakeLock = (await navigator.wakeLock?.request("screen")) ?? null;
    } catch {
      wakeLock = null; // the battery is low, or the page is not served over HTTPS
    }
  }
}

/* ---- what the page shows ---- */

function show() {
  const had = document.activeElement;
  const connected = isConnected();
  const words = describe(connected ? newest : newestAt === -Infinity ? { car: null, silence: "" } : null);
  if (newestAt === -Infinity) Object.assign(words, { title: "Looking for the car", mood: "unknown" });
  document.body.dataset.mood = words.mood;
  setText(byId("state"), words.title);
  setText(byId("sentence"), words.sentence);
  showReasons(words.reasons);
  tell(words);
  showControls(connected);
  showWheel(connected);
  keepFocus(had);
  const now = car();
  if (!connected || !now) return;

  const title = `${words.title} · Lapwing`;
  if (document.title !== title) document.title = title;
  showModels();
  showCap(now);
  showTrim(now);
  const missesLately = performance.now() - misses.at < MISS_MS;
  for (const [id, tile] of Object.entries(describeHealth(now, missesLately, newest?.host, newest?.recorder))) showTile(byId(id), tile);
  const aloud = describeRecording(newest?.recorder);
  if (aloud && byId("unrecorded-words").textContent !== aloud) say(aloud);
  byId("unrecorded").hidden = aloud === "";
  setText(byId("unrecorded-words"), aloud);
}

/** Say the state to those who hear the page, once: a number that changes in a sentence is no news. @param {ReturnType<typeof describe>} words */
function tell({ title, sentence, reasons, mood }) {
  const aloud = [title, sentence, ...reasons].filter(Boolean).map((words) => words.replace(/[.:]?$/, ".")).join(" ");
  const news = byId("state-news");
  const unnumbered = aloud.replace(/\d+([.,]\d+)?/g, "");
  if (news.dataset.said === unnumbered) return;
  news.dataset.said = unnumbered;
  const isAlarm = mood === "failsafe" || mood === "lost"; // waits for nothing that is being read
  setText(news, isAlarm ? "" : aloud);
  setText(byId("state-alarm"), isAlarm ? aloud : "");
}

/** @param {string[]} reasons */
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

/** @param {boolean} connected */
function showControls(connected) {
  const state = connected ? car()?.state : undefined;
  const ready = state === "disarmed" && car()?.not_ready.length === 0;
  const taken = Boolean(newest?.lease?.driver) && !isMine();
  byId("start").disabled = !ready || taken;
  byId("start").hidden = state === "failsafe";
  byId("clear").hidden = state !== "failsafe";
  byId("stop").disabled = state === "disarmed" || state === "failsafe";
  if (!ready) closeQuestion();
  if (stopping && (state === "failsafe" || state === "disarmed")) setStopping(false);

  const standing = state === "disarmed" || state === "failsafe";
  for (const id of ["target-laps", "time-limit", "name"]) byId(id).disabled = !standing;
  for (const one of modes()) one.disabled = !standing;
  byId("model").disabled = !standing || byId("model").options.length < 2;
  byId("pad").hidden = !connected || !handsOn();
  document.body.classList.toggle("has-pad", !byId("pad").hidden);
  setText(byId("pad-words"), state === "assisted" ? "Drag up for throttle" : "Drag here to drive");
  byId("mark-lap").hidden = !newest?.laps?.by_hand || !GUARDED.has(state ?? "");
  setText(byId("goal"), describeGoal(newest?.laps, GUARDED.has(state ?? "")));
}

/** @param {boolean} connected */
function showWheel(connected) {
  const { words, mayAsk, asking } = describeLease(connected ? newest?.lease : undefined);
  const driver = connected ? describeDriver(car(), source, newest?.lease) : "";
  const isNamed = words !== "" && Boolean(newest?.lease?.name); // one of the two says enough
  setText(byId("driver"), isNamed ? "" : driver);
  setText(byId("wheel-words"), isNamed || !driver ? words : "");
  byId("wheel-ask").hidden = !mayAsk;
  const isAsked = asking !== null && asking.source !== refusedSource;
  if (isAsked) {
    setText(byId("request-words"), `${asking.name || "Another page"} asks for the wheel. The car stops first.`);
    if (byId("request").hidden) say(byId("request-words").textContent);
  }
  byId("request").hidden = !isAsked;
}

/** @param {Car} now */
function showCap(now) {
  const confirmed = Math.round(now.speed_cap_frac * 100);
  if (wanted === confirmed) wanted = null;
  const drivenByOther = GUARDED.has(now.state) && !isMine();
  for (const id of ["cap", "cap-less", "cap-more"]) byId(id).disabled = drivenByOther || isWatching;
  if (wanted === null) byId("cap").value = String(confirmed);
  showCapValue(wanted ?? confirmed);
}

/** @param {number} percent */
function showCapValue(percent) {
  setText(byId("cap-value"), `${percent} %`);
  byId("cap").style.setProperty("--share", String(percent / 100));
}

/** @param {Car} now */
function showTrim(now) {
  byId("trim-card").hidden = now.trim_us === undefined || !control.isLive;
  if (!byId("trim-card").hidden && !isWatching) trim.show(now);
}

/** @param {HTMLElement} tile @param {Tile} words */
function showTile(tile, { value, more, bad }) {
  const [first, second] = tile.querySelectorAll("dd");
  tile.hidden = false;
  setText(first, value);
  setText(second, more);
  second.title = more;
  tile.classList.toggle("is-bad", bad);
}

function note(sentence = "") {
  clearTimeout(noteTimer);
  setText(byId("note"), sentence);
  if (sentence) noteTimer = setTimeout(() => note(""), NOTE_MS);
}

/* ---- what a person asks for ---- */

/** @returns {NodeListOf<HTMLInputElement>} */
function modes() {
  return document.querySelectorAll('input[name="mode"]');
}

function mode() {
  return [...modes()].find((one) => one.checked)?.value ?? "autonomous";
}

function openQuestion() {
  setText(byId("start-words"), MODE_WORDS[mode()][1]);
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
  if (hadFocus) byId(byId("start").disabled || byId("start").hidden ? "emergency" : "start").focus();
}

/** Give the focus of a button that goes to the emergency stop: who presses the same key again starts nothing. @param {Element | null} had */
function keepFocus(had) {
  const isGone = had instanceof HTMLButtonElement && (had.disabled || had.closest("[hidden]")); // asking for its box would lay the page out, ten times a second
  if (isGone && had.closest(".controls, .state")) byId("emergency").focus();
}

async function start() {
  const target = mode();
  const target_laps = byId("target-laps").valueAsNumber;
  const time_limit_min = byId("time-limit").valueAsNumber;
  closeQuestion();
  note("");
  clearTimeout(lendTimer);
  if (!control.isLive && target !== "autonomous") {
    note("Driving by hand needs the live connection, which is not there at the moment.");
    return;
  }
  const fields = {
    target,
    ...(target_laps > 0 ? { target_laps } : {}),
    ...(time_limit_min > 0 ? { time_limit_s: time_limit_min * 60 } : {}),
  };
  lease.take();
  const answer = (await takeWheel()) ?? (await control.ask("start", fields));
  followWakeLock();
  if (answer.ok) return;
  lease.letGo();
  control.send("release_lease");
  note(answer.error);
}

/** Become the driver; returns what the car says against it, null when nothing. @returns {Promise<Answer | null>} */
async function takeWheel() {
  if (!control.isLive || isMine()) return null;
  const answer = await control.ask("take_lease", { name: byId("name").value.trim() });
  return answer.ok ? null : answer;
}

/** Ask for something that only the driver may, of a car that perhaps nobody drives. @param {string} kind @param {object} fields */
async function askAsDriver(kind, fields) {
  const refused = await takeWheel();
  if (refused) return refused;
  clearTimeout(lendTimer);
  if (control.isLive && !GUARDED.has(car()?.state ?? "")) {
    lendTimer = setTimeout(() => {
      if (!lease.held) control.tell("release_lease");
    }, LEND_MS);
  }
  return control.ask(kind, fields);
}

async function stop() {
  await halt();
  control.send("release_lease");
}

/** Stop, and keep the wheel for the moment. */
async function halt() {
  lease.letGo();
  inputs.neutral();
  const answer = await control.ask("stop");
  note(answer.error);
}

/** Stop, and give the wheel to who asks for it; a yes that came too late is said to have, and may be said again at once. */
async function handOver() {
  const asking = newest?.lease?.asked_by[0];
  if (!asking) return;
  clearInterval(keepTimer);
  await halt();
  const answer = await control.ask("yield_lease", { to: asking.source });
  note(answer.ok ? "" : `Not handed over. ${answer.error}`);
  if (answer.ok) return;
  const since = performance.now();
  keepTimer = setInterval(() => { // whoever has let go has nothing to hand over
    if (byId("request").hidden || !isMine() || performance.now() - since > QUESTION_MS) clearInterval(keepTimer);
    else control.renew();
  }, KEEP_MS);
  if (!byId("request").hidden) byId("request-yes").focus();
}

async function clear() {
  const answer = await control.ask("clear");
  note(answer.error);
}

async function stopNow() {
  const tell = () => control.tell("emergency_stop");
  inputs.neutral();
  lease.letGo();
  closeQuestion();
  if (stopping) return; // already being repeated
  setStopping(true);
  const error = await emergencyStop(tell);
  note(error);
  if (error) setStopping(false);
  else setTimeout(() => setStopping(false), LOST_MS);
}

/** @param {boolean} value */
function setStopping(value) {
  stopping = value;
  byId("emergency").classList.toggle("is-pressed", value);
  setText(byId("emergency-word"), value ? "Stopping" : "Emergency stop");
}

/** @param {number} percent */
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
  const answer = await askAsDriver("speed_cap", { speed_cap_frac: sent / 100 });
  capUnderway = false;
  if (!answer.ok) {
    wanted = null;
    note(answer.error);
  } else if (wanted !== null && wanted !== sent) {
    sendCap();
  } else {
    setTimeout(() => {
      if (wanted === sent) wanted = null; // the car may have rounded it
    }, SETTLES_MS);
  }
}

/** @param {number} by */
function changeCap(by) {
  if (!byId("cap").disabled) askForCap((wanted ?? byId("cap").valueAsNumber) + by);
}

/* ---- models ---- */

/** Ask for the list when the status says that it has changed. @param {string} word */
async function followModels(word) {
  if (word === modelsWord) return;
  modelsWord = word;
  try {
    const { response, body } = await fetchGently("/api/models", { timeoutMs: 2000 });
    if (response.ok && body) ({ models } = JSON.parse(await body.text()));
  } catch {
    modelsWord = ""; // again with the next status
  }
  showModels();
}

function showModels() {
  const select = byId("model");
  if (!models || !newest || (document.activeElement === select && select.matches(":open"))) return;
  const choices = modelChoices(models, car());
  const signature = JSON.stringify(choices);
  if (select.dataset.shown === signature) return;
  select.dataset.shown = signature;
  select.replaceChildren(...choices.map(({ label, key, chosen }) => new Option(label, key, chosen, chosen)));
}

async function chooseModel() {
  const select = byId("model");
  if (!select.value) return;
  const answer = await post(`/api/models/${select.value}/activate`, {}, { timeoutMs: 20000 });
  if (answer.error) note(answer.error);
  select.dataset.shown = ""; // what was chosen and refused gives way to what is loaded
  select.blur();
}

/** @returns {NodeListOf<HTMLInputElement>} */
function pictures() {
  return document.querySelectorAll('input[name="show"]');
}

/** Put back what this browser keeps. Its first look there may take a quarter of a second: Start and stop work before. */
function putBack() {
  byId("name").value ||= stored("driver-name") ?? "";
  const shown = stored("shown-picture");
  for (const one of pictures()) if (one.value === shown) one.click();
}

/* ---- hands on the page ---- */

byId("start").addEventListener("click", openQuestion);
byId("start-now").addEventListener("click", start);
byId("start-not").addEventListener("click", closeQuestion);
byId("stop").addEventListener("click", stop);
byId("clear").addEventListener("click", clear);
byId("cap").addEventListener("input", () => askForCap(byId("cap").valueAsNumber));
byId("cap-less").addEventListener("click", () => changeCap(-5));
byId("cap-more").addEventListener("click", () => changeCap(5));
byId("mark-lap").addEventListener("click", async () => note((await control.ask("mark_lap")).error));
byId("wheel-ask").addEventListener("click", async () => {
  const answer = await control.ask("ask_lease", { name: byId("name").value.trim() });
  note(answer.error || "Asked. The driver decides.");
});
byId("request-yes").addEventListener("click", handOver);
byId("request-no").addEventListener("click", () => {
  refusedSource = newest?.lease?.asked_by[0]?.source ?? "";
  show();
});
byId("model").addEventListener("change", chooseModel);
byId("name").addEventListener("change", () => store("driver-name", byId("name").value.trim()));

for (const one of modes()) one.addEventListener("change", () => setText(byId("mode-words"), MODE_WORDS[mode()][0]));
for (const one of pictures()) {
  one.addEventListener("change", () => {
    view.dataset.show = one.value;
    store("shown-picture", view.dataset.show);
  });
}

addEventListener("keydown", (event) => {
  const target = /** @type {HTMLElement} */ (event.target);
  if (event.key === "Enter" && event.repeat && target.closest?.("button")) event.preventDefault(); // a key that is held asks once, and answers nothing
  if (event.ctrlKey || event.metaKey || event.altKey || target.closest?.("input:not([type=range], [type=radio]), select")) return;
  if (event.key === "+" || event.key === "=") changeCap(5);
  if (event.key === "-") changeCap(-5);
});
watchForStop(byId("emergency"), () => !car() || lease.held || GUARDED.has(car()?.state ?? ""), stopNow);
document.addEventListener("visibilitychange", followWakeLock);
addEventListener("pagehide", () => {
  if (!lease.held) return; // at once, rather than when the lease runs out
  lease.letGo();
  control.tell("drive", NEUTRAL);
  control.tell("stop");
  control.tell("release_lease");
  control.post("stop");
});
setInterval(show, SHOW_MS); // also while no answer comes
const first = document.body.dataset.status;
if (first && newest === null) hear(JSON.parse(first)); // the car as the server saw it when it made this page
if ("requestIdleCallback" in window) requestIdleCallback(putBack, { timeout: PUT_BACK_MS });
else setTimeout(putBack);
