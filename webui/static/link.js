/**
 * Requests to the car's computer.
 *
 * A browser opens six connections to one server, for all its tabs together. So nothing here is held
 * long, and an emergency stop first ends this page's own waiting requests to make room for itself.
 */

const waiting = new Set();

/** What every change by this session carries, so that no other site can make one in its name. */
export function token() {
  /** @type {HTMLMetaElement | null} */
  const meta = document.querySelector('meta[name="csrf"]');
  return meta?.content ?? "";
}

/**
 * Send a request that may be ended at any time in favour of a stop, or by `signal`; rejects when it is.
 * @param {string} url
 * @param {RequestInit & {timeoutMs?: number}} options
 */
export async function fetchGently(url, { timeoutMs = 1000, signal, ...options } = {}) {
  const controller = new AbortController();
  const abort = () => controller.abort();
  const timer = setTimeout(abort, timeoutMs);
  if (signal?.aborted) abort();
  signal?.addEventListener("abort", abort);
  waiting.add(controller);
  try {
    const response = await fetch(url, { ...options, signal: controller.signal });
    const body = response.status === 204 ? null : await response.blob();
    return { response, body };
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", abort);
    waiting.delete(controller);
  }
}

/** End every gentle request now. */
export function makeRoom() {
  for (const controller of waiting) controller.abort();
  waiting.clear();
}

/** Ask for a change. Returns `{ok, error, server_ns}`; never rejects. @param {string} path @param {object} body */
export async function post(path, body, { timeoutMs = 1500 } = {}) {
  try {
    const response = await fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-Lapwing-Token": token() },
      body: JSON.stringify(body),
      priority: "high",
      keepalive: true, // outlives the page: leaving it stops the car
      signal: AbortSignal.timeout(timeoutMs),
    });
    const answer = await response.json();
    if (response.status === 401) location.reload(); // signed out meanwhile: the server leads to the sign-in page
    return response.ok ? answer : { ok: false, error: answer.error };
  } catch {
    return { ok: false, error: "The car's computer did not answer." };
  }
}
