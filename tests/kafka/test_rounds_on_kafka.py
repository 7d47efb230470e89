"""Rounds through real topics: the mean that Kafka-ML gets wrong, exact at every size."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import numpy as np
import pytest

from mainstem.aggregator.federation import Federation
from mainstem.kafka.client.log import KafkaLog
from mainstem.protocol.messages import Rules, StrategyChoice
from mainstem.runtime.clock import SystemClock
from tests.support.federations import LightClient, head_tensors, open_federation, reference_mean, rounds_of
from tests.support.patience import PATIENCE

pytestmark = pytest.mark.kafka


def run_to_end(federation: Federation, clients: Sequence[LightClient]) -> None:
    """The aggregator in a thread, all clients in turn, until everyone is done."""
    done = threading.Event()

    def aggregate() -> None:
        while federation.step(0.05) and not done.is_set():
            pass

    thread = threading.Thread(target=aggregate)
    thread.start()
    try:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            alive = [c for c in clients if not c.gone and c.step(0.01 if len(clients) < 5 else 0.0)]
            if not alive and not thread.is_alive():
                return
            if not alive:
                thread.join(0.1)
        raise AssertionError("the run did not end")
    finally:
        done.set()
        thread.join()
        federation.close()


def test_weighted_mean_is_exactly_four(log: KafkaLog) -> None:
    """Global 0, A sends 10 with 1 example, B sends 2 with 3: the mean is 4.0, not the last client's 2."""
    start = np.zeros((2, 3), np.float32)
    id_ = open_federation(log, [start], Rules(rounds=1, min_clients=2))
    clients = [
        LightClient(log, id_, "A", lambda t, _: [np.full_like(t[0], 10)], examples=1),
        LightClient(log, id_, "B", lambda t, _: [np.full_like(t[0], 2)], examples=3),
    ]
    run_to_end(Federation(log, id_, clock=SystemClock(), writer="w"), clients)
    assert (head_tensors(log, id_)[0] == 4.0).all()


def test_plain_mean_is_an_option(log: KafkaLog) -> None:
    """With `weigh: equal` the same updates give 6.0."""
    rules = Rules(rounds=1, min_clients=2)
    id_ = open_federation(log, [np.zeros(3, np.float32)], rules, StrategyChoice(params={"weigh": "equal"}))
    clients = [
        LightClient(log, id_, "A", lambda t, _: [np.full_like(t[0], 10)], examples=1),
        LightClient(log, id_, "B", lambda t, _: [np.full_like(t[0], 2)], examples=3),
    ]
    run_to_end(Federation(log, id_, clock=SystemClock(), writer="w"), clients)
    assert (head_tensors(log, id_)[0] == 6.0).all()


@pytest.mark.parametrize("count", [2, 3, 50])
@pytest.mark.parametrize("partitions", [1, 3])
def test_mean_equals_numpy_float64(log: KafkaLog, count: int, partitions: int) -> None:
    """The committed mean of random updates is NumPy's float64 mean to 1e-6 relative, over one partition or several."""
    random = np.random.default_rng(count)
    values = [random.normal(1.0, 0.3, (64, 10)).astype(np.float32) for _ in range(count)]
    examples = [int(n) for n in random.integers(1, 1000, count)]
    rules = Rules(rounds=1, min_clients=count)
    id_ = open_federation(log, [np.zeros((64, 10), np.float32)], rules, aggregator_partitions=partitions)
    clients = [
        LightClient(log, id_, f"client-{i}", lambda _t, _s, v=v: [v], examples=n)  # type: ignore[misc]
        for i, (v, n) in enumerate(zip(values, examples, strict=True))
    ]
    run_to_end(Federation(log, id_, clock=SystemClock(), writer="w"), clients)
    (result,) = head_tensors(log, id_)
    np.testing.assert_allclose(result, reference_mean(values, examples), rtol=1e-6)
    (round_,) = rounds_of(log, id_)
    assert sorted(a.client for a in round_.accepted) == sorted(c.client for c in clients)
