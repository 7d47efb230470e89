"""What every test may ask for: above all a real Kafka broker, one for the whole run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mainstem.kafka.embedded import EmbeddedKafka


@pytest.fixture(scope="session")
def kafka() -> Iterator[EmbeddedKafka]:
    """A real broker in a temporary directory, shared by all tests: use topics of your own, and do not stop it."""
    with EmbeddedKafka() as broker:
        yield broker
