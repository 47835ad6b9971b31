/** The camera's picture and how its light is spread, while a person looks; nothing is sent otherwise. */

import { readPicture } from "./wire.js";

const BINS = 64;
const SAMPLE = { width: 128, height: 96 };
const DARK = 8; // of 255: nothing to see
const BRIGHT = 247; // burnt out
const AGAIN_MS = 1000; // after a connection was lost, as long as somebody wants to see
const LOST = "The picture was lost; looking for it again";
const MUCH = 0.05; // of all pixels

/**
 * How bright the pixels of a picture are: shares in bins from dark to bright, and those at both ends.
 * @param {Uint8ClampedArray} rgba
 */
export function spread(rgba) {
  const bins = new Array(BINS).fill(0);
  let [dark, bright, sum] = [0, 0, 0];
  const count = rgba.length / 4;
  for (let k = 0; k < rgba.length; k += 4) {
    const level = (299 * rgba[k] + 587 * rgba[k + 1] + 114 * rgba[k + 2]) / 1000;
    bins[Math.min(BINS - 1, Math.floor((level * BINS) / 256))] += 1 / count;
    if (level < DARK) dark += 1 / count;
    if (level > BRIGHT) bright += 1 / count;
    sum += level / count;
  }
  return { bins, dark, bright, mean: sum };
}

/** What to do about it, in words. @param {{dark: number, bright: number, mean: number}} light */
export function lightWords({ dark, bright, mean }) {
  const percent = (/** @type {number} */ share) => `${Math.round(share * 100)} %`;
  const parts = [`On average ${Math.round((mean / 255) * 100)} % bright.`];
  if (bright > MUCH) parts.push(`${percent(bright)} is burnt out: expose shorter.`);
  if (dark > MUCH) parts.push(`${percent(dark)} is black: expose longer, or give more light.`);
  if (parts.length === 1) parts.push("Nothing is lost at either end.");
  return parts.join(" ");
}

export class Light {
  /** @param {HTMLElement} card @param {string} page */
  constructor(card, page) {
    this.page = page;
    this.card = card;
    this.button = /** @type {HTMLButtonElement} */ (card.querySelector("#light-show"));
    this.picture = /** @type {HTMLCanvasElement} */ (card.querySelector("#light-picture"));
    this.histogram = /** @type {HTMLCanvasElement} */ (card.querySelector("#histogram"));
    this.words = /** @type {HTMLElement} */ (card.querySelector("#light-words"));
    this.sample = new OffscreenCanvas(SAMPLE.width, SAMPLE.height);
    /** @type {WebSocket | null} */
    this.socket = null;
    this.saidMs = 0;
    this.button.addEventListener("click", () => (this.socket ? this.close() : this.open()));
    document.addEventListener("visibilitychange", () => { if (document.hidden) this.close(); });
  }

  open() {
    const socket = new WebSocket(`${location.origin.replace("http", "ws")}/ws/video?page=${this.page}`);
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    this.show(true);
    this.saidMs = 0;
    if (this.words.textContent !== LOST) this.words.textContent = "Waiting for a picture";
    socket.addEventListener("message", async (event) => {
      const picture = readPicture(event.data);
      if (!picture || this.socket !== socket) return;
      socket.send(JSON.stringify({ ack: picture.header.frame }));
      try {
        this.draw(await createImageBitmap(new Blob([picture.jpeg], { type: "image/jpeg" })));
      } catch {
        // Damaged: the next one replaces it.
      }
    });
    socket.addEventListener("close", () => {
      if (this.socket !== socket) return; // nobody wants to see it any more
      this.words.textContent = LOST;
      setTimeout(() => { if (this.socket === socket) this.open(); }, AGAIN_MS);
    });
  }

  close() {
    const socket = this.socket;
    this.socket = null;
    socket?.close();
    this.words.textContent = "";
    this.show(false);
  }

  get isOpen() {
    return this.socket !== null;
  }

  /** @param {boolean} isShown */
  show(isShown) {
    this.card.classList.toggle("is-open", isShown);
    this.button.textContent = isShown ? "Hide the picture" : "Show the picture and its light";
    for (const part of [this.picture, this.histogram]) part.hidden = !isShown;
  }

  /** @param {ImageBitmap} bitmap */
  draw(bitmap) {
    Object.assign(this.picture, { width: bitmap.width, height: bitmap.height });
    this.picture.getContext("2d")?.drawImage(bitmap, 0, 0);
    const small = /** @type {OffscreenCanvasRenderingContext2D} */ (this.sample.getContext("2d", { willReadFrequently: true }));
    small.drawImage(bitmap, 0, 0, SAMPLE.width, SAMPLE.height);
    bitmap.close();
    const light = spread(small.getImageData(0, 0, SAMPLE.width, SAMPLE.height).data);
    const context = /** @type {CanvasRenderingContext2D} */ (this.histogram.getContext("2d"));
    const { width, height } = this.histogram;
    const style = getComputedStyle(this.histogram);
    const most = Math.max(...light.bins, 0.02);
    context.clearRect(0, 0, width, height);
    light.bins.forEach((share, k) => {
      const isEnd = (k < 2 && light.dark > MUCH) || (k >= BINS - 2 && light.bright > MUCH);
      context.fillStyle = style.getPropertyValue(isEnd ? "--edge" : "--bar");
      context.fillRect((k * width) / BINS, height - (share / most) * height, width / BINS - 1, (share / most) * height);
    });
    const now = performance.now();
    if (now - this.saidMs < 1000) return; // words that change all the time cannot be read
    this.saidMs = now;
    this.words.textContent = lightWords(light);
  }
}
