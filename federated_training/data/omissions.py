"""What of a stream is left out, and why: counted by reason, with the first record of each; a lost class is refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from mainstem.errors import ConfigError
from mainstem.protocol.log import Record

KINDS: Final = 100
"""Reasons and labels that are told apart; further ones are counted together."""

_SHOWN: Final = 3
_SHARE: Final = 0.01
"""Of the records, from which on a label out of range is a class and no slip."""

_NUMBER: Final = re.compile(r"(?<!\w)'[^']*'|-?\d[\d.]*(e[+-]?\d+)?")


class OmittedRecord(NamedTuple):
    """The record at `position` of a batch is left out; `label` is its class as it was sent, where that can be said."""

    position: int
    reason: str
    label: float | None = None


@dataclass(slots=True)
class _Kind:
    reason: str
    place: str
    count: int = 0


@dataclass(slots=True)
class LeftOut:
    """The records of one stream that are left out."""

    count: int = 0
    _reasons: dict[str, _Kind] = field(default_factory=dict)
    _labels: dict[float, _Kind] = field(default_factory=dict)

    def add(self, record: Record, refusal: OmittedRecord) -> None:
        """One more, and why."""
        self.count += 1
        place = f"{record.topic}:{record.partition} offset {record.offset}"
        # Reasons that differ in their numbers alone are one; a field is a name, also where it has digits.
        key = _NUMBER.sub(lambda found: found[0] if found[0][0] == "'" else "#", refusal.reason)
        _count(self._reasons, key, refusal.reason, place)
        if refusal.label is not None:
            _count(self._labels, refusal.label, refusal.reason, place)

    def first(self) -> str | None:
        """The first reason, with its record."""
        kind = next(iter(self._reasons.values()), None)
        return None if kind is None else f"{kind.reason} ({kind.place})"

    def sentence(self, records: int) -> str:
        """What people are told, of a stream of so many records; empty where nothing is left out."""
        if not self.count:
            return ""
        most = sorted(self._reasons.values(), key=lambda kind: -kind.count)
        told = [f"{kind.count} because {kind.reason} (the first: {kind.place})" for kind in most[:_SHOWN]]
        rest = self.count - sum(kind.count for kind in most[:_SHOWN])
        told += [f"{rest} for other reasons"] if rest else []
        return f"{self.count} of {records} records are left out: {'; '.join(told)}"

    def check(self, kept: Mapping[float, int], classes: int | None, records: int, subtracted: int) -> None:
        """Refuse a stream of which a whole class is left out.

        `kept` are the samples by label, as labels were sent; `classes` is how many the model has, None where
        labels are no classes, and `subtracted` what INPUT_CONFIG takes from them. Raises ConfigError.
        """
        lost = {
            label: kind
            for label, kind in self._labels.items()
            if not kept.get(label) and kind.count >= max(2, _SHARE * records)
        }
        if not lost:
            return
        label, kind = next(iter(sorted(lost.items(), key=lambda item: -item[1].count)))
        whole = (
            f"every record of class {label:g} would be left out ({kind.count} of {records}, the first: {kind.place})"
        )
        first, last = subtracted, subtracted + (classes or 0) - 1
        if classes is None or first <= label <= last:
            raise ConfigError(f"DATA_TOPIC: {whole}: {kind.reason}")
        values = [*kept, *lost]
        low, high = min(values), max(values)
        shift = high - last
        if shift <= low - first and shift > 0:
            advice = f'subtract {shift + subtracted:g} with "label_subtract": {shift + subtracted:g} in INPUT_CONFIG'
            advice += f" (inject_files.py --label-subtract {shift + subtracted:g} writes them so)"
        elif (low, high, classes) == (-1, 1, 2):
            advice = "send 0 instead of -1, or train with a hinge loss"
        else:
            advice = (
                f"train a model of {int(high) - min(0, int(low)) + 1} classes, or leave these records out of the stream"
            )
        raise ConfigError(
            f"DATA_TOPIC: labels run from {low:g} to {high:g}, but the model's classes are {first} to {last}, so that "
            f"{whole}; {advice}"
        )


def _count(kinds: dict[Any, _Kind], key: Any, reason: str, place: str) -> None:
    if key in kinds or len(kinds) < KINDS:
        kinds.setdefault(key, _Kind(reason, place)).count += 1
