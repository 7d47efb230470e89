// Several runs' curves in one chart.

import { Chart } from "./charts.js";

const box = document.getElementById("overlay");
if (box) {
  const answer = await fetch(box.dataset.source);
  if (answer.ok) {
    const { rounds, runs } = await answer.json();
    const names = Object.keys(runs);
    const series = names.map((label, index) => ({ label, colour: `m${index + 1}`, width: 2.25, points: rounds.length < 60 }));
    new Chart(box, series).set([rounds, ...names.map((name) => runs[name])]);
  }
}
