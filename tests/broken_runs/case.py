"""A way to break a run, and what came of it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tests.broken_runs.ground import Ground


@dataclass(frozen=True, slots=True)
class Run:
    """What a case left to be watched: the federation, and the topic of its stream.

    `note` is told beside what is seen, `wrong` as well: what the case itself found not to be right. `processes` end
    with the row.
    """

    federation: str
    topic: str = ""
    note: str = ""
    wrong: str = ""
    processes: Sequence[subprocess.Popen[Any]] = ()


@dataclass(frozen=True, slots=True)
class Case:
    """`breaks` does it, and raises Refused where it is refused at once.

    `says` is a regular expression that the sentence about it must hold: its field, its layer, its record. With None
    the run is to train. `may_train` where both are right.
    """

    title: str
    says: str | None
    may_train: bool
    breaks: Callable[[Ground], Run]

    @property
    def name(self) -> str:
        """To ask for it alone."""
        return self.breaks.__name__.replace("_", "-")

    @property
    def wanted(self) -> str:
        """What should come of it."""
        return "trains" if self.says is None else "is said, or trains" if self.may_train else "is said"

    def is_said(self, sentence: str) -> bool:
        """Whether the sentence is about what was done."""
        return self.says is not None and re.search(self.says, sentence) is not None


CASES: list[Case] = []
"""All of them, as their modules were imported."""


def case(
    title: str, says: str | None = None, *, may_train: bool = False
) -> Callable[[Callable[[Ground], Run]], Callable[[Ground], Run]]:
    """Makes a function one of the cases; see Case."""

    def taken(breaks: Callable[[Ground], Run]) -> Callable[[Ground], Run]:
        CASES.append(Case(title, says, may_train, breaks))
        return breaks

    return taken
