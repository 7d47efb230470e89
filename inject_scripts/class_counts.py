"""What was taken of a file: said, and judged, before a record is sent."""

from __future__ import annotations

from array import array
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from inject_scripts.readers.source import DataSet
from inject_scripts.samples import Samples
from mainstem.errors import ConfigError

MOST_CLASSES: Final = 100
"""Different whole labels from which on they are numbers rather than classes."""

_CHANCE: Final = 1e-6
"""Below it, that a class is missing from the test part is no chance but the file's order."""


@dataclass(slots=True)
class ClassCounts:
    """The rows of a file, and how often each class is among them and among the last ones, the test part."""

    rows: int
    classes: dict[str, int]
    test_classes: dict[str, int]
    low: float | None = None
    high: float | None = None
    about: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    named: bool = False

    def lines(self) -> list[str]:
        """For people: what the data, the label and the test part are."""
        told = [f"{self.about['name']}: {self.rows} rows", f"  data: {self.about['data']}"]
        if self.classes:
            told.append(f"  label: {self.about['label']}: {len(self.classes)} classes: {_counts(self.classes)}")
            if self.low == 1 and not self.named:
                told.append("  note: labels begin at 1; a model of classes counts from 0 (--label-subtract 1)")
        elif self.low is not None:
            told.append(f"  label: {self.about['label']}: numbers from {self.low:g} to {self.high:g}")
        else:
            told.append("  no label")
        if self.test_classes:
            told.append(f"  test part, the last rows: {_counts(self.test_classes)}")
        return told + [f"  note: {note}" for note in self.notes]

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "rows": self.rows, "data": self.about["data"], "label": self.about["label"], "classes": self.classes,
            "test_classes": self.test_classes, "notes": list(self.notes),
        }  # fmt: skip


def take(source: DataSet, samples: Samples, test_rate: float) -> ClassCounts:
    """Read every row once; two bytes of memory a row.

    Raises DecodeError for a bad row, ConfigError for labels that are not 0 to the number of classes less 1, and for
    a file that is sorted by class, so that the test part lacks some.
    """
    codes: dict[float, int] = {}
    order, rows = array("H"), 0
    low = high = None
    for _, y in samples.rows():
        rows += 1
        if y is None:
            continue
        label = np.asarray(y).reshape(-1)
        value = float(label[0]) if label.size == 1 else float(label.argmax()) if _one_hot(label) else None
        if value is None:
            codes, order = {}, array("H")
            continue
        low, high = (value, value) if low is None or high is None else (min(low, value), max(high, value))
        if len(codes) <= MOST_CLASSES:
            order.append(codes.setdefault(value, len(codes)))
    if samples.classes is not None and low is not None and high is not None:
        _check_range(source.name, low, high, samples.classes)
        if low < 0 or high >= samples.classes or not all(value.is_integer() for value in codes):
            deque(samples.iterate(), 0)  # names the row
    names = {code: _name(value, samples.class_names) for value, code in sorted(codes.items())}
    whole = low is not None and all(value.is_integer() for value in codes) and len(order) == rows
    tests = round(rows * test_rate)
    taken = ClassCounts(rows, {}, {}, low, high, {"name": source.name, "data": source.data, "label": source.label})
    taken.notes, taken.named = source.notes, samples.class_names is not None
    if whole and len(codes) <= MOST_CLASSES:
        everywhere, last = Counter(order), Counter(order[rows - tests :]) if tests else Counter()
        nobody = dict.fromkeys(samples.class_names or (), 0)
        taken.classes = nobody | {name: everywhere[code] for code, name in names.items()}
        taken.test_classes = {name: last[code] for code, name in names.items() if last[code]}
        _check_order(source.name, taken, tests)
    return taken


def _name(value: float, names: tuple[str, ...] | None) -> str:
    """What a class is called: its name, else its number."""
    return names[int(value)] if names and value.is_integer() and 0 <= value < len(names) else f"{value:g}"


def _one_hot(label: np.ndarray[Any, Any]) -> bool:
    return bool(((label == 0) | (label == 1)).all() and label.sum() == 1)


def _check_range(name: str, low: float, high: float, classes: int) -> None:
    """Refuse labels of which some are no class, saying how they can be; raises ConfigError."""
    shift = high - (classes - 1)
    if 0 < shift <= low:
        raise ConfigError(
            f"{name}: labels run from {low:g} to {high:g}, but {classes} classes are 0 to {classes - 1}; "
            f"subtract {shift:g} with --label-subtract {shift:g}"
        )


def _check_order(name: str, taken: ClassCounts, tests: int) -> None:
    """Refuse a test part that lacks classes which chance would have put there; raises ConfigError."""
    if not tests or tests == taken.rows:
        return
    shares = {label: count / taken.rows for label, count in taken.classes.items()}
    missing = [label for label in shares if shares[label] and label not in taken.test_classes]
    alone = len(taken.test_classes) == 1 and shares[next(iter(taken.test_classes))] ** tests < _CHANCE
    missing = [label for label in missing if alone or (1 - shares[label]) ** tests < _CHANCE]
    if missing:
        raise ConfigError(
            f"{name} is sorted: its last {tests} rows, the test part, have the classes {_counts(taken.test_classes)} "
            f"and none of {', '.join(missing[:20])}; give its rows another order with --shuffle 1 (a seed), or send no "
            "test part (--test-rate 0)"
        )


def _counts(classes: dict[str, int]) -> str:
    shown = ", ".join(f"{label} ({count})" for label, count in list(classes.items())[:20])
    return shown + (f" and {len(classes) - 20} more" if len(classes) > 20 else "")
