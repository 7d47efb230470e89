"""What apps above this one have the launcher process do for them; they say so when Django has loaded them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from backend.launchers.options import Options
    from backend.launchers.replicas import Fleet
    from mainstem.protocol.log import MessageLog

Step = Callable[[], object]
"""One round of a loop."""

LOOPS: dict[str, Callable[[Fleet, Options, Callable[[], MessageLog]], Step]] = {}
"""Loops over the fleet of replicas, by name. Each is made from the fleet, the options and the data streams' Kafka; it
turns as often as the Jobs' own, and the process waits for it at its end."""

COUNTED: list[Callable[[], Metric]] = []
"""What else is shown of the database when it is scraped; may raise DatabaseError."""
