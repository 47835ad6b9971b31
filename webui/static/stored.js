/** What a browser keeps for this page; one that keeps nothing does no harm. */

/** @param {string} name @returns {string | null} */
export function stored(name) {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}

/** @param {string} name @param {string} value */
export function store(name, value) {
  try {
    localStorage.setItem(name, value);
  } catch {
    // It keeps nothing: the next visit begins with what is usual.
  }
}
