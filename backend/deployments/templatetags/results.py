"""How metrics and log times read on a page."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from django import template

from backend.deployments.models import Round

register = template.Library()


@register.filter
def metrics(value: Any) -> str:
    """`{"examples": 9, "values": {"loss": 0.5}}` as "loss 0.5000"."""
    values = value.get("values") if isinstance(value, Mapping) else None
    if not isinstance(values, Mapping) or not values:
        return "–"  # noqa: RUF001  a dash for nothing
    return ", ".join(f"{name} {number:.4f}" for name, number in values.items() if isinstance(number, int | float))


@register.filter
def clock(value: Any) -> str:
    """Milliseconds since the epoch as a time of day, UTC."""
    try:
        return datetime.fromtimestamp(value / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S") if value else "–"  # noqa: RUF001
    except (OverflowError, ValueError, OSError, TypeError):
        return "–"  # noqa: RUF001


@register.filter
def seconds(round_: Round) -> str:
    """From the round's opening to its commit."""
    return f"{(round_.committed_ms - round_.opened_ms) / 1000:.1f}"
