"""What is there of an HTTP/1.1 request whose bytes come in pieces (RFC 9112); pure."""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import Final

SMALL_BYTES: Final = 64 << 10
"""Largest head, and largest body that is awaited before anybody looks at the request."""

_END: Final = b"\r\n\r\n"
_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,18})[ \t]*(?=\r\n)", re.IGNORECASE)
_EXPECT: Final = re.compile(rb"\r\nexpect:[ \t]*100-continue[ \t]*\r\n", re.IGNORECASE)
_CODED: Final = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)


class Stage(Enum):
    """How far a request has come."""

    PARTIAL = auto()
    """More must come before anything can be done with it."""
    EXPECTING = auto()
    """As PARTIAL; its sender waits for `100 Continue` before it sends the body."""
    HEADED = auto()
    """Its head is there; its body is too long to be awaited, or of unknown length."""
    WHOLE = auto()
    """It is there with its body; or nothing that could still come would make a request of it."""
    OVERLONG = auto()
    """Its head is too long."""


def stage(data: bytes | bytearray) -> Stage:
    """How far the request at the beginning of `data` has come."""
    start = 2 if data[:2] == b"\r\n" else 0  # one empty line before a request is passed over
    end = data.find(_END, start)
    if end < 0:
        if data.count(b"\n") != data.count(b"\r\n"):
            return Stage.WHOLE  # a bare line feed: it will be refused as it is
        return Stage.OVERLONG if len(data) > SMALL_BYTES else Stage.PARTIAL
    if end > SMALL_BYTES:
        return Stage.OVERLONG
    head = bytes(data[start : end + len(_END)])
    if _CODED.search(head):
        return Stage.HEADED
    lengths = _LENGTH.findall(head)
    length = max(map(int, lengths), default=0)
    if length > SMALL_BYTES:
        return Stage.HEADED
    if len(data) >= end + len(_END) + length:
        return Stage.WHOLE
    return Stage.EXPECTING if _EXPECT.search(head) else Stage.PARTIAL
