"""What was folded is the next version."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from mainstem.aggregation.strategies.choice import Elements, Server


class Replace(Server):
    """No step of the server's own, and nothing to remember."""

    name: ClassVar[str] = "replace"
    summary: ClassVar[str] = "What was folded is the next version."

    def step(
        self, model: Elements, folded: Elements, state: Mapping[str, Elements], round_: int
    ) -> tuple[Elements, dict[str, Elements]]:
        """See `Server`."""
        return folded, {}
