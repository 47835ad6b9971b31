/** What is said in passing: a line above the stop, with an undo where there is one, and words for screen readers. */

const TOAST_MS = 8000;

/** @param {string} id @returns {any} */
const byId = (id) => document.getElementById(id);
let timer = 0;

/** Say it to those who cannot see what has changed; on every page. @param {string} words */
export function say(words) {
  const news = byId("news");
  news.textContent = news.textContent === words ? `${words}\u00a0` : words; // the same again is news, too
}

/** Show it for a while; with `undo`, a button that takes it back. @param {string} words @param {(() => void) | null} undo */
export function toast(words, undo = null) {
  clearTimeout(timer);
  byId("toast-words").textContent = words;
  say(words);
  byId("toast").hidden = false;
  byId("toast-undo").hidden = !undo;
  byId("toast-undo").onclick = () => {
    byId("toast").hidden = true;
    undo?.();
  };
  timer = setTimeout(leave, TOAST_MS);
}

/** Let it go, but not from under somebody's hand. */
function leave() {
  if (byId("toast").matches(":hover, :focus-within")) timer = setTimeout(leave, TOAST_MS / 4);
  else byId("toast").hidden = true;
}

/** Put the focus on the undo: what had it is gone. */
export function focusUndo() {
  byId("toast-undo").focus({ preventScroll: true });
}
