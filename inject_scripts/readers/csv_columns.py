"""A table's header and columns: taken where they are certain, asked for where they are not."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from inject_scripts.readers.csv_dialect import COMMA_NUMBER, NUMBER
from mainstem.errors import ConfigError

MISSING: Final = frozenset(("", "?", "-", "na", "n/a", "#n/a", "<na>", "nan", "null", "none"))
"""Cells, in small letters, in which nothing was measured."""

_WHOLE: Final = re.compile(r"[+-]?\d{1,18}", re.ASCII)
_FRACTION: Final = re.compile(r"[+-]?\d*[.,]\d+([eE][+-]?\d+)?", re.ASCII)
_NO_WORDS: Final = MISSING | {"inf", "-inf"}
_LABELS: Final = frozenset(("label", "labels", "class", "target", "y"))

NONE: Final = "none"
"""What `--drop` says to keep every column."""


@dataclass(frozen=True, slots=True)
class Columns:
    """A table's columns: their names (numbers without a header), the label's number, and those that are the data.

    `index` is an unnamed first column that counts the rows, left out; `blank` are unnamed ones that hold nothing.
    """

    names: tuple[str, ...]
    header: bool
    label: int | None
    data: tuple[int, ...]
    index: bool = False
    blank: tuple[int, ...] = ()

    def told(self, number: int) -> str:
        """A column for people."""
        last = ", the last" if number == len(self.names) - 1 else ""
        return f"column {self.names[number]!r} (number {number}{last})" if self.header else f"column {number}{last}"


def columns_of(
    name: str,
    first: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    header: bool | None,
    label: str | None,
    drop: Sequence[str],
    labelled: bool,
) -> Columns:
    """The columns of the table `name`, whose `first` line is followed by `rows`, as far as they were looked at.

    `header` says whether the first line names the columns (None: judge), `label` which is the label (None: the last)
    and `drop` which to leave out. Raises ConfigError wherever that is not certain.
    """
    cells = [cell.strip() for cell in first]
    blank = _blank(cells, rows)
    if header is None:
        header = _is_header(name, [cell for i, cell in enumerate(cells) if i not in blank], rows)
    blank = blank if header else ()
    names = tuple(cells) if header else tuple(map(str, range(len(cells))))
    body = rows if header else [first, *rows]
    shown = [i for i in range(len(names)) if i not in blank]
    chosen = _label(name, names, shown, header, label) if labelled else None
    dropped = {column_named(name, names, header, asked, "--drop") for asked in drop if asked != NONE}
    kept = NONE in drop or chosen == 0 or 0 in dropped
    index = not kept and _is_index(name, names, header, body)
    left_out = dropped | set(blank) | ({0} if index else set())
    data = tuple(i for i in range(len(names)) if i != chosen and i not in left_out)
    if chosen in dropped:
        raise ConfigError(
            f"{name}: --drop names {names[chosen]!r}, which is the label; name another with --label-column"
        )
    if not data:
        other = next((mark for mark in ";\t|" if mark in first[0]), None)
        hint = f"; its first line has {other!r}: say --delimiter {other!r}" if other and len(names) == 1 else ""
        raise ConfigError(f"{name} has no column beside its label{hint}")
    return Columns(names, header, chosen, data, index, blank)


def unsure_index(name: str, told: str) -> ConfigError:
    """What to say of a first column that may be the rows' own number."""
    return ConfigError(
        f"{name}: its first column {told}, as an index does: leave it out with --drop number:0, or keep it as "
        f"data with --drop {NONE}"
    )


def column_named(name: str, names: Sequence[str], header: bool, asked: str, option: str) -> int:
    """The number of the column that `asked` names: its name or number, or either alone behind `name:` or `number:`.

    Raises ConfigError, naming `option`.
    """
    count = len(names)
    word, number_only = asked.removeprefix("name:"), asked.startswith("number:")
    digits = asked.removeprefix("number:")
    named = [i for i, column in enumerate(names) if header and column == word and not number_only]
    number = int(digits) % count if _WHOLE.fullmatch(digits) and -count <= int(digits) < count else None
    if asked.startswith("name:"):
        number = None
    if len(named) > 1:
        places = " and ".join(f"number:{i}" for i in named)
        raise ConfigError(f"{name} has {len(named)} columns {word!r}; name one by its place for {option}: {places}")
    if named and number is not None and named[0] != number:
        raise ConfigError(
            f"{name}: {option} {asked} is the name of column number {named[0]} and the number of column "
            f"{names[number]!r}; write name:{asked} or number:{asked}"
        )
    found = named[0] if named else number
    if found is None:
        shown = ", ".join(names[:20]) if header else f"0 to {count - 1}"
        raise ConfigError(f"{name} has no column {asked!r} for {option}; it has {shown}")
    return found


def is_number(cell: str) -> bool:
    """Whether a cell is a number, its fraction behind a point or a comma."""
    return bool(NUMBER.fullmatch(cell) or COMMA_NUMBER.fullmatch(cell))


def _blank(cells: Sequence[str], rows: Sequence[Sequence[str]]) -> tuple[int, ...]:
    """Columns without a name and without a cell, as a separator at the end of each line makes them."""
    return tuple(
        i for i, cell in enumerate(cells) if not cell and rows and all(i < len(r) and not r[i].strip() for r in rows)
    )


def _is_header(name: str, cells: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first line names the columns; raises ConfigError where it may and may not."""
    shown = ", ".join(cells[:6]) + (", ..." if len(cells) > 6 else "")
    ask = f"say which with --header yes or --header no (line 1: {shown[:200]})"
    numbers = [is_number(cell) for cell in cells]
    if all(numbers):
        if rows and _counts(cells) and not all(_counts(row) for row in rows):
            raise ConfigError(f"{name}: line 1 counts, so it may name the columns by numbers or be a row; {ask}")
        return False
    words = cells[1:] if not cells[0] and len(cells) > 1 else cells  # pandas gives its index no name
    if any(_FRACTION.fullmatch(cell) for cell in cells) and _alike(numbers, rows):
        return False
    if any(is_number(word) or word.lower() in _NO_WORDS for word in words):
        raise ConfigError(
            f"{name}: line 1 has words and numbers, so it may be a header or a row with a bad cell; {ask}"
        )
    if rows and any(cell and cell in {row[i].strip() for row in rows if i < len(row)} for i, cell in enumerate(cells)):
        raise ConfigError(f"{name}: line 1 has words that stand below it too, so it may be a row; {ask}")
    return True


def _alike(numbers: Sequence[bool], rows: Sequence[Sequence[str]]) -> bool:
    """Whether every row has numbers and words just where the first line has them."""
    return bool(rows) and all([is_number(cell.strip()) for cell in row] == list(numbers) for row in rows)


def _counts(cells: Sequence[str]) -> bool:
    """Whether the cells are whole numbers, each one more than that before it."""
    if len(cells) < 2 or not all(_WHOLE.fullmatch(cell.strip()) for cell in cells):
        return False
    numbers = [int(cell) for cell in cells]
    return all(after - before == 1 for before, after in pairwise(numbers))


def _is_index(name: str, names: Sequence[str], header: bool, rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first column is pandas' index; raises ConfigError where it may be the rows' own number."""
    first = [row[0] for row in rows if row]
    unnamed = header and (not names[0] or names[0].startswith("Unnamed:"))
    counting = _counts(first) and int(first[0]) in (0, 1)
    if unnamed and counting:
        return True
    if unnamed:
        raise unsure_index(name, "has no name")
    if counting and len(first) > 2:
        called = f"{names[0]!r} " if header and names[0] else ""
        raise unsure_index(name, f"{called}counts the rows ({', '.join(first[:3])}, ...)")
    return False


def _label(name: str, names: Sequence[str], shown: Sequence[int], header: bool, asked: str | None) -> int:
    last = shown[-1] if shown else len(names) - 1
    if asked is not None:
        return column_named(name, names, header, asked, "--label-column")
    likely = [i for i, column in enumerate(names) if header and column.lower() in _LABELS]
    if likely and last not in likely:
        raise ConfigError(
            f"{name} has a column {names[likely[0]]!r}, but its last one is {names[last]!r}; say which is the label "
            "with --label-column"
        )
    return last
