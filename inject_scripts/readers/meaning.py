"""What the cells of a table become: its words numbers, its labels classes; and what is said of that.

A table is surveyed once, wholly, before its first sample: so what words there are, and what is missing, is known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np

from inject_scripts.readers.csv_columns import Columns, column_named, is_number, unsure_index
from inject_scripts.readers.survey import ColumnContents, TableSurvey
from inject_scripts.readers.words import MOST_WORDS, Words, learn, parse_words
from mainstem.errors import ConfigError

FLOAT32: Final = np.dtype(np.float32)
MOST_NAMES: Final = 20
"""Columns that are named to people."""


@dataclass(frozen=True, slots=True)
class Making:
    """What to make of a table's cells.

    `missing`: refuse a gap, drop its row, or put the column's mean (of words the most frequent one) there.
    `categories`: how a column of words is sent (None: refuse it). `words` names the values of columns, `a,b,c` by
    column. `classes` names the label's; None: the words of the file, or numbers as they are. `count` is how many
    classes there must be.
    """

    missing: Literal["refuse", "drop", "mean"] = "refuse"
    decimal: str = "."
    categories: Literal["one-hot", "codes"] | None = None
    words: Mapping[str, str] = field(default_factory=dict)
    classes: Words | None = None
    count: int | None = None
    dtype: np.dtype[Any] = FLOAT32


@dataclass(frozen=True, slots=True)
class Table:
    """A table named `name`: its columns, and its rows anew at each call as (place in `unit`s from 1, cells).

    `named` are the classes of labels that are numbers, where the file itself says them.
    """

    name: str
    columns: Columns
    rows: Callable[[], Iterator[tuple[int, list[str]]]]
    unit: str = "line"
    notes: tuple[str, ...] = ()
    named: Words | None = None


class Meaning:
    """What a survey of a table tells: `words` of the data's columns by number, the label's `classes` (None: numbers),
    and `notes` for people. Raises ConfigError where an option must say it.
    """

    def __init__(self, table: Table, making: Making, found: TableSurvey) -> None:
        self.table, self.making, self.found = table, making, found
        self.columns = table.columns
        self.notes = list(table.notes)
        self._check()
        self.words = self._words()
        self.classes = self._classes()
        label = () if self.columns.label is None else (self.columns.label,)
        self.gaps = [i for i in (*self.columns.data, *label) if found.columns[i].missing]
        """The columns that are used and have missing cells."""
        self._tell_gaps(self.gaps)

    def names(self, i: int) -> list[str]:
        """What a column is called in a sample."""
        words = self.words.get(i)
        own = self.columns.names[i]
        return (
            [own] if words is None or self.making.categories == "codes" else [f"{own}={word}" for word in words.names]
        )

    def column(self, i: int) -> str:
        """A column in a sentence."""
        return f"column {self.columns.names[i]!r}"

    def named(self, i: int) -> str:
        """A column as an option takes it."""
        own = self.columns.names[i]
        plain = own and self.columns.names.count(own) == 1 and not is_number(own) and not any(c.isspace() for c in own)
        return own if plain else f"number:{i}"

    def _check(self) -> None:
        columns, seen, name = self.columns, self.found.columns, self.table.name
        if columns.index and self.found.rows and not self.found.counting:
            raise unsure_index(name, "has no name")
        if columns.index:
            self.notes.append("the first column has no name and counts the rows: left out (--drop none keeps it)")
        for i in columns.blank:
            if seen[i].numbers or seen[i].words:
                raise ConfigError(
                    f"{name}: column number {i} has no name: leave it out with --drop number:{i}, or name it"
                )

    def _words(self) -> dict[int, Words]:
        """The words of the columns of the data that hold some, by column; raises ConfigError."""
        columns, making, name = self.columns, self.making, self.table.name
        asked = {
            column_named(name, columns.names, columns.header, column, "--words"): parse_words(text, "--words")
            for column, text in making.words.items()
        }
        if wrong := [i for i in asked if i not in columns.data]:
            raise ConfigError(f"{name}: --words names {columns.names[wrong[0]]!r}, which is none of the data's columns")
        found: dict[int, Words] = {}
        for i in columns.data:
            seen = self.found.columns[i]
            if i in asked:
                found[i] = asked[i]
            elif seen.truth:
                self.notes.append(f"{self.column(i)}: true is 1, false is 0")
            elif seen.wordy:
                found[i] = self._learnt(i, seen)
        for i, words in found.items():
            how = making.categories or "one-hot"
            as_ = "becomes a number for each of" if how == "one-hot" else "becomes the number, from 0, among"
            self.notes.append(f"{self.column(i)} {as_} {words}")
        learnt = [f"--words {columns.names[i]}={words.option}" for i, words in found.items() if words.learnt]
        if learnt:
            self.notes.append(f"its words are this file's: sites that train together all say {' '.join(learnt)}")
        return found

    def _learnt(self, i: int, seen: ColumnContents) -> Words:
        name, column = self.table.name, self.column(i)
        if seen.many:
            raise ConfigError(
                f"{name}: {column} holds more than {MOST_WORDS} different words, so it is text: --drop {self.named(i)}"
            )
        if len(seen.words) == self.found.rows - seen.missing > MOST_NAMES:
            raise ConfigError(
                f"{name}: {column} holds another word in each row ({learn(list(seen.words)[:3])}, ...), so it is no "
                f"category: leave it out with --drop {self.named(i)}"
            )
        if self.making.categories is None:
            raise ConfigError(
                f"{name}: {column} holds words ({learn(seen.words)}): say --categories one-hot or --categories codes, "
                f"or leave it out with --drop {self.named(i)}"
            )
        return learn(seen.words)

    def _classes(self) -> Words | None:
        """The label's classes by name; None where it is a number as it stands. Raises ConfigError."""
        making, name = self.making, self.table.name
        if self.columns.label is None:
            return None
        seen = self.found.columns[self.columns.label]
        if making.classes is not None:
            return making.classes
        if not seen.wordy:
            named = self.table.named
            return named if named is not None and making.count in (None, len(named.names)) else None
        column = self.column(self.columns.label)
        if seen.many:
            raise ConfigError(
                f"{name}: {column}, the label, holds more than {MOST_WORDS} different words; say --label-column"
            )
        classes = learn(seen.words)
        if making.count not in (None, len(classes.names)):
            raise ConfigError(
                f"{name}: {column}, the label, holds {len(classes.names)} classes ({classes}), not {making.count}: "
                f"name all of them in their order, such as --classes {classes.option},..."
            )
        if len(classes.names) < 2:
            raise ConfigError(
                f"{name}: {column}, the label, is always {classes}: name all classes, such as --classes {classes},other"
            )
        self.notes.append(
            f"classes learnt from the words: sites that train together all say --classes {classes.option}"
        )
        return classes

    def _tell_gaps(self, gaps: Sequence[int]) -> None:
        if not gaps or self.making.missing == "refuse":
            return
        seen, names = self.found.columns, self.columns.names
        if self.making.missing == "drop":
            each = ", ".join(f"{names[i]} {seen[i].missing}" for i in gaps[:MOST_NAMES])
            self.notes.append(f"rows with a missing cell are left out ({each})")
            return
        for i in gaps:
            cells = f"{seen[i].missing} missing cell{'s' * (seen[i].missing != 1)} of {self.column(i)}"
            if i == self.columns.label:
                self.notes.append(f"{cells}, the label: their rows are left out")
            elif seen[i].words:
                self.notes.append(f"{cells} become {seen[i].usual!r}, the most frequent word there")
            else:
                self.notes.append(f"{cells} become {seen[i].mean:g}, the mean")
