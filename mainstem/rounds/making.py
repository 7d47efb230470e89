"""Small pure makers of what records hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from mainstem.aggregation.strategies import Weighed
from mainstem.protocol.chain import Head
from mainstem.protocol.messages import LARGEST_INTEGER, MOST_VALUES, Accepted, Lifecycle, Metrics


def successor(head: Head, kind: type[Lifecycle], fields: dict[str, object]) -> Lifecycle:
    """A lifecycle record of that kind that follows `head`."""
    link = {"federation": head.opened.federation, "seq": head.link.record.seq + 1, "prev": head.link.hash}
    return kind(**link, **fields)  # type: ignore[arg-type]


def decided(accepted: Sequence[Accepted], weighing: Sequence[Weighed]) -> tuple[Accepted, ...]:
    """What counts, with what the round's strategy decided about each."""
    return tuple(
        msgspec.structs.replace(item, coefficient=w.coefficient, score=w.score, left_out=w.left_out, scale=w.scale)
        for item, w in zip(accepted, weighing, strict=True)
    )


def weighted(metrics: list[Metrics]) -> Metrics | None:
    """The mean of clients' metrics by their examples, each over those who have it; None for none.

    `undefined` counts, by name, the clients who have no value of it while others do, or say that they have none.
    It is within the bounds of a record as they are: no rounding takes a mean out of the numbers that it is the mean
    of, a count that no client can have earned honestly stops at the largest integer of a record, and of more names
    than a record has room for those count that most clients have.
    """
    measured = [m for m in metrics if m.examples]
    if not measured:
        return None
    values: dict[str, float] = {}
    undefined: dict[str, int] = {}
    told = Counter(name for m in measured for name in {*m.values, *m.undefined})
    for name in sorted(sorted(told, key=lambda name: (-told[name], name))[:MOST_VALUES]):
        having = [m for m in measured if name in m.values]
        if having:
            values[name] = _mean([m.values[name] for m in having], [m.examples for m in having])
        if len(having) < len(measured):
            undefined[name] = len(measured) - len(having)
    examples = min(sum(m.examples for m in measured), LARGEST_INTEGER)
    return Metrics(examples=examples, values=values, undefined=undefined)


def _mean(values: list[float], weights: list[int]) -> float:
    found = sum(weight * value for weight, value in zip(weights, values, strict=True)) / sum(weights)
    return min(max(found, min(values)), max(values))
