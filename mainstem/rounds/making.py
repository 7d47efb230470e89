"""Small pure makers of what records hold."""

from __future__ import annotations

from mainstem.chain import Head
from mainstem.messages import Lifecycle, Metrics


def successor(head: Head, kind: type[Lifecycle], fields: dict[str, object]) -> Lifecycle:
    """A lifecycle record of that kind that follows `head`."""
    link = {"federation": head.opened.federation, "seq": head.link.record.seq + 1, "prev": head.link.hash}
    return kind(**link, **fields)  # type: ignore[arg-type]


def weighted(metrics: list[Metrics]) -> Metrics | None:
    """The mean of clients' metrics by their examples, each over those who have it; None for none.

    `undefined` counts, by name, the clients who have no value of it while others do, or say that they have none.
    """
    measured = [m for m in metrics if m.examples]
    if not measured:
        return None
    values: dict[str, float] = {}
    undefined: dict[str, int] = {}
    for name in sorted({name for m in measured for name in (*m.values, *m.undefined)}):
        having = [m for m in measured if name in m.values]
        if having:
            values[name] = sum(m.examples * m.values[name] for m in having) / sum(m.examples for m in having)
        if len(having) < len(measured):
            undefined[name] = len(measured) - len(having)
    return Metrics(examples=sum(m.examples for m in measured), values=values, undefined=undefined)
