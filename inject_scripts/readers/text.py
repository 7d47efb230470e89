"""The lines of a text file, decoded, with a fault at the line where it is."""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from inject_scripts.readers.source import BROKEN, opened
from mainstem.errors import ConfigError, DecodeError

MAX_LINE: Final = 4 << 20
"""Longest line, in characters."""

_MARKS: Final = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_KINDS: Final = re.compile(r"(utf|iso8859|cp|ascii|mac|koi8|big5|gb|shift_jis|euc_|iso2022)")
"""Of Python's encodings those that are of text, by the beginnings of their names."""

_UNREAD: Final = re.compile("[\udc80-\udcff]")
"""What `surrogateescape` makes of bytes that the encoding does not have."""


def encoding_named(name: str) -> str:
    """Python's name of an encoding that a person named; raises ConfigError."""
    try:
        found = codecs.lookup(name).name
    except (LookupError, ValueError):
        found = ""
    if not _KINDS.match(found):
        raise ConfigError(f"--encoding {name!r:.40} is no text encoding; utf-8, utf-16, cp1252 and latin-1 are usual")
    return found


def encoding_of(path: Path, head: bytes, asked: str | None) -> tuple[str, str]:
    """(encoding, what to tell people of it, or nothing): the one asked for, else by the file's mark, else UTF-8.

    Raises ConfigError where the first bytes show that it is another one.
    """
    marked = next((name for mark, name in _MARKS if head.startswith(mark)), None)
    if asked is not None:
        named = encoding_named(asked)
        if named in ("utf-8", "utf-16") and marked is not None:
            return marked, ""
        return named, ""
    if marked is not None:
        return marked, "" if marked == "utf-8-sig" else "UTF-16, by its byte order mark"
    if head.count(b"\0") > len(head) // 3:
        big = head[0:1] == b"\0"
        raise ConfigError(
            f"{path.name} holds zero bytes, as UTF-16 without a mark does: say --encoding "
            f"utf-16-{'be' if big else 'le'}, or --kind, if it is no text"
        )
    return "utf-8", ""


def lines_of(path: Path, encoding: str) -> Iterator[str]:
    """The lines, their ends included; raises ConfigError and DecodeError with the number of the line, from 1."""
    number = 0
    with opened(path) as file:
        text = io.TextIOWrapper(file, encoding=encoding, errors="surrogateescape", newline="")
        try:
            while line := text.readline(MAX_LINE + 1):
                number += 1
                if len(line) > MAX_LINE:
                    raise DecodeError(f"{path.name}, line {number}, has more than {MAX_LINE} characters")
                if (bad := _UNREAD.search(line)) is not None:
                    raise DecodeError(_foreign(path, encoding, number, line, bad.start()))
                if "\0" in line:
                    raise DecodeError(f"{path.name}, line {number}, holds a zero byte, as no CSV does")
                yield line
        except BROKEN as error:
            raise DecodeError(f"{path.name} is damaged after line {number}: {error}") from error
        except UnicodeDecodeError as error:  # of an encoding that has no place for unread bytes
            raise DecodeError(
                f"{path.name} is no text in {encoding}: {error.reason}; say --encoding (cp1252, utf-8, ...)"
            ) from error


def _foreign(path: Path, encoding: str, number: int, line: str, place: int) -> str:
    """The sentence about a byte that the encoding does not have."""
    byte = ord(line[place]) - 0xDC00
    where = f"{path.name}, line {number}, holds the byte 0x{byte:02x}, which"
    if not encoding.startswith("utf-8"):
        return f"{where} {encoding} does not have: say --encoding latin-1, which has all, or another one"
    begin = max(0, place - 12)
    western = line[begin : place + 12].encode("utf-8", "surrogateescape").decode("cp1252", "replace").strip()
    return (
        f"{where} is no UTF-8 there; as Western European Windows writes it, it reads {western!r}: say --encoding "
        "cp1252 if that is right, else another one"
    )
