"""Recall: which versions descend from an update that should not have counted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mainstem.errors import ConfigError
from mainstem.lineage.history import read_history
from mainstem.protocol.log import MessageLog
from mainstem.protocol.messages import Accepted, RolledBack, Round


@dataclass(frozen=True, slots=True)
class Descendant:
    """A version that an update is part of: `direct`, or by its ancestors. `current`: the run's model descends from it.

    `updates` are the recalled updates that this very version's round accepted, as (client, sha256); `left_out`: its
    strategy left all of them out, so that they decided at most which others count.
    """

    version: int
    round: int
    sha256: str
    direct: bool
    current: bool
    updates: tuple[tuple[str, str], ...] = ()
    left_out: bool = False


def recall(
    log: MessageLog,
    federation: str,
    *,
    client: str | None = None,
    round: int | None = None,
    update: str | None = None,
) -> list[Descendant]:
    """The versions that descend from a client's updates (of one round, or of all), or from the update with a sha256.

    They are in order; a version's number is never used again, whatever was rolled back. Raises ConfigError where
    nothing was named or no such update counts, LogError.
    """
    if (client is None) == (update is None):
        raise ConfigError("name either a client or an update's sha256: --client or --update")
    history = read_history(log, federation)
    wanted = _choice(client, update)
    tainted: set[int] = set()  # the `seq` of records that set a model
    found: list[Descendant] = []
    current = {base.seq for base in history.head.lineage}
    for head, record in history.steps():
        if isinstance(record, Round):
            mine = [item for item in record.accepted if wanted(item) and round in (None, record.round)]
            origins = {head.base.seq, *(item.base.seq for item in record.accepted)}
            if mine or origins & tainted:
                tainted.add(record.seq)
                found.append(
                    Descendant(
                        record.version,
                        record.round,
                        record.weights.sha256,
                        direct=bool(mine),
                        current=record.seq in current,
                        updates=tuple((item.client, item.sha256) for item in mine),
                        left_out=bool(mine) and all(item.left_out for item in mine),
                    )
                )
        elif isinstance(record, RolledBack) and any(
            base.version == record.version and base.seq in tainted for base in head.lineage
        ):
            tainted.add(record.seq)  # it sets that version's model again
    if not found:
        named_round = "" if round is None else f" in round {round}"
        whom = f"client {client}" if client is not None else f"sha256 {update}"
        raise ConfigError(f"no update of {whom} counts in federation {federation}{named_round}")
    return found


def _choice(client: str | None, update: str | None) -> Callable[[Accepted], bool]:
    if client is not None:
        return lambda item: item.client == client
    return lambda item: item.sha256 == update
