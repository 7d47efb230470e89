// The browser's one conversation with the server about the runs that its pages show: a stream of server-sent events, or
// a question from time to time where there is no stream to be had.
//
// The events' ids are offsets in the runs' logs, so whatever breaks (the network, the server, a sleeping laptop), it
// goes on after the last event that was seen.

const AGAIN_MS = [500, 1000, 2000, 4000, 8000];
const POLL_MS = 3000;
const DEAD_MS = 15_000; // a stream that has not even beaten for so long: the connection is dead

export class Link {
  #runs = new Map();
  #streamAt = 0;
  #ending = null;

  /** `tell(message)` gets `{kind, run, id, event}`: an "event", a "beat", or that a run was "reset" or "deleted"; and
   * `{kind: "state", state}`: "live", "polling", "waiting" (it is tried again) or "out" (the session is over). */
  constructor(address, tell, streams = true) {
    this.address = address;
    this.tell = tell;
    this.streams = streams;
  }

  /** Tell of these runs from now on: `{after, made}` by run. */
  follow(runs) {
    const known = (run, after) => this.#runs.has(run) && this.#runs.get(run).after <= after;
    const covered = runs.size === this.#runs.size && [...runs].every(([run, { after }]) => known(run, after));
    if (covered && (this.#ending || !runs.size)) return;
    this.#runs = runs;
    this.#ending?.abort();
    this.#ending = null;
    if (runs.size) this.#talk((this.#ending = new AbortController()));
  }

  async #talk(ending) {
    let failures = 0;
    while (!ending.signal.aborted && this.#runs.size) {
      let wait = 0;
      try {
        wait = await this.#ask(this.streams && Date.now() >= this.#streamAt, ending.signal);
        failures = 0;
      } catch {
        if (ending.signal.aborted) return;
        this.tell({ kind: "state", state: "waiting" });
        wait = AGAIN_MS[Math.min(failures, AGAIN_MS.length - 1)];
        failures += 1;
      }
      await new Promise((done) => setTimeout(done, wait));
    }
    if (this.#ending === ending) this.#ending = null;
  }

  /** One request, to its end; how long to wait before the next. Throws where it broke. */
  async #ask(streaming, ended) {
    const request = new AbortController();
    ended.addEventListener("abort", () => request.abort(), { signal: request.signal });
    let heard = Date.now();
    const clock = setInterval(() => { if (Date.now() - heard > DEAD_MS) request.abort(); }, 1000);
    try {
      const options = { signal: request.signal, redirect: "manual", cache: "no-store" };
      const answer = await fetch(`${this.address}?${this.#query(streaming)}`, options);
      if (answer.type === "opaqueredirect" || answer.status === 403) return this.#out();
      if (streaming && answer.status === 503 && answer.headers.has("Retry-After")) {
        this.#streamAt = Date.now() + 1000 * Number(answer.headers.get("Retry-After"));
        return 0;
      }
      if (!answer.ok) throw new Error(`${answer.status}`);
      this.tell({ kind: "state", state: streaming ? "live" : "polling" });
      for await (const block of blocks(answer.body)) {
        heard = Date.now();
        if (ended.aborted) return 0;
        if (this.#take(block) === "out") return this.#out();
      }
      if (streaming) throw new Error("the stream ended");
      return POLL_MS;
    } finally {
      clearInterval(clock);
      request.abort();
    }
  }

  #out() {
    this.tell({ kind: "state", state: "out" });
    return DEAD_MS;
  }

  #query(streaming) {
    const asked = [...this.#runs].map(([run, { after, made }]) => `run=${run}:${after}:${made}`);
    return (streaming ? asked : [...asked, "once"]).join("&");
  }

  #take(block) {
    const lines = block.split("\n").map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 2)]);
    const { id, event: kind = "event", data } = Object.fromEntries(lines);
    if (kind === "event" && data) {
      const [run, offset] = id.split(":");
      const followed = this.#runs.get(run);
      if (!followed || Number(offset) <= followed.after) return kind;
      followed.after = Number(offset);
      this.tell({ kind, run, id: followed.after, event: JSON.parse(data) });
    } else if (kind === "reset" || kind === "deleted") {
      this.#runs.delete(JSON.parse(data));
      this.tell({ kind, run: JSON.parse(data) });
    } else {
      this.tell({ kind: "beat" });
    }
    return kind;
  }
}

async function* blocks(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n\n");
    rest = parts.pop();
    yield* parts;
  }
}
