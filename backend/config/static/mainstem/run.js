// The live page of a run: the stream's events change the grid and the charts in place; the parts that the server
// renders (where it stands, the tables) are asked for again, at most once a second.

import { GLOBAL, learning, phases } from "./charts.js";
import { figures } from "./fetching.js";
import { Grid } from "./grid.js";
import { Live } from "./live.js";
import { silence } from "./silence.js";

const SETTLE_MS = 1000;
const TURNS = ["stopped", "resumed", "failed", "finished", "rolled_back"];
const WORDS = {
  live: "live",
  polling: "live, asked for every 3 s",
  waiting: "connecting",
  ended: "deleted",
  out: "not live: you are logged out",
};

const box = document.getElementById("live");
let grid = found();
let charts = await drawn();

let said = { state: "", words: "" };
new Live(box.dataset, tell, (state, seconds) => {
  said = { state, words: state === "silent" ? silence(seconds) : WORDS[state] };
  sayState();
  if (state === "out") soon("refresh"); // which leads to the login
}).open();
document.addEventListener("htmx:afterSettle", sayState);

function sayState() {
  const place = document.getElementById("link-state");
  if (!place) return;
  if (place.textContent !== said.words) place.textContent = said.words; // it is read aloud when it changes
  place.dataset.state = said.state;
}

function found() {
  const table = document.getElementById("grid");
  return table && !("past" in table.dataset) ? new Grid(table) : null;
}

// A part that had nothing to show until now came from the server as a whole.
document.addEventListener("htmx:afterSwap", async (event) => {
  if (event.target.id === "clients") grid = found();
  if (event.target.id === "learning") charts = await drawn();
});

async function drawn() {
  const place = document.getElementById("charts");
  if (!place) return null;
  const told = await figures(place.dataset.source);
  if (!told) return null;
  const made = { metric: told.metric, phase: phases(document.getElementById("phases")) };
  made.phase.set([told.rounds, told.phases.train, told.phases.upload, told.phases.commit]);
  const curves = document.getElementById("curves");
  if (curves) {
    const clients = Object.keys(told.clients);
    made.curve = learning(curves, clients);
    made.curve.set([[...told.rounds], ...clients.map((client) => told.clients[client]), told.global]);
  }
  return made;
}

function tell(event) {
  grid?.apply(event);
  if (event.kind === "progress" && event.members.length && !document.getElementById("grid")) soon("joined");
  if (event.kind === "round") {
    draw(event);
    soon("round");
  }
  if (event.refused?.length) soon("refused");
  if (event.kind === "finished" && charts?.curve && charts.metric in (event.measured ?? {})) {
    charts.curve.put(charts.curve.data[0].at(-1), { [GLOBAL]: event.measured[charts.metric] });
  }
  if (event.kind === "rolled_back") {
    for (const part of ["joined", "measured", "round"]) soon(part); // the run has other rounds now
  }
  if (TURNS.includes(event.kind)) soon("turn");
  soon("refresh");
}

function draw(event) {
  if (!charts || (!charts.curve && Object.keys(event.clients[0]?.training ?? {}).length)) {
    soon("measured"); // the first round, or the figures did not come: the server draws the frame
    return;
  }
  const { metric, curve, phase } = charts;
  phase.put(event.round, {
    train: Math.max(0, ...event.clients.map((client) => client.train)),
    upload: Math.max(0, ...event.clients.map((client) => client.upload)),
    commit: (event.committed - event.closed) / 1000,
  });
  if (!curve) return;
  const points = {};
  for (const client of event.clients) {
    if (metric in client.training) points[client.client] = client.training[metric];
  }
  curve.put(event.round, points);
  if (metric in event.measured && curve.data[0].includes(event.round - 1)) {
    curve.put(event.round - 1, { [GLOBAL]: event.measured[metric] });
  }
}

// What comes often is said at once and then once a second, its last word included.
const waiting = new Map();
function soon(name) {
  if (waiting.has(name)) {
    waiting.set(name, true);
    return;
  }
  waiting.set(name, false);
  document.dispatchEvent(new CustomEvent(`mainstem:${name}`));
  setTimeout(() => {
    const again = waiting.get(name);
    waiting.delete(name);
    if (again) soon(name);
  }, SETTLE_MS);
}
