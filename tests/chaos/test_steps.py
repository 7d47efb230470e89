"""kill -9 at each step of a round: before, within and after every call of a part to its log."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mainstem.lineage import verify
from mainstem.protocol.messages import StrategyChoice
from tests.chaos.stage import Stage
from tests.support.client_process import train
from tests.support.federations import LightClient, rounds_of
from tests.support.lethal import WHENS

pytestmark = pytest.mark.chaos
CLIENTS, ROUNDS = 2, 2
ROLES = ("aggregator-0", "client-0")


@dataclass
class Steps:
    """Small federations, in each of which one part kills itself at a call of its log."""

    stage: Stage
    role: str
    strategy: StrategyChoice | None = None
    died: list[tuple[int, str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.role != "aggregator-0":
            self._aggregator()
        self.expected = self.run(0, "before")
        self.calls = [line.split()[1] for line in self.trace.read_text().splitlines()]

    @property
    def trace(self) -> Path:
        """Where the lethal part tells its calls."""
        return self.stage.directory / "calls.txt"

    def run(self, call: int, when: str) -> str:
        """One federation whose part dies there; the final sha256. Call 0 is none."""
        stage = self.stage
        id_ = stage.federation(ROUNDS, CLIENTS, self.strategy)
        self.trace.unlink(missing_ok=True)
        lethal = ["--call", str(call), "--when", when, "--trace", str(self.trace)]
        leave = threading.Event()
        lethal_client = self.role.startswith("client")
        threads = [self._client(id_, n, leave) for n in range(CLIENTS) if not (lethal_client and n == 0)]
        if lethal_client:
            self._client_process(id_, lethal)
        else:
            self._aggregator(["--federation", id_, *lethal])
        try:
            head = stage.wait(id_, lambda head: head.state == "finished" or not stage.alive(self.role))
            if head.state != "finished":
                code = stage.left(self.role)
                if code == -signal.SIGKILL:
                    self.died.append((call, when, self.trace.read_text().splitlines()[-1]))
                self._client_process(id_, []) if lethal_client else self._aggregator()
                head = stage.wait(id_, lambda head: head.state == "finished")
            for thread in threads:
                thread.join(30)
                assert not thread.is_alive(), "a client hangs"
        finally:
            leave.set()
        if lethal_client:
            assert stage.left(self.role) == 0 or self._died_at_the_end(call, when)
        else:
            stage.parts[self.role].process.terminate()
            stage.left(self.role)
        assert [proof.state for proof in verify(stage.log, id_)] == ["proved"] * (ROUNDS + 1)
        committed = rounds_of(stage.log, id_)
        assert [{a.client for a in r.accepted} for r in committed] == [{"client-0", "client-1"}] * ROUNDS
        return head.weights.sha256

    def _died_at_the_end(self, call: int, when: str) -> bool:
        self.died.append((call, when, self.trace.read_text().splitlines()[-1]))
        return True

    def _aggregator(self, lethal: list[str] | None = None) -> None:
        module = "tests.support.aggregator_process" if lethal else "mainstem.aggregator"
        options = ["--bootstrap", self.stage.broker.bootstrap_servers, "--session-timeout-ms", "1000"]
        self.stage.run("aggregator-0", [module, *options, *(lethal or [])])

    def _client_process(self, federation: str, lethal: list[str]) -> None:
        what = ["--bootstrap", self.stage.broker.bootstrap_servers, "--federation", federation, "--seconds", "0"]
        self.stage.run("client-0", ["tests.support.client_process", *what, "--number", "0", *lethal])

    def _client(self, federation: str, number: int, leave: threading.Event) -> threading.Thread:
        client = LightClient(
            self.stage.log,
            federation,
            f"client-{number}",
            lambda tensors, seq: train(tensors, seq, number, 0),
            examples=100 + number,
        )
        thread = threading.Thread(target=client.run, args=(leave,), name=client.client, daemon=True)
        thread.start()
        return thread


def every(calls: list[str]) -> Iterator[tuple[int, str]]:
    """Each moment of each call."""
    for number, call in enumerate(calls, 1):
        for when in WHENS if call in ("append", "read") else ("before", "after"):
            yield number, when


def some(calls: list[str], count: int = 7) -> list[tuple[int, str]]:
    """So many moments, evenly spread from the first to the last, of what a pass of every call would take."""
    moments = list(every(calls))
    return [moments[round(i * (len(moments) - 1) / (count - 1))] for i in range(count)]


@pytest.mark.parametrize("role", ROLES)
def test_killed_at_some_steps(stage: Stage, role: str) -> None:
    """The run's result is the same when a part dies at a few moments, from its first call to its last."""
    steps = Steps(stage, role)
    for call, when in some(steps.calls):
        assert steps.run(call, when) == steps.expected, f"{role} killed {when} call {call} ({steps.calls[call - 1]})"
    assert len(steps.died) >= 4, steps.died


@pytest.mark.parametrize(
    ("role", "strategy", "moments"),
    [("aggregator-0", "fedadam", 7), ("aggregator-0", "scaffold", 4), ("client-0", "scaffold", 4)],
)
def test_what_a_strategy_keeps_survives(stage: Stage, role: str, strategy: str, moments: int) -> None:
    """Killed at a few moments, an aggregator finds its moments or its variate in the log, a client what it has sent."""
    steps = Steps(stage, role, StrategyChoice(name=strategy))
    for call, when in some(steps.calls, moments):
        assert steps.run(call, when) == steps.expected, f"killed {when} call {call} ({steps.calls[call - 1]})"
    assert len(steps.died) > moments // 2, steps.died


@pytest.mark.slow
@pytest.mark.parametrize("role", ROLES)
def test_killed_at_every_step(stage: Stage, role: str) -> None:
    """The run's result is the same wherever a part dies: all moments of all calls of a small run."""
    steps = Steps(stage, role)
    moments = list(every(steps.calls))
    for call, when in moments:
        assert steps.run(call, when) == steps.expected, f"{role} killed {when} call {call} ({steps.calls[call - 1]})"
    print(f"{role}: {len(moments)} moments of {len(steps.calls)} calls, killed at {len(steps.died)}")
    assert len(steps.died) >= 0.8 * len(moments), steps.died
