/** The walk: one step at a time, each with the one actuator that it may move. */

import { post } from "./link.js";
import { byId, holdToConfirm, live, makeButton, offer, problem, show, trouble, view, whileHeld } from "./calibrate_page.js";
import { steeringRightward, throttleRightward } from "./calibrate_draw.js";
import { setText } from "./dom.js";
import { showReview } from "./calibrate_review.js";
import { store, stored } from "./stored.js";

const HOLD_MS = 1200;
const SAVE_MS = 8000; // the board may need three attempts
const DEGREES = 180 / Math.PI;
const PULSE_SLACK_US = 1.5; // the board is told whole microseconds
const FORGOTTEN_MS = 700; // a pulse that rests this long after it was asked for was taken back
const MIN_SPAN_US = 10; // of an end from rest; as the server has it
const TAP_MS = 500;
/** @type {Record<string, string>} */
const PARTS = { begin: "Get ready", steering: "Steering", throttle: "Throttle", end: "Save" };
const ENDS = new Set(["left", "right", "forward", "reverse"]);
const RESTS = new Set(["center", "neutral"]);
const TURNABLE = new Set(["center", "left", "neutral", "forward_dead_band"]); // no side was found yet
/** @type {Record<string, {left: string, right: string, swap: string}>} what lies where on the scale */
const SIDES = {
  steering: { left: "to the left", right: "to the right", swap: "The wheels go the other way" },
  throttle: { left: "backwards", right: "forwards", swap: "The wheels turn the other way" },
};
const PLACES = { choice: "choice", hold: "hold-part", pulse: "pulse-part", trial: "trial-part", review: "review-part" };
/** @type {Record<string, number>} to the right on the scale, whatever pulse is there */
const KEYS = { ArrowLeft: -1, ArrowRight: 1, ArrowDown: -1, ArrowUp: 1, PageDown: -25, PageUp: 25 };

export class Walk extends EventTarget {
  /**
   * @param {import("./calibrate_session.js").Session} session
   * @param {import("./calibrate_rest.js").Rest} rest
   */
  constructor(session, rest) {
    super();
    this.session = session;
    this.rest = rest;
    /** @type {any} the numbers in the making and what their steps make of them */
    this.draft = null;
    /** @type {any} the numbers that the walk began with */
    this.before = null;
    /** @type {any[]} */
    this.steps = [];
    this.at = 0;
    this.running = ""; // the actuator that is calibrated now
    this.starting = false;
    this.answering = false;
    this.wanted = 0; // pulse that was asked for; 0 is at rest
    this.wantedAt = 0;
    this.trial = 0; // counts them, so that one that was let go ends
    this.mode = ""; // of reverse, as chosen
    this.listen();
  }

  get step() {
    return view() === "walk" ? (this.steps[this.at] ?? null) : null;
  }

  /** Whether the car moves, or is about to, because of this walk. */
  get holds() {
    return this.running !== "" || this.starting;
  }

  listen() {
    for (const button of document.querySelectorAll("[data-walk]")) {
      button.addEventListener("click", () => this.begin(/** @type {HTMLElement} */ (button).dataset.walk));
    }
    for (const button of document.querySelectorAll("[data-nudge]")) {
      const by = Number(/** @type {HTMLElement} */ (button).dataset.nudge);
      button.addEventListener("click", () => this.nudge(by));
    }
    for (const button of /** @type {NodeListOf<HTMLButtonElement>} */ (document.querySelectorAll("[data-trial]"))) {
      whileHeld(button, () => this.run(button.dataset.trial), () => this.toRest());
    }
    holdToConfirm(byId("hold"), HOLD_MS, () => this.go(1));
    byId("slider").addEventListener("input", () => this.move(byId("slider").valueAsNumber));
    byId("to-rest").addEventListener("click", () => this.toRest());
    byId("swap").addEventListener("click", () => this.swap());
    byId("to-mark").addEventListener("click", () => this.move(this.draft.mark_us[this.step.id]));
    byId("tap-brake").addEventListener("click", () => this.run("tap"));
    byId("next").addEventListener("click", () => this.next());
    byId("back").addEventListener("click", () => this.go(-1));
    byId("leave").addEventListener("click", () => this.leave());
    addEventListener("keydown", (event) => this.onKey(event));
    this.session.addEventListener("refused", (event) => {
      this.wanted = 0;
      problem(/** @type {CustomEvent} */ (event).detail);
    });
  }

  /* ---- from step to step ---- */

  /** @param {string | undefined} part */
  async begin(part) {
    await this.rest.load();
    const { known } = this.rest;
    if (!known || !part) return;
    this.open(known.draft, known.walks[part].map((/** @type {string} */ id) => known.steps.find((/** @type {Step} */ one) => one.id === id)));
  }

  /** Look at numbers from a file or from the history, which may then be saved. @param {CalibrationNumbers} calibration */
  async look(calibration) {
    const answer = await post("/api/calibration/draft", { draft: calibration });
    if (answer.error) trouble(answer.error);
    else this.open(answer, this.rest.known.steps.filter((/** @type {Step} */ one) => one.answer === "review"));
  }

  /** @param {Draft} draft @param {Step[]} steps */
  open(draft, steps) {
    this.before = this.rest.known.fresh ? null : this.rest.known.draft.calibration;
    Object.assign(this, { draft, steps, at: 0, running: "", wanted: 0, mode: "" });
    trouble("");
    show("walk");
    this.showStep();
  }

  /** @param {number} by */
  go(by) {
    this.at = Math.max(0, this.at + by);
    const { reverse_mode: mode } = this.draft.calibration.throttle.esc;
    while (mode === "none" && this.step.id.startsWith("reverse")) this.at += Math.sign(by); // it has none
    this.showStep();
  }

  async next() {
    if (this.answering) return; // a finger that slips answers one step, not two
    this.answering = true;
    try {
      await this.answerAndGo(this.step);
    } finally {
      this.answering = false;
    }
  }

  /** @param {Step} step */
  async answerAndGo(step) {
    if (step.answer === "review") {
      await this.save();
      return;
    }
    if (step.field && !(await this.answer(step))) return;
    if (RESTS.has(step.id)) await this.leaveBench(); // the board is told of a new rest before it goes on
    if (this.step === step) this.go(1);
  }

  /** Put what was found into the draft; false when it cannot be. @param {Step} step */
  async answer(step) {
    const isTrial = step.answer === "trial";
    const value = isTrial ? { reverse_mode: this.mode, brakes_on_first_pull: byId("brakes").checked } : this.nowUs;
    if (ENDS.has(step.id) && Math.abs(this.nowUs - this.restUs) < MIN_SPAN_US) {
      problem(`This is where it rests. Nudge at least ${MIN_SPAN_US} µs away from it first.`);
      return false;
    }
    const angle = step.angle_field ? { angle_deg: byId("angle").valueAsNumber } : {};
    if (step.angle_field && !(angle.angle_deg >= 1 && angle.angle_deg <= 60)) {
      problem("The angle of the wheels is 1 to 60 degrees.");
      return false;
    }
    const answer = await post("/api/calibration/answer", { draft: this.draft.calibration, step: step.id, value, ...angle });
    if (answer.error) {
      problem(answer.error);
      return false;
    }
    this.draft = answer;
    return true;
  }

  async leave() {
    const held = this.holds;
    this.close();
    show("rest");
    if (held) await this.session.stop();
    await this.rest.load();
  }

  close() {
    Object.assign(this, { steps: [], running: "", starting: false, wanted: 0 });
    this.trial += 1;
  }

  async save() {
    const by = byId("by").value.trim();
    store("driver-name", by);
    live("Saving, and telling the board …");
    const answer = await this.session.ask("save", { draft: this.draft.calibration, by }, { timeoutMs: SAVE_MS });
    live("");
    if (!answer.ok) {
      problem(answer.error);
      return;
    }
    this.close();
    this.rest.finish(answer, `Saved as version ${answer.saved.version}. The board has it.`);
  }

  /* ---- what a step shows ---- */

  showStep() {
    const { step, steps } = this;
    problem("");
    const inPart = steps.filter((other) => other.part === step.part);
    const place = inPart.length > 1 ? `, ${inPart.indexOf(step) + 1} of ${inPart.length}` : "";
    setText(byId("step-part"), `${PARTS[step.part]}${place}`);
    setText(byId("step-title"), step.title);
    setText(byId("step-prompt"), step.prompt);
    setText(byId("step-hint"), step.hint);
    for (const [answer, id] of Object.entries(PLACES)) byId(id).hidden = answer !== step.answer;
    byId("back").hidden = this.at === 0;
    const next = byId("next");
    next.hidden = step.answer === "hold";
    next.disabled = step.answer === "choice" || step.answer === "trial";
    next.textContent = step.answer === "review" ? "Save" : step.answer === "pulse" ? "Use this" : "Go on";
    if (step.answer === "hold") setText(byId("hold").firstElementChild, `Hold: ${step.title.charAt(0).toLowerCase()}${step.title.slice(1)}`);
    if (step.answer === "choice") showChoices(byId("choice"), step.choices, (/** @type {string} */ kind) => this.chooseKind(kind));
    if (step.answer === "trial") this.showTrial(step);
    if (step.answer === "pulse") this.showPulseStep(step);
    if (step.answer === "review") {
      showReview(this.before, this.draft.calibration);
      byId("by").value ||= stored("driver-name") ?? "";
      next.disabled = this.draft.problem !== "";
      problem(this.draft.problem);
    }
    this.showProgress();
    byId("step-title").focus({ preventScroll: true });
    scrollTo({ top: 0 });
    this.dispatchEvent(new Event("changed"));
    this.enter(step);
  }

  showProgress() {
    const parts = [...new Set(this.steps.map((one) => one.part))];
    byId("steps").replaceChildren(...parts.map((part) => {
      const item = document.createElement("li");
      const numbers = this.steps.flatMap((one, number) => (one.part === part ? [number] : []));
      const isNow = this.step.part === part;
      item.textContent = PARTS[part];
      item.classList.toggle("is-now", isNow);
      if (isNow) item.setAttribute("aria-current", "step");
      item.style.setProperty("--done", String(numbers.filter((number) => number < this.at).length / numbers.length));
      return item;
    }));
  }

  /** @param {string} kind */
  async chooseKind(kind) {
    const answer = await post("/api/calibration/draft", { draft: this.rest.known.kinds[kind] });
    problem(answer.error ?? "");
    if (answer.error) return;
    this.draft = answer;
    byId("next").disabled = false;
    this.dispatchEvent(new Event("changed"));
  }

  /** @param {Step} step */
  showTrial(step) {
    this.mode = "";
    showChoices(byId("trial-choices"), step.choices, (/** @type {string} */ mode) => {
      this.mode = mode;
      byId("next").disabled = false;
    });
    byId("brakes").checked = this.draft.calibration.throttle.esc.brakes_on_first_pull;
  }

  /** @param {Step} step */
  showPulseStep(step) {
    const [low, high] = this.draft.reach_us[step.id];
    const sides = SIDES[step.actuator];
    Object.assign(byId("slider"), { min: String(low), max: String(high), dir: this.rightward > 0 ? "ltr" : "rtl" });
    for (const side of /** @type {const} */ (["left", "right"])) setText(byId(`to-${side}`), capital(sides[side]));
    for (const button of document.querySelectorAll("[data-nudge]")) {
      const by = Number(/** @type {HTMLElement} */ (button).dataset.nudge);
      button.setAttribute("aria-label", `${Math.abs(by)} µs ${by < 0 ? sides.left : sides.right}`);
    }
    byId("swap").hidden = !TURNABLE.has(step.id);
    setText(byId("swap"), sides.swap);
    byId("angle-row").hidden = !step.angle_field;
    if (step.angle_field) {
      const [part, name] = step.angle_field.split(".");
      byId("angle").value = String(Math.round(Math.abs(this.draft.calibration[part][name]) * DEGREES * 10) / 10);
    }
    const brakesFirst = this.draft.calibration.throttle.esc.reverse_mode === "double_tap";
    byId("tap-brake").hidden = !(step.id.startsWith("reverse") && brakesFirst);
    this.wanted = 0;
    this.showPulse();
  }

  showPulse() {
    const { step } = this;
    if (step?.answer !== "pulse") return;
    const pulse = Math.round(this.nowUs);
    const [low, high] = this.draft.reach_us[step.id];
    const offset = (pulse - Math.round(this.restUs)) * this.rightward;
    const { left, right } = SIDES[step.actuator];
    const words = offset === 0 ? "at rest" : `${Math.abs(offset)} ${offset < 0 ? left : right}`;
    setText(byId("pulse"), String(pulse));
    setText(byId("pulse-word"), words);
    byId("slider").value = String(pulse);
    byId("slider").setAttribute("aria-valuetext", `${pulse} µs, ${words}`);
    const [from, to] = [this.restUs, pulse].map((us) => (this.rightward > 0 ? us - low : high - us) / (high - low)).sort((one, other) => one - other);
    byId("slider").style.setProperty("--from", String(from));
    byId("slider").style.setProperty("--to", String(to));
  }

  /** @param {boolean} locked */
  lock(locked) {
    for (const control of byId("pulse-part").querySelectorAll("button, input")) control.disabled = locked;
    for (const control of byId("trial-part").querySelectorAll("button.trial")) control.disabled = locked;
    if (this.step?.answer === "pulse") byId("next").disabled = locked;
  }

  /* ---- what moves ---- */

  get restUs() {
    const { steering, throttle } = this.draft.calibration;
    return this.step?.actuator === "steering" ? steering.center_us : throttle.neutral_us;
  }

  /** The sign of what the slider adds to the pulse on its way to the right: left is left, forward is right. */
  get rightward() {
    const { steering, throttle } = this.draft.calibration;
    return this.step?.actuator === "throttle" ? throttleRightward(throttle) : steeringRightward(steering);
  }

  /** What was asked for; the needle of the drawing shows what is sent. */
  get nowUs() {
    return this.wanted || this.restUs;
  }

  /** The car goes where this step's pulses count, or is let go where nothing may move. @param {Step} step */
  async enter(step) {
    this.wanted = 0;
    if (!step.actuator) {
      live("");
      if (this.holds) await this.leaveBench();
    } else if (this.running === step.actuator && this.session.car?.state === "calibrating") {
      await this.session.pulse(step.actuator, 0);
    } else {
      await this.start(step);
    }
  }

  /** @param {Step} step */
  async start(step) {
    this.starting = true;
    this.lock(true);
    live(`Getting ready: the board learns where the ${step.actuator} rests …`);
    if (this.running) await this.leaveBench();
    const { steering, throttle } = this.draft.calibration;
    const answer = await this.session.start(step.actuator, steering.center_us, throttle.neutral_us);
    this.starting = false;
    if (this.step?.actuator !== step.actuator) {
      if (answer.ok) await this.session.stop();
      return;
    }
    if (!answer.ok) {
      live("");
      if (answer.error && this.session.car?.state !== "failsafe") {
        offer(answer.error, "Try again", () => this.goOn());
      }
      return;
    }
    this.running = step.actuator;
    this.lock(false);
    live(`The ${step.actuator === "steering" ? "servo" : "motor"} follows. Nothing else can move.`);
    this.showPulse();
  }

  /** Start again where the car was let go. */
  goOn() {
    trouble("");
    if (this.step?.actuator) this.start(this.step);
  }

  async leaveBench() {
    this.dropped();
    await this.session.stop();
  }

  /** Take note that nothing is held any more. */
  dropped() {
    this.running = "";
    this.wanted = 0;
    this.trial += 1;
    this.lock(true);
  }

  /** @param {number} by microseconds to the right on the scale */
  nudge(by) {
    if (this.step?.answer === "pulse") this.move(this.nowUs + by * this.rightward);
  }

  /** Take the sides for the other way round, as the wheels have just shown; nothing moves by it. */
  async swap() {
    const { step, draft: { calibration } } = this;
    const [one, other] = step.actuator === "steering" ? ["left_us", "right_us"] : ["forward_us", "reverse_us"];
    const part = calibration[step.actuator];
    const turned = { ...calibration, [step.actuator]: { ...part, [one]: part[other], [other]: part[one] } };
    const answer = await post("/api/calibration/draft", { draft: turned });
    problem(answer.error ?? "");
    if (answer.error || this.step !== step) return;
    this.draft = answer;
    const wanted = this.wanted;
    this.showPulseStep(step);
    this.wanted = wanted; // it stays where it is, on its true side now
    this.showPulse();
    this.dispatchEvent(new Event("changed"));
  }

  /** @param {number} us */
  move(us) {
    const { step } = this;
    if (!step?.actuator || this.running !== step.actuator) return;
    const [low, high] = this.draft.reach_us[step.id];
    this.ask(Math.round(Math.min(high, Math.max(low, us))));
  }

  /** @param {number} us */
  ask(us) {
    this.wanted = us;
    this.wantedAt = performance.now();
    problem("");
    this.session.pulse(this.running, us);
    this.showPulse();
  }

  toRest() {
    this.trial += 1;
    this.wanted = 0;
    if (this.running) this.session.pulse(this.running, 0);
    this.showPulse();
  }

  /** Play a trial's pulses one after another until it is over or let go. @param {string | undefined} kind */
  async run(kind) {
    const { forward, back } = this.draft.trial_us;
    /** @type {Record<string, [number, number][]>} pulse and how long it lasts */
    const scripts = {
      tap: [[back, TAP_MS]],
      back: [[back, Infinity]],
      twice: [[back, TAP_MS], [0, TAP_MS], [back, Infinity]],
      brake: [[forward, 1800], [back, 1500]],
    };
    const mine = (this.trial += 1);
    for (const [us, ms] of scripts[kind ?? ""] ?? []) {
      if (mine !== this.trial || this.running !== "throttle") return;
      this.ask(us);
      if (ms === Infinity) return; // until it is let go
      await new Promise((resolve) => setTimeout(resolve, ms));
    }
    if (mine === this.trial) this.toRest();
  }

  /** @param {KeyboardEvent} event */
  onKey(event) {
    const typing = /** @type {HTMLElement} */ (event.target).closest("input[type=number], input[type=text]");
    if (this.step?.answer !== "pulse" || typing || event.ctrlKey || event.metaKey || event.altKey) return;
    const by = KEYS[event.key];
    if (event.key === "Home") this.toRest();
    else if (by) this.nudge(by * (event.shiftKey && Math.abs(by) === 1 ? 5 : 1));
    else return;
    event.preventDefault();
  }

  /** Follow the car: it rests a pulse when it has not heard of this page for a moment, and nothing asserts it again. @param {Car} car */
  follow(car) {
    if (car.state === "failsafe" && this.holds) {
      this.starting = false;
      this.session.letGo();
      this.dropped();
    }
    if (this.wanted && performance.now() - this.wantedAt > FORGOTTEN_MS) {
      const sent = this.running === "steering" ? car.steering_us : car.throttle_us;
      const isForgotten = Math.abs(sent - this.restUs) < PULSE_SLACK_US && Math.abs(this.wanted - this.restUs) > 2 * PULSE_SLACK_US;
      if (isForgotten) {
        this.wanted = 0;
        problem("The connection was interrupted for a moment, so the pulse went back to rest.");
      }
    }
    this.showPulse();
  }

  /** Let the car go because nobody may be looking. */
  abandon() {
    if (!this.holds) return;
    this.starting = false;
    this.leaveBench();
  }
}

/** @param {HTMLElement} place @param {Choice[]} choices @param {(value: string) => void} choose */
function showChoices(place, choices, choose) {
  place.replaceChildren(...choices.map(({ value, label, note }) => {
    const button = makeButton(label, () => {
      for (const other of place.children) other.setAttribute("aria-pressed", String(other === button));
      choose(value);
    });
    button.className = "choice";
    button.setAttribute("aria-pressed", "false");
    if (note) {
      const small = document.createElement("small");
      small.textContent = note;
      button.append(small);
    }
    return button;
  }));
}

/** @param {string} words */
function capital(words) {
  return `${words.charAt(0).toUpperCase()}${words.slice(1)}`;
}
