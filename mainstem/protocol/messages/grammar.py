"""The exact grammar of a record, checked before anything else: so that every reader, in any language, judges alike.

Parsers of JSON (RFC 8259) differ where it leaves room: how deep it may nest, which of two equal names counts, what a
lone surrogate or a number beyond 2^53 becomes. A record that depends on it is refused by all (I-JSON, RFC 7493, is
nearly the same set).
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, NoReturn

import msgspec

RECORD_BYTES: Final = 8 << 20
"""Largest record, as it stands in a topic."""

PAGED_BYTES: Final = 64 << 20
"""Largest text of a record that stands in pages."""

DEPTH: Final = 64
"""Objects and arrays that lie within each other, the record's own object included."""

LARGEST_INTEGER: Final = (1 << 53) - 1


class GrammarError(ValueError):
    """Bytes that are no record for any reader."""


_BRACKETS: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[{\]}]', re.DOTALL)


def check(value: bytes, limit: int = RECORD_BYTES) -> None:
    """Refuse what is not JSON in the protocol's grammar; raises GrammarError."""
    if len(value) > limit:
        raise GrammarError(f"it has {len(value):,} bytes; a record has at most {limit:,}")
    if not _is_plain(value):
        _check_slowly(value)


def _is_plain(value: bytes) -> bool:
    """Whether it is what our own encoder writes, and small: then nothing of the grammar can be amiss.

    Names twice, surrogates and other bytes than UTF-8 do not come back the same. It takes a quarter of the time.
    """
    if value.count(b"[") + value.count(b"{") > DEPTH or _LONG in value.translate(_DIGITS):
        return False
    try:
        return msgspec.json.encode(_plain.decode(value)) == value
    except (ValueError, RecursionError):  # a msgspec.DecodeError is a ValueError
        return False


def _check_slowly(value: bytes) -> None:
    try:
        text = value.decode()
    except UnicodeDecodeError as error:
        raise GrammarError(f"it is not UTF-8 at byte {error.start}") from error
    _check_depth(value)
    try:
        found = _decoder.decode(text)
        if b"\\u" in value:
            json.dumps(found, ensure_ascii=False).encode()  # only an escape can spell a lone surrogate
    except UnicodeEncodeError as error:
        raise GrammarError("a string holds a lone surrogate") from error
    except ValueError as error:
        raise GrammarError(str(error)) from error


def _check_depth(value: bytes) -> None:
    depth = 0
    for match in _BRACKETS.finditer(value):
        first = value[match.start()]
        if first in b"[{":
            depth += 1
            if depth > DEPTH:
                raise GrammarError(f"it nests more than {DEPTH} deep")
        elif first in b"]}":
            depth -= 1


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the name {next(n for n in names if names.count(n) > 1)[:80]!r} stands twice in one object")
    return found


def _integer(text: str) -> int:
    # the length first: converting a million digits takes its time
    if len(text) > 17 or not -LARGEST_INTEGER <= (number := int(text)) <= LARGEST_INTEGER:
        raise ValueError(f"{text[:20]} is beyond the integers up to 2^53 - 1")
    return number


def _float(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"{text[:20]} is beyond the numbers of 64 bits")
    return number


def _constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")


_DIGITS: Final = bytes(ord("0") if byte in b"0123456789" else ord(" ") for byte in range(256))
_LONG: Final = b"0" * 16
"""As many digits as the smallest integer that is refused has."""

_plain = msgspec.json.Decoder()
_decoder = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_constant)
