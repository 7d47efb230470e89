"""gunicorn's threaded worker, for a port that strangers reach.

gthread gives a thread to whoever sends a first byte, and waits for the rest of the request there, for ever. Here the
loop collects what comes, without a thread; a request gets one when it is whole (or its body is a long one, which
`backend.site.middleware` refuses unread where its sender may not send it). One address may hold so many connections
and not the last threads; trusted proxies (MAINSTEM_TRUSTED_PROXIES) speak for many and may hold all.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from selectors import EVENT_READ
from typing import Any, Final

from gunicorn.workers.gthread import TConn, ThreadWorker

from backend.gate import peers
from backend.gate.arriving import Stage, stage
from backend.gate.sockets import Patient
from backend.gate.web import web, words
from mainstem.errors import ConfigError

LINGER_SECONDS: Final = 2.0
"""How long a closed connection's rest is read and thrown away, so that our answer is not (RFC 9112, section 9.6)."""
LOOK_SECONDS: Final = 0.25
READ_BYTES: Final = 64 << 10

_REASONS: Final = {
    408: ("Request Timeout", "The request did not come to its end in time."),
    431: ("Request Header Fields Too Large", "The request's head is too long."),
    503: ("Service Unavailable", "Your address has too many connections open here: close some, and try again."),
}


class Connection(TConn):  # type: ignore[misc]
    """A connection between requests (in the loop) or within one (in a thread)."""

    def __init__(self, cfg: Any, sock: Any, client: Any, server: Any, seconds: float) -> None:
        super().__init__(cfg, Patient(fileno=sock.detach()), client, server)
        self.init()
        self.sock.seconds = seconds
        self.sock.setblocking(False)
        self.data_ready = True
        self.arrived = bytearray()
        self.deadline = 0.0
        self.told = False
        """Whether the sender was told to continue."""
        self.whole = True
        """Whether all of the present request has come."""
        address = client[0] if isinstance(client, tuple) else ""
        self.peer: str | None = peers.household(address) if address else None
        """What the bounds are for; None where there is none."""


class GateWorker(ThreadWorker):  # type: ignore[misc]
    """See the module. Settings are environment variables, as gunicorn's configuration reads its own."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        settings = web()
        self._seconds, self._most = settings.request_seconds, settings.peer_connections
        self._share = max(1, self.cfg.threads - max(1, settings.threads // 2))
        self._proxies = peers.networks(words(settings.proxies))
        self._waiting: set[Connection] = set()  # in the poller
        self._open: Counter[str] = Counter()
        self._served: Counter[str] = Counter()
        self._queued: defaultdict[str, deque[Connection]] = defaultdict(deque)
        self._looked = self._warned = 0.0

    @classmethod
    def check_config(cls, cfg: Any, log: Any) -> None:
        """Refuse what this worker cannot do; raises ConfigError."""
        if cfg.is_ssl:
            raise ConfigError("gunicorn was given a certificate: let the proxy in front of it speak TLS instead")

    # ------------------------------------------------------------------------------------------------ in the loop
    def accept(self, listener: Any) -> None:
        """Take a connection, and wait for its request without a thread."""
        try:
            sock, client = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:  # no descriptor left: those who wait end by their deadlines
            self._warn("no connection can be taken: %s", error)
            time.sleep(LOOK_SECONDS)
            return
        conn = Connection(self.cfg, sock, client, listener.getsockname(), self._seconds)
        self.nr_conns += 1
        if conn.peer is not None and peers.trusted(client[0], self._proxies):
            conn.peer = None
        if conn.peer is not None:
            self._open[conn.peer] += 1
            if self._open[conn.peer] > self._most:
                self._warn("%s has %d connections open: its next ones are closed", conn.peer, self._most)
                self._refuse(conn, 503)
                return
        self._await(conn, self._seconds)

    def finish_request(self, conn: Connection, fs: Any) -> None:
        """A thread is free again: for who waits of the same peer; and the connection for its next request."""
        self._next_of(conn.peer)
        try:
            keep = bool(fs.result()) if not fs.cancelled() else False
        except BaseException:  # the thread has told of it
            keep = False
        if not keep:
            self._linger(conn)
            return
        conn.arrived = bytearray(conn.parser.unreader.take_buffered())
        conn.told = False
        self._await(conn, self.cfg.keepalive if not conn.arrived else self._seconds)
        if conn.arrived:
            self._judge(conn)

    def murder_pending(self) -> None:
        """Close those whose time is up."""
        now = time.monotonic()
        if now < self._looked + LOOK_SECONDS:
            return
        self._looked = now
        for conn in [conn for conn in self._waiting if conn.deadline <= now]:
            self._forget(conn)
            if conn.arrived:
                self._refuse(conn, 408)
            else:
                self._close(conn)

    def murder_keepalived(self, force: bool = False) -> None:
        """When the worker ends, who has not begun a request is let go."""
        if force or not self.alive:
            for conn in [conn for conn in self._waiting if force or not conn.arrived]:
                self._forget(conn)
                self._close(conn)

    def _await(self, conn: Connection, seconds: float) -> None:
        conn.sock.setblocking(False)
        self._watch(conn, seconds, self._on_bytes)

    def _watch(self, conn: Connection, seconds: float, act: Callable[[Connection], None]) -> None:
        conn.deadline = time.monotonic() + seconds
        self._waiting.add(conn)
        self.poller.register(conn.sock, EVENT_READ, lambda _: act(conn))

    def _forget(self, conn: Connection) -> None:
        self._waiting.discard(conn)
        with contextlib.suppress(OSError, KeyError, ValueError):
            self.poller.unregister(conn.sock)

    def _on_bytes(self, conn: Connection) -> None:
        data = self._read(conn)
        if data is None:
            return
        if not data:
            self._forget(conn)
            self._close(conn)
            return
        if not conn.arrived:
            conn.deadline = time.monotonic() + self._seconds
        conn.arrived += data
        self._judge(conn)

    def _judge(self, conn: Connection) -> None:
        """Go on with a connection by how far its request has come."""
        match stage(conn.arrived):
            case Stage.PARTIAL:
                return
            case Stage.EXPECTING:
                if not conn.told:
                    conn.told = True
                    with contextlib.suppress(OSError):
                        conn.sock.send(b"HTTP/1.1 100 Continue\r\n\r\n")
                return
            case Stage.OVERLONG:
                self._forget(conn)
                self._refuse(conn, 431)
                return
            case found:
                conn.whole = found is Stage.WHOLE
        self._forget(conn)
        conn.sock.closed = conn.whole
        conn.parser.unreader.unread(bytes(conn.arrived))
        conn.arrived.clear()
        if conn.peer is not None and self._served[conn.peer] >= self._share:
            self._queued[conn.peer].append(conn)
            return
        self._serve(conn)

    def _serve(self, conn: Connection) -> None:
        if conn.peer is not None:
            self._served[conn.peer] += 1
        self.enqueue_req(conn)

    def _next_of(self, peer: str | None) -> None:
        if peer is None:
            return
        self._served[peer] -= 1
        if queue := self._queued.get(peer):
            self._serve(queue.popleft())
        if not self._served[peer]:
            del self._served[peer]
            self._queued.pop(peer, None)

    def _refuse(self, conn: Connection, status: int) -> None:
        reason, detail = _REASONS[status]
        head = f"HTTP/1.1 {status} {reason}\r\nConnection: close\r\nContent-Type: text/plain\r\n"
        with contextlib.suppress(OSError):
            conn.sock.send(f"{head}Content-Length: {len(detail) + 1}\r\n\r\n{detail}\n".encode())
        self._linger(conn)

    def _linger(self, conn: Connection) -> None:
        """Half-close, and read what still comes for a moment: without a thread, and without holding the loop."""
        conn.arrived.clear()
        try:
            conn.sock.setblocking(False)
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._close(conn)
            return
        self._watch(conn, LINGER_SECONDS, self._on_rest)

    def _on_rest(self, conn: Connection) -> None:
        if self._read(conn) == b"":
            self._forget(conn)
            self._close(conn)

    @staticmethod
    def _read(conn: Connection) -> bytes | None:
        """What has come; empty at the end, None where nothing has."""
        try:
            return socket.socket.recv(conn.sock, READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError:
            return b""

    def _close(self, conn: Connection) -> None:
        self.nr_conns -= 1
        if conn.peer is not None:
            self._open[conn.peer] -= 1
            if not self._open[conn.peer]:
                del self._open[conn.peer]
        conn.close()

    def _warn(self, text: str, *values: object) -> None:
        now = time.monotonic()
        if now > self._warned + 60:
            self._warned = now
            self.log.warning(text, *values)

    # ------------------------------------------------------------------------------------------------ in a thread
    def handle_request(self, req: Any, conn: Connection) -> bool:
        """As gthread's; what is left of a long body is never awaited for the sake of the next request."""
        if not conn.whole:
            req.force_close()
        return bool(super().handle_request(req, conn))
