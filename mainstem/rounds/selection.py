"""Whom a round asks. A new way implements `Chooser` and is added to `SELECTIONS`.

A choice depends on the members, the federation's seed and the round alone, and stands in the log (`selected`).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction
from typing import Annotated, Any, NamedTuple

from msgspec import UNSET, Meta, Struct, UnsetType

from mainstem.errors import ConfigError
from mainstem.protocol.messages import Member, Selection
from mainstem.runtime.fields import checked, said

Order = Callable[[Sequence[Member], str], list[Member]]
"""(members, seed) -> the members in the order in which they are taken."""


Share = Annotated[float, Meta(gt=0, le=1)]
Number = Annotated[int, Meta(ge=1, le=1_000_000)]


class SelectionParams(Struct, frozen=True):
    """How many a round asks: one of the two."""

    fraction: Annotated[Share | UnsetType, said("a fraction", "Of those who are there, rounded up.")] = UNSET
    count: Annotated[Number | UnsetType, said("a number", "All, where fewer are there.")] = UNSET


class Chooser:
    """One way to choose, and how many."""

    def __init__(self, name: str, order: Order, params: Mapping[str, Any]) -> None:
        self._order = order
        chosen = checked(SelectionParams, params, f"not a parameter of {name}", "selection.params.{}".format)
        if len(params) != 1:
            raise ConfigError(f"selection.params needs count or fraction, one of them, for {name}")
        self._count, self._fraction = chosen.count, chosen.fraction

    def number(self, members: int) -> int:
        """How many of so many members a round asks."""
        if self._count is not UNSET:
            return self._count
        return math.ceil(Fraction(repr(self._fraction)) * members)  # the fraction as written: 0.1 of 10 is 1

    def choose(self, members: Sequence[Member], number: int, seed: str) -> list[str]:
        """So many of the members, or all of them; the clients by id."""
        return sorted(member.client for member in self._order(members, seed)[:number])


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


class Way(NamedTuple):
    """A way to choose: its order, None for everyone, and what it does in a few words."""

    order: Order | None
    summary: str


SELECTIONS: Mapping[str, Way] = {
    "all": Way(None, "everyone who is there"),
    "uniform": Way(uniform, "some, drawn alike"),
    "data_size": Way(by_data_size, "some, drawn by their numbers of examples"),
    "label_coverage": Way(by_label_coverage, "the fewest who have every label between them"),
    "speed": Way(by_speed, "the fastest"),
}


def make(selection: Selection) -> Chooser | None:
    """The chooser of that name, None for `all`; raises ConfigError naming what is wrong."""
    if selection.name not in SELECTIONS:
        known = ", ".join(sorted(SELECTIONS))
        raise ConfigError(f"selection.name {selection.name[:40]!r} is not known; choose one of {known}")
    order = SELECTIONS[selection.name].order
    if order is not None:
        return Chooser(selection.name, order, selection.params)
    if selection.params:
        raise ConfigError("selection.params must be empty for all")
    return None
