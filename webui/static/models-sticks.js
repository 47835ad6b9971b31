/** USB sticks on the Models page: what is on them, and a button that adds one file as an upload. */

import { element, keep, part, setText } from "./dom.js";
import { change, read } from "./requests.js";

const LOOK_MS = 4000;

const byId = (/** @type {string} */ id) => /** @type {any} */ (document.getElementById(id));

/** @param {() => void} onAdded called when something is on its way */
export async function followSticks(onAdded) {
  const seen = await read("/api/sticks");
  if (seen) show(seen, onAdded);
  setTimeout(() => followSticks(onAdded), LOOK_MS);
}

/** @param {SticksDocument} seen @param {() => void} onAdded */
function show({ sight, problem }, onAdded) {
  const { sticks, unmounted } = sight;
  byId("sticks-section").hidden = sticks.length === 0 && unmounted.length === 0;
  if (problem) return;
  keep(byId("sticks"), sticks, (stick) => stick.id, () => element("li", { class: "stick" }, element("h3"), element("p", { class: "faint" }), element("ul", { class: "archives" })), (row, stick) => {
    setText(part(row, "h3"), stick.name);
    setText(part(row, "p"), wordsOf(stick));
    keep(part(row, "ul"), stick.archives, (each) => each.path, () => element("li"), (item, each) => {
      if (item.childElementCount) return;
      const words = element("p", { class: "words" });
      item.append(
        element("div", {}, element("bdi", { class: "path" }, each.path), " ", element("span", { class: "faint" }, size(each.size_bytes)), words),
        element("button", { type: "button", class: "small", "aria-label": `Add ${each.path}`, onclick: (/** @type {MouseEvent} */ event) => add(/** @type {HTMLButtonElement} */ (event.currentTarget), words, stick, each, onAdded) }, "Add"));
    });
  });
  setText(byId("sticks-unmounted"), unmounted.length ? `${unmounted.join(", ")}: plugged in, and nothing has mounted it. How a car does that by itself stands in docs/settings.md.` : "");
}

/** @param {HTMLButtonElement} button @param {HTMLElement} words @param {Stick} stick @param {{path: string}} archive @param {() => void} onAdded */
async function add(button, words, stick, archive, onAdded) {
  button.disabled = true;
  const answer = await change("POST", "/api/sticks/add", { stick: stick.id, path: archive.path });
  button.disabled = false;
  setText(words, answer.ok ? "" : answer.error);
  if (answer.ok) onAdded();
}

/** @param {Stick} stick */
function wordsOf(stick) {
  if (stick.problem) return stick.problem;
  if (stick.archives.length === 0) return "No model on it: .tar.gz, .zip, .onnx or .pb, at its top or up to three folders down.";
  return stick.has_more ? "The first of its files; there are more than are looked at." : "Copied and checked; nothing on the stick is changed.";
}

/** @param {number} bytes */
function size(bytes) {
  return bytes >= 1e6 ? `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB` : `${Math.max(1, Math.round(bytes / 1e3))} kB`;
}
