// Parts that are asked for again and again: not while nobody looks, and the page says when no answer comes any more.
// A run's page has a better ear for that (see live.js).

import { SILENT_MS, silence } from "./silence.js";

const POLLED = '[hx-trigger*="every "]';

let heard = Date.now();

document.addEventListener("htmx:beforeRequest", (event) => {
  if (document.hidden && event.target.matches(POLLED)) event.preventDefault();
});
document.addEventListener("htmx:afterRequest", ({ detail }) => {
  if (detail.successful) heard = Date.now();
});
document.addEventListener("visibilitychange", () => { heard = Date.now(); });

setInterval(() => {
  const silent = document.hidden ? 0 : Date.now() - heard;
  const shown = document.getElementById("silent");
  if (silent < SILENT_MS || document.getElementById("live") || !document.querySelector(POLLED)) {
    shown?.remove();
    return;
  }
  const words = `This page is ${silence(silent / 1000)}. It goes on by itself once the server answers.`;
  const place = shown ?? Object.assign(document.createElement("p"), { id: "silent", className: "note bad", role: "status" });
  if (place.textContent !== words) place.textContent = words;
  if (!shown) document.getElementById("content").prepend(place);
}, 1000);
