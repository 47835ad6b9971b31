/** On the floor: slow test drives while a button is held, and the speed table. */

import { drawSpeeds } from "./calibrate_draw.js";
import { byId, live, makeButton, problem, show, trouble, view, whileHeld } from "./calibrate_page.js";
import { setText } from "./dom.js";

const SHORTEST_S = 0.1;

/** @typedef {[number, number]} Point share of throttle, and m/s */

export class Floor {
  /**
   * @param {import("./calibrate_session.js").Session} session
   * @param {import("./calibrate_rest.js").Rest} rest
   * @param {(calibration: any) => Promise<void>} review shows numbers that may then be saved
   */
  constructor(session, rest, review) {
    this.session = session;
    this.rest = rest;
    this.review = review;
    this.ready = false;
    this.starting = false;
    this.throttle = 0; // of the hand, which gives the chosen share under the speed cap
    this.fromMs = 0; // of the stopwatch
    this.toMs = 0;
    /** @type {Point[]} */
    this.points = [];
    byId("open-floor").addEventListener("click", () => this.open());
    byId("ready").addEventListener("click", () => this.start());
    byId("share").addEventListener("input", () => this.showShare());
    byId("mark").addEventListener("pointerdown", () => this.mark());
    byId("mark").addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => { if (event.key === "Enter" && !event.repeat) this.mark(); });
    byId("add-speed").addEventListener("click", () => this.add());
    byId("save-speeds").addEventListener("click", () => this.save());
    byId("leave-floor").addEventListener("click", () => this.leave());
    for (const button of /** @type {NodeListOf<HTMLButtonElement>} */ (document.querySelectorAll("[data-steer]"))) {
      const steering = Number(button.dataset.steer);
      whileHeld(button, () => this.drive(steering, this.throttle), () => this.coast());
    }
    addEventListener("keydown", (event) => {
      const typing = /** @type {HTMLElement} */ (event.target).closest("input[type=number], input[type=text]");
      if (view() === "floor" && event.key.toLowerCase() === "m" && !event.repeat && !typing) this.mark();
    });
  }

  get holds() {
    return this.ready || this.starting;
  }

  get share() {
    return byId("share").valueAsNumber / 100;
  }

  showShare() {
    const slider = byId("share");
    setText(byId("share-value"), `${slider.value} %`);
    slider.style.setProperty("--share", String((slider.valueAsNumber - slider.min) / (slider.max - slider.min)));
  }

  open() {
    this.showShare();
    this.points = (this.rest.known.draft.calibration.speed_table?.points ?? []).map((/** @type {Point} */ point) => [...point]);
    trouble("");
    show("floor");
    this.showSpeeds();
    byId("save-speeds").disabled = true;
    byId("floor-title").focus({ preventScroll: true });
    scrollTo({ top: 0 });
  }

  async leave() {
    if (this.holds) await this.end();
    show("rest");
    await this.rest.load();
  }

  /* ---- driving ---- */

  async start() {
    problem("");
    this.starting = true;
    byId("ready").disabled = true;
    live("Getting ready: the speed controller learns neutral …");
    const answer = await this.session.drive(this.share);
    byId("ready").disabled = false;
    const abandoned = !this.starting;
    this.starting = false;
    if (!answer.ok || abandoned) {
      live("");
      problem(answer.error ?? "");
      if (answer.ok) await this.session.stop();
      return;
    }
    this.throttle = answer.throttle_frac;
    this.ready = true;
    this.show();
  }

  show() {
    byId("ready").hidden = this.ready;
    byId("ways").hidden = !this.ready;
    byId("share").disabled = this.ready;
    live(!this.ready ? "" : this.session.hand?.throttle ? "Driving. Let go to stop." : "Ready. Hold a button to drive.");
  }

  /** @param {number} steering @param {number} throttle */
  drive(steering, throttle) {
    if (!this.ready) return;
    this.session.hand = { steering, throttle };
    this.session.tellHand();
    this.show();
  }

  coast() {
    this.drive(0, 0);
  }

  async end() {
    this.dropped();
    await this.session.stop();
  }

  dropped() {
    this.ready = this.starting = false;
    if (view() === "floor") this.show();
  }

  /** @param {Car} car */
  follow(car) {
    if (car.state === "failsafe" && this.holds) {
      this.session.letGo();
      this.dropped();
    }
  }

  abandon() {
    if (this.holds) this.end();
  }

  /* ---- measuring ---- */

  mark() {
    const now = performance.now();
    if (this.fromMs && !this.toMs) this.toMs = now;
    else [this.fromMs, this.toMs] = [now, 0];
    byId("add-speed").disabled = !this.toMs;
    this.showWatch();
  }

  get seconds() {
    return this.fromMs ? ((this.toMs || performance.now()) - this.fromMs) / 1000 : 0;
  }

  showWatch() {
    setText(byId("watch"), this.seconds.toFixed(2));
    if (this.fromMs && !this.toMs && view() === "floor") requestAnimationFrame(() => this.showWatch());
  }

  add() {
    const distance = byId("distance").valueAsNumber;
    if (!(distance > 0) || !(this.seconds > SHORTEST_S)) {
      problem("A distance and a time are needed: tap Mark at both marks, and say how far apart they are.");
      return;
    }
    const speed = Math.round((distance / this.seconds) * 100) / 100;
    const others = this.points.filter(([share]) => share !== this.share && share !== 0);
    /** @type {Point} */
    const point = [this.share, speed];
    this.change([...others, point].sort(([one], [other]) => one - other));
    [this.fromMs, this.toMs] = [0, 0];
    byId("add-speed").disabled = true;
    this.showWatch();
  }

  /** @param {Point[]} measured */
  change(measured) {
    this.points = measured.length > 0 ? [[0, 0], ...measured] : [];
    const falls = this.points.findIndex(([, speed], i) => i > 0 && speed <= this.points[i - 1][1]);
    byId("save-speeds").disabled = falls >= 0;
    problem(falls < 0 ? "" : `More throttle must be faster, and ${percent(this.points[falls])} is not. Remove the one that is wrong.`);
    this.showSpeeds();
  }

  showSpeeds() {
    drawSpeeds(byId("speed-plot"), this.points);
    byId("speeds").replaceChildren(...this.points.filter(([share]) => share > 0).map((point) => {
      const item = document.createElement("li");
      item.textContent = `${percent(point)}: ${point[1]} m/s`;
      const remove = () => this.change(this.points.filter((other) => other !== point && other[0] > 0));
      item.append(makeButton("Remove", remove, `Remove the speed at ${percent(point)}`));
      return item;
    }));
  }

  async save() {
    if (this.holds) await this.end();
    const table = this.points.length > 0 ? { points: this.points } : null;
    await this.review({ ...this.rest.known.draft.calibration, speed_table: table });
  }
}

/** @param {Point} point */
function percent([share]) {
  return `${Math.round(share * 100)} %`;
}
