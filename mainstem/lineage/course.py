"""Where in partition 0 of the clients' topic the updates of each round lie, in an honest run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mainstem.errors import ConfigError
from mainstem.lineage.history import History
from mainstem.protocol.chain import Head
from mainstem.protocol.chunks import WRITER, is_chunk
from mainstem.protocol.log import Record
from mainstem.protocol.messages import RolledBack, Round
from mainstem.protocol.packing import has_payload
from mainstem.rounds import modes

IN_FLIGHT = 64 << 20
"""Bytes of payloads that may wait for their manifests, beside twice what the clients' updates take."""


@dataclass(frozen=True, slots=True)
class Window:
    """One round's. Its chunks and manifests lie from `start` to `end`, its manifests at `offsets`.

    What passes by in `turn` may be named by that round or one of the `reach` rounds after it, if it is a chunk of one
    of these `clients`; `most` bytes of such may wait.
    """

    turn: int
    start: int
    end: int
    offsets: frozenset[int]
    clients: frozenset[bytes]
    reach: int
    most: int

    def concerns(self, record: Record) -> bool:
        """Whether it has a payload that may be named."""
        if has_payload(record.headers):
            return record.partition == 0 and record.offset in self.offsets
        return is_chunk(record.headers) and record.headers.get(WRITER) in self.clients


class Course:
    """The windows of the rounds that `wanted` chooses, asked for in order."""

    def __init__(self, history: History, wanted: Callable[[Round], bool]) -> None:
        self._starts = {0: 0}
        self._rounds: list[Round] = []
        self._turn = -1
        for link in history.links:
            if isinstance(link.record, Round | RolledBack):
                self._starts[link.record.seq] = link.record.snapshot.position
            if isinstance(link.record, Round) and wanted(link.record):
                self._rounds.append(link.record)

    def window(self, head: Head, record: Round) -> Window:
        """The window of a round.

        A client writes chunks after it has read the record that set its base, and so behind the position that this
        names. Where it may be late, they pass by in the round that counts them or in one of as many before.
        """
        self._turn = next(n for n in range(self._turn + 1, len(self._rounds)) if self._rounds[n] is record)
        ahead = reach(head)
        coming = self._rounds[self._turn : self._turn + ahead + 1]
        clients = frozenset(item.client.encode() for each in coming for item in each.accepted)
        return Window(
            turn=self._turn,
            start=min((self._starts.get(item.base.seq, 0) for item in record.accepted), default=0),
            end=max((item.offset + 1 for item in record.accepted), default=0),
            offsets=frozenset(item.offset for item in record.accepted),
            clients=clients,
            reach=ahead,
            most=2 * len(clients) * max((item.nbytes for item in record.accepted), default=0) + IN_FLIGHT,
        )


def reach(head: Head) -> int:
    """How many commits before the head the base of an update may be; 0 under rules that are not known here."""
    try:
        return modes.make(head.rules).reach
    except ConfigError:
        return 0
