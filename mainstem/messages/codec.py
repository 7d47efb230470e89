"""Records to JSON bytes and back; unknown fields are ignored, an unknown `schema` or `type` is refused."""

from __future__ import annotations

import hashlib
from typing import TypeVar

import msgspec

from mainstem.errors import DecodeError
from mainstem.messages.grammar import PAGED_BYTES, RECORD_BYTES, GrammarError, check
from mainstem.messages.records import SCHEMA, Announcement, ClientRecord, ControlRecord


class _Envelope(msgspec.Struct):
    schema: int
    type: str


_Message = TypeVar("_Message")
_encoder = msgspec.json.Encoder(order="deterministic")
_envelope = msgspec.json.Decoder(_Envelope)
_control: msgspec.json.Decoder[ControlRecord] = msgspec.json.Decoder(ControlRecord)
_client: msgspec.json.Decoder[ClientRecord] = msgspec.json.Decoder(ClientRecord)
_announcement = msgspec.json.Decoder(Announcement)


def encode(record: msgspec.Struct) -> bytes:
    """The record as JSON bytes; the same record always gives the same bytes."""
    return _encoder.encode(record)


def sha256(value: bytes) -> str:
    """The hash by which a lifecycle record's successor names it."""
    return hashlib.sha256(value).hexdigest()


def _decode(decoder: msgspec.json.Decoder[_Message], value: bytes | None, limit: int = RECORD_BYTES) -> _Message:
    if value is None:
        raise DecodeError("the record is empty where a JSON object was expected")
    try:
        check(value, limit)
        envelope = _envelope.decode(value)
        if envelope.schema != SCHEMA:
            raise DecodeError(f"schema {envelope.schema} is not known here (this is schema {SCHEMA})")
        return decoder.decode(value)
    except (GrammarError, msgspec.DecodeError) as error:
        raise DecodeError(f"not a record of this protocol: {error}") from error


def decode_control(value: bytes | None) -> ControlRecord:
    """A record of a federation's control topic; raises DecodeError."""
    return _decode(_control, value)


def decode_paged(text: bytes) -> ControlRecord:
    """A control record whose text stood in pages; raises DecodeError."""
    return _decode(_control, text, PAGED_BYTES)


def decode_client(value: bytes | None) -> ClientRecord:
    """A record (not a chunk) of a federation's aggregator topic; raises DecodeError."""
    return _decode(_client, value)


def decode_announcement(value: bytes | None) -> Announcement:
    """A record of FEDERATED_MODEL_CONTROL_TOPIC; raises DecodeError."""
    return _decode(_announcement, value)
