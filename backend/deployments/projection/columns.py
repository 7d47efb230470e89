"""Makes a row fit its table: records come from peers and may hold what no database takes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec
from django.db import models

INT64 = (1 << 63) - 1
INT32 = (1 << 31) - 1
DEEPEST = 64


def whole(struct: msgspec.Struct) -> dict[str, Any]:
    """The struct's fields as JSON values, those included that have their default."""
    found: dict[str, Any] = msgspec.to_builtins(msgspec.structs.asdict(struct))
    return found


def fit(model: type[models.Model], row: Mapping[str, Any]) -> dict[str, Any]:
    """`row` with text cut to its column, NUL removed, numbers held within their column's range."""
    return {name: _fit(model._meta.get_field(name), value) for name, value in row.items()}


def _fit(column: Any, value: Any) -> Any:
    match column:
        case models.BigIntegerField() if value is not None:
            return max(-INT64, min(INT64, int(value)))
        case models.IntegerField() if value is not None:
            return max(-INT32, min(INT32, int(value)))
        case models.FloatField() if value is not None:
            return value if math.isfinite(value) else 0.0
        case models.CharField() | models.TextField() if value is not None:
            return str(value).replace("\0", "")[: column.max_length]
        case models.JSONField():
            return plain(value)
    return value


def plain(value: Any, depth: int = 0) -> Any:
    """A JSON value without NUL characters, infinite numbers, or nesting without end."""
    if depth > DEEPEST:
        return None
    if isinstance(value, str):
        return value.replace("\0", "")
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(name).replace("\0", ""): plain(inner, depth + 1) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner, depth + 1) for inner in value]
    return value
