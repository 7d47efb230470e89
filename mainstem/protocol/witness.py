"""A witness of a log's end: how many lifecycle records a federation's chain had, and the sha256 of the newest.

Each record names the one before it, so that this one hash stands for all of them. What no chain can say is that its
newest record is the newest there ever was: a chain that lost its tail is a chain. So the witness is kept elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec

from mainstem.errors import DecodeError

FORMAT, SCHEMA = "mainstem-witness", 1
LARGEST = 1 << 20
"""Bytes of a statement."""
ACCEPT = "mainstem witness accept"

Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
Federation = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]{8}\Z")]


class Witness(msgspec.Struct, frozen=True, kw_only=True):
    """A chain of `count` lifecycle records, the last of which has the sha256 `hash`."""

    count: Annotated[int, msgspec.Meta(ge=1, lt=1 << 53)]
    hash: Sha256

    def __str__(self) -> str:
        return f"{self.count} lifecycle record{'s' if self.count > 1 else ''}, the last with sha256 {self.hash}"


class Acceptance(msgspec.Struct, frozen=True, kw_only=True):
    """A person took what the log held for the run, though more, or something else, was `witnessed`.

    `number` counts a federation's acceptances from 1; `time_ms` is since the epoch.
    """

    number: Annotated[int, msgspec.Meta(ge=1)]
    accepted: Witness
    witnessed: Witness | None
    by: str
    why: str
    time_ms: Annotated[int, msgspec.Meta(ge=0)]


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """A federation's witness as it is carried: in a file of its own, and in an exported run."""

    federation: Federation
    witness: Witness
    acceptances: tuple[Acceptance, ...] = ()
    format: str = FORMAT
    schema: int = SCHEMA


def witness_of(hashes: Sequence[str]) -> Witness | None:
    """What stands for a chain with these sha256, the oldest first; None for an empty one."""
    return Witness(count=len(hashes), hash=hashes[-1]) if hashes else None


def holds(hashes: Sequence[str], witness: Witness) -> bool:
    """Whether the chain is the witnessed one, or goes on from it."""
    return len(hashes) >= witness.count and hashes[witness.count - 1] == witness.hash


def objection(federation: str, count: int, witness: Witness) -> str:
    """The sentence about a log that does not hold the witness; `count` is how many lifecycle records it has."""
    if count < witness.count:
        what = f"it ends after {count} lifecycle record{'' if count == 1 else 's'}"
        trouble = f"the log of federation {federation} has lost its tail: {what}, and {witness} were witnessed"
    else:
        trouble = f"the log of federation {federation} has another tail than was witnessed: it does not hold {witness}"
    return f"{trouble}; restore the newer copy of Kafka, or take what there is with `{ACCEPT} {federation}`"


def objection_to(federation: str, hashes: Sequence[str], witness: Witness | None) -> str:
    """Why a chain with these sha256 is not the witnessed one; empty where it is, and where nothing was witnessed."""
    if witness is None or holds(hashes, witness):
        return ""
    return objection(federation, len(hashes), witness)


def decode_statement(text: bytes) -> Statement:
    """The statement of a witness file; raises DecodeError."""
    try:
        statement = msgspec.json.decode(text, type=Statement)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError(f"it is no witness: {error}") from error
    if (statement.format, statement.schema) != (FORMAT, SCHEMA):
        raise DecodeError(f"it is no witness of a format that is known here ({FORMAT}, schema {SCHEMA})")
    return statement
