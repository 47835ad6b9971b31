/** Requests of the Models page. Reading gives way to an emergency stop; an upload starts over after one. */

import { fetchGently, token } from "./link.js";

const READ_MS = 4000;
const CHANGE_MS = 8000;
const ACTIVATE_MS = 30000; // the largest network takes a while to load
const NO_ANSWER = "The car's computer did not answer.";

/** What every change must carry. */
export function changeHeaders() {
  return { "X-Lapwing-Token": token() };
}

/** A document that is fetched again and again, and sent only when it has changed. */
export class Followed {
  constructor(url) {
    this.url = url;
    this.etag = "";
    this.document = null;
  }

  /** Look again. Returns whether it has changed; rejects when there is no answer. */
  async look() {
    /** @type {HeadersInit} */
    const headers = this.etag ? { "If-None-Match": this.etag } : {};
    const { response, body } = await fetchGently(this.url, { headers, timeoutMs: READ_MS });
    if (response.status === 304) return false;
    if (!response.ok) throw new Error(`status ${response.status}`);
    this.document = JSON.parse(await /** @type {Blob} */ (body).text());
    this.etag = response.headers.get("ETag") ?? "";
    return true;
  }
}

/** Read one document; null when there is no answer. */
export async function read(url) {
  try {
    const { response, body } = await fetchGently(url, { timeoutMs: READ_MS });
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

/**
 * Send a file; `progress` hears the share that has left. Returns `{done, abort}`: `done` resolves to the
 * server's document, or null when the connection was lost or `abort` was called.
 */
export function send(file, id, progress) {
  const request = new XMLHttpRequest();
  const done = new Promise((resolve) => {
    request.open("PUT", `/api/models?${new URLSearchParams({ name: file.name, id, ask: "1" })}`);
    request.setRequestHeader("Content-Type", "application/octet-stream");
    for (const [name, value] of Object.entries(changeHeaders())) request.setRequestHeader(name, value);
    request.responseType = "json";
    request.upload.addEventListener("progress", (event) => {
      if (event.lengthComputable && event.total > 0) progress(event.loaded / event.total);
    });
    request.addEventListener("load", () => resolve(request.response));
    request.addEventListener("error", () => resolve(null));
    request.addEventListener("abort", () => resolve(null));
    request.send(file);
  });
  return { done, abort: () => request.abort() };
}
