/** Making and changing elements; text is always text, whatever a model is called. */

/**
 * An element with attributes and children; what is null or empty is left out.
 * @template {keyof HTMLElementTagNameMap} Name
 * @param {Name} name
 * @param {Record<string, any>} attributes `onclick` is listened to
 * @param {Child[]} children
 * @returns {HTMLElementTagNameMap[Name]}
 */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (key === "onclick") made.addEventListener("click", value);
    else made.setAttribute(key, value === true ? "" : String(value));
  }
  const parts = /** @type {(Node | string | null | undefined)[]} */ (children.flat(2));
  for (const child of parts) if (child) made.append(child);
  return made;
}

/** The one part of `place` that is there for certain. @param {ParentNode} place @param {string} selector @returns {any} */
export function part(place, selector) {
  return place.querySelector(selector);
}

/**
 * Set an element's text only when it differs: a live region speaks when it is set.
 * What the server puts in backticks, as a command, stands in quotation marks.
 * @param {Element} target @param {string} text
 */
export function setText(target, text) {
  const words = text.replaceAll(/`([^`]*)`/g, "“$1”");
  if (target.textContent !== words) target.textContent = words;
}

/**
 * Make a list's items those of `things`, in their order: items are kept by key, made by `make(thing)` and
 * brought up to date by `update(item, thing)`, so that focus and scrolling stay.
 * @template Thing
 * @param {HTMLElement} list
 * @param {readonly Thing[]} things
 * @param {(thing: Thing) => string} keyOf
 * @param {(thing: Thing) => HTMLElement} make
 * @param {(item: any, thing: Thing) => void} update
 */
export function keep(list, things, keyOf, make, update = () => {}) {
  const items = /** @type {HTMLElement[]} */ ([...list.children]);
  const old = new Map(items.map((item) => [item.dataset.key, item]));
  let place = list.firstElementChild;
  for (const thing of things) {
    const key = keyOf(thing);
    let item = old.get(key);
    old.delete(key);
    if (!item) {
      item = make(thing);
      item.dataset.key = key;
    }
    update(item, thing);
    if (item === place) place = place.nextElementSibling;
    else list.insertBefore(item, place);
  }
  for (const item of old.values()) item.remove();
}
