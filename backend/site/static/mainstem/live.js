// A page's ear: it hears of its run while somebody looks at it, and knows how long it has heard nothing.

import { SILENT_MS } from "./silence.js";
import { ways } from "./ways.js";

const TICK_MS = 1000;
const HERE_TICKS = 5; // between two words that the page is there

export class Live {
  #ways = ways();
  #way = null;
  #page = "";
  #clock = 0;
  #ticks = 0;
  #heard = 0;
  #answered = false;
  #link = "";
  #shown = "";

  /** `place`: the stream's address, the run, the last event that the page shows, and of which making of the run's rows.
   * `tell(event)` gets each event's data. `said(state, seconds)` gets "live", "polling", "waiting" (for an answer), "ended" (the
   * run was deleted), "out" (the session is over), or "silent" and for how long nothing was heard. */
  constructor({ events, run, after, made }, tell, said) {
    Object.assign(this, { address: events, run, after: Number(after), made, tell, said });
    document.addEventListener("visibilitychange", () => (document.hidden ? this.close() : this.open()));
    window.addEventListener("pagehide", () => this.close());
    window.addEventListener("pageshow", (event) => { if (event.persisted) this.open(); });
  }

  open() {
    this.close();
    if (document.hidden || this.#shown === "ended") return;
    this.#heard = Date.now();
    this.#ticks = 0;
    this.#answered = false;
    this.#say("waiting");
    this.#page = `${Math.random()}`.slice(2);
    const page = this.#page;
    const only = (act) => (message) => { if (this.#page === page) act(message); };
    this.#way = this.#ways[0](this.address, page, only((message) => this.#hear(message)), only(() => this.#another()));
    this.#here();
    this.#clock = setInterval(() => this.#tick(), TICK_MS);
  }

  close() {
    clearInterval(this.#clock);
    this.#way?.send({ page: this.#page, gone: true });
    this.#way?.close();
    this.#way = null;
    this.#page = "";
  }

  #here() {
    this.#way.send({ page: this.#page, run: this.run, after: this.after, made: this.made });
  }

  #another() {
    if (this.#ways.length > 1) this.#ways.shift();
    this.open();
  }

  #tick() {
    this.#ticks += 1;
    if (this.#ticks % HERE_TICKS === 0) this.#here();
    const silent = Date.now() - this.#heard;
    if (silent < SILENT_MS) return;
    if (!this.#answered && this.#ways.length > 1) this.#another();
    else if (this.#shown !== "out") this.#say("silent", silent / 1000);
  }

  #say(state, seconds = 0) {
    this.#shown = state;
    this.said(state, seconds);
  }

  #hear({ kind, state, id, event }) {
    this.#answered = true;
    if (kind === "state") {
      this.#link = state;
      if (this.#shown !== "silent" || state === "out") this.#say(state);
    } else if (kind === "reset") {
      location.reload();
    } else if (kind === "deleted") {
      this.close();
      this.#say("ended");
    } else {
      this.#heard = Date.now();
      if (this.#shown !== this.#link) this.#say(this.#link);
      if (kind === "event" && id > this.after) {
        this.after = id;
        this.tell(event, id);
      }
    }
  }
}
