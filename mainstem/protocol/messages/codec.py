"""Records to JSON bytes and back; unknown fields are ignored, an unknown `schema` is refused.

So is an unknown type of lifecycle record: one that, as those do, says which record it follows. Another unknown type of
a federation's topics is read as `Unknown`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, Generic, TypeVar, get_args

import msgspec

from mainstem.errors import DecodeError
from mainstem.protocol.messages.grammar import PAGED_BYTES, RECORD_BYTES, GrammarError, check
from mainstem.protocol.messages.records import (
    SCHEMA,
    Announcement,
    Audited,
    ClientRecord,
    ControlRecord,
    Lifecycle,
    Unknown,
)


class _Envelope(msgspec.Struct):
    schema: int
    type: str
    seq: Any = None
    prev: Any = None


_Message = TypeVar("_Message")


class Kinds(Generic[_Message]):
    """The types of records that a topic is known to hold: `union` of them, each with its tag."""

    def __init__(self, union: Any) -> None:
        self.decoder: msgspec.json.Decoder[_Message] = msgspec.json.Decoder(union)
        self.tags = _tags(get_args(union))


def _tags(kinds: Iterable[type[msgspec.Struct]]) -> frozenset[str]:
    return frozenset(str(kind.__struct_config__.tag) for kind in kinds)


_encoder = msgspec.json.Encoder(order="deterministic")
_envelope = msgspec.json.Decoder(_Envelope)
_control: Kinds[ControlRecord] = Kinds(ControlRecord)
_client: Kinds[ClientRecord] = Kinds(ClientRecord)
_announcement = msgspec.json.Decoder(Announcement)
_audited = msgspec.json.Decoder(Audited)
_lifecycle = _tags(kind for kind in get_args(ControlRecord) if issubclass(kind, Lifecycle))


def encode(record: msgspec.Struct) -> bytes:
    """The record as JSON bytes; the same record always gives the same bytes."""
    return _encoder.encode(record)


def sha256(value: bytes) -> str:
    """The hash by which a lifecycle record's successor names it."""
    return hashlib.sha256(value).hexdigest()


def _open(value: bytes | None, limit: int = RECORD_BYTES) -> tuple[bytes, _Envelope]:
    if value is None:
        raise DecodeError("the record is empty where a JSON object was expected")
    check(value, limit)
    envelope = _envelope.decode(value)
    if envelope.schema != SCHEMA:
        raise DecodeError(f"schema {envelope.schema} is not known here (this is schema {SCHEMA})")
    return value, envelope


def _decode(kinds: Kinds[_Message], value: bytes | None, limit: int = RECORD_BYTES) -> _Message | Unknown:
    try:
        value, envelope = _open(value, limit)
        if envelope.type not in kinds.tags and not _is_lifecycle(envelope):
            return Unknown(schema=envelope.schema, type=envelope.type)
        return kinds.decoder.decode(value)
    except (GrammarError, msgspec.DecodeError) as error:
        raise DecodeError(f"not a record of this protocol: {error}") from error


def _is_lifecycle(envelope: _Envelope) -> bool:
    return envelope.type in _lifecycle or (envelope.seq is not None and envelope.prev is not None)


def decode_control(value: bytes | None) -> ControlRecord | Unknown:
    """A record of a federation's control topic; raises DecodeError."""
    return _decode(_control, value)


def decode_paged(text: bytes) -> ControlRecord | Unknown:
    """A control record whose text stood in pages; raises DecodeError."""
    return _decode(_control, text, PAGED_BYTES)


def decode_client(value: bytes | None) -> ClientRecord | Unknown:
    """A record (not a chunk) of a federation's aggregator topic; raises DecodeError."""
    return _decode(_client, value)


def decode_announcement(value: bytes | None) -> Announcement:
    """A record of FEDERATED_MODEL_CONTROL_TOPIC; raises DecodeError."""
    return _decode_only(_announcement, value)


def decode_audited(value: bytes | None) -> Audited:
    """A record of FEDERATED_AUDIT_TOPIC; raises DecodeError."""
    return _decode_only(_audited, value)


def _decode_only(decoder: msgspec.json.Decoder[_Message], value: bytes | None) -> _Message:
    """A record of a topic that holds one type."""
    try:
        return decoder.decode(_open(value)[0])
    except (GrammarError, msgspec.DecodeError) as error:
        raise DecodeError(f"not a record of this protocol: {error}") from error
