"""Retention: prunes clients' updates of rounds that are longer ago than the federation's rules keep them.

It cuts below all that the open round and the kept rounds name, and never beyond the head's snapshot; global models
stay, so a rollback to any ancestor of the head remains possible. Two that prune at once do no harm, nor does one that
is behind: what is cut is given by commits alone.
"""

from __future__ import annotations

import itertools
import logging
from collections import deque
from collections.abc import Iterable, Sequence

from mainstem.errors import DecodeError, LogError, RefusedError, UnreadableError
from mainstem.protocol.chain import Head
from mainstem.protocol.control import Entry
from mainstem.protocol.exchange import manifests
from mainstem.protocol.log import MessageLog
from mainstem.protocol.manifests import manifest_of
from mainstem.protocol.messages import Accepted, Round, Update

logger = logging.getLogger("mainstem.aggregator")

Floor = dict[int, int]
"""The lowest offset that is needed, by partition."""


class Retention:
    """Sees every round of one federation, in order, and prunes after it."""

    def __init__(self, log: MessageLog) -> None:
        self._log = log
        self._rounds: deque[tuple[Round, int]] = deque()
        self._updates: dict[int, Update] = {}
        self._floors: dict[int, Floor] = {}
        self._began = 0

    def learn(self, accepted: Sequence[Accepted], updates: Sequence[Update]) -> None:
        """The updates of a round that is about to be committed, so that they need not be read again."""
        self._updates = {item.offset: update for item, update in zip(accepted, updates, strict=True)}

    def see(self, head: Head, entries: Iterable[Entry]) -> None:
        """Entries up to the head; prunes where a round is new. What the log does not do now, the next commit will."""
        fresh = False
        for entry in entries:
            if entry.link is not None and isinstance(entry.record, Round):
                self._rounds.append((entry.record, self._began))  # it began to read where the one before left off
                self._began = entry.record.snapshot.position
                fresh = True
        if head.rules.keep_updates is None or not fresh:
            return
        # an update that may still count has written its chunks after its base was committed
        staleness = 0 if head.rules.mode == "sync" else head.rules.max_staleness
        keep = max(head.rules.keep_updates, staleness + 1)
        while len(self._rounds) > keep:
            dropped, _ = self._rounds.popleft()
            self._floors.pop(dropped.seq, None)
        try:
            self._prune(head)
        except LogError as error:
            logger.warning("federation %s is not pruned now: %s", head.opened.federation, error)

    def _prune(self, head: Head) -> None:
        topic = head.opened.topics.aggregator
        floors = [self._floor(topic, record, began) for record, began in self._rounds]
        for partition in range(self._log.partitions(topic)):
            needed = [floor[partition] for floor in floors if partition in floor]
            if partition == 0:
                needed.append(head.snapshot.position)
            if partition and partition not in floors[0]:
                continue  # nothing tells where the oldest kept round began here: it may be an update on its way
            begin, _ = self._log.bounds(topic, partition)
            if min(needed) > begin:
                self._log.delete_records(topic, partition, min(needed))
                logger.info("%s partition %d is pruned below offset %d", topic, partition, min(needed))

    def _floor(self, topic: str, record: Round, began: int) -> Floor:
        """What a round names: from where it began to read, and its updates' chunks, which may stand before that."""
        known = self._floors.get(record.seq)
        if known is not None:
            return known
        floor = {0: began}
        for item in record.accepted:
            update = self._updates.get(item.offset) or self._read(topic, item)
            parts = manifests(update) if update is not None else ()
            for run in itertools.chain.from_iterable(weights.chunks for weights in parts):
                floor[run.partition] = min(run.first, floor.get(run.partition, run.first))
        self._floors[record.seq] = floor
        return floor

    def _read(self, topic: str, item: Accepted) -> Update | None:
        try:
            return manifest_of(self._log, topic, item)
        except (UnreadableError, RefusedError, DecodeError):
            return None  # it is gone already
