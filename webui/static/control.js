/**
 * The page's line to the car: one WebSocket for status, lease and commands; POST where a socket is refused.
 *
 * Every command says what the page had seen last (`echo_ns`), so that one which was held up on the way
 * is dropped instead of obeyed late.
 */

import { fetchGently, post } from "./link.js";

const POLL_MS = 200;
const REPLY_MS = 1500;
const RECONNECT_MS = 500;
const RECONNECT_LIMIT_MS = 4000;
const QUEUE_LIMIT_BYTES = 2048; // what has not left yet is old already: do not add to it
const OPEN_MS = 3000;
const SILENCE_MS = 2000; // the server tells ten times a second: a line that says nothing leads nowhere
const LOOK_MS = 300; // a command by POST may bear no older stamp
const RENEW_MS = 700;
const STOPPING = new Set(["stop", "release_lease"]); // obeyed however late they come

export class Control {
  /**
   * @param {string} page secret of this page
   * @param {(document: StatusDocument) => void} onStatus
   * @param {() => string} query what the status of a poll is asked with
   */
  constructor(page, onStatus, query) {
    this.page = page;
    this.onStatus = onStatus;
    this.query = query;
    this.echoNs = 0;
    /** @type {WebSocket | null} */
    this.socket = null;
    this.heardMs = performance.now();
    this.refusals = 0;
    this.underway = 0;
    this.count = 0;
    /** @type {Map<string, (answer: Answer) => void>} */
    this.waiting = new Map();
    this.connect();
    setTimeout(() => this.poll(), POLL_MS); // by then the socket has spoken, where there is one
  }

  /** Whether commands go over the socket now. */
  get isLive() {
    return this.socket?.readyState === WebSocket.OPEN;
  }

  connect() {
    const socket = new WebSocket(`${location.origin.replace("http", "ws")}/ws/control?page=${this.page}`);
    const slow = setTimeout(() => socket.close(), OPEN_MS);
    let wasOpen = false;
    this.socket = socket;
    socket.addEventListener("open", () => {
      clearTimeout(slow);
      wasOpen = true;
      this.refusals = 0;
      this.heardMs = performance.now();
    });
    socket.addEventListener("message", (event) => {
      if (this.socket === socket) this.hear(event.data);
    });
    socket.addEventListener("close", (event) => {
      clearTimeout(slow);
      if (event.code === 4401) location.reload(); // signed out meanwhile: the server leads to the sign-in page
      if (this.socket === socket) this.lose(wasOpen);
    });
  }

  /** Give a socket up, and try another one after a while. @param {boolean} wasOpen */
  lose(wasOpen) {
    this.socket = null;
    this.refusals = wasOpen ? 0 : this.refusals + 1;
    for (const settle of this.waiting.values()) settle({ ok: false, error: "The connection broke before the car answered." });
    this.waiting.clear();
    setTimeout(() => this.connect(), Math.min(RECONNECT_LIMIT_MS, RECONNECT_MS * 2 ** this.refusals));
  }

  /** Leave a line that has fallen silent, as after another Wi-Fi: the browser itself would wait for a minute. */
  leaveSilence() {
    const socket = this.socket;
    if (socket?.readyState !== WebSocket.OPEN || performance.now() - this.heardMs < SILENCE_MS) return;
    this.lose(true);
    socket.close();
  }

  /** @param {string} text */
  hear(text) {
    const message = JSON.parse(text);
    this.heardMs = performance.now();
    if (message.kind === "status") {
      this.see(message.server_ns);
      this.onStatus(message);
    } else if (message.kind === "reply") {
      this.see(message.server_ns ?? 0);
      this.waiting.get(message.id)?.(message);
      this.waiting.delete(message.id);
    }
  }

  /** Note a stamp of the server. @param {number} serverNs */
  see(serverNs) {
    this.echoNs = Math.max(this.echoNs, serverNs);
  }

  /** Tell without waiting for an answer; false when it could not leave at once. @param {string} kind @param {object} fields */
  tell(kind, fields = {}) {
    const socket = this.socket;
    if (!socket || socket.readyState !== WebSocket.OPEN || socket.bufferedAmount > QUEUE_LIMIT_BYTES) return false;
    socket.send(JSON.stringify({ kind, id: this.nextId(), echo_ns: this.echoNs, ...fields }));
    return true;
  }

  /** Ask, and return the car's answer; never rejects. @param {string} kind @param {object} fields @returns {Promise<Answer>} */
  async ask(kind, fields = {}) {
    const socket = this.socket;
    if (socket && socket.readyState === WebSocket.OPEN) {
      const id = this.nextId();
      return new Promise((resolve) => {
        const late = setTimeout(() => {
          this.waiting.delete(id);
          resolve({ ok: false, error: "The car's computer did not answer." });
        }, REPLY_MS);
        this.waiting.set(id, (answer) => {
          clearTimeout(late);
          resolve(answer);
        });
        socket.send(JSON.stringify({ kind, id, echo_ns: this.echoNs, ...fields }));
      });
    }
    const isLooking = STOPPING.has(kind) || (await this.look(LOOK_MS));
    return isLooking ? this.post(kind, fields) : { ok: false, error: "The car's computer did not answer." };
  }

  /** Ask by POST. @param {string} kind @param {object} fields @returns {Promise<Answer>} */
  post(kind, fields = {}, timing = {}) {
    const path = `/api/drive/${kind.replaceAll("_", "-")}?page=${this.page}`;
    return post(path, { echo_ns: this.echoNs, ...fields }, timing);
  }

  /** Tell over whatever carries, without waiting for an answer. @param {string} kind */
  send(kind) {
    if (!this.tell(kind)) this.post(kind);
  }

  /** Renew the lease, over whatever carries. */
  async renew() {
    if (this.tell("renew_lease") || this.underway >= 2) return;
    this.underway += 1;
    await this.post("renew_lease", {}, { timeoutMs: RENEW_MS });
    this.underway -= 1;
  }

  nextId() {
    this.count += 1;
    return `c${this.count}`;
  }

  /** Ask for the status again and again while there is no socket. */
  async poll() {
    this.leaveSilence();
    if (!this.isLive) await this.look();
    setTimeout(() => this.poll(), POLL_MS);
  }

  /** Ask for the status once; false when it did not come, which the page sees by its age too. */
  async look(timeoutMs = 1000) {
    try {
      const { response, body } = await fetchGently(`/api/status?page=${this.page}&${this.query()}`, { timeoutMs });
      if (!response.ok || !body) return false;
      const document = JSON.parse(await body.text());
      this.see(document.server_ns);
      if (!this.isLive) this.onStatus(document); // what a socket has overtaken is old
      return true;
    } catch {
      return false;
    }
  }
}
