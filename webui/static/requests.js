/** Documents of the car's computer, and changes to them. Reading gives way to an emergency stop. */

import { fetchGently, token } from "./link.js";

const READ_MS = 4000;
const CHANGE_MS = 8000;
const ACTIVATE_MS = 30000; // the largest network takes a while to load
const NO_ANSWER = "The car's computer did not answer.";

/** What every change must carry. */
export function changeHeaders() {
  return { "X-Lapwing-Token": token() };
}

/**
 * A document that is fetched again and again, and sent only when it has changed.
 * @template Document
 */
export class Followed {
  /** @param {string} url */
  constructor(url) {
    this.url = url;
    this.etag = "";
    this.asked = 0;
    /** @type {Document | null} */
    this.document = null;
  }

  /** Look again. Returns whether it has changed; rejects when there is no answer. */
  async look() {
    /** @type {HeadersInit} */
    const headers = this.etag ? { "If-None-Match": this.etag } : {};
    const asked = ++this.asked;
    const { response, body } = await fetchGently(this.url, { headers, timeoutMs: READ_MS });
    if (response.status === 304) return false;
    if (!response.ok) throw new Error(`status ${response.status}`);
    const document = JSON.parse(await /** @type {Blob} */ (body).text());
    if (asked !== this.asked) return false; // older than what is on its way
    this.document = document;
    this.etag = response.headers.get("ETag") ?? "";
    return true;
  }
}

/** Read one document; null when there is no answer. @param {string} url @param {AbortSignal} [signal] @returns {Promise<any>} */
export async function read(url, signal) {
  try {
    const { response, body } = await fetchGently(url, { timeoutMs: READ_MS, signal });
    return response.ok && body ? JSON.parse(await body.text()) : null;
  } catch {
    return null;
  }
}

/**
 * Ask for a change. Returns `{ok, error, ...}`; never rejects.
 * @param {string} method
 * @param {string} url
 * @param {object | null} body
 * @returns {Promise<{ok: boolean, error: string, [field: string]: any}>}
 */
export async function change(method, url, body = null) {
  try {
    const response = await fetch(url, {
      method,
      headers: { ...changeHeaders(), ...(body === null ? {} : { "Content-Type": "application/json" }) },
      body: body === null ? null : JSON.stringify(body),
      signal: AbortSignal.timeout(url.endsWith("/activate") ? ACTIVATE_MS : CHANGE_MS),
    });
    const document = await response.json();
    return response.ok ? { ...document, ok: true } : { ok: false, error: document.error ?? NO_ANSWER };
  } catch {
    return { ok: false, error: NO_ANSWER };
  }
}
