"""How metrics, log times, sizes and states read on a page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django import template
from django.utils.safestring import SafeString

from backend.deployments.models import Round
from backend.runs.charts.figures import UNMEASURED, measured
from backend.runs.charts.grid import Row
from backend.runs.reasons.troubles import detail_of
from mainstem.aggregation.strategies import STRATEGIES

register = template.Library()

UNITS = ("B", "kB", "MB", "GB", "TB")


@register.filter
def metrics(value: Any) -> list[str]:
    """`{"examples": 9, "values": {"loss": 0.5}}` as ["loss 0.5000"]."""
    found = value if isinstance(value, Mapping) else {}
    names = {**(found.get("values") or {}), **(found.get("undefined") or {})}
    return [f"{name} {measured(found, name)}" for name in names] or [UNMEASURED]


register.filter("told", detail_of)


@register.filter
def strategy(choice: Any) -> str:
    """A strategy's name; of one made by hand its choices too: "custom: equal, clip, krum, adam, plain"."""
    chosen = choice if isinstance(choice, Mapping) else {}
    name, params = str(chosen.get("name") or "?"), chosen.get("params") or {}
    preset = STRATEGIES.get(name)
    if preset is None or len(preset.free) < 2:
        return name
    return f"{name}: {', '.join(str(params.get(kind, getattr(preset, kind))) for kind in preset.free)}"


@register.filter
def sentence(text: str) -> str:
    """The text with a full stop at its end."""
    return text if text.endswith((".", "!", "?")) else f"{text}."


@register.filter
def metric(value: Any, name: str) -> str:
    """One metric of such a column."""
    return measured(value, name)


@register.filter
def seconds(round_: Round) -> str:
    """From the round's opening to its commit."""
    return duration((round_.committed_ms - round_.opened_ms) / 1000)


@register.filter
def committing(round_: Round) -> str:
    """From the round's close to its commit."""
    return duration((round_.committed_ms - round_.closed_ms) / 1000)


@register.filter
def duration(value: Any) -> str:
    """Seconds as a person says them: 0.02 s, 4.1 s, 2 min 5 s, 3 h 10 min."""
    if not isinstance(value, int | float):
        return UNMEASURED
    if value < 60:
        return f"{value:.2f} s" if value < 10 else f"{value:.0f} s"
    whole = round(value)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


@register.filter
def since(value: Any) -> str:
    """Seconds from a round's opening: after it, or before it."""
    if not isinstance(value, int | float):
        return UNMEASURED
    return f"{duration(-value)} before it opened" if value < 0 else f"after {duration(value)}"


@register.filter
def size(value: Any) -> str:
    """Bytes in steps of 1000."""
    if not isinstance(value, int | float):
        return "0 B"  # the sum of no updates
    number = float(value)
    for unit in UNITS:
        if number < 1000 or unit == UNITS[-1]:
            return f"{number:.0f} {unit}" if unit == "B" or number >= 100 else f"{number:.1f} {unit}"
        number /= 1000
    raise AssertionError("the last unit takes everything")


@register.filter
def percent(value: Any) -> str:
    """A part of 1 in percent, to three digits."""
    return "" if value is None else f"{100 * float(value):.3g} %"


@register.filter
def milli(value: Any) -> int:
    """Milliseconds as seconds, whole."""
    return round(value / 1000) if isinstance(value, int | float) else 0


@register.simple_tag
def cells(row: Row) -> SafeString:
    """The cells of a grid's row; thousands of them are cheaper here than in a template's loop."""
    return SafeString("".join(f'<td class="{code}">{text}</td>' if code else "<td></td>" for code, text in row.cells))
