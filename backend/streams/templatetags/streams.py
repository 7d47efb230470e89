"""How streams and records are written for people."""

from __future__ import annotations

import json
from typing import Any

from django import template

from backend.streams.models import DataSource
from mainstem.streams.announcement import parse_ranges

register = template.Library()


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
