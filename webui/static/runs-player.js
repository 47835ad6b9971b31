/** Plays a run: one clock for picture, curves and line. */

import { fetchGently } from "./link.js";

const PICTURE_MS = 4000;
const AGAIN_MS = 300;

export class Player {
  /**
   * @param {{picture: (bitmap: ImageBitmap | null) => void, moment: (moment: Moment | null) => void, time: (seconds: number) => void, playing: (isPlaying: boolean) => void}} shows
   */
  constructor(shows) {
    this.shows = shows;
    this.name = "";
    this.seconds = 0;
    this.pace = 1;
    this.isPlaying = false;
    this.duration = 0;
    this.lastMs = 0;
    this.isFetching = false;
    this.reading = new AbortController();
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) this.pause();
    });
  }

  /** Show another run from its beginning. @param {string} name @param {number} duration */
  load(name, duration) {
    this.leave();
    this.name = name;
    this.duration = duration;
    this.seek(0);
  }

  /** Play nothing, and ask no more for it. */
  leave() {
    this.pause();
    this.name = "";
    this.reading.abort();
    this.reading = new AbortController();
  }

  /** @param {number} seconds */
  seek(seconds) {
    this.seconds = Math.min(this.duration, Math.max(0, seconds));
    this.shows.time(this.seconds);
    this.fetch();
  }

  toggle() {
    if (this.isPlaying) this.pause();
    else this.play();
  }

  play() {
    if (!this.name || this.isPlaying) return;
    if (this.seconds >= this.duration) this.seek(0);
    this.isPlaying = true;
    this.lastMs = performance.now();
    this.shows.playing(true);
    requestAnimationFrame(() => this.step());
  }

  pause() {
    if (!this.isPlaying) return;
    this.isPlaying = false;
    this.shows.playing(false);
  }

  step() {
    if (!this.isPlaying) return;
    const now = performance.now();
    this.seek(this.seconds + ((now - this.lastMs) / 1000) * this.pace);
    this.lastMs = now;
    if (this.seconds >= this.duration) this.pause();
    else requestAnimationFrame(() => this.step());
  }

  /** Fetch the picture of now; while one is on its way, the next is that of the moment it arrives. */
  async fetch() {
    if (this.isFetching || !this.name) return;
    this.isFetching = true;
    const { signal } = this.reading;
    const wanted = { name: this.name, seconds: this.seconds };
    try {
      const { response, body } = await fetchGently(`/api/runs/${encodeURIComponent(wanted.name)}/picture?t_s=${wanted.seconds.toFixed(3)}`, { timeoutMs: PICTURE_MS, signal });
      const bitmap = response.status === 200 && body ? await createImageBitmap(body) : null;
      if (wanted.name === this.name && response.ok) {
        this.shows.picture(bitmap);
        this.shows.moment(JSON.parse(response.headers.get("Lapwing-Moment") ?? "null"));
      }
    } catch {
      if (!signal.aborted) await new Promise((resolve) => setTimeout(resolve, AGAIN_MS)); // ended by a stop, or the connection is lost
    }
    this.isFetching = false;
    if (signal.aborted || this.name !== wanted.name || this.seconds !== wanted.seconds) this.fetch();
  }
}
