"""When a round closes and which updates it takes. A new mode implements `Mode` and is added to `MODES`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol

from mainstem.errors import ConfigError, RefusedError
from mainstem.protocol.chain import Head
from mainstem.protocol.messages import Base, Reason, Rules
from mainstem.rounds import selection
from mainstem.runtime.exact import power


@dataclass(frozen=True, slots=True)
class Tally:
    """An open round in numbers: how many clients it still waits for, how many updates count, how many it needs."""

    awaited: int
    accepted: int
    quorum: int


class Mode(Protocol):
    """The policy of one mode under one set of rules; pure.

    `summary` says in a line what it does, `own` are the rules that mean nothing in every mode but do in this one.
    """

    summary: ClassVar[str]
    own: ClassVar[tuple[str, ...]]

    @property
    def quorum(self) -> int:
        """How many updates a round needs where the rules' `quorum` does not say it."""
        ...

    @property
    def reach(self) -> int:
        """How many commits before the head the base of an update that counts may be."""
        ...

    def admit(self, head: Head, base: Base) -> int:
        """The staleness of an update from `base` that counts under this head; raises RefusedError."""
        ...

    def discount(self, staleness: int) -> float:
        """What the weight of an update of that staleness is multiplied by; the same bits on every machine."""
        ...

    def complete(self, tally: Tally) -> str | None:
        """Why the round closes before its deadline; None while it does not."""
        ...


class Sync:
    """Every round waits for its members, or for `target` updates, or for the deadline; only updates from the head's
    model count.

    Bonawitz et al., "Towards Federated Learning at Scale: System Design", MLSys 2019 (arXiv:1902.01046), section
    2.2, select more clients than they need and go on when enough have answered: that is `target`.
    """

    summary: ClassVar[str] = "a round waits for everyone, for a target, or for the deadline"
    own: ClassVar[tuple[str, ...]] = ("target", "selection")

    def __init__(self, rules: Rules) -> None:
        self._target, self.reach = rules.target, 0
        self.quorum = rules.min_clients if rules.target is None else min(rules.min_clients, rules.target)

    def admit(self, head: Head, base: Base) -> int:
        """See `Mode`."""
        if staleness_of(head, base) == 0:
            return 0
        said = f"it starts from version {base.version}, the head is version {head.base.version}"
        raise RefusedError(Reason.STALE, f"{said}: its round closed before it came")

    def discount(self, staleness: int) -> float:
        """See `Mode`."""
        return 1.0

    def complete(self, tally: Tally) -> str | None:
        """See `Mode`."""
        if tally.accepted < tally.quorum:
            return None
        if not tally.awaited:
            return "all"
        return "target" if self._target is not None and tally.accepted >= self._target else None


class Buffered:
    """A round closes at `buffer` updates, from the head's model or from an ancestor at most `max_staleness` commits
    older, whose updates count as differences from it, the less the older it is.

    FedBuff: Nguyen et al., "Federated Learning with Buffered Asynchronous Aggregation", AISTATS 2022
    (arXiv:2106.06639), algorithm 1, with the polynomial staleness weight of its section 5 (after FedAsync: Xie et
    al., arXiv:1903.03934).
    """

    summary: ClassVar[str] = "a number of updates closes a round; older ones weigh less"
    own: ClassVar[tuple[str, ...]] = ("buffer", "max_staleness", "staleness_exponent")

    def __init__(self, rules: Rules) -> None:
        self._buffer, self.reach, self._exponent = rules.buffer, rules.max_staleness, rules.staleness_exponent
        self.quorum = min(rules.min_clients, rules.buffer)

    def admit(self, head: Head, base: Base) -> int:
        """See `Mode`."""
        staleness = staleness_of(head, base)
        if staleness > self.reach:
            said = f"it starts from version {base.version}, {staleness} commits before the head"
            raise RefusedError(Reason.STALE, f"{said}; max_staleness is {self.reach}")
        return staleness

    def discount(self, staleness: int) -> float:
        """See `Mode`."""
        return polynomial(staleness, self._exponent)

    def complete(self, tally: Tally) -> str | None:
        """See `Mode`. Where nobody is left who could still send one, the round does not wait for its deadline."""
        if tally.accepted >= self._buffer:
            return "buffer"
        return "all" if tally.accepted >= tally.quorum and not tally.awaited else None


class Async(Buffered):
    """Every update makes a version: buffered with a buffer of one."""

    summary: ClassVar[str] = "every update makes a version"
    own: ClassVar[tuple[str, ...]] = ("max_staleness", "staleness_exponent")

    def __init__(self, rules: Rules) -> None:
        super().__init__(rules)
        self._buffer = self.quorum = 1


MODES: Mapping[str, type[Sync | Buffered]] = {"sync": Sync, "buffered": Buffered, "async": Async}


def make(rules: Rules) -> Mode:
    """The mode of these rules; raises ConfigError, which begins with the field that is wrong."""
    if rules.mode not in MODES:
        raise ConfigError(f"mode {rules.mode[:40]!r} is not known; choose one of {', '.join(sorted(MODES))}")
    selection.make(rules.selection)
    if rules.mode != "sync" and rules.selection.name != "all":
        raise ConfigError(
            f"selection.name must be all in mode {rules.mode}, whose clients come and go at their own pace"
        )
    if rules.mode != "sync" and rules.target is not None:
        raise ConfigError(f"target belongs to mode sync; mode {rules.mode} closes its rounds by buffer")
    if rules.target is not None and rules.quorum is not None and rules.target < rules.quorum:
        raise ConfigError(f"target is {rules.target}; it must be at least quorum, {rules.quorum}")
    return MODES[rules.mode](rules)


def staleness_of(head: Head, base: Base) -> int:
    """Commits from `base` to the head's model; raises RefusedError where the head does not descend from it."""
    for staleness, ancestor in enumerate(reversed(head.lineage)):
        if ancestor == base:
            return staleness
        if ancestor.seq < base.seq:
            break
    raise RefusedError(Reason.UNKNOWN_BASE, f"it starts from record {base.seq}, which the head does not descend from")


def polynomial(staleness: int, exponent: float) -> float:
    """(1 + staleness)^-exponent, rounded once."""
    return power(1 + staleness, -exponent)
