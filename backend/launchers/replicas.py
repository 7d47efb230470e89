"""Replicas of deployed versions, as whoever runs them sees them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from mainstem.serving.spec import ServingSpec


@dataclass(frozen=True, slots=True)
class FleetStanding:
    """`ready` replicas answer. `problem` says in a sentence why others do not; empty where they are only starting."""

    ready: int = 0
    problem: str = ""


class Fleet(Protocol):
    """Keeps replicas: Kubernetes, or processes of this machine. Every method may raise MainstemError or OSError."""

    def refresh(self) -> None:
        """Look at all replicas: `bring` may tell what was seen by the last look."""
        ...

    def bring(self, spec: ServingSpec, replicas: int, job: Mapping[str, Any] | None = None) -> FleetStanding:
        """Take the next steps towards so many replicas; returns at once. Repeating them changes nothing.

        `job` are the federation's own `JobSettings` for a cluster; they mean nothing to processes.
        """
        ...

    def end(self, name: str) -> bool:
        """Take the next step towards none; whether none is left."""
        ...

    def sweep(self, names: Collection[str]) -> None:
        """End whatever belongs to none of these."""
        ...

    def log(self, name: str, tail: int = 65536) -> str:
        """The last `tail` bytes of the replicas' output, each under a line of its own."""
        ...
