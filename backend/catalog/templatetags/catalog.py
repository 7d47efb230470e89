"""How models are written for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django import template

register = template.Library()


@register.filter
def shape(value: Any) -> str:
    """28 by 28 for `[28, 28]`; the batch's own dimension is left out, a single value is called so."""
    if not isinstance(value, list | tuple):
        return str(value)
    sides = value[1:] if value and value[0] is None else value
    return " \N{MULTIPLICATION SIGN} ".join("any" if side is None else str(side) for side in sides) or "one value"


@register.filter
def kind_of(layer: Mapping[str, Any]) -> str:
    """A layer's class; `class` is a word that templates may use, Python's objects not."""
    return str(layer.get("class", ""))


@register.filter
def compiled(settings: Any) -> str:
    """What a model was compiled with, in a few words."""
    if not isinstance(settings, Mapping):
        return "nothing: a deployment says"
    words = [_name(settings.get(part)) for part in ("optimizer", "loss")]
    return ", ".join(word for word in words if word) or "nothing: a deployment says"


def _name(part: Any) -> str:
    return str(part.get("class_name", "")) if isinstance(part, Mapping) else str(part or "")
