"""Clients train as the run's training says."""

from __future__ import annotations

from typing import ClassVar

from mainstem.aggregation.strategies.choice import Client


class Plain(Client):
    """Nothing is added, nothing is exchanged beside the model."""

    name: ClassVar[str] = "plain"
    summary: ClassVar[str] = "Clients train as the run says."
