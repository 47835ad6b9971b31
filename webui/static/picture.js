/** The live picture: newest only, with its age, grey as soon as it is old. */

import { fetchGently } from "./link.js";
import { pictureAge } from "./words.js";

const STALE_MS = 500;
const PAUSE_MS = 25; // at most about 30 pictures a second
const BACK_OFF_MS = 1000;
const TIMEOUT_MS = 600; // the server holds a request for 200 ms

export class Picture {
  constructor(view) {
    this.view = view;
    this.canvas = view.querySelector("canvas");
    this.context = this.canvas.getContext("2d");
    this.ageLabel = view.querySelector("#age");
    this.staleLabel = view.querySelector("#stale");
    this.steeringKnob = view.querySelector("#steering-knob");
    this.throttleFill = view.querySelector("#throttle-fill");
    this.newest = -1;
    this.takenAt = null;
    this.showAge();
    setInterval(() => this.showAge(), 100);
    this.follow();
  }

  async follow() {
    for (;;) {
      if (document.hidden) {
        await new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }));
      }
      await pause((await this.fetchNext()) ? PAUSE_MS : BACK_OFF_MS);
    }
  }

  /** Get and draw one picture; false when the server cannot be reached or has no place. */
  async fetchNext() {
    try {
      const { response, body } = await fetchGently(`/preview.jpg?after=${this.newest}`, { timeoutMs: TIMEOUT_MS });
      if (response.status === 204) return true; // none newer
      if (!response.ok) return false;
      const age = Number(response.headers.get("X-Frame-Age-Ms"));
      this.newest = Number(response.headers.get("X-Frame-Number"));
      this.takenAt = performance.now() - age;
      this.draw(await createImageBitmap(body));
      return true;
    } catch (error) {
      return error.name === "AbortError"; // made room for a stop
    }
  }

  draw(bitmap) {
    if (this.canvas.width !== bitmap.width || this.canvas.height !== bitmap.height) {
      this.canvas.width = bitmap.width;
      this.canvas.height = bitmap.height;
    }
    this.context.drawImage(bitmap, 0, 0);
    bitmap.close();
    this.showAge();
  }

  /** Show what was last sent to the car. */
  showGauges({ steering_frac: steering, throttle_frac: throttle }) {
    this.steeringKnob.setAttribute("cx", String(154 - 80 * steering)); // positive is left
    this.throttleFill.setAttribute("x2", String(154 + 80 * throttle));
  }

  showAge() {
    const ageMs = this.takenAt === null ? Infinity : performance.now() - this.takenAt;
    const stale = ageMs > STALE_MS;
    this.view.classList.toggle("is-stale", stale);
    this.staleLabel.hidden = !stale;
    this.ageLabel.hidden = stale;
    if (this.takenAt === null) this.staleLabel.textContent = "No picture yet";
    else if (stale) this.staleLabel.textContent = `No new picture for ${(ageMs / 1000).toFixed(1)} s`;
    else this.ageLabel.textContent = `Live, ${pictureAge(ageMs)}`;
  }
}

function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
