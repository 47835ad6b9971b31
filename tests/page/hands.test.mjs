/** Hands on the car: smooth, bounded, and neutral at once. */

import assert from "node:assert/strict";
import test from "node:test";

import { CONTROLLER_STILL_MS, Hands, NEUTRAL, pulled, squeezed } from "../../webui/static/hands.js";

const TICK_MS = 33;
const NO_BUTTONS = Array(17).fill(0);

function run(hands, fromMs, forMs) {
  const sent = [];
  for (let ms = fromMs; ms <= fromMs + forMs; ms += TICK_MS) sent.push(hands.step(ms));
  return sent;
}

function controller(steer, forward) {
  const buttons = [...NO_BUTTONS];
  buttons[7] = forward;
  return [[steer, 0, 0, 0], buttons];
}

test("a key is a ramp and not a switch, and gets all the way", () => {
  const hands = new Hands();
  hands.step(0);
  hands.press("ArrowUp");
  hands.press("KeyA");
  const sent = run(hands, TICK_MS, 1000);
  for (let i = 1; i < sent.length; i += 1) {
    assert.ok(Math.abs(sent[i].throttle_frac - sent[i - 1].throttle_frac) <= 0.05 + 1e-9);
    assert.ok(Math.abs(sent[i].steering_frac - sent[i - 1].steering_frac) <= 0.1 + 1e-9);
  }
  assert.deepEqual(sent.at(-1), { steering_frac: 1, throttle_frac: 1 });
});

test("a key that is let go brings neutral faster than it brought speed", () => {
  const hands = new Hands();
  hands.step(0);
  hands.press("ArrowUp");
  const rises = run(hands, TICK_MS, 1000).findIndex((one) => one.throttle_frac === 1);
  hands.release("ArrowUp");
  const falls = run(hands, 2000, 1000).findIndex((one) => one.throttle_frac === 0);
  assert.ok(falls > 0 && falls < rises, `${falls} ticks down, ${rises} up`);
});

test("opposite keys cancel, and changing direction passes through the middle", () => {
  const hands = new Hands();
  hands.step(0);
  hands.press("ArrowLeft");
  run(hands, TICK_MS, 1000);
  hands.press("ArrowRight");
  assert.equal(run(hands, 2000, 1000).at(-1).steering_frac, 0);
  hands.press("ArrowUp");
  run(hands, 4000, 1000);
  hands.release("ArrowUp");
  hands.press("ArrowDown");
  const sent = run(hands, 6000, 1500).map((one) => one.throttle_frac);
  assert.ok(sent.includes(0));
  assert.equal(sent.at(-1), -1);
});

test("after a pause nothing jumps", () => {
  const hands = new Hands();
  hands.step(0);
  hands.press("ArrowUp");
  assert.ok(hands.step(60_000).throttle_frac <= 0.15 + 1e-9);
});

test("neutral is at once, and forgets keys, stick and controller", () => {
  const hands = new Hands();
  hands.step(0);
  hands.press("ArrowUp");
  hands.stick = { steering_frac: 1, throttle_frac: 1 };
  hands.report(...controller(0, 0), TICK_MS);
  hands.report(...controller(1, 1), TICK_MS);
  run(hands, TICK_MS, 600);
  hands.neutral();
  assert.deepEqual(run(hands, 700, 500), Array(16).fill({ ...NEUTRAL }));
});

test("a controller that says the same for three seconds is neutral", () => {
  const hands = new Hands();
  hands.report(...controller(0, 0), 0);
  hands.report(...controller(0.5, 1), TICK_MS);
  assert.equal(run(hands, TICK_MS, 2000).at(-1).throttle_frac, 1);
  assert.deepEqual(run(hands, TICK_MS + CONTROLLER_STILL_MS, 1000).at(-1), { ...NEUTRAL });
  hands.report(...controller(0.5, 0.9), 6000);
  assert.ok(run(hands, 6000, 500).at(-1).throttle_frac > 0.8);
});

test("a controller that is found with its trigger down drives nothing", () => {
  const hands = new Hands();
  hands.report(...controller(0, 1), 0);
  assert.deepEqual(run(hands, 0, 500).at(-1), { ...NEUTRAL });
});

test("a controller's right trigger is forward, left is back, and left on the stick turns left", () => {
  const buttons = [...NO_BUTTONS];
  assert.ok(squeezed([-1, 0], buttons).steering_frac > 0.99);
  buttons[7] = 1;
  assert.ok(squeezed([0, 0], buttons).throttle_frac > 0.99);
  buttons[7] = 0;
  buttons[6] = 1;
  assert.ok(squeezed([0, 0], buttons).throttle_frac < -0.99);
});

test("what a broken controller reports is neutral", () => {
  assert.deepEqual(squeezed([NaN], []), { ...NEUTRAL });
});

test("a stick has a dead zone, its full range, and never more", () => {
  assert.deepEqual(pulled(5, 5, 100), { ...NEUTRAL });
  assert.equal(pulled(0, -100, 100).throttle_frac, 1);
  assert.equal(pulled(0, -900, 100).throttle_frac, 1);
  assert.equal(pulled(-100, 0, 100).steering_frac, 1);
  const { steering_frac: steering, throttle_frac: throttle } = pulled(300, -300, 100);
  assert.ok(Math.abs(steering) < 0.72 && throttle < 0.72);
});
