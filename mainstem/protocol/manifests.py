"""The manifest of an update, as far as it is what the round says that counts it."""

from __future__ import annotations

from mainstem.errors import RefusedError
from mainstem.protocol.exchange import check_writer, nbytes_of
from mainstem.protocol.log import Record, Source
from mainstem.protocol.messages import Accepted, Reason, Update, sha256
from mainstem.protocol.packing import decode, text_of


def manifest_of(log: Source, topic: str, item: Accepted) -> Update:
    """The manifest of an update that a round names; raises RefusedError where it is another one, UnreadableError."""
    return manifest_in(next(iter(log.read(topic, 0, item.offset, item.offset + 1)), None), item)


def manifest_in(record: Record | None, item: Accepted) -> Update:
    """The manifest in the record at an accepted update's offset; raises RefusedError where it is another one.

    Of a packed update it does not look at the payload, which need not be there.
    """
    text = text_of(record) if record is not None else None
    if record is None or text is None:
        raise RefusedError(Reason.MISSING_CHUNKS, f"offset {item.offset} holds no record of an update")
    if sha256(text) != item.record:
        raise RefusedError(Reason.CHECKSUM, f"the record at offset {item.offset} is not the one that the round names")
    update = decode(record)
    if not isinstance(update, Update) or _said(update) != _told(item):
        raise RefusedError(Reason.CHECKSUM, f"the update at offset {item.offset} is not what the round says of it")
    check_writer(update, update.weights)
    return update


def _said(update: Update) -> tuple[object, ...]:
    return (*_claimed(update), update.weights.sha256, nbytes_of(update))


def _told(item: Accepted) -> tuple[object, ...]:
    return (*_claimed(item), item.sha256, item.nbytes)


def _claimed(said: Update | Accepted) -> tuple[object, ...]:
    return said.client, said.base, said.number, said.examples, said.steps, said.loss, said.report
