"""Records as bytes of an exported run: frames one after the other, each with its place, headers, key and value.

A frame is `<offset u64> <timestamp_ms i64> <headers u32> <key i32> <value i32>`, little-endian, the last three lengths
in bytes (-1: there is none), then the headers as a MessagePack list of [name, bytes] pairs, the key and the value.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

import msgspec

from mainstem.errors import DecodeError
from mainstem.protocol.log import Record
from mainstem.protocol.topics import MESSAGE_LIMIT

HEAD = struct.Struct("<QqIii")
LARGEST = 2 * MESSAGE_LIMIT
"""No record of our topics is larger, in bytes."""

_headers = msgspec.msgpack.Decoder(list[tuple[str, bytes]])
_pack = msgspec.msgpack.Encoder().encode


def frame(record: Record) -> list[bytes]:
    """The record's frame, in pieces."""
    headers = _pack(list(record.headers.items()))
    key, value = record.key, record.value
    lengths = (-1 if part is None else len(part) for part in (key, value))
    return [HEAD.pack(record.offset, record.timestamp_ms, len(headers), *lengths), headers, key or b"", value or b""]


def measure(head: bytes) -> tuple[int, int]:
    """(offset, bytes after the head) of the frame that `head` begins; raises DecodeError for impossible lengths."""
    if len(head) < HEAD.size:
        raise DecodeError("a record is cut off")
    offset, _, headers, key, value = HEAD.unpack(head)
    size = headers + max(key, 0) + max(value, 0)
    if min(key, value) < -1 or size > LARGEST:
        raise DecodeError(f"the record at offset {offset} has an impossible length")
    return offset, size


def read_frame(source: BinaryIO, topic: str, partition: int) -> Record:
    """The record whose frame begins where `source` stands; raises DecodeError."""
    head = source.read(HEAD.size)
    _, size = measure(head)
    body = source.read(size)
    if len(body) < size:
        raise DecodeError("a record is cut off")
    offset, timestamp_ms, headers, key, value = HEAD.unpack(head)
    try:
        pairs = _headers.decode(body[:headers])
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise DecodeError(f"the headers of the record at offset {offset} are not readable: {error}") from error
    start = headers + max(key, 0)
    return Record(
        topic,
        partition,
        offset,
        timestamp_ms,
        None if key < 0 else body[headers:start],
        None if value < 0 else body[start:],
        dict(pairs),
    )
