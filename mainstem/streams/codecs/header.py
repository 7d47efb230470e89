"""What a schema registry's serialisers put before each record, so that its bytes are not the sample's alone.

Confluent's wire format (a zero byte, a schema id of four bytes), Avro 1.11's single-object encoding (C3 01 and
a fingerprint of eight bytes) and AWS Glue's (3, the compression, a UUID). The schema itself is in INPUT_CONFIG.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from mainstem.errors import ConfigError, DecodeError


@dataclass(frozen=True, slots=True)
class Header:
    """`size` bytes that begin with `magic`; `name` is what INPUT_CONFIG calls them."""

    name: str
    title: str
    magic: bytes
    size: int

    def begins(self, payload: bytes) -> bool:
        """Whether the payload begins so, and goes on."""
        return len(payload) > self.size and payload.startswith(self.magic)

    def skip(self, payload: bytes, place: str) -> bytes:
        """What follows the header; raises DecodeError where it is not there."""
        if not self.begins(payload):
            raise DecodeError(
                f"the record's {place} does not begin with {self.title} ({self.size} bytes, the first "
                f"{self.magic.hex(' ')}), but with {payload[: len(self.magic)].hex(' ') or 'nothing'}"
            )
        return payload[self.size :]

    def advice(self, payload: bytes, role: str, place: str) -> str:
        """What to say about a record that is good but for this header."""
        schema = f" (schema {int.from_bytes(payload[1:5], 'big')})" if self.name == "confluent" else ""
        return (
            f"the record's {place} begins with {self.title}{schema}, {self.size} bytes that are no part of the sample; "
            f'add "{role}_header": "{self.name}" to INPUT_CONFIG, and they are skipped'
        )


HEADERS: Final = (
    Header("confluent", "the header of a Confluent schema registry", b"\0", 5),
    Header("single-object", "the header of Avro's single-object encoding", b"\xc3\x01", 10),
    Header("glue", "the header of an AWS Glue schema registry", b"\x03\0", 18),
)


def header_of(role: str, config: Mapping[str, Any]) -> Header | None:
    """What `{role}_header` of INPUT_CONFIG names, None without it; raises ConfigError."""
    name = config.get(f"{role}_header")
    if name is None:
        return None
    for header in HEADERS:
        if header.name == name:
            return header
    known = ", ".join(header.name for header in HEADERS)
    raise ConfigError(f"{role}_header is {str(name)[:40]!r}; it must be one of {known}, or be left out")
