"""When a round closes and which updates it takes. A new mode implements `Mode` and is added to `MODES`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from mainstem.chain import Head
from mainstem.errors import ConfigError, RefusedError
from mainstem.messages import Base, Reason


@dataclass(frozen=True, slots=True)
class Tally:
    """An open round in numbers: who is awaited, who has answered, how many updates count."""

    expected: frozenset[str]
    answered: frozenset[str]
    accepted: int
    quorum: int


class Mode(Protocol):
    """The policy of one mode; pure."""

    def admit(self, head: Head, base: Base, number: int) -> None:
        """Return if a client's update `number` from `base` counts under this head; raises RefusedError."""
        ...

    def complete(self, tally: Tally) -> bool:
        """Whether the round closes before its deadline."""
        ...


class Sync:
    """Every round waits for all of its members or for the deadline; only updates from the head's model count."""

    def admit(self, head: Head, base: Base, number: int) -> None:
        """See `Mode`."""
        if base == head.base and number == 0:
            return
        if base == head.base:
            raise RefusedError(Reason.DUPLICATE, f"it is update {number}; a sync round takes one a client, number 0")
        if base in head.lineage:
            raise RefusedError(Reason.STALE, f"it starts from version {base.version}, the head is {head.base.version}")
        raise RefusedError(
            Reason.UNKNOWN_BASE, f"it starts from record {base.seq}, which the head does not descend from"
        )

    def complete(self, tally: Tally) -> bool:
        """See `Mode`."""
        return tally.accepted >= tally.quorum and tally.expected <= tally.answered


MODES: Mapping[str, type[Mode]] = {"sync": Sync}


def make(name: str) -> Mode:
    """The mode of that name; raises ConfigError."""
    if name not in MODES:
        raise ConfigError(f"mode {name!r} is not known; choose one of {', '.join(sorted(MODES))}")
    return MODES[name]()
