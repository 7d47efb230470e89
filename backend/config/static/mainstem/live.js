// Keeps one stream of a run's events open and tells the page about each of them.
//
// The events' ids are offsets in the run's log, so whatever breaks (the network, the server, a sleeping laptop), the
// stream goes on after the last event that was seen. A page in the background gives its stream back.

const AGAIN_MS = [500, 1000, 2000, 4000, 8000];

export class Live {
  #source = null;
  #failures = 0;
  #timer = 0;

  /** `tell(event)` gets each event's data; `said(state)` gets "live", "waiting" or "ended". */
  constructor(address, after, tell, said) {
    this.address = address;
    this.last = after;
    this.tell = tell;
    this.said = said;
    document.addEventListener("visibilitychange", () => (document.hidden ? this.close() : this.open()));
    window.addEventListener("pagehide", () => this.close());
    window.addEventListener("pageshow", (event) => { if (event.persisted) this.open(); });
  }

  open() {
    this.close();
    if (document.hidden) return;
    const source = new EventSource(`${this.address}?after=${this.last}`);
    this.#source = source;
    source.onopen = () => {
      this.#failures = 0;
      this.said("live");
    };
    source.onmessage = (message) => {
      const id = Number(message.lastEventId);
      if (id <= this.last) return;
      this.last = id;
      this.tell(JSON.parse(message.data), id);
    };
    source.addEventListener("reset", () => location.reload());
    source.addEventListener("deleted", () => {
      this.close();
      this.said("ended");
    });
    source.onerror = () => {
      // A stream that ended is opened again by ourselves, with the last id in its address: the browser's own way gives
      // up at the first answer that is no stream, such as a restarting server's.
      this.close();
      this.said("waiting");
      const wait = AGAIN_MS[Math.min(this.#failures, AGAIN_MS.length - 1)];
      this.#failures += 1;
      this.#timer = setTimeout(() => this.open(), wait);
    };
  }

  close() {
    clearTimeout(this.#timer);
    this.#source?.close();
    this.#source = null;
  }
}
