"""What happens to a federation's rounds, and what the machine wants done about it.

One event is a record as it stands in the control topic: `Rejected`, a command's answer that changes nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mainstem.aggregation.strategies import Weighed
from mainstem.errors import RefusedError
from mainstem.protocol.chain import Head
from mainstem.protocol.control import Entry
from mainstem.protocol.messages import (
    Accepted,
    Base,
    ClientRecord,
    Closed,
    Command,
    Lifecycle,
    Rejected,
    Unknown,
    Update,
    Weights,
)


# ---------------------------------------------------------------- events
@dataclass(frozen=True, slots=True)
class Followed:
    """The chain has a new head."""

    head: Head


@dataclass(frozen=True, slots=True)
class Seen:
    """The next record of partition 0 that is not a chunk; `record` is None where it was not decodable.

    `sha256` is over the record's value where that may come to be named by a round. `appended`: the broker stamped it
    with its own clock, as it appended it; otherwise its writer did. `signer` is the public key, one of a site that the
    run admits, whose holder signed it; where there is none `problem` says what is wrong with its signature.
    """

    offset: int
    time_ms: int
    record: ClientRecord | Unknown | None
    problem: str = ""
    sha256: str = ""
    appended: bool = True
    signer: str = ""


@dataclass(frozen=True, slots=True)
class Checked:
    """The update at `offset` was read: whole and finite, or refused."""

    offset: int
    refusal: RefusedError | None


@dataclass(frozen=True, slots=True)
class Reduced:
    """The plan's updates were reduced; the new version's weights, and those of its groups, are acknowledged.

    `weighing` has what the strategy decided about each of them.
    """

    weights: Weights
    weighing: Sequence[Weighed]
    state: Mapping[str, Weights]


@dataclass(frozen=True, slots=True)
class Unreducible:
    """The plan's updates cannot be reduced; the sentence says why."""

    detail: str


@dataclass(frozen=True, slots=True)
class Commanded:
    """A command stands in the control topic."""

    offset: int
    command: Command


Event = Followed | Seen | Checked | Reduced | Unreducible | Commanded | Rejected


# ---------------------------------------------------------------- effects
@dataclass(frozen=True, slots=True)
class Check:
    """Read the update's tensors, then answer with `Checked`."""

    offset: int
    update: Update


@dataclass(frozen=True, slots=True)
class Plan:
    """A round that is closed: what it reduces, in this order; their coefficients are made then."""

    base: Base
    accepted: tuple[Accepted, ...]
    updates: tuple[Update, ...]
    closed: Closed
    clients: int


@dataclass(frozen=True, slots=True)
class Close:
    """Reduce and publish, then answer with `Reduced` or `Unreducible`."""

    plan: Plan


@dataclass(frozen=True, slots=True)
class Append:
    """Append this lifecycle record, read back, answer with `Followed`."""

    record: Lifecycle


@dataclass(frozen=True, slots=True)
class Reject:
    """Append this answer to a command."""

    record: Rejected


Effect = Check | Close | Append | Reject


# ---------------------------------------------------------------- from the control topic
def events_of(head: Head | None, entries: Sequence[Entry]) -> list[Event]:
    """What new entries of the control topic, of which `head` is the newest head, come to, as it is to be digested.

    First what is rejected, so that no command is answered twice; then the head; then the commands.
    """
    events: list[Event] = [entry.record for entry in entries if isinstance(entry.record, Rejected)]
    if head is not None and any(entry.link for entry in entries):
        events.append(Followed(head))
    events += [Commanded(entry.offset, entry.record) for entry in entries if isinstance(entry.record, Command)]
    return events
