"""Small pure makers of what records hold."""

from __future__ import annotations

from mainstem.chain import Head
from mainstem.messages import Lifecycle, Metrics


def successor(head: Head, kind: type[Lifecycle], fields: dict[str, object]) -> Lifecycle:
    """A lifecycle record of that kind that follows `head`."""
    link = {"federation": head.opened.federation, "seq": head.link.record.seq + 1, "prev": head.link.hash}
    return kind(**link, **fields)  # type: ignore[arg-type]


def weighted(metrics: list[Metrics]) -> Metrics | None:
    """The mean of clients' metrics by their examples, of those names that all of them have; None for none."""
    total = sum(m.examples for m in metrics)
    if not total:
        return None
    names = set.intersection(*(set(m.values) for m in metrics))
    values = {name: sum(m.examples * m.values[name] for m in metrics) / total for name in sorted(names)}
    return Metrics(examples=total, values=values)
