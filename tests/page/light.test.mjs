/** How the light of a picture is spread, and what is said of it. */

import assert from "node:assert/strict";
import test from "node:test";

import { lightWords, spread } from "../../webui/static/light.js";

const picture = (...levels) => new Uint8ClampedArray(levels.flatMap((level) => [level, level, level, 255]));

test("every pixel is in one bin, and both ends are told", () => {
  const light = spread(picture(0, 0, 128, 255));
  assert.equal(light.bins.reduce((sum, share) => sum + share, 0), 1);
  assert.deepEqual([light.bins[0], light.bins[32], light.bins[63]], [0.5, 0.25, 0.25]);
  assert.deepEqual([light.dark, light.bright, light.mean], [0.5, 0.25, 95.75]);
});

test("what is lost at an end says what to do", () => {
  assert.match(lightWords(spread(picture(255, 255, 100))), /67 % is burnt out: expose shorter\./);
  assert.match(lightWords(spread(picture(0, 100, 100))), /33 % is black: expose longer/);
  assert.match(lightWords(spread(picture(100, 120, 140))), /Nothing is lost at either end\./);
});
