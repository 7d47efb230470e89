"""kill -9 of the aggregator, the broker and a client in mid-round: the run ends with the undisturbed run's bytes."""

from __future__ import annotations

import signal

import pytest

from mainstem.lineage import verify
from tests.chaos.stage import Stage

pytestmark = pytest.mark.chaos
ROUNDS = 5


def undisturbed(stage: Stage, encoding: str = "raw") -> str:
    """The final sha256 of a run in which nothing dies."""
    id_ = stage.federation(ROUNDS, encoding=encoding)
    clients = [stage.client(id_, n, 0.05) for n in range(3)]
    head = stage.wait(id_, lambda h: h.state == "finished")
    assert [stage.left(c) for c in clients] == [0, 0, 0]
    return head.weights.sha256


def test_killed_aggregator_broker_and_client(stage: Stage) -> None:
    """Three kills in three rounds of one run change not a bit of its result."""
    aggregator = stage.aggregator()
    expected = undisturbed(stage)
    id_ = stage.federation(ROUNDS)
    clients = [stage.client(id_, n, 0.5) for n in range(3)]

    stage.mid_round(id_, 1)
    stage.kill(aggregator)
    stage.again(aggregator)

    stage.mid_round(id_, 2)
    stage.ground.kill()
    stage.ground.start()

    stage.mid_round(id_, 3)
    stage.kill(clients[1])
    stage.again(clients[1])

    head = stage.wait(id_, lambda h: h.state == "finished", 180)
    assert head.round == ROUNDS
    assert head.weights.sha256 == expected
    assert [stage.left(c) for c in clients] == [0, 0, 0]


def test_killed_aggregator_and_client_of_encoded_changes(stage: Stage) -> None:
    """What encodings leave over outlives both: the server's stands in the log, the client's in its files."""
    aggregator = stage.aggregator()
    expected = undisturbed(stage, "int8")
    id_ = stage.federation(ROUNDS, encoding="int8")
    clients = [stage.client(id_, n, 0.5) for n in range(3)]
    stage.mid_round(id_, 2)
    stage.kill(aggregator)
    stage.again(aggregator)
    stage.mid_round(id_, 3)
    stage.kill(clients[1])
    stage.again(clients[1])
    stage.mid_round(id_, 4)
    stage.kill(aggregator)
    stage.kill(clients[2])
    stage.again(clients[2])
    stage.again(aggregator)
    head = stage.wait(id_, lambda h: h.state == "finished", 180)
    assert head.round == ROUNDS and head.weights.sha256 == expected
    assert [stage.left(c) for c in clients] == [0, 0, 0]
    assert [proof.state for proof in verify(stage.log, id_)] == ["proved"] * (ROUNDS + 1)


def test_two_aggregators_one_frozen(stage: Stage) -> None:
    """A worker that freezes in mid-round and wakes after another took over changes nothing."""
    first = stage.aggregator(0)
    expected = undisturbed(stage)
    id_ = stage.federation(ROUNDS)
    clients = [stage.client(id_, n, 0.3) for n in range(3)]
    stage.mid_round(id_, 2)
    stage.signal(first, signal.SIGSTOP)
    stage.aggregator(1)
    stage.wait(id_, lambda h: h.round >= 3)
    stage.signal(first, signal.SIGCONT)
    head = stage.wait(id_, lambda h: h.state == "finished", 180)
    assert head.weights.sha256 == expected
    assert [stage.left(c) for c in clients] == [0, 0, 0]
