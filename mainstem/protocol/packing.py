"""An update in one record: its payload is the record's value, its manifest stands in a header.

So a small update costs one append and one acknowledgement. The payload is that of the model and then of each group
that goes up, one after the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from mainstem.errors import DecodeError, RefusedError
from mainstem.protocol import signing
from mainstem.protocol.chunks import KIND, UNLIKE
from mainstem.protocol.exchange import Exchange, is_packed, nbytes_of, parts_of
from mainstem.protocol.log import Outgoing, Record
from mainstem.protocol.messages import ClientRecord, Reason, Unknown, Update, decode_client, encode
from mainstem.protocol.weights import Buffer, Hasher

PACKED_BYTES: Final = 900_000
"""A larger payload goes in chunks."""

MANIFEST: Final = "manifest"
"""The header that has a packed update's JSON, beside `kind: update`."""


def has_payload(headers: Mapping[str, bytes]) -> bool:
    """Whether a record is a packed update, by its headers."""
    return headers.get(KIND) == b"update"


def pack(update: Update, payload: bytes | memoryview) -> Outgoing:
    """The record of an update whose manifests name no chunks."""
    return Outgoing(payload, update.client.encode(), [(KIND, b"update"), (MANIFEST, encode(update))])


def text_of(record: Record) -> bytes | None:
    """The JSON of a client's record, by whose sha256 a round names an update: its value, or a packed one's manifest."""
    return record.headers.get(MANIFEST) if has_payload(record.headers) else record.value


def signed_by(key: signing.SigningKey | None, topic: str, record: Outgoing) -> Outgoing:
    """A client's record as the holder of the key writes it; as it is where there is none."""
    headers = dict(record.headers)
    if key is None or not has_payload(headers):
        return signing.signed_by(key, topic, record)
    return replace(record, headers=(*record.headers, key.sign(topic, headers[MANIFEST])))


def signer_of(record: Record, keys: Mapping[bytes, str]) -> tuple[str, str]:
    """Which of these public keys, by their ids, a client's record is signed with; else "" and what is wrong with it."""
    name, text = signing.named(record.headers), text_of(record)
    if name is None or text is None:
        return "", "its signature is not readable" if signing.HEADER in record.headers else "it is not signed"
    if name not in keys:
        return "", f"it is signed with a key that this run does not admit, or no longer (id {name.hex()})"
    if not signing.signed(record.headers, record.topic, text, keys[name]):
        return "", "its signature is not one of the key that it names, or was made for another topic or record"
    return keys[name], ""


def lean(record: Record) -> Record:
    """The record without its payload, if it has one."""
    return replace(record, value=None) if has_payload(record.headers) else record


def decode(record: Record) -> ClientRecord | Unknown:
    """A record (not a chunk) of a federation's aggregator topic, whatever its payload; raises DecodeError."""
    if not has_payload(record.headers):
        found = decode_client(record.value)
        if isinstance(found, Update) and is_packed(found):
            raise DecodeError("the update names no chunks, and its record has no manifest beside a payload")
        return found
    if MANIFEST not in record.headers:
        raise DecodeError("the record says that it is an update and has no manifest")
    found = decode_client(record.headers[MANIFEST])
    if not isinstance(found, Update):
        raise DecodeError("the manifest beside a payload is that of no update")
    if not is_packed(found):
        raise DecodeError("the update names chunks, and its record has a payload: it is one or the other")
    return found


def check_payload(update: Update, exchange: Exchange, payload: Buffer) -> None:
    """Judge a packed update's bytes; raises RefusedError. Its manifests have passed `exchange.check_update`."""
    view, start, due = memoryview(payload), 0, nbytes_of(update)
    if view.nbytes != due:
        raise RefusedError(
            Reason.CHECKSUM, f"its record holds {view.nbytes:,} bytes of tensors, its manifest says {due:,}"
        )
    for weights, specs in parts_of(update, exchange):
        hasher = Hasher(specs)
        hasher.add(view[start : start + weights.nbytes])
        start += weights.nbytes
        if hasher.finish() != weights.sha256:
            raise RefusedError(Reason.CHECKSUM, UNLIKE)
