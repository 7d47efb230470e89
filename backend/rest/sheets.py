"""Rows as a CSV file for a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
PIECE: Final = 1 << 16


def sheet(header: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """The file's text, in pieces."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(header)
    for cells in rows:
        writer.writerow([_safe(cell) for cell in cells])
        if buffer.tell() > PIECE:
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue()


def _safe(cell: object) -> object:
    """Text that a spreadsheet would take for a formula is kept text (a client's name may begin with a dash)."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell
