"""Words that stand for numbers: the names of classes, and the values of a column of words."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from mainstem.errors import ConfigError, DecodeError

MOST_WORDS: Final = 1000
"""Different words of a column from which on they are text rather than values."""

_SHOWN: Final = 20


@dataclass(frozen=True, slots=True)
class Words:
    """Words in the order of their numbers, from 0; `learnt` where they are those of the file, sorted."""

    names: tuple[str, ...]
    learnt: bool

    def number(self, word: str, where: str) -> int:
        """The number of a word; raises DecodeError, beginning with `where`, for one that is not among them."""
        try:
            return self.names.index(word)
        except ValueError:
            raise DecodeError(f"{where} is {word[:40]!r}, which is none of {self}") from None

    def __str__(self) -> str:
        more = f" and {len(self.names) - _SHOWN} more" if len(self.names) > _SHOWN else ""
        return ", ".join(self.names[:_SHOWN]) + more

    @property
    def option(self) -> str:
        """As an option takes them: parted by commas, in quotes where one holds a comma."""
        return ",".join(f'"{name}"' if "," in name or '"' in name else name for name in self.names)


def learn(words: Iterable[str]) -> Words:
    """The words of a file, sorted, so that their order is not that of the rows."""
    return Words(tuple(sorted(set(words))), True)


def parse_words(text: str, option: str) -> Words:
    """Words as people list them, `a,b,c`; raises ConfigError, naming `option`."""
    try:
        rows = list(csv.reader([text], strict=True, skipinitialspace=True))
    except csv.Error as error:
        raise ConfigError(f"{option} {text[:60]!r} is no list such as a,b,c: {error}") from error
    names = tuple(word.strip() for word in (rows[0] if rows else []))
    if len(names) < 2 or not all(names) or len(set(names)) < len(names):
        raise ConfigError(f"{option} {text[:60]!r} must be at least two different words, such as a,b,c")
    if len(names) > MOST_WORDS:
        raise ConfigError(f"{option} has {len(names)} words; at most {MOST_WORDS} are taken")
    return Words(names, False)
