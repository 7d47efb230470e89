// The live page of a run: the stream's events change the grid and the charts in place; the parts that the server
// renders (where it stands, the tables) are asked for again, at most once a second.

import { GLOBAL, HIGH, LOW, learning, phases, rows } from "./charts.js";
import { choose } from "./choices.js";
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
const past = "past" in box.dataset;
let grid = found();
let missed = null; // heard while the server draws the grid: its answer may be older
let charts = null;
charts = await drawn();

const NOTHING = { state: "", words: "" };
let said = NOTHING;
new Live(box.dataset, tell, (state, seconds) => {
  said = { state, words: state === "silent" ? silence(seconds) : WORDS[state] };
  sayState();
  if (state === "out") soon("refresh"); // which leads to the login
}).open();
document.addEventListener("htmx:afterSettle", sayState);

function sayState() {
  const place = document.getElementById("link-state");
  if (!place) return;
  const { state, words } = "ended" in place.dataset ? NOTHING : said; // nothing more comes of an ended run
  if (place.textContent !== words) place.textContent = words; // it is read aloud when it changes
  place.dataset.state = state;
}

function found() {
  const table = document.getElementById("grid");
  return table ? new Grid(table) : null;
}

document.addEventListener("htmx:beforeRequest", (event) => {
  if (event.target.id === "clients") missed = [];
});
for (const failure of ["htmx:responseError", "htmx:sendError"]) {
  document.addEventListener(failure, (event) => {
    if (event.target.id === "clients") missed = null;
  });
}

// A part that had nothing to show until now came from the server as a whole.
document.addEventListener("htmx:afterSwap", async (event) => {
  if (event.target.id === "clients") {
    grid = found();
    const late = missed ?? [];
    missed = null;
    late.forEach(place); // applied twice, an event changes nothing
  }
  if (event.target.id === "learning") charts = await drawn();
});

async function drawn() {
  charts?.curve?.close();
  charts?.phase.close();
  const place = document.getElementById("charts");
  if (!place) return null;
  const part = place.closest("[data-part]");
  const told = await figures(place.dataset.source);
  if (!told) return null;
  const made = { metric: told.metric, phase: phases(document.getElementById("phases")) };
  made.phase.set([told.phases.rounds, told.phases.train, told.phases.upload, told.phases.commit]);
  made.past = "past" in place.dataset; // no live points: they would be joined to a range that ends before them
  const curves = document.getElementById("curves");
  if (curves) {
    made.curve = learning(curves, told.band ? null : Object.keys(told.clients), (from, to) => choose({ from, to }, part));
    made.curve.set(rows(told));
  }
  return made;
}

function tell(event) {
  if (TURNS.includes(event.kind)) soon("turn");
  soon("refresh");
  if (past) return; // its rounds are what they were
  place(event);
  if (event.kind === "round") {
    draw(event);
    soon("round");
  }
  if (event.refused?.length) soon("refused");
  if (event.kind === "finished" && charts?.curve && !charts.past && charts.metric in (event.measured ?? {})) {
    charts.curve.put(charts.curve.data[0].at(-1), { [GLOBAL]: event.measured[charts.metric] });
  }
  if (event.kind === "rolled_back") {
    for (const part of ["joined", "measured", "round"]) soon(part); // the run has other rounds now
  }
}

function place(event) {
  missed?.push(event);
  if (grid) grid.apply(event);
  else if (!missed && (event.kind === "round" || event.members?.length)) soon("joined");
}

function draw(event) {
  if (!charts || (!charts.curve && Object.keys(event.clients[0]?.training ?? {}).length)) {
    soon("measured"); // the first round, or the figures did not come: the server draws the frame
    return;
  }
  if (charts.past) return;
  const { metric, curve, phase } = charts;
  phase.put(event.round, {
    train: Math.max(0, ...event.clients.map((client) => client.train)),
    upload: Math.max(0, ...event.clients.map((client) => client.upload)),
    commit: (event.committed - event.closed) / 1000,
  });
  if (!curve) return;
  const told = event.clients.filter((client) => metric in client.training);
  const points = Object.fromEntries(told.map((client) => [client.client, client.training[metric]]));
  if (told.length) {
    points[LOW] = Math.min(...Object.values(points));
    points[HIGH] = Math.max(...Object.values(points));
  }
  if (!curve.put(event.round, points)) soon("measured"); // long by now: the server thins it
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
