/** A model's file on its way to the car; after an emergency stop it starts over. */

import { changeHeaders } from "./requests.js";

/**
 * Send a file; `progress` hears the share that has left. Returns `{done, abort}`: `done` resolves to the
 * server's document, or null when the connection was lost or `abort` was called.
 * @param {File} file
 * @param {string} id
 * @param {(share: number) => void} progress
 * @returns {Sending}
 */
export function send(file, id, progress) {
  const request = new XMLHttpRequest();
  /** @type {Promise<UploadState | null>} */
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
