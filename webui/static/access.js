/** The page Access: copies a new key or link. Everything else on it is plain forms. */

/** Copy what is selected; over plain HTTP, where a browser gives no clipboard, in the old way. @param {string} text */
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return document.execCommand("copy");
  }
}

for (const button of /** @type {NodeListOf<HTMLButtonElement>} */ (document.querySelectorAll("[data-copy]"))) {
  const field = /** @type {HTMLInputElement} */ (document.getElementById(button.dataset.copy ?? ""));
  field.addEventListener("focus", () => field.select());
  button.addEventListener("click", async () => {
    field.select();
    button.textContent = (await copy(field.value)) ? "Copied" : "Copy it by hand";
  });
}
