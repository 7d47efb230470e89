// The table of clients and rounds, changed in place: no event adds a row or a column without bound.

export const MOST_ROUNDS = 50;
export const SIGNS = { w: "·", t: "▸", u: "↑", a: "✓", o: "○", s: "↺", r: "✕", d: "∅" };
const LIVE = { waiting: "w", training: "t", accepted: "u", refused: "r", silent: "d", left: "d", failed: "d", removed: "d" };
const MOST_CLIENTS = 100;
const FAR = 1e6;
const NEAR = 40; // pixels from the end within which the table follows the newest round

/** Whether a name stands before (below 0) or after another one: as the server orders them, site-2 before site-10. */
function natural(one, other) {
  const [a, b] = [one, other].map((name) => name.split(/([0-9]+)/));
  for (let at = 0; at < Math.min(a.length, b.length); at += 1) {
    const [x, y] = at % 2 ? [BigInt(a[at]), BigInt(b[at])] : [a[at], b[at]];
    if (x !== y) return x < y ? -1 : 1;
  }
  return a.length - b.length || (one < other ? -1 : Number(one > other));
}

export class Grid {
  constructor(table) {
    this.table = table;
    this.head = table.tHead.rows[0];
    this.body = table.tBodies[0];
    this.show = table.dataset.show;
    this.rows = new Map([...this.body.rows].map((row) => [row.dataset.client, row]));
    this.rounds = [...this.head.cells].slice(1).map((cell) => Number(cell.dataset.round));
    this.box = table.parentElement;
    this.follows = true; // the newest round is what one comes for, until one scrolls away from it
    this.box.addEventListener("scroll", () => {
      this.follows = this.box.scrollLeft + this.box.clientWidth > this.box.scrollWidth - NEAR;
    }, { passive: true });
    this.#follow();
  }

  /** Once a frame, after all that was written: reading where a table stands makes the browser lay it out. */
  #follow() {
    if (!this.follows || this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      this.box.scrollLeft = FAR;
    });
  }

  apply(event) {
    if (event.kind === "progress") this.#progress(event);
    else if (event.kind === "round") this.#round(event);
    else if (event.kind === "rolled_back") this.#back(event.version);
    else if (event.kind === "finished" || event.kind === "stopped" || event.kind === "failed") this.#end();
  }

  #progress(event) {
    if (event.phase === "unborn") return;
    const column = this.#column(event.round);
    if (column < 0 || !this.head.cells[column + 1].classList.contains("open")) return; // a late word: it is committed
    for (const [client, state] of event.members) this.#set(client, column, LIVE[state] ?? "w");
  }

  #round(event) {
    const column = this.#column(event.round);
    if (column < 0) return;
    const head = this.head.cells[column + 1];
    head.classList.remove("open");
    head.dataset.version = event.version;
    if (this.table.dataset.roundUrl && !head.firstElementChild) {
      const link = document.createElement("a");
      link.href = `${this.table.dataset.roundUrl}${event.seq}/`;
      link.textContent = event.round;
      head.replaceChildren(link);
    }
    const sent = new Set();
    for (const client of event.clients) {
      sent.add(client.client);
      const value = client.training[this.show];
      const text = this.show ? (value === undefined ? "" : value.toFixed(3)) : undefined;
      this.#set(client.client, column, client.left_out ? "o" : "a", text);
    }
    for (const [client, reason] of event.refused) {
      if (client && !sent.has(client)) this.#set(client, column, reason === "stale" ? "s" : "r");
      sent.add(client);
    }
    for (const [client, row] of this.rows) {
      const code = row.cells[column + 1].className;
      if (!sent.has(client) && code !== "d") this.#paint(row.cells[column + 1], "", "");
    }
  }

  /** The rounds behind an earlier version are gone from the run. */
  #back(version) {
    while (this.rounds.length) {
      const made = Number(this.head.lastElementChild.dataset.version ?? Infinity);
      if (made <= version) break;
      this.#drop(this.rounds.length - 1);
    }
  }

  #end() {
    const last = this.head.lastElementChild;
    if (!last.classList.contains("open")) return;
    const column = this.rounds.length - 1;
    last.remove();
    this.rounds.pop();
    for (const row of this.rows.values()) row.cells[column + 1].remove();
  }

  #set(client, column, code, text) {
    const row = this.#row(client);
    if (row) this.#paint(row.cells[column + 1], code, text ?? (this.show ? "" : SIGNS[code]));
  }

  #paint(cell, code, text) {
    if (cell.className !== code) cell.className = code;
    if (cell.textContent !== text) cell.textContent = text;
  }

  /** The index of a round's column, made at the end where it is new; -1 for a round that has scrolled out. */
  #column(round) {
    const found = this.rounds.lastIndexOf(round);
    if (found >= 0) return found;
    if (this.rounds.length && round < this.rounds[0]) return -1;
    while (this.rounds.length && this.rounds.at(-1) >= round) this.#drop(this.rounds.length - 1); // rolled back
    const head = document.createElement("th");
    head.scope = "col";
    head.dataset.round = round;
    head.className = "open";
    head.textContent = round;
    this.head.append(head);
    this.rounds.push(round);
    for (const row of this.rows.values()) row.append(document.createElement("td"));
    if (this.rounds.length > MOST_ROUNDS) this.#drop(0);
    this.#follow();
    return this.rounds.length - 1;
  }

  #drop(column) {
    this.rounds.splice(column, 1);
    this.head.cells[column + 1].remove();
    for (const row of this.rows.values()) row.cells[column + 1].remove();
  }

  #row(client) {
    const found = this.rows.get(client);
    if (found || this.rows.size >= MOST_CLIENTS) return found;
    const row = document.createElement("tr");
    row.dataset.client = client;
    const head = document.createElement("th");
    head.scope = "row";
    head.textContent = client;
    row.append(head);
    for (let index = 0; index < this.rounds.length; index += 1) row.append(document.createElement("td"));
    const after = [...this.rows.keys()].filter((name) => natural(name, client) > 0).sort(natural)[0];
    this.body.insertBefore(row, after ? this.rows.get(after) : null);
    this.rows.set(client, row);
    return row;
  }
}
