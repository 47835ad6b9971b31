/** A picture's message, whole and damaged. */

import assert from "node:assert/strict";
import test from "node:test";

import { readPicture } from "../../webui/static/wire.js";

function message(header, jpeg, length = null) {
  const text = new TextEncoder().encode(header);
  const bytes = new Uint8Array(4 + text.length + jpeg.length);
  new DataView(bytes.buffer).setUint32(0, length ?? text.length, true);
  bytes.set(text, 4);
  bytes.set(jpeg, 4 + text.length);
  return bytes.buffer;
}

test("header and picture come apart", () => {
  const { header, jpeg } = readPicture(message('{"frame": 7, "age_ms": 12.5}', [255, 216, 1]));
  assert.deepEqual(header, { frame: 7, age_ms: 12.5 });
  assert.deepEqual([...jpeg], [255, 216, 1]);
});

test("what is no picture is refused without an exception", () => {
  for (const bad of [
    new ArrayBuffer(0), new ArrayBuffer(3), message("", []), message("{}", [1]), message("[1", [1]),
    message('{"frame": 1}', [], 13), message('{"frame": 1}', [1], 0xffffffff),
  ]) assert.equal(readPicture(bad), null);
});
