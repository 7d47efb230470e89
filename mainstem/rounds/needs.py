"""How many bytes a run will have written to Kafka by its end: its clients' updates, as far as they are kept, and its
versions, which stay."""

from __future__ import annotations

from dataclasses import dataclass

from mainstem.protocol import encodings
from mainstem.protocol.messages import Rules
from mainstem.rounds import selection
from mainstem.runtime.disk import size


@dataclass(frozen=True, slots=True)
class Needs:
    """`rounds` are those that are to come, `kept` those whose updates stay; bytes of one update and of one version."""

    rounds: int
    kept: int
    clients: int
    update: int
    version: int

    @property
    def updates(self) -> int:
        """Bytes of clients' updates."""
        return self.kept * self.clients * self.update

    @property
    def versions(self) -> int:
        """Bytes of global models."""
        return self.rounds * self.version

    @property
    def total(self) -> int:
        """Bytes altogether."""
        return self.updates + self.versions

    @property
    def said(self) -> str:
        """For people."""
        each = "" if self.update == self.version else f", {size(self.update)} each"
        return (
            f"about {size(self.total)} in Kafka: updates of {self.clients:,} client{'s' * (self.clients != 1)} in "
            f"{self.kept:,} round{'s' * (self.kept != 1)}{each}, {self.rounds:,} version{'s' * (self.rounds != 1)}, "
            f"{size(self.version)} each"
        )

    def warning(self, free: int | None, floor: int) -> str:
        """A sentence where so much room is not there; empty where it is, or where nobody knows."""
        if free is None or self.total <= free - floor:
            return ""
        way = "" if self.kept < self.rounds else " give keep_updates, so that old rounds' updates go, or"
        return (
            f"This run needs {self.said}. {size(free)} are free, and rounds wait below {size(floor)}:{way} make room."
        )


def needs(rules: Rules, nbytes: int, *, done: int = 0, members: int = 0, brings: int | None = None) -> Needs:
    """What a run of these rules needs from round `done` on, with a model of so many bytes.

    Clients are those who are there, `members`, or who must come, asked as the rules choose. An update of a forest
    `brings` so many bytes.
    """
    rounds = max(0, rules.rounds - done)
    kept = rounds
    if rules.keep_updates is not None:  # as `mainstem.aggregator.retention` prunes; and the open round's
        staleness = 0 if rules.mode == "sync" else rules.max_staleness
        kept = min(rounds, max(rules.keep_updates, staleness + 1) + 1)
    update, version = _bytes(rules, nbytes)
    clients = _clients(rules, max(members, rules.min_clients))
    return Needs(rounds, kept, clients, update if brings is None else brings, version)


def _bytes(rules: Rules, nbytes: int) -> tuple[int, int]:
    """Of an update and of a version of a model of so many bytes, which are taken for those of float32.

    A version that travels as a change leaves what its encoding leaves over beside it, and now and then itself.
    """
    up, down = encodings.make(rules.encoding_up), encodings.make(rules.encoding_down)
    update = nbytes if up is None else up.nbytes(nbytes // 4)
    version = nbytes if down is None else down.nbytes(nbytes // 4) + nbytes + nbytes // rules.keyframe_every
    return update, version


def _clients(rules: Rules, there: int) -> int:
    if rules.mode == "async":
        return 1
    if rules.mode == "buffered":
        return rules.buffer
    chooser = selection.make(rules.selection)
    return there if chooser is None else max(1, min(there, chooser.number(there)))
