"""Control topics in memory: records written and read without a broker, and small runs to put into them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

from mainstem.protocol.chain import Head
from mainstem.protocol.control import ControlReader, Entry
from mainstem.protocol.messages import (
    ChunkRun,
    Closed,
    Lifecycle,
    Opened,
    Round,
    Rules,
    Snapshot,
    StrategyChoice,
    TensorSpec,
    Update,
    Weights,
    encode,
)
from mainstem.rounds import successor
from tests.vectors.examples import FEDERATION, sequence

SPECS = (TensorSpec(name="w", dtype="float32", shape=(4,)),)


def weights(sha: str = "0" * 64, first: int = 0, writer: str = "w", update: str = "u") -> Weights:
    """A manifest of one small tensor in one chunk."""
    return Weights(writer=writer, update=update, chunks=(ChunkRun(0, first, 1),), nbytes=16, sha256=sha)


def opened(**rules: Any) -> Opened:
    """A federation of the small model."""
    (example,) = [r for r in sequence() if isinstance(r, Opened)]
    return msgspec.structs.replace(example, rules=Rules(**rules), tensors=SPECS, weights=weights())


def update(client: str, head: Head, offset: int, **changes: Any) -> Update:
    """A good update from the head's model whose manifest stands at `offset`."""
    fields: dict[str, Any] = {
        "client": client,
        "incarnation": "1",
        "base": head.base,
        "number": 0,
        "examples": 5,
        "weights": weights(first=max(offset - 1, 0), writer=client),
    }
    return Update(**(fields | changes))


def round_after(head: Head, writer: str = "w") -> Round:
    """The next round's record."""
    record = successor(
        head,
        Round,
        {
            "round": head.round + 1,
            "version": head.version + 1,
            "base": head.base,
            "strategy": StrategyChoice(),
            "accepted": (),
            "weights": weights(writer[0] * 64),
            "snapshot": Snapshot(position=head.snapshot.position + 10, time_ms=0),
            "closed": Closed(by="all", offset=9, time_ms=0),
            "opened_ms": 0,
            "writer": writer,
        },
    )
    assert isinstance(record, Round)
    return record


@dataclass
class Topic:
    """A control topic: values with their log times, appended by anyone."""

    values: list[tuple[bytes, int]] = field(default_factory=list)

    def append(self, record: msgspec.Struct | bytes, time_ms: int = 0) -> int:
        """The record's offset."""
        value = record if isinstance(record, bytes) else encode(record)
        self.values.append((value, max(time_ms, self.values[-1][1] if self.values else 0)))
        return len(self.values) - 1

    def reader(self) -> Reader:
        """A new reader from the beginning."""
        return Reader(self)

    def head(self) -> Head:
        """What a new reader makes of all of it."""
        reader = self.reader()
        reader.sync()
        assert reader.head is not None
        return reader.head


class Reader:
    """One reader of a `Topic`."""

    def __init__(self, topic: Topic) -> None:
        self._topic, self._control, self.position = topic, ControlReader(FEDERATION), 0

    @property
    def head(self) -> Head | None:
        """The chain's head as far as it was read."""
        return self._control.chain.head

    def sync(self, limit: int = 1 << 30) -> list[Entry]:
        """The entries that were not read yet, at most `limit`."""
        end = min(len(self._topic.values), self.position + limit)
        entries = [
            self._control.feed(i, self._topic.values[i][1], self._topic.values[i][0]) for i in range(self.position, end)
        ]
        self.position = end
        return entries


def lifecycle(entries: list[Entry]) -> list[Lifecycle]:
    """The records that took their place."""
    return [e.link.record for e in entries if e.link is not None]
