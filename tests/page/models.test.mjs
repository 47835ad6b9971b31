/** The Models page's words, order, drawing and queue of uploads, without a browser. */

import assert from "node:assert/strict";
import test from "node:test";

import { loadedKey, modelChoices } from "../../webui/static/loaded.js";
import { gather, inWords, placer, reach, roundStep } from "../../webui/static/models-plot.js";
import { AT_ONCE, Queue } from "../../webui/static/models-queue.js";
import * as words from "../../webui/static/models-words.js";

const model = (name, fields = {}) => ({ key: name, name, built_in: false, ...fields });

test("models are ordered as asked, ties by name with numbers as numbers", () => {
  const models = [model("swift 10", { infer_median_ms: 1 }), model("swift 9", { infer_median_ms: 1 }), model("Ärger", { infer_median_ms: 0.5 })];
  const names = (order, typed = "") => words.arrange(models, order, typed).map(({ name }) => name);
  assert.deepEqual(names("name"), ["Ärger", "swift 9", "swift 10"]);
  assert.deepEqual(names("fastest"), ["Ärger", "swift 9", "swift 10"]);
  assert.deepEqual(names("no such order"), names("name"));
  assert.deepEqual(names("name", " SWIFT  1"), ["swift 10"]);
  assert.deepEqual(names("name", "arger"), ["Ärger"]);
});

test("a model without a time comes last among the fastest", () => {
  const models = [model("a"), model("b", { infer_median_ms: 3 })];
  assert.deepEqual(words.arrange(models, "fastest", "").map(({ name }) => name), ["b", "a"]);
});

test("numbers are short and honest", () => {
  assert.deepEqual([842, 12_345, 999_499, 999_500, 1_340_000].map(words.short), ["842", "12\u202fk", "999\u202fk", "1.0\u202fM", "1.3\u202fM"]);
  assert.deepEqual([0.04, 2.24, 123.4, NaN].map(words.milliseconds), ["0.04 ms", "2.2 ms", "123 ms", "–"]);
  assert.deepEqual([999, 1500, 999_499, 1_500_000, 300e6].map(words.bytes), ["999 bytes", "1.5 kB", "999 kB", "1.5 MB", "300 MB"]);
  assert.deepEqual([30, -12.34, 0.04, -0.04].map(words.steering), ["30° left", "12° right", "straight", "straight"]);
  assert.deepEqual([10, 3000, 7200, 86_400, 200_000].map(words.ago), ["just now", "50 min ago", "2 h ago", "1 day ago", "2 days ago"]);
});

test("an upload says what it does", () => {
  const say = (fields) => words.describeUpload({ share: 0, stage: "", ...fields });
  assert.equal(say({ state: "uploading", share: 0.5, size_bytes: 2e6 }).words, "Uploading, 1.0 MB of 2.0 MB");
  assert.equal(say({ state: "checking", stage: "the check starts when the car stops" }).words, "Uploaded. The check starts when the car stops");
  assert.equal(say({ state: "checking", stage: "measuring", share: 0.7 }).share, 0.7);
  assert.equal(say({ state: "refused", error: "Why." }).words, "Why.");
});

test("the time of a decision is judged by what the loop leaves it", () => {
  assert.equal(words.describeTime(2, 3, 30).verdict, "plenty of time");
  assert.equal(words.describeTime(10, 20, 30).verdict, "in time");
  const slow = words.describeTime(30, 300, 30);
  assert.deepEqual([slow.verdict, slow.p99, slow.bad], ["too slow", 1, true]);
});

test("the dry run pairs each picture with its mirror image", () => {
  const answer = (picture, steering_deg, index) => ({ picture, steering_deg, index, speed_mps: 1, output: [] });
  const read = words.readResponses([answer("blank", 0, 1), answer("frame 0", 10, 0), answer("frame 1", 10, 0), answer("frame 0 mirrored", -8, 2), answer("random 0", 0, 1)]);
  assert.equal(read.frames.length, 2);
  assert.equal(read.frames[0].mirrored.steering_deg, -8);
  assert.equal(read.frames[1].mirrored, null);
  assert.deepEqual([...read.chosen], [[0, 2]]);
  assert.equal(words.mirrorError(read.frames), 2);
  assert.equal(words.mirrorError([]), null);
});

test("the loaded model is known by its hash alone", () => {
  const models = [model("own"), { ...model("straight"), built_in: true, policy_hash: "abc" }];
  assert.equal(loadedKey(models, { policy: "straight", policy_hash: "abc" }), "straight");
  assert.equal(loadedKey(models, { policy: "straight", policy_hash: "another" }), "");
  assert.equal(loadedKey(models, { policy: "", policy_hash: "" }), "");
  assert.equal(loadedKey(models, null), "");
});

test("what is chosen is what the car has loaded, whatever comes after a restart", () => {
  const models = [{ ...model("own"), active: true }, { ...model("plover"), built_in: true, policy_hash: "abc" }];
  const chosen = (car) => modelChoices(models, car).filter((one) => one.chosen).map(({ label, key }) => [label, key]);
  assert.deepEqual(chosen({ policy: "plover", policy_hash: "abc" }), [["plover", "plover"]]);
  assert.deepEqual(chosen({ policy: "swift", policy_hash: "d" }), [["swift, which is none of these", ""]]);
  assert.deepEqual(chosen({ policy: "", policy_hash: "" }), [["Choose a model", ""]]);
  assert.deepEqual(chosen(null), [["Choose a model", ""]]);
  assert.equal(modelChoices(models, { policy: "plover", policy_hash: "abc" }).length, 2);
});

test("only a model at rest in a car at rest is activated or removed", () => {
  assert.equal(words.whyNotActivate(model("a"), { state: "disarmed" }), "");
  assert.equal(words.whyNotActivate(model("a"), null), "");
  assert.match(words.whyNotActivate(model("a"), { state: "autonomous" }), /armed/);
  assert.match(words.whyNotActivate(model("a"), { state: "failsafe" }), /Disarm/);
  assert.match(words.whyNotRemove(model("a"), "a"), /drives/);
  assert.match(words.whyNotRemove(model("a", { built_in: true }), ""), /ships/);
  assert.equal(words.whyNotRemove(model("a"), "b"), "");
});

test("left is on the left, fast is up, and the axes end at round numbers", () => {
  const points = [{ steering_deg: 30, speed_mps: 0.9 }, { steering_deg: -20, speed_mps: 3.3 }];
  const space = reach(points);
  assert.deepEqual(space, { steeringMaxDeg: 30, speedLow: 0, speedHigh: 4, speedStep: 1 });
  const place = placer(space, { width: 100, height: 100, left: 0, right: 0, top: 0, bottom: 0 });
  assert.deepEqual(place({ steering_deg: 30, speed_mps: 4 }), { x: 0, y: 0 });
  assert.deepEqual(place({ steering_deg: 0, speed_mps: 0 }), { x: 50, y: 100 });
});

test("a plot of one standing action, of reverse and of nothing has finite axes", () => {
  for (const points of [[], [{ steering_deg: 0, speed_mps: 0 }], [{ steering_deg: 5, speed_mps: -1 }]]) {
    const space = reach(points);
    assert.ok(Object.values(space).every(Number.isFinite));
    assert.ok(space.speedHigh > space.speedLow && space.speedStep > 0);
  }
  assert.deepEqual([0.7, 1, 2.4, 0.03].map(roundStep), [0.5, 1, 2, 0.02]);
});

test("actions on one place are one dot", () => {
  const point = { steering_deg: 1, speed_mps: 1 };
  assert.deepEqual(gather([point, { steering_deg: 2, speed_mps: 1 }, { ...point }]).map(({ indices }) => indices), [[0, 2], [1]]);
  assert.equal(inWords({ type: "discrete", points: [] }), "No action.");
});

/** A server whose answers a test gives by hand. */
function server() {
  const sent = [];
  let drawn = 0;
  const io = {
    rooms: { error: "", crowded: false },
    takenBack: [],
    sent,
    room: async () => io.rooms,
    send: (file, id, progress) => {
      let end;
      const done = new Promise((resolve) => { end = resolve; });
      sent.push({ file, id, progress, end });
      return { done, abort: () => end(null) };
    },
    outcome: async () => null,
    takeBack: async (id) => { io.takenBack.push(id); },
    draw: () => String((drawn += 1)),
  };
  return io;
}
const settle = () => new Promise((resolve) => { setTimeout(resolve, 0); });
const files = (count) => Array.from({ length: count }, (_, index) => ({ name: `${index}.zip`, size: 10 }));

test("few files are sent at once, the others when one is done", async () => {
  const io = server();
  const queue = new Queue(io, () => {});
  queue.add(files(4));
  await settle();
  assert.equal(io.sent.length, AT_ONCE);
  io.outcome = async () => ({ id: "1" });
  io.sent[0].end({ id: "1" });
  await settle();
  assert.equal(io.sent.length, AT_ONCE + 1);
  assert.equal(queue.entries.length, 3); // the server tells of the first
});

test("a stop ends what is sent, and it starts over under another id", async () => {
  const io = server();
  const queue = new Queue(io, () => {});
  queue.add(files(1));
  await settle();
  queue.hold();
  await settle();
  assert.deepEqual(queue.entries.map(({ state }) => state), ["queued"]);
  assert.equal(io.sent.length, 1);
  queue.release();
  await settle();
  assert.equal(io.sent.length, 2);
  assert.notEqual(io.sent[1].id, io.sent[0].id);
  assert.deepEqual(io.takenBack, [io.sent[0].id]);
});

test("what would not fit is refused before it is sent, what is crowded waits", async () => {
  const io = server();
  io.rooms = { error: "Too large.", crowded: false };
  const queue = new Queue(io, () => {});
  queue.add(files(1));
  await settle();
  assert.deepEqual([queue.entries[0].state, queue.entries[0].error], ["refused", "Too large."]);
  io.rooms = { error: "", crowded: true };
  queue.add(files(1));
  await settle();
  assert.deepEqual([queue.entries[1].state, queue.entries[1].crowded], ["queued", true]);
  io.rooms = { error: "", crowded: false };
  queue.next();
  await settle();
  assert.equal(io.sent.length, 1);
});

test("taking back ends the sending and tells the server", async () => {
  const io = server();
  const queue = new Queue(io, () => {});
  const [entry] = queue.add(files(1));
  await settle();
  await queue.takeBack(entry);
  assert.deepEqual(queue.entries, []);
  assert.deepEqual(io.takenBack, [entry.id]);
  assert.equal(queue.isBusy, false);
});

test("a lost connection is said, and asks the server first", async () => {
  const io = server();
  const queue = new Queue(io, () => {});
  queue.add(files(1));
  await settle();
  io.sent[0].end(null);
  await settle();
  assert.match(queue.entries[0].error, /connection was lost/);
});
