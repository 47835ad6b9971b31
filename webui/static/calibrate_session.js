/**
 * The page's hold on the car while it calibrates or test drives.
 *
 * It renews the lease ten times a second over the control socket, from what this page's own script is
 * alive to do, and dies with the page: a pulse is at rest again within 300 ms. A pulse is sent once, when
 * a person asks for it, and never asserted again by itself. What takes its time, such as telling the
 * board, is asked for by POST.
 */

import { Control } from "./control.js";
import { DrivingLease } from "./lease.js";
import { post } from "./link.js";

const API = "/api/calibration";
const LOST_MS = 1000;
const LOOK_MS = 250; // how often the age of what was heard is judged
const HEAR_MS = 300; // of the wait for the next status; the car tells ten a second
const ENTER_MS = 5000;

export class Session extends EventTarget {
  /**
   * @param {string} page secret of this page
   * @param {string} source name under which the car knows it
   */
  constructor(page, source) {
    super();
    this.page = page;
    this.source = source;
    /** @type {Car | null} */
    this.car = null;
    this.heardAt = -Infinity;
    this.entering = false;
    this.pulseUnderway = false;
    /** @type {{actuator: string, us: number} | null} */
    this.nextPulse = null;
    /** @type {{steering: number, throttle: number} | null} a test drive's hand */
    this.hand = null;
    this.control = new Control(page, (document) => this.hear(document), () => "");
    this.lease = new DrivingLease(() => this.control.renew(), () => this.tellHand());
    setInterval(() => this.dispatchEvent(new Event("heard")), LOOK_MS); // that nothing comes is seen by its age
  }

  /** Whether the car was heard of lately. */
  get connected() {
    return performance.now() - this.heardAt < LOST_MS;
  }

  /** Whether this page keeps the lease. */
  get holding() {
    return this.lease.held;
  }

  /** Whether the car surely stands, as far as this page can know: it asked for nothing that moves. */
  get standsStill() {
    const isAtRest = this.car?.state === "disarmed" || this.car?.state === "failsafe";
    return this.connected && isAtRest && !this.holding && !this.entering;
  }

  /** @param {StatusDocument} document */
  hear(document) {
    this.car = document.car;
    this.heardAt = performance.now();
    this.dispatchEvent(new Event("told"));
    this.dispatchEvent(new Event("heard"));
  }

  /** Wait for the car's next word, though not for long. */
  async look() {
    if (!this.control.isLive) {
      await this.control.look();
      return;
    }
    await new Promise((resolve) => {
      this.addEventListener("told", resolve, { once: true });
      setTimeout(resolve, HEAR_MS);
    });
  }

  /**
   * Ask for what takes its time.
   * @param {string} what
   * @param {object} [fields]
   * @param {{timeoutMs?: number}} [options]
   * @returns {Promise<any>}
   */
  async ask(what, fields = {}, options = {}) {
    const answer = await post(`${API}/${what}`, { page: this.page, ...fields }, options);
    this.control.see(answer.server_ns ?? 0);
    return answer;
  }

  /** Tell what the hand of a test drive does now: ten times a second, and at once when it changes. */
  tellHand() {
    if (!this.hand || !this.holding || this.car?.state !== "manual") return;
    this.control.tell("drive", { steering_frac: this.hand.steering, throttle_frac: this.hand.throttle });
  }

  /**
   * Prepare an actuator and wait until its pulses count. Returns an error sentence, or nothing.
   * @param {string} actuator @param {number} centerUs @param {number} neutralUs
   */
  async start(actuator, centerUs, neutralUs) {
    return this.enter("start", { actuator, center_us: centerUs, neutral_us: neutralUs }, "calibrating");
  }

  /** Begin a test drive; returns its answer with `throttle_frac`. @param {number} share */
  async drive(share) {
    if (!this.control.isLive) return { ok: false, error: "A test drive needs the live connection, which is not there at the moment." };
    this.hand = { steering: 0, throttle: 0 };
    return this.enter("drive", { share }, "manual");
  }

  /** @param {string} what @param {object} fields @param {string} state */
  async enter(what, fields, state) {
    this.entering = true;
    await this.look(); // the newest stamp
    const answer = await this.ask(what, { seen_ns: this.control.echoNs, ...fields }, { timeoutMs: ENTER_MS });
    this.entering = false;
    if (!answer.ok) return answer;
    this.lease.take();
    await this.look();
    for (let waited = 0; waited < 100; waited += 1) {
      await new Promise((resolve) => setTimeout(resolve, 50));
      if (!this.holding) return { ok: false, error: "" };
      if (this.car?.state === state) return answer;
      if (this.car && this.car.state !== "arming" && this.car.state !== "disarmed") break;
    }
    const error = this.car?.sentence ?? "The car did not get ready.";
    await this.stop();
    return { ok: false, error };
  }

  /** Ask for a pulse; while one is on its way the newest wish waits. @param {string} actuator @param {number} us */
  async pulse(actuator, us) {
    this.nextPulse = { actuator, us };
    if (this.pulseUnderway) return;
    this.pulseUnderway = true;
    while (this.nextPulse && this.holding) {
      const { actuator: what, us: pulse } = this.nextPulse;
      this.nextPulse = null;
      const answer = await this.control.ask("calibration_pulse", { actuator: what, pulse_us: pulse });
      if (!answer.ok) this.dispatchEvent(new CustomEvent("refused", { detail: answer.error }));
    }
    this.pulseUnderway = false;
  }

  /** Hold on to nothing any more, without a word to the car. */
  letGo() {
    this.lease.letGo();
    this.hand = null;
    this.nextPulse = null;
  }

  /** Stop at once and let go; over the socket too, which waits for no connection of the browser's. */
  async stop() {
    this.letGo();
    this.control.tell("stop");
    return this.ask("stop");
  }

  /** Leave the stop on purpose. */
  async clear() {
    return this.control.ask("clear");
  }
}
