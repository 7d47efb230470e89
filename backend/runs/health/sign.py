"""What the overview shows of one thing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sign:
    """One thing's state: `ok`, `waiting`, `failing` or `away`, and a sentence."""

    name: str
    state: str
    text: str
