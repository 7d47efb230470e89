"""Bulyan: El Mhamdi et al., "The Hidden Vulnerability of Distributed Learning in Byzantium", ICML 2018
(arXiv:1802.07927), section 4, over Krum."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Sequence
from typing import Annotated, ClassVar

import msgspec

from mainstem.aggregation.measures import Measures
from mainstem.aggregation.strategies.choice import Elements, Stack, Weighed
from mainstem.aggregation.strategies.fold.gathering import around, middle, ranked
from mainstem.aggregation.strategies.fold.krum import Krum, KrumParams


class BulyanParams(KrumParams, frozen=True, kw_only=True):
    """How many clients may be hostile."""

    byzantine: Annotated[
        int,
        msgspec.Meta(
            ge=0, le=1000, title="Hostile clients",
            description="f: how many clients a round may hold that send anything; it needs 4 f + 3 updates.",
        ),
    ] = 1  # fmt: skip


class Bulyan(Krum):
    """Krum takes one update after the other, n - 2 f in all; of each of their numbers the n - 4 f nearest to the
    median are averaged.

    So a hostile update that lies close to the others as a whole cannot hide a large error in one number. An update's
    recorded score is that among all.
    """

    name: ClassVar[str] = "bulyan"
    summary: ClassVar[str] = "Krum takes most updates; of each number those nearest to the median are averaged."
    gathers: ClassVar[bool] = True
    alike: ClassVar[str] = "bulyan counts those alike that it chooses"
    scored: ClassVar[str] = (
        "the sum of squared distances to its n - f - 2 nearest others; the lowest is taken first, each next one by its "
        "score among those that are left"
    )

    Params = BulyanParams
    params: BulyanParams

    @property
    def least(self) -> int:
        """4 f + 3, the paper's condition."""
        return 4 * self.params.byzantine + 3

    def chosen(self, totals: Sequence[int], measures: Measures) -> Collection[int]:
        """See `Krum`. Each time the scores are those among the updates that are left, and of one neighbour at least."""
        distances = list(measures.others())
        for number, row in enumerate(distances):
            row.insert(number, 0)
        left, taken = list(range(len(totals))), set[int]()
        near = [sorted(row[:number] + row[number + 1 :]) for number, row in enumerate(distances)]
        nearest, scores = max(len(left) - self.params.byzantine - 2, 1), list(totals)
        for _ in range(len(totals) - 2 * self.params.byzantine):
            one = min(left, key=scores.__getitem__)
            left.remove(one)
            taken.add(one)
            fewer = max(len(left) - self.params.byzantine - 2, 1)
            for number in left:
                scores[number] += _without(near[number], distances[number][one], nearest, fewer)
            nearest = fewer
        return taken

    def fold(self, stack: Stack, weighing: Sequence[Weighed]) -> Elements:
        """See `Fold`."""
        columns = ranked(stack, weighing)
        return around(columns, middle(columns), columns.shape[1] - 2 * self.params.byzantine)


def _without(row: list[int], distance: int, nearest: int, fewer: int) -> int:
    """Take a distance out of a sorted row; by how much the sum of its first ones changes: `nearest` before, `fewer`
    (as many, or one less) after."""
    before = sum(row[:nearest]) if len(row) <= nearest else None
    place = bisect_left(row, distance)
    del row[place]
    if before is not None:
        return sum(row[:fewer]) - before
    change = (row[nearest - 1] - distance) if place < nearest else 0
    return change - (row[nearest - 1] if fewer < nearest else 0)
