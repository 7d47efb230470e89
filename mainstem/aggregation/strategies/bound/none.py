"""Changes as they are."""

from __future__ import annotations

from typing import ClassVar

from mainstem.aggregation.strategies.choice import Bound


class Unbounded(Bound):
    """Nothing is measured, nothing is scaled."""

    name: ClassVar[str] = "none"
    summary: ClassVar[str] = "Changes are taken as they are."
