"""Clients whose updates a strategy leaves out again and again: pure, from counts to sentences.

A rule against hostile clients cannot tell who attacks from who is honest and unlike the others, so that an honest
minority is what it loses first. A person can tell, who has to hear of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mainstem.runtime.words import few

FEWEST = 5
"""Updates of a client below which nothing is said of it."""
NAMED = 5
"""Clients that the sentence names."""


@dataclass(frozen=True, slots=True)
class Tally:
    """How often a client's updates were accepted and how often they were left out.

    `turns`: so many would have counted on average, had each round left out as many of its updates as it did, by lot.
    """

    client: str
    updates: int
    left_out: int
    turns: float

    @property
    def counted(self) -> int:
        """How many are part of a version."""
        return self.updates - self.left_out

    @property
    def overlooked(self) -> bool:
        """Whether it was left out more than half of the time, and that is not merely what its rule does to everybody.

        A rule that counts one update a round leaves out everybody most of the time: there, who counts less than half
        as often as by lot is meant, once its turn would have come.
        """
        if self.updates < FEWEST or 2 * self.left_out <= self.updates:
            return False
        if 2 * self.turns > self.updates:
            return True
        return self.turns >= 1 and 2 * self.counted < self.turns


def notice(strategy: str, tallies: Sequence[Tally]) -> str:
    """A sentence about the clients that this strategy overlooks, who was left out most first; empty for none."""
    found = sorted((t for t in tallies if t.overlooked), key=lambda t: (-t.left_out / t.updates, t.client))
    if not found:
        return ""
    named = few([f"{t.client} in {t.left_out} of its {t.updates} rounds" for t in found], NAMED)
    it, its, have = ("it", "its", "has") if len(found) == 1 else ("they", "their", "have")
    return (
        f"{strategy} left out {named}: what only {it} {have} seen hardly reaches the model. Look at {its} scores on "
        f"the rounds' pages and at {its} data: wrong labels, other units, few samples, an attack? Where the data are "
        "right and merely unlike the others', take a strategy that leaves nobody out, or one that expects fewer "
        "hostile clients"
    )
