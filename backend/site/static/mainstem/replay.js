// A run's tape, and where it stood at any moment. No page: what is asked for is worked out from the tape's lines alone.

const ENDS = ["stopped", "finished", "failed"];

export class Replay {
  /** `lines`: the tape's own; the first names the clients whose letters the others hold. */
  constructor([head, ...events]) {
    this.clients = head.clients;
    this.every = head.every;
    this.events = events;
    this.each = events.every((event) => event.kind !== "round" || event.lines); // a line for every client
  }

  get start() {
    return this.events[0].at;
  }

  get span() {
    return Math.max(1, this.events.at(-1).at - this.start);
  }

  /** How many events have happened up to `ms` after the first. */
  before(ms) {
    let low = 0;
    let high = this.events.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.events[middle].at - this.start <= ms) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /**
   * After `count` events: `state` in a word, `event` the last of them, `columns` a {round, seq, cells} for every round
   * of the run as it then was, the open one (without `seq`) last, and `values` what was measured of each one's model.
   */
  frame(count) {
    const columns = [];
    let open = null;
    let state = "nothing yet";
    for (let at = 0; at < count; at += 1) {
      const event = this.events[at];
      switch (event.kind) {
        case "progress":
          state = event.phase;
          if (event.cells !== undefined && event.phase !== "unborn" && !(event.round <= columns.at(-1)?.event.round)) open = event;
          break;
        case "selected":
          break;
        case "round": {
          if (columns.length) columns.at(-1).value = event.value ?? null;
          columns.push({ event, before: open, value: null });
          open = null;
          break;
        }
        case "rolled_back":
          while (columns.length && columns.at(-1).event.version > event.version) columns.pop();
          open = null;
          // falls through
        default:
          if (ENDS.includes(event.kind)) open = null;
          if (event.kind === "finished" && columns.length) columns.at(-1).value = event.value ?? null;
          state = event.kind.replace("_", " ");
      }
    }
    return { state, event: this.events[count - 1], columns, open };
  }

  /** The curve's rows for `learning` of charts.js. */
  rows({ columns }) {
    const told = columns.map((column) => column.event);
    const clients = this.each
      ? this.clients.map((_, at) => told.map((event) => event.lines[at]))
      : [0, 1].map((end) => told.map((event) => event.band?.[end] ?? null));
    return [told.map((event) => event.round), ...clients, columns.map((column) => column.value)];
  }
}

/** The letters of a column: who had died before a round was committed is not in its record. */
export function letters({ event, before }) {
  if (!before?.cells.includes("d")) return event.cells;
  return [...event.cells].map((code, at) => (code === " " && before.cells[at] === "d" ? "d" : code)).join("");
}

/** What an event says, in a sentence. */
export function told(event) {
  switch (event?.kind) {
    case undefined: return "nothing yet";
    case "round": return `round ${event.round} committed: ${event.updates} updates${event.left_out ? ` (${event.left_out} left out)` : ""}, ${event.refused} refused`;
    case "progress": return event.phase ? `${event.phase}: ${event.awaited} awaited` : "word of the open round";
    case "selected": return `${event.chosen} clients were chosen for round ${event.round}`;
    default: return event.kind.replace("_", " ");
  }
}
