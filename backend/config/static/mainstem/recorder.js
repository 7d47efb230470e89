// The flight recorder: the run's own events, put on a clock that a person moves.

import { learning } from "./charts.js";
import { Grid } from "./grid.js";

const FRAME_MS = 100;

const box = document.getElementById("recorder");
const slider = document.getElementById("at");
const play = document.getElementById("play");
const speed = document.getElementById("speed");
const clock = document.getElementById("clock");
const metric = box.dataset.metric;
const grid = new Grid(document.getElementById("grid"));
const clients = [...grid.rows.keys()];
const chart = metric ? learning(document.getElementById("curves"), clients) : null;

let tape = [];
let next = 0; // the first event that has not happened yet
let first = 0;
let timer = 0;
let state = "–";
const made = new Map(); // the version of each round

await read();

async function read() {
  try {
    const answer = await fetch(box.dataset.tape);
    if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
    tape = (await answer.text()).split("\n").filter(Boolean).map((line) => JSON.parse(line));
  } catch (error) {
    clock.value = `the log cannot be read: ${error.message}`;
    return;
  }
  if (!tape.length) {
    clock.value = "nothing has happened yet";
    return;
  }
  first = tape[0].at;
  const span = Math.max(1, tape.at(-1).at - first);
  const step = Math.max(1, Math.round(span / 1000)); // an arrow key moves by a thousandth
  slider.step = String(step);
  slider.max = String(Math.ceil(span / step) * step);
  slider.disabled = play.disabled = false;
  const asked = Number(new URLSearchParams(location.search).get("t"));
  slider.value = String(Number.isFinite(asked) && asked > 0 ? asked * 1000 : 0);
  show();
}

function show() {
  const until = first + Number(slider.value);
  if (next > 0 && tape[next - 1].at > until) rewind();
  while (next < tape.length && tape[next].at <= until) happen(tape[next++]);
  if (chart) chart.set(chart.data);
  const now = tape[Math.max(0, next - 1)];
  document.getElementById("now-state").textContent = state;
  document.getElementById("now-round").textContent = grid.rounds.at(-1) ?? "–";
  document.getElementById("now-event").textContent = told(now);
  clock.value = `${(Number(slider.value) / 1000).toFixed(1)} s`;
  slider.setAttribute("aria-valuetext", `${clock.value}, ${told(now)}`);
}

function rewind() {
  next = 0;
  state = "–";
  grid.clear();
  if (chart) chart.data = [[], ...clients.map(() => []), []];
}

function happen(event) {
  grid.apply(event);
  if (event.kind === "progress") state = event.phase;
  else if (event.kind !== "round" && event.kind !== "selected") state = event.kind.replace("_", " ");
  if (event.kind === "rolled_back" && chart) {
    while (chart.data[0].length && made.get(chart.data[0].at(-1)) > event.version) chart.data.forEach((row) => row.pop());
  }
  if (event.kind === "finished" && chart && metric in (event.measured ?? {})) {
    chart.data.at(-1)[chart.data[0].length - 1] = event.measured[metric];
  }
  if (event.kind !== "round" || !chart) return;
  const [rounds, ...rows] = chart.data;
  const at = rounds.push(event.round) - 1;
  made.set(event.round, event.version);
  const sent = new Map(event.clients.map((client) => [client.client, client.training[metric]]));
  clients.forEach((client, index) => { rows[index][at] = sent.get(client) ?? null; });
  rows.at(-1)[at] = null;
  const before = rounds.lastIndexOf(event.round - 1);
  if (before >= 0 && metric in event.measured) rows.at(-1)[before] = event.measured[metric];
}

function told(event) {
  switch (event.kind) {
    case "round": return `round ${event.round} committed: ${event.clients.length} updates, ${event.refused_count} refused`;
    case "progress": return `${event.phase}: ${event.members.filter((member) => member[2]).length} awaited`;
    case "selected": return `${event.clients.length} clients were chosen for round ${event.round}`;
    default: return event.kind.replace("_", " ");
  }
}

function stop() {
  clearInterval(timer);
  timer = 0;
  play.textContent = "Play";
}

play.addEventListener("click", () => {
  if (timer) {
    stop();
    return;
  }
  if (slider.value === slider.max) slider.value = "0";
  play.textContent = "Pause";
  timer = setInterval(() => {
    slider.value = String(Number(slider.value) + FRAME_MS * Number(speed.value));
    show();
    if (Number(slider.value) >= Number(slider.max)) stop();
  }, FRAME_MS);
});
slider.addEventListener("input", show);
slider.addEventListener("change", () => {
  const address = new URL(location.href);
  address.searchParams.set("t", (Number(slider.value) / 1000).toFixed(1));
  history.replaceState(null, "", address);
});
