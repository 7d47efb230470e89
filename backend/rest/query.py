"""What addresses ask for."""

from __future__ import annotations


def number_of(text: str | None, digits: int = 9) -> int | None:
    """A whole number of at most so many digits, as columns and Kafka can take it; None where the text is none."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) <= digits else None


OFFSET_DIGITS = 18
"""Offsets have 64 bits."""
