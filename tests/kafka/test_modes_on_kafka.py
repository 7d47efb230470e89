"""Buffered rounds, targets and selections through real topics, with clients of very different speed."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import numpy as np
import pytest

from mainstem.aggregator.federation import Federation
from mainstem.kafka.client.log import KafkaLog
from mainstem.lineage import verify
from mainstem.protocol.control import ControlTopic
from mainstem.protocol.messages import Round, Rules, Selected, Selection
from mainstem.protocol.weights import Tensor
from mainstem.runtime.clock import SystemClock
from tests.support.federations import LightClient, open_federation, rounds_of
from tests.support.patience import PATIENCE

pytestmark = pytest.mark.kafka
SLOW_SECONDS = 0.4


def run(log: KafkaLog, rules: Rules, clients: int = 4) -> str:
    """A run to its end with one client that is slow; the federation's id."""
    id_ = open_federation(log, [np.zeros((40, 5), np.float32), np.array(2, np.int64)], rules)
    leave = threading.Event()

    def train(number: int, tensors: Sequence[Tensor]) -> list[Tensor]:
        if number == 0:
            time.sleep(SLOW_SECONDS)
        return [tensors[0] + np.float32(number + 1), tensors[1]]

    people = [
        LightClient(log, id_, f"c{n}", lambda t, _, n=n: train(n, t), examples=n + 1)  # type: ignore[misc]
        for n in range(clients)
    ]
    threads = [threading.Thread(target=client.run, args=(leave,)) for client in people]
    for thread in threads:
        thread.start()
    federation = Federation(log, id_, clock=SystemClock(), writer="w", retain=0)
    deadline = time.monotonic() + PATIENCE
    try:
        while federation.step(0.05):
            assert time.monotonic() < deadline, "the run did not end"
        for thread in threads:
            thread.join(PATIENCE)
        assert all(client.gone for client in people), "a client waits for ever"
    finally:
        leave.set()
        federation.close()
    return id_


def staleness(rounds: Sequence[Round]) -> list[int]:
    """How many commits behind each update was."""
    return [r.base.version - a.base.version for r in rounds for a in r.accepted]


def test_buffered(log: KafkaLog) -> None:
    """Rounds of two updates go on while a client is slow; its late updates count for less; each version is proved."""
    id_ = run(log, Rules(mode="buffered", buffer=2, rounds=12, min_clients=4, max_staleness=20, final_wait_ms=5000))
    rounds = rounds_of(log, id_)
    assert [r.closed.by for r in rounds] == ["buffer"] * 12
    assert max(staleness(rounds)) > 0
    late = next(a for r in rounds for a in r.accepted if a.base != r.base)
    assert late.coefficient < late.examples
    assert {proof.state for proof in verify(log, id_)} == {"proved"}


def test_async(log: KafkaLog) -> None:
    """Every update is a version, none older than the limit; the first takes what came before all were there."""
    id_ = run(log, Rules(mode="async", rounds=15, min_clients=4, max_staleness=2, final_wait_ms=5000))
    rounds = rounds_of(log, id_)
    assert 1 <= len(rounds[0].accepted) <= 4 and {a.base.version for a in rounds[0].accepted} == {0}
    assert [len(r.accepted) for r in rounds[1:]] == [1] * 14 and max(staleness(rounds)) <= 2
    assert {proof.state for proof in verify(log, id_)} == {"proved"}


def test_a_target_leaves_the_straggler_behind(log: KafkaLog) -> None:
    """Three of four suffice: the slow client holds nobody, and is told."""
    id_ = run(log, Rules(target=3, rounds=4, min_clients=4, final_wait_ms=5000))
    assert [r.closed.by for r in rounds_of(log, id_)] == ["target"] * 4


def test_selected_clients_alone_train(log: KafkaLog) -> None:
    """Each round's two clients stand in the log before it, and are those who count."""
    rules = Rules(rounds=4, min_clients=4, selection=Selection(name="uniform", params={"count": 2}), final_wait_ms=5000)
    id_ = run(log, rules)
    control = ControlTopic(log, id_)
    chain = [entry.record for entry in control.sync() if entry.link is not None]
    control.close()
    chosen = [r for r in chain if isinstance(r, Selected)]
    rounds = [r for r in chain if isinstance(r, Round)]
    assert [set(s.clients) for s in chosen] == [{a.client for a in r.accepted} for r in rounds]
    assert len({s.clients for s in chosen}) > 1
    assert {proof.state for proof in verify(log, id_)} == {"proved"}
