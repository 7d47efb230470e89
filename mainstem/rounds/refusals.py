"""What a round does not count, and why: named one by one as far as its record has room, then counted."""

from __future__ import annotations

from collections import Counter

from mainstem.errors import RefusedError
from mainstem.protocol.messages import Heartbeat, Left, Refused

REFUSALS_KEPT = 100
"""Refusals a round's record names one by one; the others are counted by reason."""


class Refusals:
    """The refusals of one round: `named`, in order, and `more` by reason."""

    def __init__(self) -> None:
        self.named: list[Refused] = []
        self.more: Counter[str] = Counter()
        self._silenced: set[tuple[str, str]] = set()

    @property
    def counts(self) -> Counter[str]:
        """All of them by reason."""
        return Counter(refusal.reason for refusal in self.named) + self.more

    def refuse(self, client: str | None, offset: int, reason: str, detail: str) -> None:
        """The record at `offset` does not count."""
        name = client[:64] if client is not None else None
        if len(self.named) < REFUSALS_KEPT:
            self.named.append(Refused(client=name, offset=offset, reason=reason, detail=detail[:500]))
        else:
            self.more[reason] += 1

    def refuse_once(self, record: Heartbeat | Left, offset: int, refusal: RefusedError) -> None:
        """Of what comes every few seconds the first is named, the others are counted."""
        who = (record.client, record.incarnation)
        if who in self._silenced:
            self.more[refusal.reason] += 1
            return
        self.refuse(record.client, offset, refusal.reason, refusal.detail)
        if len(self.named) < REFUSALS_KEPT:
            self._silenced.add(who)
