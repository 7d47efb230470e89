"""Announcements of federations that do not exist cost those that do nothing."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from mainstem.aggregator.__main__ import _follow
from mainstem.aggregator.federation import Federation
from mainstem.aggregator.worker import Worker
from mainstem.kafka.broker.embedded import EmbeddedKafka
from mainstem.kafka.client.config import client_config
from mainstem.kafka.client.group import GroupReader
from mainstem.kafka.client.log import KafkaLog
from mainstem.protocol import topics
from mainstem.protocol.messages import Rules
from mainstem.runtime.clock import SystemClock
from mainstem.runtime.metrics.health import Health
from mainstem.swarm import announcement_of
from tests.support.federations import LightClient, head_tensors, open_federation
from tests.support.patience import until

pytestmark = pytest.mark.kafka

STRANGERS = 2000


@pytest.fixture
def announcements(log: KafkaLog) -> Iterator[str]:
    """A topic of announcements of its own: those of this file stay for ever, and other tests' workers would read it."""
    name = f"announcements-{secrets.token_hex(4)}"
    log.create_topics([topics.TopicSpec(name, 3, {})])
    yield name
    log.delete_topics([name])


def test_two_thousand_strangers(kafka: EmbeddedKafka, log: KafkaLog, announcements: str) -> None:
    """A run of three rounds beside them ends, in a handful of threads; all of them wait to be forgotten."""
    config = client_config(kafka.bootstrap_servers)
    looks: list[int] = []

    def existing(names: object) -> set[str]:
        found = log.existing(names)  # type: ignore[arg-type]
        looks.append(len(found))
        return found

    strangers = [announcement_of(topics.new_federation_id(), Rules()) for _ in range(STRANGERS)]
    log.append(announcements, strangers[: STRANGERS // 2])
    federation = open_federation(log, [np.zeros(8, np.float32)], Rules(rounds=3, min_clients=1))
    log.append(announcements, [announcement_of(federation, Rules())])
    log.append(announcements, strangers[STRANGERS // 2 :])

    worker = Worker(lambda name, guard: Federation(log, name, clock=SystemClock(), writer="w", guard=guard), existing)
    reader = GroupReader(config, f"group-{announcements}", announcements)
    leave, most = threading.Event(), 0
    following = threading.Thread(target=_follow, args=(reader, worker, Health(), leave))
    following.start()
    try:
        client = LightClient(log, federation, "a", lambda tensors, _: [tensor + 1 for tensor in tensors])

        def ended() -> bool:
            nonlocal most
            most = max(most, sum(thread.name.startswith("federation-") for thread in threading.enumerate()))
            return not client.step(0.05)

        until(ended, what="the run")
        until(lambda: len(worker._turns.places) == STRANGERS + 1, what="every announcement")
    finally:
        leave.set()
        following.join()
        worker.close()
        reader.close()
    assert (head_tensors(log, federation)[0] == 3).all()
    assert most == 1 and sum(looks) >= 1
    assert len(looks) < STRANGERS / 20, "they are looked for together"
