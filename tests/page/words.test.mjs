/** What the driving page says of the car, its computer and the drive's end. */

import assert from "node:assert/strict";
import test from "node:test";

import { describeGoal, describeHealth, describeLease, lapTime } from "../../webui/static/words.js";

const CAR = {
  control_rate_hz: 15, camera_rate_hz: 30, camera_note: "", policy: "plover", policy_note: "", frame_to_wire_p50_ms: 3,
  frame_to_wire_p99_ms: 5, missed_decisions: 0, decisions: 1234567, battery_v: 7.9, board_note: "", faults: [],
};
const HOST = { cpu_frac: 0.31, temperature_c: 51.4, memory_frac: 0.42, disk_free_bytes: 12.34e9 };

function bad(car, host = HOST, missesLately = false) {
  const tiles = describeHealth({ ...CAR, ...car }, missesLately, host);
  return Object.entries(tiles).flatMap(([name, tile]) => (tile.bad ? [name] : []));
}

test("a well car and a well computer are quiet, and tell their numbers", () => {
  assert.deepEqual(bad({}), []);
  const { computer, temperature, memory, disk, missed } = describeHealth(CAR, false, HOST);
  assert.deepEqual([computer.value, temperature.value, memory.value, disk.value], ["31 %", "51 °C", "42 %", "12.3 GB"]);
  assert.equal(missed.more, "of 1\u202f234\u202f567 decisions");
});

test("each tile is loud for its own trouble alone", () => {
  assert.deepEqual(bad({}, { ...HOST, cpu_frac: 0.96 }), ["computer"]);
  assert.deepEqual(bad({}, { ...HOST, temperature_c: 85 }), ["temperature"]);
  assert.deepEqual(bad({}, { ...HOST, memory_frac: 0.93 }), ["memory"]);
  assert.deepEqual(bad({}, { ...HOST, disk_free_bytes: 0.9e9 }), ["disk"]);
  assert.deepEqual(bad({}, HOST, true), ["missed"]);
  assert.deepEqual(bad({ frame_to_wire_p99_ms: 67 }), ["latency"]);
  assert.deepEqual(bad({ faults: ["board silent"] }), ["board"]);
  assert.deepEqual(bad({ faults: ["battery low"] }), ["battery"]);
  assert.deepEqual(bad({ policy: "" }), ["policy"]);
});

test("what a computer does not measure is a dash and no alarm", () => {
  const nothing = { cpu_frac: null, temperature_c: null, memory_frac: null, disk_free_bytes: null };
  const { computer, temperature, memory, disk } = describeHealth(CAR, false, nothing);
  assert.deepEqual([computer, temperature, memory, disk].map(({ value, bad: isBad }) => [value, isBad]), Array(4).fill(["–", false]));
  assert.deepEqual(Object.keys(describeHealth(CAR, false, null)), ["policy", "camera", "latency", "missed", "board", "battery"]);
});

test("a drive says when it ends by itself, and afterwards that it did", () => {
  const laps = { lap_time_s: null, lap_count: 0, laps: [], best: null, target_laps: 3, time_limit_s: 90, note: "" };
  assert.equal(describeGoal(laps, true), "Stops by itself after lap 3 or after 1.5 min.");
  assert.equal(describeGoal({ ...laps, target_laps: null, time_limit_s: 120 }, true), "Stops by itself after 2 min.");
  assert.equal(describeGoal({ ...laps, target_laps: null, time_limit_s: null }, true), "");
  assert.equal(describeGoal({ ...laps, note: "3 laps are done, so the car has stopped." }, false), "3 laps are done, so the car has stopped.");
  assert.equal(describeGoal(null, true), "");
});

test("who has the wheel is said to those who have not, with what they may do", () => {
  const lease = { driver: "page 1", name: "Anna", mine: false, asked_by: [] };
  assert.deepEqual(describeLease(lease), { words: "Anna has the wheel.", mayAsk: true, asking: null });
  const asking = { source: "page 2", name: "Ben" };
  assert.deepEqual(describeLease({ ...lease, mine: true, asked_by: [asking] }), { words: "", mayAsk: false, asking });
  assert.equal(describeLease(undefined).words, "");
});

test("a lap time goes over into minutes without a 60", () => {
  assert.deepEqual([8.214, 59.996, 62.5, null, NaN].map((one) => lapTime(one)), ["8.21", "1:00.00", "1:02.50", "–", "–"]);
});
