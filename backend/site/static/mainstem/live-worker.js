// The browser's shared worker: it holds the board for all pages of the site. Its name is the stream's address.

import { Board } from "./board.js";

const board = new Board(self.name);

self.addEventListener("connect", ({ ports: [port] }) => {
  port.onmessage = ({ data }) => board.take(data, (message) => port.postMessage(message));
});
