/** The calibration page: puts its parts together, and lets the car go when nobody looks. */

import { Bench } from "./calibrate_bench.js";
import { Floor } from "./calibrate_floor.js";
import { byId, offer, trouble, view } from "./calibrate_page.js";
import { Rest } from "./calibrate_rest.js";
import { Session } from "./calibrate_session.js";
import { Walk } from "./calibrate_walk.js";
import { stopOverToo } from "./stopbar.js";

const { page = "", source = "" } = document.body.dataset;
const session = new Session(page, source);
const bench = new Bench();
const rest = new Rest(session);
const walk = new Walk(session, rest);
const floor = new Floor(session, rest, (calibration) => walk.look(calibration));
let wasLost = false;
let hadFailed = false;

function draw() {
  const draft = walk.step ? walk.draft : rest.known?.draft;
  if (draft) bench.draw(draft, session.car, walk.step);
}

function follow() {
  const { car } = session;
  document.body.dataset.standsStill = String(session.standsStill); // space stops, from the first wish to move on
  const failed = session.connected && car?.state === "failsafe";
  document.body.dataset.mood = !session.connected || !car ? "lost" : failed ? "failsafe" : "ready";
  if (!session.connected || !car) {
    if (view() !== "loading") trouble("No connection to the car. Whatever was moved is at rest by now.");
    wasLost = true;
    return;
  }
  walk.follow(car);
  floor.follow(car);
  if (failed) offer(car.sentence, "Disarm and go on", goOn);
  else if (wasLost || hadFailed) trouble("");
  wasLost = false;
  hadFailed = Boolean(failed);
  draw();
}

/** Leave the stop on purpose, and start again where the walk was. */
async function goOn() {
  const answer = await session.clear();
  if (!answer.ok) return; // the sentence stays
  hadFailed = false;
  await session.look();
  walk.goOn();
}

session.addEventListener("heard", follow);
stopOverToo(session.control);
rest.addEventListener("known", draw);
rest.addEventListener("look", (event) => walk.look(/** @type {CustomEvent} */ (event).detail));
walk.addEventListener("changed", draw);

/* Whatever takes the page from its person's eyes takes the pulse from the car. */
function abandon() {
  walk.abandon();
  floor.abandon();
}
addEventListener("pagehide", abandon);
addEventListener("blur", () => {
  if (walk.running) walk.toRest();
  floor.coast();
});
document.addEventListener("visibilitychange", () => {
  const held = walk.holds || floor.holds;
  if (document.hidden) abandon();
  if (document.hidden && held && walk.step) offer("The page was out of sight, so the car was let go.", "Go on", () => walk.goOn());
});

rest.load();
