"""A client that falls silent is seen, from its last record to the API."""

from __future__ import annotations

import numpy as np
import pytest
from rest_framework.test import APIClient

from backend.deployments.projection import projection
from mainstem.aggregator.federation import Federation
from mainstem.protocol.log import Outgoing
from mainstem.protocol.messages import Heartbeat, Joined, Rules, encode
from mainstem.protocol.topics import aggregator_topic, control_topic
from mainstem.testing.memory_log import MemoryLog
from tests.support.federations import open_federation

pytestmark = [pytest.mark.backend, pytest.mark.django_db]


class HandClock:
    """Time that only the test moves."""

    ms = 1_000_000

    def now_ms(self) -> int:
        """See `Clock`."""
        return self.ms

    def elapsed_ms(self) -> int:
        """See `Clock`."""
        return self.now_ms()


def test_who_is_silent_is_shown(admin: APIClient) -> None:
    """One of two clients stops beating: after the time-out the deployment's members say so, and it is waited for;
    with its next heartbeat it trains again."""
    clock = HandClock()
    log = MemoryLog(clock)
    rules = Rules(min_clients=2, heartbeat_timeout_ms=10_000)
    id_ = open_federation(log, [np.zeros(3, np.float32)], rules)
    federation = Federation(log, id_, clock=clock, writer="w")
    read = 0

    def beat(*clients: str) -> None:
        for client in clients:
            value = encode(Heartbeat(client=client, incarnation="1", phase="training"))
            log.append(aggregator_topic(id_), [Outgoing(value)])

    def shown() -> tuple[dict[str, str], list[str]]:
        """What the API says of the members, once everything has gone its way."""
        nonlocal read
        clock.ms += 2000
        federation.step(0)
        _, end = log.bounds(control_topic(id_), 0)
        records = list(log.read(control_topic(id_), 0, read, end))
        read = end
        projection.take("cluster", [("topic", record) for record in records])
        answer = admin.get(f"/api/deployments/{id_}/").json()
        return {m["client"]: m["state"] for m in answer["members"]}, answer["waits_for"]

    for name in ("a", "b"):
        joined = Joined(federation=id_, client=name, incarnation="1", examples=1)
        log.append(aggregator_topic(id_), [Outgoing(encode(joined))])
    assert shown() == ({"a": "training", "b": "training"}, ["a", "b"])
    for _ in range(7):
        clock.ms += 2000
        federation.step(0)
        beat("a")
    assert shown() == ({"a": "training", "b": "silent"}, ["a", "b"])
    beat("a", "b")
    assert shown() == ({"a": "training", "b": "training"}, ["a", "b"])
    federation.close()
