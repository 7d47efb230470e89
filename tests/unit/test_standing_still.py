"""An aggregator commits nothing in a log that is not the one that was witnessed, until a person has decided."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import msgspec
import pytest

from mainstem.aggregator.federation import REFUSES, Federation
from mainstem.aggregator.witnesses import GRACE_SECONDS, Ask, BackendWitness, Guard, Word, nobody
from mainstem.errors import ConfigError, LogError, UnreadableError
from mainstem.protocol.control import ControlTopic
from mainstem.protocol.messages import Lifecycle, Progress, Rules
from mainstem.protocol.witness import Witness, witness_of
from mainstem.runtime.processes import free_port
from mainstem.testing.memory_log import MemoryLog
from tests.support.federations import open_federation, rounds_of
from tests.support.runs import START, Ticking, clients_of, command, finished_run


class Run:
    """A federation of two clients that was copied after round 2 and went on to round 4."""

    def __init__(self) -> None:
        self.clock = Ticking()
        self.log = MemoryLog(self.clock)
        rules = Rules(rounds=5, min_clients=2, max_clients=2)
        self.federation = open_federation(self.log, START, rules, federation="lineage1")
        self.clients = clients_of(self.log, self.federation, 2)
        self.guard = Guard(self.federation)
        self.aggregator = self.anew()
        self.go(lambda: len(self.rounds) == 2)
        self.copy = self.log.copy()
        self.go(lambda: len(self.rounds) == 4)
        self.witness = self.end

    def anew(self, ask: Ask | None = None, guard: Guard | None = None) -> Federation:
        """Another aggregator takes the federation up, of another process where `ask` says so."""
        self.aggregator = Federation(
            self.log, self.federation, clock=self.clock, writer="w",
            guard=guard or (Guard(self.federation, ask, self.clock.now_ms) if ask else self.guard),
        )  # fmt: skip
        return self.aggregator

    def go(self, until: Callable[[], bool], turns: int = 300) -> None:
        """Turn by turn."""
        for _ in range(turns):
            if until():
                return
            self.turn()
        raise AssertionError("it did not come to that")

    def turn(self) -> None:
        """Everybody has one."""
        self.aggregator.step(0.0)
        for client in self.clients:
            if not client.gone:
                client.step()

    def restore(self) -> None:
        """The log goes back, and its clients begin anew."""
        self.log.restore(self.copy)
        self.clients = clients_of(self.log, self.federation, 2, incarnation="2")

    def stands(self) -> bool:
        """Whether the newest aggregator does."""
        return self.aggregator.sight.stands

    @property
    def rounds(self) -> list[Any]:
        """Those that are committed."""
        return rounds_of(self.log, self.federation)

    @property
    def end(self) -> Witness:
        """Where the log ends."""
        with closing(ControlTopic(self.log, self.federation)) as control:
            control.sync()
            found = witness_of(control.hashes)
        assert found is not None
        return found

    def told(self) -> tuple[list[str], int]:
        """The troubles that progress tells, and how many lifecycle records there are."""
        with closing(ControlTopic(self.log, self.federation)) as control:
            records = [entry.record for entry in control.sync()]
        troubles = [record.detail for record in records if isinstance(record, Progress) and record.detail]
        return troubles, sum(isinstance(record, Lifecycle) for record in records)


def test_it_stands_until_the_loss_is_accepted() -> None:
    """It says so once, and follows no command; the one that was waiting is the first that is heeded."""
    run = Run()
    word = Word(run.witness)
    run.restore()
    kept = run.end
    run.anew(lambda federation: word)
    command(run.log, run.federation, "stop")
    for _ in range(20):
        run.turn()
    troubles, lifecycle = run.told()
    assert len(troubles) == 1 and lifecycle == kept.count and run.stands()
    assert troubles[0].startswith(f"{REFUSES}the log of federation lineage1 has lost its tail: it ends after 3 ")
    word = Word(kept, accepted=1)
    run.go(lambda: not run.aggregator.step(0.0), 50)
    assert not run.stands() and run.end.count == kept.count + 1  # stopped
    command(run.log, run.federation, "resume")
    run.clients = clients_of(run.log, run.federation, 2, incarnation="3")
    run.anew(lambda federation: word)
    run.go(lambda: len(run.rounds) == 5)


def test_the_newer_copy_is_all_it_takes() -> None:
    """Nobody needs to accept anything where the log is the witnessed one again."""
    run = Run()
    newer = run.log.copy()
    run.restore()
    run.anew(lambda federation: Word(run.witness))
    run.aggregator.step(0.0)
    assert run.stands()
    run.log.restore(newer)  # without what it has said there meanwhile
    run.clients = clients_of(run.log, run.federation, 2, incarnation="3")
    run.go(lambda: len(run.rounds) == 5, 2000)
    assert not run.stands()


def test_what_it_read_itself_is_a_witness() -> None:
    """Where no backend is named, a worker that lives through it stands still all the same; a new one goes on."""
    run = Run()
    run.log.restore(run.copy)
    with pytest.raises(UnreadableError):
        run.aggregator.step(0.0)
    run.clients = clients_of(run.log, run.federation, 2, incarnation="2")
    run.anew()
    for _ in range(10):
        run.turn()
    assert run.stands() and len(run.rounds) == 2
    run.anew(nobody)
    run.go(lambda: len(run.rounds) == 5)
    assert [r.weights.sha256 for r in run.rounds] == [r.weights.sha256 for r in rounds_of(*finished_run(rounds=5))]


def test_an_acceptance_voids_what_it_read_itself() -> None:
    """The backend may never have seen the newest that an aggregator has read: the person's word is newer than both."""
    run = Run()
    word = Word()
    guard = Guard(run.federation, lambda federation: word, lambda: 0.0)
    run.anew(guard=guard)
    run.turn()
    run.restore()
    run.anew(guard=guard)
    run.turn()
    assert run.stands()
    word = Word(run.end, accepted=1)
    run.anew(guard=guard)
    run.go(lambda: len(run.rounds) == 5)


def test_a_backend_that_is_ahead_of_what_was_read_is_no_alarm() -> None:
    """Another aggregator commits before the word: the log is read to its end after it."""
    run = Run()
    first = run.aggregator

    def ahead(federation: str) -> Word:
        run.aggregator = first
        run.go(lambda: len(run.rounds) == 5)
        return Word(run.end)

    late = run.anew(ahead)
    assert late.step(0.0) or len(run.rounds) == 5
    assert not late.sight.stands


def test_a_backend_that_is_away() -> None:
    """It is waited for, then not; once it speaks and objects, the run that went on is stopped."""
    run = Run()
    word: Word | None = None
    run.restore()
    run.anew(lambda federation: word)
    for _ in range(10):
        run.turn()
    assert run.told()[0] == [] and len(run.rounds) == 2
    word = Word(silent=True)
    run.go(lambda: len(run.rounds) == 3)
    word = Word(run.witness)
    with pytest.raises(LogError, match=r"has (another|lost its) tail"):
        for _ in range(2000):
            run.turn()
    run.anew(lambda federation: word)
    run.aggregator.step(0.0)
    assert run.stands()


# ---------------------------------------------------------------- over HTTP
Answer = tuple[int, str, Any]


@pytest.fixture
def backend() -> Iterator[tuple[str, list[Answer], list[tuple[str, str | None]]]]:
    """An address, the answers that it gives in turn, the last one for ever, and what it was asked."""
    answers: list[Answer] = []
    asked: list[tuple[str, str | None]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, self.headers["Authorization"]))
            status, kind, body = answers.pop(0) if len(answers) > 1 else answers[0]
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/site", answers, asked
    server.shutdown()
    server.server_close()


JSON, PROBLEM = "application/json", "application/problem+json"


def test_the_backend_is_asked(backend: tuple[str, list[Answer], list[tuple[str, str | None]]]) -> None:
    """With the token; what it does not know was not witnessed; what is no answer of ours is none."""
    address, answers, asked = backend
    end = Witness(count=3, hash="a" * 64)
    told = {
        "federation": "ddy6heod",
        "witness": msgspec.to_builtins(end),
        "accepted": 2,
        "acceptances": [],
        "end": None,
    }
    answers += [(200, JSON, told), (404, PROBLEM, {"detail": "no"}), (404, "text/html", "no"), (200, JSON, told)]
    now = 0.0
    ask = BackendWitness(address, lambda: "secret", grace=GRACE_SECONDS, now=lambda: now)
    assert ask("ddy6heod") == Word(end, 2)
    assert asked == [("/site/api/deployments/ddy6heod/witness/", "Token secret")]
    assert ask("ddy6heod") == Word()
    assert ask("ddy6heod") is None and ask("ddy6heod") is None and len(asked) == 3  # it is not asked again at once
    now = 1.0
    assert ask("ddy6heod") == Word(end, 2)


def test_a_backend_that_does_not_answer_is_waited_for_a_while(caplog: pytest.LogCaptureFixture) -> None:
    """From the first failure on, for all federations alike; then it is said once that logs are believed."""
    now = 0.0
    ask = BackendWitness(f"http://127.0.0.1:{free_port()}", lambda: "secret", now=lambda: now)
    assert ask("aaaaaaaa") is None
    now = GRACE_SECONDS - 1
    assert ask("bbbbbbbb") is None
    now = GRACE_SECONDS
    assert ask("bbbbbbbb") == Word(silent=True)
    now = 10 * GRACE_SECONDS
    assert ask("aaaaaaaa") == Word(silent=True)
    assert caplog.text.count("says no witness") == 1


def test_the_environment_says_whom_to_ask() -> None:
    """An address without a token, or the other way round, is nobody; a wrong address is an error."""
    token = {"MAINSTEM_TOKEN": "x"}
    for environ in ({}, token, {"MAINSTEM_API": "http://x:1"}):
        assert BackendWitness.from_environ(environ) is nobody
    assert isinstance(BackendWitness.from_environ({"MAINSTEM_API": "http://x:1", **token}), BackendWitness)
    with pytest.raises(ConfigError, match="MAINSTEM_API is 'x'"):
        BackendWitness.from_environ({"MAINSTEM_API": "x", **token})
