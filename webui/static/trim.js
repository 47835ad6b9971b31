/** The steering trim: to the left is to the left, whichever pulses steer this car there. */

import { setText } from "./dom.js";
import { GUARDED } from "./words.js";

const SETTLES_MS = 1000;
const STEP_US = 2;

/** @param {string} id @returns {any} */
const byId = (id) => document.getElementById(id);

export class Trim {
  /**
   * @param {(kind: string, fields: object) => Promise<Answer>} ask as the driver
   * @param {(sentence: string) => void} note
   */
  constructor(ask, note) {
    this.ask = ask;
    this.note = note;
    this.rightward = 1; // sign of what the slider adds to the pulse on its way to the right
    /** @type {number | null} that this page asks for, while the car has not confirmed it */
    this.wanted = null;
    this.wantedAt = -Infinity;
    byId("trim").addEventListener("input", () => this.set(byId("trim").valueAsNumber));
    byId("trim-left").addEventListener("click", () => this.set(byId("trim").valueAsNumber - STEP_US * this.rightward));
    byId("trim-right").addEventListener("click", () => this.set(byId("trim").valueAsNumber + STEP_US * this.rightward));
    byId("trim-save").addEventListener("click", async () => this.note((await this.ask("save_trim", {})).error || "The trim is saved with the calibration."));
  }

  /** @param {Car} now */
  show(now) {
    this.rightward = now.trim_steers_right === false ? -1 : 1;
    byId("trim").dir = this.rightward > 0 ? "ltr" : "rtl";
    if (now.trim_us === this.wanted || performance.now() - this.wantedAt > SETTLES_MS) this.wanted = null;
    if (this.wanted === null && document.activeElement !== byId("trim")) byId("trim").value = String(now.trim_us ?? 0);
    this.say();
    byId("trim-save").disabled = !now.trim_us || GUARDED.has(now.state);
  }

  say() {
    const us = byId("trim").valueAsNumber * this.rightward;
    const words = us === 0 ? "0 µs" : `${Math.abs(us)} µs ${us < 0 ? "left" : "right"}`;
    setText(byId("trim-value"), words);
    byId("trim").setAttribute("aria-valuetext", words);
  }

  /** @param {number} us */
  async set(us) {
    byId("trim").value = String(us);
    this.wanted = byId("trim").valueAsNumber;
    this.wantedAt = performance.now();
    this.say();
    const answer = await this.ask("trim", { trim_us: this.wanted });
    if (!answer.ok) this.wanted = null;
    this.note(answer.error ?? "");
  }
}
