/**
 * The page's hold on the car while it calibrates or test drives.
 *
 * It renews the lease ten times a second, from what this page's own script is alive to do, and dies with
 * the page: a pulse is at rest again within 300 ms. A pulse is sent once, when a person asks for it, and
 * never asserted again by itself.
 */

import { fetchGently, post } from "./link.js";

const API = "/api/calibration";
const POLL_MS = 250; // at rest
const LOST_MS = 1000;
const UNDERWAY_LIMIT = 2;

/** @typedef {{state: string, sentence: string, driver: string, hil: boolean, calibrating: string, is_storing: boolean, steering_us: number, throttle_us: number, is_calibrated: boolean, board_note: string, calibration_version: number, not_ready: string[]}} Car */

export class Session extends EventTarget {
  /**
   * @param {string} page secret of this page
   * @param {string} source name under which the car knows it
   */
  constructor(page, source) {
    super();
    this.page = page;
    this.source = source;
    this.seenNs = 0;
    /** @type {Car | null} */
    this.car = null;
    this.heardAt = -Infinity;
    this.holding = false;
    this.entering = false;
    this.underway = 0;
    this.pulseUnderway = false;
    /** @type {{actuator: string, us: number} | null} */
    this.nextPulse = null;
    /** @type {{steering: number, throttle: number} | null} a test drive's hand */
    this.hand = null;
    this.ticker = new Worker(new URL("./calibrate_ticker.js", import.meta.url));
    this.ticker.addEventListener("message", () => this.hold());
    this.poll();
  }

  /** Whether the car was heard of lately. */
  get connected() {
    return performance.now() - this.heardAt < LOST_MS;
  }

  /** Whether the car surely stands, as far as this page can know: it asked for nothing that moves. */
  get standsStill() {
    const isAtRest = this.car?.state === "disarmed" || this.car?.state === "failsafe";
    return this.connected && isAtRest && !this.holding && !this.entering;
  }

  /** @param {string} what @param {object} fields */
  async ask(what, fields = {}, options = {}) {
    const answer = await post(`${API}/${what}`, { page: this.page, ...fields }, options);
    this.hear(answer);
    return answer;
  }

  hear(answer) {
    if (typeof answer.server_ns === "number" && answer.server_ns > this.seenNs) this.seenNs = answer.server_ns;
    if (answer.car === undefined) return;
    this.car = answer.car;
    this.heardAt = performance.now();
    this.dispatchEvent(new Event("heard"));
  }

  /** Follow the car while nothing is held. */
  async poll() {
    if (!this.holding) await this.look();
    setTimeout(() => this.poll(), POLL_MS);
  }

  async look() {
    try {
      const { response, body } = await fetchGently(`${API}/live`);
      if (response.ok && body) this.hear(JSON.parse(await body.text()));
    } catch {
      // seen by its age
    }
    this.dispatchEvent(new Event("heard"));
  }

  async hold() {
    if (!this.holding || this.underway >= UNDERWAY_LIMIT) return;
    this.underway += 1;
    const hand = this.hand ? { steering_frac: this.hand.steering, throttle_frac: this.hand.throttle } : {};
    const answer = await this.ask("hold", { seen_ns: this.seenNs, ...hand }, { timeoutMs: 500 });
    if (!answer.ok) await this.look(); // a stamp that has grown old renews nothing, and would stay old for ever
    this.underway -= 1;
    this.dispatchEvent(new Event("heard"));
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
    this.hand = { steering: 0, throttle: 0 };
    return this.enter("drive", { share }, "manual");
  }

  async enter(what, fields, state) {
    this.entering = true;
    await this.look(); // the newest stamp
    const answer = await this.ask(what, { seen_ns: this.seenNs, ...fields }, { timeoutMs: 5000 });
    this.entering = false;
    if (!answer.ok) return answer;
    this.holding = true;
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
      const answer = await this.ask("pulse", { seen_ns: this.seenNs, actuator: what, pulse_us: pulse });
      if (!answer.ok) this.dispatchEvent(new CustomEvent("refused", { detail: answer.error }));
    }
    this.pulseUnderway = false;
  }

  /** Hold on to nothing any more, without a word to the car. */
  letGo() {
    this.holding = false;
    this.hand = null;
    this.nextPulse = null;
  }

  /** Stop at once and let go. */
  async stop() {
    this.letGo();
    return this.ask("stop");
  }

  async clear() {
    await this.look();
    return this.ask("clear", { seen_ns: this.seenNs });
  }
}
