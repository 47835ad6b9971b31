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

/** Commands that work without a socket, and where. @type {Record<string, string>} */
const POSTS = {
  start: "/drive/start",
  stop: "/drive/stop",
  clear: "/drive/clear",
  renew_lease: "/drive/lease",
  speed_cap: "/drive/speed-cap",
};

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
    this.refusals = 0;
    this.underway = 0;
    this.count = 0;
    /** @type {Map<string, (answer: Answer) => void>} */
    this.waiting = new Map();
    if (document.body.dataset.sockets !== "no") this.connect();
    this.poll();
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
    });
    socket.addEventListener("message", (event) => this.hear(event.data));
    socket.addEventListener("close", (event) => {
      clearTimeout(slow);
      if (event.code === 4401) location.reload(); // signed out meanwhile: the server leads to the sign-in page
      this.refusals = wasOpen ? 0 : this.refusals + 1;
      for (const settle of this.waiting.values()) settle({ ok: false, error: "The connection broke before the car answered." });
      this.waiting.clear();
      setTimeout(() => this.connect(), Math.min(RECONNECT_LIMIT_MS, RECONNECT_MS * 2 ** this.refusals));
    });
  }

  /** @param {string} text */
  hear(text) {
    const message = JSON.parse(text);
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
    if (!(kind in POSTS)) return { ok: false, error: "This needs the live connection, which is not there at the moment." };
    const body = kind === "speed_cap" ? { page: this.page, ...fields } : { page: this.page, seen_ns: this.echoNs };
    return post(POSTS[kind], body);
  }

  /** Renew the lease, over whatever carries. */
  async renew() {
    if (this.tell("renew_lease") || this.underway >= 2) return;
    this.underway += 1;
    await post(POSTS.renew_lease, { page: this.page, seen_ns: this.echoNs }, { timeoutMs: 700 });
    this.underway -= 1;
  }

  nextId() {
    this.count += 1;
    return `c${this.count}`;
  }

  /** Ask for the status again and again while there is no socket. */
  async poll() {
    if (!this.isLive) {
      try {
        const { response, body } = await fetchGently(`/status?${this.query()}`);
        const text = response.ok && body ? await body.text() : "";
        if (text && !this.isLive) { // what a socket has overtaken is old
          const document = JSON.parse(text);
          this.see(document.server_ns);
          this.onStatus(document);
        }
      } catch {
        // Seen by its age: the page says that it has lost the car.
      }
    }
    setTimeout(() => this.poll(), POLL_MS);
  }
}
