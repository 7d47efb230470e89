"""The layers of a model, as its Keras JSON has them: also those inside other layers and inside models."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def layers(config: Any) -> Iterator[dict[str, Any]]:
    """Every part of the JSON that is a layer by its `class_name` and the `name` in its `config`, in the order of the
    text; a layer comes before those inside it."""
    stack = [config]
    while stack:
        part = stack.pop()
        if isinstance(part, list):
            stack += reversed(part)
        elif isinstance(part, dict):
            stack += reversed(part.values())
            inner = part.get("config")
            named = isinstance(inner, dict) and isinstance(inner.get("name"), str)
            if named and isinstance(part.get("class_name"), str):
                yield part
