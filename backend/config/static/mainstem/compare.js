// Several runs' curves in one chart.

import { Chart } from "./charts.js";
import { figures } from "./fetching.js";

const box = document.getElementById("overlay");
if (box) {
  const told = await figures(box.dataset.source);
  if (told) {
    const { rounds, runs } = told;
    const names = Object.keys(runs);
    const series = names.map((label, index) => ({ label, colour: `m${index + 1}`, width: 2.25, points: true }));
    new Chart(box, series).set([rounds, ...names.map((name) => runs[name])]);
  }
}
