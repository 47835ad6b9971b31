/** Puts a person's hands on the car: touch stick, keys and game controller, and every way to let go. */

import { Hands, drives, pulled } from "./hands.js";

const EMERGENCY_BUTTON = 1; // B, or the circle

export class DrivingInputs {
  /**
   * @param {HTMLElement} pad where a finger steers
   * @param {{mayDrive: () => boolean, steers: () => boolean, letGo: () => void, stop: () => void}} page
   */
  constructor(pad, page) {
    this.hands = new Hands();
    this.pad = pad;
    this.knob = /** @type {HTMLElement} */ (pad.querySelector(".knob"));
    this.page = page;
    /** @type {number | null} */
    this.finger = null;
    this.origin = { x: 0, y: 0 };
    this.emergencyHeld = true; // a button that is down when the controller is found stops nothing

    pad.addEventListener("pointerdown", (event) => this.touch(event));
    pad.addEventListener("pointermove", (event) => this.pull(event));
    pad.addEventListener("pointerup", (event) => this.lift(event));
    for (const kind of ["pointercancel", "lostpointercapture"]) {
      pad.addEventListener(kind, (event) => {
        if (/** @type {PointerEvent} */ (event).pointerId === this.finger) this.neutral();
      });
    }
    addEventListener("keydown", (event) => this.key(event), { capture: true });
    addEventListener("keyup", (event) => this.hands.release(event.code), { capture: true });
    for (const kind of ["blur", "pagehide", "gamepaddisconnected"]) addEventListener(kind, () => this.neutral());
    document.addEventListener("visibilitychange", () => this.neutral());
    document.addEventListener("freeze", () => this.neutral());
  }

  /** Let go of everything, and tell the car in the same breath. */
  neutral() {
    this.finger = null;
    this.pad.classList.remove("is-held");
    this.showKnob(0, 0);
    this.hands.neutral();
    this.page.letGo();
  }

  /** Return what to send now. @param {number} nowMs */
  step(nowMs) {
    this.readController(nowMs);
    const wants = this.hands.step(nowMs);
    return this.page.steers() ? wants : { ...wants, steering_frac: 0 };
  }

  /** @param {PointerEvent} event */
  touch(event) {
    if (this.finger !== null || !this.page.mayDrive()) return;
    event.preventDefault();
    this.finger = event.pointerId;
    this.pad.setPointerCapture(event.pointerId);
    this.origin = { x: event.clientX, y: event.clientY };
    const box = this.pad.getBoundingClientRect();
    this.pad.style.setProperty("--stick-x", `${event.clientX - box.left}px`);
    this.pad.style.setProperty("--stick-y", `${event.clientY - box.top}px`);
    this.pad.classList.add("is-held");
    this.hands.stick = pulled(0, 0, this.radius);
  }

  /** @param {PointerEvent} event */
  pull(event) {
    if (event.pointerId !== this.finger) return;
    const right = this.page.steers() ? event.clientX - this.origin.x : 0;
    const down = event.clientY - this.origin.y;
    this.hands.stick = pulled(right, down, this.radius);
    const length = Math.hypot(right, down);
    const shown = length > this.radius ? this.radius / length : 1;
    this.showKnob(right * shown, down * shown);
  }

  /** @param {PointerEvent} event */
  lift(event) {
    if (event.pointerId !== this.finger) return;
    this.finger = null;
    this.hands.stick = null; // the car rolls to neutral as a foot leaves the pedal
    this.pad.classList.remove("is-held");
    this.showKnob(0, 0);
  }

  get radius() {
    return Math.min(110, Math.max(60, this.pad.clientHeight * 0.42));
  }

  /** @param {number} right @param {number} down */
  showKnob(right, down) {
    this.knob.style.translate = `${right}px ${down}px`;
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    if (!drives(event.code) || event.ctrlKey || event.metaKey || event.altKey || !this.page.mayDrive()) return;
    const target = /** @type {HTMLElement} */ (event.target);
    if (target.closest?.("input:not([type=range], [type=radio]), select, textarea")) return;
    event.preventDefault(); // neither scrolls the page nor moves a slider
    event.stopImmediatePropagation();
    this.hands.press(event.code);
  }

  /** @param {number} nowMs */
  readController(nowMs) {
    const controller = this.watchController();
    if (controller) this.hands.report(controller.axes, controller.buttons.map((button) => button.value), nowMs);
  }

  /** Stop where its button asks for that, whoever steers; return the controller that has this page's ear. */
  watchController() {
    const controller = navigator.getGamepads?.().find((one) => one?.connected && one.mapping === "standard");
    if (!controller || document.hidden || !document.hasFocus()) return null;
    const isDown = controller.buttons[EMERGENCY_BUTTON]?.pressed ?? false;
    if (isDown && !this.emergencyHeld) this.page.stop();
    this.emergencyHeld = isDown;
    return controller;
  }
}
