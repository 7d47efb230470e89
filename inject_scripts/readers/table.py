"""A table of cells as samples: numbers as they are, words by `--categories` and `--classes`, gaps by `--missing`.

A table is surveyed once, wholly, before its first sample: so what words there are, and what is missing, is known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np

from inject_scripts.readers.csv_columns import MISSING, Columns, column_named, is_number, unsure_index
from inject_scripts.readers.csv_dialect import COMMA_NUMBER
from inject_scripts.readers.source import Row, Source
from inject_scripts.readers.survey import Seen, Survey, as_number, as_truth, survey
from inject_scripts.readers.words import MOST_WORDS, Words, learn, parse_words
from mainstem.codecs.exact import unfit_number
from mainstem.errors import ConfigError, DecodeError

MISSING_WAYS: Final = ("refuse", "drop", "mean")
CATEGORY_WAYS: Final = ("one-hot", "codes")
MOST_NAMES: Final = 20
"""Columns that are named to people."""
MOST_PLAIN: Final = 2048
"""Numbers below it are kept by every floating type."""
MOST_WIDE: Final = 100_000
"""Numbers of a sample that columns of words may grow to."""

_FLOAT32 = np.dtype(np.float32)


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
    dtype: np.dtype[Any] = _FLOAT32


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


def table_source(table: Table, making: Making) -> Source:
    """The table's samples: x `making.dtype`, y a class index, or a number as float32 (float64 with 64 bits).

    Every number is kept exactly, or rounded where it is a fraction, or refused with its cell. Raises ConfigError and
    DecodeError, naming the place, and the option where one mends it.
    """
    return _Maker(table, making).source()


class _Maker:
    def __init__(self, table: Table, making: Making) -> None:
        self.table, self.making = table, making
        self.columns = table.columns
        self.width = len(table.columns.names)
        self.notes = list(table.notes)
        self.found: Survey = survey(self._rows(), self.width, making.decimal)
        self._check()
        self.words = self._words()
        self.classes = self._classes()
        self.plain = {i for i in self.columns.data if i not in self.words and self.found.columns[i].numbers}
        self.y_dtype = np.dtype(np.float64) if making.dtype.itemsize == 8 else _FLOAT32

    def source(self) -> Source:
        columns, seen = self.columns, self.found.columns
        names = [name for i in columns.data for name in self._names(i)]
        if len(names) > MOST_WIDE:
            raise ConfigError(
                f"{self.table.name}: a sample would have {len(names)} numbers: leave columns out with --drop"
            )
        gaps = [i for i in (*columns.data, *self._label_column) if seen[i].missing]
        self._tell_gaps(gaps)
        shown = ", ".join(columns.names[i] for i in columns.data[:MOST_NAMES])
        more = f" and {len(columns.data) - MOST_NAMES} more" if len(columns.data) > MOST_NAMES else ""
        header = "below a header" if columns.header else "no header"
        grown = f" as {len(names)} numbers" if len(names) != len(columns.data) else ""
        labelled = columns.label is not None
        return Source(
            self.table.name,
            self.found.rows if not gaps else None,
            (len(names),),
            self.making.dtype,
            () if labelled else None,
            self.y_dtype if labelled else None,
            self._samples,
            classes=None if self.classes is None else len(self.classes.names),
            data=f"{len(columns.data)} columns ({shown}{more}), {header}{grown}",
            label=columns.told(columns.label) if columns.label is not None else "",
            class_names=None if self.classes is None else self.classes.names,
            columns=tuple(names),
            notes=tuple(self.notes),
        )

    # ------------------------------------------------------------ what the survey says
    @property
    def _label_column(self) -> tuple[int, ...]:
        return () if self.columns.label is None else (self.columns.label,)

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        """The rows with anything in them, each of the table's width."""
        for place, cells in self.table.rows():
            if len(cells) != self.width:
                raise DecodeError(
                    f"{self.table.name}, {self.table.unit} {place}, has {len(cells)} cells; others have {self.width}"
                )
            if any(cell and not cell.isspace() for cell in cells):
                yield place, cells

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
                self.notes.append(f"{self._column(i)}: true is 1, false is 0")
            elif seen.wordy:
                found[i] = self._learnt(i, seen)
        for i, words in found.items():
            how = making.categories or "one-hot"
            as_ = "becomes a number for each of" if how == "one-hot" else "becomes the number, from 0, among"
            self.notes.append(f"{self._column(i)} {as_} {words}")
        learnt = [f"--words {columns.names[i]}={words.option}" for i, words in found.items() if words.learnt]
        if learnt:
            self.notes.append(f"its words are this file's: sites that train together all say {' '.join(learnt)}")
        return found

    def _learnt(self, i: int, seen: Seen) -> Words:
        name, column = self.table.name, self._column(i)
        if seen.many:
            raise ConfigError(
                f"{name}: {column} holds more than {MOST_WORDS} different words, so it is text: --drop {self._named(i)}"
            )
        if len(seen.words) == self.found.rows - seen.missing > MOST_NAMES:
            raise ConfigError(
                f"{name}: {column} holds another word in each row ({learn(list(seen.words)[:3])}, ...), so it is no "
                f"category: leave it out with --drop {self._named(i)}"
            )
        if self.making.categories is None:
            raise ConfigError(
                f"{name}: {column} holds words ({learn(seen.words)}): say --categories one-hot or --categories codes, "
                f"or leave it out with --drop {self._named(i)}"
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
        column = self._column(self.columns.label)
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
            cells = f"{seen[i].missing} missing cell{'s' * (seen[i].missing != 1)} of {self._column(i)}"
            if i == self.columns.label:
                self.notes.append(f"{cells}, the label: their rows are left out")
            elif seen[i].words:
                self.notes.append(f"{cells} become {seen[i].usual!r}, the most frequent word there")
            else:
                self.notes.append(f"{cells} become {seen[i].mean:g}, the mean")

    # ------------------------------------------------------------ the samples
    def _samples(self) -> Iterator[Row]:
        columns, dtype, decimal = self.columns, self.making.dtype, self.making.decimal

        gaps = [i for i in (*columns.data, *self._label_column) if self.found.columns[i].missing]

        def fits(number: float) -> bool:
            """Whether it needs no further look: nearly all do not."""
            return -MOST_PLAIN < number < MOST_PLAIN and dtype.kind == "f"

        for place, cells in self._rows():
            read = [i for i in gaps if cells[i].strip().lower() in MISSING and i not in self._kept(cells)]
            if read and (self.making.missing == "drop" or (columns.label in read and self.making.missing == "mean")):
                continue
            values: list[float] = []
            for i in columns.data:
                if i in self.plain and (number := as_number(cells[i].strip(), decimal)) is not None and fits(number):
                    values.append(number)
                else:
                    values += self._values(place, i, cells[i])
            x = np.array(values, dtype)
            yield x, None if columns.label is None else self._label(place, columns.label, cells[columns.label])

    def _kept(self, cells: Sequence[str]) -> set[int]:
        """Columns in which the words for nothing are words that somebody named."""
        return {i for i, words in self.words.items() if cells[i].strip() in words.names}

    def _values(self, place: int, i: int, cell: str) -> list[float]:
        text, seen, words = cell.strip(), self.found.columns[i], self.words.get(i)
        if words is not None and text in words.names:
            return self._of_words(words, text)
        if text.lower() in MISSING:
            if self.making.missing == "refuse" or not (seen.numbers or seen.words):
                raise DecodeError(self._gap(place, i, cell))
            return self._filled(place, i)
        if words is not None:
            words.number(text, self._where(place, i))
        if seen.truth:
            return [as_truth(text)]
        return [self._number(place, i, cell, self.making.dtype)]

    def _of_words(self, words: Words, text: str) -> list[float]:
        number = words.names.index(text)
        if self.making.categories == "codes":
            return [number]
        return [float(n == number) for n in range(len(words.names))]

    def _filled(self, place: int, i: int) -> list[float]:
        seen, words = self.found.columns[i], self.words.get(i)
        if words is not None:
            return self._of_words(words, seen.usual if seen.usual in words.names else words.names[0])
        if seen.truth:
            return [as_truth(seen.usual)]
        self._fit(seen.mean, self.making.dtype, f"{self._where(place, i)} is missing; the column's mean")
        return [seen.mean]

    def _label(self, place: int, i: int, cell: str) -> float:
        text, where = cell.strip(), self._where(place, i)
        if self.classes is not None and text in self.classes.names:
            return self.classes.names.index(text)
        if text.lower() in MISSING:
            raise DecodeError(self._gap(place, i, cell))
        if self.classes is None:
            return self._number(place, i, cell, self.y_dtype)
        number = as_number(text, self.making.decimal)
        if number is None or any(is_number(name) for name in self.classes.names):
            same = [
                n for n, name in enumerate(self.classes.names) if number is not None and as_number(name, ".") == number
            ]
            return same[0] if same else self.classes.number(text, where)
        return self._number(place, i, cell, self.y_dtype)  # names of classes that the file numbers

    def _number(self, place: int, i: int, cell: str, dtype: np.dtype[Any]) -> float:
        value, where = as_number(cell.strip(), self.making.decimal), self._where(place, i)
        if value is None:
            raise DecodeError(self._no_number(where, cell))
        if value in (float("inf"), float("-inf")):
            raise DecodeError(f"{where} is {cell[:40]!r}; every number must be finite")
        self._fit(value, dtype, where)
        return value

    def _fit(self, value: float, dtype: np.dtype[Any], where: str) -> None:
        if (told := unfit_number(value, dtype)) is not None:
            raise DecodeError(f"{where} {told} (--dtype float64 or int64, --drop)")

    # ------------------------------------------------------------ sentences
    def _names(self, i: int) -> list[str]:
        """What a column is called in a sample."""
        words = self.words.get(i)
        own = self.columns.names[i]
        return (
            [own] if words is None or self.making.categories == "codes" else [f"{own}={word}" for word in words.names]
        )

    def _column(self, i: int) -> str:
        return f"column {self.columns.names[i]!r}"

    def _named(self, i: int) -> str:
        own = self.columns.names[i]
        plain = own and self.columns.names.count(own) == 1 and not is_number(own) and not any(c.isspace() for c in own)
        return own if plain else f"number:{i}"

    def _where(self, place: int, i: int) -> str:
        return f"{self.table.name}, {self.table.unit} {place}, {self._column(i)},"

    def _gap(self, place: int, i: int, cell: str) -> str:
        where = self._where(place, i)
        told = f"is {cell[:40].strip()!r}, so nothing is there" if cell.strip() else "is empty"
        if i == self.columns.label:
            return (
                f"{where} {told}; every label must be a class or a finite number: leave such rows out with "
                "--missing drop"
            )
        return (
            f"{where} {told}; every cell must be a finite number: leave such rows out with --missing drop, fill them "
            f"with --missing mean, or leave the column out with --drop {self._named(i)}"
        )

    def _no_number(self, where: str, cell: str) -> str:
        text = cell.strip()
        told = f"{where} is {cell[:40]!r}; every cell must be a number"
        if text.lower().lstrip("+-") in ("inf", "infinity"):
            return f"{told}, a finite one"
        if self.making.decimal == "." and COMMA_NUMBER.fullmatch(text):
            return f"{told}: if a comma stands before the fraction, say --decimal ,"
        if self.making.decimal != "." and as_number(text, ".") is not None:
            return f"{told}, and --decimal {self.making.decimal} says that none has a point"
        return told
