// Puts the chosen theme on the page before it is painted. Loaded in the head, as a plain script.
const kept = localStorage.getItem("mainstem-theme");
if (kept === "light" || kept === "dark") document.documentElement.dataset.theme = kept;
