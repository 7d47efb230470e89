"""Every version of a real run is re-derived from the log; what was tampered with or pruned is named."""

from __future__ import annotations

import numpy as np
import pytest

from backend.aggregator.federation import Federation
from mainstem.clock import SystemClock
from mainstem.kafka.log import KafkaLog
from mainstem.lineage import verify
from mainstem.messages import Rules
from mainstem.topics import aggregator_topic
from tests.kafka.test_rounds_on_kafka import run_to_end
from tests.support.federations import LightClient, open_federation, rounds_of

pytestmark = pytest.mark.kafka


def test_every_version_is_proved_until_updates_are_pruned(log: KafkaLog) -> None:
    """Three rounds verify; once the first round's updates are pruned, exactly its version can no longer be."""
    random = np.random.default_rng(0)
    id_ = open_federation(log, [random.normal(size=(40, 10)).astype(np.float32)], Rules(rounds=3, min_clients=2))
    clients = [
        LightClient(log, id_, "a", lambda t, s: [t[0] + np.float32(0.1 * s + 0.1)], examples=7),
        LightClient(log, id_, "b", lambda t, s: [t[0] * np.float32(0.9)], examples=13),
    ]
    run_to_end(Federation(log, id_, clock=SystemClock(), writer="w"), clients)
    proofs = list(verify(log, id_))
    assert [(p.version, p.state) for p in proofs] == [(v, "proved") for v in range(4)]
    second = min(a.offset for a in rounds_of(log, id_)[1].accepted)
    log.delete_records(aggregator_topic(id_), 0, second - 1)
    assert [(p.version, p.state) for p in verify(log, id_)][:2] == [(0, "proved"), (1, "gone")]
