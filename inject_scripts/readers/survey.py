"""One reading of a whole table before anything is made of it: where numbers are, words, and nothing at all."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from inject_scripts.readers.csv_columns import MISSING
from inject_scripts.readers.csv_dialect import COMMA_NUMBER, NUMBER
from inject_scripts.readers.words import MOST_WORDS

MOST_DIGITS: Final = 4000
"""Of a whole number; Python reads no more than 4,300."""
_NEARLY: Final = re.compile(r"[+-]?(inf(inity)?|\d+([_' \xa0\u202f]\d+)+([.,]\d+)?)", re.IGNORECASE)
"""Infinity, and numbers with something between their thousands."""
_TRUTH: Final = {"false": 0, "true": 1}


@dataclass(slots=True)
class ColumnContents:
    """What a column holds, over all rows."""

    numbers: int = 0
    total: float = 0.0
    missing: int = 0
    words: Counter[str] = field(default_factory=Counter)
    """How often each word is there, the first thousand different ones."""
    many: bool = False
    """Whether there are more."""
    nearly: int = 0
    """Of the words, those that are numbers of a kind that is not read."""

    def take(self, cell: str, decimal: str) -> None:
        """Note one cell."""
        text = cell.strip()
        number = as_number(text, decimal)
        if number is not None:
            self.numbers += 1
            with contextlib.suppress(OverflowError):  # more digits than a float64 has room for: refused later
                self.total += float(number)
        elif text.lower() in MISSING:
            self.missing += 1
        elif text in self.words or len(self.words) < MOST_WORDS:
            self.nearly += text not in self.words and bool(_NEARLY.fullmatch(text) or COMMA_NUMBER.fullmatch(text))
            self.words[text] += 1
        else:
            self.many = True

    @property
    def wordy(self) -> bool:
        """Whether all that stands there is words, which no option could make numbers."""
        return bool(self.words) and not self.numbers and self.nearly < len(self.words)

    @property
    def truth(self) -> bool:
        """Whether all words are true or false."""
        return self.wordy and not self.many and all(word.lower() in _TRUTH for word in self.words)

    @property
    def mean(self) -> float:
        """Of its numbers."""
        return self.total / self.numbers if self.numbers else 0.0

    @property
    def usual(self) -> str:
        """Its most frequent word; of several the first by alphabet."""
        return min(self.words, key=lambda word: (-self.words[word], word))


@dataclass(slots=True)
class TableSurvey:
    """What a table holds: `rows` with anything in them, what each column has, and whether the first one counts."""

    rows: int
    columns: list[ColumnContents]
    counting: bool


def survey(lines: Iterable[tuple[int, Sequence[str]]], width: int, decimal: str) -> TableSurvey:
    """Read every row once; memory grows with the different words, not with the rows."""
    found = TableSurvey(0, [ColumnContents() for _ in range(width)], True)
    start: float | None = None
    for _, cells in lines:
        for seen, cell in zip(found.columns, cells, strict=True):
            seen.take(cell, decimal)
        if found.counting:
            number = as_number(cells[0].strip(), decimal)
            start = number if start is None else start
            found.counting = number is not None and number == (start or 0) + found.rows
        found.rows += 1
    return found


def as_number(text: str, decimal: str) -> float | None:
    """The finite or infinite number that a stripped cell is; None where it is none. Whole numbers stay exact."""
    if decimal != ".":
        if "." in text:
            return None
        text = text.replace(decimal, ".")
    if not NUMBER.fullmatch(text):
        return None
    digits = text[1:] if text[0] in "+-" else text
    return int(text) if digits.isdigit() and len(digits) <= MOST_DIGITS else float(text)


def as_truth(text: str) -> int:
    """1 for true, 0 for false, in any letters; raises KeyError."""
    return _TRUTH[text.lower()]
