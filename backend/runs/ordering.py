"""Names in the order that a person expects: site-2 before site-10."""

from __future__ import annotations

import re

from django.db.models import QuerySet

from backend.deployments.models import Member

_DIGITS = re.compile(r"([0-9]+)")


def natural(name: str) -> tuple[list[str | int], str]:
    """A key to sort by: runs of digits count as numbers, and of names that are alike so the text decides."""
    parts = _DIGITS.split(name)
    return [int(part) if at % 2 else part for at, part in enumerate(parts)], name


def members_in_order(members: QuerySet[Member]) -> list[str]:
    """The clients' names."""
    return sorted(members.order_by().values_list("client", flat=True), key=natural)
