"""A table of cells as samples: numbers as they are, words by `--categories` and `--classes`, gaps by `--missing`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np

from inject_scripts.readers.csv_columns import MISSING, is_number
from inject_scripts.readers.csv_dialect import COMMA_NUMBER
from inject_scripts.readers.meaning import FLOAT32, MOST_NAMES, Making, Meaning, Table
from inject_scripts.readers.source import DataSet, Row
from inject_scripts.readers.survey import as_number, as_truth, survey
from inject_scripts.readers.words import Words
from mainstem.errors import ConfigError, DecodeError
from mainstem.streams.codecs.exact import unfit_number

MOST_PLAIN: Final = 2048
"""Numbers below it are kept by every floating type."""
MOST_WIDE: Final = 100_000
"""Numbers of a sample that columns of words may grow to."""


def table_source(table: Table, making: Making) -> DataSet:
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
        self.found = survey(self._rows(), self.width, making.decimal)
        self.meaning = Meaning(table, making, self.found)
        self.words, self.classes = self.meaning.words, self.meaning.classes
        self.plain = {i for i in self.columns.data if i not in self.words and self.found.columns[i].numbers}
        self.y_dtype = np.dtype(np.float64) if making.dtype.itemsize == 8 else FLOAT32

    def source(self) -> DataSet:
        columns = self.columns
        names = [name for i in columns.data for name in self.meaning.names(i)]
        if len(names) > MOST_WIDE:
            raise ConfigError(
                f"{self.table.name}: a sample would have {len(names)} numbers: leave columns out with --drop"
            )
        shown = ", ".join(columns.names[i] for i in columns.data[:MOST_NAMES])
        more = f" and {len(columns.data) - MOST_NAMES} more" if len(columns.data) > MOST_NAMES else ""
        header = "below a header" if columns.header else "no header"
        grown = f" as {len(names)} numbers" if len(names) != len(columns.data) else ""
        labelled = columns.label is not None
        return DataSet(
            self.table.name,
            None if self.meaning.gaps else self.found.rows,
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
            notes=tuple(self.meaning.notes),
        )

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        """The rows with anything in them, each of the table's width."""
        for place, cells in self.table.rows():
            if len(cells) != self.width:
                raise DecodeError(
                    f"{self.table.name}, {self.table.unit} {place}, has {len(cells)} cells; others have {self.width}"
                )
            if any(cell and not cell.isspace() for cell in cells):
                yield place, cells

    # ------------------------------------------------------------ the samples
    def _samples(self) -> Iterator[Row]:
        columns, dtype, decimal = self.columns, self.making.dtype, self.making.decimal

        gaps = self.meaning.gaps

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
    def _where(self, place: int, i: int) -> str:
        return f"{self.table.name}, {self.table.unit} {place}, {self.meaning.column(i)},"

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
            f"with --missing mean, or leave the column out with --drop {self.meaning.named(i)}"
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
