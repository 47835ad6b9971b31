/** The Runs page's words, curves and line, without a browser. */

import assert from "node:assert/strict";
import test from "node:test";

import { frame, ring, shaded, stretches } from "../../webui/static/runs-line.js";
import { axisMoments, outline } from "../../webui/static/runs-plot.js";
import * as words from "../../webui/static/runs-words.js";

test("times are as long as they need to be", () => {
  assert.deepEqual([8.44, 59.94, 725, 7390, NaN].map(words.duration), ["8.4\u202fs", "59.9\u202fs", "12:05\u202fmin", "2:03:10\u202fh", "–"]);
  assert.deepEqual([words.clock(8.4), words.clock(59.999), words.clock(3723.46, 1), words.clock(61, 0)], ["0:08.40", "1:00.00", "1:02:03.5", "1:01"]);
});

test("a day has a name while it is near, and none where nobody knows it", () => {
  const now = new Date(2026, 10, 26, 0, 30);
  const at = (...date) => words.day(new Date(2026, 10, ...date), now);
  assert.deepEqual([at(26, 0, 1), at(25, 23, 59), at(25, 0, 1)], ["Today", "Yesterday", "Yesterday"]);
  assert.match(at(24, 12), /24 Nov/);
  assert.match(words.day(new Date(2025, 0, 2), now), /2025/);
  assert.equal(words.dayOf({ started_wall_ns: now.getTime() * 1e6, clock_known: false }, now), "Date not known");
});

test("marks are faults and the starts of laps, in order, each once", () => {
  const details = { events: [{ kind: "fault", t_s: 7 }, { kind: "lap", t_s: 3 }, { kind: "fault", t_s: 3.0001 }], laps: [{ since_s: 3 }, { since_s: -0.01 }] };
  assert.deepEqual(words.marksOf(details), [0, 3, 7]);
});

test("what a moment says names sides and no sign", () => {
  const moment = { state: "autonomous", steering_frac: -0.324, throttle_frac: 0.5, speed_mps: null };
  assert.equal(words.readout(moment), "drives by itself · steering 32\u202f% right · throttle 50\u202f%");
  assert.equal(words.readout(null), "");
});

test("an axis has round moments within its part, and not too many", () => {
  assert.deepEqual(axisMoments(0, 27.3, 9), { step: 5, moments: [0, 5, 10, 15, 20, 25] });
  assert.deepEqual(axisMoments(3600, 7200, 4).moments, [3600, 4500, 5400, 6300, 7200]);
  for (const [since, until] of [[0, 1], [0.13, 1.2], [0, 7200], [7199, 7200]]) {
    const { moments } = axisMoments(since, until, 5);
    assert.ok(moments.length >= 1 && moments.length <= 6);
    assert.ok(moments.every((moment) => moment >= since - 1e-6 && moment <= until + 1e-6));
  }
});

test("a curve is drawn in one piece for each stretch that was recorded", () => {
  const y = (value) => 100 * value;
  assert.equal(outline([0, 0, null, 1], [1, 1, null, 1], y), "M125.0 100.0L375.0 100.0L375.0 0.0L125.0 0.0ZM875.0 100.0L875.0 100.0Z");
  assert.equal(outline([null], [null], y), "");
  assert.equal(outline([0, 0, 0, 0, 1], [0, 0, 0, 0, 1], y), "M100.0 0.0L700.0 0.0L900.0 100.0L900.0 100.0L700.0 0.0L100.0 0.0Z"); // without those between equals
});

test("the line is cut where its shade changes, and its frame holds all of it", () => {
  const line = { t_s: [0, 0.1, 0.2, 0.3], x_m: [0, 1, 2, 3], y_m: [0, -1, 0, 2], speed_mps: [0, 0.1, 2, 2] };
  const broken = { ...line, t_s: [0, 0.1, 9, 9.1], speed_mps: [1, 1, 1, 1] };
  assert.deepEqual(stretches(broken), [[0, 1], [2, 3]]);
  assert.deepEqual(shaded(broken, 1).map(({ since, until }) => [since, until]), [[0, 1], [2, 3]]);
  const pieces = shaded(line, 2);
  assert.deepEqual(pieces.map(({ since, until }) => [since, until]), [[0, 2], [2, 3]]);
  const [left, top, width, height] = frame(line);
  assert.ok(left < 0 && left + width > 3 && top < -2 && top + height > 1);
  const track = { inner: [[0, 0]], outer: [[-5, 0], [9, 8]] };
  const whole = frame(line, track);
  assert.ok(whole[0] < -5 && whole[0] + whole[2] > 9 && whole[1] < -8);
  assert.equal(ring([[0, 1], [2, -3]]), "M0 -1L2 3Z");
});

test("a run that did not end well says how", () => {
  const run = { is_mending: false, lacks: "", latched_fault: "", is_complete: true, note: "" };
  assert.deepEqual([run, { ...run, is_mending: true }, { ...run, is_mending: true, lacks: "There is no room." }, { ...run, latched_fault: "board silent" }, { ...run, is_complete: false, note: "cut off: it died" }, { ...run, is_complete: false, note: "some ticks are missing" }].map(words.endOf),
    ["", "Cut off; it is being made whole", "There is no room.", "Stopped: board silent", "Cut off", "Incomplete"]);
});
