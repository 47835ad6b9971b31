/** The calibration page: what is in force, the walk to new numbers, test drives and the speed table. */

import { post } from "./link.js";
import { Axis, CarDrawing, drawSpeeds, throttleShare, wheelAngle } from "./calibrate_draw.js";
import { Session } from "./calibrate_session.js";

const HOLD_MS = 1200;
const DEGREES = 180 / Math.PI;
const PULSE_SLACK_US = 1.5; // the board is told whole microseconds
const FORGOTTEN_MS = 700; // a pulse that rests this long after it was asked for was taken back
const ENDS = new Set(["left", "right", "forward", "reverse"]);
const MIN_SPAN_US = 10; // as the server has it
const FULL_RANGE = [800, 2200];
const MODES = { none: "no reverse", direct: "direct", double_tap: "second pull" };
const PARTS = { begin: "Get ready", steering: "Steering", throttle: "Throttle", end: "Save" };

const byId = (id) => /** @type {any} */ (document.getElementById(id));
const { page = "", source = "" } = document.body.dataset;
const session = new Session(page, source);
const car = new CarDrawing(byId("car"));
const steeringAxis = new Axis(byId("steering-axis"), "Steering, µs");
const throttleAxis = new Axis(byId("throttle-axis"), "Throttle, µs");

let known = null; // what /api/calibration says
let draft = null; // the calibration in the making and what its steps make of it
let before = null; // the numbers that the walk began with
let steps = []; // of this walk
let at = 0;
let wanted = 0; // pulse that was asked for; 0 is at rest
let wantedAt = 0;
let running = ""; // the actuator that is calibrated now
let busy = false;
let trialUnderway = 0;
let chosenMode = "";
let wasLost = false;
let failed = false;

/* ---- what the car is and has ---- */

async function load() {
  try {
    const response = await fetch("/api/calibration", { signal: AbortSignal.timeout(3000) });
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.error);
    take(answer);
    trouble("");
  } catch (error) {
    trouble(error instanceof Error && error.message ? error.message : "The car's computer did not answer.");
    setTimeout(load, 1000);
  }
}

function take(answer) {
  known = answer;
  draft = known.draft;
  if (view() === "loading") show("rest");
  showRest();
  drawNow();
}

function view() {
  return byId("calibrate").dataset.view;
}

function show(name) {
  byId("calibrate").dataset.view = name;
  for (const one of ["rest", "walk", "floor"]) byId(one).hidden = one !== name;
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function trouble(text) {
  delete byId("trouble").dataset.offers;
  setText(byId("trouble"), text);
  byId("trouble").hidden = text === "";
}

function when(text) {
  const date = new Date(text);
  return Number.isNaN(date.valueOf()) ? "" : date.toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });
}

function showRest() {
  const { saved, fresh, history, hil, board_note: boardNote, problem } = known;
  setText(byId("car-name"), known.name);
  const by = saved ? `Version ${saved.version}, saved ${when(saved.saved_at)}${saved.saved_by ? ` by ${saved.saved_by}` : ""}.` : "";
  setText(byId("car-note"), saved ? by : fresh ? "Nobody has calibrated this car yet. It does not drive before." : `${hil ? "A simulated car with the numbers it was built with." : ""} Nothing is saved yet.`);
  for (const button of document.querySelectorAll("[data-walk]")) {
    /** @type {HTMLElement} */ (button).hidden = fresh && /** @type {HTMLElement} */ (button).dataset.walk !== "all";
  }
  if (problem || (boardNote && !fresh)) trouble(problem || boardNote);
  byId("tell-board").hidden = !saved || known.told;
  byId("undo").disabled = history.length < 2;
  byId("export").hidden = !saved;
  const rows = history.map((cal) => {
    const item = document.createElement("li");
    const isNow = saved && cal.version === saved.version;
    for (const [name, text] of [
      ["version", `${cal.version}`],
      ["who", cal.saved_by || "–"],
      ["when", when(cal.saved_at)],
      ["what", isNow ? "in force" : ""],
    ]) {
      const part = document.createElement("span");
      part.className = name;
      part.textContent = text;
      item.append(part);
    }
    if (!isNow) {
      const again = document.createElement("button");
      again.type = "button";
      again.className = "plain";
      again.textContent = "Look";
      again.setAttribute("aria-label", `Look at version ${cal.version}`);
      again.addEventListener("click", () => review(cal));
      item.lastElementChild?.append(again);
    }
    item.classList.toggle("is-now", Boolean(isNow));
    return item;
  });
  if (rows.length === 0) {
    const item = document.createElement("li");
    item.className = "empty";
    item.textContent = "Nothing yet.";
    rows.push(item);
  }
  byId("history").replaceChildren(...rows);
}

/* ---- the drawing ---- */

function step() {
  return steps[at] ?? null;
}

function drawNow() {
  if (!draft) return;
  const { steering, throttle } = draft.calibration;
  const { car: live } = session;
  const one = view() === "walk" ? step() : null;
  const steeringNow = live?.steering_us || steering.center_us;
  const throttleNow = live?.throttle_us || throttle.neutral_us;
  car.show({
    angle: Math.max(-1.05, Math.min(1.05, wheelAngle(steering, steeringNow))),
    share: throttleShare(throttle, throttleNow),
    leftRad: steering.left_rad,
    rightRad: steering.right_rad,
  });
  const actuator = one?.actuator ?? "";
  const still = one !== null && (one.answer === "hold" || one.answer === "choice");
  byId("steering-axis").toggleAttribute("data-off", still || actuator === "throttle");
  byId("throttle-axis").toggleAttribute("data-off", still || actuator === "steering");
  const reach = one?.actuator ? draft.reach_us[one.id] : null;
  steeringAxis.show({
    range: actuator === "steering" && reach ? reach : FULL_RANGE,
    marks: [
      { us: steering.left_us, label: "left" },
      { us: steering.center_us, label: "centre", kind: "rest" },
      { us: steering.right_us, label: "right" },
    ],
    stretches: [{ from: steering.left_us, to: steering.right_us, kind: "usable" }],
    now: actuator === "throttle" ? null : steeringNow,
  });
  const sign = Math.sign(throttle.forward_us - throttle.neutral_us) || 1;
  const forwardBand = throttle.neutral_us + sign * throttle.forward_dead_band_us;
  const reverseBand = throttle.neutral_us - sign * throttle.reverse_dead_band_us;
  throttleAxis.show({
    range: actuator === "throttle" && reach ? reach : wide(throttle),
    marks: [
      { us: throttle.forward_us, label: "forward" },
      { us: throttle.neutral_us, label: "neutral", kind: "rest" },
      { us: throttle.reverse_us, label: "reverse", kind: "back" },
    ].filter(({ us }) => !reach || actuator !== "throttle" || (us >= reach[0] && us <= reach[1])),
    stretches: [
      { from: forwardBand, to: throttle.forward_us, kind: "usable" },
      { from: reverseBand, to: throttle.reverse_us, kind: "back" },
      { from: forwardBand, to: reverseBand, kind: "dead" },
    ],
    now: actuator === "steering" ? null : throttleNow,
  });
}

function wide(throttle) {
  const values = [throttle.forward_us, throttle.reverse_us];
  const margin = 60;
  return [Math.max(800, Math.floor(Math.min(...values) / 50) * 50 - margin), Math.min(2200, Math.ceil(Math.max(...values) / 50) * 50 + margin)];
}

/* ---- the walk ---- */

async function begin(part) {
  await load();
  if (!known) return;
  draft = known.draft;
  before = structuredClone(draft.calibration);
  steps = known.walks[part].map((id) => known.steps.find((one) => one.id === id));
  at = 0;
  running = "";
  chosenMode = "";
  trouble("");
  show("walk");
  showStep();
}

/** Go to the review with numbers from a file or from the history. */
async function review(calibration) {
  const answer = await post("/api/calibration/draft", { draft: calibration });
  if (answer.error) {
    trouble(answer.error);
    return;
  }
  before = structuredClone(known.draft.calibration);
  draft = answer;
  steps = known.steps.filter((one) => one.id === "review");
  at = 0;
  show("walk");
  showStep();
}

function showStep() {
  const one = step();
  problem("");
  showSteps();
  const inPart = steps.filter((other) => other.part === one.part);
  setText(byId("step-part"), inPart.length > 1 ? `${PARTS[one.part]}, ${inPart.indexOf(one) + 1} of ${inPart.length}` : PARTS[one.part]);
  setText(byId("step-title"), one.title);
  setText(byId("step-prompt"), one.prompt);
  setText(byId("step-hint"), one.hint);
  for (const [id, kinds] of Object.entries({
    choice: ["choice"], "hold-part": ["hold"], "pulse-part": ["pulse"], "trial-part": ["trial"], "review-part": ["review"],
  })) byId(id).hidden = !kinds.includes(one.answer);
  byId("back").hidden = at === 0;
  const next = byId("next");
  next.hidden = one.answer === "hold";
  next.textContent = one.answer === "review" ? "Save" : one.answer === "pulse" ? "Use this" : "Go on";
  next.disabled = one.answer === "choice" || one.answer === "trial";
  if (one.answer === "hold") setText(byId("hold").firstElementChild, `Hold: ${one.title.charAt(0).toLowerCase()}${one.title.slice(1)}`);
  if (one.answer === "choice") showChoices(byId("choice"), one.choices, chooseKind);
  if (one.answer === "trial") {
    showChoices(byId("trial-choices"), one.choices, (value) => { chosenMode = value; next.disabled = false; });
    byId("brakes").checked = draft.calibration.throttle.esc.brakes_on_first_pull;
  }
  if (one.answer === "review") showReview();
  if (one.answer === "pulse") showPulseStep(one);
  byId("step-title").focus({ preventScroll: true });
  drawNow();
  enter(one);
}

function showSteps() {
  const parts = [...new Set(steps.map((one) => one.part))];
  byId("steps").replaceChildren(...parts.map((part) => {
    const item = document.createElement("li");
    const inPart = steps.filter((one) => one.part === part);
    const now = step().part === part;
    item.textContent = PARTS[part];
    item.className = now ? "is-now" : steps.indexOf(inPart[inPart.length - 1]) < at ? "is-done" : "";
    if (now) item.setAttribute("aria-current", "step");
    const done = inPart.filter((one) => steps.indexOf(one) < at).length;
    item.style.setProperty("--done", String(done / inPart.length));
    return item;
  }));
}

function showChoices(place, choices, choose) {
  place.replaceChildren(...choices.map(({ value, label, note }) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "choice";
    button.textContent = label;
    button.setAttribute("aria-pressed", "false");
    if (note) {
      const small = document.createElement("small");
      small.textContent = note;
      button.append(small);
    }
    button.addEventListener("click", () => {
      for (const other of place.children) other.setAttribute("aria-pressed", String(other === button));
      choose(value);
    });
    return button;
  }));
}

async function chooseKind(kind) {
  const answer = await post("/api/calibration/draft", { draft: known.kinds[kind] });
  if (answer.error) {
    problem(answer.error);
    return;
  }
  draft = answer;
  before = structuredClone(draft.calibration);
  byId("next").disabled = false;
  drawNow();
}

function showPulseStep(one) {
  const [low, high] = draft.reach_us[one.id];
  const slider = byId("slider");
  slider.min = String(low);
  slider.max = String(high);
  byId("angle-row").hidden = !one.angle_field;
  if (one.angle_field) {
    const [part, name] = one.angle_field.split(".");
    byId("angle").value = (Math.round(Math.abs(draft.calibration[part][name]) * DEGREES * 10) / 10).toString();
  }
  byId("tap-brake").hidden = !(one.id.startsWith("reverse") && draft.calibration.throttle.esc.reverse_mode === "double_tap");
  showPulse();
}

/** The car goes where this step's pulses count, or to rest where nothing may move. */
async function enter(one) {
  wanted = 0;
  if (!one.actuator) {
    live("");
    if (running) await leaveBench();
    return;
  }
  if (running === one.actuator && session.car?.state === "calibrating") {
    await session.pulse(one.actuator, 0);
    return;
  }
  await goTo(one);
}

async function goTo(one) {
  busy = true;
  live(`Getting ready: the board learns where the ${one.actuator} rests …`);
  lock(true);
  if (running) await leaveBench();
  const { steering, throttle } = draft.calibration;
  const answer = await session.start(one.actuator, steering.center_us, throttle.neutral_us);
  busy = false;
  if (step() !== one || view() !== "walk") {
    if (answer.ok) await session.stop();
    return;
  }
  if (!answer.ok) {
    running = "";
    live("");
    if (answer.error && !failed) offer(answer.error, "Try again", () => { trouble(""); goTo(one); });
    showPulse();
    return;
  }
  lock(false);
  running = one.actuator;
  live(one.actuator === "steering" ? "The servo follows. Nothing else can move." : "The motor follows. Nothing else can move.");
  showPulse();
}

async function leaveBench() {
  running = "";
  wanted = 0;
  await session.stop();
}

function lock(locked) {
  for (const control of byId("pulse-part").querySelectorAll("button, input")) control.disabled = locked;
  for (const control of byId("trial-part").querySelectorAll("button.trial")) control.disabled = locked;
  if (step()?.answer === "pulse") byId("next").disabled = locked;
}

function rest() {
  const { steering, throttle } = draft.calibration;
  return step()?.actuator === "steering" ? steering.center_us : throttle.neutral_us;
}

function nowUs() {
  return wanted || rest(); // what was asked for; the needle shows what is sent
}

function showPulse() {
  const one = step();
  if (view() !== "walk" || one?.answer !== "pulse") return;
  const us = Math.round(nowUs());
  setText(byId("pulse"), String(us));
  byId("slider").value = String(us);
  const [low, high] = draft.reach_us[one.id];
  byId("slider").style.setProperty("--share", String((us - low) / (high - low)));
  const offset = us - Math.round(rest());
  setText(byId("pulse-word"), offset === 0 ? "at rest" : `${offset > 0 ? "+" : "−"}${Math.abs(offset)} from rest`);
}

function move(us) {
  const one = step();
  if (!one?.actuator || running !== one.actuator) return;
  const [low, high] = draft.reach_us[one.id];
  wanted = Math.round(Math.min(high, Math.max(low, us)));
  wantedAt = performance.now();
  problem("");
  session.pulse(one.actuator, wanted);
  showPulse();
  drawNow();
}

function toRest() {
  trialUnderway += 1;
  wanted = 0;
  const one = step();
  if (one?.actuator && running === one.actuator) session.pulse(one.actuator, 0);
  showPulse();
}

async function next() {
  const one = step();
  if (one.answer === "review") {
    await save();
    return;
  }
  if (one.answer === "pulse" || one.answer === "trial") {
    const value = one.answer === "trial" ? { reverse_mode: chosenMode, brakes_on_first_pull: byId("brakes").checked } : nowUs();
    if (ENDS.has(one.id) && Math.abs(value - rest()) < MIN_SPAN_US) {
      problem(`This is where it rests. Nudge at least ${MIN_SPAN_US} µs away from it first.`);
      return;
    }
    const fields = one.angle_field ? { angle_deg: byId("angle").valueAsNumber } : {};
    if (one.angle_field && !(fields.angle_deg >= 1 && fields.angle_deg <= 60)) {
      problem("The angle of the wheels is 1 to 60 degrees.");
      return;
    }
    const answer = await post("/api/calibration/answer", { draft: draft.calibration, step: one.id, value, ...fields });
    if (answer.error) {
      problem(answer.error);
      return;
    }
    draft = answer;
    if (one.field.endsWith("center_us") || one.field.endsWith("neutral_us")) await leaveBench(); // the board is told first
  }
  at += 1;
  if (step().id.startsWith("reverse") && draft.calibration.throttle.esc.reverse_mode === "none") at = steps.length - 1;
  showStep();
}

function back() {
  at = Math.max(0, at - 1);
  showStep();
}

async function leave() {
  const was = running || busy;
  show("rest");
  steps = [];
  running = "";
  wanted = 0;
  if (was) await session.stop();
  await load();
}

function problem(text) {
  setText(byId(view() === "floor" ? "floor-problem" : "problem"), text);
}

function live(text) {
  setText(byId(view() === "floor" ? "floor-live" : "live"), text);
}

/* ---- review and save ---- */

const NUMBERS = [
  ["Left", (c) => `${us(c.steering.left_us)} · ${degrees(c.steering.left_rad)}`],
  ["Centre", (c) => us(c.steering.center_us)],
  ["Right", (c) => `${us(c.steering.right_us)} · ${degrees(c.steering.right_rad)}`],
  ["Forward", (c) => us(c.throttle.forward_us)],
  ["Forward begins", (c) => `after ${us(c.throttle.forward_dead_band_us)}`],
  ["Neutral", (c) => us(c.throttle.neutral_us)],
  ["Reverse begins", (c) => `after ${us(c.throttle.reverse_dead_band_us)}`],
  ["Reverse", (c) => us(c.throttle.reverse_us)],
  ["Reverse works", (c) => MODES[c.throttle.esc.reverse_mode] ?? c.throttle.esc.reverse_mode],
  ["First pull brakes", (c) => (c.throttle.esc.brakes_on_first_pull ? "yes" : "no")],
  ["Speed table", (c) => (c.speed_table ? `${c.speed_table.points.length - 1} measured` : "none")],
];

function us(value) {
  return `${Math.round(value * 10) / 10} µs`;
}

function degrees(rad) {
  return `${Math.round(Math.abs(rad) * DEGREES * 10) / 10}°`;
}

function showReview() {
  const rows = NUMBERS.map(([name, text]) => {
    const row = document.createElement("tr");
    const head = document.createElement("th");
    head.scope = "row";
    head.textContent = String(name);
    const cells = [before, draft.calibration].map((c) => {
      const cell = document.createElement("td");
      cell.textContent = known.fresh && c === before ? "–" : /** @type {Function} */ (text)(c);
      return cell;
    });
    row.append(head, ...cells);
    row.classList.toggle("is-new", cells[0].textContent !== cells[1].textContent);
    return row;
  });
  byId("review").tBodies[0].replaceChildren(...rows);
  byId("by").value ||= remembered();
  byId("next").disabled = draft.problem !== "";
  problem(draft.problem);
}

function remembered() {
  try {
    return localStorage.getItem("lapwing-name") ?? "";
  } catch {
    return "";
  }
}

async function save() {
  const by = byId("by").value.trim();
  try {
    localStorage.setItem("lapwing-name", by);
  } catch {
    // a browser that keeps nothing
  }
  byId("next").disabled = true;
  live("Saving, and telling the board …");
  const answer = await session.ask("save", { draft: draft.calibration, by }, { timeoutMs: 8000 });
  byId("next").disabled = false;
  live("");
  if (!answer.ok) {
    problem(answer.error);
    return;
  }
  finish(answer, `Saved as version ${answer.saved.version}. The board has it.`);
}

function finish(answer, done) {
  show("rest");
  steps = [];
  trouble("");
  take(answer);
  if (answer.note) trouble(answer.note);
  else toast(done);
}

function toast(text) {
  const note = document.createElement("p");
  note.className = "toast";
  note.setAttribute("role", "status");
  document.body.append(note);
  note.textContent = text;
  setTimeout(() => note.remove(), 5000);
}

/* ---- files ---- */

async function change(what, done) {
  const answer = await session.ask(what, {}, { timeoutMs: 8000 });
  if (!answer.ok) {
    trouble(answer.error);
    return;
  }
  finish(answer, done(answer));
}

async function importFile() {
  const [file] = byId("file").files;
  byId("file").value = "";
  if (!file) return;
  if (file.size > 65536) {
    trouble(`${file.name} has ${file.size} bytes, allowed 65536; no calibration is as large.`);
    return;
  }
  const answer = await post("/api/calibration/import", { text: await file.text() });
  if (answer.error) {
    trouble(answer.error);
    return;
  }
  trouble("");
  await review(answer.calibration);
}

/* ---- trials of reverse ---- */

async function trial(kind) {
  const run = (trialUnderway += 1);
  const { forward, back: pull } = draft.trial_us;
  const scripts = {
    back: [[pull, 10000]],
    twice: [[pull, 500], [0, 500], [pull, 10000]],
    brake: [[forward, 1800], [pull, 1500]],
  };
  for (const [pulse, ms] of scripts[kind]) {
    if (run !== trialUnderway) return;
    wanted = pulse;
    wantedAt = performance.now();
    session.pulse("throttle", pulse);
    await new Promise((resolve) => setTimeout(resolve, ms));
  }
  if (run === trialUnderway) toRest();
}

async function tapBrake() {
  const run = (trialUnderway += 1);
  session.pulse("throttle", draft.trial_us.back);
  await new Promise((resolve) => setTimeout(resolve, 500));
  if (run === trialUnderway) toRest();
}

/* ---- on the floor ---- */

const watch = { from: 0, to: 0 };
let points = [];
let handShare = 0;

function openFloor() {
  points = (known.draft.calibration.speed_table?.points ?? []).map((point) => [...point]);
  trouble("");
  show("floor");
  showSpeeds();
  byId("floor-title").focus({ preventScroll: true });
}

async function getReady() {
  problem("");
  byId("ready").disabled = true;
  live("Getting ready: the speed controller learns neutral …");
  const share = byId("share").valueAsNumber / 100;
  const answer = await session.drive(share);
  byId("ready").disabled = false;
  if (!answer.ok) {
    live("");
    problem(answer.error);
    return;
  }
  handShare = answer.throttle_frac;
  running = "drive";
  showFloor();
}

function showFloor() {
  const ready = running === "drive";
  byId("ready").hidden = ready;
  byId("ways").hidden = !ready;
  byId("share").disabled = ready;
  if (ready) live(session.hand?.throttle ? "Driving. Let go to stop." : "Ready. Hold a button to drive.");
}

function drive(steer) {
  if (running !== "drive" || !session.hand) return;
  session.hand = { steering: steer, throttle: handShare };
  session.hold();
  showFloor();
}

function coast() {
  if (running !== "drive" || !session.hand) return;
  session.hand = { steering: 0, throttle: 0 };
  session.hold();
  showFloor();
}

async function endFloor() {
  running = "";
  byId("ready").hidden = false;
  byId("ways").hidden = true;
  byId("share").disabled = false;
  live("");
  await session.stop();
}

function markTime() {
  const now = performance.now();
  if (!watch.from || watch.to) Object.assign(watch, { from: now, to: 0 });
  else watch.to = now;
  byId("add-speed").disabled = !watch.to;
  showWatch();
}

function showWatch() {
  const seconds = watch.from ? ((watch.to || performance.now()) - watch.from) / 1000 : 0;
  setText(byId("watch"), seconds.toFixed(2));
  if (watch.from && !watch.to && view() === "floor") requestAnimationFrame(showWatch);
}

function addSpeed() {
  const share = byId("share").valueAsNumber / 100;
  const distance = byId("distance").valueAsNumber;
  const seconds = (watch.to - watch.from) / 1000;
  if (!(distance > 0) || !(seconds > 0.1)) {
    problem("A distance and a time are needed: tap Mark at both marks, and say how far apart they are.");
    return;
  }
  points = [...points.filter(([old]) => old !== share && old !== 0), [share, Math.round((distance / seconds) * 100) / 100]];
  points = [[0, 0], ...points.sort((one, other) => one[0] - other[0])];
  Object.assign(watch, { from: 0, to: 0 });
  byId("add-speed").disabled = true;
  problem("");
  showWatch();
  showSpeeds(true);
}

function showSpeeds(changed = false) {
  drawSpeeds(byId("speed-plot"), points);
  byId("speeds").replaceChildren(...points.filter(([share]) => share > 0).map(([share, speed]) => {
    const item = document.createElement("li");
    item.textContent = `${Math.round(share * 100)} % → ${speed} m/s`;
    const remove = document.createElement("button");
    remove.type = "button";
    remove.className = "plain";
    remove.textContent = "Remove";
    remove.setAttribute("aria-label", `Remove the speed at ${Math.round(share * 100)} percent`);
    remove.addEventListener("click", () => {
      points = points.filter(([other]) => other !== share);
      showSpeeds(true);
    });
    item.append(remove);
    return item;
  }));
  byId("save-speeds").disabled = !changed;
}

async function saveSpeeds() {
  if (running) await endFloor();
  const table = points.length > 1 ? { points } : null;
  await review({ ...known.draft.calibration, speed_table: table });
}

async function leaveFloor() {
  if (running) await endFloor();
  show("rest");
  await load();
}

/* ---- what the page hears ---- */

session.addEventListener("heard", () => {
  const { car: state } = session;
  document.body.dataset.mood = session.connected && state ? (state.state === "failsafe" ? "failsafe" : "ready") : "lost";
  if (state) byId("simulated").hidden = !state.hil;
  if (!session.connected || !state) {
    if (view() !== "loading") trouble("No connection to the car. Whatever was moved is at rest by now.");
    wasLost = true;
    return;
  }
  if (wasLost) {
    wasLost = false;
    trouble("");
  }
  followFailure(state);
  // The vehicle rests a pulse when it has not heard of this page for a moment; nothing asserts it again.
  if (running && running !== "drive" && wanted && performance.now() - wantedAt > FORGOTTEN_MS) {
    const sent = running === "steering" ? state.steering_us : state.throttle_us;
    if (Math.abs(sent - rest()) < PULSE_SLACK_US && Math.abs(wanted - rest()) > 2 * PULSE_SLACK_US) {
      wanted = 0;
      problem("The connection was interrupted for a moment, so the pulse went back to rest.");
    }
  }
  if (running === "drive") showFloor();
  showPulse();
  drawNow();
});

session.addEventListener("refused", (event) => {
  wanted = 0;
  problem(/** @type {CustomEvent} */ (event).detail);
});

/** Say what happened, with the one button that goes on from there. */
function offer(text, label, act) {
  if (byId("trouble").dataset.offers === text) return;
  trouble(text);
  byId("trouble").dataset.offers = text;
  const button = document.createElement("button");
  button.type = "button";
  button.id = "go-on";
  button.className = "plain";
  button.textContent = label;
  button.addEventListener("click", act);
  byId("trouble").append(button);
}

function followFailure(state) {
  if (state.state !== "failsafe") {
    if (failed) trouble("");
    failed = false;
    return;
  }
  failed = true;
  if (running || busy) {
    running = "";
    wanted = 0;
    session.holding = false;
    session.hand = null;
    lock(true);
  }
  offer(state.sentence, "Disarm and go on", goOn);
}

async function goOn() {
  const answer = await session.clear();
  if (!answer.ok) return;
  await session.look();
  if (view() === "floor") {
    await endFloor();
    return;
  }
  const one = step();
  if (view() === "walk" && one?.actuator) await goTo(one);
}

/* ---- what a person does ---- */

function holdToConfirm(button, done) {
  let timer = 0;
  const press = (event) => {
    if (event.type === "keydown" && (event.repeat || event.key !== "Enter")) return;
    button.classList.add("is-held");
    clearTimeout(timer);
    timer = setTimeout(() => { release(); done(); }, HOLD_MS);
  };
  const release = () => {
    clearTimeout(timer);
    button.classList.remove("is-held");
  };
  button.addEventListener("pointerdown", press);
  button.addEventListener("keydown", press);
  for (const end of ["pointerup", "pointercancel", "pointerleave", "lostpointercapture", "keyup", "blur"]) button.addEventListener(end, release);
  button.addEventListener("contextmenu", (event) => event.preventDefault());
}

function whileHeld(button, begin_, end) {
  let held = false;
  const press = (event) => {
    if (held || button.disabled || (event.type === "keydown" && event.key !== "Enter")) return;
    held = true;
    begin_();
  };
  const release = () => {
    if (!held) return;
    held = false;
    end();
  };
  button.addEventListener("pointerdown", press);
  button.addEventListener("keydown", press);
  for (const name of ["pointerup", "pointercancel", "pointerleave", "lostpointercapture", "keyup", "blur"]) button.addEventListener(name, release);
  addEventListener("blur", release);
  button.addEventListener("contextmenu", (event) => event.preventDefault());
}

for (const button of document.querySelectorAll("[data-walk]")) {
  button.addEventListener("click", () => begin(/** @type {HTMLElement} */ (button).dataset.walk));
}
for (const button of document.querySelectorAll("[data-nudge]")) {
  button.addEventListener("click", () => move(nowUs() + Number(/** @type {HTMLElement} */ (button).dataset.nudge)));
}
for (const button of document.querySelectorAll("[data-trial]")) {
  whileHeld(button, () => trial(/** @type {HTMLElement} */ (button).dataset.trial), toRest);
}
for (const button of document.querySelectorAll("[data-steer]")) {
  whileHeld(button, () => drive(Number(/** @type {HTMLElement} */ (button).dataset.steer)), coast);
}
holdToConfirm(byId("hold"), () => { at += 1; showStep(); });
byId("slider").addEventListener("input", () => move(byId("slider").valueAsNumber));
byId("to-rest").addEventListener("click", toRest);
byId("to-mark").addEventListener("click", () => move(draft.mark_us[step().id]));
byId("tap-brake").addEventListener("click", tapBrake);
byId("next").addEventListener("click", next);
byId("back").addEventListener("click", back);
byId("leave").addEventListener("click", leave);
byId("undo").addEventListener("click", () => change("undo", (answer) => `Version ${answer.saved.version} is in force again.`));
byId("tell-board").addEventListener("click", () => change("store", () => "The board has this car's numbers."));
byId("import").addEventListener("click", () => byId("file").click());
byId("file").addEventListener("change", importFile);
byId("open-floor").addEventListener("click", openFloor);
byId("ready").addEventListener("click", getReady);
byId("share").addEventListener("input", () => setText(byId("share-value"), `${byId("share").value} %`));
byId("mark").addEventListener("pointerdown", markTime);
byId("add-speed").addEventListener("click", addSpeed);
byId("save-speeds").addEventListener("click", saveSpeeds);
byId("leave-floor").addEventListener("click", leaveFloor);

const KEYS = { ArrowLeft: -1, ArrowRight: 1, ArrowDown: -1, ArrowUp: 1, PageDown: -25, PageUp: 25 };
addEventListener("keydown", (event) => {
  const target = /** @type {HTMLElement} */ (event.target);
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (view() === "floor" && event.key.toLowerCase() === "m" && !target.closest("input[type=number], input[type=text]")) {
    if (!event.repeat) markTime();
    return;
  }
  if (view() !== "walk" || step()?.answer !== "pulse" || target.closest("input[type=number], input[type=text]")) return;
  if (event.key === "Home") toRest();
  else if (KEYS[event.key]) move(nowUs() + KEYS[event.key] * (event.shiftKey && Math.abs(KEYS[event.key]) === 1 ? 5 : 1));
  else return;
  event.preventDefault();
});

/* Whatever takes the page from its person's eyes takes the pulse from the car. */
function abandon() {
  if (!running && !busy) return;
  running = "";
  wanted = 0;
  session.stop();
  if (view() === "floor") showFloor();
}
addEventListener("pagehide", abandon);
document.addEventListener("visibilitychange", () => {
  if (document.hidden) abandon();
  else if (view() === "walk" && step()?.actuator && !running && !failed) {
    lock(true);
    offer("The page was out of sight, so the car was let go.", "Go on", () => { trouble(""); goTo(step()); });
  }
});
addEventListener("blur", () => {
  if (running === "drive") coast();
  else if (running) toRest();
});
load();
