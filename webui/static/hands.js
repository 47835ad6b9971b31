/**
 * What a person's hands want of the car: pure, in milliseconds of one clock, from keys, stick and controller.
 *
 * Positive steering turns left, positive throttle is forward. Whatever the source, the answer moves at a
 * bounded rate, so that a key does not act as a switch; `neutral` alone is at once.
 */

/** @type {Readonly<{steering_frac: number, throttle_frac: number}>} */
export const NEUTRAL = Object.freeze({ steering_frac: 0, throttle_frac: 0 });
export const CONTROLLER_STILL_MS = 3000; // a lost controller may report its last values for ever

const KEY_RATES = { steer: 3, centre: 5, press: 1.5, release: 4 }; // shares of the range a second
const HAND_RATES = { steer: 12, centre: 12, press: 6, release: 12 }; // a stick is smooth by itself
const LONGEST_STEP_MS = 100; // after a pause nothing jumps
const DEAD_ZONE = 0.08;

/** @type {Record<string, [number, number]>} */
const KEYS = {
  ArrowLeft: [1, 0], KeyA: [1, 0], ArrowRight: [-1, 0], KeyD: [-1, 0],
  ArrowUp: [0, 1], KeyW: [0, 1], ArrowDown: [0, -1], KeyS: [0, -1],
};

/** @param {string} code */
export function drives(code) {
  return code in KEYS;
}

/**
 * A stick pulled `right` and `down` by pixels, whose edge is `radius` away.
 * @param {number} right @param {number} down @param {number} radius
 */
export function pulled(right, down, radius) {
  const length = Math.hypot(right, down);
  const scale = length > radius ? 1 / length : 1 / radius;
  return { steering_frac: beyondDeadZone(-right * scale), throttle_frac: beyondDeadZone(-down * scale) };
}

/**
 * A controller of the standard layout: left stick steers, right trigger forward, left trigger back.
 * @param {readonly number[]} axes @param {readonly number[]} buttons values from 0 to 1
 */
export function squeezed(axes, buttons) {
  return {
    steering_frac: beyondDeadZone(-bounded(axes[0])),
    throttle_frac: beyondDeadZone(bounded(buttons[7]) - bounded(buttons[6])),
  };
}

/** @param {number | undefined} value */
function bounded(value) {
  return Number.isFinite(value) ? Math.min(1, Math.max(-1, /** @type {number} */ (value))) : 0;
}

/** @param {number} value */
function beyondDeadZone(value) {
  const size = Math.max(0, Math.abs(value) - DEAD_ZONE) / (1 - DEAD_ZONE);
  return size === 0 ? 0 : Math.sign(value) * size;
}

/** Follows a wish at bounded rates. */
export class Hands {
  constructor() {
    /** @type {Set<string>} */
    this.keys = new Set();
    /** @type {{steering_frac: number, throttle_frac: number} | null} */
    this.stick = null;
    this.controller = { values: "", changedMs: -Infinity, wants: NEUTRAL };
    this.now = { ...NEUTRAL };
    this.steppedMs = -Infinity;
  }

  /** @param {string} code */
  press(code) {
    if (drives(code)) this.keys.add(code);
  }

  /** @param {string} code */
  release(code) {
    this.keys.delete(code);
  }

  /**
   * Take what a controller reports now.
   * @param {readonly number[]} axes @param {readonly number[]} buttons @param {number} nowMs
   */
  report(axes, buttons, nowMs) {
    const values = [...axes, ...buttons].join();
    if (values !== this.controller.values) {
      const isFirst = this.controller.values === ""; // as it was found, perhaps long ago
      this.controller = { values, changedMs: isFirst ? -Infinity : nowMs, wants: squeezed(axes, buttons) };
    }
  }

  /** Let go of everything, at once. */
  neutral() {
    this.keys.clear();
    this.stick = null;
    this.controller = { values: "", changedMs: -Infinity, wants: NEUTRAL };
    this.now = { ...NEUTRAL };
  }

  /**
   * Return what to send now.
   * @param {number} nowMs
   */
  step(nowMs) {
    const passedS = Math.min(LONGEST_STEP_MS, Math.max(0, nowMs - this.steppedMs)) / 1000;
    this.steppedMs = nowMs;
    const { wants, rates } = this.wish(nowMs);
    const { steering_frac: steering, throttle_frac: throttle } = this.now;
    const turns = Math.abs(wants.steering_frac) > Math.abs(steering) || wants.steering_frac * steering < 0;
    const presses = wants.throttle_frac * throttle >= 0 && Math.abs(wants.throttle_frac) > Math.abs(throttle);
    this.now = {
      steering_frac: towards(steering, wants.steering_frac, (turns ? rates.steer : rates.centre) * passedS),
      throttle_frac: towards(throttle, wants.throttle_frac, (presses ? rates.press : rates.release) * passedS),
    };
    return { ...this.now };
  }

  /** @param {number} nowMs */
  wish(nowMs) {
    if (this.stick) return { wants: this.stick, rates: HAND_RATES };
    const { wants, changedMs } = this.controller;
    const held = wants.steering_frac !== 0 || wants.throttle_frac !== 0;
    if (held && nowMs - changedMs < CONTROLLER_STILL_MS) return { wants, rates: HAND_RATES };
    const sum = [0, 0];
    for (const code of this.keys) {
      sum[0] += KEYS[code][0];
      sum[1] += KEYS[code][1];
    }
    return { wants: { steering_frac: Math.sign(sum[0]), throttle_frac: Math.sign(sum[1]) }, rates: KEY_RATES };
  }
}

/** @param {number} from @param {number} to @param {number} most */
function towards(from, to, most) {
  const crosses = from !== 0 && from * to < 0; // through the middle, not past it in one step
  const goal = crosses ? 0 : to;
  return Math.abs(goal - from) <= most ? goal : from + Math.sign(goal - from) * most;
}
