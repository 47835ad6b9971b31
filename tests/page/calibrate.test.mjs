/** What the calibration page draws from a car's numbers: the same as the car makes of them. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { steeringRightward, throttleRightward, throttleShare, wheelAngle } from "../../webui/static/calibrate_draw.js";

const AWS = {
  steering: { left_us: 1700, center_us: 1450, right_us: 1200, left_rad: 0.5, right_rad: -0.4 },
  throttle: { forward_us: 1311, neutral_us: 1446, reverse_us: 1603.5, forward_dead_band_us: 8, reverse_dead_band_us: 10 },
};
const STANDARD = {
  steering: { left_us: 1100, center_us: 1500, right_us: 1900, left_rad: 0.5, right_rad: -0.5 },
  throttle: { forward_us: 1900, neutral_us: 1500, reverse_us: 1100, forward_dead_band_us: 25, reverse_dead_band_us: 25 },
};

test("the wheels stand at their measured angles at both ends, whichever side left is on", () => {
  for (const { steering } of [AWS, STANDARD]) {
    assert.equal(wheelAngle(steering, steering.left_us), steering.left_rad);
    assert.equal(wheelAngle(steering, steering.center_us) + 0, 0);
    assert.equal(wheelAngle(steering, steering.right_us), steering.right_rad);
  }
  assert.equal(wheelAngle(AWS.steering, 1575), 0.25);
  assert.equal(wheelAngle(AWS.steering, 1950), 1, "beyond the end the drawing goes on: the end is being looked for");
});

test("the motor is at rest in all of the dead band and full at both ends", () => {
  for (const { throttle } of [AWS, STANDARD]) {
    const sign = Math.sign(throttle.forward_us - throttle.neutral_us);
    assert.equal(throttleShare(throttle, throttle.neutral_us), 0);
    assert.equal(Math.abs(throttleShare(throttle, throttle.neutral_us + sign * throttle.forward_dead_band_us)), 0);
    assert.equal(Math.abs(throttleShare(throttle, throttle.neutral_us - sign * throttle.reverse_dead_band_us)), 0);
    assert.equal(throttleShare(throttle, throttle.forward_us), 1);
    assert.equal(throttleShare(throttle, throttle.reverse_us), -1);
  }
});

test("left is on the left of the scale and forward on its right, whichever pulses those are", () => {
  for (const { steering, throttle } of [AWS, STANDARD]) {
    const place = (us) => us * steeringRightward(steering);
    assert.ok(place(steering.left_us) < place(steering.center_us));
    assert.ok(place(steering.center_us) < place(steering.right_us));
    const push = (us) => us * throttleRightward(throttle);
    assert.ok(push(throttle.reverse_us) < push(throttle.neutral_us));
    assert.ok(push(throttle.neutral_us) < push(throttle.forward_us));
  }
});

test("numbers in the making, with an end on its rest, draw something finite", () => {
  const steering = { ...AWS.steering, left_us: 1450, right_us: 1450 };
  const throttle = { ...AWS.throttle, forward_us: 1446, reverse_us: 1446 };
  for (const us of [1400, 1450, 1500]) {
    assert.ok(Number.isFinite(wheelAngle(steering, us)));
    assert.ok(Number.isFinite(throttleShare(throttle, us)));
    assert.equal(Math.abs(steeringRightward(steering) * throttleRightward(throttle)), 1);
  }
});
