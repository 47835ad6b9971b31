/** Making and changing elements; text is always text, whatever a model is called. */

/** An element with attributes and children; `null` children are left out. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (key === "onclick") made.addEventListener("click", value);
    else made.setAttribute(key, value === true ? "" : String(value));
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ""));
  return made;
}

/** Set an element's text only when it differs: a live region speaks when it is set. */
export function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

/**
 * Make a list's items those of `things`, in their order: items are kept by key, made by `make(thing)` and
 * brought up to date by `update(item, thing)`, so that focus and scrolling stay.
 */
export function keep(list, things, keyOf, make, update) {
  const old = new Map([...list.children].map((item) => [item.dataset.key, item]));
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
