// Several runs' curves in one chart.

import { Chart } from "./charts.js";
import { figures } from "./fetching.js";

let chart = null;
await draw();
document.addEventListener("htmx:afterSettle", draw); // another metric was chosen

async function draw() {
  chart?.close();
  chart = null;
  const box = document.getElementById("overlay");
  const told = box && await figures(box.dataset.source);
  if (!told) return;
  const { rounds, runs } = told;
  const names = Object.keys(runs);
  const series = names.map((label, index) => ({ label, colour: `m${index + 1}`, width: 2.25, points: true, always: true }));
  chart = new Chart(box, series);
  chart.set([rounds, ...names.map((name) => runs[name])]);
}
