"""How streams and records are written for people."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from django import template

from backend.streams.models import DataSource
from mainstem.streams import parse_ranges

register = template.Library()


@register.filter
def when(milliseconds: Any) -> str:
    """Milliseconds since the epoch as a time in UTC; the broker of an old record may not know it."""
    if not isinstance(milliseconds, int) or not 0 < milliseconds < 253_402_300_800_000:
        return "unknown"
    return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%d %H:%M:%S}"


@register.filter
def as_json(value: Any) -> str:
    """A JSON value on one line."""
    return json.dumps(value, ensure_ascii=False)


@register.filter
def topics_of(source: DataSource) -> list[str]:
    """The names of the stream's topics, each once."""
    return list(dict.fromkeys(piece.topic for piece in parse_ranges(source.topic)))


@register.filter
def cut_space(value: str) -> str:
    """The text on one line."""
    return " ".join(value[:1000].split())
