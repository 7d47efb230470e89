// From a page to the board that serves all pages of the browser: in a shared worker; else in the page that leads, heard
// over a broadcast channel; else (no page may know of another) in this page, which then only asks from time to time.
//
// A way is opened with the stream's address and the page's name and has `send(word)` and `close()`. `hear(message)` gets
// what the board tells; `broken()` is called where the way turns out to lead nowhere.

import { Board } from "./board.js";

/** The ways that this browser has, the best first. */
export function ways() {
  return [
    ["SharedWorker" in window, shared],
    ["BroadcastChannel" in window && navigator.locks, led],
    [true, alone],
  ].filter(([has]) => has).map(([, way]) => way);
}

function shared(address, page, hear, broken) {
  const worker = new SharedWorker(new URL("live-worker.js", import.meta.url), { type: "module", name: address });
  worker.onerror = broken;
  worker.port.onmessage = ({ data }) => hear(data);
  return {
    send: (word) => worker.port.postMessage(word),
    close: () => worker.port.close(),
  };
}

function led(address, page, hear) {
  const channel = new BroadcastChannel(address);
  const leaving = new AbortController();
  let last = null;
  channel.onmessage = ({ data: { to, lead, message } }) => {
    if (to === page) hear(message);
    if (lead && last) channel.postMessage(last);
  };
  navigator.locks.request(address, { signal: leaving.signal }, () => leads(address, leaving.signal)).catch(() => {});
  return {
    send: (word) => channel.postMessage((last = word)),
    close: () => {
      channel.close();
      leaving.abort();
    },
  };
}

/** Leads until `leaving`: one page at a time holds the lock. */
function leads(address, leaving) {
  const board = new Board(address);
  const channel = new BroadcastChannel(address);
  channel.onmessage = ({ data }) => {
    if (data.page) board.take(data, (message) => channel.postMessage({ to: data.page, message }));
  };
  channel.postMessage({ lead: true });
  return new Promise((done) => leaving.addEventListener("abort", () => {
    board.close();
    channel.close();
    done();
  }));
}

function alone(address, page, hear) {
  const board = new Board(address, false);
  return { send: (word) => board.take(word, hear), close: () => board.close() };
}
