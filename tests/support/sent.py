"""What a federation's clients have sent, read back from its aggregator topic."""

from __future__ import annotations

from collections.abc import Iterator

from mainstem.errors import DecodeError
from mainstem.protocol import updates
from mainstem.protocol.chunks import is_chunk
from mainstem.protocol.exchange import exchange, sent
from mainstem.protocol.log import MessageLog, Record
from mainstem.protocol.messages import ClientRecord, Opened, Unknown, Update
from mainstem.protocol.packing import decode
from mainstem.protocol.topics import aggregator_topic
from mainstem.protocol.weights import Tensor, tensors_in


def said(log: MessageLog, federation: str) -> Iterator[tuple[Record, ClientRecord | Unknown]]:
    """The records that are no chunks and of the protocol, in order, with what they say."""
    topic = aggregator_topic(federation)
    for record in log.read(topic, 0, *log.bounds(topic, 0)):
        if is_chunk(record.headers):
            continue
        try:
            yield record, decode(record)
        except DecodeError:
            continue


def is_update(record: Record) -> bool:
    """Whether a record is an update's, packed or not."""
    return not is_chunk(record.headers) and isinstance(decode(record), Update)


def carried(log: MessageLog, opened: Opened, offset: int, update: Update) -> list[Tensor]:
    """The tensors that the update at `offset` carries."""
    specs = exchange(opened)
    payloads = updates.read_update(log, opened.topics.aggregator, offset, update, specs, {})
    return tensors_in(list(sent(update, specs).update.values()), b"".join(payloads))
