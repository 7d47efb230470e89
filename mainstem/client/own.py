"""What a client's own updates have carried beside the model, as the log has it.

So a client that must remember something from round to round (SCAFFOLD's variate) keeps it nowhere: killed and started
again it sums up the same numbers, in the order of the rounds, and goes back with a rollback as the server does.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mainstem.errors import OLDER, UnreadableError
from mainstem.protocol import updates
from mainstem.protocol.chain import Head
from mainstem.protocol.chunks import Limits
from mainstem.protocol.control import ControlReader
from mainstem.protocol.exchange import check_update, exchange
from mainstem.protocol.log import Source
from mainstem.protocol.manifests import manifest_of
from mainstem.protocol.messages import Accepted, Opened, Round
from mainstem.protocol.weights import Tensor


class OwnUpdates:
    """Those of one client that count in a run, read from its topics as far as they are asked for.

    One that a round left out is none of them: what it carried is in nobody's sum.
    """

    def __init__(self, source: Source, opened: Opened, client: str) -> None:
        self._source, self._client, self._topics = source, client, opened.topics
        self._exchange, self._control = exchange(opened), ControlReader(opened.federation)
        self._position = 0
        self._hashes: list[str] = []
        self._counted: dict[int, list[Accepted]] = {}
        self._summed: list[Accepted] = []
        self._sums: dict[int, NDArray[np.float64]] = {}

    def sums(self, head: Head) -> dict[str, list[Tensor]]:
        """By group the sum over the rounds that the head's model descends from: in float64 in their order, then cast.

        Raises LogError; UnreadableError where an update is gone, RefusedError where it is another one.
        """
        self._follow(head)
        mine = [item for base in head.lineage for item in self._counted.get(base.seq, ())]
        specs = {n: spec for n, spec in self._exchange.update.items() if n >= len(self._exchange.model)}
        if not self._sums or mine[: len(self._summed)] != self._summed:
            self._summed, self._sums = [], {number: np.zeros(spec.shape) for number, spec in specs.items()}
        for item in mine[len(self._summed) :]:
            carried = self._read(item)
            for number, total in self._sums.items():
                np.add(total, carried[number], out=total)
            self._summed.append(item)
        cast = iter([total.astype(specs[number].dtype) for number, total in self._sums.items()])
        return {group.name: [next(cast) for _ in group.tensors] for group in self._exchange.up}

    def _read(self, item: Accepted) -> dict[int, Tensor]:
        topic = self._topics.aggregator
        update = manifest_of(self._source, topic, item)
        check_update(update, self._exchange, Limits().nbytes)
        payloads = updates.read_update(self._source, topic, item.offset, update, self._exchange, {})
        return updates.tensors_of(self._exchange, payloads)

    def _follow(self, head: Head) -> None:
        """Read the control topic on, at least up to that head."""
        topic = self._topics.control
        _, end = self._source.bounds(topic, 0)
        for record in self._source.read(topic, 0, self._position, end) if self._position < end else ():
            entry = self._control.feed(record.offset, record.timestamp_ms, record.value, record.headers)
            self._position = record.offset + 1
            if entry.link is None:
                continue
            self._hashes.append(entry.link.hash)
            if isinstance(entry.record, Round):
                mine = [item for item in entry.record.accepted if item.client == self._client and not item.left_out]
                self._counted[entry.record.seq] = mine
        seq = head.link.record.seq
        if seq >= len(self._hashes) or self._hashes[seq] != head.link.hash:
            raise UnreadableError(f"{topic} holds another record {seq} of the run than was followed: {OLDER}")
