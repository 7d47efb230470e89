"""Small pure makers of what records hold."""

from __future__ import annotations

from mainstem.chain import Head
from mainstem.messages import LARGEST_INTEGER, Lifecycle, Metrics


def successor(head: Head, kind: type[Lifecycle], fields: dict[str, object]) -> Lifecycle:
    """A lifecycle record of that kind that follows `head`."""
    link = {"federation": head.opened.federation, "seq": head.link.record.seq + 1, "prev": head.link.hash}
    return kind(**link, **fields)  # type: ignore[arg-type]


def weighted(metrics: list[Metrics]) -> Metrics | None:
    """The mean of clients' metrics by their examples, of those names that all of them have; None for none.

    It is within the bounds of a record as they are: no rounding takes a mean out of the numbers that it is the mean
    of, and a count that no client can have earned honestly stops at the largest integer of a record.
    """
    total = sum(m.examples for m in metrics)
    if not total:
        return None

    def mean(name: str) -> float:
        told = [m.values[name] for m in metrics]
        found = sum(m.examples * m.values[name] for m in metrics) / total
        return min(max(found, min(told)), max(told))

    names = set.intersection(*(set(m.values) for m in metrics))
    return Metrics(examples=min(total, LARGEST_INTEGER), values={name: mean(name) for name in sorted(names)})
