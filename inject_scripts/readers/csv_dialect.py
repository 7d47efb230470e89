"""How a table is written: what separates its cells, what stands before a fraction, and which line its own is."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Final

from inject_scripts.readers.source import BROKEN
from inject_scripts.readers.text import encoding_of, lines_of
from mainstem.errors import ConfigError, DecodeError

NAMED: Final = {"comma": ",", "semicolon": ";", "tab": "\t", "space": " ", "pipe": "|", "\\t": "\t"}
"""What `--delimiter` may say beside the character itself."""

PEEK: Final = 20
"""Rows that are looked at to judge the first line."""

NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
COMMA_NUMBER: Final = re.compile(r"[+-]?\d+,\d+([eE][+-]?\d+)?", re.ASCII)
_WHOLE: Final = re.compile(r"\d{1,15}", re.ASCII)
_SEPARATOR: Final = re.compile(r"sep=(.)\s*")
"""Excel's own first line."""

Line = tuple[int, list[str]]
"""(number of the line where it begins, from 1; its cells)"""


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one file is written; `skip` lines go before the table, and `notes` say for people what was recognised."""

    path: Path
    encoding: str
    delimiter: str
    skip: int
    notes: tuple[str, ...] = ()

    def lines(self) -> Iterator[Line]:
        """Every line of the table that is not blank; raises ConfigError and DecodeError."""
        text = islice(lines_of(self.path, self.encoding), self.skip, None)
        return _cells(self.path.name, text, self.delimiter, self.skip)


@dataclass(frozen=True, slots=True)
class Counts:
    """scikit-learn's first line: how many rows and features follow, and the classes' names."""

    rows: int
    features: int
    classes: tuple[str, ...]


def delimiter_named(text: str) -> str:
    """The character that `--delimiter` means; raises ConfigError."""
    found = NAMED.get(text.lower(), text)
    if len(found) != 1 or found in '"\r\n':
        raise ConfigError(
            f"--delimiter {text!r:.20} is neither one character nor one of comma, semicolon, tab, space, pipe"
        )
    return found


def dialect_of(path: Path, head: bytes, *, delimiter: str | None, encoding: str | None, skip: int) -> Dialect:
    """The file's dialect: as it was asked for, else as its first lines show it beyond doubt.

    Raises ConfigError where they may be read in two ways, and DecodeError.
    """
    charset, told = encoding_of(path, head, encoding)
    notes = [told] if told else []
    try:
        begin = list(islice(lines_of(path, charset), skip, skip + PEEK + 1))
    except BROKEN as error:
        raise DecodeError(f"{path.name} is damaged: {error}") from error
    if not begin:
        raise DecodeError(f"{path.name} {f'has no line after the {skip} to skip' if skip else 'is empty'}")
    if delimiter is not None:
        return Dialect(path, charset, delimiter_named(delimiter), skip, tuple(notes))
    if (said := _SEPARATOR.fullmatch(begin[0])) is not None:
        return Dialect(
            path, charset, said[1], skip + 1, (*notes, f"line {skip + 1} says that {said[1]!r} separates cells")
        )
    found = _sniffed(path, begin)
    if found != ",":
        name = next((name for name, mark in NAMED.items() if mark == found), repr(found))
        notes.append(f"cells are separated by {name}s")
    return Dialect(path, charset, found, skip, tuple(notes))


def counts_of(first: Sequence[str], rows: Sequence[Sequence[str]]) -> Counts | None:
    """What the first line says where it is scikit-learn's; None where it is another one.

    It holds the number of rows, that of features, and the classes' names: `569,30,malignant,benign`. It is taken for
    that where each row below has just so many features and a label.
    """
    cells = [cell.strip() for cell in first]
    if len(cells) < 4 or not rows or not all(_WHOLE.fullmatch(cell) for cell in cells[:2]):
        return None
    names = tuple(cells[2:])
    if len(set(names)) != len(names) or any(not name or NUMBER.fullmatch(name) for name in names):
        return None
    features = int(cells[1])
    if any(len(row) != features + 1 or row[-1].strip() not in map(str, range(len(names))) for row in rows):
        return None
    return Counts(int(cells[0]), features, names)


def width_of(name: str, first: Line, rows: Sequence[Line]) -> int:
    """How many cells a line has: as most `rows` after the first have; raises DecodeError where the first differs."""
    if not rows:
        return len(first[1])
    number, cells = first
    votes = Counter(len(row) for _, row in rows)
    width = max(votes, key=lambda one: (votes[one], one == len(cells)))
    if width == len(cells):
        return width
    told = f"{name}, line {number}, has {len(cells)} cells; the lines after it have {width}"
    if len(rows) == 1:
        raise DecodeError(f"{name}, line {rows[0][0]}, has {width} cells; the line before it has {len(cells)}")
    if len(cells) == width - 1:
        raise DecodeError(
            f"{told}, as where each row begins with its name (R's write.table): say --skip-lines {number} --header no "
            "--drop number:0"
        )
    raise DecodeError(f"{told}: where it is no part of the table, leave it out with --skip-lines {number}")


def _cells(name: str, text: Iterator[str], delimiter: str, skipped: int) -> Iterator[Line]:
    blank = delimiter == " "
    if blank:
        text = (line.replace("\t", " ").strip(" \r\n") + "\n" for line in text)
    reader = csv.reader(text, delimiter=delimiter, strict=True, skipinitialspace=blank)
    while True:
        begin = reader.line_num + 1 + skipped
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise DecodeError(f"{name}, line {begin}, is no CSV: {error}") from error
        if cells:
            yield begin, cells


def _sniffed(path: Path, begin: Sequence[str]) -> str:
    """The one character that separates these lines into cells, else a comma; raises ConfigError for two such."""
    if path.name.lower().removesuffix(".gz").endswith((".tsv", ".tab")):
        return "\t"
    tables = {mark: rows for mark in ",;\t|" if (rows := _table(begin, mark)) is not None}
    left = [mark for mark, rows in tables.items() if not _cuts(rows, [other for other in tables if other != mark])]
    if len(left) > 1 or (tables and not left):
        shown = " or ".join(repr(mark) for mark in (left or tables))
        raise ConfigError(f"{path.name}: its cells may be separated by {shown}: say which with --delimiter")
    if left:
        return left[0]
    return " " if not any(mark in line for line in begin for mark in ",;|") and _table(begin, " ") else ","


def _table(begin: Sequence[str], mark: str) -> list[list[str]] | None:
    """The rows that `mark` makes of the lines, the first left out; None where they are not of one width above 1."""
    try:
        rows = [cells for _, cells in _cells("", iter(begin), mark, 0)]
    except DecodeError:
        return None
    body = rows[1:] or rows
    return body if body and len(body[0]) > 1 and all(len(row) == len(body[0]) for row in body) else None


def _cuts(rows: Sequence[Sequence[str]], others: Sequence[str]) -> bool:
    """Whether a cell holds another mark that would separate cells, and is no number with a decimal comma."""
    cells = chain.from_iterable(rows)
    return any(other in cell and not COMMA_NUMBER.fullmatch(cell.strip()) for cell in cells for other in others)
