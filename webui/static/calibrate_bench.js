/** The drawing beside everything: the car and both axes as a draft has them and as the car stands now. */

import { Axis, CarDrawing, steeringRightward, throttleRightward, throttleShare, wheelAngle } from "./calibrate_draw.js";
import { byId } from "./calibrate_page.js";

const FULL_RANGE = [800, 2200];
const SHOWN_LOCK_RAD = 1.05; // no car's wheels turn farther

export class Bench {
  constructor() {
    this.car = new CarDrawing(byId("car"));
    this.steering = new Axis(byId("steering-axis"), "Steering, µs");
    this.throttle = new Axis(byId("throttle-axis"), "Throttle, µs");
  }

  /**
   * @param {any} draft the numbers, and what their steps make of them
   * @param {Car | null} live
   * @param {any} step of the walk; null outside it
   */
  draw(draft, live, step) {
    const { steering, throttle } = draft.calibration;
    const actuator = step?.actuator ?? "";
    const isStill = step !== null && actuator === ""; // the car's pulses say nothing on numbers in the making
    const steeringNow = (!isStill && live?.steering_us) || steering.center_us;
    const throttleNow = (!isStill && live?.throttle_us) || throttle.neutral_us;
    const reach = actuator ? draft.reach_us[step.id] : null;
    const nothingMoves = step?.answer === "hold" || step?.answer === "choice";
    this.car.show({
      angle: Math.max(-SHOWN_LOCK_RAD, Math.min(SHOWN_LOCK_RAD, wheelAngle(steering, steeringNow))),
      share: throttleShare(throttle, throttleNow),
      leftRad: steering.left_rad,
      rightRad: steering.right_rad,
    });
    this.steering.svg.toggleAttribute("data-off", nothingMoves || actuator === "throttle");
    this.throttle.svg.toggleAttribute("data-off", nothingMoves || actuator === "steering");
    this.steering.show({
      range: actuator === "steering" ? reach : FULL_RANGE,
      rightward: steeringRightward(steering),
      marks: [
        { us: steering.left_us, label: "left" },
        { us: steering.center_us, label: "centre" },
        { us: steering.right_us, label: "right" },
      ],
      stretches: [{ from: steering.left_us, to: steering.right_us, kind: "usable" }],
      now: steeringNow,
    });
    this.throttle.show({ ...throttleScale(throttle, actuator === "throttle" ? reach : null), now: throttleNow });
  }
}

/**
 * Marks and stretches of the throttle's axis, within `reach` where a step has one.
 * @param {ThrottleNumbers} throttle
 * @param {number[] | null} reach
 */
function throttleScale(throttle, reach) {
  const sign = Math.sign(throttle.forward_us - throttle.neutral_us) || 1;
  const forwardBand = throttle.neutral_us + sign * throttle.forward_dead_band_us;
  const reverseBand = throttle.neutral_us - sign * throttle.reverse_dead_band_us;
  const marks = [
    { us: throttle.forward_us, label: "forward" },
    { us: throttle.neutral_us, label: "neutral" },
    { us: throttle.reverse_us, label: "reverse" },
  ];
  return {
    range: reach ?? around(throttle),
    rightward: throttleRightward(throttle),
    marks: reach ? marks.filter(({ us }) => us >= reach[0] && us <= reach[1]) : marks,
    stretches: [
      { from: forwardBand, to: throttle.forward_us, kind: "usable" },
      { from: reverseBand, to: throttle.reverse_us, kind: "back" },
      { from: forwardBand, to: reverseBand, kind: "dead" },
    ],
  };
}

/** @param {ThrottleNumbers} throttle */
function around({ forward_us: forward, reverse_us: reverse }) {
  const low = Math.floor(Math.min(forward, reverse) / 50) * 50 - 60;
  const high = Math.ceil(Math.max(forward, reverse) / 50) * 50 + 60;
  return [Math.max(FULL_RANGE[0], low), Math.min(FULL_RANGE[1], high)];
}
