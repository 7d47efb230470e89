// What a person chooses about a part of a page (its metric, its rounds) goes into the address, and the part alone is
// asked for again: the page neither reloads nor jumps, and the address brings the same page back.
/* global htmx */

/** Set parameters of the address (an empty one goes), then ask for the `part` again. */
export function choose(changes, part) {
  const address = new URL(location.href);
  for (const [name, value] of Object.entries(changes)) {
    if (value === "") address.searchParams.delete(name);
    else address.searchParams.set(name, value);
  }
  history.replaceState(null, "", address);
  htmx.trigger(part, "mainstem:chosen");
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-choose]");
  if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  const part = link.closest("[data-part]");
  part.dataset.focus = `[data-choose="${CSS.escape(link.dataset.choose)}"]`;
  choose(Object.fromEntries(new URLSearchParams(link.dataset.choose)), part);
});

document.addEventListener("submit", (event) => {
  const form = event.target.closest("form[data-choose]");
  if (!form) return;
  event.preventDefault();
  const part = form.closest("[data-part]");
  part.dataset.focus = "form[data-choose] button";
  const names = form.dataset.choose.split(" "); // its other fields only carry the rest of the address
  choose(Object.fromEntries([...new FormData(form)].filter(([name]) => names.includes(name))), part);
});

// A part is asked for as the address now is, whatever it was when the page came.
document.addEventListener("htmx:configRequest", (event) => {
  if (event.target.matches("[data-part]")) event.detail.path += location.search;
});

document.addEventListener("htmx:afterSwap", (event) => {
  const part = event.target;
  if (!part.dataset?.focus) return;
  part.querySelector(part.dataset.focus)?.focus({ preventScroll: true });
  delete part.dataset.focus;
});
