/** The live pictures: newest only, with their age, grey as soon as they are old. */

import { drawDecision } from "./overlay.js";
import { readPicture } from "./wire.js";
import { pictureAge } from "./words.js";

const STALE_MS = 500;
const RECONNECT_MS = 700;
const SILENCE_MS = 4000; // a line to nowhere is left; one of a camera that has stopped is opened anew for nothing

export class Pictures {
  /**
   * @param {HTMLElement} view
   * @param {string} page secret of this page
   * @param {(serverNs: number) => void} see
   * @param {() => Car | null} car
   */
  constructor(view, page, see, car) {
    this.view = view;
    this.page = page;
    this.see = see;
    this.car = car;
    this.camera = /** @type {HTMLCanvasElement} */ (view.querySelector("#picture"));
    this.policy = /** @type {HTMLCanvasElement} */ (view.querySelector("#policy-picture"));
    this.ageLabel = /** @type {HTMLElement} */ (view.querySelector("#age"));
    this.staleLabel = /** @type {HTMLElement} */ (view.querySelector("#stale"));
    /** @type {number | null} */
    this.takenMs = null;
    this.isDecoding = false;
    /** @type {{header: PictureHeader, jpeg: BlobPart} | null} */
    this.next = null;
    /** @type {WebSocket | null} */
    this.socket = null;
    this.isRefused = false;
    this.heardMs = performance.now();
    this.showAge();
    setInterval(() => {
      this.showAge();
      this.leaveSilence();
    }, 100);
    document.addEventListener("visibilitychange", () => this.followVisibility());
    this.followVisibility();
  }

  /** Nobody looks at a hidden page: it has no socket, and costs the car nothing. */
  followVisibility() {
    if (document.hidden) this.socket?.close();
    else this.connect();
  }

  connect() {
    if (document.hidden || (this.socket && this.socket.readyState <= WebSocket.OPEN)) return;
    const socket = new WebSocket(`${location.origin.replace("http", "ws")}/ws/video?page=${this.page}`);
    let wasOpen = false;
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    this.heardMs = performance.now();
    socket.addEventListener("open", () => {
      wasOpen = true;
      this.isRefused = false;
      this.heardMs = performance.now();
    });
    socket.addEventListener("message", (event) => {
      const picture = readPicture(event.data);
      if (!picture || this.socket !== socket) return;
      this.heardMs = performance.now();
      this.see(picture.header.server_ns);
      this.take(picture, () => {
        if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ ack: picture.header.frame }));
      });
    });
    socket.addEventListener("close", () => {
      if (this.socket !== socket) return;
      if (!wasOpen) this.isRefused = true;
      setTimeout(() => this.connect(), wasOpen ? RECONNECT_MS : 5 * RECONNECT_MS);
    });
  }

  leaveSilence() {
    const socket = this.socket;
    if (socket?.readyState !== WebSocket.OPEN || performance.now() - this.heardMs < SILENCE_MS) return;
    this.socket = null;
    socket.close();
    this.connect();
  }

  /**
   * Draw the newest of what has come; what a newer one overtakes is acknowledged and never drawn.
   * @param {{header: PictureHeader, jpeg: BlobPart}} picture
   * @param {() => void} acknowledge
   */
  async take(picture, acknowledge) {
    const receivedMs = performance.now();
    acknowledge();
    this.next = picture;
    if (this.isDecoding) return;
    this.isDecoding = true;
    while (this.next) {
      const { header, jpeg } = this.next;
      this.next = null;
      try {
        await this.draw(header, new Blob([jpeg], { type: "image/jpeg" }), receivedMs);
      } catch {
        // Damaged: the next one replaces it, and its age tells.
      }
    }
    this.isDecoding = false;
  }

  /** @param {PictureHeader} header @param {Blob} jpeg */
  async draw(header, jpeg, receivedMs = performance.now()) {
    const bitmap = await createImageBitmap(jpeg);
    this.takenMs = receivedMs - header.age_ms;
    const unshown = { camera: this.policy, policy: this.camera }[this.view.dataset.show ?? ""];
    for (const canvas of [this.camera, this.policy]) {
      if (canvas === unshown) continue;
      if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
        canvas.width = bitmap.width;
        canvas.height = bitmap.height;
      }
      canvas.getContext("2d")?.drawImage(bitmap, 0, 0);
    }
    if (this.policy !== unshown) drawDecision(this.view, bitmap, header, this.car());
    bitmap.close();
    this.showAge();
  }

  showAge() {
    const ageMs = this.takenMs === null ? Infinity : performance.now() - this.takenMs;
    const stale = ageMs > STALE_MS;
    this.view.classList.toggle("is-stale", stale);
    this.staleLabel.hidden = !stale;
    this.ageLabel.hidden = stale;
    if (this.takenMs === null) this.staleLabel.textContent = this.isRefused ? "No picture: the live connection is refused" : "No picture yet";
    else if (stale) this.staleLabel.textContent = `No new picture for ${(ageMs / 1000).toFixed(1)} s`;
    else this.ageLabel.textContent = `Live, ${pictureAge(ageMs)}`;
  }
}
