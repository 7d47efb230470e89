"""What happens to a federation's rounds, and what the machine wants done about it."""

from __future__ import annotations

from dataclasses import dataclass

from mainstem.chain import Head
from mainstem.errors import RefusedError
from mainstem.messages import (
    Accepted,
    Base,
    ClientRecord,
    Closed,
    Command,
    Lifecycle,
    Rejected,
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
    with its own clock, as it appended it; otherwise its writer did.
    """

    offset: int
    time_ms: int
    record: ClientRecord | None
    problem: str = ""
    sha256: str = ""
    appended: bool = True


@dataclass(frozen=True, slots=True)
class Checked:
    """The update at `offset` was read: whole and finite, or refused."""

    offset: int
    refusal: RefusedError | None


@dataclass(frozen=True, slots=True)
class Reduced:
    """The plan's updates were reduced and the new version's weights are acknowledged."""

    weights: Weights


@dataclass(frozen=True, slots=True)
class Unreducible:
    """The plan's updates cannot be reduced; the sentence says why."""

    detail: str


@dataclass(frozen=True, slots=True)
class Commanded:
    """A command stands in the control topic."""

    offset: int
    command: Command


Event = Followed | Seen | Checked | Reduced | Unreducible | Commanded


# ---------------------------------------------------------------- effects
@dataclass(frozen=True, slots=True)
class Check:
    """Read the update's tensors, then answer with `Checked`."""

    offset: int
    update: Update


@dataclass(frozen=True, slots=True)
class Plan:
    """A round that is closed: what it reduces, in this order."""

    base: Base
    accepted: tuple[Accepted, ...]
    manifests: tuple[Weights, ...]
    closed: Closed


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
