/**
 * Keeps this page the driver, and dies with it.
 *
 * A worker ticks, because a page's own timers are slowed in the background; the page answers each tick
 * by itself, so that one which hangs, is frozen or is gone renews nothing.
 */

import { GUARDED } from "./words.js";

const START_GRACE_MS = 1000; // a status from before the start may still arrive
const RENEW_MS = 95; // three renewals within the 0.3 s of a lease of hands

export class DrivingLease {
  /** @param {() => void} renew @param {(nowMs: number) => void} onTick */
  constructor(renew, onTick) {
    this.renew = renew;
    this.onTick = onTick;
    this.takenMs = -Infinity;
    this.held = false;
    this.renewedMs = -Infinity;
    this.ticker = new Worker(new URL("./ticker.js", import.meta.url));
    this.ticker.addEventListener("message", () => this.tick(performance.now()));
  }

  take() {
    this.held = true;
    this.takenMs = performance.now();
  }

  letGo() {
    this.held = false;
  }

  /** Let go when the car says that it no longer drives for this page. @param {Car} car @param {boolean} mine */
  follow(car, mine) {
    if (this.held && performance.now() - this.takenMs > START_GRACE_MS && (!mine || !GUARDED.has(car.state))) this.letGo();
  }

  /** @param {number} nowMs */
  tick(nowMs) {
    this.onTick(nowMs);
    if (!this.held || nowMs - this.renewedMs < RENEW_MS) return;
    this.renewedMs = nowMs;
    this.renew();
  }
}
