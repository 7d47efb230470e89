// What every page has: the theme's button, dialogs, toasts, copying, and forms that send themselves.

import "./polled.js";

const THEMES = ["auto", "light", "dark"];
const SHOWN_MS = 6000;
const MOST_TOASTS = 4;

function theme() {
  return document.documentElement.dataset.theme ?? "auto";
}

function nameTheme() {
  for (const button of document.querySelectorAll("[data-theme-toggle]")) button.textContent = `Theme: ${theme()}`;
}

function nextTheme() {
  const next = THEMES[(THEMES.indexOf(theme()) + 1) % THEMES.length];
  if (next === "auto") {
    delete document.documentElement.dataset.theme;
    localStorage.removeItem("mainstem-theme");
  } else {
    document.documentElement.dataset.theme = next;
    localStorage.setItem("mainstem-theme", next);
  }
  nameTheme();
  document.dispatchEvent(new CustomEvent("mainstem:theme"));
}

/** Shows a sentence in the corner; errors stay until they are dismissed. */
export function toast(text, kind = "") {
  const place = document.getElementById("toasts");
  const box = document.createElement("div");
  box.className = `toast ${kind}`;
  const said = document.createElement("span");
  said.textContent = text;
  const button = document.createElement("button");
  button.type = "button";
  button.dataset.dismiss = "";
  button.setAttribute("aria-label", "Dismiss");
  button.textContent = "✕";
  box.append(said, button);
  place.append(box);
  while (place.children.length > MOST_TOASTS) place.firstElementChild.remove();
  if (kind !== "error") setTimeout(() => box.remove(), SHOWN_MS);
}

async function copy(button) {
  const source = document.getElementById(button.dataset.copy);
  const text = source ? source.textContent : button.dataset.copyText;
  try {
    await navigator.clipboard.writeText(text);
    toast("Copied.", "success");
  } catch {
    toast("The browser does not allow copying here: select the text instead.", "error");
  }
}

document.addEventListener("click", (event) => {
  const target = event.target.closest("[data-theme-toggle],[data-dialog],[data-close],[data-dismiss],[data-copy],[data-copy-text]");
  if (!target) return;
  if ("themeToggle" in target.dataset) nextTheme();
  else if (target.dataset.dialog) document.getElementById(target.dataset.dialog)?.showModal();
  else if ("close" in target.dataset) target.closest("dialog").close();
  else if ("dismiss" in target.dataset) target.closest(".toast").remove();
  else copy(target);
});

// A dangerous form's button works once the expected text was typed.
function guard(form) {
  const typed = form.querySelector("input[name=confirm]");
  const button = form.querySelector("button[type=submit]");
  if (typed && button) button.disabled = typed.value.trim() !== form.dataset.expect;
}
document.addEventListener("input", (event) => {
  const form = event.target.closest("form[data-expect]");
  if (form) guard(form);
});

// Filters apply as soon as they are changed; the button serves those without scripts.
document.addEventListener("change", (event) => {
  const form = event.target.closest("form[data-auto]");
  if (form) form.requestSubmit();
});

// No form is sent twice.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (event.defaultPrevented || form.method !== "post" || form.hasAttribute("hx-post")) return;
  const button = event.submitter;
  if (button) setTimeout(() => { button.disabled = true; }, 0);
});
window.addEventListener("pageshow", (event) => {
  if (event.persisted) for (const button of document.querySelectorAll("button[type=submit]:disabled")) button.disabled = false;
});

// `HX-Trigger: {"toast": {"text": ..., "kind": ...}}` in an answer
document.addEventListener("toast", (event) => toast(event.detail.text, event.detail.kind));
document.addEventListener("htmx:responseError", (event) => {
  let text = `The server answered ${event.detail.xhr.status}.`;
  try {
    text = JSON.parse(event.detail.xhr.responseText).detail ?? text;
  } catch { /* not a problem document */ }
  toast(text, "error");
});
document.addEventListener("htmx:afterSwap", () => prepare());

// Times come in UTC, which stays in their title; people read them in their own zone, by name.
const CLOCK = new Intl.DateTimeFormat("en-GB", {
  year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23",
  timeZoneName: "short",
});
const SHAPES = {
  second: (at) => `${at.year}-${at.month}-${at.day} ${at.hour}:${at.minute}:${at.second}`,
  minute: (at) => `${at.year}-${at.month}-${at.day} ${at.hour}:${at.minute}`,
  clock: (at) => `${at.hour}:${at.minute}:${at.second}`,
};
function localise() {
  for (const box of document.querySelectorAll("time[data-shape]")) {
    const at = Object.fromEntries(CLOCK.formatToParts(new Date(box.dateTime)).map((part) => [part.type, part.value]));
    box.textContent = `${SHAPES[box.dataset.shape](at)} ${at.timeZoneName}`;
    delete box.dataset.shape;
  }
}

function prepare() {
  nameTheme();
  localise();
  for (const form of document.querySelectorAll("form[data-expect]")) guard(form);
}
prepare();
for (const box of document.querySelectorAll("#toasts .toast:not(.error)")) setTimeout(() => box.remove(), SHOWN_MS);
