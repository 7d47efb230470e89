"""The aggregator's real processes and the log over a real broker."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mainstem.kafka.broker.embedded import EmbeddedKafka
from mainstem.kafka.client.config import client_config
from mainstem.kafka.client.log import KafkaLog


@pytest.fixture
def log(kafka: EmbeddedKafka) -> Iterator[KafkaLog]:
    """A message log of the shared real broker."""
    log = KafkaLog(client_config(kafka.bootstrap_servers))
    yield log
    log.close()
