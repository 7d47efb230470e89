"""Whom a round asks. A new way implements `Chooser` and is added to `SELECTIONS`.

A choice depends on the members, the federation's seed and the round alone, and stands in the log (`selected`).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction
from typing import Any

from mainstem.errors import ConfigError
from mainstem.messages import Member, Selection

Order = Callable[[Sequence[Member], str], list[Member]]
"""(members, seed) -> the members in the order in which they are taken."""


class Chooser:
    """One way to choose; `params` says how many: `count`, or `fraction` of those who are there."""

    def __init__(self, name: str, order: Order, params: Mapping[str, Any]) -> None:
        self._order = order
        unknown = sorted(set(params) - {"count", "fraction"})
        if unknown:
            raise ConfigError(
                f"selection.params.{unknown[0][:40]} is not a parameter of {name} (count and fraction are)"
            )
        if len(params) != 1:
            raise ConfigError(f"selection.params needs count or fraction, one of them, for {name}")
        self._count, self._fraction = params.get("count"), params.get("fraction")
        if self._count is not None and not (_is_number(self._count, int) and 1 <= self._count <= 1_000_000):
            raise ConfigError("selection.params.count must be a whole number from 1 to 1000000")
        if self._count is None and not (_is_number(self._fraction, int, float) and 0 < self._fraction <= 1):  # type: ignore[operator]
            raise ConfigError("selection.params.fraction must be a number above 0 and at most 1")

    def number(self, members: int) -> int:
        """How many of so many members a round asks."""
        if self._count is not None:
            return int(self._count)
        return math.ceil(Fraction(repr(self._fraction)) * members)  # the fraction as written: 0.1 of 10 is 1

    def choose(self, members: Sequence[Member], number: int, seed: str) -> list[str]:
        """So many of the members, or all of them; the clients by id."""
        return sorted(member.client for member in self._order(members, seed)[:number])


def _is_number(value: object, *kinds: type) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool)


# ---------------------------------------------------------------- the orders
def uniform(members: Sequence[Member], seed: str) -> list[Member]:
    """Every client with the same chance: ordered by the hash of seed and client."""
    return sorted(members, key=lambda member: _draw(seed, member))


def by_data_size(members: Sequence[Member], seed: str) -> list[Member]:
    """Drawn without replacement, with chances in proportion to their examples.

    Efraimidis and Spirakis, "Weighted random sampling with a reservoir", 2006: by -ln(u) / weight.
    """
    context = Context(prec=40, rounding=ROUND_HALF_EVEN)

    def key(member: Member) -> tuple[Decimal, str]:
        u = context.divide(Decimal(_draw(seed, member) + 1), Decimal((1 << 256) + 1))
        return context.divide(context.minus(context.ln(u)), Decimal(max(member.examples, 1))), member.client

    return sorted(members, key=key)


def by_label_coverage(members: Sequence[Member], seed: str) -> list[Member]:
    """The one with the most labels that nobody before it has, again and again; once all are covered, anew."""
    left = uniform(members, seed)
    labels = {member.client: {label for label, n in member.labels.items() if n > 0} for member in left}
    missing: set[str] = set()
    order: list[Member] = []
    while left:
        if not any(missing & labels[member.client] for member in left):
            missing = set().union(*(labels[member.client] for member in left))
        best = max(left, key=lambda member: len(missing & labels[member.client]))  # the first of equals
        missing -= labels[best.client]
        left.remove(best)
        order.append(best)
    return order


def by_speed(members: Sequence[Member], seed: str) -> list[Member]:
    """Those who were never measured, then the fastest by their last `train_seconds`."""
    return sorted(uniform(members, seed), key=lambda member: member.seconds)


def _draw(seed: str, member: Member) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}/{member.client}".encode()).digest(), "big")


SELECTIONS: Mapping[str, Order | None] = {
    "all": None,
    "uniform": uniform,
    "data_size": by_data_size,
    "label_coverage": by_label_coverage,
    "speed": by_speed,
}


def make(selection: Selection) -> Chooser | None:
    """The chooser of that name, None for `all`; raises ConfigError naming what is wrong."""
    if selection.name not in SELECTIONS:
        known = ", ".join(sorted(SELECTIONS))
        raise ConfigError(f"selection.name {selection.name[:40]!r} is not known; choose one of {known}")
    order = SELECTIONS[selection.name]
    if order is not None:
        return Chooser(selection.name, order, selection.params)
    if selection.params:
        raise ConfigError("selection.params must be empty for all")
    return None
