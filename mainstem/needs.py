"""How many bytes a run will have written to Kafka by its end: its clients' updates, as far as they are kept, and its
versions, which stay."""

from __future__ import annotations

from dataclasses import dataclass

from mainstem import selection
from mainstem.disk import size
from mainstem.messages import Rules


@dataclass(frozen=True, slots=True)
class Needs:
    """`rounds` are those that are to come, `kept` those whose updates stay; `nbytes` of one model."""

    rounds: int
    kept: int
    clients: int
    nbytes: int

    @property
    def updates(self) -> int:
        """Bytes of clients' updates."""
        return self.kept * self.clients * self.nbytes

    @property
    def versions(self) -> int:
        """Bytes of global models."""
        return self.rounds * self.nbytes

    @property
    def total(self) -> int:
        """Bytes altogether."""
        return self.updates + self.versions

    @property
    def said(self) -> str:
        """For people."""
        return (
            f"about {size(self.total)} in Kafka: updates of {self.clients:,} client{'s' * (self.clients != 1)} in "
            f"{self.kept:,} round{'s' * (self.kept != 1)}, {self.rounds:,} version{'s' * (self.rounds != 1)}, "
            f"{size(self.nbytes)} each"
        )

    def warning(self, free: int | None, floor: int) -> str:
        """A sentence where so much room is not there; empty where it is, or where nobody knows."""
        if free is None or self.total <= free - floor:
            return ""
        way = "" if self.kept < self.rounds else " give keep_updates, so that old rounds' updates go, or"
        return (
            f"This run needs {self.said}. {size(free)} are free, and rounds wait below {size(floor)}:{way} make room."
        )


def needs(rules: Rules, nbytes: int, *, done: int = 0, members: int = 0) -> Needs:
    """What a run of these rules needs from round `done` on, with a model of so many bytes.

    Clients are those who are there, `members`, or who must come, asked as the rules choose.
    """
    rounds = max(0, rules.rounds - done)
    kept = rounds
    if rules.keep_updates is not None:  # as `backend.aggregator.retention` prunes; and the open round's
        staleness = 0 if rules.mode == "sync" else rules.max_staleness
        kept = min(rounds, max(rules.keep_updates, staleness + 1) + 1)
    return Needs(rounds, kept, _clients(rules, max(members, rules.min_clients)), nbytes)


def _clients(rules: Rules, there: int) -> int:
    if rules.mode == "async":
        return 1
    if rules.mode == "buffered":
        return rules.buffer
    chooser = selection.make(rules.selection)
    return there if chooser is None else max(1, min(there, chooser.number(there)))
