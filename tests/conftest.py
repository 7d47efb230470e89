"""What every test may ask for: above all a real Kafka broker, one for the whole run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from mainstem.kafka.broker.embedded import EmbeddedKafka

settings.register_profile(
    "mainstem",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("mainstem")
"""No example and no strategy is judged by the clock: it would judge the machine. Fixtures last over examples."""


@pytest.fixture(scope="session")
def kafka() -> Iterator[EmbeddedKafka]:
    """A real broker in a temporary directory, shared by all tests: use topics of your own, and do not stop it."""
    with EmbeddedKafka() as broker:
        yield broker
