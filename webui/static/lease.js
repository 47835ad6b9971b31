/** Keeps this page the driver: renews the lease while the car drives for it, and dies with the page. */

import { post } from "./link.js";
import { GUARDED } from "./words.js";

const START_GRACE_MS = 1000; // a status from before the start may still arrive

export class Lease {
  /**
   * @param {string} page secret of this page
   * @param {string} source name under which the car knows it
   * @param {() => number} seenNs newest stamp received from the server
   */
  constructor(page, source, seenNs) {
    this.page = page;
    this.source = source;
    this.seenNs = seenNs;
    this.takenAt = null;
    this.underway = 0;
    this.ticker = new Worker(new URL("./ticker.js", import.meta.url));
    this.ticker.addEventListener("message", () => this.renew());
  }

  /** Whether this page drives, or has just asked to. */
  get held() {
    return this.takenAt !== null;
  }

  take() {
    this.takenAt = performance.now();
  }

  letGo() {
    this.takenAt = null;
  }

  /** Let go when the car says that it no longer drives for this page. */
  follow(car) {
    if (!this.held || performance.now() - this.takenAt < START_GRACE_MS) return;
    if (!GUARDED.has(car.state) || car.driver !== this.source) this.letGo();
  }

  async renew() {
    if (!this.held || this.underway >= 2) return;
    this.underway += 1;
    await post("/drive/lease", { page: this.page, seen_ns: this.seenNs() }, { timeoutMs: 700 });
    this.underway -= 1;
  }
}
