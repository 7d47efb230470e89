// The flight recorder: the run's own events, put on a clock that a person moves.

import { learning } from "./charts.js";
import { MOST_ROUNDS, SIGNS } from "./grid.js";
import { Replay, letters, told } from "./replay.js";

const FRAME_MS = 100;
const STEPS = 1000; // an arrow key moves by a thousandth
const FAR = 1e6;

const box = document.getElementById("recorder");
const slider = document.getElementById("at");
const play = document.getElementById("play");
const speed = document.getElementById("speed");
const clock = document.getElementById("clock");
const [now, round, happened] = ["now-state", "now-round", "now-event"].map((id) => document.getElementById(id));

/** The grid of the newest rounds at a moment. Cells are made once and then only written, where they change. */
class Sheet {
  constructor(table, clients) {
    this.table = table;
    this.head = table.tHead.rows[0];
    this.shown = []; // of each column the letters that it shows
    this.rows = clients.map((client) => {
      const row = document.createElement("tr");
      const name = document.createElement("th");
      name.scope = "row";
      name.textContent = client;
      row.append(name);
      return row;
    });
    table.tBodies[0].replaceChildren(...this.rows);
  }

  /** `columns`: {round, seq, cells}; one without `seq` is open. */
  paint(columns) {
    const grows = columns.length !== this.shown.length;
    while (this.shown.length > columns.length) this.#drop();
    while (this.shown.length < columns.length) this.#add();
    columns.forEach((column, at) => {
      this.#name(this.head.cells[at + 1], column);
      this.#fill(at, column.cells);
    });
    if (grows) this.table.parentElement.scrollLeft = FAR; // written last: it has the table laid out, once
  }

  #add() {
    const head = document.createElement("th");
    head.scope = "col";
    this.head.append(head);
    for (const row of this.rows) row.append(document.createElement("td"));
    this.shown.push("");
  }

  #drop() {
    this.head.lastElementChild.remove();
    for (const row of this.rows) row.lastElementChild.remove();
    this.shown.pop();
  }

  #name(head, { round: number, seq }) {
    const key = `${number} ${seq}`;
    if (head.dataset.key === key) return;
    head.dataset.key = key;
    head.className = seq === undefined ? "open" : "";
    if (seq === undefined) {
      head.textContent = number;
      return;
    }
    const link = document.createElement("a");
    link.href = `${this.table.dataset.roundUrl}${seq}/`;
    link.textContent = number;
    head.replaceChildren(link);
  }

  #fill(at, cells) {
    const before = this.shown[at];
    if (before === cells) return;
    this.shown[at] = cells;
    this.rows.forEach((row, index) => {
      const code = cells[index];
      if (code === before[index]) return;
      const cell = row.cells[at + 1];
      cell.className = code.trim();
      cell.textContent = SIGNS[code] ?? "";
    });
  }
}

const replay = await read();
if (replay) begin();

async function read() {
  try {
    const answer = await fetch(`${box.dataset.tape}?metric=${encodeURIComponent(box.dataset.metric)}`);
    if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
    const found = new Replay((await answer.text()).split("\n").filter(Boolean).map((line) => JSON.parse(line)));
    if (found.events.length) return found;
    clock.value = "nothing has happened yet";
  } catch (error) {
    clock.value = `the log cannot be read: ${error.message}`;
  }
  return null;
}

function begin() {
  const sheet = new Sheet(document.getElementById("grid"), replay.clients);
  const chart = box.dataset.metric ? learning(document.getElementById("curves"), replay.each ? replay.clients : null) : null;
  const step = Math.max(1, Math.round(replay.span / STEPS));
  slider.step = String(step);
  slider.max = String(Math.ceil(replay.span / step) * step);
  slider.disabled = play.disabled = false;
  const asked = Number(new URLSearchParams(location.search).get("t") ?? NaN);
  slider.value = Number.isFinite(asked) ? String(asked * 1000) : slider.max; // how it ended is what one comes for
  document.getElementById("thinned").hidden = replay.every === 1;

  let shown = -1;
  let waits = 0;
  let timer = 0;

  function show() {
    waits = 0;
    const count = replay.before(Number(slider.value));
    clock.value = `${(Number(slider.value) / 1000).toFixed(1)} s`;
    if (count !== shown) paint(replay.frame(count));
    shown = count;
    slider.setAttribute("aria-valuetext", `${clock.value}, ${happened.textContent}`);
  }

  function paint(frame) {
    const newest = frame.columns.slice(-MOST_ROUNDS);
    const columns = newest.map((column) => ({ round: column.event.round, seq: column.event.seq, cells: letters(column) }));
    if (frame.open) columns.push({ round: frame.open.round, cells: frame.open.cells });
    sheet.paint(columns);
    chart?.set(replay.rows(frame));
    now.textContent = frame.state;
    round.textContent = columns.at(-1)?.round ?? "none yet";
    happened.textContent = told(frame.event);
  }

  /** However fast a finger moves the slider, a frame of the screen draws one moment. */
  function soon() {
    if (!waits) waits = requestAnimationFrame(show);
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
      soon();
      if (Number(slider.value) >= Number(slider.max)) stop();
    }, FRAME_MS);
  });
  slider.addEventListener("input", soon);
  slider.addEventListener("change", () => {
    const address = new URL(location.href);
    address.searchParams.set("t", (Number(slider.value) / 1000).toFixed(1));
    history.replaceState(null, "", address);
  });
  show();
}
