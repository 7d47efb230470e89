// Which pages want to hear of which runs, and the link that serves them all.

import { Link } from "./link.js";

const GONE_MS = 20_000; // a page says every few seconds that it is there; it may end without a word
const GATHER_MS = 50; // windows that open together make one change
const MOST = 64; // runs that the server tells of in one stream

export class Board {
  #pages = new Map();
  #state = "waiting";
  #gathering = 0;

  constructor(address, streams = true) {
    this.link = new Link(address, (message) => this.#tell(message), streams);
    this.sweeping = setInterval(() => this.#sweep(), GONE_MS / 4);
  }

  /** A page's word: `{page, run, after, made}` (it is there, and wants what comes after that id), or `{page, gone}`. */
  take({ page, gone, run, after, made }, post) {
    const known = this.#pages.get(page);
    if (gone) this.#pages.delete(page);
    else if (known) known.seen = Date.now();
    else {
      this.#pages.set(page, { run, after, made, post, seen: Date.now() });
      post({ kind: "state", state: this.#state });
    }
    if (gone || !known) this.#gather();
  }

  close() {
    clearInterval(this.sweeping);
    clearTimeout(this.#gathering);
    this.#pages.clear();
    this.#follow();
  }

  #sweep() {
    for (const [page, { seen }] of this.#pages) if (Date.now() - seen > GONE_MS) this.#pages.delete(page);
    this.#gather();
  }

  #gather() {
    clearTimeout(this.#gathering);
    this.#gathering = setTimeout(() => this.#follow(), GATHER_MS);
  }

  #follow() {
    const runs = new Map();
    for (const { run, after, made } of this.#pages.values()) {
      if (runs.has(run)) runs.get(run).after = Math.min(after, runs.get(run).after);
      else if (runs.size < MOST) runs.set(run, { after, made });
    }
    this.link.follow(runs);
  }

  #tell(message) {
    if (message.kind === "state") this.#state = message.state;
    for (const [name, page] of this.#pages) {
      if (message.run && message.run !== page.run) continue;
      if (message.kind === "event") {
        if (message.id <= page.after) continue;
        page.after = message.id;
      }
      if (message.kind === "reset" || message.kind === "deleted") this.#pages.delete(name);
      page.post(message);
    }
  }
}
