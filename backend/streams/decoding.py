"""Any topic's records for people: decoded with the protocol's schema where they are of it, bounded always."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import msgspec

from mainstem.errors import DecodeError
from mainstem.protocol.chunks import is_chunk
from mainstem.protocol.log import Record
from mainstem.protocol.messages import Unknown, decode_announcement, decode_audited, decode_control
from mainstem.protocol.packing import decode, text_of
from mainstem.protocol.topics import AUDIT, DATA_CONTROL, MODEL_CONTROL, aggregator_topic, control_topic, federation_of
from mainstem.streams.announcement import DataAnnouncement

MOST_CHARACTERS = 6_000
MOST_DEPTH_TEXT = 200


@dataclass(frozen=True, slots=True)
class Message:
    """A record: what it is, its key, headers and body as text, and why it is not of the protocol."""

    offset: int
    timestamp_ms: int
    kind: str
    key: str
    headers: list[tuple[str, str]]
    body: str
    size: int
    problem: str = ""


def message_of(record: Record) -> Message:
    """Decode a record as far as it can be; never raises."""
    kind, problem = _kind(record)
    return Message(
        offset=record.offset,
        timestamp_ms=record.timestamp_ms,
        kind=kind,
        key="" if record.key is None else _text(record.key)[:MOST_DEPTH_TEXT],
        headers=[(name[:100], _text(value)[:MOST_DEPTH_TEXT]) for name, value in list(record.headers.items())[:32]],
        body=_body(record),
        size=len(record.value or b""),
        problem=problem,
    )


def _kind(record: Record) -> tuple[str, str]:
    if record.value is None:
        return "deleted" if record.topic == MODEL_CONTROL else "empty", ""
    if is_chunk(record.headers):
        return "chunk of weights", ""
    federation = federation_of(record.topic)
    try:
        if record.topic == MODEL_CONTROL:
            return f"federation {decode_announcement(record.value).federation}", ""
        if record.topic == AUDIT:
            return decode_audited(record.value).action, ""
        if record.topic == DATA_CONTROL:
            said = DataAnnouncement.decode(record.key, record.value)
            return f"stream, {said.input_format}", ""
        if federation is not None and record.topic == control_topic(federation):
            return _tag(decode_control(record.value)), ""
        if federation is not None and record.topic == aggregator_topic(federation):
            return _tag(decode(record)), ""
    except DecodeError as error:
        return "not understood", str(error)
    return "record", ""


def _tag(message: msgspec.Struct) -> str:
    """The record's `type`, and whose it is."""
    if isinstance(message, Unknown):
        return f"{message.type[:40]}, which this version does not know"
    client = getattr(message, "client", "")
    tag = message.__struct_config__.tag
    return f"{tag} of {client}" if client else str(tag)


def _body(record: Record) -> str:
    value = text_of(record)
    if not value or is_chunk(record.headers):
        return ""
    if value[:1] in (b"{", b"["):
        try:
            return _cut(json.dumps(json.loads(value), indent=2, ensure_ascii=False))
        except (ValueError, RecursionError):
            pass
    return _cut(_text(value))


def _text(data: bytes) -> str:
    """UTF-8 where it is printable, else hexadecimal."""
    try:
        text = data[: 4 * MOST_CHARACTERS].decode()
    except UnicodeDecodeError:
        text = "\0"
    return text if text.isprintable() or ("\0" not in text and _plain(text)) else data[:512].hex(" ", 4)


def _plain(text: str) -> bool:
    return all(character.isprintable() or character in "\n\r\t" for character in text)


def _cut(text: str) -> str:
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}\n... ({len(text):,} characters in all)"


def as_json(message: Message) -> dict[str, Any]:
    """The message as REST shows it."""
    return {name: getattr(message, name) for name in Message.__slots__} | {"headers": dict(message.headers)}
