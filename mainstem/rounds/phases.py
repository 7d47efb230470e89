"""The phases of a federation's rounds: which events each accepts, and which phases may follow. The one table.

`RoundMachine.handle` looks in it, tests check that the machine does what it says and nothing else, and
`python -m mainstem.rounds.picture` draws `docs/rounds.svg` from it. What an event must be besides (a later head, a
record that was not seen yet, the check that was asked for) its handler judges.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from mainstem.protocol.messages import Rejected
from mainstem.rounds.events import Checked, Commanded, Event, Followed, Reduced, Seen, Unreducible


class Phase(StrEnum):
    """What the machine is at. The values stand in `progress` records."""

    UNBORN = "unborn"
    WAITING = "waiting"
    OPEN = "open"
    CHECKING = "checking"
    REDUCING = "reducing"
    COMMITTING = "committing"
    FINAL = "final"
    ENDED = "ended"


MEANING: Mapping[Phase, str] = {
    Phase.UNBORN: "no head was read yet",
    Phase.WAITING: "for min_clients to be there",
    Phase.OPEN: "the round's steps take what they ask for",
    Phase.CHECKING: "an update's tensors are read",
    Phase.REDUCING: "the round is closed, its updates become a version",
    Phase.COMMITTING: "a lifecycle record is written; the chain says what becomes of it",
    Phase.FINAL: "the last version is evaluated",
    Phase.ENDED: "stopped, finished or failed",
}

READING = frozenset({Phase.WAITING, Phase.OPEN, Phase.FINAL})
"""The phases in which the clients' records are read on."""

_FOLLOWED = frozenset({Phase.WAITING, Phase.OPEN, Phase.FINAL, Phase.COMMITTING, Phase.ENDED})

TABLE: Mapping[Phase, Mapping[type[Event], frozenset[Phase]]] = {
    Phase.UNBORN: {
        Followed: _FOLLOWED,
        Commanded: frozenset({Phase.UNBORN}),
        Rejected: frozenset({Phase.UNBORN}),
    },
    Phase.WAITING: {
        Followed: _FOLLOWED,
        Commanded: frozenset({Phase.WAITING, Phase.COMMITTING}),
        Rejected: frozenset({Phase.WAITING}),
        Seen: frozenset({Phase.WAITING, Phase.OPEN, Phase.CHECKING, Phase.REDUCING, Phase.COMMITTING}),
    },
    Phase.OPEN: {
        Followed: _FOLLOWED,
        Commanded: frozenset({Phase.OPEN, Phase.COMMITTING}),
        Rejected: frozenset({Phase.OPEN}),
        Seen: frozenset({Phase.OPEN, Phase.CHECKING, Phase.REDUCING, Phase.COMMITTING}),
    },
    Phase.CHECKING: {
        Followed: _FOLLOWED,
        Commanded: frozenset({Phase.CHECKING}),
        Rejected: frozenset({Phase.CHECKING}),
        Checked: frozenset({Phase.WAITING, Phase.OPEN, Phase.REDUCING, Phase.COMMITTING}),
    },
    Phase.REDUCING: {
        Followed: _FOLLOWED,
        Commanded: frozenset({Phase.REDUCING}),
        Rejected: frozenset({Phase.REDUCING}),
        Reduced: frozenset({Phase.COMMITTING}),
        Unreducible: frozenset({Phase.COMMITTING}),
    },
    Phase.COMMITTING: {
        Followed: _FOLLOWED,
        Commanded: frozenset({Phase.COMMITTING}),
        Rejected: frozenset({Phase.COMMITTING}),
    },
    Phase.FINAL: {
        Followed: _FOLLOWED,
        Commanded: frozenset({Phase.FINAL, Phase.COMMITTING}),
        Rejected: frozenset({Phase.FINAL}),
        Seen: frozenset({Phase.FINAL, Phase.COMMITTING}),
    },
    Phase.ENDED: {
        Followed: _FOLLOWED,
        Commanded: frozenset({Phase.ENDED, Phase.COMMITTING}),
        Rejected: frozenset({Phase.ENDED}),
    },
}
"""Phase -> the type of an event that it accepts -> the phases in which the machine may be then."""
