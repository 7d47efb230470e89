"""What strangers can do to the real web server: half-sent requests, and bodies that nobody asked for."""

from __future__ import annotations

import contextlib
import json
import socket
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.patience import PATIENCE, until
from tests.support.web import Server, fetch, serving

MANY = 100
PEER, FAILURES = 110, 2
REQUESTS = {
    "a head without an end": b"GET /login/ HTTP/1.1\r\nHost: localhost\r\nX-Long: ",
    "a small body": b"POST /login/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nname=",
    "a long body": b"POST /api/models/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n{",
    "a body in chunks": b"POST /login/ HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{",
    "nothing": b"",
}


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One process of 16 threads; a request may take longer than any test, unless a test has a server of its own."""
    settings = {"MAINSTEM_WEB_THREADS": 8, "MAINSTEM_LIVE_STREAMS": 8, "MAINSTEM_PEER_CONNECTIONS": PEER}
    settings["MAINSTEM_LOGIN_FAILURES"] = FAILURES
    with serving(tmp_path_factory.mktemp("web"), **settings, MAINSTEM_REQUEST_SECONDS=PATIENCE) as server:
        yield server


@pytest.fixture(scope="module")
def slow_web(web: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One in which a request has half a second."""
    settings = {"MAINSTEM_REQUEST_SECONDS": 0.5, "DATABASE_URL": web.environment["DATABASE_URL"]}
    with serving(tmp_path_factory.mktemp("slow"), **settings) as server:
        yield server


@contextlib.contextmanager
def half_sent(port: int, what: bytes, count: int) -> Iterator[list[socket.socket]]:
    """Connections that sent this and no more."""
    with contextlib.ExitStack() as stack:
        found = []
        for _ in range(count):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE))
            connection.sendall(what)
            found.append(connection)
        yield found


def rest(connection: socket.socket) -> bytes:
    """All that comes until the server closes."""
    return b"".join(iter(lambda: connection.recv(1000), b""))


@pytest.mark.parametrize("what", REQUESTS)
def test_half_sent_requests_stop_nobody(web: Server, what: str) -> None:
    """A hundred of them, more than there are threads: everybody else is answered, while they are still open."""
    with half_sent(web.port, REQUESTS[what], MANY):
        for _ in range(3):
            assert fetch(web.port, "/api/health/") == (200, '{"status": "ok"}')


def test_one_address_has_so_many_connections(web: Server) -> None:
    """What is beyond is told so and closed; when some end, there is room again."""
    until(web.answers)
    with half_sent(web.port, b"", PEER) as open_now:
        with socket.create_connection(("127.0.0.1", web.port), timeout=PATIENCE) as one_more:
            told = one_more.recv(1000)
        assert told.startswith(b"HTTP/1.1 503 ") and b"too many connections" in told
        open_now[0].close()
        until(web.answers)


@pytest.mark.parametrize("what", REQUESTS)
def test_a_request_has_its_time(slow_web: Server, what: str) -> None:
    """Whoever does not go on is told so, where he had begun, and closed."""
    with half_sent(slow_web.port, REQUESTS[what], 1) as (connection,):
        answer = rest(connection)
    status = {"a head without an end": b"408", "a small body": b"408", "a long body": b"401", "nothing": b""}
    assert answer[9:12] == status.get(what, b"403"), answer


def test_a_drop_now_and_then_is_no_progress(slow_web: Server) -> None:
    """The time is for the whole head, whatever comes in between."""
    with half_sent(slow_web.port, REQUESTS["a head without an end"], 1) as (connection,):
        connection.settimeout(0.1)

        def ended() -> bool:
            with contextlib.suppress(OSError):
                connection.sendall(b"x")
            with contextlib.suppress(TimeoutError):
                return not connection.recv(1000).startswith(b"HTTP/1.1 100")
            return False

        until(ended)


def test_a_long_body_that_stalls_is_given_up(slow_web: Server) -> None:
    """An admin's, too: its thread is free again, and the sender is told."""
    head = (
        f"POST /api/models/ HTTP/1.1\r\nHost: localhost\r\nAuthorization: Token {slow_web.token()}\r\n"
        "Content-Type: application/json\r\nContent-Length: 1000000\r\n\r\n{"
    )
    with half_sent(slow_web.port, head.encode(), 1) as (connection,):
        answer = rest(connection)
    assert answer.startswith(b"HTTP/1.1 408 ") and b"did not come to its end" in answer, answer


def test_keep_alive_and_pipelining(web: Server) -> None:
    """Two requests in one piece, and a third one that comes in two: three answers on one connection."""
    request = b"GET /api/health/ HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with half_sent(web.port, request * 2 + request[:20], 1) as (connection,):
        answer = b""
        while answer.count(b'{"status": "ok"}') < 2:
            answer += connection.recv(1000)
        connection.sendall(request[20:])
        while answer.count(b'{"status": "ok"}') < 3:
            answer += connection.recv(1000)


def test_continue_is_said_for_a_small_body(web: Server) -> None:
    """Who waits for it before sending its body gets it, though no thread has looked at the request yet."""
    body = b'{"username": "nobody", "password": "wrong"}'
    head = (
        b"POST /api/auth/token/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Expect: 100-continue\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
    )
    with half_sent(web.port, head, 1) as (connection,):
        assert connection.recv(1000).startswith(b"HTTP/1.1 100 Continue\r\n")
        connection.sendall(body)
        answer = rest(connection)
    assert b"HTTP/1.1 400 " in answer and b"is wrong" in answer


def test_guesses_at_once_are_counted_one_by_one(web: Server) -> None:
    """As many are told that their password is wrong as if they had come one after another."""
    guess = json.dumps({"username": "admin", "password": "a guess"}).encode()

    def told(_: int) -> int:
        return fetch(web.port, "/api/auth/token/", guess, Content_Type="application/json")[0]

    with ThreadPoolExecutor(12) as pool:
        assert Counter(pool.map(told, range(12))) == {400: FAILURES, 429: 12 - FAILURES}
